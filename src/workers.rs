//! The threads that probe: one for each processor, each with a runtime of its own. A probe stays on the thread that its scrape came
//! in on, or its lease began on, and wakes no other, which is a good part of what an idle exporter's probe costs
//! (`docs/performance.md`).

use std::future::{Future, pending};
use std::io;
use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use tokio::runtime::{Builder, Handle, Runtime};

/// A worker looks for what others have given it, such as a new connection, after so many turns of its own tasks. By default it
/// would be 31: while all is busy, who connects would wait for that.
const TURNS: u32 = 3;

/// The runtime of a worker.
///
/// # Errors
/// When what it needs cannot be had.
pub fn runtime() -> io::Result<Runtime> {
    let mut builder = Builder::new_current_thread();
    builder.enable_all().global_queue_interval(TURNS).build()
}

/// All of them. Without any, work is done by the runtime that it comes from.
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
            thread::Builder::new()
                .name(format!("worker-{number}"))
                .spawn(move || runtime.block_on(pending::<()>()))?;
        }
        Ok(Self {
            runtimes,
            next: AtomicUsize::new(0),
        })
    }

    /// Has the work done, and what it spawns itself, by the worker whose turn it is. It ends with the process.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let _detached = match self.runtimes.get(turn % self.runtimes.len().max(1)) {
            Some(runtime) => runtime.spawn(work),
            None => tokio::spawn(work),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::Workers;
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
}
