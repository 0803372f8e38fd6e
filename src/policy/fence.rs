//! The targets that a module is for: whoever may scrape chooses the target, and a module with secrets must not bring them there.

use super::in_one_spelling;
use crate::target::without_port;
use ipnet::IpNet;
use std::net::IpAddr;
use std::str::FromStr;
use url::{Host, Url};

/// A target as credentials see it (RFC 6454 section 4): scheme, host, port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// `http`, `https`, or the name of another prober.
    pub scheme: String,
    /// The host, an address without brackets; the path of a socket in the file system.
    pub host: String,
    /// The port, where there are ports.
    pub port: Option<u16>,
}

impl Origin {
    /// That of a URL.
    #[must_use]
    pub fn of(url: &Url) -> Self {
        Self {
            scheme: url.scheme().to_owned(),
            host: url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned(),
            port: url.port_or_known_default(),
        }
    }
}

/// `allowed_targets`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fence(Vec<Entry>);

/// One entry: a target's host, with its scheme and port where they matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    scheme: Option<String>,
    hosts: Hosts,
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Hosts {
    Name(String),
    /// All names that end so, beginning with its dot.
    Below(String),
    Network(IpNet),
    Path(String),
}

impl FromIterator<Entry> for Fence {
    fn from_iter<I: IntoIterator<Item = Entry>>(entries: I) -> Self {
        Self(entries.into_iter().collect())
    }
}

impl Fence {
    /// Whether it holds a target.
    #[must_use]
    pub fn holds(&self, origin: &Origin) -> bool {
        self.0.iter().any(|entry| entry.names(origin))
    }

    /// Whether it holds a target also by other names that it is asked by: whoever is asked by a name is given what that
    /// name's owner is.
    #[must_use]
    pub fn holds_by_names<'a>(&self, origin: &Origin, names: impl IntoIterator<Item = &'a str>) -> bool {
        let by = |name: &str| {
            self.holds(&Origin {
                host: without_port(name).trim_matches(['[', ']']).to_owned(),
                ..origin.clone()
            })
        };
        self.holds(origin) && names.into_iter().all(by)
    }
}

impl Entry {
    fn names(&self, origin: &Origin) -> bool {
        let scheme = self.scheme.as_ref().is_none_or(|scheme| *scheme == origin.scheme);
        let port = self.port.is_none_or(|port| origin.port == Some(port));
        scheme && port && self.hosts.name(&origin.host)
    }
}

impl Hosts {
    fn name(&self, host: &str) -> bool {
        match self {
            Self::Path(path) => path == host,
            Self::Name(name) => canonical(host).is_ok_and(|host| host == Host::Domain(name.clone())),
            Self::Below(end) => matches!(canonical(host), Ok(Host::Domain(host)) if host.ends_with(end)),
            Self::Network(network) => match canonical(host) {
                Ok(Host::Ipv4(address)) => network.contains(&IpAddr::from(address)),
                Ok(Host::Ipv6(address)) => network.contains(&IpAddr::from(address).to_canonical()),
                _ => false,
            },
        }
    }
}

/// A host in the one spelling that URLs have it in: small letters, punycode, addresses as addresses, no dot at the end.
fn canonical(host: &str) -> Result<Host, url::ParseError> {
    let host = match host.parse() {
        Ok(IpAddr::V4(address)) => Host::Ipv4(address),
        Ok(IpAddr::V6(address)) => Host::Ipv6(address),
        Err(_) => Host::parse(host)?,
    };
    Ok(match host {
        Host::Domain(name) => Host::Domain(name.trim_end_matches('.').to_owned()),
        address => address,
    })
}

/// What an entry looks like.
const SHAPES: &str = "write a name such as api.example, *.example for all below it, a network such as 10.0.0.0/8, each with \
                      :PORT or before it https:// where that matters, or the path of a socket";

impl FromStr for Entry {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || format!("{text:?} names no targets; {SHAPES}");
        if text.starts_with('/') {
            let hosts = Hosts::Path(text.to_owned());
            return Ok(Self {
                scheme: None,
                hosts,
                port: None,
            });
        }
        let (scheme, place) = match text.split_once("://") {
            Some((scheme, place)) => (
                Some(scheme.to_ascii_lowercase()),
                place.strip_suffix('/').unwrap_or(place),
            ),
            None => (None, text),
        };
        if let Ok(network) = place.parse::<IpNet>() {
            return Ok(Self {
                scheme,
                hosts: Hosts::Network(in_one_spelling(network)?),
                port: None,
            });
        }
        let (host, port) = match place.rsplit_once(':') {
            Some((host, port)) if !place.ends_with(']') && place.parse::<IpAddr>().is_err() => {
                (host, Some(port.parse().map_err(|_| wrong())?))
            }
            _ => (place, None),
        };
        let below = host.strip_prefix("*.");
        let hosts = match (below, canonical(below.unwrap_or(host)).map_err(|_| wrong())?) {
            (None, Host::Ipv4(address)) => Hosts::Network(IpAddr::from(address).into()),
            (None, Host::Ipv6(address)) => Hosts::Network(IpAddr::from(address).to_canonical().into()),
            (None, Host::Domain(name)) if !name.contains('*') => Hosts::Name(name),
            (Some(_), Host::Domain(name)) if !name.contains('*') => Hosts::Below(format!(".{name}")),
            _ => return Err(wrong()),
        };
        Ok(Self { scheme, hosts, port })
    }
}

#[cfg(test)]
mod tests {
    use super::{Entry, Fence, Origin};
    use url::Url;

    fn fence(entries: &[&str]) -> Fence {
        entries.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn holds(fence: &Fence, url: &str) -> bool {
        fence.holds(&Origin::of(&Url::parse(url).unwrap()))
    }

    #[test]
    fn a_fence_holds_the_targets_that_it_names_in_any_spelling() {
        let fence = fence(&[
            "api.example",
            "*.inner.example",
            "https://pay.example:8443",
            "10.0.0.0/8",
            "::ffff:172.16.0.0/108",
            "192.0.2.7:8080",
            "[2001:db8::1]:443",
            "bücher.example",
        ]);
        for url in [
            "http://api.example/x",
            "https://API.example.:444/",
            "http://a.b.inner.example/",
            "https://pay.example:8443/",
            "http://10.255.0.1/",
            "http://0xa000001/",
            "http://[::ffff:10.0.0.1]/",
            "http://172.16.0.9/",
            "http://192.0.2.7:8080/",
            "https://[2001:db8::1]/",
            "http://xn--bcher-kva.example/",
        ] {
            assert!(holds(&fence, url), "{url}");
        }
        for url in [
            "http://evil.example/",
            "http://api.example.evil/",
            "http://xapi.example/",
            "http://inner.example/",
            "http://pay.example:8443/",
            "https://pay.example/",
            "http://11.0.0.1/",
            "http://192.0.2.7/",
            "http://api.example@evil.example/",
        ] {
            assert!(!holds(&fence, url), "{url}");
        }
    }

    #[test]
    fn what_names_no_targets_is_refused_with_what_would() {
        for wrong in [
            "",
            "*",
            "a.*.example",
            "*.10.0.0.1",
            "api.example:http",
            "https://",
            "a b",
            "[::1",
        ] {
            let said = wrong.parse::<Entry>().unwrap_err();
            assert!(said.contains("api.example"), "{said}");
        }
        let path = Origin {
            scheme: "unix".to_owned(),
            host: "/run/app.sock".to_owned(),
            port: None,
        };
        assert!(fence(&["/run/app.sock"]).holds(&path));
        assert!(!fence(&["/run/other.sock"]).holds(&path));
    }
}
