//! What is counted of the bounds that the exporter keeps: of what it does not dial, does not begin, and does not hold.

use super::maker::Maker;
use crate::check::Denials;
use crate::policy::Rule;
use prometheus::{IntCounterVec, IntGauge};

/// Bounds that were met.
#[derive(Debug)]
pub(super) struct Bounds {
    denied: IntCounterVec,
    pub unfenced: IntGauge,
}

impl Bounds {
    pub fn new(make: &Maker<'_>) -> Self {
        let bounds = Self {
            denied: make.counters(
                "glassbox_denied_targets_total",
                "Places that were not dialled, by the rule of the policy that denies them",
                &["rule"],
            ),
            unfenced: make.gauge(
                "glassbox_modules_unfenced",
                "Modules that send a secret to whatever target they are given: they have no allowed_targets",
            ),
        };
        for rule in Rule::ALL {
            bounds.denied.with_label_values(&[rule.as_str()]);
        }
        bounds
    }

    /// Brings up to date what is counted elsewhere.
    pub fn take_over(&self, denials: &Denials) {
        for (rule, denied) in denials.all() {
            let counter = self.denied.with_label_values(&[rule.as_str()]);
            counter.inc_by(denied.saturating_sub(counter.get()));
        }
    }
}
