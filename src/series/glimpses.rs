//! What was seen once of keys that the table has no room for: little, and enough to count on from there.

use super::{Kept, Key, Series};
use crate::memory::Memory;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::Instant;

/// What was seen of keys once. The keys themselves are left out: of twenty thousand, two have the same hash once in a hundred
/// thousand million times.
#[derive(Debug, Default)]
pub(super) struct Glimpses {
    /// Boxed, since a map has up to twice the room that it needs.
    by_hash: HashMap<u64, Box<Glimpse>>,
    hasher: RandomState,
    /// Hashes in the order in which they came, with the numbers of their glimpses; those that have gone are passed over.
    order: VecDeque<(u64, u64)>,
    number: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Glimpse {
    number: u64,
    series: Series,
    scraped: Option<Instant>,
    last_used: Instant,
}

impl Glimpse {
    /// What is kept of the key again, with what its memory had of use.
    pub fn restored(self) -> Arc<Kept> {
        let mut memory = Memory::default();
        memory.scraped = self.scraped;
        Kept::new(self.series, memory)
    }
}

impl Glimpses {
    pub fn len(&self) -> usize {
        self.by_hash.len()
    }

    /// Keeps what was seen of a key, in place of all that was kept of it.
    pub fn keep(&mut self, key: &Key, series: Series, scraped: Option<Instant>, last_used: Instant) {
        self.number += 1;
        let hash = self.hasher.hash_one(key);
        self.order.push_back((hash, self.number));
        let glimpse = Box::new(Glimpse {
            number: self.number,
            series,
            scraped,
            last_used,
        });
        self.by_hash.insert(hash, glimpse);
    }

    /// What is kept of the key, as it would be again.
    pub fn peek(&self, key: &Key) -> Option<Arc<Kept>> {
        let glimpse = self.by_hash.get(&self.hasher.hash_one(key))?;
        Some(Glimpse::clone(glimpse).restored())
    }

    pub fn take(&mut self, key: &Key) -> Option<Glimpse> {
        self.by_hash.remove(&self.hasher.hash_one(key)).map(|glimpse| *glimpse)
    }

    /// Drops the oldest, if there is one.
    pub fn drop_oldest(&mut self) -> bool {
        while let Some((hash, number)) = self.order.pop_front() {
            if self.by_hash.get(&hash).is_some_and(|glimpse| glimpse.number == number) {
                self.by_hash.remove(&hash);
                return true;
            }
        }
        false
    }

    /// Drops those that were last used when nobody wants to know any more.
    pub fn retain(&mut self, wanted: impl Fn(Instant) -> bool) {
        self.by_hash.retain(|_, glimpse| wanted(glimpse.last_used));
        let known =
            |(hash, number): &(u64, u64)| self.by_hash.get(hash).is_some_and(|glimpse| glimpse.number == *number);
        self.order.retain(known);
    }
}
