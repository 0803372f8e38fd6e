//! What one probe knows from those before it.

use crate::baseline::Baseline;
use crate::investigation::Investigation;
use crate::reason::Reason;
use crate::report::Report;
use std::sync::Arc;

/// What earlier probes of the same key left behind, and what this one may therefore ask.
#[derive(Clone, Debug, Default)]
pub struct Past {
    /// What its answers usually look like.
    pub baseline: Baseline,
    /// An investigation so young that it stands for a new one.
    pub recent: Option<Recent>,
    /// Whether the hops were asked within the last seconds.
    pub drilled_lately: bool,
    /// What may be asked although nothing new calls for it.
    pub due: Due,
    /// The hops that said something within the last hour.
    pub answered: Vec<String>,
    /// The other keys of this process all fail at resolve or connect, and no control tells otherwise.
    pub quorum_failed: bool,
}

/// An investigation of the last seconds.
#[derive(Clone, Debug)]
pub struct Recent {
    /// How the front failed then.
    pub sign: Option<Sign>,
    /// Whether it stands for a new one although the front now fails in another way: that was asked for lately, too.
    pub for_any: bool,
    /// What was found; `None` where the history has dropped it since.
    pub found: Option<Arc<Investigation>>,
}

impl Recent {
    /// Whether it stands for a new one, for a front that now did so.
    #[must_use]
    pub fn serves(&self, sign: Option<Sign>) -> bool {
        self.sign == sign || (self.for_any && sign.is_some())
    }

    /// Whether it will stand for a new one, should the front that is waited for never answer.
    #[must_use]
    pub fn serves_silence(&self) -> bool {
        let waited = |(reason, _): Sign| {
            matches!(
                reason,
                Reason::HttpTimedOutWaiting
                    | Reason::HttpTimedOutMidBody
                    | Reason::TcpTimedOut
                    | Reason::TcpSilent
                    | Reason::TlsTimedOut
            )
        };
        self.for_any || self.sign.is_some_and(waited)
    }
}

/// Whose turn it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// The hops, although the front is well.
    pub drill: bool,
    /// The front past its caches, although it is well.
    pub bypass: bool,
    /// The edge, once more, what it refuses.
    pub reference: bool,
}

impl Past {
    /// Of a key that was never probed before.
    #[must_use]
    pub fn first_sight() -> Self {
        Self {
            due: Due {
                drill: true,
                bypass: false,
                reference: true,
            },
            ..Self::default()
        }
    }
}

/// How a front failed, to tell one failure from another: its reason, and the status if it is one.
pub type Sign = (Reason, Option<u16>);

/// How a front failed; `None` for one that did not.
#[must_use]
pub fn sign(report: &Report) -> Option<Sign> {
    let fault = report.fault.as_ref()?;
    Some((fault.reason, report.final_reply().map(|reply| reply.status)))
}
