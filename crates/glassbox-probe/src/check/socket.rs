//! The socket of an exchange. All reads and writes go through this type, which timestamps them.

use super::arrivals::{ArrivalWatch, Arrivals, EmptySocket, TOLERATED, WatchMode};
use super::rx_timestamps::{self, ReceivedPacket};
use super::trace::Trace;
use glassbox_verdict::report::SocketFacts;
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, RawFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// A byte stream to the remote end.
#[derive(Debug)]
pub(super) enum SocketStream {
    /// Shared with the thread that notes arrivals.
    Tcp(Arc<TcpStream>),
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

    fn poll_write(&mut self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let stream = match self {
            Self::Tcp(stream) => stream,
            Self::Unix(stream) => return Pin::new(stream).poll_write(cx, buf),
        };
        loop {
            ready!(stream.poll_write_ready(cx))?;
            match stream.try_write(buf) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
        }
    }

    /// The kernel's information on the connection; TCP only.
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

/// The socket: the lowest layer, directly above the kernel.
#[derive(Debug)]
pub(super) struct Socket {
    // Declared before the pipe and therefore dropped first: a socket must not be closed while it is watched.
    response: Box<ResponseWatch>,
    pipe: SocketStream,
    trace: Arc<Trace>,
    /// Time of the dial.
    begun: Instant,
    stamp: Vec<u8>,
    /// Whether a write failed. The kernel may hold data that the peer sent before, without the runtime knowing it yet.
    write_failed: bool,
}

/// The wait for the response, from the moment when no data was left to read.
#[derive(Debug, Default)]
struct ResponseWatch {
    watch: ArrivalWatch,
    /// The socket when no data was left to read.
    empty: Option<EmptySocket>,
    /// The arrivals since then; set when the worker reads.
    arrivals: Option<Arrivals>,
    /// The last read, which may have brought the first byte of the response.
    last: Option<ResponseRead>,
    /// Whether the response has more than one segment.
    has_more_segments: bool,
}

/// The bytes of a read, which may have been merged from several segments.
#[derive(Clone, Copy, Debug)]
struct ResponseRead {
    received: ReceivedPacket,
    /// Whether they are known to be one segment.
    single: bool,
    /// Time at which they had not arrived yet, if known. The thread that notes arrivals may be later than the worker.
    not_before: Option<Instant>,
    /// A state of the socket in which they had not arrived yet.
    before: EmptySocket,
}

impl ResponseWatch {
    fn stop(&mut self) {
        if self.empty.is_some() && self.arrivals.is_none() {
            self.arrivals = Some(self.watch.disarm());
        }
    }

    /// Returns a read after which `upto` bytes of the stream were read, with a more precise arrival time if one is
    /// known.
    fn find(&self, received: ReceivedPacket, upto: u64) -> Option<ResponseRead> {
        let (mut before, arrivals) = (self.empty?, self.arrivals.as_ref()?);
        for arrival in &arrivals.notes {
            if arrival.upto >= upto {
                return Some(ResponseRead {
                    received: received.not_after(arrival.at),
                    single: arrival.single,
                    not_before: Some(arrival.not_before),
                    before,
                });
            }
            before = EmptySocket {
                since: arrival.looked,
                read: arrival.upto,
                segments: arrival.segments,
            };
        }
        Some(ResponseRead {
            received,
            single: false,
            not_before: arrivals.rest_not_before,
            before,
        })
    }
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

    /// Receives the data that the peer sent before a write failed.
    fn receive_after_failed_write(&mut self, into: &mut [u8]) -> Option<ReceivedPacket> {
        if !self.write_failed {
            return None;
        }
        self.response.stop();
        rx_timestamps::receive(&self.pipe, into, &mut self.stamp, self.begun).ok()
    }

    /// Called when no data is left to read. If the response is next, watches for its arrival.
    fn found_empty(&mut self) {
        let SocketStream::Tcp(stream) = &self.pipe else { return };
        let Some(read) = self.trace.read_before_response() else {
            return;
        };
        let response = &mut self.response;
        if response.empty.is_some() && response.arrivals.is_none() {
            return;
        }
        let counted = || rx_timestamps::received(stream)?.segments_of(read);
        let empty = EmptySocket {
            since: Instant::now(),
            read,
            segments: if read == 0 { Some(0) } else { counted() },
        };
        let mode = WatchMode {
            dialled: self.begun,
            framed: self.trace.is_framed(),
        };
        (response.empty, response.arrivals) = (Some(empty), None);
        response.watch.arm(stream, empty, mode);
    }

    /// Returns a read with a more precise arrival time if one is known.
    fn corrected(&mut self, received: ReceivedPacket) -> ReceivedPacket {
        if received.count == 0 {
            return received;
        }
        let Some(read) = self.trace.read_before_response() else {
            return self.corrected_rest(received);
        };
        let found = self.response.find(received, read + received.count as u64);
        // The socket was never found empty, so the only lower bound is that a response does not precede its request.
        let never_empty = || {
            let sent = self.trace.last_write()?;
            Some(ResponseRead {
                received,
                single: false,
                not_before: Some(sent),
                before: EmptySocket {
                    since: sent,
                    read,
                    segments: (read == 0).then_some(0),
                },
            })
        };
        let Some(found) = found.or_else(never_empty) else {
            return received;
        };
        self.response.last = Some(found);
        self.trace
            .doubt_first_byte(found.not_before.and_then(|at| self.doubt(found, at)));
        found.received
    }

    /// The same for bytes after the first byte of the response. If only one data segment has arrived, these bytes
    /// arrived together with the first one. A later timestamp is then that of the end of the stream, which was merged
    /// with them.
    fn corrected_rest(&mut self, received: ReceivedPacket) -> ReceivedPacket {
        let (SocketStream::Tcp(stream), Some(first)) = (&self.pipe, self.response.last) else {
            return received;
        };
        if self.response.has_more_segments || received.at() <= first.received.at() {
            return received;
        }
        let all = rx_timestamps::received(stream);
        self.response.has_more_segments = !all.is_some_and(|all| all.is_one_segment_since(first.before.segments));
        if self.response.has_more_segments {
            received
        } else {
            received.not_after(first.received.at())
        }
    }

    /// Returns how much earlier than their timestamp the bytes may have arrived, if this exceeds the tolerance.
    /// `not_before` is a time at which they had not arrived yet.
    fn doubt(&self, read: ResponseRead, not_before: Instant) -> Option<Duration> {
        let doubt = read.received.at().saturating_duration_since(not_before);
        if read.single || read.received.stamp.is_none() || doubt <= TOLERATED {
            return None;
        }
        // The timestamp of a single segment is correct.
        let single = match &self.pipe {
            SocketStream::Tcp(stream) => {
                rx_timestamps::received(stream).is_some_and(|received| received.is_single_since(read.before.segments))
            }
            SocketStream::Unix(_) => false,
        };
        (!single).then_some(doubt)
    }

    /// Resolves a doubt that the last read left open because the worker was earlier than the thread that notes
    /// arrivals.
    fn settle(&self) {
        let Some(read) = self.response.last.filter(|read| read.not_before.is_none()) else {
            return;
        };
        let doubt = match self.response.watch.disarm().rest_not_before {
            Some(not_before) => self.doubt(read, not_before),
            // The thread does not run or is itself late, so the worker's own delay decides.
            None if read.received.delay > Some(TOLERATED) => self.doubt(read, read.before.since),
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
            self.response.stop();
            let Self { pipe, begun, stamp, .. } = &mut *self;
            match pipe.try_read(|| rx_timestamps::receive(pipe, into, stamp, *begun)) {
                // After `WouldBlock`, the socket is found empty anew.
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                received => break received,
            }
        };
        let received = received.inspect_err(|error| self.trace.socket_failed(error))?;
        let received = self.corrected(received);
        self.trace.socket_read(received, &into[..received.count]);
        buf.advance(received.count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        // The time is taken before the write, because the write wakes its reader, which may get this CPU first.
        let now = Instant::now();
        let written = ready!(self.pipe.poll_write(cx, buf));
        let written = written.inspect_err(|error| {
            self.write_failed = true;
            self.trace.socket_failed(error);
        })?;
        self.trace.socket_wrote(now, &buf[..written]);
        Poll::Ready(Ok(written))
    }

    /// A socket has no write buffer.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Does nothing, which saves a system call: the caller closes the socket next, with the same effect for the peer.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::{Socket, SocketStream, TOLERATED};
    use crate::check::rx_timestamps;
    use crate::check::trace::Trace;
    use std::future::poll_fn;
    use std::io::Write as _;
    use std::pin::Pin;
    use std::sync::Arc;
    use std::task::Poll;
    use std::thread;
    use std::time::{Duration, Instant};
    use tokio::io::{AsyncRead, AsyncReadExt as _, ReadBuf};
    use tokio::net::{TcpListener, TcpStream};

    /// Longer than the tolerated error. No test can pause the kernel's clock.
    const GAP: Duration = TOLERATED.saturating_mul(2);

    /// Both ends of a connection.
    async fn connected() -> (TcpStream, std::net::TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        rx_timestamps::turn_on(&stream);
        let peer = listener.accept().await.unwrap().0.into_std().unwrap();
        peer.set_nodelay(true).unwrap();
        (stream, peer)
    }

    /// Waits until the kernel timestamps packets. It starts shortly after the first socket requests it.
    async fn until_packets_have_timestamps() {
        loop {
            let begun = Instant::now();
            let (stream, mut peer) = connected().await;
            peer.write_all(b"x").unwrap();
            stream.readable().await.unwrap();
            let read = rx_timestamps::receive(&stream, &mut [0], &mut rx_timestamps::room(), begun);
            if read.unwrap().stamp.is_some() {
                return;
            }
        }
    }

    /// A socket that waits for a response over TLS, and the other end of its connection.
    async fn waiting(trace: &Arc<Trace>) -> (Socket, std::net::TcpStream) {
        until_packets_have_timestamps().await;
        let begun = Instant::now();
        let (stream, peer) = connected().await;
        let mut socket = Socket::new(SocketStream::Tcp(Arc::new(stream)), trace.clone(), begun);
        trace.speak_tls(false);
        trace.send();
        poll_fn(|cx| {
            let polled = Pin::new(&mut socket).poll_read(cx, &mut ReadBuf::new(&mut [0]));
            assert!(polled.is_pending());
            Poll::Ready(())
        })
        .await;
        (socket, peer)
    }

    fn received(socket: &Socket) -> rx_timestamps::ReceivedSegments {
        let SocketStream::Tcp(stream) = &socket.pipe else {
            panic!("the tests use TCP");
        };
        rx_timestamps::received(stream).unwrap()
    }

    /// Reads one record: first its header, then the rest.
    async fn read_record(socket: &mut Socket) {
        let mut record = [0; 64];
        assert_eq!(socket.read(&mut record).await.unwrap(), 5);
        let rest = usize::from(record[4]);
        assert_eq!(socket.read(&mut record).await.unwrap(), rest);
    }

    /// The worker reads after the session tickets, the head and the body have arrived, each in its own record and
    /// segment.
    #[tokio::test]
    async fn a_late_worker_finds_the_time_of_the_record_that_starts_the_response() {
        let trace = Arc::new(Trace::default());
        let (mut socket, mut peer) = waiting(&trace).await;
        let mut sent = Vec::new();
        // This blocks the only worker, but not the thread that notes arrivals.
        for record in [
            &b"\x17\x03\x03\0\x07tickets"[..],
            b"\x17\x03\x03\0\x04head",
            b"\x17\x03\x03\0\x04body",
        ] {
            sent.push(Instant::now());
            peer.write_all(record).unwrap();
            socket.response.watch.noted(sent.len());
        }
        read_record(&mut socket).await;
        read_record(&mut socket).await;
        trace.answer_read(b"head");
        // From here on, a read takes all data that has arrived.
        assert_eq!(socket.read(&mut [0; 64]).await.unwrap(), 9);
        drop(socket);
        let began = trace.answer_began().unwrap();
        assert!(sent[1] <= began && began < sent[2], "{:?}", began - sent[1]);
        assert_eq!(trace.read_out().clocks().first_byte_doubt, None);
    }

    /// The end of the stream replaces the timestamp of the data, which the worker reads later.
    #[tokio::test]
    async fn the_end_of_the_stream_does_not_make_a_response_of_one_segment_longer() {
        let trace = Arc::new(Trace::default());
        let (mut socket, mut peer) = waiting(&trace).await;
        let sent = Instant::now();
        peer.write_all(b"\x17\x03\x03\0\x04head\x17\x03\x03\0\x04body").unwrap();
        socket.response.watch.noted(1);
        let closed = Instant::now();
        peer.shutdown(std::net::Shutdown::Write).unwrap();
        while !received(&socket).has_ended() {}
        read_record(&mut socket).await;
        trace.answer_read(b"head");
        assert_eq!(socket.read(&mut [0; 64]).await.unwrap(), 9);
        let ended = trace.answer_ended(true).unwrap();
        assert!(sent <= ended && ended < closed, "{:?}", ended - sent);
        drop(socket);
        assert_eq!(trace.read_out().clocks().first_byte_doubt, None);
    }

    /// The counterpart of the first test: no arrivals were noted, and the kernel only kept the timestamps of the body.
    #[tokio::test]
    async fn a_late_worker_alone_does_not_know_the_time_of_the_response() {
        let trace = Arc::new(Trace::default());
        let (mut socket, mut peer) = waiting(&trace).await;
        // As if the thread had been stopped until the worker had finished reading.
        let arrivals = socket.response.watch.disarm();
        assert_eq!(arrivals.notes, []);
        let sent = Instant::now();
        for record in [
            &b"\x17\x03\x03\0\x07tickets"[..],
            b"\x17\x03\x03\0\x04head",
            b"\x17\x03\x03\0\x04body",
        ] {
            peer.write_all(record).unwrap();
            thread::sleep(GAP);
        }
        read_record(&mut socket).await;
        read_record(&mut socket).await;
        trace.answer_read(b"head");
        drop(socket);
        assert!(trace.answer_began().unwrap() >= sent + 2 * GAP);
        assert!(trace.read_out().clocks().first_byte_doubt > Some(TOLERATED));
    }
}
