//! Sends direct requests to the backends. Only their responses show on which side of a gateway the chain is broken.

use super::handshake::may_want_tls;
use super::{Diagnostic, DiagnosticKey, DiagnosticsRun, Moment, Occasion, Permitted, Ran, all, experiment};
use crate::previous_probes::REUSE;
use crate::probers::{Variant, When};
use glassbox_verdict::backend::Backend;
use glassbox_verdict::investigation::{DiagnosticKind, DiagnosticOutcome, DirectRequest};
use std::time::Duration;

pub(super) const DIAGNOSTIC: Diagnostic = Diagnostic {
    kind: DiagnosticKind::Backends,
    name: "backends",
    key: Some(DiagnosticKey::When(When::OnFailure)),
    title: "Direct request",
    changes: "the machine: the request goes directly to each backend, with the Host and SNI of the edge",
    every: Some(Duration::from_mins(10)),
    when: "a failure, or no response after half of the time; with a healthy edge, once in 10 min, or each probe \
           (`always`), or if the last response hid a broken link",
    cost: "one for each backend",
    due,
    failed: experiment::failed,
    concludes: experiment::follows_the_change,
    run: |run, _| Box::pin(ask_directly(run)),
};

fn due(run: &DiagnosticsRun<'_>, occasion: Occasion<'_>) -> bool {
    let setting = DIAGNOSTIC.when(&run.module.diagnostics);
    if setting == When::Never || !occasion.begun.backends().is_empty() || chosen(run).is_empty() {
        return false;
    }
    match occasion.moment {
        Moment::Early => !run.previous.ran_within(DIAGNOSTIC.kind, REUSE),
        Moment::Failed(_) => true,
        Moment::Succeeded(_) => setting == When::Always || run.previous.masked || run.is_due(&DIAGNOSTIC),
    }
}

/// The caller's backends replace the module's.
fn chosen<'a>(run: &'a DiagnosticsRun<'_>) -> &'a [Backend] {
    match run.requested.backends.as_slice() {
        [] => &run.module.diagnostics.backends,
        backends => backends,
    }
}

/// Sends direct requests to all backends at the same time.
async fn ask_directly(run: &DiagnosticsRun<'_>) -> Ran {
    let backends = chosen(run);
    let permitted = run.permit(backends.len())?;
    let asked = all(backends.iter().map(|backend| ask_backend(run, permitted, backend))).await;
    let direct: Vec<_> = asked.into_iter().flatten().collect();
    Ok((!direct.is_empty()).then_some(DiagnosticOutcome::Direct(direct)))
}

/// Sends one direct request. A local failure, such as an address that the policy denies, is a result too: otherwise the
/// evidence would not show why a configured backend received no request. If the backend does not respond in plain text, a handshake shows whether it expects TLS.
async fn ask_backend(run: &DiagnosticsRun<'_>, permitted: Permitted, backend: &Backend) -> Option<DirectRequest> {
    let report = run.ask(permitted, Variant::Backend(backend)).await?;
    let handshake = if !backend.tls && may_want_tls(&report) {
        run.shake_hands(Some(backend)).await
    } else {
        None
    };
    let mut direct = DirectRequest::new(backend.clone(), report);
    direct.reachable = backend.reachable || run.previous.answered.contains(&backend.place());
    direct.held_back = !backend.trusted && run.module.prober.has_module_fields(run.requested);
    direct.handshake = handshake;
    Some(direct)
}
