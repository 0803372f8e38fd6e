//! Captured error pages of gateways, served to a running exporter: the link of each verdict without a backend, and with
//! a dead or healthy one.

use crate::support::exporter::{Exporter, Probed};
use crate::support::peer::{Peer, ok};
use crate::support::process::free_port;
use std::path::Path;

/// The bytes of a captured response.
fn capture(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/glassbox-verdict/fixtures/gateways");
    let text = std::fs::read_to_string(folder.join(format!("{name}.http"))).unwrap();
    let (_, rest) = text.split_once("\r\n").unwrap();
    let (head, body) = rest.split_once("\r\n\r\n").unwrap();
    format!(
        "{head}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

fn said(probed: &Probed) -> (String, String) {
    let word = |name: &str| {
        let word = probed.evidence["verdict"][name].as_str();
        word.unwrap_or("none").to_owned()
    };
    (word("link"), word("certainty"))
}

/// Name of the capture, link, and whether the verdict is certain.
const PAGES: &[(&str, &str, bool)] = &[
    ("nginx-400", "edge", false),
    ("nginx-401", "edge", false),
    ("nginx-405", "edge", false),
    ("nginx-421", "edge", false),
    ("nginx-503-ingress", "upstream", false),
    ("nginx-inner-404", "unknown", false),
    ("nginx-behind-cloudflare-404", "origin", false),
    ("apache-431", "edge", false),
    ("apache-flask-404", "origin", false),
    ("apache-502-read", "upstream", true),
    ("apache-504-redirect", "upstream", false),
    ("haproxy-408", "edge", false),
    ("haproxy-502", "upstream", false),
    ("haproxy-504", "upstream", false),
    ("nginx-502", "upstream", false),
    ("squid-connect", "upstream", true),
    ("squid-deny-info", "edge", false),
    ("varnish-503", "upstream", false),
    ("varnish-synth-fetch-failed", "upstream", false),
    ("caddy-401", "edge", false),
    ("alb-463", "edge", false),
    ("alb-fixed-503", "edge", false),
    ("akamai-429", "edge", false),
    ("kong-413", "edge", false),
    ("kong-peer", "upstream", true),
    ("kong-dns", "upstream", true),
    ("gorouter-route", "upstream", false),
    ("gorouter-endpoints", "upstream", true),
    ("openshift-503", "upstream", false),
    ("envoy-retried", "upstream", true),
    ("envoy-by-ingress", "upstream", false),
    ("envoy-sidecar", "upstream", false),
    ("envoy-jwt", "edge", false),
    ("envoy-abort", "edge", false),
    ("aws-api-missing", "edge", false),
    ("aws-api-timeout", "upstream", true),
    ("apim-401", "edge", false),
    ("nest-404", "origin", false),
    ("iis-500", "origin", false),
    ("http-sys-503", "upstream", false),
    ("cloudflare-1020", "edge", true),
    ("cloudflare-app-503", "origin", false),
    ("fastly-loop", "edge", true),
    ("fastly-other", "upstream", false),
    ("cloudfront-function", "edge", false),
    ("imperva-403", "edge", true),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_gateways_own_page_is_attributed_to_it_with_any_status() {
    let exporter = Exporter::start("modules: {m: {prober: http}}").await;
    let mut wrong = Vec::new();
    for (name, link, certain) in PAGES {
        let edge = Peer::answering(capture(name)).await;
        let probed = exporter.probe("m", &edge.http()).await;
        let expected = (
            (*link).to_owned(),
            if *certain { "certain" } else { "likely" }.to_owned(),
        );
        if said(&probed) != expected {
            wrong.push(format!("{name}: {:?}, not {expected:?}", said(&probed)));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_backend_is_not_overruled_by_a_page_that_may_be_about_it() {
    let exporter = Exporter::start("modules: {m: {prober: http}}").await;
    for (name, link) in [
        ("nginx-503", "upstream"),
        ("nginx-500", "upstream"),
        ("kong-peer", "upstream"),
        // The edge would deny the request before it contacts any backend.
        ("nginx-403", "edge"),
        ("cloudflare-1020", "edge"),
    ] {
        let edge = Peer::answering(capture(name)).await;
        let backend = format!("&backend=app@127.0.0.1:{}", free_port());
        let probed = exporter.probe_for("m", &edge.http(), &backend).await;
        assert_eq!(said(&probed).0, link, "{name}: {:#}", probed.evidence["verdict"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_healthy_backend_does_not_make_the_refusal_of_a_gateway_certain() {
    let exporter = Exporter::start("modules: {m: {prober: http}}").await;
    let backend = Peer::start(ok).await;
    let backend = format!("&backend=app@{}", backend.address);
    for name in [
        "envoy-rbac",
        "haproxy-403",
        "aws-api-missing",
        "alb-fixed-503",
        "nginx-403",
    ] {
        let edge = Peer::answering(capture(name)).await;
        let probed = exporter.probe_for("m", &edge.http(), &backend).await;
        let expected = ("edge".to_owned(), "likely".to_owned());
        assert_eq!(said(&probed), expected, "{name}: {:#}", probed.evidence["verdict"]);
    }
}
