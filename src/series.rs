//! What is kept of a key between probes: its histograms and counters.

mod histogram;
mod table;

pub use table::{Kept, Key, SeriesTable, TableStats};

use crate::chain::{Link, Stage};
use crate::evidence_id::EvidenceId;
use crate::metrics::{
    ATTEMPTS, Count, Exemplar, FAILURES, HTTP_RESPONSES, Level, PHASE_DURATION, PHASE_TIMEOUTS, Page, SUCCESS_DURATION,
    Value,
};
use crate::probe::Finding;
use crate::probers::Module;
use crate::report::Report;
use crate::target::Target;
use histogram::Histogram;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime};

/// The bounds of a phase, in seconds. For ever: a change would break every recording rule.
pub const PHASE_BUCKETS: [f64; 8] = [0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 5.0];

/// The bounds of a whole probe, and of every phase at the level `full`, in seconds.
pub const LONG_BUCKETS: [f64; 13] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

static PHASE_BOUNDS: LazyLock<Arc<[f64]>> = LazyLock::new(|| Arc::new(PHASE_BUCKETS));
static LONG_BOUNDS: LazyLock<Arc<[f64]>> = LazyLock::new(|| Arc::new(LONG_BUCKETS));

/// The histograms and counters of one key.
#[derive(Clone, Debug)]
pub struct Series {
    level: Level,
    /// Since when it counts.
    created: SystemTime,
    attempts: u64,
    failures: [u64; Link::ALL.len()],
    /// The last failure of each link.
    last_failures: [Option<Exemplar>; Link::ALL.len()],
    phases: Vec<Phase>,
    phase_bounds: Arc<[f64]>,
    success: Histogram,
    /// Sorted by code; [`OTHER`] stands for codes that nobody registered.
    responses: Vec<(u16, u64)>,
    counts_responses: bool,
}

/// One phase of one key.
#[derive(Clone, Debug)]
struct Phase {
    name: &'static str,
    durations: Histogram,
    timeouts: u64,
}

/// The place of unregistered status codes, which print as `other`.
const OTHER: u16 = 0;

impl Series {
    /// The series of a new key, all at 0: Prometheus cannot see a counter's first step.
    #[must_use]
    pub fn new(module: &Module, target: &Target, created: SystemTime) -> Self {
        let shape = module.prober.shape(target);
        let (phase_bounds, success_bounds) = bounds(module);
        let mut series = Self {
            level: module.metrics,
            created,
            attempts: 0,
            failures: [0; Link::ALL.len()],
            last_failures: [None; Link::ALL.len()],
            phases: Vec::new(),
            phase_bounds,
            success: Histogram::new(success_bounds, created),
            responses: shape.codes.iter().map(|code| (*code, 0)).collect(),
            counts_responses: !shape.codes.is_empty(),
        };
        for stage in shape.stages {
            series.phase(stage);
        }
        series
    }

    /// Fits the series to its module, which may have been reloaded: what it now counts exists from 0, other bounds reset
    /// the histograms, and no counter goes back.
    pub fn fit(&mut self, module: &Module, target: &Target, now: SystemTime) {
        let (phase_bounds, success_bounds) = bounds(module);
        if phase_bounds != self.phase_bounds {
            for phase in &mut self.phases {
                phase.durations = Histogram::new(phase_bounds.clone(), now);
            }
            self.phase_bounds = phase_bounds;
        }
        if success_bounds[..] != *self.success.bounds() {
            self.success = Histogram::new(success_bounds, now);
        }
        if self.level != module.metrics {
            self.level = module.metrics;
            self.phases.retain(|phase| phase.name != Stage::Send.phase());
        }
        let shape = module.prober.shape(target);
        for stage in shape.stages {
            self.phase(stage);
        }
        for code in shape.codes {
            self.responses_with(code);
        }
    }

    /// Takes a finding in, whose evidence is called so.
    pub fn observe(&mut self, finding: &Finding, evidence: EvidenceId) {
        let report = &finding.report;
        let probe = Exemplar {
            evidence,
            value: 1.0,
            at: report.began + report.took,
        };
        self.attempts += 1;
        match &finding.verdict {
            _ if report.succeeded() => {
                let took = report.took.saturating_sub(report.own_delay());
                self.success.observe(took, probe);
            }
            None => {}
            Some(verdict) => {
                if let Some(place) = Link::ALL.iter().position(|link| *link == verdict.link) {
                    self.failures[place] += 1;
                    self.last_failures[place] = Some(probe);
                }
                if report.fault.as_ref().is_some_and(|fault| fault.at_deadline) {
                    self.phase(verdict.stage).timeouts += 1;
                }
            }
        }
        self.observe_phases(report, probe);
        if let Some(reply) = report.final_reply().filter(|_| self.counts_responses) {
            self.count_response(reply.status);
        }
    }

    /// A phase is observed if it finished in every leg that reached it: what was cut off would lie.
    fn observe_phases(&mut self, report: &Report, probe: Exemplar) {
        let mut sums: Vec<(&'static str, Stage, Option<Duration>)> = Vec::with_capacity(6);
        for lap in report.laps() {
            let name = phase_name(lap.stage(), self.level);
            let took = lap.finished().then(|| lap.took());
            match sums.iter_mut().find(|(known, ..)| *known == name) {
                Some((.., sum)) => *sum = sum.zip(took).map(|(sum, took)| sum + took),
                None => sums.push((name, lap.stage(), took)),
            }
        }
        for (_, stage, sum) in sums {
            if let Some(sum) = sum {
                self.phase(stage).durations.observe(sum, probe);
            }
        }
    }

    fn phase(&mut self, stage: Stage) -> &mut Phase {
        let name = phase_name(stage, self.level);
        let place = self
            .phases
            .iter()
            .position(|phase| phase.name == name)
            .unwrap_or_else(|| {
                self.phases.reserve_exact(1);
                self.phases.push(Phase {
                    name,
                    durations: Histogram::new(self.phase_bounds.clone(), self.created),
                    timeouts: 0,
                });
                self.phases.len() - 1
            });
        &mut self.phases[place]
    }

    fn count_response(&mut self, status: u16) {
        let code = if is_registered(status) { status } else { OTHER };
        *self.responses_with(code) += 1;
    }

    /// The count of a code, from 0.
    fn responses_with(&mut self, code: u16) -> &mut u64 {
        let place = match self.responses.binary_search_by_key(&code, |(known, _)| *known) {
            Ok(place) => place,
            Err(place) => {
                self.responses.insert(place, (code, 0));
                place
            }
        };
        &mut self.responses[place].1
    }

    /// Probes, and those among them that succeeded.
    #[must_use]
    pub fn attempts(&self) -> (u64, u64) {
        (self.attempts, self.attempts.saturating_sub(self.failures.iter().sum()))
    }

    /// Each phase that was observed, in the order of the way: its name, and its median and 95th percentile in seconds.
    #[must_use]
    pub fn phases(&self) -> Vec<(&'static str, f64, f64)> {
        let phases = self.phases.iter().filter_map(|phase| {
            let quantile = |share| phase.durations.quantile(share);
            Some((phase.name, quantile(0.5)?, quantile(0.95)?))
        });
        phases.collect()
    }

    /// Writes the histograms and counters.
    pub fn write(&self, page: &mut Page) {
        page.push(&ATTEMPTS, vec![], self.count(self.attempts, None));
        let failures = self.failures.into_iter().zip(self.last_failures);
        for (link, (failures, last)) in Link::ALL.into_iter().zip(failures) {
            page.push(
                &FAILURES,
                vec![("link", link.as_str().into())],
                self.count(failures, last),
            );
        }
        for phase in &self.phases {
            let label = || vec![("phase", phase.name.into())];
            page.push(&PHASE_DURATION, label(), phase.durations.value());
            page.push(&PHASE_TIMEOUTS, label(), self.count(phase.timeouts, None));
        }
        page.push(&SUCCESS_DURATION, vec![], self.success.value());
        for (code, responses) in &self.responses {
            let label = if *code == OTHER {
                "other".into()
            } else {
                code.to_string().into()
            };
            page.push(&HTTP_RESPONSES, vec![("code", label)], self.count(*responses, None));
        }
    }

    #[allow(
        clippy::cast_precision_loss,
        reason = "the format's numbers are floats; counts stay below 2^53"
    )]
    const fn count(&self, count: u64, exemplar: Option<Exemplar>) -> Value {
        Value::Count(Count {
            total: count as f64,
            created: self.created,
            exemplar,
        })
    }
}

/// The peer's phases; `request` stands on its own only at the level `full`, so that phases always add up.
const fn phase_name(stage: Stage, level: Level) -> &'static str {
    match (stage, level) {
        (Stage::Send, Level::Peer | Level::Standard) => Stage::Wait.phase(),
        (stage, _) => stage.phase(),
    }
}

fn bounds(module: &Module) -> (Arc<[f64]>, Arc<[f64]>) {
    match (&module.buckets, module.metrics) {
        (Some(own), _) => (own.clone(), own.clone()),
        (None, Level::Full) => (LONG_BOUNDS.clone(), LONG_BOUNDS.clone()),
        (None, _) => (PHASE_BOUNDS.clone(), LONG_BOUNDS.clone()),
    }
}

/// Codes of the IANA registry, and Cloudflare's 520 to 530: a stranger cannot make series without end.
fn is_registered(status: u16) -> bool {
    (520..=530).contains(&status)
        || http::StatusCode::from_u16(status).is_ok_and(|code| code.canonical_reason().is_some())
}
