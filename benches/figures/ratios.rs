//! Recorded ratios of the probe cost to the floor. A ratio within one run hardly depends on the machine.

use crate::book::Book;
use std::collections::BTreeMap;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/recorded/ratios.json");

/// Relative increase from which a ratio is a regression. Rounds differ by less.
const TOLERANCE: f64 = 0.15;

/// Records the ratios for later comparisons.
pub fn record(book: &Book) {
    let ratios: BTreeMap<_, _> = book.costs_beside_the_floor().collect();
    let text = serde_json::to_string_pretty(&ratios).unwrap();
    std::fs::write(FILE, format!("{text}\n")).unwrap();
}

/// Whether a ratio is higher than recorded. Prints each ratio.
pub fn are_higher(book: &Book) -> bool {
    let recorded: BTreeMap<String, f64> = serde_json::from_str(&std::fs::read_to_string(FILE).unwrap()).unwrap();
    let mut any = false;
    for (what, ratio) in book.costs_beside_the_floor() {
        // A figure without a recorded ratio never counts as a regression.
        let before = recorded.get(what).copied().unwrap_or(f64::INFINITY);
        let higher = ratio > before * (1.0 + TOLERANCE);
        any |= higher;
        println!(
            "  {} {what}: {ratio:.2} times the floor, recorded {before:.2}",
            if higher { "HIGHER" } else { "ok    " }
        );
    }
    any
}
