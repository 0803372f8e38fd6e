//! One row for each kind of failure at each stage: the exact reason, the exact phases, and no observation of a phase
//! that did not finish.

#![allow(clippy::too_many_lines, reason = "the tables have one row per failure")]

mod others;

use crate::support::dns::{DnsServer, Says};
use crate::support::exporter::{Exporter, Probed};
use crate::support::peer::{Peer, ok, read_head, reset, until_acknowledged};
use crate::support::pki::{Authority, self_signed};
use crate::support::process::free_port;
use glassbox_verdict::reason::{Reason, ReasonFamily};
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use rcgen::date_time_ymd;
use std::any::Any;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::future::{Future, pending};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use url::{Position, Url};

/// A failing target, the module that probes it, and the servers that must stay alive during the probe.
struct Scene {
    target: String,
    prober: &'static str,
    module: String,
    alive: Box<dyn Any>,
}

impl Scene {
    fn new(target: impl Into<String>, alive: impl Any) -> Self {
        Self {
            target: target.into(),
            prober: "http",
            module: String::new(),
            alive: Box::new(alive),
        }
    }

    /// Adds keys of the http prober, one per line.
    fn http(self, keys: &str) -> Self {
        self.by("http", keys)
    }

    /// Sets the prober and its keys, one per line.
    fn by(mut self, prober: &'static str, keys: &str) -> Self {
        self.prober = prober;
        writeln!(self.module, "    {prober}:").unwrap();
        for key in keys.lines() {
            writeln!(self.module, "      {}", key.trim_end()).unwrap();
        }
        self
    }

    /// Adds keys of the module, one per line.
    fn module(mut self, keys: &str) -> Self {
        for key in keys.lines() {
            writeln!(self.module, "    {key}").unwrap();
        }
        self
    }
}

/// A kind of failure and its expected result.
struct Row {
    name: &'static str,
    /// Reason of the verdict, and of the failed phase if a stage failed.
    reason: &'static str,
    link: &'static str,
    /// Phases in order. `!` marks a failed last phase.
    timings: &'static str,
    scene: Pin<Box<dyn Future<Output = Scene>>>,
}

fn row(
    name: &'static str,
    (reason, link): (&'static str, &'static str),
    timings: &'static str,
    scene: impl Future<Output = Scene> + 'static,
) -> Row {
    Row {
        name,
        reason,
        link,
        timings,
        scene: Box::pin(scene),
    }
}

const WHOLE: &str = "resolve connect request processing transfer";
const WHOLE_TLS: &str = "resolve connect tls request processing transfer";
const IN_TLS: &str = "resolve connect tls!";
const IN_WAIT: &str = "resolve connect request processing!";
const IN_RECEIVE: &str = "resolve connect request processing transfer!";

/// A timeout that is long enough for a busy machine to reach the silent stage.
const PATIENCE: &str = "timeout: 3s";

#[tokio::test(flavor = "multi_thread")]
async fn each_failure_has_its_exact_reason_and_phases() {
    let rows = [
        name_service(),
        connection(),
        handshake(),
        certificates(),
        exchange(),
        answer(),
        content(),
        others::rows(),
    ];
    let seen = probe_each(rows.into_iter().flatten(), async |scene| scene).await;
    assert!(seen.len() >= 40, "{} reasons", seen.len());
    // The error pages of gateways are tested with captures in `gateways`.
    let ours = Reason::ALL.iter().filter(|reason| {
        ![ReasonFamily::Upstream, ReasonFamily::Edge, ReasonFamily::Origin].contains(&reason.family())
    });
    let unseen: Vec<_> = ours
        .map(|reason| reason.as_str())
        .filter(|reason| !seen.contains(reason))
        .collect();
    assert_eq!(
        unseen, NOT_IN_THE_TABLE,
        "reasons without a row differ from NOT_IN_THE_TABLE"
    );
}

/// During a long wait, the exporter releases its read buffers.
#[tokio::test(flavor = "multi_thread")]
async fn a_delayed_response_fails_in_the_same_ways() {
    let rows = [exchange(), answer(), content()];
    probe_each(rows.into_iter().flatten(), async |scene| {
        let url = Url::parse(&scene.target).unwrap();
        let to = url.socket_addrs(|| None).unwrap()[0];
        let relay = Peer::start(move |stream| relay_late(stream, to)).await;
        let place = &url[Position::BeforeHost..Position::AfterPort];
        Scene {
            target: scene.target.replacen(place, &relay.address.to_string(), 1),
            alive: Box::new((relay, scene.alive)),
            ..scene
        }
    })
    .await;
}

/// Relays a connection in both directions. The first bytes of the server are delayed, and a reset by the server is
/// relayed.
async fn relay_late(mut near: TcpStream, to: SocketAddr) {
    const LATE: Duration = Duration::from_millis(200);
    let mut far = TcpStream::connect(to).await.unwrap();
    let (mut said, mut onward) = near.split();
    let (mut heard, mut back) = far.split();
    let forth = async {
        let _ = tokio::io::copy(&mut said, &mut back).await;
        pending().await
    };
    let until_reset = async {
        let mut piece = vec![0; 1 << 16];
        let mut late = LATE;
        loop {
            let came = heard.read(&mut piece).await;
            tokio::time::sleep(std::mem::take(&mut late)).await;
            match came {
                Ok(0) => {
                    let _ = onward.shutdown().await;
                    return false;
                }
                Ok(count) if onward.write_all(&piece[..count]).await.is_err() => return false,
                Ok(_) => {}
                Err(_) => return true,
            }
        }
    };
    let is_reset = tokio::select! {
        is_reset = until_reset => is_reset,
        is_reset = forth => is_reset,
    };
    if is_reset {
        until_acknowledged(&near).await;
        reset(&near);
    }
}

/// Probes the target of each row, modified by `stage`, and compares the result with the row. Returns the reasons.
async fn probe_each(rows: impl Iterator<Item = Row>, stage: impl AsyncFn(Scene) -> Scene) -> BTreeSet<&'static str> {
    let mut config = "modules:\n".to_owned();
    let mut cases = Vec::new();
    for (number, row) in rows.enumerate() {
        let scene = stage(row.scene.await).await;
        write!(config, "  m{number}:\n    prober: {}\n{}", scene.prober, scene.module).unwrap();
        cases.push((row.name, row.reason, row.link, row.timings, scene));
    }
    let exporter = Exporter::start(&config).await;
    let mut wrong = String::new();
    let probes = cases.iter().enumerate().map(|(number, case)| {
        let (exporter, target) = (&exporter, &case.4.target);
        async move { exporter.probe(&format!("m{number}"), target).await }
    });
    for (probed, (name, reason, link, timings, _)) in join_all(probes).await.iter().zip(&cases) {
        if let Err(words) = judge(probed, reason, link, timings) {
            writeln!(wrong, "{name}: {words}\n{:#}", probed.evidence).unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    cases.iter().map(|case| case.1).collect()
}

/// Reasons that need more than one server on loopback (tested in `beside`), a policy (in `policy`), a QUIC server (in
/// `http3`) or a network namespace (in `probers` and `routes`), that never appear in a verdict because another one
/// replaces them, or that are fallbacks for unknown failures.
const NOT_IN_THE_TABLE: [&str; 25] = [
    "dns.failed",
    "tcp.failed",
    "quic.refused",
    "quic.timed_out",
    "quic.failed",
    "tls.required",
    "http.slow",
    "http.excess_body",
    "http.failed",
    "icmp.timed_out",
    "icmp.too_big",
    "icmp.unreachable",
    "local.no_route",
    "local.captive_portal",
    "local.controls_failed",
    "local.denied",
    "local.not_permitted",
    "local.concurrency_limit",
    "local.overloaded",
    "local.stalled",
    "local.out_of_files",
    "local.out_of_ports",
    "local.out_of_memory",
    "local.panic",
    "local.internal_error",
];

fn judge(probed: &Probed, reason: &str, link: &str, timings: &str) -> Result<(), String> {
    let expect = |what: &str, got: &str, wanted: &str| {
        if got == wanted {
            Ok(())
        } else {
            Err(format!("{what}: {got:?}, expected {wanted:?}"))
        }
    };
    let verdict = &probed.evidence["verdict"];
    expect("reason", verdict["reason"].as_str().unwrap_or("none"), reason)?;
    expect("link", verdict["link"].as_str().unwrap_or("none"), link)?;
    let seen: Vec<_> = probed
        .timings()
        .into_iter()
        .map(|(phase, _, failed)| if failed.is_some() { phase + "!" } else { phase })
        .collect();
    expect("phases", &seen.join(" "), timings)?;
    let last = timings.rsplit(' ').next().unwrap_or_default().trim_end_matches('!');
    let last = if last.is_empty() { "resolve" } else { last };
    expect("phase", verdict["phase"].as_str().unwrap_or("none"), last)?;
    if let Some((.., Some(failed))) = probed.timings().last() {
        expect("reason of the failed phase", failed, reason)?;
    }
    observed(probed, timings)
}

/// A phase has one observation if it finished in every exchange, otherwise none. A phase that was not reached is never
/// 0.
fn observed(probed: &Probed, timings: &str) -> Result<(), String> {
    let page = &probed.page;
    let is_unknown = probed.is_split_unknown();
    for phase in ["resolve", "connect", "tls", "processing", "transfer"] {
        let any = |wanted: &str| timings.split(' ').any(|timing| timing == wanted);
        let finished = any(phase) && !any(&format!("{phase}!"));
        let count = page.find(&format!("probe_phase_duration_seconds_count{{phase=\"{phase}\"}}"));
        let wanted = if finished { Some(1.0) } else { count.map(|_| 0.0) };
        // A busy machine may read merged packets. Then neither of these phases is observed.
        let may_be_unknown = is_unknown && matches!(phase, "processing" | "transfer") && count == Some(0.0);
        if count != wanted && !may_be_unknown {
            return Err(format!("phase {phase} has {count:?} observations, not {wanted:?}"));
        }
    }
    for (series, wanted) in [
        ("probe_success", 0.0),
        ("probe_attempts_total", 1.0),
        ("probe_success_duration_seconds_count", 0.0),
    ] {
        if page.find(series) != Some(wanted) {
            return Err(format!("{series} is {:?}", page.find(series)));
        }
    }
    let failures: f64 = page.starting("probe_failures_total{").map(|(_, value)| value).sum();
    if (failures - 1.0).abs() > f64::EPSILON {
        return Err(format!("{failures} failures are counted"));
    }
    Ok(())
}

async fn join_all<T>(work: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut waiting: Vec<_> = work.map(|one| (Box::pin(one), None)).collect();
    std::future::poll_fn(|cx| {
        for (one, done) in &mut waiting {
            if done.is_none()
                && let std::task::Poll::Ready(value) = one.as_mut().poll(cx)
            {
                *done = Some(value);
            }
        }
        if waiting.iter().all(|(_, done)| done.is_some()) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    waiting.into_iter().filter_map(|(_, done)| done).collect()
}

fn name_service() -> Vec<Row> {
    let says = |says: Says| async {
        let dns = DnsServer::always(says).await;
        let key = dns.as_key();
        Scene::new("http://name.test/", dns).module(&key)
    };
    vec![
        row(
            "NXDOMAIN",
            ("dns.name_not_resolved", "dns"),
            "resolve!",
            says(Says::Code(ResponseCode::NXDomain)),
        ),
        row(
            "a name without addresses",
            ("dns.no_data", "dns"),
            "resolve!",
            says(Says::NoData),
        ),
        row(
            "SERVFAIL",
            ("dns.servfail", "dns"),
            "resolve!",
            says(Says::Code(ResponseCode::ServFail)),
        ),
        row(
            "REFUSED",
            ("dns.refused", "dns"),
            "resolve!",
            says(Says::Code(ResponseCode::Refused)),
        ),
        row(
            "FORMERR",
            ("dns.malformed", "dns"),
            "resolve!",
            says(Says::Code(ResponseCode::FormErr)),
        ),
        row("a garbled response", ("dns.malformed", "dns"), "resolve!", async move {
            says(Says::Garbage).await.module(PATIENCE)
        }),
        row("a silent resolver", ("dns.timed_out", "dns"), "resolve!", async move {
            says(Says::Nothing).await.module(PATIENCE)
        }),
        row(
            "no listener at the resolver's port",
            ("local.resolver_unreachable", "local"),
            "resolve!",
            async {
                // A port that neither the kernel nor a resolver uses by default.
                Scene::new("http://name.test/", ()).module("resolver: [\"127.0.0.1:1\"]")
            },
        ),
        row(
            "only the other family, without fallback",
            ("dns.no_data", "dns"),
            "resolve!",
            async {
                let dns = DnsServer::always(Says::Addresses(vec![IpAddr::from([127, 0, 0, 1])])).await;
                let key = dns.as_key();
                Scene::new("http://name.test/", dns)
                    .module(&key)
                    .http("ip_protocol_fallback: false")
            },
        ),
        row(
            "an address of the other family",
            ("local.target_invalid", "local"),
            "resolve!",
            async { Scene::new("http://127.0.0.1:1/", ()).http("ip_protocol_fallback: false") },
        ),
        row(
            "a target that is not a valid URL",
            ("local.target_invalid", "local"),
            "",
            async { Scene::new("http://[::1", ()) },
        ),
        row(
            "a password file that is gone",
            ("local.file_unreadable", "local"),
            "",
            async { Scene::new("http://127.0.0.1:1/", ()).http("bearer_token_file: /nonexistent/token") },
        ),
    ]
}

fn connection() -> Vec<Row> {
    vec![
        row("nobody listens", ("tcp.refused", "edge"), "resolve connect!", async {
            // Below the ephemeral range, so that no other test gets the port meanwhile.
            Scene::new(format!("http://127.0.0.1:{}/", free_port()), ())
        }),
        row(
            "SYN into a black hole",
            ("tcp.timed_out", "network"),
            "resolve connect!",
            async {
                let (address, hole) = black_hole();
                Scene::new(format!("http://{address}/"), hole).module(PATIENCE)
            },
        ),
        row(
            "no route to the address",
            ("tcp.address_unreachable", "network"),
            "resolve connect!",
            async {
                // The kernel rejects TCP to a multicast group without sending a packet.
                Scene::new("http://224.0.0.1/", ())
            },
        ),
    ]
}

/// A listener with a full queue: the kernel drops new connections.
fn black_hole() -> (std::net::SocketAddr, impl Any) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let any: std::net::SocketAddr = ([127, 0, 0, 1], 0).into();
    socket.bind(&any.into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let fillers: Vec<_> = (0..4)
        .map(|_| {
            let filler = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
            filler.set_nonblocking(true).unwrap();
            let _ = filler.connect(&address.into());
            filler
        })
        .collect();
    (address, (socket, fillers))
}

async fn raw_tls<F>(behave: impl Fn(TcpStream) -> F + Send + Sync + 'static) -> Scene
where
    F: Future<Output = ()> + Send + 'static,
{
    let peer = Peer::start(behave).await;
    Scene::new(peer.https(), peer).module(PATIENCE)
}

fn handshake() -> Vec<Row> {
    vec![
        row(
            "plain HTTP on the TLS port",
            ("tls.not_supported", "tls"),
            IN_TLS,
            raw_tls(|mut stream| async move {
                let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
                let _ = stream.read(&mut [0; 1024]).await;
            }),
        ),
        row(
            "an alert",
            ("tls.alert", "tls"),
            IN_TLS,
            raw_tls(|mut stream| async move {
                let _ = stream.read(&mut [0; 1024]).await;
                let _ = stream.write_all(&[21, 3, 3, 0, 2, 2, 80]).await;
            }),
        ),
        row(
            "a broken handshake message",
            ("tls.protocol_error", "tls"),
            IN_TLS,
            raw_tls(|mut stream| async move {
                let _ = stream.read(&mut [0; 1024]).await;
                let _ = stream.write_all(&[22, 3, 3, 0, 4, 2, 0, 0, 0]).await;
                let _ = stream.read(&mut [0; 1024]).await;
            }),
        ),
        row(
            "silence instead of a handshake",
            ("tcp.no_response", "edge"),
            IN_TLS,
            raw_tls(|stream| async move {
                let _stream = stream;
                pending::<()>().await;
            }),
        ),
        row(
            "a close instead of a handshake",
            ("tcp.closed", "edge"),
            IN_TLS,
            raw_tls(|mut stream| async move {
                let _ = stream.read(&mut [0; 1024]).await;
                let _ = stream.shutdown().await;
            }),
        ),
        row(
            "a reset instead of a handshake",
            ("tcp.reset", "edge"),
            IN_TLS,
            raw_tls(|mut stream| async move {
                let _ = stream.read(&mut [0; 1024]).await;
                reset(&stream);
            }),
        ),
        row(
            "silence in the handshake",
            ("tls.timed_out", "tls"),
            IN_TLS,
            raw_tls(|mut stream| async move {
                half_a_hello(&mut stream).await;
                pending::<()>().await;
            }),
        ),
        row(
            "a close in the handshake",
            ("tls.closed", "tls"),
            IN_TLS,
            raw_tls(|mut stream| async move {
                half_a_hello(&mut stream).await;
                let _ = stream.shutdown().await;
            }),
        ),
        row(
            "a reset in the handshake",
            ("tls.closed", "tls"),
            IN_TLS,
            raw_tls(|mut stream| async move {
                half_a_hello(&mut stream).await;
                until_acknowledged(&stream).await;
                reset(&stream);
            }),
        ),
        row(
            "no common version",
            ("tls.version_or_cipher_mismatch", "tls"),
            IN_TLS,
            async {
                let config =
                    rustls::ServerConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
                        .with_protocol_versions(&[&rustls::version::TLS13])
                        .unwrap();
                let leaf = self_signed("127.0.0.1");
                let config = config
                    .with_no_client_auth()
                    .with_single_cert(leaf.chain, leaf.key)
                    .unwrap();
                let peer = Peer::with_tls(config.into(), ok).await;
                Scene::new(peer.https(), peer).http("tls_config: {max_version: TLS12, insecure_skip_verify: true}")
            },
        ),
        row(
            "a module whose versions exclude each other",
            ("local.tls_unsupported", "local"),
            IN_TLS,
            async {
                let peer = Peer::with_tls(self_signed("127.0.0.1").server(&[]), ok).await;
                Scene::new(peer.https(), peer).http("tls_config: {max_version: TLS11, insecure_skip_verify: true}")
            },
        ),
        row(
            "a client certificate is required, TLS 1.2",
            ("tls.client_cert", "tls"),
            IN_TLS,
            async {
                demands_certificate()
                    .await
                    .http("tls_config: {max_version: TLS12, insecure_skip_verify: true}")
            },
        ),
        row(
            "a client certificate is required, TLS 1.3: the alert arrives after the handshake",
            ("tls.client_cert", "tls"),
            "resolve connect tls request processing!",
            async {
                demands_certificate()
                    .await
                    .http("tls_config: {insecure_skip_verify: true}")
            },
        ),
    ]
}

/// Sends the start of a record with a `ServerHello`.
async fn half_a_hello(stream: &mut TcpStream) {
    let _ = stream.read(&mut [0; 1024]).await;
    let _ = stream.write_all(&[22, 3, 3, 0, 122, 2, 0, 0, 118, 3, 3]).await;
}

async fn demands_certificate() -> Scene {
    let authority = Authority::new();
    let config = authority.leaf("127.0.0.1").server_for_clients_of(&authority);
    let peer = Peer::with_tls(config, ok).await;
    Scene::new(peer.https(), peer)
}

fn certificates() -> Vec<Row> {
    /// A server with an invalid certificate of the CA that the module trusts.
    async fn shown(leaf: impl FnOnce(&Authority) -> crate::support::pki::Leaf) -> Scene {
        let authority = Authority::new();
        let peer = Peer::with_tls(leaf(&authority).server(&[]), ok).await;
        let key = format!("tls_config: {{ca_file: {}}}", authority.ca_file.display());
        Scene::new(peer.https(), (peer, authority)).http(&key)
    }
    vec![
        row(
            "an expired certificate",
            ("tls.cert.date_invalid", "tls"),
            IN_TLS,
            shown(|ca| ca.expired("127.0.0.1")),
        ),
        row(
            "a certificate that is not valid yet",
            ("tls.cert.date_invalid", "tls"),
            IN_TLS,
            shown(|ca| ca.leaf_with("127.0.0.1", |params| params.not_before = date_time_ymd(2090, 1, 1))),
        ),
        row(
            "another host's certificate",
            ("tls.cert.name_invalid", "tls"),
            IN_TLS,
            shown(|ca| ca.leaf("other.test")),
        ),
        row(
            "a self-signed certificate",
            ("tls.cert.self_signed", "tls"),
            IN_TLS,
            shown(|_| self_signed("127.0.0.1")),
        ),
        row(
            "an unknown CA",
            ("tls.cert.authority_invalid", "tls"),
            IN_TLS,
            shown(|_| Authority::named("Another Authority").leaf("127.0.0.1")),
        ),
        row(
            "an unknown CA with the name of a trusted one",
            ("tls.cert.authority_invalid", "tls"),
            IN_TLS,
            shown(|_| Authority::new().leaf("127.0.0.1")),
        ),
        row(
            "a certificate for clients only",
            ("tls.cert.invalid", "tls"),
            IN_TLS,
            shown(|ca| {
                ca.leaf_with("127.0.0.1", |params| {
                    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
                })
            }),
        ),
    ]
}

async fn peer<F>(behave: impl Fn(TcpStream) -> F + Send + Sync + 'static) -> Scene
where
    F: Future<Output = ()> + Send + 'static,
{
    let peer = Peer::start(behave).await;
    Scene::new(peer.http(), peer).module(PATIENCE)
}

fn exchange() -> Vec<Row> {
    vec![
        row(
            "the request is not read",
            ("http.timed_out_waiting", "edge"),
            "resolve connect request!",
            async {
                let scene = peer(|stream| async move {
                    let _stream = stream;
                    pending::<()>().await;
                });
                let body = "x".repeat(16 << 20);
                scene.await.http(&format!("method: POST\nbody: {body}"))
            },
        ),
        row(
            "closed before the response",
            ("http.closed_before_response", "edge"),
            IN_WAIT,
            peer(|mut stream| async move {
                read_head(&mut stream).await;
                let _ = stream.shutdown().await;
            }),
        ),
        row(
            "reset before the response",
            ("tcp.reset", "edge"),
            IN_WAIT,
            peer(|mut stream| async move {
                read_head(&mut stream).await;
                reset(&stream);
            }),
        ),
        row(
            "silence",
            ("http.timed_out_waiting", "edge"),
            IN_WAIT,
            peer(|mut stream| async move {
                read_head(&mut stream).await;
                pending::<()>().await;
            }),
        ),
        row(
            "reset in the header",
            ("tcp.reset", "edge"),
            IN_RECEIVE,
            then_reset(b"HTTP/1.1 200 OK\r\nServ"),
        ),
        row(
            "reset in the body",
            ("tcp.reset", "edge"),
            IN_RECEIVE,
            then_reset(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"),
        ),
        row(
            "a slow header",
            ("http.timed_out_waiting", "edge"),
            IN_RECEIVE,
            drips(b"HTTP/1.1 200 OK\r\nX: "),
        ),
        row(
            "a slow body",
            ("http.timed_out_mid_body", "edge"),
            IN_RECEIVE,
            drips(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"),
        ),
    ]
}

/// A server that sends the first bytes, waits until the client has read them, and resets the connection.
fn then_reset(first: &'static [u8]) -> impl Future<Output = Scene> {
    peer(move |mut stream| async move {
        read_head(&mut stream).await;
        let _ = stream.write_all(first).await;
        until_acknowledged(&stream).await;
        reset(&stream);
    })
}

fn drips(first: &'static [u8]) -> impl Future<Output = Scene> {
    peer(move |mut stream| async move {
        read_head(&mut stream).await;
        let _ = stream.write_all(first).await;
        let mut tick = tokio::time::interval(Duration::from_millis(50));
        loop {
            tick.tick().await;
            if stream.write_all(b"x").await.is_err() {
                break;
            }
        }
    })
}

fn answering(answer: impl Into<Vec<u8>>) -> impl Future<Output = Scene> {
    let answer = answer.into();
    async {
        let peer = Peer::answering(answer).await;
        Scene::new(peer.http(), peer)
    }
}

fn answer() -> Vec<Row> {
    let head = |fields: &str| format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n");
    let many_fields = "X-Many: a\r\n".repeat(300);
    let long_field = format!("X-Long: {}\r\n", "a".repeat(300_000));
    vec![
        row(
            "garbage",
            ("http.response.invalid", "edge"),
            IN_RECEIVE,
            answering("\x16\x03garbage\r\n\r\n"),
        ),
        row(
            "an HTTP/0.9 response",
            ("http.response.invalid", "edge"),
            IN_RECEIVE,
            answering("<h1>hello</h1>\r\n\r\n"),
        ),
        row(
            "a bad status line",
            ("http.response.invalid", "edge"),
            IN_RECEIVE,
            answering("HTTP/9 banana\r\n\r\n"),
        ),
        row(
            "a truncated header",
            ("http.closed_before_response", "edge"),
            IN_RECEIVE,
            answering("HTTP/1.1 200 OK\r\nX"),
        ),
        row(
            "a header with too many fields",
            ("http.response.header_too_large", "edge"),
            IN_RECEIVE,
            answering(format!("HTTP/1.1 200 OK\r\n{many_fields}\r\n")),
        ),
        row(
            "endless interim responses",
            ("http.response.too_many_interim", "edge"),
            IN_RECEIVE,
            answering("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".repeat(21) + &head("Content-Length: 0")),
        ),
        row(
            "a too long header",
            ("http.response.header_too_large", "edge"),
            IN_RECEIVE,
            answering(format!("HTTP/1.1 200 OK\r\n{long_field}\r\n")),
        ),
        row(
            "a truncated body",
            ("http.closed_mid_body", "edge"),
            IN_RECEIVE,
            answering(head("Content-Length: 9") + "half"),
        ),
        row(
            "a bad chunk",
            ("http.response.invalid", "edge"),
            IN_RECEIVE,
            answering(head("Transfer-Encoding: chunked") + "zz\r\n"),
        ),
        row(
            "a truncated chunk",
            ("http.closed_mid_body", "edge"),
            IN_RECEIVE,
            answering(head("Transfer-Encoding: chunked") + "9\r\nhalf"),
        ),
        row(
            "a body over TLS truncated within a record",
            ("http.closed_mid_body", "edge"),
            "resolve connect tls request processing transfer!",
            async {
                let peer = Peer::with_tls(self_signed("127.0.0.1").server(&[]), cut_in_a_record).await;
                Scene::new(peer.https(), peer).http("tls_config: {insecure_skip_verify: true}")
            },
        ),
        row(
            "a body that does not decode",
            ("http.response.bad_coding", "content"),
            IN_RECEIVE,
            async move {
                answering(head("Content-Length: 4") + "text")
                    .await
                    .http("compression: gzip")
            },
        ),
        row(
            "a body over body_size_limit",
            ("http.response.too_large", "content"),
            IN_RECEIVE,
            async move {
                answering(head("Content-Length: 9") + "123456789")
                    .await
                    .http("body_size_limit: 8B")
            },
        ),
    ]
}

/// Responds without a length, so that the body ends with the connection, and truncates the last TLS record.
async fn cut_in_a_record(mut stream: tokio_rustls::server::TlsStream<TcpStream>) {
    read_head(&mut stream).await;
    stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nall is fine").await.unwrap();
    stream.flush().await.unwrap();
    let (mut socket, mut session) = stream.into_inner();
    let mut record = Vec::new();
    std::io::Write::write_all(&mut session.writer(), b", not at all").unwrap();
    session.write_tls(&mut record).unwrap();
    socket.write_all(&record[..record.len() - 5]).await.unwrap();
    socket.shutdown().await.unwrap();
}

fn content() -> Vec<Row> {
    let hello = || answering("HTTP/1.1 200 OK\r\nX-App: one\r\nContent-Length: 5\r\n\r\nhello");
    let with = |keys: &'static str| async move { hello().await.http(keys) };
    let large = || {
        let mut answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 11 << 20).into_bytes();
        answer.resize(answer.len() + (11 << 20), b'x');
        answering(answer)
    };
    let status = ("http.status", "unknown");
    let redirect = |to: &str| format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n");
    vec![
        row(
            "a refused status",
            status,
            WHOLE,
            answering("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"),
        ),
        row(
            "a status that is not on the list",
            status,
            WHOLE,
            with("valid_status_codes: [204]"),
        ),
        row("a redirect that is not followed", status, WHOLE, async move {
            answering(redirect("/")).await.http("follow_redirects: false")
        }),
        row(
            "a redirect to another scheme",
            ("http.response.bad_redirect", "origin"),
            WHOLE,
            answering(redirect("ftp://a/")),
        ),
        row(
            "a redirect to an invalid URL",
            ("http.response.bad_redirect", "origin"),
            WHOLE,
            answering(redirect("/a%zz")),
        ),
        row(
            "a redirect loop",
            ("http.response.redirect_loop", "origin"),
            LOOP,
            answering(redirect("/")),
        ),
        row(
            "a document with the status down",
            ("content.json", "content"),
            WHOLE,
            async {
                let peer = Peer::answering("HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n{\"status\": \"bad\"}").await;
                Scene::new(peer.http(), peer).http("fail_if_body_json_not_matches_cel: body.status == 'ok'")
            },
        ),
        row(
            "a document with too many values",
            ("content.json_too_large", "content"),
            WHOLE,
            async {
                let body = format!("[{}0]", "0,".repeat(50_000));
                let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                let peer = Peer::answering(answer).await;
                Scene::new(peer.http(), peer).http("fail_if_body_json_not_matches_cel: body.size() > 0")
            },
        ),
        row(
            "an unwanted body",
            ("content.body", "content"),
            WHOLE,
            with("fail_if_body_matches_regexp: [hel+o]"),
        ),
        row(
            "a missing body",
            ("content.body", "content"),
            WHOLE,
            with("fail_if_body_not_matches_regexp: [goodbye]"),
        ),
        row(
            "an unwanted header",
            ("content.header", "content"),
            WHOLE,
            with("fail_if_header_matches: [{header: x-app, regexp: one}]"),
        ),
        row(
            "a missing header",
            ("content.header", "content"),
            WHOLE,
            with("fail_if_header_not_matches: [{header: x-none, regexp: a}]"),
        ),
        row(
            "another version",
            ("content.version", "content"),
            WHOLE,
            with("valid_http_versions: [HTTP/2.0]"),
        ),
        row(
            "no TLS although it is required",
            ("content.tls_required", "content"),
            WHOLE,
            with("fail_if_not_ssl: true"),
        ),
        row(
            "TLS although it is forbidden",
            ("content.tls_forbidden", "content"),
            WHOLE_TLS,
            async {
                let peer = Peer::with_tls(self_signed("127.0.0.1").server(&[]), ok).await;
                Scene::new(peer.https(), peer).http("fail_if_ssl: true\ntls_config: {insecure_skip_verify: true}")
            },
        ),
        row(
            "a body too large to match",
            ("content.body_too_large", "content"),
            IN_RECEIVE,
            async move { large().await.http("fail_if_body_matches_regexp: [hello]") },
        ),
    ]
}

/// Eleven exchanges: ten followed redirects, and the final response.
const LOOP: &str = concat!(
    "resolve connect request processing transfer resolve connect request processing transfer ",
    "resolve connect request processing transfer resolve connect request processing transfer ",
    "resolve connect request processing transfer resolve connect request processing transfer ",
    "resolve connect request processing transfer resolve connect request processing transfer ",
    "resolve connect request processing transfer resolve connect request processing transfer ",
    "resolve connect request processing transfer",
);

#[tokio::test]
async fn a_rejected_certificate_is_in_the_evidence() {
    let authority = Authority::new();
    let peer = Peer::with_tls(authority.expired("127.0.0.1").server(&[]), ok).await;
    let config = format!(
        "modules: {{m: {{prober: http, http: {{tls_config: {{ca_file: {}}}}}}}}}",
        authority.ca_file.display()
    );
    let probed = Exporter::start(&config).await.probe("m", &peer.https()).await;
    let expired = date_time_ymd(2002, 1, 1).unix_timestamp();
    #[allow(clippy::cast_precision_loss, reason = "a date is below 2^53")]
    let expired = expired as f64;
    assert_eq!(probed.page.value("probe_ssl_earliest_cert_expiry"), expired);
    // No chain was verified, so no expiry is exported: an alert about it would be misleading.
    let chain = probed.page.find("probe_ssl_last_chain_expiry_timestamp_seconds");
    assert_eq!(chain, None);
    assert_eq!(probed.page.value("probe_http_ssl"), 0.0);
    assert_eq!(probed.page.value("probe_tls_version_info{version=\"TLS 1.3\"}"), 1.0);
    assert_eq!(
        probed.evidence["target"]["exchanges"][0]["tls"]["chain"][0]["subject"],
        "CN=127.0.0.1"
    );
    // The handshake is complete, but no byte of the request may reach a server whose certificate was rejected.
    assert_eq!(
        probed.evidence["target"]["exchanges"][0]["reply"],
        serde_json::Value::Null
    );
}

#[tokio::test]
async fn a_silent_address_family_delays_the_probe_only_briefly() {
    let peer = Peer::start(ok).await;
    let dns = DnsServer::start(|_, kind| match kind {
        RecordType::A => Says::Addresses(vec![IpAddr::from([127, 0, 0, 1])]),
        _ => Says::Nothing,
    })
    .await;
    let config = format!("modules: {{m: {{prober: http, timeout: 20s, {}}}}}", dns.as_key());
    let exporter = Exporter::start(&config).await;
    let probed = exporter
        .probe("m", &format!("http://name.test:{}/", peer.address.port()))
        .await;
    assert_eq!(probed.page.value("probe_success"), 1.0);
    assert_eq!(probed.page.value("probe_ip_protocol"), 4.0);
    let lookup = probed.page.value("probe_dns_lookup_time_seconds");
    assert!(
        (0.9..10.0).contains(&lookup),
        "{lookup} s: the lookup must end within one second, not with the probe's timeout of 20 s"
    );
}

#[tokio::test]
async fn a_name_server_can_be_asked_over_tcp() {
    let exporter = Exporter::start("modules: {m: {prober: http, resolver: [\"tcp://127.0.0.1:1\"]}}").await;
    let probed = exporter.probe("m", "http://name.test/").await;
    assert_eq!(probed.evidence["verdict"]["reason"], "local.resolver_unreachable");
}

#[tokio::test]
async fn phases_do_not_overlap_with_an_early_response() {
    let peer = Peer::start(|mut stream| async move {
        let _ = stream.read(&mut [0; 1]).await;
        let _ = stream
            .write_all(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
            .await;
        let _ = stream.read_to_end(&mut Vec::new()).await;
    })
    .await;
    let body = "x".repeat(8 << 20);
    let exporter = Exporter::start(&format!(
        "modules: {{m: {{prober: http, http: {{method: POST, body: {body}}}}}}}"
    ))
    .await;
    let probed = exporter.probe("m", &peer.http()).await;
    assert_eq!(probed.page.value("probe_http_status_code"), 413.0);
    let timings = probed.evidence["target"]["exchanges"][0]["phases"]
        .as_array()
        .unwrap()
        .clone();
    let time = |timing: &serde_json::Value, key: &str| timing[key].as_f64().unwrap();
    for pair in timings.windows(2) {
        let end = time(&pair[0], "start_seconds") + time(&pair[0], "duration_seconds");
        assert!(end <= time(&pair[1], "start_seconds") + 1e-9, "{timings:#?}");
    }
    let sum: f64 = timings.iter().map(|timing| time(timing, "duration_seconds")).sum();
    let edge = &probed.evidence["target"];
    let balance = sum + time(edge, "unattributed_seconds") - time(edge, "duration_seconds");
    assert!(balance.abs() < 1e-6, "{edge:#}");
}

/// After an interim response, the exporter already reads the response, and still sends the rest of the request.
#[tokio::test(flavor = "multi_thread")]
async fn an_interim_response_does_not_end_the_request() {
    let size = 8 << 20;
    let peer = Peer::start(move |mut stream| async move {
        read_head(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 103 Early Hints\r\n\r\n").await;
        let mut body = vec![0; size];
        stream.read_exact(&mut body).await.unwrap();
        assert!(body.iter().all(|byte| *byte == b'x'));
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        let _ = stream.write_all(answer).await;
    })
    .await;
    let body = "x".repeat(size);
    let config = format!("modules: {{m: {{prober: http, http: {{method: POST, body: {body}}}}}}}");
    let probed = Exporter::start(&config).await.probe("m", &peer.http()).await;
    assert_eq!(probed.page.value("probe_success"), 1.0, "{:#}", probed.evidence);
}

/// The response is more informative than the write error of the request.
#[tokio::test(flavor = "multi_thread")]
async fn a_response_counts_even_after_a_write_error() {
    let peer = Peer::start(move |mut stream| async move {
        read_head(&mut stream).await;
        let answer = b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno";
        let _ = stream.write_all(answer).await;
        until_acknowledged(&stream).await;
        reset(&stream);
    })
    .await;
    let body = "x".repeat(8 << 20);
    let config = format!("modules: {{m: {{prober: http, http: {{method: POST, body: {body}}}}}}}");
    let probed = Exporter::start(&config).await.probe("m", &peer.http()).await;
    assert_eq!(
        probed.page.value("probe_http_status_code"),
        413.0,
        "{:#}",
        probed.evidence
    );
}

/// A truncated response is never complete. The kernel reports a reset only once, to the next write or read.
#[tokio::test(flavor = "multi_thread")]
async fn a_response_truncated_during_the_request_fails() {
    let body = "x".repeat(8 << 20);
    let config = format!("modules: {{m: {{prober: http, http: {{method: POST, body: {body}}}}}}}");
    let exporter = Exporter::start(&config).await;
    for begun in [
        "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\nServ",
        "HTTP/1.1 103 Early Hints\r\n\r\n",
    ] {
        let peer = Peer::start(move |mut stream| async move {
            read_head(&mut stream).await;
            let _ = stream.write_all(begun.as_bytes()).await;
            until_acknowledged(&stream).await;
            reset(&stream);
        })
        .await;
        let probed = exporter.probe("m", &peer.http()).await;
        assert_eq!(probed.page.value("probe_success"), 0.0, "{begun:?}");
        assert_eq!(probed.evidence["target"]["fault"]["reason"], "tcp.reset", "{begun:?}");
    }
}

/// A file that blocks its readers. It releases them on drop, because the runtime would wait for them.
struct Hanging {
    path: PathBuf,
    _folder: tempfile::TempDir,
}

impl Hanging {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(made.unwrap().success());
        Self { path, _folder: folder }
    }
}

impl Drop for Hanging {
    fn drop(&mut self) {
        // Opened for reading and writing, because opening for writing alone would wait for a reader. Later readers get
        // an empty file.
        let let_go = std::fs::OpenOptions::new().read(true).write(true).open(&self.path);
        let _ = std::fs::remove_file(&self.path);
        drop(let_go);
    }
}

/// A hanging file system affects only the probe that reads from it.
#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_credential_file_affects_only_its_probe() {
    let hanging = Hanging::new();
    let peer = Peer::start(ok).await;
    let config = format!(
        "modules: {{hangs: {{prober: http, timeout: 500ms, http: {{bearer_token_file: {}}}}}, m: {{prober: http}}}}",
        hanging.path.display()
    );
    let exporter = Exporter::start(&config).await;
    for _ in 0..4 {
        let probed = exporter.probe("hangs", &peer.http()).await;
        assert_eq!(probed.evidence["verdict"]["reason"], "local.file_unreadable");
    }
    assert_eq!(exporter.probe("m", &peer.http()).await.page.value("probe_success"), 1.0);
}

/// The runtime has 512 threads for blocking work, which includes the decoding of bodies.
#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_file_leaves_threads_for_other_modules() {
    const THREADS: usize = 512;
    let hanging = Hanging::new();
    let path = hanging.path.display();
    let mut zipped = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut zipped, b"hello").unwrap();
    let zipped = zipped.finish().unwrap();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", zipped.len());
    let peer = Peer::answering([head.as_bytes(), &zipped].concat()).await;
    let exporter = Exporter::start(&format!(
        "modules:
  token: {{prober: http, timeout: 100ms, http: {{bearer_token_file: {path}}}}}
  field: {{prober: http, timeout: 100ms, http: {{http_headers: {{X-A: {{files: [{path}]}}}}}}}}
  body: {{prober: http, timeout: 100ms, http: {{method: POST, body_file: {path}}}}}
  zipped: {{prober: http, timeout: 20s, http: {{compression: gzip, fail_if_body_not_matches_regexp: [^hello$]}}}}"
    ))
    .await;
    for module in ["token", "field", "body"] {
        let (mut probed, mut refused) = (0, 0);
        while probed + refused < THREADS {
            let url = exporter.url(&format!("/probe?module={module}&target={}", peer.http()));
            let many = join_all((0..64).map(|_| exporter.client().get(&url).send())).await;
            for answer in many {
                let answer = answer.unwrap();
                if answer.status() == 200 {
                    probed += 1;
                } else {
                    refused += 1;
                    let words = answer.text().await.unwrap();
                    assert!(
                        words.starts_with("the exporter has reached its concurrency limit"),
                        "{words}"
                    );
                }
            }
        }
        assert!(probed <= 8, "{module}: {probed} reads in progress, maximum 8");
    }
    let probed = exporter.probe("zipped", &peer.http()).await;
    assert_eq!(probed.page.value("probe_success"), 1.0, "{:#}", probed.evidence);
    assert_eq!(peer.connections(), 1, "a probe without its file must send nothing");
}

#[tokio::test]
async fn a_too_large_secret_file_is_rejected() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    std::fs::write(&path, vec![b'x'; 64 * 1024 + 1]).unwrap();
    let peer = Peer::start(ok).await;
    let config = format!(
        "modules: {{m: {{prober: http, http: {{bearer_token_file: {}}}}}}}",
        path.display()
    );
    let probed = Exporter::start(&config).await.probe("m", &peer.http()).await;
    assert_eq!(probed.evidence["verdict"]["reason"], "local.file_unreadable");
    assert_eq!(
        probed.evidence["target"]["fault"]["detail"],
        format!("{}: larger than 65536 bytes.", path.display())
    );
    assert_eq!(peer.connections(), 0);
}
