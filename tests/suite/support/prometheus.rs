//! A real Prometheus on loopback, and queries to it.

use super::process::{Process, eventually, free_port};
use serde_json::Value;
use std::fs::File;
use std::process::Command;
use tempfile::TempDir;

/// A running Prometheus. It is stopped on drop.
pub struct Prometheus {
    pub url: String,
    client: reqwest::Client,
    command: Command,
    process: Process,
    folder: TempDir,
}

impl Prometheus {
    /// Starts the Debian package's Prometheus, or the one in the environment variable `PROMETHEUS`, with an empty data
    /// folder and further flags.
    pub async fn start(config: &str, flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        std::fs::write(file("prometheus.yml"), config).unwrap();
        let address = format!("127.0.0.1:{}", free_port());
        let log = File::create(file("log")).unwrap();
        let mut command = Command::new(std::env::var("PROMETHEUS").unwrap_or_else(|_| "prometheus".to_owned()));
        command
            .arg(format!("--config.file={}", file("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", file("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--log.level=warn")
            .args(flags)
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        let mut prometheus = Self {
            url: format!("http://{address}"),
            client: super::http::client(),
            process: Process::start(&mut command),
            command,
            folder,
        };
        eventually("Prometheus is ready", async || prometheus.is_ready().await).await;
        prometheus
    }

    /// Kills Prometheus without a shutdown.
    pub fn kill(&mut self) {
        self.process.0.kill().unwrap();
        self.process.0.wait().unwrap();
    }

    /// Starts Prometheus again with its data, after [`Self::kill`].
    pub async fn start_again(&mut self) {
        self.process = Process::start(&mut self.command);
        eventually("Prometheus is ready again", async || self.is_ready().await).await;
    }

    async fn is_ready(&mut self) -> bool {
        if let Some(status) = self.process.0.try_wait().unwrap() {
            let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap();
            panic!("Prometheus ended with {status}: {log}");
        }
        let ready = self.client.get(format!("{}/-/ready", self.url)).send().await;
        ready.is_ok_and(|answer| answer.status() == 200)
    }

    /// Response of the API.
    pub async fn ask(&self, path: &str, parameters: &[(&str, &str)]) -> Value {
        let query = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(parameters)
            .finish();
        let url = format!("{}/api/v1/{path}?{query}", self.url);
        let text = self.client.get(url).send().await.unwrap().text().await.unwrap();
        serde_json::from_str(&text).unwrap()
    }

    /// Labels and values of an instant query.
    pub async fn series(&self, promql: &str) -> Vec<(Value, f64)> {
        let answer = self.ask("query", &[("query", promql)]).await;
        let series = answer["data"]["result"].as_array();
        let series = series.unwrap_or_else(|| panic!("{promql}: {answer}"));
        series
            .iter()
            .map(|series| {
                let value = series["value"][1].as_str().unwrap();
                (series["metric"].clone(), value.parse().unwrap())
            })
            .collect()
    }

    /// Values of an instant query.
    pub async fn values(&self, promql: &str) -> Vec<f64> {
        self.series(promql).await.into_iter().map(|(_, value)| value).collect()
    }

    /// Value of a query that must return one series.
    pub async fn one(&self, promql: &str) -> f64 {
        match self.values(promql).await[..] {
            [value] => value,
            ref values => panic!("{promql}: expected one series, got {values:?}"),
        }
    }
}
