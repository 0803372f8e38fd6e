//! The floor: the smallest program that answers a scrape with a real exchange. It has no histograms, verdicts, bounds
//! or evidence. The cost of an exporter above the floor is the cost of these features.

use crate::program::Program;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio_rustls::TlsConnector;

/// Command-line argument that starts this program as the floor.
pub const WORD: &str = "floor";

/// Environment variable with the path of the trusted CA.
const CA_FILE: &str = "FLOOR_CA_FILE";

/// Starts the floor as a separate process.
pub async fn start(ca_file: &Path) -> Program {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg(WORD).env(CA_FILE, ca_file);
    Program::start_by(command, "").await
}

/// Serves at the address of the command line.
pub async fn serve() {
    let at = std::env::args().find_map(|word| Some(word.strip_prefix("--web.listen-address=")?.to_owned()));
    let listener = TcpListener::bind(at.unwrap()).await.unwrap();
    let tls = tls();
    while let Ok((stream, _)) = listener.accept().await {
        let tls = tls.clone();
        tokio::spawn(async move {
            // The client may close the connection at any time.
            let _ = answer_all(stream, tls).await;
        });
    }
}

fn tls() -> TlsConnector {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject as _;
    let mut roots = rustls::RootCertStore::empty();
    let file = std::env::var(CA_FILE).unwrap();
    roots.add(CertificateDer::from_pem_file(file).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = rustls::client::Resumption::disabled();
    TlsConnector::from(Arc::new(config))
}

async fn answer_all(mut stream: TcpStream, tls: TlsConnector) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut request = Vec::new();
    loop {
        request.clear();
        while !request.ends_with(b"\r\n\r\n") {
            if stream.read_buf(&mut request).await? == 0 {
                return Ok(());
            }
        }
        let text = String::from_utf8_lossy(&request);
        let query = text.split(' ').nth(1).unwrap_or_default();
        let parameter = |name: &str| -> Option<String> {
            let url = url::Url::parse("http://exporter").ok()?.join(query).ok()?;
            let mut pairs = url.query_pairs();
            pairs
                .find(|(known, _)| known == name)
                .map(|(_, value)| value.into_owned())
        };
        let (module, target) = (parameter("module"), parameter("target"));
        let begun = Instant::now();
        let phases = probe(&module.unwrap_or_default(), &target.unwrap_or_default(), &tls).await;
        let success = u8::from(phases.is_ok());
        let phases = phases.unwrap_or_default().map(|phase| phase.as_secs_f64());
        let page = format!(
            "# TYPE probe_duration_seconds gauge\nprobe_duration_seconds {}\n\
             # TYPE probe_phase_seconds gauge\nprobe_phase_seconds{{phase=\"connect\"}} {}\n\
             probe_phase_seconds{{phase=\"tls\"}} {}\nprobe_phase_seconds{{phase=\"transfer\"}} {}\n\
             # TYPE probe_success gauge\nprobe_success {success}\n",
            begun.elapsed().as_secs_f64(),
            phases[0],
            phases[1],
            phases[2],
        );
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{page}",
            page.len()
        );
        stream.write_all(answer.as_bytes()).await?;
    }
}

/// Probes a target. Returns the durations of connect, TLS and the rest.
async fn probe(module: &str, target: &str, tls: &TlsConnector) -> io::Result<[Duration; 3]> {
    let begun = Instant::now();
    let bad = || io::Error::from(io::ErrorKind::InvalidInput);
    if module == "dns" {
        let socket = UdpSocket::bind("127.0.0.1:0").await?;
        socket.connect(target).await?;
        socket.send(QUESTION).await?;
        let mut answer = [0; 512];
        let length = socket.recv(&mut answer).await?;
        let accepted = answer[..2] == QUESTION[..2] && length > QUESTION.len();
        return accepted
            .then(|| [Duration::ZERO, Duration::ZERO, begun.elapsed()])
            .ok_or_else(bad);
    }
    let (scheme, rest) = target.split_once("://").unwrap_or(("", target));
    let (place, path) = rest.split_once('/').unwrap_or((rest, ""));
    let address: SocketAddr = place.parse().map_err(|_| bad())?;
    let stream = TcpStream::connect(address).await?;
    let connected = begun.elapsed();
    stream.set_nodelay(true)?;
    let request = format!("GET /{path} HTTP/1.1\r\nHost: {place}\r\nConnection: close\r\n\r\n");
    match scheme {
        "" => Ok([connected, Duration::ZERO, Duration::ZERO]),
        "http" => {
            exchange(stream, &request).await?;
            Ok([connected, Duration::ZERO, begun.elapsed().saturating_sub(connected)])
        }
        _ => {
            let stream = tls.connect(address.ip().into(), stream).await?;
            let secured = begun.elapsed();
            exchange(stream, &request).await?;
            Ok([
                connected,
                secured.saturating_sub(connected),
                begun.elapsed().saturating_sub(secured),
            ])
        }
    }
}

async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &str) -> io::Result<()> {
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::with_capacity(4096);
    // nginx may close the connection without a TLS close_notify.
    while stream.read_buf(&mut answer).await.is_ok_and(|read| read > 0) {}
    if answer.starts_with(b"HTTP/1.1 200 ") {
        return Ok(());
    }
    Err(io::ErrorKind::InvalidData.into())
}

/// The A record of `example.com`, recursion desired (RFC 1035 section 4.1).
const QUESTION: &[u8] = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x07example\x03com\x00\x00\x01\x00\x01";
