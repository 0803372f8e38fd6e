//! The grpc prober with a health service from a Debian package and with test servers.

use crate::support::exporter::Exporter;
use crate::support::health::{answering, debians, health_at, resetting, strange};
use crate::support::peer::Peer;
use crate::support::pki::Authority;

fn config(ca_file: &str) -> String {
    format!(
        "modules:
  all: {{prober: grpc, grpc: {{preferred_ip_protocol: ip4}}}}
  good: {{prober: grpc, grpc: {{preferred_ip_protocol: ip4, service: good}}}}
  bad: {{prober: grpc, grpc: {{preferred_ip_protocol: ip4, service: bad}}}}
  nobody: {{prober: grpc, grpc: {{preferred_ip_protocol: ip4, service: nobody}}}}
  meta: {{prober: grpc, grpc: {{preferred_ip_protocol: ip4, service: meta, metadata: {{x-key: [secret]}}}}}}
  tls: {{prober: grpc, grpc: {{preferred_ip_protocol: ip4, tls: true, tls_config: {{ca_file: {ca_file}}}}}}}"
    )
}

#[tokio::test]
async fn a_real_health_service_reports_each_service() {
    let (_server, port) = debians(None).await;
    let exporter = Exporter::start(&config("/nonexistent")).await;
    let target = format!("127.0.0.1:{port}");
    for (module, success, code, serving) in [
        ("all", 1.0, 0.0, Some("SERVING")),
        ("good", 1.0, 0.0, Some("SERVING")),
        ("meta", 1.0, 0.0, Some("SERVING")),
        ("bad", 0.0, 0.0, Some("NOT_SERVING")),
        ("nobody", 0.0, 5.0, None),
    ] {
        let probed = exporter.probe(module, &target).await;
        let page = &probed.page;
        assert_eq!(page.value("probe_success"), success, "{module}: {:#}", probed.evidence);
        assert_eq!(page.value("probe_grpc_status_code"), code, "{module}");
        assert_eq!(page.value("probe_grpc_ssl"), 0.0);
        for status in ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"] {
            let series = format!("probe_grpc_healthcheck_response{{serving_status=\"{status}\"}}");
            assert_eq!(
                page.value(&series),
                f64::from(u8::from(serving == Some(status))),
                "{module}"
            );
        }
    }
}

#[tokio::test]
async fn the_last_status_of_the_trailers_decides() {
    const GRPC: (&str, &str) = ("content-type", "application/grpc");
    const OK: (&str, &str) = ("grpc-status", "0");
    const NOT_FOUND: (&str, &str) = ("grpc-status", "5");
    let exporter = Exporter::start(&config("/nonexistent")).await;
    for (peer, code) in [
        (answering(&[GRPC], &[OK, NOT_FOUND]).await, 5.0),
        (answering(&[GRPC], &[NOT_FOUND, OK]).await, 0.0),
        (answering(&[GRPC, NOT_FOUND], &[OK]).await, 0.0),
        (answering(&[GRPC, OK], &[NOT_FOUND]).await, 5.0),
    ] {
        let page = exporter.probe("all", &peer.address.to_string()).await.page;
        assert_eq!(page.value("probe_grpc_status_code"), code);
        assert_eq!(page.value("probe_success"), f64::from(u8::from(code == 0.0)));
    }
}

/// A reset has no gRPC status: with any error code, the result is UNAVAILABLE.
#[tokio::test]
async fn a_call_that_the_server_resets_is_unavailable() {
    let exporter = Exporter::start(&config("/nonexistent")).await;
    for code in [0, 2, 8, 11] {
        let peer = resetting(code).await;
        let page = exporter.probe("all", &peer.address.to_string()).await.page;
        assert_eq!(page.value("probe_success"), 0.0, "{code}");
        assert_eq!(page.value("probe_grpc_status_code"), 14.0, "{code}");
    }
}

#[tokio::test]
async fn an_ipv6_address_is_called_in_its_zone() {
    let at = health_at("[::1]:0").await;
    let exporter = Exporter::start("modules: {six: {prober: grpc, grpc: {tls: false}}}").await;
    for host in ["[::1]", "[::1%lo]", "[::1%1]"] {
        let probed = exporter.probe("six", &format!("{host}:{}", at.port())).await;
        assert_eq!(probed.page.value("probe_success"), 1.0, "{host} {:#}", probed.evidence);
    }
}

#[tokio::test]
async fn a_real_health_service_over_tls() {
    let authority = Authority::new();
    let (_server, port) = debians(Some(authority.files("127.0.0.1"))).await;
    let exporter = Exporter::start(&config(authority.ca_file.to_str().unwrap())).await;
    let probed = exporter.probe("tls", &format!("https://127.0.0.1:{port}/path")).await;
    let page = &probed.page;
    assert_eq!(page.value("probe_success"), 1.0, "{:#}", probed.evidence);
    assert_eq!(page.value("probe_grpc_ssl"), 1.0);
    assert!(page.value("probe_ssl_earliest_cert_expiry") > 0.0);
    assert_eq!(page.value("probe_tls_version_info{version=\"TLS 1.3\"}"), 1.0);
}

/// `blackbox_exporter` takes 20 s for this, because its call has no deadline.
#[tokio::test]
async fn a_call_ends_with_the_probe_timeout() {
    let silent = Peer::start(|stream| async move {
        let _held = stream;
        std::future::pending::<()>().await;
    })
    .await;
    let exporter =
        Exporter::start("modules: {g: {prober: grpc, timeout: 1s, grpc: {preferred_ip_protocol: ip4}}}").await;
    let probed = exporter.probe("g", &silent.address.to_string()).await;
    assert_eq!(probed.page.value("probe_success"), 0.0);
    assert_eq!(probed.page.value("probe_grpc_status_code"), 4.0);
    assert_eq!(probed.evidence["verdict"]["reason"], "http.timed_out_waiting");
}

/// gRPC clients derive a status from the HTTP status if the server sends none. The values are those of grpc-go.
#[tokio::test]
async fn a_response_without_a_status_gets_the_one_of_grpc_go() {
    const GRPC: (&str, &str) = ("content-type", "application/grpc");
    let exporter = Exporter::start(&config("/nonexistent")).await;
    for (status, fields, code) in [
        (404, &[("content-type", "text/html")][..], 12.0),
        (401, &[], 16.0),
        (403, &[], 7.0),
        (400, &[], 13.0),
        (503, &[], 14.0),
        (500, &[], 2.0),
        (200, &[("content-type", "text/html")], 2.0),
        (200, &[("grpc-status", "5")], 2.0),
        (200, &[GRPC], 2.0),
        (404, &[GRPC, ("grpc-status", "5")], 5.0),
        (200, &[GRPC, ("grpc-status", "0")], 13.0),
    ] {
        let (peer, _) = strange(status, fields, None).await;
        let probed = exporter.probe("all", &peer.address.to_string()).await;
        let page = &probed.page;
        assert_eq!(
            page.value("probe_grpc_status_code"),
            code,
            "{status} {fields:?} {:#}",
            probed.evidence
        );
        assert_eq!(page.value("probe_success"), 0.0);
    }
}

/// Gateways route by `:authority`.
#[tokio::test]
async fn the_authority_is_the_tls_name_or_the_target() {
    let authority = Authority::new();
    let tls = authority.leaf("edge.test").server(&["h2"]);
    let (plain, plain_seen) = strange(503, &[], None).await;
    let (secured, secured_seen) = strange(503, &[], Some(tls)).await;
    let ca = authority.ca_file.display();
    let exporter = Exporter::start(&format!(
        "modules:
  plain: {{prober: grpc, grpc: {{preferred_ip_protocol: ip4}}}}
  tls: {{prober: grpc, grpc: {{tls: true, tls_config: {{ca_file: {ca}, server_name: edge.test}}}}}}
  unverified: {{prober: grpc, grpc: {{tls: true, tls_config: {{insecure_skip_verify: true}}}}}}"
    ))
    .await;
    let (plain_at, secured_at) = (plain.address.to_string(), secured.address.to_string());
    let last = |seen: &std::sync::Mutex<Vec<String>>| seen.lock().unwrap().last().cloned().unwrap_or_default();
    for more in ["", "&hostname=other.test"] {
        exporter.probe_for("plain", &plain_at, more).await;
        assert_eq!(last(&plain_seen), plain_at, "{more:?}");
        exporter.probe_for("tls", &secured_at, more).await;
        assert_eq!(last(&secured_seen), "edge.test", "{more:?}");
        exporter.probe_for("unverified", &secured_at, more).await;
        assert_eq!(last(&secured_seen), "127.0.0.1", "{more:?}");
    }
}

#[tokio::test]
async fn a_plain_text_call_to_a_tls_port_is_detected() {
    let authority = Authority::new();
    let held = authority.leaf("127.0.0.1").server(&["h2"]);
    let secured = Peer::with_tls(held, |mut stream| async move {
        let _ = tokio::io::AsyncReadExt::read_u8(&mut stream).await;
    })
    .await;
    let exporter = Exporter::start(&config("/nonexistent")).await;
    let probed = exporter.probe("all", &secured.address.to_string()).await;
    let verdict = &probed.evidence["verdict"];
    assert_eq!(
        (&verdict["link"], &verdict["reason"]),
        (&"tls".into(), &"tls.required".into()),
        "{verdict:#}"
    );
    // The opposite case: a server that closes as early, but does not use TLS.
    let closing = Peer::start(|stream| async move { drop(stream) }).await;
    let probed = exporter.probe("all", &closing.address.to_string()).await;
    assert_ne!(probed.evidence["verdict"]["reason"], "tls.required");
}
