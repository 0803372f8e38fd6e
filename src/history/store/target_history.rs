//! The history of a target on disk: the probes around one of them, and the incidents.

use super::database::{Database, key};
use crate::timeline::{Incident, IncidentCollector, ProbeMark, ProbeTime};
use glassbox_probe::evidence_id::EvidenceId;
use glassbox_verdict::chain::Link;
use glassbox_verdict::reason::Reason;
use rusqlite::{OptionalExtension as _, Row, params};
use std::time::{Duration, UNIX_EPOCH};

/// Number of probes before and after the one of the question.
const AROUND: u32 = 20;

/// Maximum number of rows that are read for the incidents: 3 days of failures every 15 s, in up to 50 ms.
const LONGEST: u32 = 20_000;

/// Columns of a mark, in the order in which [`mark`] reads them.
const MARK: &str = "id, began, link, reason, dropped IS NULL";

/// Rows of a target with a module and a hostname.
const OF_TARGET: &str = "FROM entry WHERE target = ?1 AND module = ?2 AND hostname IS ?3";

/// A question for the history of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryQuestion {
    /// The probe whose neighbours are asked for.
    pub id: EvidenceId,
    /// The target as written.
    pub target: String,
    /// Name of the module.
    pub module: String,
    /// The caller's `hostname`.
    pub hostname: Option<String>,
    /// Part of the ids of this process.
    pub process: u32,
}

/// The stored history of a target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredHistory {
    /// The probes around the one of the question, if that one is stored, and the latest probes. In any order.
    pub marks: Vec<ProbeMark>,
    /// The latest incidents, newest first.
    pub incidents: Vec<Incident>,
}

impl Database {
    /// Returns the history of a target.
    ///
    /// # Errors
    /// When `SQLite` returns an error.
    pub fn history(&mut self, question: &HistoryQuestion) -> rusqlite::Result<StoredHistory> {
        let at = self
            .connection
            .query_row("SELECT seq FROM entry WHERE id = ?", [key(question.id)], |row| {
                row.get::<_, i64>(0)
            });
        let mut marks = Vec::new();
        if let Some(at) = at.optional()? {
            marks.extend(self.marks(question, "AND seq <= ?4 ORDER BY seq DESC", at)?);
            marks.extend(self.marks(question, "AND seq > ?4 ORDER BY seq", at)?);
        }
        marks.extend(self.marks(question, "AND seq > ?4 ORDER BY seq DESC", 0)?);
        Ok(StoredHistory {
            marks,
            incidents: self.incidents(question)?,
        })
    }

    fn marks(&self, question: &HistoryQuestion, which: &str, at: i64) -> rusqlite::Result<Vec<ProbeMark>> {
        let mut query = self
            .connection
            .prepare(&format!("SELECT {MARK} {OF_TARGET} {which} LIMIT ?5"))?;
        let HistoryQuestion {
            target,
            module,
            hostname,
            ..
        } = question;
        let rows = query.query_map(params![target, module, hostname, at, AROUND], mark)?;
        rows.collect()
    }

    fn incidents(&self, question: &HistoryQuestion) -> rusqlite::Result<Vec<Incident>> {
        let mut query = self
            .connection
            .prepare(&format!("SELECT {MARK} {OF_TARGET} ORDER BY seq DESC LIMIT ?4"))?;
        let HistoryQuestion {
            target,
            module,
            hostname,
            ..
        } = question;
        let rows = query.query_map(params![target, module, hostname, LONGEST], mark)?;
        let mut incidents = IncidentCollector::new(question.process);
        for mark in rows {
            if !incidents.add(mark?) {
                break;
            }
        }
        Ok(incidents.finish())
    }
}

fn mark(row: &Row<'_>) -> rusqlite::Result<ProbeMark> {
    let id = row.get::<_, i64>(0)?.cast_unsigned();
    let half = |bits: u64| u32::try_from(bits & u64::from(u32::MAX)).unwrap_or_default();
    let link = row.get::<_, Option<String>>(2)?;
    let reason = row.get::<_, Option<String>>(3)?;
    // A later version of the exporter may know more links and reasons.
    let link_of = |name: &str| Link::ALL.into_iter().find(|link| link.as_str() == name);
    let reason_of = |name: &str| Reason::ALL.iter().copied().find(|reason| reason.as_str() == name);
    Ok(ProbeMark {
        id: EvidenceId {
            process: half(id >> 32),
            number: half(id),
        },
        began: ProbeTime::of(UNIX_EPOCH + Duration::from_millis(row.get::<_, i64>(1)?.unsigned_abs())),
        link: link.map(|link| link_of(&link).unwrap_or(Link::Unknown)),
        reason: reason.and_then(|reason| reason_of(&reason)),
        masked: false,
        is_stored: row.get(4)?,
    })
}
