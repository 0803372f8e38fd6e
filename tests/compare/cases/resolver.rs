//! Name resolution: all cases share two name servers, a search list and a hosts file. Each name describes its case.

use super::Table;
use crate::support::name_server::{Asked, Reply, record};
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use std::time::Duration;
use tokio::net::TcpListener;

/// The `resolv.conf` of both exporters.
pub const RESOLV_CONF: &str = "# two servers\nnameserver 127.0.0.153\nnameserver 127.0.0.154\n\
                               domain other.test\nsearch bad..element corp.test\noptions timeout:1 attempts:2\n";

/// The hosts file of both exporters: a comment in Latin-1, an address with several names, an address with a zone, an
/// invalid line.
pub const HOSTS: &[u8] =
    b"# caf\xe9\n127.0.0.1 localhost four.test good.test both.test # \xff\n::1 six.test both.test\n\
                           ::1%lo zoned.test\nnonsense bad-line.test\n127.0.0.1 Last.Test";

/// Responses of the first name server.
pub fn first(asked: &Asked) -> Reply {
    let name = asked.name.to_ascii_lowercase();
    match name.as_str() {
        "fails.test" | "servfail-next.test" => asked.code(ResponseCode::ServFail),
        "empty.test" | "nodata-next.test" => asked.no_data(),
        "refused-next.test" => asked.code(ResponseCode::Refused),
        "notimp-next.test" => asked.code(ResponseCode::NotImp),
        "formerr-next.test" => asked.code(ResponseCode::FormErr),
        "garbage-next.test" => asked.garbage(),
        "referral-next.test" => asked.referral(),
        "slow-first.test" => late(asked.addresses(&["127.0.0.1"])),
        "only-six.test" => asked.addresses(&["::1"]),
        "several.test" => asked.addresses(&["127.0.0.9", "127.0.0.1", "::1"]),
        "no-route.test" => asked.addresses(&["240.0.0.1", "127.0.0.1"]),
        "long.test" if !asked.tcp => asked.truncated(),
        "opt-refused.test" if asked.edns => asked.code(ResponseCode::FormErr),
        "unknown-record.test" if asked.kind == RecordType::A => {
            asked.records(&[&record(65280, b"\xff\xff"), &record(1, &[127, 0, 0, 1])])
        }
        "empty-record.test" if asked.kind == RecordType::A => {
            asked.records(&[&record(16, b""), &record(1, &[127, 0, 0, 1])])
        }
        "only-four.test"
        | "node_exporter.corp.test"
        | "_sip._udp.example.test"
        | "db_.example.test"
        | "-leading.example.test"
        | "xn--zzzz-invalid.test"
        | "long.test"
        | "opt-refused.test"
        | "trailing.test"
        | "db.corp.test"
        | "not-here.test.corp.test" => asked.addresses(&["127.0.0.1"]),
        // A wildcard that must not add addresses to those of the name itself.
        name if name.starts_with("only-") && name.ends_with(".corp.test") => asked.addresses(&["127.0.0.66", "::1"]),
        _ => asked.code(ResponseCode::NXDomain),
    }
}

/// Responses of the second name server.
pub fn second(asked: &Asked) -> Reply {
    let name = asked.name.to_ascii_lowercase();
    match name.as_str() {
        "fails.test" => asked.code(ResponseCode::ServFail),
        name if name.ends_with("-next.test") => asked.addresses(&["127.0.0.1"]),
        _ => asked.code(ResponseCode::NXDomain),
    }
}

fn late(reply: Reply) -> Reply {
    match reply {
        Reply::Bytes(bytes) => Reply::After(Duration::from_millis(30), bytes),
        other => other,
    }
}

/// Names to resolve.
const NAMES: [&str; 33] = [
    "servfail-next.test",
    "refused-next.test",
    "notimp-next.test",
    "formerr-next.test",
    "garbage-next.test",
    "referral-next.test",
    "nodata-next.test",
    "slow-first.test",
    "only-four.test",
    "only-six.test",
    "several.test",
    "no-route.test",
    "long.test",
    "opt-refused.test",
    "unknown-record.test",
    "empty-record.test",
    "node_exporter",
    "_sip._udp.example.test",
    "db_.example.test",
    "-leading.example.test",
    "xn--zzzz-invalid.test",
    "trailing.test.",
    "db",
    "not-here.test",
    "not-here.test.",
    "last.test",
    "zoned.test",
    "bad-line.test",
    "BOTH.test",
    "fails.test",
    "empty.test",
    "a..b.test",
    "localhost",
];

pub async fn add(table: &mut Table) {
    // Accepts IPv4 and IPv6.
    let listener = TcpListener::bind("[::]:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { while listener.accept().await.is_ok() {} });
    let targets: Vec<_> = NAMES.iter().map(|name| (*name, format!("{name}:{port}"))).collect();
    let long = format!("{}.test", "a".repeat(64));
    let targets: Vec<_> = targets
        .into_iter()
        .chain([("long_label", format!("{long}:{port}"))])
        .collect();
    for (name, keys) in [
        ("four", "preferred_ip_protocol: ip4"),
        ("six", "preferred_ip_protocol: ip6"),
        ("only_four", "preferred_ip_protocol: ip4, ip_protocol_fallback: false"),
        ("only_six", "preferred_ip_protocol: ip6, ip_protocol_fallback: false"),
    ] {
        table.module_within("tcp", &format!("resolver_{name}"), "6s", keys);
        for (target, url) in &targets {
            table.case("tcp", &format!("resolver_{name}"), (target, url));
        }
    }
}
