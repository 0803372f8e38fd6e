//! Memory of the exporters: idle, after many probes of many targets, and during many hanging probes.

use crate::book::{Book, Bound, Row};
use crate::cost::config;
use crate::program::{OURS, Program, peer};
use crate::scraper::{Connection, scrape_in_turn};
use crate::support::peer::Peer;
use crate::targets::Nginx;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

const PROBES: usize = 100_000;
const TARGETS: usize = 10_000;
const AT_ONCE: usize = 64;
const HUNG: usize = 512;

/// Rounds of the hanging probes.
const ROUNDS: usize = 3;

pub async fn run(book: &mut Book) {
    println!("memory");
    let nginx = Nginx::start().await;
    let config = config(&nginx);
    let mut idle = [Vec::new(), Vec::new()];
    let mut after = [Vec::new(), Vec::new()];
    for (program, (idle, after)) in [OURS.to_owned(), peer()].iter().zip(idle.iter_mut().zip(&mut after)) {
        let exporter = Program::start(program, &config).await;
        // The startup is complete by then.
        tokio::time::sleep(Duration::from_secs(1)).await;
        idle.push(exporter.resident());
        let target = nginx.http;
        let path = |key| format!("/probe?module=http&target=http://{target}/k{key}");
        let paths = Arc::new((0..TARGETS).map(path).collect());
        let scraped = scrape_in_turn(exporter.address, &paths, 0, PROBES, AT_ONCE).await;
        assert_eq!(scraped.failed, 0);
        after.push(exporter.resident());
        if program == OURS {
            let keys = exporter.own("glassbox_series_keys").await;
            assert!((keys - TARGETS as f64).abs() < 0.5, "{keys} keys");
        }
    }
    let [ours, peers] = idle;
    row(book, "idle".to_owned(), ours, peers, Some(Bound::Most(12.0)));
    let [ours, peers] = after;
    let what = format!("after {PROBES} probes of {TARGETS} targets");
    row(book, what, ours, peers, Some(Bound::Most(60.0)));
    hung(book, &nginx, &config).await;
}

async fn hung(book: &mut Book, nginx: &Nginx, config: &str) {
    let plain = Peer::start(|stream| async move {
        let _held = stream;
        std::future::pending::<()>().await;
    })
    .await;
    let secured = Peer::with_tls(nginx.authority.leaf("127.0.0.1").server(&[]), |stream| async move {
        let _held = stream;
        std::future::pending::<()>().await;
    })
    .await;
    let config = config.replace("timeout: 10s", "timeout: 4s");
    for (module, target) in [("http", plain.http()), ("https", secured.https())] {
        let mut most = [Vec::new(), Vec::new()];
        for _ in 0..ROUNDS {
            for (program, most) in [OURS.to_owned(), peer()].iter().zip(&mut most) {
                let exporter = Program::start(program, &config).await;
                exporter.forget_peak();
                let mut scrapes = JoinSet::new();
                for key in 0..HUNG {
                    let (address, path) = (
                        exporter.address,
                        format!("/probe?module={module}&target={target}k{key}"),
                    );
                    scrapes.spawn(async move {
                        let mut connection = Connection::open(address).await.unwrap();
                        assert!(!connection.scrape(&path).await.unwrap(), "the target hangs");
                    });
                }
                scrapes.join_all().await;
                most.push(exporter.peak());
            }
        }
        let [ours, peers] = most;
        let what = format!("{HUNG} concurrent hanging {module} probes, peak");
        row(book, what, ours, peers, Some(Bound::OfPeers(1.0 / 3.0)));
    }
}

fn row(book: &mut Book, what: String, ours: Vec<f64>, peer: Vec<f64>, bound: Option<Bound>) {
    book.take(Row {
        part: "memory",
        what,
        unit: "MB",
        ours,
        peer,
        bound,
        ..Row::default()
    });
}
