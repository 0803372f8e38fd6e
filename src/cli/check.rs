//! `check`: runs the same probe as the server from a terminal, once or several times.

use super::terminal::Terminal;
use super::{Cli, CliError, seconds};
use crate::exposition::check_summary::CheckSummary;
use crate::exposition::waterfall;
use crate::exposition::{evidence, har};
use crate::history::{History, HistoryEntry};
use glassbox_probe::budget::DiagnosticsBudgets;
use glassbox_probe::check::{Dialer, ProbeContext};
use glassbox_probe::previous_probes::PreviousProbes;
use glassbox_probe::probe::Probe;
use glassbox_probe::probers::ProbeRequest;
use glassbox_probe::target::Target;
use glassbox_verdict::backend::Backend;
use std::io::{IsTerminal as _, Write};
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::MissedTickBehavior;

/// Arguments of `check`.
#[derive(Debug, clap::Args)]
pub struct CheckCommand {
    /// Target, as in the "target" scrape parameter.
    #[arg(value_name = "URL")]
    target: String,
    /// Module name.
    #[arg(long, default_value = "http_2xx")]
    module: String,
    /// Virtual host, as in the "hostname" scrape parameter.
    #[arg(long)]
    hostname: Option<String>,
    /// Backends behind the edge, ordered from the edge to the origin, as in the "backend" scrape parameter:
    /// NAME@ADDRESS:PORT[;tls][;sni=NAME][;host=NAME],…
    #[arg(long, value_name = "BACKENDS")]
    backend: Option<String>,
    /// Maximum duration of a probe in seconds. The module's timeout takes precedence if it is shorter.
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0)]
    timeout: f64,
    /// Print only the evidence, as JSON. With several probes, print one line per probe.
    #[arg(long)]
    json: bool,
    /// Write the last probe to a file as an HTTP Archive (HAR 1.2).
    #[arg(long, value_name = "FILE")]
    har: Option<PathBuf>,
    /// Number of probes. With more than one, print a summary: percentiles by phase, a histogram, and the share of each
    /// verdict.
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    count: u32,
    /// Interval between the starts of two probes, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0)]
    interval: f64,
}

impl CheckCommand {
    fn backends(&self) -> Result<Vec<Backend>, CliError> {
        let read = self.backend.as_deref().map(Backend::read_all).transpose();
        let backends = read.map_err(|error| CliError::Flag {
            flag: "backend",
            words: error.to_string(),
        })?;
        Ok(backends.unwrap_or_default())
    }
}

impl Cli {
    /// Runs `check`: prints the results, and returns whether all probes succeeded.
    ///
    /// # Errors
    /// When a probe cannot run, or the output cannot be written.
    pub async fn check(&self, command: &CheckCommand) -> Result<bool, CliError> {
        let probe = self.probe_of(command)?;
        let Some(interval) = seconds(command.interval) else {
            return Err(CliError::Flag {
                flag: "interval",
                words: format!(
                    "invalid number \"{}\": expected a number of seconds, 0 or more",
                    command.interval
                ),
            });
        };
        let mut out = Output::new(command);
        // A history of one entry. The output then has the same format as a server's evidence.
        let history = History::new(1, std::process::id());
        let mut turns = tokio::time::interval(interval.max(Duration::from_millis(1)));
        // Skip the probes that were missed while a target did not respond.
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut interrupted = pin!(tokio::signal::ctrl_c());
        let mut summary = CheckSummary::default();
        let mut previous = PreviousProbes {
            budget: Some(Arc::new(DiagnosticsBudgets::default()).account(&command.target)),
            ..PreviousProbes::default()
        };
        for _ in 0..command.count {
            let next = async {
                turns.tick().await;
                probe.clone().once(&previous).await
            };
            let finding = tokio::select! {
                biased;
                finding = next => finding?,
                // The summary covers the probes so far.
                _ = &mut interrupted => break,
            };
            previous.probes += 1;
            summary.add(&finding);
            let entry = history.add(history.name(), finding);
            out.show(&entry, &summary).map_err(CliError::Output)?;
        }
        out.end(&summary).map_err(CliError::Output)?;
        Ok(summary.is_good())
    }

    fn probe_of(&self, command: &CheckCommand) -> Result<Probe, CliError> {
        let config = self.load()?;
        let module = config
            .module(&command.module)
            .cloned()
            .ok_or_else(|| CliError::UnknownModule(command.module.clone(), config.module_names().join(", ")))?;
        let timeout = seconds(command.timeout)
            .filter(|timeout| !timeout.is_zero())
            .ok_or(CliError::Flag {
                flag: "timeout",
                words: format!(
                    "invalid number \"{}\": expected a number of seconds above 0",
                    command.timeout
                ),
            })?;
        Ok(Probe {
            timeout: module.timeout.map_or(timeout, |own| own.min(timeout)),
            context: ProbeContext {
                dialer: Dialer::new(config.policy().clone(), Arc::default(), Arc::default())
                    .within(module.allowlist.clone()),
                limits: *config.limits(),
                ..ProbeContext::default()
            },
            module,
            requested: ProbeRequest {
                target: Target::new(&command.target),
                hostname: command.hostname.clone(),
                backends: command.backends()?,
            },
            controls: config.controls().clone(),
        })
    }
}

/// Writer of the results.
struct Output<'a> {
    command: &'a CheckCommand,
    out: std::io::Stdout,
    terminal: Terminal,
    /// Whether the output is a terminal that can overwrite a line.
    is_terminal: bool,
    /// Time of the last progress update.
    drawn: Option<Instant>,
}

/// Minimum time between two progress updates.
const FRAME: Duration = Duration::from_millis(100);

/// Number of columns if the terminal size is unknown.
const COLUMNS: usize = 80;

impl<'a> Output<'a> {
    fn new(command: &'a CheckCommand) -> Self {
        let out = std::io::stdout();
        let is_dumb = std::env::var_os("TERM").is_some_and(|name| name == "dumb");
        Self {
            command,
            terminal: Terminal::of_stdout(),
            is_terminal: out.is_terminal() && !is_dumb,
            drawn: None,
            out,
        }
    }

    fn show(&mut self, entry: &HistoryEntry, summary: &CheckSummary) -> std::io::Result<()> {
        if let Some(file) = &self.command.har {
            std::fs::write(file, format!("{:#}\n", har::json(entry)))?;
        }
        let many = self.command.count > 1;
        if self.command.json {
            let json = evidence::json(entry);
            writeln!(
                self.out,
                "{}",
                if many { json.to_string() } else { format!("{json:#}") }
            )?;
        } else if !many {
            // This writer removes the colours if the output is not a terminal, or if the environment disables them
            // (`NO_COLOR`).
            let text = waterfall::text(&entry.finding, self.terminal.columns());
            write!(anstream::stdout(), "{}", self.terminal.fit(&text))?;
        } else if self.is_terminal {
            let count = usize::try_from(self.command.count).unwrap_or(usize::MAX);
            let is_last = summary.probes() == count;
            if is_last || self.drawn.is_none_or(|drawn| drawn.elapsed() >= FRAME) {
                self.drawn = Some(Instant::now());
                // Overwrite the previous line, which must not have wrapped.
                let columns = self.terminal.columns().unwrap_or(COLUMNS);
                let line: String = summary.progress(count).chars().take(columns.max(2) - 1).collect();
                write!(self.out, "\r\x1b[K{line}")?;
            }
        }
        self.out.flush()
    }

    fn end(&mut self, summary: &CheckSummary) -> std::io::Result<()> {
        if self.command.count > 1 && !self.command.json {
            if self.is_terminal {
                writeln!(self.out)?;
            }
            write!(self.out, "{}", self.terminal.fit(&summary.text()))?;
        }
        self.out.flush()
    }
}
