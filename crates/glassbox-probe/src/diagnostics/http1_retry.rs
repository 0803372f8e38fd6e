//! Repeats a request over HTTP/1.1 if its response came over HTTP/2. Only HTTP/1.1 has a reason phrase, which may name the
//! cause.

use super::{Diagnostic, DiagnosticsRun, Occasion, experiment};
use crate::probers::Variant;
use glassbox_verdict::investigation::DiagnosticKind;
use glassbox_verdict::report::Exchange;

pub(super) const DIAGNOSTIC: Diagnostic = Diagnostic {
    kind: DiagnosticKind::Http1Retry,
    name: "http1_retry",
    key: None,
    title: "The edge, over HTTP/1.1",
    changes: "the version: HTTP/1.1, whose responses have a reason phrase",
    every: None,
    when: "a rejected status code over HTTP/2, if the method is GET or HEAD",
    cost: "1",
    depends_on_others: false,
    due,
    failed: experiment::failed,
    concludes: experiment::follows_the_change,
    run: |run, _| Box::pin(run.ask_edge(Variant::Http1)),
};

fn due(_: &DiagnosticsRun<'_>, occasion: Occasion<'_>) -> bool {
    occasion.rejected_status().is_some_and(|edge| {
        let last = edge.last_exchange();
        let method = last.and_then(|exchange| exchange.method.as_deref());
        last.is_some_and(Exchange::speaks_http2) && matches!(method, Some("GET" | "HEAD"))
    })
}
