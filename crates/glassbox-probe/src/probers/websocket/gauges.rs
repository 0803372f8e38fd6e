//! The gauges of `blackbox_exporter` for a websocket probe.

use crate::metrics::{
    MetricPage, Value, WEBSOCKET_DURATION, WEBSOCKET_FAILED_DUE_TO_REGEX, WEBSOCKET_STATUS_CODE, WEBSOCKET_UPGRADED,
};
use crate::probers::gauges;
use glassbox_verdict::chain::Stage;
use glassbox_verdict::report::{Exchange, ProtocolFacts, Report};
use std::time::Duration;

/// Writes all gauges. Returns the total time of the exported phases.
pub(super) fn write(report: &Report, has_script: bool, page: &mut MetricPage) -> Duration {
    let exchange = report.last_exchange();
    if let Some(exchange) = exchange.filter(|exchange| exchange.reached(Stage::Resolve)) {
        gauges::address(exchange, page);
    }
    let status = exchange
        .and_then(|exchange| exchange.reply.as_ref())
        .map_or(0, |reply| reply.status);
    page.set(&WEBSOCKET_STATUS_CODE, f64::from(status));
    let dialogue = exchange.and_then(|exchange| match &exchange.spoken {
        Some(ProtocolFacts::Dialogue(dialogue)) => Some(dialogue),
        _ => None,
    });
    page.set(&WEBSOCKET_UPGRADED, f64::from(u8::from(dialogue.is_some())));
    let failed = dialogue.is_some_and(|dialogue| dialogue.mismatch.is_some());
    page.set(&WEBSOCKET_FAILED_DUE_TO_REGEX, f64::from(u8::from(failed)));
    let phases = exchange
        .map(|exchange| phases(exchange, has_script))
        .unwrap_or_default();
    for (phase, time) in &phases {
        page.push(
            &WEBSOCKET_DURATION,
            [("phase", (*phase).into())],
            Value::Number(time.as_secs_f64()),
        );
    }
    phases.iter().map(|(_, time)| *time).sum()
}

/// The phases that were reached. The handshake exchange counts as `processing`, including TLS; the dialogue counts as
/// `transfer`.
fn phases(exchange: &Exchange, has_script: bool) -> Vec<(&'static str, Duration)> {
    let timings = exchange.stage_log.timings();
    let time = |timings: &[glassbox_verdict::stage_log::StageTiming]| {
        timings
            .iter()
            .map(glassbox_verdict::stage_log::StageTiming::took)
            .sum::<Duration>()
    };
    let mut phases = vec![("resolve", exchange.time_in(Stage::Resolve))];
    if exchange.finished(Stage::Connect) {
        phases.push(("connect", exchange.time_in(Stage::Connect)));
        let rest = timings
            .iter()
            .position(|timing| timing.stage() > Stage::Connect)
            .unwrap_or(timings.len());
        let switched = timings
            .iter()
            .position(|timing| timing.stage() == Stage::Receive)
            .map_or(timings.len(), |place| place + 1);
        phases.push(("processing", time(&timings[rest.min(switched)..switched])));
        if has_script && switched < timings.len() {
            phases.push(("transfer", time(&timings[switched..])));
        }
    }
    phases
}
