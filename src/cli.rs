//! The command line: the peer's flags, ours, and the subcommands.

mod arguments;
mod check;
mod config;
mod external_url;
mod healthcheck;
mod log_lines;
mod log_writer;
mod man_page;
mod numbers;
mod version;

pub use check::CheckCommand;
pub use config::ConfigCommand;
pub use healthcheck::{HealthcheckCommand, healthcheck};
pub use log_lines::LogLines;
pub use log_writer::{dropped_log_lines, flush_logs};
pub use version::{version_in_log, version_text};

use crate::config::{Config, ConfigError, Defaults};
use crate::metrics::Level;
use crate::server::{AllowedHosts, ServerSettings};
use clap::{ArgAction, CommandFactory as _, Parser, Subcommand, ValueEnum};
use std::ffi::OsString;
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

    /// Print the manual page (man(7)) and exit.
    #[arg(long = "help-man")]
    pub help_man: bool,

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
    #[arg(long = "config.auto-reload-interval", value_name = "SECONDS", default_value = "30", value_parser = numbers::whole)]
    auto_reload_interval: u64,

    /// Seconds to take off the scrape's timeout.
    #[arg(long = "timeout-offset", value_name = "SECONDS", default_value = "0.5", value_parser = numbers::seconds)]
    timeout_offset: f64,

    /// Findings to keep as evidence, failing ones longest.
    #[arg(long = "history.limit", value_name = "COUNT", default_value = "1000", value_parser = numbers::count)]
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

    /// Host name by which the exporter may be told to reload, besides addresses and names of this host; may be given several
    /// times.
    #[arg(long = "web.allowed-host", value_name = "NAME", action = ArgAction::Append)]
    allowed_hosts: Vec<String>,

    /// Seconds after SIGTERM within which the process ends; probes that still run then are answered with 503.
    #[arg(long = "web.shutdown-timeout", value_name = "SECONDS", default_value_t = 25, value_parser = clap::value_parser!(u32).range(1..))]
    shutdown_timeout: u32,

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
    Blackbox,
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
    Own(#[from] crate::probe::LocalError),
    /// The health endpoint.
    #[error("not healthy: {0}")]
    Unhealthy(String),
}

impl Cli {
    /// The command line, which may name files of arguments (`@file`).
    ///
    /// # Errors
    /// With what there is to say of it, where it cannot be read.
    pub fn read(mut written: impl Iterator<Item = OsString>) -> Result<Self, clap::Error> {
        let program = written.next().unwrap_or_default();
        let given = arguments::expanded(written);
        let given = given.map_err(|words| Self::command().error(clap::error::ErrorKind::Io, words))?;
        Self::try_parse_from(std::iter::once(program).chain(given))
    }

    /// What `--help-man` prints.
    #[must_use]
    pub fn manual() -> String {
        let mut command = Self::command();
        command.build();
        man_page::page(&command)
    }

    /// The file to load: the one named, or the peer's default if it is there.
    fn config_file(&self) -> Option<PathBuf> {
        let default = || Some(PathBuf::from(DEFAULT_FILE)).filter(|path| path.exists());
        self.config_file.clone().or_else(default)
    }

    fn defaults(&self) -> Defaults {
        Defaults {
            metrics: match self.metrics_level {
                LevelFlag::Blackbox => Level::Blackbox,
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
        let external = self.external_path()?;
        let route = given(self.route_prefix.as_deref()).map(external_url::encoded);
        Ok(ServerSettings {
            config_file: self.config_file(),
            web_config_file: given(self.web_config_file.as_deref()).map(PathBuf::from),
            defaults: self.defaults(),
            timeout_offset: offset(self.timeout_offset),
            history_limit: self.history_limit,
            series_limit: self.series_limit as usize,
            series_idle: Duration::from_secs(self.series_idle.into()),
            route_prefix: prefix(route.as_deref().or(external.as_deref())),
            link_prefix: prefix(external.as_deref().or(route.as_deref())),
            allowed_hosts: self.allowed_hosts(),
            shutdown_timeout: Duration::from_secs(self.shutdown_timeout.into()),
        })
    }

    /// The names of the flags: those that are allowed, that of the external URL, and those that are listened at.
    fn allowed_hosts(&self) -> AllowedHosts {
        let external = given(self.external_url.as_deref()).and_then(external_url::host_of);
        let listened = self.listen_addresses.iter();
        let listened = listened.filter_map(|address| Some(address.rsplit_once(':')?.0.to_owned()));
        AllowedHosts::new(self.allowed_hosts.iter().cloned().chain(external).chain(listened))
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
        let interval = Duration::from_secs(self.auto_reload_interval.clamp(1, u32::MAX.into()));
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
            None => Config::parse(crate::config::DEFAULT, self.defaults()).map_err(|issue| ConfigError::Invalid {
                path: Path::new("the embedded default").to_owned(),
                issue,
            }),
        };
        Ok(config?)
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

/// A scrape never outlives Prometheus' timeout: an offset below 0, which would lengthen it, is as 0.
fn offset(offset: f64) -> Duration {
    seconds(offset.max(0.0)).unwrap_or(Duration::MAX)
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
