//! A request, and why it cannot be sent.

use super::StageError;
use super::response_error::{ResponseError, ResponsePart, WireError};
use super::transport::OutOfOrder;
use super::wire::Wire;
use crate::target::Scheme;
use bytes::Bytes;
use glassbox_verdict::reason::Reason;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Uri};

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
    use super::{HttpRequest, RequestMode, pseudo_fields};
    use crate::target::Scheme;
    use bytes::Bytes;
    use http::{HeaderMap, HeaderValue, Method, Uri};

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
}
