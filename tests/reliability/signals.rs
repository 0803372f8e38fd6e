//! R14: SIGTERM lets all responses complete, also during a reload or TLS handshakes. A second SIGTERM ends the process
//! immediately. After SIGKILL, the next process is ready immediately.

use crate::clients::{Answer, peer, probe, scrape, scrape_all};
use crate::program::{OURS, Program};
use crate::support::held::Held;
use crate::support::peer::Peer;
use crate::support::pki::Authority;
use crate::support::process::eventually;
use crate::table::{Figure, Table};
use nix::libc::O_NONBLOCK;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::{Command, ExitStatus};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

const IN_FLIGHT: usize = 50;
const KILLS: usize = 20;

/// Clients with an incomplete TLS handshake.
const HALF_SHAKEN: usize = 22;

/// Maximum time from the last response to the exit, in milliseconds: the time that clients have to read their last
/// responses, plus a margin.
const LAST_ANSWERS: f64 = 3250.0;

const MODULES: &str = "modules: {m: {prober: http, timeout: 10s}}";

pub async fn run(table: &mut Table) {
    let mut cut = Vec::new();
    for program in [OURS.to_owned(), peer()] {
        cut.push(terminated(&program).await);
    }
    table.figure(Figure {
        id: "R14",
        what: format!("SIGTERM with {IN_FLIGHT} probes in flight: incomplete responses"),
        ours: cut[0],
        peer: Some(cut[1]),
        most: 0.0,
        unit: "",
    });
    while_reloading(table).await;
    while_shaking_hands(table).await;
    twice(table).await;
    let mut slowest = Vec::new();
    for program in [OURS.to_owned(), peer()] {
        slowest.push(killed(&program).await);
    }
    table.figure(Figure {
        id: "R14",
        what: format!("ready after SIGKILL, slowest of {KILLS}"),
        ours: slowest[0],
        peer: Some(slowest[1]),
        most: 250.0,
        unit: " ms",
    });
}

/// Starts `IN_FLIGHT` probes and returns when all of them wait for their target.
async fn in_flight(held: &Held, exporter: &Program) -> JoinHandle<Vec<Answer>> {
    let paths: Vec<_> = (0..IN_FLIGHT)
        .map(|key| probe("m", &format!("{}{key}", held.peer.http())))
        .collect();
    let scrapes = tokio::spawn(scrape_all(exporter.address, paths, IN_FLIGHT, 20.0));
    held.holds(IN_FLIGHT).await;
    scrapes
}

/// Exit status and time of exit.
async fn end_of(mut exporter: Program) -> (ExitStatus, Instant) {
    let ended = tokio::task::spawn_blocking(move || (exporter.process.0.wait().unwrap(), Instant::now()));
    ended.await.unwrap()
}

fn not_whole(answers: &[Answer]) -> f64 {
    let whole = answers.iter().filter(|answer| answer.success() == Some(1.0)).count();
    (answers.len() - whole) as f64
}

/// Number of incomplete responses.
async fn terminated(program: &str) -> f64 {
    let held = Held::start().await;
    let exporter = Program::start(program, MODULES).await;
    let scrapes = in_flight(&held, &exporter).await;
    exporter.process.signal("TERM");
    // Long enough for an exporter that does not wait.
    tokio::time::sleep(Duration::from_millis(300)).await;
    held.let_go.send_replace(true);
    let answers = scrapes.await.unwrap();
    let (ended, _) = end_of(exporter).await;
    if program == OURS {
        assert_eq!(ended.code(), Some(0), "{ended:?}");
    }
    not_whole(&answers)
}

/// The new configuration file is a pipe without a writer, which hangs like a stuck file system. Opening it for writing
/// succeeds only while the exporter reads it.
async fn while_reloading(table: &mut Table) {
    let held = Held::start().await;
    let exporter = Program::start(OURS, MODULES).await;
    let scrapes = in_flight(&held, &exporter).await;
    let file = exporter.folder.path().join("config.yml");
    std::fs::remove_file(&file).unwrap();
    assert!(Command::new("mkfifo").arg(&file).status().unwrap().success());
    exporter.process.signal("HUP");
    let mut unwritten = None;
    eventually("a reload", async || {
        unwritten = File::options().write(true).custom_flags(O_NONBLOCK).open(&file).ok();
        unwritten.is_some()
    })
    .await;
    exporter.process.signal("TERM");
    drained(exporter.address, "/-/ready").await;
    held.let_go.send_replace(true);
    let answers = scrapes.await.unwrap();
    let let_go = Instant::now();
    let (status, ended) = end_of(exporter).await;
    assert_eq!(status.code(), Some(0), "{status:?}");
    for (what, ours, most, unit) in [
        ("incomplete responses", not_whole(&answers), 0.0, ""),
        ("exit after the last response", millis(ended - let_go), 250.0, " ms"),
    ] {
        table.figure(Figure {
            id: "R14",
            what: format!("SIGTERM with {IN_FLIGHT} probes in flight while a reload hangs: {what}"),
            ours,
            peer: None,
            most,
            unit,
        });
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// Waits until the exporter rejects probes, which means that it has received the signal.
async fn drained(address: SocketAddr, path: &str) {
    eventually("draining", async || {
        scrape(address, path, 5.0).await.status == Some(503)
    })
    .await;
}

/// Clients of the exporter's port start TLS handshakes and do not complete them.
async fn while_shaking_hands(table: &mut Table) {
    let authority = Authority::new();
    let (certificate, key) = authority.files("127.0.0.1");
    let folder = tempfile::tempdir().unwrap();
    let web = folder.path().join("web.yml");
    let keys = format!("cert_file: '{}', key_file: '{}'", certificate.display(), key.display());
    std::fs::write(&web, format!("tls_server_config: {{{keys}}}\n")).unwrap();
    let mut command = Command::new(OURS);
    command.arg(format!("--web.config.file={}", web.display()));
    let exporter = Program::start_by(command, MODULES).await;
    let held = Held::start().await;
    let path = probe("m", &held.peer.http());
    let scraping = tokio::spawn(secured(authority, exporter.address, path));
    held.holds(1).await;
    let mut half_shaken = Vec::new();
    for number in 0..HALF_SHAKEN {
        let mut stream = TcpStream::connect(exporter.address).await.unwrap();
        // From zero to ten bytes of a record with a ClientHello (RFC 8446 section 5.1).
        let begun = &b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03"[..number % 11];
        stream.write_all(begun).await.unwrap();
        half_shaken.push(stream);
    }
    exporter.process.signal("TERM");
    // Long enough for an exporter that does not wait.
    tokio::time::sleep(Duration::from_millis(300)).await;
    held.let_go.send_replace(true);
    let page = scraping.await.unwrap();
    let let_go = Instant::now();
    let (status, ended) = end_of(exporter).await;
    drop(half_shaken);
    assert_eq!(status.code(), Some(0), "{status:?}");
    let whole = page.contains("\nprobe_success 1\n");
    for (what, ours, most, unit) in [
        ("incomplete responses", f64::from(u8::from(!whole)), 0.0, ""),
        (
            "exit after the last response",
            millis(ended - let_go),
            LAST_ANSWERS,
            " ms",
        ),
    ] {
        table.figure(Figure {
            id: "R14",
            what: format!("SIGTERM with {HALF_SHAKEN} incomplete TLS handshakes of clients: {what}"),
            ours,
            peer: None,
            most,
            unit,
        });
    }
}

/// A scrape over TLS.
async fn secured(authority: Authority, address: SocketAddr, path: String) -> String {
    let mut roots = RootCertStore::empty();
    roots.add(authority.der.clone()).unwrap();
    let client = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::from(address.ip());
    let mut stream = TlsConnector::from(Arc::new(client))
        .connect(name, stream)
        .await
        .unwrap();
    let request = format!("GET {path} HTTP/1.0\r\nHost: exporter\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

/// A second SIGTERM ends the process without waiting for probes.
async fn twice(table: &mut Table) {
    let held = Held::start().await;
    let exporter = Program::start(OURS, MODULES).await;
    let scrapes = in_flight(&held, &exporter).await;
    exporter.process.signal("TERM");
    drained(exporter.address, "/-/ready").await;
    let again = Instant::now();
    exporter.process.signal("TERM");
    let (status, ended) = end_of(exporter).await;
    let answers = scrapes.await.unwrap();
    let answered = answers.iter().filter(|answer| answer.success().is_some()).count();
    assert_eq!(answered, 0, "no target has responded, so no probe can be answered");
    assert_ne!(
        status.code(),
        Some(0),
        "aborted probes need a non-zero exit code: {status:?}"
    );
    table.figure(Figure {
        id: "R14",
        what: format!("a second SIGTERM with {IN_FLIGHT} probes in flight: time to exit"),
        ours: millis(ended - again),
        peer: None,
        most: 250.0,
        unit: " ms",
    });
}

/// Slowest time from the start of a process to its first response, in milliseconds. Each start follows a SIGKILL under
/// load.
async fn killed(program: &str) -> f64 {
    let good = Peer::start(crate::support::peer::ok).await;
    let mut slowest: f64 = 0.0;
    let mut exporter = Program::start(program, MODULES).await;
    for _ in 0..KILLS {
        let paths = (0..200)
            .map(|key| probe("m", &format!("{}{key}", good.http())))
            .collect();
        let load = tokio::spawn(scrape_all(exporter.address, paths, 20, 5.0));
        scrape(exporter.address, &probe("m", &good.http()), 5.0).await;
        exporter.process.signal("KILL");
        load.await.unwrap();
        let begun = Instant::now();
        exporter = Program::start(program, MODULES).await;
        let answer = scrape(exporter.address, "/-/healthy", 5.0).await;
        assert_eq!(answer.status, Some(200));
        slowest = slowest.max(begun.elapsed().as_secs_f64() * 1000.0);
    }
    slowest
}
