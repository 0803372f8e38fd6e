//! URI references (RFC 3986 section 4), parsed like in Go's `net/url`. A `Location` contains such a
//! reference.

use super::escape::{UrlPart, decode, encoded_path};
use super::url_parts::{Authority, UrlError, User};
use std::net::Ipv6Addr;

/// A parsed reference. The fragment is validated and dropped, because it is never sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reference {
    /// In lower case.
    pub scheme: Option<String>,
    pub authority: Option<Authority>,
    /// As encoded in the request.
    pub path: String,
    /// Unmodified part after the `?`; `None` without a `?`.
    pub query: Option<Vec<u8>>,
    /// Whether the scheme is not followed by a slash, as in `mailto:a`.
    pub is_opaque: bool,
}

impl Reference {
    /// Parses a reference.
    ///
    /// # Errors
    /// When Go's `url.Parse` rejects it.
    pub fn parse(text: &[u8]) -> Result<Self, UrlError> {
        let (text, fragment) = cut(text, b'#');
        if text.iter().any(u8::is_ascii_control) {
            return Err(UrlError::Control);
        }
        decode(fragment.unwrap_or_default(), UrlPart::Fragment)?;
        let (scheme, rest) = scheme(text)?;
        let (rest, query) = cut(rest, b'?');
        let mut reference = Self {
            scheme,
            authority: None,
            path: String::new(),
            query: query.map(<[u8]>::to_vec),
            is_opaque: false,
        };
        if !rest.starts_with(b"/") {
            if reference.scheme.is_some() {
                reference.is_opaque = true;
                return Ok(reference);
            }
            // RFC 3986 section 4.2: the first segment would be parsed as a scheme.
            if cut(rest, b'/').0.contains(&b':') && text != b"*" {
                return Err(UrlError::Scheme);
            }
        }
        let path = match rest.strip_prefix(b"//") {
            Some(after) if reference.scheme.is_some() || !after.starts_with(b"/") => {
                let end = after.iter().position(|byte| *byte == b'/').unwrap_or(after.len());
                reference.authority = authority(&after[..end])?;
                &after[end..]
            }
            _ => rest,
        };
        reference.path = encoded_path(path)?;
        Ok(reference)
    }
}

/// Splits a string at the first occurrence of a byte.
fn cut(text: &[u8], at: u8) -> (&[u8], Option<&[u8]>) {
    match text.iter().position(|byte| *byte == at) {
        Some(place) => (&text[..place], Some(&text[place + 1..])),
        None => (text, None),
    }
}

fn scheme(text: &[u8]) -> Result<(Option<String>, &[u8]), UrlError> {
    let end = text
        .iter()
        .position(|byte| !byte.is_ascii_alphanumeric() && !matches!(byte, b'+' | b'-' | b'.'));
    let Some((name, rest)) = end.map(|end| text.split_at(end)) else {
        return Ok((None, text));
    };
    match (name.first(), rest.strip_prefix(b":")) {
        (None, Some(_)) => Err(UrlError::Scheme),
        (Some(first), Some(rest)) if first.is_ascii_alphabetic() => {
            Ok((Some(String::from_utf8_lossy(name).to_ascii_lowercase()), rest))
        }
        _ => Ok((None, text)),
    }
}

/// Parses user, host and port. Returns `None` if all of them are empty.
fn authority(text: &[u8]) -> Result<Option<Authority>, UrlError> {
    let (user, host) = match text.iter().rposition(|byte| *byte == b'@') {
        Some(at) => (Some(&text[..at]), &text[at + 1..]),
        None => (None, text),
    };
    let host = host_and_port(host)?;
    let user = user.map(userinfo).transpose()?;
    Ok((user.is_some() || !host.is_empty()).then_some(Authority { user, host }))
}

fn userinfo(text: &[u8]) -> Result<User, UrlError> {
    let may_stand = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=%@".contains(byte);
    if !text.iter().all(may_stand) {
        return Err(UrlError::User);
    }
    let (name, password) = cut(text, b':');
    let part = |text| decode(text, UrlPart::User).map_err(|_| UrlError::User);
    Ok(User {
        name: part(name)?,
        password: password.map(part).transpose()?,
    })
}

/// Returns the decoded host and port, with an IPv6 address in brackets.
fn host_and_port(text: &[u8]) -> Result<String, UrlError> {
    let host = if let Some(open) = text.iter().rposition(|byte| *byte == b'[') {
        let close = text.iter().rposition(|byte| *byte == b']').ok_or(UrlError::Host)?;
        let inner = text.get(open + 1..close).filter(|_| open == 0).ok_or(UrlError::Host)?;
        check_port(&text[close + 1..])?;
        let address = address(inner)?;
        [b"[", &address[..], b"]", &text[close + 1..]].concat()
    } else {
        let (host, port) = match text.iter().position(|byte| *byte == b':') {
            Some(colon) => text.split_at(colon),
            None => (text, &[][..]),
        };
        check_port(port)?;
        [decode(host, UrlPart::Host)?, port.to_vec()].concat()
    };
    String::from_utf8(host).map_err(|_| UrlError::Host)
}

/// Validates a port: empty, or a colon and zero or more digits.
fn check_port(text: &[u8]) -> Result<(), UrlError> {
    match text.split_first() {
        None => Ok(()),
        Some((b':', digits)) if digits.iter().all(u8::is_ascii_digit) => Ok(()),
        Some(_) => Err(UrlError::Port),
    }
}

/// Decodes an IPv6 address. Its optional zone follows `%25` (RFC 6874).
fn address(inner: &[u8]) -> Result<Vec<u8>, UrlError> {
    let zone = inner.windows(3).position(|part| part == b"%25");
    let (address, zone) = inner.split_at(zone.unwrap_or(inner.len()));
    let text = std::str::from_utf8(address).map_err(|_| UrlError::Host)?;
    text.parse::<Ipv6Addr>().map_err(|_| UrlError::Host)?;
    let zone = decode(zone, UrlPart::Zone)?;
    // A `%25` without a zone.
    if zone.len() == 1 {
        return Err(UrlError::Host);
    }
    Ok([address, &zone[..]].concat())
}

/// Resolves a path against the path of its base and removes `.` and `..` (RFC 3986 section 5.2.4, Go's `resolvePath`).
pub(super) fn without_dots(base: &str, reference: &str) -> String {
    let full = if reference.is_empty() {
        base.to_owned()
    } else if reference.starts_with('/') {
        reference.to_owned()
    } else {
        let folder = base.rfind('/').map_or("", |slash| &base[..=slash]);
        format!("{folder}{reference}")
    };
    if full.is_empty() {
        return full;
    }
    let mut path = "/".to_owned();
    let mut is_first = true;
    for segment in full.split('/') {
        match segment {
            "." => is_first = false,
            ".." => {
                let slash = path[1..].rfind('/');
                path.truncate(1 + slash.unwrap_or(0));
                is_first |= path == "/";
            }
            _ => {
                if !is_first {
                    path.push('/');
                }
                path.push_str(segment);
                is_first = false;
            }
        }
    }
    if matches!(full.rsplit('/').next(), Some("." | "..")) {
        path.push('/');
    }
    // The empty segment before the first slash has added a slash.
    if path[1..].starts_with('/') {
        path.remove(0);
    }
    path
}

#[cfg(test)]
mod tests {
    use super::without_dots;
    use crate::target::HttpUrl;

    #[test]
    fn a_location_is_resolved_as_in_go() {
        let base = HttpUrl::parse("http://u:p@a.test:81/start/d/e?q=1").unwrap();
        for (location, target, authority) in [
            ("/x", "/x", "a.test:81"),
            ("x", "/start/d/x", "a.test:81"),
            ("./x", "/start/d/x", "a.test:81"),
            ("../x", "/start/x", "a.test:81"),
            ("../../../x", "/x", "a.test:81"),
            ("..", "/start/", "a.test:81"),
            (".", "/start/d/", "a.test:81"),
            ("x/..", "/start/d/", "a.test:81"),
            ("x/.", "/start/d/x/", "a.test:81"),
            ("?", "/start/d/e?", "a.test:81"),
            ("?q=a b", "/start/d/e?q=a b", "a.test:81"),
            ("#f", "/start/d/e?q=1", "a.test:81"),
            ("//", "/start/d/e?q=1", "a.test:81"),
            ("///x", "///x", "a.test:81"),
            ("////x", "////x", "a.test:81"),
            ("/a//b", "/a//b", "a.test:81"),
            ("/a/../x", "/x", "a.test:81"),
            ("/a/%2e%2e/x", "/a/%2e%2e/x", "a.test:81"),
            ("/..", "/", "a.test:81"),
            ("/a/b/../../..", "/", "a.test:81"),
            ("\\x", "/start/d/%5Cx", "a.test:81"),
            ("*", "/start/d/*", "a.test:81"),
            ("./a:b", "/start/d/a:b", "a.test:81"),
            ("../../..///x", "//x", "a.test:81"),
            ("/a/..//b", "/b", "a.test:81"),
            ("//b.test/x", "/x", "b.test"),
            ("HTTP://B.test:80", "/", "B.test:80"),
            ("http://b.test/../x?", "/x?", "b.test"),
            ("http://b.test?q#f", "/?q", "b.test"),
        ] {
            let url = base.join(location.as_bytes()).unwrap();
            assert_eq!(String::from_utf8(url.target()).unwrap(), target, "{location}");
            assert_eq!(url.authority(), authority, "{location}");
        }
        assert_eq!(base.join(b"/\xfc?\xfc").unwrap().target(), b"/%FC?\xfc");
        assert!(base.join(b"x").unwrap().user().is_some());
        assert!(base.join(b"//a.test:81/").unwrap().user().is_none());
    }

    #[test]
    fn what_leads_to_no_http_url_is_refused() {
        let base = HttpUrl::parse("http://a.test/").unwrap();
        for location in [
            "http:x",
            "http:/x",
            "http:///x",
            "http://",
            "ftp://a.test/",
            "mailto:x",
            "a:b",
            "1a:b",
            ":x",
            "/%zz",
            "/x\ty",
            "http://[::1",
            "http://[1.2.3.4]/",
            "http://a:x/",
            "http://a:99999/",
            "http://a b/",
            "http://u@/",
            "http://127.0.0.1\\@x/",
            "http://%31%32%37.0.0.1/",
            "http://x[::1]/",
            "http://::1/",
            "/x#%zz",
            "http://:80/",
        ] {
            assert!(base.join(location.as_bytes()).is_err(), "{location}");
        }
        assert!(base.join(b"http://\xff/").is_err());
    }

    #[test]
    fn dots_are_removed_as_in_go() {
        for (base, reference, right) in [
            ("", "", ""),
            ("", "x", "/x"),
            ("", "..", "/"),
            ("/a/b", "", "/a/b"),
            ("/a/b/", "../..", "/"),
            ("/a/./b/../c", "", "/a/c"),
            ("/a", "..//x", "/x"),
            ("/a/b", "..///x", "//x"),
            ("/a/b", "..//..//x", "/x"),
            ("/a/b", "..//", "/"),
            ("/a", "b/", "/b/"),
            ("/a//", "..", "/a/"),
        ] {
            assert_eq!(without_dots(base, reference), right, "{base} {reference}");
        }
    }
}
