//! Derives a verdict from the facts of a probe: in an ordered table of rules, the first that matches decides.
//! `docs/verdicts.md` is generated from this table, and a test compares the two.

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
use crate::host_port::Host;
use crate::investigation::{Investigation, Vantage};
use crate::outcomes::EarlierOutcomes;
use crate::reason::{Reason, ReasonFamily};
use crate::report::{Exchange, Report};
use crate::rule_id::RuleId;
use crate::verdict::{Certainty, Side, Verdict};
use case::Case;

/// Maximum number of reasons in a verdict, most likely first. The reason in the label also covers the omitted reasons.
const MOST_REASONS: usize = 3;

/// The input of the attribution: the report of a probe, and everything else that is known.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Facts<'a> {
    /// Report of the probe itself.
    pub edge: &'a Report,
    /// Results of the diagnostics.
    pub diagnostics: Option<&'a Investigation>,
    /// Baseline of the key from earlier probes.
    pub baseline: &'a Baseline,
    /// Control results.
    pub vantage: Option<&'a Vantage>,
    /// Outcomes of earlier probes of the same target.
    pub earlier: Option<&'a EarlierOutcomes>,
}

impl<'a> Facts<'a> {
    /// Only the report of a probe.
    #[must_use]
    pub const fn new(edge: &'a Report) -> Self {
        const EMPTY: &Baseline = &Baseline::EMPTY;
        Self {
            edge,
            diagnostics: None,
            baseline: EMPTY,
            vantage: None,
            earlier: None,
        }
    }

    /// Adds the results of the diagnostics.
    #[must_use]
    pub const fn with_diagnostics(self, diagnostics: Option<&'a Investigation>) -> Self {
        Self { diagnostics, ..self }
    }

    /// Adds what is known from earlier probes of the same target.
    #[must_use]
    pub const fn with_baseline(self, baseline: &'a Baseline) -> Self {
        Self { baseline, ..self }
    }

    /// Adds the results of the controls.
    #[must_use]
    pub const fn with_vantage(self, vantage: Option<&'a Vantage>) -> Self {
        Self { vantage, ..self }
    }

    /// Adds how often the requests of earlier probes failed.
    #[must_use]
    pub const fn with_earlier(self, earlier: Option<&'a EarlierOutcomes>) -> Self {
        Self { earlier, ..self }
    }

    fn bypass(&self) -> Option<&'a Report> {
        self.diagnostics?.bypass()
    }
}

/// One row of the decision table.
#[derive(Debug)]
#[non_exhaustive]
pub struct AttributionRule {
    /// Identifier of the rule. The evidence shows its name.
    pub id: RuleId,
    /// Description: when the rule matches and which link it names.
    pub when: &'static str,
    /// Known blind spots; empty if there are none.
    pub blind: &'static str,
    applies: fn(&Case<'_>) -> Option<Attribution>,
}

/// Result of a rule that matches.
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

    fn answered_by(self, product: Option<&'static str>) -> Self {
        Self {
            answered_by: product,
            ..self
        }
    }

    /// Sets the side. Side `gateway` is never certain: only a check of the backend's bytes proves that the gateway
    /// rejects a healthy response.
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

/// Attributes the result of a probe. Each failed probe gets one verdict. A successful probe gets one only if it hides a
/// broken link.
#[must_use]
pub fn attribute(facts: &Facts<'_>) -> Option<Verdict> {
    // The target's backends imply nothing about a different host to which a redirect led.
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

/// Whether the last exchange went to a different host than the first.
fn ended_elsewhere(report: &Report) -> bool {
    let host = |exchange: &Exchange| Host::of_displayed_url(&exchange.url).as_str().to_ascii_lowercase();
    let mut exchanges = report.with_target();
    let first = exchanges.next();
    exchanges.last().is_some_and(|last| first.map(host) != Some(host(last)))
}

/// The verdict on a failed request that bypassed caches, masked by the probe's successful response.
fn behind_the_cache(facts: &Facts<'_>) -> Option<Verdict> {
    let fault = |report: &Report| report.fault.clone();
    let bypass = facts.bypass().filter(|bypass| {
        // An application may reject an unknown query parameter.
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
        answered_by,
        between: backend_conditions::between(case, attribution.side),
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
