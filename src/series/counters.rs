//! The counters and histograms of one key: attempts, failures by link, phases, status codes.

use super::histogram::DurationHistogram;
use super::observation::{Observation, ObservedOutcome};
use super::{SeriesLayout, phase_name};
use glassbox_probe::metrics::{
    ATTEMPTS, Count, Exemplar, FAILURES, HTTP_RESPONSES, Level, MetricPage, PHASE_DURATION, PHASE_TIMEOUTS,
    SUCCESS_DURATION, Value,
};
use glassbox_verdict::chain::{Link, Stage};
use std::sync::Arc;
use std::time::SystemTime;

/// The totals of a key's probes.
#[derive(Clone, Debug)]
pub(super) struct KeyCounters {
    level: Level,
    created: SystemTime,
    attempts: u64,
    failures: [u64; Link::ALL.len()],
    /// The last failure of each link that has failed.
    last_failures: Vec<(Link, Exemplar)>,
    phases: Vec<Phase>,
    phase_bounds: Arc<[f64]>,
    success: DurationHistogram,
    /// Sorted by code. [`OTHER`] stands for unregistered codes. Empty for probers without status codes.
    responses: Vec<(u16, u64)>,
}

/// One phase of one key.
#[derive(Clone, Debug)]
struct Phase {
    name: &'static str,
    durations: DurationHistogram,
    timeouts: u64,
}

/// The code for unregistered status codes, which are exported as `other`.
const OTHER: u16 = 0;

impl KeyCounters {
    /// The counts after one probe or none.
    pub fn of(layout: &SeriesLayout, created: SystemTime, seen: Option<&Observation>) -> Self {
        let mut counts = Self {
            level: layout.level,
            created,
            attempts: 0,
            failures: [0; Link::ALL.len()],
            last_failures: Vec::new(),
            phases: Vec::with_capacity(layout.stages.len()),
            phase_bounds: layout.phase_bounds.clone(),
            success: DurationHistogram::new(layout.success_bounds.clone(), created),
            responses: layout.codes.iter().map(|code| (*code, 0)).collect(),
        };
        for stage in &layout.stages {
            counts.phase(*stage);
        }
        if let Some(observation) = seen {
            counts.take_in(observation);
        }
        counts
    }

    pub fn fit(&mut self, layout: &SeriesLayout, now: SystemTime) {
        if layout.phase_bounds != self.phase_bounds {
            for phase in &mut self.phases {
                phase.durations = DurationHistogram::new(layout.phase_bounds.clone(), now);
            }
            self.phase_bounds = layout.phase_bounds.clone();
        }
        if layout.success_bounds[..] != *self.success.bounds() {
            self.success = DurationHistogram::new(layout.success_bounds.clone(), now);
        }
        if self.level != layout.level {
            self.level = layout.level;
            self.phases.retain(|phase| phase.name != Stage::Send.phase());
        }
        for stage in &layout.stages {
            self.phase(*stage);
        }
        for code in &layout.codes {
            self.responses_with(*code);
        }
    }

    pub fn take_in(&mut self, observation: &Observation) {
        self.attempts += 1;
        match observation.outcome {
            ObservedOutcome::Succeeded(took) => self.success.observe(took, observation.probe),
            ObservedOutcome::Unattributed => {}
            ObservedOutcome::Failed { link, timed_out } => {
                self.count_failure(link, observation.probe);
                if let Some(stage) = timed_out {
                    self.phase(stage).timeouts += 1;
                }
            }
        }
        for (stage, took) in &observation.phases {
            self.phase(*stage).durations.observe(*took, observation.probe);
        }
        if let Some(status) = observation.status.filter(|_| !self.responses.is_empty()) {
            let code = if is_registered(status) { status } else { OTHER };
            *self.responses_with(code) += 1;
        }
    }

    fn count_failure(&mut self, link: Link, probe: Exemplar) {
        if let Some(place) = Link::ALL.iter().position(|known| *known == link) {
            self.failures[place] += 1;
        }
        match self.last_failures.iter_mut().find(|(known, _)| *known == link) {
            Some((_, last)) => *last = probe,
            None => self.last_failures.push((link, probe)),
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
                    durations: DurationHistogram::new(self.phase_bounds.clone(), self.created),
                    timeouts: 0,
                });
                self.phases.len() - 1
            });
        &mut self.phases[place]
    }

    /// The counter of a code, added at 0 if it is new.
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

    pub fn attempts(&self) -> (u64, u64) {
        (self.attempts, self.attempts.saturating_sub(self.failures.iter().sum()))
    }

    pub fn phases(&self) -> Vec<(&'static str, f64, f64)> {
        let phases = self.phases.iter().filter_map(|phase| {
            let quantile = |share| phase.durations.quantile(share);
            Some((phase.name, quantile(0.5)?, quantile(0.95)?))
        });
        phases.collect()
    }

    pub fn write(&self, page: &mut MetricPage) {
        page.push(&ATTEMPTS, [], self.count(self.attempts, None));
        let failures = Link::ALL.into_iter().zip(self.failures).map(|(link, failures)| {
            let last = self.last_failures.iter().find(|(known, _)| *known == link);
            let count = self.count(failures, last.map(|(_, last)| *last));
            ([("link", link.as_str().into())], count)
        });
        page.push_all(&FAILURES, failures);
        let of_phases = |value: fn(&Self, &Phase) -> Value| {
            let phases = self.phases.iter();
            phases.map(move |phase| ([("phase", phase.name.into())], value(self, phase)))
        };
        page.push_all(&PHASE_DURATION, of_phases(|_, phase| phase.durations.value()));
        page.push_all(
            &PHASE_TIMEOUTS,
            of_phases(|counts, phase| counts.count(phase.timeouts, None)),
        );
        page.push(&SUCCESS_DURATION, [], self.success.value());
        let responses = self.responses.iter().map(|(code, responses)| {
            let code = if *code == OTHER {
                "other".into()
            } else {
                code.to_string().into()
            };
            ([("code", code)], self.count(*responses, None))
        });
        page.push_all(&HTTP_RESPONSES, responses);
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

/// The codes of the IANA registry, and 520 to 530 of Cloudflare. This limits the series that a remote server can
/// create.
fn is_registered(status: u16) -> bool {
    (520..=530).contains(&status)
        || http::StatusCode::from_u16(status).is_ok_and(|code| code.canonical_reason().is_some())
}
