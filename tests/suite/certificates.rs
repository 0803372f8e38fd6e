//! Accepted and rejected certificates, with and without verification, as in `blackbox_exporter` 0.28. `make compare`
//! compares both exporters. These tests also check the reasons and the notes in the evidence.

use crate::support::chains::Chains;
use crate::support::exporter::Exporter;
use std::fmt::Write as _;

#[tokio::test]
async fn every_kind_of_chain_and_key_has_the_same_result_as_in_go() {
    let chains = Chains::start().await;
    let module = |tls: &str| format!("{{prober: http, timeout: 9s, http: {{tls_config: {{{tls}}}}}}}");
    let config = format!(
        "modules:\n  verified: {}\n  insecure: {}\n",
        module(&format!("ca_file: {}", chains.ca_file.display())),
        module("insecure_skip_verify: true")
    );
    let exporter = Exporter::start(&config).await;
    let mut wrong = String::new();
    for chain in &chains.all {
        let url = chains.url(&chain.name);
        let verified = exporter.probe("verified", &url).await;
        let reason = verified.evidence["target"]["fault"]["reason"].as_str();
        let right = chain.verified.err();
        if reason != right || verified.page.value("probe_success") != f64::from(right.is_none()) {
            let detail = &verified.evidence["target"]["fault"]["detail"];
            writeln!(wrong, "{}: {reason:?}, right: {right:?}: {detail}", chain.name).unwrap();
        }
        let insecure = exporter.probe("insecure", &url).await;
        let note = insecure.evidence["target"]["exchanges"][0]["tls"]["note"].as_str();
        if insecure.page.value("probe_success") != 1.0 || note != chain.note {
            let fault = &insecure.evidence["target"]["fault"];
            writeln!(wrong, "{} without verification: note {note:?}, {fault}", chain.name).unwrap();
        }
    }
    assert!(chains.all.len() > 100);
    assert!(wrong.is_empty(), "of {}:\n{wrong}", chains.all.len());
}
