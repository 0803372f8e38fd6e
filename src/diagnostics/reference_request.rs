//! Sends the edge a request that every gateway rejects by itself. The response shows that the edge works, and what its own
//! error page looks like.

use super::{Diagnostic, DiagnosticsRun, Moment, Occasion};
use crate::investigation::DiagnosticKind;
use crate::probers::Variant;

pub(super) const DIAGNOSTIC: Diagnostic = Diagnostic {
    kind: DiagnosticKind::ReferenceRequest,
    name: "reference_request",
    title: "The edge, with what every gateway refuses",
    changes: "the header: a space in the name of a field, which every gateway rejects by itself",
    when: "a failure after the connection was established, or no response after half of the time; up to once an hour",
    cost: "1",
    due,
    run: |run, _| Box::pin(run.ask_edge(Variant::Refusable)),
};

fn due(run: &DiagnosticsRun<'_>, occasion: Occasion<'_>) -> bool {
    let permitted = run.module.diagnostics.reference && run.previous.due.reference;
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
