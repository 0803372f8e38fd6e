//! Fuzzes the parser named by the environment variable `FUZZ`. With `SEEDS=folder`, it first writes the seeds to that
//! folder.
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
    let name = std::env::var("FUZZ").expect("FUZZ must be set to the name of a parser");
    let parser = PARSERS.iter().find(|parser| parser.name == name);
    parser.unwrap_or_else(|| panic!("FUZZ: unknown parser {name:?}"))
});

fuzz_target!(
    init: seeds::write((PARSER.seeds)()),
    |bytes: &[u8]| (PARSER.feed)(bytes)
);
