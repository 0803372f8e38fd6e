//! Worker threads that run probes: one per processor, each with its own runtime.
//!
//! A probe stays on the thread that received its scrape or started its lease. It wakes no other thread, because wake-ups
//! are a large part of the cost of a probe in an idle exporter (`docs/performance.md`).

use std::future::{Future, pending, poll_fn};
use std::io;
use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Handle, Runtime};

/// A worker looks for what others have given it, such as a new connection, after so many turns of its own tasks. By default it
/// would be 31: while all is busy, who connects would wait for that.
const TURNS: u32 = 3;

/// A task that keeps its worker for so long stalls it: all other probes and scrapes of that worker wait meanwhile.
const STALL: Duration = Duration::from_millis(100);

/// How often that was since the process started.
static STALLS: AtomicU64 = AtomicU64::new(0);

/// For how many nanoseconds in all.
static STALLED_NANOS: AtomicU64 = AtomicU64::new(0);

/// How often a task has kept a worker of this process for over 100 ms, and for how long in all. By the clock of the wall: a worker
/// that had no processor within a turn counts, too.
#[must_use]
pub fn stalls() -> (u64, Duration) {
    let nanos = STALLED_NANOS.load(Ordering::Relaxed);
    (STALLS.load(Ordering::Relaxed), Duration::from_nanos(nanos))
}

/// The same work, each turn of which is timed.
fn timed(work: impl Future<Output = ()> + Send + 'static) -> impl Future<Output = ()> + Send + 'static {
    let mut work = Box::pin(work);
    poll_fn(move |cx| {
        let begun = Instant::now();
        let polled = work.as_mut().poll(cx);
        let took = begun.elapsed();
        if took > STALL {
            STALLS.fetch_add(1, Ordering::Relaxed);
            STALLED_NANOS.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
        polled
    })
}

/// Builds the runtime of a worker.
///
/// # Errors
/// When what it needs cannot be had.
pub fn runtime() -> io::Result<Runtime> {
    let mut builder = Builder::new_current_thread();
    builder.enable_all().global_queue_interval(TURNS).build()
}

/// All workers. Without workers, each task runs on the runtime that submits it.
#[derive(Debug, Default)]
pub struct Workers {
    runtimes: Vec<Handle>,
    next: AtomicUsize,
}

impl Workers {
    /// One for each processor that this process may use. The runtime that asks is the first of them.
    ///
    /// # Errors
    /// When a thread, or what its runtime needs, cannot be had.
    pub fn one_for_each_processor() -> io::Result<Self> {
        let count = thread::available_parallelism().map_or(1, NonZero::get);
        let mut runtimes = vec![Handle::current()];
        for number in 1..count {
            let runtime = runtime()?;
            runtimes.push(runtime.handle().clone());
            thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
                let ended = catch_unwind(AssertUnwindSafe(|| runtime.block_on(pending::<()>())));
                // The probes and connections of this worker have ended, and new work for it would wait forever. A restart
                // of the process by its supervisor is more reliable than a restart of one worker.
                tracing::error!(
                    worker = number,
                    panicked = ended.is_err(),
                    "A worker has ended: the exporter ends"
                );
                std::process::exit(1);
            })?;
        }
        Ok(Self {
            runtimes,
            next: AtomicUsize::new(0),
        })
    }

    /// Has the work done, and what it spawns itself, by the worker whose turn it is. It ends with the process.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let work = timed(work);
        let _detached = match self.runtimes.get(turn % self.runtimes.len().max(1)) {
            Some(runtime) => runtime.spawn(work),
            None => tokio::spawn(work),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::{STALL, Workers, stalls};
    use std::collections::HashSet;
    use std::thread;
    use tokio::sync::mpsc;

    #[tokio::test]
    async fn each_worker_has_its_turn() {
        let workers = Workers::one_for_each_processor().unwrap();
        let (told, mut threads) = mpsc::unbounded_channel();
        let count = workers.runtimes.len();
        for _ in 0..2 * count {
            let told = told.clone();
            workers.spawn(async move { told.send(thread::current().id()).unwrap() });
        }
        drop(told);
        let mut seen = Vec::new();
        while let Some(thread) = threads.recv().await {
            seen.push(thread);
        }
        assert_eq!(seen.len(), 2 * count);
        assert_eq!(seen.into_iter().collect::<HashSet<_>>().len(), count);
    }

    #[tokio::test]
    async fn a_task_that_keeps_its_worker_is_counted() {
        let (before, time) = stalls();
        let (done, ended) = tokio::sync::oneshot::channel();
        Workers::default().spawn(async move {
            thread::sleep(STALL * 2);
            let _ = done.send(());
        });
        ended.await.unwrap();
        // It is counted once its turn has ended.
        tokio::task::yield_now().await;
        let (after, time_after) = stalls();
        assert!(after > before);
        assert!(time_after >= time + STALL);
    }
}
