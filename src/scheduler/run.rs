//! Runs one probe: takes permits, probes the target, and updates series, history and target state.

use super::concurrency::Permit;
use super::fair_share::{Caller, FairPermit};
use super::{LATE, Scheduler, debug_log};
use crate::exposition::probe_metrics;
use crate::history::HistoryEntry;
use crate::self_metrics::SelfMetrics;
use crate::series::{KeyState, Series, SeriesKey};
use crate::target_state::LatestProbe;
use futures_util::FutureExt as _;
use glassbox_probe::clock;
use glassbox_probe::limits::SHORTEST_DEADLINE;
use glassbox_probe::metrics::{Family, LAST_RUN, MetricPage};
use glassbox_probe::previous_probes::PreviousProbes;
use glassbox_probe::probe::{Finding, LocalError, Probe};
use glassbox_verdict::host_port::Host;
use glassbox_verdict::reason::Reason;
use std::future::Future;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};
use tokio::sync::watch;

/// Time by which the created timestamp of a series precedes its first probe. Prometheus timestamps a scrape with its
/// start time on its own clock, and the created timestamp must not be later.
const CREATED_BEFORE: Duration = Duration::from_secs(1);

/// Timing and state of a leased run.
#[derive(Clone, Debug)]
pub(super) struct LeasedRun {
    /// Time from the due time to the start of the probe.
    pub lag: Duration,
    /// Whether this lag is too long for the interval.
    pub late: bool,
    /// The key's state. `None` in a lease's first run.
    pub kept: Option<Arc<KeyState>>,
}

/// Result of a run: the gauges of its probe and the current series of its key.
#[derive(Debug)]
pub struct Reading {
    /// The probe's evidence.
    pub entry: HistoryEntry,
    gauges: MetricPage,
    kept: Arc<KeyState>,
}

impl Reading {
    /// Returns the key's state.
    pub(super) const fn kept(&self) -> &Arc<KeyState> {
        &self.kept
    }

    /// Calls `read` with all metric families that a scrape of the key returns.
    pub fn read<T>(&self, read: impl FnOnce(&[&Family]) -> T) -> T {
        let mut series = MetricPage::new(self.gauges.level());
        self.kept.series().write(&mut series);
        read(&self.gauges.merged_with(&series))
    }
}

impl Scheduler {
    /// Runs a probe and records its finding.
    ///
    /// # Errors
    /// When the exporter cannot run the probe for a local reason. This function counts and logs that error.
    pub(super) async fn run(
        &self,
        key: SeriesKey,
        probe: Probe,
        leased: Option<LeasedRun>,
        caller: Caller,
    ) -> Result<Reading, LocalError> {
        let _in_flight = InFlight::new(&self.in_flight);
        let outcome = match self.admit(&probe, caller).await {
            Ok(turn) => {
                self.guarded(Box::pin(self.run_admitted(turn, key, probe, leased)))
                    .await
            }
            Err(overloaded) => Err(overloaded),
        };
        if let Err(fault) = &outcome {
            self.self_metrics.local_error(fault.reason);
            if let Some(untold) = self.self_metrics.may_log_local_error() {
                let reason = fault.reason.as_str();
                tracing::warn!(
                    reason,
                    error = fault.detail,
                    untold,
                    "No probe result because of a local error"
                );
            }
        }
        outcome
    }

    /// Runs an admitted probe in the time that remains of its timeout.
    async fn run_admitted(
        &self,
        turn: Admission,
        key: SeriesKey,
        mut probe: Probe,
        leased: Option<LeasedRun>,
    ) -> Result<Reading, LocalError> {
        let waited = turn.waited();
        self.self_metrics.queued(waited);
        let left = probe.timeout.saturating_sub(waited).max(SHORTEST_DEADLINE);
        probe.timeout = probe.timeout.min(left);
        let begun = clock::now();
        let kept = leased.as_ref().and_then(|turn| turn.kept.clone());
        let kept = kept.or_else(|| self.series.peek(&key));
        let previous = self.previous(&key, kept.as_deref(), &probe);
        let mut finding = match &turn {
            Admission::TimedOut(_, words) => probe.not_begun(&previous, Reason::LocalConcurrencyLimit, words),
            Admission::Admitted { .. } => probe.once(&previous).await?,
        };
        finding.lag = leased.as_ref().map(|turn| turn.lag);
        finding.late = finding.report.scheduling_delay() > LATE || leased.is_some_and(|turn| turn.late);
        Ok(self.record(&key, finding, kept, begun))
    }

    /// Takes the permits of a probe: one of its destination, if `per_destination` is set, and one of the total.
    async fn admit(&self, probe: &Probe, caller: Caller) -> Result<Admission, LocalError> {
        let (mut among, mut waited) = (None, Duration::ZERO);
        if let Some((destination, most)) = destination(probe) {
            // A probe with less than half of its time left could fail because of the queue, not because of its target.
            let wait = probe.timeout / 2;
            let Some(place) = self.concurrency.acquire_for_destination(destination, most, wait).await else {
                let words = format!(
                    "no permit was free within half of the timeout: {most} probes of this host and port were already \
                     running (limits.per_destination)"
                );
                return Ok(Admission::TimedOut(wait, words));
            };
            waited += place.waited;
            among = Some(place);
        }
        let wait = probe.context.limits.queue.min(probe.timeout / 10);
        let Some((share, queued)) = self.concurrency.acquire(caller, wait).await else {
            self.self_metrics.shed("probes");
            return Err(LocalError {
                reason: Reason::LocalOverloaded,
                detail: "no permit was free for this caller (limits.probes, or the limit of open files)".to_owned(),
            });
        };
        Ok(Admission::Admitted {
            waited: waited + queued,
            _among: among,
            _share: share,
        })
    }

    /// Returns the results of the key's earlier probes.
    fn previous(&self, key: &SeriesKey, kept: Option<&KeyState>, probe: &Probe) -> PreviousProbes {
        let now = clock::now();
        let mut previous = match kept {
            Some(kept) => kept.target_state().previous(now),
            None => PreviousProbes::default(),
        };
        previous.budget = Some(self.budgets.account(key));
        previous.outage_detected = self.outage_detector.failed(probe.requested.target.host(), now);
        previous
    }

    /// Counts and logs the finding, updates the key's state, and stores the finding as evidence.
    fn record(&self, key: &SeriesKey, finding: Finding, held: Option<Arc<KeyState>>, scraped: Instant) -> Reading {
        self.self_metrics.probed(&finding);
        debug_log::log(&finding);
        log(&self.self_metrics, key, &finding);
        let now = clock::now();
        let began = finding.report.began;
        let created = began.checked_sub(CREATED_BEFORE).unwrap_or(UNIX_EPOCH);
        // Use the current module: a probe that started before a reload must not restore the old histogram buckets.
        let config = self.config.load();
        let module = config.module(&finding.module.name).unwrap_or(&finding.module);
        let target = &finding.requested.target;
        let layout = self.series.layout(module, target);
        let make = || Series::new(layout.clone(), created);
        let kept = match held.filter(|_| finding.lag.is_some()) {
            Some(held) => {
                self.series.hold(key, &held, now);
                held
            }
            None => self.series.series(key, now, make),
        };
        let id = self.history.name();
        {
            let mut series = kept.series();
            series.fit(layout, created);
            series.observe(&finding, id);
        }
        let mut gauges = probe_metrics::gauges(&finding);
        if finding.lag.is_some() {
            let last_run = began.duration_since(UNIX_EPOCH).unwrap_or_default();
            gauges.set(&LAST_RUN, last_run.as_secs_f64());
        } else {
            kept.target_state().scraped = Some(scraped);
        }
        kept.target_state().learn(&finding, id, now);
        self.observe_outages(&finding, now);
        let entry = self.history.add(id, finding);
        {
            let mut memory = kept.target_state();
            memory.remember(&entry.finding, now);
            let reason = entry.finding.verdict.as_ref().map(|verdict| verdict.reason);
            let previous = memory.latest.replace(LatestProbe {
                evidence: id,
                at: now,
                reason,
            });
            if self.history.store().is_some()
                && let Some(why) = memory.select_for_storage(previous, reason, now)
            {
                self.history.keep(&entry, why);
            }
        }
        Reading { entry, gauges, kept }
    }

    /// Passes the result to the outage detector, which compares the results of different hosts.
    fn observe_outages(&self, finding: &Finding, now: Instant) {
        // A probe that did not start proves nothing about the network.
        let fault = finding.report.fault.as_ref();
        if fault.is_some_and(|fault| matches!(fault.reason, Reason::LocalConcurrencyLimit | Reason::LocalDenied)) {
            return;
        }
        let host = finding.requested.target.host();
        // A unix socket has no host.
        if !host.is_empty() {
            self.outage_detector.observe(host, &finding.report, now);
        }
    }

    /// Limits a panic to the probe in which it occurs, including the recording of its finding. Unwind safety: shared
    /// state is consistent after each step. A separate task would also contain the panic, but would wake another thread
    /// for each probe.
    async fn guarded<T>(&self, work: impl Future<Output = Result<T, LocalError>>) -> Result<T, LocalError> {
        let outcome = AssertUnwindSafe(work).catch_unwind().await;
        outcome.unwrap_or_else(|_panic| {
            self.self_metrics.panicked();
            Err(LocalError {
                reason: Reason::LocalPanic,
                detail: "this is a defect of the exporter; please report it".to_owned(),
            })
        })
    }
}

/// Result of the admission of a probe.
enum Admission {
    /// The probe holds its permits until its finding is recorded.
    Admitted {
        waited: Duration,
        _among: Option<Permit>,
        _share: FairPermit,
    },
    /// No permit of the destination was free: time that the probe waited, and the error message.
    TimedOut(Duration, String),
}

impl Admission {
    /// Time that the probe waited for its permits.
    const fn waited(&self) -> Duration {
        match self {
            Self::Admitted { waited, .. } | Self::TimedOut(waited, _) => *waited,
        }
    }
}

/// Returns the destination (host and port) of a probe and its limit of concurrent probes.
fn destination(probe: &Probe) -> Option<(String, usize)> {
    let most = probe.context.limits.per_destination?;
    let origin = probe.module.prober.origin(&probe.requested)?;
    let port = origin.port.map_or_else(String::new, |port| format!(":{port}"));
    Some((format!("{}{port}", Host::new(&origin.host)), most))
}

/// Logs a probe. Repeated failures of a key are rate limited, and the next line contains the number of suppressed
/// lines.
fn log(self_metrics: &SelfMetrics, key: &SeriesKey, finding: &Finding) {
    let (module, target) = (&*finding.module.name, &finding.requested.target);
    let took = finding.report.took.as_secs_f64();
    let mut suppressed = None;
    if finding.verdict.is_some() {
        let mut hash = DefaultHasher::new();
        key.hash(&mut hash);
        let Some(before) = self_metrics.may_log(hash.finish()) else {
            return;
        };
        suppressed = Some(before).filter(|before| *before > 0);
    }
    match &finding.verdict {
        None => tracing::debug!(target: "prober", module, %target, duration_seconds = took, "Probe succeeded"),
        Some(verdict) if verdict.masked => tracing::warn!(
            target: "prober",
            module,
            %target,
            duration_seconds = took,
            phase = verdict.stage.phase(),
            link = verdict.link.as_str(),
            reason = verdict.reason.as_str(),
            masked = true,
            suppressed,
            "Probe succeeded but masks a fault"
        ),
        Some(verdict) => tracing::error!(
            target: "prober",
            module,
            %target,
            error = finding.report.fault.as_ref().map_or("", |fault| &fault.detail),
            duration_seconds = took,
            phase = verdict.stage.phase(),
            link = verdict.link.as_str(),
            reason = verdict.reason.as_str(),
            suppressed,
            "Probe failed"
        ),
    }
}

/// Counts one probe in flight until it is dropped.
struct InFlight<'a>(&'a watch::Sender<usize>);

impl<'a> InFlight<'a> {
    fn new(probes: &'a watch::Sender<usize>) -> Self {
        probes.send_modify(|probes| *probes += 1);
        Self(probes)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|probes| *probes -= 1);
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, Defaults};
    use crate::history::History;
    use crate::scheduler::lease::Lease;
    use crate::scheduler::{Caller, ClientAddress, Reading, Scheduler, ScrapeError};
    use crate::series::{SeriesKey, SeriesTable};
    use crate::workers::Workers;
    use glassbox_probe::check::{AddressFamily, Check, ProbeContext, Refusal, Resolver};
    use glassbox_probe::clock;
    use glassbox_probe::controls::Controls;
    use glassbox_probe::metrics::{Level, MetricPage};
    use glassbox_probe::policy::Origin;
    use glassbox_probe::probe::{LocalError, Probe};
    use glassbox_probe::probers::{
        DiagnosticsSettings, InitialSeries, Module, ProbeFuture, ProbeRequest, Prober, Variant,
    };
    use glassbox_probe::target::Target;
    use glassbox_verdict::reason::Reason;
    use glassbox_verdict::report::Report;
    use std::sync::Arc;
    use std::time::Duration;

    /// Prober that panics for the target `panic`, and has an invalid order of stages for the target `order`.
    #[derive(Debug)]
    struct Defective(Arc<Resolver>);

    impl Prober for Defective {
        fn probe<'a>(&'a self, check: &'a mut Check, requested: &'a ProbeRequest, _: Variant<'a>) -> ProbeFuture<'a> {
            Box::pin(async move {
                match requested.target.written() {
                    "panic" => panic!("intentional panic of the test"),
                    "order" => check.wait().await,
                    _ => Ok(()),
                }
            })
        }
        fn host(&self, _: &ProbeRequest) -> Result<(String, AddressFamily), Refusal> {
            Err(Refusal::of_target("no addresses"))
        }
        fn has_module_fields(&self, _: &ProbeRequest) -> bool {
            false
        }
        fn resolver(&self) -> &Arc<Resolver> {
            &self.0
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

    fn scheduler() -> Arc<Scheduler> {
        let config = Config::load_or_default(None, Defaults::default()).unwrap();
        let table = SeriesTable::new(10, Duration::from_hours(1));
        Arc::new(Scheduler::new(config, table, History::new(10, 1), Workers::default()))
    }

    async fn once(scheduler: &Arc<Scheduler>, target: &str) -> Result<Reading, LocalError> {
        let probe = Probe {
            module: Arc::new(Module {
                name: "m".into(),
                timeout: None,
                interval: None,
                metrics: Level::Standard,
                buckets: None,
                diagnostics: DiagnosticsSettings::default(),
                allowlist: None,
                prober: Arc::new(Defective(Arc::new(Resolver::with_servers(&[])))),
            }),
            requested: ProbeRequest {
                target: Target::new(target),
                hostname: None,
                backends: Vec::new(),
            },
            timeout: Duration::from_secs(5),
            controls: Arc::new(Controls::default()),
            context: ProbeContext::default(),
        };
        let key = SeriesKey::new(&probe.module, &probe.requested);
        scheduler
            .run(key, probe, None, Caller::Scrape(ClientAddress::default()))
            .await
    }

    #[tokio::test]
    async fn a_panic_in_one_probe_fails_that_probe_only() {
        let scheduler = scheduler();
        assert_eq!(once(&scheduler, "panic").await.unwrap_err().reason, Reason::LocalPanic);
        assert_eq!(scheduler.self_metrics.panics(), 1);
        assert!(once(&scheduler, "fine").await.is_ok());
        assert_eq!(*scheduler.in_flight.borrow(), 0);
    }

    #[tokio::test]
    async fn a_probe_with_an_invalid_order_of_stages_is_a_local_error() {
        let scheduler = scheduler();
        let failed = once(&scheduler, "order").await.unwrap_err();
        assert_eq!(failed.reason, Reason::LocalInternalError);
        assert!(failed.detail.contains("defect of the exporter"), "{}", failed.detail);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_keeps_its_last_reading_after_a_local_error_until_it_is_too_old() {
        let scheduler = scheduler();
        let lease = Lease::new(clock::now(), None);
        let (forever, at_once) = (Duration::from_hours(1), Duration::ZERO);
        lease.take(once(&scheduler, "panic").await);
        let ScrapeError::Fault(fault) = lease.reading(forever).await.unwrap_err() else {
            panic!("there is no reading yet");
        };
        assert_eq!(fault.reason, Reason::LocalPanic);
        lease.take(once(&scheduler, "fine").await);
        let read = lease.reading(forever).await.unwrap().entry.id;
        lease.take(once(&scheduler, "panic").await);
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(lease.reading(forever).await.unwrap().entry.id, read);
        let ScrapeError::Stale { fault, .. } = lease.reading(at_once).await.unwrap_err() else {
            panic!("every reading is older than zero");
        };
        assert_eq!(fault.unwrap().reason, Reason::LocalPanic);
    }
}
