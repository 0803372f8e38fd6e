//! Special-purpose addresses: those that are not routed on the internet, and IPv6 addresses that embed an IPv4 address.

use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

/// Networks that are routed on the internet, except the parts in [`NOT_PUBLIC`].
const PUBLIC: [&str; 5] = [
    "0.0.0.0/0",
    "2000::/3",
    // Anycast for PCP (RFC 7723) and TURN (RFC 8155).
    "192.0.0.9/32",
    "192.0.0.10/32",
    // An address that embeds an IPv4 address (RFC 6052 section 2.1) is also checked as the IPv4 address.
    "64:ff9b::/96",
];

/// Networks that are not routed on the internet: IANA's registries of special-purpose addresses (RFC 6890).
const NOT_PUBLIC: [&str; 20] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
    // Protocol assignments including Teredo (RFC 2928), documentation, 6to4, documentation (RFC 9637).
    "2001::/23",
    "2001:db8::/32",
    "2002::/16",
    "3fff::/20",
    "::/0",
];

static TABLES: LazyLock<[Vec<IpNet>; 2]> = LazyLock::new(|| {
    let read = |table: &[&str]| {
        let networks = table.iter().map(|text| text.parse());
        networks.collect::<Result<_, _>>().expect("the tables are valid")
    };
    [read(&PUBLIC), read(&NOT_PUBLIC)]
});

/// Whether the address is routed on the internet.
pub(super) fn is_public(address: IpAddr) -> bool {
    let [public, not_public] = &*TABLES;
    smallest(public, address) > smallest(not_public, address)
}

/// Returns the prefix length of the most specific network that contains an address.
pub(super) fn smallest(networks: &[IpNet], address: IpAddr) -> Option<u8> {
    let held = networks.iter().filter(|network| network.contains(&address));
    held.map(IpNet::prefix_len).max()
}

/// Returns an address and the IPv4 addresses that it embeds: mapped, compatible (RFC 4291 section 2.5.5), translated
/// (RFC 7915), NAT64 (RFC 6052, RFC 8215), 6to4 (RFC 3056), Teredo (RFC 4380, which inverts the bits of the client's
/// address).
pub(super) fn readings(address: IpAddr) -> Vec<IpAddr> {
    let v6 = match address {
        // Linux connects to the loopback address instead of the unspecified address.
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => return vec![address, Ipv4Addr::LOCALHOST.into()],
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => return vec![address, Ipv6Addr::LOCALHOST.into()],
        IpAddr::V4(_) => return vec![address],
        IpAddr::V6(v6) => v6,
    };
    let v4 = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        IpAddr::from([a, b, c, d])
    };
    match v6.segments() {
        // The kernel connects to the mapped IPv4 address.
        [0, 0, 0, 0, 0, 0xffff, high, low] => readings(v4(high, low)),
        [0, 0, 0, 0, 0, 0, 0, _] => vec![address],
        [0, 0, 0, 0, 0 | 0xffff, 0, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => {
            vec![address, v4(high, low)]
        }
        // In local-use NAT64 networks, the position of the IPv4 address depends on the prefix length. Two positions are
        // possible here.
        [0x64, 0xff9b, 1, high, middle, low, last, end] => {
            let split = (middle & 0xff) << 8 | low >> 8;
            vec![address, v4(last, end), v4(high, split)]
        }
        [0x2001, 0, high, low, _, _, client, end] => vec![address, v4(high, low), v4(!client, !end)],
        _ => vec![address],
    }
}
