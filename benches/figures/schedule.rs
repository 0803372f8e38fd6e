//! Scrapes of 5,000 targets every 5 seconds: late responses, processor time and memory.

use crate::book::{Book, Bound, Row, quantile};
use crate::cost::config;
use crate::program::{OURS, Program, peer};
use crate::scraper::Connection;
use crate::targets::Nginx;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

const TARGETS: u32 = 5000;
const EVERY: Duration = Duration::from_secs(5);
const ROUNDS: u32 = 12;

/// Duration of a scrape in milliseconds. `None` if it failed or took longer than its interval.
type Took = Option<f64>;

pub async fn run(book: &mut Book) {
    let nginx = Nginx::start().await;
    let config = config(&nginx);
    for module in ["http", "https"] {
        let target = match module {
            "http" => format!("http://{}", nginx.http),
            _ => format!("https://{}", nginx.https),
        };
        println!("schedule: {TARGETS} {module} targets every {} s", EVERY.as_secs());
        let ours = keep(&Program::start(OURS, &config).await, module, &target).await;
        let peers = keep(&Program::start(&peer(), &config).await, module, &target).await;
        for ((what, unit, most), (ours, peers)) in [
            ("late or failed", "", Some(0.0)),
            ("scrape, p50", "ms", None),
            ("scrape, p99", "ms", Some(60.0)),
            ("scrape, slowest", "ms", Some(250.0)),
            ("share of one processor", "%", None),
            ("peak memory", "MB", Some(80.0)),
        ]
        .into_iter()
        .zip(ours.into_iter().zip(peers))
        {
            book.take(Row {
                part: "schedule",
                what: format!("{TARGETS} {module} targets every {} s: {what}", EVERY.as_secs()),
                unit,
                ours: vec![ours],
                peer: vec![peers],
                bound: most.map(Bound::Most),
                ..Row::default()
            });
        }
    }
}

/// Scrapes all targets in all rounds, spread evenly over each round. Returns the six figures.
async fn keep(exporter: &Program, module: &str, target: &str) -> [f64; 6] {
    exporter.forget_peak();
    let idle = Arc::new(Mutex::new(Vec::new()));
    let mut scrapes: JoinSet<Took> = JoinSet::new();
    let (used, begun) = (exporter.processor_seconds(), Instant::now());
    for number in 0..ROUNDS * TARGETS {
        let due = begun + EVERY * number / TARGETS;
        tokio::time::sleep_until(due.into()).await;
        let path = format!("/probe?module={module}&target={target}/k{}", number % TARGETS);
        scrapes.spawn(scrape(exporter.address, path, idle.clone()));
    }
    let answers = scrapes.join_all().await;
    let share = (exporter.processor_seconds() - used) / begun.elapsed().as_secs_f64();
    let took: Vec<f64> = answers.iter().flatten().copied().collect();
    let missed = answers.len() - took.len();
    [
        missed as f64,
        quantile(&took, 0.5),
        quantile(&took, 0.99),
        quantile(&took, 1.0),
        share * 100.0,
        exporter.peak(),
    ]
}

/// One scrape over a keep-alive connection, as in Prometheus.
async fn scrape(address: SocketAddr, path: String, idle: Arc<Mutex<Vec<Connection>>>) -> Took {
    let begun = Instant::now();
    let kept = idle.lock().unwrap().pop();
    let exchange = async {
        let mut connection = match kept {
            Some(connection) => connection,
            None => Connection::open(address).await.ok()?,
        };
        let succeeded = connection.scrape(&path).await.ok()?;
        idle.lock().unwrap().push(connection);
        succeeded.then_some(())
    };
    tokio::time::timeout(EVERY, exchange).await.ok()??;
    Some(begun.elapsed().as_secs_f64() * 1000.0)
}
