//! Whom to blame, how surely, and by which rule.

use crate::chain::{Link, Stage};
use crate::reason::Reason;
use crate::rule_id::RuleId;

/// How sure a verdict is. What is not decided is [`Link::Unknown`], not a third degree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Certainty {
    /// The evidence allows no other reading.
    Certain,
    /// The evidence fits another link too, but seldom.
    Likely,
}

impl Certainty {
    /// The value of the label `certainty`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Certain => "certain",
            Self::Likely => "likely",
        }
    }
}

/// On which side of the gateway a link behind it is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// What stands behind answers others: only the gateway cannot get through.
    Gateway,
    /// What stands behind fails for everybody.
    Origin,
}

impl Side {
    /// The word in the evidence.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Origin => "origin",
        }
    }
}

/// The judgment on a failed probe, or on a good answer that hides a broken link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The link of the chain that broke.
    pub link: Link,
    /// What went wrong: one of [`Verdict::reasons`], or the umbrella over them.
    pub reason: Reason,
    /// The likeliest of those that fit the evidence, the likeliest first.
    pub reasons: Vec<Reason>,
    /// On which side of the gateway; `None` where that is not known, or not the question.
    pub side: Option<Side>,
    /// The answer was good and hides this: the probe succeeded.
    pub masked: bool,
    /// Who answered: a name of the gateway catalogue, or `unknown`. Never a header.
    pub answered_by: &'static str,
    /// The stage in which it showed.
    pub stage: Stage,
    /// How sure this is.
    pub certainty: Certainty,
    /// The rule that matched.
    pub rule: RuleId,
    /// The verdict in words that a person can forward.
    pub summary: String,
}
