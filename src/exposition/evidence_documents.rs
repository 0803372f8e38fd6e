//! The evidence of a probe in all its forms, for the store on disk.

use super::{evidence, evidence_page, har, repeat_query};
use crate::history::HistoryEntry;
use crate::history::store::EvidenceDocuments;
use serde_json::Value;

/// Renders all forms.
#[must_use]
pub fn render(entry: &HistoryEntry) -> EvidenceDocuments {
    EvidenceDocuments {
        title: evidence_page::title(entry),
        page: evidence_page::content(entry).into_string(),
        json: text(&evidence::json(entry)),
        har: text(&har::json(entry)),
        repeat: repeat_query::of(&entry.finding),
    }
}

/// A JSON document as the exporter serves it.
#[must_use]
pub fn text(document: &Value) -> String {
    format!("{document:#}\n")
}
