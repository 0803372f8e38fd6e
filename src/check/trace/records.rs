//! What a connection saw of TLS: whether its records are whole, and what they began and ended with.

use super::Trace;

impl Trace {
    /// Whether a TLS alert came first (RFC 8446 section 6), to what was no handshake.
    pub fn answer_is_tls_alert(&self) -> bool {
        let state = self.state();
        matches!(state.first_answer[..], [21, 3, 0..=4, 0, 2, 1 | 2, _, ..])
    }

    /// TLS ended without `close_notify`.
    pub fn lacks_close_notify(&self) {
        self.state().records.lacks_close_notify = true;
    }

    /// Whether TLS ended so.
    pub fn ended_without_close_notify(&self) -> bool {
        self.state().records.lacks_close_notify
    }

    /// Whether what came is whole TLS records.
    pub fn at_record_boundary(&self) -> bool {
        self.state().records.at_boundary()
    }

    /// Whether the first byte that came could begin a TLS record (content types 20 to 23); nothing where no byte came.
    pub fn began_like_tls(&self) -> Option<bool> {
        self.state().first_raw.first().map(|first| (20..=23).contains(first))
    }

    /// Whether what came begins with an alert of TLS: the server chose nothing.
    pub fn began_with_alert(&self) -> bool {
        self.state().first_raw.first() == Some(&21)
    }

    /// Whether a part of a TLS record was read, and no more.
    pub fn is_within_record(&self) -> bool {
        let state = self.state();
        state.tls && !state.records.at_boundary()
    }
}
