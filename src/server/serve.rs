//! Connections: taken, secured where that is asked for, served, and ended in peace.

use super::gate::Gate;
use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

/// How long a client may take for its handshake.
const PATIENCE: Duration = Duration::from_secs(10);

/// What waits while there is no file descriptor for another connection.
const BREATH: Duration = Duration::from_millis(100);

/// Serves a listener until `stop` says so; then takes no new connection, and lets those that are there end.
pub async fn serve(listener: TcpListener, routes: Router, gate: Arc<Gate>, mut stop: watch::Receiver<bool>) {
    let ending = GracefulShutdown::new();
    loop {
        let taken = tokio::select! {
            taken = listener.accept() => taken,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        match taken {
            Ok((stream, _)) => {
                let (routes, gate, watcher) = (routes.clone(), gate.clone(), ending.watcher());
                tokio::spawn(connection(stream, routes, gate, watcher));
            }
            Err(error) if is_the_connections(&error) => {}
            Err(error) => {
                tracing::error!(%error, "Error taking a connection");
                tokio::time::sleep(BREATH).await;
            }
        }
    }
    drop(listener);
    ending.shutdown().await;
}

/// Whether it was the client that ended a connection that was not yet taken.
fn is_the_connections(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

async fn connection(stream: TcpStream, routes: Router, gate: Arc<Gate>, watcher: Watcher) {
    let _ = stream.set_nodelay(true);
    let config = gate.config();
    let Some(tls) = config.tls.clone() else {
        return requests(stream, false, routes, watcher).await;
    };
    // Who hangs up in the handshake, or never begins it, asks for nothing.
    match tokio::time::timeout(PATIENCE, TlsAcceptor::from(tls).accept(stream)).await {
        Ok(Ok(secured)) => {
            let http2 = secured.get_ref().1.alpn_protocol() == Some(b"h2");
            requests(secured, http2, routes, watcher).await;
        }
        Ok(Err(error)) => tracing::debug!(%error, "TLS handshake error"),
        Err(_) => tracing::debug!("TLS handshake timeout"),
    }
}

async fn requests(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    http2: bool,
    routes: Router,
    watcher: Watcher,
) {
    let mut builder = Builder::new(TokioExecutor::new());
    builder = if http2 {
        builder.http2_only()
    } else {
        builder.http1_only()
    };
    let serving = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
    if let Err(error) = watcher.watch(serving).await {
        tracing::debug!(error = %error, "A connection ended early");
    }
}
