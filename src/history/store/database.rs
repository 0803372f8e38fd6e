//! The database of the store: opening it, writing probes, and limiting its size and age.

use super::content;
use super::files;
use super::{DropReason, EvidenceSummary, StoreLimits};
use crate::target_state::{SUCCESS_EVERY, StorageReason};
use glassbox_probe::evidence_id::EvidenceId;
use rusqlite::{Connection, ErrorCode, OptionalExtension as _, Transaction, params};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Identifies an evidence database (`PRAGMA application_id`): "gbev".
const APPLICATION: u32 = 0x6762_6576;

/// Version of the format (`PRAGMA user_version`). Increases with each incompatible change.
pub(super) const VERSION: u32 = 1;

/// Settings of the connection. The log (WAL) makes each transaction atomic. With an exclusive lock, it needs no shared
/// memory file, and a second exporter cannot use the same database.
const SETTINGS: &str = "
    PRAGMA locking_mode = EXCLUSIVE;
    PRAGMA page_size = 8192;
    PRAGMA auto_vacuum = INCREMENTAL;
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = NORMAL;
    PRAGMA wal_autocheckpoint = 256;
    PRAGMA journal_size_limit = 4194304;
    PRAGMA cache_size = -2048;
    PRAGMA cell_size_check = ON;
    PRAGMA trusted_schema = OFF;
";

/// Part of `--history.size` that is reserved for the log, in bytes.
const LOG_SHARE: u64 = 8 << 20;

/// Part of the database that the rows of dropped contents may use, and the size of one.
const DROPPED_SHARE: (u64, u64) = (16, 256);

/// Maximum number of contents that one transaction drops.
const LARGEST_TRIM: u32 = 1024;

/// Number of free pages that one transaction returns to the file system, when the database exceeds its size.
const VACUUM: u32 = 512;

/// The open database.
#[derive(Debug)]
pub(super) struct Database {
    pub(super) connection: Connection,
    limits: StoreLimits,
    entries: u64,
}

/// Why the database cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenError {
    /// Database of a later version of the exporter.
    #[error(
        "{} has format version {found}: expected up to {VERSION}; a later version of the exporter wrote it",
        path.display()
    )]
    Newer { path: PathBuf, found: u32 },
    /// Error of the file system.
    #[error(transparent)]
    Files(#[from] io::Error),
    /// Error of `SQLite`.
    #[error(transparent)]
    Sql(#[from] rusqlite::Error),
    /// Valid database that another program wrote.
    #[error("the file is not an evidence database")]
    Foreign,
}

/// A probe to store.
#[derive(Debug)]
pub(super) struct NewEntry {
    pub summary: EvidenceSummary,
    pub hostname: Option<String>,
    pub why: StorageReason,
    pub packed: Vec<u8>,
}

/// Result of a transaction that drops contents.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Trimmed {
    /// Contents dropped because of the size limit.
    pub for_size: u64,
    /// Whether more contents must be dropped.
    pub is_partial: bool,
}

impl OpenError {
    /// Returns whether the file is damaged, so that it must be replaced.
    pub const fn is_damage(&self) -> bool {
        match self {
            Self::Newer { .. } | Self::Files(_) => false,
            Self::Sql(error) => is_damage(error),
            Self::Foreign => true,
        }
    }
}

/// Returns whether an error indicates a damaged file, and not a full disk, missing permissions, or another process that
/// holds the lock.
pub(super) const fn is_damage(error: &rusqlite::Error) -> bool {
    match error {
        rusqlite::Error::SqliteFailure(failure, _) => !matches!(
            failure.code,
            ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::CannotOpen
                | ErrorCode::PermissionDenied
                | ErrorCode::ReadOnly
                | ErrorCode::SystemIoFailure
                | ErrorCode::DiskFull
                | ErrorCode::OutOfMemory
        ),
        _ => true,
    }
}

impl Database {
    /// Opens the database in a directory. Creates it if it does not exist.
    ///
    /// # Errors
    /// When the database is damaged or belongs to a later version, or when the file system returns an error.
    pub fn open(path: &Path, limits: StoreLimits) -> Result<Self, OpenError> {
        let newer = |found| OpenError::Newer {
            path: path.to_owned(),
            found,
        };
        let found = files::version(path, APPLICATION)?;
        if found > VERSION {
            return Err(newer(found));
        }
        let connection = Connection::open(path)?;
        connection.busy_timeout(Duration::ZERO)?;
        connection.execute_batch(SETTINGS)?;
        let tables: u32 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        if tables == 0 {
            connection.execute_batch(&format!(
                "BEGIN; {} PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {VERSION}; COMMIT; \
                 PRAGMA wal_checkpoint(TRUNCATE);",
                include_str!("schema.sql")
            ))?;
        }
        // The log may contain a later version than the header of the file.
        let number = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, u32>(0));
        match (number("application_id")?, number("user_version")?) {
            (APPLICATION, VERSION) => {}
            (APPLICATION, found) if found > VERSION => return Err(newer(found)),
            _ => return Err(OpenError::Foreign),
        }
        let entries = "SELECT count(*) FROM entry WHERE dropped IS NULL";
        let entries = connection.query_row(entries, [], |row| row.get::<_, i64>(0))?;
        Ok(Self {
            connection,
            limits,
            entries: entries.unsigned_abs(),
        })
    }

    /// Returns the number of stored contents and the used size of the database in bytes.
    ///
    /// # Errors
    /// When `SQLite` returns an error.
    pub fn held(&self) -> rusqlite::Result<(u64, u64)> {
        Ok((self.entries, used(&self.connection)?))
    }

    /// Stores probes in one transaction. Skips a success if the target has one of the last hour.
    ///
    /// # Errors
    /// When `SQLite` returns an error. Then none of the probes is stored.
    pub fn write(&mut self, new: &[NewEntry]) -> rusqlite::Result<Trimmed> {
        let transaction = self.connection.transaction()?;
        let incoming: usize = new.iter().map(|entry| entry.packed.len()).sum();
        let most = database_share(&self.limits).saturating_sub(incoming as u64);
        let (dropped, trimmed) = trim(&transaction, most, &self.limits)?;
        let mut stored = 0;
        {
            let mut entry = transaction.prepare(
                "INSERT OR IGNORE INTO entry (id, module, target, hostname, began, link, reason, dropped_after) \
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            )?;
            let mut content = transaction.prepare("INSERT INTO content (seq, checksum, body) VALUES (?, ?, ?)")?;
            for new in new {
                if new.why == StorageReason::Success && has_recent_success(&transaction, new)? {
                    continue;
                }
                let EvidenceSummary {
                    id,
                    module,
                    target,
                    began,
                    link,
                    reason,
                } = &new.summary;
                let began = millis(*began);
                let after = began.saturating_add(advantage(new.why, &self.limits));
                let inserted = entry.execute(params![
                    key(*id),
                    module,
                    target,
                    new.hostname,
                    began,
                    link,
                    reason,
                    after
                ])?;
                if inserted > 0 {
                    let checksum = content::checksum(&new.summary, &new.packed);
                    content.execute(params![transaction.last_insert_rowid(), checksum, new.packed])?;
                    stored += 1;
                }
            }
        }
        transaction.commit()?;
        self.entries = (self.entries + stored).saturating_sub(dropped);
        Ok(trimmed)
    }

    /// Drops the content of a probe that is damaged.
    ///
    /// # Errors
    /// When `SQLite` returns an error.
    pub fn drop_damaged(&mut self, seq: i64) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction()?;
        drop_content(&transaction, seq, DropReason::Damaged)?;
        transaction.commit()?;
        self.entries = self.entries.saturating_sub(1);
        Ok(())
    }
}

/// Time for which a content is kept longer than others when the store is full, in milliseconds: the start and the end
/// of a failure are kept longer than what is between them.
fn advantage(why: StorageReason, limits: &StoreLimits) -> i64 {
    match why {
        StorageReason::Failure | StorageReason::Recovery => duration_millis(limits.retention / 2),
        StorageReason::RepeatedFailure | StorageReason::Success => 0,
    }
}

/// Returns whether the latest stored probe of the target is a success of the last hour, which an earlier process may
/// have stored.
fn has_recent_success(transaction: &Transaction<'_>, new: &NewEntry) -> rusqlite::Result<bool> {
    let latest = transaction
        .query_row(
            "SELECT began FROM entry WHERE target = ?1 AND module = ?2 AND hostname IS ?3 AND link IS NULL \
             AND seq = (SELECT max(seq) FROM entry WHERE target = ?1 AND module = ?2 AND hostname IS ?3)",
            params![new.summary.target, new.summary.module, new.hostname],
            |row| row.get::<_, i64>(0),
        )
        .optional()?;
    let since = latest.map(|latest| millis(new.summary.began).saturating_sub(latest));
    Ok(since.is_some_and(|since| (0..duration_millis(SUCCESS_EVERY)).contains(&since)))
}

/// Drops the contents that exceed the size or the age. Returns their number.
fn trim(transaction: &Transaction<'_>, most: u64, limits: &StoreLimits) -> rusqlite::Result<(u64, Trimmed)> {
    let now = millis(SystemTime::now());
    let oldest = now.saturating_sub(duration_millis(limits.retention));
    let expired = "SELECT seq FROM entry WHERE dropped IS NULL AND began < ? ORDER BY began LIMIT ?";
    let expired = sequence(transaction, expired, params![oldest, LARGEST_TRIM])?;
    for seq in &expired {
        drop_content(transaction, *seq, DropReason::Age)?;
    }
    let mut for_size = 0;
    while used(transaction)? > most && for_size < LARGEST_TRIM as usize {
        let first = "SELECT seq FROM entry WHERE dropped IS NULL ORDER BY dropped_after LIMIT 16";
        let first = sequence(transaction, first, [])?;
        if first.is_empty() {
            break;
        }
        for_size += first.len();
        for seq in first {
            drop_content(transaction, seq, DropReason::Size)?;
        }
    }
    forget_dropped(transaction, oldest, limits)?;
    let is_too_large = || rusqlite::Result::<bool>::Ok(size(transaction)? > database_share(limits));
    if is_too_large()? {
        transaction.execute_batch(&format!("PRAGMA incremental_vacuum({VACUUM});"))?;
    }
    let most = LARGEST_TRIM as usize;
    let trimmed = Trimmed {
        for_size: for_size as u64,
        is_partial: expired.len() >= most || for_size >= most || (is_too_large()? && has_free_pages(transaction)?),
    };
    Ok(((expired.len() + for_size) as u64, trimmed))
}

/// Deletes the rows of contents that were dropped long ago, or that are too many.
fn forget_dropped(transaction: &Transaction<'_>, oldest: i64, limits: &StoreLimits) -> rusqlite::Result<()> {
    transaction.execute("DELETE FROM entry WHERE dropped < ?", [oldest])?;
    let (share, each) = DROPPED_SHARE;
    let most = i64::try_from(database_share(limits) / share / each).unwrap_or(i64::MAX);
    transaction.execute(
        "DELETE FROM entry WHERE seq IN \
         (SELECT seq FROM entry WHERE dropped IS NOT NULL ORDER BY dropped DESC LIMIT ? OFFSET ?)",
        params![LARGEST_TRIM, most],
    )?;
    Ok(())
}

fn drop_content(transaction: &Transaction<'_>, seq: i64, why: DropReason) -> rusqlite::Result<()> {
    transaction.execute("DELETE FROM content WHERE seq = ?", [seq])?;
    transaction.execute(
        "UPDATE entry SET dropped = ?, why = ? WHERE seq = ?",
        params![millis(SystemTime::now()), why.number(), seq],
    )?;
    Ok(())
}

fn sequence(transaction: &Transaction<'_>, query: &str, values: impl rusqlite::Params) -> rusqlite::Result<Vec<i64>> {
    let mut query = transaction.prepare(query)?;
    let rows = query.query_map(values, |row| row.get(0))?;
    rows.collect()
}

/// Size of the database without its log, in bytes.
const fn database_share(limits: &StoreLimits) -> u64 {
    limits.size.saturating_sub(LOG_SHARE)
}

/// Returns whether the database has pages that it can return to the file system.
fn has_free_pages(connection: &Connection) -> rusqlite::Result<bool> {
    Ok(number(connection, "freelist_count")? > 0)
}

/// Size of the database in bytes.
fn size(connection: &Connection) -> rusqlite::Result<u64> {
    Ok(number(connection, "page_count")? * number(connection, "page_size")?)
}

/// Size of the database without its free pages, in bytes.
fn used(connection: &Connection) -> rusqlite::Result<u64> {
    let pages = number(connection, "page_count")?.saturating_sub(number(connection, "freelist_count")?);
    Ok(pages * number(connection, "page_size")?)
}

fn number(connection: &Connection, name: &str) -> rusqlite::Result<u64> {
    let number = connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0))?;
    Ok(number.unsigned_abs())
}

/// The evidence id as the database stores it. `SQLite` has no unsigned integers.
pub(super) const fn key(id: EvidenceId) -> i64 {
    ((id.process as u64) << 32 | id.number as u64).cast_signed()
}

/// Milliseconds since 1970.
pub(super) fn millis(at: SystemTime) -> i64 {
    duration_millis(at.duration_since(UNIX_EPOCH).unwrap_or_default())
}

fn duration_millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
