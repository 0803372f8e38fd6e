//! The part of the evidence page about time: since when the target is unhealthy, its probes before and after, what
//! changed, and its incidents.

use crate::timeline::{CertificateFacts, Incident, ProbeFacts, ProbeMark};
use glassbox_verdict::chain::Link;
use glassbox_verdict::utc::to_the_second;
use maud::{Markup, html};
use serde_json::Value;
use std::time::{Duration, UNIX_EPOCH};

/// Place of this part in the content of a page. The content is stored, but this part depends on what is known when the
/// page is served.
pub const PLACE: &str = "<!--timeline-->";

/// Shown in place of a fact that a probe did not get.
const NONE: &str = "none";

/// Number of bars in the strip.
const BARS: usize = 40;

/// The history of a target, as seen from one probe.
#[derive(Clone, Debug)]
pub struct TargetTimeline {
    /// The probe of the page.
    pub this: ProbeMark,
    /// Probes of the target, oldest first, with this one.
    pub marks: Vec<ProbeMark>,
    /// Incidents of the target, newest first.
    pub incidents: Vec<Incident>,
    /// The probe to compare with, its facts if they are known, and the facts of this probe.
    pub compared: Option<Comparison>,
    /// Whether the exporter can repeat the probe.
    pub can_repeat: bool,
    /// Whether the store on disk did not answer.
    pub is_partial: bool,
}

/// Two probes whose facts are compared.
#[derive(Clone, Copy, Debug)]
pub struct Comparison {
    /// The other probe.
    pub with: ProbeMark,
    /// Facts of the other probe; `None` if its evidence is no longer stored.
    pub then: Option<ProbeFacts>,
    /// Facts of this probe.
    pub now: ProbeFacts,
}

impl TargetTimeline {
    /// The probe of a target to compare with: the last healthy one before the incident, or the previous one.
    #[must_use]
    pub fn reference(&self) -> Option<ProbeMark> {
        self.incident()
            .map_or_else(|| self.before().last().copied(), |incident| incident.before)
    }

    fn incident(&self) -> Option<&Incident> {
        self.incidents.iter().find(|incident| incident.contains(&self.this))
    }

    fn before(&self) -> impl DoubleEndedIterator<Item = &ProbeMark> {
        self.marks.iter().filter(|mark| mark.order() < self.this.order())
    }

    fn after(&self) -> impl DoubleEndedIterator<Item = &ProbeMark> {
        self.marks.iter().filter(|mark| mark.order() > self.this.order())
    }

    /// The part of the page. `prefix` is added to every path.
    #[must_use]
    pub fn section(&self, prefix: &str) -> Markup {
        html! {
            section.timeline aria-labelledby="timeline" {
                h2 #timeline { "Over time" small { " UTC" } }
                (self.since(prefix))
                (self.strip(prefix))
                (self.neighbours(prefix))
                @if let Some(compared) = &self.compared { (compared.table(prefix, &self.this)) }
                (incidents(&self.incidents, prefix))
                @if self.is_partial { p.suspect { "The evidence store did not respond: this part shows only what is in memory." } }
            }
        }
    }

    fn since(&self, prefix: &str) -> Markup {
        let Some(incident) = self.incident() else {
            return html! {};
        };
        html! {
            dl {
                dt { "Unhealthy since" }
                dd {
                    @if incident.before.is_none() { "at least " }
                    strong { (linked(&incident.first, prefix)) }
                    ", for " (long(incident.duration()))
                    @if incident.after.is_none() { " up to the latest probe at " (linked(&incident.last, prefix)) }
                    ", " (number(incident)) "."
                    @if let Some(after) = &incident.after { " Healthy again at " (linked(after, prefix)) "." }
                }
                dt { "Last healthy probe" }
                dd {
                    @match &incident.before {
                        Some(before) => (linked(before, prefix)),
                        None => "none is known: the exporter started later, or the evidence was dropped",
                    }
                }
            }
        }
    }

    /// One bar for each probe, oldest first.
    fn strip(&self, prefix: &str) -> Markup {
        let place = self.before().count();
        let start = (place + BARS / 2).min(self.marks.len()).saturating_sub(BARS).min(place);
        let shown = &self.marks[start..self.marks.len().min(start + BARS)];
        let unhealthy = shown.iter().filter(|mark| mark.link.is_some()).count();
        html! {
            ol.bars aria-label={ "The probes around this one, oldest first: " (unhealthy) " of " (shown.len()) " are unhealthy" } {
                @for mark in shown { (self.bar(mark, prefix)) }
            }
        }
    }

    fn bar(&self, mark: &ProbeMark, prefix: &str) -> Markup {
        let class = format!(
            "{}{}",
            mark.link.map_or("healthy", Link::as_str),
            if mark.masked { " masked" } else { "" }
        );
        let words = format!("{}: {}", to_the_second(mark.began.time()), result(mark));
        let is_this = mark.id == self.this.id;
        html! {
            li class=(class) {
                // The keyboard reaches each probe by the links to the previous and the next one.
                @if is_this { span aria-current="true" title={ (words) " (this probe)" } { span.hidden { (words) ", this probe" } } }
                @else if mark.is_stored {
                    a href={ (prefix) "/evidence/" (mark.id) } title=(words) tabindex="-1" { span.hidden { (words) } }
                }
                @else { span title={ (words) " (evidence not stored)" } { span.hidden { (words) ", evidence not stored" } } }
            }
        }
    }

    fn neighbours(&self, prefix: &str) -> Markup {
        let previous = self.before().rfind(|mark| mark.is_stored);
        let mut after = self.after().filter(|mark| mark.is_stored);
        let next = after.next();
        let latest = after.next_back();
        html! {
            p.neighbours {
                @if let Some(mark) = previous { (step(mark, "← Previous stored probe", "prev", prefix)) }
                @if let Some(mark) = next { (step(mark, "Next stored probe →", "next", prefix)) }
                @if let Some(mark) = latest { (step(mark, "Latest stored probe →", "last", prefix)) }
                @if previous.is_none() && next.is_none() { small { "No other probe of this target is stored." } }
            }
            @if self.can_repeat {
                form.again method="post" action={ (prefix) "/evidence/" (self.this.id) "/again" } {
                    button { "Probe again" }
                    small { "Sends a new probe to this target now, and shows its evidence." }
                }
            }
        }
    }
}

impl Comparison {
    fn table(&self, prefix: &str, this: &ProbeMark) -> Markup {
        let kind = if self.with.link.is_none() {
            "healthy probe"
        } else {
            "previous probe"
        };
        let Some(then) = &self.then else {
            return html! {
                p { "What changed since the " (kind) " at " (to_the_second(self.with.began.time())) " is not known: its evidence is no longer stored." }
            };
        };
        let now = &self.now;
        let rows = [
            ("Result", result(&self.with), result(this)),
            ("Status", status(then.status), status(now.status)),
            ("Address", address(then), address(now)),
            (
                "Certificate",
                certificate(then.certificate),
                certificate(now.certificate),
            ),
        ];
        html! {
            table.fields.changes {
                caption { "Compared with the " (kind) " at " (linked(&self.with, prefix)) }
                thead { tr { th scope="col" { "Fact" } th scope="col" { "Then" } th scope="col" { "In this probe" } } }
                tbody {
                    @for (name, then, now) in rows.iter().filter(|(_, then, now)| !(then == NONE && now == NONE)) {
                        tr.changed[then != now] {
                            th scope="row" { (name) }
                            td.target { (then) }
                            td.target { @if then == now { "unchanged" } @else { strong { (now) } } }
                        }
                    }
                }
            }
        }
    }
}

fn incidents(incidents: &[Incident], prefix: &str) -> Markup {
    html! {
        @if !incidents.is_empty() {
            h3 #incidents { "Incidents of this target" }
            table.fields.incidents aria-labelledby="incidents" {
                thead { tr { @for title in ["From", "To", "Broken link", "Reason", "Probes"] { th scope="col" { (title) } } } }
                tbody { @for incident in incidents { (row(incident, prefix)) } }
            }
        }
    }
}

fn row(incident: &Incident, prefix: &str) -> Markup {
    let Incident {
        first,
        last,
        before,
        after,
        ..
    } = incident;
    html! {
        tr {
            td { @if before.is_none() { small { "before " } } (opened(incident, prefix)) }
            td {
                @match after {
                    Some(after) => { (linked(after, prefix)) small { " after " (long(incident.duration())) } }
                    None => { "continues" small { ", latest probe " (linked(last, prefix)) } }
                }
            }
            td { (first.link.map_or("", Link::as_str)) }
            td.target { code { (reason(first)) } @if last.reason != first.reason { " then " code { (reason(last)) } } }
            td { (number(incident)) }
        }
    }
}

/// The start of an incident, as a link to its first probe, or to its last one if only that is stored.
fn opened(incident: &Incident, prefix: &str) -> Markup {
    let Incident { first, last, .. } = incident;
    if first.is_stored || !last.is_stored {
        return linked(first, prefix);
    }
    html! { a href={ (prefix) "/evidence/" (last.id) } title="Evidence of the last probe: that of the first one is no longer stored" { (to_the_second(first.began.time())) } }
}

/// The time of a probe, as a link if its evidence is stored.
fn linked(mark: &ProbeMark, prefix: &str) -> Markup {
    html! {
        @if mark.is_stored { a href={ (prefix) "/evidence/" (mark.id) } { (to_the_second(mark.began.time())) } }
        @else { (to_the_second(mark.began.time())) }
    }
}

fn step(mark: &ProbeMark, words: &str, relation: &str, prefix: &str) -> Markup {
    html! { a href={ (prefix) "/evidence/" (mark.id) } rel=(relation) { (words) small { " " (to_the_second(mark.began.time())) ", " (mark.link.map_or("healthy", Link::as_str)) } } " " }
}

fn result(mark: &ProbeMark) -> String {
    let masked = if mark.masked { "masked: " } else { "" };
    match (mark.link, mark.reason) {
        (None, _) => "healthy".to_owned(),
        (Some(link), Some(reason)) => format!("{masked}{}: {}", link.as_str(), reason.as_str()),
        (Some(link), None) => format!("{masked}{}", link.as_str()),
    }
}

fn reason(mark: &ProbeMark) -> &'static str {
    mark.reason.map_or("", |reason| reason.as_str())
}

fn status(status: Option<u16>) -> String {
    status.map_or_else(|| NONE.to_owned(), |status| status.to_string())
}

fn address(facts: &ProbeFacts) -> String {
    facts
        .address
        .map_or_else(|| NONE.to_owned(), |address| address.to_string())
}

fn certificate(certificate: Option<CertificateFacts>) -> String {
    certificate.map_or_else(
        || NONE.to_owned(),
        |certificate| {
            let end = u64::try_from(certificate.not_after).unwrap_or_default();
            let end = to_the_second(UNIX_EPOCH + Duration::from_secs(end));
            format!("{:016x}… valid until {end}", certificate.fingerprint)
        },
    )
}

/// The number of probes. If the start is not known, earlier probes may belong to the incident.
fn number(incident: &Incident) -> String {
    let least = if incident.before.is_none() { "at least " } else { "" };
    let count = incident.count();
    format!("{least}{count} probe{}", if count == 1 { "" } else { "s" })
}

/// A duration in the two most significant units.
fn long(duration: Duration) -> String {
    match duration.as_secs() {
        seconds @ 0..60 => format!("{seconds} s"),
        seconds @ 60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        seconds @ 3600..86_400 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        seconds => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

/// Extracts the facts of a probe from its stored evidence. A fact that is not there is not compared.
#[must_use]
pub fn stored_facts(json: &str) -> Option<ProbeFacts> {
    let evidence: Value = serde_json::from_str(json).ok()?;
    let exchange = evidence.pointer("/target/exchanges")?.as_array()?.last()?;
    let is_for_credentials = exchange["for_credentials"].as_bool() == Some(true);
    let leaf = exchange.pointer("/tls/chain/0");
    let peer = exchange["peer"]
        .as_str()
        .and_then(|peer| peer.parse::<std::net::SocketAddr>().ok());
    Some(ProbeFacts {
        status: exchange
            .pointer("/reply/status")
            .and_then(Value::as_u64)
            .and_then(|status| u16::try_from(status).ok())
            .filter(|_| !is_for_credentials),
        address: peer.map(|peer| peer.ip()),
        certificate: leaf
            .and_then(|leaf| CertificateFacts::new(leaf["fingerprint_sha256"].as_str()?, leaf["not_after"].as_i64()?)),
    })
}
