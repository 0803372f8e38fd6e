//! Quantiles of native histograms in a real Prometheus, compared with the known delays of the target.

use crate::book::{Book, quantile};
use crate::program::{OURS, Program};
use crate::support::peer::{Peer, read_head};
use crate::support::prometheus::Prometheus;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

/// Duration of the scraping.
const SCRAPED: Duration = Duration::from_mins(2);

/// Maximum error relative to the exact quantile.
const MOST_ERROR: f64 = 0.05;

/// Two Prometheus servers scrape one leased key: one ingests native histograms, the other classic ones.
pub async fn run(book: &mut Book) {
    println!("native: a leased key, scraped each second for {SCRAPED:?} by two servers");
    let delays = Arc::new(Mutex::new(Vec::new()));
    let target = target(delays.clone()).await;
    let config = |interval: &str| format!("modules: {{m: {{prober: http, timeout: 5s, interval: {interval}}}}}");
    let exporter = Program::start(OURS, &config("500ms")).await;
    let scrapes = format!(
        "scrape_configs:\n- job_name: glassbox\n  scrape_interval: 1s\n  metrics_path: /probe\n  \
         params: {{module: [m], target: ['{}']}}\n  static_configs: [{{targets: ['{}']}}]\n",
        target.http(),
        exporter.address
    );
    let native = Prometheus::start(&scrapes, &["--enable-feature=native-histograms,exemplar-storage"]).await;
    let classic = Prometheus::start(&scrapes, &[]).await;
    tokio::time::sleep(SCRAPED).await;
    // From here on no probe runs, so both servers read the same values.
    std::fs::write(exporter.folder.path().join("config.yml"), config("5m")).unwrap();
    exporter.process.signal("HUP");
    tokio::time::sleep(Duration::from_secs(4)).await;

    let exact = delays.lock().unwrap().clone();
    let processing = "probe_phase_duration_seconds{phase=\"processing\"}";
    for share in [0.5, 0.9, 0.99] {
        let found = native.one(&format!("histogram_quantile({share}, {processing})")).await;
        let exact = quantile(&exact, share);
        println!("  p{:.0}: {found:.5} s, exact {exact:.5} s", share * 100.0);
        let error = (found / exact - 1.0).abs();
        let what = format!("relative error of p{:.0} from native buckets", share * 100.0);
        book.check("native", &what, "", error, MOST_ERROR);
    }
    let count = native.one(&format!("histogram_count({processing})")).await;
    let sum = native.one(&format!("histogram_sum({processing})")).await;
    let classic_of = async |suffix: &str| {
        let series = processing.replace('{', &format!("_{suffix}{{"));
        classic.one(&series).await
    };
    println!("  {count} observations of {} responses", exact.len());
    for (what, native, suffix, most) in [("count", count, "count", 0.0), ("sum", sum, "sum", 1e-9)] {
        let difference = (native - classic_of(suffix).await).abs();
        book.check(
            "native",
            &format!("native {what} minus classic {what}"),
            "",
            difference,
            most,
        );
    }
    let exemplars = native
        .ask(
            "query_exemplars",
            &[("query", processing), ("start", "0"), ("end", "9999999999")],
        )
        .await;
    let exemplars = exemplars["data"].as_array().map_or(0, Vec::len);
    println!("  series with exemplars: {exemplars}");
    let without = if exemplars > 0 { 0.0 } else { 1.0 };
    book.check("native", "series without exemplars", "", without, 0.0);
}

/// A target with response delays from 5 to 200 ms, at fixed steps of a logarithmic scale.
async fn target(delays: Arc<Mutex<Vec<f64>>>) -> Peer {
    Peer::start(move |mut stream: TcpStream| {
        let delays = delays.clone();
        async move {
            read_head(&mut stream).await;
            let asked = Instant::now();
            let step = {
                let mut delays = delays.lock().unwrap();
                delays.push(0.0);
                delays.len() - 1
            };
            // The golden ratio spreads any number of steps evenly.
            let share = (step as f64 * 0.618_033_988_75).fract();
            tokio::time::sleep(Duration::from_secs_f64(0.005 * 40.0_f64.powf(share))).await;
            delays.lock().unwrap()[step] = asked.elapsed().as_secs_f64();
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
        }
    })
    .await
}
