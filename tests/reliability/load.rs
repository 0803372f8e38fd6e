//! R1: many concurrent probes, many hanging probes, and overload.

use crate::clients::{forget_peak, peak, peer, probe, quantile, resident, scrape, scrape_all};
use crate::program::{OURS, Program};
use crate::support::peer::{Peer, ok};
use crate::table::{Figure, Table};
use std::time::{Duration, Instant};

const AT_ONCE: usize = 500;
const HUNG: usize = 2000;

/// Probes of each program in each round.
const PROBES: usize = 10_000;
const ROUNDS: usize = 3;

pub async fn run(table: &mut Table) {
    rates(table).await;
    hung(table).await;
    overload(table).await;
}

async fn rates(table: &mut Table) {
    let good = Peer::start(ok).await;
    let (mut ours, mut peers, mut failed) = (Vec::new(), Vec::new(), 0);
    for _ in 0..ROUNDS {
        for program in [OURS.to_owned(), peer()] {
            let exporter = Program::start(&program, "modules: {m: {prober: http, timeout: 10s}}").await;
            let paths = (0..PROBES)
                .map(|key| probe("m", &format!("{}{}", good.http(), key % 1000)))
                .collect();
            let begun = Instant::now();
            let answers = scrape_all(exporter.address, paths, AT_ONCE, 15.0).await;
            let rate = PROBES as f64 / begun.elapsed().as_secs_f64();
            let bad = answers.iter().filter(|answer| answer.success() != Some(1.0)).count();
            if program == OURS {
                ours.push(rate);
                failed += bad;
            } else {
                peers.push(rate);
            }
        }
    }
    let (ours, peers) = (quantile(ours, 0.5), quantile(peers, 0.5));
    println!("  {AT_ONCE} concurrent: {ours:.0} probes/s, blackbox_exporter {peers:.0} probes/s");
    table.figure(Figure {
        id: "R1",
        what: format!("{AT_ONCE} concurrent: rate of blackbox_exporter relative to glassbox_exporter"),
        ours: peers / ours,
        peer: Some(1.0),
        most: 1.0,
        unit: "",
    });
    table.figure(Figure {
        id: "R1",
        what: format!("{AT_ONCE} concurrent: failed probes, of {}", PROBES * ROUNDS),
        ours: failed as f64,
        peer: None,
        most: 0.0,
        unit: "",
    });
}

fn config_for_hung(program: &str) -> String {
    let modules = "modules: {m: {prober: http, timeout: 6s}}";
    // One caller gets 80 % of the permits, so that it cannot keep out all others.
    if program == OURS {
        format!("limits: {{probes: {}}}\n{modules}", HUNG * 5 / 4)
    } else {
        modules.to_owned()
    }
}

async fn hung(table: &mut Table) {
    let hung = Peer::start(|stream| async move {
        let _held = stream;
        std::future::pending::<()>().await;
    })
    .await;
    let mut memory = Vec::new();
    for program in [OURS.to_owned(), peer()] {
        let exporter = Program::start(&program, &config_for_hung(&program)).await;
        let before = resident(&exporter);
        forget_peak(&exporter);
        let paths = (0..HUNG)
            .map(|key| probe("m", &format!("{}{key}", hung.http())))
            .collect();
        let scrapes = tokio::spawn(scrape_all(exporter.address, paths, HUNG, 10.0));
        let mut health = Vec::new();
        while !scrapes.is_finished() {
            health.push(scrape(exporter.address, "/-/healthy", 5.0).await.took.as_secs_f64() * 1000.0);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let answers = scrapes.await.unwrap();
        let most = peak(&exporter);
        println!("  {program}: {HUNG} hanging probes: {before:.0} MiB before, peak {most:.0} MiB");
        memory.push(most);
        if program == OURS {
            let timed_out = answers.iter().filter(|answer| answer.success() == Some(0.0)).count();
            assert_eq!(timed_out, HUNG, "every probe must time out");
            let late = answers.iter().map(|answer| answer.duration().unwrap() - 6.0).collect();
            for (what, ours, most, unit) in [
                (
                    "slowest response of a hanging probe, after its deadline",
                    quantile(late, 1.0),
                    0.25,
                    " s",
                ),
                ("concurrent health requests, p99", quantile(health, 0.99), 100.0, " ms"),
            ] {
                let what = format!("{HUNG} hanging probes: {what}");
                table.figure(Figure {
                    id: "R1",
                    what,
                    ours,
                    peer: None,
                    most,
                    unit,
                });
            }
        }
    }
    table.figure(Figure {
        id: "R1",
        what: format!("{HUNG} hung: memory"),
        ours: memory[0],
        peer: Some(memory[1]),
        most: 150.0,
        unit: " MiB",
    });
}

/// Three times as many probes as the concurrency limit.
async fn overload(table: &mut Table) {
    let hung = Peer::start(|stream| async move {
        let _held = stream;
        std::future::pending::<()>().await;
    })
    .await;
    let good = Peer::start(ok).await;
    let config = "limits: {probes: 200}\nmodules: {m: {prober: http, timeout: 3s}}";
    let exporter = Program::start(OURS, config).await;
    let paths = (0..600)
        .map(|key| probe("m", &format!("{}{key}", hung.http())))
        .collect();
    let answers = scrape_all(exporter.address, paths, 600, 10.0).await;
    let begun = Instant::now();
    while scrape(exporter.address, &probe("m", &good.http()), 10.0)
        .await
        .success()
        != Some(1.0)
    {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let recovered = begun.elapsed().as_secs_f64();
    let refused: Vec<_> = answers.iter().filter(|answer| answer.status == Some(503)).collect();
    let other = answers
        .iter()
        .filter(|answer| !matches!(answer.status, Some(200 | 503)))
        .count();
    println!("  600 probes with a limit of 200: {} got 503", refused.len());
    let slowest = refused
        .iter()
        .map(|answer| answer.took.as_secs_f64() * 1000.0)
        .collect();
    for (what, ours, most, unit) in [
        ("responses other than 200 and 503", other as f64, 0.0, ""),
        ("the slowest 503", quantile(slowest, 1.0), 250.0, " ms"),
        ("time to full service", recovered, 1.0, " s"),
    ] {
        table.figure(Figure {
            id: "R1",
            what: format!("600 hanging probes, limit 200: {what}"),
            ours,
            peer: None,
            most,
            unit,
        });
    }
}
