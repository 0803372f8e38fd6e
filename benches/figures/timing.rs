//! Truth under load: what 256 probes at once report, against what was on the wire.

use crate::program::{OURS, PEER, Program, get};
use crate::support::peer::{Peer, read_head};
use crate::wire::{Capture, Exchange};
use crate::{Missed, quantile};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Probes at once, each of its own key, each begun when its last one has ended.
const AT_ONCE: usize = 256;

/// How long each is measured.
const MEASURED: Duration = Duration::from_secs(6);

/// Microseconds.
const MOST_P50: f64 = 50.0;
const MOST_P99: f64 = 2000.0;

/// What a probe reported, in seconds, in the order of the probes of each key.
type Reported = HashMap<String, Vec<(f64, f64)>>;

/// Prints errors of both programs, and checks ours.
pub async fn run(missed: &mut Missed) {
    println!("timing: {AT_ONCE} probes at once, |reported - wire| in microseconds, p50 / p99");
    for delay in [10, 100] {
        for (name, program) in [("peer", PEER), ("ours", OURS)] {
            let (reported, wire) = measure(program, Duration::from_millis(delay)).await;
            let [connect, processing] = errors(&reported, &wire);
            println!(
                "  {delay:>3} ms {name}: {} probes; connect {:.0} / {:.0}, processing {:.0} / {:.0}",
                connect.len(),
                quantile(&connect, 0.5),
                quantile(&connect, 0.99),
                quantile(&processing, 0.5),
                quantile(&processing, 0.99),
            );
            if name == "ours" {
                for (phase, errors) in [("connect", connect), ("processing", processing)] {
                    missed.check(&format!("{delay} ms {phase} p50"), quantile(&errors, 0.5), MOST_P50);
                    missed.check(&format!("{delay} ms {phase} p99"), quantile(&errors, 0.99), MOST_P99);
                }
            }
        }
    }
}

async fn measure(program: &str, delay: Duration) -> (Reported, HashMap<String, Vec<Exchange>>) {
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
    for key in 0..AT_ONCE {
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

/// The sorted errors of connect and processing, in microseconds.
fn errors(reported: &Reported, wire: &HashMap<String, Vec<Exchange>>) -> [Vec<f64>; 2] {
    let mut errors = [Vec::new(), Vec::new()];
    for (path, probes) in reported {
        let exchanges = &wire[path];
        assert_eq!(exchanges.len(), probes.len(), "{path}: each probe is one exchange");
        for ((connect, processing), exchange) in probes.iter().zip(exchanges) {
            errors[0].push((connect - exchange.connect().unwrap()).abs() * 1e6);
            errors[1].push((processing - exchange.processing().unwrap()).abs() * 1e6);
        }
    }
    for errors in &mut errors {
        errors.sort_by(f64::total_cmp);
    }
    errors
}
