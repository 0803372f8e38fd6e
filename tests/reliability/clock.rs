//! R13: steps of the wall clock and a paused process cause no early, late or repeated probe.

use crate::clients::{probe, quantile, scrape};
use crate::program::{OURS, Program};
use crate::scenarios::cargo;
use crate::support::peer::{Peer, ok, read_head};
use crate::support::pki::Authority;
use crate::table::{Figure, Table};
use std::collections::HashMap;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt as _;

/// Library that sets the wall clock of a process from a file and leaves its monotonic clock unchanged.
const LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

const KEYS: usize = 20;
const EVERY: Duration = Duration::from_secs(1);

/// Time between two steps of the clock.
const STEADY: Duration = Duration::from_secs(6);

pub async fn run(table: &mut Table) {
    steps(table).await;
    let herd = cargo()
        .args(["bench", "--locked", "--bench", "figures", "--", "leases"])
        .status();
    table.figure(Figure {
        id: "R13",
        what:
            "1000 keys after a start, a reload and a SIGSTOP of 10 s: bounds exceeded (3 % in 100 ms, no skipped probe)"
                .to_owned(),
        ours: f64::from(u8::from(!herd.unwrap().success())),
        peer: None,
        most: 0.0,
        unit: "",
    });
}

/// Arrival times of the requests, by path.
type Arrivals = Arc<Mutex<HashMap<String, Vec<Instant>>>>;

/// A target that records the arrivals.
async fn noting(arrivals: &Arrivals) -> Peer {
    let seen = arrivals.clone();
    Peer::start(move |mut stream| {
        let seen = seen.clone();
        async move {
            let head = String::from_utf8(read_head(&mut stream).await).unwrap();
            let path = head.split(' ').nth(1).unwrap().to_owned();
            seen.lock().unwrap().entry(path).or_default().push(Instant::now());
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
            stream.write_all(answer).await.ok();
        }
    })
    .await
}

/// Steps of the wall clock, and whether a certificate with a validity of 90 days is expired after each step.
const STEPS: [(&str, bool); 3] = [("+0", false), ("+365d", true), ("-1d", false)];

/// An exporter whose wall clock is set from a file.
async fn by(clock: &Path, config: &str) -> Program {
    let mut command = Command::new(OURS);
    command
        .env("LD_PRELOAD", LIBRARY)
        .env("FAKETIME_TIMESTAMP_FILE", clock)
        .env("FAKETIME_NO_CACHE", "1")
        .env("DONT_FAKE_MONOTONIC", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    Program::start_by(command, config).await
}

async fn steps(table: &mut Table) {
    assert!(Path::new(LIBRARY).exists(), "the Debian package faketime is required");
    let arrivals = Arrivals::default();
    let target = noting(&arrivals).await;
    let authority = Authority::new();
    let leaf = authority.leaf_with("127.0.0.1", |leaf| {
        leaf.not_after = (std::time::SystemTime::now() + Duration::from_hours(90 * 24)).into();
    });
    let secured = Peer::with_tls(leaf.server(&[]), ok).await;
    let config = format!(
        "modules: {{leased: {{prober: http, interval: 1s}}, tls: {{prober: http, http: {{tls_config: {{ca_file: '{}'}}}}}}}}",
        authority.ca_file.display()
    );
    let clock = tempfile::NamedTempFile::new().unwrap();
    let set = |step: &str| std::fs::write(clock.path(), step).unwrap();
    set(STEPS[0].0);
    let exporter = by(clock.path(), &config).await;
    let (mut odd, mut misjudged) = (0, 0);
    let begun = Instant::now();
    for (step, has_expired) in STEPS {
        set(step);
        let until = Instant::now() + STEADY;
        while Instant::now() < until {
            for key in 0..KEYS {
                let path = probe("leased", &format!("{}{key}", target.http()));
                let page = scrape(exporter.address, &path, 5.0).await;
                let took = page.duration().unwrap();
                odd += u32::from(page.success() != Some(1.0) || !(0.0..5.0).contains(&took));
            }
            tokio::time::sleep(EVERY / 2).await;
        }
        let page = scrape(exporter.address, &probe("tls", &secured.https()), 5.0).await;
        misjudged += u32::from(page.body.contains("reason=\"tls.cert.date_invalid\"") != has_expired);
    }
    let gaps = gaps(&arrivals);
    let (rounds, watched) = (gaps.len(), begun.elapsed().as_secs_f64());
    println!("  {rounds} rounds of {KEYS} keys in {watched:.0} s over two steps");
    tell(table, odd, misjudged, gaps);
}

/// Intervals between the probes of each lease, in seconds.
fn gaps(arrivals: &Arrivals) -> Vec<f64> {
    let arrivals = arrivals.lock().unwrap();
    arrivals
        .values()
        // The first scrape, and the second one, which starts the lease, are not probes of the lease.
        .flat_map(|times| times[2..].windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()))
        .collect()
}

fn tell(table: &mut Table, odd: u32, misjudged: u32, gaps: Vec<f64>) {
    for (what, ours, most, unit) in [
        ("invalid pages", f64::from(odd), 0.0, ""),
        (
            "maximum earliness of a probe",
            1.0 - quantile(gaps.clone(), 0.0),
            0.25,
            " s",
        ),
        ("maximum lateness of a probe", quantile(gaps, 1.0) - 1.0, 0.25, " s"),
        (
            "certificates checked with the wrong clock, of 3",
            f64::from(misjudged),
            0.0,
            "",
        ),
    ] {
        table.figure(Figure {
            id: "R13",
            what: format!("wall clock a year ahead, then a day behind: {what}"),
            ours,
            peer: None,
            most,
            unit,
        });
    }
}
