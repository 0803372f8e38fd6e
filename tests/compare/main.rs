//! Differential test: `blackbox_exporter` and `glassbox_exporter` run as processes with the same configuration and
//! probe the same targets. Every family, label set and value must be equal, except times and the differences that
//! `differences.txt` lists with a reason. `make compare` fetches `blackbox_exporter` and runs this test.

#![allow(clippy::unwrap_used, reason = "an unexpected error fails the test")]

#[allow(dead_code, reason = "shared with the suite")]
#[path = "../suite/support/mod.rs"]
mod support;

mod cases;
mod configurations;
mod differences;
mod world;

use differences::Differences;
use futures_util::stream::{self, StreamExt as _};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use support::page::Page;
use world::World;

/// Concurrent probes. More would slow each other down until they time out.
const AT_ONCE: usize = 32;

#[tokio::test(flavor = "multi_thread")]
async fn every_family_label_set_and_value_matches_blackbox_exporter() {
    let (mut cases, modules, _alive) = cases::all().await;
    let world = World::start(modules).await;
    cases.retain(|case| world.has(&case.module));
    assert!(cases.len() >= 120, "{} cases", cases.len());
    let mut differences = Differences::known(world.peer_version());
    let mut unexplained = String::new();
    let probes = cases.iter().map(async |case| (case, world.probe(case).await));
    let mut pages = stream::iter(probes).buffer_unordered(AT_ONCE);
    while let Some((case, (peers, ours))) = pages.next().await {
        // If both probes succeed, both pages have the certificate.
        let both = [&peers, &ours]
            .iter()
            .all(|page| page.find("probe_success") == Some(1.0));
        for (series, words) in compare(&peers, &ours) {
            let certificate = both && case.name.starts_with("http/") && series.starts_with("probe_ssl_");
            if certificate || !differences.explain(&case.name, &series) {
                writeln!(unexplained, "{}: {series}: {words}", case.name).unwrap();
            }
        }
    }
    let missing = world.own_families_missing().await;
    assert!(
        missing.is_empty(),
        "metrics of blackbox_exporter itself that glassbox_exporter does not have: {missing:#?}"
    );
    let count = |prober: &str| cases.iter().filter(|case| case.name.starts_with(prober)).count();
    let mut told = format!(
        "{} cases against blackbox_exporter {}:",
        cases.len(),
        world.peer_version()
    );
    for prober in ["http", "tcp", "dns", "icmp", "grpc", "unix"] {
        write!(told, " {prober} {}", count(&format!("{prober}/"))).unwrap();
    }
    println!("{told}; {} with a listed difference", differences.explained_cases());
    let lines = unexplained.lines().count();
    assert!(
        unexplained.is_empty(),
        "{lines} differences that are not listed:\n{unexplained}"
    );
    let stale = differences.unused();
    assert!(stale.is_empty(), "listed, but no longer different: {stale:#?}");
}

/// Whether the value of a series is a time. Only the presence of such a series is compared.
fn is_time(series: &str) -> bool {
    let name = series.split('{').next().unwrap_or_default();
    name.ends_with("_duration_seconds") || name == "probe_dns_lookup_time_seconds"
}

/// The differences between two pages: series and description.
fn compare(peers: &Page, ours: &Page) -> Vec<(String, String)> {
    let series = |page: &Page| {
        page.starting("")
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    };
    let (peers, ours): (BTreeMap<String, f64>, BTreeMap<String, f64>) = (series(peers), series(ours));
    let mut found = Vec::new();
    for (name, theirs) in &peers {
        match ours.get(name) {
            None => found.push((name.clone(), format!("only in blackbox_exporter ({theirs})"))),
            Some(value) if !is_time(name) && value.to_bits() != theirs.to_bits() => {
                found.push((
                    name.clone(),
                    format!("blackbox_exporter: {theirs}, glassbox_exporter: {value}"),
                ));
            }
            Some(_) => {}
        }
    }
    let extra = ours.iter().filter(|(name, _)| !peers.contains_key(*name));
    found.extend(extra.map(|(name, value)| (name.clone(), format!("only in glassbox_exporter ({value})"))));
    found
}
