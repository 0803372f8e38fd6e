//! Time from the start of an exporter to its first completed probe, and size of the binary.

use crate::book::{Book, Row};
use crate::cost::config;
use crate::program::{OURS, Program, peer};
use crate::scraper::Connection;
use crate::targets::Nginx;
use std::time::Instant;

const ROUNDS: usize = 10;

pub async fn run(book: &mut Book) {
    println!("begin");
    let nginx = Nginx::start().await;
    let config = config(&nginx);
    let mut took = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        for (program, took) in [OURS.to_owned(), peer()].iter().zip(&mut took) {
            let begun = Instant::now();
            let exporter = Program::start(program, &config).await;
            let mut connection = Connection::open(exporter.address).await.unwrap();
            let path = format!("/probe?module=http&target=http://{}/", nginx.http);
            assert!(connection.scrape(&path).await.unwrap());
            took.push(begun.elapsed().as_secs_f64() * 1000.0);
        }
    }
    let [ours, peers] = took;
    let size = |program: &str| {
        let length = std::fs::metadata(program).map_or(f64::NAN, |file| file.len() as f64);
        vec![length / 1e6]
    };
    let peer = peer();
    for (what, unit, ours, peer) in [
        ("from start to first probe response", "ms", ours, peers),
        ("size of the binary", "MB", size(OURS), size(&peer)),
    ] {
        book.take(Row {
            part: "begin",
            what: what.to_owned(),
            unit,
            ours,
            peer,
            ..Row::default()
        });
    }
}
