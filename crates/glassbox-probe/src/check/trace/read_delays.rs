//! Read delays: the time from the arrival of a packet to the read by the exporter.

use crate::check::rx_timestamps::ReceivedPacket;
use glassbox_verdict::report::ClockSource;
use std::time::{Duration, Instant};

/// How much later than the kernel the exporter noticed events.
#[derive(Debug, Default)]
pub(super) struct ReadDelays {
    pub connected: ClockSource,
    pub last_byte: ClockSource,
    /// The longest delay.
    pub longest: Option<Duration>,
    /// Total of the delays before a reply, during which the remote end waited: those of the connection and of the
    /// handshake's flights.
    pub answered: Duration,
    /// The delay of the last bytes.
    pub last: Duration,
    /// Time of the last read. Delays before it are already counted.
    pub read: Option<Instant>,
    /// The clock that measured the last flight of the handshake.
    pub secured: ClockSource,
}

impl ReadDelays {
    pub fn saw(&mut self, delay: Duration) {
        self.longest = self.longest.max(Some(delay));
    }

    /// Records a read. If its bytes had already arrived at the time of the previous read, both reads are one delay. If
    /// they arrived later, the remote end was not waiting before.
    pub fn read(&mut self, received: ReceivedPacket) {
        if let Some(delay) = received.delay {
            self.saw(delay);
        }
        let delay = received.delay.unwrap_or_default();
        let since_last = self.read.map(|last| received.now.saturating_duration_since(last));
        self.last = match since_last {
            Some(since) if delay >= since => self.last + since,
            _ => delay,
        };
        self.read = Some(received.now);
        self.last_byte = received.clock();
    }

    /// Records that the exporter now replies to the data that it read. The remote end waited during the delay.
    pub fn answer(&mut self) {
        self.answered += std::mem::take(&mut self.last);
    }

    /// The time by which all delays together prolonged the exchange.
    pub fn in_all(&self) -> Duration {
        self.answered + self.last
    }
}
