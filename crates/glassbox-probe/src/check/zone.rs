//! Zones of IPv6 addresses (RFC 4007), as in `fe80::1%eth0`. A link-local address is only unique on its interface.

use nix::net::if_::if_nametoindex;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};

/// The zone of an address: its original text, and the number that the kernel requires (ipv6(7), `sin6_scope_id`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    /// The original text: the name or number of an interface.
    pub name: String,
    /// The number of the interface.
    pub id: u32,
}

/// Splits an address into the address and its zone. A text that is not an IPv6 address with a zone is returned
/// unchanged.
///
/// # Errors
/// Fails if this host has no such interface.
pub fn split_zone(host: &str) -> Result<(&str, Option<Zone>), String> {
    let Some((address, name)) = host.split_once('%') else {
        return Ok((host, None));
    };
    if address.parse::<Ipv6Addr>().is_err() {
        return Ok((host, None));
    }
    let id = name.parse().or_else(|_| if_nametoindex(name));
    let id = id.map_err(|_| format!("this host has no interface {name:?} (from address {host})"))?;
    let name = name.to_owned();
    Ok((address, Some(Zone { name, id })))
}

/// The socket address to connect to, with the address in its zone.
#[must_use]
pub fn in_zone(address: IpAddr, port: u16, zone: Option<&Zone>) -> SocketAddr {
    match (address, zone) {
        (IpAddr::V6(address), Some(zone)) => SocketAddrV6::new(address, port, 0, zone.id).into(),
        _ => SocketAddr::new(address, port),
    }
}

#[cfg(test)]
mod tests {
    use super::{in_zone, split_zone};
    use std::net::SocketAddr;

    #[test]
    fn a_zone_is_an_interface_of_this_host() {
        let (address, zone) = split_zone("fe80::1%lo").unwrap();
        let lo = nix::net::if_::if_nametoindex("lo").unwrap();
        assert_eq!((address, zone.as_ref().unwrap().id), ("fe80::1", lo));
        let SocketAddr::V6(to) = in_zone(address.parse().unwrap(), 80, zone.as_ref()) else {
            panic!("not IPv6");
        };
        assert_eq!((to.port(), to.scope_id()), (80, lo));
        assert_eq!(split_zone("fe80::1%7").unwrap().1.unwrap().id, 7);
        assert!(split_zone("fe80::1%nosuch0").is_err());
        assert!(split_zone("fe80::1%").is_err());
    }

    #[test]
    fn what_is_no_address_of_ipv6_has_no_zone() {
        for host in ["example.org", "127.0.0.1%lo", "a%b", "::1"] {
            assert_eq!(split_zone(host), Ok((host, None)));
        }
    }
}
