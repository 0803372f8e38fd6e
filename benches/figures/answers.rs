//! Cost of a scrape that needs no probe: the exporter responds with the last result of the key's lease.

use crate::book::{Book, Bound, Row};
use crate::program::{OURS, Program};
use crate::scraper::{Scraped, scrape_in_turn};
use crate::support::peer::{Peer, ok};
use std::sync::Arc;

const KEYS: usize = 10_000;
const AT_ONCE: usize = 8;
const SWEEPS: usize = 5;

/// Maximum processor time for one scrape of all keys, in seconds.
const MOST: f64 = 1.0;

/// Maximum processor time for a single response, in microseconds.
const MOST_ONE: f64 = 150.0;

/// Number of sequential scrapes.
const ALONE: usize = 5000;

pub async fn run(book: &mut Book) {
    println!("answers: {KEYS} leased keys");
    let target = Peer::start(ok).await;
    // The interval is longer than the measurement, so no probe runs meanwhile.
    let exporter = Program::start(OURS, "modules: {leased: {prober: http, interval: 5m}}").await;
    let place = target.http();
    let path = |key| format!("/probe?module=leased&target={place}k{key}");
    let paths = Arc::new((0..KEYS).map(path).collect::<Vec<_>>());
    // The first scrape creates the key, the second one starts its lease.
    for _ in 0..2 {
        let Scraped { failed, .. } = scrape_in_turn(exporter.address, &paths, 0, KEYS, AT_ONCE).await;
        assert_eq!(failed, 0);
    }
    let leases = exporter.own("glassbox_leases").await;
    assert!((leases - KEYS as f64).abs() < 0.5, "{leases} leases");
    let probes = target.connections();
    let mut sweeps = Vec::new();
    let mut alone = Vec::new();
    for _ in 0..SWEEPS {
        let used = exporter.processor_seconds();
        let Scraped { failed, .. } = scrape_in_turn(exporter.address, &paths, 0, KEYS, AT_ONCE).await;
        sweeps.push(exporter.processor_seconds() - used);
        assert_eq!(failed, 0);
        let used = exporter.processor_seconds();
        scrape_in_turn(exporter.address, &paths, 0, ALONE, 1).await;
        alone.push((exporter.processor_seconds() - used) / ALONE as f64 * 1e6);
    }
    assert_eq!(target.connections(), probes, "a scrape from state started a probe");
    for (what, unit, ours, most) in [
        (
            format!("{KEYS} responses from state, {AT_ONCE} concurrent: processor time"),
            "s",
            sweeps,
            MOST,
        ),
        (
            "one response from state: processor time".to_owned(),
            "µs",
            alone,
            MOST_ONE,
        ),
    ] {
        book.take(Row {
            part: "answers",
            what,
            unit,
            ours,
            bound: Some(Bound::Most(most)),
            ..Row::default()
        });
    }
}
