//! A target repeats its request in every displayed part of the response, in each of the usual encodings.

use crate::canaries::{Keys, MODULES, canary, config, each_byte, none_is_shown, probed};
use crate::serving::Running;
use crate::support::peer::{Peer, ok, read_head};
use crate::support::pki::Authority;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use regex::bytes::Regex;
use serde_json::Value;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixListener};
use tungstenite::handshake::derive_accept_key;

/// Parts of the response that repeat the request, and where they are displayed: modules, each with a location in the
/// evidence or a text of a page.
const PLACES: [(&str, &[(&str, &str)]); 11] = [
    ("fields", &[("headers", "/target/exchanges/0/reply/headers")]),
    ("encoded", &[("secrets", "/target/exchanges/0/reply/headers")]),
    ("split", &[("basic", "/target/exchanges/0/reply/headers")]),
    ("phrase", &[("token", "/target/exchanges/0/reply/reason_phrase")]),
    ("redirect", &[("headers", "/target/exchanges/1/url")]),
    ("first word", &[("bearer", "/target/exchanges/0/first_bytes")]),
    ("error", &[("oauth_secret", "/target/fault/detail")]),
    ("message", &[("grpc", "/target/fault/detail")]),
    (
        "names",
        &[
            ("headers", "\"x-*secret*-plain\""),
            ("headers", "\"x-*secret*-upper\""),
            ("headers", "\"x-*secret*-hex\""),
            ("grpc", "\"x-*secret*\""),
            ("websocket", "\"x-*secret*\""),
        ],
    ),
    (
        "deviations",
        &[
            ("headers", "obs_fold (X-&lt;secret&gt;)"),
            ("headers", "space_before_colon (Y-&lt;secret&gt;)"),
            ("body", "obs_fold (X-&lt;secret&gt;)"),
        ],
    ),
    (
        "cut name",
        &[("headers", "/target/fault/detail"), ("body", "/target/fault/detail")],
    ),
];

/// The part of a canary that was sent, in plain text.
fn said(sent: &[u8]) -> String {
    let canaries = Regex::new("canary-of-[a-z0-9-]+").unwrap();
    let base64 = Regex::new("[A-Za-z0-9+/_-]{16,}").unwrap();
    let mut texts = vec![percent_encoding::percent_decode(sent).collect::<Vec<u8>>()];
    for encoded in base64.find_iter(sent) {
        texts.extend(STANDARD_NO_PAD.decode(encoded.as_bytes()).ok());
        texts.extend(URL_SAFE_NO_PAD.decode(encoded.as_bytes()).ok());
    }
    let found = texts.iter().find_map(|text| canaries.find(text));
    found.map_or_else(String::new, |found| {
        String::from_utf8(found.as_bytes().to_vec()).unwrap()
    })
}

fn answer(place: &str, said: &str, sent: &[u8]) -> String {
    let percent = each_byte(said, |byte| format!("%{byte:02x}"));
    let end = "Content-Length: 0\r\nConnection: close\r\n\r\n";
    match place {
        "fields" => {
            let raw = String::from_utf8_lossy(sent);
            let values = raw.lines().filter_map(|line| Some(line.split_once(": ")?.1));
            let values = values.collect::<Vec<_>>().join(", ");
            let upper = said.to_uppercase();
            format!("HTTP/1.1 500 x\r\nServer: {said}\r\nVia: {values}\r\nX-Cache: {upper}\r\n{end}")
        }
        "encoded" => {
            let hex = each_byte(said, |byte| format!("{byte:02X}"));
            let json = each_byte(said, |byte| format!("\\u{byte:04x}"));
            let (one, two) = (
                STANDARD.encode(format!("a{said}")),
                URL_SAFE_NO_PAD.encode(format!("ab{said}cd")),
            );
            let three = STANDARD.encode(format!("user:{said}"));
            format!(
                "HTTP/1.1 500 x\r\nServer: {one}\r\nVia: {two}\r\nWarning: {three}\r\nX-Cache: {percent}\r\n\
                 X-Served-By: {hex}\r\nX-Varnish: {json}\r\n{end}"
            )
        }
        "split" => {
            let (first, second) = said.split_at(said.len() / 2);
            format!("HTTP/1.1 500 x\r\nServer: half:{first}\r\nVia: {second}:half\r\n{end}")
        }
        "names" => {
            let (upper, hex) = (said.to_uppercase(), each_byte(said, |byte| format!("{byte:02x}")));
            let base64 = URL_SAFE_NO_PAD.encode(format!("a{said}"));
            let (first, second) = said.split_at(said.len() / 2);
            format!(
                "HTTP/1.1 500 x\r\nX-{said}-plain: 1\r\nX-{upper}-upper: 1\r\nX-{hex}-hex: 1\r\n{base64}: 1\r\n\
                 X-half-{first}: {second}\r\n{end}"
            )
        }
        "deviations" => format!("HTTP/1.1 500 x\r\nX-{said}: 1\r\n 2\r\nY-{said} : 1\r\n{end}"),
        // The name is displayed up to byte 64, which is in the middle of the canary.
        "cut name" => format!("HTTP/1.1 500 x\r\n{:X>49}{said}-and-more(: 1\r\n{end}", "half-"),
        "redirect" => format!("HTTP/1.1 302 Found\r\nLocation: /login/{percent}/{said}\r\n{end}"),
        "first word" => format!("HTTP/1.{said} is what I heard\r\n\r\n"),
        "error" => {
            let body = format!("{{\"error\": \"bad key {said}\"}}");
            format!(
                "HTTP/1.1 400 {said}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            )
        }
        _ => format!("HTTP/1.1 403 bad key {said}\r\n{end}"),
    }
}

/// A target for all protocols that repeats its request in the part with the number `place`.
async fn echo(place: Arc<AtomicUsize>) -> Peer {
    Peer::start(move |mut stream| {
        let place = PLACES[place.load(Ordering::SeqCst)].0;
        async move {
            let mut first = [0; 4];
            if stream.peek(&mut first).await.is_err() {
                return;
            }
            match &first {
                b"PRI " => over_http2(stream).await,
                b"GET " | b"POST" | b"CONN" => over_http1(stream, place).await,
                _ => lines(&mut stream).await,
            }
        }
    })
    .await
}

async fn over_http1(mut stream: TcpStream, place: &str) {
    let mut sent = read_head(&mut stream).await;
    let head = String::from_utf8_lossy(&sent).to_lowercase();
    if let Some(key) = head.find("sec-websocket-key: ").filter(|_| place != "phrase") {
        let key = String::from_utf8_lossy(&sent[key + 19..]).into_owned();
        let accept = derive_accept_key(key.split("\r\n").next().unwrap().as_bytes());
        let answer = format!(
            "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nServer: {said}\r\nX-{said}: 1\r\n\
             Sec-WebSocket-Accept: {accept}\r\n\r\n",
            said = said(&sent)
        );
        stream.write_all(answer.as_bytes()).await.unwrap();
        return message(&mut stream).await;
    }
    let length = head
        .split("content-length: ")
        .nth(1)
        .and_then(|rest| rest.split("\r\n").next()?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).await.unwrap();
    sent.extend(body);
    let answer = answer(place, &said(&sent), &sent);
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
}

/// Returns the first message of a WebSocket in two frames.
async fn message(stream: &mut TcpStream) {
    let mut head = [0; 6];
    if stream.read_exact(&mut head).await.is_err() {
        return;
    }
    let mut text = vec![0; usize::from(head[1] & 0x7f)];
    stream.read_exact(&mut text).await.unwrap();
    for (at, byte) in text.iter_mut().enumerate() {
        *byte ^= head[2 + at % 4];
    }
    let (first, second) = text.split_at(text.len().saturating_sub(4));
    let length = |part: &[u8]| u8::try_from(part.len()).unwrap();
    let frames = [&[1, length(first)], first, &[0x80, length(second)], second].concat();
    let _ = stream.write_all(&frames).await;
    let _ = stream.read(&mut head).await;
}

async fn over_http2(stream: TcpStream) {
    let Ok(mut connection) = h2::server::handshake(stream).await else {
        return;
    };
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let said = request.headers().get("x-a").map_or(&b""[..], |value| value.as_bytes());
        let said = String::from_utf8_lossy(said);
        let encoded = said.replace('a', "%61");
        let head = http::Response::builder()
            .header("content-type", "application/grpc")
            .header("server", &*said)
            .header(format!("x-{said}"), "1")
            .header("grpc-status", "16")
            .header("grpc-message", format!("invalid token: Bearer {encoded}"));
        respond.send_response(head.body(()).unwrap(), true).unwrap();
    }
}

/// Returns lines unchanged, and the second word split into two lines.
async fn lines(stream: &mut (impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin)) {
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        let text = &buffer[..count];
        let word = text.split(u8::is_ascii_whitespace).nth(1).unwrap_or_default();
        let (first, second) = word.split_at(word.len() / 2);
        let again = [text, b"half:", first, b"\n", second, b":half\n"].concat();
        let _ = stream.write_all(&again).await;
    }
}

fn echo_at(socket: &Path) {
    let listener = UnixListener::bind(socket).unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move { lines(&mut stream).await });
        }
    });
}

/// Fails if a module does not show masked text at this location.
fn is_masked(pages: &[(String, String)], module: &str, place: &str) {
    let of_module = format!("{module}: ");
    let mut own = pages.iter().filter(|(page, _)| page.starts_with(&of_module));
    if !place.starts_with('/') {
        assert!(
            own.any(|(_, text)| text.contains(place)),
            "{module}: no page contains {place}"
        );
        return;
    }
    let json = own.find(|(page, _)| page.contains("/evidence/") && page.strip_suffix(".json").is_some());
    let json: Value = serde_json::from_str(&json.expect("the probe has evidence").1).unwrap();
    let repeated = json.pointer(place).map(Value::to_string).unwrap_or_default();
    assert!(
        repeated.contains("<secret>"),
        "{module}: no masked text at {place}: {json:#}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_repeated_by_a_target_is_never_shown() {
    let place = Arc::new(AtomicUsize::new(0));
    let peer = echo(place.clone()).await;
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("socket");
    echo_at(&socket);
    let keys = Keys::new(folder.path());
    std::fs::write(folder.path().join("glassbox.yml"), config(folder.path(), &peer, &keys)).unwrap();
    let flags = ["--config.file=glassbox.yml", "--log.level=debug", "--log.prober=debug"];
    let running = Running::start_in(folder, &flags).await;
    let secrets: Vec<_> = MODULES.iter().map(|(name, ..)| canary(name)).collect();
    for (number, (name, shown)) in PLACES.iter().enumerate() {
        place.store(number, Ordering::SeqCst);
        let mut pages = Vec::new();
        // A few at a time, so that the probes do not time out on a busy machine.
        for modules in MODULES.chunks(8) {
            let probes = modules.iter().map(|(module, target, ..)| {
                let target = target
                    .replace("CANARY", &canary(module))
                    .replace("PEER", &peer.address.to_string())
                    .replace("SOCKET", &socket.display().to_string());
                let running = &running;
                async move { probed(running, module, &target).await }
            });
            pages.extend(futures_util::future::join_all(probes).await.into_iter().flatten());
        }
        for (module, place) in *shown {
            is_masked(&pages, module, place);
        }
        none_is_shown(&secrets, &pages);
        for (page, text) in &pages {
            assert!(
                !["half:cana", "half:CANA", "half-cana"]
                    .iter()
                    .any(|half| text.contains(half)),
                "{name}: {page} shows half:\n{text}"
            );
        }
    }
    let mut pages = Vec::new();
    for path in ["/", "/config", "/metrics"] {
        pages.push((path.to_owned(), running.text(path).await));
    }
    pages.push(("the log".to_owned(), running.whole_log().await));
    none_is_shown(&secrets, &pages);
}

/// Text that was not sent as a secret is displayed unchanged. A word of the target is not a secret, because the caller
/// wrote it.
#[tokio::test]
async fn other_text_is_shown_unchanged() {
    let fields = "Server: shop-gateway-7\r\nVia: 1.1 cache.example.test\r\nX-Cache: MISS";
    let peer = Peer::answering(format!(
        "HTTP/1.1 500 Out of order\r\n{fields}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    ))
    .await;
    let config = "modules: {m: {prober: http, timeout: 5s, http: {headers: {X-Key: Canary4242, Accept: text/html, \
                  User-Agent: shop-gateway-7}}}}";
    let exporter = crate::support::exporter::Exporter::start(config).await;
    let probed = exporter
        .probe("m", &format!("{}cache.example.test?a=b", peer.http()))
        .await;
    let reply = &probed.evidence["target"]["exchanges"][0]["reply"];
    assert_eq!(reply["reason_phrase"], "Out of order");
    let mut shown = String::new();
    for field in reply["headers"].as_array().unwrap() {
        writeln!(
            shown,
            "{}={}",
            field["name"].as_str().unwrap(),
            field["value"].as_str().unwrap()
        )
        .unwrap();
    }
    for field in ["server=shop-gateway-7", "via=1.1 cache.example.test", "x-cache=MISS"] {
        assert!(shown.contains(field), "{shown}");
    }
}

/// The server chooses the serial number of its certificate, so it can be a secret in hexadecimal, possibly truncated.
#[tokio::test]
async fn the_serial_number_of_a_certificate_shows_no_secret() {
    let config = "modules: {m: {prober: http, timeout: 5s, http: {headers: {X-Key: CorrectHorseBattery}, \
                  tls_config: {insecure_skip_verify: true}}}}";
    let exporter = crate::support::exporter::Exporter::start(config).await;
    for (serial, shown) in [
        (&b"CorrectHorseBattery"[..], "<secret>"),
        (b"CorrectHorseBatte", "<secret>"),
        (b"\x0a\xbcCorrectHorse", "0abc<secret>"),
        (b"AnotherHorseBattery", "416e6f74686572486f72736542617474657279"),
    ] {
        let leaf = Authority::new().leaf_with("localhost", |params| {
            params.serial_number = Some(rcgen::SerialNumber::from_slice(serial));
        });
        let peer = Peer::with_tls(leaf.server(&[]), ok).await;
        let probed = exporter.probe("m", &peer.https()).await;
        let certificate = &probed.evidence["target"]["exchanges"][0]["tls"]["chain"][0];
        assert_eq!(certificate["serial"], shown, "{:#}", probed.evidence);
        let (info, _) = probed.page.starting("probe_ssl_last_chain_info{").next().unwrap();
        assert!(info.contains(&format!("serialnumber=\"{shown}\"")), "{info}");
    }
}
