//! A TCP server with the behavior from the test.

use glassbox_exporter::server::listeners::{Listen, listen};
use rustls::ServerConfig;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// A TCP server on a free port of loopback. It is stopped on drop.
pub struct Peer {
    pub address: SocketAddr,
    connections: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Peer {
    /// Starts a server that runs `behave` for each connection.
    pub async fn start<F>(behave: impl Fn(TcpStream) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        // The exporter's own function, because it uses a large backlog.
        let listeners = listen(Listen::At(&["127.0.0.1:0".to_owned()])).await.unwrap();
        let listener = listeners.into_iter().next().unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = connections.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(behave(stream));
            }
        });
        Self {
            address,
            connections,
            task,
        }
    }

    /// Starts a server that reads the request header, responds with these bytes, and closes the connection.
    pub async fn answering(answer: impl Into<Vec<u8>>) -> Self {
        let answer = Arc::new(answer.into());
        Self::start(move |mut stream| {
            let answer = answer.clone();
            async move {
                read_head(&mut stream).await;
                let _ = stream.write_all(&answer).await;
                let _ = stream.shutdown().await;
            }
        })
        .await
    }

    /// Starts a server that runs `behave` over TLS for each connection.
    pub async fn with_tls<F>(
        config: Arc<ServerConfig>,
        behave: impl Fn(TlsStream<TcpStream>) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let acceptor = TlsAcceptor::from(config);
        let behave = Arc::new(behave);
        Self::start(move |stream| {
            let (acceptor, behave) = (acceptor.clone(), behave.clone());
            async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    behave(stream).await;
                }
            }
        })
        .await
    }

    /// The URL with `http://`.
    pub fn http(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// The URL with `https://`.
    pub fn https(&self) -> String {
        format!("https://{}/", self.address)
    }

    /// Number of accepted connections.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Reads up to the empty line after a request header. Returns the bytes.
pub async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte).await, Ok(1)) {
        head.push(byte[0]);
    }
    head
}

/// Responds with 200 and a short body, and closes the connection.
pub async fn ok(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    read_head(&mut stream).await;
    let _ = stream
        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
        .await;
    let _ = stream.shutdown().await;
}

/// Closes a connection with RST, which discards unsent and unread data.
pub fn reset(stream: &TcpStream) {
    let socket = socket2::SockRef::from(stream);
    socket.set_linger(Some(std::time::Duration::ZERO)).unwrap();
}

/// The first fields of `struct tcp_info`, which every kernel has.
#[repr(C)]
pub struct TcpInfo {
    _before: [u32; 6],
    unacked: u32,
    _after: [u32; 19],
}

/// Waits until the remote kernel has acknowledged all written data, because a reset would discard the rest.
pub async fn until_acknowledged(stream: &TcpStream) {
    use nix::{getsockopt_impl, libc, sockopt_impl};
    sockopt_impl!(Unacked, GetOnly, libc::IPPROTO_TCP, libc::TCP_INFO, TcpInfo);
    while nix::sys::socket::getsockopt(stream, Unacked).unwrap().unacked > 0 {
        tokio::task::yield_now().await;
    }
}
