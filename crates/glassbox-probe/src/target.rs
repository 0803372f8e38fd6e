//! A probe's target: stored unmodified, displayed without secrets.

mod escape;
mod host_header;
mod http_url;
mod numeric;
mod reference;
mod url_parts;

pub use host_header::host_header;
pub use http_url::{HttpUrl, Scheme};
pub use numeric::numeric_address;
pub use url_parts::{UrlError, User};

use glassbox_verdict::host_port::{Host, HostPort, HostPortError};
use std::borrow::Cow;
use std::fmt;

/// A target as received from the client.
///
/// `Display` and `Debug` omit userinfo, query and fragment, because these can contain secrets.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Target {
    text: String,
    /// The original bytes if they are not valid UTF-8.
    bytes: Option<Box<[u8]>>,
}

/// Error of an invalid target.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// Not an HTTP URL.
    #[error("{0} (examples: example.org, example.org:8080/path or https://example.org/path)")]
    NotAUrl(#[from] UrlError),
    /// Not `host:port`, and not `host` if the prober has a default port.
    #[error("{0} (examples: {1})")]
    NoPlace(HostPortError, &'static str),
}

impl Target {
    /// Creates a target from a string, without validation.
    #[must_use]
    pub fn new(written: impl Into<String>) -> Self {
        Self {
            text: written.into(),
            bytes: None,
        }
    }

    /// Creates a target from bytes, without validation. Only URLs may contain bytes that are not valid UTF-8.
    #[must_use]
    pub fn from_bytes(written: &[u8]) -> Self {
        let text = String::from_utf8_lossy(written);
        Self {
            bytes: matches!(text, Cow::Owned(_)).then(|| written.into()),
            text: text.into_owned(),
        }
    }

    /// Returns the unmodified string, for requests and keys; it must not be displayed. U+FFFD replaces invalid UTF-8.
    #[must_use]
    pub fn written(&self) -> &str {
        &self.text
    }

    /// Parses the target as `host:port`. With a `default` port, the port is optional.
    ///
    /// # Errors
    /// When the host or the port is missing or invalid.
    pub fn host_port(&self, default: Option<u16>) -> Result<HostPort, TargetError> {
        let example = if default.is_some() {
            "192.0.2.1, ns.example or ns.example:5353"
        } else {
            "example.org:443 or [2001:db8::1]:443"
        };
        let text = self.text.trim();
        let parsed = match default {
            Some(port) => HostPort::parse_or(text, port),
            None => HostPort::parse(text),
        };
        parsed.map_err(|error| TargetError::NoPlace(error, example))
    }

    /// Returns the unmodified host of a URL or of `host:port`. The result distinguishes hosts but is not validated.
    #[must_use]
    pub fn host(&self) -> &str {
        Host::of_url(self.text.trim()).as_str()
    }

    /// Whether the target starts with `https://`.
    #[must_use]
    pub fn is_https(&self) -> bool {
        has_scheme(&self.text, "https://")
    }

    /// Parses the target like the http prober of `blackbox_exporter`: without `http://` or `https://`, it is prefixed
    /// with `http://`. Spaces are not trimmed. Other schemes are rejected.
    ///
    /// # Errors
    /// When the target is not an HTTP URL or has no host.
    pub fn http_url(&self) -> Result<HttpUrl, TargetError> {
        if has_scheme(&self.text, "http://") || has_scheme(&self.text, "https://") {
            return Ok(HttpUrl::parse(self.bytes())?);
        }
        let is_scheme = |name: &str| {
            name.starts_with(|first: char| first.is_ascii_alphabetic())
                && name
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
        };
        match self.text.split_once("://") {
            Some((scheme, _)) if is_scheme(scheme) => Err(UrlError::OtherScheme(scheme.to_owned()).into()),
            _ => Ok(HttpUrl::parse([b"http://", self.bytes()].concat())?),
        }
    }

    /// Returns the unmodified bytes, for requests; they must not be displayed.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.bytes.as_deref().unwrap_or(self.text.as_bytes())
    }
}

fn has_scheme(text: &str, scheme: &str) -> bool {
    text.get(..scheme.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(scheme))
}

/// Removes userinfo, query and fragment. If an `@` could end a userinfo for any parser, everything before it is hidden:
/// parsers interpret `http:///user:secret@host/` differently, and the output must not reveal the secret in any
/// interpretation.
fn shown(text: &str) -> String {
    let end = text.find(['?', '#']).unwrap_or(text.len());
    let (open, rest) = text.split_at(end);
    let hidden = if rest.len() > 1 { "?…" } else { "" };
    let (scheme, open) = match open.split_once("://") {
        Some((scheme, open)) if !scheme.contains('@') => (format!("{scheme}://"), open),
        _ => (String::new(), open),
    };
    match open.rsplit_once('@') {
        None => format!("{scheme}{open}{hidden}"),
        Some((before, after)) if before.contains(['/', '\\']) => format!("{scheme}…@{after}{hidden}"),
        Some((_, after)) => format!("{scheme}{after}{hidden}"),
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown(&self.text))
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::{Target, TargetError, UrlError};

    fn shown(text: &str) -> String {
        Target::new(text).to_string()
    }

    #[test]
    fn a_bare_host_becomes_an_http_url() {
        let url = Target::new("example.org:8080/x").http_url().unwrap();
        assert_eq!(url.shown(), "http://example.org:8080/x");
        let url = Target::new("HTTPS://example.org").http_url().unwrap();
        assert_eq!(url.shown(), "https://example.org/");
    }

    #[test]
    fn a_host_is_told_from_another_however_the_target_is_written() {
        for (written, host) in [
            ("example.org", "example.org"),
            (" https://example.org:8443/x:1@y?z ", "example.org"),
            ("https://user:secret@example.org?/", "example.org"),
            ("example.org:25", "example.org"),
            ("[2001:db8::1]:443", "2001:db8::1"),
            ("2001:db8::1", "2001:db8::1"),
            ("", ""),
        ] {
            assert_eq!(Target::new(written).host(), host, "{written}");
        }
    }

    #[test]
    fn a_target_without_a_port_takes_the_default_or_is_refused_with_examples() {
        let shown = |text: &str, default| match Target::new(text).host_port(default) {
            Ok(parsed) => parsed.to_string(),
            Err(error) => error.to_string(),
        };
        assert_eq!(shown(" mail.example:25 ", None), "mail.example:25");
        assert_eq!(shown("::1", Some(53)), "[::1]:53");
        let examples = "(examples: example.org:443 or [2001:db8::1]:443)";
        assert_eq!(shown("mail.example", None), format!("missing port {examples}"));
        let examples = "(examples: 192.0.2.1, ns.example or ns.example:5353)";
        assert_eq!(
            shown("a:x", Some(53)),
            format!("invalid port: expected a number from 0 to 65535 {examples}")
        );
        assert_eq!(
            shown("http://a:80", Some(53)),
            format!("missing or invalid host {examples}")
        );
    }

    #[test]
    fn nonsense_is_refused_with_what_would_be_right() {
        let error = Target::new("http://[::1").http_url().unwrap_err();
        assert!(matches!(error, TargetError::NotAUrl(_)));
        assert!(error.to_string().contains("https://example.org/path"));
        for wrong in [
            "",
            " http://a/",
            "http://a ",
            "http:///x",
            "//a/x",
            "http:a",
            "mailto:x",
        ] {
            assert!(Target::new(wrong).http_url().is_err(), "{wrong}");
        }
    }

    #[test]
    fn another_scheme_is_no_host() {
        for wrong in ["ftp://a.test/", "ws://a.test/", "FILE:///etc/passwd", "example.org://x"] {
            let error = Target::new(wrong).http_url().unwrap_err();
            assert!(
                matches!(error, TargetError::NotAUrl(UrlError::OtherScheme(_))),
                "{error}"
            );
        }
        // A name with a port, and a path that looks like a URL.
        assert_eq!(Target::new("a:80//b").http_url().unwrap().shown(), "http://a:80//b");
        assert_eq!(Target::new("a/ftp://b").http_url().unwrap().shown(), "http://a/ftp://b");
    }

    #[test]
    fn a_shown_target_has_no_userinfo_and_no_query() {
        assert_eq!(shown("http://user:pw@host/a?token=1#f"), "http://host/a?…");
        assert_eq!(shown("user:pw@host:80"), "host:80");
        assert_eq!(shown("http://user:p/w@host/a"), "http://…@host/a");
        assert_eq!(shown("http://host/@me/x"), "http://…@me/x");
        assert_eq!(shown("http:///user:pw@host/"), "http://…@host/");
        assert_eq!(shown("//user:pw@host/x"), "…@host/x");
        assert_eq!(shown("http:\\\\user:pw@host"), "…@host");
        assert_eq!(shown("http://us/er:pw@host/"), "http://…@host/");
        assert_eq!(shown("example.org"), "example.org");
    }

    proptest::proptest! {
        #[test]
        fn a_password_is_not_shown_in_any_spelling(start in "(http|https|HTTP)?:?[/\\\\]{0,4}", user in "[a-z/@:]{0,4}", host in "[a-z.]{1,8}") {
            let text = format!("{start}{user}:SECRET@{host}/path");
            proptest::prop_assert!(!shown(&text).contains("SECRET"), "{}", shown(&text));
        }
    }
}
