//! What a caller asks to be probed: kept as written, shown without its secrets.

use std::fmt;
use url::Url;

/// A target as the caller wrote it.
///
/// `Display` and `Debug` leave out userinfo, query and fragment, because they may hold secrets.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Target(String);

/// Why a target cannot be probed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// The text is no URL.
    #[error("{0}; an http target looks like example.org, example.org:8080/path or https://example.org/path")]
    NotAUrl(#[from] url::ParseError),
    /// A URL without a host.
    #[error("the URL has no host; an http target looks like https://example.org/path")]
    NoHost,
}

impl Target {
    /// Takes the text as it is.
    #[must_use]
    pub fn new(written: impl Into<String>) -> Self {
        Self(written.into())
    }

    /// The text as written, for the wire and for keys; never for display.
    #[must_use]
    pub fn written(&self) -> &str {
        &self.0
    }

    /// Reads the target as the peer's http prober does: without `http://` or `https://` it gets `http://`.
    ///
    /// # Errors
    /// When the text is no URL or has no host.
    pub fn http_url(&self) -> Result<Url, TargetError> {
        let written = self.0.trim();
        let url = if has_http_scheme(written) {
            Url::parse(written)?
        } else {
            Url::parse(&format!("http://{written}"))?
        };
        match url.host_str() {
            Some(host) if !host.is_empty() => Ok(url),
            _ => Err(TargetError::NoHost),
        }
    }
}

fn has_http_scheme(text: &str) -> bool {
    ["http://", "https://"].iter().any(|scheme| {
        text.get(..scheme.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    })
}

/// The target without userinfo, query and fragment. Where an `@` could end a userinfo in any reading, everything before
/// it is hidden: parsers differ on what `http:///user:secret@host/` means, and a secret must not be shown by any of them.
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
        f.write_str(&shown(&self.0))
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({self})")
    }
}

/// A URL as it may be shown: without userinfo, query and fragment.
#[must_use]
pub fn shown_url(url: &Url) -> String {
    shown(url.as_str())
}

/// What an HTTP/1.1 request line asks for.
#[must_use]
pub fn path_and_query(url: &Url) -> String {
    match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    }
}

/// The origin of a URL as credentials see it: scheme, host as written, port.
#[must_use]
pub fn same_origin(one: &Url, other: &Url) -> bool {
    one.scheme() == other.scheme()
        && one.host_str() == other.host_str()
        && one.port_or_known_default() == other.port_or_known_default()
}

#[cfg(test)]
mod tests {
    use super::{Target, TargetError, same_origin};
    use url::Url;

    fn shown(text: &str) -> String {
        Target::new(text).to_string()
    }

    #[test]
    fn a_bare_host_becomes_an_http_url() {
        let url = Target::new("example.org:8080/x").http_url().unwrap();
        assert_eq!(url.as_str(), "http://example.org:8080/x");
        let url = Target::new("HTTPS://example.org").http_url().unwrap();
        assert_eq!(url.as_str(), "https://example.org/");
    }

    #[test]
    fn nonsense_is_refused_with_what_would_be_right() {
        let error = Target::new("http://[::1").http_url().unwrap_err();
        assert!(matches!(error, TargetError::NotAUrl(_)));
        assert!(error.to_string().contains("https://example.org/path"));
        assert!(Target::new("").http_url().is_err());
        assert!(
            Target::new("http:///x")
                .http_url()
                .is_ok_and(|url| url.host_str() == Some("x"))
        );
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

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let at = |text: &str| Url::parse(text).unwrap();
        assert!(same_origin(&at("http://a/x"), &at("http://a:80/y")));
        assert!(!same_origin(&at("http://a/"), &at("https://a/")));
        assert!(!same_origin(&at("http://a/"), &at("http://a:81/")));
        assert!(!same_origin(&at("http://a/"), &at("http://b/")));
    }
}
