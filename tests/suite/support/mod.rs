//! Shared helpers of the tests.

pub mod alertmanager;
pub mod certificates;
pub mod chains;
pub mod dns;
pub mod exporter;
pub mod frames;
pub mod health;
pub mod held;
pub mod host;
pub mod http;
pub mod mutants;
pub mod name_server;
pub mod old_tls;
pub mod page;
pub mod parsers;
pub mod peer;
pub mod pki;
pub mod process;
pub mod prometheus;
pub mod proxy;
pub mod quic;
pub mod unbound;
pub mod wires;
