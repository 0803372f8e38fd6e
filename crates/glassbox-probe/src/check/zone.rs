//! Zones of IPv6 addresses (RFC 4007), as in `fe80::1%eth0`. A link-local address is only unique on its interface.

use super::refusal::Refusal;
use glassbox_verdict::host_port::Host;
use nix::net::if_::if_nametoindex;

/// The number of a host's zone, which the kernel requires (ipv6(7), `sin6_scope_id`).
///
/// # Errors
/// Fails if this host has no such interface.
pub(super) fn scope_id(host: Host<'_>) -> Result<Option<u32>, Refusal> {
    let number = host.zone().map(interface_number).transpose();
    number.map_err(|_| {
        let zone = host.zone().unwrap_or_default();
        Refusal::of_target(format!(
            "this host has no interface {zone:?} (from address {}).",
            host.as_str()
        ))
    })
}

/// The number of an interface, which is given by its name or number.
///
/// # Errors
/// Fails if this host has no such interface.
pub(super) fn interface_number(zone: &str) -> nix::Result<u32> {
    zone.parse().or_else(|_| if_nametoindex(zone))
}

#[cfg(test)]
mod tests {
    use super::scope_id;
    use glassbox_verdict::host_port::Host;

    #[test]
    fn a_zone_is_an_interface_of_this_host() {
        let lo = nix::net::if_::if_nametoindex("lo").unwrap();
        for (host, number) in [
            ("fe80::1%lo", Some(lo)),
            ("fe80::1%7", Some(7)),
            ("example.org", None),
            ("127.0.0.1%lo", None),
            ("a%b", None),
            ("::1", None),
        ] {
            assert_eq!(scope_id(Host::new(host)), Ok(number), "{host}");
        }
        for host in ["fe80::1%nosuch0", "fe80::1%"] {
            assert!(scope_id(Host::new(host)).is_err(), "{host}");
        }
    }
}
