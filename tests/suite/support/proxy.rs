//! An HTTP or SOCKS 5 proxy on loopback that records its requests.

use super::peer::{Peer, read_head};
use rustls::ServerConfig;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::TcpStream;

/// A proxy. It is stopped on drop.
pub struct Proxy {
    peer: Peer,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    /// Starts an HTTP proxy that connects every client to one server.
    pub async fn http(to: SocketAddr) -> Self {
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let kept = asked.clone();
        let peer = Peer::start(move |stream| over_http(stream, to, kept.clone())).await;
        Self { peer, asked }
    }

    /// The same, with TLS to the proxy.
    pub async fn https(config: Arc<ServerConfig>, to: SocketAddr) -> Self {
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let kept = asked.clone();
        let peer = Peer::with_tls(config, move |stream| over_http(stream, to, kept.clone())).await;
        Self { peer, asked }
    }

    /// Starts a SOCKS 5 proxy that requires the login `user` and `password`.
    pub async fn socks5(to: SocketAddr) -> Self {
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let kept = asked.clone();
        let peer = Peer::start(move |stream| over_socks5(stream, to, kept.clone())).await;
        Self { peer, asked }
    }

    pub fn address(&self) -> SocketAddr {
        self.peer.address
    }

    /// The requests so far: HTTP headers, or `host:port` of SOCKS.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

async fn over_http(mut stream: impl AsyncRead + AsyncWrite + Unpin, to: SocketAddr, asked: Arc<Mutex<Vec<String>>>) {
    let head = read_head(&mut stream).await;
    let text = String::from_utf8_lossy(&head).into_owned();
    asked.lock().unwrap().push(text.clone());
    let mut onward = TcpStream::connect(to).await.unwrap();
    if text.starts_with("CONNECT ") {
        stream
            .write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
            .await
            .unwrap();
    } else {
        onward.write_all(&head).await.unwrap();
    }
    let _ = copy_bidirectional(&mut stream, &mut onward).await;
}

async fn over_socks5(mut stream: TcpStream, to: SocketAddr, asked: Arc<Mutex<Vec<String>>>) {
    let mut greeting = [0; 4];
    stream.read_exact(&mut greeting).await.unwrap();
    assert_eq!(greeting, [5, 2, 0, 2]);
    stream.write_all(&[5, 2]).await.unwrap();
    let mut login = [0; 1 + 1 + 4 + 1 + 8];
    stream.read_exact(&mut login).await.unwrap();
    assert_eq!(&login, b"\x01\x04user\x08password");
    stream.write_all(&[1, 0]).await.unwrap();
    let mut request = [0; 4];
    stream.read_exact(&mut request).await.unwrap();
    let host = match request {
        [5, 1, 0, 1] => {
            let mut address = [0; 4];
            stream.read_exact(&mut address).await.unwrap();
            std::net::Ipv4Addr::from(address).to_string()
        }
        [5, 1, 0, 3] => {
            let mut name = vec![0; usize::from(stream.read_u8().await.unwrap())];
            stream.read_exact(&mut name).await.unwrap();
            String::from_utf8(name).unwrap()
        }
        other => panic!("{other:?}"),
    };
    let port = stream.read_u16().await.unwrap();
    asked.lock().unwrap().push(format!("{host}:{port}"));
    let mut onward = TcpStream::connect(to).await.unwrap();
    stream.write_all(&[5, 0, 0, 1, 127, 0, 0, 1, 0, 80]).await.unwrap();
    let _ = copy_bidirectional(&mut stream, &mut onward).await;
}
