//! The thread of the store. It alone uses the database.

use super::content;
use super::database::{Database, NewEntry, OpenError, is_damage};
use super::files;
use super::{EvidenceSummary, Job, Question, RenderEvidence, StoreSettings, StoreStats};
use crate::history::HistoryEntry;
use crate::target_state::StorageReason;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

/// Minimum time from the start of one batch's transaction to the next. A finding that waited for the previous batch
/// waits no longer than that.
const BATCH_TIME: Duration = Duration::from_millis(200);

/// Maximum number of findings in a batch.
const LARGEST_BATCH: usize = 256;

/// Time between two attempts to open the database.
const REOPEN: Duration = Duration::from_secs(10);

/// Time after which an idle thread drops old contents.
const TRIM_EVERY: Duration = Duration::from_mins(10);

/// Minimum time between two log lines about errors.
const LOG_EVERY: Duration = Duration::from_mins(1);

/// Part of the database that a single probe may use. A larger one is not stored.
const LARGEST_SHARE: u64 = 16;

/// State of the thread.
pub(super) struct StoreThread {
    settings: StoreSettings,
    render: RenderEvidence,
    jobs: Receiver<Job>,
    stats: Arc<StoreStats>,
    database: Option<Database>,
    /// Start of the latest batch.
    written: Option<Instant>,
    /// Time of the latest attempt to open the database.
    opened: Option<Instant>,
    /// Time of the latest log line about an error. `None` while the store works.
    logged: Option<Instant>,
    /// Whether the latest write failed.
    is_failing: bool,
}

impl StoreThread {
    pub fn new(settings: StoreSettings, render: RenderEvidence, jobs: Receiver<Job>, stats: Arc<StoreStats>) -> Self {
        Self {
            settings,
            render,
            jobs,
            stats,
            database: None,
            written: None,
            opened: None,
            logged: None,
            is_failing: false,
        }
    }

    /// Works until the store is dropped.
    pub fn run(mut self) {
        self.write(Vec::new());
        loop {
            let job = match self.jobs.recv_timeout(TRIM_EVERY) {
                Ok(job) => Some(job),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            // A panic loses one batch. The panic hook logs it.
            if catch_unwind(AssertUnwindSafe(|| self.handle(job))).is_err() {
                add(&self.stats.errors, 1);
            }
        }
    }

    /// Handles a job. If it is a finding, writes it together with those that follow until the next batch is due.
    fn handle(&mut self, first: Option<Job>) {
        let is_idle = first.is_none();
        let mut batch = Vec::new();
        let until = self.written.map(|last| last + BATCH_TIME);
        let mut next = first;
        while let Some(job) = next {
            match job {
                Job::Keep(entry, why) => batch.push((entry, why)),
                Job::Ask(question) => self.answer(question),
                Job::Flush(done) => {
                    self.write(std::mem::take(&mut batch));
                    // The caller may have stopped waiting.
                    let _unread = done.send(());
                }
            }
            if batch.is_empty() || batch.len() >= LARGEST_BATCH {
                break;
            }
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            next = self.jobs.recv_timeout(left.unwrap_or_default()).ok();
        }
        // Without a finding, only the idle thread writes: it drops old contents.
        if is_idle || !batch.is_empty() {
            self.write(batch);
        }
    }

    /// Renders and writes a batch. An empty batch only drops old contents.
    fn write(&mut self, batch: Vec<(HistoryEntry, StorageReason)>) {
        self.written = Some(Instant::now());
        let found = batch.len() as u64;
        let entries: Vec<_> = batch
            .iter()
            .filter_map(|(entry, why)| self.new_entry(entry, *why))
            .collect();
        // Frees findings that only the queue still held.
        drop(batch);
        add(&self.stats.write_failed, found - entries.len() as u64);
        self.open_when_due();
        // If the database is damaged, the second attempt writes to the one that replaces it.
        for _attempt in 0..2 {
            let Some(database) = &mut self.database else {
                break;
            };
            match written(database, &entries, &self.stats) {
                Ok(()) => return self.works(),
                Err(error) if is_damage(&error) => self.failed(&error.into()),
                Err(error) => {
                    self.failed(&error.into());
                    break;
                }
            }
        }
        add(&self.stats.write_failed, entries.len() as u64);
    }

    fn new_entry(&self, entry: &HistoryEntry, why: StorageReason) -> Option<NewEntry> {
        let packed = content::pack(&(self.render)(entry)).ok()?;
        let is_too_large = packed.len() as u64 > self.settings.limits.size / LARGEST_SHARE;
        (!is_too_large).then(|| NewEntry {
            summary: EvidenceSummary::of(entry),
            hostname: entry.finding.requested.hostname.clone(),
            why,
            packed,
        })
    }

    fn answer(&mut self, question: Question) {
        self.open_when_due();
        if let Some(database) = &mut self.database
            && let Err(error) = question(database)
        {
            self.failed(&error.into());
        }
    }

    /// Opens the database if it is not open and the last attempt was long ago.
    fn open_when_due(&mut self) {
        let is_due = self.opened.is_none_or(|last| last.elapsed() >= REOPEN);
        if self.database.is_none() && is_due {
            self.opened = Some(Instant::now());
            if let Err(error) = self.open() {
                self.failed(&error);
            }
        }
    }

    fn open(&mut self) -> Result<(), OpenError> {
        let path = files::prepare(&self.settings.path)?;
        let database = Database::open(&path, self.settings.limits)?;
        let (entries, bytes) = database.held()?;
        self.database = Some(database);
        tracing::info!(path = %path.display(), entries, bytes, "Opened the evidence store");
        Ok(())
    }

    /// Counts and logs an error. Replaces a damaged database.
    fn failed(&mut self, error: &OpenError) {
        add(&self.stats.errors, 1);
        if error.is_damage() {
            self.database = None;
            match self.replace() {
                Ok(aside) => tracing::error!(
                    %error,
                    renamed_to = %aside.display(),
                    "The evidence store was damaged and is replaced by an empty one"
                ),
                Err(error) => self.log(&error),
            }
            return;
        }
        self.log(error);
    }

    /// Renames the damaged database and opens an empty one.
    fn replace(&mut self) -> Result<PathBuf, OpenError> {
        let path = files::prepare(&self.settings.path)?;
        let aside = files::set_aside(&path)?;
        self.open()?;
        Ok(aside)
    }

    fn log(&mut self, error: &OpenError) {
        self.is_failing = true;
        if self.logged.is_none_or(|last| last.elapsed() >= LOG_EVERY) {
            self.logged = Some(Instant::now());
            tracing::error!(
                %error,
                path = %self.settings.path.display(),
                "Error of the evidence store: new evidence is only in memory"
            );
        }
    }

    /// Logs that the store works again after an error.
    fn works(&mut self) {
        if std::mem::take(&mut self.is_failing) {
            self.logged = None;
            tracing::info!("The evidence store works again");
        }
    }
}

/// Writes a batch, and then drops contents until the store is within its limits.
fn written(database: &mut Database, entries: &[NewEntry], stats: &StoreStats) -> rusqlite::Result<()> {
    let mut trimmed = database.write(entries)?;
    add(&stats.size_limit, trimmed.for_size);
    while trimmed.is_partial {
        trimmed = database.write(&[])?;
        add(&stats.size_limit, trimmed.for_size);
    }
    let (entries, bytes) = database.held()?;
    stats.entries.store(entries, Ordering::Relaxed);
    stats.bytes.store(bytes, Ordering::Relaxed);
    Ok(())
}

fn add(counter: &AtomicU64, number: u64) {
    counter.fetch_add(number, Ordering::Relaxed);
}
