//! From what was seen to a verdict: an ordered table of rules; the first that speaks decides. `docs/verdicts.md` is this
//! table for people, and a test holds the two together.

mod asked_backend;
mod backend_conditions;
mod case;
mod conditions;
mod heuristics;
mod masked_rules;
mod module_proxy;
mod response_conditions;
mod rules;
mod summary;

pub use masked_rules::MASKS;
pub use rules::RULES;

use crate::baseline::Baseline;
use crate::chain::{Link, Stage};
use crate::investigation::{DirectRequest, Investigation, Vantage};
use crate::reason::{Reason, ReasonFamily};
use crate::report::{Exchange, Report};
use crate::rule_id::RuleId;
use crate::target::shown_host;
use crate::verdict::{Certainty, Side, Verdict};
use case::Case;

/// Reasons that a verdict lists, at most: the likeliest. The umbrella in the label stands for the rest, too.
const MOST_REASONS: usize = 3;

/// Everything that a judgment may look at.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The probe itself.
    pub edge: &'a Report,
    /// What was asked beside it.
    pub diagnostics: Option<&'a Investigation>,
    /// What is known of the key from before.
    pub baseline: &'a Baseline,
    /// What the controls say of our own side.
    pub vantage: Option<&'a Vantage>,
}

impl<'a> Facts<'a> {
    /// The backends that were asked, inward.
    fn backends(&self) -> impl Iterator<Item = &'a DirectRequest> + use<'a> {
        self.diagnostics
            .into_iter()
            .flat_map(|diagnostics| &diagnostics.backends)
    }

    fn bypass(&self) -> Option<&'a Report> {
        self.diagnostics?.bypass.as_ref()
    }
}

/// One row of the decision table.
#[derive(Debug)]
pub struct AttributionRule {
    /// Which rule it is; the evidence shows its name.
    pub id: RuleId,
    /// When the rule speaks and what it then blames, in words.
    pub when: &'static str,
    /// Where it is blind, in words; empty where it is not.
    pub blind: &'static str,
    applies: fn(&Case<'_>) -> Option<Attribution>,
}

/// What a rule says.
struct Attribution {
    link: Link,
    certainty: Certainty,
    reasons: Vec<Reason>,
    side: Option<Side>,
    answered_by: Option<&'static str>,
}

impl Attribution {
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

    /// That the gateway refuses what a healthy machine says is proven only by a check of that machine's bytes.
    fn side(self, side: Side) -> Self {
        Self {
            side: Some(side),
            certainty: match side {
                Side::Gateway => Certainty::Likely,
                Side::Origin => self.certainty,
            },
            ..self
        }
    }
}

/// Judges a probe: exactly one verdict for a failed one; for a good one none, unless it hides a broken link.
#[must_use]
pub fn attribute(facts: &Facts<'_>) -> Option<Verdict> {
    // What stands behind the target says nothing of the other host to which a redirect led.
    let facts = &Facts {
        diagnostics: facts.diagnostics.filter(|_| !ended_elsewhere(facts.edge)),
        ..*facts
    };
    let case = Case::new(facts, facts.edge);
    if facts.edge.succeeded() {
        first_to_speak(MASKS, &case).or_else(|| behind_the_cache(facts))
    } else {
        first_to_speak(RULES, &case)
    }
}

fn first_to_speak(rules: &[AttributionRule], case: &Case<'_>) -> Option<Verdict> {
    let (rule, attribution) = rules.iter().find_map(|rule| Some((rule, (rule.applies)(case)?)))?;
    Some(verdict(case, rule.id, attribution))
}

/// Whether the last exchange was with another host than the first.
fn ended_elsewhere(report: &Report) -> bool {
    let host = |exchange: &Exchange| shown_host(&exchange.url).to_ascii_lowercase();
    let mut exchanges = report.with_target();
    let first = exchanges.next();
    exchanges.last().is_some_and(|last| first.map(host) != Some(host(last)))
}

/// A good answer before one that is not, asked past the caches: what is true of the second is masked by the first.
fn behind_the_cache(facts: &Facts<'_>) -> Option<Verdict> {
    let fault = |report: &Report| report.fault.clone();
    let bypass = facts.bypass().filter(|bypass| {
        // An application may refuse a query that it does not know.
        let failed = bypass.final_reply().is_none_or(|reply| reply.status >= 500);
        failed && fault(bypass).is_some_and(|fault| !fault.at_deadline)
    })?;
    first_to_speak(RULES, &Case::new(facts, bypass))
}

fn verdict(case: &Case<'_>, rule: RuleId, mut attribution: Attribution) -> Verdict {
    if attribution.link == Link::Upstream && attribution.reasons.len() > 1 {
        attribution
            .reasons
            .retain(|reason| reason.family() == ReasonFamily::Upstream);
    }
    let reason = Reason::umbrella(&attribution.reasons);
    attribution.reasons.truncate(MOST_REASONS);
    let reached = case
        .report
        .last_exchange()
        .is_some_and(|exchange| exchange.reply.is_some() || exchange.finished(Stage::Connect));
    let answered_by = attribution.answered_by.or(case.gateway().filter(|_| reached));
    let timings = || case.report.timings().last().map(crate::stage_log::StageTiming::stage);
    let mut verdict = Verdict {
        link: attribution.link,
        reason,
        reasons: attribution.reasons,
        side: attribution.side,
        masked: case.facts.edge.succeeded(),
        answered_by: answered_by.unwrap_or("unknown"),
        stage: case
            .fault()
            .map_or_else(|| timings().unwrap_or(Stage::Resolve), |fault| fault.stage),
        certainty: attribution.certainty,
        rule,
        summary: String::new(),
    };
    verdict.summary = summary::of(case, &verdict);
    verdict
}

#[cfg(test)]
mod tests;
