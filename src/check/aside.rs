//! What takes long is done off the runtime, so that no other probe waits for it, and within the probe's own time.

use crate::reason::Reason;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Bytes that are looked through before anybody else would have noticed.
pub(crate) const BRIEF: usize = 16 * 1024;

/// Why there is no result in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Late {
    /// It was not even begun: other work had all threads. That says nothing of the target.
    NotBegun,
    /// It takes longer, and cannot be stopped.
    Slow,
}

impl Late {
    /// What it says where what the peer said was looked through.
    pub const fn while_looking(self) -> (Reason, &'static str) {
        match self {
            Self::Slow => (
                Reason::ContentExpect,
                "Looking through what the peer says took all of the probe's time.",
            ),
            Self::NotBegun => (
                Reason::LocalOverloaded,
                "Other work left no thread to look through what the peer says with in time.",
            ),
        }
    }
}

/// Does `work` off the runtime, and waits for it until then.
pub(crate) async fn aside<T: Send + 'static>(
    until: Instant,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Late> {
    let begun = Arc::new(AtomicBool::new(false));
    let begins = begun.clone();
    let mut working = tokio::task::spawn_blocking(move || {
        begins.store(true, Ordering::SeqCst);
        work()
    });
    match tokio::time::timeout_at(until.into(), &mut working).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => match error.try_into_panic() {
            // It is our own, and fails this probe as any other would.
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime ends.
            Err(_) => Err(Late::NotBegun),
        },
        Err(_) => {
            // Nobody wants what was not begun; what was begun goes on all the same.
            working.abort();
            Err(if begun.load(Ordering::SeqCst) {
                Late::Slow
            } else {
                Late::NotBegun
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Late, aside};
    use std::sync::mpsc;
    use std::time::Duration;
    use tokio::runtime::Builder;
    use tokio::sync::oneshot;

    #[test]
    fn what_was_not_begun_is_told_from_what_takes_long() {
        let mut builder = Builder::new_current_thread();
        let runtime = builder.enable_time().start_paused(true).max_blocking_threads(1).build();
        runtime.unwrap().block_on(async {
            // The clock stands, but for where it is set on.
            let now = tokio::time::Instant::now().into_std();
            let hour = Duration::from_hours(1);
            let (let_go, held) = mpsc::channel::<()>();
            let (begins, begun) = oneshot::channel();
            let slow = tokio::spawn(aside(now + hour, move || {
                begins.send(()).unwrap();
                held.recv().is_ok()
            }));
            begun.await.unwrap();
            // The one thread is taken.
            assert_eq!(aside(now, || ()).await, Err(Late::NotBegun));
            tokio::time::advance(2 * hour).await;
            assert_eq!(slow.await.unwrap(), Err(Late::Slow));
            let_go.send(()).unwrap();
            assert_eq!(aside(now + 4 * hour, || 1).await, Ok(1));
        });
    }
}
