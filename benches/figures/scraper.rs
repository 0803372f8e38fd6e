//! Concurrent scrapes over keep-alive connections, as in Prometheus. Each connection starts the next scrape when the
//! last one ends.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;
use tokio::io::{self, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Results of many scrapes.
#[derive(Default)]
pub struct Scraped {
    /// Durations from the first byte of the request to the last byte of the response, in seconds.
    pub took: Vec<f64>,
    /// Number of scrapes without `probe_success 1`.
    pub failed: usize,
}

/// Makes `count` scrapes, `at_once` at a time, starting with path number `first` and wrapping around.
pub async fn scrape_in_turn(
    address: SocketAddr,
    paths: &Arc<Vec<String>>,
    first: usize,
    count: usize,
    at_once: usize,
) -> Scraped {
    let next = Arc::new(AtomicUsize::new(0));
    let mut workers = JoinSet::new();
    for _ in 0..at_once.min(count) {
        let (paths, next) = (paths.clone(), next.clone());
        workers.spawn(async move {
            let mut scraped = Scraped::default();
            let mut connection = Connection::open(address).await.unwrap();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return scraped;
                }
                let begun = Instant::now();
                let succeeded = connection.scrape(&paths[(first + number) % paths.len()]).await.unwrap();
                scraped.took.push(begun.elapsed().as_secs_f64());
                scraped.failed += usize::from(!succeeded);
            }
        });
    }
    let mut all = Scraped::default();
    for part in workers.join_all().await {
        all.took.extend(part.took);
        all.failed += part.failed;
    }
    all
}

/// A connection to an exporter.
pub struct Connection {
    stream: TcpStream,
    answer: Vec<u8>,
}

impl Connection {
    pub async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            answer: Vec::with_capacity(32 * 1024),
        })
    }

    /// Scrapes a path. Returns whether the probe succeeded.
    pub async fn scrape(&mut self, path: &str) -> io::Result<bool> {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: exporter\r\nX-Prometheus-Scrape-Timeout-Seconds: 10\r\n\r\n");
        self.stream.write_all(request.as_bytes()).await?;
        self.answer.clear();
        loop {
            if self.stream.read_buf(&mut self.answer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if let Some(body) = whole_body(&self.answer) {
                return Ok(body.contains("\nprobe_success 1\n"));
            }
        }
    }
}

/// The body of a response, if it is complete. Supports `Content-Length` and chunks.
fn whole_body(answer: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(answer).ok()?;
    let (head, rest) = text.split_once("\r\n\r\n")?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.parse::<usize>())
    });
    if let Some(length) = length {
        return (rest.len() == length.ok()?).then(|| rest.to_owned());
    }
    let (mut body, mut rest) = (String::new(), rest);
    loop {
        let (size, after) = rest.split_once("\r\n")?;
        let size = usize::from_str_radix(size, 16).ok()?;
        if size == 0 {
            return Some(body);
        }
        body.push_str(after.get(..size)?);
        rest = after.get(size + 2..)?;
    }
}
