//! R14: SIGTERM cuts no answer off, and after SIGKILL the next process is ready at once.

use crate::clients::{peer, probe, scrape, scrape_all};
use crate::program::{OURS, Program};
use crate::support::peer::{Peer, read_head};
use crate::table::{Figure, Table};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::watch;

const IN_FLIGHT: usize = 50;
const KILLS: usize = 20;
const MODULES: &str = "modules: {m: {prober: http, timeout: 10s}}";

pub async fn run(table: &mut Table) {
    let mut cut = Vec::new();
    for program in [OURS.to_owned(), peer()] {
        cut.push(terminated(&program).await);
    }
    table.figure(Figure {
        id: "R14",
        what: format!("SIGTERM with {IN_FLIGHT} probes in flight: answers that are not whole"),
        ours: cut[0],
        peer: Some(cut[1]),
        most: 0.0,
        unit: "",
    });
    let mut slowest = Vec::new();
    for program in [OURS.to_owned(), peer()] {
        slowest.push(killed(&program).await);
    }
    table.figure(Figure {
        id: "R14",
        what: format!("ready after SIGKILL, the slowest of {KILLS}"),
        ours: slowest[0],
        peer: Some(slowest[1]),
        most: 250.0,
        unit: " ms",
    });
}

/// Answers that were cut off.
async fn terminated(program: &str) -> f64 {
    let (count, mut waiting) = watch::channel(0);
    let (let_go, go) = watch::channel(false);
    let count = Arc::new(count);
    let slow = Peer::start(move |mut stream| {
        let (count, mut go) = (count.clone(), go.clone());
        async move {
            read_head(&mut stream).await;
            count.send_modify(|count| *count += 1);
            go.wait_for(|go| *go).await.ok();
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";
            stream.write_all(answer).await.ok();
        }
    })
    .await;
    let mut exporter = Program::start(program, MODULES).await;
    let paths: Vec<_> = (0..IN_FLIGHT)
        .map(|key| probe("m", &format!("{}{key}", slow.http())))
        .collect();
    let scrapes = tokio::spawn(scrape_all(exporter.address, paths, IN_FLIGHT, 20.0));
    waiting.wait_for(|count| *count == IN_FLIGHT).await.unwrap();
    exporter.process.signal("TERM");
    // Long enough for who does not wait.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let_go.send_replace(true);
    let answers = scrapes.await.unwrap();
    let whole = answers.iter().filter(|answer| answer.success() == Some(1.0)).count();
    let ended = tokio::task::spawn_blocking(move || exporter.process.0.wait().unwrap())
        .await
        .unwrap();
    if program == OURS {
        assert_eq!(ended.code(), Some(0), "{ended:?}");
    }
    (IN_FLIGHT - whole) as f64
}

/// Milliseconds from the start of a process to its first answer, the slowest, each after one was killed under load.
async fn killed(program: &str) -> f64 {
    let good = Peer::start(crate::support::peer::ok).await;
    let mut slowest: f64 = 0.0;
    let mut exporter = Program::start(program, MODULES).await;
    for _ in 0..KILLS {
        let paths = (0..200)
            .map(|key| probe("m", &format!("{}{key}", good.http())))
            .collect();
        let load = tokio::spawn(scrape_all(exporter.address, paths, 20, 5.0));
        scrape(exporter.address, &probe("m", &good.http()), 5.0).await;
        exporter.process.signal("KILL");
        load.await.unwrap();
        let begun = Instant::now();
        exporter = Program::start(program, MODULES).await;
        let answer = scrape(exporter.address, "/-/healthy", 5.0).await;
        assert_eq!(answer.status, Some(200));
        slowest = slowest.max(begun.elapsed().as_secs_f64() * 1000.0);
    }
    slowest
}
