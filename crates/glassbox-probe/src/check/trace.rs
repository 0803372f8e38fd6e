//! The trace of one connection: timestamps and byte counts below TLS, and the end of the request and the start of the
//! response above TLS.
//!
//! Two layers write to the trace. The socket, below TLS, records each read and write with the kernel's timestamp. A
//! `TracedStream`, above TLS, records when the last byte of the request was flushed and which read contained the first
//! byte of the response. The stages take their start and end times from the trace, so that a phase ends when the event
//! happened on the wire, not when a task noticed it.

mod handshake;
mod io_timestamps;
mod read_delays;
mod records;

use super::http2_frames::{Http2Frames, TlsRecords};
use super::local_fault::shortage;
use super::rx_timestamps::ReceivedPacket;
use crate::limits::WIRE_EXCERPT;
use glassbox_verdict::reason::Reason;
use glassbox_verdict::report::{ClockSource, ClockSources, Deviation, Deviations, SocketFacts};
use handshake::HandshakeTrace;
use io_timestamps::IoTimestamps;
use parking_lot::{Mutex, MutexGuard};
use read_delays::ReadDelays;
use std::io;
use std::time::{Duration, Instant};

/// The type of a TLS record that TLS 1.3 sends within a flight for old middleboxes (RFC 8446 appendix D.4).
const CHANGE_CIPHER_SPEC: u8 = 20;

/// Minimum size of a read after the response has started. Most responses are shorter.
const LEAST_READ: usize = 4096;

/// Shared by the layers of one connection and by the check that uses it.
#[derive(Debug, Default)]
pub(super) struct Trace(Mutex<TraceState>);

/// The contents of a trace.
#[derive(Debug, Default)]
pub(super) struct TraceState {
    /// Bytes written to the socket.
    pub written: u64,
    /// Bytes read from the socket.
    pub read: u64,
    /// The first bytes of the response above TLS, or those of the socket if no data arrived above TLS.
    pub excerpt: Vec<u8>,
    /// Number of response bytes above TLS up to the end of the final header; HTTP/1 only.
    pub heads: Option<usize>,
    /// What the kernel reported when the socket closed.
    pub socket: Option<SocketFacts>,
    /// Times of the reads and writes on the socket.
    pub below: IoTimestamps,
    /// Times of the reads and writes above TLS.
    pub above: IoTimestamps,
    first_raw: Vec<u8>,
    first_answer: Vec<u8>,
    /// The deviations of the response from HTTP.
    pub deviations: Deviations,
    /// Number of HEADERS frames of the response; HTTP/2 only.
    headers: usize,
    /// The boundaries of TLS records, if the socket carries TLS.
    records: TlsRecords,
    /// Whether the socket carries TLS.
    tls: bool,
    handshake: HandshakeTrace,
    delays: ReadDelays,
    /// Whether the request is being written or was written.
    sending: bool,
    request_began: Option<Instant>,
    request_pending: bool,
    request_done: Option<Instant>,
    answer_began: Option<Instant>,
    answer_clock: ClockSource,
    /// How much earlier than its timestamp the first byte of the response may have arrived.
    answer_doubt: Option<Duration>,
    /// The resource that this host lacked when the socket was read or written.
    shortage: Option<Reason>,
    /// The written frames and the read frames; HTTP/2 only.
    frames: Option<(Http2Frames, Http2Frames)>,
}

impl TraceState {
    /// The clock that measured each event.
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
        // A panic elsewhere does not change the values, so they stay valid.
        self.0.lock()
    }

    /// Treats the bytes above TLS as HTTP/2 frames from now on. A flush or a read alone then does not end the request
    /// or start the response.
    pub fn speak_http2(&self) {
        self.state().frames = Some((Http2Frames::after_preface(), Http2Frames::default()));
    }

    /// Records that the connection is open. The exporter noticed it `delay` after the kernel did, if the kernel
    /// reported the time.
    pub fn connected(&self, delay: Option<Duration>) {
        let delays = &mut self.state().delays;
        if let Some(delay) = delay {
            delays.connected = ClockSource::Kernel;
            delays.saw(delay);
            delays.answered += delay;
        }
    }

    /// Treats the bytes on the socket as TLS from now on. `within`: whether it runs inside the TLS connection to a proxy.
    pub fn speak_tls(&self, within: bool) {
        let mut state = self.state();
        state.tls = true;
        state.handshake.within = within;
        state.records = TlsRecords::default();
        state.first_raw.clear();
    }

    /// Total of the exporter's delays in reading the flights of the handshake.
    pub fn handshake_delay(&self, connect: Duration) -> Duration {
        self.state().delays.in_all().saturating_sub(connect)
    }

    /// Total of the exporter's delays in reading data that it then replied to, while the remote end waited.
    pub fn answered_late(&self) -> Duration {
        self.state().delays.answered
    }

    /// Treats everything that is written from now on as the request.
    pub fn send(&self) {
        let mut state = self.state();
        state.sending = true;
        state.delays.answer();
    }

    /// Maximum size of the next read. A read has the timestamp of the last packet from which it takes bytes. Until the
    /// response has started, a read therefore takes only the unit that can contain its first byte: one byte, or one TLS
    /// record.
    pub fn next_read(&self) -> usize {
        let state = self.state();
        match (state.sending && state.answer_began.is_none(), state.tls) {
            // The buffer is zeroed before each read. To limit that cost, it grows with the bytes read so far.
            (false, _) => usize::try_from(state.read).unwrap_or(usize::MAX).max(LEAST_READ),
            (true, true) => state.records.rest(),
            (true, false) => 1,
        }
    }

    /// Number of bytes read before the response, while the exporter writes the request or waits for the first byte.
    pub fn read_before_response(&self) -> Option<u64> {
        let state = self.state();
        (state.sending && state.answer_began.is_none()).then_some(state.read)
    }

    /// Records how much earlier than its timestamp the possible first byte of the response may have arrived.
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

    /// Records a sent datagram, which is written as a whole.
    pub fn datagram_sent(&self, at: Instant, bytes: usize) {
        let mut state = self.state();
        state.below.wrote(Some(at));
        state.above.wrote(Some(at));
        state.written += bytes as u64;
    }

    /// Records an encrypted datagram, which is read as a whole.
    pub fn datagram_read(&self, received: ReceivedPacket) {
        let mut state = self.state();
        state.delays.read(received);
        if !state.sending {
            state.delays.secured = received.clock();
        }
        state.below.read(Some(received.at()), received.count);
        state.read += received.count as u64;
    }

    /// Records that the request has ended: the next datagram contains its end.
    pub fn request_ended(&self) {
        self.state().request_pending = true;
    }

    /// Number of received bytes if no response has started, otherwise 0.
    pub fn unanswered(&self) -> u64 {
        let state = self.state();
        state.answer_began.map_or(state.read, |_| 0)
    }

    /// Records that the datagram that was read last contained the response header.
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
            // No response arrives before its request, so an earlier timestamp means that the clock was adjusted in
            // between. TLS may already have read the end of the stream, which arrived later.
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

    /// Records a failed system call. Libraries discard the error number, which may show a shortage of this host.
    pub fn socket_failed(&self, error: &io::Error) {
        if let Some(short) = shortage(error) {
            self.state().shortage = Some(short);
        }
    }

    /// Records a panic of a library's background task: a local error, whatever the probe observes afterwards.
    pub fn library_panicked(&self) {
        self.state().shortage = Some(Reason::LocalPanic);
    }

    /// Records that received data has reached the exporter's memory limit.
    pub fn out_of_memory(&self) {
        self.state().shortage = Some(Reason::LocalOverloaded);
    }

    /// The socket's local error: a missing resource, or a failed library.
    pub fn shortage(&self) -> Option<Reason> {
        self.state().shortage
    }

    pub fn socket_closes(&self, facts: Option<SocketFacts>) {
        self.state().socket = facts;
    }

    /// Time of the last read from the socket.
    pub fn last_read(&self) -> Option<Instant> {
        self.state().below.last_read
    }

    /// Time of the last write to the socket.
    pub fn last_write(&self) -> Option<Instant> {
        self.state().below.last_write
    }

    /// Time of the exporter's last read or write, according to its own clock.
    pub fn last_action(&self) -> Option<Instant> {
        let state = self.state();
        state.delays.read.max(state.below.last_write)
    }

    /// Time at which the first byte of the request was written.
    pub fn request_began(&self) -> Option<Instant> {
        self.state().request_began
    }

    /// Time at which the last byte of the request was written.
    pub fn request_done(&self) -> Option<Instant> {
        self.state().request_done
    }

    /// Arrival time of the first byte of the response.
    pub fn answer_began(&self) -> Option<Instant> {
        self.state().answer_began
    }

    /// Time at which the response ended: with its last bytes if it is `framed`, otherwise with the end of the stream.
    pub fn answer_ended(&self, framed: bool) -> Option<Instant> {
        let mut state = self.state();
        if !framed && state.below.last_read != state.below.last_bytes {
            // The end of the stream has no timestamp. The delay of the last bytes is part of the remote end's time.
            state.delays.last = Duration::ZERO;
            state.delays.last_byte = ClockSource::Exporter;
        }
        let below = state.below;
        if framed { below.last_bytes } else { below.last_read }
    }

    /// Records the number of bytes up to the end of the final response header.
    pub fn heads_ended(&self, bytes: usize) {
        self.state().heads = Some(bytes);
    }

    /// Records deviations of the response from HTTP.
    pub fn deviates(&self, found: Deviations) {
        if !found.is_empty() {
            self.state().deviations.append(found);
        }
    }

    /// The deviations of the response from HTTP that were found so far.
    pub fn deviations(&self) -> Deviations {
        self.state().deviations.clone()
    }

    /// Whether the response has a deviation.
    pub fn has_deviation(&self, deviation: Deviation) -> bool {
        self.state().deviations.has(deviation)
    }

    /// Whether the response is incomplete although the library reports no error: its HTTP/2 stream was reset with
    /// `NO_ERROR` before its end, or it ends with a head that declares a body.
    pub fn lacks_body(&self) -> bool {
        let state = self.state();
        let was_cut = state.frames.as_ref().is_some_and(|(_, theirs)| theirs.was_cut());
        was_cut || state.deviations.has(Deviation::MissingBody)
    }

    /// Number of interim responses (1xx) before the final HTTP/2 response.
    pub fn interims(&self) -> usize {
        let state = self.state();
        state.frames.as_ref().map_or(0, |_| state.headers.saturating_sub(1))
    }

    /// Takes the whole trace after the connection was closed.
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
