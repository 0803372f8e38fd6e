//! The evidence on disk (`--history.path`): it survives a restart, a killed process, a full disk and damaged files.

use crate::serving::Running;
use crate::support::page::Page;
use crate::support::peer::{Peer, read_head};
use crate::support::process::{Process, eventually, free_port};
use reqwest::header::ACCEPT;
use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;

const CONFIG: &str = "modules:\n  t: {prober: tcp, timeout: 2s}\n  h: {prober: http, timeout: 2s}\n";

const ENTRIES: &str = "glassbox_evidence_store_entries";

/// Starts the exporter with a store.
async fn start(store: &TempDir) -> Running {
    let path = format!("--history.path={}", store.path().join("evidence").display());
    Running::start(CONFIG, &[&path]).await
}

/// Probes a target and returns the evidence id.
async fn probe(running: &Running, module: &str, target: &str) -> String {
    let answer = running.get(&format!("/probe?module={module}&target={target}")).await;
    assert_eq!(answer.status(), 200);
    answer.headers()["x-glassbox-evidence"].to_str().unwrap().to_owned()
}

async fn own(running: &Running, series: &str) -> f64 {
    Page::parse(&running.text("/metrics").await).value(series)
}

/// Waits until the store has a number of entries.
async fn stored(running: &Running, entries: f64) {
    eventually("stored", async || own(running, ENTRIES).await >= entries).await;
}

/// Ends the exporter as a service manager does.
async fn stop(mut running: Running) -> String {
    running.process.signal("TERM");
    eventually("ended", async || running.process.0.try_wait().unwrap().is_some()).await;
    running.log()
}

/// A page as a browser requests it: status and text.
async fn browse(running: &Running, path: &str) -> (u16, String) {
    let client = crate::support::http::client();
    let request = client.get(running.url(path)).header(ACCEPT, "text/html,*/*;q=0.8");
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

#[tokio::test]
async fn links_of_an_open_incident_work_after_a_restart() {
    let store = tempfile::tempdir().unwrap();
    let running = start(&store).await;
    let target = format!("127.0.0.1:{}", free_port());
    let first = probe(&running, "t", &target).await;
    let id = probe(&running, "t", &target).await;
    let before = [
        running.text(&format!("/evidence/{id}")).await,
        running.text(&format!("/evidence/{id}.json")).await,
        running.text(&format!("/evidence/{id}.har")).await,
    ];
    // The end of the process writes what is still in the queue.
    stop(running).await;

    let running = start(&store).await;
    stored(&running, 2.0).await;
    let page = running.text(&format!("/evidence/{id}")).await;
    // The debug log is in memory only.
    let log = format!("<a href=\"/logs?id={id}\">Log</a>");
    assert!(before[0].contains(&log) && !page.contains(&log));
    // The part about time depends on when the page is served.
    let lasting = |page: &str| {
        let (start, rest) = page.split_once("<section class=\"timeline\"").unwrap();
        let (timeline, end) = rest.split_once("</section>").unwrap();
        (format!("{start}{end}"), timeline.to_owned())
    };
    let ((page, timeline), (before_page, _)) = (lasting(&page), lasting(&before[0]));
    assert_eq!(page, before_page.replace(&log, ""));
    assert!(timeline.contains(&format!("href=\"/evidence/{first}\"")), "{timeline}");
    assert!(timeline.contains(", at least 2 probes."), "{timeline}");
    assert_eq!(running.text(&format!("/evidence/{id}.json")).await, before[1]);
    assert_eq!(running.text(&format!("/evidence/{id}.har")).await, before[2]);
    assert_eq!(running.get(&format!("/evidence/{first}")).await.status(), 200);
    let latest = running.get(&format!("/evidence?target={target}&module=t")).await;
    assert!(latest.url().path().ends_with(&id), "{}", latest.url());

    // A new failure precedes the stored ones.
    let new = probe(&running, "t", &target).await;
    let latest = running.get(&format!("/evidence?target={target}")).await;
    assert!(latest.url().path().ends_with(&new), "{}", latest.url());
}

#[tokio::test]
async fn failures_recoveries_and_one_success_are_stored() {
    let store = tempfile::tempdir().unwrap();
    let running = start(&store).await;
    let is_up = Arc::new(AtomicBool::new(false));
    let switch = is_up.clone();
    let peer = Peer::start(move |mut stream| {
        let answer: &[u8] = if switch.load(Ordering::SeqCst) {
            b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
        } else {
            b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
        };
        async move {
            read_head(&mut stream).await;
            let _ = stream.write_all(answer).await;
        }
    })
    .await;
    let target = peer.http();
    let failure = probe(&running, "h", &target).await;
    is_up.store(true, Ordering::SeqCst);
    let recovery = probe(&running, "h", &target).await;
    let success = probe(&running, "h", &target).await;
    stop(running).await;
    let running = start(&store).await;
    stored(&running, 2.0).await;
    assert_eq!(own(&running, ENTRIES).await, 2.0);
    for id in [&failure, &recovery] {
        assert_eq!(running.get(&format!("/evidence/{id}.json")).await.status(), 200, "{id}");
    }
    let (status, page) = browse(&running, &format!("/evidence/{success}")).await;
    assert_eq!(status, 404);
    assert!(page.contains("one success per target and hour"), "{page}");
    // The alert's link shows the failure, although the latest stored probe succeeded.
    let latest = running.get(&format!("/evidence?target={target}")).await;
    assert!(latest.url().path().ends_with(&failure), "{}", latest.url());
}

/// An incident that spans a restart is one incident, and its first probe can be repeated from disk.
#[tokio::test]
async fn an_incident_continues_after_a_restart() {
    let store = tempfile::tempdir().unwrap();
    let (paths, seen) = tokio::sync::mpsc::unbounded_channel();
    let is_up = Arc::new(AtomicBool::new(true));
    let switch = is_up.clone();
    let peer = Peer::start(move |mut stream| {
        let (is_up, paths) = (switch.load(Ordering::SeqCst), paths.clone());
        async move {
            let head = String::from_utf8(read_head(&mut stream).await).unwrap();
            let _unread = paths.send(head.split_once("\r\n").unwrap().0.to_owned());
            let status = if is_up { "200 OK" } else { "503 Service Unavailable" };
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    })
    .await;
    let target = format!("{}cart?token=s3cr3t", peer.http());
    let running = start(&store).await;
    let healthy = probe(&running, "h", &target).await;
    is_up.store(false, Ordering::SeqCst);
    let first = probe(&running, "h", &target).await;
    probe(&running, "h", &target).await;
    stop(running).await;

    let running = start(&store).await;
    stored(&running, 3.0).await;
    let last = probe(&running, "h", &target).await;
    stored(&running, 4.0).await;
    let page = running.text(&format!("/evidence/{last}")).await;
    assert!(page.contains("Unhealthy since") && !page.contains("at least"), "{page}");
    assert!(page.contains(", 3 probes."), "{page}");
    assert!(!page.contains("s3cr3t") && !page.contains("token="), "{page}");
    for id in [&healthy, &first] {
        assert!(page.contains(&format!("<a href=\"/evidence/{id}\">")), "{id}: {page}");
    }
    // The status of the healthy probe comes from the disk.
    let changes = page.split("class=\"fields changes\"").nth(1).unwrap();
    let status = changes.split("Status").nth(1).unwrap().split("</tr>").next().unwrap();
    assert!(status.contains("200") && status.contains("503"), "{status}");

    let again = running.post(&format!("/evidence/{first}/again")).await;
    assert!(again.url().path().starts_with("/evidence/"), "{}", again.url());
    assert!(again.text().await.unwrap().contains(", 4 probes."));
    let mut seen = seen;
    let mut requests = Vec::new();
    while let Ok(request) = seen.try_recv() {
        requests.push(request);
    }
    assert_eq!(requests, vec!["GET /cart?token=s3cr3t HTTP/1.1"; 5]);
}

#[tokio::test]
async fn a_gone_link_says_why() {
    let target = format!("127.0.0.1:{}", free_port());
    let running = Running::start(CONFIG, &["--history.limit=1"]).await;
    let first = probe(&running, "t", &target).await;
    probe(&running, "t", &target).await;
    for (path, why) in [
        (format!("/evidence/{first}"), "no longer in memory"),
        ("/evidence/0123456789abcdef".to_owned(), "only with --history.path"),
        (
            "/evidence?target=none".to_owned(),
            "No probe of <bdi>none</bdi> is stored",
        ),
    ] {
        let (status, page) = browse(&running, &path).await;
        assert_eq!(status, 404, "{path}");
        assert!(
            page.starts_with("<!DOCTYPE html>") && page.contains(why),
            "{path}: {page}"
        );
        let plain = running.get(&path).await;
        assert_eq!(plain.headers()["content-type"], "text/plain; charset=utf-8");
        assert!(
            plain.text().await.unwrap().starts_with("Evidence not found. "),
            "{path}"
        );
    }
}

/// Changes the database while the exporter is not running.
fn damage(store: &TempDir, sql: &str) {
    let connection = rusqlite::Connection::open(store.path().join("evidence/evidence.db")).unwrap();
    connection.execute_batch(sql).unwrap();
}

#[tokio::test]
async fn a_damaged_content_is_dropped_and_other_probes_are_offered() {
    let store = tempfile::tempdir().unwrap();
    let running = start(&store).await;
    let target = format!("127.0.0.1:{}", free_port());
    let first = probe(&running, "t", &target).await;
    let second = probe(&running, "t", &target).await;
    stop(running).await;
    damage(&store, "UPDATE content SET body = x'00' WHERE seq = 1");
    let running = start(&store).await;
    stored(&running, 2.0).await;
    let (status, page) = browse(&running, &format!("/evidence/{first}")).await;
    assert_eq!(status, 404);
    assert!(page.contains("checksum"), "{page}");
    assert!(page.contains(&format!("href=\"/evidence/{second}\"")), "{page}");
    let plain = running.text(&format!("/evidence/{first}")).await;
    assert!(plain.contains(&format!("/evidence/{second} ")), "{plain}");
}

#[tokio::test]
async fn a_later_version_is_refused_and_left_alone() {
    let store = tempfile::tempdir().unwrap();
    let running = start(&store).await;
    stop(running).await;
    damage(&store, "PRAGMA user_version = 9");
    let database = store.path().join("evidence/evidence.db");
    let before = std::fs::read(&database).unwrap();
    let running = start(&store).await;
    let target = format!("127.0.0.1:{}", free_port());
    let id = probe(&running, "t", &target).await;
    assert_eq!(running.get(&format!("/evidence/{id}")).await.status(), 200);
    let log = stop(running).await;
    assert!(log.contains("format version 9: expected up to 1"), "{log}");
    assert_eq!(std::fs::read(&database).unwrap(), before);
}

/// Number of runs of the tests with kills and damaged files.
fn runs(usual: usize) -> usize {
    std::env::var("STORE_RUNS").map_or(usual, |runs| runs.parse().unwrap())
}

/// A killed process keeps all evidence that it had counted as written, and never prevents the next start. The store
/// writes every 200 ms, but a busy machine may delay it, so the test asserts no time.
#[tokio::test]
async fn a_killed_process_keeps_what_it_had_written() {
    let store = tempfile::tempdir().unwrap();
    let target = format!("127.0.0.1:{}", free_port());
    let mut written: Vec<String> = Vec::new();
    for run in 0..runs(3) {
        let mut running = start(&store).await;
        let count = u32::try_from(written.len()).unwrap();
        stored(&running, count.into()).await;
        let before = own(&running, ENTRIES).await;
        // The newest ones are the ones that a kill could lose.
        for id in written.iter().rev().take(20) {
            let status = running.get(&format!("/evidence/{id}.json")).await.status();
            assert_eq!(status, 200, "run {run}: {id} {}", running.log());
        }
        assert!(!running.log().contains("damaged"), "{}", running.log());
        // Different times before the kill, so that it also occurs during a transaction.
        let until = Instant::now() + Duration::from_millis(600 + 37 * (run as u64 % 10));
        let mut probed = Vec::new();
        let mut counted = 0.0;
        while Instant::now() < until || counted == 0.0 {
            probed.push(probe(&running, "t", &target).await);
            if probed.len() % 8 == 0 {
                counted = own(&running, ENTRIES).await - before;
            }
        }
        running.process.0.kill().unwrap();
        running.process.0.wait().unwrap();
        // The store writes in the order of the probes. The last unread count may be higher.
        probed.truncate(format!("{counted:.0}").parse().unwrap());
        written.extend(probed);
    }
}

/// Damaged files are renamed and replaced. No start and no probe fails.
#[tokio::test]
async fn damaged_files_are_replaced() {
    let store = tempfile::tempdir().unwrap();
    let target = format!("127.0.0.1:{}", free_port());
    let running = start(&store).await;
    for _ in 0..40 {
        probe(&running, "t", &target).await;
    }
    stored(&running, 40.0).await;
    stop(running).await;
    let folder = store.path().join("evidence");
    let database = folder.join("evidence.db");
    let intact = std::fs::read(&database).unwrap();
    let runs = runs(6);
    let mut replaced = 0;
    for run in 0..runs {
        std::fs::remove_dir_all(&folder).unwrap();
        std::fs::create_dir(&folder).unwrap();
        let mut bytes = intact.clone();
        match run % 6 {
            0 => bytes[..100].fill(0xff),
            1 => bytes.truncate(intact.len() / 2 + run),
            2 => bytes = b"not a database".repeat(run + 1),
            3 => bytes.chunks_mut(8192).skip(1).for_each(|page| page[..8].fill(0xaa)),
            4 => bytes[intact.len() / 3..].fill(0),
            _ => bytes.iter_mut().step_by(97 + run).for_each(|byte| *byte ^= 0x55),
        }
        std::fs::write(&database, &bytes).unwrap();
        if run % 2 == 1 {
            std::fs::write(folder.join("evidence.db-wal"), &bytes).unwrap();
        }
        let running = start(&store).await;
        let id = probe(&running, "t", &target).await;
        eventually("written", async || own(&running, ENTRIES).await >= 1.0).await;
        let listed = running.get(&format!("/evidence?target={target}")).await;
        assert_eq!(listed.status(), 200);
        replaced += usize::from(running.log().contains("damaged") && folder.join("evidence.db.damaged").exists());
        stop(running).await;
        let running = start(&store).await;
        stored(&running, 1.0).await;
        let status = running.get(&format!("/evidence/{id}.json")).await.status();
        assert_eq!(status, 200, "run {run}: {}", running.log());
    }
    assert!(replaced * 2 > runs, "{replaced} of {runs}");
}

/// A full disk is logged and counted, and probes continue. When there is space again, evidence is stored again.
#[tokio::test]
async fn a_full_disk_is_survived() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("glassbox.yml"), CONFIG).unwrap();
    std::fs::create_dir(folder.path().join("disk")).unwrap();
    let port = free_port();
    let log = folder.path().join("log");
    let script = format!(
        "mount -t tmpfs -o size=2m none disk && dd if=/dev/zero of=disk/other bs=1M count=2 2>/dev/null; \
         exec {} --config.file=glassbox.yml --history.path=disk/evidence --web.listen-address=127.0.0.1:{port}",
        env!("CARGO_BIN_EXE_glassbox_exporter")
    );
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "sh", "-c", &script])
        .current_dir(folder.path());
    let mut process = Process::start(command.stderr(File::create(&log).unwrap()));
    process.listens(port).await;
    let client = crate::support::http::client();
    let text = async |path: &str| {
        let answer = client
            .get(format!("http://127.0.0.1:{port}{path}"))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        answer.text().await.unwrap()
    };
    let probe = format!("/probe?module=t&target=127.0.0.1:{}", free_port());
    let lost = "glassbox_evidence_store_dropped_total{reason=\"write_failed\"}";
    eventually("the disk is full", async || {
        assert!(text(&probe).await.contains("probe_success 0"));
        Page::parse(&text("/metrics").await).value(lost) > 0.0
    })
    .await;
    let logged = std::fs::read_to_string(&log).unwrap();
    assert!(logged.contains("Error of the evidence store"), "{logged}");
    let other = format!("/proc/{}/root{}/disk/other", process.0.id(), folder.path().display());
    std::fs::remove_file(Path::new(&other)).unwrap();
    eventually("there is space again", async || {
        text(&probe).await;
        Page::parse(&text("/metrics").await).value(ENTRIES) > 0.0
    })
    .await;
}
