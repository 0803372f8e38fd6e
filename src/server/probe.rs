//! `/probe`: parses the request, runs the probe, and responds with its metrics.

use super::metrics_response::answer;
use super::query::Query;
use super::{App, Shared, error, not_stored, plain, unavailable};
use crate::exposition::{debug_page, prometheus_text};
use crate::scheduler::{Caller, ClientAddress, Reading};
use axum::extract::{Extension, RawQuery};
use axum::http::header::HeaderValue;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use glassbox_probe::limits::{LONGEST_DEADLINE, LONGEST_SCRAPE, SHORTEST_DEADLINE, SHORTEST_SCRAPE};
use glassbox_probe::probe::Probe;
use glassbox_probe::probers::{Module, ProbeRequest};
use glassbox_probe::target::Target;
use glassbox_verdict::backend::Backend;
use std::sync::Arc;
use std::time::Duration;

/// Module of a probe without the parameter `module`.
pub(super) const DEFAULT_MODULE: &str = "http_2xx";

/// Response header with the evidence id of the probe.
const EVIDENCE: &str = "x-glassbox-evidence";

/// Request header with the scrape timeout of Prometheus.
const SCRAPE_TIMEOUT: &str = "x-prometheus-scrape-timeout-seconds";

/// Responds to a scrape of one target.
pub(super) async fn run(
    app: Shared,
    source: Option<Extension<ClientAddress>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let query = Query::new(query.as_deref());
    let probe = match read(&app, &query, &headers) {
        Ok(probe) => probe,
        Err((status, words)) => return error(status, &words),
    };
    if app.scheduler.is_draining() {
        return unavailable("Draining: the exporter is shutting down.");
    }
    let source = source.map(|Extension(source)| source).unwrap_or_default();
    let scraped = tokio::select! {
        scraped = app.scheduler.scrape(probe, Caller::Scrape(source)) => scraped,
        () = app.ended() => return unavailable("The exporter is shutting down: the probe was aborted."),
    };
    match scraped {
        Ok(reading) => page(&app, &reading, &query, &headers),
        Err(unread) => unavailable(&unread.to_string()),
    }
}

fn page(app: &App, reading: &Reading, query: &Query, headers: &HeaderMap) -> Response {
    if query.get("show") == Some("evidence") {
        let place = format!("{}/evidence/{}", app.settings.link_prefix, reading.entry.id);
        return Redirect::to(&place).into_response();
    }
    let mut response = if query.get("debug") == Some("true") {
        let name = &reading.entry.finding.module.name;
        let yaml = app.scheduler.config().module_yaml(name);
        let metrics = reading.read(|families| prometheus_text::to_string(families.iter().copied()));
        not_stored((plain(), debug_page::text(&reading.entry, &metrics, &yaml)).into_response())
    } else {
        reading.read(|families| answer(families, headers))
    };
    if let Ok(id) = HeaderValue::from_str(&reading.entry.id.to_string()) {
        response.headers_mut().insert(EVIDENCE, id);
    }
    response
}

/// Parses the request with blackbox_exporter's order of checks and error messages.
pub(super) fn read(app: &App, query: &Query, headers: &HeaderMap) -> Result<Probe, (StatusCode, String)> {
    let probe = read_probe(app, query, headers).map_err(|words| (StatusCode::BAD_REQUEST, words))?;
    if probe.module.admits(&probe.requested) {
        return Ok(probe);
    }
    app.scheduler.denied();
    let by = probe.requested.hostname.as_ref();
    let by = by.map_or_else(String::new, |name| format!(" with hostname {name:?}"));
    let words = format!(
        "Module {:?} does not allow this target{by} (allowed_targets)",
        probe.module.name
    );
    Err((StatusCode::FORBIDDEN, words))
}

fn read_probe(app: &App, query: &Query, headers: &HeaderMap) -> Result<Probe, String> {
    let config = app.scheduler.config();
    let most = config.limits().parameter;
    for name in ["module", "target", "hostname", "backend"] {
        if query.bytes(name).is_some_and(|value| value.len() > most) {
            app.scheduler.self_metrics().met("parameter");
            return Err(format!("Parameter {name} is too long: expected up to {most} bytes"));
        }
        if query.get(name).is_some_and(|value| value.contains(char::is_control)) {
            return Err(format!("Parameter {name} contains a control character"));
        }
        // The target of an HTTP probe may contain any byte. The other parameters must be UTF-8.
        if name != "target" && query.bytes(name).is_some_and(|value| str::from_utf8(value).is_err()) {
            return Err(format!("invalid parameter {name}: expected UTF-8"));
        }
    }
    let name = query
        .get("module")
        .filter(|name| !name.is_empty())
        .unwrap_or(DEFAULT_MODULE);
    let Some(module) = config.module(name).cloned() else {
        app.scheduler.self_metrics().unknown_module();
        return Err(format!("Unknown module {name:?}"));
    };
    let timeout = deadline(headers.get(SCRAPE_TIMEOUT), app.settings.timeout_offset, module.timeout)?;
    let Some(target) = query.bytes("target").filter(|target| !target.is_empty()) else {
        return Err("Target parameter is missing".to_owned());
    };
    let requested = request(query, target, &module)?;
    let accepted = module.prober.accept(&requested);
    accepted.map_err(|refusal| refusal.message)?;
    Ok(Probe {
        context: app.scheduler.context(&module, &requested),
        module,
        requested,
        timeout,
        controls: config.controls().clone(),
    })
}

/// Returns what a stored query requested, if its module still exists. The policy is not checked: the result may not be
/// probed.
pub(super) fn requested(app: &App, query: &str) -> Option<(Arc<Module>, ProbeRequest)> {
    let query = Query::new(Some(query));
    let module = app.scheduler.config().module(query.get("module")?)?.clone();
    let requested = request(&query, query.bytes("target")?, &module).ok()?;
    Some((module, requested))
}

fn request(query: &Query, target: &[u8], module: &Module) -> Result<ProbeRequest, String> {
    Ok(ProbeRequest {
        target: Target::from_bytes(target),
        hostname: query.get("hostname").filter(|name| !name.is_empty()).map(str::to_owned),
        backends: backends(query, module)?,
    })
}

/// Parses the backends, which are subject to the same policy as the target. Only backends that the module lists are
/// trusted with its secrets.
fn backends(query: &Query, module: &Module) -> Result<Vec<Backend>, String> {
    let Some(text) = query.get("backend").filter(|text| !text.is_empty()) else {
        return Ok(Vec::new());
    };
    let mut backends = Backend::read_all(text).map_err(|error| format!("Parameter backend: {error}"))?;
    for backend in &mut backends {
        backend.trusted = module.names(backend);
    }
    Ok(backends)
}

/// Computes the deadline of a probe: the scrape timeout minus the offset, limited by the module's timeout.
///
/// This is the rule of blackbox_exporter with two fixes: the response never exceeds the scrape timeout, and a probe
/// always gets some time. A timeout that no probe can meet is rejected, because its failures would count as the
/// target's.
fn deadline(scrape: Option<&HeaderValue>, offset: Duration, module: Option<Duration>) -> Result<Duration, String> {
    let scrape = match scrape {
        None => LONGEST_DEADLINE,
        Some(value) => {
            let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
            let wrong = |why: &str| format!("Failed to parse timeout from Prometheus header: {text:?} {why}");
            let seconds: f64 = text.trim().parse().map_err(|_| wrong("is not a number of seconds"))?;
            match Duration::try_from_secs_f64(seconds) {
                Ok(Duration::ZERO) => LONGEST_DEADLINE,
                Ok(given) if given < SHORTEST_SCRAPE => {
                    let least = SHORTEST_SCRAPE.as_secs_f64();
                    return Err(format!(
                        "invalid scrape timeout {text:?}: expected at least {least} seconds"
                    ));
                }
                Ok(given) => given.min(LONGEST_SCRAPE),
                Err(_) => return Err(wrong("is not a valid duration: expected a finite, non-negative number")),
            }
        }
    };
    let most = match scrape.checked_sub(offset) {
        Some(most) if !most.is_zero() => most,
        _ => scrape / 2,
    };
    let timeout = module.map_or(most, |module| module.min(most));
    Ok(timeout.max(SHORTEST_DEADLINE))
}

#[cfg(test)]
mod tests {
    use super::deadline;
    use axum::http::HeaderValue;
    use std::time::Duration;

    #[test]
    fn the_deadline_matches_blackbox_exporter_except_for_its_defects() {
        let half = Duration::from_millis(500);
        for (module, scrape, millis) in [
            (None, Some("15"), 14_500),
            (Some(20_000), Some("15"), 14_500),
            (Some(5000), Some("15"), 5000),
            (Some(10_000), None, 10_000),
            (None, None, 119_500),
            (None, Some("0"), 119_500),
            (None, Some("0.3"), 150),
            (Some(1000), Some("0.3"), 150),
            (None, Some("0.5"), 250),
            (None, Some("0.1"), 50),
        ] {
            let header = scrape.map(|text| HeaderValue::from_str(text).unwrap());
            let timeout = deadline(header.as_ref(), half, module.map(Duration::from_millis));
            assert_eq!(timeout, Ok(Duration::from_millis(millis)), "{module:?} {scrape:?}");
        }
    }

    #[test]
    fn an_invalid_scrape_timeout_is_refused() {
        for wrong in ["abc", "NaN", "-1", "inf", "-inf", ""] {
            let header = HeaderValue::from_str(wrong).unwrap();
            let refused = deadline(Some(&header), Duration::ZERO, None).unwrap_err();
            assert!(
                refused.starts_with("Failed to parse timeout from Prometheus header"),
                "{refused}"
            );
        }
    }

    #[test]
    fn a_scrape_timeout_that_no_probe_can_meet_is_refused() {
        for wrong in ["0.001", "0.0999", "1e-9"] {
            let header = HeaderValue::from_str(wrong).unwrap();
            let refused = deadline(Some(&header), Duration::ZERO, None).unwrap_err();
            let words = format!("invalid scrape timeout {wrong:?}: expected at least 0.1 seconds");
            assert_eq!(refused, words);
        }
    }
}
