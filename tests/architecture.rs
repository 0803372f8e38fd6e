//! Checks the dependencies between the modules of the crate against a table.

#![allow(clippy::unwrap_used, reason = "an unexpected error fails the test")]

use std::fs;
use std::path::{Path, PathBuf};

/// A layer of top-level modules ("rooms"). A module imports only from itself, from the layers above, and from earlier
/// modules of its own layer.
struct Row {
    name: &'static str,
    rooms: &'static [&'static str],
}

/// All layers, from the one without dependencies to the one that may import everything.
const ROWS: &[Row] = &[
    Row {
        name: "model",
        rooms: &[
            "chain",
            "reason",
            "rule_id",
            "secret",
            "secrets",
            "regexp",
            "limits",
            "negotiation",
            "stage_log",
            "target",
            "utc",
            "evidence_id",
            "backend",
            "policy",
            "report",
            "investigation",
            "baseline",
            "previous_probes",
            "verdict",
            "metrics",
        ],
    },
    Row {
        name: "stages",
        rooms: &["workers", "check"],
    },
    Row {
        name: "probers",
        rooms: &["probers"],
    },
    Row {
        name: "attribution",
        rooms: &["gateways", "attribution"],
    },
    Row {
        name: "engine",
        rooms: &["controls", "diagnostics", "probe"],
    },
    Row {
        name: "state",
        rooms: &["outage_detector", "target_state", "series", "history", "self_metrics"],
    },
    Row {
        name: "exposition",
        rooms: &["exposition"],
    },
    Row {
        name: "configuration",
        rooms: &["config"],
    },
    Row {
        name: "scheduler",
        rooms: &["scheduler"],
    },
    Row {
        name: "interfaces",
        rooms: &["server", "cli", "lib", "main"],
    },
];

/// Layers without clock, runtime and I/O.
const PURE: [&str; 2] = ["model", "attribution"];

/// Texts that the source of a pure layer must not contain.
const IMPURE: [&str; 6] = [
    "Instant::now",
    "SystemTime::now",
    ".elapsed()",
    "tokio",
    "std::fs",
    "std::net::Tcp",
];

const LONGEST_FILE: usize = 400;

struct Source {
    path: PathBuf,
    room: String,
    /// Source text without the tests.
    text: String,
    first_line: String,
}

fn sources() -> Vec<Source> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut folders = vec![top.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let whole = fs::read_to_string(&path).unwrap();
                let inner = path.strip_prefix(&top).unwrap();
                let room = inner
                    .iter()
                    .next()
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .trim_end_matches(".rs")
                    .to_owned();
                found.push(Source {
                    room,
                    first_line: whole.lines().next().unwrap_or_default().to_owned(),
                    text: if path.ends_with("tests.rs") {
                        String::new()
                    } else {
                        let before = whole.split("#[cfg(test)]\nmod tests").next();
                        before.unwrap_or_default().to_owned()
                    },
                    path,
                });
            }
        }
    }
    assert!(found.len() > 30, "too few source files found");
    found
}

fn place(room: &str) -> (usize, usize) {
    ROWS.iter()
        .enumerate()
        .find_map(|(row, rooms)| Some((row, rooms.rooms.iter().position(|known| *known == room)?)))
        .unwrap_or_else(|| panic!("module {room} is missing in this table: add it to a layer"))
}

/// The modules that a text imports as `crate::room` or, in the binary, as `glassbox_exporter::room`.
fn imports(text: &str) -> Vec<String> {
    let mut rooms = Vec::new();
    for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
        for start in ["crate::", "glassbox_exporter::"] {
            for rest in line.split(start).skip(1) {
                let room: String = rest
                    .chars()
                    .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
                    .collect();
                rooms.push(room);
            }
        }
    }
    rooms.retain(|room| !room.is_empty());
    rooms
}

#[test]
fn a_module_imports_only_from_rows_above_its_own() {
    let mut wrong = Vec::new();
    for source in sources() {
        let own = place(&source.room);
        for import in imports(&source.text) {
            // Only the binary imports items of lib.rs itself.
            let is_room = ROWS.iter().any(|row| row.rooms.contains(&import.as_str()));
            if import == source.room || (!is_room && source.room == "main") {
                continue;
            }
            let other = place(&import);
            let may = other.0 < own.0 || (own.0 == other.0 && (own.1 > other.1 || ROWS[own.0].name == "interfaces"));
            if !may {
                wrong.push(format!(
                    "{} ({}) imports {import}",
                    source.path.display(),
                    ROWS[own.0].name
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn judgment_imports_only_words() {
    for source in sources()
        .iter()
        .filter(|source| ROWS[place(&source.room).0].name == "attribution")
    {
        for import in imports(&source.text) {
            let row = ROWS[place(&import).0].name;
            assert!(PURE.contains(&row), "{} imports {import}", source.path.display());
        }
    }
}

#[test]
fn words_and_judgment_are_pure() {
    for source in sources()
        .iter()
        .filter(|source| PURE.contains(&ROWS[place(&source.room).0].name))
    {
        for name in IMPURE {
            assert!(!source.text.contains(name), "{} names {name}", source.path.display());
        }
    }
}

/// Calls that open sockets.
const DIALS: [&str; 6] = [
    "TcpSocket::new",
    "TcpStream::connect",
    "UdpSocket::bind",
    "UnixStream::connect",
    "Type::RAW",
    "reqwest::",
];

/// Files that may open sockets, and why.
const DIALLERS: [(&str, &str); 7] = [
    ("check/dial.rs", "the dial gate, which checks every address"),
    ("check/icmp_echo.rs", "creates the socket that the dial gate connects"),
    (
        "check/transport.rs",
        "connects to name servers from the system or the module",
    ),
    (
        "check/local_fault.rs",
        "checks with the kernel which resource the host lacks; sends nothing",
    ),
    (
        "check/rx_timestamps.rs",
        "keeps the kernel's timestamps enabled; sends nothing",
    ),
    ("server/listeners.rs", "listens only"),
    ("cli/healthcheck.rs", "requests the health of the exporter itself"),
];

#[test]
fn every_outgoing_socket_comes_from_the_dial_gate() {
    for source in sources() {
        let path = source.path.display().to_string();
        let dials = DIALS.iter().filter(|name| source.text.contains(**name)).count();
        let may = DIALLERS
            .iter()
            .any(|(dialler, _)| path.ends_with(&format!("src/{dialler}")));
        assert_eq!(
            dials > 0,
            may,
            "{path}: DIALLERS must list exactly the files that open sockets, with the reason"
        );
    }
}

#[test]
fn each_file_starts_with_its_purpose_and_is_short() {
    for source in sources() {
        let path = source.path.display();
        assert!(
            source.first_line.starts_with("//! "),
            "{path} does not start with a //! line"
        );
        let lines = source.text.lines().count();
        assert!(
            lines <= LONGEST_FILE,
            "{path} has {lines} lines without its tests, maximum {LONGEST_FILE}"
        );
    }
}

#[test]
fn every_listed_module_exists() {
    let rooms: Vec<_> = sources().into_iter().map(|source| source.room).collect();
    for room in ROWS.iter().flat_map(|row| row.rooms) {
        assert!(rooms.iter().any(|known| known == room), "module {room} does not exist");
    }
}

#[test]
fn imports_are_found() {
    let text = "use crate::chain::Stage;\n// crate::server\nlet x = crate::limits::LABEL;\nuse glassbox_exporter::cli;";
    assert_eq!(imports(text), ["chain", "limits", "cli"]);
}
