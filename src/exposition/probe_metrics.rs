//! The gauges of one probe: those of `blackbox_exporter`, the verdict, and the results of the diagnostics.

use glassbox_probe::metrics::{
    ADDRESSES, AGE, BACKEND_DURATION, BACKEND_STATUS_CODE, BACKEND_SUCCESS, DURATION, FAILURE_INFO, FROM_CACHE, Family,
    INVESTIGATION, MASKED, MetricPage, SUCCESS, TCP_RETRANSMITS, TCP_RTT, TIMEOUT, UNATTRIBUTED, VANTAGE_HEALTHY,
    Value,
};
use glassbox_probe::previous_probes::REUSE;
use glassbox_probe::probe::Finding;
use glassbox_verdict::chain::Stage;
use glassbox_verdict::investigation::{DiagnosticKind, DirectRequest, Investigation};
use glassbox_verdict::report::{Reply, Report};
use glassbox_verdict::verdict::Verdict;
use http::{HeaderName, HeaderValue};

/// The gauges of a finding, without the series of its key.
#[must_use]
pub fn gauges(finding: &Finding) -> MetricPage {
    let report = &finding.report;
    let mut page = MetricPage::new(finding.module.metrics);
    page.set(&SUCCESS, flag(report.succeeded()));
    page.set(&DURATION, report.took.as_secs_f64());
    page.set(&TIMEOUT, report.timeout.as_secs_f64());
    let in_phases = finding.module.prober.gauges(report, &mut page);
    page.set(&UNATTRIBUTED, report.took.saturating_sub(in_phases).as_secs_f64());
    page.set(
        &MASKED,
        flag(finding.verdict.as_ref().is_some_and(|verdict| verdict.masked)),
    );
    if let Some(verdict) = &finding.verdict {
        failure(verdict, &mut page);
    }
    if let Some(socket) = report.last_exchange().and_then(|exchange| exchange.socket) {
        if let Some(rtt) = socket.rtt {
            page.set(&TCP_RTT, rtt.as_secs_f64());
        }
        page.set(&TCP_RETRANSMITS, f64::from(socket.retransmits));
    }
    if let Some(reply) = report.final_reply() {
        cache(reply, finding.repeats, &mut page);
    }
    // An outage that was detected by the failures of other keys is not a result of the controls.
    if let Some(vantage) = finding.vantage.as_ref().filter(|vantage| !vantage.outage) {
        page.set(&VANTAGE_HEALTHY, flag(vantage.healthy()));
    }
    if let Some(investigation) = &finding.investigation {
        diagnostics(
            investigation,
            finding.module.diagnostics.all_addresses,
            report,
            &mut page,
        );
    }
    page
}

fn failure(verdict: &Verdict, page: &mut MetricPage) {
    page.push(
        &FAILURE_INFO,
        [
            ("answered_by", verdict.answered_by_label().into()),
            ("certainty", verdict.certainty.as_str().into()),
            ("link", verdict.link.as_str().into()),
            ("phase", verdict.stage.phase().into()),
            ("reason", verdict.reason.as_str().into()),
        ],
        Value::Number(1.0),
    );
}

/// The results of the diagnostics.
fn diagnostics(investigation: &Investigation, all_addresses: bool, edge: &Report, page: &mut MetricPage) {
    if investigation.any_ran() {
        page.set(&INVESTIGATION, investigation.took.as_secs_f64());
    }
    // A request that the exporter could not send, or that is too old to be reused, does not show the backend's state.
    let is_recent = |direct: &&DirectRequest| direct.report.began + REUSE >= edge.began;
    let asked = investigation.backends().iter().filter(is_recent);
    let asked: Vec<_> = asked.filter(|direct| !direct.report.failed_locally()).collect();
    for members in asked.chunk_by(|one, other| one.backend.name == other.backend.name) {
        let failed = members.iter().find(|member| !member.report.succeeded());
        backend(failed.or(members.first()).copied(), page);
    }
    // If the budget refused to probe the others, it is not known how many of them are healthy.
    if all_addresses && investigation.refusal(DiagnosticKind::Addresses).is_none() {
        let others = investigation.addresses().iter().map(|(_, report)| report);
        let (ok, failed): (Vec<_>, Vec<_>) = others.chain([edge]).partition(|report| report.succeeded());
        for (state, reports) in [("ok", ok), ("failed", failed)] {
            page.push(
                &ADDRESSES,
                [("state", state.into())],
                Value::Number(small(reports.len())),
            );
        }
    }
}

/// The result of a direct request. For a pool, that of the first member that failed.
fn backend(direct: Option<&DirectRequest>, page: &mut MetricPage) {
    let Some(direct) = direct else { return };
    let report = &direct.report;
    let name = || ("backend", direct.backend.name.clone().into());
    page.push(&BACKEND_SUCCESS, [name()], Value::Number(flag(report.succeeded())));
    let status = report.final_reply().map_or(0.0, |reply| f64::from(reply.status));
    page.push(&BACKEND_STATUS_CODE, [name()], Value::Number(status));
    for stage in Stage::ALL {
        let timings = || report.timings().filter(|timing| timing.stage() == stage);
        if timings().next().is_some() {
            let took = timings()
                .map(glassbox_verdict::stage_log::StageTiming::took)
                .sum::<std::time::Duration>();
            page.push(
                &BACKEND_DURATION,
                [name(), ("phase", stage.phase().into())],
                Value::Number(took.as_secs_f64()),
            );
        }
    }
}

/// The fields that indicate a cache hit or miss.
const CACHES: [&str; 5] = [
    "cache-status",
    "cf-cache-status",
    "x-cache",
    "x-cache-status",
    "x-vercel-cache",
];

/// The cache information of the response: `Age` (RFC 9111 section 5.1) and the fields that indicate a hit or miss.
fn cache(reply: &Reply, repeats: bool, page: &mut MetricPage) {
    let is_of_cache = |name: &HeaderName| CACHES.contains(&name.as_str());
    let says: Vec<_> = reply.headers.iter().filter(|(name, _)| is_of_cache(name)).collect();
    let is_hit = |value: &HeaderValue| {
        let text = String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase();
        text.split(|c: char| !c.is_ascii_alphanumeric())
            .any(|word| matches!(word, "hit" | "stale"))
    };
    let age = reply
        .headers
        .get("age")
        .and_then(|value| value.to_str().ok()?.trim().parse::<u32>().ok());
    if let Some(age) = age {
        page.set(&AGE, f64::from(age));
    }
    let hit = says.iter().any(|(_, value)| is_hit(value)) || age.is_some_and(|age| age > 0) || repeats;
    if repeats || age.is_some() || !says.is_empty() {
        page.set(&FROM_CACHE, flag(hit));
    }
}

fn flag(is: bool) -> f64 {
    f64::from(u8::from(is))
}

fn small(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// Number of series of these families in Prometheus.
#[must_use]
pub fn series_count(families: &[Family]) -> usize {
    families
        .iter()
        .flat_map(|family| &family.samples)
        .map(|sample| sample.value.series())
        .sum()
}
