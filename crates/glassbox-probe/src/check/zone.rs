//! Zones of IPv6 addresses (RFC 4007), as in `fe80::1%eth0`. A link-local address is only unique on its interface.

use super::{AddressFamily, Check, ProbeFailed, Resolver};
use glassbox_verdict::host_port::{Host, HostPort};
use glassbox_verdict::reason::Reason;
use nix::net::if_::if_nametoindex;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};

impl Check {
    /// Resolves the host of `to`, or accepts an address unchanged, and returns the address to connect to, in its zone.
    ///
    /// # Errors
    /// Fails if this host has no such zone, or if there is no address of an accepted family.
    pub async fn resolve_host_port(
        &mut self,
        resolver: &Resolver,
        to: &HostPort,
        family: AddressFamily,
    ) -> Result<SocketAddr, ProbeFailed> {
        let scope = scope_id(to.host()).map_err(|words| self.fail(Reason::LocalTargetInvalid, words))?;
        let address = self.resolve(resolver, to.host().without_zone(), family).await?;
        Ok(match (address, scope) {
            (IpAddr::V6(address), Some(scope)) => SocketAddrV6::new(address, to.port(), 0, scope).into(),
            _ => SocketAddr::new(address, to.port()),
        })
    }
}

/// The number of a host's zone, which the kernel requires (ipv6(7), `sin6_scope_id`).
fn scope_id(host: Host<'_>) -> Result<Option<u32>, String> {
    let number = host.zone().map(interface_number).transpose();
    number.map_err(|_| {
        let zone = host.zone().unwrap_or_default();
        format!("this host has no interface {zone:?} (from address {}).", host.as_str())
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
