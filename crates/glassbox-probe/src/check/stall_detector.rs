//! Detects exporter stalls: the part of a probe's deadline in which the exporter itself did not run.
//!
//! The process may be stopped (`SIGSTOP`, a cgroup freezer, a paused virtual machine), its thread may not be scheduled,
//! or another task may keep the worker busy. The probe then wakes up after the deadline and finds its timer expired.
//! This does not indicate a target fault. A probe whose deadline has passed therefore does two things before it fails:
//!
//! 1. It reads the data that the kernel holds. The runtime polls a few more times and finds the sockets that became
//!    readable during the stall. Data that arrived before the deadline, according to the kernel's timestamps, counts as
//!    if it had been read in time.
//! 2. It adds up the stalls. While it waits, a probe wakes up [`TICKS`] times until its deadline. A late wake-up is
//!    a stall. A stall counts if it could have changed the result:
//!
//! ```text
//! start          last read or write              deadline
//!   ├────────stall────────┼───────────────────────────┤   counts: the target got the request, or its window, late
//!   ├─────────┼──stall────────────────────────────────┤   does not count: the target had its time and sent nothing
//!   ├─────────┼───────────────────────stall───────────────┤   counts: the whole host and its network may have stopped
//! ```
//!
//! If the stalls that count exceed the tolerance of the deadline, the result is a local error, without a verdict.

use crate::clock::now;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::task::{unconstrained, yield_now};
use tokio::time::{Sleep, sleep_until};

/// Number of wake-ups of a waiting probe until its deadline. A probe that ends before the first tick has none.
const TICKS: u32 = 16;

/// The shortest time between two ticks.
const LEAST_TICK: Duration = Duration::from_millis(5);

/// Tolerance for late wake-ups: a busy host's scheduler is not more precise.
const ON_TIME: Duration = Duration::from_millis(10);

/// The divisor for the tolerated part of a deadline. A target that did not respond in the other three quarters is down
/// or slow, unless it usually takes about as long as its deadline.
const TOLERATED_PART: u32 = 4;

/// Loss that is always tolerated.
const TOLERATED: Duration = Duration::from_millis(50);

/// Number of polls of the runtime after a deadline. The first one sees the sockets. Each library task that a response
/// passes through needs one more. Without new data, each poll costs a few microseconds.
const LAST_TURNS: u32 = 24;

/// Number of polls after the timeout of a wait within a stage. They must end before the stage's own final polls.
const LAST_TURNS_WITHIN: u32 = 3;

/// A late wake-up.
#[derive(Clone, Copy, Debug)]
struct Stall {
    /// Time at which the wake-up was due.
    from: Instant,
    until: Instant,
    /// The longest part of the stall in which no probe ran on this thread. If other probes ran, this probe only waited
    /// for its turn: the process, its host and the network were working.
    nobody_ran: Duration,
}

/// Periods in which no probe ran on this thread although one was due. Only the latest periods of at least [`ON_TIME`]
/// are kept.
#[derive(Debug, Default)]
struct Silence {
    last_woken: Option<Instant>,
    latest: VecDeque<(Instant, Instant)>,
}

/// Number of remembered periods.
const SILENCES: usize = 16;

thread_local! {
    static SILENCE: RefCell<Silence> = RefCell::default();
}

impl Silence {
    /// Records that a probe that was due at `due` runs now. Returns the longest period since then in which none ran.
    fn end(&mut self, due: Instant, now: Instant) -> Duration {
        let since = self.last_woken.replace(now).map_or(due, |woken| woken.max(due));
        if now.saturating_duration_since(since) >= ON_TIME {
            self.latest.truncate(SILENCES - 1);
            self.latest.push_front((since, now));
        }
        let within = |(from, until): &(Instant, Instant)| (*until).min(now).saturating_duration_since((*from).max(due));
        self.latest.iter().map(within).max().unwrap_or_default()
    }
}

impl Stall {
    fn length(self) -> Duration {
        self.until.saturating_duration_since(self.from)
    }
}

/// Drives the stages of one probe until its deadline and records late wake-ups.
#[derive(Debug)]
pub(super) struct StallDetector {
    begun: Instant,
    deadline: Instant,
    /// Time of the next wake-up.
    due: Instant,
    /// Recorded stalls, at most one per tick.
    stalls: Vec<Stall>,
    /// The timer for the next wake-up. All stages share it. A probe that never waits has none.
    alarm: Option<Pin<Box<Sleep>>>,
}

impl StallDetector {
    pub fn new(begun: Instant, timeout: Duration) -> Self {
        let mut new = Self {
            begun,
            deadline: begun + timeout,
            due: begun,
            stalls: Vec::new(),
            alarm: None,
        };
        new.due = new.after(begun);
        new
    }

    fn after(&self, now: Instant) -> Instant {
        let tick = ((self.deadline - self.begun) / TICKS).max(LEAST_TICK);
        let next = now + tick;
        if now < self.deadline {
            next.min(self.deadline)
        } else {
            next
        }
    }

    /// Records a stall if this task runs later than it was due.
    pub fn wake(&mut self, now: Instant) {
        let nobody_ran = SILENCE.with_borrow_mut(|silence| silence.end(self.due, now));
        if now < self.due {
            return;
        }
        let stall = Stall {
            from: self.due,
            until: now,
            nobody_ran,
        };
        if stall.length() >= ON_TIME {
            self.stalls.push(stall);
        }
        self.due = self.after(now);
    }

    /// Runs `work` until it is complete. Returns None if the deadline has passed and the kernel has no more data for
    /// it.
    ///
    /// The caller pins `work`. An async function that takes a future by value and pins it stores it twice: as its
    /// argument and where it is pinned. Each outer function would store and move both.
    pub async fn watch<T>(&mut self, mut work: Pin<&mut impl Future<Output = T>>) -> Option<T> {
        while now() < self.deadline {
            let done = poll_fn(|cx| match work.as_mut().poll(cx) {
                Poll::Ready(done) => Poll::Ready(Some(done)),
                Poll::Pending => self.poll_alarm(cx).map(|()| None),
            });
            if let Some(done) = done.await {
                return Some(done);
            }
            self.wake(now());
            if let Some(alarm) = &mut self.alarm {
                alarm.as_mut().reset(self.due.into());
            }
        }
        last_turns(work, LAST_TURNS).await
    }

    fn poll_alarm(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let due = self.due.into();
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(due)));
        // Work that is always ready exhausts its task's budget, but its deadline still applies.
        Pin::new(&mut unconstrained(alarm.as_mut())).poll(cx)
    }

    /// The lost time that could have changed the result. `acted` is the time of the exporter's last action that the
    /// peer could notice. If it is None, all of the lost time counts.
    pub fn lost(&self, acted: Option<Instant>) -> Duration {
        let counts = |stall: &Stall| {
            if acted.is_none_or(|acted| acted >= stall.from) {
                return stall.length();
            }
            // The retransmission of a packet dropped in this period takes no longer than the period itself.
            let left = self.deadline.saturating_duration_since(stall.until);
            if left < stall.nobody_ran {
                stall.nobody_ran
            } else {
                Duration::ZERO
            }
        };
        self.stalls.iter().map(counts).sum()
    }

    /// Whether the deadline tolerates this loss.
    pub fn tolerates(&self, lost: Duration) -> bool {
        lost <= ((self.deadline - self.begun) / TOLERATED_PART).max(TOLERATED)
    }
}

/// Runs `work` until the given time. Data that the kernel has by then is read: see [`StallDetector::watch`].
pub(super) async fn in_time<T>(until: Instant, mut work: Pin<&mut impl Future<Output = T>>) -> Option<T> {
    match tokio::time::timeout_at(until.into(), work.as_mut()).await {
        Ok(done) => Some(done),
        Err(_elapsed) => last_turns(work, LAST_TURNS_WITHIN).await,
    }
}

/// Polls the runtime's sockets, and then `work`.
async fn last_turns<T>(mut work: Pin<&mut impl Future<Output = T>>, turns: u32) -> Option<T> {
    for _ in 0..turns {
        yield_now().await;
        let done = poll_fn(|cx| {
            Poll::Ready(match work.as_mut().poll(cx) {
                Poll::Ready(done) => Some(done),
                Poll::Pending => None,
            })
        });
        if let Some(done) = done.await {
            return Some(done);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{SILENCE, StallDetector, in_time};
    use crate::clock::now;
    use std::future::pending;
    use std::io::Write as _;
    use std::net::TcpListener;
    use std::pin::pin;
    use std::time::Duration;
    use tokio::io::AsyncReadExt as _;
    use tokio::net::TcpStream;
    use tokio::time::advance;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// The lost time of a one-second probe that was due at `due` and woken at `until`.
    fn lost(due: u64, until: u64, acted: Option<u64>) -> Duration {
        let begun = now();
        SILENCE.take();
        let mut stalls = StallDetector::new(begun, ms(1000));
        stalls.due = begun + ms(due);
        stalls.wake(begun + ms(until));
        stalls.lost(acted.map(|acted| begun + ms(acted)))
    }

    #[test]
    fn a_stall_before_the_last_action_counts() {
        assert_eq!(lost(60, 360, Some(360)), ms(300));
        assert_eq!(lost(60, 360, Some(60)), ms(300));
        // The time of the last action is unknown.
        assert_eq!(lost(60, 360, None), ms(300));
    }

    #[test]
    fn a_stall_while_the_target_was_waited_for_counts_where_it_may_have_hidden_the_answer() {
        assert_eq!(lost(60, 360, Some(5)), ms(0));
        assert_eq!(lost(60, 530, Some(5)), ms(0));
        assert_eq!(lost(60, 540, Some(5)), ms(480));
        assert_eq!(lost(60, 1200, Some(5)), ms(1140));
    }

    /// Wakes one probe after the other, as (due, woken) in milliseconds, and returns the lost time of the last one.
    fn lost_by_the_last(wakes: &[(u64, u64)], acted: u64) -> Duration {
        let begun = now();
        SILENCE.take();
        let mut lost = Duration::ZERO;
        for (due, woken) in wakes {
            let mut stalls = StallDetector::new(begun, ms(1000));
            stalls.due = begun + ms(*due);
            stalls.wake(begun + ms(*woken));
            lost = stalls.lost(Some(begun + ms(acted)));
        }
        lost
    }

    /// Many targets stop responding at once, and their probes end one after the other.
    #[test]
    fn a_probe_that_waits_for_others_of_its_thread_has_lost_nothing_while_the_target_was_silent() {
        let busy: Vec<_> = (0..100).map(|number| (1000, 1000 + 5 * number)).collect();
        assert_eq!(lost_by_the_last(&busy, 5), ms(0));
        // The probe had to act in that time.
        assert_eq!(lost_by_the_last(&busy, 1400), ms(495));
        // The whole host was stopped, and this probe was not the first to be woken.
        assert_eq!(lost_by_the_last(&[(900, 900), (1000, 2200), (1010, 2201)], 5), ms(1190));
    }

    #[test]
    fn a_wake_up_on_time_is_no_stall_and_a_quarter_may_be_lost() {
        assert_eq!(lost(60, 69, None), ms(0));
        assert_eq!(lost(60, 59, None), ms(0));
        let of = |millis| StallDetector::new(now(), ms(millis));
        assert!(of(1000).tolerates(ms(250)) && !of(1000).tolerates(ms(251)));
        assert!(of(100).tolerates(ms(50)) && !of(100).tolerates(ms(51)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_thread_that_was_kept_from_its_turn_has_lost_that_time() {
        let begun = now();
        SILENCE.take();
        let mut stalls = StallDetector::new(begun, ms(400));
        let blocks = async {
            advance(ms(500)).await;
            pending::<()>().await;
        };
        assert_eq!(stalls.watch(pin!(blocks)).await, None);
        assert!(stalls.lost(Some(begun)) >= ms(400), "{stalls:?}");
        assert!(!stalls.tolerates(stalls.lost(Some(begun))));
    }

    /// The stages share one timer.
    #[tokio::test(start_paused = true)]
    async fn a_later_stage_has_lost_the_time_in_which_the_thread_was_kept_from_it() {
        let mut stalls = StallDetector::new(now(), ms(1000));
        let waits = tokio::time::sleep(ms(10));
        assert_eq!(stalls.watch(pin!(waits)).await, Some(()));
        let blocks = async {
            advance(ms(300)).await;
            pending::<()>().await;
        };
        assert_eq!(stalls.watch(pin!(blocks)).await, None);
        assert!(stalls.lost(None) >= ms(150), "{stalls:?}");
    }

    /// The response arrives and the deadline passes while the thread is busy: the response counts.
    #[tokio::test(start_paused = true)]
    async fn what_the_kernel_has_at_the_deadline_is_read() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut peer, _) = listener.accept().unwrap();
        let late = pin!(async {
            let mut bytes = [0; 5];
            stream.read_exact(&mut bytes).await.unwrap();
            bytes
        });
        let until = now() + ms(50);
        let busy = async {
            tokio::task::yield_now().await;
            peer.write_all(b"glass").unwrap();
            advance(ms(80)).await;
        };
        let (read, ()) = tokio::join!(in_time(until, late), busy);
        assert_eq!(read.as_ref(), Some(b"glass"));
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_never_ends_ends_with_the_deadline() {
        let mut stalls = StallDetector::new(now(), ms(30));
        assert_eq!(stalls.watch(pin!(pending::<()>())).await, None);
        assert_eq!(in_time(now(), pin!(pending::<()>())).await, None);
        let always_ready = async {
            loop {
                tokio::task::coop::consume_budget().await;
            }
        };
        // A paused clock does not move by itself while a task is ready.
        let _ticking = tokio::spawn(async {
            loop {
                advance(ms(1)).await;
            }
        });
        let mut stalls = StallDetector::new(now(), ms(30));
        assert_eq!(stalls.watch(pin!(always_ready)).await, None::<()>);
    }
}
