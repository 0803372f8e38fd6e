//! Metrics of the exporter itself (`/metrics`), including those of `blackbox_exporter` under their names.

mod dialer_metrics;
mod failure_log;
mod limit_metrics;
mod metric_factory;
mod process;
mod resource_metrics;
mod stalls;
mod store_metrics;

use crate::history::store::StoreStats;
use crate::series::TableStats;
use dialer_metrics::ConnectionMetrics;
use failure_log::FailureLogLimiter;
use glassbox_probe::check::{Denials, panics_outside_probes};
use glassbox_probe::limits::Limits;
use glassbox_probe::metrics::Family;
use glassbox_probe::probe::Finding;
use glassbox_verdict::investigation::BudgetRefusal;
use glassbox_verdict::reason::Reason;
use limit_metrics::LimitMetrics;
use metric_factory::MetricFactory;
pub use metric_factory::platform;
use parking_lot::Mutex;
use prometheus::{Gauge, Histogram, IntCounter, IntCounterVec, IntGauge, Registry};
pub use resource_metrics::HeldMemory;
use resource_metrics::ResourceMetrics;
use stalls::WorkerStalls;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Counters and gauges of the exporter itself.
#[derive(Debug)]
pub struct SelfMetrics {
    registry: Registry,
    reload_successful: IntGauge,
    reload_timestamp: Gauge,
    unknown_modules: IntCounter,
    scrapes: IntCounterVec,
    dials: ConnectionMetrics,
    in_flight: IntGauge,
    local_errors: IntCounterVec,
    panics: IntCounter,
    /// Number of panics outside of probes that `panics` already includes.
    panics_outside_probes: AtomicU64,
    series_keys: IntGauge,
    series_evictions: IntCounterVec,
    bounds: LimitMetrics,
    resources: ResourceMetrics,
    probe_log: FailureLogLimiter,
    time: LatenessMetrics,
    stalls: WorkerStalls,
    sync: Mutex<()>,
    /// Time of the last logged local error, and the number of local errors suppressed since then.
    told: Mutex<(Option<Instant>, u64)>,
}

/// Values that are counted elsewhere.
#[derive(Clone, Copy, Debug)]
pub struct Snapshot<'a> {
    /// Number of running probes.
    pub in_flight: usize,
    /// Number of leased keys, which are probed between scrapes.
    pub leases: usize,
    /// Number of modules that send a secret but do not set `allowed_targets`.
    pub without_allowlist: usize,
    /// Counters of denied targets and addresses.
    pub denials: &'a Denials,
    /// Active limits.
    pub limits: &'a Limits,
    /// Statistics of the series table.
    pub table: TableStats,
    /// Memory of evidence and probes.
    pub held: HeldMemory,
    /// Counts of the evidence on disk; `None` without `--history.path`.
    pub store: Option<&'a StoreStats>,
}

/// Metrics of delays within the exporter.
#[derive(Debug)]
struct LatenessMetrics {
    late: IntCounter,
    wakeup_delay: Histogram,
    leases: IntGauge,
    lease_lag: Histogram,
    lease_skips: IntCounter,
}

/// Histogram buckets, in seconds: from the precision of kernel timestamps to the delay of a stalled process.
const WAKEUP_BOUNDS: [f64; 12] = [
    0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0,
];

/// Histogram buckets, in seconds.
const LAG_BOUNDS: [f64; 11] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5];

impl SelfMetrics {
    /// Registers all metrics. Series with known labels start at 0.
    #[must_use]
    pub fn new() -> Self {
        let registry = Registry::new();
        let make = MetricFactory(&registry);
        make.build_infos();
        #[cfg(target_os = "linux")]
        make.register(prometheus::process_collector::ProcessCollector::for_self());
        let own = Self {
            reload_successful: make.gauge(
                "blackbox_exporter_config_last_reload_successful",
                "Blackbox exporter config loaded successfully.",
            ),
            reload_timestamp: make.float_gauge(
                "blackbox_exporter_config_last_reload_success_timestamp_seconds",
                "Timestamp of the last successful configuration reload.",
            ),
            unknown_modules: make.counter(
                "blackbox_module_unknown_total",
                "Count of unknown modules requested by probes",
            ),
            scrapes: make.counters(
                "promhttp_metric_handler_requests_total",
                "Total number of scrapes by HTTP status code.",
                &["code"],
            ),
            dials: ConnectionMetrics::new(&make),
            in_flight: make.gauge("glassbox_probes_in_flight", "Probes that are running or waiting for a permit"),
            local_errors: make.counters(
                "glassbox_local_errors_total",
                "Probes without a result because of an error in the exporter itself, by reason; their scrapes get a 503",
                &["reason"],
            ),
            panics_outside_probes: AtomicU64::default(),
            panics: make.counter(
                "glassbox_panics_total",
                "Panics that the exporter caught; each one is a defect to report",
            ),
            series_keys: make.gauge(
                "glassbox_series_keys",
                "Keys (module, target, hostname, backends) with stored series",
            ),
            series_evictions: make.counters(
                "glassbox_series_evictions_total",
                "Keys whose series were dropped, by reason: the limit was reached, or the key was no longer scraped",
                &["reason"],
            ),
            bounds: LimitMetrics::new(&make),
            resources: ResourceMetrics::new(&make),
            probe_log: FailureLogLimiter::default(),
            time: LatenessMetrics::new(&make),
            stalls: WorkerStalls::new(&make),
            registry: registry.clone(),
            sync: Mutex::default(),
            told: Mutex::default(),
        };
        // This response is the scrape in flight; blackbox_exporter counts it the same way.
        make.gauge(
            "promhttp_metric_handler_requests_in_flight",
            "Current number of scrapes being served.",
        )
        .set(1);
        own.begin_at_zero();
        own
    }

    /// Creates the series with known labels, so that they exist from the first scrape.
    fn begin_at_zero(&self) {
        for code in ["200", "500", "503"] {
            self.scrapes.with_label_values(&[code]);
        }
        for reason in Reason::ALL.iter().filter(|reason| reason.is_local_error()) {
            self.local_errors.with_label_values(&[reason.as_str()]);
        }
        for reason in ["idle", "room"] {
            self.series_evictions.with_label_values(&[reason]);
        }
    }

    /// Adds the URL at which browsers reach the exporter. Alerts read it to link to evidence.
    pub fn set_external_url(&self, url: &str) {
        MetricFactory(&self.registry).external_url(url);
    }

    /// Records the result of a configuration load.
    pub fn reloaded(&self, well: bool) {
        self.reload_successful.set(well.into());
        if well {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            self.reload_timestamp.set(now.as_secs_f64());
        } else {
            self.reload_failed();
        }
    }

    /// Counts a failed reload. Does not change the result of the last reload.
    pub fn reload_failed(&self) {
        self.resources.reload_failures.inc();
    }

    /// Returns the number of log lines suppressed for a key since its last line, or `None` if its failed probe must not
    /// be logged. `key` is the hash of the key.
    pub fn may_log(&self, key: u64) -> Option<u64> {
        let may = self.probe_log.may_log(key, Instant::now());
        if may.is_none() {
            self.resources.log_suppressed.inc();
        }
        may
    }

    /// Updates the log writer and server counters.
    pub fn set_server_counts(&self, log_dropped: impl Iterator<Item = (&'static str, u64)>, web_refused: u64) {
        let _one_at_a_time = self.sync.lock();
        self.resources.set_server_counts(log_dropped, web_refused);
    }

    /// Counts a scrape that names an unknown module.
    pub fn unknown_module(&self) {
        self.unknown_modules.inc();
    }

    /// Counts a caught panic.
    pub fn panicked(&self) {
        self.panics.inc();
    }

    /// Returns the number of caught panics.
    #[must_use]
    pub fn panics(&self) -> u64 {
        self.panics.get()
    }

    /// Counts a probe that did not start because of a limit (`probes` or `connections`).
    pub fn shed(&self, reason: &str) {
        self.bounds.shed.with_label_values(&[reason]).inc();
        self.bounds.met(reason);
    }

    /// Records the time that a probe waited for its permits.
    pub fn queued(&self, waited: Duration) {
        self.bounds.queue.observe(waited.as_secs_f64());
    }

    /// Counts a connection that the exporter closed.
    pub fn connection_ended(&self, reason: &str) {
        self.bounds.connections_ended.with_label_values(&[reason]).inc();
    }

    /// Sets the number of open connections.
    pub fn connections(&self, held: usize) {
        self.bounds.connections.set(i64::try_from(held).unwrap_or(i64::MAX));
    }

    /// Counts that a limit was reached. The limit is identified by its configuration key.
    pub fn met(&self, limit: &str) {
        self.bounds.met(limit);
    }

    /// Returns the number of suppressed local errors since the last logged one, or `None` if the new one must not be
    /// logged. One line per second is allowed.
    pub fn may_log_local_error(&self) -> Option<u64> {
        let mut told = self.told.lock();
        let (last, untold) = &mut *told;
        if last.is_some_and(|last| last.elapsed() < Duration::from_secs(1)) {
            *untold += 1;
            return None;
        }
        *last = Some(Instant::now());
        Some(std::mem::take(untold))
    }

    /// Counts a probe that failed for a local reason.
    pub fn local_error(&self, reason: Reason) {
        self.local_errors.with_label_values(&[reason.as_str()]).inc();
    }

    /// Records the delay of a leased probe after its due time.
    pub fn leased_probe(&self, lag: Duration) {
        self.time.lease_lag.observe(lag.as_secs_f64());
    }

    /// Counts skipped leased probes.
    pub fn skipped(&self, probes: u64) {
        self.time.lease_skips.inc_by(probes);
    }

    /// Counts a probe and its connections. Connections are counted as in blackbox_exporter.
    pub fn probed(&self, finding: &Finding) {
        if finding.late {
            self.time.late.inc();
        }
        if let Some(fault) = &finding.report.fault {
            self.bounds.ended_with(fault.reason);
        }
        let investigation = finding.investigation.as_ref().filter(|_| !finding.reused);
        if investigation.is_some_and(|found| found.refused(BudgetRefusal::Process)) {
            self.bounds.met("diagnostics");
        }
        if let Some(delay) = finding.report.wakeup_delay() {
            self.time.wakeup_delay.observe(delay.as_secs_f64());
        }
        self.dials.probed(finding);
    }

    /// Counts a scrape of the exporter's own metrics, by response status code.
    pub fn scraped(&self, code: &str) {
        self.scrapes.with_label_values(&[code]).inc();
    }

    /// Returns all of the exporter's own metrics, in its metric model.
    pub fn families(&self, snapshot: &Snapshot<'_>) -> Vec<Family> {
        let table = snapshot.table;
        // Two concurrent scrapes must not count the same increase twice.
        let _one_at_a_time = self.sync.lock();
        for (gauge, value) in [
            (&self.in_flight, snapshot.in_flight),
            (&self.time.leases, snapshot.leases),
            (&self.bounds.without_allowlist, snapshot.without_allowlist),
            (&self.series_keys, table.keys),
        ] {
            gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        }
        for (reason, evicted) in [("idle", table.evicted_idle), ("room", table.evicted_for_room)] {
            let counter = self.series_evictions.with_label_values(&[reason]);
            counter.inc_by(evicted.saturating_sub(counter.get()));
        }
        self.bounds
            .take_over(snapshot.denials, snapshot.limits, snapshot.held.probes_refused);
        self.resources.of_held(snapshot.held);
        if let Some(stats) = snapshot.store {
            self.resources.store.take_over(stats);
        }
        self.stalls.take_over();
        let beside = panics_outside_probes();
        self.panics
            .inc_by(beside - self.panics_outside_probes.swap(beside, Ordering::Relaxed));
        let families = self.registry.gather();
        families
            .iter()
            .map(metric_factory::family)
            .filter_map(process::known)
            .chain(process::left_out())
            .collect()
    }
}

impl Default for SelfMetrics {
    fn default() -> Self {
        Self::new()
    }
}

impl LatenessMetrics {
    fn new(make: &MetricFactory) -> Self {
        Self {
            late: make.counter(
                "glassbox_late_probes_total",
                "Probes that started late or handled a network event late; phase durations use the time of the event",
            ),
            wakeup_delay: make.histogram(
                "glassbox_wakeup_delay_seconds",
                "Longest delay per probe from the kernel timestamp of a network event to its handling, in seconds",
                &WAKEUP_BOUNDS,
            ),
            leases: make.gauge("glassbox_leases", "Keys that are probed between scrapes"),
            lease_lag: make.histogram(
                "glassbox_lease_lag_seconds",
                "Time from the due time of a leased probe to its start, in seconds",
                &LAG_BOUNDS,
            ),
            lease_skips: make.counter(
                "glassbox_lease_skips_total",
                "Scheduled probes of leased keys that were skipped because the exporter was running late",
            ),
        }
    }
}
