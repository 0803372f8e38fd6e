//! The process: its limits, panics, signals and the service manager.

use crate::logs::flush_logs;
use glassbox_probe::check;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use sd_notify::NotifyState;
use std::future::Future;
use std::io;
use tokio::signal::unix::{SignalKind, signal};

/// Raises the open file limit to its hard limit, because each probe and each connection needs file descriptors.
pub fn raise_file_limit() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
        && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
    {
        tracing::warn!(%error, soft, hard, "Error raising the open file limit");
    }
}

/// Makes panics log only their source location, because their message may contain parts of a configuration or a
/// response.
pub fn log_panics_by_location() {
    std::panic::set_hook(Box::new(|panic| {
        if check::panic_is_answer() {
            return;
        }
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "Panic: this is a defect of the exporter; please report it");
    }));
}

/// Resolves on SIGTERM or SIGINT. A second signal ends the process immediately.
///
/// # Errors
/// When the signal handlers cannot be installed.
pub fn termination() -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            flush_logs();
            std::process::exit(1);
        });
    })
}

/// Notifies systemd of a state change (`sd_notify(3)`). Does nothing if systemd did not start the process.
pub(crate) fn notify_systemd(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "Error notifying systemd");
    }
}
