//! The landing page: all targets with their latest probes, failing ones first, and a form to run a probe.

use super::probe::DEFAULT_MODULE;
use super::query::Query;
use super::{App, Shared};
use crate::exposition::page_head::page_head;
use crate::exposition::target_table::{self, TableQuery};
use axum::extract::{RawQuery, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use glassbox_verdict::utc::rfc3339;
use maud::{DOCTYPE, Markup, html};
use parking_lot::{Mutex, MutexGuard};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::Semaphore;

/// Cache of the last rendered page. Only one page is rendered at a time, because a page with 20,000 keys takes about
/// 100 ms of CPU time.
#[derive(Debug)]
pub(super) struct PageCache {
    turn: Arc<Semaphore>,
    last: Mutex<Option<RenderedPage>>,
}

impl Default for PageCache {
    fn default() -> Self {
        Self {
            turn: Arc::new(Semaphore::new(1)),
            last: Mutex::default(),
        }
    }
}

/// A rendered page, its query, and the time until which it is cached.
#[derive(Debug)]
struct RenderedPage {
    query: Option<String>,
    html: Arc<str>,
    until: Instant,
}

/// Cache time of a page, as a multiple of its rendering time. All requests for one page thus use up to one twentieth of
/// a CPU, and a page that is cheap to render is never old.
const SHOWN_FOR: u32 = 20;

/// Maximum time that a request waits until it may render its page.
const PATIENCE: Duration = Duration::from_secs(10);

impl PageCache {
    fn last(&self) -> MutexGuard<'_, Option<RenderedPage>> {
        // The value is only ever replaced as a whole, so it stays usable after a panic.
        self.last.lock()
    }

    fn shown(&self, query: Option<&str>) -> Option<Arc<str>> {
        let last = self.last();
        let made = last.as_ref()?;
        (made.query.as_deref() == query && Instant::now() < made.until).then(|| made.html.clone())
    }
}

/// Returns the landing page. Pages are rendered outside the workers, one at a time, so that no probe waits for them.
pub(super) async fn page(State(app): Shared, RawQuery(query): RawQuery) -> Response {
    let pages = &app.pages;
    if let Some(html) = pages.shown(query.as_deref()) {
        return super::page(html.to_string());
    }
    let Ok(Ok(turn)) = tokio::time::timeout(PATIENCE, pages.turn.clone().acquire_owned()).await else {
        return super::unavailable("Other pages are being rendered; retry.");
    };
    // Another request may have rendered the same page in the meantime.
    if let Some(html) = pages.shown(query.as_deref()) {
        return super::page(html.to_string());
    }
    let app = app.clone();
    let making = tokio::task::spawn_blocking(move || {
        let begun = Instant::now();
        let html: Arc<str> = made(&app, query.as_deref()).into();
        let took = begun.elapsed();
        *app.pages.last() = Some(RenderedPage {
            query,
            html: html.clone(),
            until: Instant::now() + took * SHOWN_FOR,
        });
        (html, took)
    });
    match making.await {
        Ok((html, took)) => {
            // Pause as long as the rendering took, so that different pages use up to half of a CPU.
            let _resting = tokio::spawn(async move {
                tokio::time::sleep(took).await;
                drop(turn);
            });
            super::page(html.to_string())
        }
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_ended) => super::unavailable("The exporter is shutting down."),
        },
    }
}

fn made(app: &App, query: Option<&str>) -> String {
    let query = Query::new(query);
    let search = query.get("search").unwrap_or_default().trim();
    let config = app.scheduler.config();
    let prefix = &app.settings.link_prefix;
    let kept = app.scheduler.history().newest_first().into_iter();
    let kept: HashSet<_> = kept.map(|entry| entry.id).collect();
    let view = TableQuery {
        search,
        from: query.get("from").and_then(|from| from.parse().ok()).unwrap_or(0),
        prefix,
        now: Instant::now(),
    };
    let table = target_table::table(app.scheduler.keys(), &view, |id| kept.contains(&id));
    let read = rfc3339(SystemTime::now());
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            (page_head("glassbox_exporter", prefix, Some("refresh.js")))
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
                        p #read { "Updated at " time { (read) } }
                    }
                }
            }
        }
    };
    page.into_string()
}

/// The style sheet of all pages.
pub(super) async fn style() -> Response {
    ([(CONTENT_TYPE, "text/css; charset=utf-8")], include_str!("style.css")).into_response()
}

const SCRIPT: [(axum::http::HeaderName, &str); 1] = [(CONTENT_TYPE, "text/javascript; charset=utf-8")];

/// Script of the copy buttons. The pages work without it.
pub(super) async fn copy_script() -> Response {
    (SCRIPT, include_str!("copy.js")).into_response()
}

/// Script that refreshes the table every ten seconds. Without it, the page does not update.
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
                @for module in modules { option selected[*module == DEFAULT_MODULE] { (module) } }
            }
            input type="hidden" name="show" value="evidence";
            button { "Probe" }
        }
    }
}

fn search_form(prefix: &str, search: &str) -> Markup {
    html! {
        form action={ (prefix) "/" } role="search" {
            label for="search" { "Search" }
            input #search type="search" name="search" value=(search) placeholder="part of a target or module";
            button { "Search" }
        }
    }
}
