//! Requests: bodies and header fields from files, and cookies set by responses of the same probe.

use crate::redirects::{Site, to};
use crate::support::exporter::Exporter;
use crate::support::peer::{Peer, read_head};
use std::sync::{Arc, Mutex};
use tokio::io::AsyncWriteExt as _;

#[tokio::test]
async fn body_and_field_files_are_read_for_every_probe() {
    let folder = tempfile::tempdir().unwrap();
    let (body, token) = (folder.path().join("body"), folder.path().join("token"));
    let config = format!(
        "modules:
  m:
    prober: http
    http:
      method: POST
      body_file: {}
      http_headers:
        X-Token: {{files: [{}], secrets: [second-secret]}}
        X-Plain: {{values: [a, b]}}
",
        body.display(),
        token.display()
    );
    let exporter = Exporter::start(&config).await;
    for (body_says, token_says) in [("first body", "first-token"), ("second body", "second-token\n")] {
        std::fs::write(&body, body_says).unwrap();
        std::fs::write(&token, token_says).unwrap();
        let site = Site::start().await;
        let probed = exporter.probe("m", &site.url("/")).await;
        assert_eq!(probed.page.value("probe_success"), 1.0, "{:#}", probed.evidence);
        let request = site.request();
        assert_eq!(String::from_utf8_lossy(&request.body), body_says);
        let values = |name: &str| request.headers(name);
        assert_eq!(values("x-plain"), ["a", "b"]);
        assert_eq!(values("x-token"), ["second-secret", token_says.trim_end()]);
    }
    let shown = exporter.get("/config").await.text().await.unwrap();
    assert!(shown.contains("X-Token") && !shown.contains("second-secret"), "{shown}");
    std::fs::remove_file(&body).unwrap();
    let probed = exporter.probe("m", "http://127.0.0.1:9/").await;
    assert_eq!(probed.evidence["verdict"]["reason"], "local.file_unreadable");
    assert_eq!(probed.evidence["verdict"]["link"], "local");
}

/// As in `blackbox_exporter`, the body is sent again after 307 and 308, and dropped after 301, 302 and 303.
#[tokio::test]
async fn a_body_from_a_file_is_sent_again_where_the_redirect_keeps_the_method() {
    let folder = tempfile::tempdir().unwrap();
    let body = folder.path().join("body");
    std::fs::write(&body, "from the file").unwrap();
    let config = format!(
        "modules:\n  m:\n    prober: http\n    http:\n      method: POST\n      body_file: {}\n",
        body.display()
    );
    let exporter = Exporter::start(&config).await;
    for (status, method, sent) in [(307, "POST", "from the file"), (302, "GET", "")] {
        let site = Site::start().await;
        let probed = exporter.probe("m", &site.url(&to(status, "/there"))).await;
        assert_eq!(probed.page.value("probe_success"), 1.0, "{:#}", probed.evidence);
        let second = site.requests().remove(1);
        assert_eq!(
            (second.method.as_str(), second.body.as_slice()),
            (method, sent.as_bytes())
        );
    }
}

#[tokio::test]
async fn cookies_live_as_long_as_the_probe() {
    let heads = Arc::<Mutex<Vec<String>>>::default();
    let kept = heads.clone();
    let peer = Peer::start(move |mut stream| {
        let kept = kept.clone();
        async move {
            let head = String::from_utf8(read_head(&mut stream).await).unwrap();
            let answer = if head.starts_with("GET /login ") {
                "HTTP/1.1 302 Found\r\nSet-Cookie: session=a1; Path=/\r\nSet-Cookie: other=x; Path=/admin\r\nLocation: /\r\nContent-Length: 0\r\n\r\n"
            } else {
                "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
            };
            kept.lock().unwrap().push(head);
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    })
    .await;
    let exporter = Exporter::start("modules: {m: {prober: http}}").await;
    let login = format!("{}login", peer.http());
    for _ in 0..2 {
        let probed = exporter.probe("m", &login).await;
        assert_eq!(probed.page.value("probe_success"), 1.0, "{:#}", probed.evidence);
        assert!(!probed.evidence.to_string().contains("a1;"), "{:#}", probed.evidence);
    }
    let heads = heads.lock().unwrap().clone();
    let cookies: Vec<_> = heads
        .iter()
        .map(|head| head.lines().find_map(|line| line.strip_prefix("Cookie: ")))
        .collect();
    assert_eq!(cookies, [None, Some("session=a1"), None, Some("session=a1")]);
}

/// Byte for byte as in Go. `tests/compare/cases/odd_urls.rs` has more cases.
#[tokio::test]
async fn a_target_is_sent_as_it_is_written() {
    let exporter = Exporter::start("modules:\n  m: {prober: http, timeout: 5s}\n").await;
    for (written, sent) in [
        ("/a%2Fb", "/a%2Fb"),
        ("/a|b", "/a%7Cb"),
        ("/a^b", "/a%5Eb"),
        ("/static/../secret", "/static/../secret"),
        ("/a/%2e%2e/b", "/a/%2e%2e/b"),
        ("//a//", "//a//"),
        ("/a\\b", "/a%5Cb"),
        ("?", "/?"),
        ("/?\"<>|", "/?\"<>|"),
        ("/#f", "/"),
        ("/ ", "/%20"),
    ] {
        let site = Site::start().await;
        let probed = exporter.probe("m", &site.url(written)).await;
        assert_eq!(
            probed.page.value("probe_success"),
            1.0,
            "{written} {:#}",
            probed.evidence
        );
        let request = site.request();
        assert_eq!(request.path, sent, "{written}");
        assert_eq!(request.header("host"), Some(site.address().to_string().as_str()));
    }
    for wrong in [
        "ftp://127.0.0.1/",
        "http:///127.0.0.1/",
        "http://127.0.0.1\\@x/",
        "http://%31/",
        "127.0.0.1:99999",
    ] {
        let probed = exporter.probe("m", wrong).await;
        let verdict = &probed.evidence["verdict"];
        assert_eq!(verdict["reason"], "local.target_invalid", "{wrong} {verdict:#}");
    }
}

/// The zone of a link-local address is used for the connection and not sent (RFC 6874 section 4).
#[tokio::test]
async fn an_address_is_dialled_in_its_zone() {
    let listener = tokio::net::TcpListener::bind("[::1]:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let heads = Arc::<Mutex<Vec<String>>>::default();
    let kept = heads.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let head = read_head(&mut stream).await;
            kept.lock().unwrap().push(String::from_utf8(head).unwrap());
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
        }
    });
    let exporter = Exporter::start("modules:\n  m: {prober: http, timeout: 5s}\n").await;
    let probed = exporter.probe("m", &format!("http://[::1%25lo]:{port}/")).await;
    assert_eq!(probed.page.value("probe_success"), 1.0, "{:#}", probed.evidence);
    let head = heads.lock().unwrap()[0].to_lowercase();
    assert!(head.contains(&format!("host: [::1]:{port}\r\n")), "{head}");
    let probed = exporter.probe("m", &format!("http://[::1%25nosuch0]:{port}/")).await;
    assert_eq!(
        probed.evidence["verdict"]["reason"], "local.target_invalid",
        "{:#}",
        probed.evidence
    );
}
