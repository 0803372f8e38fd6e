//! A real Prometheus scrapes native histograms and exemplars of a leased key. They match the classic histograms.

use crate::support::exporter::Exporter;
use crate::support::peer::{Peer, read_head};
use crate::support::process::eventually;
use crate::support::prometheus::Prometheus;
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

/// Response delay of the target.
const DELAY: Duration = Duration::from_millis(50);

fn scrape_config(exporter: &Exporter, target: &str) -> String {
    format!(
        "scrape_configs:\n\
         - job_name: glassbox\n\
         \x20 scrape_interval: 1s\n\
         \x20 metrics_path: /probe\n\
         \x20 params: {{module: [m], target: ['{target}']}}\n\
         \x20 static_configs: [{{targets: ['{}']}}]\n",
        exporter.address
    )
}

#[tokio::test]
async fn prometheus_ingests_native_histograms_and_exemplars() {
    let peer = Peer::start(|mut stream: TcpStream| async move {
        read_head(&mut stream).await;
        tokio::time::sleep(DELAY).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    })
    .await;
    let exporter = Exporter::start("modules: {m: {prober: http, interval: 250ms}}").await;
    let config = scrape_config(&exporter, &peer.http());
    let features = "--enable-feature=native-histograms,exemplar-storage";
    let prometheus = Prometheus::start(&config, &[features]).await;

    let processing = "probe_phase_duration_seconds{phase=\"processing\"}";
    let observed = format!("histogram_count({processing})");
    eventually("observations in a native histogram", async || {
        prometheus
            .values(&observed)
            .await
            .first()
            .is_some_and(|count| *count >= 12.0)
    })
    .await;
    // A native bucket is 9 % wide, and the target's timer has a resolution of 1 ms.
    let median = prometheus.one(&format!("histogram_quantile(0.5, {processing})")).await;
    assert!((0.045..0.065).contains(&median), "{median}");
    // Both values come from the same scrape. The counts are equal for a phase that every probe completes. On a busy
    // machine, `processing` may have fewer observations.
    let connected = "histogram_count(probe_phase_duration_seconds{phase=\"connect\"})";
    let counts = prometheus
        .one(&format!("{connected} - ignoring (phase) probe_attempts_total"))
        .await;
    assert_eq!(counts, 0.0);

    // Every phase is checked: exemplars of the first series in a family do not imply exemplars of the others.
    for phase in ["resolve", "connect", "processing", "transfer"] {
        let query = format!("probe_phase_duration_seconds{{phase=\"{phase}\"}}");
        let all_time = [("query", query.as_str()), ("start", "0"), ("end", "9999999999")];
        let found = prometheus.ask("query_exemplars", &all_time).await;
        let series = found["data"].as_array().unwrap_or_else(|| panic!("{found:#}"));
        let exemplar = series
            .iter()
            .flat_map(|one| one["exemplars"].as_array().unwrap())
            .next_back();
        let exemplar = exemplar.unwrap_or_else(|| panic!("{phase}: {found:#}"));
        let id = exemplar["labels"]["evidence_id"].as_str().unwrap();
        let evidence = exporter.get(&format!("/evidence/{id}.json")).await;
        assert_eq!(evidence.status(), 200);
        assert!(evidence.text().await.unwrap().contains(&peer.http()));
    }
}
