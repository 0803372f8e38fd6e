//! Packet timestamps, below and above TLS.

use crate::support::exporter::Exporter;
use crate::support::peer::{Peer, ok};
use crate::support::pki::self_signed;
use serde_json::Value;

const MODULES: &str = "modules: {m: {prober: http, http: {tls_config: {insecure_skip_verify: true}}}}";

fn time(stamps: &Value, key: &str) -> f64 {
    stamps[key]
        .as_f64()
        .unwrap_or_else(|| panic!("{key} is missing in {stamps}"))
}

#[tokio::test]
async fn the_timestamps_above_tls_are_within_those_below() {
    let peer = Peer::with_tls(self_signed("127.0.0.1").server(&[]), ok).await;
    let probed = Exporter::start(MODULES).await.probe("m", &peer.https()).await;
    let exchange = &probed.evidence["target"]["exchanges"][0];
    let (below, above) = (&exchange["below_tls"], &exchange["above_tls"]);
    // The handshake is complete before the request. The last record of the request is the last write to the socket.
    assert!(
        time(below, "first_write_seconds") < time(above, "first_write_seconds"),
        "{exchange:#}"
    );
    assert!(
        time(below, "first_read_seconds") < time(above, "first_read_seconds"),
        "{exchange:#}"
    );
    assert!(
        time(above, "first_read_seconds") <= time(above, "last_read_seconds"),
        "{exchange:#}"
    );
    assert!(
        time(above, "last_read_seconds") <= time(below, "last_read_seconds"),
        "{exchange:#}"
    );
    assert!(
        exchange["bytes_written"].as_u64() > Some(300) && exchange["bytes_read"].as_u64() > Some(300),
        "{exchange:#}"
    );
}

#[tokio::test]
async fn without_tls_both_timestamps_are_equal() {
    let peer = Peer::start(ok).await;
    let probed = Exporter::start(MODULES).await.probe("m", &peer.http()).await;
    let exchange = &probed.evidence["target"]["exchanges"][0];
    for key in ["first_read_seconds", "last_read_seconds"] {
        assert_eq!(
            time(&exchange["below_tls"], key),
            time(&exchange["above_tls"], key),
            "{key}"
        );
    }
}

#[tokio::test]
async fn a_folded_header_line_is_read() {
    let peer = Peer::answering("HTTP/1.1 200 OK\r\nX-Folded: one\r\n two\r\nContent-Length: 0\r\n\r\n").await;
    let probed = Exporter::start(MODULES).await.probe("m", &peer.http()).await;
    assert_eq!(probed.page.value("probe_success"), 1.0);
}

#[tokio::test]
async fn text_from_servers_is_truncated() {
    let long = "a".repeat(8000);
    let answer = format!("HTTP/1.1 500 {long}\r\nServer: {long}\r\nContent-Length: 0\r\n\r\n");
    let peer = Peer::answering(answer).await;
    let exporter = Exporter::start(MODULES).await;
    let evidence = exporter.probe("m", &peer.http()).await.evidence.to_string();
    assert!(evidence.len() < 8000, "{} bytes of evidence", evidence.len());
    // The target is not truncated, because the command that repeats the probe needs it.
    let target = format!("{}{}", peer.http(), "b".repeat(1900));
    let evidence = exporter.probe("m", &target).await.evidence;
    assert!(
        evidence["reproduce"].as_str().unwrap().ends_with(&target),
        "{evidence:#}"
    );
}
