//! The socket of an exchange: the one type that owns its reads and writes, and stamps them.

use super::arrivals::{Arrival, ArrivalWatch};
use super::rx_timestamps::{self, ReceivedPacket};
use super::trace::Trace;
use crate::report::SocketFacts;
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, RawFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// A stream of bytes to a peer.
#[derive(Debug)]
pub(super) enum SocketStream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl SocketStream {
    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_read_ready(cx),
            Self::Unix(stream) => stream.poll_read_ready(cx),
        }
    }

    fn try_read(&self, read: impl FnOnce() -> io::Result<ReceivedPacket>) -> io::Result<ReceivedPacket> {
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
        let info = rx_timestamps::tcp_info(stream)?;
        Some(SocketFacts {
            rtt: info.rtt(),
            retransmits: info.retransmits,
        })
    }
}

impl AsRawFd for SocketStream {
    fn as_raw_fd(&self) -> RawFd {
        match self {
            Self::Tcp(stream) => stream.as_raw_fd(),
            Self::Unix(stream) => stream.as_raw_fd(),
        }
    }
}

/// Where the first byte of a response may have come earlier than its timestamp by more, its time is not known.
const TOLERATED: Duration = Duration::from_micros(500);

/// The socket. Below it there is only the kernel.
#[derive(Debug)]
pub(super) struct Socket {
    // Before the pipe: a socket must not be closed while it is watched.
    response: Box<ResponseWatch>,
    pipe: SocketStream,
    trace: Arc<Trace>,
    /// When it was dialled.
    begun: Instant,
    stamp: Vec<u8>,
    /// A write failed. What the peer sent before may be in the kernel while the runtime does not know of it yet.
    write_failed: bool,
}

/// The wait for the response: from the moment the socket was found empty to the read that ends it.
#[derive(Debug, Default)]
struct ResponseWatch {
    watch: ArrivalWatch,
    /// The socket was found empty, and has not been read since.
    empty: Option<Empty>,
    /// What was read after that.
    first: Option<FirstRead>,
}

/// A socket without anything to read.
#[derive(Clone, Copy, Debug)]
struct Empty {
    since: Instant,
    /// Segments with data that had come until then, if the kernel tells.
    segments: Option<u32>,
}

/// Bytes that may have been merged from several segments.
#[derive(Clone, Copy, Debug)]
struct FirstRead {
    before: Empty,
    /// They were not there before, as the thread that watches knows. Unknown where that was later than the worker.
    not_before: Option<Instant>,
    received: ReceivedPacket,
}

impl Socket {
    pub fn new(pipe: SocketStream, trace: Arc<Trace>, begun: Instant) -> Self {
        Self {
            response: Box::default(),
            pipe,
            trace,
            begun,
            stamp: rx_timestamps::room(),
            write_failed: false,
        }
    }

    /// What the peer sent before a write failed.
    fn receive_after_failed_write(&mut self, into: &mut [u8]) -> Option<ReceivedPacket> {
        let Self {
            pipe,
            begun,
            stamp,
            write_failed,
            ..
        } = self;
        write_failed.then(|| rx_timestamps::receive(pipe, into, stamp, *begun).ok())?
    }

    /// There is nothing to read. Where it is the response that has to come, its first byte is watched for.
    fn found_empty(&mut self) {
        let SocketStream::Tcp(stream) = &self.pipe else { return };
        let Some(read) = self.trace.read_before_response() else {
            return;
        };
        let response = &mut self.response;
        if response.empty.is_none() {
            let counted = || rx_timestamps::segments(stream).map(|(count, _)| count);
            response.empty = Some(Empty {
                since: Instant::now(),
                segments: if read == 0 { Some(0) } else { counted() },
            });
            response.watch.arm(stream, self.begun);
        }
    }

    /// The same bytes with the time at which they came, as far as that is known better. `arrival` is that of the first of them.
    fn corrected(&mut self, received: ReceivedPacket, arrival: Option<Arrival>) -> ReceivedPacket {
        if received.count == 0 || self.trace.read_before_response().is_none() {
            return received;
        }
        let (first, received) = match (self.response.empty.take(), self.response.first) {
            (Some(before), _) => {
                let at = arrival.and_then(|arrival| arrival.at);
                let received = at.map_or(received, |at| received.not_after(at));
                let not_before = arrival.map(|arrival| arrival.not_before);
                let first = FirstRead {
                    before,
                    not_before,
                    received,
                };
                (first, received)
            }
            // The rest of a record that lies in the same buffer came with its begin.
            (None, Some(first)) if first.received.stamp == received.stamp && self.trace.is_within_record() => {
                return received.not_after(first.received.at());
            }
            (None, Some(first)) => (FirstRead { received, ..first }, received),
            // It was never found empty: all that is known is that no response comes before its request.
            (None, None) => {
                let (Some(sent), Some(read)) = (self.trace.last_write(), self.trace.read_before_response()) else {
                    return received;
                };
                let before = Empty {
                    since: sent,
                    segments: (read == 0).then_some(0),
                };
                let first = FirstRead {
                    before,
                    not_before: Some(sent),
                    received,
                };
                (first, received)
            }
        };
        self.response.first = Some(first);
        self.trace
            .doubt_first_byte(first.not_before.and_then(|at| self.doubt(first, at)));
        received
    }

    /// How much earlier than its timestamp the first byte may have come, if more than is tolerated. It cannot have come before
    /// `not_before`.
    fn doubt(&self, first: FirstRead, not_before: Instant) -> Option<Duration> {
        let doubt = first.received.at().saturating_duration_since(not_before);
        if first.received.stamp.is_none() || doubt <= TOLERATED {
            return None;
        }
        // Of a single segment the timestamp is right. The end of the stream is merged like a segment, and counts as none.
        let since_empty = match (&self.pipe, first.before.segments) {
            (SocketStream::Tcp(stream), Some(before)) => {
                rx_timestamps::segments(stream).map(|(count, ended)| (count.wrapping_sub(before), ended))
            }
            _ => None,
        };
        let single = matches!(since_empty, Some((0 | 1, false)));
        (!single).then_some(doubt)
    }

    /// What was not known when the first byte was read, because the worker was there before the thread that watches.
    fn settle(&self) {
        let Some(first) = self.response.first.filter(|first| first.not_before.is_none()) else {
            return;
        };
        let doubt = match self.response.watch.disarm() {
            Some(arrival) => self.doubt(first, arrival.not_before),
            // That does not run, or is late itself: then it counts how late the worker was.
            None if first.received.delay > Some(TOLERATED) => self.doubt(first, first.before.since),
            None => None,
        };
        self.trace.doubt_first_byte(doubt);
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.settle();
        self.trace.socket_closes(self.pipe.facts());
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let most = buf.remaining().min(self.trace.next_read());
        let into = buf.initialize_unfilled_to(most);
        let mut arrival = None;
        let at_once = self.receive_after_failed_write(into);
        let received = loop {
            if let Some(received) = at_once {
                break Ok(received);
            }
            match self.pipe.poll_read_ready(cx) {
                Poll::Pending => {
                    self.found_empty();
                    return Poll::Pending;
                }
                Poll::Ready(Err(error)) => break Err(error),
                Poll::Ready(Ok(())) => {}
            }
            if self.response.empty.is_some() {
                arrival = self.response.watch.disarm().or(arrival);
            }
            let Self { pipe, begun, stamp, .. } = &mut *self;
            match pipe.try_read(|| rx_timestamps::receive(pipe, into, stamp, *begun)) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => (self.response.empty, arrival) = (None, None),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                received => break received,
            }
        };
        let received = received.inspect_err(|error| self.trace.socket_failed(error))?;
        let received = self.corrected(received, arrival);
        self.trace.socket_read(received, &into[..received.count]);
        buf.advance(received.count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        // Before, not after: what is written wakes its reader, who may get our processor first.
        let now = Instant::now();
        let written = ready!(self.pipe.writer().poll_write(cx, buf));
        let written = written.inspect_err(|error| {
            self.write_failed = true;
            self.trace.socket_failed(error);
        })?;
        self.trace.socket_wrote(now, &buf[..written]);
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
