//! An exporter process with a separate hosts file and `resolv.conf`, in a mount namespace.

use super::exporter::Probed;
use super::page::Page;
use super::process::{Process, free_port};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// A running exporter. It is stopped on drop.
pub struct Host {
    port: u16,
    client: reqwest::Client,
    _process: Process,
    folder: TempDir,
}

impl Host {
    /// Starts an exporter with these modules. The mounts require root.
    pub async fn start(modules: &str, resolv_conf: &str, hosts: &[u8]) -> Self {
        const MOUNTED: &str =
            "mount --bind hosts /etc/hosts && mount --bind resolv.conf /etc/resolv.conf && exec \"$@\"";
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        std::fs::write(file("glassbox.yml"), modules).unwrap();
        std::fs::write(file("resolv.conf"), resolv_conf).unwrap();
        std::fs::write(file("hosts"), hosts).unwrap();
        let port = free_port();
        let mut process = Process::start(
            Command::new("unshare")
                .args(["--mount", "sh", "-c", MOUNTED, "sh"])
                .arg(env!("CARGO_BIN_EXE_glassbox_exporter"))
                .arg(format!("--web.listen-address=127.0.0.1:{port}"))
                .arg("--config.file=glassbox.yml")
                .current_dir(folder.path())
                .stderr(std::fs::File::create(file("log")).unwrap())
                .stdout(Stdio::null()),
        );
        process.listens(port).await;
        Self {
            port,
            client: super::http::client(),
            _process: process,
            folder,
        }
    }

    /// Path of the file that is mounted as `resolv.conf` or `hosts`. Writes to it are visible to the exporter.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The log so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.file("log")).unwrap()
    }

    /// Probes a target. Returns the page and the evidence.
    pub async fn probe(&self, module: &str, target: &str) -> Probed {
        let target: String = url::form_urlencoded::byte_serialize(target.as_bytes()).collect();
        let path = format!("/probe?module={module}&target={target}");
        let answer = self.get(&path).await;
        let id = answer.headers()["x-glassbox-evidence"].to_str().unwrap().to_owned();
        let page = Page::parse(&answer.text().await.unwrap());
        let evidence = self.get(&format!("/evidence/{id}.json")).await.text().await.unwrap();
        Probed {
            page,
            evidence: serde_json::from_str(&evidence).unwrap(),
        }
    }

    async fn get(&self, path: &str) -> reqwest::Response {
        let url = format!("http://127.0.0.1:{}{path}", self.port);
        self.client.get(url).send().await.unwrap()
    }
}

impl Probed {
    /// The success of the probe, or the link and reason of the failure.
    pub fn outcome(&self) -> String {
        if self.page.value("probe_success") > 0.0 {
            return "success".to_owned();
        }
        let word = |key: &str| self.evidence["verdict"][key].as_str().unwrap_or("-").to_owned();
        format!("{}/{}", word("link"), word("reason"))
    }

    /// The address of the connection.
    pub fn chosen(&self) -> String {
        let exchange = &self.evidence["target"]["exchanges"][0];
        exchange["chosen"].as_str().unwrap_or("-").to_owned()
    }
}
