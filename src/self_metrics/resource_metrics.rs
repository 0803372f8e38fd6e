//! Metrics of dropped log lines, failed reloads, and the memory of evidence and probes.

use super::metric_factory::MetricFactory;
use super::store_metrics::StoreMetrics;
use prometheus::{IntCounter, IntCounterVec, IntGauge};

/// Resource metrics of the process.
#[derive(Debug)]
pub(super) struct ResourceMetrics {
    log_dropped: IntCounterVec,
    pub log_suppressed: IntCounter,
    pub reload_failures: IntCounter,
    web_refused: IntCounter,
    evidence_bytes: IntGauge,
    evidence_dropped: IntCounter,
    memory: IntGauge,
    pub store: StoreMetrics,
}

/// Memory of evidence and probes.
#[derive(Clone, Copy, Debug, Default)]
pub struct HeldMemory {
    /// Size of the stored evidence in bytes.
    pub evidence: usize,
    /// Number of findings that were dropped because of the evidence's size limit.
    pub evidence_dropped: u64,
    /// Memory held by running probes in bytes.
    pub probes: usize,
    /// Number of times that a probe was refused memory.
    pub probes_refused: u64,
}

impl ResourceMetrics {
    pub fn new(make: &MetricFactory<'_>) -> Self {
        let resources = Self {
            log_dropped: make.counters(
                "glassbox_log_lines_dropped_total",
                "Log lines dropped, by reason: the queue was full, or a write to stderr failed",
                &["reason"],
            ),
            log_suppressed: make.counter(
                "glassbox_probe_log_lines_suppressed_total",
                "Log lines about failed probes that the per-key and total rate limits suppressed",
            ),
            reload_failures: make.counter(
                "glassbox_config_reload_failures_total",
                "Configuration reloads that failed or took longer than 10 s",
            ),
            web_refused: make.counter(
                "glassbox_web_config_reload_failures_total",
                "New web configuration versions that were refused; the previous version stays active",
            ),
            evidence_bytes: make.gauge("glassbox_evidence_bytes", "Size of the stored evidence in bytes"),
            evidence_dropped: make.counter(
                "glassbox_evidence_dropped_total",
                "Findings dropped early because the evidence reached limits.history_bytes",
            ),
            memory: make.gauge(
                "glassbox_probe_memory_bytes",
                "Memory that running probes hold for response headers, bodies and decoders, in bytes",
            ),
            store: StoreMetrics::new(make),
        };
        for reason in ["queue_full", "write_failed"] {
            resources.log_dropped.with_label_values(&[reason]);
        }
        resources
    }

    /// Updates the log writer and server counters.
    pub fn set_server_counts(&self, log_dropped: impl Iterator<Item = (&'static str, u64)>, web_refused: u64) {
        for (reason, lines) in log_dropped {
            raise(&self.log_dropped.with_label_values(&[reason]), lines);
        }
        raise(&self.web_refused, web_refused);
    }

    /// Updates the memory metrics.
    pub fn of_held(&self, held: HeldMemory) {
        for (gauge, bytes) in [(&self.evidence_bytes, held.evidence), (&self.memory, held.probes)] {
            gauge.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        }
        raise(&self.evidence_dropped, held.evidence_dropped);
    }
}

/// Raises a counter to a value that is counted elsewhere.
fn raise(counter: &IntCounter, to: u64) {
    counter.inc_by(to.saturating_sub(counter.get()));
}
