//! Unusual behavior of servers other than HTTP: gRPC responses without a status, DNS names and texts with unusual
//! bytes, socket paths and addresses in rare notations.

use super::Table;
use crate::support::health::{answering, health, health_at, resetting, strange};
use crate::support::name_server::{NameServer, record};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};

const GRPC: (&str, &str) = ("content-type", "application/grpc");
const HTML: (&str, &str) = ("content-type", "text/html");

/// Header fields.
type Fields = &'static [(&'static str, &'static str)];

/// Responses that consist of a header block only.
const HEADS: [(&str, u16, Fields); 16] = [
    ("moved", 301, &[HTML]),
    ("bad", 400, &[HTML]),
    ("unauthorized", 401, &[HTML]),
    ("forbidden", 403, &[HTML]),
    ("not_found", 404, &[HTML]),
    ("many", 429, &[HTML]),
    ("error", 500, &[HTML]),
    ("bad_gateway", 502, &[HTML]),
    ("unavailable", 503, &[]),
    ("timeout", 504, &[HTML]),
    ("page", 200, &[HTML]),
    ("nothing", 200, &[GRPC]),
    ("no_media_type", 200, &[("grpc-status", "5")]),
    ("not_found_by_grpc", 404, &[GRPC, ("grpc-status", "5")]),
    ("no_message", 200, &[GRPC, ("grpc-status", "0")]),
    ("no_number", 200, &[GRPC, ("grpc-status", "x")]),
];

/// DNS records, and regular expressions for their text in Go's format, as written for `blackbox_exporter`.
const RECORDS: [(&str, u16, &[u8], &str); 7] = [
    ("byte", 12, b"\x03a\xffb\x04test\0", r"PTR\ta\\255b\.test\.$"),
    ("utf8", 12, b"\x03b\xc3\xbc\x04test\0", r"PTR\tb\\195\\188\.test\.$"),
    ("space", 12, b"\x0aMy Printer\x04test\0", r"PTR\tMy\\ Printer\.test\.$"),
    ("dot", 12, b"\x03a.b\x04test\0", r"PTR\ta\\\.b\.test\.$"),
    (
        "special",
        12,
        b"\x08;()@\"'\\_\x04test\0",
        r#"PTR\t\\;\\\(\\\)\\@\\"\\'\\\\_\.test\.$"#,
    ),
    (
        "text",
        16,
        b"\x05\xc3\xbc\x7f;\"\x03a\\b",
        r#"TXT\t"\\195\\188\\127;\\"" "a\\\\b"$"#,
    ),
    (
        "service",
        33,
        b"\0\x01\0\x02\0\x03\x02_a\x04test\0",
        r"SRV\t1 2 3 _a\.test\.$",
    ),
];

/// Names that are not valid host names.
const NAMES: [(&str, &str); 13] = [
    ("slash", "0/25.2.0.192.in-addr.arpa"),
    ("escaped_space", r"My\ Printer._ipp._tcp.example.test"),
    ("hyphen", "-a.example.test"),
    ("underscore", "_sip._udp.example.test"),
    ("escaped_dot", r"a\.b.example.test"),
    ("decimal", r"a\255b.example.test"),
    ("star", "*.example.test"),
    ("root", "."),
    ("two_dots", "a..b.test"),
    ("no_byte", r"a\256.test"),
    (
        "long_label",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.test",
    ),
    ("first_dot", ".a.test"),
    ("last_backslash", r"a.test\"),
];

pub async fn add(table: &mut Table) {
    grpc(table).await;
    dns(table).await;
    places(table).await;
}

/// The field of a successful call.
const OK: (&str, &str) = ("grpc-status", "0");
const NOT_FOUND: (&str, &str) = ("grpc-status", "5");

async fn grpc(table: &mut Table) {
    table.module("grpc", "odd", "preferred_ip_protocol: ip4");
    for (name, status, fields) in HEADS {
        let (peer, _) = strange(status, fields, None).await;
        table.case("grpc", "odd", (name, &peer.address.to_string()));
        table.keep(peer);
    }
    for (name, body, status) in [
        ("serving", &b"\0\0\0\0\x02\x08\x01"[..], "0"),
        ("two_messages", b"\0\0\0\0\x02\x08\x01\0\0\0\0\x02\x08\x01", "0"),
        ("compressed", b"\x01\0\0\0\x02\x08\x01", "0"),
        ("cut", b"\0\0\0\0\x02\x08", "0"),
        ("too_large", b"\0\x7f\0\0\0\x08\x01", "0"),
        ("no_protobuf", b"\0\0\0\0\x02\xff\xff", "0"),
        ("unknown_code", b"", "99"),
        ("padded_code", b"", "007"),
        ("no_trailer", b"\0\0\0\0\x02\x08\x01", ""),
        ("new_status", b"\0\0\0\0\x02\x08\x07", "0"),
    ] {
        let peer = health(body, status).await;
        table.case("grpc", "odd", (name, &peer.address.to_string()));
        table.keep(peer);
    }
    let answers: [(&str, Fields, Fields); 6] = [
        ("status_twice", &[GRPC], &[OK, NOT_FOUND]),
        ("status_twice_ok", &[GRPC], &[NOT_FOUND, OK]),
        ("status_and_none", &[GRPC], &[("grpc-status", "x"), OK]),
        ("status_in_head", &[GRPC, NOT_FOUND], &[OK]),
        ("status_in_head_ok", &[GRPC, OK], &[NOT_FOUND]),
        ("two_media_types", &[HTML, GRPC], &[OK]),
    ];
    for (name, head, trailers) in answers {
        let peer = answering(head, trailers).await;
        table.case("grpc", "odd", (name, &peer.address.to_string()));
        table.keep(peer);
    }
    for code in [0, 1, 2, 3, 7, 8, 11, 12, 13, 99] {
        let peer = resetting(code).await;
        table.case("grpc", "odd", (&format!("reset_{code}"), &peer.address.to_string()));
        table.keep(peer);
    }
    table.module("grpc", "odd_six", "");
    let six = health_at("[::1]:0").await;
    for (name, host) in [("literal", "[::1]"), ("zone", "[::1%lo]"), ("zone_number", "[::1%1]")] {
        table.case("grpc", "odd_six", (name, &format!("{host}:{}", six.port())));
    }
}

async fn dns(table: &mut Table) {
    let server = NameServer::start(|asked| {
        let found = RECORDS.iter().find(|(name, ..)| asked.name.starts_with(name));
        found.map_or_else(
            || asked.no_data(),
            |(_, kind, data, _)| asked.records(&[&record(*kind, data)]),
        )
    })
    .await;
    let at = server.address.to_string();
    for (name, kind, _, expression) in RECORDS {
        let kind = match kind {
            12 => "PTR",
            16 => "TXT",
            _ => "SRV",
        };
        let expression = expression.replace('\'', "''");
        let keys = format!(
            "preferred_ip_protocol: ip4, query_name: {name}.test, query_type: {kind}, \
             validate_answer_rrs: {{fail_if_not_matches_regexp: ['{expression}']}}"
        );
        table.module("dns", &format!("odd_{name}"), &keys);
        table.case("dns", &format!("odd_{name}"), ("server", &at));
    }
    for (name, query) in NAMES {
        let keys = format!("preferred_ip_protocol: ip4, query_name: '{query}', query_type: PTR");
        table.module("dns", &format!("odd_{name}"), &keys);
        table.case("dns", &format!("odd_{name}"), ("server", &at));
    }
    table.keep(server);
}

async fn places(table: &mut Table) {
    let listener = tokio::net::TcpListener::bind("[::]:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { while listener.accept().await.is_ok() {} });
    let targets = [
        ("mapped", format!("[::ffff:127.0.0.1]:{port}")),
        ("mapped_hex", format!("[::ffff:7f00:1]:{port}")),
        ("zone", format!("[::1%lo]:{port}")),
        ("zone_number", format!("[::1%1]:{port}")),
        ("long", format!("[0:0:0:0:0:0:0:1]:{port}")),
    ];
    for (name, keys) in [
        ("odd", ""),
        ("odd_four", "preferred_ip_protocol: ip4, ip_protocol_fallback: false"),
        ("odd_six", "preferred_ip_protocol: ip6, ip_protocol_fallback: false"),
    ] {
        table.cross("tcp", &[(name, keys)], &targets);
    }
    let echoes = [("mapped", "::ffff:127.0.0.1".to_owned()), ("zone", "::1%lo".to_owned())];
    table.cross("icmp", &[("odd", "")], &echoes);
    let name = format!("glassbox-compare-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let listener = UnixListener::bind_addr(&address).unwrap();
    let targets = [
        ("abstract", format!("@{name}")),
        ("abstract_missing", format!("@{name}-not")),
    ];
    table.cross("unix", &[("odd", "")], &targets);
    table.keep(listener);
}
