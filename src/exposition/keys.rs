//! All keys at a glance, one row each: how the latest probes went, how good it is, where the time goes, what is wrong now.

use crate::chain::Stage;
use crate::evidence_id::EvidenceId;
use crate::memory::Outcome;
use crate::probe::Finding;
use crate::series::{Kept, Key};
use maud::{Markup, html};
use std::sync::Arc;

/// Rows on one page; more are found by search.
const SHOWN: usize = 1000;

/// One key, as the page shows it.
struct Row {
    key: Key,
    recent: Vec<Outcome>,
    latest: Option<EvidenceId>,
    attempts: (u64, u64),
    phases: Vec<(&'static str, f64, f64)>,
}

impl Row {
    fn of((key, kept): (Key, Arc<Kept>)) -> Self {
        let (recent, latest) = {
            let memory = kept.memory();
            (memory.recent.iter().copied().collect(), memory.latest)
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

    fn now(&self) -> Option<&Outcome> {
        self.recent.last()
    }

    /// Failing ones first, then those that hide something, then those that failed lately.
    fn urgency(&self) -> u8 {
        match self.now() {
            Some(Outcome {
                link: Some(_),
                masked: false,
            }) => 0,
            Some(Outcome { link: Some(_), .. }) => 1,
            _ if self.recent.iter().any(|outcome| outcome.link.is_some()) => 2,
            _ => 3,
        }
    }
}

/// The table of the keys whose module or target holds `search`. `kept` gives a probe that is still there.
pub fn table(
    keys: Vec<(Key, Arc<Kept>)>,
    search: &str,
    prefix: &str,
    kept: impl Fn(EvidenceId) -> Option<Arc<Finding>>,
) -> Markup {
    let wanted = |key: &Key| key.module().contains(search) || key.target().to_string().contains(search);
    let mut rows: Vec<_> = keys.into_iter().filter(|(key, _)| wanted(key)).map(Row::of).collect();
    rows.sort_by_cached_key(|row| (row.urgency(), row.key.target().to_string(), row.key.module().to_owned()));
    let found = rows.len();
    let failing = rows.iter().filter(|row| row.urgency() == 0).count();
    rows.truncate(SHOWN);
    html! {
        @if found == 0 {
            p #keys {
                @if search.is_empty() {
                    "Nothing has been probed yet. Use the form, or let Prometheus scrape " code { "/probe?target=…&module=…" } "."
                } @else { "No target or module has " q { (search) } " in it." }
            }
        } @else {
            table #keys.keys {
                caption { (found) " targets, " @if failing == 0 { "none of them failing" } @else { strong.failed { (failing) " failing" } } }
                thead { tr {
                    th scope="col" { "Target" }
                    th scope="col" { "Now" }
                    th scope="col" { "Latest probes" }
                    th scope="col" { "Good" }
                    th scope="col" { "Median by phase" }
                } }
                tbody { @for row in &rows { (shown(row, prefix, &kept)) } }
            }
            p.legend { @for stage in Stage::ALL { (swatch(stage.phase())) " " } }
            @if found > rows.len() { p { "The first " (rows.len()) " are shown. Search for the others." } }
        }
    }
}

/// What a colour stands for.
fn swatch(phase: &str) -> Markup {
    html! {
        svg width="12" height="12" aria-hidden="true" { rect class={ "lap " (phase) } width="12" height="12" {} }
        " " (phase)
    }
}

fn shown(row: &Row, prefix: &str, kept: &impl Fn(EvidenceId) -> Option<Arc<Finding>>) -> Markup {
    let target = row.key.target().to_string();
    let distinction = row.key.distinction();
    html! {
        tr {
            td.target {
                bdi { (target) }
                small { " " (row.key.module()) @if !distinction.is_empty() { ", " bdi { (distinction) } } }
            }
            (now(row, prefix, kept))
            td { (strip(&row.recent)) }
            td.number { (share(row.attempts)) small { " of " (row.attempts.0) } }
            td { (phases(&row.phases)) }
        }
    }
}

fn now(row: &Row, prefix: &str, kept: &impl Fn(EvidenceId) -> Option<Arc<Finding>>) -> Markup {
    let kept = row.latest.and_then(|id| Some((id, kept(id)?)));
    let verdict = kept.as_ref().and_then(|(_, finding)| finding.verdict.as_ref());
    let (class, word) = match row.now() {
        None => ("ok", "not probed"),
        Some(Outcome { link: None, .. }) => ("ok", "well"),
        Some(Outcome { link: Some(link), .. }) => ("failed", link.as_str()),
    };
    html! {
        td class=(class) {
            @if row.now().is_some_and(|outcome| outcome.masked) { "masked: " }
            @match &kept {
                Some((id, _)) => a href={ (prefix) "/evidence/" (id) } { strong { (word) } },
                None => strong { (word) },
            }
            @if let Some(verdict) = verdict { " " (verdict.reason.as_str()) }
        }
    }
}

/// One mark for each of the latest probes, the newest at the right.
fn strip(recent: &[Outcome]) -> Markup {
    let failed = recent.iter().filter(|outcome| outcome.link.is_some()).count();
    let width = recent.len() * 5;
    html! {
        svg.strip width=(width) height="16" viewBox={ "0 0 " (width) " 16" } role="img"
            aria-label={ (failed) " of the latest " (recent.len()) " probes did not go well" } {
            @for (place, outcome) in recent.iter().enumerate() {
                rect class={ "mark " (outcome.link.map_or("well", |link| link.as_str())) } x=(place * 5) y="0" width="4" height="16" {
                    @if let Some(link) = outcome.link { title { (link.as_str()) } }
                }
            }
        }
    }
}

fn share((all, good): (u64, u64)) -> String {
    #[allow(clippy::cast_precision_loss, reason = "a share for people")]
    let percent = if all == 0 {
        0.0
    } else {
        good as f64 * 100.0 / all as f64
    };
    // Never 100 where one failed.
    if good < all && percent > 99.99 {
        "99.99 %".to_owned()
    } else if good == all {
        "100 %".to_owned()
    } else {
        format!("{percent:.2} %")
    }
}

/// The medians side by side as one bar, and in words.
fn phases(phases: &[(&'static str, f64, f64)]) -> Markup {
    const WIDTH: f64 = 120.0;
    let whole: f64 = phases.iter().map(|(_, median, _)| median).sum();
    let mut at = 0.0;
    let bars: Vec<_> = phases
        .iter()
        .map(|(phase, median, _)| {
            let width = median / whole.max(f64::MIN_POSITIVE) * WIDTH;
            at += width;
            (*phase, at - width, width)
        })
        .collect();
    let words: Vec<_> = phases
        .iter()
        .map(|(phase, median, high)| format!("{phase} {} / {} ms", millis(*median), millis(*high)))
        .collect();
    let words = words.join(", ");
    html! {
        @if !phases.is_empty() {
            svg.stack width=(WIDTH) height="12" role="img" aria-label=(words) {
                title { (words) }
                @for (phase, at, width) in bars {
                    rect class={ "lap " (phase) } x=(format!("{at:.1}")) y="0" width=(format!("{width:.1}")) height="12" {}
                }
            }
            small { " " (millis(whole)) " ms" }
        }
    }
}

fn millis(seconds: f64) -> String {
    let millis = seconds * 1000.0;
    if millis < 10.0 {
        format!("{millis:.2}")
    } else {
        format!("{millis:.0}")
    }
}

#[cfg(test)]
mod tests {
    use super::share;

    #[test]
    fn one_failure_is_never_rounded_away() {
        assert_eq!(share((0, 0)), "100 %");
        assert_eq!(share((3, 3)), "100 %");
        assert_eq!(share((1_000_000, 999_999)), "99.99 %");
        assert_eq!(share((3, 2)), "66.67 %");
        assert_eq!(share((5, 0)), "0.00 %");
    }
}
