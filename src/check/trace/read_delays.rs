//! Read delays: the time from the arrival of a packet to the read by the exporter.

use crate::check::rx_timestamps::ReceivedPacket;
use crate::report::ClockSource;
use std::time::{Duration, Instant};

/// How much later than the kernel the exporter noticed events.
#[derive(Debug, Default)]
pub(super) struct ReadDelays {
    pub connected: ClockSource,
    pub last_byte: ClockSource,
    /// The longest delay.
    pub longest: Option<Duration>,
    /// The sum of the delays before a reply, for which the remote end waited: of the connection, and of the flights of the handshake.
    pub answered: Duration,
    /// The delay of the last bytes.
    pub last: Duration,
    /// When bytes were last read: an earlier delay is already counted.
    pub read: Option<Instant>,
    /// Which clock measured the last flight of the handshake.
    pub secured: ClockSource,
}

impl ReadDelays {
    pub fn saw(&mut self, delay: Duration) {
        self.longest = self.longest.max(Some(delay));
    }

    /// Bytes were read. If they had already arrived at the previous read, both reads are one delay. If they arrived after it, the
    /// remote end was not waiting before.
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

    /// The exporter replies now to what it read: the remote end has waited for so long.
    pub fn answer(&mut self) {
        self.answered += std::mem::take(&mut self.last);
    }

    /// How much longer the exchange took because of all delays.
    pub fn in_all(&self) -> Duration {
        self.answered + self.last
    }
}
