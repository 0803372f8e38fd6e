//! `/evidence/{id}/again`: runs the probe of stored evidence once more.

use super::query::Query;
use super::{App, Shared, admin, error, probe, unavailable};
use crate::exposition::repeat_query;
use crate::history::store::StoredLookup;
use crate::scheduler::{Caller, ClientAddress};
use axum::extract::{Extension, Path};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Redirect, Response};
use glassbox_probe::evidence_id::EvidenceId;

/// Runs a probe with the same module, target, hostname and backends, and redirects to its evidence. The request is
/// protected like a reload, because each one sends traffic to the target.
pub(super) async fn run(
    app: Shared,
    source: Option<Extension<ClientAddress>>,
    Path(id): Path<String>,
    (method, uri, headers): (Method, Uri, HeaderMap),
) -> Response {
    if let Err((status, words)) = admin::may_change(&app, (&method, &uri, &headers), "start probes") {
        return error(status, &words);
    }
    let query = match id.parse() {
        Ok(id) => repeat(&app, id).await,
        Err(_) => None,
    };
    let Some(query) = query else {
        return error(
            StatusCode::NOT_FOUND,
            "Evidence not found: the exporter cannot repeat a probe whose evidence is not stored.",
        );
    };
    // The probe has the timeout of its module: the browser sends no scrape timeout.
    let probe = match probe::read(&app, &Query::new(Some(&query)), &HeaderMap::new()) {
        Ok(probe) => probe,
        Err((status, words)) => return error(status, &words),
    };
    if app.scheduler.is_draining() {
        return unavailable("Draining: the exporter is shutting down.");
    }
    let source = source.map(|Extension(source)| source).unwrap_or_default();
    let probed = tokio::select! {
        probed = app.scheduler.probe_now(probe, Caller::Scrape(source)) => probed,
        () = app.ended() => return unavailable("The exporter is shutting down: the probe was aborted."),
    };
    match probed {
        Ok(reading) => {
            let place = format!("{}/evidence/{}", app.settings.link_prefix, reading.entry.id);
            Redirect::to(&place).into_response()
        }
        Err(fault) => unavailable(&fault.to_string()),
    }
}

/// The query that repeats a probe.
async fn repeat(app: &App, id: EvidenceId) -> Option<String> {
    let history = app.scheduler.history();
    if let Some(entry) = history.get(id) {
        return Some(repeat_query::of(&entry.finding));
    }
    match history.store()?.evidence(id).await {
        Ok(StoredLookup::Found(stored)) => Some(stored.documents.repeat).filter(|query| !query.is_empty()),
        _ => None,
    }
}
