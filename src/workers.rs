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

/// Number of task polls after which a worker checks the queue of tasks from other threads, such as new connections. The
/// default is 31, so new connections would wait long while the workers are busy.
const TURNS: u32 = 3;

/// Minimum duration of a poll that counts as a stall. All other probes and scrapes of that worker wait during a stall.
const STALL: Duration = Duration::from_millis(100);

/// Number of stalls since the process started.
static STALLS: AtomicU64 = AtomicU64::new(0);

/// Total duration of the stalls in nanoseconds.
static STALLED_NANOS: AtomicU64 = AtomicU64::new(0);

/// Returns how many polls of a task took longer than 100 ms, and the total duration of these polls. Durations are
/// wall-clock time, so they include time in which the worker was not scheduled.
#[must_use]
pub fn stalls() -> (u64, Duration) {
    let nanos = STALLED_NANOS.load(Ordering::Relaxed);
    (STALLS.load(Ordering::Relaxed), Duration::from_nanos(nanos))
}

/// Wraps a future and measures the duration of each poll.
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
/// When the runtime cannot be created.
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
    /// Starts one worker per available CPU. The current runtime is the first of them.
    ///
    /// # Errors
    /// When a thread or a runtime cannot be created.
    pub fn one_for_each_processor() -> io::Result<Self> {
        let count = thread::available_parallelism().map_or(1, NonZero::get);
        let mut runtimes = vec![Handle::current()];
        for number in 1..count {
            let runtime = runtime()?;
            runtimes.push(runtime.handle().clone());
            thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
                let ended = catch_unwind(AssertUnwindSafe(|| runtime.block_on(pending::<()>())));
                // The probes and connections of this worker have ended, and new work for it would wait forever. A
                // restart of the whole process is more reliable than a restart of one worker.
                tracing::error!(
                    worker = number,
                    panicked = ended.is_err(),
                    "Worker thread ended unexpectedly: exiting"
                );
                std::process::exit(1);
            })?;
        }
        Ok(Self {
            runtimes,
            next: AtomicUsize::new(0),
        })
    }

    /// Runs a task, and all tasks that it spawns, on the next worker in turn. The task is detached.
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
    async fn a_task_that_blocks_its_worker_is_counted() {
        let (before, time) = stalls();
        let (done, ended) = tokio::sync::oneshot::channel();
        Workers::default().spawn(async move {
            thread::sleep(STALL * 2);
            let _ = done.send(());
        });
        ended.await.unwrap();
        // A poll is counted when it has ended.
        tokio::task::yield_now().await;
        let (after, time_after) = stalls();
        assert!(after > before);
        assert!(time_after >= time + STALL);
    }
}
