//! A real Prometheus scrapes native histograms and exemplars of a leased key. They match the classic histograms.

use crate::support::alertmanager::example;
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

/// The example rules must not interpolate within a bucket: a constant delay of 1.2 s is between 1 s and 2.5 s in a classic
/// histogram, and about 1.2 s in a native one.
#[tokio::test]
async fn the_rules_state_the_limits_of_a_quantile_for_both_kinds_of_histograms() {
    let peer = Peer::start(|mut stream: TcpStream| async move {
        read_head(&mut stream).await;
        tokio::time::sleep(Duration::from_millis(1200)).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    })
    .await;
    let exporter = Exporter::start("modules: {m: {prober: http}}").await;
    let folder = tempfile::tempdir().unwrap();
    for name in ["settings.rules.yml", "glassbox.rules.yml", "slo.rules.yml"] {
        std::fs::write(folder.path().join(name), example(&format!("rules/{name}"), &[])).unwrap();
    }
    let config = format!(
        "global: {{scrape_interval: 3s, scrape_timeout: 3s, evaluation_interval: 1s}}\nrule_files: ['{}/*.yml']\n{}",
        folder.path().display(),
        scrape_config(&exporter, &peer.http()).replace("scrape_interval: 1s", "scrape_interval: 3s"),
    );
    let classic = Prometheus::start(&config, &[]).await;
    let native = Prometheus::start(&config, &["--enable-feature=native-histograms"]).await;
    let processing = "{phase=\"processing\"}";
    let bound =
        |which: &str| format!("job_instance_phase:probe_phase_duration_seconds:p95_{which}_rate15m{processing}");
    // A busy machine can delay a probe, so the native estimate only has to be within the classic bucket.
    let within_bucket = 1.1..2.4;
    for (prometheus, lower, upper) in [
        (&classic, 0.99..1.01, 2.5..2.51),
        (&native, within_bucket.clone(), within_bucket),
    ] {
        // The groups of both files are evaluated at different times.
        eventually("quantiles of slow probes", async || {
            let known = format!(
                "{} > 0 and {} > 0 and on () job_instance:probe_slow:sum >= 2",
                bound("lower"),
                bound("upper")
            );
            !prometheus.values(&known).await.is_empty()
        })
        .await;
        let bounds = [
            prometheus.one(&bound("lower")).await,
            prometheus.one(&bound("upper")).await,
        ];
        assert!(lower.contains(&bounds[0]) && upper.contains(&bounds[1]), "{bounds:?}");
        let slow = format!("job_instance_phase:probe_phase_slow:ratio_rate15m{processing}");
        assert!(prometheus.one(&slow).await > 0.99, "{slow}");
    }
}
