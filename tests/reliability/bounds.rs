//! R4 and R11: all callers and targets together cannot exhaust the exporter's memory, or block its log, reloads or
//! shutdown.

use crate::clients::{forget_peak, peak, probe, resident, scrape, scrape_all};
use crate::program::{OURS, Program};
use crate::support::peer::{Peer, read_head};
use crate::support::process::free_port;
use crate::table::{Figure, Table};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

const MODULES: &str = "modules: {m: {prober: http, timeout: 9s}}";

/// Connections with an incomplete request header, and the length of that header in bytes.
const HEADS: usize = 600;
const HEAD: usize = 390_000;

/// Probes with the largest evidence that a target can cause.
const HOSTILE: usize = 1000;

/// Concurrent probes that each hold a body of `BODY` bytes.
const BODIES: usize = 100;
const BODY: usize = 9 << 20;

/// Keys with parameters of the maximum length. Each key is probed twice.
const KEYS: usize = 20_000;

fn row(table: &mut Table, id: &'static str, what: &str, ours: f64, most: f64, unit: &'static str) {
    table.figure(Figure {
        id,
        what: what.to_owned(),
        ours,
        peer: None,
        most,
        unit,
    });
}

/// R4: memory.
pub async fn memory(table: &mut Table) {
    let grown = heads().await;
    row(
        table,
        "R4",
        &format!("{HEADS} incomplete headers of {HEAD} bytes: memory growth"),
        grown,
        24.0,
        " MiB",
    );
    let grown = evidence().await;
    row(
        table,
        "R4",
        &format!("{HOSTILE} findings of the maximum size: memory growth"),
        grown,
        120.0,
        " MiB",
    );
    let (grown, blamed) = bodies().await;
    let what = format!("{BODIES} concurrent bodies of {BODY} bytes");
    row(table, "R4", &format!("{what}: growth"), grown, 320.0, " MiB");
    row(
        table,
        "R4",
        &format!("{what}: targets reported as down"),
        blamed,
        0.0,
        "",
    );
    let grown = keys().await;
    row(
        table,
        "R4",
        &format!("{KEYS} keys with parameters of 4 KB, and the evidence of 1,000 of them: memory growth"),
        grown,
        80.0,
        " MiB",
    );
}

async fn with_password(cost: u32) -> Program {
    let folder = tempfile::tempdir().unwrap().keep();
    let web = folder.join("web.yml");
    let hash = bcrypt::hash("right", cost).unwrap();
    std::fs::write(&web, format!("basic_auth_users: {{prometheus: '{hash}'}}\n")).unwrap();
    let mut command = Command::new(OURS);
    command.arg(format!("--web.config.file={}", web.display()));
    Program::start_by(command, MODULES).await
}

async fn heads() -> f64 {
    let exporter = with_password(4).await;
    let field = format!("X-A: {}\r\n", "a".repeat(3900));
    let words = format!("GET / HTTP/1.1\r\nHost: x\r\n{}", field.repeat(HEAD / field.len()));
    let words: Arc<[u8]> = words.into_bytes().into();
    let before = resident(&exporter);
    forget_peak(&exporter);
    let mut clients = JoinSet::new();
    for _ in 0..HEADS {
        let (words, address) = (words.clone(), exporter.address);
        clients.spawn(async move {
            let mut stream = TcpStream::connect(address).await.ok()?;
            // The exporter may stop reading.
            let _ = timeout(Duration::from_secs(1), stream.write_all(&words)).await;
            Some(stream)
        });
    }
    let held = clients.join_all().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let grown = peak(&exporter) - before;
    drop(held);
    grown
}

/// Probes of a target that redirects ten times with the maximum number and size of fields, and then fails. Returns the
/// memory growth.
async fn evidence() -> f64 {
    let fields = (0..64).map(|number| format!("x-{number:03}-{}: {}\r\n", "n".repeat(245), "v".repeat(600)));
    let fields: Arc<str> = fields.collect::<Vec<_>>().concat().into();
    let hostile = Peer::start(move |mut stream| {
        let fields = fields.clone();
        async move {
            let head = String::from_utf8_lossy(&read_head(&mut stream).await).into_owned();
            let at: u32 = head.split('/').nth(1).and_then(|at| at.parse().ok()).unwrap_or(10);
            let first = if at < 10 {
                format!("HTTP/1.1 302 x\r\nLocation: /{}/{}\r\n", at + 1, "u".repeat(1990))
            } else {
                "HTTP/1.1 500 x\r\n".to_owned()
            };
            let answer = format!("{first}{fields}Content-Length: 0\r\nConnection: close\r\n\r\n");
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    })
    .await;
    let exporter = Program::start(OURS, MODULES).await;
    let before = resident(&exporter);
    let paths = (0..HOSTILE).map(|key| probe("m", &format!("{}0/?{key}", hostile.http())));
    let answers = scrape_all(exporter.address, paths.collect(), 8, 10.0).await;
    assert!(answers.iter().all(|answer| answer.success() == Some(0.0)));
    resident(&exporter) - before
}

async fn bodies() -> (f64, f64) {
    let (let_go, go) = watch::channel(false);
    let body: Arc<[u8]> = vec![b'x'; BODY].into();
    let target = Peer::start(move |mut stream| {
        let (body, mut go) = (body.clone(), go.clone());
        async move {
            read_head(&mut stream).await;
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", BODY + 1);
            if stream.write_all(head.as_bytes()).await.is_ok() && stream.write_all(&body).await.is_ok() {
                let _ = go.wait_for(|go| *go).await;
                let _ = stream.write_all(b"x").await;
            }
        }
    })
    .await;
    let modules = "modules: {m: {prober: http, timeout: 9s, http: {fail_if_body_matches_regexp: [zzz]}}}";
    let exporter = Program::start(OURS, modules).await;
    let before = resident(&exporter);
    forget_peak(&exporter);
    let paths = (0..BODIES).map(|key| probe("m", &format!("{}{key}", target.http())));
    let probes = tokio::spawn(scrape_all(exporter.address, paths.collect(), BODIES, 10.0));
    tokio::time::sleep(Duration::from_secs(4)).await;
    let grown = peak(&exporter) - before;
    let_go.send_replace(true);
    let answers = probes.await.unwrap();
    let refused = answers.iter().filter(|answer| answer.status == Some(503)).count();
    println!("  {refused} of {BODIES} rejected for lack of memory");
    assert!(refused > 0, "no probe was rejected: the memory limit was not tested");
    let blamed = answers.iter().filter(|answer| answer.success() == Some(0.0)).count();
    (grown, blamed as f64)
}

async fn keys() -> f64 {
    let exporter = Program::start(OURS, "modules: {m: {prober: http, timeout: 1s}}").await;
    let before = resident(&exporter);
    let paths: Vec<_> = (0..KEYS)
        .map(|key| {
            let target = probe("m", &format!("127.0.0.1:1/{key}/{}", "t".repeat(2000)));
            format!("{target}&hostname={}", "h".repeat(2000))
        })
        .collect();
    for _ in 0..2 {
        let answers = scrape_all(exporter.address, paths.clone(), 8, 10.0).await;
        assert!(answers.iter().all(|answer| answer.success() == Some(0.0)));
    }
    assert!(exporter.own("glassbox_series_keys").await >= KEYS as f64 * 0.9);
    resident(&exporter) - before
}

/// R11: availability.
pub async fn availability(table: &mut Table) {
    let unanswered = beside_a_log_that_nobody_reads().await;
    row(
        table,
        "R11",
        "blocked log pipe: unanswered health requests",
        unanswered,
        0.0,
        "",
    );
    let lost = beside_a_reload_that_hangs().await;
    row(table, "R11", "hanging reload: failed reloads after it", lost, 0.0, "");
    let took = end_beside_a_scrape().await;
    row(
        table,
        "R11",
        "SIGTERM during a scrape with a timeout of 10 min: time to exit",
        took,
        30.0,
        " s",
    );
    let used = after_the_deadline().await;
    row(
        table,
        "R11",
        "8 regular expressions that take minutes: processor time in the 6 s after the responses",
        used,
        1.0,
        " s",
    );
    let took = first_password().await;
    row(
        table,
        "R11",
        "first request with a valid password during a flood from the same address",
        took,
        10.0,
        " s",
    );
}

async fn beside_a_log_that_nobody_reads() -> f64 {
    let (reader, writer) = std::io::pipe().unwrap();
    let port = free_port();
    let mut command = Command::new(OURS);
    command
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .stderr(Stdio::from(std::os::fd::OwnedFd::from(writer)));
    let mut process = crate::support::process::Process::start(&mut command);
    process.listens(port).await;
    let address = ([127, 0, 0, 1], port).into();
    let paths = (0..5000).map(|key| format!("/probe?target=127.0.0.1:1/{key}/{}", "x".repeat(1500)));
    scrape_all(address, paths.collect(), 4, 10.0).await;
    let mut unanswered = 0.0;
    for _ in 0..10 {
        let answer = timeout(Duration::from_secs(4), scrape(address, "/-/healthy", 4.0)).await;
        unanswered += f64::from(u8::from(answer.is_err()));
    }
    drop(reader);
    unanswered
}

async fn beside_a_reload_that_hangs() -> f64 {
    let exporter = Program::start(OURS, MODULES).await;
    let file = exporter.folder.path().join("config.yml");
    std::fs::remove_file(&file).unwrap();
    assert!(Command::new("mkfifo").arg(&file).status().unwrap().success());
    exporter.process.signal("HUP");
    tokio::time::sleep(Duration::from_millis(500)).await;
    std::fs::remove_file(&file).unwrap();
    std::fs::write(&file, MODULES).unwrap();
    let post = b"POST /-/reload HTTP/1.0\r\nHost: a\r\n\r\n";
    let mut failed = 0.0;
    for _ in 0..2 {
        let status = timeout(Duration::from_secs(30), status(exporter.address, post)).await;
        failed += f64::from(u8::from(status != Ok(Some(200))));
    }
    failed
}

async fn status(address: std::net::SocketAddr, words: &[u8]) -> Option<u16> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    stream.write_all(words).await.ok()?;
    let head = String::from_utf8_lossy(&read_head(&mut stream).await).into_owned();
    head.split(' ').nth(1)?.parse().ok()
}

async fn end_beside_a_scrape() -> f64 {
    let silent = Peer::start(|stream| async move {
        let _held = stream;
        std::future::pending::<()>().await;
    })
    .await;
    let mut exporter = Program::start(OURS, "modules: {m: {prober: http}}").await;
    let waits = tokio::spawn(scrape_owned(exporter.address, probe("m", &silent.http())));
    crate::support::process::eventually("the target has a connection", async || silent.connections() == 1).await;
    let begun = Instant::now();
    exporter.process.signal("TERM");
    let ended = tokio::task::spawn_blocking(move || exporter.process.0.wait().unwrap());
    assert!(ended.await.unwrap().success());
    assert_eq!(
        waits.await.unwrap(),
        Some(503),
        "the connection of the scrape closed without a response"
    );
    begun.elapsed().as_secs_f64()
}

async fn scrape_owned(address: std::net::SocketAddr, path: String) -> Option<u16> {
    scrape(address, &path, 600.0).await.status
}

async fn after_the_deadline() -> f64 {
    // Random letters: each one leads to a new state of the automaton.
    let mut random = 1_u32;
    let body: String = (0..9 << 20)
        .map(|_| {
            random = random.wrapping_mul(1_103_515_245).wrapping_add(12345);
            char::from(b'a' + u8::try_from((random >> 16) % 13).unwrap())
        })
        .collect();
    let target = Peer::answering(format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ))
    .await;
    let expression = "(?i)[a-f].{0,1000}(stack|trace)";
    let modules = format!(
        "modules: {{m: {{prober: http, timeout: 2s, http: {{fail_if_body_matches_regexp: ['{expression}']}}}}}}"
    );
    let exporter = Program::start(OURS, &modules).await;
    let paths = (0..8).map(|key| probe("m", &format!("{}{key}", target.http())));
    scrape_all(exporter.address, paths.collect(), 8, 10.0).await;
    let before = exporter.processor_seconds();
    tokio::time::sleep(Duration::from_secs(6)).await;
    exporter.processor_seconds() - before
}

async fn first_password() -> f64 {
    let exporter = with_password(10).await;
    let request = |password: &str| {
        let pair = BASE64.encode(format!("prometheus:{password}"));
        format!("GET /metrics HTTP/1.0\r\nHost: a\r\nAuthorization: Basic {pair}\r\n\r\n").into_bytes()
    };
    let mut flood = JoinSet::new();
    let address = exporter.address;
    let begun = Instant::now();
    let mut right = None;
    for number in 0..800_u32 {
        let wrong = request(&format!("wrong{number}"));
        // A client gives up after 5 s.
        flood.spawn(async move { timeout(Duration::from_secs(5), status(address, &wrong)).await });
        if number == 200 {
            let words = request("right");
            right = Some(tokio::spawn(async move {
                let begun = Instant::now();
                (status(address, &words).await, begun.elapsed())
            }));
        }
        tokio::time::sleep_until((begun + Duration::from_millis(10) * number).into()).await;
    }
    let (status, took) = right.unwrap().await.unwrap();
    assert_eq!(status, Some(200));
    took.as_secs_f64()
}
