//! The bounds that hold for every probe, in one place.

use std::time::Duration;

/// Bytes of decoded body that may be matched against assertions; a larger body fails the probe.
pub const MATCHED_BODY: u64 = 10 * 1024 * 1024;

/// Bytes of one response head, and fields in it.
pub const RESPONSE_HEAD: usize = 256 * 1024;
/// See [`RESPONSE_HEAD`].
pub const RESPONSE_FIELDS: usize = 256;

/// Redirects that are followed; the next one is not, as with the peer.
pub const REDIRECTS: usize = 10;

/// Bytes of a `target`, `module` or `hostname` parameter.
pub const PARAMETER: usize = 2048;

/// Bytes of the wire that are kept for the evidence, on each side of TLS.
pub const WIRE_EXCERPT: usize = 1024;

/// Bytes of a refused answer's body that the judgment looks at: error pages say who made them early.
pub const JUDGED_BODY: usize = 6 * 1024;

/// Bytes of a header value that are kept for the evidence.
pub const HEADER_EXCERPT: usize = 256;

/// Bytes of any other text of a peer, and entries of any list of it, that are kept for the evidence.
pub const TEXT_EXCERPT: usize = 1024;
/// See [`TEXT_EXCERPT`].
pub const LIST_EXCERPT: usize = 64;

/// Bytes of a verdict's sentence, which speaks of the front and of all hops.
pub const SENTENCE: usize = 4096;

/// Bytes of a label value that came from a peer (the drop-in labels may be longer than ours).
pub const LABEL: usize = 4096;

/// The least time a probe gets, however small the scrape timeout is.
pub const SHORTEST_DEADLINE: Duration = Duration::from_millis(10);

/// The time a probe gets when neither the scrape nor the module bounds it.
pub const LONGEST_DEADLINE: Duration = Duration::from_mins(2);

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
    use super::cut;

    #[test]
    fn cut_stops_at_a_character_boundary() {
        assert_eq!(cut("häuser", 2), "h");
        assert_eq!(cut("häuser", 3), "hä");
        assert_eq!(cut("short", 100), "short");
    }
}
