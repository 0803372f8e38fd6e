//! R11: what strangers do to the exporter's own port keeps nobody else from it.

use crate::clients::{peer, probe, quantile, scrape};
use crate::program::{OURS, Program};
use crate::support::peer::{Peer, ok};
use crate::table::{Figure, Table};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

const HALF_OPEN: usize = 3000;
const IDLE: usize = 5000;
const MODULES: &str = "modules: {m: {prober: http, timeout: 5s}}";

pub async fn run(table: &mut Table) {
    for program in [OURS.to_owned(), peer()] {
        let exporter = Program::start(&program, MODULES).await;
        let good = Peer::start(ok).await;
        let is_ours = program == OURS;
        let half_open = flood(
            exporter.address,
            HALF_OPEN,
            b"GET /probe HTTP/1.1\r\nHost: a\r\nX-Slow: ",
        )
        .await;
        let idle = flood(exporter.address, IDLE, b"").await;
        let closed = tokio::spawn(all_closed(half_open));
        let mut slowest = Vec::new();
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(11) {
            for path in ["/-/healthy".to_owned(), "/metrics".to_owned(), probe("m", &good.http())] {
                let answer = scrape(exporter.address, &path, 5.0).await;
                assert_eq!(answer.status, Some(200), "{program}: {path}");
                slowest.push(answer.took.as_secs_f64() * 1000.0);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let closed = tokio::time::timeout(Duration::from_secs(2), closed).await;
        println!(
            "  {program}: {HALF_OPEN} half-open requests {}",
            if closed.is_ok() {
                "were closed"
            } else {
                "are held after 13 s"
            }
        );
        let slowest = quantile(slowest, 1.0);
        println!("  {program}: the slowest answer beside them took {slowest:.0} ms");
        if is_ours {
            for (what, ours, most, unit) in [
                (
                    "half-open requests held for more than 10 s",
                    f64::from(u8::from(closed.is_err())),
                    0.0,
                    "",
                ),
                ("the slowest answer beside them", slowest, 250.0, " ms"),
            ] {
                table.figure(Figure {
                    id: "R11",
                    what: format!("{HALF_OPEN} half-open and {IDLE} idle connections: {what}"),
                    ours,
                    peer: None,
                    most,
                    unit,
                });
            }
        }
        drop(idle);
    }
}

async fn flood(address: SocketAddr, count: usize, words: &'static [u8]) -> Vec<TcpStream> {
    let mut opened = JoinSet::new();
    for _ in 0..count {
        opened.spawn(async move {
            let mut stream = TcpStream::connect(address).await.ok()?;
            stream.write_all(words).await.ok()?;
            Some(stream)
        });
    }
    opened.join_all().await.into_iter().flatten().collect()
}

async fn all_closed(streams: Vec<TcpStream>) {
    let mut waiting = JoinSet::new();
    for mut stream in streams {
        waiting.spawn(async move { while matches!(stream.read(&mut [0; 64]).await, Ok(1..)) {} });
    }
    waiting.join_all().await;
}
