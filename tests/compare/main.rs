//! The differential test: the same configuration and the same targets for `blackbox_exporter` and for this exporter, both as
//! processes of their own. Every family, label set and value must be equal, but for times and for what `differences.txt`
//! names, each with its reason. `make compare` fetches the peer and runs it.

#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

#[allow(dead_code, reason = "shared with the scenarios")]
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

/// Probes at once: as many as do not slow each other down to their timeouts.
const AT_ONCE: usize = 32;

#[tokio::test(flavor = "multi_thread")]
async fn every_family_label_set_and_value_is_the_peers() {
    let (mut cases, modules, _alive) = cases::all().await;
    let world = World::start(modules).await;
    cases.retain(|case| world.has(&case.module));
    assert!(cases.len() >= 120, "{} cases", cases.len());
    let mut differences = Differences::known(world.peer_version());
    let mut unexplained = String::new();
    let probes = cases.iter().map(async |case| (case, world.probe(case).await));
    let mut pages = stream::iter(probes).buffer_unordered(AT_ONCE);
    while let Some((case, (peers, ours))) = pages.next().await {
        // Where both succeed, both show the certificate.
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
        "of the peer's own metrics we do not have {missing:#?}"
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
    println!(
        "{told}; {} with a difference that is listed",
        differences.explained_cases()
    );
    let lines = unexplained.lines().count();
    assert!(
        unexplained.is_empty(),
        "{lines} differences that nothing explains:\n{unexplained}"
    );
    let stale = differences.unused();
    assert!(stale.is_empty(), "listed, and no longer there: {stale:#?}");
}

/// Series whose value is a time: they must be there, and that is all.
fn is_time(series: &str) -> bool {
    let name = series.split('{').next().unwrap_or_default();
    name.ends_with("_duration_seconds") || name == "probe_dns_lookup_time_seconds"
}

/// What differs, by series.
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
            None => found.push((name.clone(), format!("only the peer has it ({theirs})"))),
            Some(value) if !is_time(name) && value.to_bits() != theirs.to_bits() => {
                found.push((name.clone(), format!("the peer says {theirs}, we say {value}")));
            }
            Some(_) => {}
        }
    }
    let extra = ours.iter().filter(|(name, _)| !peers.contains_key(*name));
    found.extend(extra.map(|(name, value)| (name.clone(), format!("only we have it ({value})"))));
    found
}
