//! What follows a header: a body that agrees with the framing or does not, bodies where none is allowed, interim
//! responses and content codings.

use super::content_length::Lengths;
use super::features::Features;
use super::message::{RawHead, RawMessage};
use super::transfer_encoding::Codings;
use super::{ConnectionEnd, RawResponse, chunks};

/// First bytes of gzip data (RFC 1952, 2.3.1).
const GZIP: &[u8] = &[0x1f, 0x8b];

/// Content codings that clients know.
const CONTENT_CODINGS: &[&str] = &["gzip", "x-gzip", "deflate", "compress", "br", "zstd", "identity"];

pub(super) fn examine(
    response: &RawResponse<'_>,
    message: &RawMessage<'_>,
    lengths: &Lengths,
    codings: &Codings,
    found: &mut Features,
) {
    interim_responses(message, found);
    let Some(head) = message.head.as_ref().filter(|head| head.end.is_some()) else {
        let is_over = message
            .interim
            .last()
            .is_some_and(|last| last.range().end == message.bytes.len());
        if message.head.is_none() && is_over {
            found.add("interim-only", message.bytes.len()..message.bytes.len());
        }
        return;
    };
    if head.is_http10(message.bytes) {
        found.add("valid-http10", head.status_line.content.clone());
    }
    if !response.is_whole {
        repeated_lengths(None, lengths, found);
        return;
    }
    let status = head.status(message.bytes);
    if response.answers_head {
        without_body_for_head(message, lengths, codings, found);
    } else if status == 101 {
        let row = if message.text(&message.body).starts_with(b"HTTP/") {
            "101-then-200"
        } else {
            "101-unasked"
        };
        found.add(row, head.status_line.content.clone());
    } else if matches!(status, 204 | 304) {
        without_body(status, message, lengths, codings, found);
    } else {
        with_body(response, message, head, lengths, codings, found);
    }
}

fn interim_responses(message: &RawMessage<'_>, found: &mut Features) {
    let mut continues = 0;
    let mut hints = 0;
    for head in &message.interim {
        let at = head.status_line.content.clone();
        let status = head.status(message.bytes);
        match status {
            100 => continues += 1,
            103 => hints += 1,
            102 => found.add("valid-interim-102", at.clone()),
            _ => found.add("interim-unknown", at.clone()),
        }
        if head.is_http10(message.bytes) {
            found.add("interim-http10", at.clone());
        }
        if let Some(coding) = head.named(message.bytes, "transfer-encoding").next() {
            found.add("interim-chunked", coding.range());
        }
        if let Some(length) = head.named(message.bytes, "content-length").next() {
            let is_zero = length.value(message.bytes) == b"0";
            found.add(
                if is_zero { "interim-length-0" } else { "interim-body" },
                length.range(),
            );
        }
    }
    if let Some(first) = message.interim.first() {
        let at = first.status_line.content.clone();
        let is_followed = message.head.is_some();
        let is_plain = !found.has("interim-http10") && is_followed;
        if continues > 0 && is_plain {
            found.add("interim-100", at.clone());
        }
        if hints > 0 {
            found.add("valid-interim-103", at);
        }
        found.measure("interim-100", continues);
        found.measure("interim-103", hints);
    }
}

fn without_body_for_head(message: &RawMessage<'_>, lengths: &Lengths, codings: &Codings, found: &mut Features) {
    if lengths.numbers.len() > 1 && lengths.agreed().is_none() {
        found.add("head-two-lengths", lengths.at.clone());
    }
    if message.body.is_empty() {
        found.add("valid-head", message.body.clone());
    } else if codings.is_chunked {
        found.add("head-chunked", message.body.clone());
    } else {
        found.add("head-body", message.body.clone());
    }
}

fn without_body(status: u32, message: &RawMessage<'_>, lengths: &Lengths, codings: &Codings, found: &mut Features) {
    let body = message.body.clone();
    let is_204 = status == 204;
    let row = match (codings.is_chunked, body.is_empty()) {
        (true, _) if is_204 && message.text(&body).starts_with(b"0\r\n") => "204-chunked-empty",
        (true, _) => {
            if is_204 {
                "204-chunked"
            } else {
                "304-chunked"
            }
        }
        (false, false) => {
            if is_204 {
                "204-body"
            } else {
                "304-body"
            }
        }
        (false, true) if is_204 => match lengths.agreed() {
            None => "valid-204",
            Some(0) => "204-length-0",
            Some(_) => "204-length",
        },
        (false, true) => "304-unasked",
    };
    found.add(row, body);
    repeated_lengths(None, lengths, found);
}

fn with_body(
    response: &RawResponse<'_>,
    message: &RawMessage<'_>,
    head: &RawHead,
    lengths: &Lengths,
    codings: &Codings,
    found: &mut Features,
) {
    let body = message.body.clone();
    if head.status(message.bytes) == 205 && !body.is_empty() {
        found.add("205-body", body.clone());
    }
    if codings.is_chunked {
        chunked(response, message, lengths, codings, found);
    } else {
        repeated_lengths(Some(body.len() as u64), lengths, found);
        match lengths.agreed() {
            Some(length) => sized(response, message, length, found),
            None if lengths.is_empty() && codings.at.is_none() => found.add("valid-until-close", body),
            None => {}
        }
    }
    content_coding(response, message, head, found);
}

fn chunked(
    response: &RawResponse<'_>,
    message: &RawMessage<'_>,
    lengths: &Lengths,
    codings: &Codings,
    found: &mut Features,
) {
    let body = chunks::examine(response, message.body.start, found);
    if body.is_finished && body.end < message.body.end {
        found.add("chunk-excess", body.end..message.body.end);
    }
    if body.is_finished && response.end == ConnectionEnd::Reset {
        found.add("reset-after-body", message.body.end..message.body.end);
    }
    let announces = message
        .head
        .as_ref()
        .and_then(|head| head.named(message.bytes, "trailer").next());
    if let Some(announced) = announces {
        // The announced names are not compared: an announced trailer that arrives is valid.
        if found.has("valid-trailer-unannounced") {
            found.add("valid-trailer", announced.range());
        } else {
            found.add("trailer-announced-missing", announced.range());
        }
    }
    if !lengths.is_empty() {
        let row = match (lengths.agreed(), codings.at.as_ref(), lengths.starts.first()) {
            (Some(length), _, _) if body.is_finished && length != body.length => "te-with-wrong-cl",
            (_, Some(coding), Some(length)) if coding.start < *length => "te-then-cl",
            _ => "te-after-cl",
        };
        found.add(row, lengths.at.clone());
    }
    if body.is_finished {
        found.add("valid-chunked", message.body.clone());
    }
}

/// Two or more lines Content-Length. `actual` is the length of the body, if it is known.
fn repeated_lengths(actual: Option<u64>, lengths: &Lengths, found: &mut Features) {
    if lengths.numbers.len() < 2 {
        return;
    }
    let row = if lengths.agreed().is_some() {
        "cl-two-equal"
    } else if actual.is_some() && lengths.numbers.first() == Some(&actual) {
        "cl-two-first-right"
    } else {
        "cl-two-last-right"
    };
    found.add(row, lengths.at.clone());
}

fn sized(response: &RawResponse<'_>, message: &RawMessage<'_>, length: u64, found: &mut Features) {
    let body = message.text(&message.body);
    let at = message.body.clone();
    let Some(excess) = usize::try_from(length).ok().and_then(|length| body.get(length..)) else {
        let row = match response.end {
            // `content_length` has a row for such numbers.
            _ if length > i64::MAX as u64 => return,
            ConnectionEnd::Reset => "cl-too-large-reset",
            _ => "cl-too-large",
        };
        found.add(row, at);
        return;
    };
    let row = match excess {
        b"" if response.end == ConnectionEnd::Reset => "reset-after-body",
        b"" => "valid-content-length",
        b"\r\n" => "excess-line-end",
        _ if length == 0 => "cl-zero-with-body",
        _ if excess.starts_with(b"HTTP/") => "excess-response",
        _ => "cl-too-small",
    };
    found.add(row, at.end - excess.len()..at.end);
}

fn content_coding(response: &RawResponse<'_>, message: &RawMessage<'_>, head: &RawHead, found: &mut Features) {
    let Some(field) = head.named(message.bytes, "content-encoding").next() else {
        return;
    };
    let value = field.value(message.bytes);
    let value = String::from_utf8_lossy(&value).to_ascii_lowercase();
    let is_known = value.split(',').all(|coding| CONTENT_CODINGS.contains(&coding.trim()));
    let row = match (is_known, response.decoding_failed) {
        (false, _) => Some("coding-unknown"),
        (true, true) if message.text(&message.body).starts_with(GZIP) => Some("gzip-cut"),
        (true, true) => Some("gzip-not-done"),
        (true, false) => None,
    };
    found.add_any(row, &field.range());
}
