//! The sockets of the resolver: Tokio's, but datagrams go over connected sockets, so that the kernel tells when nobody
//! listens at the name server, and passes on what comes from that address alone.

use super::own_fault::{has_route, shortage, watched};
use crate::reason::Reason;
use futures_util::io::{AsyncRead, AsyncWrite};
use hickory_resolver::net::runtime::{DnsTcpStream, DnsUdpSocket, RuntimeProvider, Spawn, TokioRuntimeProvider};
use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::io::{Interest, ReadBuf, Ready};
use tokio::net::UdpSocket;

type Opening<T> = Pin<Box<dyn Send + Future<Output = io::Result<T>>>>;

/// Opens the sockets, and remembers what this host was short of: the library drops the cause.
#[derive(Clone, Default)]
pub(super) struct Transport {
    tokio: TokioRuntimeProvider,
    shortages: Arc<Shortages>,
}

/// The last, and when.
type Shortages = Mutex<Option<(Instant, Reason)>>;

impl Transport {
    /// What this host was short of since then, if anything.
    pub fn shortage_since(&self, since: Instant) -> Option<Reason> {
        let last = *self.shortages.lock().unwrap_or_else(PoisonError::into_inner);
        last.filter(|(at, _)| *at >= since).map(|(_, reason)| reason)
    }

    fn fell_short(shortages: &Shortages, reason: Reason) {
        *shortages.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), reason));
    }

    /// Takes note of what an outcome says of this host.
    fn note<T>(shortages: &Shortages, outcome: io::Result<T>) -> io::Result<T> {
        Self::note_or(shortages, |_| false, outcome)
    }

    /// The same where this host may have had no port, which `no_port` tells by the error.
    fn note_or<T>(
        shortages: &Shortages,
        no_port: impl FnOnce(io::ErrorKind) -> bool,
        outcome: io::Result<T>,
    ) -> io::Result<T> {
        if let Err(error) = &outcome {
            let no_port = no_port(error.kind()).then_some(Reason::LocalOutOfPorts);
            if let Some(reason) = no_port.or_else(|| shortage(error)) {
                Self::fell_short(shortages, reason);
            }
        }
        outcome
    }
}

impl RuntimeProvider for Transport {
    type Handle = Helpers;
    type Timer = <TokioRuntimeProvider as RuntimeProvider>::Timer;
    type Udp = Connected;
    type Tcp = Noted<<TokioRuntimeProvider as RuntimeProvider>::Tcp>;

    fn create_handle(&self) -> Self::Handle {
        Helpers {
            tokio: self.tokio.create_handle(),
            shortages: self.shortages.clone(),
        }
    }

    fn connect_tcp(&self, to: SocketAddr, from: Option<SocketAddr>, timeout: Option<Duration>) -> Opening<Self::Tcp> {
        let (opening, shortages) = (self.tokio.connect_tcp(to, from, timeout), self.shortages.clone());
        Box::pin(async move {
            let no_port = |error| match error {
                io::ErrorKind::AddrInUse => true,
                io::ErrorKind::AddrNotAvailable => has_route(to),
                _ => false,
            };
            let stream = Self::note_or(&shortages, no_port, opening.await)?;
            Ok(Noted { stream, shortages })
        })
    }

    fn bind_udp(&self, from: SocketAddr, to: SocketAddr) -> Opening<Self::Udp> {
        let shortages = self.shortages.clone();
        Box::pin(async move {
            // That a port is taken says nothing where that one was asked for.
            let no_port = |error| from.port() == 0 && error == io::ErrorKind::AddrInUse;
            let socket = Self::note_or(&shortages, no_port, UdpSocket::bind(from).await)?;
            Self::note(&shortages, socket.connect(to).await)?;
            Ok(Connected::new(socket, shortages))
        })
    }
}

/// Runs what the library does beside its lookups.
#[derive(Clone)]
pub(super) struct Helpers {
    tokio: <TokioRuntimeProvider as RuntimeProvider>::Handle,
    shortages: Arc<Shortages>,
}

impl Spawn for Helpers {
    fn spawn_bg(&mut self, helper: impl Future<Output = ()> + Send + 'static) {
        let shortages = self.shortages.clone();
        let panicked = move || Transport::fell_short(&shortages, Reason::LocalPanicked);
        self.tokio.spawn_bg(watched(helper, panicked));
    }
}

/// A stream whose shortages are noted.
pub(super) struct Noted<S> {
    stream: S,
    shortages: Arc<Shortages>,
}

impl<S: DnsTcpStream> DnsTcpStream for Noted<S> {
    type Time = S::Time;
}

impl<S: AsyncRead + Unpin> AsyncRead for Noted<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        read.map(|read| Transport::note(&self.shortages, read))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Noted<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        written.map(|written| Transport::note(&self.shortages, written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}

/// A datagram socket that reports the kernel's word that nobody listens. Tokio wakes a reader for data only, so the
/// error is awaited beside it.
pub(super) struct Connected {
    socket: Arc<UdpSocket>,
    error: Mutex<Opening<Ready>>,
    shortages: Arc<Shortages>,
}

impl Connected {
    fn new(socket: UdpSocket, shortages: Arc<Shortages>) -> Self {
        let socket = Arc::new(socket);
        let watched = socket.clone();
        Self {
            socket,
            error: Mutex::new(Box::pin(async move { watched.ready(Interest::ERROR).await })),
            shortages,
        }
    }

    fn poll_error(&self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let mut error = self.error.lock().unwrap_or_else(PoisonError::into_inner);
        let Poll::Ready(came) = error.as_mut().poll(cx) else {
            return Poll::Pending;
        };
        *error = Box::pin(std::future::pending());
        Poll::Ready(match came.and_then(|_| self.socket.take_error()) {
            Ok(Some(error)) | Err(error) => error,
            Ok(None) => io::ErrorKind::ConnectionRefused.into(),
        })
    }
}

impl fmt::Debug for Connected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.socket.fmt(f)
    }
}

impl DnsUdpSocket for Connected {
    type Time = <TokioRuntimeProvider as RuntimeProvider>::Timer;

    fn poll_recv_from(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<(usize, SocketAddr)>> {
        let mut buffer = ReadBuf::new(buffer);
        let came = match self.socket.poll_recv_from(cx, &mut buffer) {
            Poll::Ready(from) => Poll::Ready(from.map(|from| (buffer.filled().len(), from))),
            Poll::Pending => self.poll_error(cx).map(Err),
        };
        came.map(|came| Transport::note(&self.shortages, came))
    }

    fn poll_send_to(&self, cx: &mut Context<'_>, bytes: &[u8], to: SocketAddr) -> Poll<io::Result<usize>> {
        let sent = self.socket.poll_send_to(cx, bytes, to);
        sent.map(|sent| Transport::note(&self.shortages, sent))
    }
}
