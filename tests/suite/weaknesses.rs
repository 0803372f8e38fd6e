//! Known weaknesses of `blackbox_exporter` 0.28 that no other test covers: panics, lost settings after a redirect,
//! missing deadlines. The comments describe the behavior of `blackbox_exporter`.

use crate::probers::websocket::accepting;
use crate::redirects::to;
use crate::support::dns::{DnsServer, Says};
use crate::support::exporter::Exporter;
use crate::support::peer::{Peer, ok, read_head};
use crate::support::pki::Authority;
use hickory_proto::rr::RecordType;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;

/// `blackbox_exporter` registers the family twice and panics, so the response is empty.
#[tokio::test]
async fn two_steps_may_have_labels() {
    let peer = Peer::start(|mut stream| async move {
        let _ = stream.write_all(b"first 1\nsecond 2\n").await;
        let _ = stream.shutdown().await;
    })
    .await;
    let exporter = Exporter::start(
        "modules:
  m:
    prober: tcp
    tcp:
      query_response:
        - {expect: '^first (.*)$', labels: [{name: first, value: '${1}'}]}
        - {expect: '^second (.*)$', labels: [{name: second, value: '${1}'}]}
",
    )
    .await;
    let probed = exporter.probe("m", &peer.address.to_string()).await;
    assert_eq!(probed.page.value("probe_success"), 1.0, "{:#}", probed.evidence);
    assert_eq!(probed.page.value("probe_expect_info{first=\"1\"}"), 1.0);
    assert_eq!(probed.page.value("probe_expect_info{second=\"2\"}"), 1.0);
}

/// `blackbox_exporter` continues without a connection and panics.
#[tokio::test]
async fn an_unreadable_ca_fails_only_its_probe() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let _listener = tokio::net::UnixListener::bind(&path).unwrap();
    let exporter = Exporter::start(
        "modules: {m: {prober: unix, unix: {tls: true, tls_config: {server_name: a.test, ca_file: /nonexistent/ca.pem}}}}",
    )
    .await;
    let probed = exporter.probe("m", path.to_str().unwrap()).await;
    assert_eq!(probed.page.value("probe_success"), 0.0);
    assert_eq!(probed.evidence["verdict"]["reason"], "local.file_unreadable");
}

/// `blackbox_exporter` panics.
#[tokio::test]
async fn tls_within_tls_works() {
    let authority = Authority::new();
    let inner = tokio_rustls::TlsAcceptor::from(authority.leaf("127.0.0.1").server(&[]));
    let peer = Peer::with_tls(authority.leaf("127.0.0.1").server(&[]), move |mut stream| {
        let inner = inner.clone();
        async move {
            let _ = stream.write_all(b"go\n").await;
            if let Ok(mut stream) = inner.accept(stream).await {
                let _ = stream.write_all(b"within\n").await;
                let _ = stream.shutdown().await;
            }
        }
    })
    .await;
    let exporter = Exporter::start(&format!(
        "modules: {{m: {{prober: tcp, tcp: {{tls: true, tls_config: {{ca_file: {}}}, \
         query_response: [{{expect: '^go$', starttls: true}}, {{expect: '^within$'}}]}}}}}}",
        authority.ca_file.display()
    ))
    .await;
    let probed = exporter.probe("m", &peer.address.to_string()).await;
    assert_eq!(probed.page.value("probe_success"), 1.0, "{:#}", probed.evidence);
}

/// `blackbox_exporter` lets its library resolve the second name, with any address family.
#[tokio::test]
async fn the_name_in_a_redirect_is_resolved_like_the_target() {
    let second = Peer::start(ok).await;
    let port = second.address.port();
    let first = Peer::start(move |mut stream| async move {
        read_head(&mut stream).await;
        let answer = format!("HTTP/1.1 302 Found\r\nLocation: http://second.test:{port}/\r\nContent-Length: 0\r\n\r\n");
        let _ = stream.write_all(answer.as_bytes()).await;
        let _ = stream.shutdown().await;
    })
    .await;
    // There is no listener at ::1.
    let dns = DnsServer::start(|_, kind| {
        let (ip4, ip6): (IpAddr, IpAddr) = (Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into());
        Says::Addresses(vec![if kind == RecordType::AAAA { ip6 } else { ip4 }])
    })
    .await;
    let exporter = Exporter::start(&format!(
        "modules: {{m: {{prober: http, {}, http: {{preferred_ip_protocol: ip4}}}}}}",
        dns.as_key()
    ))
    .await;
    let probed = exporter
        .probe("m", &format!("http://first.test:{}/", first.address.port()))
        .await;
    assert_eq!(probed.page.value("probe_success"), 1.0, "{:#}", probed.evidence);
    assert_eq!(
        probed.evidence["target"]["exchanges"][1]["peer"],
        second.address.to_string()
    );
}

/// The request URL of `blackbox_exporter` has the address as its host, so a redirect to the name counts as another host
/// and loses the credentials.
#[tokio::test]
async fn a_redirect_to_the_same_name_keeps_the_credentials() {
    let site = crate::redirects::Site::start().await;
    let port = site.address().port();
    let dns = DnsServer::always(Says::Addresses(vec![Ipv4Addr::LOCALHOST.into()])).await;
    let exporter = Exporter::start(&format!(
        "modules: {{m: {{prober: http, {}, http: {{basic_auth: {{username: me, password: secret}}}}}}}}",
        dns.as_key()
    ))
    .await;
    let there = to(302, &format!("http://shop.test:{port}/there"));
    let probed = exporter.probe("m", &format!("http://shop.test:{port}{there}")).await;
    assert_eq!(probed.page.value("probe_success"), 1.0, "{:#}", probed.evidence);
    for request in site.requests() {
        assert_eq!(request.header("authorization"), Some("Basic bWU6c2VjcmV0"));
    }
    assert_eq!(site.requests().len(), 2);
}

/// `blackbox_exporter` reads messages without a deadline.
#[tokio::test]
async fn a_silent_websocket_ends_with_the_probe_timeout() {
    let peer = Peer::start(|mut stream| async move {
        let head = read_head(&mut stream).await;
        let answer = accepting(&head);
        let _ = stream.write_all(answer.as_bytes()).await;
        std::future::pending::<()>().await;
    })
    .await;
    let exporter = Exporter::start(
        "modules: {m: {prober: websocket, timeout: 1s, websocket: {query_response: [{send: hello}, {expect: hello}]}}}",
    )
    .await;
    let target = format!("ws://{}/", peer.address);
    let probe = exporter.probe("m", &target);
    let probed = tokio::time::timeout(Duration::from_secs(20), probe).await.unwrap();
    assert_eq!(probed.page.value("probe_success"), 0.0);
    assert_eq!(probed.page.value("probe_websocket_connection_upgraded"), 1.0);
}
