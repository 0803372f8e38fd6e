//! Metrics of tasks that blocked a worker thread for too long.

use super::metric_factory::MetricFactory;
use crate::workers;
use prometheus::{Counter, IntCounter};

/// What is counted of them.
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
                "Turns of a task that kept a worker for over 100 ms; other probes and scrapes of that worker waited meanwhile",
            ),
            seconds: make.float_counter("glassbox_worker_stall_seconds_total", "Time that these turns took in all"),
        }
    }

    /// Brings up to date what is counted elsewhere. One caller at a time.
    pub fn take_over(&self) {
        let (count, time) = workers::stalls();
        self.count.inc_by(count.saturating_sub(self.count.get()));
        self.seconds.inc_by((time.as_secs_f64() - self.seconds.get()).max(0.0));
    }
}
