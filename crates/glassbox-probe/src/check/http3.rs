//! HTTP/3 (RFC 9114) over a QUIC connection.

use super::http_request::{HttpRequest, SendError, pseudo_fields};
use super::pending_response::{PendingResponse, ResponseBody, ResponseHead};
use super::response_error::{Http3Error, WireError};
use super::trace::Trace;
use super::transport::Quic;
use crate::limits::Limits;
use bytes::{Buf, Bytes};
use h3::client::RequestStream;
use h3::error::StreamError;
use h3::quic::RecvStream;
use http::header::{CONNECTION, CONTENT_LENGTH};
use http::{Method, Request, Response};
use hyper::body::{Body, Frame};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// Prepares the request. Except for QUIC's background tasks, nothing runs until a stage polls it.
pub(super) async fn over_http3(
    quic: Quic,
    http_request: HttpRequest,
    trace: Arc<Trace>,
    limits: &Limits,
) -> Result<PendingResponse, SendError> {
    let most_interims = limits.interim_responses;
    let connection = h3_quinn::Connection::new(quic.connection.clone());
    let (mut driver, mut sender) = h3::client::builder()
        .max_field_section_size(limits.response_head as u64)
        .send_grease(false)
        .build::<_, _, Bytes>(connection)
        .await
        .map_err(|error| SendError::wire(Http3Error::from(error)))?;
    let is_head = http_request.method == Method::HEAD;
    let (request, body) = request(http_request)?;
    let quic = Arc::new(quic);
    let sent = quic.clone();
    let answer = async move {
        let mut stream = sender.send_request(request).await.map_err(Http3Error::from)?;
        let written = async {
            if !body.is_empty() {
                stream.send_data(body).await?;
            }
            // The time is taken before the call, because the next datagram contains the end of the request.
            trace.request_ended();
            stream.finish().await
        };
        match written.await {
            Ok(()) => sent.sent(&trace).await,
            // A server may respond before it has read the whole request (RFC 9114 section 4.1).
            Err(StreamError::RemoteTerminate { .. }) => {}
            Err(error) => return Err(Http3Error::from(error).into()),
        }
        let mut head = stream.recv_response().await.map_err(Http3Error::from)?;
        trace.answer_came();
        let mut interims = 0;
        while head.status().is_informational() {
            interims += 1;
            if interims > most_interims {
                return Err(Http3Error::Interims(most_interims).into());
            }
            head = stream.recv_response().await.map_err(Http3Error::from)?;
        }
        let left = content_length(&head)?.filter(|_| !is_head && !matches!(head.status().as_u16(), 204 | 304));
        // Dropping the sender ends the connection, so the body keeps it.
        let (_, stream) = stream.split();
        let body = ResponseBody::new(Content {
            stream,
            left,
            exceeds: false,
            ended: false,
            _sender: Box::new(sender),
        });
        Ok::<ResponseHead, WireError>(head.map(|()| body).into())
    };
    // The result of the connection is ignored, because the stream reports it as well.
    let connection = async move {
        driver.wait_idle().await;
        Ok(())
    };
    Ok(PendingResponse::new(connection, answer, quic))
}

fn request(http_request: HttpRequest) -> Result<(Request<()>, Bytes), SendError> {
    let uri = pseudo_fields(&http_request)?;
    let mut request = Request::new(());
    *request.method_mut() = http_request.method;
    *request.uri_mut() = uri;
    *request.headers_mut() = http_request.headers;
    request.headers_mut().remove(CONNECTION);
    Ok((request, http_request.body))
}

/// The value of `Content-Length`, if present.
fn content_length(head: &Response<()>) -> Result<Option<u64>, Http3Error> {
    let Some(length) = head.headers().get(CONTENT_LENGTH) else {
        return Ok(None);
    };
    let length = length.to_str().ok().filter(|length| !length.starts_with('+'));
    let length = length.and_then(|length| length.parse().ok());
    length
        .map(Some)
        .ok_or(Http3Error::Length("Content-Length is not a number of bytes"))
}

/// The body of a response, as a stream.
struct Content<S> {
    stream: RequestStream<S, Bytes>,
    /// Remaining bytes according to the header (RFC 9114 section 4.1.2), if known.
    left: Option<u64>,
    /// Whether the body is longer than this.
    exceeds: bool,
    /// Whether all data was received. Only trailers follow.
    ended: bool,
    _sender: Box<dyn Send>,
}

impl<S: RecvStream + Send + Unpin> Body for Content<S> {
    type Data = Bytes;
    type Error = WireError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, WireError>>> {
        if self.exceeds {
            let error = Http3Error::Length("the body is longer than Content-Length");
            return Poll::Ready(Some(Err(error.into())));
        }
        if !self.ended {
            if let Some(mut data) = ready!(self.stream.poll_recv_data(cx)).map_err(Http3Error::from)? {
                let length = data.remaining();
                let known = self
                    .left
                    .and_then(|left| usize::try_from(left).ok())
                    .unwrap_or(usize::MAX);
                // Returns the announced part of the body before the error.
                let bytes = data.copy_to_bytes(length.min(known));
                self.left = self.left.map(|left| left - bytes.len() as u64);
                self.exceeds = length > known;
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            self.ended = true;
            if self.left.is_some_and(|left| left > 0) {
                return Poll::Ready(Some(Err(Http3Error::Short.into())));
            }
        }
        let trailers = ready!(self.stream.poll_recv_trailers(cx)).map_err(Http3Error::from)?;
        Poll::Ready(trailers.map(|fields| Ok(Frame::trailers(fields))))
    }
}

#[cfg(test)]
mod tests {
    use crate::check::{Check, HttpRequest, ProbeContext, RequestMode, Tls};
    use crate::target::Scheme;
    use bytes::Bytes;
    use glassbox_verdict::reason::Reason;
    use http::header::HOST;
    use http::{HeaderMap, HeaderValue, Method};
    use quinn::crypto::rustls::QuicServerConfig;
    use quinn::{Endpoint, ServerConfig};
    use rustls::pki_types::PrivateKeyDer;
    use std::net::Ipv4Addr;
    use std::sync::Arc;
    use std::time::Duration;

    /// A server that accepts connections and does not respond.
    fn silent_server() -> Endpoint {
        let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(issued.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![issued.cert.der().clone()], key)
            .unwrap();
        tls.alpn_protocols = vec![b"h3".to_vec()];
        let config = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls).unwrap()));
        let endpoint = Endpoint::server(config, (Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let listener = endpoint.clone();
        tokio::spawn(async move {
            let connection = listener.accept().await.unwrap().await.unwrap();
            connection.closed().await
        });
        endpoint
    }

    #[tokio::test]
    async fn a_request_that_the_library_rejects_is_a_local_error() {
        let server = silent_server();
        let mut check = Check::new(&ProbeContext::default(), Duration::from_mins(1));
        check.begin_exchange("https://localhost/".to_owned(), true);
        let to = server.local_addr().unwrap();
        let tls = Tls::without_verification();
        check.secure_quic(&tls, "localhost", to).await.unwrap();
        let contradictory = HttpRequest {
            method: Method::GET,
            scheme: Scheme::Https,
            target: Bytes::from_static(b"/"),
            authority: HeaderValue::from_static("localhost"),
            headers: HeaderMap::from_iter([(HOST, HeaderValue::from_static("other.example"))]),
            body: Bytes::new(),
            mode: RequestMode::Normal,
        };
        check.send(contradictory).await.unwrap_err();
        let fault = check.finish().fault.unwrap();
        assert_eq!(fault.reason, Reason::LocalInternalError, "{fault:?}");
        assert_eq!(fault.detail, "HTTP/3 ended: the exporter's HTTP/3 library failed.");
    }
}
