//! Torture test, as in curl: for every N, the N-th call that can fail for lack of a resource on this host fails. Each
//! probe must end with a named reason, must not report the target as down, and must leave no file open.

use crate::probers::websocket::accepting;
use crate::support::dns::{DnsServer, Says};
use crate::support::health::health;
use crate::support::page::Page;
use crate::support::peer::{Peer, ok, read_head};
use crate::support::pki::Authority;
use crate::support::process::{Process, eventually, free_port, preloaded};
use crate::support::proxy::Proxy;
use crate::support::quic::{QuicServer, echo};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::fs::File;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::FileExt as _;
use std::process::Command;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket, UnixListener};
use tokio_rustls::server::TlsStream;

/// Maximum number of steps of a probe that can fail.
const MOST_STEPS: i32 = 400;

/// Number of consecutive probes without a failed step that end the test. More than one, because background work may
/// take a step.
const UNTOUCHED: usize = 3;

/// Length of the memory shared with the preloaded library: number of remaining steps, and name of the failed call.
const SHARED: usize = 32;

/// Expected messages of a 503. Any other message would be an unexpected failure.
const SHORTAGES: [&str; 4] = [
    "the exporter has no free file descriptor: ",
    "the exporter has no free local port: ",
    "the exporter's kernel has no buffers left: ",
    "the exporter has reached its concurrency limit: ",
];

struct Tortured {
    exporter: Process,
    port: u16,
    shared: File,
    folder: tempfile::TempDir,
}

impl Tortured {
    async fn start(config: &str, more: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let library = preloaded("tests/suite/torture/fail.c", folder.path());
        let path = folder.path().join("shared");
        std::fs::write(&path, [0; SHARED]).unwrap();
        std::fs::write(folder.path().join("glassbox.yml"), config).unwrap();
        std::fs::write(folder.path().join("password"), "password").unwrap();
        let port = free_port();
        let mut exporter = Process::start(
            Command::new(env!("CARGO_BIN_EXE_glassbox_exporter"))
                .arg(format!("--web.listen-address=127.0.0.1:{port}"))
                .arg("--config.file=glassbox.yml")
                .env("LD_PRELOAD", library)
                .env("TORTURE", &path)
                .envs(more.iter().copied())
                .current_dir(folder.path())
                .stderr(File::create(folder.path().join("log")).unwrap()),
        );
        exporter.listens(port).await;
        Self {
            exporter,
            port,
            shared: File::options().read(true).write(true).open(path).unwrap(),
            folder,
        }
    }

    /// Lets the step with this number fail. 0 disables failures.
    fn fail(&self, step: i32) {
        let mut words = [0; SHARED];
        words[..4].copy_from_slice(&step.to_ne_bytes());
        self.shared.write_all_at(&words, 0).unwrap();
    }

    /// The name of the failed call, if one has failed.
    fn failed(&self) -> Option<String> {
        let mut words = [0; SHARED];
        self.shared.read_exact_at(&mut words, 0).unwrap();
        let (left, call) = words.split_at(4);
        let call = call.iter().take_while(|byte| **byte != 0);
        (left == [0; 4]).then(|| call.map(|byte| char::from(*byte)).collect())
    }

    /// Status and body of a path. `None` if the connection ended without a response.
    async fn get(&self, path: &str) -> Option<(u16, String)> {
        let client = crate::support::http::client();
        let request = client.get(format!("http://127.0.0.1:{}{path}", self.port));
        let timeout = Duration::from_secs(30);
        let answer = request
            .header("X-Prometheus-Scrape-Timeout-Seconds", "5")
            .timeout(timeout)
            .send()
            .await
            .ok()?;
        Some((answer.status().as_u16(), answer.text().await.ok()?))
    }

    fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.exporter.0.id()))
            .unwrap()
            .count()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }
}

/// Checks the response to a probe with a local failure. It must be 503, or success if the exporter recovered, but never
/// a failure of the target.
fn objection(answer: Option<(u16, String)>) -> Option<String> {
    match answer {
        // The connection of the scrape itself failed: `up` is 0, and the target has no result.
        None => None,
        Some((503, words)) => {
            let is_shortage = SHORTAGES.iter().any(|shortage| words.starts_with(shortage));
            (!is_shortage).then_some(words)
        }
        Some((200, page)) => {
            let verdict = page.lines().filter(|line| line.contains("probe_failure_info{"));
            (Page::parse(&page).value("probe_success") != 1.0).then(|| verdict.collect())
        }
        Some(other) => Some(format!("{other:?}")),
    }
}

/// A kind of probe.
#[derive(Clone)]
struct Kind {
    name: &'static str,
    module: String,
    target: String,
}

/// Tests one kind of probe. Returns the number of steps that can fail, and adds the objections to the responses.
async fn torture(tortured: &Tortured, name: &str, probe: &str, objections: &mut Vec<String>) -> usize {
    let well = tortured.get(probe).await.unwrap();
    assert!(well.1.contains("\nprobe_success 1"), "{name} {well:?}");
    let mut untouched = 0;
    for step in 1..MOST_STEPS {
        tortured.fail(step);
        let answer = tortured.get(probe).await;
        let failed = tortured.failed();
        tortured.fail(0);
        let call = failed.as_deref().unwrap_or("no call");
        if let Some(objection) = objection(answer) {
            objections.push(format!("{name}, step {step}, {call}: {objection}"));
        }
        untouched = if failed.is_some() { 0 } else { untouched + 1 };
        if untouched == UNTOUCHED {
            return usize::try_from(step).unwrap() - UNTOUCHED;
        }
    }
    panic!("{name} has more than {MOST_STEPS} steps that can fail");
}

/// Relays DNS messages over TCP to a name server over UDP. Each message has a length prefix (RFC 1035 section 4.2.2).
async fn relayed(mut stream: TcpStream, to: SocketAddr) {
    let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    server.connect(to).await.unwrap();
    while let Ok(length) = stream.read_u16().await {
        let mut message = vec![0; length.into()];
        if stream.read_exact(&mut message).await.is_err() {
            return;
        }
        server.send(&message).await.unwrap();
        message.resize(512, 0);
        let length = server.recv(&mut message).await.unwrap();
        let answer = [&u16::try_from(length).unwrap().to_be_bytes(), &message[..length]].concat();
        if stream.write_all(&answer).await.is_err() {
            return;
        }
    }
}

/// Responds to every request with a short body.
async fn over_http2(stream: TlsStream<TcpStream>) {
    let Ok(mut connection) = h2::server::handshake(stream).await else {
        return;
    };
    while let Some(Ok((_, mut respond))) = connection.accept().await {
        if let Ok(mut answer) = respond.send_response(http::Response::new(()), false) {
            let _ = answer.send_data(bytes::Bytes::from_static(b"hello"), true);
        }
    }
}

/// The targets. They are stopped on drop.
struct Targets {
    authority: Authority,
    dns: DnsServer,
    dns_by_tcp: Peer,
    plain: Peer,
    zipped: Peer,
    secured: Peer,
    http2: Peer,
    proxy: Proxy,
    quic: QuicServer,
    health: Peer,
    websocket: Peer,
    folder: tempfile::TempDir,
}

impl Targets {
    async fn start() -> Self {
        let authority = Authority::new();
        let leaf = || authority.leaf("peer.test");
        let secured = Peer::with_tls(leaf().server(&[]), ok).await;
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&b"hello ".repeat(10_000)).unwrap();
        let body = encoder.finish().unwrap();
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("socket")).unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.write_all(b"hello\n").await;
            }
        });
        let dns = DnsServer::always(Says::Addresses(vec![IpAddr::from([127, 0, 0, 1])])).await;
        let by_datagrams = dns.address;
        Self {
            dns,
            dns_by_tcp: Peer::start(move |stream| relayed(stream, by_datagrams)).await,
            plain: Peer::start(ok).await,
            zipped: Peer::answering([head.into_bytes(), body].concat()).await,
            proxy: Proxy::http(secured.address).await,
            secured,
            http2: Peer::with_tls(leaf().server(&["h2"]), over_http2).await,
            quic: QuicServer::start(leaf().server(&["h3"]), echo),
            health: health(b"\0\0\0\0\x02\x08\x01", "0").await,
            websocket: Peer::start(|mut stream| async move {
                let head = read_head(&mut stream).await;
                // If the connection setup failed, no request follows.
                if head.is_empty() {
                    return;
                }
                let answer = [accepting(&head).as_bytes(), b"\x81\x05hello"].concat();
                let _ = stream.write_all(&answer).await;
                // Read until the prober has closed the WebSocket.
                let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
            })
            .await,
            authority,
            folder,
        }
    }

    /// The kinds of the http prober.
    fn http_kinds(&self) -> Vec<Kind> {
        let resolver = self.dns.as_key();
        let tls = format!("tls_config: {{ca_file: '{}'}}", self.authority.ca_file.display());
        let credentials = "basic_auth: {username: u, password_file: password}";
        let secured = format!("https://peer.test:{}/", self.secured.address.port());
        let zipped =
            "compression: gzip, headers: {Accept-Encoding: gzip}, fail_if_body_not_matches_regexp: ['hello $']";
        [
            (
                "plain",
                format!("http, {resolver}"),
                format!("http://peer.test:{}/", self.plain.address.port()),
            ),
            (
                "by_tcp",
                format!("http, resolver: ['tcp://{}']", self.dns_by_tcp.address),
                format!("http://peer.test:{}/", self.plain.address.port()),
            ),
            ("tls", format!("http, {resolver}, http: {{{tls}}}"), secured.clone()),
            (
                "http2",
                format!("http, {resolver}, http: {{{tls}, valid_http_versions: [HTTP/2.0]}}"),
                format!("https://peer.test:{}/", self.http2.address.port()),
            ),
            ("file", format!("http, http: {{{credentials}}}"), self.plain.http()),
            ("zipped", format!("http, http: {{{zipped}}}"), self.zipped.http()),
            (
                "proxy",
                format!(
                    "http, {resolver}, http: {{{tls}, proxy_url: 'http://{}'}}",
                    self.proxy.address()
                ),
                secured,
            ),
            (
                "quic",
                format!("http, {resolver}, http: {{{tls}, enable_http2: false, enable_http3: true}}"),
                format!("https://peer.test:{}/", self.quic.address.port()),
            ),
        ]
        .map(|(name, module, target)| Kind { name, module, target })
        .into()
    }

    /// The kinds of all other probers.
    fn other_kinds(&self) -> Vec<Kind> {
        let unix = self.folder.path().join("socket").display().to_string();
        let said = "query_response: [{send: \"GET / HTTP/1.0\\r\\n\\r\"}, {expect: '^HTTP'}]";
        [
            ("tcp", format!("tcp, tcp: {{{said}}}"), self.plain.address.to_string()),
            (
                "unix",
                "unix, unix: {query_response: [{expect: '^hello$'}]}".to_owned(),
                unix,
            ),
            (
                "dns",
                "dns, dns: {query_name: a.test, query_type: A}".to_owned(),
                self.dns.address.to_string(),
            ),
            (
                "icmp",
                "icmp, icmp: {preferred_ip_protocol: ip4}".to_owned(),
                "127.0.0.1".to_owned(),
            ),
            (
                "grpc",
                "grpc, grpc: {preferred_ip_protocol: ip4}".to_owned(),
                self.health.address.to_string(),
            ),
            (
                "websocket",
                "websocket, websocket: {query_response: [{expect: '^hello$'}]}".to_owned(),
                format!("ws://{}/", self.websocket.address),
            ),
        ]
        .map(|(name, module, target)| Kind { name, module, target })
        .into()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn local_failures_never_report_a_target_as_down_and_leak_nothing() {
    let targets = Targets::start().await;
    let kinds = [targets.http_kinds(), targets.other_kinds()].concat();
    let modules = kinds
        .iter()
        .map(|kind| format!("  {}: {{prober: {}}}\n", kind.name, kind.module))
        .collect::<Vec<_>>()
        .concat();
    let sockets = targets.folder.path().display();
    let config = format!("policy: {{unix: {{allow: ['{sockets}/socket']}}}}\nmodules:\n{modules}");
    let tortured = Tortured::start(&config, &[]).await;
    let before = tortured.open_files();
    let (mut steps, mut objections) = (Vec::new(), Vec::new());
    for Kind { name, target, .. } in &kinds {
        let probe = format!("/probe?module={name}&target={target}");
        let count = torture(&tortured, name, &probe, &mut objections).await;
        steps.push((*name, count));
        let (_, page) = tortured.get(&probe).await.unwrap();
        assert!(
            page.contains("\nprobe_success 1"),
            "the next {name} probe failed: {page}"
        );
    }
    println!("steps that can fail: {steps:?}");
    assert!(
        steps.iter().all(|(_, count)| *count >= 10),
        "too few steps failed: {steps:?}"
    );
    assert!(objections.is_empty(), "{objections:#?}\n{}", tortured.log());
    // Tolerance for a kept connection or one that is being closed.
    eventually("no additional open files", async || tortured.open_files() <= before + 2).await;
    let (_, own) = tortured.get("/metrics").await.unwrap();
    let own = Page::parse(&own);
    assert_eq!(own.value("glassbox_probes_in_flight"), 0.0);
    assert_eq!(own.value("glassbox_panics_total"), 0.0);
    assert!(!tortured.log().contains("anic"), "{}", tortured.log());
}

/// Threads for blocking work start on first use. The steps above do not cover their creation, because the threads
/// already exist.
#[tokio::test(flavor = "multi_thread")]
async fn a_failed_thread_start_is_a_local_fault() {
    let peer = Peer::start(ok).await;
    let config = "modules: {m: {prober: http, http: {basic_auth: {username: u, password_file: password}}}}";
    let tortured = Tortured::start(config, &[("TORTURE_ONLY", "pthread_create")]).await;
    let probe = format!("/probe?module=m&target={}", peer.http());
    tortured.fail(1);
    let (status, words) = tortured.get(&probe).await.unwrap();
    assert_eq!(tortured.failed().as_deref(), Some("pthread_create"), "{words}");
    assert_eq!(status, 503, "{words}");
    let (_, page) = tortured.get(&probe).await.unwrap();
    assert!(page.contains("\nprobe_success 1"), "{page}");
}
