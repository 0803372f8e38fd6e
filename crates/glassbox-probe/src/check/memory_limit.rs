//! The memory limit of running probes (`limits.probe_memory`).
//!
//! All probes share the limit, so that targets with large responses do not exhaust the host's memory. A probe that
//! exceeds the limit ends with a local error (HTTP 503).
//!
//! Memory that is released before the probe ends is a [`Charge`], which returns its bytes when dropped. Memory that
//! lasts until the probe ends, such as the heads of its responses, is added to the probe's account
//! ([`ProbeMemory::keep`]).

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// The memory that all probes of a process hold.
#[derive(Debug, Default)]
pub struct MemoryPool {
    held: AtomicUsize,
    refused: AtomicU64,
}

impl MemoryPool {
    /// Bytes held now.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Number of refused requests for memory.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    fn take(&self, bytes: usize, most: usize) -> Result<(), NoMemory> {
        let before = self.held.fetch_add(bytes, Ordering::SeqCst);
        if before.saturating_add(bytes) <= most {
            return Ok(());
        }
        self.give_back(bytes);
        self.refused.fetch_add(1, Ordering::Relaxed);
        Err(NoMemory)
    }

    fn give_back(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Ordering::SeqCst);
    }
}

/// All probes together have reached the memory limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoMemory;

impl fmt::Display for NoMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the memory limit of all probes (limits.probe_memory) is reached")
    }
}

impl std::error::Error for NoMemory {}

/// The account of one probe.
#[derive(Clone, Debug)]
pub struct ProbeMemory(Arc<Account>);

#[derive(Debug)]
struct Account {
    pool: Arc<MemoryPool>,
    /// Maximum bytes that all probes may hold.
    most: usize,
    /// Bytes held until the probe ends.
    kept: AtomicUsize,
}

impl ProbeMemory {
    /// The account of a probe. `most` is the maximum that all probes share, in bytes.
    #[must_use]
    pub fn new(pool: Arc<MemoryPool>, most: usize) -> Self {
        Self(Arc::new(Account {
            pool,
            most,
            kept: AtomicUsize::new(0),
        }))
    }

    /// Adds bytes that the probe holds until it ends.
    ///
    /// # Errors
    /// When the memory limit is reached.
    pub(super) fn keep(&self, bytes: usize) -> Result<(), NoMemory> {
        self.0.pool.take(bytes, self.0.most)?;
        self.0.kept.fetch_add(bytes, Ordering::SeqCst);
        Ok(())
    }

    /// A charge of 0 bytes.
    pub(crate) fn charge(&self) -> Charge {
        Charge {
            memory: self.clone(),
            bytes: 0,
        }
    }
}

impl Default for ProbeMemory {
    /// An account without a limit.
    fn default() -> Self {
        Self::new(Arc::default(), usize::MAX)
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.pool.give_back(*self.kept.get_mut());
    }
}

/// Bytes held by one value. They are returned when it is dropped.
#[derive(Debug)]
pub(crate) struct Charge {
    memory: ProbeMemory,
    bytes: usize,
}

impl Charge {
    /// The account that is charged.
    pub const fn memory(&self) -> &ProbeMemory {
        &self.memory
    }

    /// Sets the number of bytes held now.
    ///
    /// # Errors
    /// When the number grows and the memory limit is reached.
    pub fn set(&mut self, bytes: usize) -> Result<(), NoMemory> {
        let account = &self.memory.0;
        match bytes.checked_sub(self.bytes) {
            Some(more) => account.pool.take(more, account.most)?,
            None => account.pool.give_back(self.bytes - bytes),
        }
        self.bytes = bytes;
        Ok(())
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.memory.0.pool.give_back(self.bytes);
    }
}

/// Estimated memory of a library that reads a stream: the bytes received so far, up to the size of its largest buffer.
#[derive(Debug)]
pub(super) struct Buffered {
    charge: Charge,
    came: usize,
    most: usize,
}

impl Buffered {
    /// Approximate growth of a buffer.
    const STEP: usize = 16 * 1024;

    /// For a library whose buffer holds at most `most` bytes.
    pub fn new(memory: &ProbeMemory, most: usize) -> Self {
        Self {
            charge: memory.charge(),
            came: 0,
            most,
        }
    }

    /// Adds received bytes.
    ///
    /// # Errors
    /// When the memory limit is reached.
    pub fn more(&mut self, bytes: usize) -> Result<(), NoMemory> {
        if self.came >= self.most {
            return Ok(());
        }
        self.came = self.came.saturating_add(bytes);
        let held = self.came.next_multiple_of(Self::STEP).min(self.most);
        self.charge.set(held)
    }
}

#[cfg(test)]
mod tests {
    use super::{Buffered, MemoryPool, NoMemory, ProbeMemory};
    use std::sync::Arc;

    #[test]
    fn all_probes_share_one_bound_and_give_back_what_they_held() {
        let pool = Arc::new(MemoryPool::default());
        let [one, other] = [(); 2].map(|()| ProbeMemory::new(pool.clone(), 100));
        let mut body = one.charge();
        body.set(60).unwrap();
        other.keep(30).unwrap();
        assert_eq!(other.keep(11), Err(NoMemory));
        assert_eq!(body.set(71), Err(NoMemory));
        assert_eq!((pool.held(), pool.refused()), (90, 2));
        body.set(10).unwrap();
        other.keep(60).unwrap();
        assert_eq!(pool.held(), 100);
        drop(other);
        assert_eq!(pool.held(), 10);
        // A charge outlives the account handle that created it.
        drop(one);
        assert_eq!(pool.held(), 10);
        drop(body);
        assert_eq!(pool.held(), 0);
    }

    #[test]
    fn a_buffer_counts_up_to_its_largest() {
        let pool = Arc::new(MemoryPool::default());
        let memory = ProbeMemory::new(pool.clone(), usize::MAX);
        let mut buffered = Buffered::new(&memory, 40_000);
        for (came, held) in [
            (1, 16_384),
            (16_383, 16_384),
            (1, 32_768),
            (100_000, 40_000),
            (9, 40_000),
        ] {
            buffered.more(came).unwrap();
            assert_eq!(pool.held(), held, "{came}");
        }
    }
}
