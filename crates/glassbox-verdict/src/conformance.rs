//! Examines the raw bytes of an HTTP/1 response: in which ways it deviates from RFC 9110 and RFC 9112, which unusual but
//! valid features it has, and how large its parts are. `tolerance.txt` states for each of these features which gateways
//! accept it ([`crate::gateways::tolerance`]).
//!
//! A client may accept a response that a gateway rejects. Therefore a healthy response to a direct request does not
//! prove that the gateway can forward it. Only its bytes, judged by the rules of this gateway, do.

mod bodies;
mod chunks;
mod content_length;
mod features;
mod fields;
mod lines;
mod message;
mod not_http;
mod status_line;
mod transfer_encoding;

pub use features::{Feature, Features, Size};

use message::RawMessage;

/// The bytes of a response as they arrived, above TLS, and their circumstances.
#[derive(Clone, Copy, Debug)]
pub struct RawResponse<'a> {
    /// All bytes, including interim responses, or their beginning.
    pub bytes: &'a [u8],
    /// Whether `bytes` contains everything that arrived. Otherwise, only the header is examined.
    pub is_whole: bool,
    /// Whether the request was a HEAD request.
    pub answers_head: bool,
    /// How the connection ended.
    pub end: ConnectionEnd,
    /// Whether the content coding could not be decoded.
    pub decoding_failed: bool,
}

/// How the connection of a response ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionEnd {
    /// The server closed it.
    Closed,
    /// The server reset it.
    Reset,
    /// The response ended first, or the client closed it.
    Open,
}

/// All features of a response, in the order of their bytes.
#[must_use]
pub fn examine(response: &RawResponse<'_>) -> Features {
    let mut found = Features::default();
    let Some(message) = RawMessage::split(response.bytes) else {
        not_http::examine(response, &mut found);
        return found;
    };
    lines::examine(&message, &mut found);
    status_line::examine(&message, &mut found);
    fields::examine(&message, &mut found);
    let lengths = content_length::examine(&message, &mut found);
    let codings = transfer_encoding::examine(&message, &lengths, &mut found);
    bodies::examine(response, &message, &lengths, &codings, &mut found);
    found.sort();
    found
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use tests::examined_fixtures;
