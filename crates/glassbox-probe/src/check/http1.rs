//! HTTP/1: writes the request and reads the response without a client library.
//!
//! The exporter writes one request on a fresh connection, reads one response and closes the connection. An HTTP client
//! library hides the two things that a diagnosis needs. It does not show when each phase starts and ends, and it
//! rejects or repairs malformed responses without reporting them. This module therefore serialises the request once,
//! writes exactly these bytes, and parses the response itself. Go's net/http is the reference: a response that
//! `blackbox_exporter` accepts is accepted here too. Each deviation from RFC 9112 is recorded in the report.
//!
//! No background task is involved: the stage that waits for the connection also drives it. A probe spends most of its
//! time waiting, so a waiting connection holds only the unwritten rest of its request. The read buffer is allocated
//! when the first byte of the response arrives. The head is then parsed line by line ([`head`]), and the body is read
//! according to its framing ([`framing`], [`chunks`]). Interim responses are read and dropped:
//!
//! ```text
//! write request ── first byte ── head 103 ── head 100 ── head 200 ── body (length, chunks, or until close) ── end
//! ```
//!
//! hyper's client was measured for both halves (`docs/performance.md`). Writing without it saves 7.5 MB of 38 with 512
//! hanging probes, because hyper allocates its buffers before the first response byte. Parsing without it saves 12% of
//! the instructions of a scrape. The price is one subtle part: a server may respond before it has read the whole
//! request, so reading and writing overlap. [`connection`] explains how.
//!
//! For example, `GET /` sends `GET / HTTP/1.1`, the fields of the module, `Host`, and `Connection: close` unless the
//! module sets another value.

mod chunks;
mod connection;
mod framing;
pub(super) mod head;
mod whole_response;

pub use whole_response::{WholeResponse, read_response};

use super::http_request::{HttpRequest, RequestMode, SendError};
use super::layer::TracedStream;
use super::memory_limit::{Charge, ProbeMemory};
use super::pending_response::{PendingResponse, ResponseBody, ResponseHead};
use super::response_error::{Http1Error, WireError};
use crate::limits::Limits;
use bytes::Bytes;
use connection::Http1Connection;
use framing::Framing;
use glassbox_verdict::report::{Deviation, Deviations};
use head::HeadLimits;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderName, TRAILER, TRANSFER_ENCODING};
use http::{HeaderValue, Method};

/// Serialises a request and returns its pending response, which also writes the request.
pub(super) fn over_http1(
    traced: TracedStream,
    http_request: &HttpRequest,
    limits: &Limits,
    memory: &ProbeMemory,
) -> Result<PendingResponse, SendError> {
    let connection = Http1Connection::new(traced, serialize(http_request)?);
    let expected = Expected {
        limits: HeadLimits {
            bytes: limits.response_head,
            fields: limits.response_fields,
        },
        interims: limits.interim_responses,
        is_head: http_request.method == Method::HEAD,
        switches: http_request.mode == RequestMode::Upgrade,
    };
    Ok(PendingResponse::alone(expected.read(connection, memory.charge())))
}

/// The expected properties of a response.
struct Expected {
    limits: HeadLimits,
    /// Maximum number of interim responses before the final one.
    interims: usize,
    /// Whether the request is HEAD. Its response then has no body.
    is_head: bool,
    /// Whether the response may switch protocols.
    switches: bool,
}

impl Expected {
    async fn read(self, connection: Http1Connection, charge: Charge) -> Result<ResponseHead, WireError> {
        let mut incoming = connection.first_bytes(charge).await?;
        let mut interims = 0;
        let (head, body) = loop {
            let (head, body) = incoming.head(self.limits, self.is_head).await?;
            if !head.status_line.is_interim() {
                break (head, body);
            }
            interims += 1;
            if interims > self.interims {
                return Err(Http1Error::TooManyInterim(self.interims).into());
            }
        };
        let status_line = head.status_line;
        let is_upgrade = status_line.status == 101;
        let mut framing = body.framing;
        let (content, switched) = if is_upgrade {
            // The bytes that follow are not HTTP, whether or not the request asked for it.
            if !self.switches {
                let mut deviations = Deviations::default();
                deviations.note(Deviation::UnaskedUpgrade);
                incoming.trace().deviates(deviations);
            }
            framing = Framing::None;
            (
                ResponseBody::default(),
                Some(incoming.switched()).filter(|_| self.switches),
            )
        } else {
            (
                ResponseBody::new(incoming.body(framing, status_line.status == 205)),
                None,
            )
        };
        Ok(ResponseHead {
            status: status_line.status,
            version: status_line.version,
            headers: head.fields,
            reason_phrase: status_line.phrase,
            length: body.declared,
            is_framed: framing != Framing::Close,
            body: content,
            switched,
        })
    }
}

/// Serialises a request, including its body (RFC 9112 section 3).
fn serialize(http_request: &HttpRequest) -> Result<Bytes, SendError> {
    // A control character could end the line. All other bytes are written unchanged, including spaces, as in Go.
    if http_request.target.iter().any(u8::is_ascii_control) {
        return Err(SendError::Unwritable);
    }
    let mut fields = http_request.headers.clone();
    // A module cannot override the message framing, as in Go.
    for framing in [TRANSFER_ENCODING, TRAILER, CONTENT_LENGTH] {
        fields.remove(framing);
    }
    fields.insert(HOST, http_request.authority.clone());
    fields.entry(CONNECTION).or_insert(HeaderValue::from_static(CLOSE));
    if !http_request.body.is_empty() {
        fields.insert(CONTENT_LENGTH, http_request.body.len().into());
    }
    let mut written = [
        http_request.method.as_str().as_bytes(),
        b" ",
        &http_request.target,
        b" HTTP/1.1\r\n",
    ]
    .concat();
    for (name, value) in &fields {
        write_name(&mut written, name);
        written.extend_from_slice(b": ");
        written.extend_from_slice(value.as_bytes().trim_ascii());
        written.extend_from_slice(b"\r\n");
    }
    if http_request.mode == RequestMode::Refusable {
        // A field name must not contain a space (RFC 9112 section 5.1).
        written.extend_from_slice(b"Bad Name: x\r\n");
    }
    written.extend_from_slice(b"\r\n");
    written.extend_from_slice(&http_request.body);
    Ok(written.into())
}

/// The default value of `Connection`.
const CLOSE: &str = "close";

/// Writes a field name as Go does: each word starts with a capital letter.
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

#[cfg(test)]
mod tests {
    use super::{HttpRequest, RequestMode, serialize};
    use crate::target::Scheme;
    use bytes::Bytes;
    use http::{HeaderMap, HeaderName, HeaderValue, Method};

    fn plain() -> HttpRequest {
        HttpRequest {
            method: Method::GET,
            scheme: Scheme::Http,
            target: Bytes::from_static(b"/"),
            authority: HeaderValue::from_static("app.example"),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            mode: RequestMode::Normal,
        }
    }

    fn written(
        method: Method,
        body: &'static str,
        mode: RequestMode,
        fields: &[(&'static str, &'static str)],
    ) -> String {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let http_request = HttpRequest {
            method,
            scheme: Scheme::Http,
            target: Bytes::from_static(match mode {
                RequestMode::Relayed => b"http://app.example:8080/a%20b?c=d",
                _ => b"/a%20b?c=d",
            }),
            authority: HeaderValue::from_static("app.example:8080"),
            headers,
            body: body.into(),
            mode,
        };
        let written = serialize(&http_request).unwrap_or_else(|_| panic!("it can be written"));
        String::from_utf8(written.to_vec()).unwrap()
    }

    #[test]
    fn requests_are_written_as_go_writes_them() {
        assert_eq!(
            written(
                Method::GET,
                "",
                RequestMode::Normal,
                &[("x-a-b", "\t1 "), ("x-a-b", " "), ("accept", "*/*")]
            ),
            "GET /a%20b?c=d HTTP/1.1\r\nX-A-B: 1\r\nX-A-B: \r\nAccept: */*\r\nHost: app.example:8080\r\n\
             Connection: close\r\n\r\n"
        );
        // The message framing is declared once, by the exporter.
        let framing = [
            ("content-length", "9"),
            ("transfer-encoding", "chunked"),
            ("trailer", "x"),
        ];
        assert_eq!(
            written(Method::POST, "hello", RequestMode::Normal, &framing),
            "POST /a%20b?c=d HTTP/1.1\r\nHost: app.example:8080\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello"
        );
        assert_eq!(
            written(
                Method::GET,
                "",
                RequestMode::Upgrade,
                &[("connection", "Upgrade"), ("content-length", "5")]
            ),
            "GET /a%20b?c=d HTTP/1.1\r\nConnection: Upgrade\r\nHost: app.example:8080\r\n\r\n"
        );
        let relayed = written(Method::GET, "", RequestMode::Relayed, &[]);
        assert!(
            relayed.starts_with("GET http://app.example:8080/a%20b?c=d HTTP/1.1\r\n"),
            "{relayed}"
        );
        for target in ["/?a b", "/?\"<>|^", "/?\u{fc}"] {
            let mut http_request = plain();
            http_request.target = target.into();
            assert!(
                serialize(&http_request)
                    .is_ok_and(|head| head.starts_with(format!("GET {target} HTTP/1.1\r\n").as_bytes()))
            );
            http_request.target = format!("{target}\r\nX: y").into();
            assert!(serialize(&http_request).is_err());
        }
        let refusable = written(Method::GET, "", RequestMode::Refusable, &[]);
        assert!(refusable.ends_with("\r\nBad Name: x\r\n\r\n"), "{refusable}");
    }
}
