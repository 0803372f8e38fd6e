//! Tries a TLS handshake on a port that did not respond in plain text: it may expect TLS.

use super::{Diagnostic, DiagnosticsRun, Moment, Occasion, of_edge};
use glassbox_verdict::chain::Stage;
use glassbox_verdict::investigation::{DiagnosticKind, DiagnosticRequest};
use glassbox_verdict::reason::Reason;
use glassbox_verdict::report::{Deviation, Report};

pub(super) const DIAGNOSTIC: Diagnostic = Diagnostic {
    kind: DiagnosticKind::Handshake,
    name: "handshake",
    key: None,
    title: "A handshake with the edge",
    changes: "the protocol: a TLS handshake instead of plain text, without a request",
    every: None,
    when: "plain text received no response, or one that is not HTTP",
    cost: "0",
    depends_on_others: false,
    due,
    failed: |report| !speaks_tls(report),
    concludes,
    run: |run, _| Box::pin(async { Ok(run.shake_hands(None).await.map(of_edge)) }),
};

/// Whether the server took part in the handshake.
fn speaks_tls(report: &Report) -> bool {
    report.last_exchange().is_some_and(|exchange| exchange.tls.is_some())
}

fn concludes(_: &Report, requests: &[DiagnosticRequest<'_>]) -> &'static str {
    if requests.iter().any(|request| speaks_tls(request.report())) {
        "the port expects TLS"
    } else {
        "inconclusive: no TLS handshake"
    }
}

fn due(run: &DiagnosticsRun<'_>, occasion: Occasion<'_>) -> bool {
    match occasion.moment {
        Moment::Early => run.module.prober.reads_plaintext_first(),
        Moment::Failed(edge) => may_want_tls(edge),
        Moment::Succeeded(_) => false,
    }
}

/// Whether plain text received no response, or none that is HTTP: the port may expect TLS.
pub(super) fn may_want_tls(report: &Report) -> bool {
    let plain = report.last_exchange().is_some_and(|exchange| {
        !exchange.wants_tls && exchange.reply.is_none() && exchange.proxy.is_none() && exchange.peer.is_some()
    });
    let silent = report.last_exchange().is_some_and(|exchange| exchange.wire.read == 0);
    // A response that begins like HTTP came from an HTTP server, regardless of the rest.
    let no_http = report
        .last_exchange()
        .is_some_and(|exchange| exchange.deviations.has(Deviation::NotHttp));
    plain
        && report.fault.as_ref().is_some_and(|fault| {
            matches!(fault.reason, Reason::HttpClosedBeforeResponse | Reason::HttpFailed)
                || (fault.reason == Reason::HttpResponseInvalid && no_http)
                || (fault.reason == Reason::TcpReset && fault.stage > Stage::Connect)
                || (fault.reason == Reason::TcpClosed && fault.stage > Stage::Connect && silent)
        })
}
