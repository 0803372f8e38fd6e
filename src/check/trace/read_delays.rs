//! Read delays: the time from the arrival of a packet to the read by the exporter.

use crate::check::rx_timestamps::ReceivedPacket;
use crate::report::ClockSource;
use std::time::{Duration, Instant};

/// How late we came to what the kernel saw.
#[derive(Debug, Default)]
pub(super) struct ReadDelays {
    pub connected: ClockSource,
    pub last_byte: ClockSource,
    /// The longest.
    pub longest: Option<Duration>,
    /// To what we then answered, so that the peer waited for us: to the connection, and to the flights of the handshake.
    pub answered: Duration,
    /// To the last bytes that came.
    pub last: Duration,
    /// When bytes were last read: a delay before that was counted then.
    pub read: Option<Instant>,
    /// Whether a flight of the handshake was read by the kernel's clock.
    pub secured: ClockSource,
}

impl ReadDelays {
    pub fn saw(&mut self, delay: Duration) {
        self.longest = self.longest.max(Some(delay));
    }

    /// Bytes were read. Where they were there at the read before, all of it is one wait; where they came after it, the
    /// peer was not kept waiting before.
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

    /// What was read is answered now: the peer has waited for us so long.
    pub fn answer(&mut self) {
        self.answered += std::mem::take(&mut self.last);
    }

    /// How much longer the exchange took for them.
    pub fn in_all(&self) -> Duration {
        self.answered + self.last
    }
}
