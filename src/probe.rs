//! One probe, from an aim to a finding.

use crate::attribution::{Facts, attribute};
use crate::check::{Check, ProbeContext};
use crate::controls::{ControlContext, Controls};
use crate::diagnostics::DiagnosticsRun;
use crate::investigation::{Investigation, Vantage};
use crate::previous_probes::{PreviousProbes, sign};
use crate::probers::{Module, ProbeRequest, Variant};
use crate::reason::{Reason, ReasonFamily};
use crate::report::Report;
use crate::secrets::{BodyPart, SecretMasker};
use crate::verdict::Verdict;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

/// A probe to run.
#[derive(Clone, Debug)]
pub struct Probe {
    /// How to probe.
    pub module: Arc<Module>,
    /// What to probe.
    pub requested: ProbeRequest,
    /// The time it gets.
    pub timeout: Duration,
    /// What tells whether our own side is well.
    pub controls: Arc<Controls>,
    /// On which terms it runs.
    pub context: ProbeContext,
}

/// What a probe found, and the judgment on it.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The module that ran.
    pub module: Arc<Module>,
    /// What it aimed at.
    pub requested: ProbeRequest,
    /// The facts.
    pub report: Report,
    /// The answer is the last good one once more: it has the same `X-Request-Id`.
    pub repeats: bool,
    /// What was asked beside it.
    pub investigation: Option<Arc<Investigation>>,
    /// That was asked for an earlier probe, and stands for a new one.
    pub reused: bool,
    /// What the controls say of our own side, where there are some.
    pub vantage: Option<Arc<Vantage>>,
    /// From the moment a leased probe was due to the moment it began; none for what a scrape asked for.
    pub lag: Option<Duration>,
    /// The exporter itself was late: to begin, or to an event on the wire. That is no fault of any link.
    pub late: bool,
    /// The judgment: exactly one for a failed probe; none for a good one, unless it hides a broken link.
    pub verdict: Option<Verdict>,
}

/// The exporter itself failed: this was no attempt, and says nothing about the target.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {detail}", reason.meaning())]
pub struct LocalError {
    /// Which shortage.
    pub reason: Reason,
    /// The particulars.
    pub detail: String,
}

impl Probe {
    /// Runs it once. What is asked beside the edge is begun when the edge has failed, or when half the time is gone,
    /// and ends with the same deadline.
    ///
    /// # Errors
    /// When the exporter itself had no means to probe.
    pub async fn once(self, previous: &PreviousProbes) -> Result<Finding, LocalError> {
        let diagnostics_run = DiagnosticsRun::new(&self.module, &self.requested, &self.context, previous, self.timeout);
        let (mut report, begun) = self.edge_and_early(&diagnostics_run).await;
        if let Some(fault) = report.fault.as_ref().filter(|fault| fault.reason.is_local_error()) {
            let masks = diagnostics_run.secrets().masks();
            let shown = masks.and_then(|masks| masks.text(&fault.detail, BodyPart::Mixed));
            return Err(LocalError {
                reason: fault.reason,
                detail: shown.unwrap_or_else(|| fault.detail.clone()),
            });
        }
        // Kept aside, so that a probe that waits for its edge takes no room for what comes after.
        let (mut investigation, reused) = Box::pin(self.investigate(&diagnostics_run, previous, &report, begun)).await;
        let vantage = Box::pin(self.vantage(&report, &diagnostics_run, previous)).await;
        // From here on nobody reads what the target repeats of the probe's secrets, but for the judgment, which reads answers as they came.
        let masks = diagnostics_run.secrets().masks();
        conceal(masks.as_deref(), &mut report, &mut investigation, Report::conceal_texts);
        let verdict = attribute(&Facts {
            edge: &report,
            diagnostics: investigation.as_deref(),
            baseline: &previous.baseline,
            vantage: vantage.as_deref(),
        });
        conceal(
            masks.as_deref(),
            &mut report,
            &mut investigation,
            Report::conceal_answers,
        );
        Ok(Finding {
            module: self.module,
            requested: self.requested,
            repeats: report
                .final_reply()
                .is_some_and(|reply| previous.baseline.repeats(reply)),
            report,
            investigation,
            reused,
            vantage,
            lag: None,
            late: false,
            verdict,
        })
    }

    /// It was not begun, for a reason of our own that is no fault: a finding all the same.
    #[must_use]
    pub fn not_begun(self, previous: &PreviousProbes, reason: Reason, words: &str) -> Finding {
        let mut check = Check::new(&self.context, self.timeout);
        let _stopped = check.fail(reason, words);
        let report = check.finish();
        let verdict = attribute(&Facts {
            edge: &report,
            diagnostics: None,
            baseline: &previous.baseline,
            vantage: None,
        });
        Finding {
            module: self.module,
            requested: self.requested,
            report,
            repeats: false,
            investigation: None,
            reused: false,
            vantage: None,
            lag: None,
            late: false,
            verdict,
        }
    }

    /// Probes the edge. Starts the controls early enough to have their result at the deadline, and the first diagnostics at half of the
    /// timeout.
    async fn edge_and_early(&self, diagnostics_run: &DiagnosticsRun<'_>) -> (Report, Option<Investigation>) {
        let mut edge = pin!(diagnostics_run.run(Variant::Original, self.timeout));
        let half = self.timeout / 2;
        let controls_start = Controls::latest_start(self.timeout).min(half);
        tokio::select! {
            biased;
            report = &mut edge => return (report, None),
            () = tokio::time::sleep(controls_start) => {}
        }
        self.controls.start(self.asking(), Controls::AFTER_FAILURE);
        if half > controls_start {
            tokio::select! {
                biased;
                report = &mut edge => return (report, None),
                () = tokio::time::sleep(half - controls_start) => {}
            }
        }
        let (report, begun) = tokio::join!(edge, Box::pin(diagnostics_run.early()));
        (report, begun)
    }

    /// What was asked beside the edge, and whether that was for an earlier probe.
    async fn investigate(
        &self,
        diagnostics_run: &DiagnosticsRun<'_>,
        previous: &PreviousProbes,
        report: &Report,
        begun: Option<Investigation>,
    ) -> (Option<Arc<Investigation>>, bool) {
        let sign = sign(report);
        if sign.is_some_and(|(reason, _)| reason.family() == ReasonFamily::Local) {
            return (None, false);
        }
        let (found, reused) = match (&previous.recent, sign) {
            (Some(recent), _) if recent.serves(sign, self.timeout) => (recent.found.clone(), true),
            (_, Some(_)) => (
                diagnostics_run.after_failure(report, begun.unwrap_or_default()).await,
                false,
            ),
            (_, None) => (diagnostics_run.after_success(report, begun).await, false),
        };
        (found.filter(|investigation| investigation.asked_anybody()), reused)
    }

    /// By which means the controls are asked.
    fn asking(&self) -> ControlContext<'_> {
        ControlContext {
            resolver: self.module.prober.resolver(),
            context: &self.context,
        }
    }

    /// The controls are asked at most once a minute while all is well, and again at once when something failed.
    async fn vantage(
        &self,
        report: &Report,
        diagnostics_run: &DiagnosticsRun<'_>,
        previous: &PreviousProbes,
    ) -> Option<Arc<Vantage>> {
        let age = if report.succeeded() {
            Controls::WHILE_WELL
        } else {
            Controls::AFTER_FAILURE
        };
        let vantage = self.controls.look(self.asking(), age, diagnostics_run.left()).await;
        vantage.or_else(|| {
            previous.outage_detected.then(|| {
                Arc::new(Vantage {
                    outage: true,
                    ..Vantage::default()
                })
            })
        })
    }
}

/// Masks secrets in the edge's report and in those of an investigation that is new. One that was made for an earlier probe was
/// masked then, with the secrets of that one.
fn conceal(
    masks: Option<&SecretMasker>,
    edge: &mut Report,
    investigation: &mut Option<Arc<Investigation>>,
    step: fn(&mut Report, &SecretMasker),
) {
    let Some(masks) = masks else { return };
    step(edge, masks);
    if let Some(investigation) = investigation.as_mut().and_then(Arc::get_mut) {
        investigation.reports_mut().for_each(|report| step(report, masks));
    }
}
