//! The part of the trace about TLS: how far the handshake got, and how TLS ended after it.

use super::{Trace, keep_first};
use crate::check::tls::reason_of_late_tls;
use crate::reason::Reason;
use std::io;

/// The present handshake.
#[derive(Debug, Default)]
pub(super) struct HandshakeTrace {
    /// It runs within the TLS of a proxy: what the socket reads first is not its own.
    pub within: bool,
    /// A message of the QUIC handshake came.
    quic: bool,
    /// It asked for a certificate of ours.
    client_cert_asked: bool,
    /// Why TLS ended after that, if it said so.
    fault: Option<Reason>,
}

impl Trace {
    /// These bytes came within the TLS of a proxy.
    pub fn read_within(&self, bytes: &[u8]) {
        keep_first(&mut self.state().first_raw, bytes);
    }

    /// A message of the QUIC handshake came.
    pub fn quic_handshake_came(&self) {
        self.state().handshake.quic = true;
    }

    /// Whether a message of the QUIC handshake came.
    pub fn heard_quic_handshake(&self) -> bool {
        self.state().handshake.quic
    }

    /// The handshake has ended; it asked for a certificate of ours, or did not.
    pub fn secured(&self, client_cert_asked: bool) {
        self.state().handshake.client_cert_asked = client_cert_asked;
    }

    /// Whether the handshake asked for a certificate of ours.
    pub fn client_cert_asked(&self) -> bool {
        self.state().handshake.client_cert_asked
    }

    /// A read above TLS failed. Where TLS says why, as by an alert, that is kept: libraries drop it.
    pub fn tls_failed(&self, error: &io::Error) {
        let handshake = &mut self.state().handshake;
        handshake.fault = handshake
            .fault
            .or_else(|| reason_of_late_tls(error, handshake.client_cert_asked));
    }

    /// Why TLS ended after its handshake, if it said so.
    pub fn tls_fault(&self) -> Option<Reason> {
        self.state().handshake.fault
    }
}
