//! Selection of the proxy for a request, by the same rules as the libraries of `blackbox_exporter`.

use crate::check::Tunnel;
use crate::secret::Secret;
use crate::target::HttpUrl;
use glassbox_verdict::host_port::HostPort;
use http::header::PROXY_AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};
use std::net::IpAddr;
use url::Url;

/// A proxy.
#[derive(Clone, Debug)]
pub struct Proxy {
    kind: ProxyKind,
    /// Host and port to connect to.
    pub address: HostPort,
    user: Option<(String, Secret)>,
}

/// The URL of a proxy, with `http` as the default scheme.
#[must_use]
pub fn with_scheme(text: &str) -> String {
    if text.contains("://") {
        text.to_owned()
    } else {
        format!("http://{text}")
    }
}

/// The protocol of a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ProxyKind {
    Http,
    Https,
    Socks5,
}

impl Proxy {
    /// Parses a URL such as `http://user:password@proxy.example:3128`. The default scheme is `http`.
    ///
    /// # Errors
    /// Fails if the text is not a valid URL or has another scheme.
    pub fn new(text: &str) -> Result<Self, String> {
        // The text may contain a password and is not repeated in the error.
        let url = Url::parse(&with_scheme(text)).map_err(|error| format!("this is not a valid URL: {error}"))?;
        let (kind, port) = match url.scheme() {
            "http" => (ProxyKind::Http, 80),
            "https" => (ProxyKind::Https, 443),
            "socks5" | "socks5h" => (ProxyKind::Socks5, 1080),
            other => {
                return Err(format!(
                    "invalid proxy scheme {other:?}: expected http, https or socks5"
                ));
            }
        };
        let host = url
            .host_str()
            .filter(|host| !host.is_empty())
            .ok_or("the proxy has no host")?;
        let decoded = |text: &str| {
            percent_encoding::percent_decode_str(text)
                .decode_utf8_lossy()
                .into_owned()
        };
        let has_user = !url.username().is_empty() || url.password().is_some();
        Ok(Self {
            kind,
            address: HostPort::new(host, url.port().unwrap_or(port)),
            user: has_user.then(|| {
                let password = decoded(url.password().unwrap_or_default());
                (decoded(url.username()), Secret::new(password))
            }),
        })
    }

    /// Whether the connection to the proxy uses TLS.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.kind == ProxyKind::Https
    }

    /// Whether the proxy also needs a tunnel for plain HTTP targets.
    #[must_use]
    pub fn tunnels_all(&self) -> bool {
        self.kind == ProxyKind::Socks5
    }

    /// The URL for display, without credentials.
    #[must_use]
    pub fn shown(&self) -> String {
        let scheme = match self.kind {
            ProxyKind::Http => "http",
            ProxyKind::Https => "https",
            ProxyKind::Socks5 => "socks5",
        };
        format!("{scheme}://{}", self.address)
    }

    /// The `Proxy-Authorization` header.
    #[must_use]
    pub fn authorization(&self) -> Option<HeaderValue> {
        let (name, password) = self.user.as_ref()?;
        super::credentials::basic(format!("{name}:{}", password.reveal()).as_bytes()).ok()
    }

    /// The tunnel through the proxy, with the module's header fields for CONNECT.
    #[must_use]
    pub fn tunnel(&self, fields: &[(HeaderName, HeaderValue)]) -> Tunnel {
        if self.kind == ProxyKind::Socks5 {
            return Tunnel::Socks5(self.user.clone());
        }
        let mut all: HeaderMap = fields.iter().cloned().collect();
        if let Some(value) = self.authorization() {
            all.entry(PROXY_AUTHORIZATION).or_insert(value);
        }
        Tunnel::Connect(all)
    }
}

/// A module's proxies.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    /// Proxy for http targets.
    pub for_http: Option<Proxy>,
    /// Proxy for https targets.
    pub for_https: Option<Proxy>,
    /// Targets that are requested without a proxy; `None` if every target uses one.
    pub exceptions: Option<Exceptions>,
    /// The module's header fields for CONNECT.
    pub connect_fields: Vec<(HeaderName, HeaderValue)>,
    /// Whether the proxy resolves the target's name.
    pub skip_resolve: bool,
}

impl Proxies {
    /// The proxy for a URL. `address` is the address of its host, if it was resolved.
    #[must_use]
    pub fn of(&self, url: &HttpUrl, host: &str, address: Option<IpAddr>) -> Option<&Proxy> {
        let proxy = if url.scheme().is_secure() {
            self.for_https.as_ref()
        } else {
            self.for_http.as_ref()
        };
        let excepted = |exceptions: &Exceptions| exceptions.holds(host, address, url.port());
        proxy.filter(|_| !self.exceptions.as_ref().is_some_and(excepted))
    }

    /// Whether no proxy is configured.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.for_http.is_none() && self.for_https.is_none()
    }

    /// The proxies from the environment: `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`, or the same names in lower case.
    ///
    /// # Errors
    /// Fails if a variable is not a valid proxy URL.
    pub fn from_environment() -> Result<Self, String> {
        let read = |name: &str| {
            let value = std::env::var(name).or_else(|_| std::env::var(name.to_lowercase()));
            value.ok().filter(|value| !value.is_empty())
        };
        let proxy = |name: &str| {
            let proxy = read(name).map(|text| Proxy::new(&text)).transpose();
            proxy.map_err(|error| format!("environment variable {name}: {error}"))
        };
        Ok(Self {
            for_http: proxy("HTTP_PROXY")?,
            for_https: proxy("HTTPS_PROXY")?,
            exceptions: Some(Exceptions::new(&read("NO_PROXY").unwrap_or_default())),
            ..Self::default()
        })
    }
}

/// Targets that are requested without a proxy: `no_proxy`, as Go reads it. Loopback addresses and `localhost` are
/// always included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exceptions(Vec<Exception>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Exception {
    All,
    Network(IpAddr, u8),
    Address(IpAddr, Option<u16>),
    /// A domain with a leading dot, whether the domain itself is included, and the port.
    Domain(String, bool, Option<u16>),
}

impl Exceptions {
    /// Parses a comma-separated list of addresses, networks, domains (with their subdomains) and `*`. All entries
    /// except networks may have a port, which limits the entry to that port.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        Self(entries.filter_map(exception).collect())
    }

    fn holds(&self, host: &str, address: Option<IpAddr>, port: u16) -> bool {
        let address = address.or_else(|| host.parse().ok());
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        if host == "localhost" || address.is_some_and(|address| address.is_loopback()) {
            return true;
        }
        let at = |wanted: &Option<u16>| wanted.is_none_or(|wanted| wanted == port);
        self.0.iter().any(|exception| match exception {
            Exception::All => true,
            Exception::Network(network, bits) => address.is_some_and(|address| is_within(address, *network, *bits)),
            Exception::Address(one, wanted) => address == Some(*one) && at(wanted),
            Exception::Domain(domain, itself, wanted) => {
                (host.ends_with(domain) || (*itself && host == domain[1..])) && at(wanted)
            }
        })
    }
}

fn exception(entry: &str) -> Option<Exception> {
    let entry = entry.to_ascii_lowercase();
    if entry == "*" {
        return Some(Exception::All);
    }
    if let Some((network, bits)) = entry.split_once('/') {
        return Some(Exception::Network(network.parse().ok()?, bits.parse().ok()?));
    }
    let (host, port) = HostPort::split(&entry)?;
    let host = host.as_str();
    let port = port.map(str::parse).transpose().ok()?;
    if let Ok(address) = host.parse() {
        return Some(Exception::Address(address, port));
    }
    // As in Go, no name matches brackets.
    if entry.starts_with('[') {
        return None;
    }
    let (domain, itself) = match host.strip_prefix("*.").or_else(|| host.strip_prefix('.')) {
        Some(domain) => (domain, false),
        None => (host, true),
    };
    (!domain.is_empty()).then(|| Exception::Domain(format!(".{domain}"), itself, port))
}

fn is_within(address: IpAddr, network: IpAddr, bits: u8) -> bool {
    let shifted = |number: u128, width: u32| number.checked_shr(width.saturating_sub(bits.into())).unwrap_or(0);
    match (address, network) {
        (IpAddr::V4(one), IpAddr::V4(other)) => {
            shifted(u32::from(one).into(), 32) == shifted(u32::from(other).into(), 32)
        }
        (IpAddr::V6(one), IpAddr::V6(other)) => shifted(one.into(), 128) == shifted(other.into(), 128),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{Exceptions, Proxy};

    #[test]
    fn a_proxy_is_read_from_its_url() {
        let proxy = Proxy::new("http://us%40er:p%3Aw@proxy.test").unwrap();
        assert_eq!(
            (proxy.shown().as_str(), proxy.address.port()),
            ("http://proxy.test:80", 80)
        );
        assert_eq!(proxy.authorization().unwrap(), "Basic dXNAZXI6cDp3");
        assert!(!format!("{proxy:?}").contains("p:w"));
        assert_eq!(Proxy::new("proxy.test:3128").unwrap().shown(), "http://proxy.test:3128");
        assert_eq!(Proxy::new("socks5://[::1]").unwrap().shown(), "socks5://[::1]:1080");
        assert!(Proxy::new("https://proxy.test").unwrap().is_https());
        for wrong in ["ftp://proxy.test", "http://", "http://user:secret@:80:80"] {
            let said = Proxy::new(wrong).unwrap_err();
            assert!(!said.contains("secret"), "{said}");
        }
    }

    #[test]
    fn exceptions_are_gos() {
        let list = Exceptions::new(
            "example.com, .below.test,*.star.test, 192.0.2.0/24, 198.51.100.7:8080,[2001:db8::1], 2001:db8::2,\
             [2001:db8::3]:443, port.test:443,[brackets.test],",
        );
        let holds = |host: &str, port| list.holds(host, None, port);
        for (host, port, held) in [
            ("example.com", 80, true),
            ("EXAMPLE.com.", 80, true),
            ("www.example.com", 80, true),
            ("notexample.com", 80, false),
            ("brackets.test", 80, false),
            ("below.test", 80, false),
            ("a.below.test", 80, true),
            ("a.star.test", 80, true),
            ("star.test", 80, false),
            ("192.0.2.200", 80, true),
            ("192.0.3.1", 80, false),
            ("198.51.100.7", 8080, true),
            ("198.51.100.7", 80, false),
            ("2001:db8::1", 80, true),
            ("2001:db8::2", 80, true),
            ("2001:db8::3", 443, true),
            ("2001:db8::3", 80, false),
            ("port.test", 443, true),
            ("port.test", 80, false),
            ("localhost", 80, true),
            ("127.0.0.5", 80, true),
            ("::1", 80, true),
            ("other.test", 80, false),
        ] {
            assert_eq!(holds(host, port), held, "{host}:{port}");
        }
        assert!(list.holds("name.test", Some([192, 0, 2, 1].into()), 80));
        assert!(Exceptions::new("*").holds("a.test", None, 80));
    }
}
