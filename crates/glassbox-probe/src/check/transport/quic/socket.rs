//! The UDP socket of a QUIC connection. The socket is connected, so that the kernel reports a port without a listener,
//! and received datagrams have the kernel's timestamps.

use crate::check::ProbeContext;
use crate::check::dial::DialError;
use crate::check::local_fault::shortage;
use crate::check::memory_limit::Buffered;
use crate::check::rx_timestamps;
use crate::check::trace::Trace;
use crate::check::transport::LARGEST;
use parking_lot::Mutex;
use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};
use std::fmt;
use std::future::Future;
use std::io::{self, ErrorKind, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Instant;
use tokio::io::{Interest, Ready};
use tokio::net::UdpSocket;
use tokio::sync::Notify;

/// Maximum bytes of a stream that the library accepts before they are read.
const WINDOW: usize = 1_250_000;

type Waiting = Pin<Box<dyn Future<Output = io::Result<Ready>> + Send>>;

/// The socket of one connection.
pub(in crate::check) struct QuicSocket {
    socket: Arc<UdpSocket>,
    peer: SocketAddr,
    opened: Instant,
    /// Maximum bytes before the response header is complete: the handshake, settings, and the header itself.
    most_unanswered: u64,
    pub trace: Arc<Trace>,
    /// Memory that the library may use for received data.
    buffered: Mutex<Buffered>,
    /// Waits for the next datagram or a socket error.
    next: Mutex<Waiting>,
    /// The socket error, or the resource that this host lacks.
    fault: OnceLock<io::Error>,
    /// Data could not be sent because this host lacks a resource.
    pub fell_short: Notify,
    /// A datagram has been sent.
    pub sent: Notify,
}

impl QuicSocket {
    pub async fn open(context: &ProbeContext, to: SocketAddr, trace: Arc<Trace>) -> Result<Self, DialError> {
        let opened = Instant::now();
        let socket = Arc::new(context.dialer.udp(None, to).await?);
        Ok(Self {
            next: Mutex::new(waiting(&socket)),
            socket,
            peer: to,
            opened,
            most_unanswered: 4 * context.limits.response_head as u64,
            trace,
            buffered: Mutex::new(Buffered::new(&context.memory, WINDOW)),
            fault: OnceLock::new(),
            fell_short: Notify::new(),
            sent: Notify::new(),
        })
    }

    /// Why no datagram can be received or sent any more. The error keeps the kernel's number, which identifies a
    /// shortage.
    pub fn fault(&self) -> Option<io::Error> {
        self.fault.get().map(again)
    }

    /// Receives one datagram into a buffer.
    fn poll_datagram(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut next = self.next.lock();
        loop {
            let came = ready!(next.as_mut().poll(cx));
            *next = waiting(&self.socket);
            came?;
            if let Some(error) = self.socket.take_error()? {
                return Poll::Ready(Err(error));
            }
            let mut stamp = rx_timestamps::room();
            let read = || rx_timestamps::receive(&self.socket, buffer, &mut stamp, self.opened);
            match self.socket.try_io(Interest::READABLE, read) {
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                Err(error) => return Poll::Ready(Err(error)),
                Ok(received) => {
                    self.trace.datagram_read(received);
                    let mut buffered = self.buffered.lock();
                    if let Err(no_memory) = buffered.more(received.count) {
                        self.trace.out_of_memory();
                        return Poll::Ready(Err(io::Error::new(ErrorKind::OutOfMemory, no_memory)));
                    }
                    if self.trace.unanswered() > self.most_unanswered {
                        // The library buffers data until a frame is complete.
                        return Poll::Ready(Err(ErrorKind::InvalidData.into()));
                    }
                    return Poll::Ready(Ok(received.count));
                }
            }
        }
    }
}

/// A copy of the error.
fn again(error: &io::Error) -> io::Error {
    let number = error.raw_os_error();
    number.map_or_else(|| error.kind().into(), io::Error::from_raw_os_error)
}

fn waiting(socket: &Arc<UdpSocket>) -> Waiting {
    let socket = socket.clone();
    Box::pin(async move { socket.ready(Interest::READABLE | Interest::ERROR).await })
}

impl AsyncUdpSocket for QuicSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Writable(self))
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        // The time is taken before the call, because sending wakes the reader.
        let at = Instant::now();
        match self.socket.try_send(transmit.contents) {
            Ok(_) => {
                self.trace.socket_wrote(at, transmit.contents);
                self.trace.request_flushed();
                self.sent.notify_one();
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Err(error),
            // QUIC would treat unsent data as lost packets, and the verdict would then attribute the silence to the
            // network.
            Err(error) if shortage(&error).is_some() => {
                self.trace.socket_failed(&error);
                let _ = self.fault.set(error);
                self.fell_short.notify_one();
                Ok(())
            }
            // The receiving side reports this error. QUIC treats unsent data as lost packets.
            Err(_) => Ok(()),
        }
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let (Some(buffer), Some(meta)) = (buffers.first_mut(), meta.first_mut()) else {
            return Poll::Ready(Ok(0));
        };
        match ready!(self.poll_datagram(cx, buffer)) {
            Ok(length) => {
                *meta = RecvMeta {
                    addr: self.peer,
                    len: length,
                    stride: length.clamp(1, LARGEST),
                    ecn: None,
                    dst_ip: None,
                };
                Poll::Ready(Ok(1))
            }
            Err(error) => {
                self.trace.socket_failed(&error);
                let told = again(&error);
                let _ = self.fault.set(error);
                Poll::Ready(Err(told))
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}

impl fmt::Debug for QuicSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "QuicSocket({})", self.peer)
    }
}

/// Waits until a datagram can be sent.
#[derive(Debug)]
struct Writable(Arc<QuicSocket>);

impl UdpPoller for Writable {
    fn poll_writable(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.socket.poll_send_ready(cx)
    }
}
