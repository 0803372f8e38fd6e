//! Many concurrent probes: no local failures, one connection per probe, and constant memory.

use crate::support::page::Page;
use crate::support::peer::{Peer, ok};
use crate::support::process::{Process, free_port, listening};
use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::task::JoinSet;

const KEYS: usize = 1000;
const AT_ONCE: usize = 64;

/// Probes every key once, 64 at a time. Returns the number of successful probes.
async fn sweep(port: u16, peer: &Peer) -> usize {
    let next = Arc::new(AtomicUsize::new(0));
    let mut workers = JoinSet::new();
    for _ in 0..AT_ONCE {
        let (next, target) = (next.clone(), peer.http());
        workers.spawn(async move {
            let client = crate::support::http::client();
            let mut good = 0;
            loop {
                let key = next.fetch_add(1, Ordering::SeqCst);
                if key >= KEYS {
                    return good;
                }
                let url = format!("http://127.0.0.1:{port}/probe?target={target}k{key}");
                let answer = client.get(url).send().await.unwrap();
                assert_eq!(answer.status(), 200);
                let page = Page::parse(&answer.text().await.unwrap());
                if page.value("probe_success") == 1.0 {
                    good += 1;
                }
            }
        });
    }
    workers.join_all().await.into_iter().sum()
}

fn resident_kilobytes(process: &Process) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", process.0.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_keys_use_a_thousand_connections_and_constant_memory() {
    let peer = Peer::start(ok).await;
    let port = free_port();
    let folder = tempfile::tempdir().unwrap();
    let exporter = Process::start(
        Command::new(env!("CARGO_BIN_EXE_glassbox_exporter"))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg("--log.level=warn")
            .current_dir(folder.path()),
    );
    listening(port).await;
    assert_eq!(sweep(port, &peer).await, KEYS);
    assert_eq!(peer.connections(), KEYS);
    assert_eq!(sweep(port, &peer).await, KEYS);
    let warm = resident_kilobytes(&exporter);
    for _ in 0..3 {
        assert_eq!(sweep(port, &peer).await, KEYS);
    }
    assert_eq!(peer.connections(), 5 * KEYS);
    let grown = resident_kilobytes(&exporter).saturating_sub(warm);
    assert!(
        grown < 4096,
        "3,000 more probes of the same keys added {grown} kB to {warm} kB"
    );

    let own = reqwest::get(format!("http://127.0.0.1:{port}/metrics")).await.unwrap();
    let own = Page::parse(&own.text().await.unwrap());
    assert_eq!(own.value("glassbox_series_keys"), 1000.0);
    assert_eq!(own.value("glassbox_probes_in_flight"), 0.0);
    assert_eq!(
        own.value("net_conntrack_dialer_conn_established_total{dialer_name=\"http_probe\"}"),
        5000.0
    );
    for (series, value) in own.starting("glassbox_local_errors_total") {
        assert_eq!(value, 0.0, "{series}");
    }
}

/// A resource shortage of the exporter is not a result about the target: the response is 503, never `probe_success 0`.
#[tokio::test(flavor = "multi_thread")]
async fn without_file_descriptors_there_is_no_verdict() {
    let peer = Peer::start(|stream| async move {
        let _held = stream;
        std::future::pending::<()>().await;
    })
    .await;
    let port = free_port();
    let folder = tempfile::tempdir().unwrap();
    let _exporter = Process::start(
        Command::new("prlimit")
            .arg("--nofile=40:40")
            .arg(env!("CARGO_BIN_EXE_glassbox_exporter"))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg("--log.level=error")
            .current_dir(folder.path()),
    );
    listening(port).await;
    let mut scrapes = JoinSet::new();
    for key in 0..60 {
        let url = format!("http://127.0.0.1:{port}/probe?target={}k{key}", peer.http());
        scrapes.spawn(async move {
            let client = crate::support::http::client();
            let request = client.get(url).header("X-Prometheus-Scrape-Timeout-Seconds", "3");
            // A connection for which the exporter has no file descriptor ends without a response, so it also gives no
            // verdict.
            let answer = request.send().await.ok()?;
            Some((answer.status(), answer.text().await.ok()?))
        });
    }
    let answers: Vec<_> = scrapes.join_all().await.into_iter().flatten().collect();
    let short: Vec<_> = answers.iter().filter(|(status, _)| *status == 503).collect();
    assert!(
        !short.is_empty(),
        "no probe lacked a file descriptor: 60 probes with 40 file descriptors"
    );
    for (_, words) in short {
        let own = [
            "no free file descriptor",
            "has reached its concurrency limit",
            "limits.connections",
        ];
        assert!(own.iter().any(|reason| words.contains(reason)), "{words}");
    }
    for (_, page) in answers.iter().filter(|(status, _)| *status == 200) {
        assert!(
            page.contains("reason=\"http.timed_out_waiting\""),
            "a false verdict: {page}"
        );
    }
}
