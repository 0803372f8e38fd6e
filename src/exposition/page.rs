//! The page of one probe: the peer's gauges, the verdict, and the key's own series.

use crate::metrics::{
    DURATION, FAILURE_INFO, Family, Page, SUCCESS, TCP_RETRANSMITS, TCP_RTT, TIMEOUT, UNATTRIBUTED, Value,
};
use crate::probe::Finding;
use crate::series::Series;

/// The families of a finding, and of its key's series where there are some.
#[must_use]
pub fn of(finding: &Finding, series: Option<&Series>) -> Vec<Family> {
    let report = &finding.report;
    let mut page = Page::new(finding.module.metrics);
    page.set(&SUCCESS, f64::from(u8::from(report.succeeded())));
    page.set(&DURATION, report.took.as_secs_f64());
    page.set(&TIMEOUT, report.timeout.as_secs_f64());
    let in_phases = finding.module.prober.gauges(report, &mut page);
    page.set(&UNATTRIBUTED, report.took.saturating_sub(in_phases).as_secs_f64());
    if let Some(verdict) = &finding.verdict {
        page.push(
            &FAILURE_INFO,
            vec![
                ("answered_by", verdict.answered_by.into()),
                ("certainty", verdict.certainty.as_str().into()),
                ("link", verdict.link.as_str().into()),
                ("phase", verdict.stage.phase().into()),
                ("reason", verdict.reason.as_str().into()),
            ],
            Value::Number(1.0),
        );
    }
    if let Some(socket) = report.last_leg().and_then(|leg| leg.socket) {
        page.set(&TCP_RTT, socket.rtt.as_secs_f64());
        page.set(&TCP_RETRANSMITS, f64::from(socket.retransmits));
    }
    if let Some(series) = series {
        series.write(&mut page);
    }
    page.sorted()
}

/// How many series these families are in Prometheus.
#[must_use]
pub fn series_count(families: &[Family]) -> usize {
    families
        .iter()
        .flat_map(|family| &family.samples)
        .map(|sample| sample.value.series())
        .sum()
}
