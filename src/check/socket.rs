//! The socket of an exchange: the one type that owns its reads and writes, and stamps them.

use super::stamps::{self, Received};
use super::tape::Tape;
use crate::report::SocketFacts;
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, RawFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// A stream of bytes to a peer.
#[derive(Debug)]
pub(super) enum Pipe {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Pipe {
    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_read_ready(cx),
            Self::Unix(stream) => stream.poll_read_ready(cx),
        }
    }

    fn try_read(&self, read: impl FnOnce() -> io::Result<Received>) -> io::Result<Received> {
        match self {
            Self::Tcp(stream) => stream.try_io(Interest::READABLE, read),
            Self::Unix(stream) => stream.try_io(Interest::READABLE, read),
        }
    }

    fn writer(&mut self) -> Pin<&mut (dyn AsyncWrite + Unpin + '_)> {
        match self {
            Self::Tcp(stream) => Pin::new(stream),
            Self::Unix(stream) => Pin::new(stream),
        }
    }

    /// What the kernel knows of it: of TCP only.
    fn facts(&self) -> Option<SocketFacts> {
        let Self::Tcp(stream) = self else { return None };
        let info = stamps::tcp_info(stream)?;
        Some(SocketFacts {
            rtt: info.rtt(),
            retransmits: info.retransmits,
        })
    }
}

impl AsRawFd for Pipe {
    fn as_raw_fd(&self) -> RawFd {
        match self {
            Self::Tcp(stream) => stream.as_raw_fd(),
            Self::Unix(stream) => stream.as_raw_fd(),
        }
    }
}

/// The socket. Below it there is only the kernel.
#[derive(Debug)]
pub(super) struct Socket {
    pipe: Pipe,
    tape: Arc<Tape>,
    /// When it was dialled.
    begun: Instant,
    stamp: Vec<u8>,
}

impl Socket {
    pub fn new(pipe: Pipe, tape: Arc<Tape>, begun: Instant) -> Self {
        Self {
            pipe,
            tape,
            begun,
            stamp: stamps::room(),
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.tape.socket_closes(self.pipe.facts());
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self {
            pipe,
            tape,
            begun,
            stamp,
        } = &mut *self;
        let most = buf.remaining().min(tape.next_read());
        let into = buf.initialize_unfilled_to(most);
        let received = loop {
            if let Err(error) = ready!(pipe.poll_read_ready(cx)) {
                break Err(error);
            }
            match pipe.try_read(|| stamps::receive(pipe, into, stamp, *begun)) {
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                received => break received,
            }
        };
        let received = received.inspect_err(|error| tape.socket_failed(error))?;
        tape.socket_read(received, &into[..received.count]);
        buf.advance(received.count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        // Before, not after: what is written wakes its reader, who may get our processor first.
        let now = Instant::now();
        let written = ready!(self.pipe.writer().poll_write(cx, buf));
        let written = written.inspect_err(|error| self.tape.socket_failed(error))?;
        self.tape.socket_wrote(now, &buf[..written]);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.pipe.writer().poll_flush(cx)
    }

    /// Whoever shuts it down closes it next: that tells the peer the same, and is one system call.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
