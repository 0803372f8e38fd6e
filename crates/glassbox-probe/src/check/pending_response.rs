//! A request in flight and its pending response, driven by the stages that wait for it.

use super::http2::{declared_length, restore};
use super::layer::TracedStream;
use super::response_error::{ResponseError, WireError};
use super::trace::Trace;
use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Version};
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::Response;
use hyper::body::Incoming;
use std::any::Any;
use std::fmt;
use std::future::{Future, poll_fn};
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
