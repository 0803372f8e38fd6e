//! `--web.external-url`: extracts the path of a URL as `blackbox_exporter` does with Go's `net/url`. Text without a
//! scheme is a path. Text such as `host:9115/path` is a URL with the scheme `host` and without a path.

use glassbox_verdict::host_port::Host;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, percent_encode};

/// Bytes that are percent-encoded in a route path, as they are in requests.
const NOT_IN_PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// Returns the percent-encoded path, with or without a leading slash.
///
/// # Errors
/// When Go rejects the URL. The error uses Go's wording.
pub(super) fn path_of(url: &str) -> Result<String, String> {
    if url.starts_with(['"', '\'']) || url.ends_with(['"', '\'']) {
        return Err("URL must not begin or end with quotes".to_owned());
    }
    let path = parse(url).map_err(|words| format!("parse {url:?}: {words}"))?;
    Ok(encoded(path))
}

/// Returns the host of the URL without its port. Go reads a scheme in `host:9115/path`, but the user means a host.
pub(super) fn host_of(url: &str) -> Option<String> {
    let host = Host::of_url(url.strip_prefix("//").unwrap_or(url)).as_str();
    (!host.is_empty()).then(|| host.to_owned())
}

/// Returns the URL of a browser's links, without a trailing slash: `None` if the value of the flag is only a path, or not
/// a web address. Credentials, query and fragment are removed.
pub(super) fn links_from(url: &str) -> Option<String> {
    let (scheme, rest) = scheme(url).ok()?;
    let scheme = scheme.to_ascii_lowercase();
    if !["http", "https"].contains(&scheme.as_str()) {
        return None;
    }
    let rest = rest.strip_prefix("//")?;
    let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let path = encoded(parse(url).ok()?);
    (!host.is_empty()).then(|| format!("{scheme}://{host}{}", super::prefix(Some(&path))))
}

/// Encodes a path, which may contain percent-encoded bytes, as in a request.
pub(super) fn encoded(path: &str) -> String {
    let bytes: Vec<u8> = percent_decode_str(path).collect();
    percent_encode(&bytes, NOT_IN_PATH).to_string()
}

/// Returns the unmodified path.
fn parse(url: &str) -> Result<&str, String> {
    if url.bytes().any(|byte| byte.is_ascii_control()) {
        return Err("net/url: invalid control character in URL".to_owned());
    }
    let url = url.split_once('#').map_or(url, |(url, _)| url);
    let (scheme, rest) = scheme(url)?;
    let rest = rest.split_once('?').map_or(rest, |(rest, _)| rest);
    if !rest.starts_with('/') {
        if !scheme.is_empty() {
            return Ok("");
        }
        let first = rest.split('/').next().unwrap_or_default();
        if first.contains(':') {
            return Err("first path segment in URL cannot contain colon".to_owned());
        }
    }
    let has_authority = rest.starts_with("//") && (!scheme.is_empty() || !rest.starts_with("///"));
    let path = if has_authority {
        let rest = &rest[2..];
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        check_authority(authority)?;
        path
    } else {
        rest
    };
    check_escapes(path)?;
    Ok(path)
}

/// Splits off the scheme (RFC 3986 section 3.1). Text that cannot start with a scheme is a path.
fn scheme(url: &str) -> Result<(&str, &str), String> {
    for (at, byte) in url.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' => {}
            b'0'..=b'9' | b'+' | b'-' | b'.' if at > 0 => {}
            b':' if at == 0 => return Err("missing protocol scheme".to_owned()),
            b':' => return Ok((&url[..at], &url[at + 1..])),
            _ => break,
        }
    }
    Ok(("", url))
}

fn check_authority(authority: &str) -> Result<(), String> {
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let (name, port) = match host.strip_prefix('[') {
        Some(inner) => inner.rsplit_once(']').ok_or("missing ']' in host")?,
        None => host.split_at(host.rfind(':').unwrap_or(host.len())),
    };
    let digits = port.strip_prefix(':').unwrap_or(port);
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) || (port == digits && !port.is_empty()) {
        return Err(format!("invalid port {port:?} after host"));
    }
    check_escapes(name)?;
    match name.chars().find(|c| " \\^`{|}/?#".contains(*c)) {
        Some(wrong) => Err(format!("invalid character {:?} in host name", wrong.to_string())),
        None => Ok(()),
    }
}

fn check_escapes(text: &str) -> Result<(), String> {
    let is_hex = |digits: &[u8]| digits.len() == 2 && digits.iter().all(u8::is_ascii_hexdigit);
    for (at, _) in text.match_indices('%') {
        let rest = &text.as_bytes()[at..];
        let escape = &rest[..rest.len().min(3)];
        if !is_hex(&escape[1..]) {
            return Err(format!("invalid URL escape {:?}", String::from_utf8_lossy(escape)));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{host_of, links_from, path_of};

    /// The expected values are the paths that `blackbox_exporter` 0.28 logs (`--log.level=debug`) before it trims the
    /// slashes.
    #[test]
    fn the_path_is_the_one_that_go_computes() {
        for (url, path) in [
            ("/blackbox", "/blackbox"),
            ("blackbox.example.com", "blackbox.example.com"),
            ("blackbox.example.com/x/y/", "blackbox.example.com/x/y/"),
            ("blackbox.example.com:9115/x", ""),
            ("mailto:x", ""),
            ("./x", "./x"),
            ("//h/x", "/x"),
            ("///h/x", "///h/x"),
            ("http://a/b//c/", "/b//c/"),
            ("http://a", ""),
            ("http://[::1]:9115/b", "/b"),
            ("http://user:pass@a:1/b", "/b"),
            ("http://a/b?x=1", "/b"),
            ("http://a/b#c", "/b"),
            ("http://a/b c", "/b%20c"),
            ("http://a/%41%20b", "/A%20b"),
            ("", ""),
        ] {
            assert_eq!(path_of(url).as_deref(), Ok(path), "{url}");
        }
    }

    #[test]
    fn the_host_is_the_one_that_the_user_means() {
        for (url, host) in [
            ("https://user@probes.example.com:8443/x", Some("probes.example.com")),
            ("//probes.example.com/x//y", Some("probes.example.com")),
            ("probes.example.com:9115/x//y", Some("probes.example.com")),
            ("http://[::1]:9115/b", Some("::1")),
            ("/blackbox", None),
            ("", None),
        ] {
            assert_eq!(host_of(url).as_deref(), host, "{url}");
        }
    }

    #[test]
    fn links_start_with_a_web_address_without_credentials() {
        for (url, links) in [
            ("https://probes.example.com", Some("https://probes.example.com")),
            ("https://probes.example.com/", Some("https://probes.example.com")),
            (
                "HTTPS://user:pass@probes.example.com:8443/shard 0//?x=1#c",
                Some("https://probes.example.com:8443/shard%200"),
            ),
            ("http://[::1]:9115/b", Some("http://[::1]:9115/b")),
            // The scheme is unknown, or what Go reads as a scheme is a host name.
            ("//probes.example.com/x", None),
            ("probes.example.com:9115/x", None),
            ("ftp://probes.example.com/", None),
            ("https:///x", None),
            ("/blackbox", None),
            ("", None),
        ] {
            assert_eq!(links_from(url).as_deref(), links, "{url}");
        }
    }

    #[test]
    fn what_go_refuses_is_refused_in_its_words() {
        for (url, words) in [
            ("foo%zz", "parse \"foo%zz\": invalid URL escape \"%zz\""),
            ("\"http://a/q\"", "URL must not begin or end with quotes"),
            (
                "127.0.0.1:9115/x",
                "parse \"127.0.0.1:9115/x\": first path segment in URL cannot contain colon",
            ),
            (":9115", "parse \":9115\": missing protocol scheme"),
            ("http://a:b/", "parse \"http://a:b/\": invalid port \":b\" after host"),
            ("http://[::1/", "parse \"http://[::1/\": missing ']' in host"),
            (
                "http://a b/",
                "parse \"http://a b/\": invalid character \" \" in host name",
            ),
        ] {
            assert_eq!(path_of(url).as_ref().map_err(String::as_str), Err(words), "{url}");
        }
    }
}
