//! Probation entries: a few bytes for each key that was scraped once and has no place in the table yet. They suffice to
//! restore its counts at the second scrape.

use super::{KeyState, Series, SeriesKey};
use crate::target_state::TargetState;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::Instant;

/// The observations of keys that were scraped once. The keys themselves are not stored: among 20,000 keys, two have the
/// same hash once in 100 billion cases.
#[derive(Debug, Default)]
pub(super) struct ProbationTable {
    /// Boxed, because a map allocates up to twice the number of slots that it needs.
    by_hash: HashMap<u64, Box<ProbationEntry>>,
    hasher: RandomState,
    /// Hashes in the order of arrival, with the numbers of their entries. Removed entries are skipped.
    order: VecDeque<(u64, u64)>,
    number: u64,
}

#[derive(Clone, Debug)]
pub(super) struct ProbationEntry {
    number: u64,
    series: Series,
    scraped: Option<Instant>,
    last_used: Instant,
}

impl ProbationEntry {
    /// The restored state of the key. Its target state contains only the time of the last scrape.
    pub fn restored(self) -> Arc<KeyState> {
        let mut memory = TargetState::default();
        memory.scraped = self.scraped;
        KeyState::new(self.series, memory)
    }
}

impl ProbationTable {
    pub fn len(&self) -> usize {
        self.by_hash.len()
    }

    /// Stores the key's observation in place of its full state.
    pub fn keep(&mut self, key: &SeriesKey, series: Series, scraped: Option<Instant>, last_used: Instant) {
        self.number += 1;
        let hash = self.hasher.hash_one(key);
        self.order.push_back((hash, self.number));
        let probation_entry = Box::new(ProbationEntry {
            number: self.number,
            series,
            scraped,
            last_used,
        });
        self.by_hash.insert(hash, probation_entry);
    }

    /// The key's state, restored from its entry.
    pub fn peek(&self, key: &SeriesKey) -> Option<Arc<KeyState>> {
        let probation_entry = self.by_hash.get(&self.hasher.hash_one(key))?;
        Some(ProbationEntry::clone(probation_entry).restored())
    }

    pub fn take(&mut self, key: &SeriesKey) -> Option<ProbationEntry> {
        self.by_hash
            .remove(&self.hasher.hash_one(key))
            .map(|probation_entry| *probation_entry)
    }

    /// Drops the oldest entry, if there is one.
    pub fn drop_oldest(&mut self) -> bool {
        while let Some((hash, number)) = self.order.pop_front() {
            if self
                .by_hash
                .get(&hash)
                .is_some_and(|probation_entry| probation_entry.number == number)
            {
                self.by_hash.remove(&hash);
                return true;
            }
        }
        false
    }

    /// Drops the entries for which the given function of their last use returns false.
    pub fn retain(&mut self, wanted: impl Fn(Instant) -> bool) {
        self.by_hash
            .retain(|_, probation_entry| wanted(probation_entry.last_used));
        let known = |(hash, number): &(u64, u64)| {
            self.by_hash
                .get(hash)
                .is_some_and(|probation_entry| probation_entry.number == *number)
        };
        self.order.retain(known);
    }
}
