//! Where the body of an HTTP/1 response ends (RFC 9112 section 6.3), as Go decides it (`transfer.go`).

use super::head::{Head, HeadError, StatusLine};
use crate::report::{Deviation, Deviations};
use http::header::{CONTENT_LENGTH, TRAILER, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue};
use std::str;

/// What ends a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    None,
    /// It has so many bytes.
    Length(u64),
    /// Its last chunk.
    Chunked,
    /// The end of the connection.
    Close,
}

/// What a head says of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyFraming {
    pub framing: Framing,
    /// Its length as it is reported: that of the answer to HEAD is the one that GET would have. `None` where the head does not
    /// tell.
    pub declared: Option<u64>,
}

/// Reads what frames the body of a response to a request, which was HEAD or was not.
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

/// Only one coding is known, and only since HTTP/1.1: before, the field means nothing.
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

/// The value of `Content-Length`, which may be repeated if it is the same.
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
    // Up to 63 bits, and nothing but digits.
    let is_number = length.iter().all(u8::is_ascii_digit);
    let number = str::from_utf8(length).ok().filter(|_| is_number);
    let number = number.and_then(|number| number.parse::<i64>().ok());
    match number.and_then(|number| u64::try_from(number).ok()) {
        Some(number) => Ok(Some(number)),
        None => Err(Deviation::LengthInvalid.into()),
    }
}

/// What frames a message must not come after it.
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
