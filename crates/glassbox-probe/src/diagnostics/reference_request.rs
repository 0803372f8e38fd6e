//! Sends the edge a request that every gateway rejects by itself. The response shows that the edge works, and what its own
//! error page looks like.

use super::{Diagnostic, DiagnosticKey, DiagnosticsRun, Moment, Occasion};
use crate::probers::{Variant, When};
use glassbox_verdict::investigation::{DiagnosticKind, DiagnosticRequest};
use glassbox_verdict::report::Report;
use std::time::Duration;

pub(super) const DIAGNOSTIC: Diagnostic = Diagnostic {
    kind: DiagnosticKind::ReferenceRequest,
    name: "reference_request",
    key: Some(DiagnosticKey::Switch(When::Never)),
    title: "The edge, with a request that every gateway rejects",
    changes: "the header: a space in the name of a field, which every gateway rejects by itself",
    every: Some(Duration::from_hours(1)),
    when: "a failure after the connection was established, or no response after half of the time; up to once an hour",
    cost: "1",
    depends_on_others: false,
    due,
    failed: |report| report.final_reply().is_none(),
    concludes,
    run: |run, _| Box::pin(run.ask_edge(Variant::Refusable)),
};

/// A client error, or 501, is the edge's own rejection. Any other response may come from a backend.
fn concludes(_: &Report, requests: &[DiagnosticRequest<'_>]) -> &'static str {
    let mut replies = requests.iter().map(|request| request.report().final_reply());
    match replies.next().flatten().map(|reply| reply.status) {
        Some(400 | 431 | 501 | 505) => "the edge works: it rejects this request by itself",
        Some(_) => "inconclusive: the response may come from a backend",
        None => "inconclusive: no response",
    }
}

fn due(run: &DiagnosticsRun<'_>, occasion: Occasion<'_>) -> bool {
    let permitted = DIAGNOSTIC.when(&run.module.diagnostics) != When::Never && run.is_due(&DIAGNOSTIC);
    permitted
        && match occasion.moment {
            Moment::Early => true,
            Moment::Failed(edge) => {
                let reached = edge
                    .last_exchange()
                    .is_some_and(|exchange| exchange.peer.is_some() && exchange.local.is_some());
                reached && occasion.begun.reference().is_none()
            }
            Moment::Succeeded(_) => false,
        }
}
