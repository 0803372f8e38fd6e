//! Metrics of the exporter's limits: denied targets, probes that were not started, and closed connections.

use super::metric_factory::MetricFactory;
use glassbox_probe::check::Denials;
use glassbox_probe::limits::Limits;
use glassbox_probe::policy::PolicyRule;
use glassbox_verdict::reason::Reason;
use prometheus::{GaugeVec, Histogram, IntCounterVec, IntGauge};

/// Metrics of limits and policies.
#[derive(Debug)]
pub(super) struct LimitMetrics {
    denied: IntCounterVec,
    pub without_allowlist: IntGauge,
    pub shed: IntCounterVec,
    pub queue: Histogram,
    pub connections: IntGauge,
    pub connections_ended: IntCounterVec,
    limits: GaugeVec,
    hits: IntCounterVec,
}

/// Histogram buckets, in seconds.
const QUEUE_BOUNDS: [f64; 8] = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 1.0];

/// Limits that end a probe, by failure reason.
const MET: [(Reason, &str); 7] = [
    (Reason::ContentBodyTooLarge, "matched_body"),
    (Reason::ContentJsonTooLarge, "json_values"),
    (Reason::HttpResponseTooLarge, "body_size_limit"),
    (Reason::HttpResponseHeaderTooLarge, "response_head"),
    (Reason::HttpResponseTooManyInterim, "interim_responses"),
    (Reason::HttpResponseRedirectLoop, "redirects"),
    (Reason::LocalConcurrencyLimit, "per_destination"),
];

/// Limits that are counted elsewhere.
const OTHERS: [&str; 7] = [
    "leases",
    "probes",
    "probe_memory",
    "parameter",
    "connections",
    "request_head",
    "diagnostics",
];

impl LimitMetrics {
    pub fn new(make: &MetricFactory<'_>) -> Self {
        let bounds = Self {
            denied: make.counters(
                "glassbox_denied_targets_total",
                "Targets and addresses denied by a policy, by rule",
                &["rule"],
            ),
            without_allowlist: make.gauge(
                "glassbox_modules_without_allowed_targets",
                "Modules that send a secret but do not set allowed_targets, so any target receives the secret",
            ),
            shed: make.counters(
                "glassbox_probes_shed_total",
                "Probes not started because a limit was reached (503 in a scrape, skipped in a lease), by limit",
                &["reason"],
            ),
            queue: make.histogram(
                "glassbox_probe_queue_seconds",
                "Time that a probe waited for its permits before it started, in seconds",
                &QUEUE_BOUNDS,
            ),
            connections: make.gauge("glassbox_connections", "Open client connections to the exporter"),
            connections_ended: make.counters(
                "glassbox_connections_ended_total",
                "Client connections that the exporter closed, by reason",
                &["reason"],
            ),
            limits: make.gauges(
                "glassbox_limit",
                "Active limits, by key of the limits section: a count, bytes, seconds or requests per second",
                &["limit"],
            ),
            hits: make.counters(
                "glassbox_limit_hits_total",
                "Number of times a limit was reached, by limit",
                &["limit"],
            ),
        };
        for limit in MET.iter().map(|(_, limit)| limit).chain(&OTHERS) {
            bounds.hits.with_label_values(&[limit]);
        }
        for reason in ["head_timeout", "idle", "room"] {
            bounds.connections_ended.with_label_values(&[reason]);
        }
        for reason in ["probes", "connections"] {
            bounds.shed.with_label_values(&[reason]);
        }
        for rule in PolicyRule::ALL {
            bounds.denied.with_label_values(&[rule.as_str()]);
        }
        bounds
    }

    /// Counts a reached limit.
    pub fn met(&self, limit: &str) {
        self.hits.with_label_values(&[limit]).inc();
    }

    /// Counts the limit that ended a probe, if the failure reason is a limit.
    pub fn ended_with(&self, reason: Reason) {
        if let Some((_, limit)) = MET.iter().find(|(met, _)| *met == reason) {
            self.met(limit);
        }
    }

    /// Updates the metrics from counters that are kept elsewhere.
    pub fn take_over(&self, denials: &Denials, limits: &Limits, without_memory: u64) {
        let counter = self.hits.with_label_values(&["probe_memory"]);
        counter.inc_by(without_memory.saturating_sub(counter.get()));
        for (limit, value) in limits.rows() {
            self.limits.with_label_values(&[limit]).set(value);
        }
        for (rule, denied) in denials.all() {
            let counter = self.denied.with_label_values(&[rule.as_str()]);
            counter.inc_by(denied.saturating_sub(counter.get()));
        }
    }
}
