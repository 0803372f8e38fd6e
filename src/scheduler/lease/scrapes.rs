//! Records the scrapes of a leased key and computes when its lease expires.

use std::time::{Duration, Instant};

/// Maximum time from the last scrape to the end of the lease, regardless of the scrape interval.
pub(super) const LONGEST_SILENCE: Duration = Duration::from_mins(5);

/// Lower bound of the assumed scrape interval.
const SHORTEST_GAP: Duration = Duration::from_secs(1);

/// Scrape times of a key.
#[derive(Debug)]
pub(super) struct Scrapes {
    last: Instant,
    /// Longest gap between two scrapes in the current and in the previous period. The longest gap counts because two
    /// Prometheus servers may scrape one key at uneven times, and a manual request does not indicate the scrape
    /// interval.
    longest: [Duration; 2],
    /// Start of the current period.
    since: Instant,
}

impl Scrapes {
    /// Records the scrape that started the lease, `gap` after the previous one.
    pub const fn new(now: Instant, gap: Duration) -> Self {
        Self {
            last: now,
            longest: [gap, Duration::ZERO],
            since: now,
        }
    }

    /// Time of the last scrape.
    pub const fn last(&self) -> Instant {
        self.last
    }

    /// Records a scrape.
    pub fn came(&mut self, now: Instant) {
        if now.saturating_duration_since(self.since) >= LONGEST_SILENCE {
            self.longest = [Duration::ZERO, self.longest[0]];
            self.since = now;
        }
        let gap = now.saturating_duration_since(self.last);
        self.longest[0] = self.longest[0].max(gap);
        self.last = now;
    }

    /// Extends the lease by the time for which the process was stalled, because scrapes from that time may still be
    /// unread.
    pub fn excuse(&mut self, stall: Duration) {
        self.last += stall;
    }

    /// Returns when three consecutive scrapes are missing. A scrape counts as missing when it is late by half an
    /// interval.
    pub fn expire(&self) -> Instant {
        let gap = self.longest[0].max(self.longest[1]).max(SHORTEST_GAP);
        self.last + (gap * 7 / 2).min(LONGEST_SILENCE)
    }
}
