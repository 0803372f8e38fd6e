//! One finding as JSON: the facts that support the verdict. An allowlist selects the header values that are shown.

use super::durations::words;
use super::reproduce;
use crate::history::HistoryEntry;
use glassbox_probe::diagnostics::{Diagnostic, experiments};
use glassbox_probe::probe::Finding;
use glassbox_probe::secret::MASK;
use glassbox_verdict::investigation::{DiagnosticOutcome, DirectRequest, Investigation, Vantage};
use glassbox_verdict::reason::Reason;
use glassbox_verdict::report::{
    Certificate, ClockSource, ClockSources, Deviations, Dialogue, Exchange, IoTimes, Reply, Report, TlsFacts,
    TlsInspection,
};
use glassbox_verdict::stage_log::StageTiming;
use glassbox_verdict::utc::rfc3339;
use glassbox_verdict::verdict::{Side, Verdict};
use http::{HeaderName, HeaderValue};
use serde_json::{Value, json};
use std::time::Duration;

/// Response fields that are shown with their values. They identify the sender and its decision, and contain no
/// secrets.
const SHOWN_HEADERS: [&str; 32] = [
    "accept-ranges",
    "age",
    "allow",
    "alt-svc",
    "cache-control",
    "cache-status",
    "cf-cache-status",
    "cf-ray",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "date",
    "expires",
    "last-modified",
    "proxy-status",
    "retry-after",
    "server",
    "server-timing",
    "strict-transport-security",
    "transfer-encoding",
    "upgrade",
    "vary",
    "via",
    "warning",
    "x-cache",
    "x-cache-hits",
    "x-powered-by",
    "x-served-by",
    "x-squid-error",
    "x-varnish",
    "x-vercel-error",
];

/// Number of bytes shown from the start of an invalid response.
const FIRST_WORD: usize = 32;

/// The evidence of a finding. Times are seconds, relative to the start of the probe.
#[must_use]
pub fn json(entry: &HistoryEntry) -> Value {
    let finding = &entry.finding;
    json!({
        "id": entry.id.to_string(),
        "url": entry.url(),
        "module": *finding.module.name,
        "target": target(finding),
        "hostname": finding.requested.hostname,
        "success": finding.report.succeeded(),
        "late": finding.late,
        "lag_seconds": finding.lag.map(seconds),
        "verdict": finding.verdict.as_ref().map(verdict),
        "reproduce": reproduce::of_target(finding),
        "investigation": finding.investigation.as_deref().map(|found| investigation(finding, found)),
        "diagnostics": diagnostics(finding),
        "controls": finding.vantage.as_deref().map(vantage),
    })
}

/// The target and the report of its probe.
fn target(finding: &Finding) -> Value {
    let mut report = report(&finding.report);
    report["name"] = finding.requested.target.to_string().into();
    report
}

fn investigation(finding: &Finding, investigation: &Investigation) -> Value {
    let mut shown = json!({ "duration_seconds": seconds(investigation.took) });
    for result in investigation.results() {
        shown[Diagnostic::of(result.kind).name] = match &result.outcome {
            DiagnosticOutcome::Direct(direct) => direct.iter().map(|direct| backend(finding, direct)).collect(),
            DiagnosticOutcome::Edge(edge) => report(edge),
            DiagnosticOutcome::Repeated { edge, direct } => json!({
                "target": edge.iter().map(report).collect::<Vec<_>>(),
                "backends": direct.iter().map(|direct| backend(finding, direct)).collect::<Vec<_>>(),
            }),
            DiagnosticOutcome::Addresses(addresses) => {
                let shown = addresses
                    .iter()
                    .map(|(address, asked)| json!({ "address": address, "report": report(asked) }));
                shown.collect()
            }
            DiagnosticOutcome::NotRun(_) => continue,
        };
    }
    shown
}

/// Each diagnostic as an experiment. One that did not run has no conclusion, but the budget that refused it.
fn diagnostics(finding: &Finding) -> Vec<Value> {
    let found = finding.investigation.as_deref();
    let experiments = found.map(|found| experiments(&finding.report, found));
    let shown = experiments.into_iter().flatten().map(|experiment| {
        let mut shown = json!({
            "name": experiment.name,
            "changed": experiment.changed,
            "repeated": experiment.repeated,
            "failed": experiment.failed,
        });
        match experiment.conclusion {
            Ok(conclusion) => shown["conclusion"] = conclusion.into(),
            Err(refusal) => shown["skipped"] = format!("not run: budget ({})", refusal.key()).into(),
        }
        shown
    });
    shown.collect()
}

fn backend(finding: &Finding, direct: &DirectRequest) -> Value {
    json!({
        "name": direct.backend.name,
        "address": direct.backend.to_string(),
        "tls": direct.backend.tls,
        "reachable": direct.reachable,
        "success": direct.report.succeeded(),
        "reproduce": reproduce::of_backend(finding, direct),
        "report": report(&direct.report),
        "handshake": direct.handshake.as_ref().map(report),
    })
}

fn vantage(vantage: &Vantage) -> Value {
    json!({
        "healthy": vantage.healthy(),
        "captive": vantage.captive,
        "quorum_failed": vantage.outage,
        "stale": vantage.stale,
        "asked": vantage.controls.iter().map(|control| json!({
            "what": control.what,
            "outcome": control.outcome.as_str(),
            "detail": control.detail,
        })).collect::<Vec<_>>(),
    })
}

fn verdict(verdict: &Verdict) -> Value {
    json!({
        "link": verdict.link.as_str(),
        "reason": verdict.reason.as_str(),
        "reasons": verdict.reasons.iter().map(|reason| reason.as_str()).collect::<Vec<_>>(),
        "phase": verdict.stage.phase(),
        "side": verdict.side.map(Side::as_str),
        "between": verdict.between,
        "answered_by": verdict.answered_by_label(),
        "certainty": verdict.certainty.as_str(),
        "rule": verdict.rule.as_str(),
        "masked": verdict.masked,
        "sentence": verdict.summary,
    })
}

fn report(report: &Report) -> Value {
    let unattributed = report.unattributed();
    json!({
        "began": rfc3339(report.began),
        "duration_seconds": seconds(report.took),
        "timeout_seconds": seconds(report.timeout),
        "unattributed_seconds": seconds(unattributed),
        "fault": report.fault.as_ref().map(|fault| json!({
            "phase": fault.stage.phase(),
            "reason": fault.reason.as_str(),
            "detail": fault.detail,
        })),
        "exchanges": report.exchanges.iter().map(exchange).collect::<Vec<_>>(),
    })
}

fn exchange(exchange: &Exchange) -> Value {
    json!({
        "method": exchange.method,
        "url": exchange.url,
        "for_credentials": exchange.for_credentials,
        "addresses": exchange.addresses,
        "chosen": exchange.chosen,
        "proxy": exchange.proxy,
        "peer": exchange.peer,
        "local": exchange.local,
        "phases": exchange.stage_log.timings().iter().map(timing).collect::<Vec<_>>(),
        "tls": exchange.tls.as_ref().map(tls),
        "tls_inspection": exchange.inspection.as_deref().map(inspection),
        "socket": exchange.socket.map(|socket| json!({
            "rtt_seconds": socket.rtt.map(seconds),
            "retransmits": socket.retransmits,
        })),
        "bytes_written": exchange.wire.written,
        "bytes_read": exchange.wire.read,
        "below_tls": io_times(exchange.wire.below_tls),
        "above_tls": io_times(exchange.wire.above_tls),
        "clocks": clocks(exchange.wire.clocks),
        "notes": notes(exchange).collect::<Vec<_>>(),
        "first_bytes": first_bytes(exchange),
        "reply": exchange.reply.as_ref().map(|answer| reply(answer, &exchange.deviations)),
        "dialogue": exchange.dialogue().map(dialogue),
    })
}

fn dialogue(dialogue: &Dialogue) -> Value {
    json!({
        "steps_done": dialogue.steps,
        "failed_step": dialogue.failed.as_ref().map(|failed| json!({
            "step": failed.number,
            "expected": failed.expected,
            "received": failed.received,
        })),
        "close_code": dialogue.close_code,
    })
}

fn io_times(io_times: IoTimes) -> Value {
    json!({
        "first_write_seconds": io_times.first_write.map(seconds),
        "last_write_seconds": io_times.last_write.map(seconds),
        "first_read_seconds": io_times.first_read.map(seconds),
        "last_read_seconds": io_times.last_read.map(seconds),
    })
}

/// The source of the timestamps, and the exporter's delay.
fn clocks(clocks: ClockSources) -> Value {
    let name = |clock| match clock {
        ClockSource::Kernel => "kernel",
        ClockSource::Exporter => "exporter",
    };
    json!({
        "connected": name(clocks.connected),
        "secured": name(clocks.secured),
        "first_byte": name(clocks.first_byte),
        "first_byte_uncertainty_seconds": clocks.first_byte_doubt.map(seconds),
        "last_byte": name(clocks.last_byte),
        "wakeup_delay_seconds": clocks.wakeup_delay.map(seconds),
        "scheduling_delay_seconds": seconds(clocks.scheduling_delay),
    })
}

/// Notes on the figures of an exchange.
pub(super) fn notes(exchange: &Exchange) -> impl Iterator<Item = String> + use<> {
    let doubt = exchange.wire.clocks.first_byte_doubt;
    doubt.into_iter().map(|doubt| {
        format!(
            "The exporter read the response late, and the kernel had merged its packets: the first byte may have arrived up to {} \
             before its timestamp. Only the sum of the phases processing and transfer is known, so the histograms do not \
             observe these phases.",
            words(doubt)
        )
    })
}

fn timing(timing: &StageTiming) -> Value {
    json!({
        "phase": timing.stage().phase(),
        "start_seconds": seconds(timing.begun()),
        "duration_seconds": seconds(timing.took()),
        "failed": timing.failed().map(Reason::as_str),
    })
}

fn tls(facts: &TlsFacts) -> Value {
    json!({
        "version": facts.version,
        "cipher": facts.cipher,
        "alpn": facts.alpn,
        "client_certificate_requested": facts.client_cert_asked,
        "verified_until": facts.verified_until,
        "note": facts.note,
        "chain": facts.chain.iter().map(certificate).collect::<Vec<_>>(),
    })
}

fn inspection(inspection: &TlsInspection) -> Value {
    json!({
        "because": inspection.because,
        "answer": inspection.answer,
        "blackbox_exporter_connects": inspection.blackbox_connects,
        "repeated_with_second_library": inspection.repeated,
    })
}

fn certificate(certificate: &Certificate) -> Value {
    json!({
        "subject": certificate.subject,
        "issuer": certificate.issuer,
        "serial": certificate.serial,
        "fingerprint_sha256": certificate.fingerprint_sha256,
        "dns_names": certificate.dns_names,
        "not_before": certificate.not_before,
        "not_after": certificate.not_after,
    })
}

fn reply(reply: &Reply, deviations: &Deviations) -> Value {
    let headers: Vec<Value> = reply
        .headers
        .iter()
        .map(|(name, value)| json!({ "name": name.as_str(), "value": shown_value(name, value) }))
        .collect();
    json!({
        "status": reply.status,
        "reason_phrase": reply.reason_phrase,
        "version": reply.version,
        "headers": headers,
        "deviations": deviations.names(),
        "overrun": reply.overrun,
        "content_length": reply.declared_length,
        "body_length": reply.body_length,
    })
}

/// The value of a response field for display.
pub(super) fn shown_value(name: &HeaderName, value: &HeaderValue) -> String {
    if SHOWN_HEADERS.contains(&name.as_str()) {
        String::from_utf8_lossy(value.as_bytes()).into_owned()
    } else {
        MASK.to_owned()
    }
}

/// The first bytes of an invalid HTTP or TLS response, where they are the evidence. The bytes after them may echo
/// the request or contain secrets. A valid response is shown by its fields instead.
pub(super) fn first_bytes(exchange: &Exchange) -> Option<String> {
    let came = &exchange.wire.excerpt;
    let word = came.split(u8::is_ascii_whitespace).next().unwrap_or_default();
    let shown = &word[..word.len().min(FIRST_WORD)];
    (exchange.reply.is_none() && !came.is_empty()).then(|| shown.escape_ascii().to_string())
}

fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::SHOWN_HEADERS;

    #[test]
    fn no_shown_header_carries_credentials() {
        assert!(SHOWN_HEADERS.is_sorted());
        for secret in ["set-cookie", "authorization", "location", "www-authenticate"] {
            assert!(!SHOWN_HEADERS.contains(&secret));
        }
    }
}
