//! `glassbox_exporter` probes a target stage by stage, keeps histograms, and names the link of the chain that broke.
#![forbid(unsafe_code)]

pub mod attribution;
pub mod baseline;
pub mod chain;
pub mod check;
pub mod cli;
pub mod config;
pub mod controls;
mod drill;
pub mod evidence_id;
pub mod exposition;
pub mod gateways;
pub mod history;
pub mod hop;
pub mod investigation;
pub mod ledger;
pub mod limits;
pub mod memory;
pub mod metrics;
pub mod negotiation;
pub mod own;
pub mod past;
pub mod patrol;
pub mod policy;
pub mod probe;
pub mod probers;
pub mod quorum;
pub mod reason;
pub mod regexp;
pub mod report;
pub mod secret;
pub mod series;
pub mod server;
pub mod target;
pub mod utc;
pub mod verdict;
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
use tokio::task::JoinSet;

/// What open connections get to take their last answers once all probes have ended.
const LAST_ANSWERS: Duration = Duration::from_secs(3);

/// Lets this process open as many files as it may: each probe needs some, and so does each connection.
pub fn raise_file_limit() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
        && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
    {
        tracing::warn!(%error, soft, hard, "The limit of open files stays as it is");
    }
}

/// Has panics told by their place alone: their words may hold what a configuration or a peer says.
pub fn tell_panics_by_their_place() {
    std::panic::set_hook(Box::new(|panic| {
        if check::panic_is_answer() {
            return;
        }
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "Panic: this is a defect of the exporter; please report it");
    }));
}

/// Serves until `shutdown`, then takes no new probe, lets those in flight end, and returns.
///
/// # Errors
/// When a listener fails.
pub async fn run(app: Arc<App>, listeners: Vec<TcpListener>, shutdown: impl Future<Output = ()>) -> io::Result<()> {
    check::watch_files();
    let stop = watch::Sender::new(false);
    let mut servers = JoinSet::new();
    let own = listeners
        .iter()
        .map(TcpListener::local_addr)
        .collect::<io::Result<Arc<[_]>>>()?;
    tell_start(&app, &own);
    app.patrol.listens_at(own);
    tracing::info!(limits = app.bounds().join(" "), "Bounds");
    for listener in listeners {
        let secured = app.gate.config().tls.is_some();
        tracing::info!(tls = secured, address = %listener.local_addr()?, "Listening on");
        servers.spawn(server::serve(listener, app.clone(), stop.subscribe()));
    }
    tell_systemd(&[NotifyState::Ready]);
    shutdown.await;
    tell_systemd(&[NotifyState::Stopping]);
    tracing::info!("Draining: no new probes, those in flight end");
    app.patrol.drain();
    app.patrol.idle().await;
    stop.send_replace(true);
    // No probe is left; a client that never finishes its request must not keep the process.
    let ended = tokio::time::timeout(LAST_ANSWERS, async {
        while let Some(ended) = servers.join_next().await {
            ended.map_err(io::Error::other)?;
        }
        Ok(())
    });
    ended.await.unwrap_or(Ok(()))
}

/// The first line of the log: what runs here, with which configuration, and where.
fn tell_start(app: &App, listeners: &[SocketAddr]) {
    let listeners: Vec<_> = listeners.iter().map(ToString::to_string).collect();
    tracing::info!(
        version = cli::version_in_log(),
        config_file = app.config_file(),
        modules = app.patrol.config().module_names().len(),
        listeners = listeners.join(","),
        "Starting glassbox_exporter"
    );
}

/// Where systemd started us and waits for word (`sd_notify(3)`); anywhere else this does nothing.
fn tell_systemd(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd cannot be told");
    }
}

/// Resolves at SIGTERM or SIGINT. A second one ends the process at once.
///
/// # Errors
/// When signals cannot be had.
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
            std::process::exit(1);
        });
    })
}

/// Loads the configuration again at each SIGHUP.
///
/// # Errors
/// When signals cannot be had.
pub fn reload_on_hangup(app: Arc<App>) -> io::Result<()> {
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            reload(&app).await;
        }
    });
    Ok(())
}

/// Loads the configuration again when the file's content is no longer what was `seen`. That is read before the
/// configuration is loaded first, so that no change falls between.
pub async fn reload_on_change(app: Arc<App>, file: PathBuf, mut seen: Option<Vec<u8>>, interval: Duration) {
    loop {
        tokio::time::sleep(interval).await;
        let read = file.clone();
        let now = tokio::task::spawn_blocking(move || std::fs::read(read).ok());
        let now = now.await.unwrap_or_default();
        if now != seen {
            seen = now;
            reload(&app).await;
        }
    }
}

async fn reload(app: &App) {
    let began = NotifyState::monotonic_usec_now().ok();
    let states: Vec<_> = [NotifyState::Reloading].into_iter().chain(began).collect();
    tell_systemd(&states);
    // What goes wrong in one reload must not end all later ones. The hook has told of it.
    match AssertUnwindSafe(app.reload()).catch_unwind().await {
        Ok(Ok(())) => tracing::info!("Reloaded config file"),
        Ok(Err(error)) => tracing::error!(%error, "Error reloading config"),
        Err(_panic) => app.patrol.own().panicked(),
    }
    tell_systemd(&[NotifyState::Ready]);
}
