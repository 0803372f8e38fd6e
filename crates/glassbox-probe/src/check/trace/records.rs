//! The TLS records of a trace: whether they are complete, and how TLS started and ended.

use super::Trace;

impl Trace {
    /// Whether the response starts with a TLS alert (RFC 8446 section 6), although the request was not a handshake.
    pub fn answer_is_tls_alert(&self) -> bool {
        let state = self.state();
        matches!(state.first_answer[..], [21, 3, 0..=4, 0, 2, 1 | 2, _, ..])
    }

    /// Records that TLS ended without `close_notify`.
    pub fn lacks_close_notify(&self) {
        self.state().records.lacks_close_notify = true;
    }

    /// Whether TLS ended without `close_notify`.
    pub fn ended_without_close_notify(&self) -> bool {
        self.state().records.lacks_close_notify
    }

    /// Whether all TLS records that arrived are complete.
    pub fn at_record_boundary(&self) -> bool {
        self.state().records.at_boundary()
    }

    /// Whether the first byte could start a TLS record (content types 20 to 23). `None` if no byte arrived.
    pub fn began_like_tls(&self) -> Option<bool> {
        self.state().first_raw.first().map(|first| (20..=23).contains(first))
    }

    /// Whether the first record is a TLS alert: the server did not choose a version or cipher suite.
    pub fn began_with_alert(&self) -> bool {
        self.state().first_raw.first() == Some(&21)
    }

    /// Whether the response may start behind other bytes: in a later TLS record (after session tickets) or HTTP/2 frame.
    pub fn is_framed(&self) -> bool {
        let state = self.state();
        state.tls || state.frames.is_some()
    }
}
