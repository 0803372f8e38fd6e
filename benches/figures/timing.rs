//! Accuracy under load: the durations that 256 concurrent probes report, compared with a packet capture and with a
//! server that records its send times.

use crate::book::{Book, Bound, Row, quantile};
use crate::program::{OURS, Program, get, peer};
use crate::support::peer::{Peer, read_head};
use crate::wire::{Capture, Exchange};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Concurrent probes, each of a different key, in a closed loop: nearly idle, and busy.
const AT_ONCE: [usize; 2] = [1, BUSY];
const BUSY: usize = 256;

/// Duration of each measurement.
const MEASURED: Duration = Duration::from_secs(6);

/// Response delays of the target, in milliseconds.
const DELAYS: [u64; 2] = [10, 100];

/// Maximum error in microseconds, at the median and at p99, independent of `blackbox_exporter`.
const MOST: [f64; 2] = [50.0, 2000.0];

/// Maximum ratio to the error of `blackbox_exporter` in `processing` while busy, at the median and at p99.
const OF_PEERS: [f64; 2] = [1.0 / 50.0, 1.0 / 20.0];

/// Durations of connect and processing that the probes of each key reported, in seconds and in order.
type Reported = HashMap<String, Vec<(f64, f64)>>;

/// Measures the errors of both programs.
pub async fn run(book: &mut Book) {
    for (at_once, delay) in AT_ONCE.into_iter().flat_map(|many| DELAYS.map(|delay| (many, delay))) {
        println!("timing: {at_once} concurrent, {delay} ms");
        let ours = measure(OURS, at_once, Duration::from_millis(delay)).await;
        let peers = measure(&peer(), at_once, Duration::from_millis(delay)).await;
        let errors = errors(&ours.0, &ours.1)
            .into_iter()
            .zip(self::errors(&peers.0, &peers.1));
        for (phase, (ours, peers)) in ["connect", "processing"].into_iter().zip(errors) {
            for (number, share) in [0.5, 0.99].into_iter().enumerate() {
                let bound = if at_once == BUSY && phase == "processing" {
                    Bound::OfPeers(OF_PEERS[number])
                } else {
                    Bound::Most(MOST[number])
                };
                book.take(Row {
                    part: "timing",
                    what: format!(
                        "{at_once} concurrent, {delay} ms: |reported − wire| of {phase}, p{:.0}",
                        share * 100.0
                    ),
                    unit: "µs",
                    ours: vec![quantile(&ours, share)],
                    peer: vec![quantile(&peers, share)],
                    bound: Some(bound),
                    ..Row::default()
                });
            }
        }
    }
}

async fn measure(program: &str, at_once: usize, delay: Duration) -> (Reported, HashMap<String, Vec<Exchange>>) {
    let target = Peer::start(move |mut stream: TcpStream| async move {
        read_head(&mut stream).await;
        tokio::time::sleep(delay).await;
        let _ = stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nglass")
            .await;
        let _ = stream.shutdown().await;
    })
    .await;
    let exporter = Program::start(program, "modules: {http_2xx: {prober: http, timeout: 20s}}").await;
    let capture = Capture::start(target.address.port()).await;
    let over = Arc::new(AtomicBool::new(false));
    let mut loops = JoinSet::new();
    for key in 0..at_once {
        let (address, over) = (exporter.address, over.clone());
        let (path, target) = (format!("/k{key}"), target.address);
        loops.spawn(async move {
            let mut reported = Vec::new();
            while !over.load(Ordering::SeqCst) {
                let page = get(address, &format!("/probe?target=http://{target}{path}")).await;
                reported.push((phase(&page, "connect"), phase(&page, "processing")));
            }
            (path, reported)
        });
    }
    tokio::time::sleep(MEASURED).await;
    over.store(true, Ordering::SeqCst);
    let reported = loops.join_all().await.into_iter().collect();
    (reported, capture.stop(target.address.port()).await)
}

fn phase(page: &str, name: &str) -> f64 {
    let series = format!("probe_http_duration_seconds{{phase=\"{name}\"}} ");
    let line = page.lines().find_map(|line| line.strip_prefix(&series));
    line.unwrap_or_else(|| panic!("no {series} in {page}")).parse().unwrap()
}

/// The errors of connect and processing, in microseconds.
fn errors(reported: &Reported, wire: &HashMap<String, Vec<Exchange>>) -> [Vec<f64>; 2] {
    let mut errors = [Vec::new(), Vec::new()];
    for (path, probes) in reported {
        let exchanges = &wire[path];
        assert_eq!(exchanges.len(), probes.len(), "{path}: expected one exchange per probe");
        for ((connect, processing), exchange) in probes.iter().zip(exchanges) {
            errors[0].push((connect - exchange.connect().unwrap()).abs() * 1e6);
            errors[1].push((processing - exchange.processing().unwrap()).abs() * 1e6);
        }
    }
    errors
}
