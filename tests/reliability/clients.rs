//! Concurrent scrapes and their results.

use crate::program::Program;
pub use crate::program::peer;
use crate::support::page::Page;
use std::io::Write as _;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Response to a scrape.
pub struct Answer {
    /// Status code. `None` if the connection ended before the response was complete.
    pub status: Option<u16>,
    pub body: String,
    pub took: Duration,
}

impl Answer {
    /// Value of `probe_success`, if the page has it.
    pub fn success(&self) -> Option<f64> {
        (self.status == Some(200)).then(|| Page::parse(&self.body).find("probe_success"))?
    }

    /// Reason on the page: of a failed probe, or of a masked failure.
    pub fn reason(&self) -> Option<String> {
        let verdict = self.body.lines().find(|line| line.starts_with("probe_failure_info{"))?;
        let (_, reason) = verdict.split_once("reason=\"")?;
        reason.split('"').next().map(str::to_owned)
    }

    /// Reported duration of the probe in seconds.
    pub fn duration(&self) -> Option<f64> {
        Page::parse(&self.body).find("probe_duration_seconds")
    }
}

/// Scrapes a path with the timeout header that Prometheus sends.
pub async fn scrape(address: SocketAddr, path: &str, timeout: f64) -> Answer {
    let begun = Instant::now();
    let exchange = async {
        let mut stream = TcpStream::connect(address).await.ok()?;
        stream.write_all(request(path, timeout).as_bytes()).await.ok()?;
        answer(stream).await
    };
    heard(exchange, begun, timeout).await
}

/// Scrapes all paths concurrently. It sends all requests before it reads a response, because the exporter may close the
/// connection of a client that is slow to send its request. A client that shares two processors with the exporter can
/// be that slow.
pub async fn scrape_at_once(address: SocketAddr, paths: Vec<String>, timeout: f64) -> Vec<Answer> {
    let mut asked = Vec::new();
    for path in paths {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        stream.write_all(request(&path, timeout).as_bytes()).unwrap();
        stream.set_nonblocking(true).unwrap();
        asked.push(TcpStream::from_std(stream).unwrap());
    }
    let begun = Instant::now();
    let mut answers = JoinSet::new();
    for stream in asked {
        answers.spawn(heard(answer(stream), begun, timeout));
    }
    answers.join_all().await
}

fn request(path: &str, timeout: f64) -> String {
    format!("GET {path} HTTP/1.0\r\nHost: exporter\r\nX-Prometheus-Scrape-Timeout-Seconds: {timeout}\r\n\r\n")
}

/// The result of an exchange, with a time limit that only a broken exporter exceeds.
async fn heard(exchange: impl Future<Output = Option<(u16, String)>>, begun: Instant, timeout: f64) -> Answer {
    let patience = Duration::from_secs_f64(timeout + 60.0);
    let answer = tokio::time::timeout(patience, exchange).await.ok().flatten();
    let (status, body) = answer.map_or((None, String::new()), |(status, body)| (Some(status), body));
    Answer {
        status,
        body,
        took: begun.elapsed(),
    }
}

/// Status and body of a complete response.
async fn answer(mut stream: TcpStream) -> Option<(u16, String)> {
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.ok()?;
    let answer = String::from_utf8(answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let length = head.to_lowercase().split("content-length: ").nth(1).map(str::to_owned);
    let declared = length.and_then(|rest| rest.lines().next()?.trim().parse().ok());
    if declared.is_some_and(|declared: usize| declared != body.len()) {
        return None;
    }
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}

/// The path of a probe.
pub fn probe(module: &str, target: &str) -> String {
    let target: String = url::form_urlencoded::byte_serialize(target.as_bytes()).collect();
    format!("/probe?module={module}&target={target}")
}

/// Scrapes all paths, `at_once` of them at a time.
pub async fn scrape_all(address: SocketAddr, paths: Vec<String>, at_once: usize, timeout: f64) -> Vec<Answer> {
    let paths = std::sync::Arc::new(std::sync::Mutex::new(paths.into_iter()));
    let mut workers = JoinSet::new();
    for _ in 0..at_once {
        let paths = paths.clone();
        workers.spawn(async move {
            let mut answers = Vec::new();
            loop {
                let Some(path) = paths.lock().unwrap().next() else {
                    return answers;
                };
                answers.push(scrape(address, &path, timeout).await);
            }
        });
    }
    workers.join_all().await.into_iter().flatten().collect()
}

/// A line of `/proc/PID/status`, in MiB.
fn status(program: &Program, name: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", program.process.0.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}

/// Resident memory in MiB.
pub fn resident(program: &Program) -> f64 {
    status(program, "VmRSS:")
}

/// Peak of the resident memory since [`forget_peak`], in MiB.
pub fn peak(program: &Program) -> f64 {
    status(program, "VmHWM:")
}

/// Resets the peak of the resident memory (proc(5)).
pub fn forget_peak(program: &Program) {
    std::fs::write(format!("/proc/{}/clear_refs", program.process.0.id()), "5").unwrap();
}

/// Number of open file descriptors.
pub fn open_files(program: &Program) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", program.process.0.id()))
        .unwrap()
        .count()
}

/// Quantile of figures: 0.5 is the median.
pub fn quantile(mut figures: Vec<f64>, share: f64) -> f64 {
    figures.sort_by(f64::total_cmp);
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an index of a list"
    )]
    let place = ((figures.len() as f64 - 1.0) * share).round() as usize;
    figures.get(place).copied().unwrap_or(f64::NAN)
}

/// Raises the soft limit of open files to the hard limit.
pub fn many_files() {
    let (_, hard) = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).unwrap();
    nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE, hard, hard).unwrap();
}
