//! The questions that pages ask the store.

use super::content;
use super::database::{Database, key};
use super::{DropReason, EvidenceSummary, StoredEvidence, StoredLookup};
use glassbox_probe::evidence_id::EvidenceId;
use rusqlite::{OptionalExtension as _, Row, params};
use std::time::{Duration, UNIX_EPOCH};

/// Maximum number of stored probes that a page lists.
pub const LISTED: u32 = 20;

/// Columns of a summary, in the order in which [`summary`] reads them.
const SUMMARY: &str = "id, module, target, began, link, reason";

impl Database {
    /// Returns the evidence of a probe. A content that does not match its checksum is dropped.
    ///
    /// # Errors
    /// When `SQLite` returns an error.
    pub fn evidence(&mut self, id: EvidenceId) -> rusqlite::Result<StoredLookup> {
        let found = self.connection.query_row(
            &format!("SELECT {SUMMARY}, dropped, why, seq FROM entry WHERE id = ?"),
            [key(id)],
            |row| {
                Ok((
                    summary(row)?,
                    row.get::<_, Option<i64>>(6)?,
                    row.get::<_, Option<u32>>(7)?,
                    row.get::<_, i64>(8)?,
                ))
            },
        );
        let Some((summary, dropped, why, seq)) = found.optional()? else {
            return Ok(StoredLookup::Unknown);
        };
        if dropped.is_some() {
            return Ok(StoredLookup::Dropped(summary, DropReason::of(why.unwrap_or_default())));
        }
        let content = self
            .connection
            .query_row("SELECT checksum, body FROM content WHERE seq = ?", [seq], |row| {
                Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, Vec<u8>>(1)?))
            });
        let content = content.optional()?;
        let intact = content.filter(|(checksum, body)| content::checksum(&summary, body) == *checksum);
        let Some(documents) = intact.and_then(|(_, body)| content::unpack(&body)) else {
            self.drop_damaged(seq)?;
            return Ok(StoredLookup::Dropped(summary, DropReason::Damaged));
        };
        Ok(StoredLookup::Found(Box::new(StoredEvidence { summary, documents })))
    }

    /// Returns the stored probes of a target, newest first: up to [`LISTED`] of them, and its newest failure.
    ///
    /// # Errors
    /// When `SQLite` returns an error.
    pub fn of_target(&mut self, target: &str, module: Option<&str>) -> rusqlite::Result<Vec<EvidenceSummary>> {
        let mut listed = self.select(target, module, "", LISTED)?;
        if listed.iter().all(|probe| probe.link.is_none()) {
            listed.extend(self.select(target, module, "AND link IS NOT NULL", 1)?);
        }
        Ok(listed)
    }

    fn select(
        &self,
        target: &str,
        module: Option<&str>,
        condition: &str,
        most: u32,
    ) -> rusqlite::Result<Vec<EvidenceSummary>> {
        let mut query = self.connection.prepare(&format!(
            "SELECT {SUMMARY} FROM entry WHERE target = ?1 AND (?2 IS NULL OR module = ?2) AND dropped IS NULL \
             {condition} ORDER BY seq DESC LIMIT ?3"
        ))?;
        let rows = query.query_map(params![target, module, most], summary)?;
        rows.collect()
    }
}

fn summary(row: &Row<'_>) -> rusqlite::Result<EvidenceSummary> {
    let id = row.get::<_, i64>(0)?.cast_unsigned();
    let half = |bits: u64| u32::try_from(bits & u64::from(u32::MAX)).unwrap_or_default();
    let began = u64::try_from(row.get::<_, i64>(3)?).unwrap_or_default();
    Ok(EvidenceSummary {
        id: EvidenceId {
            process: half(id >> 32),
            number: half(id),
        },
        module: row.get(1)?,
        target: row.get(2)?,
        began: UNIX_EPOCH + Duration::from_millis(began),
        link: row.get(4)?,
        reason: row.get(5)?,
    })
}
