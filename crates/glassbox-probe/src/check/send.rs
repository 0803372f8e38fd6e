//! Send: writes the request up to its last byte.

use super::http_request::{HttpRequest, RequestMode, SendError, pseudo_fields};
use super::http1::over_http1;
use super::http3::over_http3;
use super::layer::{Layer, TracedStream};
use super::local_fault::watched;
use super::memory_limit::Buffered;
use super::pending_response::{PendingResponse, hypers_answer};
use super::response_error::WireError;
use super::trace::Trace;
use super::transport::Transport;
use super::wire::Wire;
use super::{Check, ProbeFailed};
use crate::limits::Limits;
use futures_util::TryFutureExt as _;
use glassbox_verdict::chain::Stage;
use http::header::CONNECTION;
use http::{Method, Request};
use http_body_util::Full;
use hyper::client::conn::http2;
use hyper::rt::Executor;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use std::future::Future;
use std::sync::Arc;
use tokio::task::JoinSet;

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

#[cfg(test)]
mod tests {
    use super::BackgroundTasks;
    use crate::check::trace::Trace;
    use glassbox_verdict::reason::Reason;
    use hyper::rt::Executor as _;
    use std::sync::Arc;

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
