//! One thread that notes when the bytes of a response arrive, while the worker that will read them is busy.
//!
//! If packets wait unread in a socket's queue, the kernel merges them into one buffer with the timestamp of the last
//! packet. A worker that is busy with other probes reads late, and would mistake the arrival of the body for the
//! arrival of the head. A socket that waits for a response is therefore also registered with the epoll instance of this
//! thread:
//!
//! ```text
//! worker   nothing to read: arm ──────────── busy with other probes ────────────── disarm, read, look up each read's arrival
//! thread   ─ asleep ─ tickets arrive: note ─ asleep ─ head arrives: note ─ asleep ─ body arrives: note ──────────────────────
//!                     up to byte 510, 10:00:00.001    up to byte 634, …011          up to byte 661, …021
//! ```
//!
//! The thread wakes no worker. Each note contains the number of stream bytes that had arrived, and the timestamp of the
//! newest of them. For each read, the worker takes the first note that covers the last byte of the read. In plain
//! HTTP/1, the next byte starts the response, so one note is sufficient. Over TLS and HTTP/2, session tickets or
//! settings come first, so the worker does not know where the response starts until it has read it. In this case, the
//! thread notes up to [`MAX_NOTES`] arrivals.
//!
//! A note also contains a lower bound: the latest time at which the bytes are known not to have arrived yet. If the
//! timestamp is much later than the lower bound, the thread was late (the process was stopped, or the thread was not
//! scheduled), and packets may have been merged before the thread peeked. The number of received segments then shows
//! whether there was more than one. Without epoll, or if too many sockets are watched, the workers only use the
//! timestamps of their own reads.

use super::rx_timestamps;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::thread;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

/// Maximum number of sockets that are watched at once.
const MAX_WATCHED: usize = 4096;

/// Maximum number of events that one call of `epoll_wait` returns.
const EVENTS: usize = 256;

/// Maximum number of notes between two reads of the worker: session tickets, the head, the body, and a few more.
const MAX_NOTES: usize = 8;

/// Maximum number of unread bytes that are counted: one TLS record of maximum length, and the data before it.
const MAX_COUNTED: usize = 20 << 10;

/// If `epoll_wait` returns within this time, events may already have been ready when it was called, and the thread did
/// not sleep. In so short a time, the thread cannot have waited long for a CPU.
const BRIEF: Duration = Duration::from_micros(100);

/// Maximum error of an arrival time that is reported. If the error may be larger, the arrival time is unknown.
pub(super) const TOLERATED: Duration = Duration::from_micros(500);

/// The thread; `None` if this host does not support it.
static WATCHER: LazyLock<Option<Watcher>> = LazyLock::new(|| {
    let watcher = Watcher::new().ok()?;
    let watch = || WATCHER.iter().for_each(Watcher::run);
    thread::Builder::new().name("arrivals".to_owned()).spawn(watch).ok()?;
    Some(watcher)
});

/// Starts the thread immediately: the first probe may find no file descriptors left.
pub fn watch_arrivals() {
    LazyLock::force(&WATCHER);
}

/// One arrival, as noted by the thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Arrival {
    /// Number of bytes of the whole stream that had arrived.
    pub upto: u64,
    /// Arrival time of the last of these bytes, according to the kernel's timestamp. It may be the timestamp of a later
    /// packet that was merged with it.
    pub at: Instant,
    /// Time at which the bytes that the previous note does not cover had not arrived yet. Accurate to about 0.1 ms,
    /// because the time that an idle CPU takes to wake up is unknown.
    pub not_before: Instant,
    /// Whether these bytes are a single segment, so that `at` is exact.
    pub single: bool,
    /// Time at which later bytes had not arrived yet.
    pub looked: Instant,
    /// Number of data segments up to `upto`, if known.
    pub segments: Option<u32>,
}

/// All notes since the socket was armed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Arrivals {
    /// The notes, in stream order.
    pub notes: Vec<Arrival>,
    /// Time at which the bytes that no note covers had not arrived yet, if the thread knows it.
    pub rest_not_before: Option<Instant>,
}

/// A socket without unread data.
#[derive(Clone, Copy, Debug)]
pub(super) struct EmptySocket {
    /// Time at which it was found empty.
    pub since: Instant,
    /// Number of bytes that were read before.
    pub read: u64,
    /// Number of data segments that contained these bytes, if known.
    pub segments: Option<u32>,
}

/// How the thread watches a socket.
#[derive(Clone, Copy, Debug)]
pub(super) struct WatchMode {
    /// Time at which the connection was dialled. No byte arrived before it.
    pub dialled: Instant,
    /// Whether the response may start behind other bytes: in a later TLS record or HTTP/2 frame.
    pub framed: bool,
}

/// The state of one socket that a worker and the thread share.
#[derive(Debug, Default)]
struct Slot {
    stream: Option<Arc<TcpStream>>,
    /// The number of its latest registration.
    number: u64,
    /// Whether the epoll instance contains the socket.
    registered: bool,
    /// Whether the epoll instance reports each arrival, not only the first.
    reports_all: bool,
    /// Set until the worker starts to read.
    armed: Option<(EmptySocket, WatchMode)>,
    arrivals: Arrivals,
}

/// The time of an event that `epoll_wait` returned.
#[derive(Clone, Copy, Debug)]
struct EventTime {
    not_before: Instant,
    /// Time at which the call returned.
    awake: Instant,
}

/// The thread's buffers.
struct Scratch {
    bytes: Vec<u8>,
    control: Vec<u8>,
}

impl Slot {
    /// Notes an arrival. Returns `None` if it cannot be noted.
    fn note(&mut self, event: EventTime, scratch: &mut Scratch) -> Option<()> {
        let (Some((empty, mode)), Some(stream)) = (self.armed, &self.stream) else {
            return None;
        };
        let notes = &mut self.arrivals.notes;
        if notes.len() >= MAX_NOTES {
            return None;
        }
        let last = notes.last().copied();
        // The first unread byte keeps the timestamp of its own packet for longer than the last one does.
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
        if at + 2 * BRIEF < not_before {
            // The data was there before the socket was armed, the process was stopped before this line, or the segments
            // arrived out of order.
            not_before = looked.unwrap_or(mode.dialled);
        }
        // The segments are counted after the peek, so segments that arrived in between count as merged. The end of the
        // stream is merged as well. It has its own timestamp and is not counted.
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
    /// Time before any socket was registered. The thread may start to run much later.
    begun: Instant,
    /// The watched sockets by the number of their latest registration. A number is never reused.
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
        // All arrivals up to this time were reported.
        let mut seen = self.begun;
        loop {
            run_delay.is_about_to_sleep();
            let asleep = Instant::now();
            let count = match self.epoll.wait(&mut events, EpollTimeout::NONE) {
                Ok(count) => count,
                // The process was stopped and continued (signal(7)). This call reported nothing.
                Err(Errno::EINTR) => continue,
                Err(_) => return,
            };
            let awake = Instant::now();
            let (not_before, looked) = if awake - asleep > BRIEF {
                // The first event woke the thread, which then waited for a CPU.
                let delay = run_delay.since_last_asked();
                let woken = delay.and_then(|delay| awake.checked_sub(delay)).unwrap_or(asleep);
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
        let slot = self.watched.lock().get(&event.data()).cloned();
        let Some(slot) = slot else { return };
        let mut slot = slot.lock();
        // In the meantime, the worker may have read everything and armed the socket again.
        if slot.number != event.data() {
            return;
        }
        // Without unread data, a peek would consume an error (such as a reset) that the worker must see. An armed
        // socket that is readable and has no error has unread data.
        let faulty = EpollFlags::EPOLLERR | EpollFlags::EPOLLHUP;
        let readable = !event.events().intersects(faulty);
        if readable && slot.note(time, scratch).is_some() {
            return;
        }
        let looked = slot.arrivals.notes.last().map_or(time.not_before, |last| last.looked);
        let not_before = time.not_before.max(looked);
        slot.arrivals.rest_not_before.get_or_insert(not_before);
        // Later arrivals need no note, and a long body must not wake this thread with each segment.
        if let Some(stream) = slot.stream.clone().filter(|_| slot.registered && slot.reports_all) {
            slot.registered = self.epoll.delete(&*stream).is_err();
        }
    }
}

/// Measures how long the calling thread waited for a CPU: its run delay, according to `schedstat` (proc(5)).
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

    /// Starts a new measurement, because only delays after this call count. Reading the file takes one or two
    /// microseconds and is skipped if the delay can hardly have changed.
    fn is_about_to_sleep(&mut self) {
        if self.asked.elapsed() > BRIEF {
            self.since_last_asked();
        }
    }

    /// The run delay since the last measurement; `None` if the kernel does not report it, as with three zeros.
    fn since_last_asked(&mut self) -> Option<Duration> {
        self.asked = Instant::now();
        let mut text = [0; 64];
        let count = self.file.as_ref()?.read_at(&mut text, 0).ok()?;
        let text = std::str::from_utf8(&text[..count]).ok()?;
        let mut numbers = text.split(' ').map_while(|number| number.parse().ok());
        let (on_cpu, waited) = (numbers.next()?, Duration::from_nanos(numbers.next()?));
        let before = std::mem::replace(&mut self.last, waited);
        (on_cpu > 0).then(|| waited.saturating_sub(before))
    }
}

/// The watch of one socket. It must be dropped before the socket is closed.
#[derive(Debug, Default)]
pub(super) struct ArrivalWatch {
    /// The number of the latest registration.
    number: Option<u64>,
    slot: Arc<Mutex<Slot>>,
}

impl ArrivalWatch {
    /// Watches for the next bytes. Call it when no data is left to read. Does nothing if the host does not support it.
    pub fn arm(&mut self, stream: &Arc<TcpStream>, empty: EmptySocket, mode: WatchMode) {
        if let Some(watcher) = WATCHER.as_ref() {
            self.arm_with(watcher, stream, empty, mode);
        }
    }

    fn arm_with(&mut self, watcher: &Watcher, stream: &Arc<TcpStream>, empty: EmptySocket, mode: WatchMode) {
        let number = watcher.next.fetch_add(1, Ordering::Relaxed);
        let mut slots = watcher.watched.lock();
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
        let mut slot = self.slot.lock();
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

    /// Stops noting, because the worker starts to read. Returns the notes since the socket was armed.
    pub fn disarm(&self) -> Arrivals {
        let mut slot = self.slot.lock();
        slot.armed = None;
        std::mem::take(&mut slot.arrivals)
    }

    /// Ends the watch. Closing the socket removes it from the epoll instance.
    fn forget(&mut self, watcher: &Watcher) {
        if let Some(number) = self.number.take() {
            watcher.watched.lock().remove(&number);
        }
        let mut slot = self.slot.lock();
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
        Arrival, ArrivalWatch, EmptySocket, EventTime, MAX_COUNTED, MAX_WATCHED, Scratch, Slot, TOLERATED, WATCHER,
        WatchMode, Watcher,
    };
    use crate::check::rx_timestamps;
    use std::io::{Read as _, Write as _};
    use std::net::{Shutdown, TcpListener, TcpStream};
    use std::sync::Arc;
    use std::thread;
    use std::time::{Duration, Instant};

    /// A connection: the end that the worker reads, the same end as the thread shares it, and the remote end.
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

        /// A connection whose packets have timestamps. The kernel starts to timestamp packets shortly after the first
        /// socket requests it.
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

        /// Writes a segment and returns when `unread` bytes can be read.
        fn write(&mut self, bytes: &[u8], unread: usize) {
            self.peer.write_all(bytes).unwrap();
            while self.stream.peek(&mut [0; 64]).unwrap_or_default() < unread {}
        }

        /// An armed slot that the thread does not know.
        fn slot(&self, read: u64, framed: bool) -> Slot {
            Slot {
                stream: Some(self.shared.clone()),
                armed: Some((empty(read), self.mode(framed))),
                ..Slot::default()
            }
        }
    }

    impl Slot {
        /// Notes an event that occurred at an unknown time since the dial.
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

    impl ArrivalWatch {
        /// Waits until `count` arrivals are noted, and returns the last of them.
        pub fn noted(&self, count: usize) -> Arrival {
            let begun = Instant::now();
            loop {
                assert!(begun.elapsed() < Duration::from_secs(10), "{count} notes were expected");
                if let Some(arrival) = self.slot.lock().arrivals.notes.get(count - 1) {
                    return *arrival;
                }
                thread::yield_now();
            }
        }
    }

    /// Longer than the tolerated error, so that the kernel's timestamps can be distinguished. No test can pause the
    /// kernel's clock.
    const GAP: Duration = TOLERATED.saturating_mul(2);

    #[tokio::test]
    async fn the_first_byte_has_its_own_time_when_more_was_merged_with_it() {
        let mut connection = Connection::with_timestamps();
        let mut watch = ArrivalWatch::default();
        for _again in 0..2 {
            watch.arm(&connection.shared, empty(0), connection.mode(false));
            let before = Instant::now();
            connection.write(b"head", 4);
            let arrival = watch.noted(1);
            let after = Instant::now();
            connection.write(b"body", 8);
            assert_eq!(watch.disarm().notes, [arrival]);
            assert!(before <= arrival.at && arrival.at <= after, "{arrival:?}");
            connection.stream.read_exact(&mut [0; 8]).unwrap();
        }
        assert_eq!(watch.disarm().notes, []);
    }

    /// Session tickets arrive before the response, so the response is not the first arrival.
    #[tokio::test]
    async fn each_arrival_has_its_own_time_when_the_response_may_start_later() {
        let mut connection = Connection::with_timestamps();
        let mut watch = ArrivalWatch::default();
        watch.arm(&connection.shared, empty(0), connection.mode(true));
        let mut between = Vec::new();
        for (count, bytes) in [&b"tickets"[..], b"head", b"body"].into_iter().enumerate() {
            let before = Instant::now();
            connection.peer.write_all(bytes).unwrap();
            watch.noted(count + 1);
            between.push((before, Instant::now()));
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
        assert!(slot.note_now().unwrap().single);
        let sent = Instant::now();
        connection.write(b"head", 11);
        let arrived = Instant::now();
        let head = slot.note_now().unwrap();
        assert!(head.single && sent <= head.at && head.at <= arrived, "{head:?}");
        // Two segments at once: only the time of the last one is known, and that neither had arrived before.
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

    /// A segment that contains only the end of the stream replaces the timestamp of the data before it.
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

    /// The event is older than its report: the process was stopped in between.
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

    /// Only the worker may consume a socket error. Otherwise a reset would look like an orderly end.
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
        // Closing a socket with unread data makes the kernel send a reset.
        stream.write_all(b"unread").unwrap();
        peer.peek(&mut [0]).unwrap();
        drop(peer);
        while watch.slot.lock().arrivals.rest_not_before.is_none() {
            thread::yield_now();
        }
        assert_eq!(watch.disarm().notes, []);
        let error = stream.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    }

    /// A long body must not wake the thread with each segment.
    #[tokio::test]
    async fn a_socket_that_the_worker_reads_is_watched_no_longer() {
        let mut connection = Connection::with_timestamps();
        let mut watch = ArrivalWatch::default();
        watch.arm(&connection.shared, empty(0), connection.mode(true));
        watch.disarm();
        connection.write(b"body", 4);
        while watch.slot.lock().registered {
            thread::yield_now();
        }
        // The socket is watched again when it waits again.
        connection.stream.read_exact(&mut [0; 4]).unwrap();
        watch.arm(&connection.shared, empty(4), connection.mode(true));
        connection.write(b"more", 4);
        assert_eq!(watch.noted(1).upto, 8);
    }

    #[tokio::test]
    async fn what_is_dropped_is_no_longer_watched() {
        let watcher = WATCHER.as_ref().unwrap();
        let connection = Connection::new();
        let mut watch = ArrivalWatch::default();
        watch.arm(&connection.shared, empty(0), connection.mode(false));
        let number = watch.number.unwrap();
        assert!(watcher.watched.lock().contains_key(&number));
        // Only the latest wait of each socket is watched.
        watch.arm(&connection.shared, empty(0), connection.mode(false));
        assert!(!watcher.watched.lock().contains_key(&number));
        let number = watch.number.unwrap();
        drop(watch);
        assert!(!watcher.watched.lock().contains_key(&number));
        assert_eq!(Arc::strong_count(&connection.shared), 1);
    }

    #[tokio::test]
    async fn no_more_sockets_are_watched_than_may_be() {
        let mut connection = Connection::new();
        let watcher = Watcher::new().unwrap();
        let full = (0..MAX_WATCHED as u64).map(|number| (number, Arc::default()));
        watcher.watched.lock().extend(full);
        let mut watch = ArrivalWatch::default();
        watch.arm_with(&watcher, &connection.shared, empty(0), connection.mode(false));
        connection.write(b"head", 4);
        assert_eq!((watch.number, watcher.watched.lock().len()), (None, MAX_WATCHED));
    }
}
