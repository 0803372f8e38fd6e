//! Output of `check`: colors on a terminal, plain text otherwise.

use crate::support::peer::{Peer, ok};
use serde_json::Value;
use std::process::Output;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_glassbox_exporter");

async fn piped(arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let mut command = tokio::process::Command::new(PROGRAM);
    command.arg("check").args(arguments).current_dir(folder.path());
    command.output().await.unwrap()
}

/// Output on a pseudo-terminal, created with script(1), and the exit code.
async fn on_a_terminal(arguments: &str, colour: Option<&str>) -> (String, Option<i32>) {
    let folder = tempfile::tempdir().unwrap();
    let line = format!("{PROGRAM} check {arguments}");
    let mut command = tokio::process::Command::new("script");
    command.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
    command.current_dir(folder.path()).env("TERM", "xterm");
    for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE"] {
        command.env_remove(name);
    }
    command.envs(colour.map(|value| ("NO_COLOR", value)));
    let output = command.output().await.unwrap();
    (String::from_utf8(output.stdout).unwrap(), output.status.code())
}

#[tokio::test]
async fn a_terminal_shows_colors_unless_disabled() {
    let good = Peer::start(ok).await;
    let (screen, code) = on_a_terminal(&good.http(), None).await;
    assert_eq!(code, Some(0), "{screen}");
    assert!(screen.contains("\x1b[32m[+] Exporter\x1b[0m - "), "{screen:?}");
    assert!(screen.contains("\x1b[32mOK\x1b[0m in "), "{screen:?}");

    let (screen, code) = on_a_terminal("http://127.0.0.1:1/", None).await;
    assert_eq!(code, Some(1), "{screen}");
    assert!(screen.contains("\x1b[1m\x1b[31m[X] Edge\x1b[0m"), "{screen:?}");
    assert!(screen.contains("\x1b[1m\x1b[31mFAILED\x1b[0m in "), "{screen:?}");

    let (screen, _) = on_a_terminal(&good.http(), Some("1")).await;
    assert!(
        !screen.contains('\x1b') && screen.contains("[+] Exporter - [+] DNS"),
        "{screen:?}"
    );
    let text = String::from_utf8(piped(&[&good.http()]).await.stdout).unwrap();
    assert!(!text.contains('\x1b') && text.contains("[+] Exporter - "), "{text:?}");
    assert!(text.contains('█'), "{text:?}");
}

#[tokio::test]
async fn many_probes_have_a_summary() {
    let good = Peer::start(ok).await;
    let (screen, code) = on_a_terminal(&format!("{} --count 5 --interval 0.01", good.http()), None).await;
    assert_eq!(code, Some(0), "{screen}");
    // One line with the current medians that is redrawn at a visible rate.
    let drawn = screen.matches("\r\x1b[K[").count();
    assert!((1..=5).contains(&drawn), "{screen:?}");
    let widest = screen
        .split('\r')
        .map(|line| line.split('\n').next().unwrap_or_default().chars().count());
    assert!(widest.max().unwrap() <= 80 + "\x1b[K".len(), "{screen:?}");
    assert!(screen.contains("[####################] 5/5  resolve "), "{screen:?}");
    assert!(screen.contains("5 probes, 5 succeeded (100.0 %)"), "{screen}");
    assert_eq!(good.connections(), 5);

    let bad = piped(&["http://127.0.0.1:1/", "--count=4", "--interval=0"]).await;
    assert_eq!(bad.status.code(), Some(1));
    let text = String::from_utf8(bad.stdout).unwrap();
    assert!(text.starts_with("4 probes, 0 succeeded (0.0 %)"), "{text}");
    let words = |start: &str| {
        let line = text.lines().find(|line| line.starts_with(start));
        line.unwrap_or_else(|| panic!("no {start} in {text}"))
            .split_whitespace()
            .count()
    };
    // Name and three percentiles. A phase that never finished has no percentiles.
    assert_eq!((words("resolve"), words("total")), (4, 4), "{text}");
    assert!(!text.contains("connect"), "{text}");
    assert!(text.contains(" ms |"), "a histogram: {text}");
    let verdict = text
        .lines()
        .last()
        .unwrap()
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    assert_eq!(verdict, "edge tcp.refused 4 100.0 %");
}

#[tokio::test]
async fn check_can_write_json_and_an_archive() {
    let good = Peer::start(ok).await;
    let one = piped(&[&good.http(), "--json"]).await;
    let evidence: Value = serde_json::from_slice(&one.stdout).unwrap();
    assert_eq!(evidence["success"], true);
    assert_eq!(evidence["target"]["exchanges"][0]["reply"]["status"], 200);

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("probe.har");
    let many = piped(&[
        &good.http(),
        "--json",
        "--count=3",
        "--interval=0",
        "--har",
        file.to_str().unwrap(),
    ])
    .await;
    let lines = String::from_utf8(many.stdout).unwrap();
    let ids: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(ids.len(), 3, "{lines}");
    let archive: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!(archive["log"]["version"], "1.2");
    assert_eq!(archive["log"]["entries"][0]["response"]["status"], 200);

    let nowhere = piped(&[&good.http(), "--har=/nowhere/probe.har"]).await;
    assert_eq!(nowhere.status.code(), Some(1));
    let said = String::from_utf8(nowhere.stderr).unwrap();
    assert!(said.contains("failed to write the results"), "{said}");
}

#[tokio::test]
async fn missed_probes_of_a_hanging_server_are_skipped() {
    // The first response takes as long as eight intervals. Later responses are immediate.
    let asked = Arc::new(AtomicUsize::new(0));
    let times = Arc::new(Mutex::new(Vec::new()));
    let (count, noted) = (asked.clone(), times.clone());
    let peer = Peer::start(move |stream| {
        let first = count.fetch_add(1, Ordering::SeqCst) == 0;
        noted.lock().unwrap().push(Instant::now());
        async move {
            if first {
                tokio::time::sleep(Duration::from_millis(1600)).await;
            }
            ok(stream).await;
        }
    })
    .await;
    let output = piped(&[&peer.http(), "--count=4", "--interval=0.2"]).await;
    assert!(output.status.success());
    let times = times.lock().unwrap();
    // Each later probe keeps the interval to the previous one. A busy machine can only lengthen it.
    for pair in times.windows(2) {
        assert!(pair[1] - pair[0] >= Duration::from_millis(150), "{times:?}");
    }
    assert_eq!(times.len(), 4);
}

#[tokio::test]
async fn an_interrupt_ends_with_the_summary() {
    let good = Peer::start(ok).await;
    let folder = tempfile::tempdir().unwrap();
    let child = tokio::process::Command::new(PROGRAM)
        .args(["check", &good.http(), "--count=1000", "--interval=0.05"])
        .current_dir(folder.path())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    while good.connections() < 3 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let pid = child.id().unwrap().to_string();
    let killed = std::process::Command::new("kill")
        .args(["-INT", &pid])
        .status()
        .unwrap();
    assert!(killed.success());
    let output = child.wait_with_output().await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains(" succeeded (100.0 %)") && text.contains("resolve "),
        "{text}"
    );
    assert_eq!(output.status.code(), Some(0));
}

#[tokio::test]
async fn the_backends_share_the_axis_of_the_edge() {
    let edge = Peer::answering("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n").await;
    let app = Peer::start(ok).await;
    let backend = format!("--backend=app@{}", app.address);
    let text = String::from_utf8(piped(&[&edge.http(), &backend]).await.stdout).unwrap();
    assert!(
        text.contains(&format!("Direct request to app ({}):", app.address)),
        "{text}"
    );
    assert_eq!(text.matches("  transfer ").count(), 2, "{text}");
}
