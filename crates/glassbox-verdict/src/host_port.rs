//! Hosts and ports: how texts such as `ns.example:53` and `[fe80::1%eth0]:53` are split, validated and displayed.
//!
//! Everything that reads or writes a host and a port uses these types. There are four ways to read a text:
//!
//! | function | for | an invalid text |
//! |---|---|---|
//! | [`HostPort::parse_strict`] | configured addresses to connect to | is an error |
//! | [`HostPort::parse`], [`HostPort::parse_or`] | targets and listen addresses, as in Go | is an error |
//! | [`HostPort::split`] | formats with rules of their own, such as `no_proxy` | is `None` |
//! | [`Host::of_authority`], [`Host::of_url`] | hosts to compare or to display | is taken as a whole |
//!
//! An IPv6 address has brackets where a port may follow it (RFC 3986 section 3.2.2). It may have a zone (RFC 4007
//! section 11). The types store no brackets, and add them when they are displayed. They do not decode percent-encoding:
//! in a URL, `%25` introduces the zone (RFC 6874), and the URL parser decodes it.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// A host: a name, an IPv4 address, or an IPv6 address with an optional zone. It is not validated.
///
/// `Display` writes an IPv6 address in brackets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Host<'a>(&'a str);

impl<'a> Host<'a> {
    /// Creates a host from a text without a port. Removes the brackets around it.
    #[must_use]
    pub fn new(text: &'a str) -> Self {
        let inner = text.strip_prefix('[').and_then(|inner| inner.strip_suffix(']'));
        Self(inner.unwrap_or(text))
    }

    /// Creates a host from a text in a format without brackets. With brackets, the text is not an address.
    #[must_use]
    pub const fn without_brackets(text: &'a str) -> Self {
        Self(text)
    }

    /// Returns the host of a `Host` value (RFC 9110 section 7.2), where the port is optional. A text whose port is not a
    /// number is a host as a whole, because the recipient would not split it either.
    #[must_use]
    pub fn of_authority(text: &'a str) -> Self {
        match HostPort::split(text) {
            Some((host, port)) if port.is_none_or(|port| port.bytes().all(|byte| byte.is_ascii_digit())) => host,
            _ => Self::new(text),
        }
    }

    /// Returns the host of a URL with or without a scheme. The result distinguishes hosts, but the URL is not
    /// validated. It is empty for a URL without a host, such as `unix:///run/app.sock`.
    #[must_use]
    pub fn of_url(url: &'a str) -> Self {
        let url = url.split_once("://").map_or(url, |(_, rest)| rest);
        // A search for ASCII bytes is faster than one for chars, and this runs for every probe.
        let end = url.bytes().position(|byte| matches!(byte, b'/' | b'?' | b'#'));
        let authority = &url[..end.unwrap_or(url.len())];
        let place = authority.rsplit_once('@').map_or(authority, |(_, place)| place);
        HostPort::split(place).map_or(Self(place), |(host, _)| host)
    }

    /// Like [`Self::of_url`], for a displayed URL, which may be truncated or have a hidden query, marked by `…`.
    #[must_use]
    pub fn of_displayed_url(url: &'a str) -> Self {
        Self::of_url(url.split('…').next().unwrap_or_default())
    }

    /// Returns the text without brackets, with the zone.
    #[must_use]
    pub const fn as_str(self) -> &'a str {
        self.0
    }

    /// Returns the zone of an IPv6 address: the name or number of an interface.
    #[must_use]
    pub fn zone(self) -> Option<&'a str> {
        self.address_and_zone().map(|(_, zone)| zone)
    }

    /// Returns the text without brackets and without the zone of an IPv6 address. The policy and TLS ignore zones.
    #[must_use]
    pub fn without_zone(self) -> &'a str {
        self.address_and_zone().map_or(self.0, |(address, _)| address)
    }

    /// Returns the address, without its zone; `None` if the host is a name. Only the standard notation counts as an
    /// address; `0xa000001` is a name.
    #[must_use]
    pub fn address(self) -> Option<IpAddr> {
        self.without_zone().parse().ok()
    }

    /// Splits an IPv6 address with a zone. A percent sign in any other text has no meaning.
    fn address_and_zone(self) -> Option<(&'a str, &'a str)> {
        let (address, zone) = self.0.split_once('%')?;
        address.parse::<Ipv6Addr>().is_ok().then_some((address, zone))
    }
}

impl fmt::Display for Host<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.contains(':') {
            write!(f, "[{}]", self.0)
        } else {
            f.write_str(self.0)
        }
    }
}

/// A host and a port to connect to.
///
/// `Display` writes `host:port`, with an IPv6 address in brackets.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostPort {
    /// Without brackets.
    host: String,
    port: u16,
}

/// Why a text is not a host and a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HostPortError {
    /// The text has no port, and there is no default.
    #[error("missing port")]
    MissingPort,
    /// The text after the last colon is not a port.
    #[error("invalid port: expected a number from 0 to 65535")]
    InvalidPort,
    /// The host is empty, has characters that no host has, or is an IPv6 address with a port but without brackets.
    #[error("missing or invalid host")]
    InvalidHost,
}

impl HostPort {
    /// Creates it from its parts, without validation. Removes the brackets around the host.
    #[must_use]
    pub fn new(host: &str, port: u16) -> Self {
        Self {
            host: Host::new(host).0.to_owned(),
            port,
        }
    }

    /// Parses `host:port`, with an IPv6 address in brackets.
    ///
    /// # Errors
    /// When the host or the port is missing or invalid.
    pub fn parse(text: &str) -> Result<Self, HostPortError> {
        Self::parse_with(text, None)
    }

    /// Like [`Self::parse`], with a port for texts that have none. The brackets of an IPv6 address without a port are
    /// optional.
    ///
    /// # Errors
    /// When the host is missing or invalid, or the port is invalid.
    pub fn parse_or(text: &str, default_port: u16) -> Result<Self, HostPortError> {
        Self::parse_with(text, Some(default_port))
    }

    /// Like [`Self::parse`], but with brackets only around an IPv6 address (RFC 3986 section 3.2.2). [`Self::parse`]
    /// accepts them around any host, as Go does.
    ///
    /// # Errors
    /// When the host or the port is missing or invalid.
    pub fn parse_strict(text: &str) -> Result<Self, HostPortError> {
        let parsed = Self::parse(text)?;
        let is_ipv6 = parsed.host().address().is_some_and(|address| address.is_ipv6());
        if text.starts_with('[') && !is_ipv6 {
            return Err(HostPortError::InvalidHost);
        }
        Ok(parsed)
    }

    fn parse_with(text: &str, default_port: Option<u16>) -> Result<Self, HostPortError> {
        let (host, port) = Self::split(text).ok_or(HostPortError::InvalidHost)?;
        let port = match port {
            Some(port) => port.parse().map_err(|_| HostPortError::InvalidPort)?,
            None => default_port.ok_or(HostPortError::MissingPort)?,
        };
        let never_in_host = |c: char| "/@[]?#".contains(c) || c.is_whitespace();
        if host.0.is_empty() || host.0.contains(never_in_host) {
            return Err(HostPortError::InvalidHost);
        }
        Ok(Self::new(host.0, port))
    }

    /// Splits a text into the host and the text after the colon, without validating either. Returns `None` if the text
    /// cannot be split: brackets that are not closed or are followed by another text than a port, or several colons
    /// outside of brackets that do not belong to an IPv6 address.
    #[must_use]
    pub fn split(text: &str) -> Option<(Host<'_>, Option<&str>)> {
        if let Some(inner) = text.strip_prefix('[') {
            let (host, rest) = inner.split_once(']')?;
            let port = rest.strip_prefix(':');
            return (port.is_some() || rest.is_empty()).then_some((Host(host), port));
        }
        match text.rsplit_once(':') {
            None => Some((Host(text), None)),
            Some((host, port)) if !host.contains(':') => Some((Host(host), Some(port))),
            Some(_) => Host(text).address().map(|_| (Host(text), None)),
        }
    }

    /// Returns the host.
    #[must_use]
    pub fn host(&self) -> Host<'_> {
        Host(&self.host)
    }

    /// Returns the port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Replaces the port.
    #[must_use]
    pub fn with_port(self, port: u16) -> Self {
        Self { port, ..self }
    }
}

impl FromStr for HostPort {
    type Err = HostPortError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

/// A scope ID is written as a zone.
impl From<SocketAddr> for HostPort {
    fn from(address: SocketAddr) -> Self {
        let host = match address {
            SocketAddr::V6(v6) if v6.scope_id() != 0 => format!("{}%{}", v6.ip(), v6.scope_id()),
            _ => address.ip().to_string(),
        };
        Self {
            host,
            port: address.port(),
        }
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host(), self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::HostPortError::{InvalidHost, InvalidPort, MissingPort};
    use super::{Host, HostPort, HostPortError};
    use std::net::SocketAddr;

    /// What a text is with a port of its own, what it is with the default port 53, and how the latter is displayed.
    type Row = (
        &'static str,
        Result<(&'static str, u16), HostPortError>,
        Result<(&'static str, u16), HostPortError>,
        &'static str,
    );

    const TABLE: &[Row] = &[
        // Names.
        (
            "a.example:25",
            Ok(("a.example", 25)),
            Ok(("a.example", 25)),
            "a.example:25",
        ),
        ("a.example", Err(MissingPort), Ok(("a.example", 53)), "a.example:53"),
        ("a_b-c.:0", Ok(("a_b-c.", 0)), Ok(("a_b-c.", 0)), "a_b-c.:0"),
        (
            "A.Example:65535",
            Ok(("A.Example", 65535)),
            Ok(("A.Example", 65535)),
            "A.Example:65535",
        ),
        (
            "b\u{fc}cher.example:80",
            Ok(("b\u{fc}cher.example", 80)),
            Ok(("b\u{fc}cher.example", 80)),
            "b\u{fc}cher.example:80",
        ),
        ("a%b:80", Ok(("a%b", 80)), Ok(("a%b", 80)), "a%b:80"),
        // IPv4.
        (
            "192.0.2.1:53",
            Ok(("192.0.2.1", 53)),
            Ok(("192.0.2.1", 53)),
            "192.0.2.1:53",
        ),
        ("192.0.2.1", Err(MissingPort), Ok(("192.0.2.1", 53)), "192.0.2.1:53"),
        ("0x7f.1:80", Ok(("0x7f.1", 80)), Ok(("0x7f.1", 80)), "0x7f.1:80"),
        (
            "[192.0.2.1]:80",
            Ok(("192.0.2.1", 80)),
            Ok(("192.0.2.1", 80)),
            "192.0.2.1:80",
        ),
        // IPv6 without brackets has no port.
        ("::1", Err(MissingPort), Ok(("::1", 53)), "[::1]:53"),
        (
            "2001:db8::1:25",
            Err(MissingPort),
            Ok(("2001:db8::1:25", 53)),
            "[2001:db8::1:25]:53",
        ),
        (
            "::ffff:192.0.2.1",
            Err(MissingPort),
            Ok(("::ffff:192.0.2.1", 53)),
            "[::ffff:192.0.2.1]:53",
        ),
        (
            "fe80::1%eth0",
            Err(MissingPort),
            Ok(("fe80::1%eth0", 53)),
            "[fe80::1%eth0]:53",
        ),
        // IPv6 in brackets.
        ("[::1]:25", Ok(("::1", 25)), Ok(("::1", 25)), "[::1]:25"),
        ("[::1]", Err(MissingPort), Ok(("::1", 53)), "[::1]:53"),
        (
            "[fe80::1%eth0]:25",
            Ok(("fe80::1%eth0", 25)),
            Ok(("fe80::1%eth0", 25)),
            "[fe80::1%eth0]:25",
        ),
        ("[fe80::1%2]", Err(MissingPort), Ok(("fe80::1%2", 53)), "[fe80::1%2]:53"),
        // The port.
        ("a:", Err(InvalidPort), Err(InvalidPort), ""),
        ("[::1]:", Err(InvalidPort), Err(InvalidPort), ""),
        ("a:65536", Err(InvalidPort), Err(InvalidPort), ""),
        ("a:-1", Err(InvalidPort), Err(InvalidPort), ""),
        ("a:http", Err(InvalidPort), Err(InvalidPort), ""),
        ("a:8 0", Err(InvalidPort), Err(InvalidPort), ""),
        ("a:\u{ff18}\u{ff10}", Err(InvalidPort), Err(InvalidPort), ""),
        // The host.
        ("", Err(MissingPort), Err(InvalidHost), ""),
        (":25", Err(InvalidHost), Err(InvalidHost), ""),
        ("[]:25", Err(InvalidHost), Err(InvalidHost), ""),
        ("[::1", Err(InvalidHost), Err(InvalidHost), ""),
        ("[::1]25", Err(InvalidHost), Err(InvalidHost), ""),
        ("[[::1]]:25", Err(InvalidHost), Err(InvalidHost), ""),
        ("::1]:25", Err(InvalidHost), Err(InvalidHost), ""),
        ("x[::1]:25", Err(InvalidHost), Err(InvalidHost), ""),
        ("::1:25:x", Err(InvalidHost), Err(InvalidHost), ""),
        ("a:80:80", Err(InvalidHost), Err(InvalidHost), ""),
        ("http://a:80", Err(InvalidHost), Err(InvalidHost), ""),
        ("u@a:25", Err(InvalidHost), Err(InvalidHost), ""),
        ("a b:1", Err(InvalidHost), Err(InvalidHost), ""),
        ("a\u{a0}b:1", Err(InvalidHost), Err(InvalidHost), ""),
        ("a/b:1", Err(InvalidHost), Err(InvalidHost), ""),
    ];

    #[test]
    fn a_text_is_a_host_and_a_port() {
        for (text, alone, with_default, displayed) in TABLE {
            let parts = |parsed: Result<HostPort, HostPortError>| {
                parsed.map(|parsed| (parsed.host().as_str().to_owned(), parsed.port()))
            };
            let expected = |row: &Result<(&str, u16), HostPortError>| row.map(|(host, port)| (host.to_owned(), port));
            assert_eq!(parts(HostPort::parse(text)), expected(alone), "{text}");
            assert_eq!(parts(text.parse()), expected(alone), "{text}");
            assert_eq!(parts(HostPort::parse_or(text, 53)), expected(with_default), "{text}");
            let shown = HostPort::parse_or(text, 53).map_or_else(|_| String::new(), |parsed| parsed.to_string());
            assert_eq!(shown, *displayed, "{text}");
            // What is displayed is read back.
            if with_default.is_ok() {
                assert_eq!(HostPort::parse(&shown), HostPort::parse_or(text, 53), "{text}");
            }
        }
    }

    #[test]
    fn a_host_has_an_address_and_a_zone() {
        for (text, plain, zone, without_zone, address) in [
            ("example.org", "example.org", None, "example.org", None),
            ("192.0.2.1", "192.0.2.1", None, "192.0.2.1", Some("192.0.2.1")),
            ("[::1]", "::1", None, "::1", Some("::1")),
            ("::1", "::1", None, "::1", Some("::1")),
            (
                "[fe80::1%eth0]",
                "fe80::1%eth0",
                Some("eth0"),
                "fe80::1",
                Some("fe80::1"),
            ),
            (
                "fe80::1%25eth0",
                "fe80::1%25eth0",
                Some("25eth0"),
                "fe80::1",
                Some("fe80::1"),
            ),
            ("fe80::1%", "fe80::1%", Some(""), "fe80::1", Some("fe80::1")),
            ("192.0.2.1%lo", "192.0.2.1%lo", None, "192.0.2.1%lo", None),
            ("a%b", "a%b", None, "a%b", None),
            ("x:y%lo", "x:y%lo", None, "x:y%lo", None),
            ("0xa000001", "0xa000001", None, "0xa000001", None),
            ("[a", "[a", None, "[a", None),
            ("[[::1]]", "[::1]", None, "[::1]", None),
            ("", "", None, "", None),
        ] {
            let host = Host::new(text);
            assert_eq!(host.as_str(), plain, "{text}");
            assert_eq!((host.zone(), host.without_zone()), (zone, without_zone), "{text}");
            assert_eq!(
                host.address().map(|address| address.to_string()).as_deref(),
                address,
                "{text}"
            );
        }
        assert_eq!(Host::without_brackets("[::1]").address(), None);
        assert_eq!(Host::new("fe80::1%eth0").to_string(), "[fe80::1%eth0]");
        assert_eq!(Host::new("example.org").to_string(), "example.org");
    }

    #[test]
    fn the_port_of_an_authority_is_optional() {
        for (text, host) in [
            ("a.example", "a.example"),
            ("a.example:8080", "a.example"),
            ("a.example:", "a.example"),
            ("[::1]:80", "::1"),
            ("[::1]", "::1"),
            ("::1", "::1"),
            ("fe80::1%lo", "fe80::1%lo"),
            ("[fe80::1%lo]:80", "fe80::1%lo"),
            // The recipient does not split these.
            ("a.example:x", "a.example:x"),
            ("a.example]:80", "a.example]"),
            ("[a.example]x:80", "[a.example]x:80"),
            ("a:1:2", "a:1:2"),
        ] {
            assert_eq!(Host::of_authority(text).as_str(), host, "{text}");
        }
    }

    #[test]
    fn the_host_of_a_url_is_found_however_it_is_written() {
        for (url, host) in [
            ("example.org", "example.org"),
            ("http://a.test/x", "a.test"),
            ("HTTP://A.test:80", "A.test"),
            ("https://example.org:8443/x:1@y?z", "example.org"),
            ("https://user:secret@example.org?/", "example.org"),
            ("example.org:25", "example.org"),
            ("dns+tcp://[fe80::1%lo]:53", "fe80::1%lo"),
            ("icmp://[2001:db8::1]", "2001:db8::1"),
            ("icmp://2001:db8::1", "2001:db8::1"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]:443", "2001:db8::1"),
            ("unix:///run/app.sock", ""),
            ("a:b:c", "a:b:c"),
            ("", ""),
        ] {
            assert_eq!(Host::of_url(url).as_str(), host, "{url}");
            assert_eq!(Host::of_displayed_url(url).as_str(), host, "{url}");
        }
        assert_eq!(Host::of_displayed_url("http://0xa9fea9fe?…").as_str(), "0xa9fea9fe");
        assert_eq!(Host::of_displayed_url("http://a.te…").as_str(), "a.te");
    }

    #[test]
    fn a_socket_address_keeps_its_scope() {
        for text in ["192.0.2.1:80", "[2001:db8::1]:443", "[fe80::1%3]:53"] {
            let address: SocketAddr = text.parse().unwrap();
            assert_eq!(HostPort::from(address).to_string(), text);
        }
        assert_eq!(HostPort::new("[::1]", 80).with_port(81).to_string(), "[::1]:81");
    }
}
