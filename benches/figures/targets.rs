//! Targets: nginx with and without TLS, and a name server. Both count their requests.

use crate::program::get;
use crate::support::pki::Authority;
use crate::support::process::{Process, free_port};
use nix::sys::socket::{setsockopt, sockopt};
use std::net::{SocketAddr, UdpSocket};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tempfile::TempDir;

/// Number of keys of each module.
pub const KEYS: usize = 2000;

/// Length of the response body of nginx, in bytes.
const BODY: usize = 1000;

/// A running nginx. It is stopped on drop.
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
        // Session tickets are off: no client resumes a session, and they would take processor time from the exporters.
        // nginx runs as one process, because the workers of a killed master would stay alive.
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

    /// Number of accepted connections. Each call adds one.
    pub async fn connections(&self) -> usize {
        let page = get(self.status, "/").await;
        let counts = page.lines().nth(2).unwrap();
        counts.split_whitespace().next().unwrap().parse().unwrap()
    }
}

/// Size of the receive buffer, in bytes.
const ROOM: usize = 8 * 1024 * 1024;

/// A name server on a separate thread that returns one address for every name.
pub struct NameServer {
    pub address: SocketAddr,
    asked: Arc<AtomicUsize>,
}

impl NameServer {
    pub fn start() -> Self {
        let socket = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
        // With hundreds of concurrent queries none may be lost. A buffer of this size needs root.
        setsockopt(&socket, sockopt::RcvBufForce, &ROOM).unwrap();
        let address = socket.local_addr().unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = asked.clone();
        std::thread::spawn(move || {
            let mut question = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut question) {
                counted.fetch_add(1, Ordering::Relaxed);
                // The client may be gone.
                let _ = socket.send_to(&answer(&question[..length]), from);
            }
        });
        Self { address, asked }
    }

    /// Number of queries so far.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

/// A response with the question and the address 192.0.2.1, TTL 60 s (RFC 1035 section 4.1).
fn answer(question: &[u8]) -> Vec<u8> {
    const RECORD: &[u8] = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\xc0\x00\x02\x01";
    let name = question[12..].iter().position(|byte| *byte == 0).unwrap();
    let mut answer = question[..12 + name + 5].to_vec();
    // QR and RA are set. The response has one answer and no other records.
    answer[2] |= 0x80;
    answer[3] = 0x80;
    answer[6..12].copy_from_slice(&[0, 1, 0, 0, 0, 0]);
    answer.extend(RECORD);
    answer
}
