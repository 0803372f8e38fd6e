//! The policy: which places this process may dial. The judgment is on the address that is connected to, never on its spelling.

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

/// A network as addresses are judged: of mapped addresses (RFC 4291 section 2.5.5.2) it is that of IPv4.
///
/// # Errors
/// When it is wider than these.
pub fn in_one_spelling(network: IpNet) -> Result<IpNet, String> {
    let (IpNet::V6(mapped), IpAddr::V4(address)) = (network, network.addr().to_canonical()) else {
        return Ok(network);
    };
    let length = mapped.prefix_len().checked_sub(96);
    let ipv4 = length.and_then(|length| Ipv4Net::new(address, length).ok());
    ipv4.map(IpNet::V4)
        .ok_or_else(|| format!("{network} is wider than what stands for IPv4, ::ffff:0:0/96; write 0.0.0.0/0"))
}

/// The metadata services of clouds that are denied by default: product, addresses, and who publishes them.
pub fn metadata_services() -> impl Iterator<Item = (&'static str, String, &'static str)> {
    metadata::rows()
}

/// The port of name servers (RFC 1035 section 4.2).
const DNS_PORT: u16 = 53;

/// What holds where no list says anything of a place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Everything but the metadata services of clouds and this exporter itself.
    #[default]
    Default,
    /// Public addresses only, and no sockets in the file system.
    Strict,
    /// Everything, as with the peer.
    Open,
}

/// Entries that allow, and entries that deny.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lists<T> {
    /// What is allowed.
    pub allow: Vec<T>,
    /// What is denied.
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
    /// What holds where the lists say nothing.
    pub mode: Mode,
    /// Of the networks that hold an address the smallest decides; of two equal ones, that which denies.
    pub networks: Lists<IpNet>,
    /// Where some are allowed, all others are denied.
    pub ports: Lists<Ports>,
    /// Where some are allowed, all others are denied.
    pub unix: Lists<PathPattern>,
}

/// Why a place is not dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PolicyRule {
    /// A list of networks.
    Networks,
    /// A list of ports.
    Ports,
    /// A list of paths, or the mode `strict`.
    Unix,
    /// It is a metadata service.
    Metadata,
    /// It is this exporter.
    Itself,
    /// It is not public, and the mode is `strict`.
    NotPublic,
    /// The module is not for this target.
    AllowedTargets,
}

impl PolicyRule {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Networks,
        Self::Ports,
        Self::Unix,
        Self::Metadata,
        Self::Itself,
        Self::NotPublic,
        Self::AllowedTargets,
    ];

    /// The value of the label `rule`.
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

    /// Why, and what would change it: a clause that can follow "is not dialled: ".
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Networks => "policy.networks denies it",
            Self::Ports => "policy.ports denies it",
            Self::Unix => "policy.unix does not allow it",
            Self::Metadata => "it is a cloud's metadata service; policy.networks.allow may name it",
            Self::Itself => "it is this exporter itself, of which only /-/healthy, /-/ready and /metrics are probed",
            Self::NotPublic => {
                "it is not a public address, and the policy is strict; policy.networks.allow may name it"
            }
            Self::AllowedTargets => "the module's allowed_targets do not name it",
        }
    }
}

impl Policy {
    /// Why an address and port may not be dialled. Whether it is one of this exporter's own is known elsewhere. Clouds have name
    /// servers at the addresses of their metadata services: port 53 there is open to a question for a name.
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

    /// Why an address may not be dialled, whatever the port.
    #[must_use]
    pub fn objection_to_address(&self, address: IpAddr) -> Option<PolicyRule> {
        self.objection_to_reading(address, false)
    }

    fn objection_to_reading(&self, address: IpAddr, asks_name_server: bool) -> Option<PolicyRule> {
        // What leads to an IPv4 address by another name is judged as both.
        let seen = special::readings(address);
        seen.iter().find_map(|address| match self.listed(*address) {
            Some(true) => None,
            Some(false) => Some(PolicyRule::Networks),
            None => self.objection_of_mode(*address, asks_name_server),
        })
    }

    /// Whether this exporter may not be dialled by itself.
    #[must_use]
    pub const fn denies_itself(&self) -> bool {
        !matches!(self.mode, Mode::Open)
    }

    /// What the lists say of an address: the smallest network that holds it.
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

    /// Whether every path may be dialled.
    #[must_use]
    pub fn takes_any_path(&self) -> bool {
        self.mode != Mode::Strict && self.unix == Lists::default()
    }

    /// Why a socket in the file system may not be dialled, by its path without links.
    #[must_use]
    pub fn objection_to_path(&self, path: &Path) -> Option<PolicyRule> {
        let fits = |patterns: &[PathPattern]| patterns.iter().any(|pattern| pattern.fits(path));
        let by_default = self.unix.allow.is_empty() && self.mode != Mode::Strict;
        let allowed = !fits(&self.unix.deny) && (by_default || fits(&self.unix.allow));
        (!allowed).then_some(PolicyRule::Unix)
    }
}

/// A port, or a range of them, as `8000-8999`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ports(RangeInclusive<u16>);

impl FromStr for Ports {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        match (first.trim().parse(), last.trim().parse()) {
            (Ok(first), Ok(last)) if first <= last => Ok(Self(first..=last)),
            _ => Err(format!(
                "{text:?} is no port; write one such as 443, or a range such as 8000-8999"
            )),
        }
    }
}

/// A path of sockets, absolute, or the name of an abstract socket, such as `@app`; a `*` stands for any part of one name.
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
                "{text:?} is no path of sockets; write one such as /run/app.sock or /run/app/*.sock"
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

/// Whether a name is what a pattern with stars stands for.
fn fits(pattern: &str, name: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let Some(name) = name.strip_prefix(start) else {
        return false;
    };
    (0..=name.len()).any(|at| name.get(at..).is_some_and(|name| fits(rest, name)))
}

/// A place that was not dialled, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} is not dialled: {}", .rule.words())]
pub struct Denied {
    /// The place.
    pub what: String,
    /// Why.
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

    /// The metadata services, and IPv6 addresses that lead to one.
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

    /// Nobody on the internet has these.
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
        // Linux connects to loopback.
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
        // A strict policy and the lists hold for name servers, too.
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
