//! Servers that require a client certificate, and servers that only appear to.

use crate::support::exporter::{Exporter, Probed};
use crate::support::peer::{Peer, ok};
use crate::support::pki::{Authority, Leaf};
use crate::support::process::{Process, free_port};
use rcgen::ExtendedKeyUsagePurpose;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

fn verdict(probed: &Probed) -> (&str, &str, &str) {
    let verdict = &probed.evidence["verdict"];
    let word = |key: &str| verdict[key].as_str().unwrap_or("none");
    (word("link"), word("reason"), word("certainty"))
}

/// The keys of a module with a client certificate.
fn shows(leaf: &Leaf, folder: &Path, name: &str) -> String {
    let (certificate, key) = leaf.files(folder, name);
    format!("cert_file: '{}', key_file: '{}'", certificate.display(), key.display())
}

fn for_clients(params: &mut rcgen::CertificateParams) {
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
}

/// An nginx with servers that require a client certificate or only appear to. It is stopped on drop.
struct Nginx {
    _process: Process,
    /// Ports that require a certificate, with TLS 1.3 and 1.2.
    strict: [u16; 2],
    /// Port that requests no certificate, but returns the error page of one that requires it.
    relaying: u16,
    /// Port that requests a certificate, but does not require it.
    open: u16,
}

impl Nginx {
    async fn start(authority: &Authority, folder: &Path) -> Self {
        let (certificate, key) = authority.files("127.0.0.1");
        let [new, old, relaying, open] = std::array::from_fn(|_| free_port());
        let tls = format!(
            "ssl_certificate {}; ssl_certificate_key {}; ssl_client_certificate {};",
            certificate.display(),
            key.display(),
            authority.ca_file.display()
        );
        let page = "<h1>400 Bad Request</h1><center>No required SSL certificate was sent</center>";
        let hello = "location / { return 200 hello; }";
        let config = format!(
            "daemon off; master_process off; pid nginx.pid; error_log error.log warn; events {{}}\n\
             http {{ access_log off; client_body_temp_path a; proxy_temp_path b; fastcgi_temp_path c; uwsgi_temp_path d;\n\
             scgi_temp_path e; {tls}\n\
             server {{ listen 127.0.0.1:{new} ssl http2; ssl_verify_client on; ssl_protocols TLSv1.3; {hello} }}\n\
             server {{ listen 127.0.0.1:{old} ssl; ssl_verify_client on; ssl_protocols TLSv1.2; {hello} }}\n\
             server {{ listen 127.0.0.1:{relaying} ssl; location / {{ default_type text/html; return 400 '{page}'; }} }}\n\
             server {{ listen 127.0.0.1:{open} ssl; ssl_verify_client optional_no_ca; {hello}\n\
             location /bad {{ return 400; }} location /gone {{ return 410; }} }} }}\n"
        );
        std::fs::write(folder.join("nginx.conf"), config).unwrap();
        let mut process = Process::start(
            Command::new("/usr/sbin/nginx")
                .args(["-e", "error.log", "-c", "nginx.conf", "-p"])
                .arg(folder),
        );
        process.listens(open).await;
        Self {
            _process: process,
            strict: [new, old],
            relaying,
            open,
        }
    }
}

/// An exporter with a module for each client certificate, and one without.
async fn exporter_of(authority: &Authority, folder: &Path) -> Exporter {
    let other = Authority::named("Other Authority");
    let trust = format!("ca_file: '{}'", authority.ca_file.display());
    let mut modules = format!("modules:\n  none: {{prober: http, http: {{tls_config: {{{trust}}}}}}}\n");
    for (name, leaf) in [
        ("good", authority.leaf_with("client", for_clients)),
        ("stranger", other.leaf_with("client", for_clients)),
        ("expired", authority.expired("client")),
    ] {
        let shown = shows(&leaf, folder, name);
        writeln!(
            modules,
            "  {name}: {{prober: http, http: {{tls_config: {{{trust}, {shown}}}}}}}"
        )
        .unwrap();
    }
    Exporter::start(&modules).await
}

/// nginx completes the handshake with any client certificate, and then responds with 400.
#[tokio::test(flavor = "multi_thread")]
async fn nginx_errors_about_a_client_certificate_are_tls_faults() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let nginx = Nginx::start(&authority, folder.path()).await;
    let exporter = exporter_of(&authority, folder.path()).await;
    let strict = nginx.strict.map(|port| format!("https://127.0.0.1:{port}/"));
    for target in &strict {
        let good = exporter.probe("good", target).await;
        assert_eq!(good.page.value("probe_success"), 1.0, "{:#}", good.evidence);
        for module in ["none", "stranger", "expired"] {
            let probed = exporter.probe(module, target).await;
            assert_eq!(probed.page.value("probe_http_status_code"), 400.0, "{module}");
            let expected = ("tls", "tls.client_cert", "likely");
            assert_eq!(verdict(&probed), expected, "{target}, {module}: {:#}", probed.evidence);
            let tls = &probed.evidence["target"]["exchanges"][0]["tls"];
            assert_eq!(tls["client_certificate_requested"], true, "{tls:#}");
        }
    }
    // The verdict does not depend on the state of the backend.
    let behind = Peer::start(ok).await;
    for backend in [behind.address.port(), free_port()] {
        let more = format!("&backend=app@127.0.0.1:{backend}");
        let probed = exporter.probe_for("none", &strict[0], &more).await;
        assert_eq!(verdict(&probed).1, "tls.client_cert", "{:#}", probed.evidence);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_apparent_demand_for_a_client_certificate_is_not_a_tls_fault() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let nginx = Nginx::start(&authority, folder.path()).await;
    let exporter = exporter_of(&authority, folder.path()).await;
    // The same page without a certificate request in the handshake: the upstream requires a certificate from the
    // gateway.
    let target = format!("https://127.0.0.1:{}/", nginx.relaying);
    let probed = exporter.probe("none", &target).await;
    assert_eq!(probed.page.value("probe_http_status_code"), 400.0);
    assert_ne!(verdict(&probed).0, "tls", "{:#}", probed.evidence);
    let tls = &probed.evidence["target"]["exchanges"][0]["tls"];
    assert_eq!(tls["client_certificate_requested"], false, "{tls:#}");
    // Other responses after a request for an optional certificate.
    let open = format!("https://127.0.0.1:{}/", nginx.open);
    let probed = exporter.probe("none", &open).await;
    assert_eq!(probed.page.value("probe_success"), 1.0, "{:#}", probed.evidence);
    for path in ["bad", "gone"] {
        let probed = exporter.probe("none", &format!("{open}{path}")).await;
        assert_ne!(verdict(&probed).0, "tls", "{path}: {:#}", probed.evidence);
        let tls = &probed.evidence["target"]["exchanges"][0]["tls"];
        assert_eq!(tls["client_certificate_requested"], true, "{tls:#}");
    }
}

/// In TLS 1.3 the client completes the handshake before the server checks the certificate, so the alert arrives with
/// the first read.
#[tokio::test(flavor = "multi_thread")]
async fn an_alert_after_a_handshake_that_asked_for_a_certificate_is_about_that() {
    let authority = Authority::new();
    let other = Authority::named("Other Authority");
    let folder = tempfile::tempdir().unwrap();
    let strict = |alpn: &[&str]| {
        let config = authority.leaf("127.0.0.1").server_for_clients_of(&authority);
        let mut config = Arc::unwrap_or_clone(config);
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config)
    };
    let plain = Peer::with_tls(strict(&[]), ok).await;
    let http2 = Peer::with_tls(strict(&["h2"]), ok).await;
    let trust = format!("ca_file: '{}'", authority.ca_file.display());
    let stranger = shows(&other.leaf_with("client", for_clients), folder.path(), "stranger");
    let expired = shows(&authority.expired("client"), folder.path(), "expired");
    for (name, tls) in [
        ("none", trust.clone()),
        ("stranger", format!("{trust}, {stranger}")),
        ("expired", format!("{trust}, {expired}")),
        ("none, TLS 1.2", format!("{trust}, max_version: TLS12")),
        (
            "unknown CA, TLS 1.2",
            format!("{trust}, {stranger}, max_version: TLS12"),
        ),
    ] {
        let tls = format!("tls_config: {{{tls}}}");
        let exporter = Exporter::start(&format!(
            "modules:
  http: {{prober: http, http: {{{tls}}}}}
  hears: {{prober: tcp, tcp: {{tls: true, {tls}, query_response: [{{expect: ^220}}]}}}}
  says: {{prober: tcp, tcp: {{tls: true, {tls}, query_response: [{{send: hello}}, {{expect: hello}}]}}}}
  grpc: {{prober: grpc, grpc: {{tls: true, {tls}}}}}
  websocket: {{prober: websocket, websocket: {{http_config: {{{tls}}}}}}}"
        ))
        .await;
        for (module, target) in [
            ("http", plain.https()),
            ("http", http2.https()),
            ("hears", plain.address.to_string()),
            ("says", plain.address.to_string()),
            ("grpc", http2.address.to_string()),
            ("websocket", format!("wss://{}/", plain.address)),
        ] {
            let probed = exporter.probe(module, &target).await;
            let expected = ("tls", "tls.client_cert", "certain");
            assert_eq!(verdict(&probed), expected, "{name}, {module}: {:#}", probed.evidence);
        }
    }
}

/// A server may reject the server name or the client's address with an alert. Such an alert is not about a client
/// certificate.
#[tokio::test(flavor = "multi_thread")]
async fn an_alert_without_a_request_for_a_certificate_is_not_about_one() {
    let exporter = Exporter::start(
        "modules:
  http: {prober: http, http: {tls_config: {insecure_skip_verify: true}}}
  tcp: {prober: tcp, tcp: {tls: true, tls_config: {insecure_skip_verify: true}}}",
    )
    .await;
    // From bad_certificate to unknown_ca, and access_denied (RFC 8446 section 6).
    for code in [42, 43, 44, 45, 46, 48, 49] {
        let peer = Peer::start(move |mut stream| async move {
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(&[21, 3, 3, 0, 2, 2, code]).await;
        })
        .await;
        for (module, target) in [("http", peer.https()), ("tcp", peer.address.to_string())] {
            let probed = exporter.probe(module, &target).await;
            let expected = ("tls", "tls.alert", "certain");
            assert_eq!(verdict(&probed), expected, "{code}, {module}: {:#}", probed.evidence);
        }
    }
}
