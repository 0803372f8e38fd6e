//! What one probe knows from earlier probes of the same key: baseline, recent investigation, diagnostics that are due.

use crate::baseline::Baseline;
use crate::investigation::Investigation;
use crate::reason::Reason;
use crate::report::Report;
use std::sync::Arc;

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
    /// Whether it stands for a new one although the edge now fails in another way: that was asked for lately, too.
    pub for_any: bool,
    /// What was found; `None` where the history has dropped it since.
    pub found: Option<Arc<Investigation>>,
}

impl RecentInvestigation {
    /// Whether it stands for a new one, for an edge that now did so.
    #[must_use]
    pub fn serves(&self, sign: Option<FailureSignature>) -> bool {
        self.sign == sign || (self.for_any && sign.is_some())
    }

    /// Whether it will stand for a new one, should the edge that is waited for never answer.
    #[must_use]
    pub fn serves_silence(&self) -> bool {
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
        self.for_any || self.sign.is_some_and(waited)
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
