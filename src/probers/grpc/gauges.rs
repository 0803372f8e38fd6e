//! The peer's gauges for a grpc probe.

use super::message::STATUSES;
use crate::chain::Stage;
use crate::metrics::{GRPC_DURATION, GRPC_HEALTHCHECK_RESPONSE, GRPC_SSL, GRPC_STATUS_CODE, Page, Value};
use crate::probers::gauges;
use crate::report::{Health, Leg, Report, Spoken};
use std::time::Duration;

/// `UNAVAILABLE`: what gRPC says of a call that reached nobody.
const UNAVAILABLE: u32 = 14;
/// `DEADLINE_EXCEEDED`.
const DEADLINE_EXCEEDED: u32 = 4;

/// Writes all of them. Gives the time that the phases hold.
pub(super) fn write(report: &Report, page: &mut Page) -> Duration {
    let leg = report.last_leg();
    if let Some(leg) = leg.filter(|leg| leg.reached(Stage::Resolve)) {
        gauges::address(leg, page);
    }
    let resolved = leg.filter(|leg| leg.finished(Stage::Resolve));
    let resolving = resolved.map_or(Duration::ZERO, |leg| leg.time_in(Stage::Resolve));
    put(page, "resolve", resolving);
    let checking = resolved.map(checking);
    if let Some(checking) = checking {
        put(page, "check", checking);
    }
    let health = leg.and_then(health);
    let over_tls = leg.filter(|leg| leg.tls.is_some());
    let well = health.is_some_and(|health| health.code == 0);
    page.set(&GRPC_SSL, f64::from(u8::from(well && over_tls.is_some())));
    let at_deadline = report.fault.as_ref().is_some_and(|fault| fault.at_deadline);
    let code = match health {
        Some(health) => health.code,
        None if at_deadline => DEADLINE_EXCEEDED,
        None => UNAVAILABLE,
    };
    page.set(&GRPC_STATUS_CODE, f64::from(code));
    if resolved.is_some() {
        for (name, number) in STATUSES {
            let is = health.is_some_and(|health| health.serving == Some(number));
            page.push(
                &GRPC_HEALTHCHECK_RESPONSE,
                [("serving_status", name.into())],
                Value::Number(f64::from(u8::from(is))),
            );
        }
    }
    if let Some(leg) = over_tls {
        gauges::certificates(leg, page);
    }
    resolving + checking.unwrap_or_default()
}

/// All of the call but for the name: the peer's one phase.
fn checking(leg: &Leg) -> Duration {
    let laps = leg.ledger.laps().iter();
    laps.filter(|lap| lap.stage() != Stage::Resolve)
        .map(crate::ledger::Lap::took)
        .sum()
}

const fn health(leg: &Leg) -> Option<Health> {
    match leg.spoken {
        Some(Spoken::Health(health)) => Some(health),
        _ => None,
    }
}

fn put(page: &mut Page, phase: &'static str, time: Duration) {
    page.push(
        &GRPC_DURATION,
        [("phase", phase.into())],
        Value::Number(time.as_secs_f64()),
    );
}
