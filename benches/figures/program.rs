//! `glassbox_exporter` or `blackbox_exporter` as a process.

use crate::support::page::Page;
use crate::support::process::{Process, free_port};
use nix::time::clock_getcpuclockid;
use nix::unistd::Pid;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A running exporter. It is stopped on drop.
pub struct Program {
    pub address: SocketAddr,
    pub process: Process,
    pub folder: TempDir,
}

/// This project's exporter.
pub const OURS: &str = env!("CARGO_BIN_EXE_glassbox_exporter");

/// `blackbox_exporter`: the version that `make` fetched, otherwise the one of the Debian package.
pub fn peer() -> String {
    std::env::var("PEER").unwrap_or_else(|_| "prometheus-blackbox-exporter".to_owned())
}

impl Program {
    /// Starts an exporter with a configuration.
    pub async fn start(program: &str, config: &str) -> Self {
        Self::start_by(Command::new(program), config).await
    }

    /// Starts an exporter with a limit of open files.
    pub async fn start_limited(program: &str, config: &str, files: &str) -> Self {
        let mut command = Command::new("prlimit");
        command.arg(format!("--nofile={files}:{files}")).arg(program);
        Self::start_by(command, config).await
    }

    /// Starts an exporter with a command, to which the flags are added.
    pub async fn start_by(mut command: Command, config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.yml");
        std::fs::write(&file, config).unwrap();
        let port = free_port();
        command
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg("--log.level=error")
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut process = Process::start(&mut command);
        process.listens(port).await;
        Self {
            address: ([127, 0, 0, 1], port).into(),
            process,
            folder,
        }
    }

    /// The body of a response. Each request has its own connection, because the measurement is between exporter and
    /// target.
    pub async fn get(&self, path: &str) -> String {
        get(self.address, path).await
    }

    /// The value of a series on `/metrics`.
    pub async fn own(&self, series: &str) -> f64 {
        Page::parse(&self.get("/metrics").await).value(series)
    }

    /// Processor time of the process so far, user and system, in seconds.
    pub fn processor_seconds(&self) -> f64 {
        let pid = Pid::from_raw(self.process.0.id().try_into().unwrap());
        let clock = clock_getcpuclockid(pid).unwrap();
        Duration::from(clock.now().unwrap()).as_secs_f64()
    }

    /// Resident memory, in MB.
    pub fn resident(&self) -> f64 {
        self.status("VmRSS:")
    }

    /// Peak of the resident memory since [`Program::forget_peak`], in MB.
    pub fn peak(&self) -> f64 {
        self.status("VmHWM:")
    }

    /// Resets the peak of the resident memory (proc(5)).
    pub fn forget_peak(&self) {
        std::fs::write(format!("/proc/{}/clear_refs", self.process.0.id()), "5").unwrap();
    }

    /// A line of `/proc/PID/status`, in MB.
    fn status(&self, name: &str) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.0.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        let kibibytes: f64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        kibibytes * 1024.0 / 1e6
    }
}

/// See [`Program::get`].
pub async fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.0\r\nHost: exporter\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(" 200 "), "{path}: {answer}");
    body.to_owned()
}
