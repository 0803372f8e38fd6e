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

use server::App;
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What open connections get to take their last answers once all probes have ended.
const LAST_ANSWERS: Duration = Duration::from_secs(3);

/// Opens the addresses, as the peer spells them: `:9115` is every address of this host.
///
/// # Errors
/// When an address is no address or cannot be had.
pub async fn listen(addresses: &[String]) -> io::Result<Vec<TcpListener>> {
    let mut listeners = Vec::new();
    for address in addresses {
        let listener = match address.strip_prefix(':') {
            Some(port) => match TcpListener::bind(format!("[::]:{port}")).await {
                // A host without IPv6 has only the other family.
                Err(_) => TcpListener::bind(format!("0.0.0.0:{port}")).await,
                opened => opened,
            },
            None => TcpListener::bind(address).await,
        };
        listeners.push(listener.map_err(|error| io::Error::new(error.kind(), format!("{address}: {error}")))?);
    }
    Ok(listeners)
}

/// Serves until `shutdown`, then takes no new probe, lets those in flight end, and returns.
///
/// # Errors
/// When a listener fails.
pub async fn run(app: Arc<App>, listeners: Vec<TcpListener>, shutdown: impl Future<Output = ()>) -> io::Result<()> {
    let stop = watch::Sender::new(false);
    let mut servers = JoinSet::new();
    for listener in listeners {
        tracing::info!(address = %listener.local_addr()?, "Listening on");
        let mut stopped = stop.subscribe();
        let serving = axum::serve(listener, server::router(app.clone())).with_graceful_shutdown(async move {
            // The sender lives until all servers have ended.
            let _ = stopped.wait_for(|stop| *stop).await;
        });
        servers.spawn(serving.into_future());
    }
    shutdown.await;
    tracing::info!("Draining: no new probes, those in flight end");
    app.patrol.drain();
    app.patrol.idle().await;
    stop.send_replace(true);
    // No probe is left; a client that never finishes its request must not keep the process.
    let ended = tokio::time::timeout(LAST_ANSWERS, async {
        while let Some(ended) = servers.join_next().await {
            ended.map_err(io::Error::other)??;
        }
        Ok(())
    });
    ended.await.unwrap_or(Ok(()))
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
        let now = tokio::task::block_in_place(|| std::fs::read(&file)).ok();
        if now != seen {
            seen = now;
            reload(&app).await;
        }
    }
}

async fn reload(app: &App) {
    match app.reload().await {
        Ok(()) => tracing::info!("Reloaded config file"),
        Err(error) => tracing::error!(%error, "Error reloading config"),
    }
}
