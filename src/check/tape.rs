//! What a connection saw and when: stamps and counts below TLS, the request's end and the answer's begin above it.

mod crossings;
mod delays;
mod handshake;

use super::frames::{Frames, HeadEnd, Records};
use super::own_fault::shortage;
use super::stamps::Received;
use crate::limits::WIRE_EXCERPT;
use crate::reason::Reason;
use crate::report::{Clock, Clocks, SocketFacts};
use crossings::Crossings;
use delays::Delays;
use handshake::Handshake;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The type of a TLS record that TLS 1.3 sends within a flight, for the sake of old middleboxes (RFC 8446 appendix D.4).
const CHANGE_CIPHER_SPEC: u8 = 20;

/// As much may always be read at once where the answer has begun: most answers are shorter.
const LEAST_READ: usize = 4096;

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
    /// Heads of the answer in frames of HTTP/2.
    headers: usize,
    /// The records of TLS, where the socket carries TLS.
    records: Records,
    /// Whether those records are TLS at all.
    tls: bool,
    handshake: Handshake,
    delays: Delays,
    /// The request is being written, or is.
    sending: bool,
    request_began: Option<Instant>,
    request_pending: bool,
    request_done: Option<Instant>,
    answer_began: Option<Instant>,
    answer_clock: Clock,
    /// What this host was short of when the socket was to read or to write.
    shortage: Option<Reason>,
    /// Above TLS when HTTP/2 is spoken: the frames we wrote and those that came.
    frames: Option<(Frames, Frames)>,
}

impl Marks {
    /// Whose clock told what.
    pub fn clocks(&self) -> Clocks {
        Clocks {
            connected: self.delays.connected,
            secured: self.delays.secured,
            first_byte: self.answer_clock,
            last_byte: self.delays.last_byte,
            wakeup_delay: self.delays.longest,
            own_delay: self.delays.in_all(),
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

    /// The connection was open at `at`, by the kernel's word; we got to it `delay` later.
    pub fn connected(&self, delay: Option<Duration>) {
        let delays = &mut self.marks().delays;
        if let Some(delay) = delay {
            delays.connected = Clock::Kernel;
            delays.saw(delay);
            delays.answered += delay;
        }
    }

    /// From now on the socket carries TLS, whatever it carried before; `within` the TLS of a proxy, where that is so.
    pub fn speak_tls(&self, within: bool) {
        let mut marks = self.marks();
        marks.tls = true;
        marks.handshake.within = within;
        marks.records = Records::default();
        marks.first_raw.clear();
    }

    /// How late we came to the flights of the handshake, in all.
    pub fn handshake_delay(&self, connect: Duration) -> Duration {
        self.marks().delays.in_all().saturating_sub(connect)
    }

    /// How late we came to the connection.
    pub fn connect_delay(&self) -> Duration {
        self.marks().delays.answered
    }

    /// From now on what is written is the request.
    pub fn send(&self) {
        let mut marks = self.marks();
        marks.sending = true;
        marks.delays.answer();
    }

    /// How much may be read at once. A read has the stamp of the last packet it takes from: until the answer has begun,
    /// none may take more than what its first byte can come with, a byte, or a TLS record.
    pub fn next_read(&self) -> usize {
        let marks = self.marks();
        match (marks.sending && marks.answer_began.is_none(), marks.tls) {
            // Room is cleared before it is read into: as much as has come already is little for a long answer, too.
            (false, _) => usize::try_from(marks.read).unwrap_or(usize::MAX).max(LEAST_READ),
            (true, true) => marks.records.rest(),
            (true, false) => 1,
        }
    }

    pub fn socket_read(&self, received: Received, bytes: &[u8]) {
        let mut marks = self.marks();
        let at = received.at();
        if !bytes.is_empty() {
            marks.delays.read(received);
            if !marks.sending {
                marks.delays.secured = received.clock();
            }
        }
        marks.below.read(Some(at), bytes.len());
        marks.read += bytes.len() as u64;
        marks.records.feed(bytes);
        if !marks.handshake.within {
            keep_first(&mut marks.first_raw, bytes);
        }
    }

    pub fn socket_wrote(&self, at: Instant, bytes: &[u8]) {
        let mut marks = self.marks();
        if marks.sending {
            marks.request_began = marks.request_began.or(Some(at));
        } else if bytes.first() != Some(&CHANGE_CIPHER_SPEC) {
            marks.delays.answer();
        }
        marks.below.wrote(Some(at));
        marks.written += bytes.len() as u64;
    }

    /// A datagram is written as a whole.
    pub fn datagram_sent(&self, at: Instant, bytes: usize) {
        let mut marks = self.marks();
        marks.below.wrote(Some(at));
        marks.above.wrote(Some(at));
        marks.written += bytes as u64;
    }

    /// A datagram that is none of plain text was read as a whole.
    pub fn datagram_read(&self, received: Received) {
        let mut marks = self.marks();
        marks.delays.read(received);
        if !marks.sending {
            marks.delays.secured = received.clock();
        }
        marks.below.read(Some(received.at()), received.count);
        marks.read += received.count as u64;
    }

    /// The request has ended: the next datagram has its end.
    pub fn request_ended(&self) {
        self.marks().request_pending = true;
    }

    /// Bytes that came while there is no answer.
    pub fn unanswered(&self) -> u64 {
        let marks = self.marks();
        marks.answer_began.map_or(marks.read, |_| 0)
    }

    /// The head of the answer came with the datagram that was read last.
    pub fn answer_came(&self) {
        let mut marks = self.marks();
        let stamped = marks.below.last_read.filter(|at| Some(*at) >= marks.request_began);
        marks.answer_began = stamped.or(marks.delays.read);
        marks.answer_clock = stamped.map_or(Clock::Exporter, |_| marks.delays.last_byte);
    }

    pub fn request_wrote(&self, bytes: &[u8]) {
        let mut marks = self.marks();
        let at = marks.below.last_write;
        marks.above.wrote(at);
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
            Some((_, theirs)) => {
                let headers = theirs.feed(bytes).headers;
                marks.headers += headers;
                headers > 0
            }
        };
        if began && marks.answer_began.is_none() {
            // No answer comes before the request: such a stamp is that of a clock that was set meanwhile.
            let stamped = marks.below.last_read.filter(|at| Some(*at) >= marks.request_began);
            marks.answer_began = stamped.or(marks.delays.read);
            marks.answer_clock = stamped.map_or(Clock::Exporter, |_| marks.delays.last_byte);
        }
        let at = marks.below.last_read;
        marks.above.read(at, bytes.len());
        marks.answer += bytes.len() as u64;
        marks.head.feed(bytes);
        keep_first(&mut marks.first_answer, bytes);
    }

    /// The kernel would not read or write. Where that is for want of something on this host, it is so for whoever reads or
    /// writes through us: libraries drop the kernel's number.
    pub fn socket_failed(&self, error: &io::Error) {
        if let Some(short) = shortage(error) {
            self.marks().shortage = Some(short);
        }
    }

    /// What a library does beside the probe panicked: that is ours, whatever the probe then sees of it.
    pub fn library_panicked(&self) {
        self.marks().shortage = Some(Reason::LocalPanicked);
    }

    /// What this host was short of, if the socket ever was, or that a library failed on it.
    pub fn shortage(&self) -> Option<Reason> {
        self.marks().shortage
    }

    pub fn socket_closes(&self, facts: Option<SocketFacts>) {
        self.marks().socket = facts;
    }

    /// When bytes were last read from the socket.
    pub fn last_read(&self) -> Option<Instant> {
        self.marks().below.last_read
    }

    /// When bytes were last written to the socket.
    pub fn last_write(&self) -> Option<Instant> {
        self.marks().below.last_write
    }

    /// When the first byte of the request was written.
    pub fn request_began(&self) -> Option<Instant> {
        self.marks().request_began
    }

    /// When the last byte of the request was written.
    pub fn request_done(&self) -> Option<Instant> {
        self.marks().request_done
    }

    /// When the first byte of the answer came.
    pub fn answer_began(&self) -> Option<Instant> {
        self.marks().answer_began
    }

    /// When the answer ended: with its last bytes, or, where only that frames it, with the end of the stream.
    pub fn answer_ended(&self, framed: bool) -> Option<Instant> {
        let mut marks = self.marks();
        if !framed && marks.below.last_read != marks.below.last_bytes {
            // The end of the stream has no stamp. The last bytes' delay was in what the peer took to end it.
            marks.delays.last = Duration::ZERO;
            marks.delays.last_byte = Clock::Exporter;
        }
        let below = marks.below;
        if framed { below.last_bytes } else { below.last_read }
    }

    /// Bytes that came after the head of an HTTP/1 answer.
    pub fn after_head(&self) -> Option<u64> {
        let marks = self.marks();
        Some(marks.answer - marks.head.at()?).filter(|_| marks.frames.is_none())
    }

    /// Interim answers that came before the final one.
    pub fn interims(&self) -> usize {
        let marks = self.marks();
        match marks.frames {
            Some(_) => marks.headers.saturating_sub(1),
            None => marks.head.interims(),
        }
    }

    /// Whether an answer came that begins unlike HTTP/1.
    pub fn answer_is_no_http(&self) -> bool {
        let marks = self.marks();
        let came = &marks.first_answer;
        marks.frames.is_none() && !came.starts_with(&b"HTTP/"[..came.len().min(5)])
    }

    /// Whether a TLS alert came first (RFC 8446 section 6), to what was no handshake.
    pub fn answer_is_tls_alert(&self) -> bool {
        let marks = self.marks();
        matches!(marks.first_answer[..], [21, 3, 0..=4, 0, 2, 1 | 2, _, ..])
    }

    /// Whether what came is whole TLS records.
    pub fn at_record_boundary(&self) -> bool {
        self.marks().records.at_boundary()
    }

    /// Whether the first byte that came could begin a TLS record (content types 20 to 23); nothing where no byte came.
    pub fn began_like_tls(&self) -> Option<bool> {
        self.marks().first_raw.first().map(|first| (20..=23).contains(first))
    }

    /// Whether what came begins with an alert of TLS: the server chose nothing.
    pub fn began_with_alert(&self) -> bool {
        self.marks().first_raw.first() == Some(&21)
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
