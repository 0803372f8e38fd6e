//! State of one target between probes: baseline, latest outcomes, and the times of the latest diagnostics.

use crate::timeline::{Incident, ProbeFacts, ProbeMark, observe};
use glassbox_probe::evidence_id::EvidenceId;
use glassbox_probe::previous_probes::{
    FailureSignature, OUTDATED, OlderInvestigation, PreviousProbes, REUSE, RecentInvestigation, sign,
};
use glassbox_probe::probe::Finding;
use glassbox_verdict::baseline::Baseline;
use glassbox_verdict::investigation::{DiagnosticKind, Investigation};
use glassbox_verdict::outcomes::{EarlierOutcomes, Outcomes};
use glassbox_verdict::reason::Reason;
use glassbox_verdict::report::Report;
use glassbox_verdict::verdict::Verdict;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// Time after a connection to a backend during which the backend counts as reachable from the exporter, so that its
/// silence is evidence.
const ANSWERED: Duration = Duration::from_hours(1);

/// State of one key.
#[derive(Debug, Default)]
pub struct TargetState {
    /// Time of the latest scrape of the key without a lease.
    pub scraped: Option<Instant>,
    /// The latest probes, oldest first.
    pub recent: Vec<ProbeMark>,
    /// The latest incidents, oldest first.
    pub incidents: Vec<Incident>,
    /// The latest healthy probe.
    pub healthy: Option<(ProbeMark, ProbeFacts)>,
    /// The latest probe.
    pub latest: Option<LatestProbe>,
    baseline: Baseline,
    probes: u32,
    diagnostics: Option<Box<DiagnosticsHistory>>,
    /// Whether the latest successful response hid a broken link. Diagnostics are then due with every probe.
    masked: bool,
    /// Time of the latest success that was selected for the evidence on disk.
    stored_success: Option<Instant>,
}

/// Why a finding is stored on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StorageReason {
    /// A failure that differs from the previous probe of its key.
    Failure,
    /// A failure with the same reason as the previous probe of its key.
    RepeatedFailure,
    /// The first success after a failure.
    Recovery,
    /// One success per key and hour.
    Success,
}

/// Minimum time between two stored successes of a key.
pub const SUCCESS_EVERY: Duration = Duration::from_hours(1);

/// Times and results of the latest diagnostics. Most keys have none.
#[derive(Debug, Default)]
struct DiagnosticsHistory {
    /// The latest investigation of a failure, with its result for as long as the history keeps it.
    investigated: Option<LastInvestigation>,
    /// Time of the latest run of each diagnostic.
    runs: Vec<(DiagnosticKind, Instant)>,
    /// Time of the latest connection to each backend, by the backend's name and address.
    answered: HashMap<String, Instant>,
    /// Outcomes of the latest probes since a failure, oldest first.
    outcomes: VecDeque<(Instant, Outcomes)>,
}

/// The latest probe of a key.
#[derive(Clone, Copy, Debug)]
pub struct LatestProbe {
    /// Identifier of the evidence, which the history may have discarded.
    pub evidence: EvidenceId,
    /// Time of the end of the probe.
    pub at: Instant,
    /// Reason of the verdict.
    pub reason: Option<Reason>,
}

/// Maximum number of stored marks of a key.
pub const RECENT: usize = 40;

#[derive(Debug)]
struct LastInvestigation {
    at: Instant,
    /// Signature of the edge's failure.
    sign: Option<FailureSignature>,
    /// Whether it followed another investigation early because the edge failed in a different way.
    out_of_turn: bool,
    /// Timeout of the investigating probe.
    timeout: Duration,
    found: Weak<Investigation>,
}

impl TargetState {
    /// Facts of the previous probes for the next one, and the diagnostics that are due.
    #[must_use]
    pub fn previous(&self, now: Instant) -> PreviousProbes {
        let age = |at: Instant| now.saturating_duration_since(at);
        let mut previous = PreviousProbes {
            baseline: self.baseline.clone(),
            probes: self.probes,
            masked: self.masked,
            ..PreviousProbes::default()
        };
        let Some(known) = self.diagnostics.as_deref() else {
            return previous;
        };
        let recent = known.investigated.as_ref().filter(|last| age(last.at) < REUSE);
        previous.recent = recent.map(|last| RecentInvestigation {
            sign: last.sign,
            for_any: last.out_of_turn,
            timeout: last.timeout,
            found: last.found.upgrade(),
        });
        let older = known.investigated.as_ref().filter(|last| age(last.at) < OUTDATED);
        previous.older = older.and_then(|last| {
            let found = last.found.upgrade()?;
            Some(OlderInvestigation { sign: last.sign, found })
        });
        previous.last_runs = known.runs.iter().map(|(kind, at)| (*kind, age(*at))).collect();
        let outcomes = known.outcomes.iter().rev().filter(|(at, _)| age(*at) < OUTDATED);
        previous.earlier =
            (!known.outcomes.is_empty()).then(|| EarlierOutcomes::of(outcomes.map(|(_, outcomes)| outcomes)));
        let answered = known.answered.iter().filter(|(_, at)| age(**at) < ANSWERED);
        previous.answered = answered.map(|(place, _)| place.clone()).collect();
        previous
    }

    /// Updates the baseline, the marks and the incidents with a finding. Runs before the history shortens the finding.
    pub fn learn(&mut self, finding: &Finding, id: EvidenceId, now: Instant) {
        self.probes = self.probes.wrapping_add(1);
        let masked = finding.verdict.as_ref().is_some_and(|verdict| verdict.masked);
        // A diagnostic that the budget refused does not show that the broken link is healthy again.
        let refused = finding.investigation.as_ref().is_some_and(|found| found.any_refused());
        self.masked = masked || (self.masked && refused && finding.report.succeeded());
        self.mark(finding, id);
        if let Some(reply) = finding.report.final_reply() {
            match &finding.verdict {
                None => self.baseline.learn_good(reply),
                Some(verdict) if !verdict.masked && verdict.rule.matches_a_gateways_page() => {
                    self.baseline.learn_gateway_response(reply);
                }
                Some(_) => {}
            }
        }
        // A reused investigation does not count again. Otherwise, no diagnostics would ever become due.
        if let Some(investigation) = finding.investigation.as_ref().filter(|_| !finding.reused) {
            self.learn_of_diagnostics(investigation, finding.verdict.as_ref());
            self.diagnostics.get_or_insert_default().note(investigation, now);
        }
        if let Some(known) = &mut self.diagnostics {
            known.count(finding, now);
        }
    }

    fn mark(&mut self, finding: &Finding, id: EvidenceId) {
        let mark = ProbeMark::of(finding, id);
        observe(&mut self.incidents, mark, self.healthy.map(|(healthy, _)| healthy));
        if mark.link.is_none() {
            self.healthy = Some((mark, ProbeFacts::of(finding)));
        }
        if self.recent.len() >= RECENT {
            self.recent.remove(0);
        } else if self.recent.len() == self.recent.capacity() {
            // Doubling the capacity would waste memory, because thousands of keys have a full list.
            self.recent.reserve_exact(RECENT / 4);
        }
        self.recent.push(mark);
    }

    fn learn_of_diagnostics(&mut self, investigation: &Investigation, verdict: Option<&Verdict>) {
        if let Some(refusal) = investigation.reference().and_then(Report::final_reply) {
            let refuses = matches!(refusal.status, 400 | 431 | 501 | 505);
            self.baseline.refused_fields = refuses.then_some(refusal.status);
            if refuses {
                self.baseline.learn_gateway_response(refusal);
            }
        }
        // Only a rule that identifies the edge reveals its product. Other rules may identify the product of a backend.
        let of_edge = |verdict: &&Verdict| !verdict.masked && verdict.rule.identifies_the_edge();
        if let Some(product) = verdict.filter(of_edge).and_then(|verdict| verdict.answered_by) {
            self.baseline.learn_product(product);
        }
    }

    /// Returns why the latest finding is stored on disk, or `None` if it is not. `previous` is the probe before it, and
    /// `reason` is the reason of its verdict.
    pub fn select_for_storage(
        &mut self,
        previous: Option<LatestProbe>,
        reason: Option<Reason>,
        now: Instant,
    ) -> Option<StorageReason> {
        let previous = previous.and_then(|probe| probe.reason);
        if reason.is_some() {
            let is_repeated = previous == reason;
            return Some(if is_repeated {
                StorageReason::RepeatedFailure
            } else {
                StorageReason::Failure
            });
        }
        let is_recent = |at: Instant| now.saturating_duration_since(at) < SUCCESS_EVERY;
        if previous.is_none() && self.stored_success.is_some_and(is_recent) {
            return None;
        }
        self.stored_success = Some(now);
        Some(if previous.is_some() {
            StorageReason::Recovery
        } else {
            StorageReason::Success
        })
    }

    /// Remembers an investigation for reuse by later probes. Only a weak reference is kept; the history owns it.
    pub fn remember(&mut self, finding: &Finding, now: Instant) {
        // If the budget refused all diagnostics, the next probe tries again.
        let Some(investigation) = finding.investigation.as_ref().filter(|found| found.any_ran()) else {
            return;
        };
        if !finding.reused && finding.verdict.is_some() {
            let asked = self.diagnostics.get_or_insert_default();
            let last = asked.investigated.as_ref();
            let out_of_turn = last.is_some_and(|last| now.saturating_duration_since(last.at) < REUSE);
            asked.investigated = Some(LastInvestigation {
                at: now,
                sign: sign(&finding.report),
                out_of_turn,
                timeout: finding.report.timeout,
                found: Arc::downgrade(investigation),
            });
        }
    }
}

impl DiagnosticsHistory {
    /// Counts the outcomes of a finding, from the first failure of the last minutes on. A reused investigation does not
    /// count again.
    fn count(&mut self, finding: &Finding, now: Instant) {
        let is_old = |(at, _): &(Instant, Outcomes)| now.saturating_duration_since(*at) >= OUTDATED;
        while self.outcomes.len() >= RECENT || self.outcomes.front().is_some_and(is_old) {
            self.outcomes.pop_front();
        }
        if finding.report.failed_locally() || (self.outcomes.is_empty() && finding.report.succeeded()) {
            return;
        }
        let investigation = finding.investigation.as_deref().filter(|_| !finding.reused);
        self.outcomes
            .push_back((now, Outcomes::of(&finding.report, investigation)));
    }

    /// Stores the times of diagnostics, and which backends accepted a connection.
    fn note(&mut self, investigation: &Investigation, now: Instant) {
        let ran = investigation
            .results()
            .iter()
            .filter(|result| result.outcome.refusal().is_none());
        for kind in ran.map(|result| result.kind) {
            self.runs.retain(|(known, _)| *known != kind);
            self.runs.push((kind, now));
        }
        for direct in investigation.backends() {
            if direct.report.exchanges.iter().any(|exchange| exchange.local.is_some()) {
                self.answered.insert(direct.backend.place(), now);
            }
        }
        self.answered
            .retain(|_, at| now.saturating_duration_since(*at) < ANSWERED);
    }
}

#[cfg(test)]
mod tests {
    use super::{LatestProbe, SUCCESS_EVERY, StorageReason, TargetState};
    use glassbox_probe::evidence_id::EvidenceId;
    use glassbox_verdict::reason::Reason;
    use std::time::{Duration, Instant};

    #[test]
    fn failures_recoveries_and_one_success_an_hour_are_stored() {
        let (refused, reset) = (Some(Reason::TcpRefused), Some(Reason::TcpReset));
        let minute = Duration::from_mins(1);
        let start = Instant::now();
        let mut state = TargetState::default();
        let mut previous = None;
        for (after, reason, stored) in [
            (Duration::ZERO, None, Some(StorageReason::Success)),
            (minute, None, None),
            (2 * minute, refused, Some(StorageReason::Failure)),
            (3 * minute, refused, Some(StorageReason::RepeatedFailure)),
            (4 * minute, reset, Some(StorageReason::Failure)),
            (5 * minute, None, Some(StorageReason::Recovery)),
            (6 * minute, None, None),
            (4 * minute + SUCCESS_EVERY, None, None),
            (5 * minute + SUCCESS_EVERY, None, Some(StorageReason::Success)),
        ] {
            let at = start + after;
            assert_eq!(state.select_for_storage(previous, reason, at), stored, "{after:?}");
            previous = Some(LatestProbe {
                evidence: EvidenceId { process: 1, number: 1 },
                at,
                reason,
            });
        }
    }
}
