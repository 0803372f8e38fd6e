//! `--web.config.file`: TLS, client certificates, passwords, header fields, rate limit. Also socket activation by
//! systemd.

use crate::serving::Running;
use crate::support::peer::Peer;
use crate::support::pki::Authority;
use crate::support::process::{Process, eventually};
use bytes::Bytes;
use http_body_util::Empty;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use reqwest::{Client, StatusCode};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsConnector;

const PLAIN: &str = "modules:\n  http_2xx: {prober: http}\n";

/// Starts the program with this web configuration.
async fn serving(web: &str) -> Running {
    serving_with(PLAIN, web).await
}

async fn serving_with(modules: &str, web: &str) -> Running {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("glassbox.yml"), modules).unwrap();
    std::fs::write(folder.path().join("web.yml"), web).unwrap();
    let flags = ["--config.file=glassbox.yml", "--web.config.file=web.yml"];
    Running::start_in(folder, &flags).await
}

/// HTTP version and status that curl gets over TLS. `None` without a response.
fn curl(running: &Running, authority: &Authority, more: &[&str]) -> Option<String> {
    let url = running.url("/-/healthy").replace("http://", "https://");
    let output = Command::new("curl")
        .args([
            "--silent",
            "--noproxy",
            "*",
            "--output",
            "/dev/null",
            "--write-out",
            "%{http_version} %{http_code}",
        ])
        .arg("--cacert")
        .arg(&authority.ca_file)
        .args(more)
        .arg(url)
        .output()
        .expect("`make deps` installs curl");
    let told = String::from_utf8(output.stdout).unwrap();
    output.status.success().then_some(told)
}

/// Error message of the program for an invalid file.
fn refusal(web: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("glassbox.yml"), PLAIN).unwrap();
    std::fs::write(folder.path().join("web.yml"), web).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_glassbox_exporter"))
        .args([
            "--config.file=glassbox.yml",
            "--web.config.file=web.yml",
            "--web.listen-address=127.0.0.1:0",
        ])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{web}");
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

fn tls(authority: &Authority, more: &str) -> String {
    let (certificate, key) = authority.files("127.0.0.1");
    format!(
        "tls_server_config:\n  cert_file: {}\n  key_file: {}\n{more}",
        certificate.display(),
        key.display()
    )
}

#[tokio::test]
async fn the_web_configuration_enables_tls_and_http_2() {
    let authority = Authority::new();
    for (more, answer) in [("", "2 200"), ("http_server_config: {http2: false}\n", "1.1 200")] {
        let running = serving(&tls(&authority, more)).await;
        assert_eq!(curl(&running, &authority, &[]).as_deref(), Some(answer));
        // A client without TLS gets no response.
        assert!(
            crate::support::http::client()
                .get(running.url("/-/healthy"))
                .send()
                .await
                .is_err()
        );
    }
}

#[tokio::test]
async fn a_new_certificate_is_used_without_a_restart() {
    let (first, second) = (Authority::new(), Authority::named("Another Authority"));
    let (certificate, key) = first.files("127.0.0.1");
    let running = serving(&format!(
        "tls_server_config: {{cert_file: {}, key_file: {}}}\n",
        certificate.display(),
        key.display()
    ))
    .await;
    let answers = |authority: &Authority| curl(&running, authority, &[]).is_some();
    assert!(answers(&first) && !answers(&second));
    let (new_certificate, new_key) = second.files("127.0.0.1");
    // Between the two copies, certificate and key do not match, so the old pair stays in use.
    std::fs::copy(new_certificate, &certificate).unwrap();
    eventually("the mismatched pair is rejected", async || {
        running.log().contains("Error reloading web config file")
    })
    .await;
    assert!(answers(&first));
    std::fs::copy(new_key, &key).unwrap();
    eventually("the new pair is used", async || answers(&second)).await;
    assert!(!answers(&first));
}

#[tokio::test]
async fn client_certificates_are_requested_as_configured() {
    let (ours, theirs) = (Authority::new(), Authority::named("Another Authority"));
    let servers = Authority::named("Servers");
    let folder = tempfile::tempdir().unwrap();
    // Certificate and key in one file, for curl.
    let identity = |authority: &Authority, name: &str| {
        let (certificate, key) = authority.files(name);
        let file = folder.path().join(format!(
            "{name}-{}",
            authority.ca_file.display().to_string().replace('/', "")
        ));
        let read = |path: &Path| std::fs::read(path).unwrap();
        std::fs::write(&file, [read(&certificate), read(&key)].concat()).unwrap();
        file.display().to_string()
    };
    let known = identity(&ours, "prometheus.test");
    let unknown = identity(&ours, "somebody.test");
    let elsewhere = identity(&theirs, "prometheus.test");
    let authority = format!("  client_ca_file: {}\n", ours.ca_file.display());
    let sans = "  client_allowed_sans: [prometheus.test]\n";
    let both = format!("{authority}{sans}");
    for (kind, more, let_in) in [
        ("RequestClientCert", "", [true, true, true, true]),
        ("RequireAnyClientCert", "", [false, true, true, true]),
        ("VerifyClientCertIfGiven", authority.as_str(), [true, true, true, false]),
        (
            "RequireAndVerifyClientCert",
            authority.as_str(),
            [false, true, true, false],
        ),
        ("RequireAndVerifyClientCert", both.as_str(), [false, true, false, false]),
    ] {
        let running = serving(&tls(&servers, &format!("  client_auth_type: {kind}\n{more}"))).await;
        let shown = [None, Some(&known), Some(&unknown), Some(&elsewhere)];
        for (shown, let_in) in shown.into_iter().zip(let_in) {
            let more = shown.map_or(vec![], |file| vec!["--cert", file]);
            assert_eq!(curl(&running, &servers, &more).is_some(), let_in, "{kind}: {shown:?}");
        }
    }
}

/// A hash from htpasswd.
pub fn htpasswd(password: &str) -> String {
    let output = Command::new("htpasswd").args(["-nbBC", "10", "", password]).output();
    let output = output.expect("`make deps` installs apache2-utils");
    let line = String::from_utf8(output.stdout).unwrap();
    line.trim().trim_start_matches(':').to_owned()
}

#[tokio::test]
async fn every_path_requires_a_password() {
    let web = |user: &str, password: &str| format!("basic_auth_users:\n  {user}: {}\n", htpasswd(password));
    let running = serving(&web("alice", "right")).await;
    let client = crate::support::http::client();
    let asked = async |path: &str, user: &str, password: &str| {
        let request = client.get(running.url(path)).basic_auth(user, Some(password));
        request.send().await.unwrap().status()
    };
    for path in ["/", "/metrics", "/-/healthy", "/probe?target=127.0.0.1:9", "/nowhere"] {
        let refused = client.get(running.url(path)).send().await.unwrap();
        assert_eq!(refused.status(), StatusCode::UNAUTHORIZED, "{path}");
        assert_eq!(refused.headers()["www-authenticate"], "Basic");
        assert_eq!(refused.text().await.unwrap(), "Unauthorized\n");
        assert_eq!(asked(path, "alice", "wrong").await, StatusCode::UNAUTHORIZED);
        assert_eq!(asked(path, "bob", "right").await, StatusCode::UNAUTHORIZED);
        assert_ne!(asked(path, "alice", "right").await, StatusCode::UNAUTHORIZED);
    }
    // The file is reloaded. Removed users are no longer accepted.
    running.write("web.yml", &web("bob", "new"));
    eventually("the new user", async || {
        asked("/metrics", "bob", "new").await == StatusCode::OK
    })
    .await;
    assert_eq!(asked("/metrics", "alice", "right").await, StatusCode::UNAUTHORIZED);
    // An invalid file changes nothing.
    running.write("web.yml", "basic_auth_users: {bob: plain}\n");
    eventually("the file is rejected", async || {
        running.log().contains("invalid bcrypt hash")
    })
    .await;
    assert_eq!(asked("/metrics", "bob", "new").await, StatusCode::OK);
    assert!(!running.log().contains("plain"), "{}", running.log());
    // An empty file also changes nothing, because a file may be empty while it is being written.
    running.write("web.yml", "");
    eventually("the empty file is rejected", async || {
        running.log().contains("the new version removes all users")
    })
    .await;
    assert_eq!(asked("/metrics", "alice", "right").await, StatusCode::UNAUTHORIZED);
}

/// A client with this source address.
fn client_from(address: [u8; 4]) -> Client {
    let from = std::net::IpAddr::from(address);
    crate::support::http::builder().local_address(from).build().unwrap()
}

#[tokio::test]
async fn a_half_written_web_file_grants_no_access_and_is_counted() {
    let authority = Authority::new();
    let users = format!("basic_auth_users: {{alice: '{}'}}\n", htpasswd("right"));
    let tls = tls(&authority, "");
    let running = serving(&format!("{tls}{users}")).await;
    let status = |password: &str| {
        let user = format!("alice:{password}");
        curl(&running, &authority, &["--user", &user])
    };
    assert_eq!(status("wrong").as_deref(), Some("2 401"));
    for (half, words) in [
        (tls.as_str(), "the new version removes all users"),
        (users.as_str(), "the new version removes TLS"),
        ("tls_server_config:\n  cert_file: ", "Error reloading web config file"),
    ] {
        running.write("web.yml", half);
        eventually(words, async || running.log().contains(words)).await;
        assert_eq!(status("wrong").as_deref(), Some("2 401"), "{words}");
        assert_eq!(status("right").as_deref(), Some("2 200"), "{words}");
    }
    // A complete new file is used.
    running.write(
        "web.yml",
        &format!("{tls}{users}http_server_config: {{http2: false}}\n"),
    );
    eventually("the new version is used", async || {
        status("right").as_deref() == Some("1.1 200")
    })
    .await;
}

#[tokio::test]
async fn required_client_certificates_stay_required_after_a_reload() {
    let authority = Authority::new();
    let required = format!(
        "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: {}\n",
        authority.ca_file.display()
    );
    let running = serving(&tls(&authority, &required)).await;
    assert_eq!(curl(&running, &authority, &[]), None);
    running.write("web.yml", &tls(&authority, ""));
    let words = "the new version no longer requires client certificates";
    eventually(words, async || running.log().contains(words)).await;
    assert_eq!(curl(&running, &authority, &[]), None);
}

#[tokio::test]
async fn wrong_passwords_do_not_block_a_first_valid_one() {
    let running = serving(&format!("basic_auth_users: {{alice: '{}'}}\n", htpasswd("right"))).await;
    let mut flood = JoinSet::new();
    for number in 0..200 {
        let request = client_from([127, 0, 0, 1]).get(running.url("/-/healthy"));
        let request = request.basic_auth("alice", Some(format!("wrong{number}")));
        flood.spawn(async move { request.send().await.unwrap().status() });
    }
    // The exporter is processing the flood.
    assert_eq!(flood.join_next().await.unwrap().unwrap(), StatusCode::UNAUTHORIZED);
    let right = client_from([127, 0, 0, 2]).get(running.url("/metrics"));
    let right = right.basic_auth("alice", Some("right")).send().await.unwrap();
    assert_eq!(right.status(), StatusCode::OK);
    assert!(
        flood.try_join_next().is_some() || flood.len() > 100,
        "the flood must still be in progress"
    );
    assert!(
        flood.len() > 100,
        "the request waited for the flood: {} requests left",
        flood.len()
    );
    // A request from the same address waits in the queue and is accepted.
    let alike = client_from([127, 0, 0, 1]).get(running.url("/metrics"));
    let alike = alike.basic_auth("alice", Some("right")).send().await.unwrap();
    assert_eq!(alike.status(), StatusCode::OK);
}

#[tokio::test]
async fn unauthenticated_requests_do_not_use_the_rate_limit() {
    let web = format!(
        "basic_auth_users: {{alice: '{}'}}\nrate_limit: {{interval: 1h, burst: 2}}\n",
        htpasswd("right")
    );
    let running = serving(&web).await;
    let client = crate::support::http::client();
    let asked = async |password: &str| {
        let request = client
            .get(running.url("/-/healthy"))
            .basic_auth("alice", Some(password));
        request.send().await.unwrap().status()
    };
    for _ in 0..5 {
        assert_eq!(asked("wrong").await, StatusCode::UNAUTHORIZED);
    }
    for status in [StatusCode::OK, StatusCode::OK, StatusCode::TOO_MANY_REQUESTS] {
        assert_eq!(asked("right").await, status);
    }
}

#[tokio::test]
async fn dns_rebinding_cannot_trigger_a_reload() {
    let flags = [
        "--web.allowed-host=probes.example.org",
        "--web.external-url=https://monitoring.example.org:8443/",
    ];
    let running = Running::start(PLAIN, &flags).await;
    let client = crate::support::http::client();
    for (host, status) in [
        (None, 200),
        (Some("evil.example.org"), 403),
        (Some("evil.example.org:9115"), 403),
        (Some("127.0.0.1.evil.example.org"), 403),
        (Some("localhost:9115"), 200),
        (Some("probes.example.org"), 200),
        (Some("monitoring.example.org"), 200),
    ] {
        // DNS rebinding: a foreign page whose host name resolves to the exporter.
        for origin in [None, host.map(|host| format!("http://{host}"))] {
            let mut request = client.post(running.url("/-/reload"));
            if let Some(host) = host {
                request = request.header("Host", host);
            }
            if let Some(origin) = origin {
                request = request.header("Origin", origin);
            }
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status(), status, "{host:?}");
            let words = answer.text().await.unwrap();
            assert!(status == 200 || words.contains("--web.allowed-host"), "{words}");
        }
    }
    // Read-only requests are accepted with any host name.
    let read = client.get(running.url("/metrics")).header("Host", "evil.example.org");
    assert_eq!(read.send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn evidence_and_configuration_are_not_cached() {
    let running = Running::start(PLAIN, &["--web.route-prefix=/x"]).await;
    let probed = running.get("/x/probe?target=127.0.0.1:9").await;
    let id = probed.headers()["x-glassbox-evidence"].to_str().unwrap().to_owned();
    for path in [
        "/x/".to_owned(),
        "/x/config".to_owned(),
        format!("/x/evidence/{id}"),
        format!("/x/evidence/{id}.json"),
        format!("/x/evidence/{id}.har"),
        format!("/x/logs?id={id}"),
        "/x/logs?target=127.0.0.1:9".to_owned(),
        "/x/probe?target=127.0.0.1:9&debug=true".to_owned(),
    ] {
        let answer = running.get(&path).await;
        assert_eq!(answer.status(), 200, "{path}");
        assert_eq!(answer.headers()["cache-control"], "no-store", "{path}");
    }
    assert!(!running.get("/x/metrics").await.headers().contains_key("cache-control"));
}

#[tokio::test]
async fn header_fields_and_rate_limit_are_configurable() {
    let running = serving(
        "http_server_config:\n  headers:\n    X-Frame-Options: deny\n    Strict-Transport-Security: max-age=1\n\
         rate_limit: {interval: 1h, burst: 2}\n",
    )
    .await;
    for _ in 0..2 {
        let answer = running.get("/metrics").await;
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers()["x-frame-options"], "deny");
        assert_eq!(answer.headers()["strict-transport-security"], "max-age=1");
    }
    assert_eq!(running.get("/metrics").await.status(), StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn invalid_web_configurations_have_clear_errors() {
    let authority = Authority::new();
    let (certificate, key) = authority.files("127.0.0.1");
    let pair = format!("cert_file: {}, key_file: {}", certificate.display(), key.display());
    for (web, words) in [
        (
            "tls_server_config: {}",
            "web.yml:1:1: tls_server_config: missing one of cert or cert_file",
        ),
        ("tls_server_confg: {}", "did you mean tls_server_config?"),
        (
            "tls_server_config: {cert_file: nowhere.pem, key_file: nowhere.pem}",
            "cannot read file",
        ),
        (
            &format!("tls_server_config: {{{pair}, client_auth_type: Maybe}}"),
            "invalid client_auth_type",
        ),
        (
            &format!("tls_server_config: {{{pair}, client_auth_type: RequireAndVerifyClientCert}}"),
            "requires client_ca",
        ),
        (
            &format!(
                "tls_server_config: {{{pair}, client_ca_file: {}}}",
                authority.ca_file.display()
            ),
            "have been configured without a Client Auth Policy",
        ),
        (
            &format!("tls_server_config: {{{pair}, cipher_suites: [TLS_NULL]}}"),
            "unknown cipher: TLS_NULL",
        ),
        (
            &format!("tls_server_config: {{{pair}, curve_preferences: [CurveP0]}}"),
            "unknown curve: CurveP0",
        ),
        (
            &format!("tls_server_config: {{{pair}, client_allowed_sans: [a]}}"),
            "client certificates are not requested",
        ),
        (
            &format!("tls_server_config: {{{pair}, max_version: TLS11}}"),
            "no TLS version is enabled",
        ),
        (
            "http_server_config: {headers: {X-Powered-By: us}}",
            "can not be configured",
        ),
        (
            "http_server_config: {headers: {X-Frame-Options: maybe}}",
            "expected one of deny, sameorigin",
        ),
        ("basic_auth_users: {alice: open}", "invalid bcrypt hash"),
        ("rate_limit: {interval: 5}", "invalid duration"),
        ("rate_limit: {interval: 5s, burst: -1}", "invalid burst"),
        ("- a", "expected a mapping"),
    ] {
        let said = refusal(web);
        assert!(said.contains(words), "{web}: {said}");
    }
}

/// Script that runs a program with a listening socket at descriptor 3, as systemd does.
const ACTIVATE: &str = r#"
import os, socket, sys
listener = socket.socket()
listener.bind(("127.0.0.1", 0))
listener.listen()
os.write(1, b"%d\n" % listener.getsockname()[1])
descriptor = listener.detach()
if descriptor != 3:
    os.dup2(descriptor, 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
os.execv(sys.argv[1], sys.argv[1:])
"#;

#[tokio::test]
async fn systemd_sockets_and_notifications_work() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("glassbox.yml"), PLAIN).unwrap();
    let notified = UnixDatagram::bind(folder.path().join("notify")).unwrap();
    notified.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    let told = || {
        let mut buffer = [0; 256];
        let count = notified.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..count]).into_owned()
    };
    let port = folder.path().join("port");
    let process = Process::start(
        Command::new("/usr/bin/python3")
            .args(["-c", ACTIVATE, env!("CARGO_BIN_EXE_glassbox_exporter")])
            .args(["--config.file=glassbox.yml", "--web.systemd-socket"])
            .current_dir(folder.path())
            .env("NOTIFY_SOCKET", folder.path().join("notify"))
            .stdout(std::fs::File::create(&port).unwrap())
            .stderr(Stdio::null()),
    );
    assert_eq!(told().trim(), "READY=1");
    let port = std::fs::read_to_string(port).unwrap();
    let url = format!("http://127.0.0.1:{}/-/healthy", port.lines().next().unwrap());
    let answer = crate::support::http::builder()
        .build()
        .unwrap()
        .get(url)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    process.signal("HUP");
    let reloading = told();
    assert!(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reloading}");
    assert_eq!(told().trim(), "READY=1");
    process.signal("TERM");
    assert_eq!(told().trim(), "STOPPING=1");
    let mut process = process;
    eventually("it ends", async || process.0.try_wait().unwrap().is_some()).await;
}

#[tokio::test]
async fn the_systemd_flag_fails_without_a_socket() {
    let output = Command::new(env!("CARGO_BIN_EXE_glassbox_exporter"))
        .args(["--web.systemd-socket"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("systemd passed no socket"), "{said}");
}

/// An HTTP/2 connection that sends pings at an interval.
struct Http2 {
    sender: http2::SendRequest<Empty<Bytes>>,
    connection: JoinHandle<hyper::Result<()>>,
    host: String,
}

impl Http2 {
    async fn connect(running: &Running, authority: &Authority, pings: Duration) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(authority.der.clone()).unwrap();
        let mut config = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let host = running.url("").replace("http://", "");
        let stream = TcpStream::connect(&host).await.unwrap();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let stream = TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
            .unwrap();
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(pings)
            .keep_alive_while_idle(true)
            .handshake(TokioIo::new(stream))
            .await
            .unwrap();
        Self {
            sender,
            connection: tokio::spawn(connection),
            host,
        }
    }

    /// Status of a path. `None` if the connection is closed.
    async fn get(&mut self, path: &str) -> Option<u16> {
        let request = hyper::Request::get(format!("https://{}{path}", self.host));
        let answer = self.sender.send_request(request.body(Empty::new()).unwrap()).await;
        answer.ok().map(|answer| answer.status().as_u16())
    }
}

#[tokio::test]
async fn an_http_2_connection_with_pings_is_kept() {
    let authority = Authority::new();
    let modules = format!("limits: {{request_head: 1s}}\n{PLAIN}");
    let running = serving_with(&modules, &tls(&authority, "")).await;
    let mut client = Http2::connect(&running, &authority, Duration::from_millis(100)).await;
    assert_eq!(client.get("/-/healthy").await, Some(200));
    // The connection stays open for longer than the maximum time of a request.
    let ended = tokio::time::timeout(Duration::from_secs(3), &mut client.connection).await;
    assert!(ended.is_err(), "the connection ended: {ended:?}");
    assert_eq!(client.get("/-/healthy").await, Some(200));
}

#[tokio::test]
async fn an_http_2_connection_during_overload_is_served_later() {
    let authority = Authority::new();
    let modules = format!("limits: {{connections: 8}}\n{PLAIN}");
    let running = serving_with(&modules, &tls(&authority, "")).await;
    let hung = Peer::start(|stream| async move {
        let _held = stream;
        std::future::pending::<()>().await;
    })
    .await;
    let probe = format!("/probe?target={}", hung.http());
    let mut busy = Vec::new();
    for number in 0..8 {
        let mut client = Http2::connect(&running, &authority, Duration::from_mins(1)).await;
        let path = format!("{probe}{number}");
        busy.push(tokio::spawn(async move { client.get(&path).await }));
    }
    eventually("all permits are in use", async || hung.connections() == 8).await;
    let mut late = Http2::connect(&running, &authority, Duration::from_mins(1)).await;
    assert_eq!(late.get("/-/healthy").await, Some(200));
    assert_eq!(late.get("/config").await, Some(503));
    busy.iter().for_each(JoinHandle::abort);
    drop(busy);
    eventually("a permit is free", async || late.get("/config").await == Some(200)).await;
}
