//! Formats of the exposition: each client gets the requested format, and all formats have the same contents.

use crate::support::exporter::Exporter;
use crate::support::peer::{Peer, ok};
use flate2::read::GzDecoder;
use regex::Regex;
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE};
use std::io::Read as _;

const PROTOBUF: &str = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";
const OPENMETRICS: &str = "application/openmetrics-text;version=1.0.0";

async fn ask(exporter: &Exporter, path: &str, accept: &str) -> (String, Vec<u8>) {
    let mut bodies = Vec::new();
    let mut content_type = String::new();
    for coding in ["identity", "gzip"] {
        let request = exporter.client().get(exporter.url(path));
        let answer = request
            .header(ACCEPT, accept)
            .header(ACCEPT_ENCODING, coding)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 200);
        answer.headers()[CONTENT_TYPE]
            .to_str()
            .unwrap()
            .clone_into(&mut content_type);
        let zipped = answer.headers().get(CONTENT_ENCODING).is_some();
        assert_eq!(zipped, coding == "gzip");
        let body = answer.bytes().await.unwrap().to_vec();
        let mut plain = Vec::new();
        if zipped {
            GzDecoder::new(&body[..]).read_to_end(&mut plain).unwrap();
        } else {
            plain = body;
        }
        bodies.push(plain);
    }
    assert!(!bodies[0].is_empty() && !bodies[1].is_empty());
    (content_type, bodies.remove(1))
}

#[tokio::test]
async fn a_client_gets_its_preferred_format() {
    let peer = Peer::start(ok).await;
    let exporter = Exporter::start("modules: {http_2xx: {prober: http}}").await;
    for path in [&format!("/probe?target={}", peer.http()), "/metrics"] {
        let (content_type, text) = ask(&exporter, path, "*/*").await;
        assert_eq!(content_type, "text/plain; version=0.0.4; charset=utf-8");
        assert!(!String::from_utf8(text).unwrap().contains("# EOF"));

        let (content_type, text) = ask(&exporter, path, &format!("{OPENMETRICS},text/plain;q=0.5")).await;
        assert_eq!(
            content_type,
            "application/openmetrics-text; version=1.0.0; charset=utf-8"
        );
        assert!(String::from_utf8(text).unwrap().ends_with("\n# EOF\n"));

        let (content_type, bytes) = ask(&exporter, path, &format!("{OPENMETRICS};q=0.5,{PROTOBUF};q=0.6")).await;
        assert_eq!(
            content_type,
            "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
        );
        assert!(String::from_utf8(bytes).is_err(), "protobuf must not be valid UTF-8");
    }
}

/// All exemplars of a page: series, evidence ID and value.
fn exemplars(page: &str) -> Vec<(String, String, f64)> {
    let line = Regex::new(r#"(?m)^(\S+) \S+ # \{evidence_id="([0-9a-f]{16})"\} (\S+) \d+\.\d{3}$"#).unwrap();
    line.captures_iter(page)
        .map(|found| (found[1].to_owned(), found[2].to_owned(), found[3].parse().unwrap()))
        .collect()
}

#[tokio::test]
async fn exemplars_link_to_the_evidence_of_their_probe() {
    let good = Peer::start(ok).await;
    let bad = Peer::answering("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n").await;
    let exporter = Exporter::start("modules: {http_2xx: {prober: http}}").await;

    let page = ask(&exporter, &format!("/probe?target={}", good.http()), OPENMETRICS)
        .await
        .1;
    let found = exemplars(&String::from_utf8(page).unwrap());
    let of = |name: &str| {
        found
            .iter()
            .filter(|(series, ..)| series.starts_with(name))
            .collect::<Vec<_>>()
    };
    assert!(of("probe_failures").is_empty());
    // Two probes, one for each encoding. Each phase has the last exemplar of each bucket.
    assert!(of("probe_phase_duration_seconds_bucket").len() >= 4, "{found:#?}");
    for (series, id, value) in of("probe_phase_duration_seconds_bucket") {
        let evidence = exporter.get(&format!("/evidence/{id}.json")).await;
        assert_eq!(evidence.status(), 200, "{series}");
        let evidence: serde_json::Value = serde_json::from_str(&evidence.text().await.unwrap()).unwrap();
        let phase = series.split('"').nth(1).unwrap();
        // On a standard page, `processing` includes the phases `request` and `processing`.
        let timings = evidence["target"]["exchanges"][0]["phases"].as_array().unwrap().iter();
        let timings = timings
            .filter(|timing| timing["phase"] == phase || (phase == "processing" && timing["phase"] == "request"));
        let took: f64 = timings.map(|timing| timing["duration_seconds"].as_f64().unwrap()).sum();
        assert!((took - value).abs() < 1e-6, "{series}: {value}, expected {took}");
    }

    let page = ask(&exporter, &format!("/probe?target={}", bad.http()), OPENMETRICS)
        .await
        .1;
    let found = exemplars(&String::from_utf8(page).unwrap());
    let failures: Vec<_> = found
        .iter()
        .filter(|(series, ..)| series.starts_with("probe_failures_total"))
        .collect();
    let [(_, id, one)] = failures[..] else {
        panic!("{found:#?}");
    };
    assert_eq!(*one, 1.0);
    let evidence = exporter
        .get(&format!("/evidence/{id}.json"))
        .await
        .text()
        .await
        .unwrap();
    assert!(evidence.contains(&bad.http()), "{evidence}");
}

/// Alerts link to a target, not to a probe, so the target's link leads to the latest failure.
#[tokio::test]
async fn a_target_links_to_its_latest_failure_or_probe() {
    let good = Peer::start(ok).await;
    let exporter = Exporter::start(
        "modules: {http_2xx: {prober: http}, post: {prober: http, http: {method: POST, valid_status_codes: [204]}}}",
    )
    .await;
    let target = good.http();
    let evidence = async |query: &str| exporter.get(&format!("/evidence?{query}")).await;
    assert_eq!(evidence("module=http_2xx").await.status(), 400);
    assert_eq!(evidence(&format!("target={target}")).await.status(), 404);

    let first = exporter.probe("http_2xx", &target).await.evidence;
    let second = exporter.probe("http_2xx", &target).await.evidence;
    assert_ne!(first["id"], second["id"]);
    let found = evidence(&format!("target={target}")).await;
    assert_eq!(found.status(), 200);
    assert!(found.url().path().contains(second["id"].as_str().unwrap()));

    // The module that rejects 200 has failed. The probe of the other module is newer and successful.
    let failed = exporter.probe("post", &target).await.evidence;
    exporter.probe("http_2xx", &target).await;
    let found = evidence(&format!("target={target}")).await;
    assert!(found.url().path().contains(failed["id"].as_str().unwrap()));
    let found = evidence(&format!("target={target}&module=http_2xx")).await;
    assert!(!found.url().path().contains(failed["id"].as_str().unwrap()));
}

/// A target that fails often must not evict the evidence that an alert about another target links to.
#[tokio::test]
async fn the_latest_failure_of_each_target_is_evicted_last() {
    let exporter = Exporter::start_with("modules: {http_2xx: {prober: http}}", |settings| {
        settings.history_limit = 10;
    })
    .await;
    let once = exporter.probe("http_2xx", "http://127.0.0.1:1/once").await.evidence;
    for _ in 0..30 {
        exporter.probe("http_2xx", "http://127.0.0.1:1/often").await;
    }
    let found = exporter.get("/evidence?target=http://127.0.0.1:1/once").await;
    assert_eq!(found.status(), 200);
    assert!(found.url().path().contains(once["id"].as_str().unwrap()));
}
