//! Parses `Set-Cookie` like Go's `http.ParseSetCookie`.

use super::date;
use std::time::{Duration, SystemTime};

/// A parsed field.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SetCookie {
    pub name: String,
    /// Value as it is sent: in quotes if it arrived in quotes or requires them.
    pub value: String,
    pub domain: String,
    pub path: String,
    pub secure: bool,
    pub life: Life,
}

/// Lifetime of a cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    /// Until the end of the probe.
    Session,
    /// Already expired.
    Ended,
    /// `Max-Age`.
    Seconds(Duration),
    /// `Expires`.
    Until(SystemTime),
}

/// Parses a field. Returns `None` if it does not set a cookie.
pub(super) fn read(field: &[u8]) -> Option<SetCookie> {
    // Names and values must be ASCII. An attribute with other bytes is ignored.
    let text = String::from_utf8_lossy(field);
    let mut parts = text.split(';').map(|part| part.trim_matches(BLANK));
    let (name, value) = parts.next()?.split_once('=')?;
    let name = name.trim_matches(BLANK);
    let (value, quoted) = unquoted(value);
    if name.is_empty() || !name.bytes().all(is_token) || !is_value(value) {
        return None;
    }
    let mut cookie = SetCookie {
        name: name.to_owned(),
        value: if quoted || value.contains([' ', ',']) {
            format!("\"{value}\"")
        } else {
            value.to_owned()
        },
        domain: String::new(),
        path: String::new(),
        secure: false,
        life: Life::Session,
    };
    let mut expires = None;
    let mut max_age = None;
    for part in parts {
        let (attribute, value) = part.split_once('=').unwrap_or((part, ""));
        if !is_value(value) {
            continue;
        }
        match attribute.to_ascii_lowercase().as_str() {
            "secure" => cookie.secure = true,
            "domain" => value.clone_into(&mut cookie.domain),
            "path" => value.clone_into(&mut cookie.path),
            "max-age" => max_age = seconds(value).or(max_age),
            "expires" => expires = date::read(value),
            _ => {}
        }
    }
    cookie.life = max_age.or(expires.map(Life::Until)).unwrap_or(Life::Session);
    Some(cookie)
}

/// Parses a cookie of a `Cookie` field: its name, and its value without quotes. Returns `None` if it is invalid.
pub(super) fn pair(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_matches(BLANK);
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    let (name, (value, _)) = (name.trim_matches(BLANK), unquoted(value));
    (!name.is_empty() && name.bytes().all(is_token) && is_value(value)).then_some((name, value))
}

fn unquoted(value: &str) -> (&str, bool) {
    let inner = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    inner.map_or((value, false), |inner| (inner, true))
}

const BLANK: [char; 4] = [' ', '\t', '\r', '\n'];

/// Parses a number of seconds. Zero or less means that the cookie has expired.
fn seconds(text: &str) -> Option<Life> {
    let number: i64 = text.parse().ok()?;
    if number != 0 && text.starts_with('0') {
        return None;
    }
    Some(match u64::try_from(number) {
        Ok(0) | Err(_) => Life::Ended,
        Ok(number) => Life::Seconds(Duration::from_secs(number)),
    })
}

/// Whether a byte may be part of a token (RFC 9110 section 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn is_value(text: &str) -> bool {
    let may_stand = |byte: u8| matches!(byte, 0x20..0x7f) && !b"\";\\".contains(&byte);
    text.bytes().all(may_stand)
}
