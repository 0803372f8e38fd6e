//! Protocols with untrusted input from a socket: each input is sent by a server to a real probe of a complete exporter.

use super::exporter::Exporter;
use super::page::Page;
use super::parsers::answers;
use super::peer::{Peer, read_head};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tungstenite::handshake::derive_accept_key;

/// Maximum length of a response of `/probe`, in bytes.
const LARGEST_PAGE: usize = 256 * 1024;

/// A protocol to fuzz.
pub struct Wire {
    pub name: &'static str,
    pub seeds: fn() -> Vec<Vec<u8>>,
    module: fn(&Peer) -> String,
    target: fn(&Peer) -> String,
    /// Steps of the server before the input.
    greets: Greeting,
}

/// Steps of the server before it sends the input.
#[derive(Clone, Copy)]
enum Greeting {
    /// Nothing.
    Silent,
    /// Reads a request head.
    Head,
    /// Reads a few bytes.
    Some,
    /// Reads a query with its length prefix, and starts the response with its ID.
    Question,
    /// Completes the WebSocket handshake (RFC 6455 section 4.2.2).
    Upgrade,
}

/// All protocols.
pub const WIRES: [Wire; 7] = [
    Wire {
        name: "http",
        seeds: http,
        module: |_| "prober: http, http: {follow_redirects: false}".to_owned(),
        target: Peer::http,
        greets: Greeting::Head,
    },
    Wire {
        name: "http_proxy",
        seeds: connects,
        module: |peer| {
            format!(
                "prober: http, http: {{proxy_url: 'http://{}', tls_config: {{insecure_skip_verify: true}}}}",
                peer.address
            )
        },
        target: |_| "https://127.0.0.1:9/".to_owned(),
        greets: Greeting::Head,
    },
    Wire {
        name: "dns",
        seeds: dns,
        module: |_| "prober: dns, dns: {query_name: example.org, query_type: MX, transport_protocol: tcp}".to_owned(),
        target: |peer| peer.address.to_string(),
        greets: Greeting::Question,
    },
    Wire {
        name: "tls",
        seeds: flights,
        module: |_| "prober: tcp, tcp: {tls: true, tls_config: {insecure_skip_verify: true}}".to_owned(),
        target: |peer| peer.address.to_string(),
        greets: Greeting::Some,
    },
    Wire {
        name: "http2",
        seeds: http2,
        module: |_| "prober: grpc".to_owned(),
        target: |peer| peer.address.to_string(),
        greets: Greeting::Some,
    },
    Wire {
        name: "websocket",
        seeds: frames,
        module: |_| "prober: websocket, websocket: {query_response: [{expect: '^hello (.*)$'}]}".to_owned(),
        target: |peer| format!("ws://{}/", peer.address),
        greets: Greeting::Upgrade,
    },
    Wire {
        name: "tcp",
        seeds: banners,
        module: |_| {
            "prober: tcp, tcp: {query_response: [{expect: '^(\\d{3}) (.*)$', labels: [{name: banner, value: '${2}'}]}]}"
                .to_owned()
        },
        target: |peer| peer.address.to_string(),
        greets: Greeting::Silent,
    },
];

/// A hostile server for one protocol, and the exporter that probes it.
pub struct Stranger {
    exporter: Exporter,
    path: String,
    says: Arc<Mutex<Vec<u8>>>,
    _peer: Peer,
}

impl Stranger {
    pub async fn start(wire: &Wire) -> Self {
        let says = Arc::new(Mutex::new(Vec::new()));
        let (said, greets) = (says.clone(), wire.greets);
        let peer = Peer::start(move |stream| {
            let words = said.lock().unwrap().clone();
            async move {
                let _ = say(stream, greets, words).await;
            }
        })
        .await;
        let module = (wire.module)(&peer);
        let exporter = Exporter::start(&format!("modules: {{m: {{timeout: 20s, {module}}}}}")).await;
        let target = (wire.target)(&peer);
        let target: String = url::form_urlencoded::byte_serialize(target.as_bytes()).collect();
        Self {
            exporter,
            path: format!("/probe?module=m&target={target}"),
            says,
            _peer: peer,
        }
    }

    /// Probes the server while it sends `bytes`. The page must be valid and have a reason if the probe failed. Returns
    /// the reason, or an empty string for success.
    pub async fn feed(&self, bytes: &[u8]) -> String {
        *self.says.lock().unwrap() = bytes.to_vec();
        let answer = self.exporter.get(&self.path).await;
        assert_eq!(answer.status(), 200);
        let text = answer.text().await.unwrap();
        assert!(text.len() <= LARGEST_PAGE, "the page has {} bytes", text.len());
        let page = Page::parse(&text);
        let failed = page.value("probe_success") == 0.0;
        let verdicts: Vec<_> = page.starting("probe_failure_info").collect();
        // A successful response may mask a broken link.
        assert!(verdicts.len() == 1 || (verdicts.is_empty() && !failed), "{text}");
        let took = page.value("probe_duration_seconds");
        assert!(took < page.value("probe_timeout_seconds"), "the probe hung:\n{text}");
        let reason = verdicts.first().and_then(|(verdict, _)| {
            let (_, reason) = verdict.split_once("reason=\"")?;
            reason.split('"').next()
        });
        reason.unwrap_or_default().to_owned()
    }

    /// Number of panics of the exporter.
    pub async fn panics(&self) -> f64 {
        self.exporter.own("glassbox_panics_total").await
    }
}

async fn say(mut stream: TcpStream, greets: Greeting, mut words: Vec<u8>) -> std::io::Result<()> {
    match greets {
        Greeting::Silent => {}
        Greeting::Head => drop(read_head(&mut stream).await),
        Greeting::Some => {
            stream.readable().await?;
        }
        Greeting::Question => {
            let length = stream.read_u16().await?;
            let mut question = vec![0; length.into()];
            stream.read_exact(&mut question).await?;
            for (byte, asked) in words.iter_mut().zip(&question[..2]) {
                *byte = *asked;
            }
            let length = u16::try_from(words.len()).unwrap_or(u16::MAX);
            stream.write_u16(length).await?;
        }
        Greeting::Upgrade => {
            let head = String::from_utf8_lossy(&read_head(&mut stream).await).into_owned();
            let mut fields = head.lines().filter_map(|line| line.split_once(": "));
            let key = fields.find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key"));
            let key = key.map(|(_, key)| key).unwrap_or_default();
            let accept = derive_accept_key(key.as_bytes());
            let head = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket";
            let head = format!("{head}\r\nSec-WebSocket-Accept: {accept}\r\n\r\n");
            stream.write_all(head.as_bytes()).await?;
        }
    }
    stream.write_all(&words).await?;
    stream.shutdown().await?;
    // Read the remaining input. Otherwise the kernel resets the connection and the sent bytes are lost.
    while stream.read(&mut [0; 2048]).await? > 0 {}
    Ok(())
}

fn bytes(seeds: &[&[u8]]) -> Vec<Vec<u8>> {
    seeds.iter().map(|seed| seed.to_vec()).collect()
}

/// Responses of gateways with CRLF line endings, and all framings of a body (RFC 9112 section 6).
fn http() -> Vec<Vec<u8>> {
    let framings = bytes(&[
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: Proxy-Status\r\n\r\n5;a=b\r\nhello\r\n0\r\nProxy-Status: a; error=dns_error\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 25\r\n\r\n\x1f\x8b\x08\0\0\0\0\0\0\x03\xcbH\xcd\xc9\xc9\x07\0\x86\xa6\x106\x05\0\0\0",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n",
        b"hello",
    ]);
    let answers = answers().into_iter().map(|answer| {
        let text = String::from_utf8_lossy(&answer).replace("\r\n", "\n");
        let (head, body) = text.split_once("\n\n").unwrap_or((&text, ""));
        format!("{}\r\n\r\n{body}", head.replace('\n', "\r\n")).into_bytes()
    });
    answers.chain(framings).collect()
}

fn connects() -> Vec<Vec<u8>> {
    bytes(&[
        b"HTTP/1.1 200 Connection established\r\n\r\n",
        b"HTTP/1.0 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"a\"\r\nContent-Length: 2\r\n\r\nno",
        b"HTTP/1.1 502 Bad Gateway\r\nProxy-Status: squid; error=connection_refused\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n\x15\x03\x03\0\x02\x02\x28",
    ])
}

/// Responses with one record, with a record whose name points at itself, and without records (RFC 1035 section 4).
fn dns() -> Vec<Vec<u8>> {
    const QUESTION: &[u8] = b"\x07example\x03org\0\0\x0f\0\x01";
    let answer = |counts: &[u8], records: &[u8]| [b"\0\0\x81\x80\0\x01", counts, QUESTION, records].concat();
    vec![
        answer(
            b"\0\x01\0\0\0\0",
            b"\xc0\x0c\0\x0f\0\x01\0\0\x0e\x10\0\x09\0\x0a\x04mail\xc0\x0c",
        ),
        answer(
            b"\0\x01\0\0\0\0",
            b"\xc0\x1d\0\x0f\0\x01\0\0\x0e\x10\0\x04\0\x0a\xc0\x1d",
        ),
        answer(
            b"\0\0\0\x01\0\x01",
            b"\xc0\x0c\0\x06\0\x01\0\0\x0e\x10\0\x16\xc0\x0c\xc0\x0c\0\0\0\x01\0\0\0\x02\0\0\0\x03\0\0\0\x04\0\0\0\x05\
              \0\0\x29\x10\0\0\0\0\0\0\0",
        ),
        answer(b"\0\0\0\0\0\0", b""),
    ]
}

/// Alerts, a `ServerHello` with an unknown cipher suite, and records with a wrong length (RFC 8446 section 5.1).
fn flights() -> Vec<Vec<u8>> {
    let hello = [
        &b"\x16\x03\x03\0\x2a\x02\0\0\x26\x03\x03"[..],
        &[7; 32],
        b"\0\x13\x01\0",
    ];
    let mut flights = bytes(&[
        b"\x15\x03\x03\0\x02\x02\x28",
        b"\x15\x03\x01\0\x02\x01\0",
        b"\x16\x03\x03\xff\xff\x0b\0\0\0",
        b"\x17\x03\x03\0\x05hello",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"220 mail.example.org ESMTP\r\n",
    ]);
    flights.push(hello.concat());
    flights
}

/// `SETTINGS`, then frames of a server on stream 1 (RFC 9113 section 6). `0x88` is `:status: 200` in HPACK.
fn http2() -> Vec<Vec<u8>> {
    const SETTINGS: &[u8] = b"\0\0\0\x04\0\0\0\0\0\0\0\0\x04\x01\0\0\0\0";
    const HEAD: &[u8] = b"\0\0\x01\x01\x04\0\0\0\x01\x88";
    let say = |frames: &[u8]| [SETTINGS, HEAD, frames].concat();
    vec![
        // A health check's reply, "serving", and the trailer `grpc-status: 0`.
        say(b"\0\0\x07\0\0\0\0\0\x01\0\0\0\0\x02\x08\x01\0\0\x0f\x01\x05\0\0\0\x01\0\x0bgrpc-status\x010"),
        say(b"\0\0\x04\x03\0\0\0\0\x01\0\0\0\x08"),
        say(b"\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\x0b"),
        say(b"\0\0\x08\x06\0\0\0\0\0pingping\0\0\x04\x08\0\0\0\0\0\x7f\xff\xff\xff"),
        say(b"\0\0\0\x09\0\0\0\0\x01\0\0\0\0\x01\0\0\0\x01"),
        b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n".to_vec(),
    ]
}

/// Unmasked frames of a server (RFC 6455 section 5.2).
fn frames() -> Vec<Vec<u8>> {
    bytes(&[
        b"\x81\x0bhello world",
        b"\x01\x06hello \x89\0\x80\x05world",
        b"\x82\x7e\0\x0bhello world",
        b"\x81\x7f\x7f\xff\xff\xff\xff\xff\xff\xffhello",
        b"\x88\x02\x03\xe8",
        b"\xc1\x05hello",
    ])
}

fn banners() -> Vec<Vec<u8>> {
    bytes(&[
        b"220 mail.example.org ESMTP\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"+OK ready\n550 \xff\xfe\n",
    ])
}
