//! A reload that changes what a module counts: new series exist from 0, and no counter goes back.

use crate::support::exporter::Exporter;
use crate::support::peer::{Peer, ok};
use crate::support::pki::Authority;

async fn reload(exporter: &Exporter, keys: &str) {
    std::fs::write(&exporter.config_file, module(keys)).unwrap();
    assert_eq!(exporter.post("/-/reload").await.status(), 200);
}

fn module(keys: &str) -> String {
    format!("modules: {{m: {{prober: http, {keys}}}}}")
}

#[tokio::test]
async fn a_key_fits_its_module_after_each_reload() {
    let peer = Peer::start(ok).await;
    let exporter = Exporter::start(&module("metrics: standard")).await;
    let first = exporter.probe("m", &peer.http()).await.page;
    assert_eq!(
        first.find("probe_phase_duration_seconds_count{phase=\"request\"}"),
        None
    );

    reload(&exporter, "metrics: full, http: {valid_status_codes: [200, 451]}").await;
    let full = exporter.probe("m", &peer.http()).await.page;
    assert_eq!(full.value("probe_phase_duration_seconds_count{phase=\"request\"}"), 1.0);
    assert_eq!(full.value("probe_phase_timeouts_total{phase=\"request\"}"), 0.0);
    assert_eq!(full.value("probe_http_responses_total{code=\"451\"}"), 0.0);
    assert_eq!(full.value("probe_attempts_total"), 2.0);
    // The longer list of bounds is another histogram; the counters go on.
    assert_eq!(full.value("probe_phase_duration_seconds_count{phase=\"connect\"}"), 1.0);

    reload(&exporter, "metrics: standard").await;
    let standard = exporter.probe("m", &peer.http()).await.page;
    assert_eq!(standard.find("probe_phase_timeouts_total{phase=\"request\"}"), None);
    assert_eq!(standard.value("probe_attempts_total"), 3.0);

    reload(&exporter, "metrics: standard, timeout: 9s").await;
    let same = exporter.probe("m", &peer.http()).await.page;
    assert_eq!(same.value("probe_phase_duration_seconds_count{phase=\"connect\"}"), 2.0);
}

/// As with the peer, whose own example names a file that few hosts have.
#[tokio::test]
async fn a_tls_file_that_comes_later_fails_its_own_module_until_a_reload() {
    let folder = tempfile::tempdir().unwrap();
    let ca_file = folder.path().join("ca.pem");
    let authority = Authority::new();
    let peer = Peer::with_tls(authority.leaf("127.0.0.1").server(&[]), ok).await;
    let keys = format!("http: {{tls_config: {{ca_file: {}}}}}", ca_file.display());
    let exporter = Exporter::start(&module(&keys)).await;

    let early = exporter.probe("m", &peer.https()).await;
    assert_eq!(early.evidence["verdict"]["reason"], "local.file_unreadable");
    assert_eq!(early.evidence["verdict"]["link"], "local");
    let plain = Peer::start(ok).await;
    assert_eq!(
        exporter.probe("m", &plain.http()).await.page.value("probe_success"),
        1.0
    );

    std::fs::copy(&authority.ca_file, &ca_file).unwrap();
    reload(&exporter, &keys).await;
    assert_eq!(
        exporter.probe("m", &peer.https()).await.page.value("probe_success"),
        1.0
    );
}
