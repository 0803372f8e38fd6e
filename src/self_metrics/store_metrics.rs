//! Metrics of the evidence on disk. They are 0 without `--history.path`.

use super::metric_factory::MetricFactory;
use crate::history::store::StoreStats;
use prometheus::{IntCounter, IntCounterVec, IntGauge};
use std::sync::atomic::{AtomicU64, Ordering};

/// Metrics of the evidence store.
#[derive(Debug)]
pub(super) struct StoreMetrics {
    entries: IntGauge,
    bytes: IntGauge,
    dropped: IntCounterVec,
    errors: IntCounter,
}

impl StoreMetrics {
    pub fn new(make: &MetricFactory<'_>) -> Self {
        let store = Self {
            entries: make.gauge(
                "glassbox_evidence_store_entries",
                "Probes whose evidence is on disk (--history.path)",
            ),
            bytes: make.gauge(
                "glassbox_evidence_store_bytes",
                "Used size of the evidence database on disk in bytes, without its log",
            ),
            dropped: make.counters(
                "glassbox_evidence_store_dropped_total",
                "Evidence that is not on disk, by reason: queue full, failed write, or dropped for --history.size",
                &["reason"],
            ),
            errors: make.counter(
                "glassbox_evidence_store_errors_total",
                "Errors of the evidence database or its file system; the log contains them",
            ),
        };
        for reason in ["queue_full", "size_limit", "write_failed"] {
            store.dropped.with_label_values(&[reason]);
        }
        store
    }

    /// Updates the metrics from the counts of the store.
    pub fn take_over(&self, stats: &StoreStats) {
        let value = |count: &AtomicU64| count.load(Ordering::Relaxed);
        for (gauge, count) in [(&self.entries, &stats.entries), (&self.bytes, &stats.bytes)] {
            gauge.set(i64::try_from(value(count)).unwrap_or(i64::MAX));
        }
        for (reason, count) in [
            ("queue_full", &stats.queue_full),
            ("size_limit", &stats.size_limit),
            ("write_failed", &stats.write_failed),
        ] {
            let counter = self.dropped.with_label_values(&[reason]);
            counter.inc_by(value(count).saturating_sub(counter.get()));
        }
        self.errors
            .inc_by(value(&stats.errors).saturating_sub(self.errors.get()));
    }
}
