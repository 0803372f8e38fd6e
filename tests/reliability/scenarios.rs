//! The parts of the bar that scenarios of the suite hold: they are run here, and have to be there.

use crate::table::{Figure, Table};
use std::process::{Command, Output};

/// What is promised, and the scenarios that show it.
const PARTS: [(&str, &str, &[&str]); 9] = [
    (
        "R4",
        "the fault table over HTTP, TLS, TCP, DNS, ICMP, gRPC and WebSocket",
        &["failures::", "probers::", "weaknesses::", "torture::"],
    ),
    (
        "R6",
        "packets to addresses, ports and paths that are denied",
        &["policy::"],
    ),
    (
        "R7",
        "secrets and fields of a module at another origin",
        &["redirects::", "tokens::", "proxies::"],
    ),
    ("R8", "canaries in pages, logs, metrics and evidence", &["canaries::"]),
    ("R9", "payloads that become more than text", &["injection::"]),
    (
        "R12",
        "steps that fail on this host, and bounds that are met",
        &["torture::", "limits::"],
    ),
    ("R14", "reloads and ends of the process", &["reload::", "serving::"]),
    (
        "R15",
        "two Prometheus servers, and leases that both of them scrape",
        &["prometheus::", "leases::"],
    ),
    ("R16", "crates, licences and versions", &[]),
];

/// Runs the scenarios of a part.
pub fn run(id: &'static str, table: &mut Table) {
    for (_, what, filters) in PARTS.iter().filter(|(part, ..)| *part == id) {
        let failed = if filters.is_empty() { lint() } else { scenarios(filters) };
        table.figure(Figure {
            id,
            what: format!("{what}: scenarios that fail"),
            ours: failed,
            peer: None,
            most: 0.0,
            unit: "",
        });
    }
}

/// Cargo, as from a shell. What it says of this package to us is kept from it: crates that ask for the same names (ring
/// does) would be built anew, and all that stands on them.
pub fn cargo() -> Command {
    let mut command = Command::new(env!("CARGO"));
    for (name, _) in std::env::vars() {
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") || name == "OUT_DIR" {
            command.env_remove(name);
        }
    }
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    command
}

/// What the suite prints with these words.
fn suite(words: &[&str]) -> Output {
    cargo()
        .args(["test", "--locked", "--test", "suite", "--"])
        .args(words)
        .output()
        .unwrap()
}

/// Each filter by itself has scenarios: one that was renamed would be missed by nobody while others of its part run.
fn all_are_there(filters: &[&str]) {
    for filter in filters {
        let listed = suite(&["--list", filter]);
        let text = String::from_utf8_lossy(&listed.stdout);
        assert!(
            text.lines()
                .any(|line| line.starts_with(filter) && line.ends_with(": test")),
            "no scenario is named {filter}: {}",
            String::from_utf8_lossy(&listed.stderr)
        );
    }
}

/// Scenarios that failed.
fn scenarios(filters: &[&str]) -> f64 {
    all_are_there(filters);
    let output = suite(filters);
    let text = String::from_utf8_lossy(&output.stdout);
    let Some(result) = text.lines().find(|line| line.starts_with("test result:")) else {
        panic!("{}", String::from_utf8_lossy(&output.stderr));
    };
    let count = |what: &str| -> f64 {
        let before = result.split(what).next().unwrap();
        before.split_whitespace().last().unwrap().parse().unwrap()
    };
    for line in text.lines().filter(|line| line.ends_with("FAILED")) {
        println!("  {line}");
    }
    let (passed, failed) = (count(" passed"), count(" failed"));
    assert!(passed + failed > 0.0, "none was run: {result}");
    println!("  {passed} scenarios held, {failed} did not");
    failed
}

/// 1 where something is found.
fn lint() -> f64 {
    let status = Command::new("make")
        .arg("licences")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status();
    f64::from(u8::from(!status.unwrap().success()))
}
