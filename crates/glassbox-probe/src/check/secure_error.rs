//! Why a TLS handshake failed.

use super::StageError;
use super::refusal::Refusal;
use super::tls::{may_be_about_versions, reason_of_tls};
use super::tls_inspection::HelloResponse;
use super::trace::Trace;
use super::transport::OutOfOrder;
use super::wire::Wire;
use glassbox_verdict::reason::Reason;
use std::io::{Error, ErrorKind};

pub(super) enum SecureError {
    OutOfOrder(OutOfOrder),
    BadName(String),
    Handshake {
        /// Whether the first bytes look like TLS. `None` if no byte was received.
        began_like_tls: Option<bool>,
        client_cert_asked: bool,
        error: Error,
    },
    Refused(Refusal),
    /// Result of an inspection or of the second TLS library.
    Told {
        reason: Reason,
        detail: String,
        /// The server's response that ended the second library's handshake.
        #[cfg_attr(
            not(feature = "legacy-tls"),
            allow(dead_code, reason = "used only by the second TLS library")
        )]
        refused_with: Option<HelloResponse>,
    },
}

impl From<OutOfOrder> for SecureError {
    fn from(error: OutOfOrder) -> Self {
        Self::OutOfOrder(error)
    }
}

impl SecureError {
    /// Whether the handshake may have failed because the two sides share no version, suite or group: an alert or a
    /// closed connection before the server's choice, or a choice that was not offered.
    pub fn may_be_about_versions(&self, trace: &Trace) -> bool {
        let Self::Handshake {
            began_like_tls,
            client_cert_asked: false,
            error,
        } = self
        else {
            return false;
        };
        match began_like_tls {
            Some(false) => false,
            Some(true) => may_be_about_versions(error, trace.began_with_alert()),
            None => matches!(
                error.kind(),
                ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
            ),
        }
    }

    /// The reason if versions and suites are known not to be the cause.
    pub fn other_reason(&self) -> Reason {
        match self.reason() {
            Reason::TlsVersionOrCipherMismatch => Reason::TlsAlert,
            other => other,
        }
    }
}

impl StageError for SecureError {
    fn reason(&self) -> Reason {
        match self {
            Self::OutOfOrder(_) => OutOfOrder::REASON,
            Self::BadName(_) => Reason::LocalTargetInvalid,
            Self::Refused(refusal) => refusal.reason,
            Self::Told { reason, .. } => *reason,
            Self::Handshake {
                began_like_tls: Some(false),
                ..
            } => Reason::TlsNotSupported,
            Self::Handshake {
                client_cert_asked,
                error,
                began_like_tls,
            } => reason_of_tls(error, *client_cert_asked).unwrap_or(match (began_like_tls, error.kind()) {
                // This is not a TLS failure, because the server sent no TLS data.
                (None, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => Reason::TcpReset,
                (None, ErrorKind::UnexpectedEof) => Reason::TcpClosed,
                (None, _) => Reason::TcpFailed,
                (_, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof) => Reason::TlsClosed,
                _ => Reason::TlsProtocolError,
            }),
        }
    }

    fn detail(&self) -> String {
        match self {
            Self::OutOfOrder(error) => error.to_string(),
            Self::BadName(name) => format!("{name:?} is not a valid TLS server name; set tls_config.server_name."),
            Self::Refused(refusal) => format!("The certificate was refused: {}.", refusal.message),
            Self::Handshake {
                began_like_tls: None,
                error,
                ..
            } => format!("The connection ended before any TLS byte was received: {error}."),
            Self::Told { detail, .. } => format!("{detail}."),
            Self::Handshake { error, .. } => format!("The TLS handshake failed: {error}."),
        }
    }

    fn timed_out(wire: &Wire) -> Reason {
        let heard = wire.trace.began_like_tls().is_some();
        if heard {
            Reason::TlsTimedOut
        } else {
            Reason::TcpNoResponse
        }
    }
}
