//! One thread that notes when the bytes of a response arrive, while the worker that will read them is busy.
//!
//! The kernel merges packets that wait unread in a socket's queue, and the merged buffer has the timestamp of its last packet. A
//! worker that is busy with other probes reads late, and would report the arrival of the body as that of the head. So a socket
//! that waits for a response is also registered with the epoll instance of this thread:
//!
//! ```text
//! worker   nothing to read: arm ──────────── busy with other probes ────────────── disarm, read, look up each read's arrival
//! thread   ─ asleep ─ tickets arrive: note ─ asleep ─ head arrives: note ─ asleep ─ body arrives: note ──────────────────────
//!                     up to byte 510, 10:00:00.001    up to byte 634, …011          up to byte 661, …021
//! ```
//!
//! The thread wakes no worker. Each note has the number of bytes that the stream had brought, and the timestamp of the newest of
//! them. The worker takes the first note that covers the last byte of its read. In plain HTTP/1 the next byte starts the response:
//! one note is sufficient. Over TLS and HTTP/2 the start of the response is unknown until the worker has read it, because session
//! tickets or settings come first: the thread notes up to [`MAX_NOTES`] arrivals.
//!
//! A note also has a lower bound: the last moment at which the thread knows that the bytes were not there. If timestamp and lower
//! bound are far apart, the thread was late (the process was stopped, or had no processor), and packets may have been merged before
//! the thread looked. The number of received segments then shows whether there was more than one. Without epoll, or if too many
//! sockets wait, the workers use only the timestamps of their own reads.

use super::rx_timestamps;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

/// Maximum number of sockets that are watched at once.
const MAX_WATCHED: usize = 4096;

/// Maximum number of events that one call of `epoll_wait` returns.
const EVENTS: usize = 256;

/// Maximum number of notes between two reads of the worker: session tickets, the head, the body, and a few more.
const MAX_NOTES: usize = 8;

/// Maximum number of unread bytes that are counted: one TLS record of maximum length, and what came before it.
const MAX_COUNTED: usize = 20 << 10;

/// If a call of `epoll_wait` returns sooner, events may have been ready when it was called: the thread did not sleep. In so short a
/// time it cannot have waited long for a processor.
const BRIEF: Duration = Duration::from_micros(100);

/// Maximum difference between the reported and the true arrival of the first byte. Beyond it, the arrival is unknown.
pub(super) const TOLERATED: Duration = Duration::from_micros(500);

/// The thread, unless this host does not support it.
static WATCHER: LazyLock<Option<Watcher>> = LazyLock::new(|| {
    let watcher = Watcher::new().ok()?;
    let watch = || WATCHER.iter().for_each(Watcher::run);
    thread::Builder::new().name("arrivals".to_owned()).spawn(watch).ok()?;
    Some(watcher)
});

/// Starts the thread now. Otherwise the first probe starts it, when the process may have no file descriptors left.
pub fn watch_arrivals() {
    LazyLock::force(&WATCHER);
}

/// What the thread noted of one arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Arrival {
    /// Bytes of the whole stream that had arrived.
    pub upto: u64,
    /// When the last of them arrived, by the kernel's timestamp. May be that of a later packet that was merged with it.
    pub at: Instant,
    /// The bytes that the previous note does not cover were not there before. Correct to about 0.1 ms: the time that an idle
    /// processor takes to wake up is unknown.
    pub not_before: Instant,
    /// They are one segment: `at` is exact.
    pub single: bool,
    /// Later bytes were not there before.
    pub looked: Instant,
    /// Segments with data up to `upto`, if known.
    pub segments: Option<u32>,
}

/// All that the thread noted since the socket was armed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Arrivals {
    /// In the order of the stream.
    pub notes: Vec<Arrival>,
    /// Bytes that no note covers were not there before, if the thread knows.
    pub rest_not_before: Option<Instant>,
}

/// A socket in which nothing is left to read.
#[derive(Clone, Copy, Debug)]
pub(super) struct EmptySocket {
    /// When it was found empty.
    pub since: Instant,
    /// Bytes that were read before.
    pub read: u64,
    /// Segments with data that brought them, if known.
    pub segments: Option<u32>,
}

/// How the thread watches a socket.
#[derive(Clone, Copy, Debug)]
pub(super) struct WatchMode {
    /// When the connection was dialled: no byte arrived before.
    pub dialled: Instant,
    /// The response may start behind other bytes: in a later TLS record or HTTP/2 frame.
    pub framed: bool,
}

/// What a worker and the thread share of one socket.
#[derive(Debug, Default)]
struct Slot {
    stream: Option<Arc<TcpStream>>,
    /// The number that it was registered with last.
    number: u64,
    /// The epoll instance has it.
    registered: bool,
    /// It reports each arrival, not only the first.
    reports_all: bool,
    /// Set until the worker starts to read.
    armed: Option<(EmptySocket, WatchMode)>,
    arrivals: Arrivals,
}

/// When something happened that `epoll_wait` returned.
#[derive(Clone, Copy, Debug)]
struct EventTime {
    not_before: Instant,
    /// When the call returned.
    awake: Instant,
}

/// Buffers of the thread.
struct Scratch {
    bytes: Vec<u8>,
    control: Vec<u8>,
}

impl Slot {
    /// Notes an arrival, if one can be noted.
    fn note(&mut self, event: EventTime, scratch: &mut Scratch) -> Option<()> {
        let (Some((empty, mode)), Some(stream)) = (self.armed, &self.stream) else {
            return None;
        };
        let notes = &mut self.arrivals.notes;
        if notes.len() >= MAX_NOTES {
            return None;
        }
        let last = notes.last().copied();
        // The next byte has the timestamp of its own packet for longer than the last one.
        let most = if mode.framed { MAX_COUNTED } else { 1 };
        let peeked = rx_timestamps::peek(
            &**stream,
            &mut scratch.bytes[..most],
            &mut scratch.control,
            mode.dialled,
        );
        let peeked = peeked
            .ok()
            .filter(|peeked| peeked.count > 0 && peeked.delay.is_some())?;
        let upto = empty.read + peeked.count as u64;
        if let Some(known) = notes.last_mut().filter(|known| upto <= known.upto) {
            known.looked = event.awake;
            return Some(());
        }
        let at = peeked.at();
        let looked = last.map(|last| last.looked);
        let mut not_before = event.not_before.max(looked.unwrap_or(event.not_before));
        if at + TOLERATED < not_before {
            // The process was stopped between the event and this thread, or the segments arrived out of order.
            not_before = looked.unwrap_or(mode.dialled);
        }
        // After the peek: segments that arrived in between are counted as if they had been merged. The end of the stream is merged
        // as well, with its own timestamp, and is not counted.
        let received = rx_timestamps::received(stream);
        let before = last.map_or(empty.segments, |last| last.segments);
        notes.push(Arrival {
            upto,
            at,
            not_before,
            single: received.is_some_and(|received| received.is_single_since(before)),
            looked: event.awake,
            segments: received.and_then(|received| received.segments_of(upto)),
        });
        Some(())
    }
}

struct Watcher {
    epoll: Epoll,
    /// Before any socket was registered; the thread may run much later.
    begun: Instant,
    /// By the number that the socket was registered with last. A number is never used again.
    watched: Mutex<HashMap<u64, Arc<Mutex<Slot>>>>,
    next: AtomicU64,
}

impl Watcher {
    fn new() -> nix::Result<Self> {
        Ok(Self {
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            begun: Instant::now(),
            watched: Mutex::default(),
            next: AtomicU64::new(0),
        })
    }

    fn run(&self) {
        let mut run_delay = RunDelay::open();
        let mut events = [EpollEvent::empty(); EVENTS];
        let mut scratch = Scratch {
            bytes: vec![0; MAX_COUNTED],
            control: rx_timestamps::room(),
        };
        // Everything that had arrived until then was reported.
        let mut seen = self.begun;
        loop {
            run_delay.is_about_to_sleep();
            let asleep = Instant::now();
            let count = match self.epoll.wait(&mut events, EpollTimeout::NONE) {
                Ok(count) => count,
                // The process was stopped and continued (signal(7)). This call has reported nothing.
                Err(Errno::EINTR) => continue,
                Err(_) => return,
            };
            let awake = Instant::now();
            let (not_before, looked) = if awake - asleep > BRIEF {
                // The first of the events has woken the thread, which then waited for a processor.
                let woken = awake.checked_sub(run_delay.since_last_asked()).unwrap_or(asleep);
                (seen.max(woken), asleep.max(woken))
            } else {
                (seen, asleep)
            };
            for event in &events[..count] {
                self.note(*event, EventTime { not_before, awake }, &mut scratch);
            }
            if count < EVENTS {
                seen = looked;
            }
        }
    }

    fn note(&self, event: EpollEvent, time: EventTime, scratch: &mut Scratch) {
        let slot = lock(&self.watched).get(&event.data()).cloned();
        let Some(slot) = slot else { return };
        let mut slot = lock(&slot);
        // Meanwhile the worker may have read everything, and armed the socket again.
        if slot.number != event.data() {
            return;
        }
        // If nothing is unread, a peek would consume an error (such as a reset) that the worker has to see. An armed socket that is
        // readable, and has no error, has something unread.
        let faulty = EpollFlags::EPOLLERR | EpollFlags::EPOLLHUP;
        let readable = !event.events().intersects(faulty);
        if readable && slot.note(time, scratch).is_some() {
            return;
        }
        let looked = slot.arrivals.notes.last().map_or(time.not_before, |last| last.looked);
        let not_before = time.not_before.max(looked);
        slot.arrivals.rest_not_before.get_or_insert(not_before);
        // What comes next needs no note: a long body must not wake this thread with each segment.
        if let Some(stream) = slot.stream.clone().filter(|_| slot.registered && slot.reports_all) {
            slot.registered = self.epoll.delete(&*stream).is_err();
        }
    }
}

/// How long the calling thread waited for a processor: its run delay, by proc(5), `schedstat`.
struct RunDelay {
    file: Option<File>,
    last: Duration,
    asked: Instant,
}

impl RunDelay {
    fn open() -> Self {
        let mut delays = Self {
            file: File::open("/proc/thread-self/schedstat").ok(),
            last: Duration::ZERO,
            asked: Instant::now(),
        };
        delays.since_last_asked();
        delays
    }

    /// What it waits for from now on counts. A question takes one or two microseconds, and is omitted if little can have been added.
    fn is_about_to_sleep(&mut self) {
        if self.asked.elapsed() > BRIEF {
            self.since_last_asked();
        }
    }

    /// Zero if the kernel does not report it.
    fn since_last_asked(&mut self) -> Duration {
        let nanoseconds = || {
            let mut text = [0; 64];
            let count = self.file.as_ref()?.read_at(&mut text, 0).ok()?;
            let text = std::str::from_utf8(&text[..count]).ok()?;
            text.split(' ').nth(1)?.parse().ok()
        };
        let now = Duration::from_nanos(nanoseconds().unwrap_or_default());
        let before = std::mem::replace(&mut self.last, now);
        self.asked = Instant::now();
        now.saturating_sub(before)
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A socket that may be watched. Must be dropped before its socket is closed.
#[derive(Debug, Default)]
pub(super) struct ArrivalWatch {
    /// The number that it was registered with last.
    number: Option<u64>,
    slot: Arc<Mutex<Slot>>,
}

impl ArrivalWatch {
    /// Watches for the next bytes: to be called when nothing is left to read. Does nothing if the host does not support it.
    pub fn arm(&mut self, stream: &Arc<TcpStream>, empty: EmptySocket, mode: WatchMode) {
        if let Some(watcher) = WATCHER.as_ref() {
            self.arm_with(watcher, stream, empty, mode);
        }
    }

    fn arm_with(&mut self, watcher: &Watcher, stream: &Arc<TcpStream>, empty: EmptySocket, mode: WatchMode) {
        let number = watcher.next.fetch_add(1, Ordering::Relaxed);
        let mut slots = lock(&watcher.watched);
        if let Some(before) = self.number.take() {
            slots.remove(&before);
        }
        if slots.len() >= MAX_WATCHED {
            drop(slots);
            self.disarm();
            return;
        }
        slots.insert(number, self.slot.clone());
        drop(slots);
        self.number = Some(number);
        let kind = if mode.framed {
            EpollFlags::EPOLLET
        } else {
            EpollFlags::EPOLLONESHOT
        };
        let mut event = EpollEvent::new(EpollFlags::EPOLLIN | kind, number);
        let mut slot = lock(&self.slot);
        slot.stream.get_or_insert_with(|| stream.clone());
        slot.arrivals = Arrivals::default();
        slot.armed = Some((empty, mode));
        slot.number = number;
        slot.reports_all = mode.framed;
        let told = if slot.registered {
            watcher.epoll.modify(&**stream, &mut event)
        } else {
            watcher.epoll.add(&**stream, event)
        };
        slot.registered = told.is_ok();
        drop(slot);
        if told.is_err() {
            self.forget(watcher);
        }
    }

    /// The worker reads now: what was noted since the socket was armed.
    pub fn disarm(&self) -> Arrivals {
        let mut slot = lock(&self.slot);
        slot.armed = None;
        std::mem::take(&mut slot.arrivals)
    }

    /// Closing the socket removes it from the epoll instance.
    fn forget(&mut self, watcher: &Watcher) {
        if let Some(number) = self.number.take() {
            lock(&watcher.watched).remove(&number);
        }
        let mut slot = lock(&self.slot);
        (slot.armed, slot.stream) = (None, None);
    }
}

impl Drop for ArrivalWatch {
    fn drop(&mut self) {
        if let Some(watcher) = WATCHER.as_ref() {
            self.forget(watcher);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        Arrival, ArrivalWatch, EmptySocket, EventTime, MAX_COUNTED, MAX_WATCHED, Scratch, Slot, WATCHER, WatchMode,
        Watcher, lock,
    };
    use crate::check::rx_timestamps;
    use std::io::{Read as _, Write as _};
    use std::net::{Shutdown, TcpListener, TcpStream};
    use std::sync::Arc;
    use std::thread;
    use std::time::{Duration, Instant};

    /// A connection as the worker reads it, the same as the thread has it, and its other end.
    struct Connection {
        stream: TcpStream,
        shared: Arc<tokio::net::TcpStream>,
        peer: TcpStream,
        dialled: Instant,
    }

    impl Connection {
        fn new() -> Self {
            let dialled = Instant::now();
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            rx_timestamps::turn_on(&stream);
            let peer = listener.accept().unwrap().0;
            peer.set_nodelay(true).unwrap();
            stream.set_nonblocking(true).unwrap();
            let shared = tokio::net::TcpStream::from_std(stream.try_clone().unwrap()).unwrap();
            Self {
                stream,
                shared: Arc::new(shared),
                peer,
                dialled,
            }
        }

        /// One whose packets have timestamps: the kernel begins a moment after the first socket asked for them.
        fn with_timestamps() -> Self {
            loop {
                let mut connection = Self::new();
                connection.write(b"x", 1);
                if connection.slot(0, false).note_now().is_some() {
                    return Self::new();
                }
            }
        }

        fn mode(&self, framed: bool) -> WatchMode {
            WatchMode {
                dialled: self.dialled,
                framed,
            }
        }

        /// Writes a segment, and returns when `unread` bytes can be read.
        fn write(&mut self, bytes: &[u8], unread: usize) {
            self.peer.write_all(bytes).unwrap();
            while self.stream.peek(&mut [0; 64]).unwrap_or_default() < unread {}
        }

        /// Armed, but not known to the thread.
        fn slot(&self, read: u64, framed: bool) -> Slot {
            Slot {
                stream: Some(self.shared.clone()),
                armed: Some((empty(read), self.mode(framed))),
                ..Slot::default()
            }
        }
    }

    impl Slot {
        /// Notes an event of which nothing is known but that it is over.
        fn note_now(&mut self) -> Option<Arrival> {
            let (_, mode) = self.armed.unwrap();
            let event = EventTime {
                not_before: mode.dialled,
                awake: Instant::now(),
            };
            let mut scratch = Scratch {
                bytes: vec![0; MAX_COUNTED],
                control: rx_timestamps::room(),
            };
            self.note(event, &mut scratch)?;
            self.arrivals.notes.last().copied()
        }
    }

    fn empty(read: u64) -> EmptySocket {
        EmptySocket {
            since: Instant::now(),
            read,
            segments: (read == 0).then_some(0),
        }
    }

    /// What is noted once so many notes were made.
    fn noted(watch: &ArrivalWatch, count: usize) -> Arrival {
        let begun = Instant::now();
        loop {
            assert!(begun.elapsed() < Duration::from_secs(10), "{count} notes were expected");
            if let Some(arrival) = lock(&watch.slot).arrivals.notes.get(count - 1) {
                return *arrival;
            }
            thread::yield_now();
        }
    }

    /// Long enough for segments to differ in their times by more than is tolerated.
    const GAP: Duration = Duration::from_millis(5);

    #[tokio::test]
    async fn the_first_byte_has_its_own_time_when_more_was_merged_with_it() {
        let mut connection = Connection::with_timestamps();
        let mut watch = ArrivalWatch::default();
        for _again in 0..2 {
            watch.arm(&connection.shared, empty(0), connection.mode(false));
            let before = Instant::now();
            connection.write(b"head", 4);
            let arrival = noted(&watch, 1);
            let after = Instant::now();
            connection.write(b"body", 8);
            assert_eq!(watch.disarm().notes, [arrival]);
            assert!(before <= arrival.at && arrival.at <= after, "{arrival:?}");
            connection.stream.read_exact(&mut [0; 8]).unwrap();
        }
        assert_eq!(watch.disarm().notes, []);
    }

    /// Session tickets come before the response: the response is not the first to arrive.
    #[tokio::test]
    async fn each_arrival_has_its_own_time_when_the_response_may_start_later() {
        let mut connection = Connection::with_timestamps();
        let mut watch = ArrivalWatch::default();
        watch.arm(&connection.shared, empty(0), connection.mode(true));
        let mut between = Vec::new();
        for (count, bytes) in [&b"tickets"[..], b"head", b"body"].into_iter().enumerate() {
            let before = Instant::now();
            connection.peer.write_all(bytes).unwrap();
            noted(&watch, count + 1);
            between.push((before, Instant::now()));
            thread::sleep(GAP);
        }
        let notes = watch.disarm().notes;
        assert_eq!(notes.iter().map(|note| note.upto).collect::<Vec<_>>(), [7, 11, 15]);
        for (note, (before, after)) in notes.iter().zip(between) {
            assert!(note.single && before <= note.at && note.at <= after, "{note:?}");
        }
    }

    #[tokio::test]
    async fn a_note_that_came_too_late_tells_whether_segments_were_merged() {
        let mut connection = Connection::with_timestamps();
        let mut slot = connection.slot(0, true);
        connection.write(b"tickets", 7);
        thread::sleep(GAP);
        assert!(slot.note_now().unwrap().single);
        let sent = Instant::now();
        connection.write(b"head", 11);
        let arrived = Instant::now();
        thread::sleep(GAP);
        let head = slot.note_now().unwrap();
        assert!(head.single && sent <= head.at && head.at <= arrived, "{head:?}");
        // Two at once: only the time of the last is known, and that neither was there before.
        let sent = Instant::now();
        connection.write(b"bo", 13);
        thread::sleep(GAP);
        connection.write(b"dy", 15);
        let body = slot.note_now().unwrap();
        assert!(
            !body.single && body.at >= sent + GAP && body.not_before <= sent,
            "{body:?}"
        );
    }

    /// A segment that has only the end of the stream replaces the timestamp of the data before it.
    #[tokio::test]
    async fn the_end_of_the_stream_makes_an_earlier_time_possible_only_before_the_note() {
        let mut connection = Connection::with_timestamps();
        let mut slots = [connection.slot(0, false), connection.slot(0, false)];
        connection.write(b"head", 4);
        let early = slots[0].note_now().unwrap();
        thread::sleep(GAP);
        connection.peer.shutdown(Shutdown::Write).unwrap();
        while !rx_timestamps::received(&connection.shared).unwrap().has_ended() {}
        let late = slots[1].note_now().unwrap();
        assert!(early.single, "{early:?}");
        assert!(!late.single && late.at >= early.at + GAP, "{late:?}");
    }

    /// Such an event is older than its notice: the process was stopped in between.
    #[tokio::test]
    async fn a_timestamp_before_the_lower_bound_proves_the_bound_wrong() {
        let mut connection = Connection::with_timestamps();
        let mut slot = connection.slot(0, true);
        connection.write(b"head", 4);
        thread::sleep(GAP);
        let awake = Instant::now();
        let mut scratch = Scratch {
            bytes: vec![0; MAX_COUNTED],
            control: rx_timestamps::room(),
        };
        let event = EventTime {
            not_before: awake,
            awake,
        };
        slot.note(event, &mut scratch).unwrap();
        assert_eq!(slot.arrivals.notes[0].not_before, connection.dialled);
    }

    /// An error of the socket is for the worker alone: a reset must not look like an orderly end.
    #[tokio::test]
    async fn a_reset_is_left_to_the_worker() {
        let Connection {
            mut stream,
            shared,
            peer,
            dialled,
        } = Connection::new();
        let mut watch = ArrivalWatch::default();
        let mode = WatchMode { dialled, framed: true };
        watch.arm(&shared, empty(0), mode);
        // What is unread when a socket is closed makes the kernel send a reset.
        stream.write_all(b"unread").unwrap();
        peer.peek(&mut [0]).unwrap();
        drop(peer);
        while lock(&watch.slot).arrivals.rest_not_before.is_none() {
            thread::yield_now();
        }
        assert_eq!(watch.disarm().notes, []);
        let error = stream.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    }

    /// A long body must not wake the thread with each of its segments.
    #[tokio::test]
    async fn a_socket_that_the_worker_reads_is_watched_no_longer() {
        let mut connection = Connection::with_timestamps();
        let mut watch = ArrivalWatch::default();
        watch.arm(&connection.shared, empty(0), connection.mode(true));
        watch.disarm();
        connection.write(b"body", 4);
        while lock(&watch.slot).registered {
            thread::yield_now();
        }
        // Until it waits again.
        connection.stream.read_exact(&mut [0; 4]).unwrap();
        watch.arm(&connection.shared, empty(4), connection.mode(true));
        connection.write(b"more", 4);
        assert_eq!(noted(&watch, 1).upto, 8);
    }

    #[tokio::test]
    async fn what_is_dropped_is_no_longer_watched() {
        let watcher = WATCHER.as_ref().unwrap();
        let connection = Connection::new();
        let mut watch = ArrivalWatch::default();
        watch.arm(&connection.shared, empty(0), connection.mode(false));
        let number = watch.number.unwrap();
        assert!(lock(&watcher.watched).contains_key(&number));
        // Of each socket, only what it waits for now is watched.
        watch.arm(&connection.shared, empty(0), connection.mode(false));
        assert!(!lock(&watcher.watched).contains_key(&number));
        let number = watch.number.unwrap();
        drop(watch);
        assert!(!lock(&watcher.watched).contains_key(&number));
        assert_eq!(Arc::strong_count(&connection.shared), 1);
    }

    #[tokio::test]
    async fn no_more_sockets_are_watched_than_may_be() {
        let mut connection = Connection::new();
        let watcher = Watcher::new().unwrap();
        let full = (0..MAX_WATCHED as u64).map(|number| (number, Arc::default()));
        lock(&watcher.watched).extend(full);
        let mut watch = ArrivalWatch::default();
        watch.arm_with(&watcher, &connection.shared, empty(0), connection.mode(false));
        connection.write(b"head", 4);
        assert_eq!((watch.number, lock(&watcher.watched).len()), (None, MAX_WATCHED));
    }
}
