//! A resource shortage of the host is not a result about the target and not an error in a file: the probe gets 503, and
//! the configuration is rejected.

use crate::support::peer::{Peer, ok};
use crate::support::pki::Authority;
use crate::support::process::{Process, free_port, preloaded};
use crate::support::quic::{QuicServer, echo};
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::process::Command;
use tempfile::TempDir;

/// Length of the shared buffer with the name of the missing resource, as in the C library.
const ROOM: usize = 512;

/// An exporter on a host with simulated resource shortages.
struct Short {
    _exporter: Process,
    port: u16,
    of: File,
    folder: TempDir,
}

impl Short {
    /// Starts an exporter with a configuration, which gets the folder for its files.
    async fn start(config: impl FnOnce(&TempDir) -> String) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let library = preloaded("tests/suite/shortage/short.c", folder.path());
        let path = folder.path().join("short");
        std::fs::write(&path, [0; ROOM]).unwrap();
        std::fs::write(folder.path().join("glassbox.yml"), config(&folder)).unwrap();
        let port = free_port();
        let mut exporter = Process::start(
            Command::new(env!("CARGO_BIN_EXE_glassbox_exporter"))
                .arg(format!("--web.listen-address=127.0.0.1:{port}"))
                .arg("--config.file=glassbox.yml")
                .env("LD_PRELOAD", library)
                .env("SHORT", &path)
                .current_dir(folder.path())
                .stderr(File::create(folder.path().join("log")).unwrap()),
        );
        exporter.listens(port).await;
        Self {
            _exporter: exporter,
            port,
            of: File::options().write(true).open(path).unwrap(),
            folder,
        }
    }

    /// Simulates a shortage of a resource. An empty name ends the shortage.
    fn is_short(&self, of: &str) {
        let mut words = [0; ROOM];
        words[..of.len()].copy_from_slice(of.as_bytes());
        self.of.write_all_at(&words, 0).unwrap();
    }

    async fn ask(&self, method: reqwest::Method, path: &str) -> (u16, String) {
        let client = crate::support::http::client();
        let url = format!("http://127.0.0.1:{}{path}", self.port);
        let answer = client.request(method, url).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    async fn probe(&self, module: &str, target: &str) -> (u16, String) {
        let path = format!("/probe?module={module}&target={target}");
        self.ask(reqwest::Method::GET, &path).await
    }

    async fn reload(&self) -> (u16, String) {
        self.ask(reqwest::Method::POST, "/-/reload").await
    }
}

#[tokio::test]
async fn a_lack_of_descriptors_is_not_a_file_error() {
    let peer = Peer::start(ok).await;
    let websocket = format!("ws://{}/", peer.address);
    let short = Short::start(|folder| {
        let file = folder.path().join("secret");
        std::fs::write(&file, "abc").unwrap();
        let file = file.display();
        format!(
            "modules:
  token: {{prober: http, http: {{bearer_token_file: {file}}}}}
  field: {{prober: http, http: {{http_headers: {{X-A: {{files: [{file}]}}}}}}}}
  body: {{prober: http, http: {{method: POST, body_file: {file}}}}}
  oauth: {{prober: http, http: {{oauth2: {{client_id: a, client_secret_file: {file}, token_url: 'http://127.0.0.1:9/'}}}}}}
  websocket: {{prober: websocket, websocket: {{http_config: {{bearer_token_file: {file}}}}}}}"
        )
    })
    .await;
    let path = short.folder.path().join("secret").display().to_string();
    for module in ["token", "field", "body", "oauth", "websocket"] {
        let target = if module == "websocket" {
            &websocket
        } else {
            &peer.http()
        };
        short.is_short(&path);
        let (status, words) = short.probe(module, target).await;
        assert_eq!(status, 503, "{module}: {words}");
        assert!(words.contains("no free file descriptor"), "{module}: {words}");
        short.is_short("");
        let (status, page) = short.probe(module, target).await;
        assert_eq!(status, 200, "{module}: {page}");
        if matches!(module, "token" | "field" | "body") {
            assert!(page.contains("\nprobe_success 1"), "{module}: {page}");
        }
    }
}

#[tokio::test]
async fn a_configuration_is_rejected_during_a_lack_of_descriptors() {
    let authority = Authority::new();
    let peer = Peer::with_tls(authority.leaf("localhost").server(&[]), ok).await;
    let target = format!("https://localhost:{}/", peer.address.port());
    let ca = authority.ca_file.display().to_string();
    let short = Short::start(|_| {
        format!(
            "modules: {{m: {{prober: http, http: {{preferred_ip_protocol: ip4, tls_config: {{ca_file: '{ca}'}}}}}}}}"
        )
    })
    .await;
    for file in ["/etc/hosts", "/etc/resolv.conf", &ca] {
        short.is_short(file);
        let (status, words) = short.reload().await;
        assert_eq!(status, 500, "{file}: {words}");
        assert!(words.contains("Too many open files"), "{file}: {words}");
        short.is_short("");
        let (_, page) = short.probe("m", &target).await;
        assert!(page.contains("\nprobe_success 1"), "{file}: {page}");
    }
    assert_eq!(short.reload().await.0, 200);
}

#[tokio::test]
async fn a_lack_of_buffers_for_datagrams_is_a_local_fault() {
    let authority = Authority::new();
    let server = QuicServer::start(authority.leaf("127.0.0.1").server(&["h3"]), echo);
    let ca = authority.ca_file.display().to_string();
    let keys = format!("enable_http2: false, enable_http3: true, tls_config: {{ca_file: '{ca}'}}");
    let short = Short::start(|_| format!("modules: {{m: {{prober: http, timeout: 5s, http: {{{keys}}}}}}}")).await;
    for call in ["send", "recvmsg"] {
        short.is_short(call);
        let (status, words) = short.probe("m", &server.url()).await;
        assert_eq!(status, 503, "{call}: {words}");
        assert!(words.contains("no buffers left"), "{call}: {words}");
        short.is_short("");
        let (_, page) = short.probe("m", &server.url()).await;
        assert!(page.contains("\nprobe_success 1"), "{call}: {page}");
    }
}

#[tokio::test]
async fn a_lasting_lack_of_ports_is_a_local_fault() {
    let authority = Authority::new();
    let server = QuicServer::start(authority.leaf("127.0.0.1").server(&["h3"]), echo);
    let ca = authority.ca_file.display().to_string();
    let peer = Peer::start(ok).await;
    let silent = "127.0.0.1:9";
    let short = Short::start(|_| {
        format!(
            "modules:
  http: {{prober: http, timeout: 5s}}
  quic: {{prober: http, timeout: 5s, http: {{enable_http2: false, enable_http3: true, tls_config: {{ca_file: '{ca}'}}}}}}
  dns: {{prober: dns, timeout: 5s, dns: {{query_name: a.test}}}}
  dns_tcp: {{prober: dns, timeout: 5s, dns: {{query_name: a.test, transport_protocol: tcp}}}}
  named_tcp: {{prober: http, timeout: 5s, resolver: ['tcp://{silent}']}}"
        )
    })
    .await;
    short.is_short("ports");
    for (module, target) in [
        ("http", &*peer.http()),
        ("quic", &*server.url()),
        ("dns", silent),
        ("dns_tcp", silent),
        ("named_tcp", "http://a.test/"),
    ] {
        let (status, words) = short.probe(module, target).await;
        assert_eq!(status, 503, "{module}: {words}");
        assert!(words.contains("no free local port"), "{module}: {words}");
    }
    short.is_short("");
    let (_, page) = short.probe("quic", &server.url()).await;
    assert!(page.contains("\nprobe_success 1"), "{page}");
}
