//! R11: hostile clients of the exporter's port do not block other clients.

use crate::clients::{peer, probe, quantile, scrape};
use crate::program::{OURS, Program};
use crate::support::peer::{Peer, ok};
use crate::table::{Figure, Table};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use std::future::pending;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

const HALF_OPEN: usize = 3000;
const IDLE: usize = 5000;
const MODULES: &str = "modules: {m: {prober: http, timeout: 5s}}";

/// Concurrent requests with a URI of 1 MB, and the number of such requests in sequence.
const LONG_AT_ONCE: usize = 20;
const LONG_IN_A_ROW: usize = 20;
const LONG_URI: usize = 1_000_000;

/// Requests whose body arrives at one byte per second.
const DRIPPING: usize = 500;

/// Rate and duration of the requests with wrong passwords.
const WRONG_A_SECOND: u64 = 100;
const FLOOD: Duration = Duration::from_secs(10);

/// Paths that must always respond.
const HEALTH: [&str; 2] = ["/-/healthy", "/metrics"];

/// Maximum response time for other clients, in milliseconds.
const MOST: f64 = 250.0;

pub async fn run(table: &mut Table) {
    half_open(table).await;
    long_uris(table).await;
    dripping_bodies(table).await;
    wrong_passwords(table).await;
}

async fn half_open(table: &mut Table) {
    for program in [OURS.to_owned(), peer()] {
        let exporter = Program::start(&program, MODULES).await;
        let good = Peer::start(ok).await;
        let is_ours = program == OURS;
        let half_open = flood(
            exporter.address,
            HALF_OPEN,
            b"GET /probe HTTP/1.1\r\nHost: a\r\nX-Slow: ",
        )
        .await;
        let idle = flood(exporter.address, IDLE, b"").await;
        let closed = tokio::spawn(all_closed(half_open));
        let mut paths = HEALTH.map(str::to_owned).to_vec();
        paths.push(probe("m", &good.http()));
        let meanwhile = tokio::time::sleep(Duration::from_secs(11));
        let (slowest, ()) = slowest_beside(exporter.address, paths, meanwhile).await;
        let closed = tokio::time::timeout(Duration::from_secs(2), closed).await;
        println!(
            "  {program}: {HALF_OPEN} half-open requests {}",
            if closed.is_ok() {
                "were closed"
            } else {
                "are open after 13 s"
            }
        );
        println!("  {program}: the slowest other response took {slowest:.0} ms");
        if is_ours {
            for (what, ours, most, unit) in [
                (
                    "half-open requests kept for more than 10 s",
                    f64::from(u8::from(closed.is_err())),
                    0.0,
                    "",
                ),
                ("slowest other response", slowest, MOST, " ms"),
            ] {
                table.figure(Figure {
                    id: "R11",
                    what: format!("{HALF_OPEN} half-open and {IDLE} idle connections: {what}"),
                    ours,
                    peer: None,
                    most,
                    unit,
                });
            }
        }
        drop(idle);
    }
}

async fn flood(address: SocketAddr, count: usize, words: &'static [u8]) -> Vec<TcpStream> {
    let mut opened = JoinSet::new();
    for _ in 0..count {
        opened.spawn(async move {
            let mut stream = TcpStream::connect(address).await.ok()?;
            stream.write_all(words).await.ok()?;
            Some(stream)
        });
    }
    opened.join_all().await.into_iter().flatten().collect()
}

async fn all_closed(streams: Vec<TcpStream>) {
    let mut waiting = JoinSet::new();
    for mut stream in streams {
        waiting.spawn(async move { while matches!(stream.read(&mut [0; 64]).await, Ok(1..)) {} });
    }
    waiting.join_all().await;
}

/// Requests paths while `flood` runs. Returns the slowest response in milliseconds and the result of `flood`. A
/// separate thread sends the requests, so that the flood does not delay them.
async fn slowest_beside<T>(address: SocketAddr, paths: Vec<String>, flood: impl Future<Output = T>) -> (f64, T) {
    let over = Arc::new(AtomicBool::new(false));
    let until = over.clone();
    let asking = tokio::task::spawn_blocking(move || {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(slowest_answer(address, &paths, &until))
    });
    let came = flood.await;
    over.store(true, Ordering::SeqCst);
    (asking.await.unwrap(), came)
}

async fn slowest_answer(address: SocketAddr, paths: &[String], over: &AtomicBool) -> f64 {
    let mut took = Vec::new();
    while !over.load(Ordering::SeqCst) || took.is_empty() {
        for path in paths {
            let answer = scrape(address, path, 5.0).await;
            assert_eq!(answer.status, Some(200), "{path}");
            took.push(millis(answer.took));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    quantile(took, 1.0)
}

async fn health_beside<T>(address: SocketAddr, flood: impl Future<Output = T>) -> (f64, T) {
    slowest_beside(address, HEALTH.map(str::to_owned).to_vec(), flood).await
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// Status of the response to some bytes. `None` if the connection ended without a response, possibly during the write.
async fn status(address: SocketAddr, words: &[u8]) -> Option<u16> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    let (mut reads, mut writes) = stream.split();
    let mut answer = Vec::new();
    let asks = async {
        writes.write_all(words).await.ok();
        // The connection stays open until the response.
        pending::<()>().await;
    };
    let hears = async { while !answer.ends_with(b"\r\n") && matches!(reads.read_buf(&mut answer).await, Ok(1..)) {} };
    tokio::select! {
        () = asks => {}
        () = hears => {}
    }
    String::from_utf8_lossy(&answer).split(' ').nth(1)?.parse().ok()
}

async fn long_uris(table: &mut Table) {
    let (mut refused, mut slowest) = (Vec::new(), Vec::new());
    for program in [OURS.to_owned(), peer()] {
        let exporter = Program::start(&program, MODULES).await;
        let words: Arc<[u8]> = format!(
            "GET /probe?module=m&target={} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
            "a".repeat(LONG_URI)
        )
        .into_bytes()
        .into();
        let mut asking = JoinSet::new();
        for _ in 0..LONG_AT_ONCE {
            let (words, address) = (words.clone(), exporter.address);
            asking.spawn(async move {
                let mut statuses = Vec::new();
                for _ in 0..LONG_IN_A_ROW {
                    statuses.push(status(address, &words).await);
                }
                statuses
            });
        }
        let (slowest_of_all, statuses) = health_beside(exporter.address, asking.join_all()).await;
        slowest.push(slowest_of_all);
        let statuses: Vec<_> = statuses.into_iter().flatten().collect();
        let taken = statuses
            .iter()
            .filter(|status| matches!(status, Some(200..400 | 500..)));
        refused.push(taken.count() as f64);
        println!(
            "  {program}: responses to URIs of {LONG_URI} bytes: {:?}",
            statuses.first()
        );
    }
    let count = LONG_AT_ONCE * LONG_IN_A_ROW;
    for (what, figures, most, unit) in [
        ("not rejected", refused, 0.0, ""),
        ("slowest health response", slowest, MOST, " ms"),
    ] {
        table.figure(Figure {
            id: "R11",
            what: format!("{count} requests with a URI of 1 MB: {what}"),
            ours: figures[0],
            peer: Some(figures[1]),
            most,
            unit,
        });
    }
}

/// Requests whose bodies take days do not delay other requests.
async fn dripping_bodies(table: &mut Table) {
    let mut slowest = Vec::new();
    for program in [OURS.to_owned(), peer()] {
        let exporter = Program::start(&program, MODULES).await;
        let (dripped, address) = (Arc::new(AtomicUsize::new(0)), exporter.address);
        let mut dripping = JoinSet::new();
        for number in 0..DRIPPING {
            let path = ["/-/reload", "/probe?module=m&target=a", "/metrics"][number % 3];
            // Staggered starts, because simultaneous ones would be a burst.
            let begin = Duration::from_secs(1) * u32::try_from(number).unwrap() / u32::try_from(DRIPPING).unwrap();
            let dripped = dripped.clone();
            dripping.spawn(async move {
                tokio::time::sleep(begin).await;
                drip(address, path, dripped).await;
            });
        }
        slowest.push(health_beside(address, tokio::time::sleep(FLOOD)).await.0);
        let dripped = dripped.load(Ordering::SeqCst);
        println!("  {program}: {dripped} bytes of bodies were read");
        assert!(
            dripped > DRIPPING,
            "the exporter read only {dripped} bytes: slow bodies were not tested"
        );
        dripping.abort_all();
    }
    table.figure(Figure {
        id: "R11",
        what: format!("{DRIPPING} bodies at one byte per second: slowest health response"),
        ours: slowest[0],
        peer: Some(slowest[1]),
        most: MOST,
        unit: " ms",
    });
}

/// Sends a body byte by byte. Starts again when the exporter stops reading.
async fn drip(address: SocketAddr, path: &'static str, dripped: Arc<AtomicUsize>) {
    let head = format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n");
    let mut seconds = interval(Duration::from_secs(1));
    loop {
        let Ok(mut stream) = TcpStream::connect(address).await else {
            seconds.tick().await;
            continue;
        };
        let mut sent = stream.write_all(head.as_bytes()).await;
        while sent.is_ok() {
            seconds.tick().await;
            sent = stream.write_all(b"a").await;
            dripped.fetch_add(usize::from(sent.is_ok()), Ordering::SeqCst);
        }
    }
}

/// Password hashing is expensive by design. Clients with wrong passwords must not delay other clients.
async fn wrong_passwords(table: &mut Table) {
    let mut slowest = Vec::new();
    for program in [OURS.to_owned(), peer()] {
        let folder = tempfile::tempdir().unwrap();
        let web = folder.path().join("web.yml");
        let hash = bcrypt::hash("right", 10).unwrap();
        std::fs::write(&web, format!("basic_auth_users: {{prometheus: '{hash}'}}\n")).unwrap();
        let mut command = Command::new(&program);
        command.arg(format!("--web.config.file={}", web.display()));
        let exporter = Program::start_by(command, MODULES).await;
        let good = Peer::start(ok).await;
        let scraped = request(&probe("m", &good.http()), "prometheus", "right");
        // One scrape before the flood, as on an exporter that has been running for a while.
        assert_eq!(status(exporter.address, &scraped).await, Some(200));
        let flood = tokio::spawn(flood_of_passwords(exporter.address));
        let mut took = Vec::new();
        while !flood.is_finished() {
            let begun = Instant::now();
            // The client gives up after that time.
            let answer = timeout(FLOOD, status(exporter.address, &scraped)).await;
            took.push(millis(begun.elapsed()));
            assert!(answer == Ok(Some(200)) || program != OURS, "{answer:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let (sent, let_in) = flood.await.unwrap();
        println!(
            "  {program}: {sent} wrong passwords, {} concurrent scrapes with the right one",
            took.len()
        );
        assert_eq!(let_in, 0, "{program} accepted a wrong password");
        slowest.push(quantile(took, 1.0));
    }
    table.figure(Figure {
        id: "R11",
        what: format!(
            "{WRONG_A_SECOND} wrong passwords per second at bcrypt cost 10: slowest scrape with the right one"
        ),
        ours: slowest[0],
        peer: Some(slowest[1]),
        most: MOST,
        unit: " ms",
    });
}

/// Sends `WRONG_A_SECOND` different passwords per second, for an existing user and for unknown ones. Returns the
/// numbers of requests and of accepted passwords.
async fn flood_of_passwords(address: SocketAddr) -> (usize, usize) {
    let mut ticks = interval(Duration::from_secs(1) / u32::try_from(WRONG_A_SECOND).unwrap());
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let until = Instant::now() + FLOOD;
    let mut asking = JoinSet::new();
    while Instant::now() < until {
        ticks.tick().await;
        let number = asking.len();
        let user = if number.is_multiple_of(2) {
            "prometheus"
        } else {
            "nobody"
        };
        let words = request("/metrics", user, &format!("wrong{number}"));
        asking.spawn(async move { timeout(FLOOD, status(address, &words)).await.ok().flatten() });
    }
    let statuses = asking.join_all().await;
    let let_in = statuses.iter().filter(|status| **status == Some(200)).count();
    (statuses.len(), let_in)
}

fn request(path: &str, user: &str, password: &str) -> Vec<u8> {
    let pair = BASE64.encode(format!("{user}:{password}"));
    format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Basic {pair}\r\n\r\n").into_bytes()
}
