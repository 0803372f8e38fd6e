//! Metrics of the process's resources: dropped log lines, failed reloads, and the memory of evidence and probes.

use super::metric_factory::MetricFactory;
use prometheus::{IntCounter, IntCounterVec, IntGauge};

/// The counts.
#[derive(Debug)]
pub(super) struct ResourceMetrics {
    log_dropped: IntCounterVec,
    pub log_suppressed: IntCounter,
    pub reload_failures: IntCounter,
    web_refused: IntCounter,
    evidence_bytes: IntGauge,
    evidence_dropped: IntCounter,
    memory: IntGauge,
}

/// What the process holds now, and what it has dropped so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct HeldMemory {
    /// Bytes of the evidence.
    pub evidence: usize,
    /// Findings that were dropped because evidence may have no more bytes.
    pub evidence_dropped: u64,
    /// Bytes that probes hold.
    pub probes: usize,
    /// How often there was no room for a probe.
    pub probes_refused: u64,
}

impl ResourceMetrics {
    pub fn new(make: &MetricFactory<'_>) -> Self {
        let resources = Self {
            log_dropped: make.counters(
                "glassbox_log_lines_dropped_total",
                "Log lines that were dropped: the queue was full, or stderr could not be written",
                &["reason"],
            ),
            log_suppressed: make.counter(
                "glassbox_probe_log_lines_suppressed_total",
                "Log lines of failed probes that the rate limit for each target and for all of them left out",
            ),
            reload_failures: make.counter(
                "glassbox_config_reload_failures_total",
                "Reloads of the configuration that failed or took longer than 10 s",
            ),
            web_refused: make.counter(
                "glassbox_web_config_reload_failures_total",
                "New versions of the web configuration that were refused; what was served before stays",
            ),
            evidence_bytes: make.gauge("glassbox_evidence_bytes", "Bytes that the kept evidence takes"),
            evidence_dropped: make.counter(
                "glassbox_evidence_dropped_total",
                "Findings dropped early because the evidence reached limits.history_bytes",
            ),
            memory: make.gauge(
                "glassbox_probe_memory_bytes",
                "Bytes that running probes hold: response heads, bodies and decoders",
            ),
        };
        for reason in ["queue_full", "write_failed"] {
            resources.log_dropped.with_label_values(&[reason]);
        }
        resources
    }

    /// Brings up to date what is counted by the log and by the server.
    pub fn set_server_counts(&self, log_dropped: impl Iterator<Item = (&'static str, u64)>, web_refused: u64) {
        for (reason, lines) in log_dropped {
            raise(&self.log_dropped.with_label_values(&[reason]), lines);
        }
        raise(&self.web_refused, web_refused);
    }

    /// Brings up to date what is held.
    pub fn of_held(&self, held: HeldMemory) {
        for (gauge, bytes) in [(&self.evidence_bytes, held.evidence), (&self.memory, held.probes)] {
            gauge.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        }
        raise(&self.evidence_dropped, held.evidence_dropped);
    }
}

/// Brings a counter to what was counted elsewhere.
fn raise(counter: &IntCounter, to: u64) {
    counter.inc_by(to.saturating_sub(counter.get()));
}
