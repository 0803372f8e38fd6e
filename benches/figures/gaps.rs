//! Truth where the body comes a while after the head: the kernel merges the packets of an exporter that reads late, and the head
//! then has the time of the body.
//!
//! The truth is the server's own clock, read just before it writes the head and the body. A packet capture would hold the kernel's
//! buffers for a moment, and buffers that are held are not merged.

use crate::book::{Book, Bound, Row, quantile};
use crate::program::{OURS, Program, get, peer};
use crate::support::page::Page;
use crate::support::peer::{Peer, read_head};
use crate::support::pki::self_signed;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Probes at once, each of its own key, each begun when its last one has ended.
const AT_ONCE: usize = 256;

/// How long each is measured.
const MEASURED: Duration = Duration::from_secs(6);

/// Milliseconds between the head and the body.
const GAPS: [u64; 3] = [1, 10, 100];

/// What the server takes for the head.
const PROCESSING: Duration = Duration::from_millis(10);

/// Microseconds, at the median and at p99.
const MOST: [f64; 2] = [20.0, 500.0];

/// Seconds from head to body, in the order of the probes of each path.
type Gaps = Arc<Mutex<HashMap<String, Vec<f64>>>>;

/// What a probe reported of it, in seconds, and whether the histogram has it.
type Reported = Vec<(f64, bool)>;

/// Takes the errors of both programs. The error of `processing` is the same with its sign changed: only where the two phases
/// meet is in question, not where they begin and end.
pub async fn run(book: &mut Book) {
    for (scheme, gap) in ["http", "https"]
        .into_iter()
        .flat_map(|scheme| GAPS.map(|gap| (scheme, gap)))
    {
        println!("timing: {AT_ONCE} at once, {scheme}, a body {gap} ms after its head");
        let ours = measure(OURS, scheme, Duration::from_millis(gap)).await;
        let peers = measure(&peer(), scheme, Duration::from_millis(gap)).await;
        let what = format!("{AT_ONCE} at once, {scheme}, body {gap} ms after its head");
        for (share, most) in [0.5, 0.99].into_iter().zip(MOST) {
            let errors = |errors: &[(f64, bool)]| {
                let observed = errors.iter().filter(|(_, observed)| *observed);
                vec![quantile(&observed.map(|(error, _)| *error).collect::<Vec<_>>(), share)]
            };
            book.take(Row {
                part: "timing",
                what: format!("{what}: |reported − sent| of transfer, p{:.0}", share * 100.0),
                unit: "µs",
                ours: errors(&ours),
                peer: errors(&peers),
                bound: Some(Bound::Most(most)),
                ..Row::default()
            });
        }
        let unknown = ours.iter().filter(|(_, observed)| !observed).count();
        book.take(Row {
            part: "timing",
            what: format!("{what}: phases not observed, of {} probes", ours.len()),
            unit: "%",
            ours: vec![unknown as f64 / ours.len() as f64 * 100.0],
            ..Row::default()
        });
    }
}

/// The errors in microseconds, and whether the histogram of the exporter has them; that of blackbox has nothing.
async fn measure(program: &str, scheme: &str, gap: Duration) -> Vec<(f64, bool)> {
    let gaps = Gaps::default();
    let known = gaps.clone();
    let target = if scheme == "http" {
        Peer::start(move |stream: TcpStream| {
            stream.set_nodelay(true).unwrap();
            answer(stream, known.clone(), gap)
        })
        .await
    } else {
        let tls = self_signed("127.0.0.1").server(&[]);
        Peer::with_tls(tls, move |stream| {
            stream.get_ref().0.set_nodelay(true).unwrap();
            answer(stream, known.clone(), gap)
        })
        .await
    };
    let config = "modules: {http_2xx: {prober: http, timeout: 20s, http: {tls_config: {insecure_skip_verify: true}}}}";
    let exporter = Program::start(program, config).await;
    let over = Arc::new(AtomicBool::new(false));
    let mut loops = JoinSet::new();
    for key in 0..AT_ONCE {
        let (address, over) = (exporter.address, over.clone());
        let (path, url) = (format!("/k{key}"), format!("{scheme}://{}", target.address));
        loops.spawn(async move {
            let mut reported = Reported::new();
            let mut before = Some(0.0);
            while !over.load(Ordering::SeqCst) {
                let page = Page::parse(&get(address, &format!("/probe?target={url}{path}")).await);
                let count = page.find("probe_phase_duration_seconds_count{phase=\"transfer\"}");
                let transfer = page.value("probe_http_duration_seconds{phase=\"transfer\"}");
                reported.push((transfer, count.is_none() || count != before));
                before = count;
            }
            (path, reported)
        });
    }
    tokio::time::sleep(MEASURED).await;
    over.store(true, Ordering::SeqCst);
    let reported = loops.join_all().await;
    let gaps = gaps.lock().unwrap();
    let errors = reported.iter().flat_map(|(path, probes)| {
        assert_eq!(gaps[path].len(), probes.len(), "{path}: each probe is one exchange");
        let both = probes.iter().zip(&gaps[path]);
        both.map(|((transfer, observed), gap)| ((transfer - gap).abs() * 1e6, *observed))
    });
    errors.collect()
}

async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, gaps: Gaps, gap: Duration) {
    let request = String::from_utf8(read_head(&mut stream).await).unwrap();
    let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
    tokio::time::sleep(PROCESSING).await;
    let head = Instant::now();
    let _ = stream
        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\n")
        .await;
    let _ = stream.flush().await;
    tokio::time::sleep(gap).await;
    let body = Instant::now();
    gaps.lock()
        .unwrap()
        .entry(path)
        .or_default()
        .push((body - head).as_secs_f64());
    let _ = stream.write_all(b"glass").await;
    let _ = stream.flush().await;
    // Not before the exporter has closed: the end of the stream is merged with the body, and the buffer has its timestamp.
    let _ = stream.read(&mut [0]).await;
}
