//! R2: reloads under load affect only the configuration.

use crate::clients::{open_files, peer, probe, scrape, scrape_all};
use crate::program::{OURS, Program};
use crate::support::page::Page;
use crate::support::peer::{Peer, ok};
use crate::table::{Figure, Table};
use std::time::Duration;

const RELOADS: usize = 40;
const PROBES_AT_ONCE: usize = 20;
const MODULES: &str = "modules: {m: {prober: http, timeout: 10s}, n: {prober: http, timeout: 9s}}";

pub async fn run(table: &mut Table) {
    let mut failed = Vec::new();
    for program in [OURS.to_owned(), peer()] {
        let good = Peer::start(ok).await;
        let exporter = Program::start(&program, MODULES).await;
        let file = exporter.folder.path().join("config.yml");
        let count = probe("m", &format!("{}pinned", good.http()));
        let before = scrape(exporter.address, &count, 10.0).await;
        let files = open_files(&exporter);
        let (mut bad, mut went_back, mut probes) = (0, 0, 0);
        let mut last = attempts(&before.body);
        for reload in 0..RELOADS {
            let text = match reload % 8 {
                0 => "modules: [",
                1 => "modules: {m: {prober: http, timeout: 10s}}",
                2 => "modules: {m: {prober: http, timeout: 10s}, n: {prober: tcp}}",
                _ => MODULES,
            };
            std::fs::write(&file, text).unwrap();
            exporter.process.signal("HUP");
            let paths = (0..75)
                .map(|key| probe("m", &format!("{}{key}", good.http())))
                .collect();
            let answers = scrape_all(exporter.address, paths, PROBES_AT_ONCE, 15.0).await;
            probes += answers.len();
            bad += answers.iter().filter(|answer| answer.success() != Some(1.0)).count();
            let now = attempts(&scrape(exporter.address, &count, 10.0).await.body);
            went_back += usize::from(now < last);
            last = now;
        }
        failed.push(bad as f64);
        if program == OURS {
            tokio::time::sleep(Duration::from_millis(200)).await;
            let more_files = open_files(&exporter).saturating_sub(files);
            println!("  {probes} probes during {RELOADS} reloads");
            for (what, ours) in [("decreased counters", went_back), ("additional open files", more_files)] {
                table.figure(Figure {
                    id: "R2",
                    what: format!("{RELOADS} reloads under load: {what}"),
                    ours: ours as f64,
                    peer: None,
                    most: if what.starts_with("files") { 2.0 } else { 0.0 },
                    unit: "",
                });
            }
        }
    }
    table.figure(Figure {
        id: "R2",
        what: format!("{RELOADS} reloads under load: failed probes"),
        ours: failed[0],
        peer: Some(failed[1]),
        most: 0.0,
        unit: "",
    });
}

fn attempts(page: &str) -> f64 {
    Page::parse(page).find("probe_attempts_total").unwrap_or_default()
}
