//! Times of the individual hot paths: `cargo bench --bench micro`.

#![allow(clippy::unwrap_used, reason = "an unexpected error ends the benchmark")]

mod paths;

use divan::Bencher;
use paths::{PATHS, Scene, peer};

fn main() {
    divan::main();
}

#[divan::bench(args = PATHS.map(|(name, _)| name))]
fn path(bencher: Bencher, name: &str) {
    let scene = Scene::new(peer());
    let (_, walk) = PATHS.iter().find(|(known, _)| *known == name).unwrap();
    bencher.bench_local(|| walk(&scene));
}

/// Encoding of 10,000 keys, as if they were on one page.
#[divan::bench(args = ["a key as text", "a key as protobuf"], sample_count = 5, sample_size = 1)]
fn ten_thousand(bencher: Bencher, name: &str) {
    let scene = Scene::new(peer());
    let (_, walk) = PATHS.iter().find(|(known, _)| *known == name).unwrap();
    bencher.bench_local(|| (0..10_000).for_each(|_| walk(&scene)));
}
