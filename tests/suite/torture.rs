//! Torture, as curl does it: the N-th step that can fail for want of something on this host fails, for every N until a probe has
//! none left. Each ends in a named result, blames nobody else, and leaves no file open.

use crate::support::dns::{DnsServer, Says};
use crate::support::page::Page;
use crate::support::peer::{Peer, ok};
use crate::support::pki::Authority;
use crate::support::process::{Process, eventually, free_port, project};
use std::fs::File;
use std::net::IpAddr;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// No probe has more steps that can fail.
const MOST_STEPS: i32 = 400;

/// A step may be taken by what goes on beside a probe: so many probes in a row without one that fails are the end.
const UNTOUCHED: usize = 3;

/// Builds what is loaded before the exporter's own libraries.
fn saboteur(folder: &Path) -> std::path::PathBuf {
    let library = folder.join("fail.so");
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .arg(&library)
        .arg(project("tests/suite/torture/fail.c"))
        .arg("-ldl")
        .status()
        .expect("a C compiler: Rust's own linker needs one, too");
    assert!(built.success());
    library
}

struct Tortured {
    exporter: Process,
    port: u16,
    countdown: File,
    folder: tempfile::TempDir,
}

impl Tortured {
    async fn start(config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let library = saboteur(folder.path());
        let path = folder.path().join("countdown");
        std::fs::write(&path, [0; 4]).unwrap();
        std::fs::write(folder.path().join("glassbox.yml"), config).unwrap();
        let port = free_port();
        let mut exporter = Process::start(
            Command::new(env!("CARGO_BIN_EXE_glassbox_exporter"))
                .arg(format!("--web.listen-address=127.0.0.1:{port}"))
                .arg("--config.file=glassbox.yml")
                .env("LD_PRELOAD", library)
                .env("TORTURE", &path)
                .current_dir(folder.path())
                .stderr(File::create(folder.path().join("log")).unwrap()),
        );
        exporter.listens(port).await;
        Self {
            exporter,
            port,
            countdown: File::options().read(true).write(true).open(path).unwrap(),
            folder,
        }
    }

    /// From now on the step with this number fails; 0 is none.
    fn fail(&self, step: i32) {
        self.countdown.write_all_at(&step.to_ne_bytes(), 0).unwrap();
    }

    /// Whether it has failed.
    fn has_failed(&self) -> bool {
        let mut left = [0; 4];
        self.countdown.read_exact_at(&mut left, 0).unwrap();
        i32::from_ne_bytes(left) == 0
    }

    /// None where the connection ended without an answer.
    async fn get(&self, path: &str) -> Option<(u16, String)> {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let request = client.get(format!("http://127.0.0.1:{}{path}", self.port));
        let timeout = Duration::from_secs(30);
        let answer = request
            .header("X-Prometheus-Scrape-Timeout-Seconds", "10")
            .timeout(timeout)
            .send()
            .await
            .ok()?;
        Some((answer.status().as_u16(), answer.text().await.ok()?))
    }

    fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.exporter.0.id()))
            .unwrap()
            .count()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }
}

/// What is wrong with the answer to a probe in which something of our own failed.
fn objection(answer: Option<(u16, String)>) -> Option<String> {
    match answer {
        // The scrape's own connection broke: `up` is 0, and nothing is said of the target.
        None => None,
        Some((503, words)) => words.is_empty().then(|| "503 without a reason".to_owned()),
        Some((200, page)) => {
            let success = Page::parse(&page).value("probe_success");
            let blamed = page.contains("link=\"local\",phase=") || success == 1.0;
            (!blamed).then(|| {
                page.lines()
                    .filter(|line| line.contains("probe_failure_info{"))
                    .collect()
            })
        }
        Some(other) => Some(format!("{other:?}")),
    }
}

/// Tortures one kind of probe. Gives how many of its steps could fail.
async fn torture(tortured: &Tortured, name: &str, probe: &str) -> usize {
    let well = tortured.get(probe).await.unwrap();
    assert!(well.1.contains("\nprobe_success 1"), "{name} {well:?}");
    let mut untouched = 0;
    for step in 1..MOST_STEPS {
        tortured.fail(step);
        let answer = tortured.get(probe).await;
        let failed = tortured.has_failed();
        tortured.fail(0);
        assert_eq!(objection(answer), None, "{name}: step {step}; {}", tortured.log());
        untouched = if failed { 0 } else { untouched + 1 };
        if untouched == UNTOUCHED {
            return usize::try_from(step).unwrap() - UNTOUCHED;
        }
    }
    panic!("{name} has more than {MOST_STEPS} steps that can fail");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_step_fails_on_our_side_nobody_else_is_blamed_and_nothing_leaks() {
    let authority = Authority::new();
    let dns = DnsServer::always(Says::Addresses(vec![IpAddr::from([127, 0, 0, 1])])).await;
    let plain = Peer::start(ok).await;
    let secured = Peer::with_tls(authority.leaf("peer.test").server(&[]), ok).await;
    let resolver = dns.as_key();
    let ca = authority.ca_file.display();
    let tortured = Tortured::start(&format!(
        "modules:\n  plain: {{prober: http, {resolver}}}\n  tls: {{prober: http, {resolver}, http: {{tls_config: {{ca_file: '{ca}'}}}}}}\n  \
         tcp: {{prober: tcp, tcp: {{query_response: [{{send: \"GET / HTTP/1.0\\r\\n\\r\"}}, {{expect: '^HTTP'}}]}}}}\n  \
         dns: {{prober: dns, dns: {{query_name: a.test, query_type: A}}}}\n"
    ))
    .await;
    let mut steps = Vec::new();
    let before = tortured.open_files();
    for (name, target) in [
        ("plain", format!("http://peer.test:{}/", plain.address.port())),
        ("tls", format!("https://peer.test:{}/", secured.address.port())),
        ("tcp", plain.address.to_string()),
        ("dns", dns.address.to_string()),
    ] {
        let probe = format!("/probe?module={name}&target={target}");
        let count = torture(&tortured, name, &probe).await;
        steps.push((name, count));
        let (_, page) = tortured.get(&probe).await.unwrap();
        assert!(page.contains("\nprobe_success 1"), "the next {name} probe: {page}");
    }
    println!("steps that can fail: {steps:?}");
    assert!(
        steps.iter().all(|(_, count)| *count >= 10),
        "hardly anything was made to fail: {steps:?}"
    );
    // A connection that was kept, or one that is being closed.
    eventually("as many files as before", async || tortured.open_files() <= before + 2).await;
    let (_, own) = tortured.get("/metrics").await.unwrap();
    let own = Page::parse(&own);
    assert_eq!(own.value("glassbox_probes_in_flight"), 0.0);
    assert_eq!(own.value("glassbox_panics_total"), 0.0);
    assert!(!tortured.log().contains("anic"), "{}", tortured.log());
}
