//! Real Prometheus and Alertmanager with the example rules: the right alert is sent, with the link and the evidence.

use crate::support::exporter::Exporter;
use crate::support::peer::{Peer, ok};
use crate::support::process::{Process, eventually, free_port, project};
use crate::support::prometheus::Prometheus;
use serde_json::Value;
use std::fs::File;
use std::process::Command;
use std::sync::{Arc, Mutex};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// An example file with shorter times and the addresses of the test. Every replaced text must exist.
fn example(name: &str, replaced: &[(&str, &str)]) -> String {
    let text = std::fs::read_to_string(project("examples").join(name)).unwrap();
    replaced.iter().fold(text, |text, (written, meant)| {
        assert!(text.contains(written), "{name} does not contain {written:?}");
        text.replace(written, meant)
    })
}

/// nginx in front of an application, an exporter with a control, Prometheus and Alertmanager as in the examples, and a
/// receiver of the notifications.
struct Scene {
    target: String,
    application: Option<Peer>,
    control: Option<Peer>,
    exporter: Exporter,
    prometheus: Prometheus,
    alertmanager: String,
    messages: Arc<Mutex<Vec<Value>>>,
    _pager: Peer,
    _processes: [Process; 2],
    _folder: TempDir,
}

impl Scene {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let application = Peer::start(ok).await;
        let control = Peer::start(ok).await;
        let (nginx, target) = nginx(&folder, &application).await;
        let exporter = Exporter::start_with(
            &format!(
                "controls: [{{address: \"{}\"}}]\nmodules: {{http_2xx: {{prober: http}}}}",
                control.address
            ),
            |settings| settings.timeout_offset = std::time::Duration::from_millis(100),
        )
        .await;
        let (pager, messages) = pager().await;
        let (process, alertmanager) = alertmanager(&folder, &pager).await;
        let rules = [
            ("glassbox.rules.yml", "for: 2m", "for: 5s"),
            ("exporter.rules.yml", "for: 1m", "for: 1s"),
            ("slo.rules.yml", "interval: 2m", "interval: 1s"),
        ];
        for (name, written, meant) in rules {
            let own = exporter.address.to_string();
            let text = example(&format!("rules/{name}"), &[(written, meant)]).replace("127.0.0.1:9115", &own);
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let config = example(
            "prometheus.yml",
            &[
                ("scrape_interval: 15s", "scrape_interval: 1s\n  evaluation_interval: 1s"),
                ("scrape_timeout: 10s", "scrape_timeout: 1s"),
                ("rules/", &format!("{}/", folder.path().display())),
                ("127.0.0.1:9093", &alertmanager),
                ("127.0.0.1:9115", &exporter.address.to_string()),
                ("- http://127.0.0.1:8080/\n", &format!("[{target}]\n")),
                ("- https://127.0.0.1:8443/\n", "\n"),
            ],
        );
        let prometheus = Prometheus::start(&config, &[]).await;
        let scene = Self {
            target,
            application: Some(application),
            control: Some(control),
            exporter,
            prometheus,
            alertmanager,
            messages,
            _pager: pager,
            _processes: [nginx, process],
            _folder: folder,
        };
        eventually("a few successful probes", async || {
            let good = scene.prometheus.values("sum_over_time(probe_success[1m]) >= 3").await;
            !good.is_empty()
        })
        .await;
        scene
    }

    /// The firing alerts of all notifications so far.
    fn told(&self) -> Vec<Value> {
        let messages = self.messages.lock().unwrap();
        let alerts = messages
            .iter()
            .flat_map(|message| message["alerts"].as_array().unwrap());
        alerts.filter(|alert| alert["status"] == "firing").cloned().collect()
    }

    fn told_of(&self, name: &str) -> Option<Value> {
        self.told()
            .into_iter()
            .find(|alert| alert["labels"]["alertname"] == name)
    }

    /// The names of the alerts in Alertmanager, with or without inhibited ones.
    async fn names(&self, silenced: bool) -> Vec<String> {
        let url = format!(
            "http://{}/api/v2/alerts?inhibited={silenced}&active={}",
            self.alertmanager, !silenced
        );
        let text = reqwest::get(url).await.unwrap().text().await.unwrap();
        let alerts: Value = serde_json::from_str(&text).unwrap();
        let alerts = alerts.as_array().unwrap().iter();
        alerts
            .map(|alert| alert["labels"]["alertname"].as_str().unwrap().to_owned())
            .collect()
    }
}

/// nginx from the Debian package, with the application as its upstream.
async fn nginx(folder: &TempDir, application: &Peer) -> (Process, String) {
    let port = free_port();
    let config = format!(
        "daemon off; master_process off; pid nginx.pid; error_log error.log warn;\n\
         events {{ worker_connections 64; }}\n\
         http {{ access_log off; client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;\n\
         uwsgi_temp_path uwsgi; scgi_temp_path scgi;\n\
         server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://{}; }} }} }}\n",
        application.address
    );
    std::fs::write(folder.path().join("nginx.conf"), config).unwrap();
    let mut command = Command::new("/usr/sbin/nginx");
    for (flag, file) in [("-p", ""), ("-c", "nginx.conf"), ("-e", "error.log")] {
        command.arg(flag).arg(folder.path().join(file));
    }
    let mut nginx = Process::start(&mut command);
    nginx.listens(port).await;
    (nginx, format!("http://127.0.0.1:{port}/"))
}

/// Alertmanager from the Debian package, with the routes and inhibitions of the example.
async fn alertmanager(folder: &TempDir, pager: &Peer) -> (Process, String) {
    let config = example(
        "alertmanager.yml",
        &[
            ("group_wait: 30s", "group_wait: 12s"),
            ("group_interval: 5m", "group_interval: 1s"),
            ("127.0.0.1:9/", &format!("{}/", pager.address)),
        ],
    );
    let file = folder.path().join("alertmanager.yml");
    std::fs::write(&file, config).unwrap();
    let port = free_port();
    let log = File::create(folder.path().join("alertmanager.log")).unwrap();
    let mut command = Command::new("prometheus-alertmanager");
    command
        .arg(format!("--config.file={}", file.display()))
        .arg(format!("--storage.path={}", folder.path().join("alerts").display()))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .arg("--cluster.listen-address=")
        .stdout(log.try_clone().unwrap())
        .stderr(log);
    let mut process = Process::start(&mut command);
    process.listens(port).await;
    (process, format!("127.0.0.1:{port}"))
}

/// A webhook receiver, in place of a pager and a ticket system.
async fn pager() -> (Peer, Arc<Mutex<Vec<Value>>>) {
    let messages = Arc::new(Mutex::new(Vec::new()));
    let taken = messages.clone();
    let pager = Peer::start(move |mut stream: TcpStream| {
        let taken = taken.clone();
        async move {
            let mut request = Vec::new();
            let message = loop {
                let mut piece = [0; 4096];
                let count = stream.read(&mut piece).await.unwrap_or(0);
                request.extend_from_slice(&piece[..count]);
                let text = String::from_utf8_lossy(&request);
                let body = text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
                match body.and_then(|body| serde_json::from_str::<Value>(&body).ok()) {
                    Some(message) => break message,
                    None if count == 0 => return,
                    None => {}
                }
            };
            taken.lock().unwrap().push(message);
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            let _ = stream.write_all(answer).await;
        }
    })
    .await;
    (pager, messages)
}

#[tokio::test]
async fn a_stopped_upstream_pages_with_the_link_and_the_evidence() {
    let mut scene = Scene::start().await;
    assert_eq!(scene.told(), Vec::<Value>::new());
    drop(scene.application.take());
    eventually("a page", async || scene.told_of("GlassboxTargetDown").is_some()).await;

    let page = scene.told_of("GlassboxTargetDown").unwrap();
    assert_eq!(page["labels"]["instance"], scene.target);
    assert_eq!(page["labels"].get("link"), None);
    let description = page["annotations"]["description"].as_str().unwrap();
    assert!(description.contains("Broken link: upstream"), "{description}");
    assert!(description.contains("Answered by: nginx"), "{description}");
    let evidence = page["annotations"]["evidence"].as_str().unwrap();
    assert!(
        evidence.starts_with(&scene.exporter.url("/evidence?target=")),
        "{evidence}"
    );
    let page = reqwest::get(evidence).await.unwrap();
    assert_eq!(page.status(), 200);
    let found = reqwest::get(format!("{}.json", page.url())).await.unwrap();
    let found: Value = serde_json::from_str(&found.text().await.unwrap()).unwrap();
    assert_eq!(found["target"]["name"], scene.target);
    assert_eq!(found["verdict"]["link"], "upstream");
    // The page inhibits the warning about the link.
    eventually("the warning is inhibited", async || {
        scene
            .names(true)
            .await
            .iter()
            .any(|name| name == "GlassboxUpstreamBroken")
    })
    .await;
}

#[tokio::test]
async fn failed_controls_page_for_the_vantage_only() {
    let mut scene = Scene::start().await;
    drop((scene.application.take(), scene.control.take()));
    eventually("the vantage alert pages", async || {
        scene.told_of("GlassboxVantageDown").is_some()
    })
    .await;
    eventually("the page for the target is inhibited", async || {
        scene.names(true).await.iter().any(|name| name == "GlassboxTargetDown")
    })
    .await;
    let told = scene.told();
    let names: Vec<_> = told.iter().map(|alert| &alert["labels"]["alertname"]).collect();
    assert!(names.iter().all(|name| *name == "GlassboxVantageDown"), "{names:?}");
    assert_eq!(scene.names(false).await, ["GlassboxVantageDown"]);
}
