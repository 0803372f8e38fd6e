//! What one probe knows from earlier probes of the same key: baseline, recent investigation, diagnostics that are due.

use crate::baseline::Baseline;
use crate::investigation::Investigation;
use crate::reason::Reason;
use crate::report::Report;
use std::sync::Arc;
use std::time::Duration;

/// What earlier probes of the same key left behind, and what this one may therefore ask.
#[derive(Clone, Debug, Default)]
pub struct PreviousProbes {
    /// What its answers usually look like.
    pub baseline: Baseline,
    /// An investigation so young that it stands for a new one.
    pub recent: Option<RecentInvestigation>,
    /// Whether the backends were asked within the last seconds.
    pub asked_directly_lately: bool,
    /// What may be asked although nothing new calls for it.
    pub due: DueDiagnostics,
    /// The backends that said something within the last hour.
    pub answered: Vec<String>,
    /// The other keys of this process all fail at resolve or connect, and no control tells otherwise.
    pub outage_detected: bool,
}

/// An investigation of the last seconds.
#[derive(Clone, Debug)]
pub struct RecentInvestigation {
    /// How the edge failed then.
    pub sign: Option<FailureSignature>,
    /// Whether it also replaces the investigation of a different failure: two were made within a short time.
    pub for_any: bool,
    /// Timeout of the probe that made it.
    pub timeout: Duration,
    /// What was found; `None` where the history has dropped it since.
    pub found: Option<Arc<Investigation>>,
}

impl RecentInvestigation {
    /// Whether a probe with this `timeout` reuses it after a failure with this signature.
    #[must_use]
    pub fn serves(&self, sign: Option<FailureSignature>, timeout: Duration) -> bool {
        self.had_time_enough_for(timeout) && (self.sign == sign || (self.for_any && sign.is_some()))
    }

    /// A request that timed out under a short deadline proves nothing for a probe that would have waited longer.
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

/// Whose turn it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DueDiagnostics {
    /// The backends, although the edge is well.
    pub direct_requests: bool,
    /// The edge past its caches, although it is well.
    pub bypass: bool,
    /// The edge, once more, what it refuses.
    pub reference: bool,
}

impl PreviousProbes {
    /// Of a key that was never probed before.
    #[must_use]
    pub fn first_probe() -> Self {
        Self {
            due: DueDiagnostics {
                direct_requests: true,
                bypass: false,
                reference: true,
            },
            ..Self::default()
        }
    }
}

/// How an edge failed, to tell one failure from another: its reason, and the status if it is one.
pub type FailureSignature = (Reason, Option<u16>);

/// How an edge failed; `None` for one that did not.
#[must_use]
pub fn sign(report: &Report) -> Option<FailureSignature> {
    let fault = report.fault.as_ref()?;
    Some((fault.reason, report.final_reply().map(|reply| reply.status)))
}
