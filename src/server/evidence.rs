//! `/evidence`: the evidence of one probe.

use super::query::Query;
use super::{Shared, error};
use crate::exposition::{evidence, evidence_page, har};
use crate::history::HistoryEntry;
use axum::extract::{Path, RawQuery};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::response::{IntoResponse, Redirect, Response};
use serde_json::Value;

/// Renders the evidence of one probe.
type Form = fn(&HistoryEntry) -> Value;

/// Machine-readable formats, by path suffix.
const FORMS: [(&str, Form); 2] = [(".json", evidence::json), (".har", har::json)];

/// Serves `/evidence/{id}` (HTML), `/evidence/{id}.json` and `/evidence/{id}.har`.
pub(super) async fn file(app: Shared, Path(file): Path<String>) -> Response {
    let kept = |id: &str| app.scheduler.history().get(id.parse().ok()?);
    if let Some(entry) = kept(&file) {
        return super::page(evidence_page::page(&entry, &app.settings.link_prefix));
    }
    let found = FORMS
        .iter()
        .find_map(|(end, form)| Some(form(&kept(file.strip_suffix(end)?)?)));
    match found {
        Some(found) => (
            [(CONTENT_TYPE, "application/json"), (X_CONTENT_TYPE_OPTIONS, "nosniff")],
            format!("{found:#}\n"),
        )
            .into_response(),
        None => error(
            StatusCode::NOT_FOUND,
            "Evidence not found: expected /evidence/{id}, optionally with .json or .har, and the id of a stored probe.",
        ),
    }
}

/// Serves `/evidence?target=&module=`, to which alerts link: redirects to the latest probe of a target with a verdict,
/// or to its latest probe if none has one.
pub(super) async fn of_target(app: Shared, RawQuery(query): RawQuery) -> Response {
    let query = Query::new(query.as_deref());
    let Some(target) = query.get("target").filter(|target| !target.is_empty()) else {
        return error(
            StatusCode::BAD_REQUEST,
            "Target parameter is missing: expected /evidence?target=URL, optionally with &module=NAME.",
        );
    };
    let module = query.get("module").filter(|module| !module.is_empty());
    let mut kept = app.scheduler.history().newest_first();
    kept.retain(|entry| {
        entry.finding.requested.target.written() == target
            && module.is_none_or(|module| *entry.finding.module.name == *module)
    });
    let failing = kept.iter().find(|entry| entry.finding.verdict.is_some());
    match failing.or(kept.first()) {
        Some(entry) => {
            let place = format!("{}/evidence/{}", app.settings.link_prefix, entry.id);
            Redirect::temporary(&place).into_response()
        }
        None => error(StatusCode::NOT_FOUND, "No stored probe for this target."),
    }
}
