//! The grpc prober, against Debian's gRPC and a peer of our own.

use crate::support::exporter::Exporter;
use crate::support::peer::Peer;
use crate::support::pki::Authority;
use crate::support::process::{Process, free_port};
use bytes::Bytes;
use http::{HeaderMap, Response};
use std::process::Command;

/// A server that answers every call with these bytes, and with this status in its trailers, if there is one.
pub async fn health(body: &'static [u8], status: &'static str) -> Peer {
    Peer::start(move |stream| async move {
        let Ok(mut connection) = h2::server::handshake(stream).await else {
            return;
        };
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            let head = Response::builder()
                .header("content-type", "application/grpc")
                .body(())
                .unwrap();
            let mut answer = respond.send_response(head, false).unwrap();
            if status.is_empty() {
                answer.send_data(Bytes::from_static(body), true).unwrap();
                continue;
            }
            answer.send_data(Bytes::from_static(body), false).unwrap();
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", status.parse().unwrap());
            answer.send_trailers(trailers).unwrap();
        }
    })
    .await
}

/// The health service on Debian's gRPC: `good` serves, `bad` does not, all others are not known.
const SERVICE: &str = r#"
import sys, grpc
from concurrent import futures
STATUS = {b"": 1, b"good": 1, b"bad": 2}
def check(request, context):
    name = request[2:] if request else b""
    if name == b"meta":
        found = dict(context.invocation_metadata()).get("x-key")
        return b"\x08\x01" if found == "secret" else b"\x08\x02"
    if name not in STATUS:
        context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
    return b"\x08" + bytes([STATUS[name]])
handler = grpc.unary_unary_rpc_method_handler(check)
server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": handler}),))
place = "127.0.0.1:" + sys.argv[1]
if len(sys.argv) > 2:
    pair = (open(sys.argv[3], "rb").read(), open(sys.argv[2], "rb").read())
    server.add_secure_port(place, grpc.ssl_server_credentials((pair,)))
else:
    server.add_insecure_port(place)
server.start()
server.wait_for_termination()
"#;

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
    let port = free_port();
    let mut server = Process::start(Command::new("/usr/bin/python3").args(["-c", SERVICE, &port.to_string()]));
    server.listens(port).await;
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
    let (cert, key) = authority.files("127.0.0.1");
    let port = free_port();
    let mut server = Process::start(
        Command::new("/usr/bin/python3")
            .args(["-c", SERVICE, &port.to_string()])
            .args([&cert, &key]),
    );
    server.listens(port).await;
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
