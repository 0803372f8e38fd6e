//! The grpc prober, against Debian's gRPC and a peer of our own.

use crate::support::exporter::Exporter;
use crate::support::health::debians;
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
async fn a_real_health_service_is_asked_for_each_service() {
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

/// The peer takes 20 s for this: its call has no deadline.
#[tokio::test]
async fn a_call_ends_with_the_probes_time() {
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
