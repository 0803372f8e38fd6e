//! Reliability requirements R1 to R17, tested with `glassbox_exporter` and `blackbox_exporter` as processes.
//!
//! Run all with `make reliability`, or some with `cargo test --release --test reliability -- R4 R12`. Prints a table of
//! figures with their bounds. The exit code is 1 if a bound is exceeded.

#![allow(
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    reason = "an unexpected error fails the test; the counts are small"
)]

mod bounds;
mod clients;
mod clock;
mod corpora;
mod files;
mod ha;
mod load;
mod memory;
mod parsers;
mod port;
mod ports;
mod reload;
mod scenarios;
mod signals;
mod soak;
mod stalls;
mod table;

#[allow(dead_code, reason = "shared with the benchmark")]
#[path = "../../benches/figures/program.rs"]
mod program;

#[allow(dead_code, reason = "shared with the suite")]
#[path = "../suite/support/mod.rs"]
mod support;

use std::process::ExitCode;
use std::time::Instant;
use table::Table;

/// The test of a requirement.
struct Part {
    id: &'static str,
    run: fn(Table) -> std::pin::Pin<Box<dyn Future<Output = Table>>>,
}

macro_rules! parts {
    ($($id:literal $run:path;)+) => {
        const PARTS: &[Part] = &[$(Part { id: $id, run: |mut table| Box::pin(async { $run(&mut table).await; table }) },)+];
    };
}

parts! {
    "R1" load::run;
    "R2" reload::run;
    "R3" soak::run;
    "R4" memory::run;
    "R4" bounds::memory;
    "R5" parsers::run;
    "R10" corpora::run;
    "R11" port::run;
    "R11" bounds::availability;
    "R12" files::run;
    "R12" ports::run;
    "R13" clock::run;
    "R14" signals::run;
    "R15" ha::run;
    "R17" stalls::run;
}

/// All requirements, in order.
const IDS: [&str; 17] = [
    "R1", "R2", "R3", "R4", "R5", "R6", "R7", "R8", "R9", "R10", "R11", "R12", "R13", "R14", "R15", "R16", "R17",
];

fn main() -> ExitCode {
    let chosen: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    clients::many_files();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    if chosen == [ports::INSIDE] {
        runtime.block_on(ports::inside());
        return ExitCode::SUCCESS;
    }
    let mut table = Table::default();
    for id in IDS {
        if !chosen.is_empty() && !chosen.iter().any(|word| word == id) {
            continue;
        }
        let begun = Instant::now();
        println!("{id} …");
        for part in PARTS.iter().filter(|part| part.id == id) {
            table = runtime.block_on((part.run)(table));
        }
        if std::env::var_os("MEASURED_ONLY").is_none() {
            scenarios::run(id, &mut table);
        }
        println!("{id}: {:.0} s", begun.elapsed().as_secs_f64());
    }
    println!("\n{table}");
    if table.holds() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
