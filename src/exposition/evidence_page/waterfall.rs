//! The waterfall chart of the evidence page: the stage timings of the probe and all of its diagnostics on one time
//! axis.

use crate::exposition::durations::words;
use glassbox_probe::diagnostics::Diagnostic;
use glassbox_probe::probe::Finding;
use glassbox_verdict::investigation::{Control, DiagnosticKind, DiagnosticRequest};
use glassbox_verdict::report::{Exchange, Report};
use glassbox_verdict::stage_log::StageTiming;
use maud::{Markup, html};
use std::time::{Duration, SystemTime};

/// Width of the drawing, in units.
const WIDTH: f64 = 1000.0;

/// The stage timings of one request or control, under one heading.
struct WaterfallGroup<'a> {
    who: String,
    timings: Vec<&'a StageTiming>,
    took: Duration,
    /// Time after the start of the request to the edge, or before it as an error. An earlier result that is still valid
    /// is not on the time axis.
    after: Result<Duration, Duration>,
}

impl<'a> WaterfallGroup<'a> {
    fn of(who: String, report: &'a Report, edge: &Report) -> Self {
        Self {
            who,
            timings: report.timings().collect(),
            took: report.took,
            after: since(edge, report.began),
        }
    }

    /// One exchange of the request to the edge. Each redirect is an exchange.
    fn exchange(exchange: &'a Exchange, number: usize, edge: &Report) -> Self {
        let kind = match exchange.for_credentials {
            true => "Request for credentials",
            false if number == 0 => "First request",
            false => "Next request",
        };
        Self {
            who: format!(
                "{kind}: {} {}",
                exchange.method.as_deref().unwrap_or_default(),
                exchange.url
            ),
            timings: exchange.stage_log.timings().iter().collect(),
            took: edge.took,
            after: Ok(Duration::ZERO),
        }
    }

    fn control(control: &'a Control, edge: &Report) -> Self {
        let ends = control.timings.iter().map(|timing| timing.begun() + timing.took());
        Self {
            who: format!("Control: {}", control.what),
            timings: control.timings.iter().collect(),
            took: ends.max().unwrap_or_default(),
            after: since(edge, control.began),
        }
    }
}

/// Time after the start of the request to the edge, or before it as an error.
fn since(edge: &Report, began: SystemTime) -> Result<Duration, Duration> {
    began.duration_since(edge.began).map_err(|before| before.duration())
}

/// All stage timings, one row each.
pub(super) fn table(finding: &Finding) -> Markup {
    let asked = all(finding);
    let ends = asked.iter().filter_map(|asked| Some(asked.after.ok()? + asked.took));
    let whole = ends.max().unwrap_or_default();
    html! {
        section aria-labelledby="times" {
            h2 #times { "Timing" }
            table.waterfall {
                thead { tr { th scope="col" { "Phase" } th.number scope="col" { "Duration" } th scope="col" { "From 0 to " (words(whole)) } } }
                @for asked in &asked {
                    tbody {
                        tr { th.who colspan="3" scope="rowgroup" { bdi { (asked.who) } (earlier(asked)) } }
                        @for timing in &asked.timings { (row(timing, asked.after.ok(), whole)) }
                    }
                }
            }
        }
    }
}

fn all(finding: &Finding) -> Vec<WaterfallGroup<'_>> {
    let edge = &finding.report;
    let mut asked = match edge.exchanges.as_slice() {
        exchanges @ [_, _, ..] => {
            let numbered = exchanges.iter().enumerate();
            numbered
                .map(|(number, exchange)| WaterfallGroup::exchange(exchange, number, edge))
                .collect()
        }
        _ => vec![WaterfallGroup::of("The edge".to_owned(), edge, edge)],
    };
    let results = finding.investigation.iter().flat_map(|found| found.results());
    // The repeated requests are counted with the diagnostics.
    let shown = results.filter(|result| result.kind != DiagnosticKind::Repetition);
    for (title, request) in shown.flat_map(|result| {
        let title = Diagnostic::of(result.kind).title;
        result
            .outcome
            .requests()
            .into_iter()
            .map(move |request| (title, request))
    }) {
        let who = match request {
            DiagnosticRequest::Direct(direct) => format!("{title} to {} at {}", direct.backend.name, direct.backend),
            DiagnosticRequest::Edge(_) => title.to_owned(),
            DiagnosticRequest::Address(address, _) => format!("{title} at {address}"),
        };
        asked.push(WaterfallGroup::of(who, request.report(), edge));
    }
    let controls = finding.vantage.iter().flat_map(|vantage| &vantage.controls);
    asked.extend(controls.map(|control| WaterfallGroup::control(control, edge)));
    asked
}

fn earlier(asked: &WaterfallGroup) -> Markup {
    html! { @if let Err(before) = asked.after { small { " " (words(before)) " before this probe" } } }
}

/// One stage timing, with a bar if it is on the axis.
fn row(timing: &StageTiming, after: Option<Duration>, whole: Duration) -> Markup {
    html! {
        tr {
            th scope="row" { (timing.stage().phase()) }
            td.number { (words(timing.took())) }
            td.bar {
                @if let Some(after) = after { (bar(timing, after, whole)) }
                @if let Some(reason) = timing.failed() { span.failed { (reason.as_str()) } }
            }
        }
    }
}

fn bar(timing: &StageTiming, after: Duration, whole: Duration) -> Markup {
    let place = |at: Duration| at.as_secs_f64() / whole.as_secs_f64().max(f64::MIN_POSITIVE) * WIDTH;
    // Very short stages must stay visible.
    let width = place(timing.took()).clamp(2.0, WIDTH);
    let x = place(after + timing.begun()).min(WIDTH - width);
    let failed = if timing.finished() { "" } else { " failed" };
    html! {
        svg viewBox={ "0 0 " (WIDTH) " 10" } preserveAspectRatio="none" aria-hidden="true" {
            rect class={ "phase-bar " (timing.stage().phase()) (failed) } x=(format!("{x:.1}")) y="0" width=(format!("{width:.1}")) height="10" {}
        }
    }
}
