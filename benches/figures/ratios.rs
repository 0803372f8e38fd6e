//! What a probe costs beside the floor, as it was recorded: a ratio of one run, which another machine has, too.

use crate::book::Book;
use std::collections::BTreeMap;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/recorded/ratios.json");

/// A ratio that is higher by such a share is a regression; rounds differ by less.
const TOLERANCE: f64 = 0.15;

/// From now on these are the ratios to compare with.
pub fn record(book: &Book) {
    let ratios: BTreeMap<_, _> = book.costs_beside_the_floor().collect();
    let text = serde_json::to_string_pretty(&ratios).unwrap();
    std::fs::write(FILE, format!("{text}\n")).unwrap();
}

/// Whether a probe costs more than was recorded; tells each.
pub fn are_higher(book: &Book) -> bool {
    let recorded: BTreeMap<String, f64> = serde_json::from_str(&std::fs::read_to_string(FILE).unwrap()).unwrap();
    let mut any = false;
    for (what, ratio) in book.costs_beside_the_floor() {
        // What was not recorded is no regression of anything.
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
