//! The command of the evidence, run with the real curl: it has everything that the probe had, and fails in the same way.

use crate::support::exporter::{Exporter, Probed};
use crate::support::peer::{Peer, ok, read_head, reset};
use crate::support::pki::{Authority, self_signed};
use crate::support::proxy::Proxy;
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::Command;

/// Exit codes of curl (curl(1)).
const REFUSED: i32 = 7;
const PARTIAL: i32 = 18;
const TIMED_OUT: i32 = 28;
const TLS_FAILED: i32 = 35;
const NOTHING: i32 = 52;
const RECEIVE_FAILED: i32 = 56;
const CERTIFICATE: i32 = 60;

/// Runs the command of the evidence. Returns the exit code of curl, and the status code of the response.
async fn run(probed: &Probed, variables: &[(&str, &str)]) -> (i32, String) {
    let command = probed.evidence["reproduce"]
        .as_str()
        .unwrap_or_else(|| panic!("{:#}", probed.evidence));
    let script = format!("{command} --noproxy '*' --silent --output /dev/null --write-out '%{{http_code}}'");
    let mut shell = Command::new("sh");
    shell.args(["-c", &script]).envs(variables.iter().copied());
    let output = shell.output().await.unwrap();
    let status = String::from_utf8(output.stdout).unwrap();
    (output.status.code().unwrap(), status)
}

async fn ends_as(probed: &Probed, reason: &str, codes: &[i32]) {
    assert_eq!(
        probed.evidence["target"]["fault"]["reason"], reason,
        "{:#}",
        probed.evidence["target"]
    );
    let (code, _) = run(probed, &[]).await;
    assert!(
        codes.contains(&code),
        "{reason}: curl ends with {code}: {}",
        probed.evidence["reproduce"]
    );
}

#[tokio::test]
async fn a_failed_http_exchange_fails_in_the_same_way() {
    let exporter = Exporter::start("modules: {m: {prober: http, timeout: 2s}}").await;
    let closed = Peer::start(|mut stream: TcpStream| async move { drop(read_head(&mut stream).await) }).await;
    let resetting = Peer::start(|mut stream: TcpStream| async move {
        read_head(&mut stream).await;
        reset(&stream);
    })
    .await;
    let silent = Peer::start(|mut stream: TcpStream| async move {
        read_head(&mut stream).await;
        tokio::time::sleep(Duration::from_secs(30)).await;
    })
    .await;
    let short = Peer::answering("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort").await;
    let refused = format!("http://127.0.0.1:{}/", crate::support::process::free_port());
    for (target, reason, codes) in [
        (
            closed.http(),
            "http.closed_before_response",
            &[NOTHING, RECEIVE_FAILED][..],
        ),
        (resetting.http(), "tcp.reset", &[RECEIVE_FAILED]),
        (silent.http(), "http.timed_out_waiting", &[TIMED_OUT]),
        (short.http(), "http.closed_mid_body", &[PARTIAL]),
        (refused, "tcp.refused", &[REFUSED]),
    ] {
        let probed = exporter.probe("m", &target).await;
        ends_as(&probed, reason, codes).await;
    }
    let bad = Peer::answering("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n").await;
    let probed = exporter.probe("m", &bad.http()).await;
    assert_eq!(run(&probed, &[]).await, (0, "502".to_owned()));
}

fn tls_modules(authority: &Authority, cert: &Path, key: &Path) -> String {
    format!(
        "modules:
  m: {{prober: http, timeout: 2s, http: {{tls_config: {{ca_file: {ca}}}}}}}
  named: {{prober: http, timeout: 2s, http: {{tls_config: {{ca_file: {ca}, server_name: other.test}}}}}}
  lax: {{prober: http, timeout: 2s, http: {{tls_config: {{insecure_skip_verify: true}}}}}}
  client: {{prober: http, timeout: 2s, http: {{tls_config: {{ca_file: {ca}, cert_file: {cert}, key_file: {key}}}}}}}
  old: {{prober: http, timeout: 2s, http: {{tls_config: {{ca_file: {ca}, max_version: TLS12}}}}}}
",
        ca = authority.ca_file.display(),
        cert = cert.display(),
        key = key.display(),
    )
}

#[tokio::test]
async fn a_failed_handshake_fails_in_the_same_way() {
    let (authority, other) = (Authority::new(), Authority::named("Another Authority"));
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = authority.leaf("client.test").files(folder.path(), "client");
    let exporter = Exporter::start(&tls_modules(&authority, &cert, &key)).await;
    let expired = Peer::with_tls(authority.expired("127.0.0.1").server(&[]), ok).await;
    let foreign = Peer::with_tls(other.leaf("127.0.0.1").server(&[]), ok).await;
    let own = Peer::with_tls(self_signed("127.0.0.1").server(&[]), ok).await;
    let good = Peer::with_tls(authority.leaf("127.0.0.1").server(&["h2", "http/1.1"]), ok).await;
    let guarded = Peer::with_tls(authority.leaf("127.0.0.1").server_for_clients_of(&authority), ok).await;
    let plain = Peer::start(|mut stream: TcpStream| async move {
        let _ = stream
            .write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
            .await;
        let _ = stream.read(&mut [0; 512]).await;
    })
    .await;
    for (module, target, reason, codes) in [
        ("m", expired.https(), "tls.cert.date_invalid", &[CERTIFICATE][..]),
        ("m", foreign.https(), "tls.cert.authority_invalid", &[CERTIFICATE]),
        ("m", own.https(), "tls.cert.self_signed", &[CERTIFICATE]),
        ("named", good.https(), "tls.cert.name_invalid", &[CERTIFICATE]),
        ("m", plain.https(), "tls.not_supported", &[TLS_FAILED]),
    ] {
        let probed = exporter.probe(module, &target).await;
        ends_as(&probed, reason, codes).await;
    }
    let probed = exporter.probe("m", &guarded.https()).await;
    ends_as(&probed, "tls.client_cert", &[TLS_FAILED, RECEIVE_FAILED, NOTHING, 55]).await;
    // Without the options of the module, each of these would fail as well.
    let old = Peer::with_tls(authority.leaf("127.0.0.1").server(&[]), ok).await;
    for (module, target) in [
        ("lax", own.https()),
        ("lax", expired.https()),
        ("client", guarded.https()),
        ("old", old.https()),
    ] {
        let probed = exporter.probe(module, &target).await;
        assert_eq!(
            probed.page.value("probe_success"),
            1.0,
            "{module}: {:#}",
            probed.evidence["target"]["fault"]
        );
        assert_eq!(
            run(&probed, &[]).await,
            (0, "200".to_owned()),
            "{module}: {}",
            probed.evidence["reproduce"]
        );
    }
}

/// No data, compressed (RFC 1952).
const EMPTY_GZIP: &[u8] = b"\x1f\x8b\x08\0\0\0\0\0\0\x03\x03\0\0\0\0\0\0\0\0\0";

/// Responds with 200 only if the request has the module's fields and its body.
async fn particular(mut stream: TcpStream) {
    let head = String::from_utf8_lossy(&read_head(&mut stream).await).to_ascii_lowercase();
    let wanted = [
        "post / ",
        "x-key: secret",
        "authorization: bearer token",
        "content-length: 5",
    ];
    let has_all = wanted.iter().all(|part| head.contains(part)) && !head.contains("accept-encoding: deflate");
    let status = if has_all { "200 OK" } else { "403 Forbidden" };
    let length = EMPTY_GZIP.len();
    let answer = format!("HTTP/1.1 {status}\r\nContent-Encoding: gzip\r\nContent-Length: {length}\r\n\r\n");
    let _ = stream.write_all(&[answer.as_bytes(), EMPTY_GZIP].concat()).await;
}

#[tokio::test]
async fn the_modules_fields_and_body_are_variables() {
    let folder = tempfile::tempdir().unwrap();
    let body = folder.path().join("body");
    std::fs::write(&body, "hello").unwrap();
    let module = |body: String| {
        format!(
            "{{prober: http, http: {{method: POST, headers: {{X-Key: secret}}, bearer_token: token, compression: gzip, {body}}}}}"
        )
    };
    let exporter = Exporter::start(&format!(
        "modules:\n  written: {}\n  file: {}\n",
        module("body: hello".to_owned()),
        module(format!("body_file: {}", body.display())),
    ))
    .await;
    let peer = Peer::start(particular).await;
    let variables = [
        ("X_KEY", "secret"),
        ("AUTHORIZATION", "Bearer token"),
        ("BODY", "hello"),
    ];
    for module in ["written", "file"] {
        let probed = exporter.probe(module, &peer.http()).await;
        assert_eq!(
            probed.page.value("probe_success"),
            1.0,
            "{module}: {:#}",
            probed.evidence["target"]["fault"]
        );
        let command = probed.evidence["reproduce"].as_str().unwrap();
        assert!(!command.contains("secret") && !command.contains("token"), "{command}");
        assert_eq!(run(&probed, &variables).await, (0, "200".to_owned()), "{command}");
        assert_eq!(run(&probed, &[]).await, (0, "403".to_owned()), "{command}");
    }
}

/// The command carries exactly what the probe's last request carried.
#[tokio::test]
async fn the_command_sends_no_more_than_the_probe_did() {
    let module =
        "{prober: http, timeout: 2s, http: {method: POST, body: hello, headers: {X-Key: secret}, bearer_token: token}}";
    let exporter = Exporter::start(&format!("modules: {{m: {module}}}")).await;
    let last = Peer::answering("HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n").await;
    let moved = |code: u16, location: &str| {
        format!("HTTP/1.1 {code} Moved\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n")
    };
    let away = Peer::answering(moved(302, &last.http())).await;
    for (target, has_fields, has_body) in [
        (last.http(), true, true),
        // Another origin gets neither, and a redirect of this kind has no body.
        (away.http(), false, false),
    ] {
        let probed = exporter.probe("m", &target).await;
        let command = probed.evidence["reproduce"].as_str().unwrap();
        assert_eq!(command.contains("$X_KEY"), has_fields, "{command}");
        assert_eq!(command.contains("$AUTHORIZATION"), has_fields, "{command}");
        assert_eq!(command.contains("$BODY"), has_body, "{command}");
    }
    // A redirect within the origin keeps the fields, but not the body.
    let within = Peer::start(|mut stream: TcpStream| async move {
        let head = String::from_utf8_lossy(&read_head(&mut stream).await).into_owned();
        let answer = if head.starts_with("POST / ") {
            "HTTP/1.1 302 Found\r\nLocation: /end\r\nContent-Length: 0\r\n\r\n"
        } else {
            "HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n"
        };
        let _ = stream.write_all(answer.as_bytes()).await;
    })
    .await;
    let probed = exporter.probe("m", &within.http()).await;
    let command = probed.evidence["reproduce"].as_str().unwrap();
    assert!(command.contains("$X_KEY") && !command.contains("$BODY"), "{command}");
    // A backend that only the caller names gets nothing of the module.
    let backend = Peer::answering("HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n").await;
    let more = format!("&backend=app@{}", backend.address);
    let probed = exporter.probe_for("m", &last.http(), &more).await;
    let direct = probed.evidence["investigation"]["backends"][0]["reproduce"]
        .as_str()
        .unwrap();
    assert!(!direct.contains('$'), "{direct}");
}

/// The proxy's certificate is verified with the module's authorities too.
#[tokio::test]
async fn an_https_proxy_is_verified_in_the_same_way() {
    let authority = Authority::new();
    let target = Peer::with_tls(authority.leaf("127.0.0.1").server(&[]), ok).await;
    let proxy = Proxy::https(authority.leaf("127.0.0.1").server(&[]), target.address).await;
    let exporter = Exporter::start(&format!(
        "modules: {{m: {{prober: http, http: {{proxy_url: 'https://{}', tls_config: {{ca_file: {}}}}}}}}}",
        proxy.address(),
        authority.ca_file.display()
    ))
    .await;
    let probed = exporter.probe("m", &target.https()).await;
    assert_eq!(
        probed.page.value("probe_success"),
        1.0,
        "{:#}",
        probed.evidence["target"]["fault"]
    );
    let command = probed.evidence["reproduce"].as_str().unwrap();
    let script = command.to_owned() + " --silent --output /dev/null --write-out '%{http_code}'";
    let output = Command::new("sh").args(["-c", &script]).output().await.unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "200", "{command}");
}

/// Text that leaves the page has the full link.
#[tokio::test]
async fn the_incident_report_and_the_archive_have_the_full_link() {
    let exporter = Exporter::start_with("modules: {m: {prober: http}}", |settings| {
        settings.external_url = Some("https://probes.example/shard-0".to_owned());
    })
    .await;
    let target = format!("http://127.0.0.1:{}/", crate::support::process::free_port());
    let probed = exporter.probe("m", &target).await;
    let id = probed.evidence["id"].as_str().unwrap();
    let url = format!("https://probes.example/shard-0/evidence/{id}");
    assert_eq!(probed.evidence["url"], url);
    let text = async |path: &str| exporter.get(path).await.text().await.unwrap();
    let page = text(&format!("/evidence/{id}")).await;
    assert!(page.contains(&format!("Evidence: {url}\n")), "{page}");
    let archive: serde_json::Value = serde_json::from_str(&text(&format!("/evidence/{id}.har")).await).unwrap();
    let comment = archive["log"]["comment"].as_str().unwrap();
    assert!(comment.ends_with(&url), "{comment}");
}
