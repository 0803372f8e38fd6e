//! R12: a lack of file descriptors is not attributed to the target, neither with a low limit at the start nor if the
//! limit drops while the exporter runs.

use crate::clients::{Answer, open_files, peer, probe, scrape, scrape_all, scrape_at_once};
use crate::program::{OURS, Program};
use crate::support::dns::{DnsServer, Says};
use crate::support::peer::{Peer, ok};
use crate::table::{Figure, Table};
use std::net::Ipv4Addr;
use std::process::Command;
use std::time::Duration;

/// Limit of open files of the exporter.
const FILES: &str = "256";

/// Number of files that the exporter can still open after the limit drops. The exporter sized its own bounds by the
/// limit at its start.
const FILES_LEFT: usize = 40;

const PROBES: usize = 400;

/// Response time of a healthy target. It is long, so that many probes hold their files at the same time.
const SLOW: Duration = Duration::from_millis(300);

pub async fn run(table: &mut Table) {
    few(table).await;
    taken_away(table).await;
}

/// Numbers of probes by outcome.
struct Outcomes {
    /// `probe_success 1`.
    good: usize,
    /// `probe_success 0`.
    down: usize,
    /// Status 503.
    refused: usize,
    /// The connection ended without a response, or with any other response.
    other: usize,
}

impl Outcomes {
    fn of(answers: &[Answer]) -> Self {
        let count = |is: &dyn Fn(&Answer) -> bool| answers.iter().filter(|answer| is(answer)).count();
        let (good, down) = (
            count(&|answer| answer.success() == Some(1.0)),
            count(&|answer| answer.success() == Some(0.0)),
        );
        let refused = count(&|answer| answer.status == Some(503));
        Self {
            good,
            down,
            refused,
            other: answers.len() - good - down - refused,
        }
    }
}

async fn few(table: &mut Table) {
    let hung = Peer::start(|stream| async move {
        let _held = stream;
        std::future::pending::<()>().await;
    })
    .await;
    let (mut false_downs, mut lost) = (Vec::new(), Vec::new());
    for program in [OURS.to_owned(), peer()] {
        let exporter = Program::start_limited(&program, "modules: {m: {prober: http, timeout: 5s}}", FILES).await;
        let paths = (0..PROBES)
            .map(|key| probe("m", &format!("{}{key}", hung.http())))
            .collect();
        let answers = scrape_at_once(exporter.address, paths, 10.0).await;
        // The target accepts every connection and never responds. A probe that fails before its timeout failed locally.
        let too_soon = answers
            .iter()
            .filter(|answer| answer.success() == Some(0.0) && answer.duration().is_some_and(|took| took < 4.0));
        false_downs.push(too_soon.count() as f64);
        let outcomes = Outcomes::of(&answers);
        lost.push((outcomes.other + outcomes.good) as f64);
        if program == OURS {
            let Outcomes { down, refused, .. } = outcomes;
            println!("  {down} of {PROBES} timed out as expected, {refused} got 503");
            assert!(
                down > 0 && refused > 0,
                "expected both timeouts and 503: {down} timed out, {refused} got 503"
            );
            let after = scrape(exporter.address, "/-/healthy", 10.0).await;
            assert_eq!(after.status, Some(200));
        }
    }
    for (what, figures) in [("false downs", false_downs), ("neither timed out nor got 503", lost)] {
        table.figure(Figure {
            id: "R12",
            what: format!("{PROBES} hanging probes with {FILES} files: {what}"),
            ours: figures[0],
            peer: Some(figures[1]),
            most: 0.0,
            unit: "",
        });
    }
}

/// The limit drops while the exporter runs, so it cannot open sockets. These failures must not be attributed to the
/// target, whether it is given by name or by address.
async fn taken_away(table: &mut Table) {
    let slow = Peer::start(|stream| async move {
        tokio::time::sleep(SLOW).await;
        ok(stream).await;
    })
    .await;
    let dns = DnsServer::always(Says::Addresses(vec![Ipv4Addr::LOCALHOST.into()])).await;
    let port = slow.address.port();
    let by_address = "modules: {m: {prober: http, timeout: 5s}}".to_owned();
    let by_name = format!("modules: {{m: {{prober: http, timeout: 5s, {}}}}}", dns.as_key());
    let paths = |host: &dyn Fn(usize) -> String| -> Vec<String> {
        let path = |key: usize| probe("m", &format!("http://{}:{port}/{key}", host(key)));
        (0..PROBES).map(path).collect()
    };
    let address = paths(&|_| "127.0.0.1".to_owned());
    let ours = starved(OURS, &by_address, &address).await;
    let peers = starved(&peer(), &by_address, &address).await;
    told(table, "of addresses", &ours, Some(&peers));
    // Not compared with blackbox_exporter: it uses only the system's resolver, and this test must not resolve real
    // names.
    let ours = starved(OURS, &by_name, &paths(&|key| format!("peer{key}.test"))).await;
    told(table, "of different names", &ours, None);
    let ours = starved(OURS, &by_name, &paths(&|_| "peer.test".to_owned())).await;
    told(table, "of one name", &ours, None);
}

fn told(table: &mut Table, what: &str, ours: &Outcomes, peers: Option<&Outcomes>) {
    println!(
        "  {what}: {} successful, {} with 503, of {PROBES}",
        ours.good, ours.refused
    );
    assert!(ours.refused > 0, "no probe got 503: the lack of files was not tested");
    for (end, ours, peers) in [
        ("false downs", ours.down, peers.map(|peers| peers.down)),
        (
            "connections closed without a response",
            ours.other,
            peers.map(|peers| peers.other),
        ),
    ] {
        table.figure(Figure {
            id: "R12",
            what: format!("{PROBES} probes {what} with {FILES_LEFT} files left: {end}"),
            ours: ours as f64,
            peer: peers.map(|count| count as f64),
            most: 0.0,
            unit: "",
        });
    }
}

/// Probes a healthy target with few files left. As soon as files are free again, probes succeed.
async fn starved(program: &str, config: &str, paths: &[String]) -> Outcomes {
    let exporter = Program::start(program, config).await;
    let well = scrape(exporter.address, &paths[0], 10.0).await;
    assert_eq!(well.success(), Some(1.0), "{}", well.body);
    let files = open_files(&exporter) + FILES_LEFT;
    let limited = Command::new("prlimit")
        .arg(format!("--pid={}", exporter.process.0.id()))
        .arg(format!("--nofile={files}:{files}"))
        .status();
    assert!(limited.unwrap().success());
    let answers = scrape_all(exporter.address, paths.to_vec(), PROBES, 10.0).await;
    if program == OURS {
        let reason = "glassbox_local_errors_total{reason=\"local.out_of_files\"}";
        assert!(exporter.own(reason).await > 0.0, "no socket failed for lack of files");
        let after = scrape(exporter.address, &paths[0], 10.0).await;
        assert_eq!(after.success(), Some(1.0), "{}", after.body);
    }
    Outcomes::of(&answers)
}
