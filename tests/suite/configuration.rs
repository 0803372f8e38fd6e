//! The configuration: accepted files and their meaning, error messages of rejected files, and secrets that are never
//! shown.

use crate::examples::example;
use crate::redirects::{Request, Site};
use crate::serving::Running;
use crate::support::exporter::Exporter;
use crate::support::peer::{Peer, read_head};
use crate::support::pki::Authority;
use crate::support::process::{eventually, project};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use glassbox_exporter::config::{Config, Defaults};
use glassbox_probe::diagnostics::DiagnosticsFile;
use glassbox_probe::probers::PROBERS;
use serde_json::Value;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use tokio::io::AsyncWriteExt;

fn load(path: &Path) -> Result<Config, String> {
    Config::load(path, Defaults::default()).map_err(|error| error.to_string())
}

fn parse(text: &str) -> Result<Config, String> {
    Config::parse(text, Defaults::default()).map_err(|problem| problem.to_string())
}

/// The sorted fixtures of a folder. There must be at least `least`, so that a missing fixture is noticed.
fn fixtures(folder: &str, least: usize) -> Vec<PathBuf> {
    let folder = project("tests/fixtures/config").join(folder);
    let entries = std::fs::read_dir(&folder).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= least, "{} files in {}", files.len(), folder.display());
    files
}

fn good(name: &str) -> Config {
    load(&project("tests/fixtures/config/good").join(name)).unwrap()
}

#[test]
fn every_good_file_loads() {
    let refused: Vec<_> = fixtures("good", 30)
        .iter()
        .filter_map(|file| load(file).err())
        .collect();
    assert!(refused.is_empty(), "{refused:#?}");
}

/// The keys that every module has, and the blocks of the probers.
/// The keys of the block `diagnostics`, as an error lists them.
fn keys_of_diagnostics() -> String {
    let mut keys = DiagnosticsFile::keys();
    keys.sort_unstable();
    keys.join(", ")
}

fn keys_of_a_module() -> String {
    let mut keys = [
        "addresses",
        "allowed_targets",
        "backends",
        "buckets",
        "diagnostics",
        "interval",
        "metrics",
        "prober",
        "resolver",
        "timeout",
    ]
    .to_vec();
    keys.extend(PROBERS);
    keys.sort_unstable();
    keys.join(", ")
}

/// The first line of each bad file has, after `# expect: `, the expected error message without the file name.
#[test]
fn every_invalid_file_has_an_error_with_location_key_and_expectation() {
    let mut wrong = String::new();
    for file in fixtures("bad", 140) {
        let text = std::fs::read_to_string(&file).unwrap();
        let expected = text.lines().next().and_then(|first| first.strip_prefix("# expect: "));
        let expected = expected.map(|text| text.replace("{probers}", &PROBERS.join(", ")));
        let expected = expected.map(|text| text.replace("{keys of diagnostics}", &keys_of_diagnostics()));
        let expected = expected.map(|text| text.replace("{keys of a module}", &keys_of_a_module()));
        let said = load(&file).err().unwrap_or_else(|| "nothing: it loads".to_owned());
        let place = format!("error parsing config file: {}:", file.display());
        if expected.is_none() || expected.as_deref() != said.strip_prefix(&place) {
            writeln!(wrong, "expected {expected:?}, got {said}").unwrap();
        }
        assert!(!said.contains("not-to-be"), "the message contains a secret: {said}");
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn a_file_that_cannot_be_read_is_refused_with_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.yml");
    let said = || load(&file).unwrap_err();
    assert_eq!(
        said(),
        format!(
            "error reading config file {}: No such file or directory (os error 2)",
            file.display()
        )
    );
    std::fs::write(&file, b"modules:\n  a: {prober: http, http: {body: \xff}}\n").unwrap();
    assert_eq!(
        said(),
        format!(
            "error reading config file {}: the file is not valid UTF-8; save it as UTF-8",
            file.display()
        )
    );
    std::fs::write(&file, "").unwrap();
    assert_eq!(
        said(),
        format!(
            "error parsing config file: {}:1:1: the file is empty: expected at least \"modules: {{}}\"",
            file.display()
        )
    );
}

/// Known but unsupported keys by block, with the lines above them.
const UNSERVED: [(&str, &str, &[&str]); 4] = [
    (
        "modules.m.http.tls_config.",
        "modules:\n  m:\n    prober: http\n    http:\n      tls_config:\n        ",
        &["ca_ref", "cert_ref", "key_ref"],
    ),
    (
        "modules.m.http.basic_auth.",
        "modules:\n  m:\n    prober: http\n    http:\n      basic_auth:\n        ",
        &["username_ref", "password_ref"],
    ),
    (
        "modules.m.http.authorization.",
        "modules:\n  m:\n    prober: http\n    http:\n      authorization:\n        ",
        &["credentials_ref"],
    ),
    (
        "modules.m.http.oauth2.",
        "modules:\n  m:\n    prober: http\n    http:\n      oauth2:\n        ",
        &["client_secret_ref", "client_certificate_key_ref"],
    ),
];

#[test]
fn every_unsupported_key_is_rejected() {
    for (path, above, keys) in UNSERVED {
        for key in keys {
            for value in [" true", " 5", " [a]", "\n            a: b"] {
                let said = parse(&format!("{above}{key}:{value}\n")).unwrap_err();
                let (line, column) = (
                    above.lines().count().max(1),
                    above.lines().last().map_or(1, |last| last.len() + 1),
                );
                let plain = key.strip_suffix("_ref").unwrap();
                let words = format!("secret managers are not supported; use {plain}_file or {plain}");
                assert_eq!(said, format!("{line}:{column}: {path}{key}: {words}"), "{value:?}");
            }
        }
    }
}

#[test]
fn the_first_of_several_errors_is_reported() {
    let said = parse("modules:\n  z: {prober: tpc}\n  a: {prober: dsn}\n").unwrap_err();
    assert!(said.starts_with("2:15: modules.z.prober: "), "{said}");
    let said = parse("modules:\n  z: {promer: tcp}\n  a: {prober: [}\n").unwrap_err();
    assert!(said.starts_with("3:"), "invalid YAML has no first key: {said}");
}

#[test]
fn the_printed_configuration_has_the_parsed_types() {
    for (file, shown) in [
        (
            "yaml_1_1_booleans.yml",
            "modules:
  quoted:
    prober: http
    http:
      follow_redirects: false
      fail_if_ssl: true
  words:
    prober: http
    http:
      ip_protocol_fallback: false
      follow_redirects: true
      fail_if_ssl: true
      fail_if_not_ssl: false
      enable_http2: true
",
        ),
        (
            "null_leaves_defaults.yml",
            "modules:
  nothing_but_a_prober:
    prober: http
  nothing_in_any_key:
    prober: http
    http: {}
",
        ),
        (
            "only_the_first_document_is_read.yml",
            "modules:\n  first:\n    prober: http\n",
        ),
        ("nothing.yml", "{}\n"),
        ("no_modules.yml", "{}\n"),
        ("an_empty_document.yml", "{}\n"),
        ("bom.yml", "modules:\n  http_2xx:\n    prober: http\n"),
    ] {
        assert_eq!(good(file).to_yaml(), shown, "{file}");
    }
    let codes = "      valid_status_codes:\n      - 200\n      - 204\n      - 204\n      - 205\n      - 206\n";
    let shown = good("scalars_of_any_type.yml").to_yaml();
    assert!(shown.contains(codes) && shown.contains("username: \"0123\""), "{shown}");
}

#[test]
fn a_yaml_merge_adds_missing_keys() {
    let config = good("anchors_and_merges.yml");
    let names = ["base", "merged", "merged_deeper", "merged_from_two", "same"];
    assert_eq!(config.module_names(), names);
    assert_eq!(config.module_yaml("same"), config.module_yaml("base"));
    assert_eq!(
        config.module_yaml("merged"),
        config.module_yaml("base").replace("timeout: 5s", "timeout: 10s")
    );
    let deeper = config.module_yaml("merged_deeper");
    assert!(
        deeper.contains("method: PUT") && deeper.contains("- 204") && deeper.contains("X-Team"),
        "{deeper}"
    );
    assert!(!deeper.contains("timeout"), "{deeper}");
}

#[test]
fn thousands_of_modules_may_use_one_anchor() {
    let mut text = "modules:\n  base: &base {prober: http, http: {method: HEAD}}\n".to_owned();
    for number in 0..5000 {
        writeln!(text, "  m{number}: {{<<: *base, timeout: {number}ms}}").unwrap();
    }
    assert_eq!(parse(&text).unwrap().module_names().len(), 5001);
}

#[test]
fn the_printed_configuration_parses_to_the_same_value() {
    for file in fixtures("good", 30) {
        let shown = load(&file).unwrap().to_yaml();
        // A masked certificate is invalid, and a masked Accept-Encoding accepts no coding.
        if !shown.contains("tls_config") {
            let again = parse(&shown).unwrap_or_else(|problem| panic!("{}: {problem}\n{shown}", file.display()));
            assert_eq!(again.to_yaml(), shown, "{}", file.display());
        }
    }
}

/// The request of a module in a valid file.
async fn sent_by(file: &str, module: &str) -> Request {
    let text = std::fs::read_to_string(project("tests/fixtures/config/good").join(file)).unwrap();
    let exporter = Exporter::start(&text).await;
    let site = Site::start().await;
    exporter.probe(module, &site.url("/")).await;
    site.request()
}

#[tokio::test]
async fn text_values_are_sent_unchanged() {
    let request = sent_by("scalars_of_any_type.yml", "404").await;
    for (name, value) in [
        ("x-number", "8080"),
        ("x-version", "1.10"),
        ("x-octal", "0755"),
        ("x-flag", "yes"),
        ("x-date", "2026-01-01"),
        ("x-empty", ""),
        ("x-tagged", "5"),
    ] {
        assert_eq!(request.header(name), Some(value), "{name}");
    }
    assert_eq!(request.body, b"12.50");
    let basic = format!("Basic {}", BASE64.encode("0123:1e3"));
    assert_eq!(request.header("authorization"), Some(basic.as_str()));
}

#[tokio::test]
async fn a_body_may_have_any_lines_characters_and_bytes() {
    assert_eq!(sent_by("binary_body.yml", "ocsp").await.body, [0xff, 0xfe, 0x00, 0x01]);
    assert_eq!(sent_by("binary_body.yml", "text").await.body, b"hello");
    assert_eq!(sent_by("crlf.yml", "http_2xx").await.body, b"one\ntwo\n");
    let lines = sent_by("post_with_headers_and_body.yml", "http_put_lines").await;
    assert_eq!(
        (lines.method.as_str(), lines.body.as_slice()),
        ("PUT", &b"first line\nsecond line\n"[..])
    );
    let post = sent_by("post_with_headers_and_body.yml", "http_post_2xx").await;
    assert_eq!((post.method.as_str(), post.body.as_slice()), ("POST", &b"{}"[..]));
    assert_eq!(post.header("content-type"), Some("application/json"));
    assert_eq!(
        post.header("content-length"),
        Some("2"),
        "the Content-Length of the module must not be sent"
    );
    assert_eq!(post.header("x-name"), Some("Müller"));
}

#[tokio::test]
async fn merged_headers_are_sent_and_the_first_merge_wins() {
    let request = sent_by("anchors_and_merges.yml", "merged_from_two").await;
    assert_eq!(
        (request.header("x-team"), request.header("x-more")),
        (Some("probes"), Some("1"))
    );
    assert_eq!(sent_by("anchors_and_merges.yml", "merged_deeper").await.method, "PUT");
}

#[tokio::test]
async fn each_authentication_method_sends_its_header() {
    let basic = format!("Basic {}", BASE64.encode("username:mysecret"));
    let no_password = format!("Basic {}", BASE64.encode("1234:"));
    for (file, module, sent) in [
        ("basic_auth.yml", "http_basic_auth_example", basic.as_str()),
        ("basic_auth.yml", "only_a_user", &no_password),
        ("authorization.yml", "default_type", "Bearer token"),
        ("bearer_token.yml", "inline", "Bearer mysecret"),
        ("empty_texts_are_left_out.yml", "empty", "Basic dXNlcjo="),
    ] {
        assert_eq!(
            sent_by(file, module).await.header("authorization"),
            Some(sent),
            "{module}"
        );
    }
}

#[tokio::test]
async fn secret_files_are_relative_to_the_working_directory_and_read_for_each_probe() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    std::fs::copy(&authority.ca_file, folder.path().join("ca.pem")).unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "first\n").unwrap();
    let config = "
modules:
  token: {prober: http, http: {authorization: {type: Key, credentials_file: token}}}
  tls: {prober: http, http: {tls_config: {ca_file: ca.pem}}}
";
    std::fs::write(folder.path().join("blackbox.yml"), config).unwrap();
    let running = Running::start_in(folder, &[]).await;
    let site = Site::start().await;
    let probe =
        async |module: &str, target: &str| running.text(&format!("/probe?module={module}&target={target}")).await;

    probe("token", &site.url("/1")).await;
    std::fs::write(&token, "rotated").unwrap();
    probe("token", &site.url("/2")).await;
    let sent: Vec<_> = site.requests();
    let sent: Vec<_> = sent.iter().map(|request| request.header("authorization")).collect();
    assert_eq!(sent, [Some("Key first"), Some("Key rotated")]);
    std::fs::remove_file(&token).unwrap();
    let page = probe("token", &site.url("/3")).await;
    assert!(
        page.contains("\nprobe_success 0\n") && page.contains("local.file_unreadable"),
        "{page}"
    );
    assert_eq!(site.requests().len(), 2, "a probe without its token must send nothing");

    let secure = Peer::with_tls(authority.leaf("127.0.0.1").server(&[]), crate::support::peer::ok).await;
    let page = probe("tls", &secure.https()).await;
    assert!(page.contains("\nprobe_success 1\n"), "{page}");
}

/// Unique secrets, each in every encoding in which it could leak.
struct Canaries(Vec<(&'static str, String)>);

impl Canaries {
    fn spellings(&self) -> Vec<(&'static str, String)> {
        let mut spellings = Vec::new();
        for (name, secret) in &self.0 {
            spellings.push((*name, secret.clone()));
            spellings.push((*name, url::form_urlencoded::byte_serialize(secret.as_bytes()).collect()));
            for user in ["", "user:", "canary-user:"] {
                let encoded = BASE64.encode(format!("{user}{secret}"));
                // The last characters of base64 depend on the following bytes.
                spellings.push((*name, encoded[..encoded.len() - 4].to_owned()));
            }
        }
        spellings
    }

    fn assert_absent(&self, place: &str, text: &str) {
        assert!(!text.is_empty(), "{place} is empty");
        for (name, spelling) in self.spellings() {
            assert!(
                !text.contains(&spelling),
                "{place} shows the {name} as {spelling}:\n{text}"
            );
        }
    }
}

/// A server that records the request and returns it, in a form that depends on the path.
async fn echo() -> (Peer, Arc<Mutex<String>>) {
    let sent = Arc::<Mutex<String>>::default();
    let kept = sent.clone();
    let peer = Peer::start(move |mut stream| {
        let kept = kept.clone();
        async move {
            let head = String::from_utf8_lossy(&read_head(&mut stream).await).into_owned();
            kept.lock().unwrap().push_str(&head);
            let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
            let (line, headers) = head.split_once("\r\n").unwrap();
            let answer = match path.split('?').next().unwrap_or_default() {
                "/body" => format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{head}", head.len()),
                "/headers" => format!("HTTP/1.1 403 Forbidden\r\nX-Asked: {line}\r\n{headers}"),
                _ => head.clone(),
            };
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    })
    .await;
    (peer, sent)
}

/// Writes modules with a canary in every key that can hold a secret. Returns the canaries.
fn with_canaries(folder: &Path) -> Canaries {
    let authority = Authority::new();
    let (cert_file, key_file) = authority.files("client.test");
    let cert = std::fs::read_to_string(cert_file).unwrap();
    let key = std::fs::read_to_string(key_file).unwrap();
    let indented = |pem: &str| pem.trim().replace('\n', "\n          ");
    std::fs::write(folder.join("password"), "canary-password-in-a-file").unwrap();
    std::fs::write(folder.join("token"), "canary-token-in-a-file").unwrap();
    let config = format!(
        "
modules:
  basic: {{prober: http, http: {{basic_auth: {{username: user, password: canary-password}}}}}}
  basic_file: {{prober: http, http: {{basic_auth: {{username: user, password_file: password}}}}}}
  bearer: {{prober: http, http: {{bearer_token: canary-bearer-token}}}}
  bearer_file: {{prober: http, http: {{bearer_token_file: token}}}}
  authorization: {{prober: http, http: {{authorization: {{credentials: canary-credentials}}}}}}
  loaded:
    prober: http
    http:
      method: POST
      headers:
        X-Api-Key: canary-api-key
        Cookie: session=canary-cookie
        Authorization: Custom canary-header
        X-Anything: canary-other-header
      body: secret=canary-body
      tls_config:
        cert: |
          {}
        key: |
          {}
",
        indented(&cert),
        indented(&key)
    );
    std::fs::write(folder.join("blackbox.yml"), config).unwrap();
    let line_of_key = key.lines().nth(1).unwrap();
    let secrets = [
        ("password", "canary-password"),
        ("password of a file", "canary-password-in-a-file"),
        ("token of a file", "canary-token-in-a-file"),
        ("bearer token", "canary-bearer-token"),
        ("credentials", "canary-credentials"),
        ("X-Api-Key", "canary-api-key"),
        ("Cookie", "canary-cookie"),
        ("Authorization", "canary-header"),
        ("other header", "canary-other-header"),
        ("body", "canary-body"),
        ("client's key", line_of_key),
        ("target's password", "canary-userinfo"),
        ("target's query", "canary-query"),
        ("target's fragment", "canary-fragment"),
    ];
    Canaries(secrets.map(|(name, secret)| (name, secret.to_owned())).to_vec())
}

const MODULES: [&str; 6] = [
    "basic",
    "basic_file",
    "bearer",
    "bearer_file",
    "authorization",
    "loaded",
];

/// Probes these paths of an [`echo`] server with every module, and checks every page.
async fn assert_no_canary_of(paths: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let canaries = with_canaries(folder.path());
    let running = Running::start_in(folder, &["--log.level=debug", "--log.prober=debug"]).await;
    let (peer, sent) = echo().await;
    for module in MODULES {
        for path in paths {
            let host = format!("canary-user:canary-userinfo@{}", peer.address);
            let target = format!("http://{host}{path}?token=canary-query#canary-fragment");
            canaries.assert_absent_after(&running, module, &target).await;
            // No userinfo, so that the module's credentials are sent.
            let target = format!("http://{}{path}", peer.address);
            canaries.assert_absent_after(&running, module, &target).await;
        }
        let invalid = "http://canary-user:canary-userinfo@[::1/?canary-query";
        canaries.assert_absent_after(&running, module, invalid).await;
    }
    for secret in [
        &BASE64.encode("user:canary-password"),
        &BASE64.encode("canary-user:canary-userinfo"),
        "canary-token-in-a-file",
        "canary-credentials",
        "canary-api-key",
        "canary-query",
    ] {
        assert!(
            sent.lock().unwrap().contains(secret),
            "{secret} was never sent, so this test checks nothing"
        );
    }
    for path in ["/", "/config", "/metrics"] {
        canaries.assert_absent(path, &running.text(path).await);
    }
    let config = running.text("/config").await;
    assert!(
        config.contains("X-Api-Key: <secret>") && config.contains("password: <secret>"),
        "{config}"
    );
    let log = running.whole_log().await;
    canaries.assert_absent("the log", &log);
    assert!(log.contains("Probe failed"), "{log}");
}

impl Canaries {
    /// Probes with and without `debug`, and checks everything that the exporter keeps.
    async fn assert_absent_after(&self, running: &Running, module: &str, target: &str) {
        let encoded: String = url::form_urlencoded::byte_serialize(target.as_bytes()).collect();
        for debug in ["", "&debug=true"] {
            let answer = running
                .get(&format!("/probe?module={module}&target={encoded}{debug}"))
                .await;
            let id = answer.headers()["x-glassbox-evidence"].to_str().unwrap().to_owned();
            let place = format!("{module} at {target}{debug}");
            self.assert_absent(&place, &answer.text().await.unwrap());
            let evidence = running.text(&format!("/evidence/{id}.json")).await;
            assert!(serde_json::from_str::<Value>(&evidence).is_ok(), "{evidence}");
            self.assert_absent(&format!("the evidence of {place}"), &evidence);
            let logs = running.text(&format!("/logs?id={id}")).await;
            self.assert_absent(&format!("the logs of {place}"), &logs);
        }
    }
}

#[tokio::test]
async fn no_secret_is_shown_anywhere() {
    assert_no_canary_of(&["/body", "/headers"]).await;
}

#[tokio::test]
async fn the_first_bytes_of_an_invalid_response_show_no_secret() {
    assert_no_canary_of(&["/garbage"]).await;
}

#[tokio::test]
async fn the_log_of_a_rejected_configuration_has_no_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let canaries = with_canaries(folder.path());
    let file = folder.path().join("blackbox.yml");
    let mut running = Running::start_in(folder, &["--log.level=debug"]).await;
    let lines = [
        "basic_auth: canary-password",
        "basic_auth: {password: [canary-password]}",
        "basic_auth: {password: {canary-password: a}}",
        "basic_auth: {password: canary-password, password_file: a}",
        "basic_auth: {password:canary-password}",
        "headers: {X-Api-Key: [canary-api-key]}",
        "headers: {X-Api-Key:canary-api-key}",
        "headers: {X-Api-Key: \"canary-api-key\\n\"}",
        "headers: canary-api-key",
        "bearer_token: \"canary-bearer-token\\n\"",
        "authorization: {credentials: \"canary-credentials\\x01\"}",
        "body: [canary-body]",
        "tls_config: {cert: a, key: canary-userinfo}",
        "tls_config: {key: canary-userinfo}",
        "tls_config: {key: [canary-userinfo]}",
    ];
    for (number, line) in lines.iter().enumerate() {
        std::fs::write(
            &file,
            format!("modules:\n  a:\n    prober: http\n    http:\n      {line}\n"),
        )
        .unwrap();
        running.process.signal("HUP");
        eventually("refused", async || {
            running.log().matches("Error reloading config").count() == number + 1
        })
        .await;
    }
    canaries.assert_absent("the log", &running.log());
    assert_eq!(running.process.0.try_wait().unwrap(), None);
}

/// Output and exit code of a `config` subcommand for a file.
fn config_command(command: &str, text: &str) -> (String, Option<i32>) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("glassbox.yml"), text).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_glassbox_exporter"))
        .args(["config", command, "glassbox.yml"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    (String::from_utf8(output.stdout).unwrap(), output.status.code())
}

#[test]
fn config_check_reports_all_errors() {
    let (said, code) = config_command(
        "check",
        "modules:
  a:
    prober: http
    tmeout: 5s
    http:
      preferred_ip_protocol: ipv4
      methd: GET
      valid_status_codes: [2xx, 200, abc]
  g: {prober: grcp}
  h:
    prober: http
    http: {compression: zip}
limits: {leases: -1}
",
    );
    assert_eq!(
        said,
        "glassbox.yml:4:5: modules.a.tmeout: unknown key; did you mean timeout? [error]
glassbox.yml:7:7: modules.a.http.methd: unknown key; did you mean method? [error]
glassbox.yml:8:28: modules.a.http.valid_status_codes: invalid integer \"2xx\": expected a whole number such as 200 [error]
glassbox.yml:8:38: modules.a.http.valid_status_codes: invalid integer \"abc\": expected a whole number such as 200 [error]
glassbox.yml:9:15: modules.g.prober: prober \"grcp\" is not valid: expected one of http, tcp, unix, dns, icmp, grpc, websocket [error]
glassbox.yml:12:25: modules.h.http.compression: invalid compression \"zip\": expected gzip, deflate, br, zstd or identity [error]
glassbox.yml:13:18: limits.leases: invalid value \"-1\": expected a number from 0 to 10000000 [error]
glassbox.yml:6:30: modules.a.http.preferred_ip_protocol: \"ipv4\" means ip4, as in blackbox_exporter; write ip4 or ip6 [warning]
glassbox.yml: 7 errors, 1 warning
"
    );
    assert_eq!(code, Some(1));
    let (said, code) = config_command("check", "modules: {m: {prober: http}}");
    assert_eq!((said.as_str(), code), ("glassbox.yml: 0 errors, 0 warnings\n", Some(0)));
}

/// Surprising behavior that `blackbox_exporter` has without a warning. The exporter does the same and warns.
const SURPRISES: [(&str, &str); 23] = [
    (
        "{prober: http, http: {valid_status_codes: [200, 1000]}}",
        "no response has the status 1000",
    ),
    (
        "{prober: http, http: {valid_status_codes: [-1]}}",
        "no response has the status -1",
    ),
    (
        "{prober: http, tcp: {}}",
        "tcp: this block has no effect: the module's prober is http",
    ),
    (
        "{prober: http, http: {preferred_ip_protocol: ipv6}}",
        "\"ipv6\" means ip4",
    ),
    ("{prober: tcp, tcp: {preferred_ip_protocol: v4}}", "\"v4\" means ip4"),
    ("{prober: icmp, icmp: {preferred_ip_protocol: v4}}", "\"v4\" means ip4"),
    ("{prober: grpc, grpc: {preferred_ip_protocol: v4}}", "\"v4\" means ip4"),
    (
        "{prober: websocket, websocket: {preferred_ip_protocol: v4}}",
        "\"v4\" means ip4",
    ),
    (
        "{prober: http, http: {no_follow_redirects: true}}",
        "the inverse of follow_redirects",
    ),
    (
        "{prober: http, http: {valid_http_versions: [HTTP/2]}}",
        "no response has the version \"HTTP/2\"",
    ),
    (
        "{prober: http, http: {headers: {Content-Length: 5}}}",
        "this field is not sent",
    ),
    (
        "{prober: http, http: {http_headers: {Transfer-Encoding: {values: [chunked]}}}}",
        "http_headers.Transfer-Encoding: this field is not sent",
    ),
    (
        "{prober: websocket, websocket: {headers: {Trailer: {values: [a]}}}}",
        "websocket.headers.Trailer: this field is not sent",
    ),
    (
        "{prober: http, http: {tls_config: {max_version: TLS11}}}",
        "no TLS version is enabled",
    ),
    (
        "{prober: http, http: {enable_http2: false, enable_http3: true}}",
        "this module changes http targets to https",
    ),
    (
        "{prober: http, http: {enable_http2: false, enable_http3: true, proxy_url: 'http://a'}}",
        "HTTP/3 requests do not use a proxy",
    ),
    ("{prober: dns}", "the query is for all records of the root"),
    (
        "{prober: dns, dns: {query_name: a..b.test}}",
        "dns.query_name: every probe fails: \"a..b.test\" is not a valid name: it contains an empty label",
    ),
    (
        "{prober: dns, dns: {query_name: .a.test}}",
        "dns.query_name: every probe fails",
    ),
    (
        "{prober: dns, dns: {query_name: a, validate_authority_rrs: {fail_if_all_match_regexp: [a]}}}",
        "dns.validate_authority_rrs.fail_if_all_match_regexp: despite its name, this assertion fails unless all",
    ),
    ("{prober: grpc}", "without this block ip_protocol_fallback is false"),
    (
        "{prober: websocket, websocket: {http_config: {proxy_url: 'http://a'}}}",
        "http_config.proxy_url: this key has no effect in a websocket module",
    ),
    (
        "{prober: websocket, websocket: {query_response: [{send: a, starttls: true}]}}",
        "starttls: this key has no effect in a websocket step",
    ),
];

#[test]
fn surprising_values_are_accepted_with_a_warning() {
    for (module, words) in SURPRISES {
        let config = Config::parse(&format!("modules: {{m: {module}}}"), Defaults::default()).unwrap();
        let told: Vec<_> = config.warnings().iter().map(ToString::to_string).collect();
        assert!(told.iter().any(|warning| warning.contains(words)), "{module}: {told:?}");
    }
    for (name, text) in [
        ("the example", example("glassbox.yml")),
        ("typical modules", example("modules.yml")),
    ] {
        let config = Config::parse(&text, Defaults::default()).unwrap();
        assert!(config.warnings().is_empty(), "{name}: {:?}", config.warnings());
    }
}

#[test]
fn explicit_defaults_equal_missing_keys() {
    for module in [
        "{prober: http}",
        "{prober: tcp}",
        "{prober: unix}",
        "{prober: dns, dns: {query_name: a}}",
        "{prober: icmp}",
        "{prober: grpc, grpc: {}}",
        "{prober: grpc}",
        "{prober: websocket}",
    ] {
        let text = format!("modules: {{m: {module}}}");
        let written = Config::parse(&text, Defaults::default()).unwrap();
        let explained = Config::parse(&written.explain(), Defaults::default()).unwrap();
        let runs = |config: &Config| format!("{:#?}", config.module("m").unwrap());
        assert_eq!(runs(&explained), runs(&written), "{module}");
        assert!(explained.to_yaml().lines().count() > 5, "{}", explained.to_yaml());
    }
    let (said, code) = config_command(
        "explain",
        "modules: {m: {prober: http, http: {method: POST, bearer_token: secret-token, tls_config: {server_name: a}}}}",
    );
    assert_eq!(code, Some(0));
    assert!(
        said.starts_with("# m: 86 histogram and counter series per target, 99 over TLS"),
        "{said}"
    );
    for line in [
        "method: POST",
        "follow_redirects: true",
        "bearer_token: <secret>",
        "server_name: a",
        "min_version: TLS12",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
}

#[test]
fn a_password_in_a_proxys_url_is_never_shown() {
    for url in [
        "http://user:s3cret@proxy.test:3128",
        "user:s3cret@proxy.test:3128",
        "s3cret@proxy.test",
    ] {
        for keys in [
            format!("proxy_url: '{url}'"),
            format!("oauth2: {{client_id: a, token_url: 'http://t/', proxy_url: '{url}'}}"),
        ] {
            let config = Config::parse(
                &format!("modules: {{m: {{prober: http, http: {{{keys}}}}}}}"),
                Defaults::default(),
            );
            let shown = config.unwrap().to_yaml();
            let password = url.contains(':').then(|| shown.contains(":s3cret"));
            assert!(password != Some(true), "{shown}");
        }
    }
}
