//! What the exporter refuses, and why.

use super::{Check, ProbeFailed};
use glassbox_verdict::reason::Reason;

/// Why the exporter refuses a target, a certificate, a redirect, or the content of a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// The reason of the failed probe, from the closed list.
    pub reason: Reason,
    /// The explanation, for people.
    pub message: String,
}

impl Refusal {
    /// A refusal for this reason.
    #[must_use]
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
        }
    }

    /// The prober cannot probe the target.
    #[must_use]
    pub fn of_target(message: impl Into<String>) -> Self {
        Self::new(Reason::LocalTargetInvalid, message)
    }

    /// The module's file, or a value from it, cannot be used.
    #[must_use]
    pub fn of_file(message: impl Into<String>) -> Self {
        Self::new(Reason::LocalFileUnreadable, message)
    }

    /// The module's credentials cannot be used, or the token server does not grant a token.
    #[must_use]
    pub fn of_credentials(message: impl Into<String>) -> Self {
        Self::new(Reason::LocalCredentials, message)
    }
}

impl Check {
    /// Fails the probe with what was refused.
    pub fn refuse(&mut self, refusal: Refusal) -> ProbeFailed {
        self.fail(refusal.reason, refusal.message)
    }
}
