//! Fuzzes the exporter with a hostile remote end of the kind in the environment variable `FUZZ`. With `SEEDS=folder`,
//! it first writes the seeds to that folder.
#![no_main]

mod seeds;
#[allow(dead_code)]
#[path = "../../tests/suite/support"]
mod support {
    pub mod exporter;
    pub mod page;
    pub mod parsers;
    pub mod peer;
    pub mod wires;
}

use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use support::wires::{Stranger, WIRES, Wire};
use tokio::runtime::Runtime;

static WIRE: LazyLock<&Wire> = LazyLock::new(|| {
    let name = std::env::var("FUZZ").expect("FUZZ must be set to the name of a wire");
    let wire = WIRES.iter().find(|wire| wire.name == name);
    wire.unwrap_or_else(|| panic!("FUZZ: unknown wire {name:?}"))
});

static WORLD: LazyLock<(Runtime, Stranger)> = LazyLock::new(|| {
    let runtime = Runtime::new().expect("cannot start the runtime");
    let stranger = runtime.block_on(Stranger::start(&WIRE));
    (runtime, stranger)
});

fuzz_target!(
    init: seeds::write((WIRE.seeds)()),
    |bytes: &[u8]| {
        let (runtime, stranger) = &*WORLD;
        let _ = runtime.block_on(stranger.feed(bytes));
    }
);
