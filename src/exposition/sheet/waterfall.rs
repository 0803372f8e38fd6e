//! The laps of the front and of everybody who was asked beside it, on one time axis.

use crate::exposition::durations::words;
use crate::investigation::Control;
use crate::ledger::Lap;
use crate::probe::Finding;
use crate::report::Report;
use maud::{Markup, html};
use std::time::{Duration, SystemTime};

/// Units of a bar's drawing.
const WIDTH: f64 = 1000.0;

/// Somebody who was asked, and when.
struct Asked<'a> {
    who: String,
    laps: Vec<&'a Lap>,
    took: Duration,
    /// Since the front was. What was asked for an earlier probe still stands, and has no place on this one's axis.
    after: Result<Duration, Duration>,
}

impl<'a> Asked<'a> {
    fn of(who: String, report: &'a Report, front: &Report) -> Self {
        Self {
            who,
            laps: report.laps().collect(),
            took: report.took,
            after: since(front, report.began),
        }
    }

    fn control(control: &'a Control, front: &Report) -> Self {
        let ends = control.laps.iter().map(|lap| lap.begun() + lap.took());
        Self {
            who: format!("Our own side: {}", control.what),
            laps: control.laps.iter().collect(),
            took: ends.max().unwrap_or_default(),
            after: since(front, control.began),
        }
    }
}

/// How long after the front, or how long before.
fn since(front: &Report, began: SystemTime) -> Result<Duration, Duration> {
    began.duration_since(front.began).map_err(|before| before.duration())
}

/// All laps, one row each.
pub(super) fn table(finding: &Finding) -> Markup {
    let asked = all(finding);
    let ends = asked.iter().filter_map(|asked| Some(asked.after.ok()? + asked.took));
    let whole = ends.max().unwrap_or_default();
    html! {
        section aria-labelledby="times" {
            h2 #times { "Where the time went" }
            table.waterfall {
                thead { tr { th scope="col" { "Phase" } th.number scope="col" { "Took" } th scope="col" { "From 0 to " (words(whole)) } } }
                @for asked in &asked {
                    tbody {
                        tr { th.who colspan="3" scope="rowgroup" { bdi { (asked.who) } (earlier(asked)) } }
                        @for lap in &asked.laps { (row(lap, asked.after.ok(), whole)) }
                    }
                }
            }
        }
    }
}

fn all(finding: &Finding) -> Vec<Asked<'_>> {
    let front = &finding.report;
    let mut asked = vec![Asked::of("The front".to_owned(), front, front)];
    if let Some(investigation) = &finding.investigation {
        let mut put = |who: String, report| asked.push(Asked::of(who, report, front));
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
    }
    let controls = finding.vantage.iter().flat_map(|vantage| &vantage.controls);
    asked.extend(controls.map(|control| Asked::control(control, front)));
    asked
}

fn earlier(asked: &Asked) -> Markup {
    html! { @if let Err(before) = asked.after { small { " " (words(before)) " before this probe" } } }
}

/// One lap; its bar where it has a place on the axis.
fn row(lap: &Lap, after: Option<Duration>, whole: Duration) -> Markup {
    html! {
        tr {
            th scope="row" { (lap.stage().phase()) }
            td.number { (words(lap.took())) }
            td.bar {
                @if let Some(after) = after { (bar(lap, after, whole)) }
                @if let Some(reason) = lap.failed() { span.failed { (reason.as_str()) } }
            }
        }
    }
}

fn bar(lap: &Lap, after: Duration, whole: Duration) -> Markup {
    let place = |at: Duration| at.as_secs_f64() / whole.as_secs_f64().max(f64::MIN_POSITIVE) * WIDTH;
    // What took next to nothing is still to be seen.
    let width = place(lap.took()).clamp(2.0, WIDTH);
    let x = place(after + lap.begun()).min(WIDTH - width);
    let failed = if lap.finished() { "" } else { " failed" };
    html! {
        svg viewBox={ "0 0 " (WIDTH) " 10" } preserveAspectRatio="none" aria-hidden="true" {
            rect class={ "lap " (lap.stage().phase()) (failed) } x=(format!("{x:.1}")) y="0" width=(format!("{width:.1}")) height="10" {}
        }
    }
}
