//! The part of the trace about TLS: how far the handshake got, and how TLS ended after it.

use super::{Trace, keep_first};
use crate::check::tls::reason_of_late_tls;
use glassbox_verdict::reason::Reason;
use std::io;

/// The current handshake.
#[derive(Debug, Default)]
pub(super) struct HandshakeTrace {
    /// Whether it runs inside the TLS connection to a proxy. The first bytes of the socket are then not its own.
    pub within: bool,
    /// Whether a QUIC handshake message arrived.
    quic: bool,
    /// Whether the server requested a client certificate.
    client_cert_asked: bool,
    /// Why TLS ended after the handshake, if it reported a reason.
    fault: Option<Reason>,
}

impl Trace {
    /// Records bytes that arrived inside the TLS connection to a proxy.
    pub fn read_within(&self, bytes: &[u8]) {
        keep_first(&mut self.state().first_raw, bytes);
    }

    /// Records the arrival of a QUIC handshake message.
    pub fn quic_handshake_came(&self) {
        self.state().handshake.quic = true;
    }

    /// Whether a QUIC handshake message arrived.
    pub fn heard_quic_handshake(&self) -> bool {
        self.state().handshake.quic
    }

    /// Records the end of the handshake. `client_cert_asked`: whether the server requested a client certificate.
    pub fn secured(&self, client_cert_asked: bool) {
        self.state().handshake.client_cert_asked = client_cert_asked;
    }

    /// Whether the server requested a client certificate.
    pub fn client_cert_asked(&self) -> bool {
        self.state().handshake.client_cert_asked
    }

    /// Records a failed read above TLS. TLS's own reason, such as an alert, is kept here, because libraries discard it.
    pub fn tls_failed(&self, error: &io::Error) {
        let handshake = &mut self.state().handshake;
        handshake.fault = handshake
            .fault
            .or_else(|| reason_of_late_tls(error, handshake.client_cert_asked));
    }

    /// Why TLS ended after its handshake, if it reported a reason.
    pub fn tls_fault(&self) -> Option<Reason> {
        self.state().handshake.fault
    }
}
