//! Two Prometheus servers and one exporter: both servers read the same values, also after a reload and a crash.

use crate::support::peer::{Peer, ok};
use crate::support::process::{Process, eventually, free_port};
use crate::support::prometheus::Prometheus;
use std::path::Path;
use std::process::{Command, Stdio};

fn exporter(folder: &Path, port: u16) -> Process {
    Process::start(
        Command::new(env!("CARGO_BIN_EXE_glassbox_exporter"))
            .arg(format!("--config.file={}", folder.join("glassbox.yml").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg("--log.level=error")
            .stdout(Stdio::null())
            .stderr(Stdio::null()),
    )
}

fn configure(folder: &Path, interval: &str) {
    let config = format!("modules: {{m: {{prober: http, timeout: 900ms, interval: {interval}}}}}");
    std::fs::write(folder.join("glassbox.yml"), config).unwrap();
}

/// Waits until both servers have seen more than `than` attempts.
async fn more(servers: &[Prometheus; 2], than: f64) {
    for server in servers {
        let enough = format!("probe_attempts_total > {than}");
        eventually(&enough, async || !server.values(&enough).await.is_empty()).await;
    }
}

const COUNTERS: [&str; 3] = [
    "probe_attempts_total",
    "probe_success_duration_seconds_count",
    "probe_phase_duration_seconds_count{phase=\"connect\"}",
];

async fn assert_resets(servers: &[Prometheus; 2], expected: f64) {
    for server in servers {
        for counter in COUNTERS {
            assert_eq!(
                server.one(&format!("resets({counter}[10m])")).await,
                expected,
                "{counter}"
            );
        }
    }
}

#[tokio::test]
async fn two_servers_read_the_same_and_a_crash_is_a_reset() {
    let folder = tempfile::tempdir().unwrap();
    let target = Peer::start(ok).await;
    let port = free_port();
    configure(folder.path(), "200ms");
    let mut first = exporter(folder.path(), port);
    first.listens(port).await;
    let scrapes = format!(
        "scrape_configs:\n- job_name: glassbox\n  scrape_interval: 1s\n  metrics_path: /probe\n  \
         params: {{module: [m], target: ['{}']}}\n  static_configs: [{{targets: ['127.0.0.1:{port}']}}]\n",
        target.http()
    );
    let servers = [
        Prometheus::start(&scrapes, &[]).await,
        Prometheus::start(&scrapes, &[]).await,
    ];
    more(&servers, 20.0).await;

    // A reload between the scrapes.
    first.signal("HUP");
    more(&servers, 40.0).await;
    assert_resets(&servers, 0.0).await;

    drop(first);
    let mut second = exporter(folder.path(), port);
    second.listens(port).await;
    for server in &servers {
        eventually("the crash is seen", async || {
            server.values("probe_attempts_total < 40").await.len() == 1
        })
        .await;
    }
    more(&servers, 10.0).await;
    assert_resets(&servers, 1.0).await;

    // No more probes run, so both servers must read the same value, which is the number of probes.
    configure(folder.path(), "5m");
    second.signal("HUP");
    eventually("both servers read the same value twice", async || {
        let mut read = Vec::new();
        for server in &servers {
            read.extend(server.values("probe_attempts_total").await);
            read.extend(server.values("probe_attempts_total offset 2s").await);
        }
        read.len() == 4 && read.iter().all(|value| *value == read[0])
    })
    .await;
    for counter in COUNTERS {
        assert_eq!(
            servers[0].one(counter).await,
            servers[1].one(counter).await,
            "{counter}"
        );
    }
}
