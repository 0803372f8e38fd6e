//! Errors of an HTTP/3 exchange and their reasons.

use super::{ResponsePart, closed};
use crate::check::quic_error::{reason_of_quic, words};
use crate::check::tls::after_the_handshake;
use glassbox_verdict::reason::Reason;
use h3::error::{Code, ConnectionError, LocalError, StreamError};
use h3::quic::ConnectionErrorIncoming;

/// Why HTTP/3 failed.
#[derive(Debug, thiserror::Error)]
pub(in crate::check) enum Http3Error {
    #[error(transparent)]
    Stream(#[from] StreamError),
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    #[error("more than {0} interim responses preceded the final one")]
    Interims(usize),
    /// The body is longer than announced, or the announced length is invalid.
    #[error("{0}")]
    Length(&'static str),
    #[error("the body is shorter than Content-Length")]
    Short,
}

impl Http3Error {
    /// The connection's error, if the connection failed.
    fn connection(&self) -> Option<&ConnectionError> {
        match self {
            Self::Connection(error) | Self::Stream(StreamError::ConnectionError { 0: error, .. }) => Some(error),
            Self::Stream(_) | Self::Interims(_) | Self::Length(_) | Self::Short => None,
        }
    }

    /// QUIC's own error, if the connection ended with one.
    fn quic(&self) -> Option<&quinn::ConnectionError> {
        match self.connection()? {
            ConnectionError::Remote {
                0: ConnectionErrorIncoming::Undefined(error),
                ..
            } => error.downcast_ref(),
            _ => None,
        }
    }

    /// Whether the library failed by itself: the peer causes other codes.
    fn is_internal(&self) -> bool {
        matches!(
            (self.connection(), self),
            (Some(ConnectionError::Local { error: LocalError::Application { code, .. }, .. }), _)
            | (_, Self::Stream(StreamError::StreamError { code, .. }))
                if *code == Code::H3_INTERNAL_ERROR
        )
    }

    /// `client_cert_asked`: whether the server requested a client certificate. It may reject the certificate after the
    /// client's handshake is complete.
    pub fn reason(&self, part: ResponsePart, client_cert_asked: bool) -> Reason {
        if let Some(error) = self.quic() {
            let reason = reason_of_quic(error, client_cert_asked).map(after_the_handshake);
            return reason.unwrap_or(Reason::QuicFailed);
        }
        if self.is_internal() {
            return Reason::LocalInternalError;
        }
        match (self.connection(), self) {
            (Some(ConnectionError::Remote { .. } | ConnectionError::Timeout { .. }), _)
            | (_, Self::Stream(StreamError::RemoteTerminate { .. } | StreamError::RemoteClosing { .. })) => {
                closed(part)
            }
            (_, Self::Short) => closed(part),
            (_, Self::Interims(_)) => Reason::HttpResponseTooManyInterim,
            (_, Self::Length(_)) => Reason::HttpResponseInvalid,
            (_, Self::Stream(StreamError::HeaderTooBig { .. })) => Reason::HttpResponseHeaderTooLarge,
            (Some(ConnectionError::Local { .. }), _) | (_, Self::Stream(StreamError::StreamError { .. })) => {
                Reason::HttpResponseInvalid
            }
            _ => Reason::HttpFailed,
        }
    }

    /// Contains only codes, because the library's text may include data from the peer.
    pub fn words(&self) -> String {
        if let Some(error) = self.quic() {
            return words(error);
        }
        if self.is_internal() {
            return "the exporter's HTTP/3 library failed".to_owned();
        }
        match (self.connection(), self) {
            (
                Some(ConnectionError::Remote {
                    0: ConnectionErrorIncoming::ApplicationClose { error_code },
                    ..
                }),
                _,
            ) => format!("the peer closed the connection with {}", Code::from(*error_code)),
            (
                Some(ConnectionError::Local {
                    error: LocalError::Application { code, .. },
                    ..
                }),
                _,
            ) => format!("the peer violated the connection protocol: {code}"),
            (_, Self::Stream(StreamError::RemoteTerminate { code, .. })) => {
                format!("the peer reset the stream with {code}")
            }
            (_, Self::Stream(StreamError::StreamError { code, .. })) => {
                format!("the peer violated the stream protocol: {code}")
            }
            (_, Self::Stream(StreamError::HeaderTooBig { actual_size, .. })) => {
                format!("the header fields have {actual_size} bytes")
            }
            (_, Self::Interims(_) | Self::Length(_) | Self::Short) => self.to_string(),
            _ => "the connection ended".to_owned(),
        }
    }
}
