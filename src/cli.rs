//! The command line: the peer's flags, ours, and the subcommands.

mod check;
mod config;
mod external_url;
mod log_lines;
mod version;

pub use check::CheckCommand;
pub use config::ConfigCommand;
pub use log_lines::LogLines;
pub use version::{version_in_log, version_text};

use crate::config::{Config, ConfigError, Defaults};
use crate::metrics::Level;
use crate::server::ServerSettings;
use clap::{ArgAction, Parser, Subcommand, ValueEnum};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What the peer loads when no file is named.
const DEFAULT_FILE: &str = "blackbox.yml";

/// A Prometheus exporter that probes a target stage by stage and names the link of the chain that broke.
///
/// Flags, port and configuration are those of `blackbox_exporter`.
#[derive(Debug, Parser)]
#[command(name = "glassbox_exporter", disable_help_subcommand = true)]
#[allow(clippy::struct_excessive_bools, reason = "flags are what they are")]
pub struct Cli {
    /// What to do instead of serving.
    #[command(subcommand)]
    pub command: Option<Command>,

    /// Show the version and exit.
    #[arg(long = "version", short = 'V')]
    pub version: bool,

    /// Configuration file [default: blackbox.yml if it is there, else an embedded default].
    #[arg(long = "config.file", value_name = "PATH", global = true)]
    config_file: Option<PathBuf>,

    /// Check the configuration file and exit.
    #[arg(long = "config.check", overrides_with = "_no_config_check")]
    config_check: bool,
    #[arg(long = "no-config.check", hide = true)]
    _no_config_check: bool,

    /// Reload the configuration file when it has changed.
    #[arg(long = "config.enable-auto-reload", overrides_with = "_no_auto_reload")]
    auto_reload: bool,
    #[arg(long = "no-config.enable-auto-reload", hide = true)]
    _no_auto_reload: bool,

    /// Seconds between two looks at the configuration file.
    #[arg(long = "config.auto-reload-interval", value_name = "SECONDS", default_value_t = 30)]
    auto_reload_interval: u32,

    /// Seconds to take off the scrape's timeout.
    #[arg(long = "timeout-offset", value_name = "SECONDS", default_value_t = 0.5)]
    timeout_offset: f64,

    /// Findings to keep as evidence, failing ones longest.
    #[arg(long = "history.limit", value_name = "COUNT", default_value_t = 1000)]
    history_limit: usize,

    /// Keys (module, target, hostname) whose histograms and counters are kept.
    #[arg(long = "series.limit", value_name = "COUNT", default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(10..))]
    series_limit: u32,

    /// Seconds after which a key that nobody scrapes is dropped.
    #[arg(long = "series.idle", value_name = "SECONDS", default_value_t = 3600, value_parser = clap::value_parser!(u32).range(60..))]
    series_idle: u32,

    /// What modules export that do not say it themselves.
    #[arg(
        long = "metrics.level",
        value_name = "LEVEL",
        default_value = "standard",
        global = true
    )]
    metrics_level: LevelFlag,

    /// Address to listen on; may be given several times.
    #[arg(long = "web.listen-address", value_name = "ADDRESS", default_value = ":9115", action = ArgAction::Append)]
    listen_addresses: Vec<String>,

    /// Prefix of every path.
    #[arg(long = "web.route-prefix", value_name = "PATH")]
    route_prefix: Option<String>,

    /// URL, or its path, under which the exporter is reached from outside; the path is the default of the route prefix.
    #[arg(long = "web.external-url", value_name = "URL")]
    external_url: Option<String>,

    /// File with TLS, passwords, header fields and a rate, as the exporter-toolkit has it.
    #[arg(long = "web.config.file", value_name = "PATH")]
    web_config_file: Option<String>,

    /// Take the sockets that systemd has opened instead of opening any.
    #[arg(long = "web.systemd-socket", overrides_with = "_no_systemd_socket")]
    systemd_socket: bool,
    #[arg(long = "no-web.systemd-socket", hide = true)]
    _no_systemd_socket: bool,

    /// Only log messages with this severity or above.
    #[arg(
        long = "log.level",
        value_name = "LEVEL",
        default_value = "info",
        ignore_case = true,
        global = true
    )]
    pub log_level: LogLevel,

    /// The severity from which the probes themselves are logged: debug, info, warn or error.
    #[arg(long = "log.prober", value_name = "LEVEL", default_value = "info")]
    log_prober: String,

    /// The format of log messages.
    #[arg(
        long = "log.format",
        value_name = "FORMAT",
        default_value = "logfmt",
        ignore_case = true,
        global = true
    )]
    pub log_format: LogFormat,
}

/// What to do instead of serving.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Probe once, draw the waterfall, and exit with 0 if the probe succeeded and 1 if not.
    Check(CheckCommand),
    /// Look at a configuration file.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Ask a running exporter whether it is healthy: exit with 0 if so.
    Healthcheck(HealthcheckCommand),
}

/// `healthcheck`.
#[derive(Debug, clap::Args)]
pub struct HealthcheckCommand {
    /// The health endpoint.
    #[arg(long, default_value = "http://127.0.0.1:9115/-/healthy")]
    url: String,
}

/// A severity.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum LogLevel {
    /// Everything.
    Debug,
    /// What one wants to know.
    Info,
    /// What may go wrong.
    Warn,
    /// What went wrong.
    Error,
}

/// Where requests come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listen<'a> {
    /// At addresses, as the peer spells them: `:9115` is every address of this host.
    At(&'a [String]),
    /// At the sockets that systemd has opened (`sd_listen_fds(3)`).
    Inherited,
}

/// A log format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// `key=value` pairs.
    Logfmt,
    /// One JSON object a line.
    Json,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LevelFlag {
    Peer,
    Standard,
    Full,
}

/// Flags that cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// What was found cannot be written.
    #[error("writing what was found: {0}")]
    Output(std::io::Error),
    /// A value out of its range.
    #[error("--{flag}: {words}")]
    Flag {
        /// Which flag.
        flag: &'static str,
        /// What is wrong and what would be right.
        words: String,
    },
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A module that is not there.
    #[error("unknown module {0:?}; the configuration has: {1}")]
    UnknownModule(String, String),
    /// The exporter has no means to probe.
    #[error(transparent)]
    Own(#[from] crate::probe::OwnFault),
    /// The health endpoint.
    #[error("not healthy: {0}")]
    Unhealthy(String),
}

impl Cli {
    /// The file to load: the one named, or the peer's default if it is there.
    fn config_file(&self) -> Option<PathBuf> {
        let default = || Some(PathBuf::from(DEFAULT_FILE)).filter(|path| path.exists());
        self.config_file.clone().or_else(default)
    }

    fn defaults(&self) -> Defaults {
        Defaults {
            metrics: match self.metrics_level {
                LevelFlag::Peer => Level::Peer,
                LevelFlag::Standard => Level::Standard,
                LevelFlag::Full => Level::Full,
            },
        }
    }

    /// What the server needs.
    ///
    /// # Errors
    /// When a flag is out of range or not served.
    pub fn server_settings(&self) -> Result<ServerSettings, CliError> {
        let refuse = |flag, words: &str| {
            Err(CliError::Flag {
                flag,
                words: words.to_owned(),
            })
        };
        let Some(timeout_offset) = seconds(self.timeout_offset) else {
            return refuse("timeout-offset", "must be a number of seconds, 0 or above");
        };
        let external = self.external_path()?;
        let route = given(self.route_prefix.as_deref()).map(external_url::encoded);
        Ok(ServerSettings {
            config_file: self.config_file(),
            web_config_file: given(self.web_config_file.as_deref()).map(PathBuf::from),
            defaults: self.defaults(),
            timeout_offset,
            history_limit: self.history_limit,
            series_limit: self.series_limit as usize,
            series_idle: Duration::from_secs(self.series_idle.into()),
            route_prefix: prefix(route.as_deref().or(external.as_deref())),
            link_prefix: prefix(external.as_deref().or(route.as_deref())),
        })
    }

    /// The path of the external URL.
    fn external_path(&self) -> Result<Option<String>, CliError> {
        let path = given(self.external_url.as_deref()).map(external_url::path_of);
        path.transpose().map_err(|words| CliError::Flag {
            flag: "web.external-url",
            words,
        })
    }

    /// The severity from which probes are logged. One that is unknown changes nothing, as with `blackbox_exporter`.
    ///
    /// # Errors
    /// With what there is to say of an unknown one.
    pub fn prober_level(&self) -> Result<LogLevel, String> {
        LogLevel::from_str(&self.log_prober, true).map_err(|_| format!("unrecognized log level {}", self.log_prober))
    }

    /// Where to listen.
    #[must_use]
    pub fn listen_addresses(&self) -> Listen<'_> {
        if self.systemd_socket {
            Listen::Inherited
        } else {
            Listen::At(&self.listen_addresses)
        }
    }

    /// Whether only the configuration is to be checked.
    #[must_use]
    pub const fn only_checks_config(&self) -> bool {
        self.config_check
    }

    /// How often to look whether the configuration file has changed.
    #[must_use]
    pub fn auto_reload(&self) -> Option<(PathBuf, Duration)> {
        let interval = Duration::from_secs(self.auto_reload_interval.max(1).into());
        self.auto_reload.then(|| Some((self.config_file()?, interval)))?
    }

    /// Loads the configuration and says whether it is valid.
    ///
    /// # Errors
    /// When it is not.
    pub fn check_config(&self) -> Result<(), CliError> {
        self.load().map(|_| ())
    }

    fn load(&self) -> Result<Config, CliError> {
        let config = match self.config_file() {
            Some(path) => Config::load(&path, self.defaults()),
            None => Config::parse(crate::config::DEFAULT, self.defaults()).map_err(|problem| ConfigError::Invalid {
                path: Path::new("the embedded default").to_owned(),
                problem,
            }),
        };
        Ok(config?)
    }
}

/// Runs `healthcheck`.
///
/// # Errors
/// When the endpoint does not answer 200 within 5 s.
pub async fn healthcheck(command: &HealthcheckCommand) -> Result<(), CliError> {
    let unhealthy = |error: reqwest::Error| CliError::Unhealthy(error.to_string());
    let client = reqwest::Client::builder()
        .timeout(Duration::from_secs(5))
        .no_proxy()
        .build()
        .map_err(unhealthy)?;
    let answer = client.get(&command.url).send().await.map_err(unhealthy)?;
    if answer.status() == reqwest::StatusCode::OK {
        Ok(())
    } else {
        Err(CliError::Unhealthy(format!(
            "{} answered {}",
            command.url,
            answer.status()
        )))
    }
}

/// A path as a prefix: without a slash at its end.
fn prefix(path: Option<&str>) -> String {
    match path.unwrap_or_default().trim_matches('/') {
        "" => String::new(),
        inner => format!("/{inner}"),
    }
}

/// A flag with an empty value is as one that is not given.
fn given(value: Option<&str>) -> Option<&str> {
    value.filter(|value| !value.is_empty())
}

fn seconds(number: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(number).ok()
}

#[cfg(test)]
mod tests {
    use super::{Cli, Listen};
    use clap::{CommandFactory as _, Parser as _};

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_peers_spellings_are_taken() {
        let cli = Cli::parse_from([
            "glassbox_exporter",
            "--config.file=/etc/blackbox_exporter/config.yml",
            "--no-config.enable-auto-reload",
            "--timeout-offset",
            "0.25",
            "--web.listen-address=:9115",
            "--web.listen-address=127.0.0.1:9116",
            "--log.format=json",
            "--web.external-url=http://probes.example/blackbox/",
        ]);
        let settings = cli.server_settings().unwrap();
        assert_eq!(settings.route_prefix, "/blackbox");
        assert_eq!(settings.timeout_offset.as_millis(), 250);
        assert_eq!(
            cli.listen_addresses(),
            Listen::At(&[":9115".to_owned(), "127.0.0.1:9116".to_owned()])
        );
    }
}
