//! The hot paths: the steps of every scrape. `micro` measures their times, `instructions` counts their instructions.

use glassbox_exporter::config::{Config, Defaults};
use glassbox_exporter::exposition::{openmetrics, prometheus_text, protobuf};
use glassbox_exporter::history::History;
use glassbox_exporter::scheduler::{Caller, ClientAddress, Scheduler};
use glassbox_exporter::series::SeriesTable;
use glassbox_exporter::workers::Workers;
use glassbox_probe::metrics::Family;
use glassbox_probe::previous_probes::PreviousProbes;
use glassbox_probe::probe::{Finding, Probe};
use glassbox_probe::probers::ProbeRequest;
use glassbox_probe::target::Target;
use glassbox_verdict::attribution::{Facts, attribute};
use glassbox_verdict::gateways::{ObservedResponse, recognise};
use std::hint::black_box;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;

/// Name and function of a path.
pub type Path = (&'static str, fn(&Scene));

/// All paths.
pub const PATHS: [Path; 8] = [
    ("a scrape of http, whole", |scene| drop(black_box(scene.scrape("http")))),
    ("a scrape of tcp, whole", |scene| drop(black_box(scene.scrape("tcp")))),
    ("a scrape of http, unwritten", |scene| {
        scene.read("http", |families| assert!(black_box(families.len()) > 0));
    }),
    ("a key as text", |scene| {
        scene.write(|families, out| prometheus_text::write(families, out));
    }),
    ("a key as OpenMetrics", |scene| {
        scene.write(|families, out| openmetrics::write(families, out));
    }),
    ("a key as protobuf", |scene| {
        scene.write(|families, out| protobuf::write(families, out));
    }),
    ("the verdict on a 502", |scene| scene.judge()),
    ("the gateway that wrote a 502", |scene| scene.recognise()),
];

/// Error page of a gateway whose upstream is down.
const BAD_GATEWAY: &str = "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502 Bad \
                           Gateway</h1></center>\r\n<hr><center>nginx/1.22.1</center>\r\n</body>\r\n</html>\r\n";

/// State that the paths work on.
pub struct Scene {
    runtime: Runtime,
    scheduler: Arc<Scheduler>,
    peer: SocketAddr,
    page: Vec<Family>,
    broken: Finding,
}

/// Starts a server on a separate thread. It responds with 502 to paths that contain `/502`, otherwise with 200.
pub fn peer() -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            // The client may have closed the connection.
            let _ = answer(stream.unwrap());
        }
    });
    address
}

fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let Some(first) = lines.next().transpose()? else {
        return Ok(());
    };
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let body = if first.contains("/502") { BAD_GATEWAY } else { "glass" };
    let status = if first.contains("/502") {
        "502 Bad Gateway"
    } else {
        "200 OK"
    };
    write!(
        stream,
        "HTTP/1.1 {status}\r\nServer: nginx/1.22.1\r\nDate: Sun, 29 Nov 2026 03:00:00 GMT\r\nContent-Type: \
         text/html\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

impl Scene {
    pub fn new(peer: SocketAddr) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let config = "modules: {http: {prober: http}, tcp: {prober: tcp}}";
        let config = Config::parse(config, Defaults::default()).unwrap();
        let series = SeriesTable::new(100, Duration::from_hours(1));
        let scheduler = Arc::new(Scheduler::new(config, series, History::new(100, 1), Workers::default()));
        let probe = probe(&scheduler, "http", &format!("http://{peer}/502"));
        let broken = runtime.block_on(probe.once(&PreviousProbes::default())).unwrap();
        let mut scene = Self {
            runtime,
            scheduler,
            peer,
            page: Vec::new(),
            broken,
        };
        // From the third scrape on, all scrapes take the same path.
        for _ in 0..3 {
            scene.page = scene.read("http", |families| {
                families.iter().map(|family| (*family).clone()).collect()
            });
        }
        scene
    }

    fn read<T>(&self, module: &str, read: impl FnOnce(&[&Family]) -> T) -> T {
        let target = match module {
            "http" => format!("http://{}/", self.peer),
            _ => self.peer.to_string(),
        };
        let probe = probe(&self.scheduler, module, &target);
        let reading = self
            .runtime
            .block_on(self.scheduler.scrape(probe, Caller::Scrape(ClientAddress::default())))
            .unwrap();
        assert!(reading.entry.finding.report.succeeded());
        reading.read(read)
    }

    fn scrape(&self, module: &str) -> Vec<u8> {
        self.read(module, |families| {
            let mut out = Vec::new();
            prometheus_text::write(families.iter().copied(), &mut out).unwrap();
            out
        })
    }

    fn write(&self, write: impl Fn(&[Family], &mut Vec<u8>) -> std::io::Result<()>) {
        let mut out = Vec::new();
        write(&self.page, &mut out).unwrap();
        black_box(out);
    }

    fn judge(&self) {
        let verdict = attribute(&Facts::new(&self.broken.report));
        assert_eq!(black_box(verdict).unwrap().answered_by, Some("nginx"));
    }

    fn recognise(&self) {
        let reply = self.broken.report.final_reply().unwrap();
        let recognised = recognise(&ObservedResponse {
            status: reply.status,
            phrase: reply.reason_phrase.as_deref(),
            headers: &reply.headers,
            trailers: &reply.trailers,
            body: BAD_GATEWAY,
            waited: Duration::ZERO,
        });
        assert!(black_box(recognised).is_some());
    }
}

fn probe(scheduler: &Scheduler, module: &str, target: &str) -> Probe {
    let module = scheduler.config().module(module).unwrap().clone();
    let requested = ProbeRequest {
        target: Target::new(target),
        hostname: None,
        backends: Vec::new(),
    };
    Probe {
        context: scheduler.context(&module, &requested),
        controls: scheduler.config().controls().clone(),
        module,
        requested,
        timeout: Duration::from_mins(1),
    }
}
