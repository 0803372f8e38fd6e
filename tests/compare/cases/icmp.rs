//! icmp: loopback of both families.

use super::Table;

pub fn add(table: &mut Table) {
    let targets = [
        ("ip4", "127.0.0.1".to_owned()),
        ("ip6", "::1".to_owned()),
        ("name", "both.test".to_owned()),
        ("unknown", "unknown.test".to_owned()),
    ];
    table.cross(
        "icmp",
        &[
            ("default", ""),
            ("ip4", "preferred_ip_protocol: ip4, ip_protocol_fallback: false"),
            ("ip6", "preferred_ip_protocol: ip6, ip_protocol_fallback: false"),
            ("large", "payload_size: 1400"),
            ("ttl", "ttl: 5"),
            ("whole", "preferred_ip_protocol: ip4, dont_fragment: true"),
            ("source", "preferred_ip_protocol: ip4, source_ip_address: 127.0.0.1"),
        ],
        &targets,
    );
}
