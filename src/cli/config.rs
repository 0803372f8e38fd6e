//! `config check` and `config explain`: report the problems of a configuration, and print its effective values.

use super::{Cli, CliError};
use crate::config::{Config, ConfigError};
use crate::series::{Series, SeriesLayout};
use glassbox_probe::metrics::MetricPage;
use glassbox_probe::probers::Module;
use glassbox_probe::target::Target;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Subcommands of `config`.
#[derive(Debug, clap::Subcommand)]
pub enum ConfigCommand {
    /// Print all errors and warnings of a configuration file. Exits with 1 if the file has errors.
    Check(ConfigFileArgument),
    /// Print the effective configuration: all defaults, masked secrets, and the number of series per target.
    Explain(ConfigFileArgument),
}

/// Argument of `config check` and `config explain`.
#[derive(Debug, clap::Args)]
pub struct ConfigFileArgument {
    /// Configuration file [default: the value of --config.file].
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
}

impl Cli {
    /// Runs `config check` or `config explain`. Returns the output, and whether the configuration is valid.
    ///
    /// # Errors
    /// When the file cannot be read. `config explain` also fails if the file is invalid.
    pub fn config(&self, command: &ConfigCommand) -> Result<(String, bool), CliError> {
        match command {
            ConfigCommand::Check(argument) => {
                let (path, text) = self.text_of(argument)?;
                Ok(self.findings(&path, &text))
            }
            ConfigCommand::Explain(argument) => {
                let (path, text) = self.text_of(argument)?;
                let config = Config::parse(&text, self.defaults());
                let config = config.map_err(|issue| ConfigError::Invalid { path, issue })?;
                Ok((explained(&config), true))
            }
        }
    }

    fn text_of(&self, argument: &ConfigFileArgument) -> Result<(PathBuf, String), CliError> {
        let file = argument.file.clone().or_else(|| self.config_file());
        Ok(Config::text(file.as_deref())?)
    }

    fn findings(&self, path: &Path, text: &str) -> (String, bool) {
        let findings = Config::examine(text, self.defaults());
        let mut out = String::new();
        let mut put = |kind: &str, issue| {
            // Writing to a String cannot fail.
            let _ = writeln!(out, "{}:{issue} [{kind}]", path.display());
        };
        for issue in &findings.issues {
            put("error", issue);
        }
        for warning in &findings.warnings {
            put("warning", warning);
        }
        let counted = |count: usize, what: &str| match count {
            1 => format!("1 {what}"),
            count => format!("{count} {what}s"),
        };
        let (errors, warnings) = (findings.issues.len(), findings.warnings.len());
        let _ = writeln!(
            out,
            "{}: {}, {}",
            path.display(),
            counted(errors, "error"),
            counted(warnings, "warning")
        );
        (out, findings.issues.is_empty())
    }
}

/// Returns the configuration with all defaults, preceded by the number of series per target of each module.
fn explained(config: &Config) -> String {
    let mut out = String::new();
    for name in config.module_names() {
        if let Some(module) = config.module(name) {
            let _ = writeln!(out, "# {name}: {}", budget(module));
        }
    }
    out.push_str(&config.explain());
    out
}

/// Sample targets: the number of series depends only on whether the target uses TLS.
const PLAIN: &str = "http://target.example/";
const SECURED: &str = "https://target.example/";

/// Describes how many series a target keeps between probes.
fn budget(module: &Module) -> String {
    let kept = |target: &str| {
        let mut page = MetricPage::new(module.metrics);
        let target = Target::new(target);
        let frame = SeriesLayout::of(module, &target);
        Series::new(frame.into(), SystemTime::UNIX_EPOCH).write(&mut page);
        let samples = page.sorted().into_iter().flat_map(|family| family.samples);
        samples.map(|sample| sample.value.series()).sum::<usize>()
    };
    let (plain, secured) = (kept(PLAIN), kept(SECURED));
    let of_kind = if plain == secured {
        format!("{plain} histogram and counter series per target")
    } else {
        format!("{plain} histogram and counter series per target, {secured} over TLS")
    };
    format!("{of_kind}; docs/metrics.md lists the additional gauges")
}
