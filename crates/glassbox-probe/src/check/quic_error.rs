//! How a QUIC connection ended, and the reason if it is related to TLS.

use super::tls::reason_of_alert;
use glassbox_verdict::reason::Reason;
use quinn::ConnectionError;
use rustls::AlertDescription;

/// The reason for the end of a connection, if it is related to TLS.
pub(super) fn reason_of_quic(error: &ConnectionError, client_cert_asked: bool) -> Option<Reason> {
    match error {
        ConnectionError::VersionMismatch => Some(Reason::TlsVersionOrCipherMismatch),
        ConnectionError::ConnectionClosed(close) => {
            let alert = alert(u64::from(close.error_code))?;
            Some(reason_of_alert(alert, client_cert_asked))
        }
        ConnectionError::TransportError(error) => {
            // An alert from the exporter: the peer sent invalid data.
            alert(u64::from(error.code)).map(|alert| match alert {
                AlertDescription::HandshakeFailure
                | AlertDescription::ProtocolVersion
                | AlertDescription::NoApplicationProtocol => Reason::TlsVersionOrCipherMismatch,
                _ => Reason::TlsProtocolError,
            })
        }
        _ => None,
    }
}

/// The TLS alert in a QUIC error code (RFC 9001 section 4.8).
fn alert(code: u64) -> Option<AlertDescription> {
    let alert = code.checked_sub(0x100)?;
    u8::try_from(alert).ok().map(AlertDescription::from)
}

/// How a connection ended, without the peer's text about it.
pub(super) fn words(error: &ConnectionError) -> String {
    match error {
        ConnectionError::ConnectionClosed(close) => format!("closed by the peer with {}", close.error_code),
        ConnectionError::ApplicationClosed(close) => format!("closed by the peer with {}", close.error_code),
        ConnectionError::TransportError(error) => format!("{}", error.code),
        other => other.to_string(),
    }
}
