//! What an answer costs that needs no probe: a leased key's, of what its lease last read.

use crate::book::{Book, Bound, Row};
use crate::program::{OURS, Program};
use crate::scraper::{Scraped, scrape_in_turn};
use crate::support::peer::{Peer, ok};
use std::sync::Arc;

const KEYS: usize = 10_000;
const AT_ONCE: usize = 8;
const SWEEPS: usize = 5;

/// Seconds of processor time for a sweep of all keys, at most.
const MOST: f64 = 1.0;

/// Microseconds for one answer alone, at most.
const MOST_ONE: f64 = 150.0;

/// Answers that are asked for one after the other.
const ALONE: usize = 5000;

pub async fn run(book: &mut Book) {
    println!("answers: {KEYS} leased keys");
    let target = Peer::start(ok).await;
    // Nothing is due while this is measured.
    let exporter = Program::start(OURS, "modules: {leased: {prober: http, interval: 5m}}").await;
    let place = target.http();
    let path = |key| format!("/probe?module=leased&target={place}k{key}");
    let paths = Arc::new((0..KEYS).map(path).collect::<Vec<_>>());
    // The first scrape makes the key known, the second begins its lease.
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
    assert_eq!(target.connections(), probes, "nothing was probed for these answers");
    for (what, unit, ours, most) in [
        (
            format!("{KEYS} answers from state, {AT_ONCE} at once: processor time"),
            "s",
            sweeps,
            MOST,
        ),
        (
            "one answer from state: processor time".to_owned(),
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
