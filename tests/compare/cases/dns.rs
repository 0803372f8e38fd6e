//! dns: Unbound, and a name server with unusual responses.

use super::Table;
use crate::support::dns::{DnsServer, Says};
use crate::support::process::free_port;
use crate::support::unbound::Unbound;
use hickory_proto::op::ResponseCode;

pub async fn add(table: &mut Table) {
    let unbound = Unbound::start(&table.authority).await;
    let failing = DnsServer::always(Says::Code(ResponseCode::ServFail)).await;
    let garbage = DnsServer::always(Says::Garbage).await;
    let plain = [
        ("unbound", format!("127.0.0.1:{}", unbound.plain)),
        ("failing", failing.address.to_string()),
        ("garbage", garbage.address.to_string()),
        ("nobody", format!("127.0.0.1:{}", free_port())),
        ("unknown", "unknown.test".to_owned()),
    ];
    table.cross(
        "dns",
        &[
            ("a", "query_name: www.example.test, query_type: A"),
            ("any", "query_name: example.test"),
            ("soa", "query_name: example.test, query_type: SOA, preferred_ip_protocol: ip4"),
            ("mx", "query_name: example.test, query_type: MX, validate_answer_rrs: {fail_if_not_matches_regexp: ['MX\\t10 mail[.]']}"),
            ("nxdomain", "query_name: none.example.test, query_type: A"),
            ("nxdomain_valid", "query_name: none.example.test, query_type: A, valid_rcodes: [NXDOMAIN]"),
            ("refused_zone", "query_name: other.test, query_type: A, valid_rcodes: [REFUSED, SERVFAIL]"),
            ("matches", "query_name: www.example.test, query_type: A, validate_answer_rrs: {fail_if_matches_regexp: ['192[.]0[.]2[.]2']}"),
            (
                "all_match",
                "query_name: www.example.test, query_type: A, validate_answer_rrs: {fail_if_all_match_regexp: ['192[.]0']}",
            ),
            (
                "none_matches",
                "query_name: www.example.test, query_type: A, validate_answer_rrs: {fail_if_none_matches_regexp: ['192[.]0[.]2[.]1$']}",
            ),
            (
                "authority",
                "query_name: none.example.test, query_type: A, valid_rcodes: [NXDOMAIN], validate_authority_rrs: {fail_if_not_matches_regexp: [SOA]}",
            ),
            ("caa", "query_name: example.test, query_type: CAA"),
            ("not_recursive", "query_name: www.example.test, query_type: A, recursion_desired: false"),
            ("chaos", "query_name: version.bind, query_type: TXT, query_class: CH, valid_rcodes: [NOERROR, REFUSED, SERVFAIL]"),
            ("tcp", "query_name: www.example.test, query_type: A, transport_protocol: tcp"),
            ("large_tcp", "query_name: large.example.test, query_type: TXT, transport_protocol: tcp"),
            ("large_udp", "query_name: large.example.test, query_type: TXT"),
        ],
        &plain,
    );
    let trust = table.trust();
    let over_tls = format!(
        "query_name: www.example.test, query_type: A, transport_protocol: tcp, dns_over_tls: true, tls_config: {{{trust}}}"
    );
    let untrusted = "query_name: www.example.test, query_type: A, transport_protocol: tcp, dns_over_tls: true";
    let targets = [("unbound", format!("127.0.0.1:{}", unbound.tls))];
    table.cross("dns", &[("tls", &over_tls), ("tls_untrusted", untrusted)], &targets);
    table.keep((unbound, failing, garbage));
}
