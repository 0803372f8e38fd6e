//! The table of all targets, one row each: latest probes, success ratio, phase durations and current fault.

use super::durations::words;
use crate::series::{KeyState, SeriesKey};
use crate::target_state::LatestProbe;
use crate::timeline::ProbeMark;
use glassbox_probe::evidence_id::EvidenceId;
use glassbox_verdict::chain::{Link, Stage};
use maud::{Markup, html};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Rows per page.
const SHOWN: usize = 1000;

/// Age after which a probe no longer indicates its target's current state.
const OLD: Duration = Duration::from_mins(5);

/// The query for the table.
#[derive(Clone, Copy, Debug)]
pub struct TableQuery<'a> {
    /// Part of a module or target name, case-insensitive.
    pub search: &'a str,
    /// The first row to show, from 0.
    pub from: usize,
    /// The prefix of links.
    pub prefix: &'a str,
    /// The current time.
    pub now: Instant,
}

/// Width of the stacked bars of the phases, in pixels.
const STACK: f64 = 130.0;

/// One key, as shown on the page.
struct Row {
    key: Arc<SeriesKey>,
    recent: Vec<ProbeMark>,
    latest: Option<LatestProbe>,
    attempts: (u64, u64),
    phases: Vec<(&'static str, f64, f64)>,
}

impl Row {
    fn of((key, kept): (Arc<SeriesKey>, Arc<KeyState>)) -> Self {
        let (recent, latest) = {
            let memory = kept.target_state();
            (memory.recent.clone(), memory.latest)
        };
        let series = kept.series();
        Self {
            recent,
            latest,
            attempts: series.attempts(),
            phases: series.phases(),
            key,
        }
    }

    fn now(&self) -> Option<&ProbeMark> {
        self.recent.last()
    }

    /// Order: failing keys, then masked failures, then recent failures.
    fn urgency(&self) -> u8 {
        match self.now() {
            Some(ProbeMark {
                link: Some(_),
                masked: false,
                ..
            }) => 0,
            Some(ProbeMark { link: Some(_), .. }) => 1,
            _ if self.recent.iter().any(|outcome| outcome.link.is_some()) => 2,
            _ => 3,
        }
    }
}

/// The table of the matching keys. `kept` returns whether a probe's evidence is still available.
pub fn table(
    keys: Vec<(Arc<SeriesKey>, Arc<KeyState>)>,
    view: &TableQuery<'_>,
    kept: impl Fn(EvidenceId) -> bool,
) -> Markup {
    let search = view.search.to_lowercase();
    let has = |text: &str| text.to_lowercase().contains(&search);
    let wanted = |key: &SeriesKey| has(key.module()) || has(&key.target().to_string());
    let mut rows: Vec<_> = keys.into_iter().filter(|(key, _)| wanted(key)).map(Row::of).collect();
    rows.sort_by_cached_key(|row| (row.urgency(), row.key.target().to_string(), row.key.module().to_owned()));
    let found = rows.len();
    let failing = rows.iter().filter(|row| row.urgency() == 0).count();
    let end = view.from.saturating_add(SHOWN).min(found);
    let names: Vec<_> = rows
        .iter()
        .map(|row| (row.key.target().to_string(), row.key.module()))
        .collect();
    let alike: Vec<_> = (0..found)
        .map(|place| {
            let next_to = [place.checked_sub(1), Some(place + 1)];
            next_to
                .into_iter()
                .flatten()
                .any(|other| names.get(other) == Some(&names[place]))
        })
        .collect();
    html! {
        @if found == 0 {
            p {
                @if view.search.is_empty() {
                    "Nothing has been probed yet. Use the form, or let Prometheus scrape " code { "/probe?target=…&module=…" } "."
                } @else { "No target or module name contains " q { (view.search) } "." }
            }
        } @else {
            table.keys {
                caption { (found) " targets, " @if failing == 0 { "none failing" } @else { strong.failed { (failing) " failing" } } }
                thead { tr {
                    th scope="col" { "Target" }
                    th scope="col" { "Status" }
                    th scope="col" { "Latest probes" }
                    th scope="col" { "Success" }
                    th scope="col" { "p50 / p95 by phase" }
                } }
                tbody { @for place in view.from.min(end)..end { (shown(&rows[place], alike[place], view, &kept)) } }
            }
            p.legend { "Probes: " (swatch("mark", "healthy")) @for link in Link::ALL { (swatch("mark", link.as_str())) } }
            p.legend { "Phases: " @for stage in Stage::ALL { (swatch("phase-bar", stage.phase())) } }
            @if found > SHOWN { (pages(found, end, view)) }
        }
    }
}

/// The legend of one colour.
fn swatch(kind: &str, name: &str) -> Markup {
    html! {
        span { svg width="12" height="12" aria-hidden="true" { rect class={ (kind) " " (name) } width="12" height="12" {} } " " (name) }
    }
}

/// The links to the other rows.
fn pages(found: usize, end: usize, view: &TableQuery<'_>) -> Markup {
    let search: String = url::form_urlencoded::byte_serialize(view.search.as_bytes()).collect();
    let at = |from: usize| format!("{}/?search={search}&from={from}", view.prefix);
    html! {
        nav aria-label="Rows" {
            "Rows " (view.from.min(end) + 1) " to " (end) " of " (found) ". "
            @if view.from > 0 { a href=(at(view.from.saturating_sub(SHOWN))) rel="prev" { "Previous" } " " }
            @if end < found { a href=(at(end)) rel="next" { "Next" } }
        }
    }
}

fn shown(row: &Row, alike: bool, view: &TableQuery<'_>, kept: &impl Fn(EvidenceId) -> bool) -> Markup {
    let target = row.key.target().to_string();
    let distinction = row.key.distinction();
    html! {
        tr {
            td.target {
                bdi { (target) }
                small {
                    " " (row.key.module())
                    @if !distinction.is_empty() { ", " bdi { (distinction) } }
                    // The targets differ in a part that is hidden, such as the query.
                    @if alike { ", " code title="Distinguishes targets that look the same" { "#" (format!("{:04x}", row.key.mark())) } }
                }
            }
            (now(row, view, kept))
            td { (strip(&row.recent)) }
            td.number { (share(row.attempts)) small { " of " (row.attempts.0) } }
            td { (phases(&row.phases)) }
        }
    }
}

fn now(row: &Row, view: &TableQuery<'_>, kept: &impl Fn(EvidenceId) -> bool) -> Markup {
    let evidence = row.latest.map(|latest| latest.evidence).filter(|id| kept(*id));
    let reason = row.latest.and_then(|latest| latest.reason);
    let age = row.latest.map(|latest| view.now.saturating_duration_since(latest.at));
    let (class, word) = match row.now() {
        None => ("unseen", "not probed"),
        Some(ProbeMark { link: None, .. }) => ("ok", "healthy"),
        Some(outcome @ ProbeMark { link: Some(link), .. }) => {
            (if outcome.masked { "suspect" } else { "failed" }, link.as_str())
        }
    };
    html! {
        td class={ "verdict " (class) } {
            @if row.now().is_some_and(|outcome| outcome.masked) { "masked: " }
            @match evidence {
                Some(id) => a href={ (view.prefix) "/evidence/" (id) } { strong { (word) } },
                None => strong { (word) },
            }
            @if let Some(reason) = reason { " " (reason.as_str()) }
            @if let Some(age) = age { small.suspect[age > OLD] { " " (ago(age)) } }
        }
    }
}

/// Age in the most significant unit.
fn ago(age: Duration) -> String {
    match age.as_secs() {
        seconds @ 0..60 => format!("{seconds} s ago"),
        seconds @ 60..3600 => format!("{} min ago", seconds / 60),
        seconds => format!("{} h ago", seconds / 3600),
    }
}

/// One mark for each of the latest probes, the newest on the right. Masked failures have half
/// the height.
fn strip(recent: &[ProbeMark]) -> Markup {
    let failed = recent.iter().filter(|outcome| outcome.link.is_some()).count();
    let width = recent.len() * 5;
    let mut place = 0;
    // Equal neighbours share one element, which keeps pages of a thousand keys small.
    let runs = recent
        .chunk_by(|one, next| (one.link, one.masked) == (next.link, next.masked))
        .map(|run| {
            place += run.len();
            (run[0], place - run.len()..place)
        });
    html! {
        svg.strip width=(width) height="16" viewBox={ "0 0 " (width) " 16" } role="img"
            aria-label={ (failed) " of the latest " (recent.len()) " probes failed or were masked" } {
            @for (outcome, places) in runs {
                path class={ "mark " (outcome.link.map_or("healthy", Link::as_str)) } d=(marks(places, outcome.masked)) {
                    @if let Some(link) = outcome.link { title { @if outcome.masked { "masked: " } (link.as_str()) } }
                }
            }
        }
    }
}

fn marks(places: Range<usize>, half: bool) -> String {
    let y = if half { 8 } else { 0 };
    let marks: Vec<_> = places.map(|place| format!("M{} {y}h4V16h-4z", place * 5)).collect();
    marks.concat()
}

fn share((all, good): (u64, u64)) -> String {
    #[allow(clippy::cast_precision_loss, reason = "the share is only displayed")]
    let percent = good as f64 * 100.0 / all as f64;
    if all == 0 {
        return "–".to_owned();
    }
    // Never 100 if a probe failed.
    if good < all && percent > 99.99 {
        "99.99 %".to_owned()
    } else if good == all {
        "100 %".to_owned()
    } else {
        format!("{percent:.2} %")
    }
}

/// Phase durations: the medians side by side, and the 95th percentiles below them on the same scale.
fn phases(phases: &[(&'static str, f64, f64)]) -> Markup {
    let row = |of: fn(&(&'static str, f64, f64)) -> f64| phases.iter().map(|phase| (phase.0, of(phase))).collect();
    let rows: [Vec<_>; 2] = [row(|phase| phase.1), row(|phase| phase.2)];
    let [median, high] = rows
        .each_ref()
        .map(|row| row.iter().map(|(_, seconds)| seconds).sum::<f64>());
    let said = phases
        .iter()
        .map(|(phase, median, high)| format!("{phase} {}, {}", time(*median), time(*high)));
    let said = format!("Median and 95th percentile: {}", said.collect::<Vec<_>>().join("; "));
    html! {
        @if !phases.is_empty() {
            svg.stack width=(STACK) height="14" role="img" aria-label=(said) {
                title { (said) }
                @for (y, row) in [0, 8].into_iter().zip(&rows) { (stacked(row, y, STACK / high.max(f64::MIN_POSITIVE))) }
            }
            small { (time(median)) " / " (time(high)) }
        }
    }
}

/// The phases of one row, in order.
fn stacked(row: &[(&'static str, f64)], y: u32, scale: f64) -> Markup {
    let mut at = 0.0;
    let bars = row.iter().map(|(phase, seconds)| {
        let (x, width) = (at, seconds * scale);
        at += width;
        html! { rect class={ "phase-bar " (phase) } x=(format!("{x:.1}")) y=(y) width=(format!("{width:.1}")) height="6" {} }
    });
    html! { @for bar in bars { (bar) } }
}

fn time(seconds: f64) -> String {
    words(Duration::try_from_secs_f64(seconds).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::{ago, marks, share};
    use std::time::Duration;

    #[test]
    fn an_age_has_the_unit_that_matters() {
        for (seconds, words) in [(0, "0 s ago"), (59, "59 s ago"), (60, "1 min ago"), (7300, "2 h ago")] {
            assert_eq!(ago(Duration::from_secs(seconds)), words);
        }
    }

    #[test]
    fn one_failure_is_never_rounded_away() {
        assert_eq!(share((0, 0)), "–");
        assert_eq!(share((3, 3)), "100 %");
        assert_eq!(share((1_000_000, 999_999)), "99.99 %");
        assert_eq!(share((3, 2)), "66.67 %");
        assert_eq!(share((5, 0)), "0.00 %");
    }

    #[test]
    fn each_probe_has_its_mark() {
        assert_eq!(marks(0..2, false), "M0 0h4V16h-4zM5 0h4V16h-4z");
        assert_eq!(marks(2..3, true), "M10 8h4V16h-4z");
    }
}
