//! One probe, from the request to the finding.

use crate::check::{Check, ProbeContext};
use crate::controls::{ControlContext, Controls};
use crate::diagnostics::DiagnosticsRun;
use crate::previous_probes::{PreviousProbes, sign};
use crate::probers::{Module, ProbeRequest, Variant};
use crate::secrets::{BodyPart, SecretMasker, mask_responses, mask_texts};
use glassbox_verdict::attribution::{Facts, attribute};
use glassbox_verdict::investigation::{Investigation, Vantage};
use glassbox_verdict::reason::{Reason, ReasonFamily};
use glassbox_verdict::report::Report;
use glassbox_verdict::verdict::Verdict;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

/// A probe to run.
#[derive(Clone, Debug)]
pub struct Probe {
    /// Module: how to probe.
    pub module: Arc<Module>,
    /// Target: what to probe.
    pub requested: ProbeRequest,
    /// Maximum duration.
    pub timeout: Duration,
    /// Controls that show whether the exporter's own network is healthy.
    pub controls: Arc<Controls>,
    /// Resources and policy of the probe.
    pub context: ProbeContext,
}

/// A probe's result and its verdict.
#[derive(Clone, Debug)]
pub struct Finding {
    /// Module of the probe.
    pub module: Arc<Module>,
    /// Target of the probe.
    pub requested: ProbeRequest,
    /// Facts of the probe.
    pub report: Report,
    /// Whether the response repeats the last successful one: it has the same `X-Request-Id`.
    pub repeats: bool,
    /// Results of the diagnostics.
    pub investigation: Option<Arc<Investigation>>,
    /// Whether the investigation was reused from an earlier probe.
    pub reused: bool,
    /// Results of the controls, if there are any.
    pub vantage: Option<Arc<Vantage>>,
    /// Delay between the due time of a leased probe and its start; `None` for a probe that a scrape started.
    pub lag: Option<Duration>,
    /// Whether the exporter itself was late to start the probe or to handle an event on the wire. This is not a fault
    /// of any link.
    pub late: bool,
    /// Verdict: always present for a failed probe; for a successful one only if it hides a broken link.
    pub verdict: Option<Verdict>,
}

/// The exporter itself failed. The probe is not counted as an attempt and implies nothing about the target.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {detail}", reason.meaning())]
pub struct LocalError {
    /// Resource that was missing.
    pub reason: Reason,
    /// Details of the failure.
    pub detail: String,
}

impl Probe {
    /// Runs the probe once. Diagnostics start when the edge has failed or half of the time has passed, and end with
    /// the probe's deadline.
    ///
    /// # Errors
    /// If the exporter itself lacks a resource that the probe needs.
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
        // Boxed, so that a probe that waits for its edge needs no memory for the later steps.
        let (mut investigation, reused) = Box::pin(self.investigate(&diagnostics_run, previous, &report, begun)).await;
        let vantage = Box::pin(self.vantage(&report, &diagnostics_run, previous)).await;
        // From here on, the target's copies of the probe's secrets are masked. Only the attribution reads the
        // original responses.
        let masks = diagnostics_run.secrets().masks();
        conceal(masks.as_deref(), &mut report, &mut investigation, mask_texts);
        let verdict = attribute(
            &Facts::new(&report)
                .with_diagnostics(investigation.as_deref())
                .with_baseline(&previous.baseline)
                .with_vantage(vantage.as_deref())
                .with_earlier(previous.earlier.as_ref()),
        );
        conceal(masks.as_deref(), &mut report, &mut investigation, mask_responses);
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

    /// Returns the finding of a probe that the exporter did not start, for a reason other than an internal error.
    #[must_use]
    pub fn not_begun(self, previous: &PreviousProbes, reason: Reason, words: &str) -> Finding {
        let mut check = Check::new(&self.context, self.timeout);
        let _stopped = check.fail(reason, words);
        let report = check.finish();
        let verdict = attribute(&Facts::new(&report).with_baseline(&previous.baseline));
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

    /// Probes the edge. If there is no response, starts the controls early enough to have their result at the deadline,
    /// and the early diagnostics after half of the time.
    async fn edge_and_early(&self, diagnostics_run: &DiagnosticsRun<'_>) -> (Report, Investigation) {
        let mut edge = pin!(diagnostics_run.run(Variant::Original, self.timeout));
        let half = self.timeout / 2;
        let controls_start = Controls::latest_start(self.timeout).min(half);
        tokio::select! {
            biased;
            report = &mut edge => return (report, Investigation::default()),
            () = tokio::time::sleep(controls_start) => {}
        }
        self.controls.start(self.asking());
        if half > controls_start {
            tokio::select! {
                biased;
                report = &mut edge => return (report, Investigation::default()),
                () = tokio::time::sleep(half.saturating_sub(controls_start)) => {}
            }
        }
        let (report, begun) = tokio::join!(edge, Box::pin(diagnostics_run.early()));
        (report, begun)
    }

    /// The results of the diagnostics, and whether they are reused from an earlier probe.
    async fn investigate(
        &self,
        diagnostics_run: &DiagnosticsRun<'_>,
        previous: &PreviousProbes,
        report: &Report,
        begun: Investigation,
    ) -> (Option<Arc<Investigation>>, bool) {
        let sign = sign(report);
        if sign.is_some_and(|(reason, _)| reason.family() == ReasonFamily::Local) {
            return (None, false);
        }
        match (&previous.recent, sign) {
            (Some(recent), _) if recent.serves(sign, self.timeout) => (recent.found.clone(), true),
            (_, Some(_)) => (diagnostics_run.after_failure(report, begun).await, false),
            (_, None) => (diagnostics_run.after_success(report, begun).await, false),
        }
    }

    /// Resources with which the controls run.
    fn asking(&self) -> ControlContext<'_> {
        ControlContext {
            resolver: self.module.prober.resolver(),
            context: &self.context,
        }
    }

    /// The controls run up to once a minute while all is healthy, and immediately after a failure.
    async fn vantage(
        &self,
        report: &Report,
        diagnostics_run: &DiagnosticsRun<'_>,
        previous: &PreviousProbes,
    ) -> Option<Arc<Vantage>> {
        let age = if report.succeeded() {
            Controls::WHILE_WELL
        } else {
            // A result obtained during the probe itself is valid regardless of how long the probe took.
            Controls::AFTER_FAILURE.max(report.took)
        };
        let vantage = self
            .controls
            .look(self.asking(), age, diagnostics_run.started(), diagnostics_run.left())
            .await;
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

/// Masks secrets in the edge's report and in those of a new investigation. A reused investigation is already masked
/// with the secrets of its own probe.
fn conceal(
    masks: Option<&SecretMasker>,
    edge: &mut Report,
    investigation: &mut Option<Arc<Investigation>>,
    step: fn(&mut Report, &SecretMasker),
) {
    let Some(masks) = masks else { return };
    step(edge, masks);
    if let Some(investigation) = investigation.as_mut().and_then(Arc::get_mut) {
        for report in investigation.reports_mut() {
            step(report, masks);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Probe;
    use crate::budget::{DiagnosticsBudgets, RequestRate};
    use crate::check::{AddressFamily, Check, ProbeContext, Refusal, Resolver};
    use crate::clock;
    use crate::controls::Controls;
    use crate::metrics::{Level, MetricPage};
    use crate::policy::Origin;
    use crate::previous_probes::{OlderInvestigation, PreviousProbes};
    use crate::probers::{DiagnosticsSettings, InitialSeries, Module, ProbeFuture, ProbeRequest, Prober, Variant};
    use crate::target::Target;
    use glassbox_verdict::backend::Backend;
    use glassbox_verdict::investigation::DiagnosticKind;
    use glassbox_verdict::reason::Reason;
    use glassbox_verdict::report::Report;
    use std::sync::{Arc, Mutex};
    use std::time::{Duration, Instant};
    use tokio::time::sleep;

    const SECOND: Duration = Duration::from_secs(1);

    /// The runtime's timers have a resolution of 1 ms.
    const RESOLUTION: Duration = Duration::from_millis(2);

    /// Prober of an edge and a backend that respond after a time, or time out.
    #[derive(Debug)]
    struct Slow {
        edge: Duration,
        backend: Duration,
        resolver: Arc<Resolver>,
        /// Start times of the direct requests.
        direct: Mutex<Vec<Instant>>,
    }

    impl Prober for Slow {
        fn probe<'a>(&'a self, check: &'a mut Check, _: &'a ProbeRequest, variant: Variant<'a>) -> ProbeFuture<'a> {
            Box::pin(async move {
                let takes = match variant {
                    Variant::Backend(_) => {
                        self.direct.lock().unwrap().push(clock::now());
                        self.backend
                    }
                    _ => self.edge,
                };
                if takes < check.left() {
                    sleep(takes).await;
                    return Ok(());
                }
                sleep(check.left()).await;
                Err(check.fail(Reason::HttpTimedOutWaiting, "no response"))
            })
        }
        fn host(&self, _: &ProbeRequest) -> Result<(String, AddressFamily), Refusal> {
            Err(Refusal::of_target("no addresses"))
        }
        fn has_module_fields(&self, _: &ProbeRequest) -> bool {
            false
        }
        fn resolver(&self) -> &Arc<Resolver> {
            &self.resolver
        }
        fn gauges(&self, _: &Report, _: &mut MetricPage) -> Duration {
            Duration::ZERO
        }
        fn initial_series(&self, _: &Target) -> InitialSeries {
            InitialSeries {
                stages: vec![],
                codes: vec![],
            }
        }
        fn origin(&self, _: &ProbeRequest) -> Option<Origin> {
            None
        }
    }

    fn probe_of(edge: Duration, backend: Duration) -> (Arc<Slow>, Probe) {
        let prober = Arc::new(Slow {
            edge,
            backend,
            resolver: Arc::new(Resolver::with_servers(&[])),
            direct: Mutex::default(),
        });
        let probe = Probe {
            module: Arc::new(Module {
                name: "slow".into(),
                timeout: None,
                interval: None,
                metrics: Level::Standard,
                buckets: None,
                diagnostics: DiagnosticsSettings {
                    backends: Backend::read_all("app@192.0.2.1:8080").unwrap(),
                    ..DiagnosticsSettings::default()
                },
                allowlist: None,
                prober: prober.clone(),
            }),
            requested: ProbeRequest {
                target: Target::new("http://edge.example/"),
                hostname: None,
                backends: Vec::new(),
            },
            timeout: 10 * SECOND,
            controls: Arc::new(Controls::default()),
            context: ProbeContext::default(),
        };
        (prober, probe)
    }

    /// Probes once with a timeout of 10 s. Returns when the direct requests started, whether each succeeded, and when
    /// the probe ended.
    async fn once(edge: Duration, backend: Duration) -> (Vec<Duration>, Vec<bool>, Duration) {
        let (prober, probe) = probe_of(edge, backend);
        // A healthy edge gets no direct requests so soon after the last ones.
        let previous = PreviousProbes {
            last_runs: vec![(DiagnosticKind::Backends, 60 * SECOND)],
            ..PreviousProbes::default()
        };
        let begun = clock::now();
        let finding = probe.once(&previous).await.unwrap();
        let ended = clock::since(begun);
        let direct = prober.direct.lock().unwrap().clone();
        let asked = finding.investigation.iter().flat_map(|asked| asked.backends());
        (
            direct.into_iter().map(|at| at.duration_since(begun)).collect(),
            asked.map(|asked| asked.report.succeeded()).collect(),
            ended,
        )
    }

    /// A direct request that starts only after the edge has failed would have no time left.
    #[tokio::test(start_paused = true)]
    async fn the_backends_of_a_silent_edge_are_asked_at_half_of_the_deadline() {
        let (starts, succeeded, ended) = once(Duration::MAX, 4 * SECOND).await;
        assert_eq!(starts.len(), 1);
        assert!(starts[0].abs_diff(5 * SECOND) <= RESOLUTION, "{starts:?}");
        assert_eq!(succeeded, [true]);
        assert!(ended.abs_diff(10 * SECOND) <= RESOLUTION, "{ended:?}");
        // An edge that responds in time needs no direct request.
        let (starts, ..) = once(4 * SECOND, SECOND).await;
        assert!(starts.is_empty(), "{starts:?}");
    }

    /// The verdict of an outage does not change because a budget is spent. The results are shown with their age.
    #[tokio::test(start_paused = true)]
    async fn if_a_budget_refuses_direct_requests_the_results_of_an_earlier_investigation_remain() {
        let (_, probe) = probe_of(Duration::MAX, SECOND);
        let found = probe
            .clone()
            .once(&PreviousProbes::default())
            .await
            .unwrap()
            .investigation
            .unwrap();
        assert_eq!(found.backends().len(), 1);
        let spent = |sign| PreviousProbes {
            budget: Some(Arc::new(DiagnosticsBudgets::default()).account(&"target")),
            older: Some(OlderInvestigation {
                sign,
                found: found.clone(),
            }),
            ..PreviousProbes::default()
        };
        let without_budget = |mut probe: Probe| {
            Arc::get_mut(&mut probe.module).unwrap().diagnostics.budget = RequestRate::per_minute(0);
            probe
        };
        let silent = Some((Reason::HttpTimedOutWaiting, None));
        for (sign, kept) in [(silent, 1), (Some((Reason::TcpRefused, None)), 0)] {
            let (_, probe) = probe_of(Duration::MAX, SECOND);
            let finding = without_budget(probe).once(&spent(sign)).await.unwrap();
            let investigation = finding.investigation.unwrap();
            assert_eq!(investigation.backends().len(), kept, "{sign:?}");
            let began = investigation
                .backends()
                .iter()
                .all(|direct| direct.report.began < finding.report.began);
            assert!(began, "the age is that of the request");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_diagnostic_ends_with_the_deadline_of_its_probe() {
        let (_, succeeded, ended) = once(Duration::MAX, 6 * SECOND).await;
        assert_eq!(succeeded, [false]);
        assert!(ended.abs_diff(10 * SECOND) <= RESOLUTION, "{ended:?}");
    }
}
