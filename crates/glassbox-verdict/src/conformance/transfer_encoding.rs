//! The field Transfer-Encoding: its notations, repetitions, and combinations with Content-Length.

use super::content_length::Lengths;
use super::features::Features;
use super::message::{RawField, RawMessage, is_space};
use std::ops::Range;

/// What the fields Transfer-Encoding of the final response state.
pub(super) struct Codings {
    /// Whether the body is chunked for a tolerant reader: one of the codings is `chunked`.
    pub is_chunked: bool,
    /// The first line.
    pub at: Option<Range<usize>>,
}

/// Codings that are registered besides `chunked` (IANA HTTP Transfer Coding Registry).
const COMPRESSIONS: &[&str] = &["gzip", "x-gzip", "deflate", "compress", "x-compress"];

pub(super) fn examine(message: &RawMessage<'_>, lengths: &Lengths, found: &mut Features) -> Codings {
    let mut codings = Codings {
        is_chunked: false,
        at: None,
    };
    let Some(head) = &message.head else {
        return codings;
    };
    let lines: Vec<_> = head.named(message.bytes, "transfer-encoding").collect();
    let Some(first) = lines.first() else {
        return codings;
    };
    codings.at = Some(first.range());
    for line in &lines {
        let tokens = tokens(message, line);
        codings.is_chunked |= tokens.iter().any(|token| token == "chunked");
        for row in notation(message, line, &tokens, !lengths.is_empty()) {
            found.add(row, line.range());
        }
    }
    if lines.len() > 1 {
        found.add("te-two-lines", lines[1].range());
    }
    if codings.is_chunked && head.is_http10(message.bytes) {
        found.add("te-http10", first.range());
    }
    codings
}

/// The codings in lower case, without quotation marks and parameters.
fn tokens(message: &RawMessage<'_>, line: &RawField) -> Vec<String> {
    let value = line.value(message.bytes);
    let text = String::from_utf8_lossy(&value).to_ascii_lowercase();
    let codings = text.split(',').map(|coding| {
        let name = coding.split(';').next().unwrap_or_default();
        let is_padding = |letter: char| letter.is_ascii_whitespace() || matches!(letter, '\u{b}' | '"');
        name.trim_matches(is_padding).to_owned()
    });
    codings.filter(|coding| !coding.is_empty()).collect()
}

fn notation(message: &RawMessage<'_>, line: &RawField, tokens: &[String], has_length: bool) -> Vec<&'static str> {
    let (name, raw) = line.name_and_value(message.bytes).unwrap_or_default();
    let value = line.value(message.bytes);
    let padded_start = raw.iter().find(|byte| !is_space(**byte)) == Some(&0x0b);
    let mut rows = Vec::new();
    let mut add = |holds: bool, row: &'static str| {
        if holds {
            rows.push(row);
        }
    };
    add(name.last().is_some_and(|byte| is_space(*byte)), "te-space-before-colon");
    add(!line.folds.is_empty(), "te-folded");
    add(padded_start, "te-vertical-tab-before");
    add(!padded_start && raw.contains(&0x0b), "te-vertical-tab-after");
    add(raw.contains(&b'"'), "te-quoted");
    add(value.starts_with(b","), "te-comma-before");
    add(value.ends_with(b","), "te-comma-after");
    add(raw.contains(&b';'), "te-parameter");
    add(
        raw.last().is_some_and(|byte| is_space(*byte)) && line.folds.is_empty(),
        "valid-te-trailing-space",
    );
    add(
        tokens == ["chunked"] && raw.iter().any(u8::is_ascii_uppercase),
        "valid-te-upper-case",
    );
    rows.extend(combination(tokens, has_length));
    rows
}

fn combination(tokens: &[String], has_length: bool) -> Option<&'static str> {
    let known: Vec<&str> = tokens.iter().map(String::as_str).collect();
    match known.as_slice() {
        ["chunked"] => None,
        [] => Some("te-empty"),
        ["identity"] if has_length => Some("te-identity"),
        ["identity"] => Some("te-identity-alone"),
        ["identity", "chunked"] => Some("te-identity-chunked"),
        [first, .., "chunked"] if *first == "chunked" => Some("te-chunked-chunked"),
        [first, .., "chunked"] if COMPRESSIONS.contains(first) => Some("te-gzip-chunked"),
        [_, .., "chunked"] => Some("te-unknown-chunked"),
        ["chunked", ..] => Some("te-chunked-unknown"),
        [only] if only.contains("chunked") => Some("te-prefix"),
        _ => Some("te-unknown"),
    }
}
