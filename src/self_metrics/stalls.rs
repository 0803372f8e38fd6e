//! Metrics of tasks that blocked a worker thread for too long.

use super::metric_factory::MetricFactory;
use crate::workers;
use prometheus::{Counter, IntCounter};

/// Number and total duration of the stalls.
#[derive(Debug)]
pub(super) struct WorkerStalls {
    count: IntCounter,
    seconds: Counter,
}

impl WorkerStalls {
    pub fn new(make: &MetricFactory<'_>) -> Self {
        Self {
            count: make.counter(
                "glassbox_worker_stalls_total",
                "Task polls that blocked a worker thread for over 100 ms and delayed its other probes and scrapes",
            ),
            seconds: make.float_counter(
                "glassbox_worker_stall_seconds_total",
                "Total duration of task polls that blocked a worker thread for over 100 ms, in seconds",
            ),
        }
    }

    /// Updates the metrics from the counters of the workers. Must not be called concurrently.
    pub fn take_over(&self) {
        let (count, time) = workers::stalls();
        self.count.inc_by(count.saturating_sub(self.count.get()));
        self.seconds.inc_by((time.as_secs_f64() - self.seconds.get()).max(0.0));
    }
}
