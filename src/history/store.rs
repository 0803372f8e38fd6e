//! The evidence store (`--history.path`): evidence on disk, which survives the end of the process.
//!
//! A probe passes its finding to a bounded queue and continues; if the queue is full, the finding is not stored. One
//! thread owns the database. It renders the findings and writes them in batches, at least 200 ms apart. Each batch is a
//! transaction, so that a killed process loses only what it has not yet written, and never damages the database.
//!
//! Errors of the store never affect a probe or the start of the exporter. While the database cannot be opened or
//! written, evidence exists only in memory, the errors are logged and counted, and the thread tries again. A damaged
//! database is renamed and replaced.

mod content;
mod database;
mod files;
mod queries;
mod store_thread;
mod target_history;

pub use content::EvidenceDocuments;
pub use queries::LISTED;
pub use target_history::{HistoryQuestion, StoredHistory};

use super::HistoryEntry;
use crate::target_state::StorageReason;
use database::Database;
use glassbox_probe::evidence_id::EvidenceId;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::time::{Duration, SystemTime};
use store_thread::StoreThread;
use tokio::sync::{Semaphore, oneshot};

/// Maximum number of findings and questions that wait for the thread.
const QUEUE: usize = 1024;

/// Maximum number of questions about the history of a target that wait for the thread.
const HISTORIES: usize = 4;

/// Time that such a question waits for its turn.
const TURN: Duration = Duration::from_secs(1);

/// Time that a page waits for the store.
const PATIENCE: Duration = Duration::from_secs(5);

/// Renders the evidence of a probe.
pub type RenderEvidence = fn(&HistoryEntry) -> EvidenceDocuments;

/// Limits of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreLimits {
    /// Maximum size of the database and its log, in bytes.
    pub size: u64,
    /// Maximum age of the evidence.
    pub retention: Duration,
}

/// Settings of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreSettings {
    /// Directory of the database.
    pub path: PathBuf,
    /// Limits.
    pub limits: StoreLimits,
}

/// A stored probe without its documents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvidenceSummary {
    /// Evidence id.
    pub id: EvidenceId,
    /// Name of the module.
    pub module: String,
    /// The target as written.
    pub target: String,
    /// Start of the probe.
    pub began: SystemTime,
    /// Broken link; `None` for a success.
    pub link: Option<String>,
    /// Reason of the verdict.
    pub reason: Option<String>,
}

/// A stored probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEvidence {
    /// Description of the probe.
    pub summary: EvidenceSummary,
    /// Its evidence.
    pub documents: EvidenceDocuments,
}

/// Why the content of a stored probe was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropReason {
    /// The store reached `--history.size`.
    Size,
    /// The content was older than `--history.retention`.
    Age,
    /// The content did not match its checksum.
    Damaged,
}

/// What the store knows about an evidence id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoredLookup {
    /// The evidence is stored.
    Found(Box<StoredEvidence>),
    /// The evidence was stored, and was dropped.
    Dropped(EvidenceSummary, DropReason),
    /// No probe with this id was stored, or it was dropped long ago.
    Unknown,
}

/// The store cannot answer, because its database is not open or its thread is busy. The log contains the error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the evidence store is not available")]
pub struct StoreUnavailable;

/// Counts of the store, for the exporter's own metrics.
#[derive(Debug, Default)]
pub struct StoreStats {
    /// Number of stored probes.
    pub entries: AtomicU64,
    /// Used size of the database in bytes.
    pub bytes: AtomicU64,
    /// Findings that were not stored because the queue was full.
    pub queue_full: AtomicU64,
    /// Findings that were not stored because of an error.
    pub write_failed: AtomicU64,
    /// Stored findings that were dropped because of the size limit.
    pub size_limit: AtomicU64,
    /// Errors of the database or its file system.
    pub errors: AtomicU64,
}

/// The store: the queue to its thread.
#[derive(Debug)]
pub struct EvidenceStore {
    jobs: SyncSender<Job>,
    stats: Arc<StoreStats>,
    limits: StoreLimits,
    /// Permits for questions about the history of a target, which may read many rows. They must not fill the queue.
    histories: Semaphore,
}

/// Question to the database. An error is handled by the thread.
type Question = Box<dyn FnOnce(&mut Database) -> rusqlite::Result<()> + Send>;

/// Work for the thread.
enum Job {
    /// Stores a finding.
    Keep(HistoryEntry, StorageReason),
    /// Answers a question of a page.
    Ask(Question),
    /// Writes all findings that precede it in the queue.
    Flush(oneshot::Sender<()>),
}

impl DropReason {
    const fn number(self) -> u32 {
        match self {
            Self::Size => 0,
            Self::Age => 1,
            Self::Damaged => 2,
        }
    }

    const fn of(number: u32) -> Self {
        match number {
            1 => Self::Age,
            2 => Self::Damaged,
            _ => Self::Size,
        }
    }
}

impl EvidenceSummary {
    /// Describes a finding.
    #[must_use]
    pub fn of(entry: &HistoryEntry) -> Self {
        let finding = &entry.finding;
        let verdict = finding.verdict.as_ref();
        Self {
            id: entry.id,
            module: finding.module.name.to_string(),
            target: finding.requested.target.written().to_owned(),
            began: finding.report.began,
            link: verdict.map(|verdict| verdict.link.as_str().to_owned()),
            reason: verdict.map(|verdict| verdict.reason.as_str().to_owned()),
        }
    }
}

impl EvidenceStore {
    /// Starts the thread of the store. The thread opens the database, so that a slow disk does not delay the start.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(settings: StoreSettings, render: RenderEvidence) -> std::io::Result<Self> {
        let (jobs, waiting) = sync_channel(QUEUE);
        let stats = Arc::<StoreStats>::default();
        let limits = settings.limits;
        let thread = StoreThread::new(settings, render, waiting, stats.clone());
        std::thread::Builder::new()
            .name("evidence".to_owned())
            .spawn(move || thread.run())?;
        Ok(Self {
            jobs,
            stats,
            limits,
            histories: Semaphore::new(HISTORIES),
        })
    }

    /// Stores a finding soon, or counts it if the queue is full.
    pub(super) fn keep(&self, entry: HistoryEntry, why: StorageReason) {
        if self.jobs.try_send(Job::Keep(entry, why)).is_err() {
            self.stats.queue_full.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Returns what the store knows about an evidence id.
    ///
    /// # Errors
    /// When the store is not available.
    pub async fn evidence(&self, id: EvidenceId) -> Result<StoredLookup, StoreUnavailable> {
        self.ask(move |database| database.evidence(id)).await
    }

    /// Returns the stored probes of a target, newest first: up to [`LISTED`], and its newest failure.
    ///
    /// # Errors
    /// When the store is not available.
    pub async fn of_target(
        &self,
        target: String,
        module: Option<String>,
    ) -> Result<Vec<EvidenceSummary>, StoreUnavailable> {
        self.ask(move |database| database.of_target(&target, module.as_deref()))
            .await
    }

    /// Returns the stored history of a target: the probes around one of them, and the incidents.
    ///
    /// # Errors
    /// When the store is not available, or too many of these questions wait.
    pub async fn history(&self, question: HistoryQuestion) -> Result<StoredHistory, StoreUnavailable> {
        let place = tokio::time::timeout(TURN, self.histories.acquire()).await;
        let _place = place.map_err(|_| StoreUnavailable)?.map_err(|_| StoreUnavailable)?;
        self.ask(move |database| database.history(&question)).await
    }

    /// Waits until all findings in the queue are written, or until `most` has passed.
    pub async fn flush(&self, most: Duration) {
        let (done, written) = oneshot::channel();
        let mut job = Job::Flush(done);
        let waiting = async {
            while let Err(TrySendError::Full(refused)) = self.jobs.try_send(job) {
                job = refused;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            // An error means that the thread has ended. Then there is nothing to wait for.
            let _ended = written.await;
        };
        if tokio::time::timeout(most, waiting).await.is_err() {
            tracing::warn!("The evidence store did not write all findings in time");
        }
    }

    /// Returns the counts.
    #[must_use]
    pub fn stats(&self) -> &StoreStats {
        &self.stats
    }

    /// Returns the limits.
    #[must_use]
    pub const fn limits(&self) -> StoreLimits {
        self.limits
    }

    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut Database) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreUnavailable> {
        let (reply, answer) = oneshot::channel();
        let question: Question = Box::new(move |database| {
            // The page may have stopped waiting.
            let _unread = reply.send(question(database)?);
            Ok(())
        });
        self.jobs.try_send(Job::Ask(question)).map_err(|_| StoreUnavailable)?;
        let answer = tokio::time::timeout(PATIENCE, answer).await;
        // The thread drops a question that it cannot answer.
        answer.map_err(|_| StoreUnavailable)?.map_err(|_| StoreUnavailable)
    }
}
