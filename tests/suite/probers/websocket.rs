//! The websocket prober with python3-websockets from the Debian package and with test servers.

use crate::serving::Running;
use crate::support::exporter::Exporter;
use crate::support::peer::{Peer, read_head};
use crate::support::process::{Process, eventually, free_port};
use std::process::Command;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tungstenite::handshake::derive_accept_key;

/// The response that accepts the handshake of this request.
pub fn accepting(head: &[u8]) -> String {
    let head = String::from_utf8_lossy(head);
    let key = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("sec-websocket-key").then_some(value)
    });
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {}\r\n\r\n",
        derive_accept_key(key.unwrap().as_bytes())
    )
}

/// A server that sends a greeting and echoes messages.
const ECHO: &str = r#"
import asyncio, sys, websockets
async def serve(socket):
    await socket.send("hello " + socket.path)
    async for message in socket:
        await socket.send("you said " + message)
async def main():
    async with websockets.serve(serve, "127.0.0.1", int(sys.argv[1])):
        await asyncio.Future()
asyncio.run(main())
"#;

#[tokio::test]
async fn a_real_server_responds() {
    let port = free_port();
    let mut server = Process::start(Command::new("/usr/bin/python3").args(["-c", ECHO, &port.to_string()]));
    server.listens(port).await;
    let exporter = Exporter::start(
        "modules:
  ws:
    prober: websocket
    websocket:
      query_response:
        - expect: ^hello (.*)$
          send: I am at ${1}
        - expect: you said I am at /chat
  deaf:
    prober: websocket
    websocket:
      query_response: [{expect: goodbye}]",
    )
    .await;
    let probed = exporter.probe("ws", &format!("ws://127.0.0.1:{port}/chat")).await;
    let page = &probed.page;
    assert_eq!(page.value("probe_success"), 1.0, "{:#}", probed.evidence);
    assert_eq!(page.value("probe_websocket_status_code"), 101.0);
    assert_eq!(page.value("probe_websocket_connection_upgraded"), 1.0);
    assert_eq!(page.value("probe_websocket_failed_due_to_regex"), 0.0);
    for phase in ["resolve", "connect", "processing", "transfer"] {
        let series = format!("probe_websocket_duration_seconds{{phase=\"{phase}\"}}");
        assert!(page.value(&series) >= 0.0);
    }
    assert!(probed.has_observed("transfer"));

    let probed = exporter.probe("deaf", &format!("ws://127.0.0.1:{port}/")).await;
    assert_eq!(probed.page.value("probe_websocket_failed_due_to_regex"), 1.0);
    assert_eq!(probed.evidence["verdict"]["reason"], "content.expect");
}

#[tokio::test]
async fn a_fragmented_message_between_pings_is_one_message() {
    let peer = Peer::start(|mut stream| async move {
        let head = read_head(&mut stream).await;
        let mut words = accepting(&head).into_bytes();
        // The first frames arrive together with the header.
        words.extend(b"\x89\x00\x01\x02he");
        stream.write_all(&words).await.unwrap();
        stream.write_all(b"\x80\x03llo").await.unwrap();
        let _ = stream.read_u8().await;
    })
    .await;
    let config = "modules: {ws: {prober: websocket, websocket: {query_response: [{expect: ^hello$}]}}}";
    let exporter = Exporter::start(config).await;
    let probed = exporter.probe("ws", &format!("ws://{}", peer.address)).await;
    assert_eq!(probed.page.value("probe_success"), 1.0, "{:#}", probed.evidence);
}

/// A match that takes too long ends at the probe's deadline and is reported.
#[tokio::test]
async fn matching_a_large_message_ends_with_the_probe_timeout() {
    // The automaton's states never repeat, so each byte takes hundreds of steps.
    let mut number = 1u32;
    let text: Vec<u8> = std::iter::repeat_with(|| {
        number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        if number >> 31 == 0 { b'a' } else { b'b' }
    })
    .take(8 << 20)
    .collect();
    let length = (text.len() as u64).to_be_bytes();
    let message = std::sync::Arc::new([&b"\x81\x7f"[..], &length, &text].concat());
    let peer = Peer::start(move |mut stream| {
        let message = message.clone();
        async move {
            let head = read_head(&mut stream).await;
            let _ = stream.write_all(accepting(&head).as_bytes()).await;
            let _ = stream.write_all(&message).await;
            let _ = stream.read_to_end(&mut Vec::new()).await;
        }
    })
    .await;
    let path = format!("/probe?module=ws&target=ws://{}/", peer.address);
    let mut evidence = serde_json::Value::Null;
    // On a busy machine the search gets too little of the processor, and the exporter rightly says that it cannot judge.
    eventually("the exporter has time to search the message", async || {
        // A new process each time: a search that has started cannot be stopped, and takes minutes.
        let running = Running::start(
            "modules: {ws: {prober: websocket, timeout: 5s, websocket: {query_response: [{expect: 'a[ab]{900}[^ab]'}]}}}",
            &[],
        )
        .await;
        let answer = running.get(&path).await;
        let Some(id) = answer.headers().get("x-glassbox-evidence") else {
            assert_eq!(answer.status(), 503, "{}", answer.text().await.unwrap());
            return false;
        };
        let path = format!("/evidence/{}.json", id.to_str().unwrap());
        let text = running.get(&path).await.text().await.unwrap();
        evidence = serde_json::from_str(&text).unwrap();
        true
    })
    .await;
    let fault = &evidence["target"]["fault"];
    assert_eq!(fault["reason"], "content.expect", "{evidence:#}");
    assert_eq!(fault["detail"], "Examining the response took all of the probe's time.");
}

/// A server that accepts the handshake with additional fields, sends these frames, and reads until the end.
async fn framing(fields: &'static str, frames: &'static [u8]) -> Peer {
    Peer::start(move |mut stream| async move {
        let head = read_head(&mut stream).await;
        let accepted = accepting(&head).replacen("\r\n", &format!("\r\n{fields}"), 1);
        let _ = stream.write_all(accepted.as_bytes()).await;
        let _ = stream.write_all(frames).await;
        let _ = stream.read_to_end(&mut Vec::new()).await;
    })
    .await
}

const HELLO: &str = "modules: {ws: {prober: websocket, timeout: 5s, websocket: {query_response: [{expect: hello}]}}}";

#[tokio::test]
async fn a_ping_gets_a_pong_during_the_wait_for_a_message() {
    // The server sends nothing until it receives a pong (RFC 6455 section 5.5.2).
    let peer = Peer::start(|mut stream| async move {
        let head = read_head(&mut stream).await;
        let ping = [accepting(&head).as_bytes(), b"\x89\x03abc\x89\x00"].concat();
        stream.write_all(&ping).await.unwrap();
        for payload in [&b"abc"[..], b""] {
            let mut frame = vec![0; 6 + payload.len()];
            stream.read_exact(&mut frame).await.unwrap();
            assert_eq!(frame[..2], [0x8a, 0x80 | u8::try_from(payload.len()).unwrap()]);
            let said: Vec<u8> = frame[6..]
                .iter()
                .zip(&frame[2..6])
                .map(|(byte, mask)| byte ^ mask)
                .collect();
            assert_eq!(said, payload);
        }
        stream.write_all(b"\x81\x05hello").await.unwrap();
        let _ = stream.read_to_end(&mut Vec::new()).await;
    })
    .await;
    let exporter = Exporter::start(HELLO).await;
    let probed = exporter.probe("ws", &format!("ws://{}", peer.address)).await;
    assert_eq!(probed.page.value("probe_success"), 1.0, "{:#}", probed.evidence);
}

#[tokio::test]
async fn what_rfc_6455_forbids_fails_the_probe() {
    let exporter = Exporter::start(HELLO).await;
    for (fields, frames, reason) in [
        ("", &b"\x81\x05hello"[..], None),
        (
            "Sec-WebSocket-Extensions: permessage-deflate\r\n",
            b"\x81\x05hello",
            Some("websocket.invalid"),
        ),
        (
            "Sec-WebSocket-Protocol: chat\r\n",
            b"\x81\x05hello",
            Some("websocket.invalid"),
        ),
        ("", b"\xc1\x05hello", Some("websocket.invalid")),
        ("", b"\x81\x85abcd\x09\x07\x0f\x08\x0e", Some("websocket.invalid")),
        ("", b"\x81\x06hello\xff", Some("websocket.invalid")),
        ("", b"\x88\x02\x03\xed", Some("websocket.invalid")),
        ("", b"\x88\x06\x03\xf3boom", Some("websocket.closed")),
    ] {
        let peer = framing(fields, frames).await;
        let probed = exporter.probe("ws", &format!("ws://{}", peer.address)).await;
        assert_eq!(
            probed.evidence["verdict"]["reason"].as_str(),
            reason,
            "{fields:?} {frames:?}"
        );
        let dialogue = &probed.evidence["target"]["exchanges"][0]["dialogue"];
        if frames.starts_with(b"\x88") {
            let code = u64::from(u16::from_be_bytes([frames[2], frames[3]]));
            assert_eq!(dialogue["close_code"], code, "{dialogue:#}");
            assert_eq!(dialogue["failed_step"]["step"], 1);
            assert_eq!(dialogue["failed_step"]["expected"], "hello");
        }
    }
}

#[tokio::test]
async fn the_host_is_configurable_and_echoed_secrets_are_masked() {
    // A server that returns the header of the request as a message.
    let peer = Peer::start(|mut stream| async move {
        let head = read_head(&mut stream).await;
        let _ = stream.write_all(accepting(&head).as_bytes()).await;
        let length = u16::try_from(head.len()).unwrap().to_be_bytes();
        let _ = stream.write_all(&[b"\x81\x7e", &length[..], &head].concat()).await;
        let _ = stream.read_to_end(&mut Vec::new()).await;
    })
    .await;
    let exporter = Exporter::start(
        "modules:
  host: {prober: websocket, websocket: {headers: {Host: {values: [virtual.test]}}, query_response: [{expect: '(?m)^Host: virtual.test'}]}}
  secret: {prober: websocket, websocket: {headers: {X-Key: {values: [s3cret-key]}}, query_response: [{expect: never}]}}",
    )
    .await;
    let target = format!("ws://{}/path?token=s3cret-token", peer.address);
    let probed = exporter.probe("host", &target).await;
    assert_eq!(probed.page.value("probe_success"), 1.0, "{:#}", probed.evidence);
    let probed = exporter.probe("secret", &target).await;
    let received = &probed.evidence["target"]["exchanges"][0]["dialogue"]["failed_step"]["received"][0];
    let received = received.as_str().unwrap();
    assert!(
        received.starts_with("GET /path?") && received.contains("<secret>"),
        "{received}"
    );
    assert!(!probed.evidence.to_string().contains("s3cret"), "{received}");
}
