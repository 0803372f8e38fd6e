//! HTTP/3: a test server with the behavior from each test, and Caddy.

use crate::support::dns::{DnsServer, Says};
use crate::support::exporter::{Exporter, Probed};
use crate::support::pki::{Authority, self_signed};
use crate::support::process::{Process, eventually, free_port};
use crate::support::quic::{QuicServer, Stream, echo};
use http::Response;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::net::UdpSocket;

fn module(authority: &Authority, keys: &str) -> String {
    format!(
        "modules:
  m:
    prober: http
    timeout: 5s
    http:
      enable_http2: false
      enable_http3: true
      preferred_ip_protocol: ip4
      tls_config: {{ca_file: {}}}
{keys}",
        authority.ca_file.display()
    )
}

fn phases(probed: &Probed) -> Vec<String> {
    let mark = |(phase, _, failed): (String, f64, Option<String>)| if failed.is_some() { phase + "!" } else { phase };
    probed.timings().into_iter().map(mark).collect()
}

fn verdict(probed: &Probed) -> (&str, &str) {
    let verdict = &probed.evidence["verdict"];
    (
        verdict["reason"].as_str().unwrap_or("none"),
        verdict["link"].as_str().unwrap_or("none"),
    )
}

/// In contrast, `blackbox_exporter` sends neither credentials nor `http_headers`, and its library resolves the name
/// again.
#[tokio::test]
async fn a_probe_over_http3_sends_the_complete_request_to_the_chosen_address() {
    let authority = Authority::new();
    let server = QuicServer::start(authority.leaf("shop.test").server(&["h3"]), echo);
    let dns = DnsServer::always(Says::Addresses(vec![Ipv4Addr::LOCALHOST.into()])).await;
    let keys = format!(
        "      method: POST
      body: some text
      basic_auth: {{username: me, password: secret}}
      http_headers: {{X-Probe: {{values: [a, b]}}}}
      valid_http_versions: [HTTP/3.0]
      fail_if_body_not_matches_regexp: [^some text$]
    {}
",
        dns.as_key()
    );
    let exporter = Exporter::start(&module(&authority, &keys)).await;
    let port = server.address.port();
    // As in `blackbox_exporter`, an http target is changed to https.
    for (number, target) in [
        format!("https://shop.test:{port}/path?x=1"),
        format!("http://shop.test:{port}/path?x=1"),
    ]
    .iter()
    .enumerate()
    {
        let probed = exporter.probe("m", target).await;
        assert_eq!(probed.page.value("probe_success"), 1.0, "{:#}", probed.evidence);
        assert_eq!(phases(&probed), ["resolve", "tls", "request", "processing", "transfer"]);
        let request = server.request(number);
        assert_eq!(request.method(), "POST");
        assert_eq!(request.uri().to_string(), format!("https://shop.test:{port}/path?x=1"));
        assert_eq!(request.headers()["authorization"], "Basic bWU6c2VjcmV0");
        let values: Vec<_> = request.headers().get_all("x-probe").iter().collect();
        assert_eq!(values, ["a", "b"]);
        for (series, value) in [
            ("probe_http_version", 3.0),
            ("probe_http_status_code", 200.0),
            ("probe_http_content_length", 9.0),
            ("probe_http_uncompressed_body_length", 9.0),
            ("probe_http_ssl", 1.0),
            ("probe_ip_protocol", 4.0),
            ("probe_tls_version_info{version=\"TLS 1.3\"}", 1.0),
        ] {
            assert_eq!(probed.page.value(series), value, "{series}");
        }
        is_timed_once(&probed, server.address);
    }
}

/// QUIC combines connect and TLS: one timing and one phase.
fn is_timed_once(probed: &Probed, address: SocketAddr) {
    // The handshake is counted once.
    assert!(probed.page.value("probe_http_duration_seconds{phase=\"tls\"}") > 0.0);
    assert_eq!(probed.page.value("probe_http_duration_seconds{phase=\"connect\"}"), 0.0);
    assert_eq!(
        probed
            .page
            .find("probe_phase_duration_seconds_count{phase=\"connect\"}"),
        None
    );
    let exchange = &probed.evidence["target"]["exchanges"][0];
    assert_eq!(exchange["peer"], address.to_string());
    assert!(
        exchange["bytes_read"].as_u64().unwrap() > 100 && exchange["socket"]["rtt_seconds"].as_f64().unwrap() > 0.0
    );
    let (accounted, took) = (
        probed.timings().iter().map(|timing| timing.1).sum::<f64>()
            + probed.evidence["target"]["unattributed_seconds"].as_f64().unwrap(),
        probed.evidence["target"]["duration_seconds"].as_f64().unwrap(),
    );
    assert!((accounted - took).abs() < 1e-6, "{accounted} of {took}");
}

#[tokio::test]
async fn redirects_stay_within_http3() {
    let authority = Authority::new();
    let redirecting = |to: &'static str| {
        move |_: quinn::Connection, mut stream: Stream| async move {
            let head = Response::builder().status(302).header("location", to).body(()).unwrap();
            stream.send_response(head).await.unwrap();
            stream.finish().await.unwrap();
        }
    };
    let server = QuicServer::start(authority.leaf("127.0.0.1").server(&["h3"]), redirecting("/again"));
    let exporter = Exporter::start(&module(&authority, "")).await;
    let probed = exporter.probe("m", &server.url()).await;
    assert_eq!(verdict(&probed).0, "http.response.redirect_loop");
    assert_eq!(server.requests.lock().unwrap().len(), 11);
    let server = QuicServer::start(
        authority.leaf("127.0.0.1").server(&["h3"]),
        redirecting("http://127.0.0.1/"),
    );
    let probed = exporter.probe("m", &server.url()).await;
    let detail = &probed.evidence["target"]["fault"]["detail"];
    assert_eq!(
        detail,
        "The redirect points to an http URL, which does not support HTTP/3."
    );
}

async fn failed(exporter: &Exporter, target: &str) -> Probed {
    let probed = exporter.probe("m", target).await;
    assert_eq!(probed.page.value("probe_success"), 0.0);
    probed
}

#[tokio::test]
async fn a_handshake_that_fails_has_its_reason() {
    let authority = Authority::new();
    let exporter = Exporter::start(&module(&authority, "")).await;

    let nobody = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let probed = failed(&exporter, &format!("https://{nobody}/")).await;
    assert_eq!(verdict(&probed), ("quic.refused", "edge"), "{:#}", probed.evidence);
    assert_eq!(phases(&probed), ["resolve", "tls!"]);

    let other = QuicServer::start(self_signed("127.0.0.1").server(&["h3"]), echo);
    let probed = failed(&exporter, &other.url()).await;
    assert_eq!(
        verdict(&probed),
        ("tls.cert.self_signed", "tls"),
        "{:#}",
        probed.evidence
    );
    assert!(probed.page.starting("probe_ssl_last_chain_info").next().is_some());
    assert!(
        other.requests.lock().unwrap().is_empty(),
        "no request may be sent to an untrusted server"
    );

    let other = QuicServer::start(authority.leaf("127.0.0.1").server(&["h9"]), echo);
    let probed = failed(&exporter, &other.url()).await;
    assert_eq!(verdict(&probed).1, "tls", "{:#}", probed.evidence);

    let strict = authority.leaf("127.0.0.1").server_for_clients_of(&authority);
    let mut strict = Arc::unwrap_or_clone(strict);
    strict.alpn_protocols = vec![b"h3".to_vec()];
    let other = QuicServer::start(Arc::new(strict), echo);
    let probed = failed(&exporter, &other.url()).await;
    assert_eq!(verdict(&probed), ("tls.client_cert", "tls"), "{:#}", probed.evidence);
}

#[tokio::test]
async fn a_truncated_response_has_its_reason() {
    let authority = Authority::new();
    let exporter = Exporter::start(&module(&authority, "")).await;
    let leaf = || authority.leaf("127.0.0.1").server(&["h3"]);
    let ending = QuicServer::start(leaf(), |connection, stream| async move {
        connection.close(0x102u32.into(), b"secret words");
        drop(stream);
    });
    let probed = failed(&exporter, &ending.url()).await;
    assert_eq!(
        verdict(&probed).0,
        "http.closed_before_response",
        "{:#}",
        probed.evidence
    );
    assert!(!probed.evidence.to_string().contains("secret words"));

    let giving_up = QuicServer::start(leaf(), |_, mut stream| async move {
        stream.stop_stream(h3::error::Code::H3_INTERNAL_ERROR);
        std::future::pending::<()>().await;
    });
    let probed = failed(&exporter, &giving_up.url()).await;
    assert_eq!(
        verdict(&probed).0,
        "http.closed_before_response",
        "{:#}",
        probed.evidence
    );

    let halfway = QuicServer::start(leaf(), |connection, mut stream| async move {
        stream
            .send_response(Response::builder().header("content-length", 9).body(()).unwrap())
            .await
            .unwrap();
        stream.send_data("some".into()).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        connection.close(0x102u32.into(), b"");
    });
    let probed = failed(&exporter, &halfway.url()).await;
    assert_eq!(verdict(&probed).0, "http.closed_mid_body", "{:#}", probed.evidence);
    assert_eq!(probed.page.value("probe_http_status_code"), 200.0);
}

/// The length of a body must match its Content-Length (RFC 9114 section 4.1.2).
#[tokio::test]
async fn a_body_of_a_wrong_length_is_rejected() {
    let authority = Authority::new();
    let exporter = Exporter::start(&module(&authority, "")).await;
    for (length, reason) in [
        ("9", ""),
        ("8", "http.response.invalid"),
        ("10", "http.closed_mid_body"),
        ("x", "http.response.invalid"),
    ] {
        let leaf = authority.leaf("127.0.0.1").server(&["h3"]);
        let server = QuicServer::start(leaf, move |_, mut stream| async move {
            let head = Response::builder().header("content-length", length).body(());
            stream.send_response(head.unwrap()).await.unwrap();
            // The client may have closed the connection after the first data.
            let _ = stream.send_data("some ".into()).await;
            let _ = stream.send_data("text".into()).await;
            let _ = stream.finish().await;
            std::future::pending::<()>().await;
        });
        let probed = exporter.probe("m", &server.url()).await;
        let fault = probed.evidence["target"]["fault"]["reason"]
            .as_str()
            .unwrap_or_default();
        assert_eq!(fault, reason, "{length}: {:#}", probed.evidence);
    }
}

#[tokio::test]
async fn silence_is_a_network_fault_until_the_first_datagram() {
    let authority = Authority::new();
    let short = module(&authority, "").replace("timeout: 5s", "timeout: 500ms");
    let exporter = Exporter::start(&short).await;
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let probed = exporter
        .probe("m", &format!("https://{}/", silent.local_addr().unwrap()))
        .await;
    assert_eq!(verdict(&probed), ("quic.timed_out", "network"), "{:#}", probed.evidence);
    let slow = QuicServer::start(authority.leaf("127.0.0.1").server(&["h3"]), |_, stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    });
    let exporter = Exporter::start(&short.replace("500ms", "3s")).await;
    let probed = exporter.probe("m", &slow.url()).await;
    assert_eq!(verdict(&probed).0, "http.timed_out_waiting", "{:#}", probed.evidence);
}

/// The exporter closes its QUIC connections, so that servers do not have to keep them until an idle timeout.
#[tokio::test]
async fn the_exporter_closes_the_connection() {
    let authority = Authority::new();
    let ended = Arc::new(AtomicBool::new(false));
    let kept = ended.clone();
    let server = QuicServer::start(
        authority.leaf("127.0.0.1").server(&["h3"]),
        move |connection, stream| {
            let kept = kept.clone();
            async move {
                echo(connection.clone(), stream).await;
                connection.closed().await;
                kept.store(true, Ordering::SeqCst);
            }
        },
    );
    let exporter = Exporter::start(&module(&authority, "")).await;
    exporter.probe("m", &server.url()).await;
    eventually("the server sees the end of the connection", async || {
        ended.load(Ordering::SeqCst)
    })
    .await;
}

#[tokio::test]
async fn interim_responses_are_not_final() {
    let authority = Authority::new();
    let server = QuicServer::start(
        authority.leaf("127.0.0.1").server(&["h3"]),
        |connection, mut stream| async move {
            let hints = Response::builder()
                .status(103)
                .header("link", "</style.css>")
                .body(())
                .unwrap();
            stream.send_response(hints).await.unwrap();
            echo(connection, stream).await;
        },
    );
    let exporter = Exporter::start(&module(&authority, "")).await;
    let probed = exporter.probe("m", &server.url()).await;
    assert_eq!(
        probed.page.value("probe_http_status_code"),
        200.0,
        "{:#}",
        probed.evidence
    );
}

/// Caddy, with its own TLS and QUIC.
fn caddy(folder: &Path, authority: &Authority, port: u16) -> Process {
    let (certificate, key) = authority.files("caddy.test");
    let config = format!(
        "{{\n\tadmin off\n\tauto_https off\n\tservers {{\n\t\tprotocols h1 h3\n\t}}\n}}\n\
         https://caddy.test:{port} {{\n\ttls {} {}\n\trespond /gone 410\n\trespond \"hello\"\n}}\n",
        certificate.display(),
        key.display()
    );
    std::fs::write(folder.join("Caddyfile"), config).unwrap();
    let mut command = Command::new("caddy");
    command
        .args(["run", "--adapter", "caddyfile", "--config"])
        .arg(folder.join("Caddyfile"))
        .env("HOME", folder)
        .env("XDG_DATA_HOME", folder)
        .env("XDG_CONFIG_HOME", folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Process::start(&mut command)
}

#[tokio::test]
async fn caddy_answers_over_http3() {
    let authority = Authority::new();
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let mut caddy = caddy(folder.path(), &authority, port);
    caddy.listens(port).await;
    let dns = DnsServer::always(Says::Addresses(vec![Ipv4Addr::LOCALHOST.into()])).await;
    let keys = format!("      valid_http_versions: [HTTP/3.0]\n    {}\n", dns.as_key());
    let exporter = Exporter::start(&module(&authority, &keys)).await;
    let probed = exporter.probe("m", &format!("https://caddy.test:{port}/")).await;
    assert_eq!(probed.page.value("probe_success"), 1.0, "{:#}", probed.evidence);
    assert_eq!(probed.page.value("probe_http_uncompressed_body_length"), 5.0);
    let probed = exporter.probe("m", &format!("https://caddy.test:{port}/gone")).await;
    assert_eq!(probed.page.value("probe_http_status_code"), 410.0);
    // A response of Caddy itself, without a page: with any status, it is attributed to the edge.
    assert_eq!(verdict(&probed), ("edge.not_found", "edge"), "{:#}", probed.evidence);
}

/// The library alone would keep the socket of a closed connection for three times the probe timeout (PTO): three
/// seconds if the server has never responded.
#[tokio::test]
async fn a_closed_quic_connection_leaves_no_socket() {
    let authority = Authority::new();
    let answering = QuicServer::start(authority.leaf("127.0.0.1").server(&["h3"]), echo);
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let exporter = Exporter::start(&module(&authority, "").replace("timeout: 5s", "timeout: 500ms")).await;
    for (address, phases_before) in [(answering.address, 0), (silent.local_addr().unwrap(), 1)] {
        let probed = exporter.probe("m", &format!("https://{address}/")).await;
        let failed = phases(&probed).iter().filter(|phase| phase.ends_with('!')).count();
        assert_eq!(failed, phases_before, "{:#}", probed.evidence);
        let exchange = &probed.evidence["target"]["exchanges"][0];
        let local: SocketAddr = exchange["local"].as_str().unwrap().parse().unwrap();
        // Dropped sockets are closed within the next polls of the runtime, without a timer.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        let again = UdpSocket::bind(("127.0.0.1", local.port())).await;
        assert!(again.is_ok(), "the socket {local} is still open");
    }
}
