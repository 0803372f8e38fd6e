//! What a connection saw and when: stamps and counts below TLS, the request's end and the answer's begin above it.

use super::frames::{Frames, HeadEnd, Records};
use crate::limits::WIRE_EXCERPT;
use crate::report::{SocketFacts, Stamps};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

/// Shared by the layers of one connection and the check that watches it.
#[derive(Debug, Default)]
pub(super) struct Tape(Mutex<Marks>);

/// What the tape holds.
#[derive(Debug, Default)]
pub(super) struct Marks {
    /// Bytes written to the socket.
    pub written: u64,
    /// Bytes read from the socket.
    pub read: u64,
    /// The first bytes of the answer above TLS; of the socket where nothing came above it.
    pub excerpt: Vec<u8>,
    /// The kernel's view when the socket closed.
    pub socket: Option<SocketFacts>,
    /// When bytes crossed the socket.
    pub below: Crossings,
    /// When they crossed above TLS.
    pub above: Crossings,
    first_raw: Vec<u8>,
    first_answer: Vec<u8>,
    /// Bytes of the answer above TLS, and its head's, once that has ended.
    answer: u64,
    head: HeadEnd,
    /// The records of TLS, where the socket carries TLS.
    records: Records,
    request_pending: bool,
    request_done: Option<Instant>,
    answer_began: Option<Instant>,
    /// Above TLS when HTTP/2 is spoken: the frames we wrote and those that came.
    frames: Option<(Frames, Frames)>,
}

/// The first and the last crossing of each direction.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Crossings {
    first_write: Option<Instant>,
    last_write: Option<Instant>,
    first_read: Option<Instant>,
    last_read: Option<Instant>,
    last_bytes: Option<Instant>,
}

impl Crossings {
    fn wrote(&mut self, at: Option<Instant>) {
        self.first_write = self.first_write.or(at);
        self.last_write = at;
    }

    /// The end of the stream is a last read, but no first.
    fn read(&mut self, at: Option<Instant>, bytes: usize) {
        self.first_read = self.first_read.or(at.filter(|_| bytes > 0));
        self.last_read = at;
        if bytes > 0 {
            self.last_bytes = at;
        }
    }

    /// Counted from the start of the probe.
    pub fn since(&self, begun: Instant) -> Stamps {
        let since = |at: Option<Instant>| at.map(|at| at.saturating_duration_since(begun));
        Stamps {
            first_write: since(self.first_write),
            last_write: since(self.last_write),
            first_read: since(self.first_read),
            last_read: since(self.last_read),
            last_bytes: since(self.last_bytes),
        }
    }
}

impl Tape {
    fn marks(&self) -> MutexGuard<'_, Marks> {
        // A poisoned tape still holds true marks: a panic elsewhere does not falsify them.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on the bytes above TLS are HTTP/2 frames: a flush or a read alone says nothing.
    pub fn speak_http2(&self) {
        self.marks().frames = Some((Frames::after_preface(), Frames::default()));
    }

    pub fn socket_read(&self, at: Instant, bytes: &[u8]) {
        let mut marks = self.marks();
        marks.below.read(Some(at), bytes.len());
        marks.read += bytes.len() as u64;
        marks.records.feed(bytes);
        keep_first(&mut marks.first_raw, bytes);
    }

    pub fn socket_wrote(&self, at: Instant, count: usize) {
        let mut marks = self.marks();
        marks.below.wrote(Some(at));
        marks.written += count as u64;
    }

    pub fn request_wrote(&self, at: Instant, bytes: &[u8]) {
        let mut marks = self.marks();
        marks.above.wrote(Some(at));
        marks.request_pending |= match &mut marks.frames {
            None => !bytes.is_empty(),
            Some((ours, _)) => ours.feed(bytes).stream_ended,
        };
    }

    pub fn request_flushed(&self) {
        let mut marks = self.marks();
        if marks.request_pending && marks.request_done.is_none() {
            marks.request_done = marks.below.last_write;
        }
    }

    pub fn answer_read(&self, bytes: &[u8]) {
        let mut marks = self.marks();
        let began = match &mut marks.frames {
            None => !bytes.is_empty(),
            Some((_, theirs)) => theirs.feed(bytes).headers_began,
        };
        if began && marks.answer_began.is_none() {
            marks.answer_began = marks.below.last_read;
        }
        let at = marks.below.last_read;
        marks.above.read(at, bytes.len());
        marks.answer += bytes.len() as u64;
        marks.head.feed(bytes);
        keep_first(&mut marks.first_answer, bytes);
    }

    pub fn socket_closes(&self, stream: &TcpStream) {
        self.marks().socket = socket_facts(stream);
    }

    /// When the last byte of the request was written.
    pub fn request_done(&self) -> Option<Instant> {
        self.marks().request_done
    }

    /// When the read returned that brought the first byte of the answer.
    pub fn answer_began(&self) -> Option<Instant> {
        self.marks().answer_began
    }

    /// When the last read returned.
    pub fn last_read(&self) -> Option<Instant> {
        self.marks().below.last_read
    }

    /// Bytes that came after the head of an HTTP/1 answer. Unknown where an interim answer (1xx) came first.
    pub fn after_head(&self) -> Option<u64> {
        let marks = self.marks();
        let interim = |start: &[u8]| start.starts_with(b"HTTP/1") && start.get(9) == Some(&b'1');
        if marks.frames.is_some() || interim(&marks.first_answer) {
            return None;
        }
        Some(marks.answer - marks.head.at()?)
    }

    /// Whether an answer came that begins unlike HTTP/1.
    pub fn answer_is_no_http(&self) -> bool {
        let marks = self.marks();
        let came = &marks.first_answer;
        marks.frames.is_none() && !came.starts_with(&b"HTTP/"[..came.len().min(5)])
    }

    /// Whether what came is whole TLS records.
    pub fn at_record_boundary(&self) -> bool {
        self.marks().records.at_boundary()
    }

    /// Whether the first byte that came could begin a TLS record (content types 20 to 23).
    pub fn began_like_tls(&self) -> Option<bool> {
        self.marks().first_raw.first().map(|first| (20..=23).contains(first))
    }

    /// Everything, once the connection is closed.
    pub fn read_out(&self) -> Marks {
        let mut marks = std::mem::take(&mut *self.marks());
        marks.excerpt = if marks.first_answer.is_empty() {
            std::mem::take(&mut marks.first_raw)
        } else {
            std::mem::take(&mut marks.first_answer)
        };
        marks
    }
}

fn keep_first(kept: &mut Vec<u8>, bytes: &[u8]) {
    let room = WIRE_EXCERPT.saturating_sub(kept.len());
    kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
}

mod kernel {
    //! `TCP_INFO` through nix: its macros make the option, no unsafe code of ours.
    use nix::{getsockopt_impl, libc, sockopt_impl};
    sockopt_impl!(TcpInfo, GetOnly, libc::IPPROTO_TCP, libc::TCP_INFO, libc::tcp_info);
}

fn socket_facts(stream: &TcpStream) -> Option<SocketFacts> {
    let info = nix::sys::socket::getsockopt(stream, kernel::TcpInfo).ok()?;
    Some(SocketFacts {
        rtt: Duration::from_micros(info.tcpi_rtt.into()),
        retransmits: info.tcpi_total_retrans,
    })
}
