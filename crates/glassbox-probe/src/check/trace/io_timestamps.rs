//! Timestamps of the first and last read and write of one layer: the socket, or the stream above TLS.

use glassbox_verdict::report::IoTimes;
use std::time::Instant;

/// The first and the last read and write.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::check) struct IoTimestamps {
    first_write: Option<Instant>,
    pub last_write: Option<Instant>,
    first_read: Option<Instant>,
    pub last_read: Option<Instant>,
    pub last_bytes: Option<Instant>,
}

impl IoTimestamps {
    pub fn wrote(&mut self, at: Option<Instant>) {
        self.first_write = self.first_write.or(at);
        self.last_write = at;
    }

    /// Records a read. The end of the stream can be the last read, but not the first.
    pub fn read(&mut self, at: Option<Instant>, bytes: usize) {
        self.first_read = self.first_read.or(at.filter(|_| bytes > 0));
        self.last_read = at;
        if bytes > 0 {
            self.last_bytes = at;
        }
    }

    /// The times relative to the start of the probe.
    pub fn since(&self, begun: Instant) -> IoTimes {
        let since = |at: Option<Instant>| at.map(|at| at.saturating_duration_since(begun));
        IoTimes {
            first_write: since(self.first_write),
            last_write: since(self.last_write),
            first_read: since(self.first_read),
            last_read: since(self.last_read),
            last_bytes: since(self.last_bytes),
        }
    }
}
