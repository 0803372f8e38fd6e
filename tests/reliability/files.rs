//! R12: without file descriptors nobody else is blamed.

use crate::clients::{peer, probe, scrape_all};
use crate::program::{OURS, Program};
use crate::support::peer::Peer;
use crate::table::{Figure, Table};

/// Files that the exporter may have open.
const FILES: &str = "256";

const PROBES: usize = 400;

pub async fn run(table: &mut Table) {
    let hung = Peer::start(|stream| async move {
        let _held = stream;
        std::future::pending::<()>().await;
    })
    .await;
    let mut false_downs = Vec::new();
    for program in [OURS.to_owned(), peer()] {
        let exporter = Program::start_limited(&program, "modules: {m: {prober: http, timeout: 5s}}", FILES).await;
        let paths = (0..PROBES)
            .map(|key| probe("m", &format!("{}{key}", hung.http())))
            .collect();
        let answers = scrape_all(exporter.address, paths, PROBES, 10.0).await;
        // The target takes every connection and is silent: what ends before its time ended for a fault of our own.
        let too_soon = answers
            .iter()
            .filter(|answer| answer.success() == Some(0.0) && answer.duration().is_some_and(|took| took < 4.0));
        false_downs.push(too_soon.count() as f64);
        if program == OURS {
            let honest = answers.iter().filter(|answer| answer.success() == Some(0.0)).count();
            let refused = answers.iter().filter(|answer| answer.status == Some(503)).count();
            println!("  {honest} timed out as they must, {refused} were answered with 503, of {PROBES}");
            let after = scrape_all(exporter.address, vec!["/-/healthy".to_owned()], 1, 10.0).await;
            assert_eq!(after[0].status, Some(200));
        }
    }
    table.figure(Figure {
        id: "R12",
        what: format!("{PROBES} hung probes with {FILES} files: false downs"),
        ours: false_downs[0],
        peer: Some(false_downs[1]),
        most: 0.0,
        unit: "",
    });
}
