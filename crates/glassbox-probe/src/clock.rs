//! The clock of deadlines, intervals and ages: that of the runtime's timers.
//!
//! It is the monotonic clock, unless a test has paused it (`tokio::time::pause`). A paused clock moves only when the test
//! advances it, or to the next timer when all tasks wait. A test of an interval of minutes then takes no time, and a
//! busy machine does not change its result. Events on the wire do not use this clock, because the kernel timestamps
//! them.

use std::time::{Duration, Instant};

/// The current time.
#[must_use]
pub fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Time since `earlier`. Zero if it is in the future.
#[must_use]
pub fn since(earlier: Instant) -> Duration {
    now().saturating_duration_since(earlier)
}
