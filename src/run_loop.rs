//! The run loop of the server: start, reloads, and the end.

use crate::cli;
use crate::process::notify_systemd;
use crate::server::{self, App};
use futures_util::FutureExt as _;
use glassbox_probe::check;
use sd_notify::NotifyState;
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

/// Serves until `shutdown` resolves. Then it accepts no new probes, lets those in flight end within
/// `--web.shutdown-timeout`, and returns.
///
/// # Errors
/// When a listener fails.
pub async fn run(app: Arc<App>, listeners: Vec<TcpListener>, shutdown: impl Future<Output = ()>) -> io::Result<()> {
    check::watch_files();
    check::watch_arrivals();
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
    let written = async {
        if let Some(store) = app.scheduler.history().store() {
            store.flush(LAST_ANSWERS.min(most)).await;
        }
    };
    let (ended, ()) = tokio::join!(ended, written);
    ended.unwrap_or(Ok(()))
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
