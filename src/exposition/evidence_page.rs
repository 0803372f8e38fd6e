//! The evidence of one probe as an HTML page: which link broke, and the facts that support the verdict.

mod facts;
mod waterfall;

use super::durations::words;
use super::page_head::page_head;
use super::target_timeline::{self, TargetTimeline};
use super::{chain_view, incident_report, reproduce};
use crate::history::HistoryEntry;
use crate::history::store::StoredEvidence;
use glassbox_probe::diagnostics::experiments;
use glassbox_probe::previous_probes::REUSE;
use glassbox_probe::probe::Finding;
use glassbox_verdict::chain::Link;
use glassbox_verdict::utc::rfc3339;
use glassbox_verdict::verdict::{Certainty, Side, Verdict};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use std::time::Duration;

/// The complete page. `prefix` is added to every path.
#[must_use]
pub fn page(entry: &HistoryEntry, timeline: &TargetTimeline, prefix: &str) -> String {
    let content = content(entry).into_string();
    let page = EvidenceFrame {
        title: &title(entry),
        content: &content,
        timeline,
        log: Log::InMemory,
    };
    page.html(prefix)
}

/// The complete page of a probe whose evidence is stored on disk.
#[must_use]
pub fn stored_page(stored: &StoredEvidence, timeline: &TargetTimeline, prefix: &str) -> String {
    let page = EvidenceFrame {
        title: &stored.documents.title,
        content: &stored.documents.page,
        timeline,
        log: Log::Gone,
    };
    page.html(prefix)
}

/// The title of the page.
pub(super) fn title(entry: &HistoryEntry) -> String {
    let finding = &entry.finding;
    format!("{} - {}", headline(finding.verdict.as_ref()), finding.requested.target)
}

/// Whether the debug log of the probe is available. It is in memory only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Log {
    InMemory,
    Gone,
}

/// The parts of a page.
struct EvidenceFrame<'a> {
    title: &'a str,
    content: &'a str,
    timeline: &'a TargetTimeline,
    log: Log,
}

impl EvidenceFrame<'_> {
    fn html(&self, prefix: &str) -> String {
        let id = self.timeline.this.id;
        // Content that an earlier version of the exporter stored has no place for the timeline.
        let (before, after) = self
            .content
            .split_once(target_timeline::PLACE)
            .unwrap_or((self.content, ""));
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                (page_head(self.title, prefix, Some("copy.js")))
                body {
                    header {
                        p.brand { a href={ (prefix) "/" } { "glassbox_exporter" } }
                        nav aria-label="This probe" {
                            @for (form, name) in [("json", "JSON"), ("har", "HAR")] {
                                a href={ (prefix) "/evidence/" (id) "." (form) } download={ "glassbox-" (id) "." (form) } { (name) } " "
                            }
                            @if self.log == Log::InMemory { a href={ (prefix) "/logs?id=" (id) } { "Log" } }
                        }
                    }
                    main {
                        (PreEscaped(before))
                        (self.timeline.section(prefix))
                        (PreEscaped(after))
                    }
                }
            }
        };
        page.into_string()
    }
}

/// The content of the page. It has no links within the exporter, so that it can be stored.
pub(super) fn content(entry: &HistoryEntry) -> Markup {
    let finding = &entry.finding;
    html! {
        (summary(finding))
        (chain(finding))
        @if let Some(verdict) = &finding.verdict { (reasons(verdict)) }
        (PreEscaped(target_timeline::PLACE))
        (diagnostics(finding))
        (waterfall::table(finding))
        (copies(entry))
        (facts::all(finding))
    }
}

/// The summary: the broken link and a few sentences.
fn summary(finding: &Finding) -> Markup {
    let report = &finding.report;
    let (class, colour) = match &finding.verdict {
        None => ("finding", "ok"),
        Some(verdict) if verdict.masked && verdict.certainty == Certainty::Likely => {
            ("finding suspect likely", "suspect")
        }
        Some(verdict) if verdict.link == Link::Unknown || verdict.masked => ("finding suspect", "suspect"),
        Some(verdict) if verdict.certainty == Certainty::Likely => ("finding broken likely", "failed"),
        Some(_) => ("finding broken", "failed"),
    };
    html! {
        section class=(class) aria-label="The verdict" {
            h1 class=(colour) { (headline(finding.verdict.as_ref())) }
            p {
                bdi { (finding.requested.target) } " with the module " b { (finding.module.name) } " at " time { (rfc3339(report.began)) }
                ", " (words(report.took))
                @if finding.late { ". " b { "The exporter itself was delayed. This time may include its delay." } }
            }
            @if let Some(verdict) = &finding.verdict {
                @if verdict.link != Link::Unknown { (certainty(verdict.certainty)) }
                ul.summary { @for sentence in sentences(&verdict.summary) { li { (sentence) } } }
            }
        }
    }
}

/// The certainty of a verdict, in words that do not depend on colours.
fn certainty(certainty: Certainty) -> Markup {
    let meaning = match certainty {
        Certainty::Certain => "The evidence allows no other explanation.",
        Certainty::Likely => "The evidence also fits another link, but rarely. Verify before you act.",
    };
    html! { p.certainty { strong class=(certainty.as_str()) { (certainty.as_str()) } " " (meaning) } }
}

/// The sentences of a summary.
fn sentences(summary: &str) -> Vec<&str> {
    let mut sentences = Vec::new();
    let mut rest = summary;
    let is_end =
        |(at, _): &(usize, &str), rest: &str| rest[at + 2..].starts_with(|next: char| next.is_ascii_uppercase());
    while let Some((at, _)) = rest.match_indices(". ").find(|found| is_end(found, rest)) {
        sentences.push(&rest[..=at]);
        rest = &rest[at + 2..];
    }
    sentences.push(rest);
    sentences
}

fn headline(verdict: Option<&Verdict>) -> String {
    match verdict {
        None => "All links are healthy".to_owned(),
        Some(verdict) if verdict.masked => {
            format!(
                "A successful response hides a broken link: {}",
                chain_view::place(verdict)
            )
        }
        Some(verdict) if verdict.link == Link::Unknown => format!("Failed: {}", chain_view::name(verdict.link)),
        Some(verdict) if verdict.certainty == Certainty::Certain => {
            format!("Broken: {}", chain_view::place(verdict))
        }
        Some(verdict) => format!("Most likely broken: {}", chain_view::place(verdict)),
    }
}

/// The diagram of the chain.
fn chain(finding: &Finding) -> Markup {
    html! {
        ol.chain aria-label="The chain, from the exporter to the application" {
            @for mark in chain_view::marks(finding) {
                li class=(mark.state.class()) {
                    span.name { (chain_view::short_name(mark.link)) }
                    span.state { (mark.state.word()) }
                    @if let Some(note) = &mark.note { span.note { bdi { (note) } } }
                }
            }
        }
    }
}

/// The reasons for the verdict, as facts that a person can verify.
fn reasons(verdict: &Verdict) -> Markup {
    html! {
        dl.why {
            dt { "Reason" }
            dd { code { (verdict.reason.as_str()) } ": " (verdict.reason.meaning()) }
            @if verdict.reasons.len() > 1 {
                dt { "Most likely reasons" }
                dd { @for reason in &verdict.reasons { code { (reason.as_str()) } " " } }
            }
            dt { "Certainty" }
            dd {
                @if verdict.link == Link::Unknown { "not decided" } @else { (verdict.certainty.as_str()) }
                ", by the rule " code { (verdict.rule.as_str()) }
            }
            @if let Some(product) = verdict.answered_by {
                dt { "Answered by" }
                dd { (product) }
            }
            @if let Some(side) = verdict.side {
                dt { "Side" }
                dd {
                    @match side {
                        Side::Gateway => "gateway: its backend responds to a direct request",
                        Side::Origin => "origin: the backend also fails on a direct request",
                    }
                }
            }
        }
    }
}

/// The diagnostics, one row each.
fn diagnostics(finding: &Finding) -> Markup {
    let found = finding.investigation.as_deref();
    let experiments = found.map_or_else(Vec::new, |found| experiments(&finding.report, found));
    html! {
        @if !experiments.is_empty() {
            section aria-labelledby="diagnostics" {
                h2 #diagnostics { "Diagnostics" }
                @if let Some(age) = age(finding) {
                    p {
                        "These results are from an earlier probe, " (words(age)) " before this one. The exporter repeats the "
                        "diagnostics of the same failure at most every " (REUSE.as_secs()) " s."
                    }
                }
                table.fields {
                    thead {
                        tr {
                            @for title in ["Changed", "Failed", "Conclusion"] { th scope="col" { (title) } }
                        }
                    }
                    tbody {
                        @for experiment in &experiments {
                            tr {
                                th scope="row" title=(experiment.changed) { (experiment.name) }
                                td { @if experiment.repeated > 0 { (experiment.failed) " of " (experiment.repeated) } }
                                td.target {
                                    @match experiment.conclusion {
                                        Ok(conclusion) => (conclusion),
                                        Err(refusal) => { "not run: budget (" code { (refusal.key()) } ")" }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Time from the diagnostics to the start of this probe, if they are results of an earlier probe.
fn age(finding: &Finding) -> Option<Duration> {
    let results = finding.investigation.as_deref().filter(|_| finding.reused)?.results();
    let requests = results.iter().flat_map(|result| result.outcome.requests());
    let first = requests.map(|request| request.report().began).min()?;
    finding.report.began.duration_since(first).ok()
}

/// Text to copy: the incident report, and the command that repeats the request.
fn copies(entry: &HistoryEntry) -> Markup {
    let finding = &entry.finding;
    let command = reproduce::of_target(finding).map(|command| match reproduce::note(finding) {
        Some(note) => format!("# {note}\n{command}"),
        None => command,
    });
    html! {
        section.copies aria-label="Texts to copy" {
            @if entry.finding.verdict.is_some() { (copy("incident_report", "Incident report", &incident_report::text(entry))) }
            @if let Some(command) = command { (copy("curl", "Command to repeat the request", &command)) }
        }
    }
}

fn copy(id: &str, title: &str, text: &str) -> Markup {
    html! {
        details {
            summary { (title) }
            // The script shows the button: without it, the text can still be selected.
            button type="button" data-copies=(id) hidden { "Copy" }
            pre id=(id) tabindex="0" { (text) }
        }
    }
}
