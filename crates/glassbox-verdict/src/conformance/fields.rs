//! Field lines: names, values, folded lines, and the fields that concern the connection.

use super::features::Features;
use super::lines::byte;
use super::message::{RawField, RawHead, RawMessage, is_space};

/// Fields that frame the message. `content_length` and `transfer_encoding` examine their values.
const FRAMING: [&str; 2] = ["content-length", "transfer-encoding"];

pub(super) fn examine(message: &RawMessage<'_>, found: &mut Features) {
    for head in message.heads() {
        found.measure("head", head.range().len());
        found.measure("fields", head.fields.len());
        for (index, field) in head.fields.iter().enumerate() {
            field_line(message, field, index == 0, found);
        }
    }
    if let Some(head) = &message.head {
        if head.fields.is_empty() && head.end.is_some() {
            found.add("status-line-only", head.range());
        }
        content_type(message, head, found);
        dates(message, head, found);
        connection(message, head, found);
    }
}

fn field_line(message: &RawMessage<'_>, field: &RawField, is_first: bool, found: &mut Features) {
    let at = &field.line.content;
    let line = message.text(at);
    found.measure("line", line.len());
    if is_first && line.first().is_some_and(|byte| is_space(*byte)) {
        found.add("fold-first", at.clone());
        return;
    }
    let frames = FRAMING.iter().any(|name| field.is_named(message.bytes, name));
    if !frames {
        folds(message, field, found);
    }
    let Some((name, value)) = field.name_and_value(message.bytes) else {
        let is_text = line.trim_ascii().iter().any(|byte| is_space(*byte));
        found.add(if is_text { "no-colon-text" } else { "no-colon" }, at.clone());
        return;
    };
    if !frames {
        field_name(name, at, found);
        field_value(value, at, name.len() + 1, found);
    }
}

fn folds(message: &RawMessage<'_>, field: &RawField, found: &mut Features) {
    for fold in &field.folds {
        let content = message.text(&fold.content);
        let row = if content.trim_ascii().is_empty() {
            "fold-empty"
        } else if content[0] == b'\t' {
            "fold-tab"
        } else {
            "fold-space"
        };
        found.add(row, fold.content.clone());
    }
    if field.folds.len() > 4 {
        found.add("fold-many", field.range());
    }
}

fn field_name(name: &[u8], at: &std::ops::Range<usize>, found: &mut Features) {
    let trimmed = name.trim_ascii_end();
    if trimmed.is_empty() {
        found.add("name-empty", at.clone());
        return;
    }
    match name[trimmed.len()..].first() {
        Some(b'\t') => found.add("tab-before-colon", at.clone()),
        Some(_) => found.add("space-before-colon", at.clone()),
        None => {}
    }
    let is_utf8 = std::str::from_utf8(trimmed).is_ok();
    for (offset, letter) in trimmed.iter().enumerate() {
        let row = match letter {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'\r' => None,
            b'_' => Some("valid-name-underscore"),
            b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'.' | b'^' | b'`' | b'|' | b'~' => {
                Some("valid-name-token")
            }
            b' ' | b'\t' => Some("name-space"),
            0 => Some("name-nul"),
            ..=0x1f | 0x7f => Some("name-control"),
            0x80.. if is_utf8 => Some("name-utf8"),
            0x80.. => Some("name-high"),
            b'(' | b')' => Some("name-parentheses"),
            b'/' => Some("name-slash"),
            b'@' => Some("name-at"),
            b'"' => Some("name-quotes"),
            b'[' | b']' => Some("name-brackets"),
            b'=' => Some("name-equals"),
            _ => Some("name-delimiter"),
        };
        found.add_any(row, &byte(at, offset));
    }
}

fn field_value(value: &[u8], at: &std::ops::Range<usize>, skip: usize, found: &mut Features) {
    match value.first() {
        None => found.add("valid-value-empty", at.clone()),
        Some(first) if !is_space(*first) => found.add("valid-no-space-after-colon", at.clone()),
        Some(_) => {}
    }
    for (offset, letter) in value.iter().enumerate() {
        let row = match letter {
            0 => Some("value-nul"),
            0x0b => Some("value-vertical-tab"),
            0x1b => Some("value-escape"),
            0x7f => Some("value-delete"),
            b'\t' | b'\r' => None,
            ..=0x1f => Some("value-control"),
            0x80.. => Some("valid-obs-text-value"),
            _ => None,
        };
        found.add_any(row, &byte(at, skip + offset));
    }
}

fn content_type(message: &RawMessage<'_>, head: &RawHead, found: &mut Features) {
    let mut types = head.named(message.bytes, "content-type");
    let Some(first) = types.next() else { return };
    let value = first.value(message.bytes);
    if let Some(other) = types.find(|other| other.value(message.bytes) != value) {
        found.add("content-type-two", other.range());
    }
}

fn dates(message: &RawMessage<'_>, head: &RawHead, found: &mut Features) {
    for (index, date) in head.named(message.bytes, "date").enumerate() {
        if index == 1 {
            found.add("date-two", date.range());
        }
        let value = date.value(message.bytes);
        let row = match date_format(&value) {
            Some(DateFormat::Rfc850) => Some("valid-date-rfc850"),
            Some(DateFormat::Usual) => None,
            None => Some("date-invalid"),
        };
        found.add_any(row, &date.range());
    }
}

enum DateFormat {
    Usual,
    Rfc850,
}

/// The form of a date (RFC 9110, 5.6.7), by its shape. `None` if it has none of the three forms.
fn date_format(value: &[u8]) -> Option<DateFormat> {
    let shape: String = value
        .iter()
        .map(|byte| match byte {
            b'0'..=b'9' => '9',
            b'a'..=b'z' | b'A'..=b'Z' => 'a',
            other => char::from(*other),
        })
        .collect();
    let after_day = shape.trim_start_matches('a');
    match after_day {
        ", 99 aaa 9999 99:99:99 aaa" | " aaa 99 99:99:99 9999" | " aaa  9 99:99:99 9999" => Some(DateFormat::Usual),
        ", 99-aaa-99 99:99:99 aaa" => Some(DateFormat::Rfc850),
        _ => None,
    }
}

fn connection(message: &RawMessage<'_>, head: &RawHead, found: &mut Features) {
    let bytes = message.bytes;
    let has = |name: &str| head.named(bytes, name).next().is_some();
    let mut options: Vec<String> = Vec::new();
    for field in head.named(bytes, "connection") {
        let value = field.value(bytes);
        let text = String::from_utf8_lossy(&value).to_ascii_lowercase();
        if text.is_empty() {
            found.add("connection-empty", field.range());
        }
        options.extend(text.split(',').map(|option| option.trim().to_owned()));
    }
    let names = |option: &str| options.iter().any(|named| named == option);
    let at = head.named(bytes, "connection").next().map(RawField::range);
    let at = at.unwrap_or_else(|| head.range());
    let frames = FRAMING.into_iter().any(has);
    if names("close") && names("keep-alive") {
        found.add("connection-both", at.clone());
    } else if names("close") {
        let row = if has("keep-alive") && has("transfer-encoding") {
            "close-chunked-keep-alive"
        } else {
            "valid-connection-close"
        };
        found.add(row, at.clone());
    } else if names("keep-alive") && head.is_http10(bytes) {
        found.add("valid-keep-alive-http10", at.clone());
    } else if names("keep-alive") && !frames {
        found.add("keep-alive-no-framing", at.clone());
    }
    if names("content-length") {
        found.add("connection-content-length", at.clone());
    }
    if names("upgrade") && head.status(bytes) != 101 {
        found.add("valid-upgrade-offered", at);
    }
}
