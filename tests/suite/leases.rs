//! Leases: after a second scrape, a key is probed between scrapes, and every scrape reads the same numbers.
//! What depends on time is tested with a paused clock, in `src/scheduler/lease/tests.rs`.

use crate::support::exporter::{Exporter, Probed};
use crate::support::held::Held;
use crate::support::peer::{Peer, ok, read_head};
use crate::support::process::eventually;
use std::sync::atomic::Ordering;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::net::TcpStream;

const LEASED: &str = "modules: {m: {prober: http, interval: 100ms}}";

fn attempts(probed: &Probed) -> f64 {
    probed.page.value("probe_attempts_total")
}

/// Scrapes twice. The second scrape starts the lease.
async fn lease(exporter: &Exporter, module: &str, target: &str) -> Probed {
    exporter.probe(module, target).await;
    exporter.probe(module, target).await
}

#[tokio::test]
async fn from_its_second_scrape_a_key_is_probed_in_the_background() {
    let peer = Peer::start(ok).await;
    let exporter = Exporter::start(LEASED).await;
    let first = exporter.probe("m", &peer.http()).await;
    assert_eq!(exporter.own("glassbox_leases").await, 0.0);
    assert_eq!(first.page.find("probe_last_run_timestamp_seconds"), None);

    exporter.probe("m", &peer.http()).await;
    assert_eq!(exporter.own("glassbox_leases").await, 1.0);
    // These scrapes renew the lease and start no probe.
    eventually("probes of the lease", async || {
        exporter.probe("m", &peer.http()).await;
        peer.connections() >= 7
    })
    .await;
    let later = exporter.probe("m", &peer.http()).await;
    assert!(attempts(&later) >= 6.0, "{:?}", later.page);
    let age = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
        - later.page.value("probe_last_run_timestamp_seconds");
    assert!((0.0..60.0).contains(&age), "{age}");
    assert!(exporter.own("glassbox_lease_lag_seconds_count").await >= 5.0);
    // The timeout of a probe is limited by the interval.
    assert!(later.page.value("probe_timeout_seconds") <= 0.1);
    // The evidence is from the last probe of the lease, and has its lag.
    assert!(later.evidence["lag_seconds"].is_number(), "{:#}", later.evidence);
    assert!(first.evidence["lag_seconds"].is_null());
}

#[tokio::test]
async fn without_an_interval_only_scrapes_start_probes() {
    let peer = Peer::start(ok).await;
    let exporter = Exporter::start("modules: {m: {prober: http}}").await;
    for scrape in 1..=3 {
        let probed = exporter.probe("m", &peer.http()).await;
        assert_eq!(attempts(&probed), f64::from(scrape));
    }
    assert_eq!(exporter.own("glassbox_leases").await, 0.0);
    assert_eq!(peer.connections(), 3);
}

/// A target that never responds.
async fn silent() -> Peer {
    Peer::start(|mut stream: TcpStream| async move {
        read_head(&mut stream).await;
        // Wait until the exporter gives up.
        read_head(&mut stream).await;
    })
    .await
}

/// The client that started the first probe may have a longer timeout than a client that arrives during the probe.
#[tokio::test]
async fn a_scrape_waits_for_the_first_probe_until_its_own_timeout() {
    let peer = silent().await;
    let exporter = Exporter::start("modules: {m: {prober: http, interval: 1m, timeout: 20s}}").await;
    let url = exporter.url(&format!("/probe?module=m&target={}", peer.http()));
    let first = tokio::spawn(exporter.client().get(&url).send());
    eventually("a first probe", async || peer.connections() == 1).await;
    let second = exporter
        .client()
        .get(&url)
        .header("X-Prometheus-Scrape-Timeout-Seconds", "0.4");
    let second = second.send().await.unwrap();
    assert_eq!(second.status(), 503);
    assert!(second.text().await.unwrap().contains("is still running"));
    assert!(!first.is_finished());
    assert_eq!(peer.connections(), 1);
}

#[tokio::test]
async fn a_timeout_of_a_leased_probe_counts_for_its_phase() {
    let peer = silent().await;
    let exporter = Exporter::start("modules: {m: {prober: http, interval: 1s, timeout: 1s}}").await;
    let page = lease(&exporter, "m", &peer.http()).await.page;
    let timeouts = page.value("probe_phase_timeouts_total{phase=\"processing\"}");
    assert!(timeouts >= 2.0, "{page:?}");
    assert_eq!(timeouts, page.value("probe_attempts_total"));
}

/// A client that starts as many hanging probes as possible does not stop the leases.
#[tokio::test]
async fn a_flood_of_scrapes_leaves_permits_for_leases() {
    let (peer, held) = (Peer::start(ok).await, Held::start().await);
    let exporter =
        Exporter::start("{limits: {probes: 20}, modules: {l: {prober: http, interval: 200ms}, m: {prober: http}}}")
            .await;
    lease(&exporter, "l", &peer.http()).await;
    let url = exporter.url(&format!("/probe?module=m&target={}", held.peer.http()));
    let flood: Vec<_> = (0..40)
        .map(|number| tokio::spawn(exporter.client().get(format!("{url}{number}")).send()))
        .collect();
    // Four fifths of all permits.
    held.holds(16).await;
    let before = peer.connections();
    eventually("probes of the lease", async || {
        exporter.probe("l", &peer.http()).await;
        peer.connections() > before + 5
    })
    .await;
    held.let_go.send_replace(true);
    for scrape in flood {
        let status = scrape.await.unwrap().unwrap().status().as_u16();
        assert!(matches!(status, 200 | 503), "{status}");
    }
    assert!(held.most.load(Ordering::SeqCst) <= 16);
}

/// Junk keys cannot evict the counters of a leased key, even from a small table.
#[tokio::test]
async fn a_leased_key_keeps_its_counters_while_junk_fills_the_table() {
    let peer = Peer::start(ok).await;
    let config = "modules: {m: {prober: http, interval: 100ms}, once: {prober: http}}";
    let exporter = Exporter::start_with(config, |settings| settings.series_limit = 10).await;
    let keys: Vec<_> = (0..6).map(|path| format!("{}{path}", peer.http())).collect();
    for key in &keys {
        lease(&exporter, "m", key).await;
    }
    let mut last = vec![0.0; keys.len()];
    let mut junk = 0;
    eventually("many probes of each", async || {
        for (key, last) in keys.iter().zip(&mut last) {
            junk += 1;
            exporter.probe("once", &format!("{}junk{junk}", peer.http())).await;
            let now = attempts(&exporter.probe("m", key).await);
            assert!(now >= *last, "{key}: {now} after {last}");
            *last = now;
        }
        last.iter().all(|count| *count >= 10.0)
    })
    .await;
    assert!(exporter.own("glassbox_series_evictions_total{reason=\"room\"}").await > 0.0);
}

/// A single scrape of a module with an interval counts as one observation of its key, as for any other module.
#[tokio::test]
async fn junk_for_a_leased_module_does_not_evict_real_keys() {
    let peer = Peer::start(ok).await;
    let config = "modules: {m: {prober: http, interval: 5s}, once: {prober: http}}";
    let exporter = Exporter::start_with(config, |settings| settings.series_limit = 10).await;
    for junk in 0..30 {
        exporter.probe("m", &format!("{}junk{junk}", peer.http())).await;
    }
    let real = format!("{}real", peer.http());
    for _ in 0..2 {
        exporter.probe("once", &real).await;
    }
    for junk in 30..60 {
        exporter.probe("m", &format!("{}junk{junk}", peer.http())).await;
    }
    assert_eq!(
        attempts(&exporter.probe("once", &real).await),
        3.0,
        "the counters of a real key were lost"
    );
}

#[tokio::test]
async fn the_number_of_leases_is_limited() {
    let peer = Peer::start(ok).await;
    let exporter = Exporter::start("limits: {leases: 1}\nmodules: {m: {prober: http, interval: 5s}}").await;
    let keys = ["a", "b", "c"].map(|path| format!("{}{path}", peer.http()));
    for key in &keys {
        lease(&exporter, "m", key).await;
    }
    assert_eq!(exporter.own("glassbox_leases").await, 1.0);
    // Keys without a lease are probed during the scrape.
    let before = peer.connections();
    let probed = exporter.probe("m", &keys[2]).await;
    assert_eq!(attempts(&probed), 3.0);
    assert!(peer.connections() > before);
}

async fn reload(exporter: &Exporter, config: &str) {
    std::fs::write(&exporter.config_file, config).unwrap();
    assert_eq!(exporter.post("/-/reload").await.status(), 200);
}

#[tokio::test]
async fn a_reload_keeps_leases_and_counters_and_resets_changed_histograms() {
    let peer = Peer::start(ok).await;
    let module =
        |more: &str| format!("modules: {{m: {{prober: http, interval: 100ms{more}}}, other: {{prober: http}}}}");
    let exporter = Exporter::start(&module("")).await;
    lease(&exporter, "m", &peer.http()).await;
    let before = exporter.probe("m", &peer.http()).await;

    reload(&exporter, &module("")).await;
    assert_eq!(exporter.own("glassbox_leases").await, 1.0);
    let after = exporter.probe("m", &peer.http()).await;
    let count = "probe_phase_duration_seconds_count{phase=\"connect\"}";
    for series in ["probe_attempts_total", count, "probe_success_duration_seconds_sum"] {
        assert!(after.page.value(series) >= before.page.value(series), "{series}");
    }

    // New bucket bounds reset the histograms. The counters and the lease continue.
    reload(&exporter, &module(", buckets: [0.5]")).await;
    let bucket = "probe_phase_duration_seconds_bucket{phase=\"connect\",le=\"0.5\"}";
    let old = "probe_phase_duration_seconds_bucket{phase=\"connect\",le=\"0.25\"}";
    eventually("a probe with the new bounds", async || {
        exporter.probe("m", &peer.http()).await.page.find(old).is_none()
    })
    .await;
    let reset = exporter.probe("m", &peer.http()).await;
    assert!(attempts(&reset) >= attempts(&after));
    assert!(reset.page.value(bucket) < attempts(&reset));
    assert_eq!(exporter.own("glassbox_leases").await, 1.0);

    // Without its interval, or without the module, there is no lease.
    reload(&exporter, "modules: {m: {prober: http}}").await;
    eventually("the lease has ended", async || {
        exporter.own("glassbox_leases").await < 0.5
    })
    .await;
    let probed = exporter.probe("m", &peer.http()).await;
    assert_eq!(probed.page.find("probe_last_run_timestamp_seconds"), None);
    assert!(attempts(&probed) >= attempts(&reset));
}
