//! Metrics of the exporter's limits: what it refused to dial, to begin or to hold.

use super::metric_factory::MetricFactory;
use crate::check::Denials;
use crate::limits::Limits;
use crate::policy::PolicyRule;
use crate::reason::Reason;
use prometheus::{GaugeVec, Histogram, IntCounterVec, IntGauge};

/// Bounds that were met.
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

/// Seconds.
const QUEUE_BOUNDS: [f64; 8] = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 1.0];

/// Bounds that a probe meets, by the reason with which it then ends.
const MET: [(Reason, &str); 7] = [
    (Reason::ContentBodyTooLarge, "matched_body"),
    (Reason::ContentJsonTooLarge, "json_values"),
    (Reason::HttpResponseTooLarge, "body_size_limit"),
    (Reason::HttpResponseHeaderTooLarge, "response_head"),
    (Reason::HttpResponseTooManyInterim, "interim_responses"),
    (Reason::HttpResponseRedirectLoop, "redirects"),
    (Reason::LocalConcurrencyLimit, "per_destination"),
];

/// Bounds that are met elsewhere.
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
                "Places that were not dialled, by the rule of the policy that denies them",
                &["rule"],
            ),
            without_allowlist: make.gauge(
                "glassbox_modules_without_allowed_targets",
                "Modules that send a secret to whatever target they are given: they have no allowed_targets",
            ),
            shed: make.counters(
                "glassbox_probes_shed_total",
                "Probes that were not begun because too many probes or connections were there, answered with 503 or left out of a lease",
                &["reason"],
            ),
            queue: make.histogram(
                "glassbox_probe_queue_seconds",
                "Time from a scrape, or the turn of a lease, to the begin of its probe",
                &QUEUE_BOUNDS,
            ),
            connections: make.gauge("glassbox_connections", "Connections to the exporter that are held"),
            connections_ended: make.counters(
                "glassbox_connections_ended_total",
                "Connections to the exporter that it ended",
                &["reason"],
            ),
            limits: make.gauges(
                "glassbox_limit",
                "Bounds in force: counts, bytes, seconds and requests per second, by the keys under limits",
                &["limit"],
            ),
            hits: make.counters("glassbox_limit_hits_total", "How often a bound was met", &["limit"]),
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

    /// A bound was met.
    pub fn met(&self, limit: &str) {
        self.hits.with_label_values(&[limit]).inc();
    }

    /// A probe ended with a reason.
    pub fn ended_with(&self, reason: Reason) {
        if let Some((_, limit)) = MET.iter().find(|(met, _)| *met == reason) {
            self.met(limit);
        }
    }

    /// Brings up to date what is counted elsewhere.
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
