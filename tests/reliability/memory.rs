//! R4: peers that send without end cost a bounded amount of memory, and the answer comes in time.

use crate::clients::{forget_peak, peak, peer, probe, resident, scrape};
use crate::program::{OURS, Program};
use crate::support::peer::{Peer, read_head};
use crate::table::{Figure, Table};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write as _;
use std::sync::Arc;
use tokio::io::AsyncWriteExt as _;

const MODULES: &str = "modules:
  plain: {prober: http, timeout: 4s}
  matching: {prober: http, timeout: 4s, http: {fail_if_body_matches_regexp: [zzz]}}
  gzip: {prober: http, timeout: 4s, http: {compression: gzip, headers: {Accept-Encoding: gzip}, fail_if_body_matches_regexp: [zzz]}}
  gzip_plain: {prober: http, timeout: 4s, http: {compression: gzip, headers: {Accept-Encoding: gzip}}}
";

/// Seconds: the module's time.
const DEADLINE: f64 = 4.0;

/// MiB: 16, and the 10 that may be matched.
const MOST_GROWTH: f64 = 26.0;

/// Sends a head, and then the same bytes until the connection ends.
async fn endless(head: &'static str, piece: Vec<u8>) -> Peer {
    let piece = Arc::new(piece);
    Peer::start(move |mut stream| {
        let piece = piece.clone();
        async move {
            read_head(&mut stream).await;
            if stream.write_all(head.as_bytes()).await.is_ok() {
                while stream.write_all(&piece).await.is_ok() {}
            }
        }
    })
    .await
}

/// Gzip that becomes 4 GiB of zeros, in members of 64 MiB.
async fn bomb() -> Peer {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    for _ in 0..64 {
        encoder.write_all(&vec![0; 1 << 20]).unwrap();
    }
    let member = encoder.finish().unwrap();
    let length = member.len() * 64;
    let member = Arc::new(member);
    Peer::start(move |mut stream| {
        let member = member.clone();
        async move {
            read_head(&mut stream).await;
            let head = format!("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {length}\r\n\r\n");
            stream.write_all(head.as_bytes()).await.ok();
            for _ in 0..64 {
                if stream.write_all(&member).await.is_err() {
                    return;
                }
            }
        }
    })
    .await
}

pub async fn run(table: &mut Table) {
    let body = endless("HTTP/1.1 200 OK\r\n\r\n", vec![b'a'; 65536]).await;
    let chunked = b"10000\r\n"
        .iter()
        .chain([b'a'; 65536].iter())
        .chain(b"\r\n")
        .copied()
        .collect();
    let chunks = endless("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", chunked).await;
    let headers = endless(
        "HTTP/1.1 200 OK\r\n",
        b"X-More: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n".repeat(1000),
    )
    .await;
    let value = endless("HTTP/1.1 200 OK\r\nX-Long: ", vec![b'a'; 65536]).await;
    let interim = endless("", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".repeat(1000)).await;
    let extension = endless(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;",
        vec![b'a'; 65536],
    )
    .await;
    let bomb = bomb().await;
    for (what, module, target) in [
        ("endless body, matched", "matching", &body),
        ("endless body, counted", "plain", &body),
        ("endless chunks, matched", "matching", &chunks),
        ("endless chunk extension", "plain", &extension),
        ("endless headers", "plain", &headers),
        ("endless header value", "plain", &value),
        ("endless interim responses", "plain", &interim),
        ("gzip bomb of 4 GiB, matched", "gzip", &bomb),
        ("gzip bomb of 4 GiB, counted", "gzip_plain", &bomb),
    ] {
        let [ours, peers] =
            [OURS.to_owned(), peer()].map(|program| async move { attack(&program, module, &target.http()).await });
        let (ours, peers) = (ours.await, peers.await);
        table.figure(Figure {
            id: "R4",
            what: format!("{what}: growth of memory"),
            ours: ours.0,
            peer: Some(peers.0),
            most: MOST_GROWTH,
            unit: " MiB",
        });
        table.figure(Figure {
            id: "R4",
            what: format!("{what}: answer after its deadline"),
            ours: ours.1,
            peer: Some(peers.1),
            most: 0.25,
            unit: " s",
        });
    }
}

/// How much memory grew, and how long after its deadline the answer came. The next probe must be as any other.
async fn attack(program: &str, module: &str, target: &str) -> (f64, f64) {
    let good = Peer::start(crate::support::peer::ok).await;
    let exporter = Program::start(program, MODULES).await;
    let well = scrape(exporter.address, &probe("plain", &good.http()), 10.0).await;
    assert_eq!(well.success(), Some(1.0), "{}", well.body);
    let before = resident(&exporter);
    forget_peak(&exporter);
    let answer = scrape(exporter.address, &probe(module, target), 10.0).await;
    let grown = peak(&exporter) - before;
    let well = scrape(exporter.address, &probe("plain", &good.http()), 10.0).await;
    assert_eq!(well.success(), Some(1.0), "{program}: the probe after {target}");
    (grown, (answer.took.as_secs_f64() - DEADLINE).max(0.0))
}
