//! The configuration in force, its reload, and the peer's page of logs.

use super::probe::Query;
use super::{Shared, error, plain};
use crate::exposition::{logs, page, text};
use axum::extract::RawQuery;
use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};

/// The configuration as YAML, secrets masked.
pub(super) async fn config(app: Shared) -> Response {
    (plain(), app.patrol.config().to_yaml()).into_response()
}

/// Loads the configuration again.
pub(super) async fn reload(app: Shared, method: Method, headers: HeaderMap) -> Response {
    if !matches!(method, Method::POST | Method::PUT) {
        return error(StatusCode::METHOD_NOT_ALLOWED, "This endpoint requires a POST request.");
    }
    if is_foreign(&headers) {
        return error(
            StatusCode::FORBIDDEN,
            "A page of another origin may not reload the configuration.",
        );
    }
    match app.reload().await {
        Ok(()) => {
            tracing::info!("Reloaded config file");
            StatusCode::OK.into_response()
        }
        Err(problem) => {
            tracing::error!(error = %problem, "Error reloading config");
            error(
                StatusCode::INTERNAL_SERVER_ERROR,
                &format!("failed to reload config: {problem}"),
            )
        }
    }
}

/// A browser says where a request comes from; other clients say nothing.
fn is_foreign(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    match (text(ORIGIN), text(HOST)) {
        (None, _) => false,
        (Some(origin), Some(host)) => origin.split_once("://").is_none_or(|(_, from)| from != host),
        (Some(_), None) => true,
    }
}

/// The peer's `/logs`: one kept probe, by `id`, or the newest of a `target` (and `module`).
pub(super) async fn logs(app: Shared, RawQuery(query): RawQuery) -> Response {
    let query = Query::new(query.as_deref());
    let (id, target) = (query.get("id"), query.get("target"));
    let entry = match (id, target) {
        (Some(_), Some(_)) => {
            return error(
                StatusCode::BAD_REQUEST,
                "Probe id and target can't be defined at the same time",
            );
        }
        (None, None) => {
            return error(
                StatusCode::BAD_REQUEST,
                "Probe id or target must be defined as http query parameters",
            );
        }
        (Some(id), None) => match id.parse().ok().and_then(|id| app.patrol.history().get(id)) {
            Some(entry) => entry,
            None => return error(StatusCode::NOT_FOUND, "Probe id not found"),
        },
        (None, Some(target)) => {
            let module = query.get("module");
            let found = app.patrol.history().newest_first().into_iter().find(|entry| {
                entry.finding.aim.target.written() == target
                    && module.is_none_or(|module| *entry.finding.module.name == *module)
            });
            match found {
                Some(entry) => entry,
                None => return error(StatusCode::NOT_FOUND, "Probe target not found"),
            }
        }
    };
    let yaml = app.patrol.config().module_yaml(&entry.finding.module.name);
    // The counters have moved on since; what is left of that probe are its gauges.
    let metrics = text::to_string(&page::gauges(&entry.finding).sorted());
    (plain(), logs::text(&entry, &metrics, &yaml)).into_response()
}
