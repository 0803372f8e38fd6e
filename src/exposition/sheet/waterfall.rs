//! The laps of the front and of everybody who was asked beside it, on one time axis.

use crate::ledger::Lap;
use crate::probe::Finding;
use crate::report::Report;
use maud::{Markup, html};
use std::time::Duration;

/// Units of a bar's drawing.
const WIDTH: f64 = 1000.0;

/// Milliseconds as people read them.
pub(super) fn millis(duration: Duration) -> String {
    let millis = duration.as_secs_f64() * 1000.0;
    if millis < 10.0 {
        format!("{millis:.2}")
    } else {
        format!("{millis:.0}")
    }
}

/// Who was asked, and how long after the front was.
struct Asked<'a> {
    who: String,
    report: &'a Report,
    after: Duration,
}

/// All laps, one row each.
pub(super) fn table(finding: &Finding) -> Markup {
    let asked = all(finding);
    let ends = asked.iter().map(|asked| asked.after + asked.report.took);
    let whole = ends.max().unwrap_or_default();
    html! {
        section aria-labelledby="times" {
            h2 #times { "Where the time went" }
            table.waterfall {
                thead { tr { th scope="col" { "Phase" } th scope="col" { "ms" } th scope="col" { "0 to " (millis(whole)) " ms" } } }
                @for asked in &asked {
                    tbody {
                        tr { th.who colspan="3" scope="rowgroup" { bdi { (asked.who) } } }
                        @for lap in asked.report.laps() { (row(lap, asked.after, whole)) }
                    }
                }
            }
        }
    }
}

fn all(finding: &Finding) -> Vec<Asked<'_>> {
    let front = &finding.report;
    let since = |report: &Report| report.began.duration_since(front.began).unwrap_or_default();
    let mut asked = vec![Asked {
        who: "The front".to_owned(),
        report: front,
        after: Duration::ZERO,
    }];
    let Some(investigation) = &finding.investigation else {
        return asked;
    };
    let mut put = |who: String, report| {
        asked.push(Asked {
            who,
            report,
            after: since(report),
        });
    };
    for drilled in &investigation.hops {
        put(
            format!("{} at {}, directly", drilled.hop.name, drilled.hop),
            &drilled.report,
        );
    }
    for (who, report) in [
        ("The front, past its caches", &investigation.bypass),
        ("The front, over HTTP/1.1", &investigation.again),
        ("The front, with what every gateway refuses", &investigation.reference),
        ("A handshake with the front", &investigation.handshake),
    ] {
        if let Some(report) = report {
            put(who.to_owned(), report);
        }
    }
    for (address, report) in &investigation.addresses {
        put(format!("The front at {address}"), report);
    }
    asked
}

fn row(lap: &Lap, after: Duration, whole: Duration) -> Markup {
    let place = |at: Duration| at.as_secs_f64() / whole.as_secs_f64().max(f64::MIN_POSITIVE) * WIDTH;
    let begun = place(after + lap.begun()).min(WIDTH);
    // What took next to nothing is still to be seen.
    let width = place(lap.took()).clamp(2.0, WIDTH);
    let phase = lap.stage().phase();
    let failed = if lap.finished() { "" } else { " failed" };
    html! {
        tr {
            th scope="row" { (phase) }
            td.number { (millis(lap.took())) }
            td.bar {
                svg viewBox={ "0 0 " (WIDTH) " 10" } preserveAspectRatio="none" aria-hidden="true" {
                    rect class={ "lap " (phase) (failed) } x=(format!("{:.1}", begun.min(WIDTH - width))) y="0" width=(format!("{width:.1}")) height="10" {}
                }
                @if let Some(reason) = lap.failed() { span.failed { (reason.as_str()) } }
            }
        }
    }
}
