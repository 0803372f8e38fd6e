//! The gauges of `blackbox_exporter` for a grpc probe.

use super::message::STATUSES;
use crate::metrics::{GRPC_DURATION, GRPC_HEALTHCHECK_RESPONSE, GRPC_SSL, GRPC_STATUS_CODE, MetricPage, Value};
use crate::probers::gauges;
use glassbox_verdict::chain::Stage;
use glassbox_verdict::report::{Exchange, Health, ProtocolFacts, Report};
use std::time::Duration;

/// `UNAVAILABLE`: the gRPC status of a call that did not reach a server.
const UNAVAILABLE: u32 = 14;
/// `DEADLINE_EXCEEDED`.
const DEADLINE_EXCEEDED: u32 = 4;

/// Writes all gauges. Returns the total time of the exported phases.
pub(super) fn write(report: &Report, page: &mut MetricPage) -> Duration {
    let exchange = report.last_exchange();
    if let Some(exchange) = exchange.filter(|exchange| exchange.reached(Stage::Resolve)) {
        gauges::address(exchange, page);
    }
    let resolved = exchange.filter(|exchange| exchange.finished(Stage::Resolve));
    let resolving = resolved.map_or(Duration::ZERO, |exchange| exchange.time_in(Stage::Resolve));
    put(page, "resolve", resolving);
    let checking = resolved.map(checking);
    if let Some(checking) = checking {
        put(page, "check", checking);
    }
    let health = exchange.and_then(health);
    let over_tls = exchange.filter(|exchange| exchange.tls.is_some());
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
    if let Some(exchange) = over_tls {
        gauges::certificates(exchange, page);
    }
    resolving + checking.unwrap_or_default()
}

/// The time of the whole call without name resolution: the only other phase in `blackbox_exporter`.
fn checking(exchange: &Exchange) -> Duration {
    let timings = exchange.stage_log.timings().iter();
    timings
        .filter(|timing| timing.stage() != Stage::Resolve)
        .map(glassbox_verdict::stage_log::StageTiming::took)
        .sum()
}

const fn health(exchange: &Exchange) -> Option<Health> {
    match exchange.spoken {
        Some(ProtocolFacts::Health(health)) => Some(health),
        _ => None,
    }
}

fn put(page: &mut MetricPage, phase: &'static str, time: Duration) {
    page.push(
        &GRPC_DURATION,
        [("phase", phase.into())],
        Value::Number(time.as_secs_f64()),
    );
}
