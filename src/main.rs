//! The binary: parses the command line, sets up logs and signals, and runs the command.
#![forbid(unsafe_code)]

use glassbox_exporter::cli::{self, Cli, CliError, Command, LogLevel};
use glassbox_exporter::logs::{LogLines, flush_logs};
use glassbox_exporter::server::App;
use glassbox_exporter::server::listeners::listen;
use glassbox_exporter::workers::{self, Workers};
use glassbox_exporter::{process, run_loop};
use std::io::{ErrorKind, Write as _};
use std::process::ExitCode;
use std::sync::Arc;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// A probe makes about 300 small allocations, which take more CPU time with the system allocator
/// (`docs/performance.md`).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::read(std::env::args_os()).unwrap_or_else(|error| error.exit());
    if cli.help_man {
        print!("{}", Cli::manual());
        return ExitCode::SUCCESS;
    }
    if cli.version || matches!(cli.command, Some(Command::Version)) {
        print!("{}", cli::version_text());
        return ExitCode::SUCCESS;
    }
    if let Some(Command::Completions { shell }) = cli.command {
        let written = std::io::stdout().write_all(&Cli::completions(shell));
        // A reader may stop early, such as `head`.
        let is_complete = written.map_or_else(|error| error.kind() == ErrorKind::BrokenPipe, |()| true);
        return if is_complete {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        };
    }
    start_logs(&cli);
    process::log_panics_by_location();
    let runtime = match workers::runtime() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "Error starting the runtime");
            flush_logs();
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(run(&cli)).unwrap_or_else(|error| {
        // A command writes for a person, the server writes a log.
        if cli.command.is_some() {
            eprintln!("{}", cli::message_of(&*error));
        } else {
            tracing::error!(%error, "Error");
        }
        ExitCode::FAILURE
    });
    flush_logs();
    // A file system read that hangs must not delay the exit of the process.
    runtime.shutdown_background();
    code
}

async fn run(cli: &Cli) -> Result<ExitCode, Box<dyn std::error::Error>> {
    match &cli.command {
        Some(Command::Check(command)) => Ok(if cli.check(command).await? {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }),
        Some(Command::Config(command)) => {
            let (text, is_valid) = cli.config(command)?;
            print!("{text}");
            Ok(if is_valid { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Some(Command::Healthcheck(command)) => {
            cli::healthcheck(command).await?;
            Ok(ExitCode::SUCCESS)
        }
        // Printed before the start of the runtime.
        Some(Command::Completions { .. } | Command::Version) => Ok(ExitCode::SUCCESS),
        None if cli.only_checks_config() => {
            cli.check_config()?;
            tracing::info!("Config file is ok exiting...");
            Ok(ExitCode::SUCCESS)
        }
        None => serve(cli).await,
    }
}

async fn serve(cli: &Cli) -> Result<ExitCode, Box<dyn std::error::Error>> {
    process::raise_file_limit();
    let watched = cli
        .auto_reload()
        .map(|(file, interval)| (std::fs::read(&file).ok(), file, interval));
    let workers = Workers::one_for_each_processor()?;
    let app = Arc::new(App::new(cli.server_settings()?, workers).map_err(CliError::Config)?);
    let listeners = listen(cli.listen_addresses()).await?;
    run_loop::reload_on_hangup(app.clone())?;
    if let Some((seen, file, interval)) = watched {
        tokio::spawn(run_loop::reload_on_change(app.clone(), file, seen, interval));
    }
    run_loop::run(app, listeners, process::termination()?).await?;
    Ok(ExitCode::SUCCESS)
}

fn start_logs(cli: &Cli) {
    let prober_level = cli.prober_level();
    let filter = Targets::new()
        .with_default(filter(cli.log_level))
        .with_target("prober", filter(*prober_level.as_ref().unwrap_or(&LogLevel::Info)));
    let lines = LogLines::new(cli.log_format);
    tracing_subscriber::registry().with(lines.with_filter(filter)).init();
    if let Err(error) = prober_level {
        let level = "info";
        tracing::warn!(
            error,
            current_level = level,
            "Error setting log prober level, log prober level unchanged"
        );
    }
}

const fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Error => LevelFilter::ERROR,
    }
}
