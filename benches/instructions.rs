//! Instruction counts of the hot paths, measured with callgrind. Unlike times, they do not depend on the load of the
//! machine, so they also reveal small regressions. `make instructions` compares them with the counts in
//! `benches/recorded`.

#![allow(
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    reason = "an unexpected error ends the benchmark; the counts are small"
)]

mod paths;

use paths::{PATHS, Scene, peer};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZero;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::thread;

/// Each path runs `FEW` times in one process and `MANY` times in another. The difference excludes the setup.
const FEW: u64 = 10;
const MANY: u64 = 60;

/// Relative increase from which a count is a regression. Two runs of the same program differ by 2 %, because the number
/// of digits of times and exemplars on a page varies.
const TOLERANCE: f64 = 0.05;

/// Folder of the recorded counts: one file for each build profile.
const RECORDED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/recorded");

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    if let [name, times, peer] = &words[..] {
        walk(name, times.parse().unwrap(), peer.parse().unwrap());
        return ExitCode::SUCCESS;
    }
    let peer = peer();
    let counts = count_all(peer);
    let profile = if cfg!(debug_assertions) { "dev" } else { "release" };
    let file = Path::new(RECORDED).join(format!("instructions-{profile}.json"));
    if std::env::var_os("RECORD").is_some() {
        std::fs::write(&file, format!("{}\n", serde_json::to_string_pretty(&counts).unwrap())).unwrap();
    }
    let recorded: BTreeMap<String, u64> = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    println!("instructions, profile {profile} (recorded, difference):");
    let mut slower = 0;
    for (name, count) in &counts {
        let before = recorded[*name];
        let more = *count as f64 / before as f64 - 1.0;
        let regressed = more > TOLERANCE;
        slower += usize::from(regressed);
        let mark = if regressed { "MORE  " } else { "ok    " };
        println!("  {mark} {name}: {count} ({before}, {:+.1} %)", more * 100.0);
    }
    if slower == 0 {
        return ExitCode::SUCCESS;
    }
    println!("{slower} paths exceed the recorded counts; if this is intended, update them: RECORD=1 make instructions");
    ExitCode::FAILURE
}

fn walk(name: &str, times: u64, peer: SocketAddr) {
    let (_, walk) = PATHS.iter().find(|(known, _)| *known == name).unwrap();
    let scene = Scene::new(peer);
    (0..times).for_each(|_| walk(&scene));
}

/// Instructions of each path. Several paths run in parallel, which does not affect the counts.
fn count_all(peer: SocketAddr) -> BTreeMap<&'static str, u64> {
    let at_once = thread::available_parallelism().map_or(1, NonZero::get);
    let several = PATHS.chunks(at_once).flat_map(|several| {
        thread::scope(|threads| {
            let counting: Vec<_> = several
                .iter()
                .map(|(name, _)| (*name, threads.spawn(move || count(name, peer))))
                .collect();
            let counted = counting.into_iter();
            counted
                .map(|(name, count)| (name, count.join().unwrap()))
                .collect::<Vec<_>>()
        })
    });
    several.collect()
}

/// Instructions of one run of a path.
fn count(name: &str, peer: SocketAddr) -> u64 {
    let collected = |times: u64| {
        let output = Command::new("valgrind")
            .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
            .arg(std::env::current_exe().unwrap())
            .args([name, &times.to_string(), &peer.to_string()])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{text}");
        let count = text.lines().find_map(|line| line.split_once("Collected : "));
        count.unwrap().1.trim().parse::<u64>().unwrap()
    };
    (collected(MANY) - collected(FEW)) / (MANY - FEW)
}
