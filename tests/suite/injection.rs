//! For any bytes from servers or callers: the exposition is valid, each log line is one record, pages show the bytes as
//! text, and an invalid parameter causes no connection.

use crate::serving::Running;
use crate::support::page::Page;
use crate::support::peer::{Peer, ok, read_head};
use crate::support::pki::Authority;
use rcgen::DnType;
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

/// Markup, escapes of every output syntax, terminal sequences, and bytes that are not UTF-8.
const PAYLOADS: &[&[u8]] = &[
    b"<script>alert(1)</script>",
    b"\"><img src=x onerror=alert(1)>",
    b"'></style><svg/onload=alert(1)>",
    b"</title><iframe srcdoc='<script>1</script>'>",
    b"javascript:alert(1)",
    b"<a href=\"javascript:alert(1)\">",
    b"&lt;script&gt; &amp; &#x3c;b&#x3e;",
    b"{{7*7}} ${7*7} <%= 7*7 %>",
    b"\\",
    b"\\n\\\"\\\\",
    b"\"",
    b"\"} 1 # ",
    b"a\"} 1\ninjected 1\n",
    b"# HELP injected x",
    b"# EOF",
    b"level=error message=\"injected\"",
    b"a\" injected=\"b",
    b"{\"injected\": true}",
    b"line\nbreak",
    b"line\r\nInjected: field",
    b"return\ronly",
    b"nul\0byte",
    b"tab\tand\x0bothers\x0c\x08\x07",
    b"\x1b[31mred\x1b[0m\x1b]0;title\x07",
    b"\xc2\x9b31m",
    b"\xe2\x80\xae rtl \xe2\x80\xa8 separator",
    b"\xef\xbb\xbf bom",
    b"\xff\xfe\x80 evil",
    b"cut \xf0\x9f\x98",
    b"\xed\xa0\x80 surrogate",
    b"\xc0\xaf overlong",
    b"\xf5\x80\x80\x80 beyond",
];

const MODULES: &str = "modules:
  tcp: {prober: tcp, timeout: 5s, tcp: {query_response: [{expect: '(?s)^220 (.*)END', labels: [{name: banner, value: '${1}'}]}]}}
  tls: {prober: tcp, timeout: 5s, tcp: {tls: true, tls_config: {insecure_skip_verify: true}}}
  http: {prober: http, timeout: 5s, diagnostics: {reference_request: true, cache_bypass: on_failure}}
  websocket: {prober: websocket, timeout: 5s, websocket: {query_response: [{expect: never}]}}
";

/// Document with every metric family.
const PUBLISHED: &str = include_str!("../../docs/metrics.md");

/// The first byte of a TLS handshake (RFC 8446 section 5.1).
const TLS_HANDSHAKE: u8 = 22;

/// A server that always responds with these bytes.
async fn saying(words: Vec<u8>) -> Peer {
    Peer::start(move |mut stream: TcpStream| {
        let words = words.clone();
        async move {
            if words.starts_with(b"HTTP/") {
                let mut first = [0];
                stream.peek(&mut first).await.ok();
                // The server closes the connection when a client starts TLS.
                if first == [TLS_HANDSHAKE] {
                    return;
                }
                read_head(&mut stream).await;
            }
            stream.write_all(&words).await.ok();
            stream.shutdown().await.ok();
        }
    })
    .await
}

/// Servers with a payload in each field that they control.
async fn peers(payload: &[u8], authority: &Authority) -> Vec<(&'static str, String, Peer)> {
    let field: Vec<u8> = payload
        .iter()
        .copied()
        .filter(|byte| !matches!(byte, b'\r' | b'\n' | 0))
        .collect();
    let head = |status: &[u8], name: &str| {
        [
            &b"HTTP/1.1 "[..],
            status,
            b"\r\n",
            name.as_bytes(),
            b": ",
            &field,
            b"\r\nContent-Type: text/plain\r\nContent-Length: ",
            payload.len().to_string().as_bytes(),
            b"\r\nConnection: close\r\n\r\n",
            payload,
        ]
        .concat()
    };
    let mut peers = Vec::new();
    let banner = saying([b"220 ", payload, b"END\n"].concat()).await;
    peers.push(("tcp", banner.address.to_string(), banner));
    for name in [
        "Server",
        "Via",
        "X-Cache",
        "X-Request-Id",
        "Location",
        "Proxy-Status",
        "Set-Cookie",
        "Date",
        "CF-RAY",
    ] {
        let peer = saying(head(b"502 Bad Gateway", name)).await;
        peers.push(("http", peer.http(), peer));
    }
    let phrase = saying(head(&[b"503 ", &field[..]].concat(), "X-Any")).await;
    peers.push(("http", phrase.http(), phrase));
    let garbage = saying(payload.to_vec()).await;
    peers.push(("http", garbage.http(), garbage));
    let upgrade = saying(head(b"101 Switching", "Sec-WebSocket-Accept")).await;
    peers.push(("websocket", format!("ws://{}/", upgrade.address), upgrade));
    if let Ok(text) = std::str::from_utf8(payload) {
        let named = authority.leaf_with("127.0.0.1", |leaf| {
            leaf.distinguished_name.push(DnType::CommonName, text);
            leaf.distinguished_name.push(DnType::OrganizationName, text);
        });
        let peer = Peer::with_tls(named.server(&[]), ok).await;
        peers.push(("tls", peer.address.to_string(), peer));
    }
    peers
}

/// Asserts that a text has no terminal sequences and no line breaks.
fn assert_is_plain(place: &str, text: &str) {
    let control = text
        .chars()
        .find(|letter| letter.is_control() && !matches!(letter, '\n' | '\t'));
    assert_eq!(control, None, "{place}: {text:?}");
}

/// Asserts that a page contains no markup from the payloads.
fn assert_is_text(place: &str, html: &str) {
    for markup in [
        "<script>alert",
        "<img",
        "<svg/",
        "<iframe",
        "href=\"javascript:",
        "<%=",
        "</style>",
    ] {
        assert!(!html.contains(markup), "{place} has {markup}: {html}");
    }
}

/// Checks the evidence in each format.
async fn assert_evidence_is_plain(running: &Running, place: &str, id: &str) {
    for form in [".json", ".har"] {
        let evidence = running.text(&format!("/evidence/{id}{form}")).await;
        assert!(serde_json::from_str::<Value>(&evidence).is_ok(), "{place}: {evidence}");
    }
    assert_is_text(place, &running.text(&format!("/evidence/{id}")).await);
    assert_is_plain(place, &running.text(&format!("/logs?id={id}")).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn payloads_stay_text() {
    let authority = Authority::new();
    let running = Running::start(MODULES, &["--log.level=debug", "--log.prober=debug"]).await;
    let json = Running::start(
        MODULES,
        &["--log.level=debug", "--log.prober=debug", "--log.format=json"],
    )
    .await;
    for payload in PAYLOADS {
        let place = String::from_utf8_lossy(payload).into_owned();
        for (module, target, _peer) in peers(payload, &authority).await {
            let path = probe(module, &target);
            json.text(&path).await;
            let answer = running.get(&path).await;
            assert_eq!(answer.status(), 200, "{place}");
            let id = answer.headers()["x-glassbox-evidence"].to_str().unwrap().to_owned();
            let text = answer.text().await.unwrap();
            let page = Page::parse(&text);
            assert!(
                page.find("probe_success").is_some() && page.find("injected").is_none(),
                "{text}"
            );
            assert!(text.len() <= 256 * 1024);
            for family in families(&text) {
                assert!(PUBLISHED.contains(&format!("| `{family}` |")), "{place}: {family}");
            }
            assert_evidence_is_plain(&running, &place, &id).await;
        }
    }
    assert_is_text("the landing page", &running.text("/").await);
    let log = running.whole_log().await;
    assert_is_plain("the log", &log);
    for line in log.lines() {
        assert!(line.starts_with("time=20") && line.contains(" level="), "{line:?}");
    }
    let log = json.whole_log().await;
    assert_is_plain("the log", &log);
    for line in log.lines() {
        assert!(
            serde_json::from_str::<Value>(line).is_ok_and(|record| record["level"].is_string()),
            "{line:?}"
        );
    }
    assert_eq!(
        Page::parse(&running.text("/metrics").await).value("glassbox_panics_total"),
        0.0
    );
}

fn probe(module: &str, target: &str) -> String {
    let target: String = url::form_urlencoded::byte_serialize(target.as_bytes()).collect();
    format!("/probe?module={module}&target={target}")
}

fn families(text: &str) -> Vec<String> {
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    types.map(|rest| rest.split(' ').next().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_parameter_with_a_control_byte_is_rejected_without_a_connection() {
    let peer = Peer::start(ok).await;
    let running = Running::start("modules: {http_2xx: {prober: http}}", &[]).await;
    let address = peer.address;
    for injected in [
        "%0d%0aX-Inj:%201",
        "%0a",
        "%0d",
        "%00",
        "%09",
        "%1b[31m",
        "%7f",
        "%c2%85",
        "%08",
    ] {
        for query in [
            format!("target=http://{address}/{injected}"),
            format!("target=http://{address}/&hostname=a{injected}"),
            format!("target=http://{address}/&module=http_2xx{injected}"),
            format!("target=http://{address}/&backend=app@{address}{injected}"),
        ] {
            let answer = running.get(&format!("/probe?{query}")).await;
            let (status, words) = (answer.status(), answer.text().await.unwrap());
            assert_eq!(status, 400, "{query}: {words}");
            assert!(words.contains("contains a control character"), "{words}");
            assert_is_plain(&query, &words);
        }
    }
    assert_eq!(peer.connections(), 0);
    // A double-encoded target is decoded only once, and reaches the server as written.
    let answer = running
        .text(&format!("/probe?target=http://{address}/%250d%250aX-Inj:1"))
        .await;
    assert!(answer.contains("\nprobe_success 1"), "{answer}");
}
