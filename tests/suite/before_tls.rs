//! A connection that ends or stays silent before the first byte of TLS is not a TLS fault: it gets the same verdict as
//! plain TCP.

use crate::support::exporter::{Exporter, Probed};
use crate::support::peer::{Peer, ok, reset, until_acknowledged};
use crate::support::pki::Authority;
use crate::support::process::{Process, free_port};
use crate::support::proxy::Proxy;
use crate::support::quic::{QuicServer, echo};
use futures_util::future::join_all;
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Endpoint, Incoming, ServerConfig};
use rcgen::SanType;
use std::future::pending;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Command, Stdio};
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

/// Behavior of a server after a client connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Does {
    Resets,
    Closes,
    ResetsAfterHello,
    ClosesAfterHello,
    StaysSilent,
    HalfAHello,
    HalfAHelloAndReset,
    HalfAHelloAndSilence,
    Alert,
    PlainText,
}

impl Does {
    /// Behaviors before the first byte of TLS.
    const BEFORE: [Self; 5] = [
        Self::Resets,
        Self::Closes,
        Self::ResetsAfterHello,
        Self::ClosesAfterHello,
        Self::StaysSilent,
    ];

    /// Expected reason over TLS.
    const fn reason(self) -> &'static str {
        match self {
            Self::Resets | Self::ResetsAfterHello => "tcp.reset",
            Self::Closes | Self::ClosesAfterHello => "tcp.closed",
            Self::StaysSilent => "tcp.no_response",
            Self::HalfAHello | Self::HalfAHelloAndReset => "tls.closed",
            Self::HalfAHelloAndSilence => "tls.timed_out",
            Self::Alert => "tls.alert",
            Self::PlainText => "tls.not_supported",
        }
    }

    async fn to(self, mut stream: TcpStream) {
        if !matches!(self, Self::Resets | Self::Closes | Self::StaysSilent) {
            let _ = stream.read(&mut [0; 4096]).await;
        }
        let words: &[u8] = match self {
            Self::HalfAHello | Self::HalfAHelloAndReset | Self::HalfAHelloAndSilence => {
                &[22, 3, 3, 0, 122, 2, 0, 0, 118, 3, 3]
            }
            Self::Alert => &[21, 3, 3, 0, 2, 2, 80],
            Self::PlainText => b"220 hello\r\n",
            _ => b"",
        };
        let _ = stream.write_all(words).await;
        match self {
            Self::StaysSilent | Self::HalfAHelloAndSilence => pending().await,
            Self::Resets | Self::ResetsAfterHello => reset(&stream),
            Self::HalfAHelloAndReset => {
                until_acknowledged(&stream).await;
                reset(&stream);
            }
            // Unread data would turn the close into a reset.
            Self::Closes => {
                let _ = stream.shutdown().await;
                while matches!(stream.read(&mut [0; 4096]).await, Ok(1..)) {}
            }
            Self::ClosesAfterHello | Self::HalfAHello | Self::Alert | Self::PlainText => {}
        }
    }

    async fn peer(self) -> Peer {
        Peer::start(move |stream| self.to(stream)).await
    }
}

fn verdict(probed: &Probed) -> (&str, &str, &str) {
    let verdict = &probed.evidence["verdict"];
    let word = |key: &str| verdict[key].as_str().unwrap_or("none");
    (word("link"), word("reason"), word("certainty"))
}

const MODULES: &str = "modules:
  plain: {prober: http, timeout: 1500ms}
  http: {prober: http, timeout: 1500ms, http: {tls_config: {insecure_skip_verify: true}}}
  tcp: {prober: tcp, timeout: 1500ms, tcp: {tls: true, tls_config: {insecure_skip_verify: true}}}
  grpc: {prober: grpc, timeout: 1500ms, grpc: {tls: true, tls_config: {insecure_skip_verify: true}}}
  websocket: {prober: websocket, timeout: 1500ms, websocket: {http_config: {tls_config: {insecure_skip_verify: true}}}}
  dot: {prober: dns, timeout: 1500ms, dns: {query_name: a.test, transport_protocol: tcp, dns_over_tls: true, tls_config: {insecure_skip_verify: true}}}
";

#[tokio::test(flavor = "multi_thread")]
async fn a_close_before_the_first_tls_byte_gets_the_verdict_of_plain_tcp() {
    let exporter = Exporter::start(MODULES).await;
    let each = Does::BEFORE.map(async |does| {
        let peer = does.peer().await;
        let plain = exporter.probe("plain", &peer.http()).await;
        let (link, _, certainty) = verdict(&plain);
        assert_eq!((link, certainty), ("edge", "likely"), "{does:?}: {:#}", plain.evidence);
        for (module, target) in [
            ("http", peer.https()),
            ("tcp", peer.address.to_string()),
            ("grpc", peer.address.to_string()),
            ("websocket", format!("wss://{}/", peer.address)),
            ("dot", peer.address.to_string()),
        ] {
            let probed = exporter.probe(module, &target).await;
            let expected = (link, does.reason(), certainty);
            assert_eq!(verdict(&probed), expected, "{does:?}, {module}: {:#}", probed.evidence);
            // A reset may arrive before connect() returns.
            let phase = probed.evidence["verdict"]["phase"].as_str();
            let early = does == Does::Resets && phase == Some("connect");
            assert!(phase == Some("tls") || early, "{does:?}, {module}: {phase:?}");
            let read = probed.evidence["target"]["exchanges"][0]["bytes_read"].as_u64();
            assert_eq!(read, Some(0), "{does:?}, {module}");
        }
    });
    join_all(each).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_close_within_the_handshake_is_a_tls_fault() {
    let exporter = Exporter::start(MODULES).await;
    for (does, certainty) in [
        // The network may have lost the rest of the hello.
        (Does::HalfAHello, "likely"),
        (Does::HalfAHelloAndReset, "likely"),
        (Does::HalfAHelloAndSilence, "likely"),
        (Does::Alert, "certain"),
        (Does::PlainText, "certain"),
    ] {
        let peer = does.peer().await;
        for (module, target) in [
            ("http", peer.https()),
            ("tcp", peer.address.to_string()),
            ("grpc", peer.address.to_string()),
            ("websocket", format!("wss://{}/", peer.address)),
        ] {
            let probed = exporter.probe(module, &target).await;
            let expected = ("tls", does.reason(), certainty);
            assert_eq!(verdict(&probed), expected, "{does:?}, {module}: {:#}", probed.evidence);
        }
    }
}

/// The kernel completes the connection, but no program accepts it.
#[tokio::test]
async fn an_unaccepted_connection_times_out_over_tls() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let exporter = Exporter::start(MODULES).await;
    let plain = exporter.probe("plain", &format!("http://{address}/")).await;
    let secure = exporter.probe("http", &format!("https://{address}/")).await;
    assert_eq!(verdict(&plain), ("edge", "http.timed_out_waiting", "likely"));
    assert_eq!(verdict(&secure), ("edge", "tcp.no_response", "likely"));
}

/// With every state of the backend, the edge gets the same verdict as over plain HTTP.
#[tokio::test(flavor = "multi_thread")]
async fn with_backends_an_edge_that_closes_before_tls_gets_the_verdict_of_plain_http() {
    let exporter = Exporter::start(MODULES).await;
    let healthy = Peer::start(ok).await;
    let failing = Peer::answering("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n").await;
    let dead = free_port();
    for backend in [healthy.address.port(), failing.address.port(), dead] {
        let more = format!("&backend=app@127.0.0.1:{backend}");
        // An immediate reset may arrive before connect() returns, which is a different rule.
        let each = Does::BEFORE.into_iter().filter(|does| *does != Does::Resets);
        let each = each.map(async |does| {
            let edge = does.peer().await;
            let plain = exporter.probe_for("plain", &edge.http(), &more).await;
            let secure = exporter.probe_for("http", &edge.https(), &more).await;
            let told = |probed: &Probed| {
                let (link, reason, certainty) = verdict(probed);
                let family = reason.split('.').next().unwrap_or_default().to_owned();
                let side = probed.evidence["verdict"]["side"].clone();
                (link.to_owned(), family, certainty.to_owned(), side)
            };
            assert_eq!(
                told(&plain),
                told(&secure),
                "{does:?}, {backend}: {:#}",
                secure.evidence
            );
            assert_ne!(verdict(&secure).0, "tls", "{does:?}, {backend}");
        });
        join_all(each).await;
    }
}

/// A backend that is probed over TLS.
#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_closes_before_tls_fails_as_over_plain_http() {
    let exporter = Exporter::start(MODULES).await;
    let edge = Peer::answering("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n").await;
    for (does, reason) in [
        (Does::Resets, "upstream.connection_terminated"),
        (Does::ClosesAfterHello, "upstream.connection_terminated"),
        (Does::StaysSilent, "upstream.tls_protocol_error"),
    ] {
        let backend = does.peer().await;
        let more = format!("&backend=app@{};tls", backend.address).replace(';', "%3B");
        let probed = exporter.probe_for("http", &edge.http(), &more).await;
        let expected = ("upstream", reason, "likely");
        assert_eq!(verdict(&probed), expected, "{does:?}: {:#}", probed.evidence);
    }
}

/// After STARTTLS the connection has already received bytes, but none of TLS.
#[tokio::test(flavor = "multi_thread")]
async fn after_starttls_only_bytes_of_tls_count() {
    let modules = "modules: {m: {prober: tcp, timeout: 1500ms, tcp: {query_response: [{expect: ^220, starttls: true}], \
                   tls_config: {insecure_skip_verify: true}}}}";
    let exporter = Exporter::start(modules).await;
    for does in [
        Does::Resets,
        Does::ClosesAfterHello,
        Does::StaysSilent,
        Does::HalfAHello,
    ] {
        let peer = Peer::start(move |mut stream| async move {
            stream.write_all(b"220 ready\n").await.unwrap();
            // Wait until the client has read the banner, because a reset would discard it.
            let _ = stream.read(&mut [0; 4096]).await;
            let does = if does == Does::HalfAHello { does } else { does.at_once() };
            does.to_rest(stream).await;
        })
        .await;
        let probed = exporter.probe("m", &peer.address.to_string()).await;
        let (link, reason, _) = verdict(&probed);
        let expected = if does == Does::HalfAHello { "tls" } else { "edge" };
        assert_eq!(
            (link, reason),
            (expected, does.reason()),
            "{does:?}: {:#}",
            probed.evidence
        );
    }
}

impl Does {
    /// The same behavior without reading a hello, which has already been read.
    const fn at_once(self) -> Self {
        match self {
            Self::ResetsAfterHello => Self::Resets,
            Self::ClosesAfterHello => Self::Closes,
            other => other,
        }
    }

    /// Runs the behavior after the hello has been read.
    async fn to_rest(self, mut stream: TcpStream) {
        if self == Self::HalfAHello {
            let _ = stream.write_all(&[22, 3, 3, 0, 122, 2, 0, 0, 118, 3, 3]).await;
        } else {
            self.to(stream).await;
        }
    }
}

/// Through a proxy, with or without TLS: bytes of the proxy do not count as TLS of the target.
#[tokio::test(flavor = "multi_thread")]
async fn through_a_proxy_only_bytes_of_the_targets_tls_count() {
    let authority = Authority::new();
    for does in [
        Does::Closes,
        Does::ClosesAfterHello,
        Does::StaysSilent,
        Does::HalfAHello,
        Does::PlainText,
    ] {
        let peer = does.peer().await;
        let plain = Proxy::http(peer.address).await;
        let secure = Proxy::https(authority.leaf("127.0.0.1").server(&[]), peer.address).await;
        let through = |scheme: &str, proxy: SocketAddr| {
            format!(
                "{{prober: http, timeout: 1500ms, http: {{proxy_url: '{scheme}://{proxy}', \
                 tls_config: {{ca_file: '{}'}}}}}}",
                authority.ca_file.display()
            )
        };
        let exporter = Exporter::start(&format!(
            "modules: {{plain: {}, secure: {}}}",
            through("http", plain.address()),
            through("https", secure.address())
        ))
        .await;
        for module in ["plain", "secure"] {
            let probed = exporter.probe(module, &peer.https()).await;
            let (link, reason, _) = verdict(&probed);
            let expected = if Does::BEFORE.contains(&does) { "edge" } else { "tls" };
            assert_eq!(
                (link, reason),
                (expected, does.reason()),
                "{does:?}, {module}: {:#}",
                probed.evidence
            );
        }
    }
}

/// A load balancer with TLS passthrough and no available server: `HAProxy` in TCP mode.
#[tokio::test]
async fn a_tls_passthrough_balancer_without_servers_is_not_a_tls_fault() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let server = Peer::with_tls(authority.leaf("127.0.0.1").server(&[]), ok).await;
    let [empty, dead, well] = std::array::from_fn(|_| free_port());
    let config = format!(
        "defaults\n mode tcp\n timeout connect 500ms\n timeout client 5s\n timeout server 5s\n retries 0\n\
         frontend empty\n bind 127.0.0.1:{empty}\n default_backend none\nbackend none\n\
         listen dead\n bind 127.0.0.1:{dead}\n server a 127.0.0.1:{}\n\
         listen well\n bind 127.0.0.1:{well}\n server a {}\n",
        free_port(),
        server.address
    );
    let file = folder.path().join("haproxy.cfg");
    std::fs::write(&file, config).unwrap();
    let mut haproxy = Process::start(
        Command::new("/usr/sbin/haproxy")
            .arg("-db")
            .arg("-f")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null()),
    );
    haproxy.listens(well).await;
    let exporter = Exporter::start(MODULES).await;
    for port in [empty, dead] {
        let plain = exporter.probe("plain", &format!("http://127.0.0.1:{port}/")).await;
        let probed = exporter.probe("http", &format!("https://127.0.0.1:{port}/")).await;
        let (link, reason, certainty) = verdict(&probed);
        assert_eq!((link, certainty), ("edge", "likely"), "{:#}", probed.evidence);
        assert!(matches!(reason, "tcp.closed" | "tcp.reset"), "{reason}");
        assert_eq!(verdict(&plain).0, link);
    }
    let probed = exporter.probe("http", &format!("https://127.0.0.1:{well}/")).await;
    assert_eq!(probed.page.value("probe_success"), 1.0, "{:#}", probed.evidence);
}

/// A QUIC server that runs `does` for each connection.
fn quic_server(authority: &Authority, does: impl Fn(Incoming) + Send + 'static) -> (SocketAddr, Endpoint) {
    let tls = authority.leaf("127.0.0.1").server(&["h3"]);
    let config = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls).unwrap()));
    let endpoint = Endpoint::server(config, (Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let listener = endpoint.clone();
    tokio::spawn(async move {
        while let Some(incoming) = listener.accept().await {
            does(incoming);
        }
    });
    (endpoint.local_addr().unwrap(), endpoint)
}

#[tokio::test]
async fn an_immediately_closed_quic_connection_is_not_a_tls_fault() {
    let authority = Authority::new();
    let exporter = Exporter::start(&format!(
        "modules: {{m: {{prober: http, timeout: 1500ms, http: {{enable_http2: false, enable_http3: true, \
         tls_config: {{ca_file: '{}'}}}}}}}}",
        authority.ca_file.display()
    ))
    .await;
    let (refusing, _kept) = quic_server(&authority, Incoming::refuse);
    let (late, _kept_too) = quic_server(&authority, |incoming| {
        // A Retry packet validates the client's address before the handshake. Then the server refuses the connection.
        if let Err(error) = incoming.retry() {
            error.into_incoming().refuse();
        }
    });
    let (mute, _kept_three) = quic_server(&authority, |incoming| {
        if let Err(error) = incoming.retry() {
            error.into_incoming().ignore();
        }
    });
    for address in [refusing, late, mute] {
        let probed = exporter.probe("m", &format!("https://{address}/")).await;
        assert_eq!(
            verdict(&probed),
            ("edge", "quic.failed", "likely"),
            "{:#}",
            probed.evidence
        );
    }
    let good = QuicServer::start(authority.leaf("127.0.0.1").server(&["h3"]), echo);
    let probed = exporter.probe("m", &good.url()).await;
    assert_eq!(probed.page.value("probe_success"), 1.0, "{:#}", probed.evidence);
    let other = QuicServer::start(authority.leaf("127.0.0.1").server(&["h9"]), echo);
    let probed = exporter.probe("m", &other.url()).await;
    assert_eq!(verdict(&probed).0, "tls", "{:#}", probed.evidence);
}

/// Only the server's first datagram, which has its hello, gets through.
#[tokio::test]
async fn a_stopped_quic_handshake_is_a_tls_fault() {
    let authority = Authority::new();
    let long = authority.leaf_with("127.0.0.1", |params| {
        let names = (0..60).map(|number| SanType::DnsName(format!("name-{number}.example.test").try_into().unwrap()));
        params.subject_alt_names.extend(names);
    });
    let server = QuicServer::start(long.server(&["h3"]), echo);
    let relay = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let onward = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    onward.connect(server.address).await.unwrap();
    let address = relay.local_addr().unwrap();
    tokio::spawn(async move {
        let mut packet = [0; 2048];
        let (length, client) = relay.recv_from(&mut packet).await.unwrap();
        onward.send(&packet[..length]).await.unwrap();
        let length = onward.recv(&mut packet).await.unwrap();
        relay.send_to(&packet[..length], client).await.unwrap();
        pending::<()>().await;
    });
    let exporter = Exporter::start(&format!(
        "modules: {{m: {{prober: http, timeout: 1500ms, http: {{enable_http2: false, enable_http3: true, \
         tls_config: {{ca_file: '{}'}}}}}}}}",
        authority.ca_file.display()
    ))
    .await;
    let probed = exporter.probe("m", &format!("https://{address}/")).await;
    assert_eq!(
        verdict(&probed),
        ("tls", "tls.timed_out", "likely"),
        "{:#}",
        probed.evidence
    );
}
