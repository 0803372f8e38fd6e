//! Repeats the same requests if the edge fails and a backend is healthy. One success beside a failing edge proves nothing
//! about an intermittent fault: only the counts show whether one of the two fails more often.

use super::backends::ask_backend;
use super::{Diagnostic, DiagnosticsRun, Moment, Occasion, Permitted, Ran, all};
use crate::probers::Variant;
use glassbox_verdict::backend::Backend;
use glassbox_verdict::investigation::{DiagnosticKind, DiagnosticOutcome, DiagnosticRequest, DirectRequest};
use glassbox_verdict::report::Report;

/// Number of repetitions. With the failed request, this is the lowest number of requests that shows a difference.
const TIMES: usize = 2;

pub(super) const DIAGNOSTIC: Diagnostic = Diagnostic {
    kind: DiagnosticKind::Repetition,
    name: "repetition",
    key: None,
    title: "Repeated request",
    changes: "nothing: the same request again, to the edge and to each backend in turn",
    every: None,
    when: "a failed request with a safe method, if a backend succeeded when asked directly, until three requests to \
           the edge failed in a row",
    cost: "two for the edge and two for each member of each backend",
    depends_on_others: true,
    due,
    failed: super::experiment::failed,
    concludes,
    run: |run, occasion| Box::pin(repeat(run, occasion)),
};

fn due(run: &DiagnosticsRun<'_>, occasion: Occasion<'_>) -> bool {
    let Moment::Failed(edge) = occasion.moment else {
        return false;
    };
    let succeeded = |direct: &DirectRequest| direct.report.succeeded();
    let earlier = run.previous.earlier.as_ref();
    let failed_before = earlier.map_or(0, |earlier| earlier.streak.edge.failed as usize);
    occasion.begun.repeated().is_empty()
        && occasion.begun.backends().iter().any(succeeded)
        && failed_before < TIMES
        && is_repeatable(edge)
        && edge.took < run.left()
}

/// Whether the request reached the edge and its method is safe (RFC 9110, section 9.2.1).
fn is_repeatable(edge: &Report) -> bool {
    let last = edge.last_exchange();
    let method = last.and_then(|exchange| exchange.method.as_deref());
    matches!(method, Some("GET" | "HEAD" | "OPTIONS"))
}

/// Sends the requests in turn, so that a fault that lasts a moment meets both.
async fn repeat(run: &DiagnosticsRun<'_>, occasion: Occasion<'_>) -> Ran {
    let Moment::Failed(first) = occasion.moment else {
        return Ok(None);
    };
    let machines: Vec<Backend> = occasion
        .begun
        .backends()
        .iter()
        .map(|direct| direct.backend.clone())
        .collect();
    let permitted = run.permit(TIMES * (1 + machines.len()))?;
    let (mut edge, mut direct) = (Vec::new(), Vec::new());
    for _ in 0..TIMES {
        // A request with less time than the first one would prove nothing.
        if run.left() <= first.took {
            break;
        }
        edge.extend(run.ask_target(permitted, Variant::Original).await);
        direct.extend(ask_all(run, permitted, &machines).await);
    }
    Ok((!edge.is_empty()).then_some(DiagnosticOutcome::Repeated { edge, direct }))
}

async fn ask_all(run: &DiagnosticsRun<'_>, permitted: Permitted, machines: &[Backend]) -> Vec<DirectRequest> {
    let asked = all(machines.iter().map(|backend| ask_backend(run, permitted, backend))).await;
    asked.into_iter().flatten().collect()
}

fn concludes(_: &Report, requests: &[DiagnosticRequest<'_>]) -> &'static str {
    let edge = || {
        requests
            .iter()
            .filter(|request| matches!(request, DiagnosticRequest::Edge(_)))
    };
    let failed = edge().filter(|request| !request.report().succeeded()).count();
    if failed == edge().count() {
        "the edge fails each time"
    } else {
        "the fault is intermittent: the edge also succeeds"
    }
}
