//! OAuth 2.0 tokens: fetched in a separate exchange, cached and expired. A failed token request is attributed to the
//! link `local`.

use crate::redirects::Request;
use crate::support::exporter::Exporter;
use crate::support::peer::Peer;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;

/// A server with responses from the test that records every request.
struct Server {
    peer: Peer,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    /// Starts a server that responds with the status and body from `says`.
    async fn start(says: impl Fn(&Request) -> (u16, String) + Send + Sync + 'static) -> Self {
        let (requests, says) = (Arc::<Mutex<Vec<Request>>>::default(), Arc::new(says));
        let kept = requests.clone();
        let peer = Peer::start(move |mut stream| {
            let (kept, says) = (kept.clone(), says.clone());
            async move {
                let request = Request::read(&mut stream).await;
                let (status, body) = says(&request);
                kept.lock().unwrap().push(request);
                let answer = format!("HTTP/1.1 {status} Said\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                let _ = stream.write_all(answer.as_bytes()).await;
                let _ = stream.shutdown().await;
            }
        })
        .await;
        Self { peer, requests }
    }

    /// Starts a server that issues the tokens t1, t2 and so on, each with this lifetime in seconds.
    async fn granting(seconds: u32) -> Self {
        let granted = Mutex::new(0);
        Self::start(move |_| {
            let mut granted = granted.lock().unwrap();
            *granted += 1;
            let token = format!(r#"{{"access_token": "t{granted}", "token_type": "bearer", "expires_in": {seconds}}}"#);
            (200, token)
        })
        .await
    }

    fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

fn module(token_server: SocketAddr, keys: &str) -> String {
    format!(
        "modules:\n  m:\n    prober: http\n    timeout: 5s\n    http:\n      oauth2:\n        client_id: me@us\n        \
         token_url: http://{token_server}/token?tenant=a\n{keys}"
    )
}

const SECRET: &str = "        client_secret: pass/word\n";

fn form(request: &Request) -> BTreeMap<String, String> {
    url::form_urlencoded::parse(&request.body).into_owned().collect()
}

#[tokio::test]
async fn a_token_is_fetched_in_a_separate_exchange_and_cached() {
    let (issuer, target) = (
        Server::granting(3600).await,
        Server::start(|_| (200, "hello".to_owned())).await,
    );
    let keys = format!("{SECRET}        scopes: [read, write]\n        endpoint_params: {{audience: shop}}\n");
    let exporter = Exporter::start(&module(issuer.peer.address, &keys)).await;
    let first = exporter.probe("m", &target.peer.http()).await;
    assert_eq!(first.page.value("probe_success"), 1.0, "{:#}", first.evidence);
    let asked = issuer.requests().remove(0);
    assert_eq!(
        (asked.method.as_str(), asked.path.as_str()),
        ("POST", "/token?tenant=a")
    );
    assert_eq!(asked.header("content-type"), Some("application/x-www-form-urlencoded"));
    // me%40us:pass%2Fword: both parts are encoded (RFC 6749 section 2.3.1).
    assert_eq!(
        asked.header("authorization"),
        Some("Basic bWUlNDB1czpwYXNzJTJGd29yZA==")
    );
    let form = form(&asked);
    let expected = [
        ("audience", "shop"),
        ("grant_type", "client_credentials"),
        ("scope", "read write"),
    ];
    assert_eq!(
        form,
        expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
    );
    let exchanges = first.evidence["target"]["exchanges"].as_array().unwrap();
    let purposes: Vec<_> = exchanges.iter().map(|exchange| &exchange["for_credentials"]).collect();
    assert_eq!(purposes, [&Value::Bool(true), &Value::Bool(false)]);
    assert!(!first.evidence.to_string().contains("t1"), "{:#}", first.evidence);
    // Metrics of `blackbox_exporter` cover the target only.
    assert_eq!(first.page.value("probe_http_redirects"), 0.0);
    assert_eq!(first.page.value("probe_http_content_length"), 5.0);

    exporter.probe("m", &target.peer.http()).await;
    assert_eq!(issuer.requests().len(), 1, "the token must be cached");
    let tokens: Vec<_> = target
        .requests()
        .iter()
        .map(|request| request.header("authorization").unwrap().to_owned())
        .collect();
    assert_eq!(tokens, ["Bearer t1", "Bearer t1"]);
}

#[tokio::test]
async fn an_expired_or_rejected_token_is_fetched_again() {
    // A token expires ten seconds early, so a token with this lifetime is never reused.
    let (issuer, target) = (
        Server::granting(10).await,
        Server::start(|_| (200, String::new())).await,
    );
    let exporter = Exporter::start(&module(issuer.peer.address, SECRET)).await;
    for _ in 0..2 {
        exporter.probe("m", &target.peer.http()).await;
    }
    assert_eq!(issuer.requests().len(), 2);

    let issuer = Server::granting(3600).await;
    let target = Server::start(|request| match request.header("authorization") {
        Some("Bearer t1") => (401, String::new()),
        _ => (200, String::new()),
    })
    .await;
    let exporter = Exporter::start(&module(issuer.peer.address, SECRET)).await;
    let refused = exporter.probe("m", &target.peer.http()).await;
    assert_eq!(refused.page.value("probe_http_status_code"), 401.0);
    let taken = exporter.probe("m", &target.peer.http()).await;
    assert_eq!(taken.page.value("probe_success"), 1.0, "{:#}", taken.evidence);
}

#[tokio::test]
async fn a_client_secret_can_be_sent_in_the_body() {
    let issuer = Server::start(|request| match form(request).get("client_secret").map(String::as_str) {
        Some("pass/word") => (200, r#"{"access_token": "abc"}"#.to_owned()),
        _ => (401, r#"{"error": "invalid_client"}"#.to_owned()),
    })
    .await;
    let target = Server::start(|_| (200, String::new())).await;
    let exporter = Exporter::start(&module(issuer.peer.address, SECRET)).await;
    let probed = exporter.probe("m", &target.peer.http()).await;
    assert_eq!(probed.page.value("probe_success"), 1.0, "{:#}", probed.evidence);
    assert_eq!(issuer.requests().len(), 2);
    assert_eq!(target.requests()[0].header("authorization"), Some("Bearer abc"));
}

#[tokio::test]
async fn a_key_signs_the_assertion() {
    let (issuer, target) = (
        Server::granting(60).await,
        Server::start(|_| (200, String::new())).await,
    );
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key.pem");
    let openssl = |arguments: &[&str]| {
        let output = Command::new("openssl")
            .args(arguments)
            .current_dir(folder.path())
            .output();
        let output = output.expect("`make deps` installs openssl");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    openssl(&["genrsa", "-out", "key.pem", "2048"]);
    openssl(&["rsa", "-in", "key.pem", "-pubout", "-out", "public.pem"]);
    let keys = format!(
        "        grant_type: urn:ietf:params:oauth:grant-type:jwt-bearer\n        client_certificate_key_file: {}\n        \
         client_certificate_key_id: key-1\n        signature_algorithm: RS384\n        iss: us\n        audience: them\n        \
         claims: {{role: prober}}\n",
        key.display()
    );
    let exporter = Exporter::start(&module(issuer.peer.address, &keys)).await;
    let probed = exporter.probe("m", &target.peer.http()).await;
    assert_eq!(probed.page.value("probe_success"), 1.0, "{:#}", probed.evidence);
    let form = form(&issuer.requests()[0]);
    assert_eq!(form["grant_type"], "urn:ietf:params:oauth:grant-type:jwt-bearer");
    let (signed, signature) = form["assertion"].rsplit_once('.').unwrap();
    let (head, claims) = signed.split_once('.').unwrap();
    let read = |part: &str| serde_json::from_slice::<Value>(&BASE64URL.decode(part).unwrap()).unwrap();
    assert_eq!(
        read(head),
        serde_json::json!({"alg": "RS384", "kid": "key-1", "typ": "JWT"})
    );
    let claims = read(claims);
    for (name, value) in [("iss", "us"), ("sub", "me@us"), ("aud", "them"), ("role", "prober")] {
        assert_eq!(claims[name], value, "{name}");
    }
    assert!(claims["exp"].as_u64() > claims["iat"].as_u64() && claims["jti"].is_string());
    std::fs::write(folder.path().join("signed"), signed).unwrap();
    std::fs::write(folder.path().join("signature"), BASE64URL.decode(signature).unwrap()).unwrap();
    openssl(&[
        "dgst",
        "-sha384",
        "-verify",
        "public.pem",
        "-signature",
        "signature",
        "signed",
    ]);
}

#[tokio::test]
async fn a_failed_token_request_is_a_local_fault() {
    let refusing = Server::start(|_| (400, r#"{"error": "invalid_scope"}"#.to_owned())).await;
    let babbling = Server::start(|_| (200, "{}".to_owned())).await;
    let target = Server::start(|_| (200, String::new())).await;
    for (issuer, detail) in [
        (
            refusing.peer.address,
            "The token server returned 400: \"invalid_scope\".",
        ),
        (
            babbling.peer.address,
            "The token server's response contains no access_token.",
        ),
        (
            ([127, 0, 0, 1], 9).into(),
            "Connecting to 127.0.0.1:9 failed: Connection refused (os error 111).",
        ),
    ] {
        let exporter = Exporter::start(&module(issuer, SECRET)).await;
        let probed = exporter.probe("m", &target.peer.http()).await;
        assert_eq!(probed.page.value("probe_success"), 0.0);
        assert_eq!(probed.evidence["verdict"]["link"], "local", "{:#}", probed.evidence);
        assert_eq!(probed.evidence["verdict"]["reason"], "local.credentials");
        assert_eq!(probed.evidence["target"]["fault"]["detail"], detail);
        assert_eq!(probed.page.value("probe_http_status_code"), 0.0);
    }
    assert_eq!(target.requests().len(), 0);
}

/// In contrast, `blackbox_exporter` waits one minute for the token, independent of the module's timeout.
#[tokio::test]
async fn a_silent_token_server_ends_with_the_probe_timeout() {
    let silent = Peer::start(|stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    let config = module(silent.address, SECRET).replace("timeout: 5s", "timeout: 1s");
    let exporter = Exporter::start(&config).await;
    let probe = exporter.probe("m", "http://127.0.0.1:9/");
    let probed = tokio::time::timeout(Duration::from_secs(20), probe).await.unwrap();
    assert_eq!(
        probed.evidence["verdict"]["reason"], "local.credentials",
        "{:#}",
        probed.evidence
    );
    assert_eq!(silent.connections(), 1);
}

/// A probe without a token must not be attributed to a backend either.
#[tokio::test]
async fn a_failed_token_request_is_not_attributed_to_backends() {
    let refusing = Server::start(|_| (403, String::new())).await;
    let app = Server::start(|_| (200, String::new())).await;
    let config = module(refusing.peer.address, SECRET);
    let backends = format!("    backends: [{{name: app, address: '{}'}}]\n", app.peer.address);
    let exporter = Exporter::start(&(config + &backends)).await;
    let probed = exporter.probe("m", "http://127.0.0.1:9/").await;
    assert_eq!(
        probed.evidence["verdict"]["reason"], "local.credentials",
        "{:#}",
        probed.evidence
    );
    assert_eq!(
        probed.page.starting("probe_backend_success").count(),
        0,
        "{:?}",
        probed.page
    );
    assert!(app.requests().is_empty());
}

/// As in the library of `blackbox_exporter`: a different grant type, and a form-encoded response.
#[tokio::test]
async fn an_old_style_token_server_is_supported() {
    let issuer = Server::start(|request| match form(request).get("grant_type").map(String::as_str) {
        Some("password") => (201, "access_token=abc&token_type=bearer&expires_in=60".to_owned()),
        _ => (400, String::new()),
    })
    .await;
    let target = Server::start(|_| (200, String::new())).await;
    let keys = format!("{SECRET}        endpoint_params: {{grant_type: password}}\n");
    let exporter = Exporter::start(&module(issuer.peer.address, &keys)).await;
    let probed = exporter.probe("m", &target.peer.http()).await;
    assert_eq!(probed.page.value("probe_success"), 1.0, "{:#}", probed.evidence);
    assert_eq!(target.requests()[0].header("authorization"), Some("Bearer abc"));
    assert_eq!(issuer.requests().len(), 1);
}
