//! HTTP/1.1: we write the request and await the answer's first bytes, then hyper reads it. Until then nothing of the library is
//! there, whose buffers would be most of what a probe that hangs has.

use super::exchange::{Exchange, WireError, hypers_answer};
use super::send::{Ask, Manner, SendError};
use super::wire::Meter;
use crate::limits::Limits;
use crate::target::path_and_query;
use bytes::{Buf as _, Bytes};
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderName, TRAILER, TRANSFER_ENCODING};
use http::{HeaderValue, Method, Request, Uri};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;
use url::Position;

/// Has a request written, and its answer read.
pub(super) fn over_http1(meter: Meter, ask: &Ask, limits: &Limits) -> Result<Exchange, SendError> {
    let mut asking = Asking::new(meter, request(ask)?);
    let reader = Reader::new(ask, limits);
    let (hand_over, handed_over) = oneshot::channel();
    let connection = async move {
        asking.say_and_listen().await;
        let (mut sender, connection) = reader.builder().handshake(TokioIo::new(asking)).await?;
        // Whoever waits for the answer may have gone.
        let _ = hand_over.send(hypers_answer(sender.send_request(reader.request())));
        let ended = if reader.switches {
            Box::pin(connection.with_upgrades()).await
        } else {
            Box::pin(connection).await
        };
        // A connection ends with its last sender, even within an answer.
        drop(sender);
        Ok(ended?)
    };
    let answer = async move {
        match handed_over.await {
            Ok(answer) => answer.await,
            Err(_gone) => Err(WireError::Canceled),
        }
    };
    Ok(Exchange::new(connection, answer, ()))
}

/// A request as it is written (RFC 9112 section 3), body and all.
fn request(ask: &Ask) -> Result<Bytes, SendError> {
    let path = path_and_query(&ask.url);
    let target = match ask.manner {
        Manner::Relayed => {
            let place = &ask.url[Position::BeforeHost..Position::AfterPort];
            format!("{}://{place}{path}", ask.url.scheme())
        }
        _ => path,
    };
    let target: Uri = target.parse().map_err(|_| SendError::Unwritable)?;
    let mut fields = ask.headers.clone();
    // Where the body ends is not a module's to say, as with Go.
    for framing in [TRANSFER_ENCODING, TRAILER, CONTENT_LENGTH] {
        fields.remove(framing);
    }
    fields.insert(HOST, ask.authority.clone());
    fields.entry(CONNECTION).or_insert(HeaderValue::from_static(CLOSE));
    if !ask.body.is_empty() {
        fields.insert(CONTENT_LENGTH, ask.body.len().into());
    }
    let mut written = format!("{} {target} HTTP/1.1\r\n", ask.method).into_bytes();
    for (name, value) in &fields {
        write_name(&mut written, name);
        written.extend_from_slice(b": ");
        written.extend_from_slice(value.as_bytes());
        written.extend_from_slice(b"\r\n");
    }
    if ask.manner == Manner::Refusable {
        // A space, which no field's name may have (RFC 9112 section 5.1).
        written.extend_from_slice(b"Bad Name: x\r\n");
    }
    written.extend_from_slice(b"\r\n");
    written.extend_from_slice(&ask.body);
    Ok(written.into())
}

/// The value of `Connection` where nobody says another.
const CLOSE: &str = "close";

/// A field's name as Go writes it: each of its words with a capital.
fn write_name(written: &mut Vec<u8>, name: &HeaderName) {
    let begins = written.len();
    written.extend_from_slice(name.as_str().as_bytes());
    let mut is_first = true;
    for byte in &mut written[begins..] {
        if is_first {
            byte.make_ascii_uppercase();
        }
        is_first = *byte == b'-';
    }
}

/// How an answer is to be read.
struct Reader {
    /// Fields of its head, at most.
    fields: usize,
    /// Bytes of its head, at most.
    head: usize,
    /// One to HEAD has no body.
    method: Method,
    /// The request's `Connection`.
    persistence: HeaderValue,
    /// It may switch protocols.
    switches: bool,
}

impl Reader {
    fn new(ask: &Ask, limits: &Limits) -> Self {
        Self {
            fields: limits.response_fields,
            head: limits.response_head,
            method: ask.method.clone(),
            persistence: (ask.headers.get(CONNECTION).cloned()).unwrap_or(HeaderValue::from_static(CLOSE)),
            switches: ask.manner == Manner::Upgrade,
        }
    }

    fn builder(&self) -> http1::Builder {
        let mut builder = http1::Builder::new();
        // Obsolete, and still sent: Go reads folded lines too.
        builder
            .allow_obsolete_multiline_headers_in_responses(true)
            .max_headers(self.fields)
            .max_buf_size(self.head);
        builder
    }

    /// As much of the request as hyper needs to read its answer.
    fn request(&self) -> Request<Empty<Bytes>> {
        let mut request = Request::new(Empty::new());
        *request.method_mut() = self.method.clone();
        request.headers_mut().insert(CONNECTION, self.persistence.clone());
        request
    }
}

/// How much of an answer is read before hyper is there.
const FIRST: usize = 256;

/// A connection on which we ask ourselves. hyper reads an answer to a request of its own only: what it writes of one is dropped.
pub(super) struct Asking {
    meter: Meter,
    /// What is left of the request.
    unsaid: Bytes,
    /// All of it was written, as far as it could be.
    is_said: bool,
    /// Why it could not. What the peer said before counts for more.
    failed: Option<io::Error>,
    /// How the answer begins, until somebody reads it.
    first: Option<io::Result<Bytes>>,
    /// hyper has written a request.
    is_asked: bool,
}

impl Asking {
    const fn new(meter: Meter, request: Bytes) -> Self {
        Self {
            meter,
            unsaid: request,
            is_said: false,
            failed: None,
            first: None,
            is_asked: false,
        }
    }

    /// The connection below.
    pub fn into_meter(self) -> Meter {
        self.meter
    }

    /// Until the answer begins, which may be before the request has ended, or nothing can come any more.
    async fn say_and_listen(&mut self) {
        poll_fn(|cx| {
            let mut first = [0; FIRST];
            let mut first = ReadBuf::new(&mut first);
            let came = ready!(self.poll_hear(cx, &mut first));
            self.first = Some(came.map(|()| Bytes::copy_from_slice(first.filled())));
            Poll::Ready(())
        })
        .await;
    }

    /// Reads, and says more of the request while there is nothing to read.
    fn poll_hear(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let came = Pin::new(&mut self.meter).poll_read(cx, buf);
        if came.is_pending() {
            self.keep_saying(cx);
        }
        let is_over = match &came {
            Poll::Pending => false,
            Poll::Ready(Ok(())) => buf.filled().len() == before,
            Poll::Ready(Err(error)) => error.kind() == ErrorKind::UnexpectedEof,
        };
        let says_more = |error: &mut io::Error| match error.kind() {
            // The kernel tells it once: whoever reads after that sees an end like any other.
            ErrorKind::ConnectionReset => is_over,
            // The peer takes no more, and may have answered.
            ErrorKind::BrokenPipe => false,
            _ => is_over || came.is_pending(),
        };
        match self.failed.take_if(says_more) {
            Some(failed) => Poll::Ready(Err(failed)),
            None => came,
        }
    }

    fn keep_saying(&mut self, cx: &mut Context<'_>) {
        if !self.is_said
            && let Poll::Ready(said) = self.poll_say(cx)
        {
            self.is_said = true;
            self.unsaid = Bytes::new();
            self.failed = said.err();
        }
    }

    fn poll_say(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.unsaid.has_remaining() {
            match ready!(Pin::new(&mut self.meter).poll_write(cx, &self.unsaid))? {
                0 => return Poll::Ready(Err(ErrorKind::WriteZero.into())),
                written => self.unsaid.advance(written),
            }
        }
        Pin::new(&mut self.meter).poll_flush(cx)
    }
}

impl AsyncRead for Asking {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.is_asked {
            // An answer before its request is none to hyper, which writes that within the same turn.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let Some(first) = self.first.take() else {
            return self.poll_hear(cx, buf);
        };
        let mut first = first?;
        buf.put_slice(&first.split_to(first.len().min(buf.remaining())));
        self.first = Some(first).filter(|rest| !rest.is_empty()).map(Ok);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Asking {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.is_asked = true;
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.meter).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::{Ask, Manner, request};
    use http::{HeaderMap, HeaderName, HeaderValue, Method};

    fn written(method: Method, body: &'static str, manner: Manner, fields: &[(&'static str, &'static str)]) -> String {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let ask = Ask {
            method,
            url: "http://app.example:8080/a%20b?c=d#e".parse().unwrap(),
            authority: HeaderValue::from_static("app.example:8080"),
            headers,
            body: body.into(),
            manner,
        };
        let written = request(&ask).unwrap_or_else(|_| panic!("it can be written"));
        String::from_utf8(written.to_vec()).unwrap()
    }

    #[test]
    fn requests_are_written_as_go_writes_them() {
        assert_eq!(
            written(
                Method::GET,
                "",
                Manner::Usual,
                &[("x-a-b", "1"), ("x-a-b", ""), ("accept", "*/*")]
            ),
            "GET /a%20b?c=d HTTP/1.1\r\nX-A-B: 1\r\nX-A-B: \r\nAccept: */*\r\nHost: app.example:8080\r\n\
             Connection: close\r\n\r\n"
        );
        // Where the body ends is told once, and by us.
        let framing = [
            ("content-length", "9"),
            ("transfer-encoding", "chunked"),
            ("trailer", "x"),
        ];
        assert_eq!(
            written(Method::POST, "hello", Manner::Usual, &framing),
            "POST /a%20b?c=d HTTP/1.1\r\nHost: app.example:8080\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello"
        );
        assert_eq!(
            written(
                Method::GET,
                "",
                Manner::Upgrade,
                &[("connection", "Upgrade"), ("content-length", "5")]
            ),
            "GET /a%20b?c=d HTTP/1.1\r\nConnection: Upgrade\r\nHost: app.example:8080\r\n\r\n"
        );
        let relayed = written(Method::GET, "", Manner::Relayed, &[]);
        assert!(
            relayed.starts_with("GET http://app.example:8080/a%20b?c=d HTTP/1.1\r\n"),
            "{relayed}"
        );
        let refusable = written(Method::GET, "", Manner::Refusable, &[]);
        assert!(refusable.ends_with("\r\nBad Name: x\r\n\r\n"), "{refusable}");
    }
}
