//! One probe, from an aim to a finding.

use crate::attribution::attribute;
use crate::check::Check;
use crate::probers::{Aim, Module};
use crate::reason::Reason;
use crate::report::Report;
use crate::verdict::Verdict;
use std::sync::Arc;
use std::time::Duration;

/// A probe to run.
#[derive(Clone, Debug)]
pub struct Probe {
    /// How to probe.
    pub module: Arc<Module>,
    /// What to probe.
    pub aim: Aim,
    /// The time it gets.
    pub timeout: Duration,
}

/// What a probe found, and the judgment on it.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The module that ran.
    pub module: Arc<Module>,
    /// What it aimed at.
    pub aim: Aim,
    /// The facts.
    pub report: Report,
    /// The judgment: none for a successful probe, exactly one for a failed one.
    pub verdict: Option<Verdict>,
}

/// The exporter itself failed: this was no attempt, and says nothing about the target.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {detail}", reason.meaning())]
pub struct OwnFault {
    /// Which shortage.
    pub reason: Reason,
    /// The particulars.
    pub detail: String,
}

impl Probe {
    /// Runs it once.
    ///
    /// # Errors
    /// When the exporter itself had no means to probe.
    pub async fn once(self) -> Result<Finding, OwnFault> {
        let mut check = Check::new(self.timeout);
        // The outcome stands in the report: a probe that stopped has its fault there.
        let _stopped = self.module.prober.probe(&mut check, &self.aim).await;
        let report = check.finish();
        if let Some(fault) = report.fault.as_ref().filter(|fault| fault.reason.is_own_fault()) {
            return Err(OwnFault {
                reason: fault.reason,
                detail: fault.detail.clone(),
            });
        }
        let verdict = attribute(&report);
        Ok(Finding {
            module: self.module,
            aim: self.aim,
            report,
            verdict,
        })
    }
}
