//! What is probed: an nginx, plain and over TLS, and a name server; each says how often it was asked.

use crate::program::get;
use crate::support::pki::Authority;
use crate::support::process::{Process, free_port};
use nix::sys::socket::{setsockopt, sockopt};
use std::net::{SocketAddr, UdpSocket};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tempfile::TempDir;

/// The keys of each module, probed in turn.
pub const KEYS: usize = 2000;

/// Bytes of what nginx answers.
const BODY: usize = 1000;

/// An nginx. Ends with its value.
pub struct Nginx {
    pub authority: Authority,
    pub http: SocketAddr,
    pub https: SocketAddr,
    status: SocketAddr,
    _process: Process,
    _folder: TempDir,
}

impl Nginx {
    pub async fn start() -> Self {
        let authority = Authority::new();
        let (cert, key) = authority.files("127.0.0.1");
        let folder = tempfile::tempdir().unwrap();
        let [http, https, status] = std::array::from_fn(|_| free_port());
        // No session tickets: nobody resumes a session here, and they would take time of the processors on which the exporters run.
        // One process: a master that is killed would leave its workers behind.
        let config = format!(
            "daemon off; master_process off; pid nginx.pid; error_log error.log warn;\n\
             worker_rlimit_nofile 65536; events {{ worker_connections 16384; }}\n\
             http {{ access_log off; default_type text/plain;\n\
             client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi;\n\
             scgi_temp_path scgi;\n\
             server {{ listen 127.0.0.1:{http} backlog=4096; listen 127.0.0.1:{https} ssl backlog=4096;\n\
             ssl_certificate {}; ssl_certificate_key {}; ssl_protocols TLSv1.3; ssl_conf_command NumTickets 0;\n\
             location / {{ return 200 {}; }} }}\n\
             server {{ listen 127.0.0.1:{status}; location / {{ stub_status; }} }} }}\n",
            cert.display(),
            key.display(),
            "g".repeat(BODY),
        );
        std::fs::write(folder.path().join("nginx.conf"), config).unwrap();
        let mut process = Process::start(
            Command::new("/usr/sbin/nginx")
                .arg("-p")
                .arg(folder.path())
                .args(["-c", "nginx.conf", "-e", "error.log"])
                .stdout(Stdio::null())
                .stderr(Stdio::null()),
        );
        process.listens(status).await;
        let at = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        Self {
            authority,
            http: at(http),
            https: at(https),
            status: at(status),
            _process: process,
            _folder: folder,
        }
    }

    /// Connections that it has accepted; to ask is one more.
    pub async fn connections(&self) -> usize {
        let page = get(self.status, "/").await;
        let counts = page.lines().nth(2).unwrap();
        counts.split_whitespace().next().unwrap().parse().unwrap()
    }
}

/// Bytes of questions that may wait.
const ROOM: usize = 8 * 1024 * 1024;

/// A name server that knows one address, on a thread of its own.
pub struct NameServer {
    pub address: SocketAddr,
    asked: Arc<AtomicUsize>,
}

impl NameServer {
    pub fn start() -> Self {
        let socket = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
        // Of hundreds that ask at once nobody's question may be lost. Only root may have so much room.
        setsockopt(&socket, sockopt::RcvBufForce, &ROOM).unwrap();
        let address = socket.local_addr().unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = asked.clone();
        std::thread::spawn(move || {
            let mut question = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut question) {
                counted.fetch_add(1, Ordering::Relaxed);
                // Who has gone hears nothing.
                let _ = socket.send_to(&answer(&question[..length]), from);
            }
        });
        Self { address, asked }
    }

    /// Questions so far.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

/// The question, and that its name has the address 192.0.2.1 for a minute (RFC 1035 section 4.1).
fn answer(question: &[u8]) -> Vec<u8> {
    const RECORD: &[u8] = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\xc0\x00\x02\x01";
    let name = question[12..].iter().position(|byte| *byte == 0).unwrap();
    let mut answer = question[..12 + name + 5].to_vec();
    // A response with recursion available; one answer, and nothing more.
    answer[2] |= 0x80;
    answer[3] = 0x80;
    answer[6..12].copy_from_slice(&[0, 1, 0, 0, 0, 0]);
    answer.extend(RECORD);
    answer
}
