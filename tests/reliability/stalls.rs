//! R17: an exporter that is paused or has no processor time reports no healthy target as down, and still reports
//! targets that do not respond.

use crate::clients::{Answer, probe, scrape};
use crate::program::{OURS, Program};
use crate::support::peer::{Peer, ok, read_head};
use crate::support::pki::Authority;
use crate::support::process::Process;
use crate::table::{Figure, Table};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::task::JoinSet;

/// Number of probes in each test.
const PROBES: usize = 200;

/// Number of concurrent probes.
const AT_ONCE: usize = 10;

/// Response time of each target.
const SLOW: Duration = Duration::from_millis(100);

pub async fn run(table: &mut Table) {
    let targets = Targets::start().await;
    for millis in [300, 1200, 3000] {
        let time = Duration::from_millis(millis);
        let blamed = stopped(&targets, time).await;
        figure(table, &format!("SIGSTOP of {millis} ms, timeout 1 s"), blamed);
    }
    match Freezer::new() {
        Some(freezer) => {
            let blamed = frozen(&targets, &freezer).await;
            figure(table, "cgroup freezer for 1.2 s, timeout 1 s", blamed);
        }
        None => table.not_run("R17", "cgroup freezer: cannot create a cgroup on this host"),
    }
    let blamed = starved(&targets).await;
    figure(table, "SCHED_IDLE with 6 busy loops, timeout 1 s", blamed);
    twins(table, &targets).await;
}

fn figure(table: &mut Table, how: &str, (blamed, unanswered): (usize, usize)) {
    println!("  {how}: {unanswered} of {PROBES} got 503");
    table.figure(Figure {
        id: "R17",
        what: format!("{how}: healthy targets reported as down, of {PROBES}"),
        ours: blamed as f64,
        peer: None,
        most: 0.0,
        unit: "",
    });
}

/// Healthy targets, and one that never responds.
struct Targets {
    healthy: Vec<(Peer, &'static str)>,
    silent: Peer,
    config: String,
    _authority: Authority,
}

impl Targets {
    async fn start() -> Self {
        let authority = Authority::new();
        let plain = Peer::start(async |mut stream| {
            read_head(&mut stream).await;
            tokio::time::sleep(SLOW).await;
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
            stream.write_all(answer).await.ok();
        })
        .await;
        let secured = Peer::with_tls(authority.leaf("127.0.0.1").server(&[]), ok).await;
        let silent = Peer::start(async |mut stream| {
            read_head(&mut stream).await;
            std::future::pending::<()>().await;
        })
        .await;
        let ca = authority.ca_file.display();
        let config = format!(
            "modules: {{m: {{prober: http, timeout: 1s, http: {{tls_config: {{ca_file: '{ca}'}}}}}}, long: {{prober: http, timeout: 4s}}}}"
        );
        Self {
            healthy: vec![(plain, "http"), (secured, "https")],
            silent,
            config,
            _authority: authority,
        }
    }

    /// Path of a probe of a healthy target.
    fn path(&self, number: usize) -> String {
        let (peer, scheme) = &self.healthy[number % self.healthy.len()];
        probe("m", &format!("{scheme}://{}/{number}", peer.address))
    }
}

/// Number of probes that report their target as down, and number of probes without a result.
fn count(answers: &[Answer]) -> (usize, usize) {
    let blamed = answers.iter().filter(|answer| answer.success() == Some(0.0));
    let unanswered = answers.iter().filter(|answer| answer.status != Some(200));
    (blamed.count(), unanswered.count())
}

/// Starts concurrent probes of healthy targets.
fn some(exporter: &Program, targets: &Targets, round: usize) -> JoinSet<Answer> {
    let mut some = JoinSet::new();
    for number in 0..AT_ONCE {
        let (address, path) = (exporter.address, targets.path(round * AT_ONCE + number));
        some.spawn(async move { scrape(address, &path, 30.0).await });
    }
    some
}

/// Time at which the exporter is paused in a round: at its start, during the wait, or in between.
fn moment(round: usize) -> Duration {
    Duration::from_millis(u64::try_from(round * 7 % 60).unwrap())
}

async fn stopped(targets: &Targets, time: Duration) -> (usize, usize) {
    let exporter = Program::start(OURS, &targets.config).await;
    let mut answers = Vec::new();
    for round in 0..PROBES / AT_ONCE {
        let some = some(&exporter, targets, round);
        tokio::time::sleep(moment(round)).await;
        exporter.process.signal("STOP");
        tokio::time::sleep(time).await;
        exporter.process.signal("CONT");
        answers.extend(some.join_all().await);
    }
    count(&answers)
}

async fn frozen(targets: &Targets, freezer: &Freezer) -> (usize, usize) {
    let exporter = Program::start(OURS, &targets.config).await;
    freezer.take(&exporter.process);
    let mut answers = Vec::new();
    for round in 0..PROBES / AT_ONCE {
        let some = some(&exporter, targets, round);
        tokio::time::sleep(moment(round)).await;
        freezer.freeze(true);
        tokio::time::sleep(Duration::from_millis(1200)).await;
        freezer.freeze(false);
        answers.extend(some.join_all().await);
    }
    count(&answers)
}

async fn starved(targets: &Targets) -> (usize, usize) {
    let mut command = Command::new("chrt");
    command.args(["-i", "0", OURS]);
    let exporter = Program::start_by(command, &targets.config).await;
    let hogs: Vec<_> = (0..6)
        .map(|_| Process::start(Command::new("sh").args(["-c", "while :; do :; done"])))
        .collect();
    let mut answers = Vec::new();
    for round in 0..PROBES / AT_ONCE {
        answers.extend(some(&exporter, targets, round).join_all().await);
    }
    drop(hogs);
    count(&answers)
}

/// A target that never responds must be reported as down, even if the exporter was paused meanwhile.
async fn twins(table: &mut Table, targets: &Targets) {
    let exporter = Program::start(OURS, &targets.config).await;
    for (module, stall, what) in [
        ("m", None, "no stall"),
        (
            "long",
            Some(Duration::from_millis(300)),
            "SIGSTOP of 300 ms, timeout 4 s",
        ),
    ] {
        let mut probes = JoinSet::new();
        for number in 0..PROBES {
            let path = probe(module, &format!("{}{number}", targets.silent.http()));
            let address = exporter.address;
            probes.spawn(async move { scrape(address, &path, 30.0).await });
        }
        if let Some(stall) = stall {
            tokio::time::sleep(Duration::from_millis(800)).await;
            exporter.process.signal("STOP");
            tokio::time::sleep(stall).await;
            exporter.process.signal("CONT");
        }
        let (blamed, _) = count(&probes.join_all().await);
        table.figure(Figure {
            id: "R17",
            what: format!("target that never responds, {what}: probes that do not report it as down, of {PROBES}"),
            ours: (PROBES - blamed) as f64,
            peer: None,
            most: 0.0,
            unit: "",
        });
    }
}

/// A cgroup of version 1 or 2 whose processes can be frozen (cgroups(7)).
struct Freezer {
    folder: PathBuf,
    file: &'static str,
    words: [&'static str; 2],
}

impl Freezer {
    fn new() -> Option<Self> {
        let name = format!("glassbox-{}", std::process::id());
        let kinds = [
            ("/sys/fs/cgroup", "cgroup.freeze", ["0", "1"]),
            ("/sys/fs/cgroup/freezer", "freezer.state", ["THAWED", "FROZEN"]),
        ];
        kinds.into_iter().find_map(|(top, file, words)| {
            let folder = Path::new(top).join(&name);
            std::fs::create_dir(&folder).ok()?;
            let freezer = Self { folder, file, words };
            freezer.folder.join(file).exists().then_some(freezer)
        })
    }

    fn take(&self, process: &Process) {
        std::fs::write(self.folder.join("cgroup.procs"), process.0.id().to_string()).unwrap();
    }

    fn freeze(&self, still: bool) {
        std::fs::write(self.folder.join(self.file), self.words[usize::from(still)]).unwrap();
    }
}

impl Drop for Freezer {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.folder);
    }
}
