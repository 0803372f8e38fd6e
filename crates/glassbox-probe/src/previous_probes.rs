//! The state from earlier probes of the same key: the baseline, and when diagnostics ran.

use crate::budget::TargetBudget;
use glassbox_verdict::baseline::Baseline;
use glassbox_verdict::investigation::{DiagnosticKind, Investigation};
use glassbox_verdict::outcomes::EarlierOutcomes;
use glassbox_verdict::reason::Reason;
use glassbox_verdict::report::Report;
use std::sync::Arc;
use std::time::Duration;

/// Time during which an investigation of a failure is reused.
pub const REUSE: Duration = Duration::from_secs(10);

/// Time after which the results of earlier probes no longer count.
pub const OUTDATED: Duration = Duration::from_mins(10);

/// State from earlier probes of the same key. The default is that of a first probe.
#[derive(Clone, Debug, Default)]
pub struct PreviousProbes {
    /// Baseline of the responses.
    pub baseline: Baseline,
    /// An investigation recent enough to be reused.
    pub recent: Option<RecentInvestigation>,
    /// An investigation of the same outage, too old to be reused as a whole.
    pub older: Option<OlderInvestigation>,
    /// The diagnostics that ran, and how long ago each ran last.
    pub last_runs: Vec<(DiagnosticKind, Duration)>,
    /// Number of earlier probes. It wraps.
    pub probes: u32,
    /// Whether the last successful response hid a broken link. Diagnostics then run with every probe.
    pub masked: bool,
    /// Outcomes of the probes of the last minutes, if one of them failed.
    pub earlier: Option<EarlierOutcomes>,
    /// Names of the backends that responded within the last hour.
    pub answered: Vec<String>,
    /// Whether all other keys of this process fail at resolve or connect, and no control contradicts an outage.
    pub outage_detected: bool,
    /// Account of the requests of the diagnostics; `None` does not limit them.
    pub budget: Option<TargetBudget>,
}

/// An investigation that ran within the last seconds.
#[derive(Clone, Debug)]
pub struct RecentInvestigation {
    /// Signature of the edge's failure at that time.
    pub sign: Option<FailureSignature>,
    /// Whether it is reused even if the edge now fails differently, because it already followed another investigation
    /// early.
    pub for_any: bool,
    /// Timeout of the probe that ran it.
    pub timeout: Duration,
    /// Result; `None` if the history has dropped it since.
    pub found: Option<Arc<Investigation>>,
}

/// An earlier investigation. If a budget refuses direct requests, its results are shown with their age.
#[derive(Clone, Debug)]
pub struct OlderInvestigation {
    /// Signature of the edge's failure at that time.
    pub sign: Option<FailureSignature>,
    /// Its result.
    pub found: Arc<Investigation>,
}

impl RecentInvestigation {
    /// Whether a probe with this `timeout` reuses it after a failure with this signature.
    #[must_use]
    pub fn serves(&self, sign: Option<FailureSignature>, timeout: Duration) -> bool {
        self.had_time_enough_for(timeout) && (self.sign == sign || (self.for_any && sign.is_some()))
    }

    /// A request that timed out before a short deadline proves nothing for a probe that would have waited longer.
    fn had_time_enough_for(&self, timeout: Duration) -> bool {
        let timed_out = |investigation: &Arc<Investigation>| investigation.has_timeouts();
        timeout <= self.timeout || !self.found.as_ref().is_some_and(timed_out)
    }

    /// Whether a probe with this `timeout` reuses it if the edge never responds.
    #[must_use]
    pub fn serves_silence(&self, timeout: Duration) -> bool {
        let waited = |(reason, _): FailureSignature| {
            matches!(
                reason,
                Reason::HttpTimedOutWaiting
                    | Reason::HttpTimedOutMidBody
                    | Reason::TcpTimedOut
                    | Reason::TcpNoResponse
                    | Reason::TlsTimedOut
            )
        };
        self.had_time_enough_for(timeout) && (self.for_any || self.sign.is_some_and(waited))
    }
}

impl PreviousProbes {
    /// Whether a diagnostic ran within this time.
    #[must_use]
    pub fn ran_within(&self, kind: DiagnosticKind, time: Duration) -> bool {
        let mut runs = self.last_runs.iter();
        runs.any(|(ran, age)| *ran == kind && *age < time)
    }
}

/// Signature that distinguishes failures of an edge: the reason, and the status code if there was a response.
pub type FailureSignature = (Reason, Option<u16>);

/// Signature of the edge's failure; `None` if the probe succeeded.
#[must_use]
pub fn sign(report: &Report) -> Option<FailureSignature> {
    let fault = report.fault.as_ref()?;
    Some((fault.reason, report.final_reply().map(|reply| reply.status)))
}
