//! Unusual HTTP/1 responses of real servers. Each is accepted or rejected as in `blackbox_exporter`, and the evidence
//! lists its deviations from the standard. Each row has neighbors that differ in one detail.

use crate::support::exporter::{Exporter, Probed};
use crate::support::peer::{Peer, read_head};
use crate::support::pki::Authority;
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;

const MODULES: &str = "modules:
  m: {prober: http, timeout: 5s}
  head: {prober: http, timeout: 5s, http: {method: HEAD}}
  hello: {prober: http, timeout: 5s, http: {fail_if_body_not_matches_regexp: ['^hello$']}}
  w: {prober: websocket, timeout: 5s}
  switched: {prober: http, timeout: 5s, http: {valid_status_codes: [101]}}
";

/// A response, its result (a reason, or empty for success), and its deviations.
type Row = (&'static str, &'static str, &'static [&'static str]);

const WITH_BODY: &str = "Content-Length: 5\r\n\r\nhello";

/// Status lines and fields that precede [`WITH_BODY`].
const HEADS: &[Row] = &[
    ("HTTP/1.1 200 OK\r\n", "", &[]),
    ("HTTP/1.0 200 OK\r\n", "", &[]),
    ("HTTP/1.1 200 \r\n", "", &[]),
    ("HTTP/1.1 200\r\n", "", &["no_space_after_status_code"]),
    ("HTTP/1.1  200 OK\r\n", "", &["space_before_status_code"]),
    ("HTTP/1.1 20 OK\r\n", "http.response.invalid", &[]),
    ("HTTP/1.1 2000 OK\r\n", "http.response.invalid", &[]),
    ("HTTP/1.1 099 X\r\n", "http.status", &["status_code_out_of_range"]),
    ("HTTP/1.1 599 X\r\n", "http.status", &[]),
    ("HTTP/1.1 600 X\r\n", "http.status", &["status_code_out_of_range"]),
    ("HTTP/2.0 200 OK\r\n", "", &["http_version"]),
    ("HTTP/1.9 200 OK\r\n", "", &["http_version"]),
    ("HTTP/2 200 OK\r\n", "http.response.invalid", &[]),
    ("http/1.1 200 OK\r\n", "http.response.invalid", &[]),
    ("ICY 200 OK\r\n", "http.response.invalid", &[]),
    (
        "\r\n\nHTTP/1.1 200 OK\r\n",
        "",
        &["empty_line_before_status_line", "bare_lf"],
    ),
    (" \r\nHTTP/1.1 200 OK\r\n", "http.response.invalid", &[]),
    ("HTTP/1.1 200 OK\n", "", &["bare_lf"]),
    ("HTTP/1.1 200 OK\r\nX: y\n", "", &["bare_lf"]),
    ("HTTP/1.1 200 OK\r\nX : y\r\n", "", &["space_before_colon"]),
    ("HTTP/1.1 200 OK\r\nX y: z\r\n", "", &["space_in_field_name"]),
    ("HTTP/1.1 200 OK\r\nX\t: y\r\n", "http.response.invalid", &[]),
    ("HTTP/1.1 200 OK\r\n: y\r\n", "http.response.invalid", &[]),
    ("HTTP/1.1 200 OK\r\nX\r\n", "http.response.invalid", &[]),
    ("HTTP/1.1 200 OK\r\nX:\r\n", "", &[]),
    ("HTTP/1.1 200 OK\r\nX: a\r\n b\r\n", "", &["obs_fold"]),
    ("HTTP/1.1 200 OK\r\nX: a\r\n b\r\n c\r\n", "", &["obs_fold"]),
    ("HTTP/1.1 200 OK\r\nX: a\r\n b\n c\r\n", "", &["bare_lf", "obs_fold"]),
    (
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n \r\n",
        "",
        &["obs_fold", "repeated_content_length"],
    ),
    ("HTTP/1.1 200 OK\r\n X: a\r\n", "http.response.invalid", &[]),
    ("HTTP/1.1 200 OK\r\nX: a\u{1}\r\n", "http.response.invalid", &[]),
    ("HTTP/1.1 200 OK\r\nX: a\tb\u{e9}\r\n", "", &[]),
    (
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n",
        "",
        &["repeated_content_length"],
    ),
    ("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n", "http.response.invalid", &[]),
    ("HTTP/1.1 200 OK\r\nContent-Length : 6\r\n", "", &["space_before_colon"]),
    (
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: gzip\r\n",
        "",
        &["transfer_encoding_in_http_1_0", "content_length_with_transfer_encoding"],
    ),
    (
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n",
        "http.response.invalid",
        &[],
    ),
    ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n", "", &[]),
    (
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 102 X\r\n\r\nHTTP/1.1 200 OK\r\n",
        "",
        &[],
    ),
    (
        "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 502 Bad Gateway\r\n",
        "http.status",
        &[],
    ),
    (
        "HTTP/1.1 103 Early Hints\r\nbad\r\n\r\nHTTP/1.1 200 OK\r\n",
        "http.response.invalid",
        &[],
    ),
    (
        "HTTP/1.1 103 E\r\nContent-Length: 3\r\n\r\nHTTP/1.1 200 OK\r\n",
        "",
        &["framing_without_body"],
    ),
];

/// Responses without their status line `HTTP/1.1 200 OK`.
const BODIES: &[Row] = &[
    ("\r\nhello", "", &[]),
    ("Content-Length: 5\r\n\r\nhello\r\n", "", &["crlf_after_body"]),
    ("Content-Length: 5\r\n\r\nhellohello", "", &["excess_bytes"]),
    ("Content-Length: 6\r\n\r\nhello", "http.closed_mid_body", &[]),
    ("Content-Length: 05\r\n\r\nhello", "", &[]),
    ("Content-Length: +5\r\n\r\nhello", "http.response.invalid", &[]),
    ("Content-Length: 5, 5\r\n\r\nhello", "http.response.invalid", &[]),
    ("Content-Length:\r\n\r\nhello", "", &["empty_content_length"]),
    ("Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "", &[]),
    (
        "Transfer-Encoding: Chunked\r\n\r\n2;a=b\r\nhe\r\n0003\r\nllo\r\n00\r\nX: y\r\n\r\n",
        "",
        &[],
    ),
    (
        "Transfer-Encoding: chunked\r\nContent-Length: 9\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "",
        &["content_length_with_transfer_encoding"],
    ),
    (
        "Transfer-Encoding: chunked\r\n\r\n5;a=b \r\nhello\r\n0\r\n\r\n",
        "",
        &["space_after_chunk_extension"],
    ),
    (
        "Transfer-Encoding: chunked\r\n\r\n5 \r\nhello\r\n0\r\n\r\n",
        "",
        &["space_after_chunk_size"],
    ),
    (
        "Transfer-Encoding: chunked\r\n\r\n 5\r\nhello\r\n0\r\n\r\n",
        "http.response.invalid",
        &["invalid_chunk_size"],
    ),
    (
        "Transfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n",
        "http.response.invalid",
        &["invalid_chunk_line_end"],
    ),
    (
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\nmore",
        "",
        &["excess_bytes"],
    ),
    (
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
        "http.closed_mid_body",
        &[],
    ),
    (
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "http.closed_mid_body",
        &[],
    ),
    (
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX : y\r\n\r\n",
        "",
        &["space_before_colon"],
    ),
    (
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nContent-Length: 9\r\n\r\n",
        "",
        &["framing_field_in_trailers"],
    ),
    (
        "Transfer-Encoding: chunked, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "http.response.invalid",
        &[],
    ),
    ("Transfer-Encoding: identity\r\n\r\nhello", "http.response.invalid", &[]),
];

/// Difference between the result of a probe and its row, if there is one.
fn objection(probed: &Probed, (_, reason, deviations): Row) -> Option<String> {
    let exchange = &probed.evidence["target"]["exchanges"][0];
    let found = probed.evidence["target"]["fault"]["reason"]
        .as_str()
        .unwrap_or_default();
    let success = probed.page.value("probe_success");
    let noted: Vec<_> = exchange["reply"]["deviations"]
        .as_array()
        .into_iter()
        .flatten()
        .collect();
    let is_right = found == reason
        && success == f64::from(u8::from(reason.is_empty()))
        && (exchange["reply"].is_null() || noted == deviations);
    (!is_right).then(|| format!("{found:?} for {reason:?}, {noted:?} for {deviations:?}, probe_success {success}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn unusual_responses_have_the_same_result_as_in_blackbox_exporter() {
    let exporter = Exporter::start(MODULES).await;
    let heads = HEADS.iter().map(|row| (format!("{}{WITH_BODY}", row.0), *row));
    let bodies = BODIES.iter().map(|row| (format!("HTTP/1.1 200 OK\r\n{}", row.0), *row));
    let mut wrong = Vec::new();
    for (answer, row) in heads.chain(bodies) {
        let peer = Peer::answering(answer.clone()).await;
        // The body is the same with every framing.
        let probed = exporter.probe("hello", &peer.http()).await;
        if let Some(objection) = objection(&probed, row) {
            wrong.push(format!("{answer:?}: {objection}"));
        }
        let masked = probed.page.find("probe_masked").unwrap_or(0.0);
        let hides = row.2.contains(&"excess_bytes") && answer.contains("Content-Length");
        if row.1.is_empty() && masked != f64::from(u8::from(hides)) {
            wrong.push(format!("{answer:?}: probe_masked {masked}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The segmentation of the response does not change the result.
#[tokio::test(flavor = "multi_thread")]
async fn a_response_received_byte_by_byte_has_the_same_result() {
    let exporter = Exporter::start(MODULES).await;
    for answer in [
        "HTTP/1.1 103 E\r\nX: y\r\n z\r\n\r\n\r\nHTTP/1.1  200 OK\nX : y\r\nTransfer-Encoding:\r\n chunked\r\n\r\n2 \r\nhe\r\n3\r\nllo\r\n0\r\nX: y\r\n\r\n",
        "HTTP/1.1 200\r\nContent-Length: 5\r\n\r\nhello",
    ] {
        let at_once = Peer::answering(answer).await;
        let dripping = Peer::start(move |mut stream| async move {
            read_head(&mut stream).await;
            for byte in answer.bytes() {
                let _ = stream.write_all(&[byte]).await;
                tokio::task::yield_now().await;
            }
        })
        .await;
        let [at_once, dripped] = [
            exporter.probe("hello", &at_once.http()).await,
            exporter.probe("hello", &dripping.http()).await,
        ]
        .map(|probed| {
            assert_eq!(probed.page.value("probe_success"), 1.0, "{:#}", probed.evidence);
            probed.evidence["target"]["exchanges"][0]["reply"].clone()
        });
        assert_eq!(at_once, dripped);
    }
}

/// A server of another protocol may wait for the client or send no line ending. The first bytes identify it.
#[tokio::test(flavor = "multi_thread")]
async fn invalid_first_bytes_end_the_probe_at_once() {
    let exporter = Exporter::start(MODULES).await;
    for begin in [
        "SSH-2.0-x",
        "220 mail",
        "HTTP/1.1 OK\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n",
        "HTTP/1.1 200 OK\r\n X: y",
    ] {
        let peer = Peer::start(move |mut stream| async move {
            read_head(&mut stream).await;
            let _ = stream.write_all(begin.as_bytes()).await;
            std::future::pending::<()>().await;
        })
        .await;
        let probed = exporter.probe("m", &peer.http()).await;
        let fault = &probed.evidence["target"]["fault"]["reason"];
        assert_eq!(fault, "http.response.invalid", "{begin:?}: {:#}", probed.evidence);
    }
}

/// The length is the one that Go reports: unknown for chunked bodies, 0 for responses that cannot have a body, and for
/// HEAD the length of the GET response.
#[tokio::test(flavor = "multi_thread")]
async fn the_length_matches_the_one_of_go() {
    const BOTH: &str =
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let exporter = Exporter::start(MODULES).await;
    for (module, answer, length, body, deviations) in [
        ("m", BOTH, -1.0, 5.0, &["content_length_with_transfer_encoding"][..]),
        (
            "head",
            BOTH,
            9.0,
            0.0,
            &["content_length_with_transfer_encoding", "unexpected_body"],
        ),
        (
            "m",
            "HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\nhello",
            0.0,
            0.0,
            &["framing_without_body", "unexpected_body"],
        ),
        ("m", "HTTP/1.1 204 No\r\n\r\n", 0.0, 0.0, &[]),
        (
            "m",
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
            0.0,
            0.0,
            &[],
        ),
        (
            "m",
            "HTTP/1.1 205 Reset\r\nContent-Length: 5\r\n\r\nhello",
            5.0,
            5.0,
            &["content_in_reset_content"],
        ),
        (
            "m",
            "HTTP/1.1 205 Reset\r\n\r\nhello",
            -1.0,
            5.0,
            &["content_in_reset_content"],
        ),
        (
            "m",
            "HTTP/1.1 205 Reset\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            -1.0,
            0.0,
            &[],
        ),
        ("m", "HTTP/1.1 200 OK\r\n\r\nhello", -1.0, 5.0, &[]),
        ("head", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", 5.0, 0.0, &[]),
        ("head", "HTTP/1.1 200 OK\r\n\r\n", -1.0, 0.0, &[]),
    ] {
        let peer = Peer::answering(answer).await;
        let probed = exporter.probe(module, &peer.http()).await;
        assert_eq!(probed.page.value("probe_http_content_length"), length, "{answer:?}");
        let read = probed.page.value("probe_http_uncompressed_body_length");
        assert_eq!(read, body, "{answer:?}");
        let noted = &probed.evidence["target"]["exchanges"][0]["reply"]["deviations"];
        assert_eq!(noted, &serde_json::json!(deviations), "{answer:?}");
    }
}

/// A body that ends with the connection may be truncated. Only `close_notify` proves that it is complete (RFC 9112
/// section 9.8).
#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_ends_with_tls_and_without_close_notify_is_a_deviation() {
    let exporter = Exporter::start(
        "modules: {m: {prober: http, timeout: 5s, http: {preferred_ip_protocol: ip4, tls_config: {insecure_skip_verify: true}}}}",
    )
    .await;
    let authority = Authority::new();
    for (answer, is_closed, deviations) in [
        ("HTTP/1.1 200 OK\r\n\r\nhello", false, &["no_close_notify"][..]),
        ("HTTP/1.1 200 OK\r\n\r\nhello", true, &[]),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", false, &[]),
    ] {
        let server = authority.leaf("good.test").server(&[]);
        let peer = Peer::with_tls(server, move |mut stream| async move {
            read_head(&mut stream).await;
            let _ = stream.write_all(answer.as_bytes()).await;
            if is_closed {
                let _ = stream.shutdown().await;
            } else {
                let _ = stream.flush().await;
            }
        })
        .await;
        let probed = exporter.probe("m", &peer.https()).await;
        assert_eq!(probed.page.value("probe_success"), 1.0, "{:#}", probed.evidence);
        let noted = &probed.evidence["target"]["exchanges"][0]["reply"]["deviations"];
        assert_eq!(noted, &serde_json::json!(deviations), "{answer:?} {is_closed}");
    }
}

/// Without an upgrade request, 101 is a status like any other, and the connection may stay open forever.
#[tokio::test(flavor = "multi_thread")]
async fn switching_protocols_without_a_request_for_it_is_a_status() {
    let exporter = Exporter::start(MODULES).await;
    let peer = Peer::start(|mut stream| async move {
        read_head(&mut stream).await;
        let answer = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\nbytes";
        let _ = stream.write_all(answer).await;
        std::future::pending::<()>().await;
    })
    .await;
    let probed = exporter.probe("m", &peer.http()).await;
    assert_eq!(probed.page.value("probe_http_status_code"), 101.0);
    let edge = &probed.evidence["target"];
    assert_eq!(edge["fault"]["reason"], "http.status", "{edge:#}");
    assert_eq!(
        edge["exchanges"][0]["reply"]["deviations"],
        serde_json::json!(["unrequested_upgrade"])
    );
    let probed = exporter.probe("switched", &peer.http()).await;
    assert_eq!(probed.page.value("probe_success"), 1.0, "{:#}", probed.evidence);
}

/// The evidence page shows deviations with the affected field.
#[tokio::test(flavor = "multi_thread")]
async fn a_deviation_is_on_the_page_with_its_field() {
    let exporter = Exporter::start(MODULES).await;
    let peer = Peer::answering("HTTP/1.1 200 OK\r\nX-Old : PHP\r\nContent-Length: 5\r\n\r\nhello").await;
    let target = peer.http();
    exporter.probe("m", &target).await;
    let page = exporter.get(&format!("/evidence?module=m&target={target}")).await;
    let page = page.text().await.unwrap();
    assert!(
        page.contains("Deviations from HTTP: space_before_colon (X-Old)."),
        "{page}"
    );
}

/// Endless responses are rejected at a limit, before memory or time runs out.
#[tokio::test(flavor = "multi_thread")]
async fn endless_responses_are_rejected_at_their_limits() {
    let exporter = Exporter::start(MODULES).await;
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (begin, endless, reason) in [
        ("HTTP/1.1 200 ", "a", "http.response.header_too_large"),
        ("HTTP/1.1 200 OK\r\nX: ", "a", "http.response.header_too_large"),
        (
            "HTTP/1.1 200 OK\r\nX: y\r\n",
            " z\r\n",
            "http.response.header_too_large",
        ),
        ("HTTP/1.1 200 OK\r\n", "X: y\r\n", "http.response.header_too_large"),
        ("HTTP/1.1 200 OK\r\n", "X : y\r\n", "http.response.header_too_large"),
        ("", "\r\n", "http.response.header_too_large"),
        ("", "HTTP/1.1 103 E\r\n\r\n", "http.response.too_many_interim"),
        (chunked, "0", "http.response.invalid"),
        (&format!("{chunked}5;"), "a", "http.response.invalid"),
        (&format!("{chunked}0\r\n"), "X: y\r\n", "http.response.invalid"),
        (
            chunked,
            "1;aaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\nx\r\n",
            "http.response.invalid",
        ),
    ] {
        let (begin, more) = (begin.to_owned(), endless.repeat(1000));
        let peer = Peer::start(move |mut stream| {
            let (begin, more) = (begin.clone(), more.clone());
            async move {
                read_head(&mut stream).await;
                let _ = stream.write_all(begin.as_bytes()).await;
                while stream.write_all(more.as_bytes()).await.is_ok() {}
            }
        })
        .await;
        let probed = exporter.probe("m", &peer.http()).await;
        let fault = &probed.evidence["target"]["fault"]["reason"];
        assert_eq!(fault, reason, "{endless:?} after {:#}", probed.evidence["target"]);
    }
}

/// Bytes after the 101 header belong to the first message and are not lost, also after interim responses.
#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_may_follow_an_interim_response() {
    let peer = Peer::start(|mut stream| async move {
        let head = read_head(&mut stream).await;
        let accepting = crate::probers::websocket::accepting(&head);
        let answer = format!("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n{accepting}");
        let _ = stream.write_all(&[answer.as_bytes(), b"\x81\x05hello"].concat()).await;
        tokio::time::sleep(Duration::from_mins(1)).await;
    })
    .await;
    let exporter = Exporter::start(
        "modules: {w: {prober: websocket, timeout: 5s, websocket: {query_response: [{expect: '^hello$'}]}}}",
    )
    .await;
    let probed = exporter.probe("w", &format!("ws://{}/", peer.address)).await;
    assert_eq!(probed.page.value("probe_success"), 1.0, "{:#}", probed.evidence);
    assert_eq!(probed.page.find("probe_masked").unwrap_or(0.0), 0.0);
}
