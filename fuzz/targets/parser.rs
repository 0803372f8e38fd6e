//! Feeds the parser that the variable `FUZZ` names; with `SEEDS=folder`, writes its seeds there first.
#![no_main]

mod seeds;
#[allow(dead_code)]
#[path = "../../tests/suite/support"]
mod support {
    pub mod page;
    pub mod parsers;
}

use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use support::parsers::{PARSERS, Parser};

static PARSER: LazyLock<&Parser> = LazyLock::new(|| {
    let name = std::env::var("FUZZ").expect("FUZZ names a parser");
    let parser = PARSERS.iter().find(|parser| parser.name == name);
    parser.unwrap_or_else(|| panic!("{name} is no parser"))
});

fuzz_target!(
    init: seeds::write((PARSER.seeds)()),
    |bytes: &[u8]| (PARSER.feed)(bytes)
);
