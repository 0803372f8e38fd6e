//! Leases of 1,000 keys: the probes are spread evenly and run on time.

use crate::book::{Book, quantile};
use crate::program::{OURS, Program, get};
use crate::support::page::Page;
use crate::support::peer::{Peer, ok};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

const KEYS: u32 = 1000;

/// Maximum share of one interval's probes within [`SLOT`].
const MOST_SHARE: f64 = 0.03;

const SLOT: Duration = Duration::from_millis(100);

/// Measures the busiest 100 ms after each event, and the lag.
pub async fn run(book: &mut Book) {
    println!("leases: {KEYS} keys every 10 s, probes within the busiest 100 ms as a share of all");
    let every = Duration::from_secs(10);
    let scene = Scene::start(every).await;
    scene.leased().await;
    for event in ["start", "reload", "SIGSTOP for 10 s"] {
        match event {
            "reload" => scene.exporter.process.signal("HUP"),
            "SIGSTOP for 10 s" => {
                scene.exporter.process.signal("STOP");
                tokio::time::sleep(every).await;
                scene.exporter.process.signal("CONT");
            }
            _ => {}
        }
        let since = Instant::now();
        tokio::time::sleep(every * 2).await;
        let fullest = scene.fullest_slot(since);
        book.check(
            "leases",
            &format!("{KEYS} keys every 10 s, busiest 100 ms after {event}"),
            "of all probes",
            fullest / f64::from(KEYS),
            MOST_SHARE,
        );
    }
    println!("leases: {KEYS} keys every 1 s for 20 s");
    drop(scene);
    let scene = Scene::start(Duration::from_secs(1)).await;
    scene.leased().await;
    let skipped = scene.exporter.own("glassbox_lease_skips_total").await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    let own = Page::parse(&scene.exporter.get("/metrics").await);
    println!("  lag p50 <= {} s, p99 <= {} s", lag(&own, 0.5), lag(&own, 0.99));
    let skipped = own.value("glassbox_lease_skips_total") - skipped;
    book.check(
        "leases",
        &format!("{KEYS} keys every 1 s for 20 s: skipped probes"),
        "",
        skipped,
        0.0,
    );
}

/// Upper bound of the lag bucket that contains a quantile.
fn lag(own: &Page, share: f64) -> String {
    let all = own.value("glassbox_lease_lag_seconds_count");
    let mut buckets: Vec<_> = own.starting("glassbox_lease_lag_seconds_bucket").collect();
    buckets.sort_by(|one, other| one.1.total_cmp(&other.1));
    let bucket = buckets.iter().find(|(_, count)| *count >= all * share);
    bucket.unwrap().0.split('"').nth(1).unwrap().to_owned()
}

/// An exporter, its target, and scrapes of all keys, spread over each interval as in Prometheus.
struct Scene {
    /// The first field, so that the scrapes end before the exporter.
    _scrapes: JoinSet<()>,
    exporter: Program,
    arrivals: Arc<Mutex<Vec<Instant>>>,
    _target: Peer,
}

impl Scene {
    async fn start(interval: Duration) -> Self {
        let arrivals = Arc::new(Mutex::new(Vec::new()));
        let seen = arrivals.clone();
        let target = Peer::start(move |stream| {
            seen.lock().unwrap().push(Instant::now());
            ok(stream)
        })
        .await;
        let config = format!(
            "modules: {{http_2xx: {{prober: http, interval: {}s}}}}",
            interval.as_secs()
        );
        let exporter = Program::start(OURS, &config).await;
        let mut scrapes = JoinSet::new();
        let begun = tokio::time::Instant::now();
        for key in 0..KEYS {
            let path = format!("/probe?target=http://{}/{key}", target.address);
            let address = exporter.address;
            scrapes.spawn(async move {
                let mut next = begun + interval * key / KEYS;
                loop {
                    tokio::time::sleep_until(next).await;
                    get(address, &path).await;
                    next += interval;
                }
            });
        }
        Self {
            _scrapes: scrapes,
            exporter,
            arrivals,
            _target: target,
        }
    }

    /// Waits until every key has its lease.
    async fn leased(&self) {
        while self.exporter.own("glassbox_leases").await < f64::from(KEYS) {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    fn fullest_slot(&self, since: Instant) -> f64 {
        let arrivals = self.arrivals.lock().unwrap();
        let times: Vec<_> = arrivals
            .iter()
            .filter(|at| **at >= since)
            .map(|at| *at - since)
            .collect();
        let mut slots = std::collections::HashMap::new();
        for time in times {
            *slots.entry(time.as_millis() / SLOT.as_millis()).or_insert(0_u32) += 1;
        }
        let mut counts: Vec<_> = slots.into_values().map(f64::from).collect();
        counts.sort_by(f64::total_cmp);
        println!(
            "  {} probes, median {} in 100 ms",
            counts.iter().sum::<f64>(),
            quantile(&counts, 0.5)
        );
        counts.last().copied().unwrap_or_default()
    }
}
