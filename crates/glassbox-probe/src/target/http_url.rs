//! An HTTP or WebSocket URL, parsed like Go's `net/url`: it is sent unmodified, and encoded only where necessary.
//!
//! The URL standard of browsers normalizes URLs (`..`, `\`, `0x7f.1`). A probe must request exactly the configured URL,
//! as `blackbox_exporter` does.

use super::host_header::host_header;
use super::reference::{Reference, without_dots};
use super::url_parts::{Authority, UrlError, User};
use glassbox_verdict::host_port::{Host, HostPort};
use std::fmt;

/// The supported schemes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `http`.
    Http,
    /// `https`.
    Https,
    /// `ws`.
    Ws,
    /// `wss`.
    Wss,
}

impl Scheme {
    /// Returns the scheme in lower case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Ws => "ws",
            Self::Wss => "wss",
        }
    }

    /// Whether the scheme uses TLS.
    #[must_use]
    pub const fn is_secure(self) -> bool {
        matches!(self, Self::Https | Self::Wss)
    }

    const fn port(self) -> u16 {
        if self.is_secure() { 443 } else { 80 }
    }
}

/// A URL with a host. `Display` and `Debug` omit user name, password, query and fragment.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpUrl {
    scheme: Scheme,
    user: Option<User>,
    /// Unmodified host and port.
    written: String,
    /// Host and port to connect to.
    place: HostPort,
    /// Whether the URL contains the port. Otherwise, it is the default of the scheme.
    has_port: bool,
    path: String,
    query: Option<Vec<u8>>,
}

impl HttpUrl {
    /// Parses an absolute URL.
    ///
    /// # Errors
    /// When Go's `url.Parse` rejects the URL, the host is missing, or the scheme is not one of [`Scheme`].
    pub fn parse(text: impl AsRef<[u8]>) -> Result<Self, UrlError> {
        let reference = Reference::parse(text.as_ref())?;
        let scheme = reference.scheme.ok_or(UrlError::Scheme)?;
        Self::of(&scheme, reference.authority, reference.path, reference.query)
    }

    fn of(scheme: &str, authority: Option<Authority>, path: String, query: Option<Vec<u8>>) -> Result<Self, UrlError> {
        let all = [Scheme::Http, Scheme::Https, Scheme::Ws, Scheme::Wss];
        let known = all.into_iter().find(|known| known.as_str() == scheme);
        let scheme = known.ok_or_else(|| UrlError::OtherScheme(scheme.to_owned()))?;
        let Authority { user, host: written } = authority.ok_or(UrlError::NoHost)?;
        let (name, port) = HostPort::split(&written).ok_or(UrlError::Host)?;
        if name.as_str().is_empty() {
            return Err(UrlError::NoHost);
        }
        let port = port.filter(|digits| !digits.is_empty()).map(str::parse);
        let port = port.transpose().map_err(|_| UrlError::Port)?;
        let dialled = dialled(name.as_str());
        let host = Host::new(&dialled);
        // A percent sign may only precede a zone. In a name with a percent sign, the policy would check the part before
        // it, but the whole name would be resolved.
        let odd = |byte: u8| byte.is_ascii_whitespace() || byte.is_ascii_control() || byte == b'%';
        if host.without_zone().contains('%') || host.zone().is_some_and(|zone| zone.bytes().any(odd)) {
            return Err(UrlError::Host);
        }
        Ok(Self {
            scheme,
            user,
            place: HostPort::new(&dialled, port.unwrap_or_else(|| scheme.port())),
            has_port: port.is_some(),
            written,
            path,
            query,
        })
    }

    /// Resolves a reference against this URL (RFC 3986 section 5.2, Go's `URL.ResolveReference`).
    ///
    /// # Errors
    /// When the result is not an HTTP URL.
    pub fn join(&self, reference: &[u8]) -> Result<Self, UrlError> {
        let reference = Reference::parse(reference)?;
        if reference.scheme.is_some() || reference.authority.is_some() {
            let scheme = reference.scheme.unwrap_or_else(|| self.scheme.as_str().to_owned());
            let path = without_dots("", &reference.path);
            return Self::of(&scheme, reference.authority, path, reference.query);
        }
        let keeps_query = reference.path.is_empty() && reference.query.is_none();
        let path = without_dots(&self.path, &reference.path);
        let query = if keeps_query {
            self.query.clone()
        } else {
            reference.query
        };
        Ok(Self {
            path,
            query,
            ..self.clone()
        })
    }

    /// Returns the scheme.
    #[must_use]
    pub const fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Replaces the scheme and keeps the port.
    #[must_use]
    pub fn with_scheme(mut self, scheme: Scheme) -> Self {
        let port = self.port();
        if !self.has_port && scheme.port() != port {
            self.has_port = true;
            self.written = format!("{}:{port}", self.written.trim_end_matches(':'));
        }
        self.scheme = scheme;
        self
    }

    /// Replaces the scheme. Without an explicit port, the port becomes the default of the new scheme.
    #[must_use]
    pub fn on_port_of(mut self, scheme: Scheme) -> Self {
        if !self.has_port {
            self.place = self.place.with_port(scheme.port());
        }
        self.scheme = scheme;
        self
    }

    /// Returns the host and port to connect to. The host is the name to resolve in ASCII form (RFC 5891), or the
    /// address with its zone. The port is the explicit port, or the default port of the scheme.
    #[must_use]
    pub const fn host_port(&self) -> &HostPort {
        &self.place
    }

    /// Returns the host of [`Self::host_port`].
    #[must_use]
    pub fn host(&self) -> Host<'_> {
        self.place.host()
    }

    /// Returns the port of [`Self::host_port`].
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.place.port()
    }

    /// Returns the value of `Host` (RFC 9110 section 7.2): the unmodified host and port, with non-ASCII labels in
    /// Punycode and without a zone. As in Go, it is empty if the host contains a byte that is not allowed in the field.
    #[must_use]
    pub fn authority(&self) -> String {
        host_header(&self.written)
    }

    /// Returns the explicit port.
    #[must_use]
    pub const fn written_port(&self) -> Option<u16> {
        if self.has_port { Some(self.place.port()) } else { None }
    }

    /// Returns the host and port to connect to, without a port if the URL has none.
    fn written_place(&self) -> String {
        if self.has_port {
            self.place.to_string()
        } else {
            self.host().to_string()
        }
    }

    /// Returns the path as encoded in the request; empty if the URL has none.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns the unmodified query.
    #[must_use]
    pub fn query(&self) -> Option<&[u8]> {
        self.query.as_deref()
    }

    /// Appends a pair to the query.
    pub fn append_query(&mut self, pair: &str) {
        let query = self.query.get_or_insert_default();
        if !query.is_empty() {
            query.push(b'&');
        }
        query.extend_from_slice(pair.as_bytes());
    }

    /// Returns the request target: path and query (RFC 9112 section 3.2.1), byte for byte as Go writes it.
    #[must_use]
    pub fn target(&self) -> Vec<u8> {
        let mut target = if self.path.is_empty() { "/" } else { &self.path }.as_bytes().to_vec();
        if let Some(query) = &self.query {
            target.push(b'?');
            target.extend_from_slice(query);
        }
        target
    }

    /// Returns the user name and password.
    #[must_use]
    pub const fn user(&self) -> Option<&User> {
        self.user.as_ref()
    }

    /// Returns scheme, host and port in the format of the field `Origin` (RFC 6454 section 6.1).
    #[must_use]
    pub fn origin(&self) -> String {
        // A non-ASCII name is checked, resolved and forwarded in ASCII form, because a proxy may map its characters
        // differently.
        let place = if self.written.is_ascii() {
            self.authority()
        } else {
            self.written_place()
        };
        format!("{}://{place}", self.scheme.as_str())
    }

    /// Whether another URL has the same scheme, host and port. Credentials are sent only to the same origin.
    #[must_use]
    pub fn same_origin(&self, other: &Self) -> bool {
        let (own, others) = (self.host(), other.host());
        let same_host = match (own.address(), others.address()) {
            (Some(one), Some(other)) => one == other && own.zone() == others.zone(),
            _ => own.as_str().eq_ignore_ascii_case(others.as_str()),
        };
        same_host && self.scheme == other.scheme && self.port() == other.port()
    }

    /// Returns the URL for display, without user name, password, query and fragment. The name is in ASCII form, which
    /// prevents homograph confusion.
    #[must_use]
    pub fn shown(&self) -> String {
        let place = if self.written.is_ascii() {
            self.written.clone()
        } else {
            self.written_place()
        };
        let path = if self.path.is_empty() { "/" } else { &self.path };
        let hidden = if self.query.as_ref().is_some_and(|query| !query.is_empty()) {
            "?…"
        } else {
            ""
        };
        format!("{}://{place}{path}{hidden}", self.scheme.as_str())
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown())
    }
}

impl fmt::Debug for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HttpUrl({self})")
    }
}

/// Returns the host to resolve: an ASCII name unmodified, other names after UTS 46 mapping, which also converts
/// full-width digits.
fn dialled(name: &str) -> String {
    if name.is_ascii() {
        return name.to_owned();
    }
    idna::domain_to_ascii(name).unwrap_or_else(|_| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::{HttpUrl, Scheme, UrlError};

    fn url(text: &str) -> HttpUrl {
        HttpUrl::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    /// The policy would check the part before the percent sign, but the whole name would be resolved.
    #[test]
    fn a_percent_sign_begins_a_zone_and_nothing_else() {
        for text in [
            "http://good.example%25.evil.test/",
            "http://127.0.0.1%25.evil.test/",
            "http://127.0.0.2%25/",
            "http://a%25b/",
            "http://[fe80::1%25a%20b]/",
            "http://[fe80::1%25a%25b]/",
        ] {
            assert_eq!(HttpUrl::parse(text).err(), Some(UrlError::Host), "{text}");
        }
        assert_eq!(url("http://[fe80::1%25eth0]/").host().as_str(), "fe80::1%eth0");
    }

    /// A proxy may map a non-ASCII name differently than the exporter does for its policy check.
    #[test]
    fn a_proxy_is_asked_for_the_name_that_was_judged() {
        assert_eq!(url("http://\u{ff47}ood.example/").origin(), "http://good.example");
        assert_eq!(url("http://good\u{3002}example:81/").origin(), "http://good.example:81");
        assert_eq!(url("http://Good.example/").origin(), "http://Good.example");
    }

    /// The expected values are those that `blackbox_exporter` 0.28 sends.
    #[test]
    fn request_target_and_host_are_gos() {
        for (text, target, authority) in [
            ("http://a.test", "/", "a.test"),
            ("http://a.test?", "/?", "a.test"),
            ("http://a.test:80/??", "/??", "a.test:80"),
            ("http://a.test:/?a b", "/?a b", "a.test:"),
            ("http://a.test:080/?ü", "/?ü", "a.test:080"),
            ("http://A.test/?\"<>|^#f", "/?\"<>|^", "A.test"),
            ("http://a.test#@x", "/", "a.test"),
            ("http://a.test//a//b;c", "//a//b;c", "a.test"),
            ("http://u:p@a.test/ ", "/%20", "a.test"),
            ("http://u@v@a.test/", "/", "a.test"),
            ("http://bücher.test/", "/", "xn--bcher-kva.test"),
            ("http://BÜCHER.test:81/", "/", "xn--BCHER-2pa.test:81"),
            ("http://b%C3%BCcher.test/", "/", "xn--bcher-kva.test"),
            ("http://①②⑦.0.0.1/", "/", "xn--orhcp.0.0.1"),
            ("http://127。0。0。1/", "/", "xn--127001-rr3ebb"),
            ("http://a_b.test/", "/", "a_b.test"),
            ("http://x+y,z.test/", "/", "x+y,z.test"),
            ("http://a<b/", "/", ""),
            ("http://[::1]:81/", "/", "[::1]:81"),
            ("http://[0:0:0:0:0:0:0:1]/", "/", "[0:0:0:0:0:0:0:1]"),
            ("http://[::1%25l%6f]:81/", "/", "[::1]:81"),
            ("http://0xA9FEA9FE/", "/", "0xA9FEA9FE"),
        ] {
            let url = url(text);
            assert_eq!(String::from_utf8(url.target()).unwrap(), target, "{text}");
            assert_eq!(url.authority(), authority, "{text}");
        }
    }

    #[test]
    fn a_host_is_dialled_as_go_dials_it() {
        for (text, host, port) in [
            ("http://[::1]:81/", "::1", 81),
            ("https://[fe80::1%25lo]/", "fe80::1%lo", 443),
            ("http://0xA9FEA9FE/", "0xA9FEA9FE", 80),
            ("http://127.1:/", "127.1", 80),
            ("http://bücher.test/", "xn--bcher-kva.test", 80),
            ("http://①②⑦.0.0.1/", "127.0.0.1", 80),
            ("http://127。0。0。1/", "127.0.0.1", 80),
            ("wss://a.test/", "a.test", 443),
        ] {
            let url = url(text);
            assert_eq!((url.host().as_str(), url.port()), (host, port), "{text}");
        }
    }

    #[test]
    fn what_go_refuses_is_refused_without_the_text() {
        for (text, error) in [
            ("http://", UrlError::NoHost),
            ("http:///a.test/", UrlError::NoHost),
            ("http://:80/", UrlError::NoHost),
            ("http://SECRET@/", UrlError::NoHost),
            ("http://u:SECRET/x@a.test/", UrlError::Port),
            ("http://a:99999/", UrlError::Port),
            ("http://a:80:80/", UrlError::Port),
            ("http://::1/", UrlError::Port),
            ("http://u SECRET@a.test/", UrlError::User),
            ("http://u\\@a.test/", UrlError::User),
            ("http://a.test\\@x/", UrlError::User),
            ("http://[::1", UrlError::Host),
            ("http://[::1%lo]/", UrlError::Host),
            ("http://[127.0.0.1]/", UrlError::Host),
            ("http://x[::1]/", UrlError::Host),
            ("http://a b/", UrlError::Host),
            ("http://%61.test/", UrlError::Host),
            ("http://a/%zz", UrlError::Escape),
            ("http://a/#%zz", UrlError::Escape),
            ("http://a/\t", UrlError::Control),
            ("a.test/x", UrlError::Scheme),
            ("ftp://a.test/", UrlError::OtherScheme("ftp".to_owned())),
        ] {
            let found = HttpUrl::parse(text).unwrap_err();
            assert!(!found.to_string().contains("SECRET"), "{found}");
            assert_eq!(found, error, "{text}");
        }
    }

    #[test]
    fn a_shown_url_has_no_secret() {
        let shown = |text: &str| format!("{0} {0:?}", url(text));
        let both = |text: &str| format!("{text} HttpUrl({text})");
        assert_eq!(
            shown("http://u:SECRET@a.test/@me|?SECRET#SECRET"),
            both("http://a.test/@me%7C?…")
        );
        assert_eq!(shown("HTTP://A.test?"), both("http://A.test/"));
        assert_eq!(shown("http://bücher.test:81"), both("http://xn--bcher-kva.test:81/"));
        assert_eq!(shown("http://[fe80::1%25lo]:81/"), both("http://[fe80::1%lo]:81/"));
        assert!(!format!("{:?}", url("http://u:SECRET@a.test/").user()).contains("SECRET"));
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let same = |one: &str, other: &str| url(one).same_origin(&url(other));
        assert!(same("http://a/x", "http://A:80/y"));
        assert!(same("http://[::1]/", "http://[0:0::1]/"));
        assert!(same("http://bücher/", "http://xn--BCHER-kva/"));
        for other in ["https://a/", "http://a:81/", "http://b/", "http://a./"] {
            assert!(!same("http://a/", other), "{other}");
        }
    }

    #[test]
    fn another_scheme_keeps_the_port_or_takes_its_own() {
        let plain = url("http://a.test/x");
        assert_eq!(plain.clone().with_scheme(Scheme::Https).authority(), "a.test:80");
        assert_eq!(plain.on_port_of(Scheme::Https).port(), 443);
        let mut asked = url("http://a.test/x");
        asked.append_query("a=1");
        asked.append_query("b");
        assert_eq!(asked.target(), b"/x?a=1&b");
    }
}
