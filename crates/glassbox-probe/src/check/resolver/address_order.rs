//! Sorts the addresses of a name (RFC 6724 section 6) like Go's resolver: rules 1, 2, 5, 6, 8 and 9. Rule 9 applies to
//! IPv6 only.

use crate::check::dial::source_address;
use std::cmp::Ordering;
use std::net::{IpAddr, Ipv6Addr};

/// Maximum number of addresses to sort. Each requires a socket. A longer list keeps the server's order.
const MOST_SORTED: usize = 64;

/// Sorts the addresses by preference for this host. Addresses of equal preference keep their order.
pub(super) fn sort(addresses: &mut Vec<IpAddr>) {
    if !(2..=MOST_SORTED).contains(&addresses.len()) {
        return;
    }
    let mut with_sources: Vec<(IpAddr, Option<IpAddr>)> = addresses
        .iter()
        .map(|address| (*address, source_address(*address).ok()))
        .collect();
    with_sources.sort_by(|one, other| compare(*one, *other));
    *addresses = with_sources.into_iter().map(|(address, _)| address).collect();
}

fn compare((one, from_one): (IpAddr, Option<IpAddr>), (other, from_other): (IpAddr, Option<IpAddr>)) -> Ordering {
    let (from_one, from_other) = match (from_one, from_other) {
        (None, None) => return Ordering::Equal,
        // Rule 1: avoid unusable destinations.
        (Some(_), None) => return Ordering::Less,
        (None, Some(_)) => return Ordering::Greater,
        (Some(from_one), Some(from_other)) => (from_one, from_other),
    };
    let first = |better_one: bool, better_other: bool| better_other.cmp(&better_one);
    // Rule 2: prefer matching scope.
    first(scope(one) == scope(from_one), scope(other) == scope(from_other))
        // Rule 5: prefer matching label.
        .then_with(|| first(label(one) == label(from_one), label(other) == label(from_other)))
        // Rule 6: prefer higher precedence.
        .then_with(|| precedence(other).cmp(&precedence(one)))
        // Rule 8: prefer smaller scope.
        .then_with(|| scope(one).cmp(&scope(other)))
        // Rule 9: prefer the longest matching prefix.
        .then_with(|| match (one, other) {
            (IpAddr::V6(one), IpAddr::V6(other)) => common_prefix(other, from_other).cmp(&common_prefix(one, from_one)),
            _ => Ordering::Equal,
        })
}

/// The scope of an address (RFC 6724 section 3.1), with the numbers of RFC 4291 section 2.7.
fn scope(address: IpAddr) -> u8 {
    const LINK_LOCAL: u8 = 0x2;
    const SITE_LOCAL: u8 = 0x5;
    const GLOBAL: u8 = 0xe;
    match address {
        IpAddr::V4(address) if address.is_loopback() || address.is_link_local() => LINK_LOCAL,
        IpAddr::V6(address) if address.is_loopback() || address.is_unicast_link_local() => LINK_LOCAL,
        IpAddr::V6(address) if address.is_multicast() => address.octets()[1] & 0xf,
        IpAddr::V6(address) if address.segments()[0] & 0xffc0 == 0xfec0 => SITE_LOCAL,
        _ => GLOBAL,
    }
}

/// The default policy table (RFC 6724 section 2.1): prefix, its length, precedence, label.
const POLICY: [(Ipv6Addr, u32, u8, u8); 9] = [
    (Ipv6Addr::LOCALHOST, 128, 50, 0),
    (Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96, 35, 4),
    (Ipv6Addr::UNSPECIFIED, 96, 1, 3),
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 32, 5, 5),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16, 30, 2),
    (Ipv6Addr::new(0x3ffe, 0, 0, 0, 0, 0, 0, 0), 16, 1, 12),
    (Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0), 10, 1, 11),
    (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7, 3, 13),
    (Ipv6Addr::UNSPECIFIED, 0, 40, 1),
];

fn policy(address: IpAddr) -> (u8, u8) {
    let mapped = match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    };
    let row = POLICY
        .iter()
        .find(|(prefix, length, ..)| same_bits(*prefix, mapped) >= *length);
    row.map_or((0, 0), |(_, _, precedence, label)| (*precedence, *label))
}

fn precedence(address: IpAddr) -> u8 {
    policy(address).0
}

fn label(address: IpAddr) -> u8 {
    policy(address).1
}

/// Number of leading bits that two addresses share.
fn same_bits(one: Ipv6Addr, other: Ipv6Addr) -> u32 {
    (one.to_bits() ^ other.to_bits()).leading_zeros()
}

/// Number of bits that an address shares with its source, without the interface identifier.
fn common_prefix(address: Ipv6Addr, source: IpAddr) -> u32 {
    match source {
        IpAddr::V6(source) => same_bits(address, source).min(64),
        IpAddr::V4(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::{compare, sort};
    use std::cmp::Ordering;
    use std::net::IpAddr;

    fn sorted(addresses: &[(&str, &str)]) -> Vec<String> {
        let mut addresses: Vec<(IpAddr, Option<IpAddr>)> = addresses
            .iter()
            .map(|(address, source)| (address.parse().unwrap(), source.parse().ok()))
            .collect();
        addresses.sort_by(|one, other| compare(*one, *other));
        addresses.iter().map(|(address, _)| address.to_string()).collect()
    }

    /// Examples of RFC 6724 section 10.2 that depend only on the implemented rules.
    #[test]
    fn examples_of_the_standard() {
        for (addresses, first) in [
            (
                [("2001:db8:1::1", "2001:db8:1::2"), ("198.51.100.121", "169.254.13.78")],
                "2001:db8:1::1",
            ),
            (
                [("2001:db8:1::1", "fe80::1"), ("198.51.100.121", "198.51.100.117")],
                "198.51.100.121",
            ),
            (
                [("2001:db8:1::1", "2001:db8:1::2"), ("10.1.2.3", "10.1.2.4")],
                "2001:db8:1::1",
            ),
            ([("2001:db8:1::1", "2001:db8:1::2"), ("fe80::1", "fe80::2")], "fe80::1"),
            (
                [
                    ("2001:db8:3ffe::1", "2001:db8:3f44::2"),
                    ("2001:db8:1::1", "2001:db8:1::2"),
                ],
                "2001:db8:1::1",
            ),
            (
                [
                    ("2002:c633:6401::1", "2002:c633:6401::2"),
                    ("2001:db8:1::1", "2002:c633:6401::2"),
                ],
                "2002:c633:6401::1",
            ),
            ([("fec0::1", "2001:db8::2"), ("2001:db8:1::1", "none")], "fec0::1"),
        ] {
            assert_eq!(sorted(&addresses)[0], first, "{addresses:?}");
            let [one, other] = addresses;
            assert_eq!(sorted(&[other, one])[0], first, "{addresses:?}, the other way round");
        }
    }

    #[test]
    fn addresses_that_are_alike_keep_their_order() {
        let alike = [
            ("192.0.2.9", "192.0.2.1"),
            ("192.0.2.2", "192.0.2.1"),
            ("192.0.2.5", "192.0.2.1"),
        ];
        assert_eq!(sorted(&alike), ["192.0.2.9", "192.0.2.2", "192.0.2.5"]);
        let address = "192.0.2.1".parse().unwrap();
        assert_eq!(compare((address, None), (address, None)), Ordering::Equal);
    }

    #[test]
    fn loopback_is_sorted_with_real_sources() {
        let mut addresses: Vec<IpAddr> = ["127.0.0.2", "::1", "127.0.0.1"]
            .map(|text| text.parse().unwrap())
            .into();
        sort(&mut addresses);
        assert_eq!(addresses[0].to_string(), "::1");
        assert_eq!(addresses[1].to_string(), "127.0.0.2");
    }
}
