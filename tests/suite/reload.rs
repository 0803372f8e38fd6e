//! A reload that changes the metrics of a module: new series start at 0, and no counter decreases.

use crate::serving::Running;
use crate::support::exporter::Exporter;
use crate::support::peer::{Peer, ok};
use crate::support::pki::Authority;
use crate::support::process::eventually;
use std::process::Command;

async fn reload(exporter: &Exporter, keys: &str) {
    std::fs::write(&exporter.config_file, module(keys)).unwrap();
    assert_eq!(exporter.post("/-/reload").await.status(), 200);
}

fn module(keys: &str) -> String {
    format!("modules: {{m: {{prober: http, {keys}}}}}")
}

#[tokio::test]
async fn the_series_of_a_key_match_its_module_after_each_reload() {
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
    // The longer list of bounds creates a new histogram. The counters continue.
    assert_eq!(full.value("probe_phase_duration_seconds_count{phase=\"connect\"}"), 1.0);

    reload(&exporter, "metrics: standard").await;
    let standard = exporter.probe("m", &peer.http()).await.page;
    assert_eq!(standard.find("probe_phase_timeouts_total{phase=\"request\"}"), None);
    assert_eq!(standard.value("probe_attempts_total"), 3.0);

    reload(&exporter, "metrics: standard, timeout: 9s").await;
    let same = exporter.probe("m", &peer.http()).await.page;
    assert_eq!(same.value("probe_phase_duration_seconds_count{phase=\"connect\"}"), 2.0);
}

/// A missing TLS file affects its own module only, as in `blackbox_exporter`, whose example has a file that most hosts
/// lack.
#[tokio::test]
async fn a_missing_tls_file_fails_its_module_until_a_reload() {
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

/// Replaces the configuration file by a pipe, which blocks its readers.
fn make_pipe(exporter: &Exporter) {
    std::fs::remove_file(&exporter.config_file).unwrap();
    assert!(
        Command::new("mkfifo")
            .arg(&exporter.config_file)
            .status()
            .unwrap()
            .success()
    );
}

#[tokio::test]
async fn a_reload_that_hangs_fails_and_the_next_one_works() {
    let exporter = Exporter::start(&module("timeout: 5s")).await;
    make_pipe(&exporter);
    let url = exporter.url("/-/reload");
    let hangs = tokio::spawn(exporter.client().post(url).send());
    // Wait until the hanging reload has started.
    let failures = async || exporter.own("glassbox_config_reload_failures_total").await;
    assert_eq!(failures().await, 0.0);
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    let pipe = exporter.config_file.with_extension("pipe");
    std::fs::rename(&exporter.config_file, &pipe).unwrap();
    reload(&exporter, "timeout: 6s").await;
    assert!(
        !hangs.is_finished(),
        "the second reload must not wait for the first one"
    );
    let successful = async || exporter.own("blackbox_exporter_config_last_reload_successful").await;
    assert_eq!(successful().await, 1.0);
    let config = exporter.get("/config").await.text().await.unwrap();
    assert!(config.contains("timeout: 6s"), "{config}");
    let hung = hangs.await.unwrap().unwrap();
    assert_eq!(hung.status(), 500);
    let words = hung.text().await.unwrap();
    assert!(words.contains("took longer than 10 s"), "{words}");
    // The failure is counted, and does not affect the later reload.
    assert_eq!((failures().await, successful().await), (1.0, 1.0));
    // A writer unblocks the reading thread, for which this process would otherwise wait.
    tokio::task::spawn_blocking(move || std::fs::write(pipe, ""))
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn hanging_reloads_are_limited_and_end_with_their_file() {
    let exporter = Exporter::start(&module("timeout: 5s")).await;
    make_pipe(&exporter);
    let mut hanging = tokio::task::JoinSet::new();
    let mut refused = String::new();
    while !refused.contains("earlier reloads are still blocked") {
        let request = exporter.client().post(exporter.url("/-/reload"));
        hanging.spawn(async move { request.send().await.unwrap().text().await.unwrap() });
        let beside = tokio::time::timeout(std::time::Duration::from_secs(3), hanging.join_next());
        if let Ok(Some(words)) = beside.await {
            refused = words.unwrap();
        }
        assert!(
            hanging.len() < 8,
            "the number of hanging reloads is not limited: {refused}"
        );
    }
    // A write to the pipe unblocks all readers.
    let pipe = exporter.config_file.clone();
    tokio::task::spawn_blocking(move || std::fs::write(pipe, "modules: {}"))
        .await
        .unwrap()
        .unwrap();
    std::fs::remove_file(&exporter.config_file).unwrap();
    std::fs::write(&exporter.config_file, module("timeout: 7s")).unwrap();
    eventually("a reload works again", async || {
        exporter.post("/-/reload").await.status() == 200
    })
    .await;
    assert!(
        exporter
            .get("/config")
            .await
            .text()
            .await
            .unwrap()
            .contains("timeout: 7s")
    );
}

#[tokio::test]
async fn a_hanging_changed_file_is_logged_and_the_next_one_loaded() {
    let flags = ["--config.enable-auto-reload", "--config.auto-reload-interval=1"];
    let running = Running::start(&module("timeout: 5s"), &flags).await;
    let path = running.path("glassbox.yml");
    std::fs::remove_file(&path).unwrap();
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    eventually("the failure is logged", async || {
        running.log().contains("reading the config file hangs")
    })
    .await;
    assert_eq!(running.get("/-/healthy").await.status(), 200);
    std::fs::rename(&path, running.path("pipe")).unwrap();
    running.write("glassbox.yml", &module("timeout: 6s"));
    // A writer unblocks the read of the pipe.
    let pipe = running.path("pipe");
    tokio::task::spawn_blocking(move || std::fs::write(pipe, ""))
        .await
        .unwrap()
        .unwrap();
    eventually("the file is loaded", async || {
        running.text("/config").await.contains("timeout: 6s")
    })
    .await;
}
