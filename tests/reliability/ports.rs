//! R12: a lack of local ports is not attributed to the target. The exporter, its targets and its scrapers run in a
//! network namespace with 50 local ports. This requires root.

use crate::clients::{peer, probe, scrape};
use crate::program::{OURS, Program};
use crate::support::peer::Peer;
use crate::table::{Figure, Table};
use std::process::Command;
use tokio::task::JoinSet;

/// Command-line argument with which this program runs itself in that namespace.
pub const INSIDE: &str = "ports-inside";

const PORTS: &str = "20000 20049";
const PROBES: usize = 200;

/// Concurrent scrapes. They also need local ports.
const OF_ONE_ADDRESS: usize = 40;

pub async fn run(table: &mut Table) {
    let enter =
        format!("ip link set lo up && echo {PORTS} > /proc/sys/net/ipv4/ip_local_port_range && exec \"$0\" {INSIDE}");
    let output = Command::new("unshare")
        .args(["--net", "sh", "-c", &enter])
        .arg(std::env::current_exe().unwrap())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let told = |name: &str| -> f64 {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let line = line.unwrap_or_else(|| panic!("{text}{}", String::from_utf8_lossy(&output.stderr)));
        line.trim().parse().unwrap()
    };
    println!("  without a local port: {} got 503", told("refused"));
    assert!(
        told("refused") > 0.0,
        "no probe got 503: the lack of ports was not tested: {text}"
    );
    table.figure(Figure {
        id: "R12",
        what: format!("{PROBES} probes of one target with 50 local ports: false downs"),
        ours: told("ours"),
        peer: Some(told("peer")),
        most: 0.0,
        unit: "",
    });
}

/// Runs inside the namespace and prints the results of the probes.
pub async fn inside() {
    // Each program has a separate target, because used ports stay in TIME_WAIT for a while.
    let targets = [hung().await, hung().await];
    for ((name, program), hung) in [("ours", OURS.to_owned()), ("peer", peer())].into_iter().zip(targets) {
        let mut command = Command::new(&program);
        let places = PROBES / OF_ONE_ADDRESS;
        for place in 2..2 + places {
            command.arg(format!("--web.listen-address=127.0.0.{place}:9115"));
        }
        let _exporter = Program::start_by(command, "modules: {m: {prober: http, timeout: 3s}}").await;
        let mut scrapes = JoinSet::new();
        for number in 0..PROBES {
            let place = u8::try_from(2 + number % places).unwrap();
            let address = ([127, 0, 0, place], 9115).into();
            let path = probe("m", &format!("{}{number}", hung.http()));
            scrapes.spawn(async move { scrape(address, &path, 10.0).await });
        }
        let answers = scrapes.join_all().await;
        // The target accepts every connection and never responds. A probe that fails before its timeout failed locally.
        let too_soon = answers
            .iter()
            .filter(|answer| answer.success() == Some(0.0) && answer.duration().is_some_and(|took| took < 2.5));
        println!("{name} {}", too_soon.count());
        if name == "ours" {
            println!(
                "refused {}",
                answers.iter().filter(|answer| answer.status == Some(503)).count()
            );
        }
    }
}

async fn hung() -> Peer {
    Peer::start(|stream| async move {
        let _held = stream;
        std::future::pending::<()>().await;
    })
    .await
}
