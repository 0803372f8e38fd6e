//! Packet capture of loopback by tcpdump, and the times of the exchanges in it.

use crate::support::process::{Process, eventually};
use std::collections::HashMap;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// A running capture.
pub struct Capture {
    process: Process,
    folder: TempDir,
}

/// The times of one exchange, in seconds of the capture's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct Exchange {
    syn: Option<f64>,
    syn_ack: Option<f64>,
    request: Option<f64>,
    answer: Option<f64>,
}

impl Exchange {
    /// Time from the SYN to the SYN-ACK.
    pub fn connect(&self) -> Option<f64> {
        Some(self.syn_ack? - self.syn?)
    }

    /// Time from the request to the first byte of the response.
    pub fn processing(&self) -> Option<f64> {
        Some(self.answer? - self.request?)
    }
}

impl Capture {
    /// Captures the traffic of a port on loopback.
    pub async fn start(port: u16) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let mut command = Command::new("tcpdump");
        command
            .args([
                "-i",
                "lo",
                "-s",
                "160",
                "-B",
                "131072",
                "--time-stamp-precision=nano",
                "-Z",
                "root",
                "-w",
            ])
            .arg(folder.path().join("wire.pcap"))
            .args(["tcp", "port", &port.to_string()])
            .stdout(Stdio::null())
            .stderr(log);
        let process = Process::start(&mut command);
        let log = folder.path().join("log");
        eventually("tcpdump listens", async || {
            std::fs::read_to_string(&log).unwrap().contains("listening on")
        })
        .await;
        Self { process, folder }
    }

    /// Ends the capture. Returns the exchanges of each path in the order of their requests.
    pub async fn stop(mut self, port: u16) -> HashMap<String, Vec<Exchange>> {
        // Wait until tcpdump has written the packets that the kernel buffers.
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        self.process.signal("INT");
        self.process.0.wait().unwrap();
        let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap();
        assert!(log.contains("\n0 packets dropped by kernel"), "{log}");
        exchanges(&self.folder.path().join("wire.pcap"), port)
    }
}

/// One TCP segment.
struct Segment<'a> {
    at: f64,
    from: u16,
    to: u16,
    syn: bool,
    payload: &'a [u8],
    length: usize,
}

fn exchanges(file: &PathBuf, port: u16) -> HashMap<String, Vec<Exchange>> {
    let bytes = std::fs::read(file).unwrap();
    let mut open: HashMap<u16, (Exchange, String)> = HashMap::new();
    let mut done: Vec<(Exchange, String)> = Vec::new();
    for segment in segments(&bytes) {
        let ours = segment.to == port;
        let client = if ours { segment.from } else { segment.to };
        let (exchange, path) = open.entry(client).or_default();
        match (ours, segment.syn, segment.length) {
            (true, true, _) => {
                // The client reuses the port, so its previous exchange is complete.
                let before = std::mem::take(&mut *exchange);
                done.push((before, std::mem::take(path)));
                exchange.syn = Some(segment.at);
            }
            (false, true, _) => exchange.syn_ack = Some(segment.at),
            (_, _, 0) => {}
            (true, ..) => {
                exchange.request = Some(segment.at);
                if path.is_empty() {
                    let text = String::from_utf8_lossy(segment.payload);
                    text.split(' ').nth(1).unwrap_or_default().clone_into(path);
                }
            }
            (false, ..) => exchange.answer = exchange.answer.or(Some(segment.at)),
        }
    }
    done.extend(open.into_values());
    done.retain(|(exchange, path)| exchange.request.is_some() && !path.is_empty());
    done.sort_by(|(one, _), (other, _)| one.request.unwrap().total_cmp(&other.request.unwrap()));
    let mut by_path: HashMap<String, Vec<Exchange>> = HashMap::new();
    for (exchange, path) in done {
        by_path.entry(path).or_default().push(exchange);
    }
    by_path
}

/// The segments of a pcap file with nanosecond timestamps and Ethernet frames with IPv4.
fn segments(bytes: &[u8]) -> impl Iterator<Item = Segment<'_>> {
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    assert_eq!(word(0), 0xa1b2_3c4d, "expected a pcap file with nanosecond timestamps");
    assert_eq!(word(20), 1, "expected the link type Ethernet");
    let mut at = 24;
    std::iter::from_fn(move || {
        if at + 16 > bytes.len() {
            return None;
        }
        let stamp = f64::from(word(at)) + f64::from(word(at + 4)) / 1e9;
        let captured = word(at + 8) as usize;
        let frame = bytes.get(at + 16..at + 16 + captured)?;
        at += 16 + captured;
        let ip = &frame[14..];
        let ip_head = usize::from(ip[0] & 15) * 4;
        let whole = usize::from(u16::from_be_bytes([ip[2], ip[3]]));
        let tcp = &ip[ip_head..];
        let tcp_head = usize::from(tcp[12] >> 4) * 4;
        Some(Segment {
            at: stamp,
            from: u16::from_be_bytes([tcp[0], tcp[1]]),
            to: u16::from_be_bytes([tcp[2], tcp[3]]),
            syn: tcp[13] & 2 != 0,
            payload: tcp.get(tcp_head..).unwrap_or_default(),
            length: whole - ip_head - tcp_head,
        })
    })
}
