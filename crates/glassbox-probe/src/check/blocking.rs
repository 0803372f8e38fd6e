//! Runs blocking and CPU-bound work outside the async runtime, within the probe's deadline, so that no other probe
//! waits.
//!
//! File system access ([`blocking`]) uses the runtime's blocking threads. It can hang, so the caller limits the number
//! of calls. CPU-bound work ([`compute`]) uses a small pool of threads for the whole process, shared fairly among the
//! probed hosts. It checks its [`WorkClock`] regularly and stops when the time of its probe is over.

use super::memory_limit::ProbeMemory;
use crate::clock;
use glassbox_verdict::reason::Reason;
use nix::time::{ClockId, clock_gettime};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::num::NonZero;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Weak};
use std::thread;
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Maximum number of bytes that can be examined within the runtime without a noticeable delay for other probes.
pub(crate) const BRIEF: usize = 16 * 1024;

/// Why no result was available before the deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BlockingError {
    /// The work did not start because all threads were busy. This does not indicate a target fault.
    NotBegun,
    /// The work takes longer than the time that is left.
    Slow,
    /// The work got less than half of a CPU. This does not indicate a target fault.
    Starved,
}

impl BlockingError {
    /// Failure message for work that examined data from the target.
    pub const fn while_looking(self) -> (Reason, &'static str) {
        match self {
            Self::Slow => (
                Reason::ContentExpect,
                "Examining the response took all of the probe's time.",
            ),
            Self::NotBegun | Self::Starved => (
                Reason::LocalOverloaded,
                "The exporter had no free thread or too little CPU time to examine the response in time.",
            ),
        }
    }
}

/// Runs `work` outside the runtime and waits for it until the given time.
pub(crate) async fn blocking<T: Send + 'static>(
    until: Instant,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, BlockingError> {
    let begun = Arc::new(AtomicBool::new(false));
    let begins = begun.clone();
    let mut working = tokio::task::spawn_blocking(move || {
        begins.store(true, Ordering::SeqCst);
        work()
    });
    match tokio::time::timeout_at(until.into(), &mut working).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => match error.try_into_panic() {
            // The panic is an exporter defect and fails this probe like any other panic.
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is shutting down.
            Err(_) => Err(BlockingError::NotBegun),
        },
        Err(_) => {
            // Work that has not started is dropped. Work that has started continues.
            working.abort();
            Err(if begun.load(Ordering::SeqCst) {
                BlockingError::Slow
            } else {
                BlockingError::NotBegun
            })
        }
    }
}

/// The host that CPU-bound work is accounted to, as a hash of its name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FairnessKey(u64);

impl FairnessKey {
    /// A target's host.
    #[must_use]
    pub fn of(name: &str) -> Self {
        let mut hash = DefaultHasher::new();
        name.to_ascii_lowercase().hash(&mut hash);
        Self(hash.finish())
    }
}

/// The limits of work that examines received data: its time limit, the host that it is accounted to, and the account
/// for its memory.
#[derive(Clone, Debug)]
pub(crate) struct WorkLimits {
    pub until: Instant,
    pub host: FairnessKey,
    pub memory: ProbeMemory,
}

/// The time limit of CPU-bound work.
#[derive(Clone, Debug)]
pub(crate) struct WorkClock {
    until: Instant,
    wanted: Weak<()>,
    spent: Arc<ProcessorTime>,
}

/// CPU time that the work has reported.
#[derive(Debug, Default)]
struct ProcessorTime {
    begun: Mutex<Option<(Instant, Duration)>>,
    nanos: AtomicU64,
}

/// The work stopped before it was complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WorkStopped;

#[cfg(test)]
impl WorkClock {
    /// A clock that expires at the given time.
    pub fn until(until: Instant) -> Self {
        let wanted = Arc::new(());
        let clock = Self {
            until,
            wanted: Arc::downgrade(&wanted),
            spent: Arc::default(),
        };
        // The result is needed for as long as the test runs.
        std::mem::forget(wanted);
        clock
    }

    /// A clock that does not expire while a test runs.
    pub fn never() -> Self {
        Self::until(Instant::now() + Duration::from_hours(1))
    }
}

impl WorkClock {
    /// Whether the work must stop: its time is over, or its result is no longer needed. Check at least once a
    /// millisecond.
    pub fn is_over(&self) -> bool {
        self.spent.note();
        Instant::now() >= self.until || self.wanted.strong_count() == 0
    }
}

impl ProcessorTime {
    /// Starts to measure, on the thread that runs the work.
    fn begin(&self) {
        let mut begun = self.begun.lock();
        *begun = Some((Instant::now(), thread_time()));
    }

    fn note(&self) {
        let begun = *self.begun.lock();
        if let Some((_, from)) = begun {
            let spent = thread_time().saturating_sub(from).as_nanos();
            self.nanos
                .store(u64::try_from(spent).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
    }

    /// Why the work did not end before its deadline.
    fn late(&self) -> BlockingError {
        let begun = *self.begun.lock();
        let Some((at, _)) = begun else {
            return BlockingError::NotBegun;
        };
        let spent = Duration::from_nanos(self.nanos.load(Ordering::Relaxed));
        if 2 * spent >= clock::since(at) {
            BlockingError::Slow
        } else {
            BlockingError::Starved
        }
    }
}

/// This thread's CPU time.
fn thread_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

/// Maximum number of compute threads. The kernel shares the CPUs among them.
static THREADS: LazyLock<usize> = LazyLock::new(|| (2 * processors()).max(16));

/// Maximum number of compute threads for one host. The host's further work waits.
static OF_A_HOST: LazyLock<usize> = LazyLock::new(|| (processors() / 4).max(2));

fn processors() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

/// The compute threads: a separate runtime whose threads start and stop on demand.
static POOL: LazyLock<Option<Runtime>> = LazyLock::new(|| {
    let mut builder = Builder::new_current_thread();
    builder
        .thread_name("compute")
        .max_blocking_threads(*THREADS)
        .build()
        .ok()
});

/// The permits of each host that has work in progress.
static PLACES: LazyLock<Mutex<HashMap<FairnessKey, Weak<Semaphore>>>> = LazyLock::new(Mutex::default);

/// Waits for one of the host's permits.
async fn place(host: FairnessKey) -> Option<OwnedSemaphorePermit> {
    let places = {
        let mut all = PLACES.lock();
        if all.len() == all.capacity() {
            all.retain(|_, places| places.strong_count() > 0);
        }
        let known = all.get(&host).and_then(Weak::upgrade);
        known.unwrap_or_else(|| {
            let places = Arc::new(Semaphore::new(*OF_A_HOST));
            all.insert(host, Arc::downgrade(&places));
            places
        })
    };
    // The semaphores are never closed.
    places.acquire_owned().await.ok()
}

/// Runs CPU-bound work outside the runtime and waits for it until its time is over. The clock stops the work.
pub(crate) async fn compute<T: Send + 'static>(
    host: FairnessKey,
    until: Instant,
    work: impl FnOnce(&WorkClock) -> Result<T, WorkStopped> + Send + 'static,
) -> Result<T, BlockingError> {
    // Work without any remaining time does not start, because it would be reported as too slow.
    if clock::now() >= until {
        return Err(BlockingError::NotBegun);
    }
    let place = tokio::time::timeout_at(until.into(), place(host)).await;
    let place = place.map_err(|_elapsed| BlockingError::NotBegun)?;
    let (wanted, spent) = (Arc::new(()), Arc::<ProcessorTime>::default());
    let clock = WorkClock {
        until,
        wanted: Arc::downgrade(&wanted),
        spent: spent.clone(),
    };
    let works = move || {
        // The permit is kept until the work ends, even if the caller no longer waits.
        let _place = place;
        clock.spent.begin();
        let done = work(&clock);
        clock.spent.note();
        done
    };
    let mut working = match &*POOL {
        Some(pool) => pool.spawn_blocking(works),
        None => tokio::task::spawn_blocking(works),
    };
    match tokio::time::timeout_at(until.into(), &mut working).await {
        Ok(Ok(Ok(done))) => Ok(done),
        Ok(Ok(Err(WorkStopped))) => Err(spent.late()),
        Ok(Err(error)) => match error.try_into_panic() {
            // The panic is an exporter defect and fails this probe like any other panic.
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is shutting down.
            Err(_) => Err(BlockingError::NotBegun),
        },
        Err(_) => {
            // Work that has not started is dropped. Work that has started is stopped by its clock.
            working.abort();
            Err(spent.late())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{BlockingError, FairnessKey, OF_A_HOST, ProcessorTime, WorkClock, WorkStopped, blocking, compute};
    use crate::clock;
    use std::sync::atomic::Ordering;
    use std::sync::{Arc, mpsc};
    use std::time::{Duration, Instant};
    use tokio::runtime::Builder;
    use tokio::sync::oneshot;
    use tokio::task::yield_now;

    const HOUR: Duration = Duration::from_hours(1);

    #[test]
    fn what_was_not_begun_is_told_from_what_takes_long() {
        let mut builder = Builder::new_current_thread();
        let runtime = builder.enable_time().start_paused(true).max_blocking_threads(1).build();
        runtime.unwrap().block_on(async {
            // The clock is paused and moves only when the test advances it.
            let now = tokio::time::Instant::now().into_std();
            let hour = Duration::from_hours(1);
            let (let_go, held) = mpsc::channel::<()>();
            let (begins, begun) = oneshot::channel();
            let slow = tokio::spawn(blocking(now + hour, move || {
                begins.send(()).unwrap();
                held.recv().is_ok()
            }));
            begun.await.unwrap();
            // The only thread is busy.
            assert_eq!(blocking(now, || ()).await, Err(BlockingError::NotBegun));
            tokio::time::advance(2 * hour).await;
            assert_eq!(slow.await.unwrap(), Err(BlockingError::Slow));
            let_go.send(()).unwrap();
            assert_eq!(blocking(now + 4 * hour, || 1).await, Ok(1));
        });
    }

    #[test]
    fn the_clock_of_the_work_ends_with_the_time_of_its_probe() {
        assert!(WorkClock::until(Instant::now()).is_over());
        assert!(!WorkClock::never().is_over());
    }

    /// Starts work that reports its start, and reports its end when its clock has stopped it. Returns after the start.
    async fn busy_work() -> (
        tokio::task::JoinHandle<Result<(), BlockingError>>,
        oneshot::Receiver<WorkStopped>,
    ) {
        let (begins, begun) = mpsc::channel();
        let (ends, ended) = oneshot::channel();
        let working = tokio::spawn(compute(FairnessKey::of("a"), clock::now() + HOUR, move |clock| {
            begins.send(()).unwrap();
            while !clock.is_over() {}
            ends.send(WorkStopped).unwrap();
            Err(WorkStopped)
        }));
        yield_now().await;
        // Blocks the thread, because a paused clock moves to the next timer when all tasks wait.
        begun.recv().unwrap();
        (working, ended)
    }

    #[tokio::test(start_paused = true)]
    async fn work_stops_when_its_result_is_no_longer_needed() {
        let (working, ended) = busy_work().await;
        working.abort();
        assert_eq!(ended.await, Ok(WorkStopped));

        // Its time has passed.
        let (working, ended) = busy_work().await;
        tokio::time::advance(2 * HOUR).await;
        let late = working.await.unwrap().unwrap_err();
        assert!(matches!(late, BlockingError::Slow | BlockingError::Starved), "{late:?}");
        assert_eq!(ended.await, Ok(WorkStopped));
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_had_no_processor_is_told_from_work_that_takes_long() {
        let until = clock::now() + HOUR;
        let (begins, begun) = mpsc::channel();
        let (let_go, held) = mpsc::channel::<()>();
        let starved = tokio::spawn(compute(FairnessKey::of("b"), until, move |_| {
            begins.send(()).unwrap();
            // It waits without a processor.
            held.recv().unwrap();
            Ok(())
        }));
        yield_now().await;
        begun.recv().unwrap();
        tokio::time::advance(2 * HOUR).await;
        assert_eq!(starved.await.unwrap(), Err(BlockingError::Starved));
        let_go.send(()).unwrap();
        let slow = ProcessorTime::default();
        slow.begin();
        slow.nanos.store(u64::MAX / 2, Ordering::Relaxed);
        assert_eq!(slow.late(), BlockingError::Slow);
        assert_eq!(ProcessorTime::default().late(), BlockingError::NotBegun);
    }

    /// With the real clock: while the tasks wait for the threads, a paused clock would move to the next deadline.
    #[tokio::test]
    async fn a_host_has_its_share_of_the_threads_and_others_do_not_wait_for_it() {
        let hour = Instant::now() + HOUR;
        let (let_go, held) = mpsc::channel::<()>();
        let held = Arc::new(std::sync::Mutex::new(held));
        let (begins, mut begun) = tokio::sync::mpsc::unbounded_channel();
        let mut busy = Vec::new();
        for _ in 0..2 * *OF_A_HOST {
            let (begins, held) = (begins.clone(), held.clone());
            busy.push(tokio::spawn(compute(FairnessKey::of("busy"), hour, move |_| {
                begins.send(()).unwrap();
                held.lock().unwrap().recv().unwrap();
                Ok(())
            })));
        }
        for _ in 0..*OF_A_HOST {
            begun.recv().await.unwrap();
        }
        assert_eq!(compute(FairnessKey::of("other"), hour, |_| Ok(7)).await, Ok(7));
        let soon = Instant::now() + Duration::from_millis(20);
        assert_eq!(
            compute(FairnessKey::of("Busy"), soon, |_| Ok(7)).await,
            Err(BlockingError::NotBegun)
        );
        assert!(begun.try_recv().is_err(), "it has more than its share");
        for _ in &busy {
            let_go.send(()).unwrap();
        }
        for busy in busy {
            assert_eq!(busy.await.unwrap(), Ok(()));
        }
    }
}
