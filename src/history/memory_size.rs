//! Estimates the memory of a finding, in bytes.
//!
//! The functions destructure every struct with all its fields, so that a new field does not compile until it is
//! counted.

use glassbox_probe::probe::Finding;
use glassbox_probe::probers::ProbeRequest;
use glassbox_verdict::backend::Backend;
use glassbox_verdict::host_port::HostPort;
use glassbox_verdict::investigation::{
    Control, DiagnosticOutcome, DiagnosticResult, DirectRequest, Investigation, Vantage,
};
use glassbox_verdict::report::{
    Certificate, DeviationFound, Dialogue, Exchange, FailedStep, Fault, ProtocolFacts, Reply, Report, TlsFacts,
    TlsInspection, WireFacts,
};
use glassbox_verdict::verdict::Verdict;
use http::HeaderMap;
use std::mem::{size_of, size_of_val};

/// Overhead of an allocation, in bytes.
const EACH: usize = 16;

/// Size of a header map entry without its strings, in bytes: the bucket and the slot in the index.
const EACH_FIELD: usize = 112 + 8;

/// Returns the estimated size of a finding in bytes.
pub(super) fn of(finding: &Finding) -> usize {
    let Finding {
        // Shared with the configuration.
        module: _,
        requested: ProbeRequest {
            target,
            hostname,
            backends,
        },
        report,
        repeats: _,
        investigation,
        reused: _,
        vantage,
        lag: _,
        late: _,
        verdict,
    } = finding;
    let verdict = verdict.as_ref().map_or(0, |verdict| {
        let Verdict { reasons, summary, .. } = verdict;
        list(reasons, |_| 0) + text(summary)
    });
    // The target occurs twice: in the finding, and in the key of the newest failure.
    size_of::<Finding>()
        + 2 * (target.written().len() + EACH)
        + optional(hostname.as_ref())
        + list(backends, backend)
        + self::report(report)
        + investigation.as_deref().map_or(0, investigated)
        + vantage.as_deref().map_or(0, seen)
        + verdict
}

fn text(text: &String) -> usize {
    match text.capacity() {
        0 => 0,
        bytes => bytes + EACH,
    }
}

fn optional(text: Option<&String>) -> usize {
    text.map_or(0, self::text)
}

fn list<T>(list: &Vec<T>, each: impl Fn(&T) -> usize) -> usize {
    let room = match list.capacity() {
        0 => 0,
        room => room * size_of::<T>() + EACH,
    };
    room + list.iter().map(each).sum::<usize>()
}

fn fields(fields: &HeaderMap) -> usize {
    let texts = fields
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 2 * EACH);
    fields.capacity() * EACH_FIELD + texts.sum::<usize>()
}

fn backend(backend: &Backend) -> usize {
    let Backend {
        name,
        address,
        members,
        tls: _,
        sni,
        authority,
        reachable: _,
        trusted: _,
    } = backend;
    let host = |address: &HostPort| address.host().as_str().len() + EACH;
    text(name) + host(address) + list(members, host) + optional(sni.as_ref()) + optional(authority.as_ref())
}

fn report(report: &Report) -> usize {
    let Report {
        began: _,
        took: _,
        timeout: _,
        exchanges,
        fault,
    } = report;
    let fault = fault.as_ref().map_or(0, |fault| {
        let Fault {
            stage: _,
            reason: _,
            detail,
            at_deadline: _,
        } = fault;
        text(detail)
    });
    list(exchanges, exchange) + fault
}

fn exchange(exchange: &Exchange) -> usize {
    let Exchange {
        url,
        method,
        authority,
        tls_name,
        wants_tls: _,
        stage_log,
        addresses,
        chosen: _,
        proxy,
        has_proxy: _,
        parts: _,
        for_credentials: _,
        peer: _,
        local: _,
        tls,
        inspection,
        socket: _,
        wire,
        reply,
        deviations,
        spoken,
    } = exchange;
    let WireFacts { excerpt, .. } = wire;
    let texts = [method, authority, tls_name, proxy];
    text(url)
        + texts.into_iter().map(|text| optional(text.as_ref())).sum::<usize>()
        + std::mem::size_of_val(stage_log.timings())
        + EACH
        + list(addresses, |_| 0)
        + tls.as_ref().map_or(0, self::tls)
        + inspection.as_deref().map_or(0, inspected)
        + list(excerpt, |_| 0)
        + reply.as_ref().map_or(0, self::reply)
        + deviations.iter().map(deviation).sum::<usize>()
        + spoken.as_ref().map_or(0, self::spoken)
}

fn deviation(found: &DeviationFound) -> usize {
    let DeviationFound { deviation: _, field } = found;
    // The list's capacity may be twice its length.
    2 * size_of::<DeviationFound>() + optional(field.as_ref())
}

fn tls(tls: &TlsFacts) -> usize {
    let TlsFacts {
        version: _,
        cipher,
        alpn,
        client_cert_asked: _,
        chain,
        verified_until: _,
        note,
    } = tls;
    let texts = [cipher, alpn, note];
    list(chain, certificate) + texts.into_iter().map(|text| optional(text.as_ref())).sum::<usize>()
}

fn certificate(certificate: &Certificate) -> usize {
    let Certificate {
        subject,
        issuer,
        serial,
        fingerprint_sha256,
        dns_names,
        not_before: _,
        not_after: _,
    } = certificate;
    let texts = [subject, issuer, serial, fingerprint_sha256];
    texts.into_iter().map(text).sum::<usize>() + list(dns_names, text)
}

fn inspected(inspection: &TlsInspection) -> usize {
    let TlsInspection {
        answer,
        blackbox_connects: _,
        repeated: _,
        because,
    } = inspection;
    size_of::<TlsInspection>() + EACH + optional(answer.as_ref()) + text(because)
}

fn reply(reply: &Reply) -> usize {
    let Reply {
        status: _,
        version: _,
        headers,
        head_size: _,
        trailers,
        reason_phrase,
        declared_length: _,
        body_length: _,
        overrun: _,
        body_start,
    } = reply;
    fields(headers) + fields(trailers) + optional(reason_phrase.as_ref()) + list(body_start, |_| 0)
}

fn spoken(spoken: &ProtocolFacts) -> usize {
    let ProtocolFacts::Dialogue(Dialogue {
        steps: _,
        mismatch: _,
        labels,
        failed,
        close_code: _,
    }) = spoken
    else {
        return 0;
    };
    let failed = failed.as_ref().map_or(0, |failed| {
        let FailedStep {
            number: _,
            expected,
            received,
        } = failed;
        optional(expected.as_ref()) + list(received, text)
    });
    failed + list(labels, |labels| list(labels, |(name, value)| text(name) + text(value)))
}

fn investigated(investigation: &Investigation) -> usize {
    let direct = |direct: &DirectRequest| {
        let DirectRequest {
            backend,
            report,
            handshake,
            ..
        } = direct;
        self::backend(backend) + self::report(report) + handshake.as_ref().map_or(0, self::report)
    };
    let result = |result: &DiagnosticResult| match &result.outcome {
        DiagnosticOutcome::Direct(requests) => list(requests, direct),
        DiagnosticOutcome::Repeated { edge, direct: requests } => list(edge, self::report) + list(requests, direct),
        DiagnosticOutcome::Edge(report) => size_of::<Report>() + EACH + self::report(report),
        DiagnosticOutcome::Addresses(addresses) => list(addresses, |(_, report)| self::report(report)),
        DiagnosticOutcome::NotRun(_) => 0,
    };
    let results = investigation.results();
    let room = EACH + size_of_val(results);
    size_of::<Investigation>() + EACH + room + results.iter().map(result).sum::<usize>()
}

fn seen(vantage: &Vantage) -> usize {
    let Vantage {
        controls,
        captive: _,
        captive_for_all: _,
        resolver_responded: _,
        portal,
        outage: _,
        stale: _,
    } = vantage;
    let control = |control: &Control| {
        let Control {
            what,
            needs_name: _,
            outcome: _,
            got_response: _,
            place,
            connects: _,
            has_answered: _,
            detail,
            began: _,
            timings,
        } = control;
        text(what) + text(place) + text(detail) + list(timings, |_| 0)
    };
    size_of::<Vantage>() + EACH + list(controls, control) + list(portal, |_| 0)
}
