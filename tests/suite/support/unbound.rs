//! Unbound from the Debian package on loopback.

use super::pki::Authority;
use super::process::{Process, eventually, free_port};
use std::fmt::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::UdpSocket;

/// Unbound with one zone, over UDP, TCP, TLS and HTTPS.
pub struct Unbound {
    pub plain: u16,
    pub tls: u16,
    pub https: u16,
    _process: Process,
    _folder: TempDir,
}

impl Unbound {
    pub async fn start(authority: &Authority) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (cert, key) = authority.files("127.0.0.1");
        let (plain, tls, https) = (free_port(), free_port(), free_port());
        let mut config = format!(
            "server:\n  directory: \"{}\"\n  chroot: \"\"\n  username: \"\"\n  pidfile: \"\"\n  do-daemonize: no\n  use-syslog: no\n  \
             interface: 127.0.0.1@{plain}\n  interface: 127.0.0.1@{tls}\n  interface: 127.0.0.1@{https}\n  tls-port: {tls}\n  \
             https-port: {https}\n  tls-service-key: \"{}\"\n  tls-service-pem: \"{}\"\n  module-config: iterator\n  \
             local-zone: example.test. static\n",
            folder.path().display(),
            key.display(),
            cert.display(),
        );
        for data in [
            "example.test. 3600 IN SOA ns.example.test. admin.example.test. 2026112301 7200 3600 1209600 300",
            "example.test. 3600 IN MX 10 mail.example.test.",
            "www.example.test. 60 IN A 192.0.2.1",
            "www.example.test. 60 IN A 192.0.2.2",
            "example.test. 3600 IN CAA 0 issue ca.test",
        ] {
            writeln!(config, "  local-data: '{data}'").unwrap();
        }
        for number in 0..20 {
            let text = "x".repeat(60);
            writeln!(
                config,
                "  local-data: 'large.example.test. 60 IN TXT \"{number} {text}\"'"
            )
            .unwrap();
        }
        let file = folder.path().join("unbound.conf");
        std::fs::write(&file, config).unwrap();
        let mut process = Process::start(
            Command::new("/usr/sbin/unbound")
                .arg("-c")
                .arg(&file)
                .stderr(Stdio::null()),
        );
        process.listens(plain).await;
        process.listens(https).await;
        // Unbound may serve UDP later than TCP.
        eventually("Unbound responds", async || answers(plain).await).await;
        Self {
            plain,
            tls,
            https,
            _process: process,
            _folder: folder,
        }
    }
}

/// Whether a UDP query for an address of the zone gets a response.
async fn answers(port: u16) -> bool {
    const QUESTION: &[u8] = b"\0\x01\x01\0\0\x01\0\0\0\0\0\0\x03www\x07example\x04test\0\0\x01\0\x01";
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(("127.0.0.1", port)).await.unwrap();
    let mut answer = [0; 512];
    let asked = async {
        socket.send(QUESTION).await?;
        socket.recv(&mut answer).await
    };
    matches!(tokio::time::timeout(Duration::from_secs(1), asked).await, Ok(Ok(_)))
}
