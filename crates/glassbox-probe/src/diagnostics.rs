//! Runs the diagnostics of a probe. Each diagnostic repeats the request with exactly one thing changed. `DIAGNOSTICS`
//! lists them. Each has its own file, which defines what it changes, when it runs, its cost and its conclusion.
//!
//! Diagnostics run at three moments. If the edge has not responded after half of the timeout, some start early, so that
//! their results are available at the deadline. After a failure, all that apply to it run. After a success, only those
//! that are due run. All of them share the probe's deadline.

mod addresses;
mod backends;
mod cache_bypass;
mod experiment;
mod file;
mod handshake;
mod http1_retry;
mod reference_request;
mod repetition;

pub use experiment::{Experiment, experiments};
pub use file::{DiagnosticKey, DiagnosticsFile};

use crate::check::{Check, ProbeContext};
use crate::clock;
use crate::previous_probes::{OUTDATED, PreviousProbes, sign};
use crate::probers::{DiagnosticsSettings, Module, ProbeRequest, Variant, When};
use crate::secrets::Secrets;
use glassbox_verdict::backend::Backend;
use glassbox_verdict::investigation::{
    BudgetRefusal, DiagnosticKind, DiagnosticOutcome, DiagnosticRequest, Investigation,
};
use glassbox_verdict::report::Report;
use parking_lot::{Mutex, MutexGuard};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// All diagnostics, in the order in which they start.
pub static DIAGNOSTICS: &[Diagnostic] = &[
    backends::DIAGNOSTIC,
    cache_bypass::DIAGNOSTIC,
    http1_retry::DIAGNOSTIC,
    reference_request::DIAGNOSTIC,
    handshake::DIAGNOSTIC,
    addresses::DIAGNOSTIC,
    repetition::DIAGNOSTIC,
];

/// Maximum duration of a reference request or a handshake: both complete immediately or not at all.
const AT_ONCE: Duration = Duration::from_secs(2);

/// Minimum remaining time for an additional request.
const LEAST: Duration = Duration::from_millis(5);

/// A row of the table of diagnostics.
#[derive(Debug)]
pub struct Diagnostic {
    /// Kind of its result.
    pub kind: DiagnosticKind,
    /// Name in the evidence and in the documentation.
    pub name: &'static str,
    /// The values of the key of the same name in a module's block `diagnostics`; `None` if it cannot be configured.
    pub key: Option<DiagnosticKey>,
    /// Displayed title of its requests.
    pub title: &'static str,
    /// The one thing that it changes.
    pub changes: &'static str,
    /// Minimum interval between two runs while nothing has failed anew; `None` if it runs whenever it applies.
    pub every: Option<Duration>,
    /// When it runs, for the documentation.
    pub when: &'static str,
    /// Additional requests to the application, for the documentation.
    pub cost: &'static str,
    /// Whether it runs after the others of the same moment, because it depends on their results.
    depends_on_others: bool,
    due: fn(&DiagnosticsRun<'_>, Occasion<'_>) -> bool,
    /// Whether one of its requests failed.
    failed: fn(&Report) -> bool,
    /// Conclusion from its requests, compared with the probe of the edge.
    concludes: fn(&Report, &[DiagnosticRequest<'_>]) -> &'static str,
    run: for<'a> fn(&'a DiagnosticsRun<'a>, Occasion<'a>) -> DiagnosticFuture<'a>,
}

/// The future of a diagnostic.
type DiagnosticFuture<'a> = Pin<Box<dyn Future<Output = Ran> + Send + 'a>>;

/// The outcome of a diagnostic. It is `None` if no time was left or the exporter lacked a resource.
type Ran = Result<Option<DiagnosticOutcome>, BudgetRefusal>;

/// The permission of the budgets to send requests.
#[derive(Clone, Copy, Debug)]
struct Permitted(());

/// The moment at which a diagnostic may run.
#[derive(Clone, Copy, Debug)]
enum Moment<'a> {
    /// Half of the deadline has passed, and the edge has not responded yet.
    Early,
    /// The edge failed.
    Failed(&'a Report),
    /// The edge is healthy.
    Succeeded(&'a Report),
}

/// The moment, and the diagnostics that ran earlier in this probe.
#[derive(Clone, Copy, Debug)]
struct Occasion<'a> {
    moment: Moment<'a>,
    begun: &'a Investigation,
}

impl<'a> Occasion<'a> {
    /// The edge's report, if the edge failed because of its status code.
    fn rejected_status(self) -> Option<&'a Report> {
        match self.moment {
            Moment::Failed(edge) => {
                let fault = edge.fault.as_ref()?;
                fault.reason.is_a_rejected_status().then_some(edge)
            }
            Moment::Early | Moment::Succeeded(_) => None,
        }
    }
}

impl Diagnostic {
    /// The row of a result.
    ///
    /// # Panics
    /// If a kind has no row, which `tests/architecture.rs` excludes.
    #[must_use]
    pub fn of(kind: DiagnosticKind) -> &'static Self {
        let mut rows = DIAGNOSTICS.iter();
        rows.find(|row| row.kind == kind).expect("each kind has a row")
    }

    /// When this diagnostic runs, according to a module's settings.
    #[must_use]
    pub fn when(&self, settings: &DiagnosticsSettings) -> When {
        let set = settings.when.iter().find(|(kind, _)| *kind == self.kind);
        let usual = || self.key.map_or(When::OnFailure, DiagnosticKey::default);
        set.map_or_else(usual, |(_, when)| *when)
    }
}

/// One run of the diagnostics: its permitted requests and its deadline.
#[derive(Debug)]
pub(crate) struct DiagnosticsRun<'a> {
    module: &'a Module,
    requested: &'a ProbeRequest,
    context: &'a ProbeContext,
    previous: &'a PreviousProbes,
    /// Timeout of the probe, which ends at `deadline`.
    timeout: Duration,
    started: Instant,
    deadline: Instant,
    /// Secrets that all its checks have sent.
    secrets: Mutex<Secrets>,
}

impl<'a> DiagnosticsRun<'a> {
    pub fn new(
        module: &'a Module,
        requested: &'a ProbeRequest,
        context: &'a ProbeContext,
        previous: &'a PreviousProbes,
        timeout: Duration,
    ) -> Self {
        let started = clock::now();
        Self {
            module,
            requested,
            context,
            previous,
            timeout,
            started,
            deadline: started + timeout,
            secrets: Mutex::new(Secrets::default()),
        }
    }

    /// Secrets that were sent so far.
    pub fn secrets(&self) -> MutexGuard<'_, Secrets> {
        self.secrets.lock()
    }

    /// Start of the probe.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// Time left until the deadline.
    pub fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(clock::now())
    }

    /// Runs while the edge has not responded yet.
    pub async fn early(&self) -> Investigation {
        let recent = self.previous.recent.as_ref();
        if recent.is_some_and(|recent| recent.serves_silence(self.timeout)) {
            return Investigation::default();
        }
        self.run_due(Moment::Early, Investigation::default()).await
    }

    /// Runs after the edge has failed: all diagnostics that apply to the failure, except those that already ran.
    pub async fn after_failure(&self, edge: &Report, begun: Investigation) -> Option<Arc<Investigation>> {
        let mut results = self.run_due(Moment::Failed(edge), begun).await;
        let older = self.previous.older.as_ref().filter(|older| older.sign == sign(edge));
        if let Some(older) = older.filter(|_| results.refusal(DiagnosticKind::Backends).is_some()) {
            results.take_backends_of(&older.found, edge.began - OUTDATED);
        }
        found(results)
    }

    /// Runs if the edge is healthy: the diagnostics that are due.
    pub async fn after_success(&self, edge: &Report, begun: Investigation) -> Option<Arc<Investigation>> {
        found(self.run_due(Moment::Succeeded(edge), begun).await)
    }

    /// Runs all diagnostics of this moment, first those that depend on no other one, and adds their results.
    async fn run_due(&self, moment: Moment<'_>, begun: Investigation) -> Investigation {
        let independent = self.run_at_once(moment, false, begun).await;
        self.run_at_once(moment, true, independent).await
    }

    /// Runs diagnostics at the same time: those that depend on results of others, or the independent ones.
    async fn run_at_once(&self, moment: Moment<'_>, dependent: bool, mut begun: Investigation) -> Investigation {
        let occasion = Occasion { moment, begun: &begun };
        // Empty for a healthy probe, so that it allocates nothing.
        let due: Vec<_> = DIAGNOSTICS
            .iter()
            .filter(|diagnostic| diagnostic.depends_on_others == dependent && (diagnostic.due)(self, occasion))
            .collect();
        if due.is_empty() || self.left() < LEAST {
            return begun;
        }
        let started = clock::now();
        let outcomes = all(due.iter().map(|diagnostic| (diagnostic.run)(self, occasion))).await;
        let kinds = due.iter().map(|diagnostic| diagnostic.kind);
        for (kind, outcome) in kinds.zip(outcomes) {
            if let Some(outcome) = outcome.unwrap_or_else(|refusal| Some(DiagnosticOutcome::NotRun(refusal))) {
                begun.put(kind, outcome);
            }
        }
        begun.took += clock::since(started);
        begun
    }

    /// Runs the module's prober once, in one variant.
    pub async fn run(&self, variant: Variant<'_>, timeout: Duration) -> Report {
        let mut check = Check::new(self.context, timeout);
        // The report contains the outcome: a probe that stopped has its fault there.
        let _stopped = self.module.prober.probe(&mut check, self.requested, variant).await;
        if !check.secrets().is_empty() {
            self.secrets().merge(check.secrets());
        }
        check.finish()
    }

    /// Whether a diagnostic has not run within its interval.
    fn is_due(&self, diagnostic: &Diagnostic) -> bool {
        let ran = |every| self.previous.ran_within(diagnostic.kind, every);
        !diagnostic.every.is_some_and(ran)
    }

    /// Takes the requests of a diagnostic from the budgets: all of them, or none.
    fn permit(&self, requests: usize) -> Result<Permitted, BudgetRefusal> {
        if let Some(budget) = &self.previous.budget {
            let requests = u32::try_from(requests).unwrap_or(u32::MAX);
            let (target, process) = (self.module.diagnostics.budget, self.context.limits.diagnostics);
            budget.take(requests, target, process, clock::now())?;
        }
        Ok(Permitted(()))
    }

    /// Sends one request to the edge.
    async fn ask_edge(&self, variant: Variant<'_>) -> Ran {
        let permitted = self.permit(1)?;
        Ok(self.ask_target(permitted, variant).await.map(of_edge))
    }

    /// Tries a TLS handshake with the edge or with a backend. It is not a request to the application.
    async fn shake_hands(&self, with: Option<&Backend>) -> Option<Report> {
        self.ask_target(Permitted(()), Variant::Handshake(with)).await
    }

    /// Runs a request like [`Self::ask`]. A local failure, such as a denied address, implies nothing about the target, and
    /// the diagnostic has no result.
    async fn ask_target(&self, permitted: Permitted, variant: Variant<'_>) -> Option<Report> {
        let report = self.ask(permitted, variant).await?;
        (!report.failed_locally()).then_some(report)
    }

    /// Runs a request if there is time left.
    async fn ask(&self, _: Permitted, variant: Variant<'_>) -> Option<Report> {
        let left = match variant {
            Variant::Refusable | Variant::Handshake(_) => self.left().min(AT_ONCE),
            _ => self.left(),
        };
        if left < LEAST {
            return None;
        }
        // Boxed, because most runs send no request.
        Some(Box::pin(self.run(variant, left)).await)
    }
}

/// The outcome of one request to the edge.
fn of_edge(report: Report) -> DiagnosticOutcome {
    DiagnosticOutcome::Edge(Box::new(report))
}

/// An investigation that has results.
fn found(investigation: Investigation) -> Option<Arc<Investigation>> {
    (!investigation.results().is_empty()).then(|| Arc::new(investigation))
}

/// Runs all futures concurrently on this task and returns their results in order.
async fn all<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    futures_util::future::join_all(futures).await
}

#[cfg(test)]
mod tests {
    use super::{DIAGNOSTICS, Diagnostic};
    use std::collections::BTreeSet;

    #[test]
    fn each_row_has_a_kind_and_a_name_of_its_own() {
        for row in DIAGNOSTICS {
            assert_eq!(Diagnostic::of(row.kind).name, row.name);
        }
        let names: BTreeSet<_> = DIAGNOSTICS.iter().map(|row| row.name).collect();
        assert_eq!(names.len(), DIAGNOSTICS.len());
    }
}
