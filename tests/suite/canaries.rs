//! Every key that can hold a secret has one, and the targets return it. No page, log or metric may show it.

use crate::serving::Running;
use crate::support::peer::{Peer, read_head};
use crate::support::pki::Authority;
use crate::support::process::eventually;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD as BASE64, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::UnixListener;

const PROGRAM: &str = env!("CARGO_BIN_EXE_glassbox_exporter");

/// Modules with their targets, and whether the secret must reach the target. A test in which nothing was sent proves
/// nothing, but TLS keys are never sent, and HTTP/2 compresses header fields. CANARY stands for the module's secret,
/// FILE for a file with the secret, and CERT, KEY and RSA for the files of [`Keys`].
pub const MODULES: &[(&str, &str, &str, &str)] = &[
    (
        "secrets",
        "http://PEER/x",
        "prober: http, http: {http_headers: {X-A: {secrets: [CANARY]}}}",
        "sent",
    ),
    (
        "files",
        "http://PEER/x",
        "prober: http, http: {http_headers: {X-A: {files: [FILE]}}}",
        "sent",
    ),
    (
        "values",
        "http://PEER/x",
        "prober: http, http: {http_headers: {X-A: {values: [CANARY]}}}",
        "sent",
    ),
    (
        "cookie",
        "http://PEER/x",
        "prober: http, http: {headers: {Cookie: 'a=b; session=CANARY'}}",
        "sent",
    ),
    (
        "body",
        "http://PEER/x",
        "prober: http, http: {method: POST, body: CANARY}",
        "sent",
    ),
    (
        "body_file",
        "http://PEER/x",
        "prober: http, http: {method: POST, body_file: FILE}",
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
        "bearer_file",
        "http://PEER/x",
        "prober: http, http: {authorization: {type: Key, credentials_file: FILE}}",
        "sent",
    ),
    (
        "token",
        "http://PEER/x",
        "prober: http, http: {bearer_token: CANARY}",
        "sent",
    ),
    (
        "token_file",
        "http://PEER/x",
        "prober: http, http: {bearer_token_file: FILE}",
        "sent",
    ),
    (
        "basic_files",
        "http://PEER/x",
        "prober: http, http: {basic_auth: {username_file: FILE, password_file: FILE}}",
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
        "oauth_file",
        "http://PEER/x",
        "prober: http, http: {oauth2: {client_id: a, client_secret_file: FILE, token_url: 'http://PEER/token'}}",
        "sent",
    ),
    (
        "oauth_proxy",
        "http://PEER/x",
        "prober: http, http: {oauth2: {client_id: a, client_secret: b, token_url: 'http://203.0.113.1/token', proxy_url: 'http://u:CANARY@PEER', proxy_connect_header: {X-A: [CANARY]}}}",
        "sent",
    ),
    (
        "oauth_claims",
        "http://PEER/x",
        "prober: http, http: {oauth2: {client_id: a, grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer', client_certificate_key: RSA, claims: {role: CANARY}, token_url: 'http://PEER/token'}}",
        "sent",
    ),
    (
        "oauth_key",
        "http://PEER/x",
        "prober: http, http: {oauth2: {client_id: a, client_secret: CANARY, token_url: 'https://PEER/token', tls_config: {cert: CERT, key: KEY}}}",
        "kept",
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
        "socks",
        "https://203.0.113.1/x",
        "prober: http, http: {proxy_url: 'socks5://u:CANARY@PEER'}",
        "sent",
    ),
    (
        "unix",
        "SOCKET",
        "prober: unix, unix: {query_response: [{send: 'PASS CANARY'}, {expect: '^never'}]}",
        "sent",
    ),
    (
        "unix_match",
        "SOCKET",
        "prober: unix, unix: {query_response: [{send: 'PASS CANARY'}, {expect: '^PASS (.*)$', send: 'AGAIN ${1}'}, {expect: '^never'}]}",
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
        "tcp_labels",
        "PEER",
        "prober: tcp, tcp: {query_response: [{send: 'PASS CANARY'}, {expect: '^PASS (.*)$', labels: [{name: said, value: 'it said ${1}'}]}]}",
        "sent",
    ),
    (
        "websocket_message",
        "ws://PEER/x",
        "prober: websocket, websocket: {query_response: [{send: 'PASS CANARY'}, {expect: '^never'}]}",
        "kept",
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
        "kept",
    ),
    (
        "websocket_token",
        "ws://PEER/x",
        "prober: websocket, websocket: {http_config: {bearer_token: CANARY}}",
        "sent",
    ),
    (
        "key",
        "https://PEER/x",
        "prober: http, http: {tls_config: {cert: CERT, key: KEY}}",
        "kept",
    ),
    (
        "tcp_key",
        "PEER",
        "prober: tcp, tcp: {tls: true, tls_config: {cert: CERT, key: KEY}}",
        "kept",
    ),
    (
        "unix_key",
        "SOCKET",
        "prober: unix, unix: {tls: true, tls_config: {server_name: a.test, cert: CERT, key: KEY}}",
        "kept",
    ),
    (
        "dns_key",
        "PEER",
        "prober: dns, dns: {query_name: a.test, transport_protocol: tcp, dns_over_tls: true, tls_config: {cert: CERT, key: KEY}}",
        "kept",
    ),
    (
        "grpc_key",
        "PEER",
        "prober: grpc, grpc: {tls: true, tls_config: {cert: CERT, key: KEY}}",
        "kept",
    ),
    (
        "websocket_key",
        "wss://PEER/x",
        "prober: websocket, websocket: {http_config: {tls_config: {cert: CERT, key: KEY}}}",
        "kept",
    ),
];

/// Rejected configurations, each next to a canary or because of it: by the YAML parser, by the types of keys, or during
/// validation.
const BAD: &[&str] = &[
    "modules: {m: {prober: http, http: {basic_auth: {username: u, password: CANARY}}",
    "modules:\n  m:\n    prober: http\n    http:\n      bearer_token: CANARY: x\n",
    "modules:\n  m:\n    prober: http\n    http:\n      bearer_token: 'CANARY\n",
    "modules:\n  m:\n    prober: http\n    http:\n      bearer_token: \"CANARY\\q\"\n",
    "modules:\n  m:\n    prober: http\n    http:\n\tbearer_token: CANARY\n",
    "modules:\n  m:\n    prober: http\n    http:\n      bearer_token: CANARY\n     follow_redirects: true\n",
    "modules: {m: {prober: http, http: {bearer_token: *CANARY}}}",
    "modules: {m: {prober: http, http: {bearer_token: !!int CANARY}}}",
    "modules: {m: {prober: http, http: {bearer_token: CANARY, <<: CANARY}}}",
    "modules: {m: {prober: http, http: {bearer_token: CANARY, bearer_token: CANARY}}}",
    "modules: {m: {prober: http, http: {bearer_tokn: CANARY}}}",
    "modules: {m: {prober: http, http: {bearer_token: [CANARY]}}}",
    "modules: {m: {prober: http, http: {bearer_token: \"CANARY\\u0001\"}}}",
    "modules: {m: {prober: http, http: {bearer_token: CANARY, bearer_token_file: FILE}}}",
    "modules: {m: {prober: http, http: {basic_auth: CANARY}}}",
    "modules: {m: {prober: http, http: {basic_auth: {username: u, password: {CANARY: a}}}}}",
    "modules: {m: {prober: http, http: {basic_auth: {username: u, password: CANARY}, bearer_token: CANARY}}}",
    "modules: {m: {prober: http, http: {authorization: {credentials: \"CANARY\\u0001\"}}}}",
    "modules: {m: {prober: http, http: {authorization: {type: basic, credentials: CANARY}}}}",
    "modules: {m: {prober: http, http: {headers: [CANARY]}}}",
    "modules: {m: {prober: http, http: {headers: {X-A: \"CANARY\\u0001\"}}}}",
    "modules: {m: {prober: http, http: {http_headers: {X-A: CANARY}}}}",
    "modules: {m: {prober: http, http: {http_headers: {X-A: {secrets: CANARY}}}}}",
    "modules: {m: {prober: http, http: {http_headers: {X-A: {secrets: [\"CANARY\\u0001\"]}}}}}",
    "modules: {m: {prober: http, http: {body: [CANARY]}}}",
    "modules: {m: {prober: http, http: {body: CANARY, body_file: FILE}}}",
    "modules: {m: {prober: http, http: {tls_config: {cert: CERT, key: CANARY}}}}",
    "modules: {m: {prober: http, http: {tls_config: {key: CANARY}}}}",
    "modules: {m: {prober: http, http: {proxy_url: 'http://u:CANARY@:x'}}}",
    "modules: {m: {prober: http, http: {proxy_url: 'gopher://u:CANARY@a'}}}",
    "modules: {m: {prober: http, http: {proxy_url: [CANARY]}}}",
    "modules: {m: {prober: http, http: {proxy_url: 'http://a', proxy_connect_header: {X-A: CANARY}}}}",
    "modules: {m: {prober: http, http: {proxy_url: 'http://a', proxy_connect_header: {X-A: [\"CANARY\\u0001\"]}}}}",
    "modules: {m: {prober: http, http: {oauth2: {client_id: a, token_url: 'gopher://a/?key=CANARY'}}}}",
    "modules: {m: {prober: http, http: {oauth2: {client_id: a, token_url: 'http://u:CANARY@:x'}}}}",
    "modules: {m: {prober: http, http: {oauth2: {client_secret: CANARY, token_url: 'http://a/'}}}}",
    "modules: {m: {prober: http, http: {oauth2: {client_id: a, token_url: 'http://a/', claims: CANARY}}}}",
    "modules: {m: {prober: http, http: {oauth2: {client_id: a, token_url: 'http://a/', endpoint_params: CANARY}}}}",
    "modules: {m: {prober: tcp, tcp: {query_response: [{send: [CANARY]}]}}}",
    "modules: {m: {prober: tcp, tcp: {query_response: [{expect: '^(', send: CANARY}]}}}",
    "modules: {m: {prober: unix, unix: {query_response: [{send: CANARY, starttls: maybe}]}}}",
    "modules: {m: {prober: grpc, grpc: {metadata: {x-a: CANARY}}}}",
    "modules: {m: {prober: grpc, grpc: {metadata: {x-a: [\"CANARY\\u0001\"]}}}}",
    "modules: {m: {prober: websocket, websocket: {headers: {X-A: {secrets: [\"CANARY\\u0001\"]}}}}}",
    "CANARY",
];

/// The same as [`BAD`], for the web configuration.
const BAD_WEB: &[&str] = &[
    "basic_auth_users: {u: CANARY}",
    "basic_auth_users: {u: [CANARY]}",
    "basic_auth_users: CANARY",
    "basic_auth_users: {u: CANARY, u: CANARY}",
    "basic_auth_users: {u: CANARY",
    "basic_auth_users:\n  u: CANARY: x\n",
    "basic_auth_user: {u: CANARY}",
    "tls_server_config: {cert: CERT, key: CANARY}",
    "CANARY",
];

/// A text with each of its bytes encoded.
pub fn each_byte(text: &str, written: impl Fn(u8) -> String) -> String {
    text.bytes().map(written).collect()
}

/// A canary in every encoding in which it could leak.
pub fn spellings(canary: &str) -> Vec<String> {
    let mut all = vec![canary.to_owned(), canary.to_uppercase()];
    all.push(each_byte(canary, |byte| format!("{byte:02x}")));
    all.push(url::form_urlencoded::byte_serialize(canary.as_bytes()).collect());
    // base64 encodes three bytes as four characters, so the preceding bytes determine the alignment.
    for before in ["", "a", "aa"] {
        let text = format!("{before}{canary}");
        for encoded in [STANDARD_NO_PAD.encode(&text), URL_SAFE_NO_PAD.encode(&text)] {
            // The first characters depend on the preceding bytes, the last ones on the following bytes.
            all.push(encoded[before.len() * 2..encoded.len() - 4].to_owned());
        }
    }
    // Field names are shown in lower case.
    let lower: Vec<_> = all.iter().map(|spelling| spelling.to_lowercase()).collect();
    all.extend(lower);
    all
}

/// Keys and certificates, for secrets that cannot be arbitrary text.
pub struct Keys {
    certificate: String,
    key: String,
    rsa: String,
}

impl Keys {
    pub fn new(folder: &Path) -> Self {
        let authority = Authority::new();
        let (certificate, key) = authority.files("client.test");
        let read = |path: &Path| std::fs::read_to_string(path).unwrap();
        let rsa = folder.join("rsa.pem");
        let made = Command::new("openssl").args(["genrsa", "-out"]).arg(&rsa).output();
        assert!(made.expect("`make deps` installs openssl").status.success());
        Self {
            certificate: read(&certificate),
            key: read(&key),
            rsa: read(&rsa),
        }
    }

    /// Replaces the placeholders of a text.
    fn fill(&self, text: &str, canary: &str, file: &str) -> String {
        let quoted = |pem: &str| format!("\"{}\"", pem.replace('\n', "\\n"));
        text.replace("CANARY", canary)
            .replace("FILE", file)
            .replace("CERT", &quoted(&self.certificate))
            .replace("KEY", &quoted(&self.key))
            .replace("RSA", &quoted(&self.rsa))
    }

    /// The complete lines of the keys. Each of them is a secret.
    fn lines(&self) -> Vec<String> {
        let lines = self.key.lines().chain(self.rsa.lines());
        let lines: Vec<_> = lines.filter(|line| line.len() == 64).map(str::to_owned).collect();
        assert!(lines.len() > 10, "{lines:?}");
        lines
    }
}

/// A server that returns its input: as an HTTP response if the input is a request, otherwise unchanged.
async fn mirror(kept: Arc<Mutex<Vec<u8>>>) -> Peer {
    Peer::start(move |stream| {
        let kept = kept.clone();
        async move {
            let mut first = [0; 4];
            if stream.peek(&mut first).await.is_err() {
                return;
            }
            if [&b"GET "[..], b"POST", b"CONN"].contains(&&first[..]) {
                answer_with_itself(stream, &kept).await;
            } else {
                repeat(stream, &kept).await;
            }
        }
    })
    .await
}

/// Rejects a request, and repeats it in every part of the response.
async fn answer_with_itself(mut stream: impl AsyncRead + AsyncWrite + Unpin, kept: &Mutex<Vec<u8>>) {
    let head = read_head(&mut stream).await;
    kept.lock().unwrap().extend_from_slice(&head);
    let mut body = vec![0; 4096];
    let soon = std::time::Duration::from_millis(50);
    let body = match tokio::time::timeout(soon, stream.read(&mut body)).await {
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
}

async fn repeat(mut stream: impl AsyncRead + AsyncWrite + Unpin, kept: &Mutex<Vec<u8>>) {
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        kept.lock().unwrap().extend_from_slice(&buffer[..count]);
        stream.write_all(&buffer[..count]).await.ok();
    }
}

/// The same server at a Unix domain socket.
fn mirror_at(socket: &Path, kept: Arc<Mutex<Vec<u8>>>) {
    let listener = UnixListener::bind(socket).unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let kept = kept.clone();
            tokio::spawn(async move { repeat(stream, &kept).await });
        }
    });
}

pub fn config(folder: &Path, peer: &Peer, keys: &Keys) -> String {
    let mut config = "modules:\n".to_owned();
    for (name, _, module, _) in MODULES {
        let (canary, file) = (canary(name), format!("secret-{name}"));
        std::fs::write(folder.join(&file), &canary).unwrap();
        let module = keys
            .fill(module, &canary, &file)
            .replace("PEER", &peer.address.to_string());
        writeln!(config, "  {name}: {{timeout: 2s, {module}}}").unwrap();
    }
    config
}

pub fn canary(module: &str) -> String {
    format!("canary-of-{}", module.replace('_', "-"))
}

/// Fails if a page contains a secret in any encoding.
pub fn none_is_shown(secrets: &[String], pages: &[(String, String)]) {
    for secret in secrets {
        for spelling in spellings(secret) {
            for (place, text) in pages {
                assert!(
                    !text.contains(&spelling),
                    "{place} shows {secret} as {spelling}:\n{text}"
                );
            }
        }
    }
}

/// Probes with a module. Returns all pages about the probe.
pub async fn probed(running: &Running, name: &str, target: &str) -> Vec<(String, String)> {
    let target: String = url::form_urlencoded::byte_serialize(target.as_bytes()).collect();
    let probe = format!("/probe?module={name}&target={target}");
    let debug = format!("{probe}&debug=true");
    // Concurrently, because both may wait until their timeout.
    let (answer, page) = tokio::join!(running.get(&debug), running.text(&probe));
    let (status, id) = (answer.status(), answer.headers().get("x-glassbox-evidence"));
    let id = id.unwrap_or_else(|| panic!("{name}: status {status}, no evidence"));
    let id = id.to_str().unwrap().to_owned();
    let mut pages = vec![
        (format!("{name}: debug"), answer.text().await.unwrap()),
        (format!("{name}: page"), page),
    ];
    for path in [
        format!("/evidence/{id}"),
        format!("/evidence/{id}.json"),
        format!("/evidence/{id}.har"),
        format!("/logs?id={id}"),
    ] {
        pages.push((format!("{name}: {path}"), running.text(&path).await));
    }
    pages
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_of_any_prober_is_shown_anywhere() {
    let sent = Arc::<Mutex<Vec<u8>>>::default();
    let peer = mirror(sent.clone()).await;
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("socket");
    mirror_at(&socket, sent.clone());
    let keys = Keys::new(folder.path());
    std::fs::write(folder.path().join("glassbox.yml"), config(folder.path(), &peer, &keys)).unwrap();
    let flags = ["--config.file=glassbox.yml", "--log.level=debug", "--log.prober=debug"];
    let running = Running::start_in(folder, &flags).await;
    let mut pages = Vec::new();
    for (name, target, _, how) in MODULES {
        sent.lock().unwrap().clear();
        let target = target
            .replace("CANARY", &canary(name))
            .replace("PEER", &peer.address.to_string())
            .replace("SOCKET", &socket.display().to_string());
        pages.extend(probed(&running, name, &target).await);
        let reached = sent.lock().unwrap().clone();
        assert!(!reached.is_empty(), "{name}: the target received nothing");
        let reached = String::from_utf8_lossy(&reached).into_owned();
        let was_sent = spellings(&canary(name))
            .iter()
            .any(|spelling| reached.contains(spelling));
        assert_eq!(was_sent, *how == "sent", "{name}: {reached:?}");
    }
    // A rejected reload leaves the current configuration in place.
    running.write("glassbox.yml", &keys.fill(BAD[0], &canary("reload"), "secret"));
    let client = crate::support::http::client();
    let answer = client.post(running.url("/-/reload")).send().await.unwrap();
    assert_eq!(answer.status(), 500);
    pages.push(("a bad reload".to_owned(), answer.text().await.unwrap()));
    for path in ["/", "/config", "/metrics"] {
        pages.push((path.to_owned(), running.text(path).await));
    }
    pages.push(("the log".to_owned(), running.whole_log().await));
    assert!(pages.last().unwrap().1.contains("Error reloading config"), "{pages:?}");
    let canaries = MODULES.iter().map(|(name, ..)| canary(name));
    let secrets: Vec<_> = canaries.chain([canary("reload")]).chain(keys.lines()).collect();
    none_is_shown(&secrets, &pages);
}

/// All output of a command that rejects a file.
fn refusal(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new(PROGRAM)
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {text}");
    assert!(text.contains("bad.yml"), "{text}");
    text
}

#[test]
fn no_configuration_error_shows_a_secret() {
    let folder = tempfile::tempdir().unwrap();
    let keys = Keys::new(folder.path());
    let canary = canary("refusal");
    std::fs::write(folder.path().join("secret"), &canary).unwrap();
    let write = |text: &str| {
        let filled = keys.fill(text, &canary, "secret");
        std::fs::write(folder.path().join("bad.yml"), &filled).unwrap();
    };
    let mut pages = Vec::new();
    for bad in BAD {
        write(bad);
        for arguments in [
            &["--config.file=bad.yml", "--config.check"][..],
            &["config", "check", "bad.yml"],
        ] {
            pages.push(((*bad).to_owned(), refusal(folder.path(), arguments)));
        }
    }
    for bad in BAD_WEB {
        write(bad);
        let flags = ["--web.config.file=bad.yml", "--web.listen-address=127.0.0.1:0"];
        pages.push(((*bad).to_owned(), refusal(folder.path(), &flags)));
    }
    let secrets: Vec<_> = [canary].into_iter().chain(keys.lines()).collect();
    none_is_shown(&secrets, &pages);
}

/// Passwords of the exporter's port, and passwords sent to it.
#[tokio::test]
async fn no_password_of_the_exporters_port_is_shown_anywhere() {
    let folder = tempfile::tempdir().unwrap();
    let (right, wrong) = (canary("right"), canary("wrong"));
    let hash = bcrypt::hash(&right, 4).unwrap();
    std::fs::write(folder.path().join("glassbox.yml"), "modules: {m: {prober: http}}\n").unwrap();
    std::fs::write(
        folder.path().join("web.yml"),
        format!("basic_auth_users: {{user: '{hash}'}}\n"),
    )
    .unwrap();
    let flags = [
        "--config.file=glassbox.yml",
        "--web.config.file=web.yml",
        "--log.level=debug",
        "--log.prober=debug",
    ];
    let running = Running::start_in(folder, &flags).await;
    let client = crate::support::http::client();
    let ask = async |path: &str, password: &str| {
        let field = format!("Basic {}", BASE64.encode(format!("user:{password}")));
        let answer = client
            .get(running.url(path))
            .header("Authorization", field)
            .send()
            .await
            .unwrap();
        let status = answer.status().as_u16();
        let fields = format!("{:?}", answer.headers());
        (status, (path.to_owned(), fields + &answer.text().await.unwrap()))
    };
    let mut pages = Vec::new();
    for path in [
        "/",
        "/config",
        "/metrics",
        "/-/healthy",
        "/probe?module=m&target=http://127.0.0.1:9/&debug=true",
    ] {
        for (password, expected) in [(&right, 200), (&wrong, 401)] {
            let (status, page) = ask(path, password).await;
            assert_eq!(status, expected, "{path}");
            pages.push(page);
        }
    }
    // An invalid hash is rejected, and the current file stays in effect.
    running.write(
        "web.yml",
        &format!("basic_auth_users: {{user: '{hash}', other: {}}}\n", canary("hash")),
    );
    eventually("a refusal", async || {
        assert_eq!(ask("/metrics", &right).await.0, 200);
        running.log().contains("Error reloading web config file")
    })
    .await;
    pages.push(ask("/config", &right).await.1);
    pages.push(("the log".to_owned(), running.log()));
    none_is_shown(&[right, wrong, hash, canary("hash")], &pages);
}
