//! A night with real Prometheus and Alertmanager and the example rules, 20 times as fast: a target that is down for a
//! long time, a new fault, a flapping target, maintenance, an exporter and a Prometheus that die, and a repair. Each
//! notification must be true, and none may say that a target is up again while that is unknown.

use crate::alerting::monitoring;
use crate::support::alertmanager::{Alertmanager, Told, accelerated};
use crate::support::peer::{Peer, ok};
use crate::support::process::{Process, eventually, free_port};
use crate::support::prometheus::Prometheus;
use regex::Regex;
use std::fs::File;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// A web site that succeeds, or returns the error of its gateway.
struct Site {
    url: String,
    is_broken: Arc<AtomicBool>,
    _peer: Peer,
}

impl Site {
    async fn start(is_broken: bool) -> Self {
        const ERROR: &str = "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n\
                             <center><h1>502 Bad Gateway</h1></center>\r\n<hr><center>nginx</center>\r\n\
                             </body>\r\n</html>\r\n";
        let error = format!(
            "HTTP/1.1 502 Bad Gateway\r\nServer: nginx\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\r\n{ERROR}",
            ERROR.len()
        );
        let error: Arc<[u8]> = error.into_bytes().into();
        let is_broken = Arc::new(AtomicBool::new(is_broken));
        let broken = is_broken.clone();
        let peer = Peer::start(move |mut stream: TcpStream| {
            let (broken, error) = (broken.clone(), error.clone());
            async move {
                if broken.load(Ordering::SeqCst) {
                    crate::support::peer::read_head(&mut stream).await;
                    let _ = stream.write_all(&error).await;
                } else {
                    ok(stream).await;
                }
            }
        })
        .await;
        Self {
            url: peer.http(),
            is_broken,
            _peer: peer,
        }
    }

    fn set_broken(&self, is_broken: bool) {
        self.is_broken.store(is_broken, Ordering::SeqCst);
    }

    /// Breaks and repairs the site every 90 s of the night.
    fn flap(&self) -> JoinHandle<()> {
        let is_broken = self.is_broken.clone();
        tokio::spawn(async move {
            loop {
                is_broken.fetch_xor(true, Ordering::SeqCst);
                tokio::time::sleep(accelerated(Duration::from_secs(90))).await;
            }
        })
    }
}

/// The exporter's program, since a task in the test's process cannot be killed like one.
struct Prober {
    port: u16,
    folder: TempDir,
    process: Option<Process>,
}

impl Prober {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(
            folder.path().join("glassbox.yml"),
            "modules: {http_2xx: {prober: http}}",
        )
        .unwrap();
        let mut prober = Self {
            port: free_port(),
            folder,
            process: None,
        };
        prober.start_again().await;
        prober
    }

    async fn start_again(&mut self) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_glassbox_exporter"));
        command
            .arg(format!("--web.listen-address={}", self.address()))
            .arg("--config.file=glassbox.yml")
            .arg("--timeout-offset=0.1")
            .current_dir(self.folder.path())
            .stderr(File::create(self.folder.path().join("log")).unwrap())
            .stdout(Stdio::null());
        let mut process = Process::start(&mut command);
        process.listens(self.port).await;
        self.process = Some(process);
    }

    fn kill(&mut self) {
        self.process = None;
    }

    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

const DOWN: &str = "GlassboxTargetDown";
const EXPORTER_DOWN: &str = "GlassboxExporterDown";

struct Night {
    red: Site,
    healthy: Site,
    fault: Site,
    flapping: Site,
    maintained: Site,
    prober: Prober,
    prometheus: Prometheus,
    alertmanager: Alertmanager,
    _folder: TempDir,
}

impl Night {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (red, healthy, fault) = (
            Site::start(true).await,
            Site::start(false).await,
            Site::start(false).await,
        );
        let (flapping, maintained) = (Site::start(false).await, Site::start(false).await);
        let prober = Prober::start().await;
        let alertmanager = Alertmanager::start().await;
        let urls = [&red, &healthy, &flapping, &maintained].map(|site| site.url.as_str());
        // One of the targets has the labels of a team.
        let targets = format!(
            "[{}]\n      - labels: {{team: shop, runbook_url: \"https://wiki.example/shop\"}}\n        targets: [{}]",
            urls.join(", "),
            fault.url
        );
        let config = monitoring(&folder, &prober.address(), &alertmanager, &targets);
        // These defaults are also divided by the speed. The first is the one that the example recommends.
        let flags = ["--rules.alert.resend-delay=15s", "--query.lookback-delta=15s"];
        let prometheus = Prometheus::start(&config, &flags).await;
        Self {
            red,
            healthy,
            fault,
            flapping,
            maintained,
            prober,
            prometheus,
            alertmanager,
            _folder: folder,
        }
    }

    async fn paged(&self, status: &str, name: &str, instance: &str) -> Told {
        let what = format!("a page: {status} {name} {instance}");
        eventually(&what, async || {
            !self.alertmanager.pages(status, name, instance).is_empty()
        })
        .await;
        self.alertmanager.pages(status, name, instance).remove(0)
    }

    /// Waits until Prometheus has scraped every target this many times since now.
    async fn scrapes(&self, count: u32) {
        let begun = self.prometheus.one("vector(time())").await;
        let enough = format!("count(timestamp(probe_success) > {begun} + {count} * 0.75) == 5");
        eventually(&enough, async || !self.prometheus.values(&enough).await.is_empty()).await;
    }

    /// What the pager received: status, alert and instance, in order.
    fn pages(&self) -> Vec<(String, String, String)> {
        let told = self.alertmanager.told().into_iter();
        told.filter(|told| told.receiver == "pager")
            .map(|told| {
                (
                    told.status.clone(),
                    told.name().to_owned(),
                    told.label("instance").to_owned(),
                )
            })
            .collect()
    }

    fn page(status: &str, name: &str, site: &Site) -> (String, String, String) {
        (status.to_owned(), name.to_owned(), site.url.clone())
    }

    /// Asserts that each text of an alert on a target states what Prometheus knew at the time that it states.
    async fn assert_texts_are_true(&self) {
        let state =
            Regex::new(r"At (\d\d):(\d\d):(\d\d) UTC, (?:its last probe|the exporter) (\w+)|all its probes").unwrap();
        for told in self.alertmanager.told() {
            let (instance, text) = (told.label("instance"), told.annotation("description"));
            let Some(found) = state.captures(text) else { continue };
            let Some(said) = found.get(4) else { continue };
            let [hours, minutes, seconds] = [1, 2, 3].map(|part| found[part].parse::<f64>().unwrap());
            let now = self.prometheus.one("vector(time())").await;
            let at = (now / 86_400.0).floor() * 86_400.0 + hours * 3600.0 + minutes * 60.0 + seconds;
            let at = if at > now { at - 86_400.0 } else { at };
            // The text states whole seconds, and the scrape before the evaluation counts.
            let (function, value) = match said.as_str() {
                "succeeded" => ("max", 1.0),
                _ => ("min", 0.0),
            };
            let metric = if said.as_str() == "returned" {
                "up"
            } else {
                "probe_success"
            };
            let query = format!(
                "{function}_over_time({metric}{{instance=\"{instance}\"}}[2s] @ {})",
                at + 1.0
            );
            assert_eq!(self.prometheus.one(&query).await, value, "{query}: {told:#?}");
        }
    }
}

fn assert_says(told: &Told, pattern: &str) {
    let text = told.annotation("description");
    assert!(Regex::new(pattern).unwrap().is_match(text), "{pattern}: {told:#?}");
}

/// The texts of [`DOWN`] when it starts and when it ends.
const FAILED: &str = r"^\S+ is down\. At [\d:]+ UTC, its last probe failed\. Broken link: upstream \(\w+\)\. Phase: \w+\. Reason: upstream\.\w+\. Answered by: nginx\.$";
const RECOVERED: &str =
    r"^\S+ was down\. At [\d:]+ UTC, its last probe succeeded, but an earlier probe of the last 3 minutes failed\.$";

#[tokio::test]
async fn every_notification_of_a_night_is_true() {
    let mut night = Night::start().await;
    let page = night.paged("firing", DOWN, &night.red.url).await;
    assert_says(&page, FAILED);
    assert_eq!(page.annotation("contact"), "the operator of the gateway");

    // A target is down for a long time. A new fault, a flapping target, and one that is under maintenance.
    let silence = night.alertmanager.silence(&night.maintained.url).await;
    night.fault.set_broken(true);
    night.maintained.set_broken(true);
    let flapping = night.flapping.flap();
    assert_a_new_fault_pages_soon(&night).await;
    let page = night.paged("firing", DOWN, &night.flapping.url).await;
    assert_says(&page, FAILED);
    let is_silenced = (DOWN.to_owned(), night.maintained.url.clone(), "suppressed".to_owned());
    eventually("the target under maintenance is down", async || {
        night.alertmanager.alerts().await.contains(&is_silenced)
    })
    .await;

    let known = night.pages();
    assert_a_dead_exporter_resolves_nothing(&mut night, known).await;
    let known = night.pages();
    assert_a_dead_prometheus_resolves_nothing(&mut night, known).await;

    // The repair.
    let known = night.pages().len();
    night.fault.set_broken(false);
    let resolved = night.paged("resolved", DOWN, &night.fault.url).await;
    assert_says(&resolved, RECOVERED);
    assert_the_burn_rate_says_that_the_target_is_healthy(&night).await;
    // The end of the maintenance of a target that is still down.
    night.alertmanager.end_silence(&silence).await;
    let page = night.paged("firing", DOWN, &night.maintained.url).await;
    assert_says(&page, FAILED);
    flapping.abort();
    night.flapping.set_broken(false);
    let resolved = night.paged("resolved", DOWN, &night.flapping.url).await;
    assert_says(&resolved, RECOVERED);

    let expected = [
        Night::page("resolved", DOWN, &night.fault),
        Night::page("firing", DOWN, &night.maintained),
        Night::page("resolved", DOWN, &night.flapping),
    ];
    assert_eq!(night.pages()[known..], expected);
    let told = night.alertmanager.told();
    let of_healthy = told.iter().filter(|told| told.label("instance") == night.healthy.url);
    assert_eq!(of_healthy.filter(|told| told.receiver != "tickets").count(), 0);
    night.assert_texts_are_true().await;
}

/// The target that is already down does not delay the page, and has no part in it.
async fn assert_a_new_fault_pages_soon(night: &Night) {
    let page = night.paged("firing", DOWN, &night.fault.url).await;
    assert_says(&page, FAILED);
    assert_eq!(page.together, 1, "{page:#?}");
    assert_eq!(page.label("team"), "shop");
    assert_eq!(
        page.annotation("contact"),
        "the team shop; runbook: https://wiki.example/shop"
    );
    // In probes, which do not depend on the speed of the machine: at an interval of 15 s, 75 s are 5 probes. Alertmanager
    // adds 10 s. A single failed probe does not page. A busy machine skips scrapes, but never adds one.
    let of = format!("{{alertname=\"{DOWN}\",instance=\"{}\"}}", night.fault.url);
    let started = night.prometheus.one(&format!("ALERTS_FOR_STATE{of}")).await;
    let probes = format!("probe_success{{instance=\"{}\"}}[1m] @ {started}", night.fault.url);
    let failed = format!("count_over_time({probes}) - sum_over_time({probes})");
    let failed = night.prometheus.one(&failed).await;
    assert!((2.0..=6.0).contains(&failed), "{failed} failed probes before the page");
}

async fn assert_a_dead_exporter_resolves_nothing(night: &mut Night, known: Vec<(String, String, String)>) {
    night.prober.kill();
    let address = night.prober.address();
    let page = night.paged("firing", EXPORTER_DOWN, &address).await;
    assert_says(&page, r"Whether its targets are up or down is unknown\.$");
    // Longer than the 5 minutes after which Prometheus ignores old samples.
    tokio::time::sleep(accelerated(Duration::from_secs(200))).await;
    let firing = format!(
        "ALERTS{{alertname=\"{DOWN}\",instance=\"{}\",alertstate=\"firing\"}}",
        night.red.url
    );
    assert_eq!(night.prometheus.values(&firing).await, [1.0]);
    night.prober.start_again().await;
    night.paged("resolved", EXPORTER_DOWN, &address).await;
    // Four minutes: more than a target needs to be up again.
    night.scrapes(16).await;
    let exporter = |status: &str| (status.to_owned(), EXPORTER_DOWN.to_owned(), address.clone());
    let expected = [known, vec![exporter("firing"), exporter("resolved")]].concat();
    assert_eq!(night.pages(), expected);
}

async fn assert_a_dead_prometheus_resolves_nothing(night: &mut Night, known: Vec<(String, String, String)>) {
    night.prometheus.kill();
    let heartbeats = night.alertmanager.heartbeats();
    assert!(heartbeats > 0);
    // More than the 4 minutes after which Alertmanager resolves with the default of the flag.
    tokio::time::sleep(accelerated(Duration::from_secs(280))).await;
    night.prometheus.start_again().await;
    // Prometheus drops what it would send before it has found Alertmanager, which takes 5 s at any speed.
    eventually("Prometheus finds Alertmanager", async || {
        let found = night.prometheus.ask("alertmanagers", &[]).await;
        found["data"]["activeAlertmanagers"]
            .as_array()
            .is_some_and(|found| !found.is_empty())
    })
    .await;
    eventually("the alerts fire again", async || {
        let down = format!("ALERTS{{alertname=\"{DOWN}\",alertstate=\"firing\"}} and on (instance) up");
        night.prometheus.values(&down).await.len() >= 3
    })
    .await;
    night.scrapes(4).await;
    assert_eq!(night.pages(), known);
}

/// In the channel, not in the pager.
async fn assert_the_burn_rate_says_that_the_target_is_healthy(night: &Night) {
    let burns = || {
        let told = night.alertmanager.told().into_iter();
        told.filter(|told| told.is("firing", "GlassboxErrorBudgetBurn", &night.fault.url))
            .collect::<Vec<_>>()
    };
    eventually("the burn rate is told", async || !burns().is_empty()).await;
    let burn = burns().remove(0);
    assert_eq!(burn.receiver, "channel");
    assert_says(
        &burn,
        r"The target is healthy: at [\d:]+ UTC, all its probes of the last 3 minutes had succeeded\. Failures of the last hour by link: upstream",
    );
    let healthy = format!("min_over_time(probe_success{{instance=\"{}\"}}[9s])", night.fault.url);
    assert_eq!(night.prometheus.one(&healthy).await, 1.0);
}
