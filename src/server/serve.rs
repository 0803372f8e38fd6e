//! Accepts connections, performs TLS handshakes, serves HTTP/1 and HTTP/2, and shuts down gracefully.

use super::App;
use super::connections::{Connection, TrackedStream};
use crate::scheduler::ClientAddress;
use axum::Router;
use axum::http::{HeaderValue, Request, StatusCode};
use futures_util::FutureExt as _;
use hyper::server::conn::{http1, http2};
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use std::io;
use std::net;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

/// Pause after a failed `accept`, for example while no file descriptor is free.
const BREATH: Duration = Duration::from_millis(100);

/// Flow-control window of an HTTP/2 connection for unread request bodies, in bytes: the initial value of
/// RFC 9113 section 6.9.2.
const UNREAD: u32 = 65_535;

/// Serves a listener until `stop` becomes true. Then it accepts no new connections and waits for the open ones to end.
pub async fn serve(listener: TcpListener, app: Arc<App>, mut stop: watch::Receiver<bool>) {
    let routes = Routes {
        all: super::router(app.clone()),
        few: super::routes_in_need(app.clone()),
    };
    let ending = GracefulShutdown::new();
    loop {
        let taken = tokio::select! {
            taken = listener.accept() => taken,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        match taken {
            Ok((stream, _)) => {
                let connection = app.connections.admit(app.scheduler.limits().connections).await;
                // A tokio socket belongs to one runtime. Only a standard socket can move to another worker's
                // runtime.
                let Ok(stream) = stream.into_std() else { continue };
                let serve_connection = serve_connection(
                    stream,
                    Arc::new(connection),
                    routes.clone(),
                    app.clone(),
                    ending.watcher(),
                );
                app.scheduler.workers().spawn(serve_connection);
            }
            Err(error) if is_the_connections(&error) => {}
            Err(error) => {
                tracing::error!(%error, "Error accepting a connection");
                tokio::time::sleep(BREATH).await;
            }
        }
    }
    drop(listener);
    ending.shutdown().await;
}

/// Routes for regular connections (`all`) and for the extra ones beyond `limits.connections` (`few`).
#[derive(Clone)]
struct Routes {
    all: Router,
    few: Router,
}

/// Returns whether `accept` failed because the client closed the connection first.
fn is_the_connections(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

async fn serve_connection(
    stream: net::TcpStream,
    connection: Arc<Connection>,
    routes: Routes,
    app: Arc<App>,
    watcher: Watcher,
) {
    let stream = match TcpStream::from_std(stream) {
        Ok(stream) => stream,
        Err(error) => return tracing::error!(%error, "Error accepting a connection"),
    };
    let _ = stream.set_nodelay(true);
    let source = stream
        .peer_addr()
        .map(|at| ClientAddress::of(at.ip()))
        .unwrap_or_default();
    let tls = app.auth.config().tls.clone();
    let served = async {
        let Some(tls) = tls else {
            return requests((stream, false), source, &connection, &app, routes, watcher).await;
        };
        // Boxed below, so that a connection without TLS does not reserve memory for the handshake.
        let secured = async {
            let secured = TlsAcceptor::from(tls).accept(stream).await?;
            let over_http2 = secured.get_ref().1.alpn_protocol() == Some(b"h2");
            requests((secured, over_http2), source, &connection, &app, routes, watcher).await;
            Ok::<_, io::Error>(())
        };
        // Debug only: a client that fails the handshake has sent no request.
        if let Err(error) = Box::pin(secured).await {
            tracing::debug!(%error, "TLS handshake error");
        }
    };
    tokio::select! {
        () = served => {}
        ended = connection.overstays(app.scheduler.limits().request_head) => ended.count(app.scheduler.self_metrics()),
    }
}

/// Copies the URI and the header values, so that the request no longer refers to the read buffer of the connection
/// (8 KiB). The server keeps reading during a probe to detect a client that disconnects, and would otherwise allocate
/// a second buffer.
fn let_go<B>(request: Request<B>) -> Request<B> {
    let (mut head, body) = request.into_parts();
    if let Ok(own) = head.uri.to_string().parse() {
        head.uri = own;
    }
    for value in head.headers.values_mut() {
        if let Ok(own) = HeaderValue::from_bytes(value.as_bytes()) {
            *value = own;
        }
    }
    Request::from_parts(head, body)
}

async fn requests(
    (stream, over_http2): (impl AsyncRead + AsyncWrite + Unpin + Send + 'static, bool),
    source: ClientAddress,
    connection: &Arc<Connection>,
    app: &Arc<App>,
    routes: Routes,
    watcher: Watcher,
) {
    let all = TowerToHyperService::new(routes.all);
    let few = TowerToHyperService::new(routes.few);
    let (served, app) = (connection.clone(), app.clone());
    let head = app.scheduler.limits().request_head_size();
    let service = service_fn(move |request| {
        let mut request = let_go(request);
        request.extensions_mut().insert(source);
        let serving = served.serve();
        let is_extra = served.is_extra(app.scheduler.limits().connections);
        let answer = if is_extra { few.call(request) } else { all.call(request) };
        let app = app.clone();
        async move {
            // Unwind safety: a panic in a handler cannot leave shared state inconsistent.
            let answer = AssertUnwindSafe(answer).catch_unwind().await;
            drop(serving);
            answer.unwrap_or_else(|_panic| {
                app.scheduler.self_metrics().panicked();
                let words = "Internal error: this is a defect of the exporter; please report it.";
                Ok(super::error(StatusCode::INTERNAL_SERVER_ERROR, words))
            })
        }
    });
    let stream = TokioIo::new(TrackedStream {
        stream,
        connection: connection.clone(),
        begins_requests: !over_http2,
    });
    let ended = if over_http2 {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        // No handler reads a request body, so a larger window would only buffer unread data.
        builder
            .max_header_list_size(u32::try_from(head).unwrap_or(u32::MAX))
            .initial_connection_window_size(UNREAD)
            .initial_stream_window_size(UNREAD);
        let serving = builder.serve_connection(stream, service);
        Box::pin(watcher.watch(serving)).await
    } else {
        let mut builder = http1::Builder::new();
        builder.max_buf_size(head);
        watcher.watch(builder.serve_connection(stream, service)).await
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "Connection ended early");
    }
}
