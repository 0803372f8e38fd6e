//! Real Prometheus and Alertmanager with the example rules: the right alert is sent, with the link and the evidence.

use crate::support::alertmanager::{Alertmanager, Told, example};
use crate::support::exporter::Exporter;
use crate::support::peer::{Peer, ok};
use crate::support::process::{Process, eventually, free_port};
use crate::support::prometheus::Prometheus;
use serde_json::Value;
use std::process::Command;
use tempfile::TempDir;

/// nginx in front of an application, an exporter with a control, Prometheus and Alertmanager as in the examples.
struct Scene {
    target: String,
    application: Option<Peer>,
    control: Option<Peer>,
    exporter: Exporter,
    prometheus: Prometheus,
    alertmanager: Alertmanager,
    _nginx: Process,
    _folder: TempDir,
}

/// The exporter states this URL, and the rules read it.
const EXTERNAL: &str = "https://probes.example/glassbox";

impl Scene {
    /// Starts everything, with further targets.
    async fn start(others: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let application = Peer::start(ok).await;
        let control = Peer::start(ok).await;
        let (nginx, target) = nginx(&folder, &application).await;
        let exporter = Exporter::start_with(
            &format!(
                "controls: [{{address: \"{}\"}}]\nmodules: {{http_2xx: {{prober: http}}}}",
                control.address
            ),
            |settings| {
                settings.timeout_offset = std::time::Duration::from_millis(100);
                settings.external_url = Some(EXTERNAL.to_owned());
            },
        )
        .await;
        let alertmanager = Alertmanager::start().await;
        let own = exporter.address.to_string();
        let config = monitoring(&folder, &own, &alertmanager, &format!("[{target}{others}]"));
        let prometheus = Prometheus::start(&config, &[]).await;
        let scene = Self {
            target,
            application: Some(application),
            control: Some(control),
            exporter,
            prometheus,
            alertmanager,
            _nginx: nginx,
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
    fn told(&self) -> Vec<Told> {
        let told = self.alertmanager.told().into_iter();
        told.filter(|told| told.status == "firing").collect()
    }

    fn told_of(&self, name: &str) -> Option<Told> {
        self.told().into_iter().find(|told| told.name() == name)
    }
}

/// Writes the example rules to a folder. Returns the example configuration of Prometheus, with these targets in place of
/// its own, and job names that nothing depends on.
pub fn monitoring(folder: &TempDir, exporter: &str, alertmanager: &Alertmanager, targets: &str) -> String {
    for name in ["settings", "glassbox", "slo", "exporter"] {
        let name = format!("{name}.rules.yml");
        let text = example(&format!("rules/{name}"), &[]).replace("127.0.0.1:9115", exporter);
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    example(
        "prometheus.yml",
        &[
            ("rules/", &format!("{}/", folder.path().display())),
            ("127.0.0.1:9093", &alertmanager.address),
            ("127.0.0.1:9115", exporter),
            ("- http://127.0.0.1:8080/\n", &format!("{targets}\n")),
            ("- https://127.0.0.1:8443/\n", "\n"),
            ("job_name: glassbox\n", "job_name: checks\n"),
            ("job_name: glassbox_exporter\n", "job_name: probers\n"),
        ],
    )
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

#[tokio::test]
async fn a_stopped_upstream_pages_with_the_link_and_the_evidence() {
    let mut scene = Scene::start("").await;
    assert!(scene.told().is_empty());
    drop(scene.application.take());
    eventually("a page", async || scene.told_of("GlassboxTargetDown").is_some()).await;

    let page = scene.told_of("GlassboxTargetDown").unwrap();
    assert_eq!(page.receiver, "pager");
    assert_eq!(page.label("instance"), scene.target);
    assert_eq!(page.label("link"), "");
    let description = page.annotation("description");
    assert!(description.contains("Broken link: upstream"), "{description}");
    assert!(description.contains("Answered by: nginx"), "{description}");
    assert_eq!(page.annotation("contact"), "the operator of the gateway");
    let evidence = page.annotation("evidence");
    let path = evidence.strip_prefix(EXTERNAL).unwrap();
    assert!(path.starts_with("/evidence?target="), "{evidence}");
    let page = reqwest::get(scene.exporter.url(path)).await.unwrap();
    assert_eq!(page.status(), 200);
    let found = reqwest::get(format!("{}.json", page.url())).await.unwrap();
    let found: Value = serde_json::from_str(&found.text().await.unwrap()).unwrap();
    assert_eq!(found["target"]["name"], scene.target);
    assert_eq!(found["verdict"]["link"], "upstream");
    // The page inhibits the warning about the link.
    let warning = (
        "GlassboxUpstreamBroken".to_owned(),
        scene.target.clone(),
        "suppressed".to_owned(),
    );
    eventually("the warning is inhibited", async || {
        scene.alertmanager.alerts().await.contains(&warning)
    })
    .await;
}

#[tokio::test]
async fn failed_controls_page_for_the_vantage_only() {
    // While another target fails, the exporter checks its controls every 5 s.
    let mut scene = Scene::start(", \"http://127.0.0.1:1/\"").await;
    drop(scene.control.take());
    eventually("the vantage alert pages", async || {
        scene.told_of("GlassboxVantageDown").is_some()
    })
    .await;
    drop(scene.application.take());
    let of_target = format!("{{instance=\"{}\"}}", scene.target);
    // At the speed of the tests, these are four minutes.
    eventually("many failed probes", async || {
        let failed = format!("sum_over_time((1 - probe_success{of_target})[1m:750ms]) >= 16");
        !scene.prometheus.values(&failed).await.is_empty()
    })
    .await;
    let down = format!("glassbox:target:down{of_target}");
    assert_eq!(scene.prometheus.values(&down).await, [0.0]);
    let told = scene.told();
    let of_target: Vec<_> = told
        .iter()
        .filter(|told| told.label("instance") == scene.target)
        .collect();
    assert!(of_target.is_empty(), "{of_target:#?}");
}
