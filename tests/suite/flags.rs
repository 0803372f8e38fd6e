//! Flags, the version and the log, as what was written for `blackbox_exporter` expects them.

use crate::serving::Running;
use crate::support::process::free_port;
use serde_json::Value;
use std::process::Command;

const PROGRAM: &str = env!("CARGO_BIN_EXE_glassbox_exporter");

const MODULES: &str = "modules:\n  http_2xx: {prober: http}\n  t: {prober: tcp, timeout: 1s}\n";

/// A target that refuses connections.
fn refused() -> String {
    format!("127.0.0.1:{}", free_port())
}

#[tokio::test]
async fn flags_that_blackbox_exporter_takes_start() {
    for (flag, prefix) in [
        ("--log.level=INFO", ""),
        ("--log.level=Debug", ""),
        ("--log.prober=DEBUG", ""),
        ("--log.prober=warning", ""),
        ("--log.format=JSON", ""),
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
        // It may probe that page of its own, below its prefix, too.
        let page = running
            .text(&format!(
                "{prefix}/probe?target={}{prefix}/-/healthy",
                running.addresses[0]
            ))
            .await;
        assert!(page.contains("\nprobe_success 1\n"), "{flag} {page}");
    }
}

#[test]
fn an_external_url_that_go_refuses_is_refused() {
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
fn scripts_read_the_version_where_they_read_that_of_blackbox_exporter() {
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

#[tokio::test]
async fn the_log_has_the_keys_of_blackbox_exporter_each_once() {
    let (target, bad) = (refused(), "modules: {t: {prober: nothing}}");
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
        records.push(running.log());
    }
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
    assert!(failed.contains(" level=ERROR source=round.rs:"), "{failed}");
    assert!(
        failed.contains(&format!(
            " msg=\"Probe failed\" module=t target={target} err=\"Connecting to {target}: "
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
async fn the_first_line_tells_what_runs() {
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
async fn probes_are_logged_from_the_severity_that_the_flag_names() {
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
        let log = running.log();
        assert_eq!(
            (log.contains("Probe failed"), log.contains("Probe succeeded")),
            (failed, succeeded),
            "{level} {log}"
        );
    }
}
