//! `glassbox_exporter` probes a target stage by stage, keeps histograms, and names the link of the chain that broke.
#![forbid(unsafe_code)]

pub mod cli;
pub mod config;
pub mod exposition;
pub mod history;
pub mod negotiation;
pub mod outage_detector;
pub mod scheduler;
pub mod self_metrics;
pub mod series;
pub mod server;
pub mod target_state;
pub mod workers;

use futures_util::FutureExt as _;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use sd_notify::NotifyState;
use server::App;
pub use server::listeners::listen;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// Time for open connections to receive their last responses after all probes have ended or were aborted.
const LAST_ANSWERS: Duration = Duration::from_secs(3);

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
        if glassbox_probe::check::panic_is_answer() {
            return;
        }
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "Panic: this is a defect of the exporter; please report it");
    }));
}

/// Serves until `shutdown` resolves. Then it accepts no new probes, lets those in flight end within
/// `--web.shutdown-timeout`, and returns.
///
/// # Errors
/// When a listener fails.
pub async fn run(app: Arc<App>, listeners: Vec<TcpListener>, shutdown: impl Future<Output = ()>) -> io::Result<()> {
    glassbox_probe::check::watch_files();
    glassbox_probe::check::watch_arrivals();
    let stop = watch::Sender::new(false);
    let mut servers = JoinSet::new();
    let own = listeners
        .iter()
        .map(TcpListener::local_addr)
        .collect::<io::Result<Arc<[_]>>>()?;
    log_start(&app, &own);
    app.scheduler.listens_at(own);
    tracing::info!(limits = app.bounds().join(" "), "Active limits");
    for listener in listeners {
        let secured = app.auth.config().tls.is_some();
        tracing::info!(tls = secured, address = %listener.local_addr()?, "Listening on");
        servers.spawn(server::serve(listener, app.clone(), stop.subscribe()));
    }
    notify_systemd(&[NotifyState::Ready]);
    shutdown.await;
    notify_systemd(&[NotifyState::Stopping]);
    tracing::info!("Draining: waiting for probes in flight, accepting no new ones");
    app.scheduler.drain();
    let most = app.shutdown_timeout();
    let idle = tokio::time::timeout(most.saturating_sub(LAST_ANSWERS), app.scheduler.idle());
    if idle.await.is_err() {
        tracing::warn!("Aborting the probes in flight with 503 responses: --web.shutdown-timeout has expired");
    }
    app.end();
    stop.send_replace(true);
    // A client that never finishes its request must not delay the exit of the process.
    let ended = tokio::time::timeout(LAST_ANSWERS.min(most), async {
        while let Some(ended) = servers.join_next().await {
            ended.map_err(io::Error::other)?;
        }
        Ok(())
    });
    ended.await.unwrap_or(Ok(()))
}

/// Writes the first log line: version, configuration file, number of modules, and listen addresses.
fn log_start(app: &App, listeners: &[SocketAddr]) {
    let listeners: Vec<_> = listeners.iter().map(ToString::to_string).collect();
    tracing::info!(
        version = cli::version_in_log(),
        config_file = app.config_file(),
        modules = app.scheduler.config().module_names().len(),
        listeners = listeners.join(","),
        "Starting glassbox_exporter"
    );
}

/// Notifies systemd of a state change (`sd_notify(3)`). Does nothing if systemd did not start the process.
fn notify_systemd(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "Error notifying systemd");
    }
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
            cli::flush_logs();
            std::process::exit(1);
        });
    })
}

/// Reloads the configuration on each SIGHUP.
///
/// # Errors
/// When the signal handler cannot be installed.
pub fn reload_on_hangup(app: Arc<App>) -> io::Result<()> {
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            reload(&app).await;
        }
    });
    Ok(())
}

/// Reloads the configuration when the content of the file differs from `seen`. The caller reads `seen` before it loads
/// the configuration for the first time, so that no change is missed in between.
pub async fn reload_on_change(app: Arc<App>, file: PathBuf, mut seen: Option<Vec<u8>>, interval: Duration) {
    let mut hanging: Option<JoinHandle<Option<Vec<u8>>>> = None;
    loop {
        tokio::time::sleep(interval).await;
        let read = file.clone();
        let was_hanging = hanging.is_some();
        let mut reading = hanging
            .take()
            .unwrap_or_else(|| tokio::task::spawn_blocking(move || std::fs::read(read).ok()));
        let Ok(now) = tokio::time::timeout(server::LONGEST_RELOAD, &mut reading).await else {
            // The read cannot be stopped, and another one would hang as well.
            hanging = Some(reading);
            if !was_hanging {
                app.scheduler.self_metrics().reloaded(false);
                tracing::error!(error = "reading the config file hangs", "Error reloading config");
            }
            continue;
        };
        let now = now.unwrap_or_default();
        if now != seen {
            seen = now;
            reload(&app).await;
        }
    }
}

async fn reload(app: &App) {
    let began = NotifyState::monotonic_usec_now().ok();
    let states: Vec<_> = [NotifyState::Reloading].into_iter().chain(began).collect();
    notify_systemd(&states);
    // A panic in one reload must not prevent later ones. The panic hook has logged it.
    match AssertUnwindSafe(app.reload()).catch_unwind().await {
        Ok(Ok(())) => tracing::info!("Reloaded config file"),
        Ok(Err(error)) => tracing::error!(%error, "Error reloading config"),
        Err(_panic) => app.scheduler.self_metrics().panicked(),
    }
    notify_systemd(&[NotifyState::Ready]);
}
