//! A real Prometheus scrapes the exporter for a minute with the relabeling of the example. Then queries must show the
//! behavior of the targets.

use crate::support::exporter::Exporter;
use crate::support::peer::{Peer, read_head};
use crate::support::process::{eventually, free_port, project};
use crate::support::prometheus::Prometheus;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

/// Scrapes of each target before the queries.
const SCRAPES: f64 = 56.0;

const BAD_GATEWAY: &str = "502 Bad Gateway";

/// Waits until each of the four targets has been scraped [`SCRAPES`] times.
async fn scrapes_for_a_minute(prometheus: &Prometheus) {
    for scrapes in [SCRAPES / 4.0, SCRAPES / 2.0, SCRAPES * 3.0 / 4.0, SCRAPES] {
        let enough = format!("count(count_over_time(probe_success[5m]) >= {scrapes}) == 4");
        eventually(&enough, async || {
            tokio::time::sleep(Duration::from_millis(400)).await;
            !prometheus.series(&enough).await.is_empty()
        })
        .await;
    }
}

/// A server that delays the first byte of each response. `status` gets the number of previous responses.
async fn answering(delay: Duration, status: impl Fn(usize) -> &'static str + Send + Sync + 'static) -> Peer {
    let script = Arc::new((AtomicUsize::new(0), status));
    Peer::start(move |mut stream: TcpStream| {
        let script = script.clone();
        async move {
            read_head(&mut stream).await;
            let (answered, status) = &*script;
            let status = status(answered.fetch_add(1, Ordering::SeqCst));
            tokio::time::sleep(delay).await;
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 5\r\n\r\nglass");
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    })
    .await
}

/// The example configuration with the addresses of the test and a shorter interval.
fn example(exporter: &Exporter, targets: [&str; 4]) -> String {
    let text = std::fs::read_to_string(project("examples/prometheus.yml")).unwrap();
    let rules = project("examples/rules/glassbox.rules.yml");
    let places = [
        ("scrape_interval: 15s", "scrape_interval: 1s"),
        ("scrape_timeout: 10s", "scrape_timeout: 1s"),
        ("rules/glassbox.rules.yml", &rules.display().to_string()),
        ("127.0.0.1:9093", &format!("127.0.0.1:{}", free_port())),
        ("127.0.0.1:9115", &exporter.address.to_string()),
        ("- http://127.0.0.1:8080/\n", &format!("[{}]\n", targets.join(", "))),
        ("- https://127.0.0.1:8443/\n", "\n"),
    ];
    places.into_iter().fold(text, |text, (written, meant)| {
        assert!(text.contains(written), "the example does not contain {written:?}");
        text.replace(written, meant)
    })
}

/// URLs of the targets, which are their `instance` labels in Prometheus.
struct Instances {
    healthy: String,
    slow: String,
    /// Responds with 200 exactly once and then with 502 forever.
    broken: String,
    /// Responds with 502 exactly once, to the second request.
    stumbling: String,
}

#[tokio::test]
async fn prometheus_with_the_example_configuration_sees_the_targets_behavior() {
    let good = |_| "200 OK";
    let peers = [
        answering(Duration::ZERO, good).await,
        answering(Duration::from_millis(50), good).await,
        answering(
            Duration::ZERO,
            |before| if before == 0 { "200 OK" } else { BAD_GATEWAY },
        )
        .await,
        answering(
            Duration::ZERO,
            |before| if before == 1 { BAD_GATEWAY } else { "200 OK" },
        )
        .await,
    ];
    let [healthy, slow, broken, stumbling] = peers.each_ref().map(Peer::http);
    let exporter = Exporter::start_with("modules: {http_2xx: {prober: http}}", |settings| {
        // The probe timeout is most of the scrape timeout of one second.
        settings.timeout_offset = Duration::from_millis(100);
    })
    .await;
    let prometheus = Prometheus::start(&example(&exporter, [&healthy, &slow, &broken, &stumbling]), &[]).await;
    let instances = Instances {
        healthy,
        slow,
        broken,
        stumbling,
    };
    scrapes_for_a_minute(&prometheus).await;

    assert_eq!(prometheus.values("min_over_time(up[5m])").await, [1.0; 5]);
    assert_success_is_as_it_was(&prometheus, &instances).await;
    assert_the_buckets_are_kept_as_written(&prometheus, &instances).await;
    assert_the_median_tells_who_is_slow_and_where(&prometheus, &instances).await;
    assert_the_rate_of_502_is_that_of_the_scrapes(&prometheus, &instances).await;
    assert_the_first_step_of_a_counter_is_seen(&prometheus, &instances).await;
}

/// Selector for a series of a target.
fn of(name: &str, instance: &str, more: &str) -> String {
    format!("{name}{{job=\"glassbox\",instance=\"{instance}\"{more}}}")
}

/// Asserts that `probe_success` matches the behavior of each target at each scrape.
async fn assert_success_is_as_it_was(prometheus: &Prometheus, instances: &Instances) {
    let rows = [
        (&instances.healthy, 1.0, 0.0),
        (&instances.slow, 1.0, 0.0),
        (&instances.stumbling, 1.0, 1.0),
    ];
    for (instance, now, failed) in rows {
        let success = of("probe_success", instance, "");
        assert_eq!(prometheus.one(&success).await, now, "{instance}");
        let failures = format!("count_over_time({success}[5m]) - sum_over_time({success}[5m])");
        assert_eq!(prometheus.one(&failures).await, failed, "{instance}");
    }
    let success = of("probe_success", &instances.broken, "");
    assert_eq!(prometheus.one(&success).await, 0.0);
    assert_eq!(prometheus.one(&format!("sum_over_time({success}[5m])")).await, 1.0);
}

/// Asserts that the `le` label of one second is `1.0`, which every version of Prometheus keeps as written.
async fn assert_the_buckets_are_kept_as_written(prometheus: &Prometheus, instances: &Instances) {
    let bucket = |le: &str| {
        let le = format!(",le=\"{le}\"");
        of("probe_phase_duration_seconds_bucket", &instances.healthy, &le)
    };
    let phases = prometheus.values(&bucket("1.0")).await;
    assert_eq!(
        phases.len(),
        4,
        "expected one series for each phase of http without TLS"
    );
    assert!(prometheus.values(&bucket("1")).await.is_empty());
}

/// Asserts that the median shows the delay of 50 ms for the right target and phase.
async fn assert_the_median_tells_who_is_slow_and_where(prometheus: &Prometheus, instances: &Instances) {
    const MEDIANS: &str = "histogram_quantile(0.5, \
                           sum by (le, phase, instance) (rate(probe_phase_duration_seconds_bucket[30s])))";
    let medians = prometheus.series(MEDIANS).await;
    let median = |instance: &str, phase: &str| {
        let found = medians
            .iter()
            .find(|(labels, _)| labels["instance"] == instance && labels["phase"] == phase);
        found
            .unwrap_or_else(|| panic!("no {phase} of {instance} in {medians:#?}"))
            .1
    };
    let delayed = median(&instances.slow, "processing");
    assert!(delayed > 0.025 && delayed <= 0.1, "{medians:#?}");
    for (instance, phase) in [
        (&instances.healthy, "processing"),
        (&instances.healthy, "transfer"),
        (&instances.slow, "connect"),
        (&instances.slow, "transfer"),
    ] {
        assert!(median(instance, phase) < 0.025, "{medians:#?}");
    }
}

async fn assert_the_rate_of_502_is_that_of_the_scrapes(prometheus: &Prometheus, instances: &Instances) {
    let answers = of("probe_http_responses_total", &instances.broken, ",code=\"502\"");
    let rate = prometheus.one(&format!("rate({answers}[30s])")).await;
    assert!((0.5..1.5).contains(&rate), "{rate} per second");
    let failures = of("probe_failures_total", &instances.broken, ",link=\"upstream\"");
    assert!(prometheus.one(&format!("increase({failures}[1m])")).await > 0.0);
}

/// A single failure after only one successful scrape: asserts that Prometheus sees the increase once, with its link and
/// code.
async fn assert_the_first_step_of_a_counter_is_seen(prometheus: &Prometheus, instances: &Instances) {
    let failures = of("probe_failures_total", &instances.stumbling, "");
    for counted in [
        of("probe_failures_total", &instances.stumbling, ",link=\"upstream\""),
        of("probe_http_responses_total", &instances.stumbling, ",code=\"502\""),
    ] {
        let steps = prometheus.one(&format!("increase({counted}[5m])")).await;
        assert_eq!(steps.round(), 1.0, "{counted} increased by {steps}, expected 1");
    }
    assert_eq!(
        prometheus.one(&format!("sum({failures})")).await,
        1.0,
        "a failure was attributed to another link"
    );
}
