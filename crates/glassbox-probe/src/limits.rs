//! All of the exporter's limits: per probe, and for all probes together.

use crate::budget::RequestRate;
use std::time::Duration;

/// Configurable limits: the `limits` block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Maximum number of keys that are probed between scrapes.
    pub leases: usize,
    /// Maximum number of concurrent probes, for scrapes and leases together. A single client address can use up to 4/5
    /// of them; all scrapes together, or all leases together, up to 8/9.
    pub probes: usize,
    /// Maximum time that a scrape waits for a permit. Also limited to a tenth of its probe's time.
    pub queue: Duration,
    /// Maximum number of concurrent probes of one destination; `None` means no limit. Additional probes wait until
    /// they time out.
    pub per_destination: Option<usize>,
    /// Maximum size of a decoded body or message that is matched against assertions, in bytes. A larger one fails the
    /// probe.
    pub matched_body: u64,
    /// Maximum number of values, including nested ones, of a JSON body that CEL expressions read. A larger body fails
    /// the probe.
    pub json_values: usize,
    /// Maximum size of a response header in bytes.
    pub response_head: usize,
    /// Maximum number of header fields of a response.
    pub response_fields: usize,
    /// Maximum number of interim (1xx) responses before the final response.
    pub interim_responses: usize,
    /// Maximum number of redirects that are followed. As in `blackbox_exporter`, the next one is not followed.
    pub redirects: usize,
    /// Maximum size of each scrape parameter (`target`, `module`, `hostname`, `backend`) in bytes.
    pub parameter: usize,
    /// Maximum size of the stored evidence in bytes.
    pub history_bytes: usize,
    /// Maximum memory of all running probes together in bytes: response headers, bodies and decoders.
    pub probe_memory: usize,
    /// Maximum number of client connections to the exporter.
    pub connections: usize,
    /// Maximum time for a client to complete the TLS handshake, and to send a request header.
    pub request_head: Duration,
    /// Maximum rate of the additional requests that the diagnostics of all probes send together.
    pub diagnostics: RequestRate,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            leases: 10_000,
            probes: 2000,
            queue: Duration::from_millis(150),
            per_destination: None,
            matched_body: 10 * 1024 * 1024,
            json_values: 50_000,
            response_head: 256 * 1024,
            response_fields: 256,
            interim_responses: 20,
            redirects: 10,
            parameter: 2048,
            history_bytes: 64 * 1024 * 1024,
            probe_memory: 256 * 1024 * 1024,
            connections: 4096,
            request_head: Duration::from_secs(10),
            diagnostics: RequestRate::per_minute(6000),
        }
    }
}

/// File descriptors reserved for essential operations: health checks, configuration, log, name resolution.
const FILES_IN_RESERVE: usize = 64;

/// File descriptors of an idle process.
const FILES_AT_REST: usize = 32;

/// File descriptors of a probe: its connection, and one more to a name server or a backend.
const FILES_PER_PROBE: usize = 2;

/// Maximum size of a request header without the scrape parameters, in bytes.
const HEAD_WITHOUT_PARAMETERS: usize = 8 * 1024;

impl Limits {
    /// Reduces the number of probes and connections so that they fit into `files` file descriptors.
    #[must_use]
    pub fn within_files(self, files: usize) -> Self {
        let free = files.saturating_sub(FILES_IN_RESERVE + FILES_AT_REST);
        let probes = self.probes.min(free / (FILES_PER_PROBE + 1)).max(1);
        let connections = self
            .connections
            .min(free.saturating_sub(FILES_PER_PROBE * probes))
            .max(8);
        if FILES_PER_PROBE * self.probes + self.connections <= free {
            return self;
        }
        Self {
            probes,
            connections,
            ..self
        }
    }

    /// Returns the maximum size of a request header in bytes; it applies before authentication. The default, 16 KiB,
    /// is large enough for the four scrape parameters at their maximum size.
    #[must_use]
    pub const fn request_head_size(&self) -> usize {
        HEAD_WITHOUT_PARAMETERS + 4 * self.parameter
    }

    /// Returns all limits by key, as numbers, bytes, seconds and requests per second.
    #[must_use]
    #[allow(
        clippy::cast_precision_loss,
        reason = "metric values are floats; limits are below 2^53"
    )]
    pub fn rows(&self) -> [(&'static str, f64); 16] {
        let count = |number: usize| number as f64;
        [
            ("leases", count(self.leases)),
            ("probes", count(self.probes)),
            ("queue", self.queue.as_secs_f64()),
            ("per_destination", self.per_destination.map_or(f64::INFINITY, count)),
            ("matched_body", self.matched_body as f64),
            ("json_values", count(self.json_values)),
            ("response_head", count(self.response_head)),
            ("response_fields", count(self.response_fields)),
            ("interim_responses", count(self.interim_responses)),
            ("redirects", count(self.redirects)),
            ("parameter", count(self.parameter)),
            ("history_bytes", count(self.history_bytes)),
            ("probe_memory", count(self.probe_memory)),
            ("connections", count(self.connections)),
            ("request_head", self.request_head.as_secs_f64()),
            ("diagnostics", self.diagnostics.per_second()),
        ]
    }
}

/// Maximum size of the first received bytes that are kept as evidence, in bytes, separately for the encrypted and the
/// decrypted side of TLS.
pub const WIRE_EXCERPT: usize = 1024;

/// Number of bytes of an error response's body that the attribution reads. Error pages identify their author
/// near the start.
pub const JUDGED_BODY: usize = 6 * 1024;

/// Maximum size of a header value in the evidence, in bytes.
pub const HEADER_EXCERPT: usize = 256;

/// Maximum size of a URL in the evidence, in bytes.
pub const URL_EXCERPT: usize = 2048;

/// Maximum size of any other string from a remote host in the evidence, in bytes.
pub const TEXT_EXCERPT: usize = 1024;
/// Maximum number of entries in the evidence of a list from a remote host.
pub const LIST_EXCERPT: usize = 64;

/// Maximum size of the summary of a verdict in bytes. The summary covers the edge and all backends.
pub const SENTENCE: usize = 4096;

/// Maximum size of a label value from a remote host, in bytes. Labels for compatibility with `blackbox_exporter` can be
/// longer than others.
const LABEL: usize = 4096;

/// Suffix of a truncated string.
const CUT: &str = "…";

/// Truncates a string from a remote host to the maximum size of a label value. A truncated value ends with `…`.
#[must_use]
pub fn label(text: &str) -> String {
    if text.len() <= LABEL {
        return text.to_owned();
    }
    text[..text.floor_char_boundary(LABEL - CUT.len())].to_owned() + CUT
}

/// Minimum scrape timeout that is accepted. With a shorter timeout, probes of healthy targets would fail because of
/// the client's setting.
pub const SHORTEST_SCRAPE: Duration = Duration::from_millis(100);

/// Minimum time of a probe, regardless of the scrape timeout.
pub const SHORTEST_DEADLINE: Duration = Duration::from_millis(10);

/// Timeout of a probe if neither the scrape nor the module sets one.
pub const LONGEST_DEADLINE: Duration = Duration::from_mins(2);

/// Maximum scrape timeout; a longer one is reduced to this value. A longer probe would hold a permit for longer
/// than any client waits for a response, and would delay the shutdown. Prometheus marks a series as stale
/// after half of this time.
pub const LONGEST_SCRAPE: Duration = Duration::from_mins(10);

/// Maximum additional time for a DNS lookup of the second address family after the first one has answered. If less than
/// twice this time remains, the maximum is half of the remaining time.
pub const SECOND_FAMILY_GRACE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::{LABEL, Limits, label};

    #[test]
    fn a_label_that_is_cut_says_so() {
        let long = label(&"é".repeat(3000));
        assert!(long.len() <= LABEL && long.ends_with("é…"));
        assert_eq!(label("short"), "short");
    }

    #[test]
    fn few_files_leave_room_for_few_probes_and_as_many_connections() {
        let usual = Limits::default();
        assert_eq!(usual.within_files(1 << 20), usual);
        let few = usual.within_files(256);
        assert_eq!((few.probes, few.connections), (53, 54));
        let none = usual.within_files(10);
        assert_eq!((none.probes, none.connections), (1, 8));
    }
}
