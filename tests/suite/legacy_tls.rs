//! Servers that the exporter's first TLS library does not support. The exporter inspects them, and connects with the
//! second library if `blackbox_exporter` 0.28 would connect. Without the Cargo feature `legacy-tls`, the verdict states
//! that the build lacks it.

use crate::support::exporter::{Exporter, Probed};
use crate::support::old_tls::OldTls;
use crate::support::peer::{Peer, ok, reset};
use crate::support::pki::{Authority, self_signed};
use crate::support::process::{Process, free_port};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Whether the build has the second library.
const SECOND_LIBRARY: bool = cfg!(feature = "legacy-tls");

/// Modules and the versions in their `tls_config`.
const MODULES: [(&str, &str); 8] = [
    ("default", ""),
    ("from10", "min_version: TLS10"),
    ("from11", "min_version: TLS11"),
    ("only10", "min_version: TLS10, max_version: TLS10"),
    ("to11", "min_version: TLS10, max_version: TLS11"),
    ("to12", "max_version: TLS12"),
    ("from13", "min_version: TLS13"),
    ("no_version", "max_version: TLS11"),
];

fn modules(more: &str) -> String {
    let module = |(name, versions): &(&str, &str)| {
        let keys = format!(
            "insecure_skip_verify: true{}{versions}",
            if versions.is_empty() { "" } else { ", " }
        );
        format!("  {name}: {{prober: http, timeout: 10s, http: {{tls_config: {{{keys}}}}}}}\n")
    };
    format!("modules:\n{}{more}", MODULES.iter().map(module).collect::<String>())
}

fn verdict(probed: &Probed) -> [&str; 3] {
    ["link", "reason", "certainty"].map(|key| probed.evidence["verdict"][key].as_str().unwrap_or("none"))
}

fn detail(probed: &Probed) -> &str {
    probed.evidence["target"]["fault"]["detail"]
        .as_str()
        .unwrap_or_default()
}

/// Asserts that the probe succeeded with this version and suite through the second library, or that the verdict names
/// them and states that the build lacks the library.
fn assert_connected(probed: &Probed, version: &str, suite: &str) {
    let words = format!("{:#}", probed.evidence);
    if !SECOND_LIBRARY {
        assert_eq!(
            verdict(probed),
            ["local", "local.tls_unsupported", "certain"],
            "{words}"
        );
        assert!(detail(probed).contains("legacy-tls"), "{words}");
        return;
    }
    assert_eq!(probed.page.value("probe_success"), 1.0, "{words}");
    let exchange = &probed.evidence["target"]["exchanges"][0];
    assert_eq!(exchange["tls"]["version"], version, "{words}");
    assert_eq!(exchange["tls"]["cipher"], suite, "{words}");
    assert_eq!(
        probed
            .page
            .value(&format!("probe_tls_version_info{{version=\"{version}\"}}")),
        1.0
    );
    assert_eq!(
        probed
            .page
            .value(&format!("probe_tls_cipher_info{{cipher=\"{suite}\"}}")),
        1.0
    );
}

#[tokio::test]
async fn servers_that_blackbox_exporter_supports_are_supported() {
    let authority = Authority::new();
    let (old, exporter) = tokio::join!(OldTls::start(&authority), async { Exporter::start(&modules("")).await });
    for (server, module, version, suite) in [
        ("cbc_rsa", "default", "TLS 1.2", "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA"),
        ("cbc_rsa", "to12", "TLS 1.2", "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA"),
        (
            "cbc_ecdsa",
            "default",
            "TLS 1.2",
            "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
        ),
        ("cbc_http2", "default", "TLS 1.2", "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA"),
        (
            "prefers_rsa",
            "default",
            "TLS 1.2",
            "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
        ),
        ("tls10", "from10", "TLS 1.0", "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA"),
        ("tls10", "only10", "TLS 1.0", "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA"),
        ("tls10_ecdsa", "to11", "TLS 1.0", "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA"),
        ("tls11", "from10", "TLS 1.1", "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA"),
        ("tls11", "from11", "TLS 1.1", "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA"),
        ("tls10_to_12", "to11", "TLS 1.1", "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA"),
        ("tls10_to_12", "only10", "TLS 1.0", "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA"),
    ] {
        let probed = exporter.probe(module, &old.url(server)).await;
        assert_connected(&probed, version, suite);
        let inspection = &probed.evidence["target"]["exchanges"][0]["tls_inspection"];
        // If the first library supports none of the versions, the second library connects at once.
        let at_once = ["only10", "to11"].contains(&module);
        assert_eq!(inspection.is_null(), at_once, "{server} {module}: {inspection:#}");
        if !at_once {
            assert_eq!(inspection["blackbox_exporter_connects"], true);
            assert_eq!(inspection["repeated_with_second_library"], SECOND_LIBRARY);
            let chose = inspection["answer"].as_str().unwrap();
            assert!(chose.starts_with(version), "{server}: {chose}");
        }
    }
    // The first library connects to the servers that it supports.
    for (server, module) in [
        ("usual", "default"),
        ("usual", "from10"),
        ("tls12_p521", "default"),
        ("tls13_p521", "default"),
        ("tls13", "from13"),
        ("tls10_to_12", "from10"),
    ] {
        let probed = exporter.probe(module, &old.url(server)).await;
        assert_eq!(probed.page.value("probe_success"), 1.0, "{:#}", probed.evidence);
        assert!(probed.evidence["target"]["exchanges"][0]["tls_inspection"].is_null());
    }
    let http2 = exporter.probe("default", &old.url("cbc_http2")).await;
    assert_eq!(
        http2.page.value("probe_http_version"),
        if SECOND_LIBRARY { 2.0 } else { 0.0 }
    );
}

#[tokio::test]
async fn servers_that_blackbox_exporter_rejects_are_a_mismatch() {
    let authority = Authority::new();
    let (old, exporter) = tokio::join!(OldTls::start(&authority), async { Exporter::start(&modules("")).await });
    for (server, module, chose) in [
        (
            "cbc_sha256",
            "default",
            "TLS 1.2, TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384",
        ),
        (
            "rsa_key_exchange",
            "default",
            "TLS 1.2, TLS_RSA_WITH_AES_128_GCM_SHA256",
        ),
        ("dhe", "default", "TLS 1.2, TLS_DHE_RSA_WITH_AES_128_GCM_SHA256"),
        ("tls10", "default", "TLS 1.0, TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA"),
        ("tls10", "from11", "TLS 1.0, TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA"),
        (
            "tls10_rsa_key_exchange",
            "from10",
            "TLS 1.0, TLS_RSA_WITH_AES_128_CBC_SHA",
        ),
        ("tls11", "default", "TLS 1.1, TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA"),
        ("cbc_rsa", "from13", "TLS 1.2, TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA"),
        (
            "tls13_x448",
            "default",
            "TLS 1.3, TLS_AES_128_GCM_SHA256, key exchange in X448",
        ),
        ("tls13", "to12", "TLS 1.3, TLS_AES_128_GCM_SHA256"),
    ] {
        let probed = exporter.probe(module, &old.url(server)).await;
        let words = format!("{server} {module}: {:#}", probed.evidence);
        assert_eq!(
            verdict(&probed),
            ["tls", "tls.version_or_cipher_mismatch", "certain"],
            "{words}"
        );
        assert!(detail(&probed).contains(chose), "{words}");
        let inspection = &probed.evidence["target"]["exchanges"][0]["tls_inspection"];
        assert_eq!(inspection["answer"], chose, "{words}");
        assert_eq!(inspection["blackbox_exporter_connects"], false, "{words}");
        assert!(!probed.page.starting("probe_tls_version_info").any(|_| true), "{words}");
    }
}

#[tokio::test]
async fn a_module_for_tls_below_1_2_probes_a_newer_server() {
    let authority = Authority::new();
    let (old, exporter) = tokio::join!(OldTls::start(&authority), async { Exporter::start(&modules("")).await });
    let newer = exporter.probe("to11", &old.url("cbc_rsa")).await;
    let words = format!("{:#}", newer.evidence);
    if SECOND_LIBRARY {
        assert_eq!(
            verdict(&newer),
            ["tls", "tls.version_or_cipher_mismatch", "certain"],
            "{words}"
        );
        assert!(
            detail(&newer).contains("TLS 1.2, TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA"),
            "{words}"
        );
    } else {
        assert_eq!(
            verdict(&newer),
            ["local", "local.tls_unsupported", "certain"],
            "{words}"
        );
    }
    // As in blackbox_exporter, the default min_version leaves no version: nothing is sent, and other modules work.
    let none = exporter.probe("no_version", &old.url("tls11")).await;
    assert_eq!(
        verdict(&none),
        ["local", "local.tls_unsupported", "certain"],
        "{:#}",
        none.evidence
    );
    assert!(detail(&none).contains("Set min_version"), "{}", detail(&none));
    assert_eq!(none.evidence["target"]["exchanges"][0]["bytes_written"], 0);
}

#[tokio::test]
async fn the_certificate_is_verified_before_the_request() {
    let (authority, other) = (Authority::new(), Authority::named("Other Authority"));
    let old = OldTls::start(&authority).await;
    let module = |name: &str, ca: &Authority, more: &str| {
        let ca = ca.ca_file.display();
        format!("  {name}: {{prober: http, http: {{tls_config: {{ca_file: {ca}, min_version: TLS10{more}}}}}}}\n")
    };
    let config = [
        module("trusting", &authority, ""),
        module("renamed", &authority, ", server_name: other.test"),
        module("stranger", &other, ""),
    ];
    let exporter = Exporter::start(&format!("modules:\n{}", config.concat())).await;
    for (server, version, suite) in [
        ("cbc_ecdsa", "TLS 1.2", "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA"),
        ("tls10_ecdsa", "TLS 1.0", "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA"),
    ] {
        let probed = exporter.probe("trusting", &old.url(server)).await;
        assert_connected(&probed, version, suite);
        if !SECOND_LIBRARY {
            continue;
        }
        let chain = &probed.evidence["target"]["exchanges"][0]["tls"];
        assert!(chain["verified_until"].is_i64(), "{chain:#}");
        for (module, reason) in [
            ("renamed", "tls.cert.name_invalid"),
            ("stranger", "tls.cert.authority_invalid"),
        ] {
            let probed = exporter.probe(module, &old.url(server)).await;
            let words = format!("{server} {module}: {:#}", probed.evidence);
            assert_eq!(verdict(&probed), ["tls", reason, "certain"], "{words}");
            let exchange = &probed.evidence["target"]["exchanges"][0];
            assert!(
                exchange["method"].is_null() && exchange["above_tls"]["first_write_seconds"].is_null(),
                "{words}"
            );
            assert_eq!(exchange["tls"]["chain"].as_array().unwrap().len(), 1, "{words}");
        }
    }
}

/// `openssl s_server`, which requires a client certificate and serves a page.
async fn demanding(authority: &Authority, old: &OldTls) -> (Process, u16) {
    let port = free_port();
    let mut process = Process::start(
        Command::new("openssl")
            .args([
                "s_server",
                "-www",
                "-tls1_2",
                "-cipher",
                "ECDHE-RSA-AES128-SHA",
                "-Verify",
                "1",
                "-verify_return_error",
            ])
            .args(["-accept", &format!("127.0.0.1:{port}"), "-CAfile"])
            .arg(&authority.ca_file)
            .arg("-cert")
            .arg(&old.rsa.0)
            .arg("-key")
            .arg(&old.rsa.1)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null()),
    );
    process.listens(port).await;
    (process, port)
}

#[tokio::test]
async fn the_second_library_sends_the_client_certificate() {
    let (authority, clients) = (Authority::new(), Authority::named("Clients"));
    let old = OldTls::start(&authority).await;
    let (_process, port) = demanding(&clients, &old).await;
    let (cert, key) = clients.files("client.test");
    let config = format!(
        "modules:\n\
         \x20 with: {{prober: http, http: {{tls_config: {{insecure_skip_verify: true, cert_file: {}, key_file: {}}}}}}}\n\
         \x20 without: {{prober: http, http: {{tls_config: {{insecure_skip_verify: true}}}}}}\n\
         \x20 stranger: {{prober: http, http: {{tls_config: {{ca_file: {}, cert_file: {}, key_file: {}}}}}}}\n",
        cert.display(),
        key.display(),
        clients.ca_file.display(),
        cert.display(),
        key.display(),
    );
    let exporter = Exporter::start(&config).await;
    let target = format!("https://127.0.0.1:{port}/");
    let with = exporter.probe("with", &target).await;
    assert_connected(&with, "TLS 1.2", "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA");
    if SECOND_LIBRARY {
        let without = exporter.probe("without", &target).await;
        assert_eq!(
            verdict(&without),
            ["tls", "tls.client_cert", "certain"],
            "{:#}",
            without.evidence
        );
        // The client certificate is not sent to a server whose certificate was rejected.
        let stranger = exporter.probe("stranger", &target).await;
        assert_eq!(
            verdict(&stranger),
            ["tls", "tls.cert.self_signed", "certain"],
            "{:#}",
            stranger.evidence
        );
    }
}

/// Forwards a connection to a port, after a STARTTLS dialogue if `starttls`.
async fn passed_on(mut from: TcpStream, port: u16, starttls: bool) {
    if starttls {
        from.write_all(b"220 hello\r\n").await.unwrap();
        let mut line = [0; 256];
        let _ = from.read(&mut line).await;
        from.write_all(b"220 go on\r\n").await.unwrap();
    }
    let mut to = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let _ = tokio::io::copy_bidirectional(&mut from, &mut to).await;
}

#[tokio::test]
async fn a_failed_second_connection_gives_no_certain_verdict() {
    let authority = Authority::new();
    let old = OldTls::start(&authority).await;
    let module = |name: &str, tls: &str| {
        let steps = "query_response: [{expect: '^220'}, {send: STARTTLS}, {expect: '^220'}, {starttls: true}]";
        format!("  {name}: {{prober: tcp, tcp: {{{steps}, tls_config: {{insecure_skip_verify: true{tls}}}}}}}\n")
    };
    let exporter = Exporter::start(&format!(
        "modules:\n{}{}",
        module("default", ""),
        module("from10", ", min_version: TLS10")
    ))
    .await;
    for (server, module) in [
        ("cbc_rsa", "default"),
        ("tls10", "default"),
        ("tls10_rsa_key_exchange", "from10"),
    ] {
        let port = old.port(server);
        let peer = Peer::start(move |stream| passed_on(stream, port, true)).await;
        let probed = exporter.probe(module, &peer.address.to_string()).await;
        let words = format!("{server}: {:#}", probed.evidence);
        assert_eq!(
            verdict(&probed),
            ["tls", "tls.version_or_cipher_mismatch", "likely"],
            "{words}"
        );
        if module == "default" {
            assert!(detail(&probed).contains("STARTTLS"), "{words}");
        }
        assert_eq!(peer.connections(), 1);
    }
    // A module that explicitly allows older versions uses the second library at once.
    if SECOND_LIBRARY {
        let port = old.port("tls10");
        let peer = Peer::start(move |stream| passed_on(stream, port, true)).await;
        let probed = exporter.probe("from10", &peer.address.to_string()).await;
        assert_eq!(probed.page.value("probe_success"), 1.0, "{:#}", probed.evidence);
        assert_eq!(probed.page.value("probe_tls_version_info{version=\"TLS 1.0\"}"), 1.0);
    }
}

/// Reads a hello and responds with an alert.
async fn alert(mut stream: TcpStream, description: u8) {
    let _ = stream.read(&mut [0; 4096]).await;
    let _ = stream.write_all(&[21, 3, 3, 0, 2, 2, description]).await;
    let _ = stream.shutdown().await;
}

#[tokio::test]
async fn alerts_that_are_not_about_versions() {
    let exporter = Exporter::start(&modules("")).await;
    for (description, connections, expected) in [
        // Every hello is rejected, so the cause is not a version or suite.
        (40, 3, ["tls", "tls.alert", "certain"]),
        (80, 3, ["tls", "tls.alert", "certain"]),
        // The alert names the version as the cause for every offer.
        (70, 3, ["tls", "tls.version_or_cipher_mismatch", "certain"]),
        // The alert is about the name or a certificate.
        (112, 1, ["tls", "tls.alert", "certain"]),
        (116, 1, ["tls", "tls.client_cert", "certain"]),
    ] {
        let peer = Peer::start(move |stream| alert(stream, description)).await;
        let probed = exporter.probe("default", &peer.https()).await;
        assert_eq!(verdict(&probed), expected, "alert {description}: {:#}", probed.evidence);
        assert_eq!(peer.connections(), connections, "alert {description}");
    }
}

/// A server with one behavior for the first connection and another for later ones.
async fn changing<F: Future<Output = ()> + Send>(
    first: impl Fn(TcpStream) -> F + Send + Sync + 'static,
    later: u16,
) -> Peer {
    let (count, first) = (Arc::new(AtomicUsize::new(0)), Arc::new(first));
    Peer::start(move |stream| {
        let (number, first) = (count.fetch_add(1, Ordering::SeqCst), first.clone());
        async move {
            match number {
                0 => first(stream).await,
                _ => passed_on(stream, later, false).await,
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_server_that_changes_gives_no_certain_verdict() {
    let healthy = Peer::with_tls(self_signed("127.0.0.1").server(&[]), ok).await;
    let exporter = Exporter::start(&modules("")).await;
    // Rejected once, then accepted with the same suites: one of several servers may be at fault.
    let flaky = changing(|stream| alert(stream, 40), healthy.address.port()).await;
    let probed = exporter.probe("default", &flaky.https()).await;
    assert_eq!(
        verdict(&probed),
        ["tls", "tls.alert", "likely"],
        "{:#}",
        probed.evidence
    );
    assert!(detail(&probed).contains("not the cause"));
    // Rejected once, then unreachable.
    let gone = changing(|stream| alert(stream, 40), 1).await;
    let probed = exporter.probe("default", &gone.https()).await;
    assert_eq!(verdict(&probed)[2], "likely", "{:#}", probed.evidence);
    // Rejected once, then silent: the probe keeps its deadline.
    let silent = Peer::start(|stream| async move {
        tokio::time::sleep(Duration::from_mins(1)).await;
        drop(stream);
    })
    .await;
    let silent = changing(|stream| alert(stream, 40), silent.address.port()).await;
    let probed = exporter.probe("default", &silent.https()).await;
    assert_eq!(
        verdict(&probed),
        ["tls", "tls.version_or_cipher_mismatch", "likely"],
        "{:#}",
        probed.evidence
    );
    assert!(detail(&probed).contains("would choose failed"), "{}", detail(&probed));
}

#[tokio::test]
async fn a_close_without_a_byte_is_inspected_and_keeps_its_verdict() {
    let exporter = Exporter::start(&modules("")).await;
    let dead = Peer::start(|stream| async move { reset(&stream) }).await;
    let probed = exporter.probe("default", &dead.https()).await;
    assert_ne!(
        verdict(&probed)[1],
        "tls.version_or_cipher_mismatch",
        "{:#}",
        probed.evidence
    );
    assert_eq!(dead.connections(), 2);
    // A server that closes the connection if it supports none of the offered suites, as some old servers do.
    let authority = Authority::new();
    let old = OldTls::start(&authority).await;
    let closing = changing(
        |mut stream| async move {
            let _ = stream.read(&mut [0; 4096]).await;
        },
        old.port("cbc_rsa"),
    )
    .await;
    let probed = exporter.probe("default", &closing.https()).await;
    assert_connected(&probed, "TLS 1.2", "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA");
}

#[tokio::test]
async fn the_phase_tls_is_the_handshake_that_succeeded() {
    const LATE: Duration = Duration::from_millis(300);
    if !SECOND_LIBRARY {
        return;
    }
    let authority = Authority::new();
    let (old, exporter) = tokio::join!(OldTls::start(&authority), async { Exporter::start(&modules("")).await });
    let slow = changing(
        |mut stream| async move {
            let _ = stream.read(&mut [0; 4096]).await;
            tokio::time::sleep(LATE).await;
            let _ = stream.write_all(&[21, 3, 3, 0, 2, 2, 40]).await;
        },
        old.port("cbc_rsa"),
    )
    .await;
    let probed = exporter.probe("default", &slow.https()).await;
    assert_connected(&probed, "TLS 1.2", "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA");
    let timings = probed.evidence["target"]["exchanges"][0]["phases"]
        .as_array()
        .unwrap()
        .clone();
    let timing = |phase: &str| timings.iter().find(|timing| timing["phase"] == phase).unwrap();
    let at = |phase: &str| timing(phase)["start_seconds"].as_f64().unwrap();
    let ended = at("connect") + timing("connect")["duration_seconds"].as_f64().unwrap();
    assert!(at("tls") - ended >= LATE.as_secs_f64(), "{timings:#?}");
    let phases: Vec<_> = timings.iter().map(|timing| timing["phase"].as_str().unwrap()).collect();
    assert_eq!(
        phases,
        ["resolve", "connect", "tls", "request", "processing", "transfer"]
    );
}
