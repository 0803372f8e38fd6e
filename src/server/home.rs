//! The landing page: the latest probes, failing ones first, and a form to probe now.

use super::Shared;
use crate::history::Entry;
use crate::utc::to_the_second;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use maud::{DOCTYPE, Markup, html};

const SHOWN: usize = 200;

/// The page.
pub(super) async fn page(app: Shared) -> Response {
    let mut entries = app.patrol.history().newest_first();
    entries.sort_by_key(|entry| entry.finding.verdict.is_none());
    entries.truncate(SHOWN);
    let config = app.patrol.config();
    let prefix = &app.settings.route_prefix;
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "glassbox_exporter" }
                link rel="stylesheet" href={ (prefix) "/style.css" };
            }
            body {
                header {
                    h1 { "glassbox_exporter" }
                    nav {
                        a href={ (prefix) "/metrics" } { "Metrics" } " "
                        a href={ (prefix) "/config" } { "Configuration" } " "
                        a href={ (prefix) "/-/ready" } { "Ready?" }
                    }
                }
                main {
                    (form(prefix, &config.module_names()))
                    (table(prefix, &entries))
                }
            }
        }
    };
    super::page(page.into_string())
}

/// The style sheet of all pages.
pub(super) async fn style() -> Response {
    ([(CONTENT_TYPE, "text/css; charset=utf-8")], include_str!("style.css")).into_response()
}

/// What copies texts on the pages. They can be read without it.
pub(super) async fn script() -> Response {
    (
        [(CONTENT_TYPE, "text/javascript; charset=utf-8")],
        include_str!("copy.js"),
    )
        .into_response()
}

fn form(prefix: &str, modules: &[&str]) -> Markup {
    html! {
        form action={ (prefix) "/probe" } {
            label for="target" { "Probe now" }
            input #target name="target" required placeholder="https://example.org/";
            label for="module" { "Module" }
            select #module name="module" {
                @for module in modules { option { (module) } }
            }
            input type="hidden" name="debug" value="true";
            button { "Probe" }
        }
    }
}

fn table(prefix: &str, entries: &[Entry]) -> Markup {
    html! {
        @if entries.is_empty() {
            p { "Nothing has been probed yet. Use the form, or let Prometheus scrape " code { "/probe?target=…&module=…" } "." }
        } @else {
            table {
                caption { "The latest probes, failing ones first" }
                thead { tr { th { "Time" } th { "Module" } th { "Target" } th { "Result" } th { "Seconds" } th { "Evidence" } } }
                tbody { @for entry in entries { (row(prefix, entry)) } }
            }
        }
    }
}

fn row(prefix: &str, entry: &Entry) -> Markup {
    let finding = &entry.finding;
    html! {
        tr {
            td { (to_the_second(finding.report.began)) }
            td { (finding.module.name) }
            td.target { (finding.aim.target.to_string()) }
            @match &finding.verdict {
                None => td.ok { "success" },
                Some(verdict) => td.failed title=(verdict.sentence) {
                    @if verdict.masked { "masked: " }
                    strong { (verdict.link.as_str()) } " " (verdict.reason.as_str()) " in " (verdict.stage.phase())
                },
            }
            td.number { (format!("{:.3}", finding.report.took.as_secs_f64())) }
            td {
                a href={ (prefix) "/evidence/" (entry.id) } { "Page" } " "
                a href={ (prefix) "/evidence/" (entry.id) ".json" } { "JSON" } " "
                a href={ (prefix) "/evidence/" (entry.id) ".har" } { "HAR" } " "
                a href={ (prefix) "/logs?id=" (entry.id) } { "Logs" }
            }
        }
    }
}
