//! The gauges of `blackbox_exporter` for a dns probe, and the response code, which `blackbox_exporter` does not export.

use crate::metrics::{
    DNS_ADDITIONAL_RRS, DNS_ANSWER_RRS, DNS_AUTHORITY_RRS, DNS_DURATION, DNS_QUERY_SUCCEEDED, DNS_RCODE, DNS_SERIAL,
    MetricPage, Value,
};
use crate::probers::gauges;
use glassbox_verdict::chain::Stage;
use glassbox_verdict::report::{DnsAnswer, Exchange, ProtocolFacts, Report};
use std::time::Duration;

/// Writes all gauges. Returns the total time of the exported phases.
pub(super) fn write(report: &Report, page: &mut MetricPage) -> Duration {
    let resolved = |exchange: &Exchange| exchange.finished(Stage::Resolve);
    let total = |time: fn(&Exchange) -> Duration| report.exchanges.iter().map(time).sum::<Duration>();
    let phases = [
        // As in `blackbox_exporter`, a failed name resolution is timed only in probe_dns_lookup_time_seconds.
        (
            "resolve",
            if report.exchanges.iter().all(resolved) {
                total(|exchange| exchange.time_in(Stage::Resolve))
            } else {
                Duration::ZERO
            },
        ),
        (
            "connect",
            total(|exchange| exchange.time_in(Stage::Connect) + exchange.time_in(Stage::Secure)),
        ),
        (
            "request",
            total(|exchange| {
                exchange.time_in(Stage::Send) + exchange.time_in(Stage::Wait) + exchange.time_in(Stage::Receive)
            }),
        ),
    ];
    for (phase, time) in &phases {
        page.push(
            &DNS_DURATION,
            [("phase", (*phase).into())],
            Value::Number(time.as_secs_f64()),
        );
    }
    if let Some(first) = report
        .exchanges
        .first()
        .filter(|exchange| exchange.reached(Stage::Resolve))
    {
        gauges::address(first, page);
    }
    let none = DnsAnswer::default();
    let answered = report.last_exchange().and_then(|exchange| match &exchange.spoken {
        Some(ProtocolFacts::Dns(answer)) => Some(answer),
        _ => None,
    });
    let answer = answered.unwrap_or(&none);
    page.set(&DNS_ANSWER_RRS, gauges::count(answer.answers));
    page.set(&DNS_AUTHORITY_RRS, gauges::count(answer.authorities));
    page.set(&DNS_ADDITIONAL_RRS, gauges::count(answer.additionals));
    page.set(&DNS_QUERY_SUCCEEDED, f64::from(u8::from(answered.is_some())));
    if let Some(answer) = answered {
        page.set(&DNS_RCODE, f64::from(answer.rcode));
    }
    if let Some(serial) = answer.serial {
        page.set(&DNS_SERIAL, f64::from(serial));
    }
    phases.iter().map(|(_, time)| *time).sum()
}
