//! The targets that a module may probe (`allowed_targets`). The client chooses the target, so a module with secrets
//! must not send them to other targets.

use super::in_one_spelling;
use crate::target::HttpUrl;
use glassbox_verdict::host_port::{Host, HostPort};
use ipnet::IpNet;
use std::net::IpAddr;
use std::str::FromStr;

/// The scope of credentials (RFC 6454 section 4): scheme, host and port of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// `http`, `https`, or the name of the prober.
    pub scheme: String,
    /// Host; an IPv6 address has no brackets. For a Unix socket, its path.
    pub host: String,
    /// Port, or `None` if the prober has no ports.
    pub port: Option<u16>,
}

impl Origin {
    /// Returns the origin of a URL.
    #[must_use]
    pub fn of(url: &HttpUrl) -> Self {
        Self {
            scheme: url.scheme().as_str().to_owned(),
            host: url.host().without_zone().to_owned(),
            port: Some(url.port()),
        }
    }
}

/// The list `allowed_targets` of a module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TargetAllowlist(Vec<AllowedTarget>);

/// One entry: a host, optionally restricted to a scheme or a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedTarget {
    scheme: Option<String>,
    hosts: Hosts,
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Hosts {
    Name(String),
    /// Suffix of the allowed names, starting with a dot.
    Below(String),
    Network(IpNet),
    Path(String),
}

impl FromIterator<AllowedTarget> for TargetAllowlist {
    fn from_iter<I: IntoIterator<Item = AllowedTarget>>(entries: I) -> Self {
        Self(entries.into_iter().collect())
    }
}

impl TargetAllowlist {
    /// Whether the list contains the target.
    #[must_use]
    pub fn holds(&self, origin: &Origin) -> bool {
        self.0.iter().any(|entry| entry.names(origin))
    }

    /// Whether the list contains the target itself and the target with each of `names` as its host. A server that is
    /// addressed by a name receives the secrets that are meant for the name's owner.
    #[must_use]
    pub fn holds_by_names<'a>(&self, origin: &Origin, names: impl IntoIterator<Item = &'a str>) -> bool {
        let by = |name: &str| {
            self.holds(&Origin {
                host: Host::of_authority(name).as_str().to_owned(),
                ..origin.clone()
            })
        };
        self.holds(origin) && names.into_iter().all(by)
    }
}

impl AllowedTarget {
    fn names(&self, origin: &Origin) -> bool {
        let scheme = self.scheme.as_ref().is_none_or(|scheme| *scheme == origin.scheme);
        let port = self.port.is_none_or(|port| origin.port == Some(port));
        scheme && port && self.hosts.name(&origin.host)
    }
}

impl Hosts {
    fn name(&self, host: &str) -> bool {
        match (self, canonical(host)) {
            (Self::Path(path), _) => path == host,
            (Self::Name(name), CanonicalHost::Name(host)) => *name == host,
            (Self::Below(end), CanonicalHost::Name(host)) => host.ends_with(end),
            (Self::Network(network), CanonicalHost::Address(address)) => network.contains(&address),
            _ => false,
        }
    }
}

/// A normalized host. Only the standard notation of an IP address counts as an address; `0xa000001` is a name.
#[derive(Debug, PartialEq, Eq)]
enum CanonicalHost {
    /// In lower case, in ASCII form (RFC 5891), without a trailing dot.
    Name(String),
    Address(IpAddr),
}

fn canonical(host: &str) -> CanonicalHost {
    if let Ok(address) = host.parse::<IpAddr>() {
        return CanonicalHost::Address(address.to_canonical());
    }
    if host.is_ascii() {
        return CanonicalHost::Name(host.trim_end_matches('.').to_ascii_lowercase());
    }
    let mapped = idna::domain_to_ascii(host).unwrap_or_else(|_| host.to_lowercase());
    // Full-width digits map to an address.
    match mapped.parse::<IpAddr>() {
        Ok(address) => CanonicalHost::Address(address),
        Err(_) => CanonicalHost::Name(mapped.trim_end_matches('.').to_owned()),
    }
}

/// Description of valid entries for error messages.
const SHAPES: &str = "expected a name such as api.example, *.example for all names below it, a network such as \
                      10.0.0.0/8, or the path of a Unix socket; a name or address can have a scheme (https://) and a \
                      port (:443)";

impl FromStr for AllowedTarget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || format!("invalid entry {text:?}: {SHAPES}");
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
        let (host, port) = HostPort::split(place).ok_or_else(wrong)?;
        let host = host.as_str();
        let port = port.map(str::parse).transpose().map_err(|_| wrong())?;
        let below = host.strip_prefix("*.");
        let is_name =
            |name: &str| !name.is_empty() && !name.contains(|c: char| "*/[]@:".contains(c) || c.is_whitespace());
        let hosts = match (below, canonical(below.unwrap_or(host))) {
            (None, CanonicalHost::Address(address)) => Hosts::Network(address.into()),
            (None, CanonicalHost::Name(name)) if is_name(&name) => Hosts::Name(name),
            (Some(_), CanonicalHost::Name(name)) if is_name(&name) => Hosts::Below(format!(".{name}")),
            _ => return Err(wrong()),
        };
        Ok(Self { scheme, hosts, port })
    }
}

#[cfg(test)]
mod tests {
    use super::{AllowedTarget, Origin, TargetAllowlist};
    use crate::target::HttpUrl;

    fn allowlist(entries: &[&str]) -> TargetAllowlist {
        entries.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn holds(allowlist: &TargetAllowlist, url: &str) -> bool {
        allowlist.holds(&Origin::of(&HttpUrl::parse(url).unwrap()))
    }

    #[test]
    fn a_fence_holds_the_targets_that_it_names_in_any_spelling() {
        let allowlist = allowlist(&[
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
            "http://①⓪.0.0.1/",
            "http://[::ffff:10.0.0.1]/",
            "http://172.16.0.9/",
            "http://192.0.2.7:8080/",
            "https://[2001:db8::1]/",
            "http://xn--bcher-kva.example/",
        ] {
            assert!(holds(&allowlist, url), "{url}");
        }
        for url in [
            "http://evil.example/",
            "http://api.example.evil/",
            "http://xapi.example/",
            "http://inner.example/",
            "http://pay.example:8443/",
            "https://pay.example/",
            "http://11.0.0.1/",
            // These hosts are names, so the address that they resolve to is unknown.
            "http://0xa000001/",
            "http://10.1/",
            "http://10.0.0.1./",
            "http://192.0.2.7/",
            "http://api.example@evil.example/",
        ] {
            assert!(!holds(&allowlist, url), "{url}");
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
            "::1:80:x",
            "[fe80::1%eth0]:443",
        ] {
            let said = wrong.parse::<AllowedTarget>().unwrap_err();
            assert!(said.contains("api.example"), "{said}");
        }
        let path = Origin {
            scheme: "unix".to_owned(),
            host: "/run/app.sock".to_owned(),
            port: None,
        };
        assert!(allowlist(&["/run/app.sock"]).holds(&path));
        assert!(!allowlist(&["/run/other.sock"]).holds(&path));
    }
}
