//! Cost of a probe: processor time, rate and latency of each program, with the same targets in alternating rounds.

use crate::book::{Book, Bound, Row, quantile};
use crate::floor;
use crate::program::{OURS, Program, peer};
use crate::scraper::scrape_in_turn;
use crate::support::process::eventually;
use crate::targets::{KEYS, NameServer, Nginx};
use std::sync::Arc;
use std::time::Instant;

const ROUNDS: usize = 7;

const AT_ONCE: [usize; 3] = [1, 64, 512];

/// Concurrency at which the bounds apply.
const BOUNDED: usize = 64;

/// Modules, and the maximum ratio of the processor time to that of `blackbox_exporter`.
const MODULES: [(&str, f64); 4] = [("http", 0.30), ("https", 0.45), ("tcp", 0.30), ("dns", 0.25)];

/// Probes of one round.
fn probes(module: &str, at_once: usize) -> usize {
    match (module, at_once) {
        (_, 1) => 500,
        ("https", _) => 2000,
        _ => 4000,
    }
}

/// One measured program and its samples.
struct Measured {
    program: Program,
    cost: Vec<f64>,
    rate: Vec<f64>,
    p50: Vec<f64>,
    p99: Vec<f64>,
}

pub async fn run(book: &mut Book) {
    let (nginx, names) = (Nginx::start().await, NameServer::start());
    let config = config(&nginx);
    // Modules named on the command line, after the part, limit the measurement to these modules.
    let words: Vec<String> = std::env::args().collect();
    let is_named = |module: &str| words.iter().any(|word| word == module);
    let all = !MODULES.iter().any(|(module, _)| is_named(module));
    for (module, most) in MODULES.into_iter().filter(|(module, _)| all || is_named(module)) {
        println!("cost: {module}");
        let paths = Arc::new(paths(module, &nginx, &names));
        for at_once in AT_ONCE {
            let mut programs = Vec::new();
            for program in [
                Program::start(OURS, &config).await,
                Program::start(&peer(), &config).await,
                floor::start(&nginx.authority.ca_file).await,
            ] {
                programs.push(Measured {
                    program,
                    cost: Vec::new(),
                    rate: Vec::new(),
                    p50: Vec::new(),
                    p99: Vec::new(),
                });
            }
            let count = probes(module, at_once);
            for round in 0..=ROUNDS {
                for measured in &mut programs {
                    let before = nginx.connections().await + names.asked();
                    measured.round(&paths, round, count, at_once).await;
                    // nginx may accept a connection only after the client has closed it. Each query of the counter is
                    // an additional connection.
                    let mut questions = 0;
                    eventually("each probe makes exactly one connection", async || {
                        questions += 1;
                        let asked = nginx.connections().await + names.asked() - before - questions;
                        assert!(asked <= count, "{module}: {asked} connections for {count} probes");
                        asked == count
                    })
                    .await;
                }
            }
            write(book, module, at_once, most, programs);
        }
    }
}

impl Measured {
    /// One round. Round 0 is a warm-up.
    async fn round(&mut self, paths: &Arc<Vec<String>>, round: usize, count: usize, at_once: usize) {
        let (used, begun) = (self.program.processor_seconds(), Instant::now());
        let scraped = scrape_in_turn(self.program.address, paths, round * count, count, at_once).await;
        let (used, took) = (self.program.processor_seconds() - used, begun.elapsed().as_secs_f64());
        assert_eq!(scraped.failed, 0, "all targets are healthy");
        if round == 0 {
            return;
        }
        self.cost.push(used / count as f64 * 1000.0);
        self.rate.push(count as f64 / took);
        self.p50.push(quantile(&scraped.took, 0.5) * 1000.0);
        self.p99.push(quantile(&scraped.took, 0.99) * 1000.0);
    }
}

fn write(book: &mut Book, module: &str, at_once: usize, most: f64, programs: Vec<Measured>) {
    let [ours, peer, floor] = programs.try_into().unwrap_or_else(|_| unreachable!("three programs"));
    let what = |what: &str| format!("{module}, {at_once} at once: {what}");
    let rows = [
        ("processor time for 1,000 probes", "s", ours.cost, peer.cost, floor.cost),
        ("rate", "probes/s", ours.rate, peer.rate, floor.rate),
        ("scrape, p50", "ms", ours.p50, peer.p50, floor.p50),
        ("scrape, p99", "ms", ours.p99, peer.p99, floor.p99),
    ];
    for (figure, unit, ours, peer, floor) in rows {
        let bound = (at_once == BOUNDED && unit == "s").then_some(Bound::OfPeers(most));
        book.take(Row {
            part: "cost",
            what: what(figure),
            unit,
            ours,
            peer,
            floor,
            bound,
        });
    }
}

/// The configuration of both exporters.
pub fn config(nginx: &Nginx) -> String {
    let ca = nginx.authority.ca_file.display();
    format!(
        "modules:\n  http: {{prober: http, timeout: 10s}}\n  https: {{prober: http, timeout: 10s, http: {{tls_config: \
         {{ca_file: '{ca}'}}}}}}\n  tcp: {{prober: tcp, timeout: 10s}}\n  dns: {{prober: dns, timeout: 10s, dns: \
         {{query_name: example.com, query_type: A}}}}\n"
    )
}

/// The paths of all keys of a module. If the target is an address instead of a URL, the host name makes the key unique.
pub fn paths(module: &str, nginx: &Nginx, names: &NameServer) -> Vec<String> {
    let (http, https, dns) = (nginx.http, nginx.https, names.address);
    let path = |key: usize| match module {
        "http" => format!("/probe?module=http&target=http://{http}/k{key}"),
        "https" => format!("/probe?module=https&target=https://{https}/k{key}"),
        "tcp" => format!("/probe?module=tcp&target={http}&hostname=k{key}"),
        _ => format!("/probe?module=dns&target={dns}&hostname=k{key}"),
    };
    (0..KEYS).map(path).collect()
}
