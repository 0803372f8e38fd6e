//! The peer's gauges for a websocket probe.

use crate::chain::Stage;
use crate::metrics::{
    Page, Value, WEBSOCKET_DURATION, WEBSOCKET_FAILED_DUE_TO_REGEX, WEBSOCKET_STATUS_CODE, WEBSOCKET_UPGRADED,
};
use crate::probers::gauges;
use crate::report::{Leg, Report, Spoken};
use std::time::Duration;

/// Writes all of them. Gives the time that the phases hold.
pub(super) fn write(report: &Report, has_script: bool, page: &mut Page) -> Duration {
    let leg = report.last_leg();
    if let Some(leg) = leg.filter(|leg| leg.reached(Stage::Resolve)) {
        gauges::address(leg, page);
    }
    let status = leg.and_then(|leg| leg.reply.as_ref()).map_or(0, |reply| reply.status);
    page.set(&WEBSOCKET_STATUS_CODE, f64::from(status));
    let dialogue = leg.and_then(|leg| match &leg.spoken {
        Some(Spoken::Dialogue(dialogue)) => Some(dialogue),
        _ => None,
    });
    page.set(&WEBSOCKET_UPGRADED, f64::from(u8::from(dialogue.is_some())));
    let failed = dialogue.is_some_and(|dialogue| dialogue.mismatch.is_some());
    page.set(&WEBSOCKET_FAILED_DUE_TO_REGEX, f64::from(u8::from(failed)));
    let phases = leg.map(|leg| phases(leg, has_script)).unwrap_or_default();
    for (phase, time) in &phases {
        page.push(
            &WEBSOCKET_DURATION,
            [("phase", (*phase).into())],
            Value::Number(time.as_secs_f64()),
        );
    }
    phases.iter().map(|(_, time)| *time).sum()
}

/// As they are reached. The handshake's own exchange counts into `processing`, with TLS; what is said after it into
/// `transfer`.
fn phases(leg: &Leg, has_script: bool) -> Vec<(&'static str, Duration)> {
    let laps = leg.ledger.laps();
    let time = |laps: &[crate::ledger::Lap]| laps.iter().map(crate::ledger::Lap::took).sum::<Duration>();
    let mut phases = vec![("resolve", leg.time_in(Stage::Resolve))];
    if leg.finished(Stage::Connect) {
        phases.push(("connect", leg.time_in(Stage::Connect)));
        let rest = laps
            .iter()
            .position(|lap| lap.stage() > Stage::Connect)
            .unwrap_or(laps.len());
        let switched = laps
            .iter()
            .position(|lap| lap.stage() == Stage::Receive)
            .map_or(laps.len(), |place| place + 1);
        phases.push(("processing", time(&laps[rest.min(switched)..switched])));
        if has_script && switched < laps.len() {
            phases.push(("transfer", time(&laps[switched..])));
        }
    }
    phases
}
