//! R3: 100,000 probes of 5,000 targets, mixed with junk targets, leak no memory and no files.

use crate::clients::{open_files, probe, resident, scrape, scrape_all};
use crate::program::{OURS, Program};
use crate::support::page::Page;
use crate::support::peer::{Peer, ok};
use crate::table::{Figure, Table};

const PROBES: usize = 100_000;
const TARGETS: usize = 5000;
const JUNK: usize = 20_000;
const PINNED: usize = 100;
const QUARTERS: usize = 4;

/// Targets of a quarter of the probes: one junk target after every five real ones.
fn targets(quarter: usize) -> Vec<String> {
    let (wanted, junk) = (PROBES / QUARTERS, JUNK / QUARTERS);
    let every = wanted / junk;
    let wanted = (0..wanted).map(|number| format!("t{}", (quarter * wanted + number) % TARGETS));
    wanted
        .enumerate()
        .flat_map(|(number, wanted)| {
            let junk = (number % every == 0).then(|| format!("junk{quarter}-{number}"));
            junk.into_iter().chain([wanted])
        })
        .collect()
}

pub async fn run(table: &mut Table) {
    let good = Peer::start(ok).await;
    let exporter = Program::start(OURS, "modules: {m: {prober: http, timeout: 10s}}").await;
    let path = |name: String| probe("m", &format!("{}{name}", good.http()));
    let mut sizes = Vec::new();
    let mut files = Vec::new();
    let mut bad = 0;
    for quarter in 0..QUARTERS {
        let paths = targets(quarter).into_iter().map(path).collect();
        let answers = scrape_all(exporter.address, paths, 50, 15.0).await;
        bad += answers.iter().filter(|answer| answer.success() != Some(1.0)).count();
        sizes.push(resident(&exporter));
        files.push(open_files(&exporter));
        println!(
            "  quarter {}: {:.1} MiB, {} files",
            quarter + 1,
            sizes[quarter],
            files[quarter]
        );
    }
    let allowed = (sizes[0] * 0.05).max(8.0);
    let mut lost = 0;
    for number in 0..PINNED {
        let page = scrape(exporter.address, &path(format!("t{number}")), 10.0).await;
        let attempts = Page::parse(&page.body).find("probe_attempts_total");
        lost += usize::from(attempts != Some((PROBES / TARGETS + 1) as f64));
    }
    let keys = exporter.own("glassbox_series_keys").await;
    for (what, ours, most, unit) in [
        ("failed probes", bad as f64, 0.0, ""),
        (
            "memory growth since the first quarter",
            sizes[QUARTERS - 1] - sizes[0],
            allowed,
            " MiB",
        ),
        (
            "additional open files since the first quarter",
            files[QUARTERS - 1] as f64 - files[0] as f64,
            2.0,
            "",
        ),
        ("targets with lost counts, of 100", lost as f64, 0.0, ""),
        ("keys", keys, 20_000.0, ""),
    ] {
        table.figure(Figure {
            id: "R3",
            what: format!("{PROBES} probes of {TARGETS} targets and {JUNK} junk targets: {what}"),
            ours,
            peer: None,
            most,
            unit,
        });
    }
}
