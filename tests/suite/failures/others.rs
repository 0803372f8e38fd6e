//! Failures of the probers other than http.

use super::{PATIENCE, Row, Scene, row};
use crate::support::dns::{DnsServer, Says};
use crate::support::peer::{Peer, read_head, reset};
use crate::support::process::free_port;
use hickory_proto::op::ResponseCode;
use std::future::pending;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

pub(super) fn rows() -> Vec<Row> {
    [dialogues(), name_servers(), sockets(), proxies()]
        .into_iter()
        .flatten()
        .collect()
}

/// A module that waits for a banner.
const BANNER: &str = "preferred_ip_protocol: ip4\nquery_response: [{expect: ^220}]";

fn dialogues() -> Vec<Row> {
    let heard = "resolve connect processing transfer!";
    vec![
        row(
            "a silent server",
            ("tcp.no_response", "edge"),
            "resolve connect processing!",
            async {
                let peer = Peer::start(hold).await;
                Scene::new(peer.address.to_string(), peer)
                    .by("tcp", BANNER)
                    .module(PATIENCE)
            },
        ),
        row(
            "a server that closes without a response",
            ("tcp.closed", "edge"),
            "resolve connect processing!",
            async {
                let peer = Peer::start(|stream| async move { drop(stream) }).await;
                Scene::new(peer.address.to_string(), peer).by("tcp", BANNER)
            },
        ),
        row(
            "a server that resets instead of responding",
            ("tcp.reset", "edge"),
            "resolve connect request processing!",
            async {
                let peer = Peer::start(|mut stream| async move {
                    let _ = stream.read_u8().await;
                    reset(&stream);
                })
                .await;
                Scene::new(peer.address.to_string(), peer).by("tcp", "query_response: [{send: hello}, {expect: hello}]")
            },
        ),
        row(
            "an unexpected banner and a close",
            ("content.expect", "content"),
            heard,
            async {
                let peer = says(b"554 no\r\n").await;
                Scene::new(peer.address.to_string(), peer).by("tcp", BANNER)
            },
        ),
        row(
            "another banner, and silence",
            ("content.expect", "content"),
            heard,
            async {
                let peer = Peer::start(|mut stream| async move {
                    stream.write_all(b"554 no\r\n").await.unwrap();
                    pending::<()>().await;
                })
                .await;
                Scene::new(peer.address.to_string(), peer)
                    .by("tcp", BANNER)
                    .module(PATIENCE)
            },
        ),
        row(
            "half of the banner, and silence",
            ("tcp.no_response", "edge"),
            heard,
            async {
                let peer = Peer::start(|mut stream| async move {
                    stream.write_all(b"22").await.unwrap();
                    pending::<()>().await;
                })
                .await;
                Scene::new(peer.address.to_string(), peer)
                    .by("tcp", BANNER)
                    .module(PATIENCE)
            },
        ),
        row(
            "the first of the expected bytes, and silence",
            ("tcp.no_response", "edge"),
            heard,
            async {
                let peer = Peer::start(|mut stream| async move {
                    stream.write_all(b"\x00\x01").await.unwrap();
                    pending::<()>().await;
                })
                .await;
                Scene::new(peer.address.to_string(), peer)
                    .by("tcp", "query_response: [{expect_bytes: !!binary AAECAw==}]")
                    .module(PATIENCE)
            },
        ),
        row("other bytes", ("content.expect", "content"), heard, async {
            let peer = says(b"\x00\x01\x02\x04").await;
            Scene::new(peer.address.to_string(), peer).by("tcp", "query_response: [{expect_bytes: !!binary AAECAw==}]")
        }),
        row(
            "a line without end",
            ("content.line_too_long", "content"),
            heard,
            async {
                let peer = says(&[b'x'; 70_000]).await;
                Scene::new(peer.address.to_string(), peer).by("tcp", BANNER)
            },
        ),
        row(
            "a target without a port",
            ("local.target_invalid", "local"),
            "",
            async { Scene::new("127.0.0.1", ()).by("tcp", BANNER) },
        ),
        row(
            "a source address that the host does not have",
            ("local.source_address_unavailable", "local"),
            "resolve connect!",
            async {
                let peer = says(b"220 hi\r\n").await;
                Scene::new(peer.address.to_string(), peer).by("tcp", "source_ip_address: 192.0.2.77")
            },
        ),
        row(
            "an IPv6 address in a module for IPv4",
            ("local.target_invalid", "local"),
            "resolve!",
            async { Scene::new("[::1]:81", ()).by("tcp", "preferred_ip_protocol: ip4\nip_protocol_fallback: false") },
        ),
        row(
            "an IPv4 address in a module for IPv6",
            ("local.target_invalid", "local"),
            "resolve!",
            async {
                Scene::new("127.0.0.1:81", ()).by("tcp", "preferred_ip_protocol: ip6\nip_protocol_fallback: false")
            },
        ),
        row(
            "a path that is too long for a socket",
            ("local.target_invalid", "local"),
            "connect!",
            async { Scene::new(format!("/run/{}", "x".repeat(120)), ()).by("unix", "query_response: []") },
        ),
        row(
            "an abstract name that is too long",
            ("local.target_invalid", "local"),
            "connect!",
            async { Scene::new(format!("@{}", "x".repeat(120)), ()).by("unix", "query_response: []") },
        ),
        row(
            "a path through a file that is not a folder",
            ("local.target_invalid", "local"),
            "connect!",
            async { Scene::new("/dev/null/socket", ()).by("unix", "query_response: []") },
        ),
        row("a path without a socket", ("tcp.refused", "edge"), "connect!", async {
            Scene::new("/nonexistent/socket", ()).by("unix", "query_response: []")
        }),
    ]
}

/// Keeps the connection open without sending anything.
async fn hold(stream: TcpStream) {
    let _held = stream;
    pending::<()>().await;
}

async fn says(words: &[u8]) -> Peer {
    let words = words.to_vec();
    Peer::start(move |mut stream| {
        let words = words.clone();
        async move {
            let _ = stream.write_all(&words).await;
            let _ = stream.shutdown().await;
        }
    })
    .await
}

const QUESTION: &str = "query_name: a.test\nquery_type: A";

fn name_servers() -> Vec<Row> {
    let asked = |says: Says, keys: &'static str| async move {
        let dns = DnsServer::always(says).await;
        Scene::new(dns.address.to_string(), dns).by("dns", keys)
    };
    vec![
        row(
            "a code that is not accepted",
            ("content.rcode", "content"),
            "resolve request processing",
            asked(Says::Code(ResponseCode::ServFail), QUESTION),
        ),
        row(
            "records that are not accepted",
            ("content.body", "content"),
            "resolve request processing",
            {
                let keys = "query_name: a.test\nquery_type: A\nvalidate_answer_rrs: {fail_if_not_matches_regexp: [x]}";
                asked(Says::NoData, keys)
            },
        ),
        row(
            "a garbled message",
            ("dns.malformed", "edge"),
            "resolve request processing",
            asked(Says::Garbage, QUESTION),
        ),
        row(
            "a silent name server",
            ("dns.timed_out", "network"),
            "resolve request processing!",
            async move { asked(Says::Nothing, QUESTION).await.module(PATIENCE) },
        ),
        row(
            "a port at which no name server listens",
            ("dns.server_unreachable", "edge"),
            "resolve request processing!",
            async { Scene::new(format!("127.0.0.1:{}", free_port()), ()).by("dns", QUESTION) },
        ),
    ]
}

fn sockets() -> Vec<Row> {
    let whole = "resolve connect request processing transfer";
    let answers = |answer: &'static str, prober: &'static str, scheme: &'static str| async move {
        let peer = Peer::answering(answer).await;
        Scene::new(format!("{scheme}{}", peer.address), peer).by(prober, "preferred_ip_protocol: ip4")
    };
    vec![
        row(
            "a page instead of a WebSocket",
            ("websocket.not_upgraded", "origin"),
            whole,
            answers("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "websocket", "ws://"),
        ),
        row("a wrong key of a WebSocket", ("websocket.invalid", "edge"), whole, {
            let answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
                          Sec-WebSocket-Accept: wrong\r\n\r\n";
            answers(answer, "websocket", "ws://")
        }),
        row(
            "a WebSocket that closes before its message",
            ("websocket.closed", "edge"),
            "resolve connect request processing transfer processing transfer!",
            async {
                let peer = Peer::start(|mut stream| async move {
                    let head = read_head(&mut stream).await;
                    let _ = stream
                        .write_all(crate::probers::websocket::accepting(&head).as_bytes())
                        .await;
                    let _ = stream.write_all(b"\x88\x02\x03\xe8").await;
                    pending::<()>().await;
                })
                .await;
                Scene::new(format!("ws://{}", peer.address), peer).by("websocket", "query_response: [{expect: hello}]")
            },
        ),
        row(
            "a health service that does not serve",
            ("grpc.not_serving", "origin"),
            whole,
            async {
                let peer = crate::support::health::health(b"\0\0\0\0\x02\x08\x02", "0").await;
                Scene::new(peer.address.to_string(), peer).by("grpc", "preferred_ip_protocol: ip4")
            },
        ),
        row("an unknown service", ("grpc.status", "origin"), whole, async {
            let peer = crate::support::health::health(b"", "5").await;
            Scene::new(peer.address.to_string(), peer).by("grpc", "service: nobody")
        }),
        row("a server that speaks no gRPC", ("grpc.invalid", "edge"), whole, async {
            let peer = crate::support::health::health(b"hello", "").await;
            Scene::new(peer.address.to_string(), peer).by("grpc", "preferred_ip_protocol: ip4")
        }),
    ]
}

/// An https target behind a proxy at this address.
fn behind(proxy: &str, alive: impl std::any::Any) -> Scene {
    Scene::new("https://192.0.2.1/", alive).http(&format!("proxy_url: {proxy}\npreferred_ip_protocol: ip4"))
}

fn proxies() -> Vec<Row> {
    let refused = "resolve resolve connect proxy!";
    let socks = |answer: &'static [u8]| async move {
        let peer = Peer::start(move |mut stream| async move {
            let mut hello = [0; 3];
            stream.read_exact(&mut hello).await.unwrap();
            stream.write_all(answer).await.unwrap();
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest).await;
        })
        .await;
        behind(&format!("socks5://{}", peer.address), peer)
    };
    vec![
        row(
            "a proxy that requires authentication",
            ("proxy.refused", "local"),
            refused,
            async {
                let peer = Peer::answering("HTTP/1.1 407 Who\r\nContent-Length: 0\r\n\r\n").await;
                behind(&peer.http(), peer)
            },
        ),
        row(
            "a proxy that cannot reach the target",
            ("proxy.target_unreachable", "network"),
            refused,
            async {
                let peer = Peer::answering("HTTP/1.1 503 Gone\r\nContent-Length: 0\r\n\r\n").await;
                behind(&peer.http(), peer)
            },
        ),
        row("a proxy that hangs up", ("proxy.failed", "local"), refused, async {
            let peer = Peer::answering("").await;
            behind(&peer.http(), peer)
        }),
        row(
            "a proxy that does not speak HTTP",
            ("proxy.failed", "local"),
            refused,
            async {
                let peer = Peer::answering("220 mail\r\n\r\n").await;
                behind(&peer.http(), peer)
            },
        ),
        row("a silent proxy", ("proxy.failed", "local"), refused, async {
            let peer = Peer::start(hold).await;
            behind(&peer.http(), peer).module(PATIENCE)
        }),
        row(
            "a proxy that refuses connections",
            ("tcp.refused", "local"),
            "resolve resolve connect!",
            async { behind(&format!("http://127.0.0.1:{}", free_port()), ()) },
        ),
        row(
            "a SOCKS proxy that denies the connection",
            ("proxy.refused", "local"),
            refused,
            socks(b"\x05\x00\x05\x02\x00\x01\x00\x00\x00\x00\x00\x00"),
        ),
        row(
            "a SOCKS proxy that requires authentication",
            ("proxy.failed", "local"),
            refused,
            socks(b"\x05\xff"),
        ),
        row(
            "a server that does not speak SOCKS",
            ("proxy.failed", "local"),
            refused,
            socks(b"HTTP/1.1 400"),
        ),
        row(
            "a token server that rejects the request",
            ("local.credentials", "local"),
            "resolve connect request processing transfer resolve connect request processing transfer",
            async {
                let peer = Peer::answering("HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n").await;
                let url = peer.http();
                Scene::new("http://127.0.0.1:9/", peer).http(&format!(
                    "oauth2: {{client_id: us, client_secret: secret, token_url: {url}}}"
                ))
            },
        ),
    ]
}
