//! An exporter that stands still (SIGSTOP, a freezer, a paused host) must not make a target look as if it failed, and a target that
//! does not answer must not be excused by a stall that took nothing from it.

use crate::support::page::Page;
use crate::support::peer::{Peer, ok, read_head};
use crate::support::pki::Authority;
use crate::support::process::{Process, eventually, free_port};
use crate::support::quic::{QuicServer, echo};
use bytes::Bytes;
use http::{HeaderMap, Response};
use std::fs::File;
use std::future::Future;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tungstenite::handshake::derive_accept_key;

/// The exporter as a process of its own, which can be stopped.
struct Stoppable {
    process: Process,
    address: SocketAddr,
    folder: TempDir,
}

impl Stoppable {
    async fn start(config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("glassbox.yml"), config).unwrap();
        let port = free_port();
        let mut process = Process::start(
            Command::new(env!("CARGO_BIN_EXE_glassbox_exporter"))
                .arg(format!("--web.listen-address=127.0.0.1:{port}"))
                .arg("--config.file=glassbox.yml")
                .current_dir(folder.path())
                .stderr(File::create(folder.path().join("log")).unwrap()),
        );
        process.listens(port).await;
        Self {
            process,
            address: ([127, 0, 0, 1], port).into(),
            folder,
        }
    }

    async fn get(&self, path: &str) -> (u16, String) {
        get(self.address, path).await
    }

    fn probe(&self, module: &str, target: &str) -> JoinHandle<(u16, String)> {
        let target: String = url::form_urlencoded::byte_serialize(target.as_bytes()).collect();
        let (address, path) = (self.address, format!("/probe?module={module}&target={target}"));
        tokio::spawn(async move { get(address, &path).await })
    }

    /// Stops it, and waits until each of its threads has stopped (proc(5), `stat`).
    async fn stop(&self) {
        self.process.signal("STOP");
        eventually("all threads have stopped", async || {
            let threads = std::fs::read_dir(format!("/proc/{}/task", self.process.0.id())).unwrap();
            threads.into_iter().all(|thread| {
                let stat = std::fs::read_to_string(thread.unwrap().path().join("stat")).unwrap();
                stat.rsplit(") ").next().unwrap().starts_with('T')
            })
        })
        .await;
    }

    /// Stands still for so long.
    async fn stand_still(&self, time: Duration) {
        self.process.signal("STOP");
        tokio::time::sleep(time).await;
        self.process.signal("CONT");
    }

    async fn stalled(&self) -> f64 {
        let (_, page) = self.get("/metrics").await;
        Page::parse(&page).value("glassbox_local_errors_total{reason=\"local.stalled\"}")
    }
}

/// An answer, and the id of its evidence.
async fn probed(address: SocketAddr, path: &str) -> (String, String) {
    let client = crate::support::http::client();
    let answer = client.get(format!("http://{address}{path}")).send().await.unwrap();
    let id = answer.headers()["x-glassbox-evidence"].to_str().unwrap().to_owned();
    (answer.text().await.unwrap(), id)
}

async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let client = crate::support::http::client();
    let answer = client.get(format!("http://{address}{path}")).send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

/// Holds targets back once they have what they answer.
#[derive(Clone)]
struct Gate {
    arrived: watch::Sender<usize>,
    open: watch::Sender<bool>,
}

impl Gate {
    fn new() -> Self {
        Self {
            arrived: watch::Sender::new(0),
            open: watch::Sender::new(false),
        }
    }

    /// A target has what it answers; it goes on when it is let to.
    async fn hold(&self) {
        self.arrived.send_modify(|count| *count += 1);
        self.open.subscribe().wait_for(|open| *open).await.unwrap();
    }

    /// Until so many are held.
    async fn holds(&self, count: usize) {
        self.arrived
            .subscribe()
            .wait_for(|arrived| *arrived == count)
            .await
            .unwrap();
    }

    fn open(&self) {
        self.open.send_replace(true);
    }
}

async fn http(mut stream: impl AsyncRead + AsyncWrite + Unpin, gate: Gate) {
    read_head(&mut stream).await;
    gate.hold().await;
    let _ = stream
        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
        .await;
    // Not before the exporter has closed: the kernel merges the end with what came before, and takes its stamp.
    let _ = stream.read(&mut [0]).await;
}

/// HTTP/2, and a health service of gRPC.
async fn http2(stream: impl AsyncRead + AsyncWrite + Unpin, gate: Gate) {
    let Ok(mut connection) = h2::server::handshake(stream).await else {
        return;
    };
    while let Some(Ok((_, mut respond))) = connection.accept().await {
        let gate = gate.clone();
        tokio::spawn(async move {
            gate.hold().await;
            let head = Response::builder().header("content-type", "application/grpc");
            let mut answer = respond.send_response(head.body(()).unwrap(), false).unwrap();
            let serving = Bytes::from_static(b"\0\0\0\0\x02\x08\x01");
            answer.send_data(serving, false).unwrap();
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", "0".parse().unwrap());
            answer.send_trailers(trailers).unwrap();
        });
    }
}

async fn banner(mut stream: TcpStream, gate: Gate) {
    gate.hold().await;
    let _ = stream.write_all(b"220 ready\r\n").await;
    let _ = stream.read(&mut [0]).await;
}

async fn websocket(mut stream: TcpStream, gate: Gate) {
    let head = String::from_utf8(read_head(&mut stream).await).unwrap();
    let mut fields = head.lines().filter_map(|line| line.split_once(": "));
    let (_, key) = fields
        .find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key"))
        .unwrap();
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {}\r\n\r\n",
        derive_accept_key(key.as_bytes())
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    gate.hold().await;
    let _ = stream.write_all(b"\x81\x05hello").await;
    let _ = stream.read(&mut [0; 64]).await;
}

/// A name server over UDP: holds each question back, and then answers it with this address.
async fn name_server(gate: Gate) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 1500];
        let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
        gate.hold().await;
        // The header says: a response, one question, one answer, which is its name's (RFC 1035 section 4).
        let question = &buffer[12..length];
        let name_ends = question.iter().position(|byte| *byte == 0).unwrap();
        let answer = [
            &buffer[..2],
            b"\x81\x80\0\x01\0\x01\0\0\0\0",
            &question[..name_ends + 5],
            b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\x7f\0\0\x01",
        ];
        socket.send_to(&answer.concat(), from).await.unwrap();
    });
    address
}

/// A peer that does `behave` behind a gate.
async fn peer<F>(gate: &Gate, behave: fn(TcpStream, Gate) -> F) -> Peer
where
    F: Future<Output = ()> + Send + 'static,
{
    let gate = gate.clone();
    Peer::start(move |stream| behave(stream, gate.clone())).await
}

/// One protocol each. `deadline`: of every module; `names`: the name server of the module `resolve`.
fn config(authority: &Authority, deadline: &str, names: SocketAddr) -> String {
    let ca = format!("tls_config: {{ca_file: '{}'}}", authority.ca_file.display());
    let modules = [
        "http: {prober: http".to_owned(),
        format!("https: {{prober: http, http: {{{ca}}}"),
        format!("http3: {{prober: http, http: {{enable_http2: false, enable_http3: true, {ca}}}"),
        "grpc: {prober: grpc, grpc: {preferred_ip_protocol: ip4}".to_owned(),
        "dns: {prober: dns, dns: {query_name: example.org, query_type: A, preferred_ip_protocol: ip4}".to_owned(),
        "tcp: {prober: tcp, tcp: {query_response: [{expect: '^220'}]}".to_owned(),
        "websocket: {prober: websocket, websocket: {query_response: [{expect: '^hello'}]}".to_owned(),
        format!(
            "resolve: {{prober: http, resolver: [\"{names}\"], http: {{preferred_ip_protocol: ip4, ip_protocol_fallback: false}}"
        ),
    ];
    let modules = modules.map(|module| format!("  {module}, timeout: {deadline}}}\n"));
    format!("modules:\n{}", modules.concat())
}

/// Targets of all protocols, each held back where it has to answer.
struct Targets {
    gate: Gate,
    all: Vec<(&'static str, String)>,
    _peers: Vec<Peer>,
    _quic: QuicServer,
}

impl Targets {
    async fn start(authority: &Authority) -> Self {
        let gate = Gate::new();
        let plain = peer(&gate, http).await;
        let (held, tls) = (gate.clone(), authority.leaf("127.0.0.1").server(&["h2"]));
        let over_http2 = Peer::with_tls(tls, move |stream| http2(stream, held.clone())).await;
        let (held, tls) = (gate.clone(), authority.leaf("127.0.0.1").server(&[]));
        let secured = Peer::with_tls(tls, move |stream| http(stream, held.clone())).await;
        let grpc = peer(&gate, http2).await;
        let (tcp, socket) = (peer(&gate, banner).await, peer(&gate, websocket).await);
        let held = gate.clone();
        let quic = QuicServer::start(
            authority.leaf("127.0.0.1").server(&["h3"]),
            move |connection, stream| {
                let held = held.clone();
                async move {
                    held.hold().await;
                    echo(connection, stream).await;
                }
            },
        );
        let dns = name_server(gate.clone()).await;
        Self {
            all: vec![
                ("http", plain.http()),
                ("https", secured.https()),
                ("https", over_http2.https()),
                ("http3", quic.url()),
                ("grpc", grpc.address.to_string()),
                ("dns", dns.to_string()),
                ("tcp", tcp.address.to_string()),
                ("websocket", format!("ws://{}/", socket.address)),
            ],
            gate,
            _peers: vec![plain, secured, over_http2, grpc, tcp, socket],
            _quic: quic,
        }
    }
}

fn success(page: &str) -> f64 {
    Page::parse(page).value("probe_success")
}

/// What came in time while nobody read it is the answer, with its own time; what could not be begun in time is nobody's fault.
#[tokio::test]
async fn an_exporter_that_stood_still_through_the_deadline_blames_nobody() {
    let authority = Authority::new();
    let targets = Targets::start(&authority).await;
    let gate = &targets.gate;
    let names = name_server(gate.clone()).await;
    let exporter = Stoppable::start(&config(&authority, "4s", names)).await;
    // A handshake that has begun.
    let (held, tls) = (gate.clone(), authority.leaf("127.0.0.1").server(&[]));
    let half_shaken = Peer::start(move |stream| {
        let (held, acceptor) = (held.clone(), tokio_rustls::TlsAcceptor::from(tls.clone()));
        async move {
            stream.readable().await.unwrap();
            held.hold().await;
            if let Ok(stream) = acceptor.accept(stream).await {
                ok(stream).await;
            }
        }
    })
    .await;
    let behind_a_name = Peer::start(ok).await;
    let by_name = format!("http://name.test:{}/", behind_a_name.address.port());

    let answered: Vec<_> = targets
        .all
        .iter()
        .map(|(module, target)| (target.clone(), exporter.probe(module, target)))
        .collect();
    let unfinished = [
        exporter.probe("https", &half_shaken.https()),
        exporter.probe("resolve", &by_name),
    ];
    gate.holds(answered.len() + unfinished.len()).await;
    exporter.stop().await;
    gate.open();
    // The deadline of all has then passed.
    tokio::time::sleep(Duration::from_millis(4200)).await;
    exporter.process.signal("CONT");

    let mut untold = 0_u32;
    let most_untold = u32::try_from(answered.len()).unwrap() / 2;
    for (target, probe) in answered {
        let (status, page) = probe.await.unwrap();
        // A QUIC server that is not heard of sends its last datagrams again and again, after the deadline, too: when the answer was
        // whole, the exporter then cannot tell. And on a busy machine it may have been stopped within what TLS has to do first, or
        // the target may have answered late itself.
        if status == 503 {
            assert!(page.contains("did not run for"), "{page}");
            untold += 1;
            continue;
        }
        assert_eq!(status, 200, "{target}: {page}");
        assert_eq!(success(&page), 1.0, "{target}: {page}");
        // Whenever it was read, it came early.
        let phases = Page::parse(&page);
        let phases: Vec<_> = phases.starting("probe_http_duration_seconds{").collect();
        let whole: f64 = phases.iter().map(|(_, seconds)| seconds).sum();
        assert!(whole < 4.0, "{target}: {phases:?}");
    }
    assert!(untold <= most_untold, "{untold} of the targets that answered");
    for probe in unfinished {
        let (status, words) = probe.await.unwrap();
        assert_eq!(status, 503, "{words}");
        assert!(words.contains("did not run for"), "{words}");
    }
    assert_eq!(exporter.stalled().await, 2.0 + f64::from(untold));
    let log = std::fs::read_to_string(exporter.folder.path().join("log")).unwrap();
    assert!(log.contains("local.stalled"), "{log}");
}

/// Probes that have had their time: a stall that has ended takes nothing from targets that were probed before it.
#[tokio::test]
async fn a_target_that_never_answers_is_blamed_all_the_same_beside_a_short_stall() {
    let authority = Authority::new();
    let targets = Targets::start(&authority).await;
    let names = name_server(targets.gate.clone()).await;
    let exporter = Stoppable::start(&config(&authority, "5s", names)).await;
    let probes: Vec<_> = targets
        .all
        .iter()
        .map(|(module, target)| (target, exporter.probe(module, target)))
        .collect();
    targets.gate.holds(probes.len()).await;
    exporter.stand_still(Duration::from_millis(300)).await;
    for (target, probe) in probes {
        let (status, page) = probe.await.unwrap();
        assert_eq!(status, 200, "{target}: {page}");
        assert_eq!(success(&page), 0.0, "{target}: {page}");
        assert!(page.contains("timed_out") || page.contains("tcp.no_response"), "{page}");
    }
    assert_eq!(exporter.stalled().await, 0.0);
}

/// A connection is opened by the kernel: whether the target took it in time, that knows.
#[tokio::test]
async fn a_target_that_takes_no_connection_is_blamed_all_the_same_beside_a_short_stall() {
    let full = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    full.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    // Room for one connection that nobody takes; what comes after is dropped.
    full.listen(0).unwrap();
    let target = full.local_addr().unwrap().as_socket().unwrap();
    let _taken = std::net::TcpStream::connect(target).unwrap();
    let exporter = Stoppable::start("modules: {tcp: {prober: tcp, timeout: 5s}}").await;
    let probe = exporter.probe("tcp", &target.to_string());
    let remote = format!(":{:04X} 02 ", target.port());
    eventually("a first segment", async || {
        std::fs::read_to_string("/proc/net/tcp").unwrap().contains(&remote)
    })
    .await;
    exporter.stand_still(Duration::from_millis(300)).await;
    let (status, page) = probe.await.unwrap();
    assert_eq!((status, success(&page)), (200, 0.0), "{page}");
    assert!(page.contains("tcp.timed_out"), "{page}");
}

/// Writes the head behind one gate and the body behind another, each as a segment of its own.
async fn in_two_segments(mut stream: impl AsyncRead + AsyncWrite + Unpin, [head, body]: [Gate; 2]) {
    read_head(&mut stream).await;
    head.hold().await;
    stream
        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
        .await
        .unwrap();
    stream.flush().await.unwrap();
    body.hold().await;
    let _ = stream.write_all(b"hello").await;
    let _ = stream.flush().await;
    body.arrived.send_modify(|count| *count += 1);
    // Not before the exporter has closed: the end of the stream is merged as well.
    let _ = stream.read(&mut [0]).await;
}

/// What became of the two phases whose border is the first byte: the counts of their histograms, and what the evidence notes.
async fn observed(exporter: &Stoppable, page: &str, id: &str) -> ([f64; 2], String) {
    let page = Page::parse(page);
    assert_eq!(page.value("probe_success"), 1.0);
    // The gauges of blackbox_exporter are always there, and what is known is counted.
    for series in [
        "probe_http_duration_seconds{phase=\"processing\"}",
        "probe_http_duration_seconds{phase=\"transfer\"}",
    ] {
        assert!(page.find(series).is_some(), "{series}");
    }
    for series in [
        "probe_phase_duration_seconds_count{phase=\"connect\"}",
        "probe_success_duration_seconds_count",
    ] {
        assert_eq!(page.value(series), 1.0, "{series}");
    }
    let counts = ["processing", "transfer"]
        .map(|phase| page.value(&format!("probe_phase_duration_seconds_count{{phase=\"{phase}\"}}")));
    let (_, evidence) = exporter.get(&format!("/evidence/{id}.json")).await;
    let evidence: serde_json::Value = serde_json::from_str(&evidence).unwrap();
    (counts, evidence["target"]["exchanges"][0]["notes"].to_string())
}

/// From the head to the body, or how long the exporter stands still.
const BETWEEN: Duration = Duration::from_millis(50);

const NOT_KNOWN: &str = "Only the sum of the phases processing and transfer is known";

/// When the head came, nobody knows: its timestamp is that of the body, which was merged with it.
#[tokio::test]
async fn phases_whose_packets_were_merged_while_the_exporter_stood_still_are_not_observed() {
    let authority = Authority::new();
    let names = SocketAddr::from(([127, 0, 0, 1], 1));
    let exporter = Stoppable::start(&config(&authority, "5s", names)).await;
    for (module, tls) in [("http", false), ("https", true)] {
        let gates = [Gate::new(), Gate::new()];
        let behind = gates.clone();
        let target = if tls {
            let server = authority.leaf("127.0.0.1").server(&[]);
            Peer::with_tls(server, move |stream| in_two_segments(stream, behind.clone())).await
        } else {
            Peer::start(move |stream| {
                stream.set_nodelay(true).unwrap();
                in_two_segments(stream, behind.clone())
            })
            .await
        };
        let scheme = if tls { "https" } else { "http" };
        let path = format!("/probe?module={module}&target={scheme}://{}/", target.address);
        let address = exporter.address;
        let probe = tokio::spawn(async move { probed(address, &path).await });
        let [head, body] = &gates;
        head.holds(1).await;
        exporter.stop().await;
        head.open();
        body.holds(1).await;
        tokio::time::sleep(BETWEEN).await;
        body.open();
        body.holds(2).await;
        exporter.process.signal("CONT");
        let (page, id) = probe.await.unwrap();
        let (counts, notes) = observed(&exporter, &page, &id).await;
        assert_eq!(counts, [0.0, 0.0], "{module}: {notes}");
        assert!(notes.contains(NOT_KNOWN), "{module}: {notes}");
        let (_, page) = exporter.get(&format!("/evidence/{id}")).await;
        assert!(page.contains(NOT_KNOWN), "{module}: {page}");
    }
}

/// It stood still as well, but a segment that is alone has its own timestamp.
#[tokio::test]
async fn phases_of_a_single_segment_are_observed_however_late_it_was_read() {
    let gate = Gate::new();
    let target = peer(&gate, http).await;
    let exporter = Stoppable::start("modules: {http: {prober: http, timeout: 5s}}").await;
    let (address, path) = (exporter.address, format!("/probe?module=http&target={}", target.http()));
    let probe = tokio::spawn(async move { probed(address, &path).await });
    gate.holds(1).await;
    exporter.stop().await;
    gate.open();
    tokio::time::sleep(BETWEEN).await;
    exporter.process.signal("CONT");
    let (page, id) = probe.await.unwrap();
    assert_eq!(observed(&exporter, &page, &id).await, ([1.0, 1.0], "[]".to_owned()));
}

/// Bytes that the exporter's end of a connection has not read (proc(5), `/proc/net/tcp`).
fn unread_from(target: SocketAddr) -> Option<u64> {
    let remote = format!("0100007F:{:04X}", target.port());
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let mut rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let row = rows.find(|row| row.get(2) == Some(&&*remote) && row.get(3) == Some(&"01"))?;
    u64::from_str_radix(row[4].split_once(':')?.1, 16).ok()
}

/// The head is read before the body comes: nothing was merged.
#[tokio::test]
async fn phases_of_two_segments_are_observed_where_the_exporter_reads_in_time() {
    let gates = [Gate::new(), Gate::new()];
    let behind = gates.clone();
    let target = Peer::start(move |stream| in_two_segments(stream, behind.clone())).await;
    let exporter = Stoppable::start("modules: {http: {prober: http, timeout: 5s}}").await;
    let (address, path) = (exporter.address, format!("/probe?module=http&target={}", target.http()));
    let probe = tokio::spawn(async move { probed(address, &path).await });
    let [head, body] = &gates;
    head.open();
    body.holds(1).await;
    eventually("the exporter reads the head", async || {
        unread_from(target.address) == Some(0)
    })
    .await;
    body.open();
    let (page, id) = probe.await.unwrap();
    assert_eq!(observed(&exporter, &page, &id).await, ([1.0, 1.0], "[]".to_owned()));
}
