//! Endpoints for the active configuration, its reload, and the probe logs of blackbox_exporter (`/logs`).

use super::query::Query;
use super::{App, Shared, allowed_hosts, error, plain};
use crate::exposition::{debug_page, probe_metrics, prometheus_text};
use axum::extract::RawQuery;
use axum::http::header::ORIGIN;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};

/// Returns the active configuration as YAML with masked secrets.
pub(super) async fn config(app: Shared) -> Response {
    (plain(), app.scheduler.config().to_yaml()).into_response()
}

/// Reloads the configuration.
pub(super) async fn reload(app: Shared, method: Method, uri: Uri, headers: HeaderMap) -> Response {
    let change = "reload the configuration";
    if let Err((status, words)) = may_change(&app, (&method, &uri, &headers), change) {
        return error(status, &words);
    }
    match app.reload().await {
        Ok(()) => {
            tracing::info!("Reloaded config file");
            StatusCode::OK.into_response()
        }
        Err(issue) => {
            tracing::error!(error = %issue, "Error reloading config");
            error(
                StatusCode::INTERNAL_SERVER_ERROR,
                &format!("failed to reload config: {issue}"),
            )
        }
    }
}

/// Checks a request that changes the exporter's state: its method, its host and its origin. `change` is a verb with its
/// object.
pub(super) fn may_change(
    app: &App,
    (method, uri, headers): (&Method, &Uri, &HeaderMap),
    change: &str,
) -> Result<(), (StatusCode, String)> {
    if !matches!(*method, Method::POST | Method::PUT) {
        let words = "This endpoint requires a POST request.".to_owned();
        return Err((StatusCode::METHOD_NOT_ALLOWED, words));
    }
    let host = allowed_hosts::named(headers, uri).map_err(|words| (StatusCode::BAD_REQUEST, words.to_owned()))?;
    if let Some(host) = host.filter(|host| !app.settings.allowed_hosts.allow(host)) {
        let words =
            format!("invalid Host {host:?}: expected an address or a name of this host; --web.allowed-host adds one");
        return Err((StatusCode::FORBIDDEN, words));
    }
    if is_foreign(headers, host) {
        let words = format!("Cross-origin requests may not {change}.");
        return Err((StatusCode::FORBIDDEN, words));
    }
    Ok(())
}

/// Returns whether a browser sends the request on behalf of a page from another origin. Clients other than browsers
/// send neither of the two headers.
fn is_foreign(headers: &HeaderMap, host: Option<&str>) -> bool {
    let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    if site.is_some_and(|site| !matches!(site, b"same-origin" | b"none")) {
        return true;
    }
    headers.get_all(ORIGIN).iter().any(|origin| {
        let from = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
        from.zip(host)
            .is_none_or(|((_, from), host)| !from.eq_ignore_ascii_case(host))
    })
}

/// Serves `/logs` like blackbox_exporter: the stored probe with this `id`, or the latest one of a `target` (and
/// `module`).
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
        (Some(id), None) => match id.parse().ok().and_then(|id| app.scheduler.history().get(id)) {
            Some(entry) => entry,
            None => return error(StatusCode::NOT_FOUND, "Probe id not found"),
        },
        (None, Some(target)) => {
            let module = query.get("module");
            let found = app.scheduler.history().newest_first().into_iter().find(|entry| {
                entry.finding.requested.target.written() == target
                    && module.is_none_or(|module| *entry.finding.module.name == *module)
            });
            match found {
                Some(entry) => entry,
                None => return error(StatusCode::NOT_FOUND, "Probe target not found"),
            }
        }
    };
    let yaml = app.scheduler.config().module_yaml(&entry.finding.module.name);
    // The counters have changed since that probe, so only its gauges are shown.
    let metrics = prometheus_text::to_string(&probe_metrics::gauges(&entry.finding).sorted());
    (plain(), debug_page::text(&entry, &metrics, &yaml)).into_response()
}
