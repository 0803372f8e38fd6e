//! Benchmarks of the exporter as a process, next to `blackbox_exporter`, Prometheus and tcpdump, on loopback.
//!
//! Run all with `make bench`, or one part with `cargo bench --bench figures -- timing`. Each figure is printed with its
//! bound. The exit code is 1 if a bound is exceeded.

#![allow(
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    clippy::float_cmp,
    reason = "an unexpected error ends the benchmark; the counts are small and compared as written"
)]

mod answers;
mod begin;
mod book;
mod cost;
mod floor;
mod gaps;
mod leases;
mod memory;
mod native;
#[allow(dead_code, reason = "shared with the reliability tests")]
mod program;
mod ratios;
mod schedule;
mod scraper;
mod targets;
mod timing;
mod wire;

// Shared with the tests, which use more of it.
#[allow(dead_code)]
#[path = "../../tests/suite/support/mod.rs"]
mod support;

use book::Book;
use std::path::Path;
use std::process::{Command, ExitCode};

/// Output folder of the tables and samples.
const KEPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/bench");

#[tokio::main]
async fn main() -> ExitCode {
    let chosen: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    if chosen == [floor::WORD] {
        floor::serve().await;
    }
    many_files();
    let mut book = Book::default();
    macro_rules! parts {
        ($($part:ident)+) => {
            $(if chosen.is_empty() || chosen.iter().any(|word| word == stringify!($part)) {
                $part::run(&mut book).await;
            })+
        };
    }
    parts! { cost answers memory schedule begin timing gaps leases native }
    keep(&book);
    if std::env::var_os("RECORD").is_some() {
        ratios::record(&book);
    }
    let dearer = std::env::var_os("CHECK").is_some_and(|_| ratios::are_higher(&book));
    let missed = book.missed().count();
    if missed == 0 && !dearer {
        return ExitCode::SUCCESS;
    }
    println!("{missed} bounds exceeded:");
    book.missed().for_each(|row| println!("  {row}"));
    ExitCode::FAILURE
}

/// Raises the soft limit of open files to the hard limit.
fn many_files() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
}

/// Writes the figures with the details of the machine and the versions of the programs.
fn keep(book: &Book) {
    let said = |program: &str, words: &[&str]| {
        let output = Command::new(program).args(words).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        text.lines().next().unwrap_or_default().to_owned()
    };
    let processor = std::fs::read_to_string("/proc/cpuinfo").unwrap();
    let processor = processor.lines().find_map(|line| line.strip_prefix("model name\t: "));
    let machine = [
        format!(
            "{} processors, {}",
            std::thread::available_parallelism().unwrap(),
            processor.unwrap_or("unknown model")
        ),
        said("uname", &["-sr"]),
        said(program::OURS, &["--version"]),
        said(&program::peer(), &["--version"]),
        said("/usr/sbin/nginx", &["-v"]),
    ];
    let tables = format!(
        "{}\n{}",
        machine.clone().map(|line| format!("- {line}\n")).concat(),
        book.tables()
    );
    let all = serde_json::json!({"machine": machine, "rows": book.json()});
    let folder = Path::new(KEPT);
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join("figures.md"), tables).unwrap();
    std::fs::write(folder.join("figures.json"), format!("{all:#}\n")).unwrap();
}
