//! `/metrics`: the exporter itself, and the peer's own metrics under their old names.

use super::Shared;
use super::probe::exposition;
use crate::chain::Stage;
use crate::exposition::text;
use crate::metrics::{Family, Kind, Sample, Value};
use crate::probe::Finding;
use crate::reason::Reason;
use crate::series::TableStats;
use axum::http::HeaderMap;
use axum::response::Response;
use prometheus::proto::{MetricFamily, MetricType};
use prometheus::{Gauge, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// What the exporter counts about itself.
#[derive(Debug)]
pub struct Own {
    registry: Registry,
    reload_successful: IntGauge,
    reload_timestamp: Gauge,
    unknown_modules: IntCounter,
    scrapes: IntCounterVec,
    dials: Dials,
    in_flight: IntGauge,
    local_errors: IntCounterVec,
    panics: IntCounter,
    series_keys: IntGauge,
    series_evictions: IntCounterVec,
    sync: Mutex<()>,
}

/// The peer's counters of its dialer.
#[derive(Debug)]
struct Dials {
    attempted: IntCounterVec,
    established: IntCounterVec,
    closed: IntCounterVec,
    failed: IntCounterVec,
}

/// The peer's one name for its dialer.
const DIALER: &str = "http_probe";

const OWN_FAULTS: [Reason; 4] = [
    Reason::LocalOutOfFiles,
    Reason::LocalOutOfPorts,
    Reason::LocalOutOfMemory,
    Reason::LocalPanicked,
];

impl Own {
    /// Registers everything; what is known in advance starts at 0.
    #[must_use]
    pub fn new() -> Self {
        let registry = Registry::new();
        let make = Maker(&registry);
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
            dials: make.dials(),
            in_flight: make.gauge("glassbox_probes_in_flight", "Probes that are running now"),
            local_errors: make.counters(
                "glassbox_local_errors_total",
                "Probes that could not be made for a fault of the exporter's own side, answered with 503",
                &["reason"],
            ),
            panics: make.counter(
                "glassbox_panics_total",
                "Panics caught in probes; each is a defect worth a report",
            ),
            series_keys: make.gauge(
                "glassbox_series_keys",
                "Keys (module, target, hostname) whose series are kept",
            ),
            series_evictions: make.counters(
                "glassbox_series_evictions_total",
                "Keys whose series were dropped, for want of room or because nobody asked for them",
                &["reason"],
            ),
            registry: registry.clone(),
            sync: Mutex::default(),
        };
        // This answer is the scrape in flight; the peer counts it so.
        make.gauge(
            "promhttp_metric_handler_requests_in_flight",
            "Current number of scrapes being served.",
        )
        .set(1);
        own.begin_at_zero();
        own
    }

    /// What is known in advance is there from the first scrape.
    fn begin_at_zero(&self) {
        for code in ["200", "500", "503"] {
            self.scrapes.with_label_values(&[code]);
        }
        for reason in OWN_FAULTS {
            self.local_errors.with_label_values(&[reason.as_str()]);
        }
        for reason in ["idle", "room"] {
            self.series_evictions.with_label_values(&[reason]);
        }
    }

    /// A configuration was loaded, or not.
    pub fn reloaded(&self, well: bool) {
        self.reload_successful.set(well.into());
        if well {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            self.reload_timestamp.set(now.as_secs_f64());
        }
    }

    pub(super) fn unknown_module(&self) {
        self.unknown_modules.inc();
    }

    pub(super) fn panicked(&self) {
        self.panics.inc();
    }

    #[cfg(test)]
    pub(super) fn panics(&self) -> u64 {
        self.panics.get()
    }

    pub(super) fn local_error(&self, reason: Reason) {
        self.local_errors.with_label_values(&[reason.as_str()]).inc();
    }

    /// Counts the connections of a probe as the peer counts them.
    pub(super) fn probed(&self, finding: &Finding) {
        for lap in finding.report.laps().filter(|lap| lap.stage() == Stage::Connect) {
            self.dials.attempted.with_label_values(&[DIALER]).inc();
            let Some(reason) = lap.failed() else {
                self.dials.established.with_label_values(&[DIALER]).inc();
                self.dials.closed.with_label_values(&[DIALER]).inc();
                continue;
            };
            let word = match reason {
                Reason::TcpRefused => "refused",
                Reason::TcpTimedOut => "timeout",
                _ => "unknown",
            };
            self.dials.failed.with_label_values(&[DIALER, word]).inc();
        }
    }

    fn families(&self, in_flight: usize, table: TableStats) -> Vec<Family> {
        // Two scrapes at once must not both count what was evicted since the last.
        let _one_at_a_time = self.sync.lock().unwrap_or_else(PoisonError::into_inner);
        self.in_flight.set(i64::try_from(in_flight).unwrap_or(i64::MAX));
        self.series_keys.set(i64::try_from(table.keys).unwrap_or(i64::MAX));
        for (reason, evicted) in [("idle", table.evicted_idle), ("room", table.evicted_for_room)] {
            let counter = self.series_evictions.with_label_values(&[reason]);
            counter.inc_by(evicted.saturating_sub(counter.get()));
        }
        self.registry.gather().iter().map(family).collect()
    }
}

impl Default for Own {
    fn default() -> Self {
        Self::new()
    }
}

/// Answers a scrape of the exporter itself.
pub(super) async fn page(app: Shared, headers: HeaderMap) -> Response {
    let in_flight = *app.in_flight.borrow();
    let mut families = app.own.families(in_flight, app.series.stats());
    families.extend(app.config.load().controls().healthy().map(vantage));
    families.sort_by(|one, other| one.name.cmp(&other.name));
    app.own.scrapes.with_label_values(&["200"]).inc();
    exposition(text::write(&families), &headers)
}

/// Only where there are controls, so not in the registry.
fn vantage(healthy: bool) -> Family {
    Family {
        name: "glassbox_vantage_healthy".into(),
        help: "0 while the controls say that the exporter's own side is suspect".into(),
        kind: Kind::Gauge,
        samples: vec![Sample {
            labels: Vec::new(),
            value: Value::Number(f64::from(u8::from(healthy))),
        }],
    }
}

/// Makes metrics in a registry. Names are ours and constant, so making them cannot fail.
struct Maker<'a>(&'a Registry);

impl Maker<'_> {
    fn register(&self, collector: impl prometheus::core::Collector + 'static) {
        self.0
            .register(Box::new(collector))
            .expect("each name is registered once");
    }

    fn counter(&self, name: &str, help: &str) -> IntCounter {
        let metric = IntCounter::new(name, help).expect("a constant name is valid");
        self.register(metric.clone());
        metric
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        let metric = IntCounterVec::new(Opts::new(name, help), labels).expect("a constant name is valid");
        self.register(metric.clone());
        metric
    }

    fn gauge(&self, name: &str, help: &str) -> IntGauge {
        let metric = IntGauge::new(name, help).expect("a constant name is valid");
        self.register(metric.clone());
        metric
    }

    fn float_gauge(&self, name: &str, help: &str) -> Gauge {
        let metric = Gauge::new(name, help).expect("a constant name is valid");
        self.register(metric.clone());
        metric
    }

    fn info(&self, name: &str, help: &str, labels: &[(&str, &str)]) {
        let names: Vec<_> = labels.iter().map(|label| label.0).collect();
        let values: Vec<_> = labels.iter().map(|label| label.1).collect();
        let metric = IntGaugeVec::new(Opts::new(name, help), &names).expect("a constant name is valid");
        metric.with_label_values(&values).set(1);
        self.register(metric);
    }

    fn build_infos(&self) {
        let version = env!("CARGO_PKG_VERSION");
        let compiler = concat!("rust", env!("CARGO_PKG_RUST_VERSION"));
        // Go's names for what the peer's dashboards show.
        let arch = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        let os = std::env::consts::OS;
        self.info(
            "glassbox_build_info",
            "A metric with a constant '1' value labeled by the version from which glassbox_exporter was built.",
            &[("version", version), ("compiler", compiler)],
        );
        self.info(
            "blackbox_exporter_build_info",
            "A metric with a constant '1' value labeled by version, revision, branch, goversion from which blackbox_exporter was built, and the goos and goarch for the build.",
            &[
                ("branch", ""),
                ("goarch", arch),
                ("goos", os),
                ("goversion", compiler),
                ("revision", ""),
                ("tags", "glassbox_exporter"),
                ("version", version),
            ],
        );
    }

    fn dials(&self) -> Dials {
        let one = |name: &str, help: &str| self.counters(name, help, &["dialer_name"]);
        let dials = Dials {
            attempted: one(
                "net_conntrack_dialer_conn_attempted_total",
                "Total number of connections attempted by the given dialer a given name.",
            ),
            established: one(
                "net_conntrack_dialer_conn_established_total",
                "Total number of connections successfully established by the given dialer a given name.",
            ),
            closed: one(
                "net_conntrack_dialer_conn_closed_total",
                "Total number of connections closed which originated from the dialer of a given name.",
            ),
            failed: self.counters(
                "net_conntrack_dialer_conn_failed_total",
                "Total number of connections failed to dial by the dialer a given name.",
                &["dialer_name", "reason"],
            ),
        };
        for counters in [&dials.attempted, &dials.established, &dials.closed] {
            counters.with_label_values(&[DIALER]);
        }
        for reason in ["refused", "resolution", "timeout", "unknown"] {
            dials.failed.with_label_values(&[DIALER, reason]);
        }
        dials
    }
}

/// The registry's family in our model. It holds gauges and counters only.
fn family(family: &MetricFamily) -> Family {
    let is_counter = family.type_() == MetricType::COUNTER;
    let samples = family.get_metric().iter().map(|metric| {
        let value = if is_counter {
            metric.get_counter().value()
        } else {
            metric.get_gauge().value()
        };
        Sample {
            labels: metric
                .get_label()
                .iter()
                .map(|pair| (pair.name().to_owned().into(), pair.value().to_owned().into()))
                .collect(),
            value: Value::Number(value),
        }
    });
    Family {
        name: family.name().to_owned().into(),
        help: family.help().to_owned().into(),
        kind: if is_counter { Kind::Counter } else { Kind::Gauge },
        samples: samples.collect(),
    }
}
