//! A real nginx with the TLS settings of old or unusual servers, one port for each.

use super::pki::Authority;
use super::process::{Process, free_port};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

const NGINX: &str = "/usr/sbin/nginx";

/// Name, certificate, protocols, cipher suites, groups, and further directives.
type Row = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
);

const USUAL: &str = "X25519:P-256:P-384";

/// TLS settings of the servers.
pub const SERVERS: &[Row] = &[
    (
        "usual",
        "ec",
        "TLSv1.2 TLSv1.3",
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        USUAL,
        "",
    ),
    ("cbc_rsa", "rsa", "TLSv1.2", "ECDHE-RSA-AES128-SHA", USUAL, ""),
    ("cbc_ecdsa", "ec", "TLSv1.2", "ECDHE-ECDSA-AES256-SHA", USUAL, ""),
    ("cbc_http2", "rsa", "TLSv1.2", "ECDHE-RSA-AES256-SHA", USUAL, "http2"),
    (
        "cbc_sha256",
        "rsa",
        "TLSv1.2",
        "ECDHE-RSA-AES128-SHA256:ECDHE-RSA-AES256-SHA384",
        USUAL,
        "",
    ),
    (
        "rsa_key_exchange",
        "rsa",
        "TLSv1.2",
        "AES128-GCM-SHA256:AES128-SHA",
        USUAL,
        "",
    ),
    (
        "dhe",
        "rsa",
        "TLSv1.2",
        "DHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES128-SHA",
        USUAL,
        "dhparam",
    ),
    (
        "prefers_rsa",
        "rsa",
        "TLSv1.2",
        "AES128-SHA:ECDHE-RSA-AES128-SHA",
        USUAL,
        "prefers",
    ),
    ("tls10", "rsa", "TLSv1", "ECDHE-RSA-AES128-SHA", USUAL, ""),
    ("tls10_ecdsa", "ec", "TLSv1", "ECDHE-ECDSA-AES256-SHA", USUAL, ""),
    ("tls10_rsa_key_exchange", "rsa", "TLSv1", "AES128-SHA", USUAL, ""),
    ("tls11", "rsa", "TLSv1.1", "ECDHE-RSA-AES256-SHA", USUAL, ""),
    (
        "tls10_to_12",
        "rsa",
        "TLSv1 TLSv1.1 TLSv1.2",
        "ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-SHA",
        USUAL,
        "",
    ),
    (
        "tls13_p521",
        "ec",
        "TLSv1.3",
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "P-521",
        "",
    ),
    (
        "tls12_p521",
        "ec",
        "TLSv1.2",
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "P-521",
        "",
    ),
    (
        "tls13_x448",
        "ec",
        "TLSv1.3",
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "X448",
        "",
    ),
    ("tls13", "ec", "TLSv1.3", "ECDHE-ECDSA-AES128-GCM-SHA256", USUAL, ""),
];

/// The running servers. They are stopped on drop.
pub struct OldTls {
    ports: BTreeMap<&'static str, u16>,
    /// A self-signed RSA certificate and its key.
    pub rsa: (PathBuf, PathBuf),
    _folder: TempDir,
    _process: Process,
}

impl OldTls {
    /// Starts all servers. `authority` signs their elliptic-curve certificates.
    pub async fn start(authority: &Authority) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let (ec, rsa) = (authority.files("127.0.0.1"), (at("rsa.pem"), at("rsa.key")));
        certificate_and_group(folder.path(), &rsa);
        let mut ports = BTreeMap::new();
        let servers = servers(&mut ports, &ec, &rsa);
        let config = format!(
            "daemon off; master_process off; pid nginx.pid; error_log error.log crit;\n\
             events {{ worker_connections 512; }}\n\
             http {{ access_log off; default_type text/plain; client_body_temp_path body; proxy_temp_path proxy;\n\
             fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;\n{servers} }}\n"
        );
        std::fs::write(at("nginx.conf"), config).unwrap();
        let mut process = Process::start(
            Command::new(NGINX)
                .args(["-e", "error.log", "-c", "nginx.conf", "-p"])
                .arg(folder.path())
                .stdout(Stdio::null())
                .stderr(Stdio::null()),
        );
        process.listens(ports["tls13"]).await;
        Self {
            ports,
            rsa,
            _folder: folder,
            _process: process,
        }
    }

    /// Port of a server.
    pub fn port(&self, name: &str) -> u16 {
        self.ports[name]
    }

    /// URL of a server.
    pub fn url(&self, name: &str) -> String {
        format!("https://127.0.0.1:{}/", self.ports[name])
    }
}

/// Creates a self-signed RSA certificate and a Diffie-Hellman group.
fn certificate_and_group(folder: &Path, (cert, key): &(PathBuf, PathBuf)) {
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "30",
            "-subj",
            "/CN=127.0.0.1",
        ])
        .args([
            "-addext",
            "subjectAltName=IP:127.0.0.1",
            "-addext",
            "basicConstraints=critical,CA:FALSE",
            "-out",
        ])
        .arg(cert)
        .arg("-keyout")
        .arg(key)
        .stderr(Stdio::null())
        .status();
    assert!(made.unwrap().success());
    // A group of RFC 7919, because generating one takes long.
    let group = Command::new("openssl")
        .args([
            "genpkey",
            "-genparam",
            "-algorithm",
            "DH",
            "-pkeyopt",
            "group:ffdhe2048",
            "-out",
        ])
        .arg(folder.join("group.pem"))
        .status();
    assert!(group.unwrap().success());
}

/// The server blocks of the nginx configuration, each with its own port.
fn servers(ports: &mut BTreeMap<&'static str, u16>, ec: &(PathBuf, PathBuf), rsa: &(PathBuf, PathBuf)) -> String {
    let mut servers = String::new();
    for (name, certificate, protocols, suites, groups, more) in SERVERS {
        let port = free_port();
        ports.insert(*name, port);
        let (cert, key) = if *certificate == "ec" { ec } else { rsa };
        let http2 = if more.contains("http2") { " http2" } else { "" };
        let group = if more.contains("dhparam") {
            "ssl_dhparam group.pem;"
        } else {
            ""
        };
        let prefers = if more.contains("prefers") { "on" } else { "off" };
        writeln!(
            servers,
            "server {{ listen 127.0.0.1:{port} ssl{http2}; ssl_certificate {}; ssl_certificate_key {};\n\
             ssl_protocols {protocols}; ssl_ciphers {suites}:@SECLEVEL=0; ssl_ecdh_curve {groups}; {group}\n\
             ssl_prefer_server_ciphers {prefers}; location / {{ return 200 \"fine\\n\"; }} }}",
            cert.display(),
            key.display(),
        )
        .unwrap();
    }
    servers
}
