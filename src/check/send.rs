//! Send: write the request to its last byte.

use super::exchange::{Exchange, ExchangeError, Part, WireError, hypers_answer};
use super::http1::over_http1;
use super::http3::over_http3;
use super::own_fault::watched;
use super::tape::Tape;
use super::wire::{Meter, Wire};
use super::{Check, Failure, Stopped};
use crate::chain::Stage;
use crate::limits::Limits;
use crate::reason::Reason;
use crate::target::path_and_query;
use bytes::Bytes;
use futures_util::TryFutureExt as _;
use http::header::CONNECTION;
use http::{HeaderMap, HeaderValue, Method, Request, Uri};
use http_body_util::Full;
use hyper::client::conn::http2;
use hyper::rt::Executor;
use hyper_util::rt::TokioIo;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::task::JoinSet;
use url::Url;

/// A request in words that fit every HTTP version.
#[derive(Clone, Debug)]
pub struct Ask {
    /// The method.
    pub method: Method,
    /// Where to; scheme, path and query are taken from it.
    pub url: Url,
    /// The value of `Host` or `:authority`.
    pub authority: HeaderValue,
    /// All other fields.
    pub headers: HeaderMap,
    /// The body; empty for none.
    pub body: Bytes,
    /// In which way it differs from most requests.
    pub manner: Manner,
}

/// In which way a request differs from most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Manner {
    /// In none.
    #[default]
    Usual,
    /// Written so that every gateway refuses it: with a space in a field's name. HTTP/1.1 only.
    Refusable,
    /// Over HTTP/2 without having agreed on it (RFC 9113 section 3.3).
    Http2,
    /// To a proxy, which is to pass it on: the request line has all of the URL (RFC 9112 section 3.2.2). HTTP/1.1 only.
    Relayed,
    /// It asks to switch protocols (RFC 9110 section 7.8). HTTP/1.1 only.
    Upgrade,
}

impl Check {
    /// Hands the request to HTTP/3 on a QUIC connection, else to HTTP/2 where ALPN agreed on it, else to HTTP/1.1, and drives it until its last byte is
    /// written. An answer that comes first ends the stage too.
    ///
    /// # Errors
    /// When the connection ends before the request is written.
    pub async fn send(&mut self, ask: Ask) -> Result<(), Stopped> {
        let limits = *self.limits();
        self.stage(Stage::Send, async |wire| {
            wire.leg.method = Some(ask.method.to_string());
            wire.leg.authority = ask.authority.to_str().ok().map(str::to_owned);
            let tape = wire.tape.clone();
            let exchange = if let Some(quic) = wire.quic.take() {
                tape.send();
                Box::pin(over_http3(quic, ask, tape.clone(), &limits)).await?
            } else {
                over_stream(wire, ask, &limits).await?
            };
            let exchange = wire.exchange.insert(exchange);
            exchange
                .advance_until(|answered| answered || tape.request_done().is_some())
                .await;
            // What comes before the first byte is our own preparation.
            wire.times.began = tape.request_began();
            match tape.request_done() {
                // The answer came before the request was written: it ends Send, and Wait ends at the same byte.
                None if tape.answer_began().is_some() => wire.times.hand_over(tape.answer_began()),
                None => {
                    if let Some(error) = exchange.failure(&tape) {
                        return Err(SendError::Exchange(error));
                    }
                }
                done => wire.times.hand_over(done),
            }
            Ok::<_, SendError>(())
        })
        .await
    }
}

async fn over_stream(wire: &mut Wire, ask: Ask, limits: &Limits) -> Result<Exchange, SendError> {
    let layer = wire.take_layer().ok_or(SendError::NotConnected)?;
    let tls = wire.leg.tls.as_ref();
    let agreed = tls.is_some_and(|tls| tls.alpn.as_deref() == Some("h2"));
    let meter = Meter::new(layer, wire.tape.clone()).of_http(limits.interim_responses);
    wire.tape.send();
    if agreed || ask.manner == Manner::Http2 {
        wire.tape.speak_http2();
        Box::pin(over_http2(TokioIo::new(meter), ask, limits, wire.tape.clone())).await
    } else {
        over_http1(meter, &ask, limits)
    }
}

async fn over_http2(io: TokioIo<Meter>, ask: Ask, limits: &Limits, tape: Arc<Tape>) -> Result<Exchange, SendError> {
    let helpers = Helpers {
        tasks: Arc::default(),
        tape,
    };
    let (mut sender, connection) = http2::Builder::new(helpers.clone())
        .max_header_list_size(u32::try_from(limits.response_head).unwrap_or(u32::MAX))
        .handshake(io)
        .await
        .map_err(SendError::wire)?;
    let authority = ask.authority.to_str().map_err(|_| SendError::Unwritable)?;
    let uri = Uri::builder()
        .scheme(ask.url.scheme())
        .authority(authority)
        .path_and_query(path_and_query(&ask.url))
        .build()
        .map_err(|_| SendError::Unwritable)?;
    let mut request = Request::new(Full::new(ask.body));
    *request.method_mut() = ask.method;
    *request.uri_mut() = uri;
    *request.headers_mut() = ask.headers;
    request.headers_mut().remove(CONNECTION);
    let answer = hypers_answer(sender.send_request(request));
    Ok(Exchange::new(
        connection.map_err(WireError::from),
        answer,
        (sender, helpers),
    ))
}

/// Runs the helper tasks that hyper needs for HTTP/2 streams, and ends them with the connection.
#[derive(Clone)]
struct Helpers {
    tasks: Arc<Mutex<JoinSet<()>>>,
    tape: Arc<Tape>,
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Helpers {
    fn execute(&self, helper: F) {
        let tape = self.tape.clone();
        let helper = watched(helper, move || tape.library_panicked());
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).spawn(helper);
    }
}

pub(super) enum SendError {
    NotConnected,
    Unwritable,
    Exchange(ExchangeError),
}

impl SendError {
    pub fn wire(error: impl Into<WireError>) -> Self {
        Self::Exchange(error.into().into())
    }
}

impl Failure for SendError {
    fn reason(&self) -> Reason {
        match self {
            Self::NotConnected => Reason::HttpFailed,
            Self::Unwritable => Reason::LocalTargetInvalid,
            Self::Exchange(error) => error.reason(Part::Head),
        }
    }

    fn detail(&self) -> String {
        match self {
            Self::NotConnected => "There was no connection to send on.".to_owned(),
            Self::Unwritable => "The path, query or host cannot be written in an HTTP request.".to_owned(),
            Self::Exchange(error) => error.detail(),
        }
    }

    fn timed_out(_: &Wire) -> Reason {
        Reason::HttpTimedOutWaiting
    }
}
#[cfg(test)]
mod tests {
    use super::Helpers;
    use crate::check::tape::Tape;
    use crate::reason::Reason;
    use hyper::rt::Executor as _;
    use std::sync::{Arc, PoisonError};

    #[tokio::test]
    async fn a_panic_in_a_helper_of_the_library_is_on_the_tape() {
        let helpers = Helpers {
            tasks: Arc::default(),
            tape: Arc::new(Tape::default()),
        };
        helpers.execute(async { panic!("on purpose") });
        let mut tasks = std::mem::take(&mut *helpers.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        tasks.join_next().await.unwrap().unwrap();
        assert_eq!(helpers.tape.shortage(), Some(Reason::LocalPanicked));
    }
}
