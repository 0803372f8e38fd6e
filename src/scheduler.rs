//! The scheduler: runs all probes of this process, both for scrapes and for leases.

mod concurrency;
mod debug_log;
mod fair_share;
mod lease;
mod run;
mod schedule;

pub use fair_share::{Caller, ClientAddress};
pub use run::Reading;

use crate::config::Config;
use crate::history::History;
use crate::history::store::EvidenceStore;
use crate::outage_detector::OutageDetector;
use crate::self_metrics::{HeldMemory, SelfMetrics, Snapshot};
use crate::series::{KeyState, SeriesKey, SeriesTable};
use crate::workers::Workers;
use arc_swap::{ArcSwap, Guard};
use concurrency::ConcurrencyLimiter;
use glassbox_probe::budget::DiagnosticsBudgets;
use glassbox_probe::check::{Denials, Dialer, FairnessKey, MemoryPool, ProbeContext, ProbeMemory};
use glassbox_probe::limits::Limits;
use glassbox_probe::metrics::Family;
use glassbox_probe::policy::PolicyRule;
use glassbox_probe::probe::{LocalError, Probe};
use glassbox_probe::probers::{Module, ProbeRequest};
use lease::Leases;
use nix::sys::resource::{Resource, getrlimit};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::watch;

/// Delay beyond which a measurement reflects the exporter more than the target.
const LATE: Duration = Duration::from_millis(50);

/// Runs the probes and holds the state that they share: configuration, series, history, leases and limits.
#[derive(Debug)]
pub struct Scheduler {
    config: ArcSwap<Config>,
    series: SeriesTable,
    history: History,
    outage_detector: OutageDetector,
    self_metrics: SelfMetrics,
    leases: Leases,
    concurrency: ConcurrencyLimiter,
    in_flight: watch::Sender<usize>,
    draining: AtomicBool,
    /// Maximum number of open files.
    files: usize,
    /// Addresses on which the exporter listens.
    listeners: OnceLock<Arc<[SocketAddr]>>,
    denials: Arc<Denials>,
    /// Memory held by all probes.
    memory: Arc<MemoryPool>,
    /// Additional requests of the diagnostics.
    budgets: Arc<DiagnosticsBudgets>,
    workers: Workers,
}

/// Why a scrape has no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScrapeError {
    /// The exporter itself failed.
    #[error(transparent)]
    Fault(#[from] LocalError),
    /// The first probe is still running: its module's deadline is later than the scrape's deadline.
    #[error("The first probe of this target is still running; retry.")]
    NotYet,
    /// The last probe of the lease is too old to represent the current state.
    #[error("The last probe of this target ended {:.1} s ago, so its result is too old: {}.", age.as_secs_f64(), since(fault.as_ref()))]
    Stale {
        /// Time since the last probe ended.
        age: Duration,
        /// Error of the last attempt to probe since then, if there was one.
        fault: Option<LocalError>,
    },
}

fn since(fault: Option<&LocalError>) -> String {
    fault.map_or_else(
        || "the exporter has not completed another probe since".to_owned(),
        ToString::to_string,
    )
}

/// Minimum time for which a lease's reading is current. If two intervals of its module are longer, the reading is
/// current for that time.
const PRESENT: Duration = Duration::from_secs(3);

/// Additional time that a scrape waits for the first probe, so that it can return the result of a probe that ends at
/// its deadline. Limited to a tenth of the probe's timeout.
const TO_BE_READ: Duration = Duration::from_millis(250);

impl Scheduler {
    /// Creates a scheduler that has not run any probe.
    #[must_use]
    pub fn new(config: Config, series: SeriesTable, history: History, workers: Workers) -> Self {
        let files = files();
        history.bound(config.limits().history_bytes);
        Self {
            concurrency: ConcurrencyLimiter::new(config.limits().within_files(files).probes),
            files,
            config: ArcSwap::from_pointee(config),
            series,
            history,
            outage_detector: OutageDetector::default(),
            self_metrics: SelfMetrics::new(),
            leases: Leases::default(),
            in_flight: watch::Sender::new(0),
            draining: AtomicBool::new(false),
            listeners: OnceLock::new(),
            denials: Arc::default(),
            memory: Arc::default(),
            budgets: Arc::default(),
            workers,
        }
    }

    /// Responds to a scrape with the latest reading of its lease. Without a lease it runs a probe. A scrape waits only
    /// for the first reading of a lease, or briefly for one that is overdue, and stops at its own deadline.
    ///
    /// # Errors
    /// When the exporter cannot run the probe for a local reason, when the first reading is not available in time, or
    /// when the last reading is too old.
    pub async fn scrape(self: &Arc<Self>, probe: Probe, caller: Caller) -> Result<Arc<Reading>, ScrapeError> {
        let key = SeriesKey::new(&probe.module, &probe.requested);
        let timeout = probe.timeout;
        let Some((lease, interval)) = self.lease_of(&key, &probe, caller) else {
            let reading = self.run(key, probe, None, caller).await?;
            return Ok(Arc::new(reading));
        };
        let wait = timeout + TO_BE_READ.min(timeout / 10);
        let reading = tokio::time::timeout(wait, lease.reading((2 * interval).max(PRESENT))).await;
        reading.map_err(|_| ScrapeError::NotYet)?
    }

    /// Runs a probe now, also if its key has a lease.
    ///
    /// # Errors
    /// When the exporter cannot run the probe for a local reason.
    pub async fn probe_now(&self, probe: Probe, caller: Caller) -> Result<Reading, LocalError> {
        let key = SeriesKey::new(&probe.module, &probe.requested);
        self.run(key, probe, None, caller).await
    }

    /// Returns the state of a key, if it has been probed.
    #[must_use]
    pub fn state(&self, key: &SeriesKey) -> Option<Arc<KeyState>> {
        self.series.peek(key)
    }

    /// Returns the active configuration.
    pub fn config(&self) -> Guard<Arc<Config>> {
        self.config.load()
    }

    /// Activates a configuration. Leases of modules that it still contains continue with the new settings.
    pub fn reconfigure(&self, config: Config) {
        self.config.store(Arc::new(config));
        let limits = self.limits();
        self.concurrency.set(limits.probes);
        self.history.bound(limits.history_bytes);
        self.leases.reconsider();
    }

    /// Returns the active limits.
    pub fn limits(&self) -> Limits {
        self.config.load().limits().within_files(self.files)
    }

    /// Records the addresses on which the exporter listens.
    pub fn listens_at(&self, listeners: Arc<[SocketAddr]>) {
        // Called once at the start. The addresses do not change while the process runs.
        let _first = self.listeners.set(listeners);
    }

    /// Returns the policy and the limits that apply to a probe.
    pub fn context(&self, module: &Module, requested: &ProbeRequest) -> ProbeContext {
        let config = self.config.load();
        let listeners = self.listeners.get().cloned().unwrap_or_default();
        let dialer = Dialer::new(config.policy().clone(), listeners, self.denials.clone());
        ProbeContext {
            dialer: dialer.within(module.allowlist.clone()),
            limits: *config.limits(),
            memory: ProbeMemory::new(self.memory.clone(), config.limits().probe_memory),
            host: FairnessKey::of(requested.target.host()),
        }
    }

    /// Counts a request for a target that the module does not allow.
    pub fn denied(&self) {
        self.denials.count(PolicyRule::AllowedTargets);
    }

    /// Returns all keys with their stored state.
    #[must_use]
    pub fn keys(&self) -> Vec<(Arc<SeriesKey>, Arc<KeyState>)> {
        self.series.all()
    }

    /// Returns the stored evidence.
    pub const fn history(&self) -> &History {
        &self.history
    }

    /// Returns the worker threads, on which connections and leases run.
    pub const fn workers(&self) -> &Workers {
        &self.workers
    }

    /// Returns the exporter's own counters.
    pub const fn self_metrics(&self) -> &SelfMetrics {
        &self.self_metrics
    }

    /// Returns all of the exporter's own metrics.
    #[must_use]
    pub fn self_metric_families(&self) -> Vec<Family> {
        let (evidence, evidence_dropped) = self.history.held();
        self.self_metrics.families(&Snapshot {
            in_flight: *self.in_flight.borrow(),
            leases: self.leases.count(),
            without_allowlist: self.config.load().without_allowlist(),
            denials: &self.denials,
            limits: &self.limits(),
            table: self.series.stats(),
            held: HeldMemory {
                evidence,
                evidence_dropped,
                probes: self.memory.held(),
                probes_refused: self.memory.refused(),
            },
            store: self.history.store().map(EvidenceStore::stats),
        })
    }

    /// Starts the shutdown: leases end, and no new scrape is accepted. [`Scheduler::idle`] waits for the last probe.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
        self.leases.reconsider();
    }

    /// Returns whether the exporter is shutting down.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    /// Waits until no probe is in flight.
    pub async fn idle(&self) {
        // `self` owns the sender, so waiting cannot fail.
        let _ = self.in_flight.subscribe().wait_for(|probes| *probes == 0).await;
    }
}

/// Maximum number of open files of this process.
fn files() -> usize {
    let limit = getrlimit(Resource::RLIMIT_NOFILE);
    limit.map_or(usize::MAX, |(soft, _)| usize::try_from(soft).unwrap_or(usize::MAX))
}
