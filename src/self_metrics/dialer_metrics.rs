//! The dialer's connection counters, under `blackbox_exporter`'s names.

use super::metric_factory::MetricFactory;
use glassbox_probe::probe::Finding;
use glassbox_verdict::chain::Stage;
use glassbox_verdict::reason::Reason;
use prometheus::{IntCounter, IntCounterVec};

/// Dialer counters of blackbox_exporter.
#[derive(Debug)]
pub(super) struct ConnectionMetrics {
    attempted: IntCounter,
    established: IntCounter,
    closed: IntCounter,
    failed: IntCounterVec,
}

/// Dialer name that blackbox_exporter gives its HTTP probes.
const DIALER: &str = "http_probe";

impl ConnectionMetrics {
    pub fn new(make: &MetricFactory<'_>) -> Self {
        let one = |name: &str, help: &str| make.counters(name, help, &["dialer_name"]).with_label_values(&[DIALER]);
        let dials = Self {
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
            failed: make.counters(
                "net_conntrack_dialer_conn_failed_total",
                "Total number of connections failed to dial by the dialer a given name.",
                &["dialer_name", "reason"],
            ),
        };
        for reason in ["refused", "resolution", "timeout", "unknown"] {
            dials.failed.with_label_values(&[DIALER, reason]);
        }
        dials
    }

    /// Counts the connections of a probe.
    pub fn probed(&self, finding: &Finding) {
        for timing in finding
            .report
            .timings()
            .filter(|timing| timing.stage() == Stage::Connect)
        {
            self.attempted.inc();
            let Some(reason) = timing.failed() else {
                self.established.inc();
                self.closed.inc();
                continue;
            };
            let word = match reason {
                Reason::TcpRefused => "refused",
                Reason::TcpTimedOut => "timeout",
                _ => "unknown",
            };
            self.failed.with_label_values(&[DIALER, word]).inc();
        }
    }
}
