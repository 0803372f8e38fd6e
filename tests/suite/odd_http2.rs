//! Unusual HTTP/2 responses of real servers and old gateways. Each is accepted or rejected as in `blackbox_exporter`,
//! and the evidence lists its deviations from the standard. Each row has neighbors that differ in one detail.

use crate::support::exporter::{Exporter, Probed};
use crate::support::frames::{
    OK, body, closing, data, dripping, end, field, fields, head, indexed, padded, pieces, plain, reset, secured,
};
use crate::support::peer::Peer;
use crate::support::pki::Authority;
use rustls::ServerConfig;
use serde_json::json;
use std::sync::Arc;

fn modules(authority: &Authority) -> String {
    let tls = format!("tls_config: {{ca_file: {}}}", authority.ca_file.display());
    format!(
        "modules:
  m: {{prober: http, timeout: 5s, http: {{{tls}, fail_if_body_not_matches_regexp: ['^hello$']}}}}
  small: {{prober: http, timeout: 5s, http: {{{tls}}}}}
  head: {{prober: http, timeout: 5s, http: {{{tls}, method: HEAD}}}}
  found: {{prober: http, timeout: 5s, http: {{{tls}, follow_redirects: false, valid_status_codes: [302]}}}}
  unchanged: {{prober: http, timeout: 5s, http: {{{tls}, valid_status_codes: [304]}}}}
  grpc: {{prober: grpc, timeout: 5s, grpc: {{preferred_ip_protocol: ip4}}}}
"
    )
}

struct World {
    exporter: Exporter,
    config: Arc<ServerConfig>,
    _authority: Authority,
}

impl World {
    async fn start() -> Self {
        let authority = Authority::new();
        Self {
            exporter: Exporter::start(&modules(&authority)).await,
            config: authority.leaf("127.0.0.1").server(&["h2"]),
            _authority: authority,
        }
    }

    async fn answers(&self, frames: Vec<u8>) -> Peer {
        secured(self.config.clone(), frames).await
    }

    /// Probes a server that responds with these frames.
    async fn probe(&self, frames: Vec<u8>) -> Probed {
        let peer = self.answers(frames).await;
        self.exporter.probe("m", &peer.https()).await
    }
}

/// A response with additional fields.
fn with(more: &[u8]) -> Vec<u8> {
    [head(&[OK, more].concat()), body(b"hello")].concat()
}

/// A response with trailers.
fn ending(trailers: &[u8]) -> Vec<u8> {
    [head(OK), data(b"hello"), end(trailers)].concat()
}

/// The field names of the response in the evidence.
fn names(probed: &Probed) -> Vec<&str> {
    let headers = probed.evidence["target"]["exchanges"][0]["reply"]["headers"]
        .as_array()
        .unwrap();
    headers.iter().map(|field| field["name"].as_str().unwrap()).collect()
}

fn deviations(probed: &Probed) -> &serde_json::Value {
    &probed.evidence["target"]["exchanges"][0]["reply"]["deviations"]
}

#[tokio::test(flavor = "multi_thread")]
async fn http1_connection_fields_are_accepted_as_deviations() {
    let world = World::start().await;
    let of_connection = [
        "connection",
        "keep-alive",
        "proxy-connection",
        "transfer-encoding",
        "upgrade",
        "te",
    ];
    for name in of_connection {
        let odd = fields(&[(name, "x"), ("server", "s"), (name, "y")]);
        let early = [head(&[field(":status", "103"), odd.clone()].concat()), with(b"")].concat();
        for (frames, shown) in [
            (with(&odd), vec!["server", name, name]),
            (ending(&odd), vec![]),
            (early, vec![]),
        ] {
            let probed = world.probe(frames).await;
            assert_eq!(probed.page.value("probe_success"), 1.0, "{name}: {:#}", probed.evidence);
            assert_eq!(deviations(&probed), &json!(["connection_specific_field"]), "{name}");
            let mut found = names(&probed);
            found.sort_by_key(|found| *found == name);
            assert_eq!(found, shown, "{name}");
        }
    }
    // Similar names that stay as written.
    for name in [
        "noitcennoc",
        "et",
        "x-connection",
        "trailer",
        "http2-settings",
        "connectio",
    ] {
        for frames in [with(&field(name, "close")), ending(&field(name, "close"))] {
            let probed = world.probe(frames.clone()).await;
            assert_eq!(probed.page.value("probe_success"), 1.0, "{name}");
            assert_eq!(deviations(&probed), &json!([]), "{name}");
            if frames == with(&field(name, "close")) {
                assert_eq!(names(&probed), [name]);
            }
        }
    }
}

/// All encodings of a header block give the same response.
#[tokio::test(flavor = "multi_thread")]
async fn a_header_block_is_read_in_every_encoding() {
    let world = World::start().await;
    let block = [OK, &fields(&[("connection", "close"), ("x-a", "b")])].concat();
    let early = [
        field(":status", "103"),
        indexed("connection", "close"),
        indexed("x-a", "b"),
    ]
    .concat();
    let compressed = b"\x88\x40\x87\x21\xea\xa8\xa4\x49\x8f\x57\x84\x25\x07\x41\x7f\x40\x03x-a\x01b";
    for (name, frames) in [
        ("one frame", head(&block)),
        ("pieces of one byte", pieces(&block, 1)),
        ("pieces", pieces(&block, 9)),
        ("padding and priority", padded(&block, 20)),
        ("Huffman", head(compressed)),
        ("the dynamic table", [head(&early), head(b"\x88\xbf\xbe")].concat()),
        (
            "names of the dynamic table",
            [head(&early), head(b"\x88\x0f\x30\x05close\x0f\x2f\x01b")].concat(),
        ),
        ("a table of another size", head(&[b"\x3f\x20", &block[..]].concat())),
    ] {
        let frames = [frames, body(b"hello")].concat();
        let drips = dripping(world.config.clone(), frames.clone()).await;
        let at_once = world.answers(frames).await;
        for peer in [at_once, drips] {
            let probed = world.exporter.probe("m", &peer.https()).await;
            assert_eq!(probed.page.value("probe_success"), 1.0, "{name}: {:#}", probed.evidence);
            assert_eq!(deviations(&probed), &json!(["connection_specific_field"]), "{name}");
            let mut found = names(&probed);
            found.sort_unstable();
            assert_eq!(found, ["connection", "x-a"], "{name}");
        }
    }
}

/// Content-Length fields, the length that Go reports, and the deviations.
type Length = (&'static [(&'static str, &'static str)], f64, &'static [&'static str]);

const LENGTHS: &[Length] = &[
    (&[("content-length", "5")], 5.0, &[]),
    (&[("content-length", "05")], 5.0, &[]),
    (&[("content-length", "+5")], -1.0, &["invalid_content_length"]),
    (&[("content-length", "")], -1.0, &["empty_content_length"]),
    (
        &[("content-length", "9223372036854775808")],
        -1.0,
        &["invalid_content_length"],
    ),
    (
        &[("content-length", "5"), ("content-length", "5")],
        -1.0,
        &["repeated_content_length"],
    ),
    (
        &[("content-length", "5"), ("content-length", "6")],
        -1.0,
        &["conflicting_content_length"],
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn content_length_is_parsed_as_in_go() {
    let world = World::start().await;
    for (pairs, length, found) in LENGTHS {
        let probed = world.probe(with(&fields(pairs))).await;
        assert_eq!(
            probed.page.value("probe_success"),
            1.0,
            "{pairs:?}: {:#}",
            probed.evidence
        );
        assert_eq!(probed.page.value("probe_http_content_length"), *length, "{pairs:?}");
        assert_eq!(deviations(&probed), &json!(found), "{pairs:?}");
        assert_eq!(names(&probed), vec!["content-length"; pairs.len()]);
    }
    // An invalid field does not limit the body, a valid one does.
    let probed = world.probe(with(&field("content-length", "6"))).await;
    assert_eq!(probed.page.value("probe_success"), 0.0);
    let peer = world.answers(end(&[OK, &field("content-length", "x")].concat())).await;
    let probed = world.exporter.probe("small", &peer.https()).await;
    assert_eq!(probed.page.value("probe_success"), 1.0);
    assert_eq!(probed.page.value("probe_http_content_length"), -1.0);
    let trailers = world.probe(ending(&field("content-length", "x"))).await;
    assert_eq!(deviations(&trailers), &json!(["framing_field_in_trailers"]));
}

/// A response that Go rejects fails, and the verdict has the cause, not only a closed HTTP/2 stream.
#[tokio::test(flavor = "multi_thread")]
async fn responses_that_go_rejects_fail_with_the_cause() {
    let world = World::start().await;
    let connection = field("connection", "close");
    for (frames, cause) in [
        (
            with(&field("Server", "x")),
            "An HTTP/2 field name contains an upper-case letter: \"Server\".",
        ),
        (
            with(&field("a b", "x")),
            "A field name is empty or contains an invalid character: \"a b\".",
        ),
        (
            with(&field("\"x\"", "x")),
            "A field name is empty or contains an invalid character: \"\\\"x\\\"\".",
        ),
        (
            with(&field("x", "a\x01b")),
            "A field value contains a control character: \"x\".",
        ),
        (
            with(&field(":path", "/")),
            "A pseudo-header field is missing, repeated, misplaced or invalid: \":path\".",
        ),
        (
            with(OK),
            "A pseudo-header field is missing, repeated, misplaced or invalid: \":status\".",
        ),
        (
            [head(&[&connection, OK].concat()), body(b"hello")].concat(),
            "A pseudo-header field is missing, repeated, misplaced or invalid: \":status\".",
        ),
        (
            [head(&connection), body(b"hello")].concat(),
            "A pseudo-header field is missing, repeated, misplaced or invalid: \":status\".",
        ),
        (
            ending(OK),
            "A pseudo-header field is missing, repeated, misplaced or invalid: \":status\".",
        ),
        (
            ending(&field("X", "y")),
            "An HTTP/2 field name contains an upper-case letter: \"X\".",
        ),
    ] {
        let probed = world.probe(frames).await;
        let fault = &probed.evidence["target"]["fault"];
        assert_eq!(probed.page.value("probe_success"), 0.0, "{cause}");
        assert_eq!(fault["reason"], "http.response.invalid", "{fault:#}");
        let detail = fault["detail"].as_str().unwrap();
        assert!(detail.ends_with(cause), "{detail:?} for {cause:?}");
    }
}

/// Invalid, truncated and too long blocks are passed to the library unchanged, which rejects them.
#[tokio::test(flavor = "multi_thread")]
async fn unreadable_blocks_are_left_to_the_library() {
    let world = World::start().await;
    let block = [OK, &field("connection", "close")].concat();
    let long = [&block[..], &field("x", "y".repeat(300_000))].concat();
    for (frames, reason) in [
        (
            [head(b"\x88\xff\xff\xff"), body(b"hello")].concat(),
            "http.response.invalid",
        ),
        (
            [head(b"\x88\x00\x81\x00\x01a"), body(b"hello")].concat(),
            "http.response.invalid",
        ),
        (
            [padded(&block, 5), pieces(&block, 5)[..14].to_vec(), body(b"x")].concat(),
            "http.response.invalid",
        ),
        (pieces(&long, 16_384), "http.response.invalid"),
    ] {
        let probed = world.probe(frames).await;
        let fault = &probed.evidence["target"]["fault"];
        assert_eq!(fault["reason"], reason, "{fault:#}");
    }
    let cut = Peer::with_tls(world.config.clone(), |mut stream| async move {
        use tokio::io::AsyncWriteExt as _;
        let frames = pieces(&[OK, &field("connection", "close")].concat(), 5);
        let _ = stream
            .write_all(&[b"\0\0\0\x04\0\0\0\0\0", &frames[..20]].concat())
            .await;
        let _ = stream.shutdown().await;
    })
    .await;
    let probed = world.exporter.probe("m", &cut.https()).await;
    assert_eq!(probed.page.value("probe_success"), 0.0);
    assert_ne!(probed.evidence["target"]["fault"]["reason"], "http.timed_out_waiting");
}

/// A large body and many fields next to a renamed field are unchanged.
#[tokio::test(flavor = "multi_thread")]
async fn data_next_to_a_renamed_field_is_unchanged() {
    let world = World::start().await;
    let long = "y".repeat(60_000);
    let block = [
        OK,
        &fields(&[("x-long", &long), ("connection", "close"), ("x-last", "z")]),
    ]
    .concat();
    let frames = [
        pieces(&block, 16_384),
        data(&[b'a'; 16_000]),
        data(&[b'b'; 16_000]),
        end(&field("te", "x")),
    ];
    let peer = world.answers(frames.concat()).await;
    let probed = world.exporter.probe("small", &peer.https()).await;
    assert_eq!(probed.page.value("probe_success"), 1.0, "{:#}", probed.evidence);
    assert_eq!(probed.page.value("probe_http_uncompressed_body_length"), 32_000.0);
    let mut found = names(&probed);
    found.sort_unstable();
    assert_eq!(found, ["connection", "x-last", "x-long"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_health_check_is_read_in_the_same_way() {
    let world = World::start().await;
    let serving = data(b"\0\0\0\0\x02\x08\x01");
    let kind = [OK, &field("content-type", "application/grpc")].concat();
    let done = field("grpc-status", "0");
    for (name, success) in [("connection", 1.0), ("te", 1.0), ("x-a", 1.0), ("X-A", 0.0)] {
        let odd = field(name, "x");
        let in_head = [head(&[&kind[..], &odd].concat()), serving.clone(), end(&done)].concat();
        let in_trailers = [head(&kind), serving.clone(), end(&[&done[..], &odd].concat())].concat();
        for frames in [in_head, in_trailers] {
            let peer = plain(frames).await;
            let probed = world.exporter.probe("grpc", &peer.address.to_string()).await;
            assert_eq!(
                probed.page.value("probe_success"),
                success,
                "{name}: {:#}",
                probed.evidence
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_names_the_field() {
    let world = World::start().await;
    let peer = world.answers(with(&field("keep-alive", "timeout=5"))).await;
    world.exporter.probe("m", &peer.https()).await;
    let page = world
        .exporter
        .get(&format!("/evidence?module=m&target={}", peer.https()))
        .await;
    let page = page.text().await.unwrap();
    assert!(
        page.contains("Deviations from HTTP: connection_specific_field (keep-alive)."),
        "{page}"
    );
}

/// A process that ends while it writes cuts a frame. The reason is the same as for a closed HTTP/1 connection.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_ends_within_a_frame_was_closed() {
    let world = World::start().await;
    let response = head(OK);
    let half = |frame: &[u8]| frame[..frame.len() - 1].to_vec();
    for (frames, reason) in [
        (half(&response), "http.closed_before_response"),
        (response[..5].to_vec(), "http.closed_before_response"),
        (
            [response.clone(), half(&data(b"hello"))].concat(),
            "http.closed_mid_body",
        ),
        (
            [response.clone(), data(b"hello")[..5].to_vec()].concat(),
            "http.closed_mid_body",
        ),
    ] {
        let peer = closing(world.config.clone(), frames.clone()).await;
        let probed = world.exporter.probe("small", &peer.https()).await;
        let fault = &probed.evidence["target"]["fault"];
        assert_eq!(fault["reason"], reason, "{frames:?}: {fault:#}");
    }
}

/// The library ends a body without an error if the stream is reset with `NO_ERROR`.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_truncated_by_a_reset_fails() {
    let world = World::start().await;
    let length = |value| [OK, &field("content-length", value)].concat();
    for (name, frames) in [
        ("shorter", [head(&length("10")), data(b"hello"), reset()].concat()),
        ("as long", [head(&length("5")), data(b"hello"), reset()].concat()),
        ("no length", [head(OK), data(b"hello"), reset()].concat()),
        ("no data", [head(&length("10")), reset()].concat()),
        ("neither", [head(OK), reset()].concat()),
        (
            "an end after it",
            [head(OK), data(b"hello"), reset(), body(b"")].concat(),
        ),
    ] {
        for peer in [
            dripping(world.config.clone(), frames.clone()).await,
            world.answers(frames).await,
        ] {
            let probed = world.exporter.probe("small", &peer.https()).await;
            assert_eq!(probed.page.value("probe_success"), 0.0, "{name}");
            assert_eq!(probed.page.value("probe_http_status_code"), 200.0, "{name}");
            let fault = &probed.evidence["target"]["fault"];
            assert_eq!(fault["reason"], "http.closed_mid_body", "{name}: {fault:#}");
        }
    }
    // Such a reset is allowed after a complete response.
    for (name, frames) in [
        ("data", [with(b""), reset()]),
        ("trailers", [ending(&field("x", "y")), reset()]),
    ] {
        let probed = world.probe(frames.concat()).await;
        assert_eq!(probed.page.value("probe_success"), 1.0, "{name}: {:#}", probed.evidence);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_with_a_length_but_no_body_is_read() {
    let world = World::start().await;
    let ends = |status: &str, more: &[u8]| {
        let length = field("content-length", "5");
        end(&[&field(":status", status), more, &length].concat())
    };
    let next = world.answers(with(b"")).await;
    let location = field("location", next.https());
    let (fails, passes) = (Some("http.closed_mid_body"), None);
    let missing = json!(["missing_body"]);
    for (module, frames, status, reason, found) in [
        ("small", ends("200", b""), 200.0, fails, &missing),
        ("found", ends("302", &location), 302.0, passes, &missing),
        ("small", ends("302", &location), 200.0, passes, &missing),
        ("small", ends("503", &field("server", "nginx")), 503.0, fails, &missing),
        ("small", end(&[OK, b"\x5c\x015"].concat()), 200.0, fails, &missing),
        ("head", ends("200", b""), 200.0, passes, &json!([])),
        ("small", ends("204", b""), 204.0, passes, &json!([])),
        ("small", end(b"\x89\x5c\x015"), 204.0, passes, &json!([])),
        ("unchanged", ends("304", b""), 304.0, passes, &json!([])),
        ("unchanged", end(b"\x8b\x5c\x015"), 304.0, passes, &json!([])),
        (
            "small",
            end(&[OK, &field("content-length", "0")].concat()),
            200.0,
            passes,
            &json!([]),
        ),
    ] {
        let peer = world.answers(frames).await;
        let probed = world.exporter.probe(module, &peer.https()).await;
        let told = format!("{module} {status}: {:#}", probed.evidence["target"]);
        assert_eq!(probed.page.value("probe_http_status_code"), status, "{told}");
        let success = if reason.is_none() { 1.0 } else { 0.0 };
        assert_eq!(probed.page.value("probe_success"), success, "{told}");
        assert_eq!(probed.evidence["target"]["fault"]["reason"].as_str(), reason, "{told}");
        assert_eq!(deviations(&probed), found, "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn data_after_a_head_response_is_ignored() {
    let world = World::start().await;
    let length = [OK, &field("content-length", "5")].concat();
    for (name, frames) in [
        ("a body", [head(&length), body(b"hello")].concat()),
        ("a body without a length", [head(OK), body(b"hello")].concat()),
        ("a longer body", [head(&length), body(b"hello hello")].concat()),
        ("an empty body", [head(&length), body(b"")].concat()),
        ("a reset", [head(&length), reset()].concat()),
        ("nothing", end(&length)),
    ] {
        let peer = world.answers(frames).await;
        let probed = world.exporter.probe("head", &peer.https()).await;
        assert_eq!(probed.page.value("probe_success"), 1.0, "{name}: {:#}", probed.evidence);
        assert_eq!(probed.page.value("probe_http_uncompressed_body_length"), 0.0, "{name}");
    }
}
