//! R15: two exporters probe the same targets. A failure of one does not affect the other, one of them always responds
//! during a rolling restart, and counters have their creation timestamps.

use crate::clients::{Answer, probe, scrape};
use crate::program::{OURS, Program};
use crate::support::page::Page;
use crate::support::peer::{Peer, ok};
use crate::support::process::{eventually, free_port};
use crate::table::{Figure, Table};
use prometheus::proto::MetricFamily;
use protobuf::well_known_types::timestamp::Timestamp;
use protobuf::{CodedInputStream, Message as _, UnknownValueRef};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

const MODULES: &str = "modules: {m: {prober: http, timeout: 5s}}";

/// Keys that both exporters probe.
const KEYS: usize = 20;

/// Scrapes of each key by each exporter.
const SCRAPES: usize = 100;

/// Number of rolling restarts.
const RESTARTS: usize = 5;

pub async fn run(table: &mut Table) {
    killed(table).await;
    restarted_in_turn(table).await;
    created(table).await;
}

/// Numbers of unexpected results.
#[derive(Default)]
struct Odd {
    bad: usize,
    went_back: usize,
}

/// Both exporters are scraped without a pause. One of them is killed under this load.
async fn killed(table: &mut Table) {
    let good = Peer::start(ok).await;
    let survivor = Program::start(OURS, MODULES).await;
    let victim = Program::start(OURS, MODULES).await;
    let (mut of_survivor, mut of_victim) = (JoinSet::new(), JoinSet::new());
    for key in 0..KEYS {
        let path = probe("m", &format!("{}{key}", good.http()));
        of_survivor.spawn(scraped(survivor.address, path.clone()));
        of_victim.spawn(scraped(victim.address, path));
    }
    // A quarter of all connections of both exporters.
    eventually("load", async || good.connections() >= KEYS * SCRAPES / 2).await;
    victim.process.signal("KILL");
    let of_victim = of_victim.join_all().await;
    assert!(
        of_victim.iter().any(|odd| odd.bad > 0),
        "the exporter was killed only after the load"
    );
    let of_survivor = of_survivor.join_all().await;
    for (what, ours) in [
        (
            "failed scrapes of the other exporter",
            of_survivor.iter().map(|odd| odd.bad).sum::<usize>(),
        ),
        (
            "decreased counters of the other exporter",
            of_survivor.iter().map(|odd| odd.went_back).sum(),
        ),
    ] {
        table.figure(Figure {
            id: "R15",
            what: format!("two exporters, one killed; of {} scrapes: {what}", KEYS * SCRAPES),
            ours: ours as f64,
            peer: None,
            most: 0.0,
            unit: "",
        });
    }
}

/// Scrapes one key repeatedly.
async fn scraped(address: SocketAddr, path: String) -> Odd {
    let mut odd = Odd::default();
    let mut last = BTreeMap::new();
    for _ in 0..SCRAPES {
        let answer = scrape(address, &path, 10.0).await;
        if answer.success() != Some(1.0) {
            odd.bad += 1;
            continue;
        }
        let now = counters(&answer);
        let is_behind = |(name, value): (&String, &f64)| now.get(name).is_none_or(|now| now < value);
        odd.went_back += usize::from(last.iter().any(is_behind));
        last = now;
    }
    odd
}

/// All values that must never decrease: counters, and counts of histograms.
fn counters(answer: &Answer) -> BTreeMap<String, f64> {
    let page = Page::parse(&answer.body);
    let counts = |name: &str| {
        let family = name.split('{').next().unwrap_or(name);
        ["_total", "_count", "_sum", "_bucket"]
            .iter()
            .any(|end| family.ends_with(end))
    };
    let counters: BTreeMap<_, _> = page
        .starting("")
        .filter(|(name, _)| counts(name))
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    assert!(
        counters["probe_attempts_total"] > 0.0 && counters.len() > 10,
        "{}",
        answer.body
    );
    counters
}

/// Starts an exporter at an address that it keeps over a restart.
async fn started_at(address: SocketAddr) -> Program {
    let mut command = Command::new(OURS);
    command.arg(format!("--web.listen-address={address}"));
    let exporter = Program::start_by(command, MODULES).await;
    eventually("ready", async || {
        scrape(address, "/-/ready", 5.0).await.status == Some(200)
    })
    .await;
    exporter
}

/// Stops an exporter as an init system does, and waits for its exit.
async fn ended(mut exporter: Program) {
    exporter.process.signal("TERM");
    let ended = tokio::task::spawn_blocking(move || exporter.process.0.wait().unwrap());
    let ended = ended.await.unwrap();
    assert_eq!(ended.code(), Some(0), "{ended:?}");
}

/// Rolling restarts of two exporters. A client that falls back from one to the other always gets a response.
async fn restarted_in_turn(table: &mut Table) {
    let good = Peer::start(ok).await;
    let places: [SocketAddr; 2] = [(); 2].map(|()| ([127, 0, 0, 1], free_port()).into());
    let mut exporters = [Some(started_at(places[0]).await), Some(started_at(places[1]).await)];
    let done = Arc::new(AtomicBool::new(false));
    let asked = tokio::spawn(asked_in_turn(places, probe("m", &good.http()), done.clone()));
    for _ in 0..RESTARTS {
        for (place, exporter) in places.iter().zip(&mut exporters) {
            ended(exporter.take().unwrap()).await;
            *exporter = Some(started_at(*place).await);
        }
    }
    done.store(true, Ordering::SeqCst);
    let [neither, one, all] = asked.await.unwrap();
    println!("  {all} requests to both, {one} times one of them did not respond");
    assert!(one > 0, "the restarts caused no failed request: they were not tested");
    table.figure(Figure {
        id: "R15",
        what: format!("two exporters, each restarted {RESTARTS} times in turn: times at which neither responded"),
        ours: neither as f64,
        peer: None,
        most: 0.0,
        unit: "",
    });
}

/// Requests both exporters until `done`. Returns how often neither responded, how often at least one did not, and the
/// number of requests.
async fn asked_in_turn(places: [SocketAddr; 2], path: String, done: Arc<AtomicBool>) -> [usize; 3] {
    let mut counts = [0; 3];
    while !done.load(Ordering::SeqCst) {
        let (one, other) = tokio::join!(scrape(places[0], &path, 5.0), scrape(places[1], &path, 5.0));
        let well = [one, other]
            .iter()
            .filter(|answer| answer.success() == Some(1.0))
            .count();
        counts[0] += usize::from(well == 0);
        counts[1] += usize::from(well < 2);
        counts[2] += 1;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    counts
}

/// Creation timestamps of counters change with a restart only.
async fn created(table: &mut Table) {
    let good = Peer::start(ok).await;
    let path = probe("m", &good.http());
    let exporter = Program::start(OURS, MODULES).await;
    let first = creations(exporter.address, &path).await;
    for _ in 0..10 {
        scrape(exporter.address, &path, 10.0).await;
    }
    let reloaded = "modules: {m: {prober: http, timeout: 5s}, n: {prober: tcp}}";
    std::fs::write(exporter.folder.path().join("config.yml"), reloaded).unwrap();
    exporter.process.signal("HUP");
    eventually("a reload", async || {
        exporter.get("/config").await.contains("prober: tcp")
    })
    .await;
    let later = creations(exporter.address, &path).await;
    ended(exporter).await;
    let exporter = Program::start(OURS, MODULES).await;
    let anew = creations(exporter.address, &path).await;
    let wrong = |later: &BTreeMap<String, Timestamp>, is_right: fn(&Timestamp, &Timestamp) -> bool| {
        let is_wrong = |(name, at): &(&String, &Timestamp)| later.get(*name).is_none_or(|later| !is_right(at, later));
        first.iter().filter(is_wrong).count()
    };
    println!("  {} counters and histograms have a creation timestamp", first.len());
    let is_before = |at: &Timestamp, later: &Timestamp| (at.seconds, at.nanos) < (later.seconds, later.nanos);
    for (what, ours) in [
        ("changed by scrapes and a reload", wrong(&later, Timestamp::eq)),
        ("not renewed by a restart", wrong(&anew, is_before)),
    ] {
        table.figure(Figure {
            id: "R15",
            what: format!("creation timestamps {what}"),
            ours: ours as f64,
            peer: None,
            most: 0.0,
            unit: "",
        });
    }
}

/// Creation timestamps of the counters and histograms of a page. Only the protobuf format has them: `created_timestamp`
/// in `metrics.proto` of `prometheus/client_model`. The library has an older version of the messages, so they are
/// unknown fields.
async fn creations(address: SocketAddr, path: &str) -> BTreeMap<String, Timestamp> {
    const OF_A_COUNTER: u32 = 3;
    const OF_A_HISTOGRAM: u32 = 15;
    let page = protobuf_of(address, path).await;
    let mut input = CodedInputStream::from_bytes(&page);
    let mut creations = BTreeMap::new();
    while !input.eof().unwrap() {
        let family: MetricFamily = input.read_message().unwrap();
        for metric in &family.metric {
            let fields = [
                (
                    metric.counter.as_ref().map(|counter| &counter.special_fields),
                    OF_A_COUNTER,
                ),
                (
                    metric.histogram.as_ref().map(|histogram| &histogram.special_fields),
                    OF_A_HISTOGRAM,
                ),
            ];
            for (fields, number) in fields {
                let created = fields.and_then(|fields| fields.unknown_fields().get(number));
                if let Some(UnknownValueRef::LengthDelimited(bytes)) = created {
                    let labels = metric
                        .label
                        .iter()
                        .map(|label| format!("{}={:?}", label.name(), label.value()));
                    let name = format!("{}{:?}", family.name(), labels.collect::<Vec<_>>());
                    creations.insert(name, Timestamp::parse_from_bytes(bytes).unwrap());
                }
            }
        }
    }
    assert!(creations.len() > 5, "{creations:?}");
    creations
}

async fn protobuf_of(address: SocketAddr, path: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let accept = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";
    let request = format!("GET {path} HTTP/1.0\r\nHost: exporter\r\nAccept: {accept}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap();
    assert!(String::from_utf8_lossy(&answer[..end]).contains("application/vnd.google.protobuf"));
    answer.split_off(end + 4)
}
