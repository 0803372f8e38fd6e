//! The table of all metrics that a probe can export, and the data model for the writers.

mod model;

pub use model::{Bucket, Count, Exemplar, Family, Histogram, Label, MetricPage, Named, NativeBuckets, Sample, Value};

/// The type of a metric, as the exposition names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// A value that can go up and down.
    Gauge,
    /// A count that only grows.
    Counter,
    /// Observations in buckets.
    Histogram,
}

impl MetricKind {
    /// The type in the `# TYPE` line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gauge => "gauge",
            Self::Counter => "counter",
            Self::Histogram => "histogram",
        }
    }
}

/// The metrics that a module exports. Each level includes the levels below it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Exactly the metrics of `blackbox_exporter`.
    Blackbox,
    /// The metrics of `blackbox_exporter`, and the exporter's histograms, counters and verdict.
    #[default]
    Standard,
    /// Standard, with a separate phase `request` and long buckets for every phase.
    Full,
}

/// One metric: its name, labels and meaning.
#[derive(Debug)]
pub struct Metric {
    /// The name, unit included.
    pub name: &'static str,
    /// The type.
    pub kind: MetricKind,
    /// The lowest level that exports it.
    pub level: Level,
    /// The label names.
    pub labels: &'static [&'static str],
    /// The `# HELP` text. Metrics that `blackbox_exporter` also exports use its exact text.
    pub help: &'static str,
    /// Its index among all metrics, ordered by name.
    pub rank: usize,
}

impl Metric {
    fn family(&'static self, samples: Vec<Sample>) -> Family {
        Family {
            name: self.name.into(),
            help: self.help.into(),
            kind: self.kind,
            rank: Some(self.rank),
            samples,
        }
    }
}

/// The number of metric names that sort before this one.
const fn rank(name: &str) -> usize {
    let (mut rank, mut place) = (0, 0);
    while place < NAMES.len() {
        rank += is_before(NAMES[place].as_bytes(), name.as_bytes()) as usize;
        place += 1;
    }
    rank
}

const fn is_before(one: &[u8], other: &[u8]) -> bool {
    let mut place = 0;
    while place < one.len() && place < other.len() {
        if one[place] != other[place] {
            return one[place] < other[place];
        }
        place += 1;
    }
    one.len() < other.len()
}

/// Declares the table: constant, type, level, name, labels, help.
macro_rules! metrics {
    ($($constant:ident: $kind:ident $level:ident $name:literal [$($label:literal),*] $help:literal;)+) => {
        $(
            #[doc = concat!("`", $name, "`: ", $help)]
            #[allow(clippy::doc_markdown, reason = "the help texts are written for the exposition")]
            pub static $constant: Metric = Metric {
                name: $name,
                kind: MetricKind::$kind,
                level: Level::$level,
                labels: &[$($label),*],
                help: $help,
                rank: rank($name),
            };
        )+

        const NAMES: &[&str] = &[$($name),+];

        /// Every metric that a probe can export.
        pub static METRICS: &[&Metric] = &[$(&$constant),+];
    };
}

metrics! {
    SUCCESS: Gauge Blackbox "probe_success" [] "Displays whether or not the probe was a success";
    DURATION: Gauge Blackbox "probe_duration_seconds" [] "Returns how long the probe took to complete in seconds";
    TIMEOUT: Gauge Blackbox "probe_timeout_seconds" [] "Returns how long the probe timeout is in seconds";
    DNS_LOOKUP_TIME: Gauge Blackbox "probe_dns_lookup_time_seconds" [] "Returns the time taken for probe dns lookup in seconds";
    IP_PROTOCOL: Gauge Blackbox "probe_ip_protocol" [] "Specifies whether probe ip protocol is IP4 or IP6";
    IP_ADDR_HASH: Gauge Blackbox "probe_ip_addr_hash" [] "Specifies the hash of IP address. It's useful to detect if the IP address changes.";

    HTTP_DURATION: Gauge Blackbox "probe_http_duration_seconds" ["phase"] "Duration of http request by phase, summed over all redirects";
    HTTP_STATUS_CODE: Gauge Blackbox "probe_http_status_code" [] "Response HTTP status code";
    HTTP_CONTENT_LENGTH: Gauge Blackbox "probe_http_content_length" [] "Length of http content response";
    HTTP_UNCOMPRESSED_BODY_LENGTH: Gauge Blackbox "probe_http_uncompressed_body_length" [] "Length of uncompressed response body";
    HTTP_REDIRECTS: Gauge Blackbox "probe_http_redirects" [] "The number of redirects";
    HTTP_SSL: Gauge Blackbox "probe_http_ssl" [] "Indicates if SSL was used for the final redirect";
    HTTP_VERSION: Gauge Blackbox "probe_http_version" [] "Returns the version of HTTP of the probe response";
    HTTP_LAST_MODIFIED: Gauge Blackbox "probe_http_last_modified_timestamp_seconds" [] "Returns the Last-Modified HTTP response header in unixtime";
    FAILED_DUE_TO_REGEX: Gauge Blackbox "probe_failed_due_to_regex" [] "Indicates if probe failed due to regex";

    FAILED_DUE_TO_BYTES: Gauge Blackbox "probe_failed_due_to_bytes" [] "Indicates if probe failed due to bytes";
    EXPECT_INFO: Gauge Blackbox "probe_expect_info" [] "Explicit content matched";

    DNS_DURATION: Gauge Blackbox "probe_dns_duration_seconds" ["phase"] "Duration of DNS request by phase";
    DNS_ANSWER_RRS: Gauge Blackbox "probe_dns_answer_rrs" [] "Returns number of entries in the answer resource record list";
    DNS_AUTHORITY_RRS: Gauge Blackbox "probe_dns_authority_rrs" [] "Returns number of entries in the authority resource record list";
    DNS_ADDITIONAL_RRS: Gauge Blackbox "probe_dns_additional_rrs" [] "Returns number of entries in the additional resource record list";
    DNS_QUERY_SUCCEEDED: Gauge Blackbox "probe_dns_query_succeeded" [] "Displays whether or not the query was executed successfully";
    DNS_SERIAL: Gauge Blackbox "probe_dns_serial" [] "Returns the serial number of the zone";
    DNS_RCODE: Gauge Standard "probe_dns_rcode" [] "Response code from the name server (RFC 6895): 0 is NOERROR, 2 SERVFAIL, 3 NXDOMAIN, 5 REFUSED";

    ICMP_DURATION: Gauge Blackbox "probe_icmp_duration_seconds" ["phase"] "Duration of icmp request by phase";
    ICMP_REPLY_HOP_LIMIT: Gauge Blackbox "probe_icmp_reply_hop_limit" [] "Replied packet hop limit (TTL for ipv4)";

    GRPC_DURATION: Gauge Blackbox "probe_grpc_duration_seconds" ["phase"] "Duration of gRPC request by phase";
    GRPC_SSL: Gauge Blackbox "probe_grpc_ssl" [] "Indicates if SSL was used for the connection";
    GRPC_STATUS_CODE: Gauge Blackbox "probe_grpc_status_code" [] "Response gRPC status code";
    GRPC_HEALTHCHECK_RESPONSE: Gauge Blackbox "probe_grpc_healthcheck_response" ["serving_status"] "Response HealthCheck response";

    WEBSOCKET_STATUS_CODE: Gauge Blackbox "probe_websocket_status_code" [] "Response HTTP status code";
    WEBSOCKET_UPGRADED: Gauge Blackbox "probe_websocket_connection_upgraded" [] "Indicates if the websocket connection was successfully upgraded";
    WEBSOCKET_FAILED_DUE_TO_REGEX: Gauge Blackbox "probe_websocket_failed_due_to_regex" [] "Indicates if probe failed due to regex";
    WEBSOCKET_DURATION: Gauge Blackbox "probe_websocket_duration_seconds" ["phase"] "Duration of websocket request by phase";

    FAILED_DUE_TO_CEL: Gauge Blackbox "probe_failed_due_to_cel" [] "Indicates if probe failed due to CEL expression not matching";

    SSL_EARLIEST_CERT_EXPIRY: Gauge Blackbox "probe_ssl_earliest_cert_expiry" [] "Returns last SSL chain expiry in unixtime";
    SSL_LAST_CHAIN_EXPIRY: Gauge Blackbox "probe_ssl_last_chain_expiry_timestamp_seconds" [] "Returns last SSL chain expiry in timestamp";
    SSL_LAST_CHAIN_INFO: Gauge Blackbox "probe_ssl_last_chain_info" ["fingerprint_sha256", "issuer", "serialnumber", "subject", "subjectalternative"] "Contains SSL leaf certificate information";
    TLS_VERSION_INFO: Gauge Blackbox "probe_tls_version_info" ["version"] "Returns the TLS version used or NaN when unknown";
    TLS_CIPHER_INFO: Gauge Blackbox "probe_tls_cipher_info" ["cipher"] "Returns the TLS cipher negotiated during handshake";

    ATTEMPTS: Counter Standard "probe_attempts_total" [] "Completed probes of this target, successful or failed; errors in the exporter itself are not counted";
    FAILURES: Counter Standard "probe_failures_total" ["link"] "Failed probes of this target, by broken link of the chain";
    PHASE_DURATION: Histogram Standard "probe_phase_duration_seconds" ["phase"] "Duration of one phase of a probe in seconds, summed over redirects; only finished phases are observed";
    PHASE_TIMEOUTS: Counter Standard "probe_phase_timeouts_total" ["phase"] "Probes of this target that ran out of time in this phase";
    SUCCESS_DURATION: Histogram Standard "probe_success_duration_seconds" [] "Duration of successful probes in seconds: probe_duration_seconds without the exporter's own delay";
    HTTP_RESPONSES: Counter Standard "probe_http_responses_total" ["code"] "Final responses from this target, by status code";
    FAILURE_INFO: Gauge Standard "probe_failure_info" ["answered_by", "certainty", "link", "phase", "reason"] "1 if the last probe failed or its successful response hides a broken link; the labels contain the verdict";
    MASKED: Gauge Standard "probe_masked" [] "1 if the successful response of the last probe hides a broken link, else 0";
    BACKEND_SUCCESS: Gauge Standard "probe_backend_success" ["backend"] "1 if a direct request to the backend succeeded, else 0";
    BACKEND_STATUS_CODE: Gauge Standard "probe_backend_http_status_code" ["backend"] "Status code of the direct request to the backend; 0 if there was no response";
    BACKEND_DURATION: Gauge Standard "probe_backend_duration_seconds" ["backend", "phase"] "Duration of a phase of the direct request to the backend, in seconds";
    INVESTIGATION: Gauge Standard "probe_diagnostics_duration_seconds" [] "Time spent on additional requests (diagnostics), in seconds";
    VANTAGE_HEALTHY: Gauge Standard "probe_vantage_healthy" [] "0 if the controls fail, which indicates a problem in the exporter's own network";
    ADDRESSES: Gauge Standard "probe_addresses" ["state"] "Number of target addresses, by probe result (ok, failed); only with addresses: all";
    FROM_CACHE: Gauge Standard "probe_http_from_cache" [] "1 if the response indicates a cache hit, 0 if it indicates a cache miss; otherwise absent";
    AGE: Gauge Standard "probe_http_age_seconds" [] "Age of the response in seconds, from its Age header; absent without one";
    LAST_RUN: Gauge Standard "probe_last_run_timestamp_seconds" [] "Start time of the last probe in unixtime; only for targets that are probed between scrapes";
    UNATTRIBUTED: Gauge Standard "probe_unattributed_seconds" [] "Portion of probe_duration_seconds not covered by any exported phase, in seconds";
    TCP_RTT: Gauge Standard "probe_tcp_rtt_seconds" [] "Smoothed round-trip time of the probe's connection in seconds, from the kernel; absent if unknown";
    TCP_RETRANSMITS: Gauge Standard "probe_tcp_retransmits" [] "Segments that the kernel retransmitted on the probe's connection";
}

#[cfg(test)]
mod tests {
    use super::{Level, METRICS, MetricKind, MetricPage, SUCCESS, SUCCESS_DURATION};
    use std::collections::HashSet;

    #[test]
    fn names_follow_the_conventions() {
        let mut seen = HashSet::new();
        let mut ranked = METRICS.to_vec();
        ranked.sort_by_key(|metric| metric.name);
        assert!(ranked.iter().enumerate().all(|(place, metric)| metric.rank == place));
        for metric in METRICS {
            assert!(seen.insert(metric.name), "{} twice", metric.name);
            assert!(metric.name.starts_with("probe_"), "{}", metric.name);
            assert_eq!(
                metric.kind == MetricKind::Counter,
                metric.name.ends_with("_total"),
                "{}",
                metric.name
            );
            assert!(metric.labels.is_sorted(), "{}", metric.name);
            for label in metric.labels {
                assert!(
                    !["stage", "zone", "service", "target", "module", "le", "quantile", "type"].contains(label),
                    "{} clashes with a target label",
                    metric.name
                );
            }
        }
    }

    #[test]
    fn a_page_leaves_out_what_is_above_its_level() {
        let mut page = MetricPage::new(Level::Blackbox);
        page.set(&SUCCESS, 1.0);
        page.set(&SUCCESS_DURATION, 1.0);
        assert_eq!(page.sorted().len(), 1);
    }
}
