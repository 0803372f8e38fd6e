//! One probe, from an aim to a finding.

use crate::attribution::{Facts, attribute};
use crate::check::{Check, Terms};
use crate::controls::{Controls, Means};
use crate::drill::Drill;
use crate::investigation::{Investigation, Vantage};
use crate::past::{Past, sign};
use crate::probers::{Aim, Module, Way};
use crate::reason::Reason;
use crate::report::Report;
use crate::verdict::Verdict;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A probe to run.
#[derive(Clone, Debug)]
pub struct Probe {
    /// How to probe.
    pub module: Arc<Module>,
    /// What to probe.
    pub aim: Aim,
    /// The time it gets.
    pub timeout: Duration,
    /// What tells whether our own side is well.
    pub controls: Arc<Controls>,
    /// On which terms it runs.
    pub terms: Terms,
}

/// What a probe found, and the judgment on it.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The module that ran.
    pub module: Arc<Module>,
    /// What it aimed at.
    pub aim: Aim,
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
pub struct OwnFault {
    /// Which shortage.
    pub reason: Reason,
    /// The particulars.
    pub detail: String,
}

impl Probe {
    /// Runs it once. What is asked beside the front is begun when the front has failed, or when half the time is gone,
    /// and ends with the same deadline.
    ///
    /// # Errors
    /// When the exporter itself had no means to probe.
    pub async fn once(self, past: &Past) -> Result<Finding, OwnFault> {
        let drill = Drill::new(
            &self.module,
            &self.aim,
            &self.terms,
            past,
            Instant::now() + self.timeout,
        );
        let (report, begun) = self.front_and_early(&drill).await;
        if let Some(fault) = report.fault.as_ref().filter(|fault| fault.reason.is_own_fault()) {
            return Err(OwnFault {
                reason: fault.reason,
                detail: fault.detail.clone(),
            });
        }
        // Kept aside, so that a probe that waits for its front takes no room for what comes after.
        let (investigation, reused) = Box::pin(self.investigate(&drill, past, &report, begun)).await;
        let vantage = Box::pin(self.vantage(&report, &drill, past)).await;
        let verdict = attribute(&Facts {
            front: &report,
            beside: investigation.as_deref(),
            baseline: &past.baseline,
            vantage: vantage.as_deref(),
        });
        Ok(Finding {
            module: self.module,
            aim: self.aim,
            repeats: report.final_reply().is_some_and(|reply| past.baseline.repeats(reply)),
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
    pub fn not_begun(self, past: &Past, reason: Reason, words: &str) -> Finding {
        let mut check = Check::new(&self.terms, self.timeout);
        let _stopped = check.refuse(reason, words);
        let report = check.finish();
        let verdict = attribute(&Facts {
            front: &report,
            beside: None,
            baseline: &past.baseline,
            vantage: None,
        });
        Finding {
            module: self.module,
            aim: self.aim,
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

    /// The front, and beside it, once half the time is gone, those behind it.
    async fn front_and_early(&self, drill: &Drill<'_>) -> (Report, Option<Investigation>) {
        let mut front = pin!(drill.run(Way::Asked, self.timeout));
        let half = tokio::time::sleep(self.timeout / 2);
        tokio::select! {
            biased;
            report = &mut front => (report, None),
            () = half => {
                // What the controls say is kept there; it is read when the verdict is made.
                let controls = self.controls.look(self.asking(), Controls::AFTER_FAILURE, drill.left());
                let beside = Box::pin(async { tokio::join!(drill.early(), controls) });
                let (report, (begun, _)) = tokio::join!(front, beside);
                (report, begun)
            }
        }
    }

    /// What was asked beside the front, and whether that was for an earlier probe.
    async fn investigate(
        &self,
        drill: &Drill<'_>,
        past: &Past,
        report: &Report,
        begun: Option<Investigation>,
    ) -> (Option<Arc<Investigation>>, bool) {
        let sign = sign(report);
        if sign.is_some_and(|(reason, _)| reason.family() == "local") {
            return (None, false);
        }
        let (found, reused) = match (&past.recent, sign) {
            (Some(recent), _) if recent.serves(sign) => (recent.found.clone(), true),
            (_, Some(_)) => (drill.after_failure(report, begun.unwrap_or_default()).await, false),
            (_, None) => (drill.after_success(report, begun).await, false),
        };
        (found.filter(|investigation| investigation.asked_anybody()), reused)
    }

    /// By which means the controls are asked.
    fn asking(&self) -> Means<'_> {
        Means {
            resolver: self.module.prober.resolver(),
            terms: &self.terms,
        }
    }

    /// The controls are asked at most once a minute while all is well, and again at once when something failed.
    async fn vantage(&self, report: &Report, drill: &Drill<'_>, past: &Past) -> Option<Arc<Vantage>> {
        let age = if report.succeeded() {
            Controls::WHILE_WELL
        } else {
            Controls::AFTER_FAILURE
        };
        let vantage = self.controls.look(self.asking(), age, drill.left()).await;
        vantage.or_else(|| {
            past.quorum_failed.then(|| {
                Arc::new(Vantage {
                    quorum: true,
                    ..Vantage::default()
                })
            })
        })
    }
}
