//! Flags, version and log, compatible with `blackbox_exporter`.

use crate::serving::Running;
use crate::support::page::Page;
use crate::support::process::{Process, eventually, free_port};
use serde_json::Value;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

const PROGRAM: &str = env!("CARGO_BIN_EXE_glassbox_exporter");

const MODULES: &str = "modules:\n  http_2xx: {prober: http}\n  t: {prober: tcp, timeout: 1s}\n";

/// A target that refuses connections.
fn refused() -> String {
    format!("127.0.0.1:{}", free_port())
}

#[tokio::test]
async fn flags_of_blackbox_exporter_are_accepted() {
    for (flag, prefix) in [
        ("--log.level=INFO", ""),
        ("--log.level=Debug", ""),
        ("--log.prober=DEBUG", ""),
        ("--log.prober=warning", ""),
        ("--log.format=JSON", ""),
        ("--timeout-offset=-1", ""),
        ("--timeout-offset=inf", ""),
        ("--timeout-offset=0x1p-2", ""),
        ("--history.limit=0x10", ""),
        ("--history.limit=1_000", ""),
        ("--config.auto-reload-interval=0x5", ""),
        ("--config.auto-reload-interval=18446744073709551615", ""),
        ("--metrics.level=blackbox", ""),
        ("--web.config.file=", ""),
        ("--web.external-url=", ""),
        ("--web.route-prefix=", ""),
        ("--web.external-url=/blackbox", "/blackbox"),
        ("--web.external-url=blackbox.example.com", "/blackbox.example.com"),
        ("--web.external-url=blackbox.example.com:9115/x", ""),
        ("--web.external-url=//h/x/", "/x"),
        ("--web.external-url=http://a/b c", "/b%20c"),
        ("--web.route-prefix=x/y", "/x/y"),
    ] {
        let running = Running::start(MODULES, &[flag]).await;
        let healthy = running.get(&format!("{prefix}/-/healthy")).await;
        assert_eq!(healthy.status(), 200, "{flag} {}", running.log());
        // The exporter may probe its own page, also below the route prefix.
        let page = running
            .text(&format!(
                "{prefix}/probe?target={}{prefix}/-/healthy",
                running.addresses[0]
            ))
            .await;
        assert!(page.contains("\nprobe_success 1\n"), "{flag} {page}");
    }
}

/// As in kingpin, arguments can be read from files, one per line.
#[tokio::test]
async fn flags_are_read_from_files() {
    let folder = tempfile::tempdir().unwrap();
    let (file, outer) = (folder.path().join("flags"), folder.path().join("outer"));
    std::fs::write(&file, "# nothing\r\n\n--web.route-prefix=/inner\n").unwrap();
    std::fs::write(&outer, format!("@{}", file.display())).unwrap();
    for path in [&file, &outer] {
        let running = Running::start(MODULES, &[&format!("@{}", path.display())]).await;
        assert_eq!(running.get("/inner/-/healthy").await.status(), 200, "{}", running.log());
    }
    for wrong in ["@/nonexistent/flags", "@"] {
        let output = Command::new(PROGRAM).arg(wrong).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{wrong}");
    }
}

#[test]
fn flags_that_kingpin_rejects_are_rejected() {
    for wrong in [
        "--timeout-offset=",
        "--timeout-offset=1e400",
        "--timeout-offset=nan",
        "--history.limit=-1",
        "--history.limit=5.0",
        "--config.auto-reload-interval=5s",
        "--config.check=true",
        "--config.fil=x",
    ] {
        let output = Command::new(PROGRAM).arg(wrong).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{wrong}");
    }
}

#[test]
fn all_help_flags_work() {
    for flag in ["--help", "-h", "--help-long", "--help-man", "--no-help"] {
        let output = Command::new(PROGRAM).arg(flag).output().unwrap();
        assert!(output.status.success(), "{flag}");
        let text = String::from_utf8(output.stdout).unwrap();
        for known in ["config.file", "history.limit", "healthcheck"] {
            assert!(text.replace('\\', "").contains(known), "{flag}: {text}");
        }
        assert_eq!(
            text.starts_with(".TH glassbox_exporter 1 "),
            flag == "--help-man",
            "{text}"
        );
    }
}

/// With `--log.prober=debug` the steps of each probe are logged without secrets, as in `blackbox_exporter`.
#[tokio::test]
async fn the_steps_of_probes_are_logged_at_debug() {
    let modules = "modules:
  h: {prober: http, timeout: 1s}
  t: {prober: tcp, timeout: 1s, tcp: {query_response: [{send: 's3cret-word'}, {expect: '^never'}]}}
  d: {prober: dns, timeout: 1s, dns: {query_name: a.test, transport_protocol: tcp}}
  g: {prober: grpc, timeout: 1s, grpc: {tls: false}}
  u: {prober: unix, timeout: 1s}
  i: {prober: icmp, timeout: 1s}
  w: {prober: websocket, timeout: 1s}
";
    let at = refused();
    let probed = [
        ("h", format!("http://user:s3cret-word@{at}/")),
        ("t", at.clone()),
        ("d", at.clone()),
        ("g", at.clone()),
        ("u", "/nonexistent/socket".to_owned()),
        ("i", "127.0.0.1".to_owned()),
        ("w", format!("ws://{at}/")),
    ];
    for level in ["debug", "info"] {
        let running = Running::start(modules, &[&format!("--log.prober={level}"), "--log.level=debug"]).await;
        for (module, target) in &probed {
            running.get(&format!("/probe?module={module}&target={target}")).await;
        }
        // A dialogue with a server that sends an unexpected line.
        let own = &running.addresses[0];
        running
            .get(&format!("/probe?module=h&target=http://{own}/-/healthy"))
            .await;
        let log = running.whole_log().await;
        assert!(!log.contains("s3cret"), "{log}");
        for (module, _) in &probed {
            let of_module = format!(" module={module} ");
            let lines = log
                .lines()
                .filter(|line| line.contains(" level=DEBUG ") && line.contains(&of_module));
            let lines: Vec<_> = lines.collect();
            let has = |words: &str| lines.iter().any(|line| line.contains(words));
            assert_eq!(has("Beginning probe"), level == "debug", "{module} {log}");
            assert_eq!(has("msg=\"Phase f"), level == "debug", "{module} {log}");
        }
        assert_eq!(log.contains("Received HTTP response"), level == "debug", "{log}");
    }
}

#[test]
fn an_external_url_that_go_rejects_is_rejected() {
    let output = Command::new(PROGRAM)
        .args(["--web.listen-address=127.0.0.1:0", "--web.external-url=foo%zz"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(
        log.contains(r#"--web.external-url: parse \"foo%zz\": invalid URL escape \"%zz\""#),
        "{log}"
    );
}

#[test]
fn the_version_output_matches_blackbox_exporter() {
    let output = Command::new(PROGRAM).arg("--version").output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let version = env!("CARGO_PKG_VERSION");
    let first = text.lines().next().unwrap();
    assert_eq!(first.split_whitespace().nth(2), Some(version), "awk '{{print $3}}'");
    assert!(
        first.starts_with(&format!("glassbox_exporter, version {version} (branch: ")),
        "{first}"
    );
    assert_eq!(text.lines().count(), 6, "{text}");
    assert!(
        text.lines()
            .skip(1)
            .all(|line| line.starts_with("  ") && line.contains(": ")),
        "{text}"
    );
}

/// The logs of a failed probe, a successful probe and a failed reload, in both formats.
async fn logs_of(target: &str) -> Vec<String> {
    let bad = "modules: {t: {prober: nothing}}";
    let mut records = Vec::new();
    for format in ["logfmt", "json"] {
        let format = format!("--log.format={format}");
        let running = Running::start(MODULES, &[&format, "--log.prober=debug"]).await;
        running.get(&format!("/probe?module=t&target={target}")).await;
        running
            .get(&format!("/probe?module=t&target={}", running.addresses[0]))
            .await;
        running.write("glassbox.yml", bad);
        assert_eq!(running.post("/-/reload").await.status(), 500);
        eventually("the last line", async || {
            running.log().contains("Error reloading config")
        })
        .await;
        records.push(running.log());
    }
    records
}

#[tokio::test]
async fn the_log_has_the_keys_of_blackbox_exporter_each_once() {
    let target = refused();
    let records = logs_of(&target).await;
    let [logfmt, json] = &records[..] else { panic!() };
    let line = |words: &str| {
        logfmt
            .lines()
            .find(|line| line.contains(words))
            .unwrap_or_else(|| panic!("{words}: {logfmt}"))
    };
    for words in [
        "Starting glassbox_exporter",
        "Probe failed",
        "Probe succeeded",
        "Error reloading config",
    ] {
        let record = json.lines().find(|line| line.contains(words)).unwrap();
        let record: Value = serde_json::from_str(record).unwrap();
        let keys: Vec<_> = record.as_object().unwrap().keys().collect();
        assert!(
            record.as_object().unwrap().values().all(|value| !value.is_object()),
            "{record}"
        );
        for key in ["time", "level", "source", "msg"] {
            assert!(record[key].is_string(), "{key} {record}");
        }
        for key in keys {
            assert_eq!(
                line(words).matches(&format!(" {key}=")).count() + usize::from(key == "time"),
                1,
                "{key} {words}"
            );
        }
    }
    let failed = line("Probe failed");
    assert!(failed.contains(" level=ERROR source=run.rs:"), "{failed}");
    assert!(
        failed.contains(&format!(
            " msg=\"Probe failed\" module=t target={target} err=\"Connecting to {target} failed: "
        )),
        "{failed}"
    );
    let reload = line("Error reloading config");
    assert!(
        reload.contains(" level=ERROR ") && reload.contains(" err=\""),
        "{reload}"
    );
    assert!(!line("Probe succeeded").contains(" err="));
}

#[tokio::test]
async fn the_first_log_line_has_the_version() {
    let running = Running::start(
        MODULES,
        &["--web.listen-address=127.0.0.1:0", "--web.listen-address=127.0.0.1:0"],
    )
    .await;
    let log = running.log();
    let first = log
        .lines()
        .find(|line| line.contains("Starting glassbox_exporter"))
        .unwrap();
    let version = format!("version=\"(version={}, branch=", env!("CARGO_PKG_VERSION"));
    assert!(
        first.contains(&version) && first.contains(" config_file=glassbox.yml modules=2 "),
        "{first}"
    );
    assert!(
        first.ends_with(&format!(" listeners={}", running.addresses.join(","))),
        "{first}"
    );
    let embedded = Running::start_in(tempfile::tempdir().unwrap(), &[]).await;
    assert!(
        embedded.log().contains(" config_file=\"embedded default\" "),
        "{}",
        embedded.log()
    );
}

#[tokio::test]
async fn the_prober_log_level_flag_applies() {
    for (level, failed, succeeded) in [
        ("debug", true, true),
        ("INFO", true, false),
        ("error", true, false),
        ("warning", true, false),
    ] {
        let running = Running::start(MODULES, &[&format!("--log.prober={level}")]).await;
        running.get(&format!("/probe?module=t&target={}", refused())).await;
        running
            .get(&format!("/probe?module=t&target={}", running.addresses[0]))
            .await;
        eventually("the failed probe", async || running.log().contains("Probe failed")).await;
        let written = if succeeded { "Probe succeeded" } else { "Probe failed" };
        eventually(written, async || running.log().contains(written)).await;
        let log = running.log();
        assert_eq!(
            (log.contains("Probe failed"), log.contains("Probe succeeded")),
            (failed, succeeded),
            "{level} {log}"
        );
    }
}

/// Starts the program with a stderr that is not a file.
async fn with_stderr(stderr: impl Into<Stdio>) -> (Process, String) {
    let port = free_port();
    let mut command = Command::new(PROGRAM);
    command
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .stderr(stderr);
    let mut process = Process::start(&mut command);
    process.listens(port).await;
    (process, format!("http://127.0.0.1:{port}"))
}

#[tokio::test]
async fn a_blocked_or_unwritable_log_does_not_block_the_exporter() {
    let (reader, writer) = std::io::pipe().unwrap();
    let full = File::options().write(true).open("/dev/full").unwrap();
    let client = crate::support::http::client();
    for (reason, stderr) in [
        ("queue_full", Stdio::from(OwnedFd::from(writer))),
        ("write_failed", Stdio::from(full)),
    ] {
        let (mut process, url) = with_stderr(stderr).await;
        let get = async |path: &str| {
            let answer = client.get(format!("{url}{path}")).send().await.unwrap();
            (answer.status().as_u16(), answer.text().await.unwrap())
        };
        // More than the capacity of the pipe and the queue.
        let long = "x".repeat(1900);
        let mut dropped = 0.0;
        for target in 0.. {
            let (status, _) = get(&format!("/probe?target=127.0.0.1:1/{target}{long}")).await;
            assert_eq!(status, 200);
            if target % 500 == 0 {
                let (_, own) = get("/metrics").await;
                dropped = Page::parse(&own).value(&format!("glassbox_log_lines_dropped_total{{reason=\"{reason}\"}}"));
                if dropped > 0.0 {
                    break;
                }
            }
        }
        assert!(dropped > 0.0);
        assert_eq!(get("/-/healthy").await.0, 200);
        // The blocked log does not keep the process from exiting.
        process.signal("TERM");
        eventually("it ends", async || process.0.try_wait().unwrap().is_some()).await;
    }
    drop(reader);
}

#[tokio::test]
async fn a_permanently_failing_target_does_not_fill_the_log() {
    let running = Running::start(MODULES, &[]).await;
    let (target, other) = (refused(), refused());
    for _ in 0..20 {
        running.get(&format!("/probe?module=t&target={target}")).await;
    }
    running.get(&format!("/probe?module=t&target={other}")).await;
    let own = Page::parse(&running.text("/metrics").await);
    let suppressed = own.value("glassbox_probe_log_lines_suppressed_total");
    eventually("the last line", async || {
        running.log().contains(&format!("target={other}"))
    })
    .await;
    let log = running.log();
    let told = log.lines().filter(|line| line.contains(&format!("target={target} ")));
    let told = u32::try_from(told.count()).unwrap();
    assert!((5..15).contains(&told), "{log}");
    assert_eq!(f64::from(told) + suppressed, 20.0, "{log}");
}
