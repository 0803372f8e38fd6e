//! Send: writes the request up to its last byte.

use super::http1::over_http1;
use super::http3::over_http3;
use super::local_fault::watched;
use super::memory_limit::Buffered;
use super::pending_response::{PendingResponse, ResponseError, ResponsePart, WireError, hypers_answer};
use super::trace::Trace;
use super::transport::{OutOfOrder, Transport};
use super::wire::{Layer, TracedStream, Wire};
use super::{Check, ProbeFailed, StageError};
use crate::limits::Limits;
use crate::target::Scheme;
use bytes::Bytes;
use futures_util::TryFutureExt as _;
use glassbox_verdict::chain::Stage;
use glassbox_verdict::reason::Reason;
use http::header::CONNECTION;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, Uri};
use http_body_util::Full;
use hyper::client::conn::http2;
use hyper::rt::Executor;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use std::future::Future;
use std::sync::Arc;
use tokio::task::JoinSet;

/// A request, independent of the HTTP version.
#[derive(Clone, Debug)]
pub struct HttpRequest {
    /// The method.
    pub method: Method,
    /// The scheme of the URL: `:scheme`.
    pub scheme: Scheme,
    /// The request target (RFC 9112 section 3.2), as written. For a forwarding proxy, this is the complete URL.
    pub target: Bytes,
    /// The value of `Host` or `:authority`.
    pub authority: HeaderValue,
    /// All other fields.
    pub headers: HeaderMap,
    /// The body. Empty if there is none.
    pub body: Bytes,
    /// The variant of the request.
    pub mode: RequestMode,
}

/// The variant of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RequestMode {
    /// An ordinary request.
    #[default]
    Normal,
    /// Every gateway rejects this request because a field name contains a space. HTTP/1.1 only.
    Refusable,
    /// HTTP/2 without negotiation (RFC 9113 section 3.3).
    Http2,
    /// Sent to a forwarding proxy: the request line has the complete URL (RFC 9112 section 3.2.2). HTTP/1.1 only.
    Relayed,
    /// Asks to switch protocols (RFC 9110 section 7.8). HTTP/1.1 only.
    Upgrade,
}

impl Check {
    /// Sends the request with HTTP/3 on a QUIC connection, with HTTP/2 if ALPN or the request selected it, and with
    /// HTTP/1.1 otherwise. Drives the exchange until the last byte is written. An early response also ends the stage.
    ///
    /// # Errors
    /// When the connection ends before the request is written.
    pub async fn send(&mut self, http_request: HttpRequest) -> Result<(), ProbeFailed> {
        let limits = *self.limits();
        for (name, value) in &http_request.headers {
            self.secrets.add_field(name, value);
        }
        self.secrets.add_target(&http_request.target);
        self.stage(Stage::Send, async |wire| {
            wire.facts.method = Some(http_request.method.to_string());
            wire.facts.authority = http_request.authority.to_str().ok().map(str::to_owned);
            let trace = wire.trace.clone();
            let pending = match wire.transport.take() {
                Transport::Quic(quic) => {
                    trace.send();
                    Box::pin(over_http3(quic, http_request, trace.clone(), &limits)).await?
                }
                other => over_stream(other.into_stream()?, wire, http_request, &limits).await?,
            };
            wire.transport = Transport::Pending(pending);
            let pending = wire.transport.pending()?;
            pending
                .advance_until(|answered| answered || trace.request_done().is_some())
                .await;
            // The time before the first byte was written is the exporter's preparation.
            wire.times.began = trace.request_began();
            match trace.request_done() {
                // The response started before the request was written completely. It ends Send, and Wait ends at the
                // same byte.
                None if trace.answer_began().is_some() => wire.times.hand_over(trace.answer_began()),
                None => {
                    if let Some(error) = pending.failure(&trace) {
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

/// Maximum bytes of an HTTP/2 stream that hyper receives before they are read.
const HTTP2_WINDOW: usize = 2 << 20;

async fn over_stream(
    layer: Layer,
    wire: &mut Wire,
    http_request: HttpRequest,
    limits: &Limits,
) -> Result<PendingResponse, SendError> {
    let tls = wire.facts.tls.as_ref();
    let agreed = tls.is_some_and(|tls| tls.alpn.as_deref() == Some("h2"));
    let is_http2 = agreed || http_request.mode == RequestMode::Http2;
    let traced = TracedStream::new(layer, wire.trace.clone());
    wire.trace.send();
    if is_http2 {
        wire.trace.speak_http2();
        let buffered = Buffered::new(&wire.memory, HTTP2_WINDOW);
        let traced = traced
            .of_http2(limits, http_request.method == Method::HEAD)
            .read_by(buffered);
        Box::pin(over_http2(
            TokioIo::new(traced),
            http_request,
            limits,
            wire.trace.clone(),
        ))
        .await
    } else {
        over_http1(traced, &http_request, limits, &wire.memory)
    }
}

async fn over_http2(
    io: TokioIo<TracedStream>,
    http_request: HttpRequest,
    limits: &Limits,
    trace: Arc<Trace>,
) -> Result<PendingResponse, SendError> {
    let helpers = BackgroundTasks {
        tasks: Arc::default(),
        trace: trace.clone(),
    };
    let (mut sender, connection) = http2::Builder::new(helpers.clone())
        .max_header_list_size(u32::try_from(limits.response_head).unwrap_or(u32::MAX))
        .handshake(io)
        .await
        .map_err(SendError::wire)?;
    let uri = pseudo_fields(&http_request)?;
    let mut request = Request::new(Full::new(http_request.body));
    *request.method_mut() = http_request.method;
    *request.uri_mut() = uri;
    *request.headers_mut() = http_request.headers;
    request.headers_mut().remove(CONNECTION);
    let answer = hypers_answer(sender.send_request(request), trace);
    Ok(PendingResponse::new(
        connection.map_err(WireError::from),
        answer,
        (sender, helpers),
    ))
}

/// The HTTP/2 and HTTP/3 equivalent of a request line (RFC 9113 section 8.3.1). Bytes of the target that the
/// libraries reject are percent-encoded. HTTP/1.1 sends them unchanged.
pub(super) fn pseudo_fields(http_request: &HttpRequest) -> Result<Uri, SendError> {
    let refused = |byte: u8| matches!(byte, b' ' | b'"' | b'<' | b'>');
    let is_text = std::str::from_utf8(&http_request.target).is_ok();
    let mut target = Vec::with_capacity(http_request.target.len());
    for byte in http_request.target.iter().copied() {
        if refused(byte) || !(byte.is_ascii() || is_text) {
            target.extend_from_slice(percent_encoding::percent_encode_byte(byte).as_bytes());
        } else {
            target.push(byte);
        }
    }
    let authority = http_request.authority.to_str().map_err(|_| SendError::Unwritable)?;
    let parts = Uri::builder().scheme(http_request.scheme.as_str()).authority(authority);
    let target = PathAndQuery::try_from(&target[..]).map_err(|_| SendError::Unwritable)?;
    parts.path_and_query(target).build().map_err(|_| SendError::Unwritable)
}

/// Runs the helper tasks that hyper needs for HTTP/2 streams, and stops them with the connection.
#[derive(Clone)]
struct BackgroundTasks {
    tasks: Arc<Mutex<JoinSet<()>>>,
    trace: Arc<Trace>,
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for BackgroundTasks {
    fn execute(&self, helper: F) {
        let trace = self.trace.clone();
        let helper = watched(helper, move || trace.library_panicked());
        self.tasks.lock().spawn(helper);
    }
}

pub(super) enum SendError {
    OutOfOrder(OutOfOrder),
    Unwritable,
    Exchange(ResponseError),
}

impl SendError {
    pub fn wire(error: impl Into<WireError>) -> Self {
        Self::Exchange(error.into().into())
    }
}

impl From<OutOfOrder> for SendError {
    fn from(error: OutOfOrder) -> Self {
        Self::OutOfOrder(error)
    }
}

impl StageError for SendError {
    fn reason(&self) -> Reason {
        match self {
            Self::OutOfOrder(_) => OutOfOrder::REASON,
            Self::Unwritable => Reason::LocalTargetInvalid,
            Self::Exchange(error) => error.reason(ResponsePart::Head),
        }
    }

    fn detail(&self) -> String {
        match self {
            Self::OutOfOrder(error) => error.to_string(),
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
    use super::{BackgroundTasks, HttpRequest, RequestMode, pseudo_fields};
    use crate::check::trace::Trace;
    use crate::target::Scheme;
    use bytes::Bytes;
    use glassbox_verdict::reason::Reason;
    use http::{HeaderMap, HeaderValue, Method, Uri};
    use hyper::rt::Executor as _;
    use std::sync::Arc;

    fn uri(target: &[u8], authority: &'static str) -> Option<Uri> {
        let http_request = HttpRequest {
            method: Method::GET,
            scheme: Scheme::Https,
            target: Bytes::copy_from_slice(target),
            authority: HeaderValue::from_static(authority),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            mode: RequestMode::Normal,
        };
        pseudo_fields(&http_request).ok()
    }

    #[test]
    fn a_target_is_as_written_also_where_the_library_writes_it() {
        for (target, sent) in [
            (&b"/a/../b/%2e?"[..], "/a/../b/%2e?"),
            (b"/?a b\"<>", "/?a%20b%22%3C%3E"),
            (b"/?|^{}\\`", "/?|^{}\\`"),
            (b"/?\xc3\xbc", "/?\u{fc}"),
            (b"/?\xfc", "/?%FC"),
            (b"//x", "//x"),
        ] {
            let uri = uri(target, "a.test:81").unwrap_or_else(|| panic!("{}", target.escape_ascii()));
            assert_eq!(uri.path_and_query().unwrap().as_str(), sent);
            assert_eq!(uri.authority().unwrap().as_str(), "a.test:81");
        }
        // Go cannot send such a request either.
        assert!(uri(b"/", "").is_none());
        assert!(uri(&[b"/", &b"a".repeat(70_000)[..]].concat(), "a").is_none());
    }

    #[tokio::test]
    async fn a_panic_in_a_helper_of_the_library_is_on_the_tape() {
        let helpers = BackgroundTasks {
            tasks: Arc::default(),
            trace: Arc::new(Trace::default()),
        };
        helpers.execute(async { panic!("on purpose") });
        let mut tasks = std::mem::take(&mut *helpers.tasks.lock());
        tasks.join_next().await.unwrap().unwrap();
        assert_eq!(helpers.trace.shortage(), Some(Reason::LocalPanic));
    }
}
