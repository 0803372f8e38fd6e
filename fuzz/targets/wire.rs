//! Probes a stranger of the kind that the variable `FUZZ` names; with `SEEDS=folder`, writes its seeds there first.
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
    let name = std::env::var("FUZZ").expect("FUZZ names a wire");
    let wire = WIRES.iter().find(|wire| wire.name == name);
    wire.unwrap_or_else(|| panic!("{name} is no wire"))
});

static WORLD: LazyLock<(Runtime, Stranger)> = LazyLock::new(|| {
    let runtime = Runtime::new().expect("a runtime can be started");
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
