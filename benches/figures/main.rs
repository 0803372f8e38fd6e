//! Figures of the exporter as a process of its own, beside the real peer, Prometheus and tcpdump, on loopback.
//!
//! `make bench`, or `cargo bench --bench figures -- timing` for one of them. Each figure stands beside its bound; the exit
//! code is 1 where one is missed.

#![allow(
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    reason = "a benchmark stops at what it did not expect; its counts are small"
)]

mod leases;
mod native;
#[allow(dead_code, reason = "shared with the reliability bar")]
mod program;
mod timing;
mod wire;

// The tests use more of it.
#[allow(dead_code)]
#[path = "../../tests/suite/support/mod.rs"]
mod support;

use std::process::ExitCode;

/// The bounds that were missed.
#[derive(Default)]
pub struct Missed(Vec<String>);

impl Missed {
    /// Prints a figure with its bound.
    pub fn check(&mut self, what: &str, figure: f64, most: f64) {
        let holds = figure <= most;
        println!(
            "  {} {what}: {figure:.3} (at most {most:.3})",
            if holds { "ok    " } else { "MISSED" }
        );
        if !holds {
            self.0.push(format!("{what}: {figure:.3}, at most {most:.3}"));
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let chosen: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let wanted = |name: &str| chosen.is_empty() || chosen.iter().any(|word| word == name);
    let mut missed = Missed::default();
    if wanted("timing") {
        timing::run(&mut missed).await;
    }
    if wanted("leases") {
        leases::run(&mut missed).await;
    }
    if wanted("native") {
        native::run(&mut missed).await;
    }
    if missed.0.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("Missed: {:#?}", missed.0);
    ExitCode::FAILURE
}

/// A share of sorted figures: 0.5 is the median.
#[must_use]
pub fn quantile(sorted: &[f64], share: f64) -> f64 {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a place in a list"
    )]
    let place = ((sorted.len() as f64 - 1.0) * share).round() as usize;
    sorted.get(place).copied().unwrap_or(f64::NAN)
}
