//! The peer's gauges for an http probe, word for word and with its meaning.

use super::HttpSettings;
use crate::chain::Stage;
use crate::metrics::{
    FAILED_DUE_TO_CEL, FAILED_DUE_TO_REGEX, HTTP_CONTENT_LENGTH, HTTP_DURATION, HTTP_LAST_MODIFIED, HTTP_REDIRECTS,
    HTTP_SSL, HTTP_STATUS_CODE, HTTP_UNCOMPRESSED_BODY_LENGTH, HTTP_VERSION, Page, Value,
};
use crate::probers::gauges;
use crate::reason::Reason;
use crate::report::{Leg, Reply, Report};
use http::header::{LAST_MODIFIED, LOCATION};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Writes all of them. Gives the time that the phases hold.
pub(super) fn write(settings: &HttpSettings, report: &Report, page: &mut Page) -> Duration {
    let phases = phases(report);
    for (phase, time) in &phases {
        page.push(
            &HTTP_DURATION,
            vec![("phase", (*phase).into())],
            Value::Number(time.as_secs_f64()),
        );
    }
    if let Some(first) = report.with_target().next().filter(|leg| !resolved_by_proxy(leg)) {
        gauges::address(first, page);
    }
    answer(report, page);
    let to_regex = failed_due_to_regex(settings, report);
    page.set(&FAILED_DUE_TO_REGEX, f64::from(u8::from(to_regex)));
    if !settings.json.is_empty() {
        let to_cel = report
            .fault
            .as_ref()
            .is_some_and(|fault| fault.reason == Reason::ContentJson);
        page.set(&FAILED_DUE_TO_CEL, f64::from(u8::from(to_cel)));
    }
    if let Some(facts) = report.last_leg().and_then(|leg| leg.tls.as_ref()) {
        gauges::tls(facts, page);
    }
    phases.iter().map(|(_, time)| *time).sum()
}

/// The peer's phases: its connect and tls are 0 unless both succeeded, its processing is our request and processing.
fn phases(report: &Report) -> Vec<(&'static str, Duration)> {
    let total = |time: fn(&Leg) -> Duration| report.with_target().map(time).sum::<Duration>();
    let mut phases = Vec::with_capacity(5);
    let Some(first) = report.with_target().next() else {
        return phases;
    };
    if !resolved_by_proxy(first) {
        phases.push(("resolve", total(|leg| leg.time_in(Stage::Resolve))));
    }
    if !first.finished(Stage::Resolve) {
        return phases;
    }
    phases.push((
        "connect",
        total(|leg| {
            if connected(leg) {
                leg.time_in(Stage::Connect)
            } else {
                Duration::ZERO
            }
        }),
    ));
    phases.push((
        "tls",
        total(|leg| {
            if connected(leg) {
                leg.time_in(Stage::Secure)
            } else {
                Duration::ZERO
            }
        }),
    ));
    phases.push((
        "processing",
        total(|leg| {
            if leg.finished(Stage::Wait) {
                leg.time_in(Stage::Send) + leg.time_in(Stage::Wait)
            } else {
                Duration::ZERO
            }
        }),
    ));
    phases.push(("transfer", total(|leg| leg.time_in(Stage::Receive))));
    phases
}

/// With `skip_resolve_phase_with_proxy` nothing was resolved here, and the peer has neither phase nor address.
fn resolved_by_proxy(leg: &Leg) -> bool {
    leg.proxy.is_some() && leg.chosen.is_none()
}

fn connected(leg: &Leg) -> bool {
    leg.finished(if leg.wants_tls { Stage::Secure } else { Stage::Connect })
}

fn answer(report: &Report, page: &mut Page) {
    let none = Reply::default();
    let answered = report.final_reply();
    let reply = answered.unwrap_or(&none);
    page.set(&HTTP_STATUS_CODE, f64::from(reply.status));
    let declared = match (answered, reply.declared_length) {
        (None, _) => 0.0,
        (Some(_), Some(length)) => bytes(length),
        (Some(_), None) => -1.0,
    };
    page.set(&HTTP_CONTENT_LENGTH, declared);
    page.set(&HTTP_UNCOMPRESSED_BODY_LENGTH, bytes(reply.body_length));
    let redirects = report.with_target().filter(|leg| redirects(leg)).count();
    page.set(&HTTP_REDIRECTS, bytes(redirects as u64));
    let ssl = answered.is_some() && report.last_leg().is_some_and(|leg| leg.wants_tls);
    page.set(&HTTP_SSL, f64::from(u8::from(ssl)));
    let version = reply
        .version
        .strip_prefix("HTTP/")
        .and_then(|version| version.parse().ok());
    page.set(&HTTP_VERSION, version.unwrap_or(0.0));
    if let Some(at) = last_modified(reply) {
        page.set(&HTTP_LAST_MODIFIED, at);
    }
}

fn redirects(leg: &Leg) -> bool {
    leg.reply.as_ref().is_some_and(|reply| {
        matches!(reply.status, 301 | 302 | 303 | 307 | 308)
            && reply.headers.get(LOCATION).is_some_and(|value| !value.is_empty())
    })
}

fn last_modified(reply: &Reply) -> Option<f64> {
    let text = reply.headers.get(LAST_MODIFIED)?.to_str().ok()?;
    let at: SystemTime = httpdate::parse_http_date(text).ok()?;
    Some(bytes(at.duration_since(UNIX_EPOCH).ok()?.as_secs()))
}

/// As with the peer: a failed match, or a body that could not be read for one.
fn failed_due_to_regex(settings: &HttpSettings, report: &Report) -> bool {
    match report.fault.as_ref().map(|fault| fault.reason) {
        Some(Reason::ContentBody | Reason::ContentHeader | Reason::ContentBodyTooLarge) => true,
        Some(
            Reason::HttpClosedMidBody
            | Reason::HttpTimedOutMidBody
            | Reason::HttpResponseBadCoding
            | Reason::HttpResponseTooLarge,
        ) => {
            settings.asserts_on_body()
                && report
                    .final_reply()
                    .is_some_and(|reply| settings.objection_to_head(reply, false).is_none())
        }
        _ => false,
    }
}

#[allow(
    clippy::cast_precision_loss,
    reason = "the format's numbers are floats; lengths stay below 2^53"
)]
const fn bytes(count: u64) -> f64 {
    count as f64
}
