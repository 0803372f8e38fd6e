//! The landing page: every target with its latest probes, failing ones first, and a form to probe now.

use super::Shared;
use super::probe::Query;
use crate::exposition::keys::{self, View};
use crate::utc::rfc3339;
use axum::extract::RawQuery;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use maud::{DOCTYPE, Markup, html};
use std::collections::HashSet;
use std::time::{Instant, SystemTime};

/// The page.
pub(super) async fn page(app: Shared, RawQuery(query): RawQuery) -> Response {
    let query = Query::new(query.as_deref());
    let search = query.get("search").unwrap_or_default().trim();
    let config = app.patrol.config();
    let prefix = &app.settings.link_prefix;
    let kept = app.patrol.history().newest_first().into_iter();
    let kept: HashSet<_> = kept.map(|entry| entry.id).collect();
    let view = View {
        search,
        from: query.get("from").and_then(|from| from.parse().ok()).unwrap_or(0),
        prefix,
        now: Instant::now(),
    };
    let table = keys::table(app.patrol.keys(), &view, |id| kept.contains(&id));
    let read = rfc3339(SystemTime::now());
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "glassbox_exporter" }
                link rel="stylesheet" href={ (prefix) "/style.css" };
                script src={ (prefix) "/refresh.js" } defer {}
            }
            body {
                header {
                    h1.brand { "glassbox_exporter" }
                    nav aria-label="Pages" {
                        a href={ (prefix) "/metrics" } { "Metrics" } " "
                        a href={ (prefix) "/config" } { "Configuration" } " "
                        a href={ (prefix) "/-/ready" } { "Ready?" }
                    }
                }
                main {
                    (form(prefix, &config.module_names()))
                    (search_form(prefix, search))
                    div #keys data-read=(read) {
                        (table)
                        p #read.legend { "Read at " time { (read) } "." }
                    }
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

const SCRIPT: [(axum::http::HeaderName, &str); 1] = [(CONTENT_TYPE, "text/javascript; charset=utf-8")];

/// What copies texts on the pages. They can be read without it.
pub(super) async fn copy_script() -> Response {
    (SCRIPT, include_str!("copy.js")).into_response()
}

/// What reads the table anew now and then. Without it, the page stands still.
pub(super) async fn refresh_script() -> Response {
    (SCRIPT, include_str!("refresh.js")).into_response()
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
            input type="hidden" name="show" value="evidence";
            button { "Probe" }
        }
    }
}

fn search_form(prefix: &str, search: &str) -> Markup {
    html! {
        form action={ (prefix) "/" } role="search" {
            label for="search" { "Show" }
            input #search type="search" name="search" value=(search) placeholder="part of a target or module";
            button { "Search" }
        }
    }
}
