//! Checks the dependencies between the modules of each package against a table.

#![allow(clippy::unwrap_used, reason = "an unexpected error fails the test")]

#[path = "architecture/cycles.rs"]
mod cycles;

use glassbox_probe::metrics::METRICS;
use glassbox_verdict::gateways::catalogue;
use glassbox_verdict::reason::Reason;
use glassbox_verdict::rule_id::RuleId;
use std::fs;
use std::path::{Path, PathBuf};

/// A package of the workspace, with its layers.
struct Package {
    /// Its folder.
    folder: &'static str,
    /// All layers, from the one without dependencies to the one that may import everything.
    layers: &'static [Layer],
}

/// A layer of top-level modules. A module imports only from itself, from the layers above, and from earlier modules of
/// its own layer.
struct Layer {
    name: &'static str,
    modules: &'static [&'static str],
}

/// The packages. The compiler checks the directions between them: each depends only on packages above it.
const PACKAGES: &[Package] = &[
    Package {
        folder: "crates/go-regexp",
        layers: &[Layer {
            name: "regular expressions",
            modules: &[
                "class", "escape", "bracket", "template", "parse", "stepper", "engine", "lib", "tests",
            ],
        }],
    },
    Package {
        folder: "crates/glassbox-verdict",
        layers: &[
            Layer {
                name: "facts",
                modules: &[
                    "host_port",
                    "utc",
                    "statistics",
                    "chain",
                    "reason",
                    "rule_id",
                    "stage_log",
                    "report",
                    "backend",
                    "investigation",
                    "baseline",
                    "outcomes",
                    "verdict",
                ],
            },
            Layer {
                name: "attribution",
                modules: &["conformance", "gateways", "attribution", "lib"],
            },
        ],
    },
    Package {
        folder: "crates/glassbox-probe",
        layers: &[
            Layer {
                name: "model",
                modules: &[
                    "secret",
                    "secrets",
                    "evidence_id",
                    "budget",
                    "limits",
                    "metrics",
                    "weights",
                    "file",
                    "target",
                    "policy",
                    "previous_probes",
                ],
            },
            Layer {
                name: "stages",
                modules: &["clock", "check"],
            },
            Layer {
                name: "probers",
                modules: &["probers"],
            },
            Layer {
                name: "engine",
                modules: &["controls", "diagnostics", "probe", "lib"],
            },
        ],
    },
    Package {
        folder: ".",
        layers: &[
            Layer {
                name: "state",
                modules: &[
                    "logs",
                    "workers",
                    "negotiation",
                    "outage_detector",
                    "timeline",
                    "target_state",
                    "series",
                    "history",
                    "self_metrics",
                ],
            },
            Layer {
                name: "exposition",
                modules: &["exposition"],
            },
            Layer {
                name: "configuration",
                modules: &["config"],
            },
            Layer {
                name: "scheduler",
                modules: &["scheduler"],
            },
            Layer {
                name: "interfaces",
                modules: &["server", "cli", "process", "run_loop", "lib", "main"],
            },
        ],
    },
];

/// Layers and packages without clock, runtime and I/O.
const PURE: [&str; 4] = ["regular expressions", "facts", "attribution", "model"];

/// Texts that the source of a pure layer must not contain.
const IMPURE: [&str; 13] = [
    "Instant::now",
    "SystemTime::now",
    ".elapsed()",
    "tokio",
    "fs::",
    "env::",
    "process::",
    "thread::",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "UnixStream",
    "File::open",
];

/// The packages that `glassbox-verdict` depends on. None of them has a clock, a runtime or I/O: `time` reads a clock only
/// with its feature `std`.
const VERDICT_DEPENDENCIES: [&str; 5] = ["http", "memchr", "sfv", "thiserror", "time"];

const LONGEST_FILE: usize = 400;

struct Source {
    path: PathBuf,
    package: &'static Package,
    /// The top-level module.
    module: String,
    /// Source text without the tests.
    text: String,
    first_line: String,
}

impl Source {
    fn is_in(&self, folder: &str) -> bool {
        self.package.folder.ends_with(folder)
    }

    fn layer(&self) -> &'static str {
        self.package.layers[self.package.place(&self.module).0].name
    }
}

impl Package {
    /// Index of the layer of a module, and its index in the layer.
    fn place(&self, module: &str) -> (usize, usize) {
        let index = |layer: &Layer| layer.modules.iter().position(|known| *known == module);
        self.layers
            .iter()
            .enumerate()
            .find_map(|(layer, modules)| Some((layer, index(modules)?)))
            .unwrap_or_else(|| {
                panic!(
                    "{}: module {module} is missing in this table: add it to a layer",
                    self.folder
                )
            })
    }
}

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> Vec<Source> {
    let found: Vec<_> = PACKAGES.iter().flat_map(sources_of).collect();
    assert!(found.len() > 100, "too few source files found");
    found
}

fn sources_of(package: &'static Package) -> Vec<Source> {
    let top = project().join(package.folder).join("src");
    let mut found = Vec::new();
    let mut folders = vec![top.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(source(package, &top, path));
            }
        }
    }
    found
}

fn source(package: &'static Package, top: &Path, path: PathBuf) -> Source {
    let whole = fs::read_to_string(&path).unwrap();
    let inner = path.strip_prefix(top).unwrap().iter().next().unwrap();
    let text = if is_tests(&path) {
        String::new()
    } else {
        let before = whole.split("#[cfg(test)]\nmod tests").next();
        before.unwrap_or_default().to_owned()
    };
    Source {
        module: inner.to_str().unwrap().trim_end_matches(".rs").to_owned(),
        first_line: whole.lines().next().unwrap_or_default().to_owned(),
        text,
        package,
        path,
    }
}

/// Whether the file is `tests.rs`, or is in a folder `tests`.
fn is_tests(path: &Path) -> bool {
    path.ends_with("tests.rs") || path.parent().is_some_and(|folder| folder.ends_with("tests"))
}

#[test]
fn a_module_imports_only_from_layers_above_its_own() {
    let mut wrong = Vec::new();
    for package in PACKAGES {
        let modules = cycles::Modules::of_package(package.folder);
        for ((importing, imported), example) in modules.top_edges() {
            let (own, other) = (package.place(importing), package.place(&imported));
            let is_allowed = other.0 < own.0 || (own.0 == other.0 && own.1 > other.1);
            if !is_allowed {
                wrong.push(format!("{}: {importing} imports {imported}: {example}", package.folder));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_verdict_is_pure() {
    for source in sources().iter().filter(|source| PURE.contains(&source.layer())) {
        for name in IMPURE {
            assert!(!source.text.contains(name), "{} names {name}", source.path.display());
        }
    }
    let manifest = fs::read_to_string(project().join("crates/glassbox-verdict/Cargo.toml")).unwrap();
    let dependencies = manifest.split("\n[dependencies]\n").nth(1).unwrap();
    let dependencies = dependencies.split("\n[").next().unwrap();
    let names: Vec<_> = dependencies
        .lines()
        .filter_map(|line| Some(line.split_once('.')?.0))
        .collect();
    assert_eq!(names, VERDICT_DEPENDENCIES);
}

/// Calls that open sockets.
const DIALS: [&str; 10] = [
    "TcpSocket::new",
    "TcpStream::connect",
    "UdpSocket::bind",
    "UnixStream::connect",
    "UnixDatagram::",
    "Socket::new(Domain",
    "Socket::new(domain",
    "Type::RAW",
    "socket::socket",
    "reqwest::",
];

/// Files that may open sockets, and why.
const DIALLERS: [(&str, &str); 7] = [
    ("check/dial.rs", "the dial gate, which checks every address"),
    (
        "check/dial/unix_path.rs",
        "connects to a path of the dial gate, through a descriptor",
    ),
    ("check/icmp_echo.rs", "creates the socket that the dial gate connects"),
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

/// Files of the folder `diagnostics` that are not a diagnostic.
const NOT_DIAGNOSTICS: [&str; 2] = ["experiment", "file"];

#[test]
fn each_diagnostic_is_one_file_with_its_name_and_one_row() {
    let sources = sources();
    let is_table = |source: &&Source| source.path.ends_with("src/diagnostics.rs") && source.is_in("glassbox-probe");
    let table = &sources.iter().find(is_table).unwrap().text;
    let folder = |source: &&Source| source.module == "diagnostics" && !is_table(source);
    let mut rows = table.matches("::DIAGNOSTIC,").count();
    for source in sources.iter().filter(folder) {
        let name = source.path.file_stem().unwrap().to_str().unwrap();
        if NOT_DIAGNOSTICS.contains(&name) {
            continue;
        }
        let place = source.path.display();
        assert_eq!(
            table.matches(&format!("    {name}::DIAGNOSTIC,")).count(),
            1,
            "{place}: one row"
        );
        rows -= 1;
        let named = format!("    name: \"{name}\",");
        let owners = sources.iter().filter(|source| source.text.contains(&named));
        let owners: Vec<_> = owners.map(|source| &source.path).collect();
        assert_eq!(
            owners,
            [&source.path],
            "{place}: the name of the file is the name of the diagnostic"
        );
        let kind = source.text.split("    kind: DiagnosticKind::").nth(1).unwrap();
        let kind = format!("kind: DiagnosticKind::{}", kind.split_once('\n').unwrap().0);
        let in_probe = sources.iter().filter(|source| source.is_in("glassbox-probe"));
        let owners = in_probe.filter(|source| source.text.contains(&kind)).count();
        assert_eq!(owners, 1, "{place}: a kind of its own");
    }
    assert_eq!(rows, 0, "a row of the table has no file");
    let kinds = fs::read_to_string(project().join("crates/glassbox-verdict/src/investigation.rs")).unwrap();
    let kinds = kinds
        .split_once("pub enum DiagnosticKind {\n")
        .unwrap()
        .1
        .split_once("\n}")
        .unwrap()
        .0;
    for kind in kinds.lines().filter_map(|line| line.trim().strip_suffix(',')) {
        let kind = format!("    kind: DiagnosticKind::{kind},");
        assert!(
            sources.iter().any(|source| source.text.contains(&kind)),
            "{kind} has no row"
        );
    }
}

#[test]
fn each_prober_is_one_row_and_its_files() {
    let probers = project().join("crates/glassbox-probe/src/probers");
    let list = fs::read_to_string(probers.with_extension("rs")).unwrap();
    let list = list
        .split_once("\nprobers! {\n")
        .unwrap()
        .1
        .split_once("\n}")
        .unwrap()
        .0;
    let mut rows: Vec<_> = list.lines().map(|row| row.trim().split_once(':').unwrap().0).collect();
    rows.sort_unstable();
    let folders = fs::read_dir(&probers).unwrap().map(|entry| entry.unwrap().path());
    let folders = folders.filter(|path| path.join("defaults.yml").exists());
    let mut with_keys: Vec<_> = folders
        .filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()))
        .collect();
    with_keys.sort_unstable();
    assert_eq!(rows, with_keys);
    for name in rows {
        assert!(probers.join(name).join("file.rs").exists(), "{name}: no keys");
        // The composition of the exporter must not know the probers.
        let block = format!("\"{name}\" =>");
        for source in sources_of(PACKAGES.last().unwrap())
            .iter()
            .filter(|source| source.module == "config")
        {
            assert!(!source.text.contains(&block), "{}: names {name}", source.path.display());
        }
    }
}

#[test]
fn every_listed_module_exists() {
    for package in PACKAGES {
        let modules: Vec<_> = sources_of(package).into_iter().map(|source| source.module).collect();
        for module in package.layers.iter().flat_map(|layer| layer.modules) {
            assert!(
                modules.iter().any(|known| known == module),
                "{}: module {module} does not exist",
                package.folder
            );
        }
    }
}

/// Files that contain the name of a reason, rule, metric or gateway as text, besides the one that declares it,
/// and why.
const NAMED_TWICE: [(&str, &str, &str); 0] = [];

/// A name that is written only where it is declared can be renamed or removed in one place. Documents and tests are
/// compared with the tables by other tests.
#[test]
fn each_name_is_written_in_one_file() {
    let names = Reason::ALL.iter().map(|reason| reason.as_str());
    let names = names.chain(RuleId::ALL.iter().map(|rule| rule.as_str()));
    let names = names.chain(METRICS.iter().map(|metric| metric.name));
    let names = names.chain(catalogue().map(|gateway| gateway.name));
    let sources = sources();
    let mut wrong = Vec::new();
    for name in names {
        let literal = format!("\"{name}\"");
        let names_it = |line: &str| line.contains(&literal) && !line.trim_start().starts_with("//");
        let naming = sources.iter().filter(|source| source.text.lines().any(names_it));
        let files: Vec<_> = naming
            .map(|source| source.path.strip_prefix(project()).unwrap().display().to_string())
            .collect();
        let is_known = |file: &String| {
            NAMED_TWICE
                .iter()
                .any(|(known, path, _)| *known == name && file.ends_with(path))
        };
        if files.iter().filter(|file| !is_known(file)).count() != 1 {
            wrong.push(format!("{name}: {}", files.join(", ")));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The paths in backticks of ARCHITECTURE.md exist in one of the packages.
#[test]
fn the_files_that_the_document_names_exist() {
    let text = fs::read_to_string(project().join("ARCHITECTURE.md")).unwrap();
    let words = text.split('`').skip(1).step_by(2);
    let is_path = |word: &&str| {
        let is_file = [".rs", ".py"].iter().any(|end| word.ends_with(end));
        is_file && !word.contains(['{', '*', ' '])
    };
    for word in words.filter(is_path) {
        let mut folders = PACKAGES
            .iter()
            .flat_map(|package| ["", "src"].map(|inner| project().join(package.folder).join(inner)));
        let exists = folders.any(|folder| {
            [folder.join(word), folder.join("check").join(word)]
                .iter()
                .any(|path| path.exists())
        });
        let is_a_name = !word.contains('/') && sources().iter().any(|source| source.path.ends_with(word));
        assert!(
            exists || is_a_name,
            "ARCHITECTURE.md names {word}, which does not exist"
        );
    }
}
