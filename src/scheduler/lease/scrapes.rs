//! When a leased key was scraped, and how long the lease outlives the last scrape.

use std::time::{Duration, Instant};

/// A lease ends so long after the last scrape, whatever the scrapes' own interval was.
pub(super) const LONGEST_SILENCE: Duration = Duration::from_mins(5);

/// Scrapes that follow each other faster say nothing of how often they come.
const SHORTEST_GAP: Duration = Duration::from_secs(1);

/// When the key was scraped.
#[derive(Debug)]
pub(super) struct Scrapes {
    last: Instant,
    /// The longest gap between two scrapes, lately and in the time before that: two servers that scrape one key come at
    /// uneven times, and a manual request in between does not indicate the scrape interval.
    longest: [Duration; 2],
    /// When lately began.
    since: Instant,
}

impl Scrapes {
    /// The scrape that began the lease, so long after the one before it.
    pub const fn new(now: Instant, gap: Duration) -> Self {
        Self {
            last: now,
            longest: [gap, Duration::ZERO],
            since: now,
        }
    }

    /// When the last one came.
    pub const fn last(&self) -> Instant {
        self.last
    }

    /// One came.
    pub fn came(&mut self, now: Instant) {
        if now.saturating_duration_since(self.since) >= LONGEST_SILENCE {
            self.longest = [Duration::ZERO, self.longest[0]];
            self.since = now;
        }
        let gap = now.saturating_duration_since(self.last);
        self.longest[0] = self.longest[0].max(gap);
        self.last = now;
    }

    /// The process stood still so long: scrapes that came meanwhile are still to be read.
    pub fn excuse(&mut self, stall: Duration) {
        self.last += stall;
    }

    /// When three scrapes in a row have stayed away. A scrape that is late by half its interval is not missed yet.
    pub fn expire(&self) -> Instant {
        let gap = self.longest[0].max(self.longest[1]).max(SHORTEST_GAP);
        self.last + (gap * 7 / 2).min(LONGEST_SILENCE)
    }
}
