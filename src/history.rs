//! The evidence ring: a buffer of the latest findings, in which failures are kept longest.
//!
//! The ring limits both the number of findings and their total size in bytes. Each finding has a share of the bytes.
//! The ring omits the least important parts of a larger finding, so that a target with large responses cannot evict the
//! evidence of other targets.
//!
//! With `--history.path`, the [`store`] also keeps a part of the findings on disk.

mod memory_size;
mod shorten;
pub mod store;

use crate::target_state::StorageReason;
use glassbox_probe::evidence_id::EvidenceId;
use glassbox_probe::probe::Finding;
use parking_lot::{Mutex, MutexGuard};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use store::EvidenceStore;

/// Stored finding.
#[derive(Clone, Debug)]
pub struct HistoryEntry {
    /// Evidence id.
    pub id: EvidenceId,
    /// The finding, shortened to what the evidence shows.
    pub finding: Arc<Finding>,
    /// The exporter's external URL, if one is known.
    external_url: Option<Arc<str>>,
}

impl HistoryEntry {
    /// Returns the full URL of the evidence, if the exporter's external URL is known.
    #[must_use]
    pub fn url(&self) -> Option<String> {
        let external = self.external_url.as_ref()?;
        Some(format!("{external}/evidence/{}", self.id))
    }
}

/// Minimum share of one finding, in bytes.
const LEAST_SHARE: usize = 16 * 1024;

/// Number of oldest failures among which `drop_one` searches for one that is not its target's newest.
const LOOKED_THROUGH: usize = 64;

/// The evidence ring.
#[derive(Debug)]
pub struct History {
    limit: usize,
    /// Maximum total size of all findings, in bytes.
    bytes: AtomicUsize,
    process: u32,
    kept: Mutex<StoredFindings>,
    store: Option<EvidenceStore>,
    external_url: Option<Arc<str>>,
}

/// Finding with its arrival number and its size in bytes.
#[derive(Debug)]
struct StoredFinding {
    at: u64,
    size: usize,
    entry: HistoryEntry,
}

#[derive(Debug, Default)]
struct StoredFindings {
    /// Number of evidence ids assigned so far.
    named: u64,
    /// Total size of all findings, in bytes.
    bytes: usize,
    /// Number of findings that were dropped because of the size limit.
    dropped: u64,
    /// Findings without a verdict (`good`) and with one (`failing`), oldest first.
    good: VecDeque<StoredFinding>,
    failing: VecDeque<StoredFinding>,
    /// Arrival number of the newest failure of each module and target. Alerts link to that failure.
    newest: HashMap<(Arc<str>, String), u64>,
}

impl History {
    /// Creates a ring with up to `limit` findings. `process` distinguishes the evidence ids of this process from those
    /// of other processes.
    #[must_use]
    pub fn new(limit: usize, process: u32) -> Self {
        Self {
            limit: limit.max(1),
            bytes: AtomicUsize::new(usize::MAX),
            process,
            kept: Mutex::default(),
            store: None,
            external_url: None,
        }
    }

    /// Sets the exporter's external URL, without a final slash, for links in the evidence.
    #[must_use]
    pub fn with_external_url(mut self, url: Option<&str>) -> Self {
        self.external_url = url.map(Arc::from);
        self
    }

    /// Adds a store on disk.
    #[must_use]
    pub fn with_store(mut self, store: Option<EvidenceStore>) -> Self {
        self.store = store;
        self
    }

    /// Returns the store on disk, if there is one.
    #[must_use]
    pub const fn store(&self) -> Option<&EvidenceStore> {
        self.store.as_ref()
    }

    /// Passes a finding to the store on disk, if there is one.
    pub fn keep(&self, entry: &HistoryEntry, why: StorageReason) {
        if let Some(store) = &self.store {
            store.keep(entry.clone(), why);
        }
    }

    /// Returns the part of the evidence ids that identifies this process.
    #[must_use]
    pub const fn process(&self) -> u32 {
        self.process
    }

    /// Returns whether this process has assigned the evidence id, and `None` if another process may have.
    #[must_use]
    pub fn has_named(&self, id: EvidenceId) -> Option<bool> {
        (id.process == self.process).then(|| u64::from(id.number) <= self.kept().named)
    }

    /// Assigns the evidence id of the next finding.
    pub fn name(&self) -> EvidenceId {
        let mut kept = self.kept();
        kept.named += 1;
        EvidenceId {
            process: self.process,
            // Numbers repeat after 4 billion probes, and no finding is kept that long.
            number: u32::try_from(kept.named & u64::from(u32::MAX)).unwrap_or_default(),
        }
    }

    /// Sets the maximum total size. Surplus findings are dropped when the next finding is added.
    pub fn bound(&self, bytes: usize) {
        self.bytes.store(bytes, Ordering::Relaxed);
    }

    /// Returns the total size of all findings in bytes, and the number of findings dropped because of the size limit.
    #[must_use]
    pub fn held(&self) -> (usize, u64) {
        let kept = self.kept();
        (kept.bytes, kept.dropped)
    }

    /// Stores a finding under its evidence id.
    pub fn add(&self, id: EvidenceId, mut finding: Finding) -> HistoryEntry {
        let most = self.bytes.load(Ordering::Relaxed);
        let size = shorten::shorten(&mut finding, (most / self.limit).max(LEAST_SHARE));
        let entry = HistoryEntry {
            id,
            finding: Arc::new(finding),
            external_url: self.external_url.clone(),
        };
        let mut kept = self.kept();
        if kept.count() >= self.limit {
            kept.drop_one();
        }
        while kept.count() > 0 && kept.bytes.saturating_add(size) > most {
            kept.drop_one();
            kept.dropped += 1;
        }
        kept.bytes += size;
        let at = kept.named;
        if entry.finding.verdict.is_some() {
            kept.newest.insert(owner(&entry), at);
        }
        let slots = if entry.finding.verdict.is_none() {
            &mut kept.good
        } else {
            &mut kept.failing
        };
        slots.push_back(StoredFinding {
            at,
            size,
            entry: entry.clone(),
        });
        entry
    }

    /// Returns the finding with this evidence id, if it is still stored.
    #[must_use]
    pub fn get(&self, id: EvidenceId) -> Option<HistoryEntry> {
        let kept = self.kept();
        let mut all = kept.good.iter().chain(&kept.failing);
        all.find(|slot| slot.entry.id == id).map(|slot| slot.entry.clone())
    }

    /// Returns all evidence, newest first.
    #[must_use]
    pub fn newest_first(&self) -> Vec<HistoryEntry> {
        self.select(|_| true)
    }

    /// Returns the evidence of the probes that `belongs` selects, newest first.
    #[must_use]
    pub fn select(&self, belongs: impl Fn(&Finding) -> bool) -> Vec<HistoryEntry> {
        let mut all: Vec<_> = {
            let kept = self.kept();
            let all = kept
                .good
                .iter()
                .chain(&kept.failing)
                .filter(|slot| belongs(&slot.entry.finding));
            all.map(|slot| (slot.at, slot.entry.clone())).collect()
        };
        all.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
        all.into_iter().map(|(_, entry)| entry).collect()
    }

    fn kept(&self) -> MutexGuard<'_, StoredFindings> {
        // A panic cannot leave the ring inconsistent.
        self.kept.lock()
    }
}

impl StoredFindings {
    fn count(&self) -> usize {
        self.good.len() + self.failing.len()
    }

    /// Drops one finding. If more than a tenth of the findings are good, this is the oldest good one; otherwise it is
    /// the oldest of all. Of the oldest failures, it first drops those whose target has a newer failure.
    fn drop_one(&mut self) {
        let oldest = |side: &VecDeque<StoredFinding>| side.front().map_or(u64::MAX, |slot| slot.at);
        let many_good = self.good.len() * 10 > self.count();
        let dropped = if many_good || oldest(&self.good) < oldest(&self.failing) {
            self.good.pop_front()
        } else {
            let mut oldest = self.failing.iter().take(LOOKED_THROUGH);
            let repeated = oldest.position(|slot| self.newest.get(&owner(&slot.entry)) != Some(&slot.at));
            let dropped = self.failing.remove(repeated.unwrap_or(0));
            if let Some(slot) = dropped.as_ref().filter(|_| repeated.is_none()) {
                self.newest.remove(&owner(&slot.entry));
            }
            dropped
        };
        self.bytes -= dropped.map_or(0, |slot| slot.size);
    }
}

/// Key of [`StoredFindings::newest`]: module and target.
fn owner(entry: &HistoryEntry) -> (Arc<str>, String) {
    let Finding { module, requested, .. } = &*entry.finding;
    (module.name.clone(), requested.target.written().to_owned())
}
