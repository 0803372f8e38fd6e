//! A chunked body: sizes, extensions, data, trailers.

use super::features::Features;
use super::lines::byte;
use super::message::{Ending, Line, RawField, is_space};
use super::{ConnectionEnd, RawResponse};
use std::ops::Range;

/// A chunked body, as far as it can be parsed.
pub(super) struct Chunked {
    /// Length of the data.
    pub length: u64,
    /// Whether the last chunk was found.
    pub is_finished: bool,
    /// First byte after the body.
    pub end: usize,
}

/// Examines a chunked body that begins at `at`.
pub(super) fn examine(response: &RawResponse<'_>, at: usize, found: &mut Features) -> Chunked {
    let bytes = response.bytes;
    let mut body = Chunked {
        length: 0,
        is_finished: false,
        end: at,
    };
    if at == bytes.len() {
        found.add("chunk-no-body", at..at);
        return body;
    }
    loop {
        let line = Line::read(bytes, body.end);
        let is_first = body.end == at;
        let Some(size) = chunk_size(bytes, &line, is_first, found) else {
            return body;
        };
        body.end = line.next();
        if size == 0 {
            trailers(response, &mut body, found);
            return body;
        }
        if !data(response, size, &mut body, found) {
            return body;
        }
    }
}

/// The size that a line states. `None` if a tolerant reader finds no size.
fn chunk_size(bytes: &[u8], line: &Line, is_first: bool, found: &mut Features) -> Option<u64> {
    let text = &bytes[line.content.clone()];
    let at = &line.content;
    if line.ending == Ending::Missing && text.is_empty() {
        found.add("chunk-last-missing", at.clone());
        return None;
    }
    let spaces = text.iter().take_while(|byte| is_space(**byte)).count();
    let rest = &text[spaces..];
    let digits = rest.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let after = &rest[digits..];
    if spaces > 0 && digits > 0 {
        found.add("chunk-size-space-before", at.clone());
    }
    if digits == 0 || (rest.starts_with(b"0") && after.first() == Some(&b'x')) {
        found.add(not_a_size(rest, line, is_first), at.clone());
        return None;
    }
    found.measure("chunk-digits", digits);
    if let Some(position) = memchr::memchr(b'\r', after) {
        // The extension belongs to the line, but the end of the line does not belong to the size.
        let row = if after.contains(&b';') {
            "chunk-extension-cr"
        } else {
            "chunk-size-cr"
        };
        found.add(row, byte(at, spaces + digits + position));
        if row == "chunk-size-cr" {
            return None;
        }
    }
    after_size(after, at, found);
    if rest[..digits].iter().any(u8::is_ascii_uppercase) {
        found.add("valid-chunk-size-upper-case", at.clone());
    }
    if digits > 2 && rest.starts_with(b"00") {
        found.add("valid-chunk-size-zeros", at.clone());
    }
    if line.ending == Ending::Lf {
        let row = if after.contains(&b';') {
            "chunk-extension-lf"
        } else {
            "chunk-size-lf"
        };
        found.add(row, at.clone());
    }
    let digits = std::str::from_utf8(&rest[..digits]).ok()?;
    let significant = digits.trim_start_matches('0');
    let size = u64::from_str_radix(if significant.is_empty() { "0" } else { significant }, 16);
    match size {
        Err(_) => found.add("chunk-size-beyond-64-bits", at.clone()),
        Ok(u64::MAX) => found.add("chunk-size-64-bits", at.clone()),
        Ok(size) if size >= i64::MAX as u64 => found.add("chunk-size-63-bits", at.clone()),
        Ok(size) => return Some(size),
    }
    None
}

fn not_a_size(text: &[u8], line: &Line, is_first: bool) -> &'static str {
    match text {
        [] => "chunk-size-empty",
        [b'-', ..] => "chunk-size-negative",
        [b'+', ..] => "chunk-size-plus",
        [b'0', b'x', ..] => "chunk-size-0x",
        // The data may not be chunked at all.
        _ if is_first && line.ending != Ending::CrLf => "te-claimed-not-done",
        _ => "chunk-size-text",
    }
}

/// What follows the digits: spaces, or an extension.
fn after_size(after: &[u8], at: &Range<usize>, found: &mut Features) {
    let spaces = after.iter().take_while(|byte| is_space(**byte)).count();
    let row = match &after[..spaces] {
        [] => None,
        [b' '] => Some("chunk-size-space-after"),
        [b'\t'] => Some("chunk-size-tab-after"),
        _ => Some("chunk-size-spaces-after"),
    };
    match &after[spaces..] {
        [] => found.add_any(row, at),
        [b';'] => found.add("chunk-extension-empty", at.clone()),
        [b';', extension @ ..] => {
            found.measure("chunk-extension", extension.len() + 1);
            let is_odd = |byte: &u8| !(byte.is_ascii_graphic() || is_space(*byte) || *byte == b'\r');
            let row = if extension.iter().any(is_odd) || extension.starts_with(b"=") {
                "chunk-extension-invalid"
            } else if extension.contains(&b'\r') {
                return;
            } else if extension.contains(&b'"') {
                "valid-chunk-extension-quoted"
            } else {
                "valid-chunk-extension"
            };
            found.add(row, at.clone());
        }
        _ => found.add("chunk-size-text-after", at.clone()),
    }
}

/// The data of one chunk and its line ending. Whether another chunk may follow.
fn data(response: &RawResponse<'_>, size: u64, body: &mut Chunked, found: &mut Features) -> bool {
    let bytes = response.bytes;
    let rest = &bytes[body.end..];
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    if rest.len() < size {
        body.length += rest.len() as u64;
        // The last chunk within the data shows that the size was too large.
        let swallowed_the_end = rest.ends_with(b"\r\n0\r\n\r\n") || rest.ends_with(b"\n0\n\n");
        let row = match response.end {
            _ if swallowed_the_end => "chunk-size-too-large",
            ConnectionEnd::Reset => "chunk-last-missing-reset",
            _ => "chunk-cut",
        };
        found.add(row, body.end..bytes.len());
        return false;
    }
    body.length += size as u64;
    body.end += size;
    let (skip, row) = match &bytes[body.end..] {
        [b'\r', b'\n', ..] => (2, None),
        [b'\n', ..] => (1, Some("chunk-data-lf")),
        [] => (0, Some("chunk-cut")),
        rest if is_size_line(rest) => (0, Some("chunk-data-no-end")),
        _ => (0, Some("chunk-size-too-small")),
    };
    let at = body.end.min(bytes.len());
    found.add_any(row, &(at..at));
    body.end += skip;
    let goes_on = !matches!(row, Some("chunk-cut" | "chunk-size-too-small"));
    if goes_on && body.end == bytes.len() {
        let row = match response.end {
            ConnectionEnd::Reset => "chunk-last-missing-reset",
            _ => "chunk-last-missing",
        };
        found.add(row, at..at);
        return false;
    }
    goes_on
}

/// Whether the bytes begin with a line that states a chunk size.
fn is_size_line(bytes: &[u8]) -> bool {
    let line = Line::read(bytes, 0);
    let text = &bytes[line.content];
    let size = text.split(|byte| *byte == b';').next().unwrap_or_default();
    !size.is_empty() && size.iter().all(u8::is_ascii_hexdigit)
}

/// The lines after the last chunk.
fn trailers(response: &RawResponse<'_>, body: &mut Chunked, found: &mut Features) {
    let bytes = response.bytes;
    while body.end < bytes.len() {
        let line = Line::read(bytes, body.end);
        body.end = line.next();
        let text = &bytes[line.content.clone()];
        if line.ending == Ending::Missing {
            break;
        }
        if text.is_empty() {
            body.is_finished = true;
            if line.ending == Ending::Lf {
                found.add("chunk-lf", line.content);
            }
            return;
        }
        trailer(bytes, line, found);
    }
    found.add("chunk-final-line-missing", body.end..body.end);
}

fn trailer(bytes: &[u8], line: Line, found: &mut Features) {
    let at = line.content.clone();
    found.measure("trailer", at.len());
    let field = RawField {
        line,
        folds: Vec::new(),
    };
    let Some((name, _)) = field.name_and_value(bytes) else {
        found.add("trailer-no-colon", at);
        return;
    };
    let row = if field.is_named(bytes, "content-length") {
        "trailer-content-length"
    } else if field.is_named(bytes, "transfer-encoding") {
        "trailer-transfer-encoding"
    } else if name.last().is_some_and(|byte| is_space(*byte)) {
        "trailer-space-before-colon"
    } else {
        "valid-trailer-unannounced"
    };
    found.add(row, at);
}
