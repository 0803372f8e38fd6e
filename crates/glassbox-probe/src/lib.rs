//! Probes a target stage by stage, and repeats a failed request with one thing changed.
#![forbid(unsafe_code)]

pub mod budget;
pub mod check;
pub mod clock;
pub mod controls;
pub mod diagnostics;
pub mod evidence_id;
pub mod file;
pub mod limits;
pub mod metrics;
pub mod policy;
pub mod previous_probes;
pub mod probe;
pub mod probers;
pub mod secret;
pub mod secrets;
pub mod target;
pub mod weights;
