//! Percent-encoding (RFC 3986 section 2.1) as in Go's `net/url`: the bytes that are encoded in each part of a URL.

use super::url_parts::UrlError;

/// A part of a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UrlPart {
    Path,
    /// In a host, only `%25` and bytes beyond ASCII may be percent-encoded.
    Host,
    /// The zone of an IPv6 address (RFC 6874).
    Zone,
    /// User name or password.
    User,
    Fragment,
}

/// Whether Go encodes a byte in this part. Some of these bytes are also accepted unencoded, see [`encoded_path`].
const fn is_escaped(byte: u8, part: UrlPart) -> bool {
    if byte.is_ascii_alphanumeric() {
        return false;
    }
    !matches!(
        (byte, part),
        (b'-' | b'_' | b'.' | b'~', _)
            | (
                b'!' | b'$'
                    | b'&'
                    | b'\''
                    | b'('
                    | b')'
                    | b'*'
                    | b'+'
                    | b','
                    | b';'
                    | b'='
                    | b':'
                    | b'['
                    | b']'
                    | b'<'
                    | b'>'
                    | b'"',
                UrlPart::Host | UrlPart::Zone,
            )
            | (
                b'$' | b'&' | b'+' | b',' | b'/' | b':' | b';' | b'=' | b'@',
                UrlPart::Path | UrlPart::Fragment
            )
            | (b'?', UrlPart::Fragment)
    )
}

/// Decodes a part.
///
/// # Errors
/// When a `%` is not followed by two hexadecimal digits, or the part contains a byte that is not allowed.
pub(super) fn decode(text: &[u8], part: UrlPart) -> Result<Vec<u8>, UrlError> {
    let is_host = matches!(part, UrlPart::Host | UrlPart::Zone);
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            if is_host && byte.is_ascii() && is_escaped(byte, part) {
                return Err(UrlError::Host);
            }
            decoded.push(byte);
            continue;
        }
        let (value, after) = hex_pair(after).ok_or(UrlError::Escape)?;
        let allowed = match part {
            UrlPart::Host => !value.is_ascii() || value == b'%',
            UrlPart::Zone => value == b'%' || value == b' ' || !is_escaped(value, UrlPart::Host),
            UrlPart::Path | UrlPart::User | UrlPart::Fragment => true,
        };
        if !allowed {
            return Err(UrlError::Host);
        }
        decoded.push(value);
        rest = after;
    }
    Ok(decoded)
}

fn hex_pair(text: &[u8]) -> Option<(u8, &[u8])> {
    let ([high, low], after) = text.split_first_chunk()?;
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let value = digit(*high)? * 16 + digit(*low)?;
    Some((u8::try_from(value).ok()?, after))
}

/// Returns the path for the request: unmodified if all of its bytes are allowed in a path, otherwise completely
/// re-encoded.
///
/// # Errors
/// When a `%` is not followed by two hexadecimal digits.
pub(super) fn encoded_path(written: &[u8]) -> Result<String, UrlError> {
    let decoded = decode(written, UrlPart::Path)?;
    let may_stand = |byte: &u8| {
        // RFC 3986 section 3.3, and brackets, which browsers do not encode.
        matches!(byte, b'!' | b'\'' | b'(' | b')' | b'*' | b'[' | b']' | b'%') || !is_escaped(*byte, UrlPart::Path)
    };
    Ok(match std::str::from_utf8(written) {
        Ok(text) if written.iter().all(may_stand) => text.to_owned(),
        _ => encode_path(&decoded),
    })
}

fn encode_path(decoded: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut encoded = String::with_capacity(decoded.len() * 3);
    for byte in decoded {
        if is_escaped(*byte, UrlPart::Path) {
            encoded.push('%');
            encoded.push(char::from(DIGITS[usize::from(byte >> 4)]));
            encoded.push(char::from(DIGITS[usize::from(byte & 15)]));
        } else {
            encoded.push(char::from(*byte));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::{UrlPart, decode, encoded_path};

    /// The expected values are the paths that `blackbox_exporter` sends.
    #[test]
    fn a_path_is_sent_as_written_or_encoded_as_a_whole() {
        for (written, sent) in [
            ("/a%2Fb", "/a%2Fb"),
            ("/a|b", "/a%7Cb"),
            ("/a^b", "/a%5Eb"),
            ("/a\\b", "/a%5Cb"),
            ("/a'b", "/a'b"),
            ("/a'b\"c", "/a%27b%22c"),
            ("/%41", "/%41"),
            ("/%41|", "/A%7C"),
            ("/a b", "/a%20b"),
            ("/ü", "/%C3%BC"),
            ("/%c3%bc", "/%c3%bc"),
            ("/[x]{y}", "/%5Bx%5D%7By%7D"),
            ("/[x]", "/[x]"),
            ("/!$&'()*+,;=:@", "/!$&'()*+,;=:@"),
            ("/static/../secret", "/static/../secret"),
            ("/%2e%2E/", "/%2e%2E/"),
            ("/*", "/*"),
            ("", ""),
        ] {
            assert_eq!(encoded_path(written.as_bytes()).as_deref(), Ok(sent), "{written}");
        }
        assert_eq!(encoded_path(b"/\xfc").as_deref(), Ok("/%FC"));
        for wrong in ["/%zz", "/a%", "/a%2"] {
            assert!(encoded_path(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_host_has_few_bytes_encoded() {
        let host = |text: &str| decode(text.as_bytes(), UrlPart::Host).ok();
        assert_eq!(host("b%C3%BCcher").as_deref(), Some("bücher".as_bytes()));
        assert_eq!(host("a%25b").as_deref(), Some(&b"a%b"[..]));
        assert_eq!(host("x+y,z_a").as_deref(), Some(&b"x+y,z_a"[..]));
        for wrong in ["%31%36%39.254.169.254", "a%20b", "a b", "a\\b", "a/b", "a|b", "a%"] {
            assert_eq!(host(wrong), None, "{wrong}");
        }
        assert_eq!(decode(b"l%6f", UrlPart::Zone).as_deref(), Ok(&b"lo"[..]));
        assert!(decode(b"a%2fb", UrlPart::Zone).is_err());
    }
}
