//! A secret stands in every key that can hold one, and comes back from whoever was asked: it is shown nowhere.

use crate::serving::Running;
use crate::support::peer::{Peer, read_head};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD as BASE64, URL_SAFE_NO_PAD};
use std::fmt::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Whom each module probes, and which words of it are to reach somebody: a test in which nothing was sent shows nothing.
const MODULES: &[(&str, &str, &str, &str)] = &[
    (
        "secrets",
        "http://PEER/x",
        "prober: http, http: {http_headers: {X-A: {secrets: [CANARY]}}}",
        "sent",
    ),
    (
        "files",
        "http://PEER/x",
        "prober: http, http: {http_headers: {X-A: {files: [secret]}}}",
        "sent",
    ),
    (
        "body_file",
        "http://PEER/x",
        "prober: http, http: {method: POST, body_file: secret}",
        "sent",
    ),
    (
        "headers",
        "http://PEER/x",
        "prober: http, http: {headers: {X-A: CANARY}}",
        "sent",
    ),
    (
        "basic",
        "http://PEER/x",
        "prober: http, http: {basic_auth: {username: u, password: CANARY}}",
        "sent",
    ),
    (
        "bearer",
        "http://PEER/x",
        "prober: http, http: {authorization: {type: Key, credentials: CANARY}}",
        "sent",
    ),
    (
        "userinfo",
        "http://u:CANARY@PEER/x?CANARY#CANARY",
        "prober: http",
        "sent",
    ),
    (
        "oauth_secret",
        "http://PEER/x",
        "prober: http, http: {oauth2: {client_id: a, client_secret: CANARY, token_url: 'http://PEER/token?key=CANARY'}}",
        "sent",
    ),
    (
        "oauth_params",
        "http://PEER/x",
        "prober: http, http: {oauth2: {client_id: a, client_secret: b, endpoint_params: {key: CANARY}, token_url: 'http://PEER/token'}}",
        "sent",
    ),
    (
        "proxy",
        "http://203.0.113.1/x",
        "prober: http, http: {proxy_url: 'http://u:CANARY@PEER', proxy_connect_header: {X-A: [CANARY]}}",
        "sent",
    ),
    (
        "tunnel",
        "https://203.0.113.1/x",
        "prober: http, http: {proxy_url: 'http://u:CANARY@PEER', proxy_connect_header: {X-A: [CANARY]}}",
        "sent",
    ),
    (
        "tcp",
        "PEER",
        "prober: tcp, tcp: {query_response: [{send: 'PASS CANARY'}, {expect: '^never'}]}",
        "sent",
    ),
    (
        "tcp_match",
        "PEER",
        "prober: tcp, tcp: {query_response: [{send: 'PASS CANARY'}, {expect: '^PASS (.*)$', send: 'AGAIN ${1}'}, {expect: '^never'}]}",
        "sent",
    ),
    (
        "websocket",
        "ws://u:CANARY@PEER/x?CANARY",
        "prober: websocket, websocket: {headers: {X-A: {secrets: [CANARY]}}, http_config: {basic_auth: {username: u, password: CANARY}}}",
        "sent",
    ),
    (
        "grpc",
        "PEER",
        "prober: grpc, grpc: {metadata: {x-a: [CANARY]}}",
        "sent",
    ),
    (
        "key",
        "https://PEER/x",
        "prober: http, http: {tls_config: {cert_file: missing, key_file: CANARY-file}}",
        "kept",
    ),
];

/// The canary of a module, in every spelling in which it could leak.
fn spellings(canary: &str) -> Vec<String> {
    let mut all = vec![canary.to_owned()];
    all.push(url::form_urlencoded::byte_serialize(canary.as_bytes()).collect());
    for before in ["", "u:", "a:"] {
        let text = format!("{before}{canary}");
        for encoded in [BASE64.encode(&text), URL_SAFE_NO_PAD.encode(&text)] {
            // The last letters depend on what follows.
            all.push(encoded[..encoded.len() - 4].to_owned());
        }
    }
    all
}

/// Sends back whatever comes: after the head of an answer where a request came, else as it came.
async fn mirror(kept: Arc<Mutex<Vec<u8>>>) -> Peer {
    Peer::start(move |mut stream| {
        let kept = kept.clone();
        async move {
            let mut first = [0; 4];
            if stream.peek(&mut first).await.is_err() {
                return;
            }
            if [&b"GET "[..], b"POST", b"CONN"].contains(&&first[..]) {
                let head = read_head(&mut stream).await;
                kept.lock().unwrap().extend_from_slice(&head);
                let mut body = vec![0; 4096];
                let body = match tokio::time::timeout(std::time::Duration::from_millis(50), stream.read(&mut body)).await {
                    Ok(Ok(count)) => body[..count].to_vec(),
                    _ => Vec::new(),
                };
                kept.lock().unwrap().extend_from_slice(&body);
                let text = String::from_utf8_lossy(&head).into_owned();
                let (line, fields) = text.split_once("\r\n").unwrap();
                let again = String::from_utf8_lossy(&body).into_owned() + &text;
                let answer = format!(
                    "HTTP/1.1 403 Forbidden\r\nX-Asked: {line}\r\nLocation: /?{line}\r\nContent-Length: {}\r\n{}\r\n\r\n{again}",
                    again.len(),
                    fields.trim_end(),
                );
                stream.write_all(answer.as_bytes()).await.ok();
                stream.shutdown().await.ok();
                return;
            }
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                kept.lock().unwrap().extend_from_slice(&buffer[..count]);
                stream.write_all(&buffer[..count]).await.ok();
            }
        }
    })
    .await
}

fn config(folder: &Path, peer: &Peer) -> String {
    let mut config = "modules:\n".to_owned();
    for (name, _, module, _) in MODULES {
        let canary = canary(name);
        std::fs::write(folder.join(format!("secret-{name}")), &canary).unwrap();
        let module = module
            .replace("[secret]", &format!("[secret-{name}]"))
            .replace("body_file: secret", &format!("body_file: secret-{name}"))
            .replace("CANARY", &canary)
            .replace("PEER", &peer.address.to_string());
        writeln!(config, "  {name}: {{timeout: 2s, {module}}}").unwrap();
    }
    config
}

fn canary(module: &str) -> String {
    format!("canary-of-{}", module.replace('_', "-"))
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_of_any_prober_is_shown_anywhere() {
    let sent = Arc::<Mutex<Vec<u8>>>::default();
    let peer = mirror(sent.clone()).await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("glassbox.yml"), config(folder.path(), &peer)).unwrap();
    let flags = ["--config.file=glassbox.yml", "--log.level=debug", "--log.prober=debug"];
    let running = Running::start_in(folder, &flags).await;
    let mut pages = Vec::new();
    for (name, target, _, how) in MODULES {
        sent.lock().unwrap().clear();
        let target = target
            .replace("CANARY", &canary(name))
            .replace("PEER", &peer.address.to_string());
        let target: String = url::form_urlencoded::byte_serialize(target.as_bytes()).collect();
        let probe = format!("/probe?module={name}&target={target}");
        let answer = running.get(&format!("{probe}&debug=true")).await;
        let id = answer.headers()["x-glassbox-evidence"].to_str().unwrap().to_owned();
        pages.push((format!("{name}: debug"), answer.text().await.unwrap()));
        for path in [
            probe,
            format!("/evidence/{id}"),
            format!("/evidence/{id}.json"),
            format!("/evidence/{id}.har"),
            format!("/logs?id={id}"),
        ] {
            pages.push((
                format!("{name}: {path}").replace(&target, "TARGET"),
                running.text(&path).await,
            ));
        }
        let reached = sent.lock().unwrap().clone();
        let reached = String::from_utf8_lossy(&reached).into_owned();
        let canary = canary(name);
        let was_sent = spellings(&canary).iter().any(|spelling| reached.contains(spelling));
        // Over HTTP/2 fields are packed, and the key of TLS is no field.
        assert!(was_sent || *how == "kept" || *name == "grpc", "{name}: {reached:?}");
    }
    for path in ["/", "/config", "/metrics"] {
        pages.push((path.to_owned(), running.text(path).await));
    }
    pages.push(("the log".to_owned(), running.log()));
    for (name, ..) in MODULES {
        for spelling in spellings(&canary(name)) {
            for (place, text) in &pages {
                // The path of a key is none.
                let text = text.replace("canary-of-key-file", "");
                assert!(
                    !text.contains(&spelling),
                    "{place} shows the canary of {name} as {spelling}:\n{text}"
                );
            }
        }
    }
}
