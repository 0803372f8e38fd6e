//! What the exporter remembers of one target between probes: baseline, latest outcomes, and when diagnostics last ran.

use crate::baseline::Baseline;
use crate::chain::Link;
use crate::evidence_id::EvidenceId;
use crate::investigation::Investigation;
use crate::previous_probes::{DueDiagnostics, FailureSignature, PreviousProbes, RecentInvestigation, sign};
use crate::probe::Finding;
use crate::probers::When;
use crate::reason::Reason;
use crate::report::Report;
use crate::verdict::Verdict;
use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// An edge that fails in one way is investigated so often, at most.
const INVESTIGATE: Duration = Duration::from_secs(10);

/// Backends of a healthy edge are asked so often.
const DIRECT_REQUESTS: Duration = Duration::from_mins(10);

/// The edge is asked what it refuses so often, at most.
const REFERENCE: Duration = Duration::from_hours(1);

/// A backend that answered within this time is reachable from here: its silence is an answer.
const ANSWERED: Duration = Duration::from_hours(1);

/// The memory of one key.
#[derive(Debug, Default)]
pub struct TargetState {
    /// When a scrape without a lease last asked for the key.
    pub scraped: Option<Instant>,
    /// What came of the latest probes, the oldest first.
    pub recent: Vec<PastOutcome>,
    /// The latest of them.
    pub latest: Option<LatestProbe>,
    baseline: Baseline,
    probes: u32,
    inquiries: Option<Box<DiagnosticsHistory>>,
    /// The last good answer hid a broken link: that is looked at until it no longer does.
    masked: bool,
}

/// What was asked beside the probes, and when. Most keys have none.
#[derive(Debug, Default)]
struct DiagnosticsHistory {
    /// When the edge's failure was investigated last, and what came of it, as long as the history keeps it.
    investigated: Option<LastInvestigation>,
    direct: Option<Instant>,
    referenced: Option<Instant>,
    /// The backends that said something, by their places.
    answered: HashMap<String, Instant>,
}

/// What came of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PastOutcome {
    /// The link that is blamed; none where all is well.
    pub link: Option<Link>,
    /// The answer was good and hides that.
    pub masked: bool,
}

/// The latest probe of a key.
#[derive(Clone, Copy, Debug)]
pub struct LatestProbe {
    /// Its evidence, which may be kept no longer.
    pub evidence: EvidenceId,
    /// When it ended.
    pub at: Instant,
    /// What it blames its link for.
    pub reason: Option<Reason>,
}

/// Outcomes of a key that are remembered.
pub const RECENT: usize = 40;

#[derive(Debug)]
struct LastInvestigation {
    at: Instant,
    /// How the edge failed.
    sign: Option<FailureSignature>,
    /// It came soon after another, because the edge failed in another way.
    out_of_turn: bool,
    /// Timeout of the probe that made it.
    timeout: Duration,
    found: Weak<Investigation>,
}

impl TargetState {
    /// What the next probe may know and ask.
    #[must_use]
    pub fn previous(&self, bypass: When, now: Instant) -> PreviousProbes {
        let within = |at: Instant, time: Duration| now.saturating_duration_since(at) < time;
        let asked = self.inquiries.as_deref();
        let asked_directly_within = |time| (asked.and_then(|asked| asked.direct)).is_some_and(|at| within(at, time));
        let referenced = asked.and_then(|asked| asked.referenced);
        let recent = asked
            .and_then(|asked| asked.investigated.as_ref())
            .filter(|last| within(last.at, INVESTIGATE));
        let answered = asked.into_iter().flat_map(|asked| &asked.answered);
        PreviousProbes {
            baseline: self.baseline.clone(),
            recent: recent.map(|last| RecentInvestigation {
                sign: last.sign,
                for_any: last.out_of_turn,
                timeout: last.timeout,
                found: last.found.upgrade(),
            }),
            asked_directly_lately: asked_directly_within(INVESTIGATE),
            due: DueDiagnostics {
                direct_requests: self.masked || !asked_directly_within(DIRECT_REQUESTS),
                bypass: match bypass {
                    When::Always => true,
                    When::Every(nth) => self.masked || self.probes.is_multiple_of(nth.max(1)),
                    When::OnFailure => self.masked,
                    When::Never => false,
                },
                reference: !referenced.is_some_and(|at| within(at, REFERENCE)),
            },
            answered: answered
                .filter(|(_, at)| within(**at, ANSWERED))
                .map(|(place, _)| place.clone())
                .collect(),
            outage_detected: false,
        }
    }

    /// Takes in what a finding shows of the usual; before the history cuts it.
    pub fn learn(&mut self, finding: &Finding, now: Instant) {
        self.probes = self.probes.wrapping_add(1);
        self.masked = finding.verdict.as_ref().is_some_and(|verdict| verdict.masked);
        if self.recent.len() >= RECENT {
            self.recent.remove(0);
        }
        self.recent.push(PastOutcome {
            link: finding.verdict.as_ref().map(|verdict| verdict.link),
            masked: self.masked,
        });
        if let Some(reply) = finding.report.final_reply() {
            match &finding.verdict {
                None => self.baseline.learn_good(reply),
                Some(verdict) if !verdict.masked && verdict.rule.matches_a_gateways_page() => {
                    self.baseline.learn_gateway_response(reply);
                }
                Some(_) => {}
            }
        }
        // What stood for a new one was learned of when it was made: else nothing would ever be due again.
        if let Some(investigation) = finding.investigation.as_ref().filter(|_| !finding.reused) {
            self.learn_of_inquiry(investigation, finding.verdict.as_ref());
            self.inquiries.get_or_insert_default().note(investigation, now);
        }
    }

    fn learn_of_inquiry(&mut self, investigation: &Investigation, verdict: Option<&Verdict>) {
        if let Some(refusal) = investigation.reference.as_ref().and_then(Report::final_reply) {
            let refuses = matches!(refusal.status, 400 | 431 | 501 | 505);
            self.baseline.refused_fields = refuses.then_some(refusal.status);
            if refuses {
                self.baseline.learn_gateway_response(refusal);
            }
        }
        // What a backend is, is not what the edge is.
        let of_edge = |verdict: &&Verdict| {
            verdict.answered_by != "unknown" && !verdict.masked && verdict.rule.identifies_the_edge()
        };
        if let Some(verdict) = verdict.filter(of_edge) {
            self.baseline.learn_product(verdict.answered_by);
        }
    }

    /// Takes note of an investigation that the history keeps, so that it need not be made again at once.
    pub fn remember(&mut self, finding: &Finding, now: Instant) {
        let Some(investigation) = &finding.investigation else {
            return;
        };
        if !finding.reused && finding.verdict.is_some() {
            let asked = self.inquiries.get_or_insert_default();
            let last = asked.investigated.as_ref();
            let out_of_turn = last.is_some_and(|last| now.saturating_duration_since(last.at) < INVESTIGATE);
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
    /// Takes note of what was asked now, and who answered.
    fn note(&mut self, investigation: &Investigation, now: Instant) {
        if investigation.reference.is_some() {
            self.referenced = Some(now);
        }
        if !investigation.backends.is_empty() {
            self.direct = Some(now);
        }
        for direct in &investigation.backends {
            if direct.report.exchanges.iter().any(|exchange| exchange.local.is_some()) {
                self.answered.insert(direct.backend.place(), now);
            }
        }
        self.answered
            .retain(|_, at| now.saturating_duration_since(*at) < ANSWERED);
    }
}
