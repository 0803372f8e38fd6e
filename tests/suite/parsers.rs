//! Every parser of untrusted input, with its seeds and mutants of them. `make fuzz` and `make reliability` run many
//! more.

use crate::support::mutants::Mutants;
use crate::support::parsers::PARSERS;
use crate::support::wires::{Stranger, WIRES};
use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;

/// Mutants for each parser. They are different for each parser and the same in each run.
const MUTANTS: usize = 20_000;

/// Mutants for each wire, in addition to its seeds. Each mutant takes a probe.
const SAID: usize = 300;

#[test]
fn parsers_handle_seeds_and_mutants() {
    std::thread::scope(|threads| {
        for (number, parser) in PARSERS.iter().enumerate() {
            threads.spawn(move || {
                let seeds = (parser.seeds)();
                for mutant in Mutants::of(seeds, number as u64).take(MUTANTS) {
                    let fed = catch_unwind(AssertUnwindSafe(|| (parser.feed)(&mutant)));
                    assert!(fed.is_ok(), "{}: {}", parser.name, mutant.escape_ascii());
                }
            });
        }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_handle_seeds_and_mutants() {
    let mut strangers = tokio::task::JoinSet::new();
    for (number, wire) in WIRES.iter().enumerate() {
        strangers.spawn(async move {
            let stranger = Stranger::start(wire).await;
            let seeds = (wire.seeds)();
            let said = seeds.len() + SAID;
            for mutant in Mutants::of(seeds, number as u64).take(said) {
                println!("{}: {}", wire.name, mutant.escape_ascii());
                stranger.feed(&mutant).await;
            }
            assert_eq!(stranger.panics().await, 0.0, "{}", wire.name);
        });
    }
    strangers.join_all().await;
}
