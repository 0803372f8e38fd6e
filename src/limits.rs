//! The bounds that hold for every probe, and for all of them together, in one place.

use crate::budget::RequestRate;
use std::time::Duration;

/// What a configuration may set: its block `limits`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Keys that are probed between scrapes.
    pub leases: usize,
    /// Probes that run at once, for scrapes and leases. One address that scrapes gets up to four fifths of them, all scrapes or all
    /// leases up to eight ninths.
    pub probes: usize,
    /// How long a scrape waits for its turn, and never more than a tenth of its probe's time.
    pub queue: Duration,
    /// Probes of one destination that run at once; more of them wait within their own time. None is no bound.
    pub per_destination: Option<usize>,
    /// Bytes of a decoded body or message that may be matched against assertions; a larger one fails the probe.
    pub matched_body: u64,
    /// Values of a JSON body that is matched against expressions, those within others counted; a larger one fails the probe.
    pub json_values: usize,
    /// Bytes of a response's head.
    pub response_head: usize,
    /// Fields of a response's head.
    pub response_fields: usize,
    /// Interim responses (1xx) before the final one.
    pub interim_responses: usize,
    /// Redirects that are followed; the next one is not, as with the peer.
    pub redirects: usize,
    /// Bytes of a scrape's `target`, `module`, `hostname` or `backend`.
    pub parameter: usize,
    /// Bytes of the evidence that is kept.
    pub history_bytes: usize,
    /// Bytes that all running probes may hold together: response heads, bodies and decoders.
    pub probe_memory: usize,
    /// Connections to the exporter itself.
    pub connections: usize,
    /// How long a client may take for its handshake, and for the head of a request.
    pub request_head: Duration,
    /// Additional requests that the diagnostics of all probes may send together.
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

/// File descriptors that stay free for what must always go: health, the configuration, the log, a name to be resolved.
const FILES_IN_RESERVE: usize = 64;

/// File descriptors that a process has before it does anything.
const FILES_AT_REST: usize = 32;

/// File descriptors of a probe: its connection, and a name server's or a backend's beside it.
const FILES_PER_PROBE: usize = 2;

/// Bytes of a request's head without the parameters of a scrape.
const HEAD_WITHOUT_PARAMETERS: usize = 8 * 1024;

impl Limits {
    /// The same, with no more probes and connections than what as many open files allow.
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

    /// Bytes of a request's head to the exporter itself, before anybody is asked for a password: 16 KiB by default. Each of the
    /// four parameters of a scrape has room for what it may be.
    #[must_use]
    pub const fn request_head_size(&self) -> usize {
        HEAD_WITHOUT_PARAMETERS + 4 * self.parameter
    }

    /// All of them by the names of their keys: numbers, bytes, seconds and requests per second.
    #[must_use]
    #[allow(
        clippy::cast_precision_loss,
        reason = "the format's numbers are floats; bounds stay below 2^53"
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

/// Bytes of the wire that are kept for the evidence, on each side of TLS.
pub const WIRE_EXCERPT: usize = 1024;

/// Bytes of a refused answer's body that the judgment looks at: error pages say who made them early.
pub const JUDGED_BODY: usize = 6 * 1024;

/// Bytes of a header value that are kept for the evidence.
pub const HEADER_EXCERPT: usize = 256;

/// Bytes of a URL that are kept for the evidence.
pub const URL_EXCERPT: usize = 2048;

/// Bytes of any other text of a peer, and entries of any list of it, that are kept for the evidence.
pub const TEXT_EXCERPT: usize = 1024;
/// See [`TEXT_EXCERPT`].
pub const LIST_EXCERPT: usize = 64;

/// Bytes of a verdict's sentence, which speaks of the edge and of all backends.
pub const SENTENCE: usize = 4096;

/// Bytes of a label value that came from a peer (the drop-in labels may be longer than ours).
const LABEL: usize = 4096;

/// What stands at the end of a text that was cut.
const CUT: &str = "…";

/// A peer's text as a label value: a longer one is cut, and ends with a mark that says so.
#[must_use]
pub fn label(text: &str) -> String {
    if text.len() <= LABEL {
        return text.to_owned();
    }
    cut(text, LABEL - CUT.len()).to_owned() + CUT
}

/// The shortest scrape timeout that is taken. A probe of a healthy target may well take longer: what such scrapes count would be
/// the caller's doing.
pub const SHORTEST_SCRAPE: Duration = Duration::from_millis(100);

/// The least time a probe gets, however small the scrape timeout is.
pub const SHORTEST_DEADLINE: Duration = Duration::from_millis(10);

/// The time a probe gets when neither the scrape nor the module bounds it.
pub const LONGEST_DEADLINE: Duration = Duration::from_mins(2);

/// What is heeded at most of the time that a scrape says it may take: who asks for more holds a place for longer than anybody
/// waits for an answer, and keeps the process from ending. Prometheus drops a series that was not scraped for half as long.
pub const LONGEST_SCRAPE: Duration = Duration::from_mins(10);

/// What a slower address family may still take once the other has answered (or half of what is left, if less).
pub const SECOND_FAMILY_GRACE: Duration = Duration::from_secs(1);

/// Cuts `text` to at most `limit` bytes at a character boundary.
#[must_use]
pub fn cut(text: &str, limit: usize) -> &str {
    let mut end = text.len().min(limit);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::{LABEL, Limits, cut, label};

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

    #[test]
    fn cut_stops_at_a_character_boundary() {
        assert_eq!(cut("häuser", 2), "h");
        assert_eq!(cut("häuser", 3), "hä");
        assert_eq!(cut("short", 100), "short");
    }
}
