//! R5: parsers and probes handle almost valid input without panics or hangs.

use crate::support::mutants::Mutants;
use crate::support::parsers::PARSERS;
use crate::support::wires::{Stranger, WIRES, Wire};
use crate::table::{Figure, Table};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;
use tokio::task::JoinSet;

const MUTANTS: usize = 20_000;

/// Mutants of each wire. Each mutant takes a probe.
const SAID: usize = 3000;

pub async fn run(table: &mut Table) {
    let (mut panics, mut slowest) = (0, 0.0_f64);
    for (number, parser) in PARSERS.iter().enumerate() {
        // A different seed than in the suite.
        for mutant in Mutants::of((parser.seeds)(), 1000 + number as u64).take(MUTANTS) {
            let begun = Instant::now();
            let fed = catch_unwind(AssertUnwindSafe(|| (parser.feed)(&mutant)));
            let took = begun.elapsed().as_secs_f64() * 1000.0;
            if took > slowest {
                slowest = took;
                println!("  {}: {took:.1} ms for {}", parser.name, mutant.escape_ascii());
            }
            if fed.is_err() {
                println!("  {}: {}", parser.name, mutant.escape_ascii());
                panics += 1;
            }
        }
    }
    let mut strangers = JoinSet::new();
    for (number, wire) in WIRES.iter().enumerate() {
        strangers.spawn(said(wire, number as u64));
    }
    let odd: f64 = strangers.join_all().await.iter().sum();
    let (parsers, wires) = (PARSERS.len(), WIRES.len());
    for (what, ours, most, unit) in [
        (
            format!("{MUTANTS} mutants to each of {parsers} parsers: panics"),
            f64::from(panics),
            0.0,
            "",
        ),
        (
            format!("{MUTANTS} mutants to each of {parsers} parsers: slowest"),
            slowest,
            100.0,
            " ms",
        ),
        (
            format!("{SAID} mutants from each of {wires} kinds of remote ends: panics, invalid pages, hanging probes"),
            odd,
            0.0,
            "",
        ),
    ] {
        table.figure(Figure {
            id: "R5",
            what,
            ours,
            peer: None,
            most,
            unit,
        });
    }
}

async fn said(wire: &'static Wire, number: u64) -> f64 {
    let stranger = Stranger::start(wire).await;
    for mutant in Mutants::of((wire.seeds)(), 1000 + number).take(SAID) {
        stranger.feed(&mutant).await;
    }
    stranger.panics().await
}
