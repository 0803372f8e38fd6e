//! Bytes that do not begin with a status line of HTTP.

use super::features::Features;
use super::{ConnectionEnd, RawResponse};

/// Beginning of the client preface of HTTP/2 (RFC 9113, 3.4).
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0";

pub(super) fn examine(response: &RawResponse<'_>, found: &mut Features) {
    let bytes = response.bytes;
    let row = match bytes {
        [] if response.end == ConnectionEnd::Reset => "nothing-reset",
        [] => "nothing",
        [0, b'H', b'T', b'T', b'P', b'/', ..] => "nul-first",
        [0xef, 0xbb, 0xbf, ..] => "mark-first",
        // A frame header of HTTP/2: length, and the type SETTINGS.
        [_, _, _, 4, ..] if bytes[0] == 0 => "h2-frames",
        [0x15, 3, ..] => "tls-alert",
        [b'<', ..] => "html-only",
        _ if bytes.starts_with(HTTP2_PREFACE) => "h2-preface",
        _ if bytes.starts_with(b"SSH-") => "ssh-banner",
        _ if bytes.starts_with(b"ICY ") => "status-icy",
        _ if bytes.starts_with(b"HTTPS/") => "status-https",
        _ if bytes.starts_with(b"HTTP ") => "status-no-version",
        _ if begins_with_http(bytes) => "head-cut-status",
        _ if is_request_line(bytes) => "status-request-line",
        _ if memchr::memmem::find(bytes, b"\nHTTP/1.").is_some() => "text-first",
        _ => "http-0.9",
    };
    found.add(row, 0..bytes.len().min(64));
}

/// Whether the bytes are the beginning of a status line that is incomplete.
fn begins_with_http(bytes: &[u8]) -> bool {
    let length = bytes.len().min(5);
    bytes[..length].eq_ignore_ascii_case(&b"HTTP/"[..length])
}

fn is_request_line(bytes: &[u8]) -> bool {
    let line = bytes
        .split(|byte| matches!(byte, b'\r' | b'\n'))
        .next()
        .unwrap_or_default();
    let words: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    matches!(words.as_slice(), [method, _, version]
        if method.iter().all(u8::is_ascii_uppercase) && version.starts_with(b"HTTP/"))
}
