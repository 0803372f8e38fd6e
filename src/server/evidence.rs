//! `/evidence`: the evidence of one probe.

use super::query::Query;
use super::{App, Shared, error, target_timeline};
use crate::exposition::gone_page::GoneEvidence;
use crate::exposition::{evidence, evidence_documents, evidence_page, har};
use crate::history::HistoryEntry;
use crate::history::store::{DropReason, EvidenceStore, EvidenceSummary, LISTED, StoredEvidence, StoredLookup};
use axum::extract::{Path, RawQuery};
use axum::http::header::{ACCEPT, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use glassbox_probe::evidence_id::EvidenceId;

/// Form of the evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Page,
    Json,
    Har,
}

/// Forms by path suffix.
const FORMS: [(&str, Form); 3] = [(".json", Form::Json), (".har", Form::Har), ("", Form::Page)];

/// Serves `/evidence/{id}` (HTML), `/evidence/{id}.json` and `/evidence/{id}.har`.
pub(super) async fn file(app: Shared, Path(file): Path<String>, fields: HeaderMap) -> Response {
    let named = FORMS.iter().find_map(|(end, form)| {
        let id = file.strip_suffix(end)?.parse::<EvidenceId>().ok()?;
        Some((id, *form))
    });
    let Some((id, form)) = named else {
        return error(
            StatusCode::NOT_FOUND,
            "Evidence not found: expected /evidence/{id}, optionally with .json or .har, and the id of a stored probe.",
        );
    };
    let prefix = &app.settings.link_prefix;
    if let Some(entry) = app.scheduler.history().get(id) {
        return in_memory(&app, &entry, form).await;
    }
    let gone = match look_up(&app, id).await {
        Ok(stored) => return on_disk(&app, &stored, form).await,
        Err(gone) => gone,
    };
    respond_gone(&gone, form == Form::Page && wants_html(&fields), prefix)
}

async fn in_memory(app: &App, entry: &HistoryEntry, form: Form) -> Response {
    match form {
        Form::Page => {
            let timeline = target_timeline::of_entry(app, entry).await;
            super::page(evidence_page::page(entry, &timeline, &app.settings.link_prefix))
        }
        Form::Json => document(evidence_documents::text(&evidence::json(entry))),
        Form::Har => document(evidence_documents::text(&har::json(entry))),
    }
}

async fn on_disk(app: &App, stored: &StoredEvidence, form: Form) -> Response {
    match form {
        Form::Page => {
            let timeline = target_timeline::of_stored(app, stored).await;
            super::page(evidence_page::stored_page(stored, &timeline, &app.settings.link_prefix))
        }
        Form::Json => document(stored.documents.json.clone()),
        Form::Har => document(stored.documents.har.clone()),
    }
}

fn document(text: String) -> Response {
    let fields = [(CONTENT_TYPE, "application/json"), (X_CONTENT_TYPE_OPTIONS, "nosniff")];
    (fields, text).into_response()
}

/// Reads evidence from disk, or says why it is not stored.
async fn look_up(app: &App, id: EvidenceId) -> Result<StoredEvidence, GoneEvidence> {
    let unknown_target = |why: String| GoneEvidence {
        why,
        target: None,
        others: Vec::new(),
    };
    let Some(store) = app.scheduler.history().store() else {
        return Err(unknown_target(why_not_in_memory(app, id)));
    };
    match store.evidence(id).await {
        Ok(StoredLookup::Found(stored)) => Ok(*stored),
        Ok(StoredLookup::Dropped(probe, why)) => {
            let why = format!("{} {}", why_not_in_memory(app, id), why_dropped(why, store));
            Err(gone(app, why, probe.target, Some(probe.module)).await)
        }
        Ok(StoredLookup::Unknown) => {
            let why = format!(
                "{} It is not on disk either: the exporter stores failures, the first success after a failure, and one \
                 success per target and hour.",
                why_not_in_memory(app, id)
            );
            Err(unknown_target(why))
        }
        Err(unavailable) => {
            let why = format!("{} It may be on disk, but {unavailable}.", why_not_in_memory(app, id));
            Err(unknown_target(why))
        }
    }
}

fn why_not_in_memory(app: &App, id: EvidenceId) -> String {
    match app.scheduler.history().has_named(id) {
        Some(false) => format!("No probe has the id {id} yet."),
        Some(true) => format!(
            "The evidence {id} is no longer in memory, which holds up to {} findings (--history.limit) and {} bytes \
             (limits.history_bytes).",
            app.settings.history_limit,
            app.scheduler.limits().history_bytes
        ),
        None if app.scheduler.history().store().is_none() => format!(
            "The evidence {id} is of another process: the exporter has restarted since, or another exporter created \
             it. Evidence survives a restart only with --history.path."
        ),
        None => format!(
            "The evidence {id} is of another process: the exporter has restarted since, or another exporter created it."
        ),
    }
}

fn why_dropped(why: DropReason, store: &EvidenceStore) -> String {
    let limits = store.limits();
    match why {
        DropReason::Size => format!(
            "It was dropped from disk because the store reached {} bytes (--history.size).",
            limits.size
        ),
        DropReason::Age => format!(
            "It was dropped from disk because it was older than {} h (--history.retention).",
            limits.retention.as_secs() / 3600
        ),
        DropReason::Damaged => {
            "Its content on disk was damaged (the checksum did not match), so it was dropped.".to_owned()
        }
    }
}

/// Serves `/evidence?target=&module=`, to which alerts link: redirects to the latest probe of a target with a verdict,
/// or to its latest probe if none has one.
pub(super) async fn of_target(app: Shared, RawQuery(query): RawQuery, fields: HeaderMap) -> Response {
    let query = Query::new(query.as_deref());
    let Some(target) = query.get("target").filter(|target| !target.is_empty()) else {
        return error(
            StatusCode::BAD_REQUEST,
            "Target parameter is missing: expected /evidence?target=URL, optionally with &module=NAME.",
        );
    };
    let module = query.get("module").filter(|module| !module.is_empty());
    let prefix = &app.settings.link_prefix;
    let kept = kept_in_memory(&app, target, module);
    let failing = |probes: &[EvidenceSummary]| probes.iter().find(|probe| probe.link.is_some()).map(|probe| probe.id);
    let mut found = failing(&kept);
    if found.is_none() {
        let stored = kept_on_disk(&app, target, module).await;
        let latest = kept.first().or(stored.first()).map(|probe| probe.id);
        found = failing(&stored).or(latest);
    }
    if let Some(id) = found {
        return Redirect::temporary(&format!("{prefix}/evidence/{id}")).into_response();
    }
    let module = module.map_or_else(String::new, |module| format!(" with the module {module}"));
    let gone = GoneEvidence {
        why: format!(
            "No stored probe for this target{module}: it has not been probed since the start, or its evidence was dropped."
        ),
        target: Some(target.to_owned()),
        others: Vec::new(),
    };
    respond_gone(&gone, wants_html(&fields), prefix)
}

async fn gone(app: &App, why: String, target: String, module: Option<String>) -> GoneEvidence {
    let mut others = kept_in_memory(app, &target, module.as_deref());
    for stored in kept_on_disk(app, &target, module.as_deref()).await {
        if others.iter().all(|probe| probe.id != stored.id) {
            others.push(stored);
        }
    }
    others.sort_by_key(|probe| std::cmp::Reverse(probe.began));
    others.truncate(LISTED as usize);
    GoneEvidence {
        why,
        target: Some(target),
        others,
    }
}

/// The probes of a target in memory, newest first.
fn kept_in_memory(app: &App, target: &str, module: Option<&str>) -> Vec<EvidenceSummary> {
    let kept = app.scheduler.history().newest_first().into_iter().filter(|entry| {
        entry.finding.requested.target.written() == target
            && module.is_none_or(|module| *entry.finding.module.name == *module)
    });
    kept.map(|entry| EvidenceSummary::of(&entry)).collect()
}

/// The probes of a target on disk, newest first. Empty if the store is not available; the log contains the error.
async fn kept_on_disk(app: &App, target: &str, module: Option<&str>) -> Vec<EvidenceSummary> {
    match app.scheduler.history().store() {
        Some(store) => store
            .of_target(target.to_owned(), module.map(str::to_owned))
            .await
            .unwrap_or_default(),
        None => Vec::new(),
    }
}

fn respond_gone(gone: &GoneEvidence, as_page: bool, prefix: &str) -> Response {
    if as_page {
        let mut response = super::page(gone.page(prefix));
        *response.status_mut() = StatusCode::NOT_FOUND;
        return response;
    }
    error(StatusCode::NOT_FOUND, gone.text(prefix).trim_end())
}

/// Returns whether the client is a browser, which asks for HTML.
fn wants_html(fields: &HeaderMap) -> bool {
    let mut accepted = fields.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted.any(|value| value.contains("text/html"))
}
