//! From what was seen to a verdict: an ordered table of rules; the first that speaks decides. `docs/verdicts.md` is this
//! table for people, and a test holds the two together.

mod case;
mod looks;
mod rules;
mod sentence;

pub use rules::RULES;

use crate::baseline::Baseline;
use crate::chain::{Link, Stage};
use crate::investigation::{Drilled, Investigation, Vantage};
use crate::reason::Reason;
use crate::report::Report;
use crate::verdict::{Certainty, Side, Verdict};
use case::Case;

/// Reasons that a verdict lists, at most: the likeliest. The umbrella in the label stands for the rest, too.
const MOST_REASONS: usize = 3;

/// Everything that a judgment may look at.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The probe itself.
    pub front: &'a Report,
    /// What was asked beside it.
    pub beside: Option<&'a Investigation>,
    /// What is known of the key from before.
    pub baseline: &'a Baseline,
    /// What the controls say of our own side.
    pub vantage: Option<&'a Vantage>,
}

impl<'a> Facts<'a> {
    /// The hops that were asked, inward.
    fn hops(&self) -> impl Iterator<Item = &'a Drilled> + use<'a> {
        self.beside.into_iter().flat_map(|beside| &beside.hops)
    }

    fn bypass(&self) -> Option<&'a Report> {
        self.beside?.bypass.as_ref()
    }
}

/// One row of the decision table.
#[derive(Debug)]
pub struct Rule {
    /// The name that the evidence shows.
    pub name: &'static str,
    /// When the rule speaks and what it then blames, in words.
    pub when: &'static str,
    /// Where it is blind, in words; empty where it is not.
    pub blind: &'static str,
    /// Whether it judges good answers: what it finds is masked by one.
    pub masked: bool,
    speaks: fn(&Case<'_>) -> Option<Blame>,
}

/// What a rule says.
struct Blame {
    link: Link,
    certainty: Certainty,
    reasons: Vec<Reason>,
    side: Option<Side>,
    answered_by: Option<&'static str>,
}

impl Blame {
    fn on(link: Link, certainty: Certainty, reason: Reason) -> Self {
        Self::any_of(link, certainty, &[reason])
    }

    fn any_of(link: Link, certainty: Certainty, reasons: &[Reason]) -> Self {
        Self {
            link,
            certainty,
            reasons: reasons.to_vec(),
            side: None,
            answered_by: None,
        }
    }

    fn answered_by(self, name: &'static str) -> Self {
        Self {
            answered_by: Some(name),
            ..self
        }
    }

    fn side(self, side: Side) -> Self {
        Self {
            side: Some(side),
            ..self
        }
    }
}

/// Judges a probe: exactly one verdict for a failed one; for a good one none, unless it hides a broken link.
#[must_use]
pub fn attribute(facts: &Facts<'_>) -> Option<Verdict> {
    let case = Case::new(facts, facts.front);
    let masked = facts.front.succeeded();
    let mut rules = RULES.iter().filter(|rule| rule.masked == masked);
    let Some((rule, blame)) = rules.find_map(|rule| Some((rule, (rule.speaks)(&case)?))) else {
        return if masked { behind_the_cache(facts) } else { None };
    };
    Some(verdict(&case, rule.name, blame))
}

/// A good answer before one that is not, asked past the caches: what is true of the second is masked by the first.
fn behind_the_cache(facts: &Facts<'_>) -> Option<Verdict> {
    let bypass = facts.bypass().filter(|bypass| !bypass.succeeded())?;
    let case = Case::new(facts, bypass);
    let mut rules = RULES.iter().filter(|rule| !rule.masked);
    let (rule, blame) = rules.find_map(|rule| Some((rule, (rule.speaks)(&case)?)))?;
    Some(verdict(&case, rule.name, blame))
}

fn verdict(case: &Case<'_>, rule: &'static str, mut blame: Blame) -> Verdict {
    let reason = Reason::umbrella(&blame.reasons);
    blame.reasons.truncate(MOST_REASONS);
    let answered_by = blame.answered_by.or(case.gateway);
    let laps = || case.report.laps().last().map(crate::ledger::Lap::stage);
    let mut verdict = Verdict {
        link: blame.link,
        reason,
        reasons: blame.reasons,
        side: blame.side,
        masked: case.facts.front.succeeded(),
        answered_by: answered_by.unwrap_or("unknown"),
        stage: case.fault().map_or_else(|| laps().unwrap_or(Stage::Resolve), |fault| fault.stage),
        certainty: blame.certainty,
        rule,
        sentence: String::new(),
    };
    verdict.sentence = sentence::of(case, &verdict);
    verdict
}
