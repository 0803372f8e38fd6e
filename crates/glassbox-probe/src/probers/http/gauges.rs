//! The gauges of `blackbox_exporter` for an http probe, with the same names and meaning.

use super::{HttpProber, http_date};
use crate::check::Coding;
use crate::metrics::{
    FAILED_DUE_TO_CEL, FAILED_DUE_TO_REGEX, HTTP_CONTENT_LENGTH, HTTP_DURATION, HTTP_LAST_MODIFIED, HTTP_REDIRECTS,
    HTTP_SSL, HTTP_STATUS_CODE, HTTP_UNCOMPRESSED_BODY_LENGTH, HTTP_VERSION, MetricPage, Value,
};
use crate::probers::gauges;
use glassbox_verdict::chain::Stage;
use glassbox_verdict::reason::Reason;
use glassbox_verdict::report::{Exchange, Reply, Report};
use http::header::{LAST_MODIFIED, LOCATION};
use std::time::Duration;

/// Writes all gauges. Returns the total time of the exported phases.
pub(super) fn write(settings: &HttpProber, report: &Report, page: &mut MetricPage) -> Duration {
    let phases = phases(report);
    for (phase, time) in &phases {
        page.push(
            &HTTP_DURATION,
            [("phase", (*phase).into())],
            Value::Number(time.as_secs_f64()),
        );
    }
    if let Some(first) = report
        .with_target()
        .next()
        .filter(|exchange| !resolved_by_proxy(exchange))
    {
        gauges::address(first, page);
    }
    answer(report, page);
    let failed = failed_assertion(settings, report);
    let is = |assertion| f64::from(u8::from(failed == Some(assertion)));
    page.set(&FAILED_DUE_TO_REGEX, is(Assertion::Regexp));
    if !settings.body_assertions.json.is_empty() {
        page.set(&FAILED_DUE_TO_CEL, is(Assertion::Json));
    }
    if let Some(last) = report.last_exchange() {
        gauges::tls(last, page);
    }
    phases.iter().map(|(_, time)| *time).sum()
}

/// The phases of `blackbox_exporter`: its connect and tls are 0 unless both succeeded, and its processing includes the
/// request stage.
fn phases(report: &Report) -> Vec<(&'static str, Duration)> {
    let total = |time: fn(&Exchange) -> Duration| report.with_target().map(time).sum::<Duration>();
    let mut phases = Vec::with_capacity(5);
    let Some(first) = report.with_target().next() else {
        return phases;
    };
    if !resolved_by_proxy(first) {
        phases.push(("resolve", total(|exchange| exchange.time_in(Stage::Resolve))));
    }
    if !first.finished(Stage::Resolve) {
        return phases;
    }
    phases.push((
        "connect",
        total(|exchange| {
            if connected(exchange) {
                exchange.time_in(Stage::Connect)
            } else {
                Duration::ZERO
            }
        }),
    ));
    phases.push((
        "tls",
        total(|exchange| {
            if connected(exchange) {
                exchange.time_in(Stage::Secure)
            } else {
                Duration::ZERO
            }
        }),
    ));
    phases.push((
        "processing",
        total(|exchange| {
            if exchange.finished(Stage::Wait) {
                exchange.time_in(Stage::Send) + exchange.time_in(Stage::Wait)
            } else {
                Duration::ZERO
            }
        }),
    ));
    phases.push(("transfer", total(|exchange| exchange.time_in(Stage::Receive))));
    phases
}

/// With `skip_resolve_phase_with_proxy`, nothing was resolved, and `blackbox_exporter` exports neither the phase nor
/// the address.
fn resolved_by_proxy(exchange: &Exchange) -> bool {
    exchange.proxy.is_some() && exchange.chosen.is_none()
}

fn connected(exchange: &Exchange) -> bool {
    exchange.finished(if exchange.wants_tls {
        Stage::Secure
    } else {
        Stage::Connect
    })
}

fn answer(report: &Report, page: &mut MetricPage) {
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
    let redirects = report.with_target().filter(|exchange| redirects(exchange)).count();
    page.set(&HTTP_REDIRECTS, bytes(redirects as u64));
    let ssl = answered.is_some() && report.last_exchange().is_some_and(|exchange| exchange.wants_tls);
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

fn redirects(exchange: &Exchange) -> bool {
    exchange.reply.as_ref().is_some_and(|reply| {
        matches!(reply.status, 301 | 302 | 303 | 307 | 308)
            && reply.headers.get(LOCATION).is_some_and(|value| !value.is_empty())
    })
}

#[allow(
    clippy::cast_precision_loss,
    reason = "metric values are floats; dates of four-digit years stay below 2^53"
)]
fn last_modified(reply: &Reply) -> Option<f64> {
    let value = reply.headers.get(LAST_MODIFIED)?;
    http_date::parse(value.as_bytes()).map(|at| at as f64)
}

/// An assertion that has its own gauge.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Assertion {
    Regexp,
    Json,
}

/// Which assertion failed by the rules of `blackbox_exporter`, which also counts a body that could not be read.
fn failed_assertion(settings: &HttpProber, report: &Report) -> Option<Assertion> {
    let of_body = if settings.body_assertions.matches_text() {
        Some(Assertion::Regexp)
    } else {
        Some(Assertion::Json).filter(|_| !settings.body_assertions.json.is_empty())
    };
    let reply = report.final_reply()?;
    match report.fault.as_ref()?.reason {
        Reason::ContentBody | Reason::ContentHeader => Some(Assertion::Regexp),
        Reason::ContentJson | Reason::ContentJsonTooLarge => Some(Assertion::Json),
        Reason::ContentBodyTooLarge => of_body,
        Reason::HttpClosedMidBody
        | Reason::HttpResponseInvalid
        | Reason::TcpReset
        | Reason::HttpTimedOutMidBody
        | Reason::HttpResponseBadCoding
        | Reason::HttpResponseTooLarge => match settings.objection_to_head(reply, None) {
            Some((Reason::ContentHeader, _)) => Some(Assertion::Regexp),
            Some(_) => None,
            // A body that is not gzip at all is rejected before any assertion is evaluated.
            None if settings.compression == Coding::Gzip && reply.body_length == 0 => None,
            None => of_body,
        },
        _ => None,
    }
}

#[allow(
    clippy::cast_precision_loss,
    reason = "metric values are floats; lengths stay below 2^53"
)]
const fn bytes(count: u64) -> f64 {
    count as f64
}
