//! The verdict: the broken link, its certainty and the rule that matched.

use crate::chain::{Link, Stage};
use crate::reason::Reason;
use crate::rule_id::RuleId;

/// Certainty of a verdict. An undecided verdict has [`Link::Unknown`]; there is no third degree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Certainty {
    /// The evidence allows no other explanation.
    Certain,
    /// The evidence also fits another link, but rarely.
    Likely,
}

impl Certainty {
    /// The value of the `certainty` label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Certain => "certain",
            Self::Likely => "likely",
        }
    }
}

/// Side of the gateway on which the upstream link is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The backend responds to other clients; only the gateway cannot reach it.
    Gateway,
    /// The backend fails for all clients.
    Origin,
}

impl Side {
    /// The value in the evidence.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Origin => "origin",
        }
    }
}

/// The verdict on a failed probe, or on a successful response that hides a broken link.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verdict {
    /// The link of the chain that broke.
    pub link: Link,
    /// What went wrong: one of [`Verdict::reasons`], or the reason that covers them all.
    pub reason: Reason,
    /// The most likely reasons that fit the evidence, most likely first.
    pub reasons: Vec<Reason>,
    /// Side of the gateway; `None` if it is unknown or does not apply.
    pub side: Option<Side>,
    /// The two machines between which the link is broken, the outer one first: names of backends, or `edge`. `None` if the
    /// side is unknown.
    pub between: Option<[String; 2]>,
    /// Whether the probe succeeded and its response hides the fault.
    pub masked: bool,
    /// Product that responded: a name from the gateway catalogue, never a header value. `None` if it is unknown.
    pub answered_by: Option<&'static str>,
    /// Stage in which the fault appeared.
    pub stage: Stage,
    /// Certainty of the verdict.
    pub certainty: Certainty,
    /// Rule that matched.
    pub rule: RuleId,
    /// Summary in plain text that can be forwarded.
    pub summary: String,
}

impl Verdict {
    /// The value of the `answered_by` label: the product, or `unknown`.
    #[must_use]
    pub const fn answered_by_label(&self) -> &'static str {
        match self.answered_by {
            Some(product) => product,
            None => "unknown",
        }
    }
}
