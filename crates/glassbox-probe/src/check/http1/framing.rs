//! The end of the body of an HTTP/1 response (RFC 9112 section 6.3), determined as in Go (`transfer.go`).

use super::head::{Head, HeadError, StatusLine};
use glassbox_verdict::report::{Deviation, Deviations};
use http::header::{CONTENT_LENGTH, TRAILER, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue};
use std::str;

/// How the end of a body is determined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// No body.
    None,
    /// A body of this many bytes.
    Length(u64),
    /// The body ends with its last chunk.
    Chunked,
    /// The body ends with the connection.
    Close,
}

/// The body according to the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyFraming {
    pub framing: Framing,
    /// The length to report. For HEAD, it is the length that GET would return. `None` if the head does not declare one.
    pub declared: Option<u64>,
}

/// Determines the framing of a response body. A response to HEAD has no body.
pub fn body_of(head: &Head, is_head: bool, deviations: &mut Deviations) -> Result<BodyFraming, HeadError> {
    let Head { status_line, fields } = head;
    let is_chunked = is_chunked(status_line, fields, deviations)?;
    let length = length(fields, deviations)?;
    let has_length = fields.contains_key(CONTENT_LENGTH);
    let has_coding = fields.contains_key(TRANSFER_ENCODING);
    let has_no_body = matches!(status_line.status, 100..=199 | 204 | 304);
    if has_length && has_coding {
        deviations.note(Deviation::LengthBesideCoding);
    }
    if (has_length || has_coding) && matches!(status_line.status, 100..=199 | 204) {
        deviations.note(Deviation::FramingWithoutBody);
    }
    if is_chunked {
        refuse_framing_trailers(fields)?;
    }
    let framing = match length {
        _ if is_head || has_no_body => Framing::None,
        _ if is_chunked => Framing::Chunked,
        Some(length) => Framing::Length(length),
        None => Framing::Close,
    };
    let declared = match framing {
        _ if is_head => length,
        Framing::None => Some(0),
        Framing::Length(length) => Some(length),
        Framing::Chunked | Framing::Close => None,
    };
    Ok(BodyFraming { framing, declared })
}

/// Only the chunked coding is supported, and only since HTTP/1.1. The field is ignored in earlier versions.
fn is_chunked(status_line: &StatusLine, fields: &HeaderMap, deviations: &mut Deviations) -> Result<bool, HeadError> {
    let mut codings = fields.get_all(TRANSFER_ENCODING).iter();
    let Some(coding) = codings.next() else {
        return Ok(false);
    };
    if !status_line.is_http11() {
        deviations.note(Deviation::CodingInHttp10);
        return Ok(false);
    }
    if codings.next().is_some() {
        return Err(Deviation::CodingRepeated.into());
    }
    if !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
        return Err(Deviation::CodingUnknown.into());
    }
    Ok(true)
}

/// The value of `Content-Length`, which may be repeated with the same value.
fn length(fields: &HeaderMap, deviations: &mut Deviations) -> Result<Option<u64>, HeadError> {
    // An empty continuation line leaves a space at the end of the value.
    let lengths = fields.get_all(CONTENT_LENGTH).iter().map(HeaderValue::as_bytes);
    let mut lengths = lengths.map(<[u8]>::trim_ascii);
    let Some(length) = lengths.next() else {
        return Ok(None);
    };
    for other in lengths {
        if other != length {
            return Err(Deviation::LengthsDiffer.into());
        }
        deviations.note(Deviation::RepeatedLength);
    }
    if length.is_empty() {
        deviations.note(Deviation::EmptyLength);
        return Ok(None);
    }
    // Digits only, and at most 63 bits.
    let is_number = length.iter().all(u8::is_ascii_digit);
    let number = str::from_utf8(length).ok().filter(|_| is_number);
    let number = number.and_then(|number| number.parse::<i64>().ok());
    match number.and_then(|number| u64::try_from(number).ok()) {
        Some(number) => Ok(Some(number)),
        None => Err(Deviation::LengthInvalid.into()),
    }
}

/// Framing fields are not allowed in a trailer section.
fn refuse_framing_trailers(fields: &HeaderMap) -> Result<(), HeadError> {
    let announced = fields.get_all(TRAILER).iter().map(HeaderValue::as_bytes);
    let mut names = announced.flat_map(|names| names.split(|byte| *byte == b','));
    if names.any(|name| frames(name.trim_ascii())) {
        return Err(Deviation::TrailerName.into());
    }
    Ok(())
}

/// Whether a field of this name frames a message.
pub fn frames(name: &[u8]) -> bool {
    [CONTENT_LENGTH, TRANSFER_ENCODING, TRAILER]
        .iter()
        .any(|framing| name.eq_ignore_ascii_case(framing.as_str().as_bytes()))
}
