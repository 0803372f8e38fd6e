//! The command line: the flags of `blackbox_exporter`, additional flags, and the subcommands.

mod arguments;
mod check;
mod config;
mod external_url;
mod healthcheck;
mod history_flags;
mod man_page;
mod numbers;
mod terminal;
mod version;

pub use check::CheckCommand;
pub use config::ConfigCommand;
pub use healthcheck::{HealthcheckCommand, healthcheck};
pub use version::{version_in_log, version_text};

use crate::config::{Config, ConfigError, Defaults};
use crate::logs::LogFormat;
use crate::server::listeners::Listen;
use crate::server::{AllowedHosts, ServerSettings};
use clap::{ArgAction, CommandFactory as _, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use glassbox_probe::metrics::Level;
use glassbox_verdict::host_port::HostPort;
use history_flags::HistoryFlags;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// Configuration file that `blackbox_exporter` loads by default.
const DEFAULT_FILE: &str = "blackbox.yml";

/// A Prometheus exporter that probes a target stage by stage and names the link of the chain that broke.
///
/// Flags, port and configuration are compatible with `blackbox_exporter`.
#[derive(Debug, Parser)]
#[command(name = "glassbox_exporter")]
#[allow(clippy::struct_excessive_bools, reason = "each flag is a bool for clap")]
pub struct Cli {
    /// Subcommand. Without one, the exporter serves HTTP.
    #[command(subcommand)]
    pub command: Option<Command>,

    /// Show the version and exit.
    #[arg(long = "version", short = 'V')]
    pub version: bool,

    /// Print the manual page (man(7)) and exit.
    #[arg(long = "help-man")]
    pub help_man: bool,

    /// Configuration file [default: blackbox.yml if it exists, otherwise an embedded configuration].
    #[arg(long = "config.file", value_name = "PATH", global = true)]
    config_file: Option<PathBuf>,

    /// Validate the configuration file and exit.
    #[arg(long = "config.check", overrides_with = "_no_config_check")]
    config_check: bool,
    #[arg(long = "no-config.check", hide = true)]
    _no_config_check: bool,

    /// Reload the configuration file when it changes.
    #[arg(long = "config.enable-auto-reload", overrides_with = "_no_auto_reload")]
    auto_reload: bool,
    #[arg(long = "no-config.enable-auto-reload", hide = true)]
    _no_auto_reload: bool,

    /// Interval between checks of the configuration file for changes, in seconds.
    #[arg(long = "config.auto-reload-interval", value_name = "SECONDS", default_value = "30", value_parser = numbers::whole)]
    auto_reload_interval: u64,

    /// Offset to subtract from the scrape timeout, in seconds.
    #[arg(long = "timeout-offset", value_name = "SECONDS", default_value = "0.5", value_parser = numbers::seconds)]
    timeout_offset: f64,

    #[command(flatten)]
    history: HistoryFlags,

    /// Maximum number of keys (module, target, hostname) with histograms and counters.
    #[arg(long = "series.limit", value_name = "COUNT", default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(10..))]
    series_limit: u32,

    /// Time after which a key that is not scraped is dropped, in seconds.
    #[arg(long = "series.idle", value_name = "SECONDS", default_value_t = 3600, value_parser = clap::value_parser!(u32).range(60..))]
    series_idle: u32,

    /// Metrics level for modules that do not set "metrics".
    #[arg(
        long = "metrics.level",
        value_name = "LEVEL",
        default_value = "standard",
        global = true
    )]
    metrics_level: LevelFlag,

    /// Address to listen on. Repeatable.
    #[arg(long = "web.listen-address", value_name = "ADDRESS", default_value = ":9115", action = ArgAction::Append)]
    listen_addresses: Vec<String>,

    /// Prefix of all HTTP paths [default: the path of --web.external-url].
    #[arg(long = "web.route-prefix", value_name = "PATH")]
    route_prefix: Option<String>,

    /// URL at which browsers reach the exporter, or only the path of this URL. The evidence links of alerts start with a
    /// complete URL.
    #[arg(long = "web.external-url", value_name = "URL")]
    external_url: Option<String>,

    /// Configuration file for TLS, authentication, response headers and the rate limit, in the format of
    /// exporter-toolkit.
    #[arg(long = "web.config.file", value_name = "PATH")]
    web_config_file: Option<String>,

    /// Additional host name to allow in the Host header of a reload request. IP addresses and local names are always
    /// allowed. Repeatable.
    #[arg(long = "web.allowed-host", value_name = "NAME", action = ArgAction::Append)]
    allowed_hosts: Vec<String>,

    /// Maximum time from SIGTERM to exit, in seconds. Probes still running at that point get a 503.
    #[arg(long = "web.shutdown-timeout", value_name = "SECONDS", default_value_t = 25, value_parser = clap::value_parser!(u32).range(1..))]
    shutdown_timeout: u32,

    /// Use the sockets that systemd passes (socket activation) instead of opening listening sockets.
    #[arg(long = "web.systemd-socket", overrides_with = "_no_systemd_socket")]
    systemd_socket: bool,
    #[arg(long = "no-web.systemd-socket", hide = true)]
    _no_systemd_socket: bool,

    /// Minimum severity of log messages.
    #[arg(
        long = "log.level",
        value_name = "LEVEL",
        default_value = "info",
        ignore_case = true,
        global = true
    )]
    pub log_level: LogLevel,

    /// Minimum severity of probe log messages: debug, info, warn or error.
    #[arg(long = "log.prober", value_name = "LEVEL", default_value = "info")]
    log_prober: String,

    /// Format of log messages.
    #[arg(
        long = "log.format",
        value_name = "FORMAT",
        default_value = "logfmt",
        ignore_case = true,
        global = true
    )]
    pub log_format: LogFormat,
}

/// A subcommand.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Probe a target and print the waterfall. Exits with 0 if the probe succeeds, otherwise with 1.
    Check(CheckCommand),
    /// Check or explain a configuration file.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Check the health of a running exporter. Exits with 0 if it is healthy.
    Healthcheck(HealthcheckCommand),
    /// Print a completion script for a shell.
    Completions {
        /// Shell.
        shell: Shell,
    },
    /// Print the version.
    Version,
}

/// Severity of a log message.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum LogLevel {
    /// Info, plus client connection errors.
    Debug,
    /// Warnings, plus startup, reload and shutdown.
    Info,
    /// Errors, plus local errors, masked failures and configuration warnings.
    Warn,
    /// Failed probes, failed reloads and internal errors.
    Error,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LevelFlag {
    Blackbox,
    Standard,
    Full,
}

/// Error of the command line or of a subcommand.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// Failure to write the results.
    #[error("failed to write the results: {0}")]
    Output(std::io::Error),
    /// Invalid value of a flag.
    #[error("--{flag}: {words}")]
    Flag {
        /// Name of the flag without the leading dashes.
        flag: &'static str,
        /// What is wrong, and what is expected.
        words: String,
    },
    /// Error in the configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Module that is not in the configuration, and the names of the modules that are.
    #[error("unknown module {0:?}: expected one of {1}")]
    UnknownModule(String, String),
    /// Probe that could not run for lack of local resources.
    #[error(transparent)]
    Own(#[from] glassbox_probe::probe::LocalError),
    /// Failed health check.
    #[error("not healthy: {0}")]
    Unhealthy(String),
}

/// The message of a failed subcommand. An error of a configuration file has the form of `config check`, which editors
/// recognise.
#[must_use]
pub fn message_of(error: &(dyn std::error::Error + 'static)) -> String {
    match error.downcast_ref() {
        Some(CliError::Config(ConfigError::Invalid { path, issue })) => format!("{}:{issue} [error]", path.display()),
        _ => format!("error: {error}"),
    }
}

impl Cli {
    /// Parses the command line. Expands arguments that refer to argument files (`@file`).
    ///
    /// # Errors
    /// When an argument is invalid, or an argument file cannot be read.
    pub fn read(mut written: impl Iterator<Item = OsString>) -> Result<Self, clap::Error> {
        let program = written.next().unwrap_or_default();
        let given = arguments::expanded(written);
        let given = given.map_err(|words| Self::command().error(clap::error::ErrorKind::Io, words))?;
        Self::try_parse_from(std::iter::once(program).chain(given))
    }

    /// Returns the output of `--help-man`.
    #[must_use]
    pub fn manual() -> String {
        let mut command = Self::command();
        command.build();
        man_page::page(&command)
    }

    /// Returns the completion script for a shell.
    #[must_use]
    pub fn completions(shell: Shell) -> Vec<u8> {
        let mut script = Vec::new();
        let mut command = Self::command();
        let name = command.get_name().to_owned();
        clap_complete::generate(shell, &mut command, name, &mut script);
        script
    }

    /// Returns the file to load: the value of the flag, or `blackbox.yml` if it exists.
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

    /// Returns the server settings.
    ///
    /// # Errors
    /// When the value of a flag is invalid.
    pub fn server_settings(&self) -> Result<ServerSettings, CliError> {
        let external = self.external_path()?;
        let route = given(self.route_prefix.as_deref()).map(external_url::encoded);
        Ok(ServerSettings {
            config_file: self.config_file(),
            web_config_file: given(self.web_config_file.as_deref()).map(PathBuf::from),
            defaults: self.defaults(),
            timeout_offset: offset(self.timeout_offset),
            history_limit: self.history.limit,
            store: self.history.store(),
            series_limit: self.series_limit as usize,
            series_idle: Duration::from_secs(self.series_idle.into()),
            route_prefix: prefix(route.as_deref().or(external.as_deref())),
            external_url: given(self.external_url.as_deref()).and_then(external_url::links_from),
            link_prefix: prefix(external.as_deref().or(route.as_deref())),
            allowed_hosts: self.allowed_hosts(),
            shutdown_timeout: Duration::from_secs(self.shutdown_timeout.into()),
        })
    }

    /// Collects the host names that reload requests may use: those of `--web.allowed-host`, the external URL and the
    /// listen addresses.
    fn allowed_hosts(&self) -> AllowedHosts {
        let external = given(self.external_url.as_deref()).and_then(external_url::host_of);
        let listened = self.listen_addresses.iter();
        let listened = listened.filter_map(|address| Some(HostPort::split(address)?.0.as_str().to_owned()));
        AllowedHosts::new(self.allowed_hosts.iter().cloned().chain(external).chain(listened))
    }

    /// Returns the path of the external URL.
    fn external_path(&self) -> Result<Option<String>, CliError> {
        let path = given(self.external_url.as_deref()).map(external_url::path_of);
        path.transpose().map_err(|words| CliError::Flag {
            flag: "web.external-url",
            words,
        })
    }

    /// Returns the minimum severity of probe log messages. The caller ignores an unknown severity, as
    /// `blackbox_exporter` does.
    ///
    /// # Errors
    /// When the severity is unknown.
    pub fn prober_level(&self) -> Result<LogLevel, String> {
        LogLevel::from_str(&self.log_prober, true).map_err(|_| format!("unrecognized log level {}", self.log_prober))
    }

    /// Returns where the server accepts connections.
    #[must_use]
    pub fn listen_addresses(&self) -> Listen<'_> {
        if self.systemd_socket {
            Listen::Inherited
        } else {
            Listen::At(&self.listen_addresses)
        }
    }

    /// Returns whether to validate the configuration and exit.
    #[must_use]
    pub const fn only_checks_config(&self) -> bool {
        self.config_check
    }

    /// Returns the configuration file to watch and the interval, or `None` if automatic reload is disabled.
    #[must_use]
    pub fn auto_reload(&self) -> Option<(PathBuf, Duration)> {
        let interval = Duration::from_secs(self.auto_reload_interval.clamp(1, u32::MAX.into()));
        self.auto_reload.then(|| Some((self.config_file()?, interval)))?
    }

    /// Loads and validates the configuration.
    ///
    /// # Errors
    /// When the configuration cannot be read or is invalid.
    pub fn check_config(&self) -> Result<(), CliError> {
        self.load().map(|_| ())
    }

    fn load(&self) -> Result<Config, CliError> {
        Ok(Config::load_or_default(self.config_file().as_deref(), self.defaults())?)
    }
}

/// Converts a path to a prefix without a trailing slash.
fn prefix(path: Option<&str>) -> String {
    match path.unwrap_or_default().trim_matches('/') {
        "" => String::new(),
        inner => format!("/{inner}"),
    }
}

/// Treats an empty value of a flag like an absent flag.
fn given(value: Option<&str>) -> Option<&str> {
    value.filter(|value| !value.is_empty())
}

fn seconds(number: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(number).ok()
}

/// Ignores a negative offset, which would extend a probe beyond the timeout of Prometheus.
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
