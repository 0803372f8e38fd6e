//! Logs the stages of a probe in the exporter's own log (`--log.prober=debug`).

use glassbox_probe::probe::Finding;
use glassbox_verdict::report::Exchange;
use tracing::Level;

/// Logs one line for each phase, response and failed dialogue step of a probe: the lines that `debug=true` shows.
pub(super) fn log(finding: &Finding) {
    if !tracing::enabled!(target: "prober", Level::DEBUG) {
        return;
    }
    let (module, target) = (&*finding.module.name, &finding.requested.target);
    let timeout_seconds = finding.report.timeout.as_secs_f64();
    tracing::debug!(target: "prober", module, %target, timeout_seconds, "Beginning probe");
    for exchange in &finding.report.exchanges {
        phases(finding, exchange);
        if let Some(reply) = &exchange.reply {
            let status_code = reply.status;
            tracing::debug!(target: "prober", module, %target, status_code, "Received HTTP response");
        }
        let failed = exchange.dialogue().and_then(|dialogue| dialogue.failed.as_ref());
        if let Some(failed) = failed {
            let (step, expected, received) = (failed.number, failed.expected.as_deref(), failed.received.join("\n"));
            tracing::debug!(target: "prober", module, %target, step, expected, received, "Dialogue step failed");
        }
    }
}

fn phases(finding: &Finding, exchange: &Exchange) {
    let (module, target, url) = (&*finding.module.name, &finding.requested.target, &*exchange.url);
    let proxy = exchange.proxy.as_deref();
    let peer = exchange.peer.map(|peer| peer.to_string());
    for timing in exchange.stage_log.timings() {
        let (phase, duration_seconds) = (timing.stage().phase(), timing.took().as_secs_f64());
        match timing.failed().map(glassbox_verdict::reason::Reason::as_str) {
            None => tracing::debug!(
                target: "prober", module, %target, url, proxy, peer, phase, duration_seconds, "Phase finished"
            ),
            Some(reason) => tracing::debug!(
                target: "prober", module, %target, url, proxy, peer, phase, duration_seconds, reason, "Phase failed"
            ),
        }
    }
}
