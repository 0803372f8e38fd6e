//! One request and its answer in flight, driven by the stages that watch it.

use super::http3::Http3Error;
use super::tape::Tape;
use crate::reason::Reason;
use bytes::Bytes;
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
use std::task::{Context, Poll};

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The body of an answer, of whichever HTTP version.
pub(super) type AnswerBody = UnsyncBoxBody<Bytes, WireError>;

/// hyper's answer, as those of all versions are.
pub(super) async fn hypers_answer(
    pending: impl Future<Output = hyper::Result<Response<Incoming>>>,
) -> Result<Response<AnswerBody>, WireError> {
    let answer = pending.await?;
    Ok(answer.map(|body| AnswerBody::new(body.map_err(WireError::from))))
}

/// How a library says that an exchange failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum WireError {
    /// HTTP/1.1 and HTTP/2.
    #[error(transparent)]
    Hyper(#[from] hyper::Error),
    /// HTTP/3.
    #[error(transparent)]
    Http3(#[from] Http3Error),
    /// The connection ended before an answer began.
    #[error("the connection ended")]
    Canceled,
}

impl WireError {
    /// Whether it only says that the connection's own error says more.
    fn is_canceled(&self) -> bool {
        match self {
            Self::Hyper(error) => error.is_canceled(),
            Self::Http3(_) => false,
            Self::Canceled => true,
        }
    }
}

/// The connection and the pending answer. Nothing of it runs unless a stage drives it.
pub(super) struct Exchange {
    connection: Option<Boxed<Result<(), WireError>>>,
    connection_error: Option<WireError>,
    answer: Answer,
    /// The library's handles: a connection ends when they are dropped, even within an answer.
    _handles: Box<dyn Any + Send>,
}

enum Answer {
    Pending(Boxed<Result<Response<AnswerBody>, WireError>>),
    Head(Response<AnswerBody>),
    Failed(WireError),
    Taken,
}

impl Exchange {
    pub fn new(
        connection: impl Future<Output = Result<(), WireError>> + Send + 'static,
        answer: impl Future<Output = Result<Response<AnswerBody>, WireError>> + Send + 'static,
        handles: impl Any + Send,
    ) -> Self {
        Self {
            connection: Some(Box::pin(connection)),
            connection_error: None,
            answer: Answer::Pending(Box::pin(answer)),
            _handles: Box::new(handles),
        }
    }

    /// Drives both until `enough` says so; it is told whether an answer or a failure is there.
    pub async fn advance_until(&mut self, enough: impl Fn(bool) -> bool) {
        poll_fn(|cx| {
            self.advance(cx);
            if enough(!matches!(self.answer, Answer::Pending(_))) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }

    /// Drives the connection beside `work`, which needs it to make progress (a body that is read).
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
        if let Answer::Pending(answer) = &mut self.answer
            && let Poll::Ready(end) = answer.as_mut().poll(cx)
        {
            self.answer = match end {
                Ok(head) => Answer::Head(head),
                Err(error) => Answer::Failed(error),
            };
        }
    }

    /// Takes the head, once it is there.
    pub fn take_head(&mut self) -> Option<Response<AnswerBody>> {
        match std::mem::replace(&mut self.answer, Answer::Taken) {
            Answer::Head(head) => Some(head),
            other => {
                self.answer = other;
                None
            }
        }
    }

    /// Takes the failure, if the exchange failed. The connection's own error says more than "canceled", and what came
    /// says more than how it ended.
    pub fn failure(&mut self, tape: &Tape) -> Option<ExchangeError> {
        match std::mem::replace(&mut self.answer, Answer::Taken) {
            Answer::Failed(error) => Some(ExchangeError {
                error: match self.connection_error.take() {
                    Some(cause) if error.is_canceled() => cause,
                    _ => error,
                },
                no_http: tape.answer_is_no_http(),
                client_cert_asked: tape.client_cert_asked(),
            }),
            other => {
                self.answer = other;
                None
            }
        }
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let answer = match self.answer {
            Answer::Pending(_) => "pending",
            Answer::Head(_) => "head",
            Answer::Failed(_) => "failed",
            Answer::Taken => "taken",
        };
        f.debug_struct("Exchange")
            .field("answer", &answer)
            .finish_non_exhaustive()
    }
}

/// Which part of the answer was awaited when the exchange failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Head,
    Body,
}

/// A library's error, read for its reason.
#[derive(Debug)]
pub(super) struct ExchangeError {
    error: WireError,
    /// What came was no HTTP, however the connection then ended.
    no_http: bool,
    /// The QUIC handshake asked for a certificate of ours, as far as that matters: before the answer.
    client_cert_asked: bool,
}

impl<E: Into<WireError>> From<E> for ExchangeError {
    fn from(error: E) -> Self {
        Self {
            error: error.into(),
            no_http: false,
            client_cert_asked: false,
        }
    }
}

impl ExchangeError {
    pub fn reason(&self, part: Part) -> Reason {
        let ended = match &self.error {
            WireError::Hyper(error) => hypers_reason(error, part),
            WireError::Http3(error) => error.reason(part, self.client_cert_asked),
            WireError::Canceled => closed(part),
        };
        match ended {
            Reason::TcpReset | Reason::HttpClosedBeforeResponse if self.no_http => Reason::HttpResponseInvalid,
            reason => reason,
        }
    }

    pub fn detail(&self) -> String {
        let error = match &self.error {
            WireError::Hyper(error) => error,
            WireError::Http3(error) => return format!("HTTP/3 ended: {}.", error.words()),
            WireError::Canceled => return format!("{}.", self.error),
        };
        if let Some(h2) = cause_of::<h2::Error>(error).filter(|error| !error.is_io()) {
            // Only the code: the library's text may hold what the peer wrote.
            return match h2.reason() {
                Some(code) => format!("HTTP/2 ended: {}.", code.description()),
                None => "HTTP/2 ended.".to_owned(),
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

fn hypers_reason(error: &hyper::Error, part: Part) -> Reason {
    if let Some(io) = io_cause(error) {
        match io.kind() {
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => return Reason::TcpReset,
            io::ErrorKind::UnexpectedEof => return closed(part),
            io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => {
                return Reason::HttpResponseInvalid;
            }
            _ => {}
        }
    }
    if let Some(h2) = cause_of::<h2::Error>(error) {
        // The peer gave the stream or the connection up, or it broke the protocol and we did.
        return if h2.is_remote() {
            closed(part)
        } else {
            Reason::HttpResponseInvalid
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

/// The peer ended it.
pub(super) const fn closed(part: Part) -> Reason {
    match part {
        Part::Head => Reason::HttpClosedBeforeResponse,
        Part::Body => Reason::HttpClosedMidBody,
    }
}

fn io_cause(error: &hyper::Error) -> Option<&io::Error> {
    cause_of::<io::Error>(error).or_else(|| cause_of::<h2::Error>(error)?.get_io())
}

/// The first cause of a type.
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
