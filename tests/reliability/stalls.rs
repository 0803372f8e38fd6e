//! R17: an exporter that stands still, or has no processor, blames no target; one that does not answer is blamed all the same.

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

/// Probes of each kind.
const PROBES: usize = 200;

/// Probes that are under way at once.
const AT_ONCE: usize = 10;

/// How long each target takes to answer.
const SLOW: Duration = Duration::from_millis(100);

pub async fn run(table: &mut Table) {
    let targets = Targets::start().await;
    for millis in [300, 1200, 3000] {
        let time = Duration::from_millis(millis);
        let blamed = stopped(&targets, time).await;
        figure(table, &format!("SIGSTOP of {millis} ms with a deadline of 1 s"), blamed);
    }
    match Freezer::new() {
        Some(freezer) => {
            let blamed = frozen(&targets, &freezer).await;
            figure(table, "a cgroup freezer for 1.2 s with a deadline of 1 s", blamed);
        }
        None => table.not_run("R17", "a cgroup freezer: no cgroup can be made here"),
    }
    let blamed = starved(&targets).await;
    figure(table, "SCHED_IDLE beside 6 busy loops, with a deadline of 1 s", blamed);
    twins(table, &targets).await;
}

fn figure(table: &mut Table, how: &str, (blamed, unanswered): (usize, usize)) {
    println!("  {how}: {unanswered} of {PROBES} answered with 503");
    table.figure(Figure {
        id: "R17",
        what: format!("{how}: healthy targets that are blamed, of {PROBES}"),
        ours: blamed as f64,
        peer: None,
        most: 0.0,
        unit: "",
    });
}

/// Healthy ones, and one that never answers.
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

    /// The path of a probe of one of the healthy.
    fn path(&self, number: usize) -> String {
        let (peer, scheme) = &self.healthy[number % self.healthy.len()];
        probe("m", &format!("{scheme}://{}/{number}", peer.address))
    }
}

/// Those that blame their target, and those that were not answered.
fn count(answers: &[Answer]) -> (usize, usize) {
    let blamed = answers.iter().filter(|answer| answer.success() == Some(0.0));
    let unanswered = answers.iter().filter(|answer| answer.status != Some(200));
    (blamed.count(), unanswered.count())
}

/// Some probes at once, of healthy targets.
fn some(exporter: &Program, targets: &Targets, round: usize) -> JoinSet<Answer> {
    let mut some = JoinSet::new();
    for number in 0..AT_ONCE {
        let (address, path) = (exporter.address, targets.path(round * AT_ONCE + number));
        some.spawn(async move { scrape(address, &path, 30.0).await });
    }
    some
}

/// When in a round the exporter is stopped: at its begin, while it waits, or between.
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

/// What must be blamed: nothing came, however the exporter slept meanwhile.
async fn twins(table: &mut Table, targets: &Targets) {
    let exporter = Program::start(OURS, &targets.config).await;
    for (module, stall, what) in [
        ("m", None, "without a stall"),
        (
            "long",
            Some(Duration::from_millis(300)),
            "with a SIGSTOP of 300 ms early in 4 s",
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
            what: format!("a target that never answers, {what}: probes of {PROBES} that do not blame it"),
            ours: (PROBES - blamed) as f64,
            peer: None,
            most: 0.0,
            unit: "",
        });
    }
}

/// A group of processes that can be stopped (cgroups(7)): of version 2, or of version 1.
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
