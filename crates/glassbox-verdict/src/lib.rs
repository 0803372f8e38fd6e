//! Names the link of the chain that broke, from the facts of a failed probe.
#![forbid(unsafe_code)]

pub mod attribution;
pub mod backend;
pub mod baseline;
pub mod chain;
pub mod gateways;
pub mod host_port;
pub mod investigation;
pub mod reason;
pub mod report;
pub mod rule_id;
pub mod stage_log;
pub mod utc;
pub mod verdict;
