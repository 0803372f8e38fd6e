//! The trace of one connection: timestamps and byte counts below TLS, and the end of the request and the start of the response above
//! it.
//!
//! Two layers write to it. The socket, below TLS, records each read and write with the kernel's timestamp. A `TracedStream`, above TLS,
//! records when the last byte of the request was flushed and which read brought the first byte of the response. The stages read their
//! start and end times from it, so that a phase ends when the event happened on the wire, not when a task noticed it.

mod handshake;
mod io_timestamps;
mod read_delays;
mod records;

use super::http2_frames::{Http2Frames, TlsRecords};
use super::local_fault::shortage;
use super::rx_timestamps::ReceivedPacket;
use crate::limits::WIRE_EXCERPT;
use crate::reason::Reason;
use crate::report::{ClockSource, ClockSources, Deviation, Deviations, SocketFacts};
use handshake::HandshakeTrace;
use io_timestamps::IoTimestamps;
use read_delays::ReadDelays;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The type of a TLS record that TLS 1.3 sends within a flight, for the sake of old middleboxes (RFC 8446 appendix D.4).
const CHANGE_CIPHER_SPEC: u8 = 20;

/// As much may always be read at once where the answer has begun: most answers are shorter.
const LEAST_READ: usize = 4096;

/// Shared by the layers of one connection and the check that watches it.
#[derive(Debug, Default)]
pub(super) struct Trace(Mutex<TraceState>);

/// What the tape holds.
#[derive(Debug, Default)]
pub(super) struct TraceState {
    /// Bytes written to the socket.
    pub written: u64,
    /// Bytes read from the socket.
    pub read: u64,
    /// The first bytes of the answer above TLS; of the socket where nothing came above it.
    pub excerpt: Vec<u8>,
    /// Bytes of the answer above TLS up to the end of its final head; of HTTP/1 only.
    pub heads: Option<usize>,
    /// The kernel's view when the socket closed.
    pub socket: Option<SocketFacts>,
    /// When bytes crossed the socket.
    pub below: IoTimestamps,
    /// When they crossed above TLS.
    pub above: IoTimestamps,
    first_raw: Vec<u8>,
    first_answer: Vec<u8>,
    /// How the answer deviates from HTTP.
    pub deviations: Deviations,
    /// Heads of the answer in frames of HTTP/2.
    headers: usize,
    /// The records of TLS, where the socket carries TLS.
    records: TlsRecords,
    /// Whether those records are TLS at all.
    tls: bool,
    handshake: HandshakeTrace,
    delays: ReadDelays,
    /// The request is being written, or is.
    sending: bool,
    request_began: Option<Instant>,
    request_pending: bool,
    request_done: Option<Instant>,
    answer_began: Option<Instant>,
    answer_clock: ClockSource,
    /// How much earlier the first byte of the answer may have come.
    answer_doubt: Option<Duration>,
    /// What this host was short of when the socket was to read or to write.
    shortage: Option<Reason>,
    /// Above TLS when HTTP/2 is spoken: the frames we wrote and those that came.
    frames: Option<(Http2Frames, Http2Frames)>,
}

impl TraceState {
    /// Whose clock told what.
    pub fn clocks(&self) -> ClockSources {
        ClockSources {
            connected: self.delays.connected,
            secured: self.delays.secured,
            first_byte: self.answer_clock,
            first_byte_doubt: self.answer_doubt.filter(|_| self.answer_began.is_some()),
            last_byte: self.delays.last_byte,
            wakeup_delay: self.delays.longest,
            scheduling_delay: self.delays.in_all(),
        }
    }
}

impl Trace {
    fn state(&self) -> MutexGuard<'_, TraceState> {
        // A poisoned tape still holds true marks: a panic elsewhere does not falsify them.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on the bytes above TLS are HTTP/2 frames: a flush or a read alone says nothing.
    pub fn speak_http2(&self) {
        self.state().frames = Some((Http2Frames::after_preface(), Http2Frames::default()));
    }

    /// The connection was open at `at`, by the kernel's word; we got to it `delay` later.
    pub fn connected(&self, delay: Option<Duration>) {
        let delays = &mut self.state().delays;
        if let Some(delay) = delay {
            delays.connected = ClockSource::Kernel;
            delays.saw(delay);
            delays.answered += delay;
        }
    }

    /// From now on the socket carries TLS, whatever it carried before; `within` the TLS of a proxy, where that is so.
    pub fn speak_tls(&self, within: bool) {
        let mut state = self.state();
        state.tls = true;
        state.handshake.within = within;
        state.records = TlsRecords::default();
        state.first_raw.clear();
    }

    /// How late we came to the flights of the handshake, in all.
    pub fn handshake_delay(&self, connect: Duration) -> Duration {
        self.state().delays.in_all().saturating_sub(connect)
    }

    /// How late we came to what we then answered: the peer waited for us so long.
    pub fn answered_late(&self) -> Duration {
        self.state().delays.answered
    }

    /// From now on what is written is the request.
    pub fn send(&self) {
        let mut state = self.state();
        state.sending = true;
        state.delays.answer();
    }

    /// How much may be read at once. A read has the stamp of the last packet it takes from: until the answer has begun,
    /// none may take more than what its first byte can come with, a byte, or a TLS record.
    pub fn next_read(&self) -> usize {
        let state = self.state();
        match (state.sending && state.answer_began.is_none(), state.tls) {
            // Room is cleared before it is read into: as much as has come already is little for a long answer, too.
            (false, _) => usize::try_from(state.read).unwrap_or(usize::MAX).max(LEAST_READ),
            (true, true) => state.records.rest(),
            (true, false) => 1,
        }
    }

    /// Bytes that came before the response, while that is waited for: while the request is written, and until the first byte is there.
    pub fn read_before_response(&self) -> Option<u64> {
        let state = self.state();
        (state.sending && state.answer_began.is_none()).then_some(state.read)
    }

    /// What may be the first byte of the answer may have come so much earlier than its timestamp says.
    pub fn doubt_first_byte(&self, doubt: Option<Duration>) {
        self.state().answer_doubt = doubt;
    }

    pub fn socket_read(&self, received: ReceivedPacket, bytes: &[u8]) {
        let mut state = self.state();
        let at = received.at();
        if !bytes.is_empty() {
            state.delays.read(received);
            if !state.sending {
                state.delays.secured = received.clock();
            }
        }
        state.below.read(Some(at), bytes.len());
        state.read += bytes.len() as u64;
        state.records.feed(bytes);
        if !state.handshake.within {
            keep_first(&mut state.first_raw, bytes);
        }
    }

    pub fn socket_wrote(&self, at: Instant, bytes: &[u8]) {
        let mut state = self.state();
        if state.sending {
            state.request_began = state.request_began.or(Some(at));
        } else if bytes.first() != Some(&CHANGE_CIPHER_SPEC) {
            state.delays.answer();
        }
        state.below.wrote(Some(at));
        state.written += bytes.len() as u64;
    }

    /// A datagram is written as a whole.
    pub fn datagram_sent(&self, at: Instant, bytes: usize) {
        let mut state = self.state();
        state.below.wrote(Some(at));
        state.above.wrote(Some(at));
        state.written += bytes as u64;
    }

    /// A datagram that is none of plain text was read as a whole.
    pub fn datagram_read(&self, received: ReceivedPacket) {
        let mut state = self.state();
        state.delays.read(received);
        if !state.sending {
            state.delays.secured = received.clock();
        }
        state.below.read(Some(received.at()), received.count);
        state.read += received.count as u64;
    }

    /// The request has ended: the next datagram has its end.
    pub fn request_ended(&self) {
        self.state().request_pending = true;
    }

    /// Bytes that came while there is no answer.
    pub fn unanswered(&self) -> u64 {
        let state = self.state();
        state.answer_began.map_or(state.read, |_| 0)
    }

    /// The head of the answer came with the datagram that was read last.
    pub fn answer_came(&self) {
        let mut state = self.state();
        let stamped = state.below.last_read.filter(|at| Some(*at) >= state.request_began);
        state.answer_began = stamped.or(state.delays.read);
        state.answer_clock = stamped.map_or(ClockSource::Exporter, |_| state.delays.last_byte);
    }

    pub fn request_wrote(&self, bytes: &[u8]) {
        let mut state = self.state();
        let at = state.below.last_write;
        state.above.wrote(at);
        state.request_pending |= match &mut state.frames {
            None => !bytes.is_empty(),
            Some((ours, _)) => ours.feed(bytes).stream_ended,
        };
    }

    pub fn request_flushed(&self) {
        let mut state = self.state();
        if state.request_pending && state.request_done.is_none() {
            state.request_done = state.below.last_write;
        }
    }

    pub fn answer_read(&self, bytes: &[u8]) {
        let mut state = self.state();
        let began = match &mut state.frames {
            None => !bytes.is_empty(),
            Some((_, theirs)) => {
                let headers = theirs.feed(bytes).headers;
                state.headers += headers;
                headers > 0
            }
        };
        if began && state.answer_began.is_none() {
            // No answer comes before the request: such a stamp is that of a clock that was set meanwhile. TLS may have read the end
            // of the stream already, which came later.
            let stamped = state.below.last_bytes.filter(|at| Some(*at) >= state.request_began);
            state.answer_began = stamped.or(state.delays.read);
            state.answer_clock = stamped.map_or(ClockSource::Exporter, |_| state.delays.last_byte);
        }
        let below = &state.below;
        let at = if bytes.is_empty() {
            below.last_read
        } else {
            below.last_bytes
        };
        state.above.read(at, bytes.len());
        keep_first(&mut state.first_answer, bytes);
    }

    /// The kernel would not read or write. Where that is for want of something on this host, it is so for whoever reads or
    /// writes through us: libraries drop the kernel's number.
    pub fn socket_failed(&self, error: &io::Error) {
        if let Some(short) = shortage(error) {
            self.state().shortage = Some(short);
        }
    }

    /// What a library does beside the probe panicked: that is ours, whatever the probe then sees of it.
    pub fn library_panicked(&self) {
        self.state().shortage = Some(Reason::LocalPanic);
    }

    /// The exporter may hold no more of what comes.
    pub fn out_of_memory(&self) {
        self.state().shortage = Some(Reason::LocalOverloaded);
    }

    /// What this host was short of, if the socket ever was, or that a library failed on it.
    pub fn shortage(&self) -> Option<Reason> {
        self.state().shortage
    }

    pub fn socket_closes(&self, facts: Option<SocketFacts>) {
        self.state().socket = facts;
    }

    /// When bytes were last read from the socket.
    pub fn last_read(&self) -> Option<Instant> {
        self.state().below.last_read
    }

    /// When bytes were last written to the socket.
    pub fn last_write(&self) -> Option<Instant> {
        self.state().below.last_write
    }

    /// When the exporter last read or wrote, by its own clock.
    pub fn last_action(&self) -> Option<Instant> {
        let state = self.state();
        state.delays.read.max(state.below.last_write)
    }

    /// When the first byte of the request was written.
    pub fn request_began(&self) -> Option<Instant> {
        self.state().request_began
    }

    /// When the last byte of the request was written.
    pub fn request_done(&self) -> Option<Instant> {
        self.state().request_done
    }

    /// When the first byte of the answer came.
    pub fn answer_began(&self) -> Option<Instant> {
        self.state().answer_began
    }

    /// When the answer ended: with its last bytes, or, where only that frames it, with the end of the stream.
    pub fn answer_ended(&self, framed: bool) -> Option<Instant> {
        let mut state = self.state();
        if !framed && state.below.last_read != state.below.last_bytes {
            // The end of the stream has no stamp. The last bytes' delay was in what the peer took to end it.
            state.delays.last = Duration::ZERO;
            state.delays.last_byte = ClockSource::Exporter;
        }
        let below = state.below;
        if framed { below.last_bytes } else { below.last_read }
    }

    /// The final head of the answer ended with so many of its bytes.
    pub fn heads_ended(&self, bytes: usize) {
        self.state().heads = Some(bytes);
    }

    /// The answer deviates from HTTP in these ways.
    pub fn deviates(&self, found: Deviations) {
        if !found.is_empty() {
            self.state().deviations.append(found);
        }
    }

    /// How the answer deviates, as far as it has come.
    pub fn deviations(&self) -> Deviations {
        self.state().deviations.clone()
    }

    /// Whether the answer deviates in a way.
    pub fn has_deviation(&self, deviation: Deviation) -> bool {
        self.state().deviations.has(deviation)
    }

    /// Whether the response is incomplete although the library reports no error: its stream of HTTP/2 was reset before its end, with
    /// `NO_ERROR`, or it ends with a head that declares a body.
    pub fn lacks_body(&self) -> bool {
        let state = self.state();
        let was_cut = state.frames.as_ref().is_some_and(|(_, theirs)| theirs.was_cut());
        was_cut || state.deviations.has(Deviation::MissingBody)
    }

    /// Interim answers that came before the final one of HTTP/2.
    pub fn interims(&self) -> usize {
        let state = self.state();
        state.frames.as_ref().map_or(0, |_| state.headers.saturating_sub(1))
    }

    /// Everything, once the connection is closed.
    pub fn read_out(&self) -> TraceState {
        let mut state = std::mem::take(&mut *self.state());
        state.excerpt = if state.first_answer.is_empty() {
            std::mem::take(&mut state.first_raw)
        } else {
            std::mem::take(&mut state.first_answer)
        };
        state
    }
}

fn keep_first(kept: &mut Vec<u8>, bytes: &[u8]) {
    let room = WIRE_EXCERPT.saturating_sub(kept.len());
    kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
}
