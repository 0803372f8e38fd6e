//! One finding as an HTTP Archive 1.2, which browsers, vendors and providers can open. The evidence's allowlist also
//! selects the header values that are shown here.

use super::evidence::{notes, shown_value};
use crate::history::HistoryEntry;
use glassbox_probe::diagnostics::Diagnostic;
use glassbox_verdict::chain::Stage;
use glassbox_verdict::investigation::{DiagnosticKind, DiagnosticRequest};
use glassbox_verdict::report::{Exchange, Reply, Report};
use glassbox_verdict::utc::rfc3339;
use serde_json::{Value, json};
use std::time::Duration;

/// The archive: one page for each requested machine, one entry for each exchange. Times are in milliseconds. As the
/// format requires, -1 means that a phase was not reached.
#[must_use]
pub fn json(entry: &HistoryEntry) -> Value {
    let finding = &entry.finding;
    let mut asked: Vec<(String, String, &Report)> = Vec::new();
    asked.push(("edge".to_owned(), finding.requested.target.to_string(), &finding.report));
    for result in finding.investigation.iter().flat_map(|found| found.results()) {
        let diagnostic = Diagnostic::of(result.kind);
        let kind = match result.kind {
            DiagnosticKind::Backends => "backend",
            _ => diagnostic.name,
        };
        for request in result.outcome.requests() {
            let (id, title) = match request {
                DiagnosticRequest::Direct(direct) => {
                    let backend = &direct.backend;
                    let title = format!("{} to {} ({backend})", diagnostic.title, backend.name);
                    (format!("{kind}_{}", backend.name), title)
                }
                DiagnosticRequest::Edge(_) => (diagnostic.name.to_owned(), diagnostic.title.to_owned()),
                DiagnosticRequest::Address(address, _) => {
                    (format!("address_{address}"), format!("the address {address}"))
                }
            };
            asked.push((unique(&asked, id), title, request.report()));
        }
    }
    let summary = finding.verdict.as_ref().map(|verdict| verdict.summary.clone());
    let comment: Vec<String> = summary.into_iter().chain(entry.url()).collect();
    let comment = comment.join(" ");
    json!({
        "log": {
            "version": "1.2",
            "creator": { "name": env!("CARGO_PKG_NAME"), "version": env!("CARGO_PKG_VERSION") },
            "pages": asked.iter().map(|(id, title, report)| page(id, title, report)).collect::<Vec<_>>(),
            "entries": asked.iter().flat_map(|(id, _, report)| {
                report.exchanges.iter().map(move |exchange| har_entry(id, report, exchange))
            }).collect::<Vec<_>>(),
            "comment": comment,
        }
    })
}

/// An identifier that no page has yet. Repeated requests and members of a pool share a name.
fn unique(asked: &[(String, String, &Report)], id: String) -> String {
    let is_taken = |id: &str| asked.iter().any(|(taken, ..)| taken == id);
    let numbered = (2..).map(|number| format!("{id}_{number}"));
    std::iter::once(id.clone())
        .chain(numbered)
        .find(|id| !is_taken(id))
        .unwrap_or(id)
}

fn page(id: &str, title: &str, report: &Report) -> Value {
    json!({
        "id": id,
        "title": title,
        "startedDateTime": rfc3339(report.began),
        "pageTimings": { "onLoad": millis(report.took) },
        "comment": report.fault.as_ref().map_or("", |fault| fault.detail.as_str()),
    })
}

fn har_entry(page: &str, report: &Report, exchange: &Exchange) -> Value {
    let begun = exchange
        .stage_log
        .timings()
        .first()
        .map_or(Duration::ZERO, glassbox_verdict::stage_log::StageTiming::begun);
    let timings = timings(exchange);
    let mut har_entry = json!({
        "pageref": page,
        "startedDateTime": rfc3339(report.began + begun),
        "time": total(&timings),
        "request": {
            "method": exchange.method.as_deref().unwrap_or("GET"),
            // The archive requires a valid URI (RFC 3986). A URL with a hidden query is not one.
            "url": exchange.url.replace('…', "%E2%80%A6"),
            "httpVersion": exchange.reply.as_ref().map_or("HTTP/1.1", |reply| reply.version),
            "cookies": [],
            "headers": [],
            "queryString": [],
            "headersSize": -1,
            "bodySize": -1,
            "comment": "Request headers are omitted because they may contain secrets.",
        },
        "response": response(exchange),
        "cache": {},
        "timings": timings,
    });
    if let Some(peer) = exchange.peer {
        har_entry["serverIPAddress"] = json!(peer.ip().to_string());
        har_entry["connection"] = json!(peer.port().to_string());
    }
    har_entry
}

/// The status of an exchange without a response is 0, as in browsers.
fn response(exchange: &Exchange) -> Value {
    let none = Reply::default();
    let reply = exchange.reply.as_ref().unwrap_or(&none);
    let usual = http::StatusCode::from_u16(reply.status)
        .ok()
        .and_then(|code| code.canonical_reason());
    let header = |name: &str| {
        let value = reply
            .headers
            .get(name)
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        value.unwrap_or_default()
    };
    json!({
        "status": reply.status,
        "statusText": reply.reason_phrase.as_deref().or(usual).unwrap_or_default(),
        "httpVersion": if reply.version.is_empty() { "unknown" } else { reply.version },
        "cookies": [],
        "headers": reply.headers.iter().map(|(name, value)| json!({
            "name": name.as_str(),
            "value": shown_value(name, value),
        })).collect::<Vec<_>>(),
        "content": { "size": reply.body_length, "mimeType": header("content-type") },
        // The next entry shows the destination. The field itself may contain secrets.
        "redirectURL": "",
        "headersSize": -1,
        "bodySize": -1,
        "comment": comment(exchange),
    })
}

/// The failure, and notes on the precision of the figures.
fn comment(exchange: &Exchange) -> String {
    let failed = exchange
        .stage_log
        .timings()
        .last()
        .and_then(glassbox_verdict::stage_log::StageTiming::failed);
    let failed = failed.map(|reason| reason.meaning().to_owned());
    failed.into_iter().chain(notes(exchange)).collect::<Vec<_>>().join(" ")
}

/// The phases of an exchange. In this format, `connect` includes the TLS handshake; `ssl` is the handshake alone.
fn timings(exchange: &Exchange) -> Value {
    let reached = |stage: Stage| {
        exchange
            .stage_log
            .timings()
            .iter()
            .any(|timing| timing.stage() == stage)
    };
    let time = |stage: Stage| {
        if reached(stage) {
            millis(exchange.time_in(stage))
        } else {
            -1.0
        }
    };
    let connect = if reached(Stage::Connect) {
        millis(exchange.time_in(Stage::Connect) + exchange.time_in(Stage::Secure))
    } else {
        -1.0
    };
    // The format requires non-negative numbers for these three.
    let at_least = |stage: Stage| millis(exchange.time_in(stage));
    json!({
        "blocked": -1,
        "dns": time(Stage::Resolve),
        "connect": connect,
        "ssl": time(Stage::Secure),
        "send": at_least(Stage::Send),
        "wait": at_least(Stage::Wait),
        "receive": at_least(Stage::Receive),
    })
}

fn total(timings: &Value) -> f64 {
    let parts = ["dns", "connect", "send", "wait", "receive"];
    parts
        .iter()
        .filter_map(|part| timings[part].as_f64())
        .filter(|time| *time > 0.0)
        .sum()
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
