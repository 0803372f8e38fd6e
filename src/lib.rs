//! `glassbox_exporter` probes a target stage by stage, keeps histograms, and names the link of the chain that broke.
#![forbid(unsafe_code)]

pub mod cli;
pub mod config;
pub mod exposition;
pub mod history;
pub mod logs;
pub mod negotiation;
pub mod outage_detector;
pub mod process;
pub mod run_loop;
pub mod scheduler;
pub mod self_metrics;
pub mod series;
pub mod server;
pub mod target_state;
pub mod timeline;
pub mod workers;
