//! An exporter within the test process, on a free port of loopback.

use super::page::Page;
use glassbox_exporter::server::{App, ServerSettings};
use glassbox_exporter::workers::Workers;
use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use serde_json::Value;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// A running exporter. It is stopped on drop.
pub struct Exporter {
    pub address: SocketAddr,
    pub config_file: PathBuf,
    client: reqwest::Client,
    /// The server runs until this is dropped.
    _stop: oneshot::Sender<()>,
    _folder: TempDir,
}

/// Result of a probe: the page and the evidence.
pub struct Probed {
    pub page: Page,
    pub evidence: Value,
}

impl Exporter {
    /// Starts an exporter with a configuration.
    pub async fn start(config: &str) -> Self {
        Self::start_with(config, |_| ()).await
    }

    /// Starts an exporter with a configuration and changed flags.
    pub async fn start_with(config: &str, flags: impl FnOnce(&mut ServerSettings)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config_file = folder.path().join("glassbox.yml");
        std::fs::write(&config_file, config).unwrap();
        let mut settings = ServerSettings {
            config_file: Some(config_file.clone()),
            ..ServerSettings::default()
        };
        flags(&mut settings);
        let app = Arc::new(App::new(settings, Workers::default()).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let shutdown = async {
            let _ = stopped.await;
        };
        tokio::spawn(glassbox_exporter::run_loop::run(app, vec![listener], shutdown));
        Self {
            address,
            config_file,
            client: super::http::client(),
            _stop: stop,
            _folder: folder,
        }
    }

    /// HTTP client for requests with additional header fields.
    pub const fn client(&self) -> &reqwest::Client {
        &self.client
    }

    /// The value of a series on `/metrics`.
    pub async fn own(&self, series: &str) -> f64 {
        Page::parse(&self.get("/metrics").await.text().await.unwrap()).value(series)
    }

    /// The URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Requests a path with GET.
    pub async fn get(&self, path: &str) -> reqwest::Response {
        self.client.get(self.url(path)).send().await.unwrap()
    }

    /// Requests a path with POST.
    pub async fn post(&self, path: &str) -> reqwest::Response {
        self.client.post(self.url(path)).send().await.unwrap()
    }

    /// Probes a target. Returns the page and the evidence.
    pub async fn probe(&self, module: &str, target: &str) -> Probed {
        self.probe_for(module, target, "").await
    }

    /// Probes a target with additional parameters, such as `&hostname=a`.
    pub async fn probe_for(&self, module: &str, target: &str, more: &str) -> Probed {
        self.probe_by(self.client.get(self.url(&probe_path(module, target, more))))
            .await
    }

    /// Probes as a scraper with this timeout does, of which the exporter takes half a second for itself.
    pub async fn probe_within(&self, module: &str, target: &str, scrape_timeout: &str) -> Probed {
        let request = self.client.get(self.url(&probe_path(module, target, "")));
        self.probe_by(request.header("X-Prometheus-Scrape-Timeout-Seconds", scrape_timeout))
            .await
    }

    async fn probe_by(&self, request: reqwest::RequestBuilder) -> Probed {
        let (status, headers, text) = eventually_judged(async || {
            let answer = request.try_clone().unwrap().send().await.unwrap();
            (answer.status(), answer.headers().clone(), answer.text().await.unwrap())
        })
        .await;
        assert_eq!(status, 200, "{text}");
        let id = headers["x-glassbox-evidence"].to_str().unwrap();
        let page = Page::parse(&text);
        let evidence = self.get(&format!("/evidence/{id}.json")).await.text().await.unwrap();
        Probed {
            page,
            evidence: serde_json::from_str(&evidence).unwrap(),
        }
    }
}

fn probe_path(module: &str, target: &str, more: &str) -> String {
    let target: String = url::form_urlencoded::byte_serialize(target.as_bytes()).collect();
    format!("/probe?module={module}&target={target}{more}")
}

/// Repeats a probe if the exporter lost too much time for a verdict, which happens on a busy host.
async fn eventually_judged(
    mut scrape: impl AsyncFnMut() -> (StatusCode, HeaderMap, String),
) -> (StatusCode, HeaderMap, String) {
    for _ in 0..3 {
        let scraped = scrape().await;
        if scraped.0 != StatusCode::SERVICE_UNAVAILABLE || !scraped.2.contains("did not run for") {
            return scraped;
        }
    }
    scrape().await
}

impl Probed {
    /// The phases of all exchanges: name, seconds, and the reason of a failure.
    pub fn timings(&self) -> Vec<(String, f64, Option<String>)> {
        let exchanges = self.evidence["target"]["exchanges"].as_array().unwrap();
        exchanges
            .iter()
            .flat_map(|exchange| exchange["phases"].as_array().unwrap())
            .map(|timing| {
                (
                    timing["phase"].as_str().unwrap().to_owned(),
                    timing["duration_seconds"].as_f64().unwrap(),
                    timing["failed"].as_str().map(str::to_owned),
                )
            })
            .collect()
    }

    /// Whether the first probe of a target observed this phase once. A busy machine may observe neither `processing` nor `transfer`.
    pub fn has_observed(&self, phase: &str) -> bool {
        let count = format!("probe_phase_duration_seconds_count{{phase=\"{phase}\"}}");
        let may_be_unknown = self.is_split_unknown() && matches!(phase, "processing" | "transfer");
        match self.page.value(&count) {
            1.0 => true,
            0.0 => may_be_unknown,
            _ => false,
        }
    }

    /// Whether the exporter read the response late and could not tell `processing` from `transfer`, as on a busy machine. It then
    /// observes neither of them.
    pub fn is_split_unknown(&self) -> bool {
        let exchanges = self.evidence["target"]["exchanges"].as_array().unwrap();
        let has_notes = |exchange: &Value| exchange["notes"].as_array().is_some_and(|notes| !notes.is_empty());
        exchanges.iter().any(has_notes)
    }
}
