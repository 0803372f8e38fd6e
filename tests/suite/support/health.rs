//! gRPC health services on loopback: one with the Debian package of gRPC, and servers with responses from the test.

use super::peer::Peer;
use super::process::{Process, free_port};
use bytes::Bytes;
use http::{HeaderMap, Response};
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncRead, AsyncWrite};

/// A server that responds to every call with this body, and with this status in the trailers unless it is empty.
pub async fn health(body: &'static [u8], status: &'static str) -> Peer {
    Peer::start(move |stream| async move {
        let Ok(mut connection) = h2::server::handshake(stream).await else {
            return;
        };
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            let head = Response::builder()
                .header("content-type", "application/grpc")
                .body(())
                .unwrap();
            let mut answer = respond.send_response(head, false).unwrap();
            if status.is_empty() {
                answer.send_data(Bytes::from_static(body), true).unwrap();
                continue;
            }
            answer.send_data(Bytes::from_static(body), false).unwrap();
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", status.parse().unwrap());
            answer.send_trailers(trailers).unwrap();
        }
    })
    .await
}

/// The framed message `SERVING` of a health service.
const SERVING: &[u8] = b"\0\0\0\0\x02\x08\x01";

/// Header fields in order. A name may occur several times.
type Pairs = &'static [(&'static str, &'static str)];

fn fields(pairs: Pairs) -> HeaderMap {
    let mut fields = HeaderMap::new();
    for (name, value) in pairs {
        fields.append(*name, value.parse().unwrap());
    }
    fields
}

async fn serves(stream: tokio::net::TcpStream, head: Pairs, trailers: Pairs) {
    let Ok(mut connection) = h2::server::handshake(stream).await else {
        return;
    };
    while let Some(Ok((_, mut respond))) = connection.accept().await {
        let mut response = Response::new(());
        *response.headers_mut() = fields(head);
        let mut answer = respond.send_response(response, false).unwrap();
        answer.send_data(Bytes::from_static(SERVING), false).unwrap();
        answer.send_trailers(fields(trailers)).unwrap();
    }
}

/// A server that responds `SERVING`, with these header and trailer fields.
pub async fn answering(head: Pairs, trailers: Pairs) -> Peer {
    Peer::start(move |stream| serves(stream, head, trailers)).await
}

/// A healthy server at an IPv4 or IPv6 address.
pub async fn health_at(address: &str) -> std::net::SocketAddr {
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serves(
                stream,
                &[("content-type", "application/grpc")],
                &[("grpc-status", "0")],
            ));
        }
    });
    at
}

/// A server that resets every call with this error code (RFC 9113 section 7).
pub async fn resetting(code: u32) -> Peer {
    Peer::start(move |stream| async move {
        let Ok(mut connection) = h2::server::handshake(stream).await else {
            return;
        };
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            respond.send_reset(code.into());
        }
    })
    .await
}

/// A health service with the Debian package of gRPC: `good` is `SERVING`, `bad` is `NOT_SERVING`, all others are unknown.
const SERVICE: &str = r#"
import sys, grpc
from concurrent import futures
STATUS = {b"": 1, b"good": 1, b"bad": 2}
def check(request, context):
    name = request[2:] if request else b""
    if name == b"meta":
        found = dict(context.invocation_metadata()).get("x-key")
        return b"\x08\x01" if found == "secret" else b"\x08\x02"
    if name not in STATUS:
        context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
    return b"\x08" + bytes([STATUS[name]])
handler = grpc.unary_unary_rpc_method_handler(check)
server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": handler}),))
place = "127.0.0.1:" + sys.argv[1]
if len(sys.argv) > 2:
    pair = (open(sys.argv[3], "rb").read(), open(sys.argv[2], "rb").read())
    server.add_secure_port(place, grpc.ssl_server_credentials((pair,)))
else:
    server.add_insecure_port(place)
server.start()
server.wait_for_termination()
"#;

/// Starts that health service and returns its port. It uses TLS if a certificate and key are given.
pub async fn debians(pair: Option<(PathBuf, PathBuf)>) -> (Process, u16) {
    let port = free_port();
    let mut command = Command::new("/usr/bin/python3");
    command.args(["-c", SERVICE, &port.to_string()]);
    if let Some((certificate, key)) = pair {
        command.args([certificate, key]);
    }
    let mut server = Process::start(&mut command);
    server.listens(port).await;
    (server, port)
}

/// `:authority` values of the requests, in order.
pub type Authorities = Arc<Mutex<Vec<String>>>;

/// A server that records `:authority` and responds to every call with only this status and these fields.
pub async fn strange(
    status: u16,
    fields: &'static [(&'static str, &'static str)],
    tls: Option<Arc<rustls::ServerConfig>>,
) -> (Peer, Authorities) {
    let seen = Authorities::default();
    let noted = seen.clone();
    let serve = move |stream: Box<dyn Stream>| {
        let seen = noted.clone();
        async move {
            let Ok(mut connection) = h2::server::handshake(stream).await else {
                return;
            };
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                let authority = request.uri().authority().map(ToString::to_string);
                seen.lock().unwrap().push(authority.unwrap_or_default());
                let mut head = Response::builder().status(status);
                for (name, value) in fields {
                    head = head.header(*name, *value);
                }
                let _ = respond.send_response(head.body(()).unwrap(), true);
            }
        }
    };
    let peer = match tls {
        None => Peer::start(move |stream| serve(Box::new(stream))).await,
        Some(config) => Peer::with_tls(config, move |stream| serve(Box::new(stream))).await,
    };
    (peer, seen)
}

/// A connection with or without TLS.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}
