//! A request in flight and its pending response, driven by the stages that wait for it.

use super::http1::Http1Error;
use super::http2::{declared_length, restore};
use super::http3::Http3Error;
use super::trace::Trace;
use super::wire::TracedStream;
use bytes::Bytes;
use glassbox_verdict::reason::Reason;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Version};
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::Response;
use hyper::body::Incoming;
use std::any::Any;
use std::error::Error as _;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The body of a response, for any HTTP version.
pub(super) type ResponseBody = UnsyncBoxBody<Bytes, WireError>;

/// The head of a response, for any HTTP version, and its body.
pub(super) struct ResponseHead {
    pub status: u16,
    /// The version, such as `HTTP/1.1`.
    pub version: &'static str,
    pub headers: HeaderMap,
    /// The reason phrase, if it is not the standard one.
    pub reason_phrase: Option<String>,
    /// The length of the body according to the head. For HEAD, it is the length that GET would return.
    /// If the head does not declare a length, the body itself may.
    pub length: Option<u64>,
    /// Whether the response itself defines its end, rather than the end of the connection.
    pub is_framed: bool,
    pub body: ResponseBody,
    /// The connection and the bytes received on it, after a successful switch to another protocol.
    pub switched: Option<(TracedStream, Vec<u8>)>,
}

impl From<Response<ResponseBody>> for ResponseHead {
    /// Converts a response over HTTP/2 or HTTP/3.
    fn from(answer: Response<ResponseBody>) -> Self {
        let (parts, body) = answer.into_parts();
        let declared = parts.headers.get(CONTENT_LENGTH);
        let declared = declared.and_then(|value| value.to_str().ok()?.parse().ok());
        Self {
            status: parts.status.as_u16(),
            version: if parts.version == Version::HTTP_3 {
                "HTTP/3.0"
            } else {
                "HTTP/2.0"
            },
            headers: parts.headers,
            reason_phrase: None,
            length: declared,
            is_framed: true,
            body,
            switched: None,
        }
    }
}

/// Converts hyper's HTTP/2 response to the common form.
pub(super) async fn hypers_answer(
    pending: impl Future<Output = hyper::Result<Response<Incoming>>>,
    trace: Arc<Trace>,
) -> Result<ResponseHead, WireError> {
    let mut answer = pending.await?;
    restore(answer.headers_mut(), &trace.deviations());
    let length = declared_length(answer.headers());
    let is_unknown = length.is_none() && answer.headers().contains_key(CONTENT_LENGTH);
    let answer = answer.map(|body| ResponseBody::new(body.map_err(WireError::from)));
    let mut head = ResponseHead::from(answer);
    head.length = length;
    if is_unknown {
        // Go treats the length as unknown, even without a body. A mapped body does not report its length.
        head.body = ResponseBody::new(head.body.map_frame(|frame| frame));
    }
    Ok(head)
}

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
    fn is_canceled(&self) -> bool {
        match self {
            Self::Hyper(error) => error.is_canceled(),
            Self::Http1(_) | Self::Http3(_) => false,
        }
    }
}

/// The connection and the pending response. Both make progress only while a stage drives them.
pub(super) struct PendingResponse {
    connection: Option<Boxed<Result<(), WireError>>>,
    connection_error: Option<WireError>,
    answer: ResponseState,
    /// The library's handles. Dropping them closes the connection, even in the middle of a response.
    _handles: Box<dyn Any + Send>,
}

enum ResponseState {
    Pending(Boxed<Result<ResponseHead, WireError>>),
    Head(Box<ResponseHead>),
    Failed(WireError),
    Taken,
}

impl PendingResponse {
    pub fn new(
        connection: impl Future<Output = Result<(), WireError>> + Send + 'static,
        answer: impl Future<Output = Result<ResponseHead, WireError>> + Send + 'static,
        handles: impl Any + Send,
    ) -> Self {
        Self {
            connection: Some(Box::pin(connection)),
            _handles: Box::new(handles),
            ..Self::alone(answer)
        }
    }

    /// A response that drives its own connection, as does its body.
    pub fn alone(answer: impl Future<Output = Result<ResponseHead, WireError>> + Send + 'static) -> Self {
        Self {
            connection: None,
            connection_error: None,
            answer: ResponseState::Pending(Box::pin(answer)),
            _handles: Box::new(()),
        }
    }

    /// Drives both until `enough` returns true. Its argument states whether a response or a failure is available.
    pub async fn advance_until(&mut self, enough: impl Fn(bool) -> bool) {
        poll_fn(|cx| {
            self.advance(cx);
            if enough(!matches!(self.answer, ResponseState::Pending(_))) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }

    /// Drives the connection together with `work`, which depends on it (such as reading a body).
    pub async fn alongside<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        poll_fn(|cx| {
            self.advance(cx);
            work.as_mut().poll(cx)
        })
        .await
    }

    fn advance(&mut self, cx: &mut Context<'_>) {
        if let Some(connection) = &mut self.connection
            && let Poll::Ready(end) = connection.as_mut().poll(cx)
        {
            self.connection = None;
            self.connection_error = end.err();
        }
        if let ResponseState::Pending(answer) = &mut self.answer
            && let Poll::Ready(end) = answer.as_mut().poll(cx)
        {
            self.answer = match end {
                Ok(head) => ResponseState::Head(Box::new(head)),
                Err(error) => ResponseState::Failed(error),
            };
        }
    }

    /// Takes the head, if it has arrived.
    pub fn take_head(&mut self) -> Option<ResponseHead> {
        match std::mem::replace(&mut self.answer, ResponseState::Taken) {
            ResponseState::Head(head) => Some(*head),
            other => {
                self.answer = other;
                None
            }
        }
    }

    /// Takes the failure, if the exchange failed. The connection's own error is more precise than the stream's
    /// "canceled".
    pub fn failure(&mut self, trace: &Trace) -> Option<ResponseError> {
        match std::mem::replace(&mut self.answer, ResponseState::Taken) {
            ResponseState::Failed(error) => Some(ResponseError {
                error: match self.connection_error.take() {
                    Some(cause) if error.is_canceled() => cause,
                    _ => error,
                },
                client_cert_asked: trace.client_cert_asked(),
            }),
            other => {
                self.answer = other;
                None
            }
        }
    }
}

impl fmt::Debug for PendingResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let answer = match self.answer {
            ResponseState::Pending(_) => "pending",
            ResponseState::Head(_) => "head",
            ResponseState::Failed(_) => "failed",
            ResponseState::Taken => "taken",
        };
        f.debug_struct("Exchange")
            .field("answer", &answer)
            .finish_non_exhaustive()
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
    error: WireError,
    /// The QUIC handshake requested a client certificate. Relevant only before the response.
    client_cert_asked: bool,
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
    if let Some(reason) = io_cause(error).and_then(|io| reason_of_io(io, part)) {
        return reason;
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
    } else {
        Reason::HttpFailed
    }
}

/// The reason why the underlying connection failed, if its error contains it.
pub(super) fn reason_of_io(error: &io::Error, part: ResponsePart) -> Option<Reason> {
    match error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Some(Reason::TcpReset),
        io::ErrorKind::UnexpectedEof => Some(closed(part)),
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => Some(Reason::HttpResponseInvalid),
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
