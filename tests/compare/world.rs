//! Runs both exporters side by side with the same configuration, hosts file and name servers.

use crate::cases::Case;
use crate::cases::{odd_urls, resolver};
use crate::support::name_server::NameServer;
use crate::support::page::Page;
use crate::support::process::{Process, free_port};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// Scrape timeout in seconds. It is longer than every module's timeout, so it never ends a probe.
const SCRAPE_TIMEOUT: &str = "9";

pub struct World {
    modules: BTreeMap<String, String>,
    peer: u16,
    ours: u16,
    version: String,
    client: reqwest::Client,
    _names: [NameServer; 2],
    _processes: [Process; 2],
    _folder: TempDir,
}

impl World {
    pub async fn start(mut modules: BTreeMap<String, String>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let program = peer();
        let version = version_of(&program);
        if !version.starts_with("0.28") {
            // Older versions do not have every key.
            modules.retain(|name, module| {
                accepts(
                    &program,
                    folder.path(),
                    format!("modules: {{{name}: {module}}}").as_bytes(),
                )
            });
        }
        let mut config = "modules:\n".to_owned();
        for (name, module) in &modules {
            writeln!(config, "  {name}: {module}").unwrap();
        }
        std::fs::write(folder.path().join("blackbox.yml"), config).unwrap();
        std::fs::write(folder.path().join("resolv.conf"), resolver::RESOLV_CONF).unwrap();
        std::fs::write(folder.path().join("hosts"), [resolver::HOSTS, odd_urls::HOSTS].concat()).unwrap();
        let names = [
            NameServer::start_at("127.0.0.153:53", resolver::first).await,
            NameServer::start_at("127.0.0.154:53", resolver::second).await,
        ];
        let (peer, ours) = (free_port(), free_port());
        let mut processes = [
            start(&program, &[], peer, folder.path()),
            start(
                Path::new(env!("CARGO_BIN_EXE_glassbox_exporter")),
                &["--metrics.level=blackbox"],
                ours,
                folder.path(),
            ),
        ];
        processes[0].listens(peer).await;
        processes[1].listens(ours).await;
        Self {
            modules,
            peer,
            ours,
            version,
            client: crate::support::http::client(),
            _names: names,
            _processes: processes,
            _folder: folder,
        }
    }

    pub fn peer_version(&self) -> &str {
        &self.version
    }

    /// Whether both exporters have the module.
    pub fn has(&self, module: &str) -> bool {
        self.modules.contains_key(module)
    }

    /// Probes a case with both exporters, one after the other, because a target may count its requests.
    pub async fn probe(&self, case: &Case) -> (Page, Page) {
        let peers = self.page(self.peer, case).await;
        (peers, self.page(self.ours, case).await)
    }

    /// Lines of `/metrics` that only `blackbox_exporter` has: HELP, TYPE, and the names and labels of series. Metrics
    /// of the Go runtime are left out.
    pub async fn own_families_missing(&self) -> Vec<String> {
        let mut pages = Vec::new();
        for port in [self.peer, self.ours] {
            let answer = self.client.get(format!("http://127.0.0.1:{port}/metrics")).send().await;
            pages.push(answer.unwrap().text().await.unwrap());
        }
        let told = |page: &str| -> BTreeSet<String> {
            let lines = page
                .lines()
                .filter(|line| !line.contains("go_") && !line.contains("build_info{"));
            let names = |line: &str| {
                line.rsplit_once(' ')
                    .map_or(line.to_owned(), |(name, _)| name.to_owned())
            };
            lines
                .map(|line| {
                    if line.starts_with('#') {
                        line.to_owned()
                    } else {
                        names(line)
                    }
                })
                .collect()
        };
        told(&pages[0]).difference(&told(&pages[1])).cloned().collect()
    }

    async fn page(&self, port: u16, case: &Case) -> Page {
        let query = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("module", &case.module)
            .extend_pairs(case.hostname.iter().map(|name| ("hostname", name)))
            .finish();
        let target: String = url::form_urlencoded::byte_serialize(&case.target).collect();
        let query = format!("{query}&target={target}");
        let answer = self
            .client
            .get(format!("http://127.0.0.1:{port}/probe?{query}"))
            .header("X-Prometheus-Scrape-Timeout-Seconds", SCRAPE_TIMEOUT)
            .send()
            .await
            .unwrap_or_else(|error| panic!("{}: {error}", case.name));
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert_eq!(status, 200, "{}: {text}", case.name);
        Page::parse(&text)
    }
}

/// Path of `blackbox_exporter`: the one that `make compare` fetched, otherwise the one of the Debian package.
pub fn peer() -> PathBuf {
    let fetched = std::env::var_os("PEER").map(PathBuf::from);
    fetched.unwrap_or_else(|| "/usr/bin/prometheus-blackbox-exporter".into())
}

/// Whether `blackbox_exporter` accepts a configuration.
pub fn accepts(program: &Path, folder: &Path, config: &[u8]) -> bool {
    let file = folder.join("tried.yml");
    std::fs::write(&file, config).unwrap();
    let mut command = Command::new(program);
    command
        .arg("--config.check")
        .arg(format!("--config.file={}", file.display()));
    command.stderr(Stdio::null()).status().unwrap().success()
}

pub fn version_of(program: &Path) -> String {
    let told = Command::new(program).arg("--version").output();
    let told =
        told.unwrap_or_else(|error| panic!("cannot run {}: {error}; `make compare` fetches it", program.display()));
    // Old versions print it to stderr.
    let text = [told.stdout, told.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let words = text.split_once("version ").map_or("", |(_, rest)| rest);
    words.split([' ', ',']).next().unwrap_or_default().to_owned()
}

/// Starts an exporter in a mount namespace with the hosts file and the `resolv.conf` of the test.
fn start(program: &Path, flags: &[&str], port: u16, folder: &Path) -> Process {
    const MOUNTED: &str = "mount --bind hosts /etc/hosts && mount --bind resolv.conf /etc/resolv.conf && exec \"$@\"";
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "sh", "-c", MOUNTED, "sh"])
        .arg(program)
        .arg(format!("--config.file={}", folder.join("blackbox.yml").display()))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .args(flags)
        .current_dir(folder)
        .env("GODEBUG", "netdns=go")
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Process::start(&mut command)
}
