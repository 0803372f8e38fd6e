//! One thread that takes the kernel's timestamp of the first byte of a response as soon as it arrives.
//!
//! The kernel merges packets that wait unread in a socket's queue, and the merged buffer has the timestamp of its last packet. A
//! worker that is busy with other probes reads late, and would take the arrival of the body for that of the head. So a socket
//! that waits for a response is registered with the epoll instance of this thread as well:
//!
//! ```text
//! worker   request sent, nothing to read: arm ─── busy with other probes ─── disarm, read, use what the thread has noted
//! thread   ───────────── asleep ───────────── head arrives: peek at a byte, note its timestamp ── asleep ──────────────
//! ```
//!
//! The thread wakes no worker. It also notes a lower bound of the arrival: the last moment at which it knows that the byte was not
//! there. Where timestamp and lower bound are far apart, the thread itself was late (the process was stopped, or had no processor),
//! and packets may have been merged all the same. Without epoll, or where too many sockets wait, workers read their own timestamps.

use super::rx_timestamps;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use std::collections::HashMap;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Maximum number of sockets that are watched at once.
const MAX_WATCHED: usize = 4096;

/// Maximum number of events that one call of `epoll_wait` returns.
const EVENTS: usize = 256;

/// A call of `epoll_wait` that returns sooner may have found its events ready: the thread did not sleep. And within so short a time, it
/// cannot have waited long for a processor.
const BRIEF: Duration = Duration::from_micros(100);

/// The thread, unless this host has no means for it.
static WATCHER: LazyLock<Option<Watcher>> = LazyLock::new(|| {
    let watcher = Watcher::new().ok()?;
    let watch = || WATCHER.iter().for_each(Watcher::run);
    thread::Builder::new().name("arrivals".to_owned()).spawn(watch).ok()?;
    Some(watcher)
});

/// Starts the thread now. Else the first probe starts it, when the process may be short of files.
pub fn watch_arrivals() {
    LazyLock::force(&WATCHER);
}

/// What the thread noted when the next byte of a socket arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Arrival {
    /// When the byte arrived, by the kernel's clock; `None` where the worker was first, or the kernel gave no timestamp.
    pub at: Option<Instant>,
    /// The byte was not there before. Correct to about 0.1 ms: what an idle processor takes to wake up is unknown.
    pub not_before: Instant,
}

/// What a worker and the thread share of one socket.
#[derive(Debug, Default)]
struct Slot {
    /// The socket, and when its connection was dialled, while the worker has not begun to read.
    armed: Option<(RawFd, Instant)>,
    arrival: Option<Arrival>,
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
        let (mut events, mut room) = ([EpollEvent::empty(); EVENTS], rx_timestamps::room());
        // Until then, everything that had arrived was reported.
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
                self.note(*event, not_before, &mut room);
            }
            if count < EVENTS {
                seen = looked;
            }
        }
    }

    fn note(&self, event: EpollEvent, not_before: Instant, room: &mut [u8]) {
        let slot = lock(&self.watched).get(&event.data()).cloned();
        let Some(slot) = slot else { return };
        let mut slot = lock(&slot);
        // Where nothing is unread, a call that peeks would take an error (such as a reset) that the worker has to see. An armed
        // socket that is readable, and has no error, has something unread.
        let faulty = EpollFlags::EPOLLERR | EpollFlags::EPOLLHUP;
        let peeked = slot
            .armed
            .filter(|_| !event.events().intersects(faulty))
            .and_then(|(socket, since)| rx_timestamps::peek(socket, room, since).ok());
        slot.arrival = Some(Arrival {
            at: peeked
                .filter(|byte| byte.count > 0 && byte.delay.is_some())
                .map(|byte| byte.at()),
            not_before,
        });
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

    /// What it waits for from now on counts. To ask takes a microsecond or two, which is left out where little can have been added.
    fn is_about_to_sleep(&mut self) {
        if self.asked.elapsed() > BRIEF {
            self.since_last_asked();
        }
    }

    /// Zero where the kernel does not tell.
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
    /// Watches for the next byte: to be called when nothing is left to read. Does nothing where the host has no means for it.
    pub fn arm(&mut self, socket: &(impl AsFd + AsRawFd), since: Instant) {
        if let Some(watcher) = WATCHER.as_ref() {
            self.arm_with(watcher, socket, since);
        }
    }

    fn arm_with(&mut self, watcher: &Watcher, socket: &(impl AsFd + AsRawFd), since: Instant) {
        let number = watcher.next.fetch_add(1, Ordering::Relaxed);
        *lock(&self.slot) = Slot {
            armed: Some((socket.as_raw_fd(), since)),
            arrival: None,
        };
        let mut slots = lock(&watcher.watched);
        let registered = self.number.take().and_then(|before| slots.remove(&before)).is_some();
        if slots.len() >= MAX_WATCHED {
            return;
        }
        slots.insert(number, self.slot.clone());
        drop(slots);
        self.number = Some(number);
        let mut event = EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLONESHOT, number);
        let told = if registered {
            watcher.epoll.modify(socket, &mut event)
        } else {
            watcher.epoll.add(socket, event)
        };
        if told.is_err() {
            self.forget();
        }
    }

    /// The worker reads now: what was noted of the byte that it reads first.
    pub fn disarm(&self) -> Option<Arrival> {
        let mut slot = lock(&self.slot);
        slot.armed = None;
        slot.arrival.take()
    }

    /// Closing the socket removes it from the epoll instance.
    fn forget(&mut self) {
        if let (Some(number), Some(watcher)) = (self.number.take(), WATCHER.as_ref()) {
            lock(&watcher.watched).remove(&number);
            lock(&self.slot).armed = None;
        }
    }
}

impl Drop for ArrivalWatch {
    fn drop(&mut self) {
        self.forget();
    }
}

#[cfg(test)]
mod tests {
    use super::{Arrival, ArrivalWatch, MAX_WATCHED, WATCHER, Watcher, lock};
    use crate::check::rx_timestamps;
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};
    use std::sync::Arc;
    use std::thread;
    use std::time::Instant;

    fn connection() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        rx_timestamps::turn_on(&stream);
        (stream, listener.accept().unwrap().0)
    }

    /// What is noted once something has arrived.
    fn noted(watch: &ArrivalWatch) -> Arrival {
        loop {
            if let Some(arrival) = lock(&watch.slot).arrival {
                return arrival;
            }
            thread::yield_now();
        }
    }

    #[test]
    fn the_first_byte_has_its_own_time_when_more_was_merged_with_it() {
        let begun = Instant::now();
        let (mut stream, mut peer) = connection();
        let mut watch = ArrivalWatch::default();
        // The kernel begins to stamp packets a moment after the first socket asked for it.
        let mut is_stamped = false;
        while !is_stamped {
            watch.arm(&stream, begun);
            peer.write_all(b"x").unwrap();
            is_stamped = noted(&watch).at.is_some();
            watch.disarm();
            stream.read_exact(&mut [0]).unwrap();
        }
        for _again in 0..2 {
            watch.arm(&stream, begun);
            let before = Instant::now();
            peer.write_all(b"head").unwrap();
            let arrival = noted(&watch);
            let after = Instant::now();
            peer.write_all(b"body").unwrap();
            // Until the second segment is there as well.
            while stream.peek(&mut [0; 16]).unwrap() < 8 {}
            let taken = watch.disarm().unwrap();
            assert_eq!(taken, arrival);
            let at = arrival.at.unwrap();
            assert!(before <= at && at <= after, "{arrival:?}");
            stream.read_exact(&mut [0; 8]).unwrap();
        }
        assert_eq!(watch.disarm(), None);
    }

    /// An error of the socket is for the worker alone: a reset must not look like an orderly end.
    #[test]
    fn a_reset_is_left_to_the_worker() {
        let (mut stream, peer) = connection();
        let mut watch = ArrivalWatch::default();
        watch.arm(&stream, Instant::now());
        // What is unread when a socket is closed makes the kernel send a reset.
        stream.write_all(b"unread").unwrap();
        peer.peek(&mut [0]).unwrap();
        drop(peer);
        assert_eq!(noted(&watch).at, None);
        let error = stream.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    }

    #[test]
    fn what_is_dropped_is_no_longer_watched() {
        let watcher = WATCHER.as_ref().unwrap();
        let (stream, _peer) = connection();
        let mut watch = ArrivalWatch::default();
        watch.arm(&stream, Instant::now());
        let number = watch.number.unwrap();
        assert!(lock(&watcher.watched).contains_key(&number));
        // Of each socket, only what it waits for now is watched.
        watch.arm(&stream, Instant::now());
        assert!(!lock(&watcher.watched).contains_key(&number));
        let number = watch.number.unwrap();
        drop(watch);
        assert!(!lock(&watcher.watched).contains_key(&number));
    }

    #[test]
    fn no_more_sockets_are_watched_than_may_be() {
        let (stream, mut peer) = connection();
        let watcher = Watcher::new().unwrap();
        let full = (0..MAX_WATCHED as u64).map(|number| (number, Arc::default()));
        lock(&watcher.watched).extend(full);
        let mut watch = ArrivalWatch::default();
        watch.arm_with(&watcher, &stream, Instant::now());
        peer.write_all(b"head").unwrap();
        assert_eq!((watch.number, lock(&watcher.watched).len()), (None, MAX_WATCHED));
    }
}
