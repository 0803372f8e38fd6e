//! Policy: the destinations that the exporter may connect to. It checks a connection's address, not its spelling.

mod metadata;
mod special;
mod target_allowlist;

pub use target_allowlist::{AllowedTarget, Origin, TargetAllowlist};

use ipnet::{IpNet, Ipv4Net};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

/// Normalizes a network: a network of IPv4-mapped addresses (RFC 4291 section 2.5.5.2) becomes an IPv4 network.
///
/// # Errors
/// When the network starts with an IPv4-mapped address and is larger than `::ffff:0:0/96`.
pub fn in_one_spelling(network: IpNet) -> Result<IpNet, String> {
    let (IpNet::V6(mapped), IpAddr::V4(address)) = (network, network.addr().to_canonical()) else {
        return Ok(network);
    };
    let length = mapped.prefix_len().checked_sub(96);
    let ipv4 = length.and_then(|length| Ipv4Net::new(address, length).ok());
    ipv4.map(IpNet::V4).ok_or_else(|| {
        format!("invalid network {network}: expected a part of ::ffff:0:0/96, or 0.0.0.0/0 for all IPv4 addresses")
    })
}

/// Returns the cloud metadata services that are denied by default: product, addresses, and publisher of the addresses.
pub fn metadata_services() -> impl Iterator<Item = (&'static str, String, &'static str)> {
    metadata::rows()
}

/// The port of name servers (RFC 1035 section 4.2).
const DNS_PORT: u16 = 53;

/// Decision about destinations that no list contains.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Allows everything except cloud metadata services and the exporter itself.
    #[default]
    Default,
    /// Allows only public addresses, and no Unix sockets.
    Strict,
    /// Allows everything, like `blackbox_exporter`.
    Open,
}

/// Lists of allowed and denied entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lists<T> {
    /// Allowed entries.
    pub allow: Vec<T>,
    /// Denied entries.
    pub deny: Vec<T>,
}

impl<T> Default for Lists<T> {
    fn default() -> Self {
        Self {
            allow: Vec::new(),
            deny: Vec::new(),
        }
    }
}

/// The policy of a configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Decision about destinations that the lists do not contain.
    pub mode: Mode,
    /// Networks. The most specific network that contains an address decides; `deny` wins over an equal network in
    /// `allow`.
    pub networks: Lists<IpNet>,
    /// Ports. If `allow` is not empty, all other ports are denied.
    pub ports: Lists<Ports>,
    /// Paths of Unix sockets. If `allow` is not empty, all other paths are denied.
    pub unix: Lists<PathPattern>,
}

/// Rule that denies a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PolicyRule {
    /// The lists of networks.
    Networks,
    /// The lists of ports.
    Ports,
    /// The lists of paths, or the mode `strict`.
    Unix,
    /// The destination is a cloud metadata service.
    Metadata,
    /// The destination is the exporter itself.
    Itself,
    /// The address is not public, and the mode is `strict`.
    NotPublic,
    /// The module does not allow this target.
    AllowedTargets,
}

impl PolicyRule {
    /// All rules.
    pub const ALL: [Self; 7] = [
        Self::Networks,
        Self::Ports,
        Self::Unix,
        Self::Metadata,
        Self::Itself,
        Self::NotPublic,
        Self::AllowedTargets,
    ];

    /// Returns the value of the `rule` label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Networks => "networks",
            Self::Ports => "ports",
            Self::Unix => "unix",
            Self::Metadata => "metadata",
            Self::Itself => "self",
            Self::NotPublic => "not_public",
            Self::AllowedTargets => "allowed_targets",
        }
    }

    /// Returns the reason and a possible fix, as a clause that follows "is not allowed: ".
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Networks => "policy.networks denies this address",
            Self::Ports => "policy.ports denies this port",
            Self::Unix => "policy.unix does not allow this path",
            Self::Metadata => "this address is a cloud metadata service (policy.networks.allow can allow it)",
            Self::Itself => "the exporter may probe only its own /-/healthy, /-/ready and /metrics",
            Self::NotPublic => "a strict policy allows only public addresses (policy.networks.allow can allow others)",
            Self::AllowedTargets => "the module's allowed_targets does not contain it",
        }
    }
}

impl Policy {
    /// Returns the rule that denies an address and port, if any. The caller checks whether the address belongs to
    /// the exporter itself. Some clouds run name servers at the addresses of their metadata services, so DNS queries to
    /// port 53 of these addresses are allowed.
    #[must_use]
    pub fn objection(&self, to: SocketAddr, asks_for_names: bool) -> Option<PolicyRule> {
        let port = to.port();
        let denied = self.ports.deny.iter().any(|ports| ports.0.contains(&port));
        let allowed = self.ports.allow.is_empty() || self.ports.allow.iter().any(|ports| ports.0.contains(&port));
        if denied || !allowed {
            return Some(PolicyRule::Ports);
        }
        self.objection_to_reading(to.ip(), asks_for_names && port == DNS_PORT)
    }

    /// Returns the rule that denies an address on any port, if any.
    #[must_use]
    pub fn objection_to_address(&self, address: IpAddr) -> Option<PolicyRule> {
        self.objection_to_reading(address, false)
    }

    fn objection_to_reading(&self, address: IpAddr, asks_name_server: bool) -> Option<PolicyRule> {
        // An IPv6 address that embeds an IPv4 address is checked as both.
        let seen = special::readings(address);
        seen.iter().find_map(|address| match self.listed(*address) {
            Some(true) => None,
            Some(false) => Some(PolicyRule::Networks),
            None => self.objection_of_mode(*address, asks_name_server),
        })
    }

    /// Whether the exporter must not connect to itself.
    #[must_use]
    pub const fn denies_itself(&self) -> bool {
        !matches!(self.mode, Mode::Open)
    }

    /// Returns the decision of the lists: that of the most specific network, or `None` if no network contains the
    /// address.
    fn listed(&self, address: IpAddr) -> Option<bool> {
        let smallest = |networks: &[IpNet]| special::smallest(networks, address);
        match (smallest(&self.networks.allow), smallest(&self.networks.deny)) {
            (None, None) => None,
            (allowed, denied) => Some(allowed > denied),
        }
    }

    fn objection_of_mode(&self, address: IpAddr, asks_name_server: bool) -> Option<PolicyRule> {
        match self.mode {
            Mode::Open => None,
            _ if metadata::is_service(address) && !asks_name_server => Some(PolicyRule::Metadata),
            Mode::Strict if !special::is_public(address) => Some(PolicyRule::NotPublic),
            Mode::Default | Mode::Strict => None,
        }
    }

    /// Whether all Unix sockets are allowed.
    #[must_use]
    pub fn takes_any_path(&self) -> bool {
        self.mode != Mode::Strict && self.unix == Lists::default()
    }

    /// Returns the rule that denies a Unix socket, if any. `path` contains no symbolic links.
    #[must_use]
    pub fn objection_to_path(&self, path: &Path) -> Option<PolicyRule> {
        let fits = |patterns: &[PathPattern]| patterns.iter().any(|pattern| pattern.fits(path));
        let by_default = self.unix.allow.is_empty() && self.mode != Mode::Strict;
        let allowed = !fits(&self.unix.deny) && (by_default || fits(&self.unix.allow));
        (!allowed).then_some(PolicyRule::Unix)
    }
}

/// A port, or a range of ports such as `8000-8999`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ports(RangeInclusive<u16>);

impl FromStr for Ports {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        match (first.trim().parse(), last.trim().parse()) {
            (Ok(first), Ok(last)) if first <= last => Ok(Self(first..=last)),
            _ => Err(format!(
                "invalid port {text:?}: expected a number such as 443, or a range such as 8000-8999"
            )),
        }
    }
}

/// An absolute path of a Unix socket, or the name of an abstract socket, such as `@app`. A `*` matches any part of one
/// path component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathPattern(PathBuf);

impl FromStr for PathPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let path = PathBuf::from(text);
        let plain = path.components().all(|part| !matches!(part, Component::ParentDir));
        if (path.is_absolute() || text.starts_with('@')) && plain {
            Ok(Self(path))
        } else {
            Err(format!(
                "invalid path {text:?}: expected the path of a Unix socket, such as /run/app.sock or /run/app/*.sock"
            ))
        }
    }
}

impl PathPattern {
    fn fits(&self, path: &Path) -> bool {
        let (own, others) = (self.0.components(), path.components());
        own.clone().count() == others.clone().count()
            && own.zip(others).all(|(own, other)| {
                let (own, other) = (own.as_os_str().to_string_lossy(), other.as_os_str().to_string_lossy());
                fits(&own, &other)
            })
    }
}

/// Whether a name matches a pattern with stars.
fn fits(pattern: &str, name: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let Some(name) = name.strip_prefix(start) else {
        return false;
    };
    (0..=name.len()).any(|at| name.get(at..).is_some_and(|name| fits(rest, name)))
}

/// A denied destination and the rule that denies it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} is not allowed: {}", .rule.words())]
pub struct Denied {
    /// The destination.
    pub what: String,
    /// The rule.
    pub rule: PolicyRule,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Default => "default",
            Self::Strict => "strict",
            Self::Open => "open",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Lists, Mode, PathPattern, Policy, PolicyRule, fits};
    use std::net::{IpAddr, SocketAddr};
    use std::path::Path;

    fn policy(mode: Mode) -> Policy {
        Policy {
            mode,
            ..Policy::default()
        }
    }

    fn judge(policy: &Policy, address: &str) -> Option<PolicyRule> {
        policy.objection_to_address(address.parse().unwrap())
    }

    /// The metadata services, and IPv6 addresses that embed a metadata service's address.
    fn metadata() -> Vec<String> {
        let embedding = [
            "::ffff:169.254.169.254",
            "::ffff:0:169.254.169.254",
            "::169.254.169.254",
            "64:ff9b::169.254.169.254",
            "64:ff9b:1::169.254.169.254",
            "2002:a9fe:a9fe::1",
            "2001:0:102:304::5601:5601",
        ];
        let services = super::metadata_services();
        let addresses =
            services.flat_map(|(_, addresses, _)| addresses.split(", ").map(str::to_owned).collect::<Vec<_>>());
        addresses.chain(embedding.map(str::to_owned)).collect()
    }

    /// Addresses that are not routed on the internet.
    const NOT_PUBLIC: [&str; 32] = [
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "100.64.0.1",
        "127.0.0.1",
        "127.255.255.254",
        "169.254.1.1",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.1",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.1.1",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.1.1.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::ffff:10.0.0.1",
        "64:ff9b::10.0.0.1",
        "2002:a00:1::1",
        "2001:db8::1",
        "3fff::1",
        "fc00::1",
        "fe80::1",
        "ff02::1",
        "5f00::1",
    ];

    const PUBLIC: [&str; 12] = [
        "1.1.1.1",
        "8.8.8.8",
        "100.63.255.255",
        "100.128.0.1",
        "172.15.255.255",
        "172.32.0.1",
        "192.0.0.9",
        "198.17.255.255",
        "223.255.255.255",
        "2606:4700::1111",
        "64:ff9b::8.8.8.8",
        "::ffff:8.8.8.8",
    ];

    #[test]
    fn by_default_only_metadata_services_are_denied() {
        let metadata = metadata();
        for address in &metadata {
            assert_eq!(
                judge(&policy(Mode::Default), address),
                Some(PolicyRule::Metadata),
                "{address}"
            );
            assert_eq!(judge(&policy(Mode::Open), address), None, "{address}");
        }
        for address in NOT_PUBLIC.iter().chain(&PUBLIC) {
            assert_eq!(judge(&policy(Mode::Default), address), None, "{address}");
        }
    }

    #[test]
    fn a_strict_policy_dials_public_addresses_only() {
        let metadata = metadata();
        for address in &metadata {
            assert!(judge(&policy(Mode::Strict), address).is_some(), "{address}");
        }
        for address in NOT_PUBLIC {
            assert_eq!(
                judge(&policy(Mode::Strict), address),
                Some(PolicyRule::NotPublic),
                "{address}"
            );
        }
        for address in PUBLIC {
            assert_eq!(judge(&policy(Mode::Strict), address), None, "{address}");
        }
    }

    #[test]
    fn the_smallest_network_decides_and_denies_where_two_are_equal() {
        let networks = |allow: &[&str], deny: &[&str]| Policy {
            mode: Mode::Strict,
            networks: Lists {
                allow: allow.iter().map(|text| text.parse().unwrap()).collect(),
                deny: deny.iter().map(|text| text.parse().unwrap()).collect(),
            },
            ..Policy::default()
        };
        let lists = networks(
            &["10.0.0.0/8", "10.1.2.3/32", "169.254.169.254/32"],
            &["10.1.0.0/16", "8.8.8.8/32"],
        );
        assert_eq!(judge(&lists, "10.9.9.9"), None);
        assert_eq!(judge(&lists, "10.1.9.9"), Some(PolicyRule::Networks));
        assert_eq!(judge(&lists, "::ffff:10.1.9.9"), Some(PolicyRule::Networks));
        assert_eq!(judge(&lists, "10.1.2.3"), None);
        assert_eq!(judge(&lists, "169.254.169.254"), None);
        assert_eq!(judge(&lists, "8.8.8.8"), Some(PolicyRule::Networks));
        assert_eq!(judge(&lists, "1.1.1.1"), None);
        let equal = networks(&["10.0.0.0/8"], &["10.0.0.0/8"]);
        assert_eq!(judge(&equal, "10.0.0.1"), Some(PolicyRule::Networks));
        // Linux connects to loopback for these addresses.
        let no_loopback = Policy {
            mode: Mode::Default,
            ..networks(&[], &["127.0.0.0/8", "::1/128"])
        };
        for unspecified in ["0.0.0.0", "::", "::ffff:0.0.0.0"] {
            assert_eq!(
                judge(&no_loopback, unspecified),
                Some(PolicyRule::Networks),
                "{unspecified}"
            );
        }
    }

    #[test]
    fn a_question_for_a_name_goes_to_port_53_of_a_metadata_service() {
        let at = |address: &str, port| SocketAddr::new(address.parse().unwrap(), port);
        let judge = |mode, address, port, asks| policy(mode).objection(at(address, port), asks);
        let metadata = metadata();
        for address in &metadata {
            assert_eq!(judge(Mode::Default, address, 53, true), None, "{address}");
            for (port, asks) in [(53, false), (80, true), (853, true), (443, true)] {
                assert_eq!(
                    judge(Mode::Default, address, port, asks),
                    Some(PolicyRule::Metadata),
                    "{address}:{port}"
                );
            }
        }
        // A strict policy and the lists apply to name servers as well.
        assert_eq!(
            judge(Mode::Strict, "169.254.169.254", 53, true),
            Some(PolicyRule::NotPublic)
        );
        assert_eq!(judge(Mode::Strict, "168.63.129.16", 53, true), None);
        let listed = Policy {
            networks: Lists {
                deny: vec!["168.63.129.16/32".parse().unwrap()],
                ..Lists::default()
            },
            ..Policy::default()
        };
        assert_eq!(
            listed.objection(at("168.63.129.16", 53), true),
            Some(PolicyRule::Networks)
        );
    }

    #[test]
    fn ports_are_listed_in_ranges() {
        let at = |port| SocketAddr::new(IpAddr::from([1, 1, 1, 1]), port);
        let ports = |allow: &[&str], deny: &[&str]| Policy {
            ports: Lists {
                allow: allow.iter().map(|text| text.parse().unwrap()).collect(),
                deny: deny.iter().map(|text| text.parse().unwrap()).collect(),
            },
            ..Policy::default()
        };
        let some = ports(&["443", "8000-8999"], &["8080"]);
        for (port, objection) in [
            (443, None),
            (8500, None),
            (8080, Some(PolicyRule::Ports)),
            (22, Some(PolicyRule::Ports)),
        ] {
            assert_eq!(some.objection(at(port), false), objection, "{port}");
        }
        let all_but = ports(&[], &["22"]);
        assert_eq!(all_but.objection(at(22), false), Some(PolicyRule::Ports));
        assert_eq!(all_but.objection(at(80), false), None);
        for wrong in ["", "http", "70000", "9-1", "1-", "-"] {
            assert!(wrong.parse::<super::Ports>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn paths_are_listed_with_stars_for_parts_of_names() {
        let unix = |mode, allow: &[&str], deny: &[&str]| {
            let read = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
            Policy {
                mode,
                unix: Lists {
                    allow: read(allow),
                    deny: read(deny),
                },
                ..Policy::default()
            }
        };
        let judge = |policy: &Policy, path: &str| policy.objection_to_path(Path::new(path)).is_none();
        assert!(judge(&unix(Mode::Default, &[], &[]), "/run/docker.sock"));
        assert!(!judge(&unix(Mode::Strict, &[], &[]), "/run/docker.sock"));
        assert!(!judge(
            &unix(Mode::Default, &[], &["/run/docker.sock"]),
            "/run/docker.sock"
        ));
        let some = unix(Mode::Strict, &["/run/app/*.sock"], &["/run/app/b*.sock"]);
        assert!(judge(&some, "/run/app/a.sock"));
        assert!(!judge(&some, "/run/app/b1.sock"));
        assert!(!judge(&some, "/run/app/sub/a.sock"));
        assert!(!judge(&some, "/run/app/a.socket"));
        for wrong in ["run/app.sock", "/run/../app.sock", ""] {
            assert!(wrong.parse::<PathPattern>().is_err(), "{wrong}");
        }
        assert!(fits("*", "") && fits("a*b*c", "aXbYbc") && !fits("a*b", "abX"));
    }
}
