//! Why an exchange failed, and the reason for each HTTP version.

mod http1;
mod http3;

pub(super) use http1::Http1Error;
pub(super) use http3::Http3Error;

use glassbox_verdict::reason::Reason;
use std::error::Error as _;
use std::io;

/// A library's error for a failed exchange.
#[derive(Debug, thiserror::Error)]
pub(super) enum WireError {
    /// HTTP/1.
    #[error(transparent)]
    Http1(#[from] Http1Error),
    /// HTTP/2.
    #[error(transparent)]
    Hyper(#[from] hyper::Error),
    /// HTTP/3.
    #[error(transparent)]
    Http3(#[from] Http3Error),
}

impl WireError {
    /// Whether the error is only a reference to the connection's own error.
    pub fn is_canceled(&self) -> bool {
        match self {
            Self::Hyper(error) => error.is_canceled(),
            Self::Http1(_) | Self::Http3(_) => false,
        }
    }
}

/// The part of the response that was awaited when the exchange failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ResponsePart {
    Head,
    Body,
}

/// The error of a failed exchange.
#[derive(Debug)]
pub(super) struct ResponseError {
    pub error: WireError,
    /// The QUIC handshake requested a client certificate. Relevant only before the response.
    pub client_cert_asked: bool,
}

impl<E: Into<WireError>> From<E> for ResponseError {
    fn from(error: E) -> Self {
        Self {
            error: error.into(),
            client_cert_asked: false,
        }
    }
}

impl ResponseError {
    pub fn reason(&self, part: ResponsePart) -> Reason {
        match &self.error {
            WireError::Http1(error) => error.reason(part),
            WireError::Hyper(error) => hypers_reason(error, part),
            WireError::Http3(error) => error.reason(part, self.client_cert_asked),
        }
    }

    pub fn detail(&self) -> String {
        let error = match &self.error {
            WireError::Hyper(error) => error,
            WireError::Http3(error) => return format!("HTTP/3 ended: {}.", error.words()),
            WireError::Http1(error) => return error.to_string(),
        };
        if let Some(h2) = cause_of::<h2::Error>(error).filter(|error| !error.is_io()) {
            // Only the code: the library's text may contain data from the peer.
            return match h2.reason() {
                Some(code) => format!("HTTP/2 ended: {}.", code.description()),
                None => "The exporter used the HTTP/2 library in an invalid way. This is a defect of the exporter; \
                         please report it."
                    .to_owned(),
            };
        }
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(inner) = cause {
            let words = inner.to_string();
            if !text.contains(&words) {
                text = format!("{text}: {words}");
            }
            cause = inner.source();
        }
        format!("{text}.")
    }
}

fn hypers_reason(error: &hyper::Error, part: ResponsePart) -> Reason {
    if let Some(io) = io_cause(error) {
        if let Some(reason) = reason_of_io(io, part) {
            return reason;
        }
        if io.kind() == io::ErrorKind::Other {
            // The stream ended within a frame. The reader of the frames reports no other kind of its own.
            return closed(part);
        }
    }
    if let Some(h2) = cause_of::<h2::Error>(error) {
        return if h2.is_remote() {
            // The peer ended the stream or the connection.
            closed(part)
        } else if h2.is_io() || h2.reason().is_some() {
            // The exporter ended it after a protocol error.
            Reason::HttpResponseInvalid
        } else {
            // The library rejected its use. Its other errors have a code or an I/O error.
            Reason::LocalInternalError
        };
    }
    if error.is_parse_too_large() {
        Reason::HttpResponseHeaderTooLarge
    } else if error.is_parse() {
        Reason::HttpResponseInvalid
    } else if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
        closed(part)
    } else if error.is_user() {
        // The library rejected the request, so nothing was sent.
        Reason::LocalInternalError
    } else {
        Reason::HttpFailed
    }
}

/// The reason why the underlying connection failed, if its error contains it.
fn reason_of_io(error: &io::Error, part: ResponsePart) -> Option<Reason> {
    match error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Some(Reason::TcpReset),
        io::ErrorKind::UnexpectedEof => Some(closed(part)),
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => Some(Reason::HttpResponseInvalid),
        // The network lost the connection: nothing was acknowledged in time, or a router reports that there is no way.
        io::ErrorKind::TimedOut | io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            Some(Reason::TcpFailed)
        }
        _ => None,
    }
}

/// The reason when the peer ended the stream or connection.
pub(super) const fn closed(part: ResponsePart) -> Reason {
    match part {
        ResponsePart::Head => Reason::HttpClosedBeforeResponse,
        ResponsePart::Body => Reason::HttpClosedMidBody,
    }
}

fn io_cause(error: &hyper::Error) -> Option<&io::Error> {
    cause_of::<io::Error>(error).or_else(|| cause_of::<h2::Error>(error)?.get_io())
}

/// The first cause of the given type.
fn cause_of<E: std::error::Error + 'static>(error: &hyper::Error) -> Option<&E> {
    let mut cause = error.source();
    while let Some(inner) = cause {
        if let Some(found) = inner.downcast_ref() {
            return Some(found);
        }
        cause = inner.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{Reason, ResponseError, ResponsePart};
    use bytes::Bytes;
    use http::{Request, Version};
    use http_body_util::Full;
    use hyper::client::conn::http2;
    use hyper_util::rt::{TokioExecutor, TokioIo};

    #[tokio::test]
    async fn a_request_that_the_library_rejects_is_a_local_error() {
        let (client, _server) = tokio::io::duplex(1024);
        let handshake = http2::Builder::new(TokioExecutor::new()).handshake(TokioIo::new(client));
        let (mut sender, connection) = handshake.await.unwrap();
        tokio::spawn(connection);
        let mut without_authority = Request::new(Full::<Bytes>::default());
        *without_authority.version_mut() = Version::HTTP_2;
        let error = ResponseError::from(sender.send_request(without_authority).await.unwrap_err());
        assert_eq!(error.reason(ResponsePart::Head), Reason::LocalInternalError);
        assert!(error.detail().contains("defect of the exporter"), "{}", error.detail());
    }
}
