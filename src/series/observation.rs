//! One observation: what a single probe adds to the series of its key.

use super::phase_name;
use glassbox_probe::evidence_id::EvidenceId;
use glassbox_probe::metrics::{Exemplar, Level};
use glassbox_probe::probe::Finding;
use glassbox_verdict::chain::{Link, Stage};
use glassbox_verdict::report::Report;
use std::time::Duration;

/// One probe, as recorded in the series.
#[derive(Clone, Debug)]
pub(super) struct Observation {
    /// Its evidence id and end time. The value is 1.
    pub probe: Exemplar,
    pub outcome: ObservedOutcome,
    /// Duration of each complete phase in seconds, by its first stage. Two kinds of phases are excluded: those
    /// interrupted in one exchange, and those whose own duration is unknown
    /// ([`Exchange::is_time_known`](glassbox_verdict::report::Exchange::is_time_known)).
    pub phases: Box<[(Stage, f64)]>,
    /// The status code of its last response.
    pub status: Option<u16>,
}

/// The probe's result.
#[derive(Clone, Copy, Debug)]
pub(super) enum ObservedOutcome {
    /// The probe succeeded and took this many seconds.
    Succeeded(f64),
    /// The probe failed. Contains the verdict's link, and the stage that the deadline interrupted.
    Failed { link: Link, timed_out: Option<Stage> },
    /// The probe failed without a verdict.
    Unattributed,
}

impl Observation {
    pub fn of(finding: &Finding, evidence: EvidenceId, level: Level) -> Self {
        let report = &finding.report;
        let outcome = match &finding.verdict {
            _ if report.succeeded() => {
                ObservedOutcome::Succeeded(report.took.saturating_sub(report.scheduling_delay()).as_secs_f64())
            }
            None => ObservedOutcome::Unattributed,
            Some(verdict) => ObservedOutcome::Failed {
                link: verdict.link,
                timed_out: (report.fault.as_ref())
                    .filter(|fault| fault.at_deadline)
                    .map(|_| verdict.stage),
            },
        };
        Self {
            probe: Exemplar {
                evidence,
                value: 1.0,
                at: report.began + report.took,
            },
            outcome,
            phases: phases(report, level),
            status: report.final_reply().map(|reply| reply.status),
        }
    }
}

fn phases(report: &Report, level: Level) -> Box<[(Stage, f64)]> {
    let mut sums: Vec<(Stage, Option<Duration>)> = Vec::with_capacity(Stage::ALL.len());
    for (stage, took) in report.known_times() {
        let name = phase_name(stage, level);
        match sums.iter_mut().find(|(known, _)| phase_name(*known, level) == name) {
            Some((_, sum)) => *sum = sum.zip(took).map(|(sum, took)| sum + took),
            None => sums.push((stage, took)),
        }
    }
    let finished = sums
        .into_iter()
        .filter_map(|(stage, sum)| Some((stage, sum?.as_secs_f64())));
    finished.collect()
}
