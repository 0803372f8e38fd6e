//! A real Alertmanager with the example configuration, and the notifications that it sends.

use super::peer::Peer;
use super::process::{Process, free_port, project};
use regex::{Captures, Regex};
use serde_json::{Value, json};
use std::fs::File;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The examples run this many times faster: a scrape every 0.75 s instead of 15 s.
pub const SPEED: u32 = 20;

/// A time of the examples at the speed of the tests.
pub fn accelerated(time: Duration) -> Duration {
    time / SPEED
}

/// An example file whose durations are divided by [`SPEED`], so that their ratios stay the same, and with the addresses
/// of the test. Every replaced text must exist.
pub fn example(name: &str, replaced: &[(&str, &str)]) -> String {
    let text = std::fs::read_to_string(project("examples").join(name)).unwrap();
    let keys =
        "for|interval|group_wait|group_interval|repeat_interval|scrape_interval|scrape_timeout|evaluation_interval";
    let duration = Regex::new(&format!(r"(?m)(\[|^ *(?:{keys}): )(\d+)([smhd])(\]|$)")).unwrap();
    let text = duration.replace_all(&text, |found: &Captures| {
        let unit = [("s", 1), ("m", 60), ("h", 3600), ("d", 86_400)];
        let unit = unit.into_iter().find(|(unit, _)| *unit == &found[3]).unwrap().1;
        let time = accelerated(Duration::from_secs(found[2].parse::<u64>().unwrap() * unit));
        format!("{}{}ms{}", &found[1], time.as_millis(), &found[4])
    });
    replaced.iter().fold(text.into_owned(), |text, (written, meant)| {
        assert!(text.contains(written), "{name} does not contain {written:?}");
        text.replace(written, meant)
    })
}

/// One alert in a notification.
#[derive(Clone, Debug)]
pub struct Told {
    pub receiver: String,
    /// `firing` or `resolved`.
    pub status: String,
    /// The number of alerts in the notification.
    pub together: usize,
    pub alert: Value,
}

impl Told {
    pub fn name(&self) -> &str {
        self.alert["labels"]["alertname"].as_str().unwrap()
    }

    /// A label, or an empty text.
    pub fn label(&self, name: &str) -> &str {
        self.alert["labels"][name].as_str().unwrap_or_default()
    }

    pub fn annotation(&self, name: &str) -> &str {
        self.alert["annotations"][name].as_str().unwrap_or_default()
    }

    /// Whether this is the alert of an instance with this status.
    pub fn is(&self, status: &str, name: &str, instance: &str) -> bool {
        self.status == status && self.name() == name && self.label("instance") == instance
    }
}

/// A running Alertmanager. It is stopped on drop.
pub struct Alertmanager {
    pub address: String,
    client: reqwest::Client,
    notifications: Arc<Mutex<Vec<Value>>>,
    _receiver: Peer,
    _process: Process,
    _folder: TempDir,
}

impl Alertmanager {
    /// Starts the Debian package's Alertmanager with the routes and inhibitions of the example.
    pub async fn start() -> Self {
        let (receiver, notifications) = receiver().await;
        let config = example(
            "alertmanager.yml",
            &[("127.0.0.1:9/", &format!("{}/", receiver.address))],
        );
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        std::fs::write(file("alertmanager.yml"), config).unwrap();
        let port = free_port();
        let log = File::create(file("log")).unwrap();
        let mut command = Command::new("prometheus-alertmanager");
        command
            .arg(format!("--config.file={}", file("alertmanager.yml").display()))
            .arg(format!("--storage.path={}", file("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg("--cluster.listen-address=")
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        let mut process = Process::start(&mut command);
        process.listens(port).await;
        Self {
            address: format!("127.0.0.1:{port}"),
            client: super::http::client(),
            notifications,
            _receiver: receiver,
            _process: process,
            _folder: folder,
        }
    }

    /// The alerts of all notifications so far, in order, without the heartbeat.
    pub fn told(&self) -> Vec<Told> {
        let notifications = self.notifications.lock().unwrap();
        let alerts = notifications.iter().flat_map(|notification| {
            let alerts = notification["alerts"].as_array().unwrap();
            alerts.iter().map(|alert| Told {
                receiver: notification["receiver"].as_str().unwrap().to_owned(),
                status: alert["status"].as_str().unwrap().to_owned(),
                together: alerts.len(),
                alert: alert.clone(),
            })
        });
        alerts.filter(|told| told.receiver != "heartbeat").collect()
    }

    /// The number of heartbeats.
    pub fn heartbeats(&self) -> usize {
        let notifications = self.notifications.lock().unwrap();
        let beats = notifications.iter().filter(|one| one["receiver"] == "heartbeat");
        beats.count()
    }

    /// The notifications of the pager about an alert of an instance.
    pub fn pages(&self, status: &str, name: &str, instance: &str) -> Vec<Told> {
        let told = self.told().into_iter();
        told.filter(|told| told.receiver == "pager" && told.is(status, name, instance))
            .collect()
    }

    async fn api(&self, request: reqwest::RequestBuilder) -> Value {
        let answer = request.send().await.unwrap();
        assert!(answer.status().is_success(), "{answer:?}");
        serde_json::from_str(&answer.text().await.unwrap()).unwrap_or_default()
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}/api/v2/{path}", self.address)
    }

    /// Names and instances of the alerts that Alertmanager has, with the `state` of each, such as `suppressed`.
    pub async fn alerts(&self) -> Vec<(String, String, String)> {
        let alerts = self.api(self.client.get(self.url("alerts"))).await;
        let alerts = alerts.as_array().unwrap().iter();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        alerts
            .map(|alert| {
                let labels = &alert["labels"];
                (
                    text(&labels["alertname"]),
                    text(&labels["instance"]),
                    text(&alert["status"]["state"]),
                )
            })
            .collect()
    }

    /// Silences the alerts of an instance. Returns the ID of the silence.
    pub async fn silence(&self, instance: &str) -> String {
        let silence = json!({
            "matchers": [{"name": "instance", "value": instance, "isRegex": false, "isEqual": true}],
            "startsAt": "2000-01-01T00:00:00Z", "endsAt": "2100-01-01T00:00:00Z",
            "createdBy": "test", "comment": "maintenance",
        });
        let request = self.client.post(self.url("silences"));
        let request = request
            .header("Content-Type", "application/json")
            .body(silence.to_string());
        self.api(request).await["silenceID"].as_str().unwrap().to_owned()
    }

    /// Ends a silence.
    pub async fn end_silence(&self, id: &str) {
        self.api(self.client.delete(self.url(&format!("silence/{id}")))).await;
    }
}

/// A webhook receiver, in place of a pager, a chat channel, a ticket system and a heartbeat service.
async fn receiver() -> (Peer, Arc<Mutex<Vec<Value>>>) {
    let notifications = Arc::new(Mutex::new(Vec::new()));
    let taken = notifications.clone();
    let receiver = Peer::start(move |mut stream: TcpStream| {
        let taken = taken.clone();
        async move {
            let mut request = Vec::new();
            let notification = loop {
                let mut piece = [0; 4096];
                let count = stream.read(&mut piece).await.unwrap_or(0);
                request.extend_from_slice(&piece[..count]);
                let text = String::from_utf8_lossy(&request);
                let body = text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
                match body.and_then(|body| serde_json::from_str::<Value>(&body).ok()) {
                    Some(notification) => break notification,
                    None if count == 0 => return,
                    None => {}
                }
            };
            taken.lock().unwrap().push(notification);
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            let _ = stream.write_all(answer).await;
        }
    })
    .await;
    (receiver, notifications)
}
