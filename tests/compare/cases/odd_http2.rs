//! http and grpc over HTTP/2: responses that are malformed by RFC 9113. Go accepts some of them.

use super::Table;
use crate::support::frames::{
    OK, body, data, end, field, fields, head, indexed, padded, pieces, plain, reset, secured,
};

/// Fields for headers and trailers: connection-specific fields of HTTP/1, and other unusual fields.
const FIELDS: &[(&str, &str)] = &[
    ("connection", "close"),
    ("connection", "keep-alive"),
    ("keep-alive", "timeout=5"),
    ("proxy-connection", "keep-alive"),
    ("transfer-encoding", "chunked"),
    ("transfer-encoding", ""),
    ("upgrade", "h2c"),
    ("te", "gzip"),
    ("te", "trailers"),
    ("http2-settings", "a"),
    ("host", "a"),
    ("trailer", "content-length"),
    ("Server", "x"),
    ("Connection", "close"),
    ("a b", "x"),
    ("server ", "x"),
    ("x@y", "z"),
    ("\"x\"", "y"),
    ("", "x"),
    ("x!#$%&'*+-.^_`|~", "y"),
    ("x", ""),
    ("x", " a\tb "),
    ("x", "a\x01b"),
    ("x", "a\nb"),
    ("x", "a\x7fb"),
    ("x", "\u{e9}"),
    ("\u{e9}", "x"),
    (":status", "200"),
    (":path", "/"),
    (":protocol", "a"),
    (":foo", "x"),
];

const LENGTHS: &[&str] = &[
    "5",
    "05",
    "00000000000000000005",
    "+5",
    "-5",
    " 5",
    "5 ",
    "0x5",
    "5, 5",
    "x",
    "",
    "0",
    "4",
    "6",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
];

const TWO_LENGTHS: &[(&str, &str)] = &[("5", "5"), ("5", "6"), ("6", "5"), ("5", "x"), ("x", "5"), ("x", "x")];

const STATUSES: &[&str] = &[
    "20", "099", "0200", "+200", "2000", "2x0", "", " 200", "101", "600", "999",
];

/// All responses, by name.
fn answers() -> Vec<(String, Vec<u8>)> {
    let kind = field("content-type", "text/plain");
    let ok = |more: &[u8]| [head(&[OK, more, &kind].concat()), body(b"hello")].concat();
    let mut answers = vec![("clean".to_owned(), ok(b""))];
    let mut add = |name: String, answer: Vec<u8>| answers.push((name, answer));
    for (name, value) in FIELDS {
        let odd = field(name, value);
        add(format!("field {name:?} {value:?}"), ok(&odd));
        let trailers = [head(&[OK, &kind].concat()), data(b"hello"), end(&odd)].concat();
        add(format!("trailer {name:?} {value:?}"), trailers);
        let early = head(&[field(":status", "103"), odd].concat());
        add(format!("early {name:?} {value:?}"), [early, ok(b"")].concat());
    }
    for value in LENGTHS {
        let length = field("content-length", value);
        add(format!("length {value:?}"), ok(&length));
        add(format!("length {value:?} alone"), end(&[OK, &length].concat()));
        let trailers = [head(OK), data(b"hello"), end(&length)].concat();
        add(format!("length {value:?} as a trailer"), trailers);
    }
    for (one, two) in TWO_LENGTHS {
        let lengths = fields(&[("content-length", one), ("content-length", two)]);
        add(format!("lengths {one:?} and {two:?}"), ok(&lengths));
    }
    for status in STATUSES {
        let answer = [head(&field(":status", status)), body(b"hello")].concat();
        add(format!("status {status:?}"), answer);
    }
    for status in ["204", "205", "304", "404"] {
        for (name, fields) in [
            ("connection", ("connection", "close")),
            ("length", ("content-length", "5")),
        ] {
            let block = [field(":status", status), field(fields.0, fields.1)].concat();
            add(format!("{status} {name}"), [head(&block), body(b"hello")].concat());
            add(format!("{status} {name} alone"), end(&block));
        }
    }
    answers.extend(incomplete());
    answers.extend(blocks(&kind));
    answers
}

/// Responses that end before their body is complete, and valid ones for comparison.
fn incomplete() -> Vec<(String, Vec<u8>)> {
    let length = |value| [OK, &field("content-length", value)].concat();
    let location = [field(":status", "302"), field("location", "/x")].concat();
    [
        (
            "a shorter body",
            [head(&length("10")), data(b"hello"), reset()].concat(),
        ),
        ("a whole body", [head(&length("5")), data(b"hello"), reset()].concat()),
        ("a body without a length", [head(OK), data(b"hello"), reset()].concat()),
        ("no body", [head(&length("10")), reset()].concat()),
        ("a head", [head(OK), reset()].concat()),
        ("the end", [head(OK), body(b"hello"), reset()].concat()),
        ("302", [head(&location), reset()].concat()),
    ]
    .map(|(name, answer)| (format!("reset after {name}"), answer))
    .into()
}

/// Header blocks in the different encodings of HPACK and of frames.
fn blocks(kind: &[u8]) -> Vec<(String, Vec<u8>)> {
    let connection = field("connection", "close");
    let block = [OK, &connection, kind].concat();
    let hello = |head: Vec<u8>| [head, body(b"hello")].concat();
    let early = [
        field(":status", "103"),
        indexed("connection", "close"),
        indexed("x-a", "b"),
    ]
    .concat();
    let many: Vec<u8> = (0..100).flat_map(|number| field("x", "y".repeat(number))).collect();
    let large = [&block[..], &field("x", "y".repeat(40_000))].concat();
    [
        ("in pieces", hello(pieces(&block, 7))),
        ("padded", hello(padded(&block, 9))),
        ("of the static table", hello(head(b"\x88\xb9"))),
        ("by a name of the static table", hello(head(b"\x88\x79\x07chunked"))),
        ("by a name of the dynamic table", {
            let again = [OK, b"\x7f\x00\x01a\xbf", kind].concat();
            [head(&early), hello(head(&again))].concat()
        }),
        (
            "of the dynamic table",
            [head(&early), hello(head(b"\x88\xbe\xbf"))].concat(),
        ),
        (
            "compressed",
            hello(head(b"\x88\x00\x87\x21\xea\xa8\xa4\x49\x8f\x57\x84\x25\x07\x41\x7f")),
        ),
        ("many", hello(head(&[&block[..], &many].concat()))),
        ("large", hello(pieces(&large, 16_384))),
        ("before the status", hello(head(&[&connection, OK].concat()))),
        ("status twice", hello(head(&[OK, OK].concat()))),
        ("status after a field", hello(head(&[kind, OK].concat()))),
        ("no status", hello(head(kind))),
        ("no HPACK", hello(head(b"\x88\xff\xff\xff"))),
        ("table of 0 bytes", hello(head(&[b"\x20", &block[..]].concat()))),
        (
            "table of 4096 bytes",
            hello(head(&[b"\x3f\xe1\x1f", &block[..]].concat())),
        ),
        (
            "table of 4097 bytes",
            hello(head(&[b"\x3f\xe2\x1f", &block[..]].concat())),
        ),
        (
            "late size of the table",
            hello(head(&[&block[..], b"\x20", kind].concat())),
        ),
    ]
    .map(|(name, answer)| (format!("block {name}"), answer))
    .into()
}

/// Successful health checks with an unusual field in the headers or trailers.
fn calls() -> Vec<(String, Vec<u8>)> {
    let kind = [OK, &field("content-type", "application/grpc")].concat();
    let serving = data(b"\0\0\0\0\x02\x08\x01");
    let mut calls = Vec::new();
    let lengths = [("content-length", "x"), ("content-length", "9")];
    for (name, value) in FIELDS.iter().chain(&lengths) {
        let odd = field(name, value);
        let done = field("grpc-status", "0");
        let in_head = [head(&[&kind[..], &odd].concat()), serving.clone(), end(&done)].concat();
        calls.push((format!("http2 field {name:?} {value:?}"), in_head));
        let in_trailers = [head(&kind), serving.clone(), end(&[done, odd].concat())].concat();
        calls.push((format!("http2 trailer {name:?} {value:?}"), in_trailers));
    }
    let cut = [head(&kind), serving, reset()].concat();
    calls.push(("http2 reset before the trailers".to_owned(), cut));
    calls
}

pub async fn add(table: &mut Table) {
    let config = table.authority.leaf("127.0.0.1").server(&["h2"]);
    let keys = format!("preferred_ip_protocol: ip4, tls_config: {{{}}}", table.trust());
    table.module("http", "odd_http2", &keys);
    // Assertions show which fields the response has.
    let seen = |name: &str| {
        format!("{keys}, fail_if_header_matches: [{{header: {name}, regexp: '^[a-z0-9=]', allow_missing: true}}]")
    };
    table.module("http", "odd_http2_seen", &seen("Connection"));
    table.module("http", "odd_http2_coding", &seen("Transfer-Encoding"));
    table.module("http", "odd_http2_length", &seen("Content-Length"));
    for (name, answer) in answers() {
        let peer = secured(config.clone(), answer).await;
        for module in ["odd_http2", "odd_http2_seen", "odd_http2_coding", "odd_http2_length"] {
            table.case("http", module, (&name, &peer.https()));
        }
        table.keep(peer);
    }
    table.module("http", "odd_http2_head", &format!("{keys}, method: HEAD"));
    let found = format!("{keys}, follow_redirects: false, valid_status_codes: [302]");
    table.module("http", "odd_http2_302", &found);
    let length = field("content-length", "5");
    let next = secured(config.clone(), [head(OK), body(b"hello")].concat()).await;
    let location = [field(":status", "302"), field("location", next.https())].concat();
    table.keep(next);
    let server = [field(":status", "503"), field("server", "nginx")].concat();
    for (name, answer) in [
        ("302 with a length", end(&[&location[..], &length].concat())),
        ("503 with a length", end(&[&server[..], &length].concat())),
        ("a body", [head(&[OK, &length].concat()), body(b"hello")].concat()),
        (
            "a longer body",
            [head(&[OK, &length].concat()), body(b"hello hello")].concat(),
        ),
        ("a reset", [head(&[OK, &length].concat()), reset()].concat()),
        ("a length", end(&[OK, &length].concat())),
    ] {
        let peer = secured(config.clone(), answer).await;
        for module in ["odd_http2", "odd_http2_302", "odd_http2_head"] {
            table.case("http", module, (&format!("end after {name}"), &peer.https()));
        }
        table.keep(peer);
    }
    for (name, answer) in calls() {
        let peer = plain(answer).await;
        table.case("grpc", "odd", (&name, &peer.address.to_string()));
        table.keep(peer);
    }
}
