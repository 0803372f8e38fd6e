//! HTTP endpoints and their messages, reload, shutdown, and the program as a user starts it.

use crate::redirects::Site;
use crate::support::exporter::Exporter;
use crate::support::page::Page;
use crate::support::peer::{Peer, ok, read_head};
use crate::support::process::{Process, eventually, free_port};
use reqwest::StatusCode;
use reqwest::header::{HOST, HeaderMap, HeaderValue, ORIGIN};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output};
use std::sync::Arc;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};

const PROGRAM: &str = env!("CARGO_BIN_EXE_glassbox_exporter");

const PLAIN: &str = "modules:\n  http_2xx: {prober: http}\n";

const RELOADED: &str = "blackbox_exporter_config_last_reload_successful";

/// The exporter as a process that listens on free ports of loopback.
pub struct Running {
    pub process: Process,
    folder: TempDir,
    client: reqwest::Client,
    /// Addresses on which the process listens.
    pub addresses: Vec<String>,
}

impl Running {
    /// Starts the exporter with a configuration, and waits until it listens.
    pub async fn start(config: &str, flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("glassbox.yml"), config).unwrap();
        let mut with_file = vec!["--config.file=glassbox.yml"];
        with_file.extend(flags);
        Self::start_in(folder, &with_file).await
    }

    /// Starts the exporter in a folder.
    pub async fn start_in(folder: TempDir, flags: &[&str]) -> Self {
        let output = |name: &str| File::create(folder.path().join(name)).unwrap();
        let mut command = Command::new(PROGRAM);
        command.args(flags).current_dir(folder.path());
        let mut listeners = flags
            .iter()
            .filter(|flag| flag.starts_with("--web.listen-address"))
            .count();
        if listeners == 0 {
            command.arg("--web.listen-address=127.0.0.1:0");
            listeners = 1;
        }
        let mut process = Process::start(command.stdout(output("stdout")).stderr(output("stderr")));
        let mut addresses = Vec::new();
        eventually("listening", async || {
            let log = log_of(folder.path());
            assert_eq!(process.0.try_wait().unwrap(), None, "it ended: {log}");
            addresses = addresses_in(&log);
            addresses.len() == listeners
        })
        .await;
        Self {
            process,
            folder,
            client: crate::support::http::client(),
            addresses,
        }
    }

    fn config_file(&self) -> PathBuf {
        self.folder.path().join("glassbox.yml")
    }

    /// Path of a file in the folder of the process.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file to the folder of the process.
    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(name), text).unwrap();
    }

    /// The log so far. A separate thread writes the log, so the latest lines may be missing.
    pub fn log(&self) -> String {
        log_of(self.folder.path())
    }

    /// The complete log. To flush it, a reload, which may fail, logs one more line.
    pub async fn whole_log(&self) -> String {
        let reloads =
            |log: &str| log.matches("Reloaded config file").count() + log.matches("Error reloading config").count();
        let before = reloads(&self.log());
        self.post("/-/reload").await;
        eventually("the reload is logged", async || reloads(&self.log()) > before).await;
        self.log()
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addresses[0])
    }

    pub async fn get(&self, path: &str) -> reqwest::Response {
        self.client.get(self.url(path)).send().await.unwrap()
    }

    pub async fn text(&self, path: &str) -> String {
        self.get(path).await.text().await.unwrap()
    }

    pub async fn post(&self, path: &str) -> reqwest::Response {
        self.client.post(self.url(path)).send().await.unwrap()
    }

    async fn probe(&self, target: &str) -> Page {
        let answer = self.get(&format!("/probe?target={target}")).await;
        assert_eq!(answer.status(), 200);
        Page::parse(&answer.text().await.unwrap())
    }

    async fn gauge(&self, name: &str) -> f64 {
        Page::parse(&self.text("/metrics").await).value(name)
    }

    /// Waits for the exit of the process and returns its status.
    async fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        let process = &mut self.process;
        eventually("ended", async || {
            status = process.0.try_wait().unwrap();
            status.is_some()
        })
        .await;
        status.unwrap()
    }
}

fn log_of(folder: &Path) -> String {
    ["stdout", "stderr"]
        .map(|name| std::fs::read_to_string(folder.join(name)).unwrap())
        .concat()
}

fn addresses_in(log: &str) -> Vec<String> {
    let lines = log.lines().filter(|line| line.contains("Listening on"));
    let addresses = lines.filter_map(|line| {
        let after = |key| Some(line.split_once(key)?.1.trim_start_matches('"'));
        after("address=").or_else(|| after("\"address\":"))
    });
    addresses
        .map(|rest| rest.split([' ', '"', ',', '}']).next().unwrap().to_owned())
        .collect()
}

/// Runs the program until it exits.
fn run(arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    run_in(folder.path(), arguments)
}

fn run_in(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(PROGRAM)
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

async fn refused(exporter: &Exporter, query: &str) -> String {
    let answer = exporter.get(&format!("/probe?{query}")).await;
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{query}");
    assert_eq!(answer.headers()["content-type"], "text/plain; charset=utf-8");
    assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
    answer.text().await.unwrap()
}

#[tokio::test]
async fn bad_requests_get_the_messages_of_blackbox_exporter() {
    let config = "
modules:
  http_2xx: {prober: http}
  named: {prober: http, http: {headers: {Host: a.test}}}
";
    let exporter = Exporter::start(config).await;
    for (query, words) in [
        ("", "Target parameter is missing\n"),
        ("target=", "Target parameter is missing\n"),
        ("module=http_2xx", "Target parameter is missing\n"),
        ("target=a&module=nope", "Unknown module \"nope\"\n"),
        ("module=nope", "Unknown module \"nope\"\n"),
        ("target=a&module=no%22pe", "Unknown module \"no\\\"pe\"\n"),
        (
            "target=a&module=named&hostname=b.test",
            "host header defined both in module configuration (a.test) and with URL-parameter 'hostname' (b.test)\n",
        ),
    ] {
        assert_eq!(refused(&exporter, query).await, words, "{query}");
    }
    let metrics = exporter.get("/metrics").await.text().await.unwrap();
    assert_eq!(Page::parse(&metrics).value("blackbox_module_unknown_total"), 3.0);
}

#[tokio::test]
async fn invalid_parameters_are_rejected_without_a_connection() {
    let exporter = Exporter::start(PLAIN).await;
    let peer = Peer::start(ok).await;
    let long = "a".repeat(2049);
    for (query, words) in [
        (
            format!("target={}%0d%0aX-A:%20b", peer.address),
            "Parameter target contains a control character\n",
        ),
        (
            format!("target={}%00", peer.address),
            "Parameter target contains a control character\n",
        ),
        (
            format!("target={}&hostname=a%0ab", peer.address),
            "Parameter hostname contains a control character\n",
        ),
        (
            "target=a&module=%1b".to_owned(),
            "Parameter module contains a control character\n",
        ),
        (
            format!("target={}/{long}", peer.address),
            "Parameter target is too long: expected up to 2048 bytes\n",
        ),
        (
            format!("target={}&hostname={long}", peer.address),
            "Parameter hostname is too long: expected up to 2048 bytes\n",
        ),
    ] {
        assert_eq!(refused(&exporter, &query).await, words, "{query}");
    }
    assert_eq!(peer.connections(), 0);
}

#[tokio::test]
async fn an_invalid_scrape_timeout_is_rejected() {
    let exporter = Exporter::start(PLAIN).await;
    let peer = Peer::start(ok).await;
    let client = crate::support::http::client();
    let url = exporter.url(&format!("/probe?target={}", peer.address));
    for wrong in ["abc", "", "-1", "NaN", "inf", "10s", "1e999"] {
        let request = client.get(&url).header("X-Prometheus-Scrape-Timeout-Seconds", wrong);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{wrong}");
        let words = answer.text().await.unwrap();
        assert!(
            words.starts_with("Failed to parse timeout from Prometheus header: "),
            "{wrong}: {words}"
        );
    }
    // With such short timeouts, the client would cause the failures.
    for short in ["0.099", "0.001", "1e-9"] {
        let request = client.get(&url).header("X-Prometheus-Scrape-Timeout-Seconds", short);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{short}");
        let words = format!("invalid scrape timeout {short:?}: expected at least 0.1 seconds\n");
        assert_eq!(answer.text().await.unwrap(), words);
    }
    assert_eq!(peer.connections(), 0);
    // The order of checks is the same as in `blackbox_exporter`: module, timeout, target.
    let late = client.get(exporter.url("/probe?module=nope"));
    let answer = late
        .header("X-Prometheus-Scrape-Timeout-Seconds", "abc")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.text().await.unwrap(), "Unknown module \"nope\"\n");
    let early = client.get(exporter.url("/probe"));
    let answer = early
        .header("X-Prometheus-Scrape-Timeout-Seconds", "abc")
        .send()
        .await
        .unwrap();
    assert!(answer.text().await.unwrap().starts_with("Failed to parse timeout"));
}

#[tokio::test]
async fn the_probe_timeout_is_the_scrape_timeout_minus_the_offset() {
    let exporter = Exporter::start("modules:\n  http_2xx: {prober: http, timeout: 7s}\n  open: {prober: http}\n").await;
    let peer = Peer::start(ok).await;
    let client = crate::support::http::client();
    for (module, header, seconds) in [
        ("http_2xx", None, 7.0),
        ("http_2xx", Some("5"), 4.5),
        ("http_2xx", Some("15"), 7.0),
        ("open", Some("10"), 9.5),
        ("open", None, 119.5),
        // The timeout is limited, because such a probe would block the shutdown.
        ("open", Some("1e9"), 599.5),
        ("open", Some("1e19"), 599.5),
    ] {
        let mut request = client.get(exporter.url(&format!("/probe?module={module}&target={}", peer.address)));
        if let Some(header) = header {
            request = request.header("X-Prometheus-Scrape-Timeout-Seconds", header);
        }
        let page = Page::parse(&request.send().await.unwrap().text().await.unwrap());
        assert_eq!(page.value("probe_timeout_seconds"), seconds, "{module} {header:?}");
    }
}

#[tokio::test]
async fn the_default_module_is_http_2xx_and_the_first_parameter_value_counts() {
    let config = "modules:\n  http_2xx: {prober: http}\n  none: {prober: http, http: {valid_status_codes: [599]}}\n";
    let exporter = Exporter::start(config).await;
    let (peer, other) = (Peer::start(ok).await, Peer::start(ok).await);
    for query in ["", "&module=", "&module=http_2xx&module=none"] {
        let path = format!("/probe?target={}&target={}{query}", peer.address, other.address);
        let page = Page::parse(&exporter.get(&path).await.text().await.unwrap());
        assert_eq!(page.value("probe_success"), 1.0, "{query}");
    }
    assert_eq!((peer.connections(), other.connections()), (3, 0));
}

#[tokio::test]
async fn the_hostname_is_the_host_header_of_the_request() {
    let config = "modules:\n  http_2xx: {prober: http}\n  named: {prober: http, http: {headers: {host: a.test}}}\n";
    let exporter = Exporter::start(config).await;
    for (module, more, host) in [
        ("http_2xx", "&hostname=b.test", Some("b.test")),
        ("http_2xx", "&hostname=b.test:81", Some("b.test:81")),
        ("named", "", Some("a.test")),
        ("named", "&hostname=a.test", Some("a.test")),
    ] {
        let site = Site::start().await;
        let probed = exporter.probe_for(module, &site.url("/"), more).await;
        assert_eq!(probed.page.value("probe_success"), 1.0);
        assert_eq!(site.request().header("host"), host, "{module} {more}");
    }
}

#[tokio::test]
async fn a_target_is_decoded_once_and_sent_unchanged() {
    let exporter = Exporter::start(PLAIN).await;
    for (path, sent) in [
        ("/a%2Fb?x=a+b", "/a%2Fb?x=a+b"),
        ("/a%20b", "/a%20b"),
        ("/?q=%26&r=%3D", "/?q=%26&r=%3D"),
        ("/ü", "/%C3%BC"),
        ("?only=query", "/?only=query"),
        ("/a#fragment", "/a"),
        ("", "/"),
    ] {
        let site = Site::start().await;
        let probed = exporter.probe("http_2xx", &format!("{}{path}", site.address())).await;
        assert_eq!(probed.page.value("probe_success"), 1.0, "{path}");
        assert_eq!(site.request().path, sent, "{path}");
    }
}

#[tokio::test]
async fn probe_accepts_every_method_and_reads_only_the_url() {
    let exporter = Exporter::start(PLAIN).await;
    let peer = Peer::start(ok).await;
    let answer = exporter.post(&format!("/probe?target={}", peer.address)).await;
    assert_eq!(Page::parse(&answer.text().await.unwrap()).value("probe_success"), 1.0);
}

#[tokio::test]
async fn debug_shows_the_log_the_metrics_and_the_module() {
    let exporter = Exporter::start(PLAIN).await;
    let peer = Peer::start(ok).await;
    let answer = exporter
        .get(&format!("/probe?target={}&debug=true", peer.address))
        .await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "text/plain; charset=utf-8");
    assert!(answer.headers().contains_key("x-glassbox-evidence"));
    let text = answer.text().await.unwrap();
    let sections = [
        "Logs for the probe:\n",
        "\n\n\nMetrics that would have been returned:\n",
        "\n\n\nModule configuration:\n",
    ];
    let places: Vec<_> = sections.iter().map(|title| text.find(title)).collect();
    assert_eq!(places[0], Some(0), "{text}");
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{text}");
    assert!(text.contains("msg=\"Probe succeeded\""), "{text}");
    assert!(text.contains("\nprobe_success 1\n"), "{text}");
    assert!(text.contains("prober: http\n"), "{text}");

    let plain = exporter.get(&format!("/probe?target={}&debug=1", peer.address)).await;
    let plain = plain.text().await.unwrap();
    assert!(
        !plain.contains("Logs for the probe:"),
        "only `debug=true` enables debug output: {plain}"
    );
}

#[tokio::test]
async fn health_pages_respond_and_unknown_paths_are_not_found() {
    let exporter = Exporter::start(PLAIN).await;
    for (path, status, words) in [
        ("/-/healthy", 200, "Healthy\n"),
        ("/-/ready", 200, "Ready\n"),
        ("/nothing", 404, "Page not found.\n"),
        ("/probe/", 404, "Page not found.\n"),
        ("/debug/pprof/", 404, "Page not found.\n"),
    ] {
        let answer = exporter.get(path).await;
        assert_eq!(answer.status(), status, "{path}");
        assert_eq!(answer.text().await.unwrap(), words, "{path}");
    }
    for path in [
        "/evidence/0000000000000000.json",
        "/evidence/x.json",
        "/evidence/0000000000000000",
        "/evidence/%2e%2e.json",
    ] {
        assert_eq!(exporter.get(path).await.status(), 404, "{path}");
    }
}

#[tokio::test]
async fn logs_are_found_by_id_or_target() {
    let config = "modules:\n  http_2xx: {prober: http}\n  other: {prober: http}\n";
    let exporter = Exporter::start(config).await;
    let peer = Peer::start(ok).await;
    let first = exporter.probe("http_2xx", &peer.http()).await;
    exporter.probe("other", &peer.http()).await;
    let id = first.evidence["id"].as_str().unwrap();
    for (query, status, words) in [
        (format!("id={id}"), 200, "module=\"http_2xx\""),
        (format!("target={}", peer.http()), 200, "module=\"other\""),
        (
            format!("target={}&module=http_2xx", peer.http()),
            200,
            "module=\"http_2xx\"",
        ),
        (
            format!("id={id}&target=a"),
            400,
            "Probe id and target can't be defined at the same time\n",
        ),
        (
            String::new(),
            400,
            "Probe id or target must be defined as http query parameters\n",
        ),
        ("id=1".to_owned(), 404, "Probe id not found\n"),
        ("target=a".to_owned(), 404, "Probe target not found\n"),
    ] {
        let answer = exporter.get(&format!("/logs?{query}")).await;
        assert_eq!(answer.status(), status, "{query}");
        let text = answer.text().await.unwrap();
        assert!(text.contains(words), "{query}: {text}");
    }
}

#[tokio::test]
async fn reload_accepts_only_post() {
    let exporter = Exporter::start(PLAIN).await;
    let answer = exporter.get("/-/reload").await;
    assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(answer.text().await.unwrap(), "This endpoint requires a POST request.\n");
    std::fs::write(&exporter.config_file, "modules:\n  new: {prober: http}\n").unwrap();
    let answer = exporter.post("/-/reload").await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.text().await.unwrap(), "");
    let config = exporter.get("/config").await.text().await.unwrap();
    assert_eq!(config, "modules:\n  new:\n    prober: http\n");
}

#[tokio::test]
async fn a_failed_reload_only_changes_its_gauge_until_the_next_success() {
    let exporter = Exporter::start(PLAIN).await;
    let gauge = async || Page::parse(&exporter.get("/metrics").await.text().await.unwrap()).value(RELOADED);
    let peer = Peer::start(ok).await;
    let before = exporter.get("/config").await.text().await.unwrap();
    assert_eq!(gauge().await, 1.0);

    std::fs::write(&exporter.config_file, "modules:\n  http_2xx: {prober: htpp}\n").unwrap();
    let answer = exporter.post("/-/reload").await;
    assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
    let file = exporter.config_file.display().to_string();
    let words = format!(
        "failed to reload config: error parsing config file: {file}:2:22: modules.http_2xx.prober: prober \"htpp\" is not valid: expected one of http, tcp, unix, dns, icmp, grpc, websocket\n"
    );
    assert_eq!(answer.text().await.unwrap(), words);
    assert_eq!(gauge().await, 0.0);
    assert_eq!(exporter.get("/config").await.text().await.unwrap(), before);
    assert_eq!(
        exporter
            .probe("http_2xx", &peer.http())
            .await
            .page
            .value("probe_success"),
        1.0
    );

    std::fs::remove_file(&exporter.config_file).unwrap();
    assert_eq!(
        exporter.post("/-/reload").await.status(),
        StatusCode::INTERNAL_SERVER_ERROR
    );
    assert_eq!(gauge().await, 0.0);

    std::fs::write(&exporter.config_file, PLAIN).unwrap();
    assert_eq!(exporter.post("/-/reload").await.status(), 200);
    assert_eq!(gauge().await, 1.0);
}

#[tokio::test]
async fn a_reload_keeps_the_counters_of_a_key() {
    let exporter = Exporter::start(PLAIN).await;
    let peer = Peer::start(ok).await;
    exporter.probe("http_2xx", &peer.http()).await;
    assert_eq!(exporter.post("/-/reload").await.status(), 200);
    let probed = exporter.probe("http_2xx", &peer.http()).await;
    assert_eq!(probed.page.value("probe_attempts_total"), 2.0);
}

#[tokio::test]
async fn a_page_of_another_origin_may_not_reload() {
    let exporter = Exporter::start(PLAIN).await;
    std::fs::write(&exporter.config_file, "modules: {}\n").unwrap();
    let client = crate::support::http::client();
    let own = format!("http://{}", exporter.address);
    let other_port = format!("http://127.0.0.1:{}", exporter.address.port() ^ 1);
    for foreign in ["http://evil.example", "null", "https://evil.example:9115", &other_port] {
        let request = client.post(exporter.url("/-/reload")).header("Origin", foreign);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{foreign}");
    }
    let own_and_foreign = HeaderMap::from_iter([
        (ORIGIN, HeaderValue::from_str(&own).unwrap()),
        (ORIGIN, HeaderValue::from_static("http://evil.example")),
    ]);
    let request = client.post(exporter.url("/-/reload")).headers(own_and_foreign);
    assert_eq!(request.send().await.unwrap().status(), StatusCode::FORBIDDEN);
    for site in ["cross-site", "same-site"] {
        let request = client.post(exporter.url("/-/reload")).header("Sec-Fetch-Site", site);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{site}");
    }
    // Which of two hosts is meant, or what one beyond ASCII means, nobody knows.
    let two = HeaderMap::from_iter([
        (HOST, HeaderValue::from_static("localhost")),
        (HOST, HeaderValue::from_static("evil.example")),
    ]);
    let odd = |host: &[u8]| HeaderMap::from_iter([(HOST, HeaderValue::from_bytes(host).unwrap())]);
    for hosts in [two, odd(b"ev\xefl.example"), odd(b"evil.example .localhost")] {
        let request = client.post(exporter.url("/-/reload")).headers(hosts.clone());
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{hosts:?}");
    }
    let config = exporter.get("/config").await.text().await.unwrap();
    assert!(
        config.contains("http_2xx"),
        "the configuration was not reloaded: {config}"
    );
    let answer = client
        .post(exporter.url("/-/reload"))
        .header("Origin", own)
        .header("Sec-Fetch-Site", "same-origin")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
}

#[tokio::test]
async fn responses_are_gzipped_on_request() {
    let exporter = Exporter::start(PLAIN).await;
    let peer = Peer::start(ok).await;
    let client = crate::support::http::client();
    for path in [format!("/probe?target={}", peer.address), "/metrics".to_owned()] {
        for (accepted, zipped) in [
            (None, false),
            (Some("gzip"), true),
            (Some("br, gzip;q=0.5"), true),
            (Some("GZIP"), true),
            (Some("gzip;q=0"), false),
            (Some("gzip; q=0"), false),
            (Some("gzip;q=0.000"), false),
            (Some("identity"), false),
        ] {
            let mut request = client.get(exporter.url(&path));
            if let Some(accepted) = accepted {
                request = request.header("Accept-Encoding", accepted);
            }
            let answer = request.send().await.unwrap();
            assert_eq!(
                answer.headers().contains_key("content-encoding"),
                zipped,
                "{path} {accepted:?}"
            );
            let content_type = answer.headers()["content-type"].to_str().unwrap().to_owned();
            assert!(
                content_type.starts_with("text/plain; version=0.0.4; charset=utf-8"),
                "{content_type}"
            );
            let bytes = answer.bytes().await.unwrap();
            let text = if zipped {
                std::io::read_to_string(flate2::read::GzDecoder::new(bytes.as_ref())).unwrap()
            } else {
                String::from_utf8(bytes.to_vec()).unwrap()
            };
            assert!(Page::parse(&text).len() > 10, "{path} {accepted:?}");
        }
    }
}

#[tokio::test]
async fn every_path_is_below_the_route_prefix() {
    let exporter = Exporter::start_with(PLAIN, |settings| {
        "/box".clone_into(&mut settings.route_prefix);
        "/box".clone_into(&mut settings.link_prefix);
    })
    .await;
    let peer = Peer::start(ok).await;
    for path in [
        "/box/metrics",
        "/box/config",
        "/box/-/healthy",
        "/box/-/ready",
        "/box/style.css",
        "/box",
        "/box/",
    ] {
        assert_eq!(exporter.get(path).await.status(), 200, "{path}");
    }
    // The search of the form works with and without the trailing slash.
    for path in ["/box/?search=nobody", "/box?search=nobody"] {
        let page = exporter.get(path).await.text().await.unwrap();
        assert!(
            page.contains("<q>nobody</q>") || page.contains("value=\"nobody\""),
            "{path}: {page}"
        );
    }
    let probed = exporter.get(&format!("/box/probe?target={}", peer.address)).await;
    let id = probed.headers()["x-glassbox-evidence"].to_str().unwrap().to_owned();
    assert_eq!(exporter.get(&format!("/box/evidence/{id}.json")).await.status(), 200);
    for path in [
        "/metrics",
        "/probe?target=a",
        "/-/healthy",
        "/boxes",
        "/box/nothing",
        "/box/box/metrics",
    ] {
        assert_eq!(exporter.get(path).await.status(), 404, "{path}");
    }
    let home = exporter.get("/box/").await.text().await.unwrap();
    let links: Vec<_> = home.split(['"', '\'']).filter(|text| text.starts_with('/')).collect();
    assert!(links.len() >= 5, "{home}");
    assert!(links.iter().all(|link| link.starts_with("/box/")), "{links:?}");
}

#[tokio::test]
async fn the_landing_page_lists_failures_first() {
    let exporter = Exporter::start(PLAIN).await;
    let empty = exporter.get("/").await.text().await.unwrap();
    assert!(empty.contains("Nothing has been probed yet"), "{empty}");
    let good = Peer::start(ok).await;
    let gone = format!("http://127.0.0.1:{}/gone", free_port());
    exporter.probe("http_2xx", &gone).await;
    exporter.probe("http_2xx", &format!("{}good", good.http())).await;

    let answer = exporter.get("/").await;
    assert_eq!(answer.headers()["content-type"], "text/html; charset=utf-8");
    let policy = answer.headers()["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("default-src 'none'"), "{policy}");
    let mut home = String::new();
    // On a busy host, a rendered page is shown for longer.
    eventually("the page shows both targets", async || {
        home = exporter.get("/").await.text().await.unwrap();
        home.contains("/gone") && home.contains("/good")
    })
    .await;
    let (failed, succeeded) = (home.find("/gone").unwrap(), home.find("/good").unwrap());
    assert!(
        failed < succeeded,
        "failed targets must come first, even if older: {home}"
    );
    assert!(home.contains("tcp.refused") && home.contains("edge"), "{home}");
    assert!(
        home.contains("<form action=\"/probe\">") && home.contains(">http_2xx</option>"),
        "{home}"
    );
}

#[tokio::test]
async fn hostile_text_is_escaped() {
    let config = "modules:\n  '<i>m</i>': {prober: http}\n  http_2xx: {prober: http}\n";
    let exporter = Exporter::start(config).await;
    let site = Site::start().await;
    let hostile = "\"><script>alert(1)</script><img src=x onerror='alert(2)'>";
    let redirect = crate::redirects::to(302, &format!("ftp://{hostile}"));
    let peer = Peer::answering(format!(
        "HTTP/1.1 500 {hostile}\r\nServer: {hostile}\r\nContent-Length: 0\r\n\r\n"
    ))
    .await;
    let garbage = Peer::answering(format!("{hostile}\r\n\r\n")).await;
    for target in [
        hostile.to_owned(),
        format!("http://{hostile}/"),
        format!("{}{hostile}", site.url("/")),
        site.url(&redirect),
        peer.http(),
        garbage.http(),
    ] {
        exporter.probe("%3Ci%3Em%3C/i%3E", &target).await;
    }
    let home = exporter.get("/").await.text().await.unwrap();
    assert!(home.contains("&lt;script&gt;"), "{home}");
    for raw in ["<script>", "<img", "<i>"] {
        assert!(!home.contains(raw), "{raw}: {home}");
    }
    let table = home.split_once("<tbody>").unwrap().1.split_once("</tbody>").unwrap().0;
    assert_eq!(table.matches("<tr>").count(), 6, "{table}");
}

#[tokio::test]
async fn a_closed_scrape_connection_ends_its_probe() {
    let (told, mut tell) = mpsc::unbounded_channel();
    let peer = Peer::start(move |mut stream| {
        let told = told.clone();
        async move {
            read_head(&mut stream).await;
            told.send("asked").unwrap();
            // The server never responds, so only the exporter can close this connection.
            let read = stream.read(&mut [0]).await;
            assert!(matches!(read, Ok(0) | Err(_)));
            told.send("closed").unwrap();
        }
    })
    .await;
    let exporter = Exporter::start(PLAIN).await;
    let mut scraper = TcpStream::connect(exporter.address).await.unwrap();
    let request = format!("GET /probe?target={} HTTP/1.1\r\nHost: a\r\n\r\n", peer.address);
    scraper.write_all(request.as_bytes()).await.unwrap();
    assert_eq!(tell.recv().await, Some("asked"));
    drop(scraper);
    let closed = tokio::time::timeout(std::time::Duration::from_mins(1), tell.recv()).await;
    assert_eq!(
        closed,
        Ok(Some("closed")),
        "the connection must close long before the probe's deadline of 119.5 s"
    );
    eventually("no probe is in flight", async || {
        let metrics = exporter.get("/metrics").await.text().await.unwrap();
        Page::parse(&metrics).value("glassbox_probes_in_flight") == 0.0
    })
    .await;
}

/// A server that delays all responses until the test releases them.
async fn holding() -> (Peer, watch::Receiver<usize>, watch::Sender<bool>) {
    let (asked, seen) = watch::channel(0);
    let asked = Arc::new(asked);
    let (release, released) = watch::channel(false);
    let peer = Peer::start(move |mut stream| {
        let (asked, mut released) = (asked.clone(), released.clone());
        async move {
            read_head(&mut stream).await;
            asked.send_modify(|count| *count += 1);
            if released.wait_for(|released| *released).await.is_ok() {
                let _ = stream
                    .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
                    .await;
                let _ = stream.shutdown().await;
            }
        }
    })
    .await;
    (peer, seen, release)
}

#[tokio::test]
async fn sigterm_rejects_new_probes_and_completes_twenty_in_flight() {
    let (peer, mut asked, release) = holding().await;
    let mut running = Running::start(PLAIN, &[]).await;
    let mut probes = tokio::task::JoinSet::new();
    for number in 0..20 {
        let url = running.url(&format!("/probe?target={}/{number}", peer.address));
        let request = crate::support::http::client().get(url);
        probes.spawn(async move {
            let answer = request.send().await.unwrap();
            (answer.status(), answer.text().await.unwrap())
        });
    }
    asked.wait_for(|count| *count == 20).await.unwrap();
    assert_eq!(running.get("/-/ready").await.status(), 200);

    running.process.signal("TERM");
    eventually("not ready", async || {
        running.get("/-/ready").await.status() == StatusCode::SERVICE_UNAVAILABLE
    })
    .await;
    assert_eq!(running.get("/-/healthy").await.status(), 200);
    let late = running.get(&format!("/probe?target={}", peer.address)).await;
    assert_eq!(late.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(late.headers().contains_key("retry-after"));
    assert_eq!(probes.len(), 20);
    assert!(probes.try_join_next().is_none(), "a probe ended before the release");

    release.send(true).unwrap();
    while let Some(answer) = probes.join_next().await {
        let (status, text) = answer.unwrap();
        assert_eq!(status, 200);
        assert_eq!(Page::parse(&text).value("probe_success"), 1.0);
    }
    assert_eq!(running.ended().await.code(), Some(0), "{}", running.log());
    assert_eq!(
        *asked.borrow(),
        20,
        "a probe that arrives during the shutdown must not connect"
    );
}

#[tokio::test]
async fn sigint_ends_an_idle_exporter_and_a_second_signal_does_not_wait() {
    let mut idle = Running::start(PLAIN, &[]).await;
    idle.process.signal("INT");
    assert_eq!(idle.ended().await.code(), Some(0), "{}", idle.log());

    let (peer, mut asked, _release) = holding().await;
    let mut busy = Running::start(PLAIN, &[]).await;
    let url = busy.url(&format!("/probe?target={}", peer.address));
    let probe = tokio::spawn(crate::support::http::client().get(url).send());
    asked.wait_for(|count| *count == 1).await.unwrap();
    busy.process.signal("TERM");
    eventually("not ready", async || {
        busy.get("/-/ready").await.status() == StatusCode::SERVICE_UNAVAILABLE
    })
    .await;
    busy.process.signal("TERM");
    assert_eq!(busy.ended().await.code(), Some(1));
    assert!(probe.await.unwrap().is_err());
}

#[tokio::test]
async fn sighup_reloads_and_a_bad_file_changes_nothing() {
    let running = Running::start(PLAIN, &[]).await;
    std::fs::write(running.config_file(), "modules:\n  new: {prober: http}\n").unwrap();
    running.process.signal("HUP");
    eventually("reloaded", async || running.text("/config").await.contains("new:")).await;
    std::fs::write(running.config_file(), "modules: [").unwrap();
    running.process.signal("HUP");
    eventually("refused", async || running.gauge(RELOADED).await == 0.0).await;
    assert!(running.text("/config").await.contains("new:"));
    eventually("the error is logged", async || {
        running.log().contains("Error reloading config")
    })
    .await;
}

#[tokio::test]
async fn auto_reload_loads_a_changed_file() {
    let flags = ["--config.enable-auto-reload", "--config.auto-reload-interval=1"];
    let running = Running::start(PLAIN, &flags).await;
    std::fs::write(running.config_file(), "modules:\n  new: {prober: http}\n").unwrap();
    eventually("reloaded", async || running.text("/config").await.contains("new:")).await;
    std::fs::write(running.config_file(), "modules: [").unwrap();
    eventually("refused", async || running.gauge(RELOADED).await == 0.0).await;
    std::fs::write(running.config_file(), PLAIN).unwrap();
    eventually("healed", async || running.gauge(RELOADED).await == 1.0).await;
    assert!(running.text("/config").await.contains("http_2xx:"));
}

#[tokio::test]
async fn without_a_file_the_default_modules_are_served() {
    let running = Running::start_in(tempfile::tempdir().unwrap(), &[]).await;
    let site = Site::start().await;
    assert_eq!(running.probe(&site.url("/")).await.value("probe_success"), 1.0);
    let posted = running.probe(&format!("{}&module=http_post_2xx", site.url("/"))).await;
    assert_eq!(posted.value("probe_success"), 1.0);
    let methods: Vec<_> = site.requests().into_iter().map(|request| request.method).collect();
    assert_eq!(methods, ["GET", "POST"]);
    assert_eq!(running.post("/-/reload").await.status(), 200);
}

#[tokio::test]
async fn blackbox_yml_in_the_working_directory_is_the_default_file() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("blackbox.yml"),
        "modules:\n  found: {prober: http}\n",
    )
    .unwrap();
    let running = Running::start_in(folder, &[]).await;
    assert_eq!(running.text("/config").await, "modules:\n  found:\n    prober: http\n");
}

#[tokio::test]
async fn every_listen_address_is_served() {
    let flags = [
        "--web.listen-address=127.0.0.1:0",
        "--web.listen-address=127.0.0.2:0",
        "--web.listen-address=:0",
    ];
    let mut running = Running::start(PLAIN, &flags).await;
    assert_eq!(running.addresses.len(), 3);
    for number in 0..3 {
        let address = running.addresses[number].clone();
        let url = format!(
            "http://{}/-/healthy",
            address.replace("[::]", "127.0.0.1").replace("0.0.0.0", "127.0.0.1")
        );
        assert_eq!(reqwest::get(&url).await.unwrap().status(), 200, "{url}");
    }
    running.process.signal("TERM");
    assert_eq!(running.ended().await.code(), Some(0));
}

#[test]
fn an_unavailable_listen_address_ends_the_program() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = run(&[&format!("--web.listen-address={address}")]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains(&address), "{}", said(&output));
}

#[test]
fn config_check_reports_validity() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("good.yml"), PLAIN).unwrap();
    std::fs::write(
        folder.path().join("bad.yml"),
        "modules:\n  a: {prober: http, htpp: {}}\n",
    )
    .unwrap();
    let good = run_in(folder.path(), &["--config.check", "--config.file=good.yml"]);
    assert_eq!(good.status.code(), Some(0), "{}", said(&good));
    assert!(said(&good).contains("Config file is ok exiting..."), "{}", said(&good));

    let bad = run_in(folder.path(), &["--config.check", "--config.file=bad.yml"]);
    assert_eq!(bad.status.code(), Some(1));
    let words = "error parsing config file: bad.yml:2:21: modules.a.htpp: unknown key; did you mean http?";
    assert!(said(&bad).contains(words), "{}", said(&bad));

    let none = run_in(folder.path(), &["--config.check", "--config.file=none.yml"]);
    assert_eq!(none.status.code(), Some(1));
    assert!(
        said(&none).contains("error reading config file none.yml: No such file"),
        "{}",
        said(&none)
    );

    let served = run_in(
        folder.path(),
        &["--config.file=bad.yml", "--web.listen-address=127.0.0.1:0"],
    );
    assert_eq!(
        served.status.code(),
        Some(1),
        "the exporter must not start with an invalid file: {}",
        said(&served)
    );
}

#[test]
fn version_and_help_work_and_an_unknown_flag_is_rejected() {
    let version = run(&["--version"]);
    assert_eq!(version.status.code(), Some(0));
    assert!(said(&version).starts_with("glassbox_exporter"), "{}", said(&version));
    assert!(said(&version).contains(env!("CARGO_PKG_VERSION")), "{}", said(&version));
    let help = run(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    for flag in [
        "--config.file",
        "--timeout-offset",
        "--web.listen-address",
        "--history.limit",
    ] {
        assert!(said(&help).contains(flag), "{flag}");
    }
    let wrong = run(&["--no-such-flag"]);
    assert_ne!(wrong.status.code(), Some(0));
    assert!(said(&wrong).contains("--no-such-flag"), "{}", said(&wrong));
}

/// Runs `check` while the servers of the test keep running.
async fn check(arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let mut command = tokio::process::Command::new(PROGRAM);
    command.arg("check").args(arguments).current_dir(folder.path());
    command.output().await.unwrap()
}

#[tokio::test]
async fn check_prints_a_waterfall_and_sets_the_exit_code() {
    let site = Site::start().await;
    let good = check(&[&site.url(&crate::redirects::to(302, "/end"))]).await;
    assert_eq!(good.status.code(), Some(0), "{}", said(&good));
    let text = String::from_utf8(good.stdout).unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0], site.url("/to/302?…"), "{text}");
    assert_eq!(lines[1], format!("  at {}", site.address()), "{text}");
    let phases: Vec<_> = lines
        .iter()
        .filter(|line| line.contains(" ms |"))
        .map(|line| line.split_whitespace().next().unwrap())
        .collect();
    let exchange = ["resolve", "connect", "request", "processing", "transfer"];
    assert_eq!(phases, [exchange, exchange].concat(), "{text}");
    assert!(text.contains("  HTTP/1.1 200, 5 bytes of body\n"), "{text}");
    assert!(lines.last().unwrap().starts_with("OK in "), "{text}");

    let bad = check(&[&format!("http://127.0.0.1:{}/", free_port())]).await;
    assert_eq!(bad.status.code(), Some(1), "{}", said(&bad));
    let text = String::from_utf8(bad.stdout).unwrap();
    assert!(text.contains("| tcp.refused\n"), "{text}");
    assert!(text.lines().last().unwrap().starts_with("FAILED in "), "{text}");
}

#[tokio::test]
async fn check_rejects_invalid_targets_with_a_message() {
    let unknown = check(&["http://127.0.0.1/", "--module=nope"]).await;
    assert_eq!(unknown.status.code(), Some(1));
    assert!(said(&unknown).contains("nope"), "{}", said(&unknown));
    assert!(
        said(&unknown).contains("http_2xx, http_3xx, http_post_2xx"),
        "{}",
        said(&unknown)
    );
    let invalid = check(&["http://[::1"]).await;
    assert_eq!(invalid.status.code(), Some(1));
    assert!(
        said(&invalid).contains("the target is not valid for this prober"),
        "{}",
        said(&invalid)
    );
    let no_time = check(&["http://127.0.0.1/", "--timeout=0"]).await;
    assert_eq!(no_time.status.code(), Some(1));
    assert!(
        said(&no_time).contains("--timeout: invalid number"),
        "{}",
        said(&no_time)
    );
    let none = check(&[]).await;
    assert_ne!(none.status.code(), Some(0));
}

#[tokio::test]
async fn results_are_on_stdout_and_logs_on_stderr() {
    let site = Site::start().await;
    let output = check(&[&site.url("/"), "--log.level=debug"]).await;
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.lines().all(|line| !line.contains("level=")), "{text}");
    let refused = check(&["http://127.0.0.1/", "--module=nope"]).await;
    assert_eq!(String::from_utf8(refused.stdout).unwrap(), "");
    assert!(String::from_utf8(refused.stderr).unwrap().contains("nope"));
}

#[tokio::test]
async fn healthcheck_sets_the_exit_code() {
    let running = Running::start(PLAIN, &[]).await;
    let ask = async |url: &str| {
        let mut command = tokio::process::Command::new(PROGRAM);
        let output = command.args(["healthcheck", "--url", url]).output().await.unwrap();
        (output.status.code(), said(&output))
    };
    assert_eq!(ask(&running.url("/-/healthy")).await.0, Some(0));
    assert_eq!(ask(&running.url("/-/ready")).await.0, Some(0));
    let (code, words) = ask(&running.url("/nothing")).await;
    assert_eq!(code, Some(1));
    assert!(words.contains("404"), "{words}");
    let (code, words) = ask(&format!("http://127.0.0.1:{}/-/healthy", free_port())).await;
    assert_eq!(code, Some(1));
    assert!(words.contains("not healthy"), "{words}");
}

#[tokio::test]
async fn an_incomplete_request_does_not_block_the_shutdown() {
    use tokio::io::AsyncWriteExt as _;
    let mut running = Running::start(PLAIN, &[]).await;
    let mut half_open = tokio::net::TcpStream::connect(&running.addresses[0]).await.unwrap();
    half_open.write_all(b"GET /metr").await.unwrap();
    assert_eq!(running.get("/-/ready").await.status(), StatusCode::OK);
    running.process.signal("TERM");
    assert_eq!(running.ended().await.code(), Some(0), "{}", running.log());
}

#[tokio::test]
async fn waiting_scrapes_do_not_block_the_shutdown() {
    let (peer, mut asked, _never) = holding().await;
    let mut running = Running::start(PLAIN, &["--web.shutdown-timeout=4"]).await;
    let url = running.url(&format!("/probe?target={}", peer.address));
    let scrape = crate::support::http::client().get(url);
    let scrape = scrape.header("X-Prometheus-Scrape-Timeout-Seconds", "600");
    let scrape = tokio::spawn(async move {
        let answer = scrape.send().await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    });
    asked.wait_for(|count| *count == 1).await.unwrap();
    running.process.signal("TERM");
    let (status, words) = scrape.await.unwrap();
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{words}");
    assert!(words.contains("the probe was aborted"), "{words}");
    assert_eq!(running.ended().await.code(), Some(0), "{}", running.log());
    assert!(
        running.log().contains("--web.shutdown-timeout has expired"),
        "{}",
        running.log()
    );
}

#[tokio::test]
async fn a_too_large_request_header_is_rejected_early() {
    let exporter = Exporter::start(PLAIN).await;
    for (bytes, answer) in [(15_000, None), (17_000, Some("HTTP/1.1 431"))] {
        let mut stream = TcpStream::connect(exporter.address).await.unwrap();
        let field = format!("X-A: {}\r\n", "a".repeat(bytes));
        let begin = format!("GET /-/healthy HTTP/1.1\r\nHost: a\r\n{field}");
        stream.write_all(begin.as_bytes()).await.unwrap();
        if let Some(words) = answer {
            assert!(String::from_utf8_lossy(&read_head(&mut stream).await).starts_with(words));
        } else {
            stream.write_all(b"\r\n").await.unwrap();
            let head = read_head(&mut stream).await;
            assert!(String::from_utf8_lossy(&head).starts_with("HTTP/1.1 200"));
        }
    }
    // Parameters of the maximum length are accepted in any encoding.
    let exporter = Exporter::start("limits: {parameter: 16KB}\nmodules:\n  http_2xx: {prober: http}\n").await;
    let answer = exporter
        .get(&format!("/probe?target=127.0.0.1:9/{}", "%61".repeat(16_000)))
        .await;
    assert_eq!(answer.status(), 200);
}

/// The library's own metric has only whole seconds.
#[tokio::test]
async fn the_processor_time_is_precise() {
    let exporter = Exporter::start("modules: {http_2xx: {prober: http}}").await;
    let first = exporter.own("process_cpu_seconds_total").await;
    let mut later = first;
    while later <= first {
        later = exporter.own("process_cpu_seconds_total").await;
    }
    assert!(first > 0.0 && later - first < 1.0, "{first}, then {later}");
}
