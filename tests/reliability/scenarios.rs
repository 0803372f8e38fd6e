//! Requirements that tests of the suite cover. This part runs these tests and checks that they exist.

use crate::table::{Figure, Table};
use std::process::{Command, Output};

/// Requirements, their descriptions, and the filters of their tests.
const PARTS: [(&str, &str, &[&str]); 9] = [
    (
        "R4",
        "the fault table over HTTP, TLS, TCP, DNS, ICMP, gRPC and WebSocket",
        &["failures::", "probers::", "weaknesses::", "torture::"],
    ),
    ("R6", "packets to denied addresses, ports and paths", &["policy::"]),
    (
        "R7",
        "secrets and header fields of a module sent to another origin",
        &["redirects::", "tokens::", "proxies::"],
    ),
    ("R8", "secrets in pages, logs, metrics and evidence", &["canaries::"]),
    ("R9", "payloads that escape from their text", &["injection::"]),
    (
        "R12",
        "failures of the exporter's host, and limits",
        &["torture::", "limits::"],
    ),
    ("R14", "reloads and shutdown", &["reload::", "serving::"]),
    (
        "R15",
        "two Prometheus servers that scrape the same leases",
        &["prometheus::", "leases::"],
    ),
    ("R16", "crates, licences and versions", &[]),
];

/// Runs the tests of a requirement.
pub fn run(id: &'static str, table: &mut Table) {
    for (_, what, filters) in PARTS.iter().filter(|(part, ..)| *part == id) {
        let failed = if filters.is_empty() { lint() } else { scenarios(filters) };
        table.figure(Figure {
            id,
            what: format!("{what}: failed tests"),
            ours: failed,
            peer: None,
            most: 0.0,
            unit: "",
        });
    }
}

/// Cargo, as from a shell. The package's environment variables from the outer Cargo are removed: crates whose build
/// scripts read them, such as ring, would be rebuilt together with their dependents.
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

/// Output of the suite with these arguments.
fn suite(words: &[&str]) -> Output {
    cargo()
        .args(["test", "--locked", "--test", "suite", "--"])
        .args(words)
        .output()
        .unwrap()
}

/// Every filter must match at least one test. Otherwise a renamed test would go unnoticed while others of its
/// requirement run.
fn all_are_there(filters: &[&str]) {
    for filter in filters {
        let listed = suite(&["--list", filter]);
        let text = String::from_utf8_lossy(&listed.stdout);
        assert!(
            text.lines()
                .any(|line| line.starts_with(filter) && line.ends_with(": test")),
            "the filter {filter:?} matches no test: {}",
            String::from_utf8_lossy(&listed.stderr)
        );
    }
}

/// Number of failed tests.
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
    assert!(passed + failed > 0.0, "no test was run: {result}");
    println!("  {passed} tests passed, {failed} failed");
    failed
}

/// 1 if the checks report a problem, otherwise 0.
fn lint() -> f64 {
    let status = Command::new("make")
        .arg("licences")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status();
    f64::from(u8::from(!status.unwrap().success()))
}
