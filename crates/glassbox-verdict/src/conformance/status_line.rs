//! The status line: version, status code and reason phrase.

use super::features::Features;
use super::message::{RawHead, RawMessage, is_space};

/// Registered status codes of class 2xx (IANA HTTP Status Code Registry).
const KNOWN_SUCCESSES: &[u32] = &[200, 201, 202, 203, 204, 205, 206, 207, 208, 226];

pub(super) fn examine(message: &RawMessage<'_>, found: &mut Features) {
    for head in message.heads() {
        let line = message.text(&head.status_line.content);
        let spaces = line.iter().take_while(|byte| is_space(**byte)).count();
        let at = &head.status_line.content;
        if spaces > 0 {
            found.add("status-space-first", at.clone());
        }
        let line = &line[spaces..];
        if !line.starts_with(b"HTTP/") {
            found.add("status-lower-case", at.clone());
        }
        let version_end = line.iter().position(|byte| is_space(*byte)).unwrap_or(line.len());
        found.add_any(version(&line[5.min(version_end)..version_end]), at);
        let rest = &line[version_end..];
        let gap = rest.iter().take_while(|byte| is_space(**byte)).count();
        if rest[..gap].contains(&b'\t') {
            found.add("status-tab", at.clone());
        } else if gap > 1 {
            found.add("status-two-spaces", at.clone());
        }
        code_and_phrase(head, &rest[gap..], found);
    }
}

fn version(text: &[u8]) -> Option<&'static str> {
    match text {
        b"1.1" | b"1.0" => None,
        b"1.9" => Some("status-http-1.9"),
        [b'1', b'.', b'2'..=b'8'] => Some("status-http-1.2"),
        [b'1', b'.', rest @ ..] if rest.len() > 1 && rest.iter().all(u8::is_ascii_digit) => Some("status-http-1.10"),
        b"1" => Some("status-http-1"),
        b"2" => Some("status-http-2"),
        b"2.0" => Some("status-http-2.0"),
        b"3.0" => Some("status-http-3.0"),
        [b'0', b'.', _] => Some("status-http-0.9"),
        [first, second, ..] if first.is_ascii_digit() && second.is_ascii_digit() => Some("status-http-11.1"),
        [b'1', b',', ..] => Some("status-http-1-comma"),
        _ => Some("status-version-other"),
    }
}

fn code_and_phrase(head: &RawHead, text: &[u8], found: &mut Features) {
    let at = &head.status_line.content;
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let rest = &text[digits..];
    if digits == 0 {
        let row = match text.first() {
            None => "status-missing",
            Some(b'-') => "status-negative",
            Some(b'+') => "status-plus",
            Some(_) => "status-text",
        };
        found.add(row, at.clone());
        return;
    }
    let code = text[..digits.min(6)]
        .iter()
        .fold(0, |number, digit| number * 10 + u32::from(digit - b'0'));
    let row = match (digits, code) {
        (1 | 2, _) => Some("status-2-digits"),
        (3, 0) => Some("status-000"),
        (3, ..=99) => Some("status-099"),
        (3, 999) => Some("status-999"),
        (3, 600..) => Some("status-600"),
        (3, 200..=299) if !KNOWN_SUCCESSES.contains(&code) => Some("status-299"),
        (3, _) => None,
        _ => Some("status-4-digits"),
    };
    found.add_any(row, at);
    match rest {
        [] => found.add("status-no-reason-space", at.clone()),
        [b'.', ..] => found.add("status-decimal", at.clone()),
        [b' ', phrase @ ..] => reason_phrase(head, phrase, found),
        _ => found.add("status-no-space-reason", at.clone()),
    }
}

fn reason_phrase(head: &RawHead, phrase: &[u8], found: &mut Features) {
    let at = &head.status_line.content;
    found.measure("reason", phrase.len());
    let row = match phrase {
        [] => Some("status-no-reason"),
        [b' ', ..] => Some("status-two-spaces-reason"),
        [.., b' '] => Some("status-space-last"),
        _ => None,
    };
    found.add_any(row, at);
    for byte in phrase {
        let row = match byte {
            0 => Some("reason-nul"),
            // `lines` examines CR.
            b'\r' | b'\t' => None,
            ..=0x1f | 0x7f => Some("reason-control"),
            0x80.. => Some("reason-high"),
            _ => None,
        };
        found.add_any(row, at);
    }
}
