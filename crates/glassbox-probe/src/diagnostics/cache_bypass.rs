//! Repeats the request with a unique query string, so that no cache can have stored the response.

use super::{Diagnostic, DiagnosticKey, DiagnosticsRun, Moment, Occasion, experiment};
use crate::probers::{Variant, When};
use glassbox_verdict::investigation::DiagnosticKind;

pub(super) const DIAGNOSTIC: Diagnostic = Diagnostic {
    kind: DiagnosticKind::CacheBypass,
    name: "cache_bypass",
    key: Some(DiagnosticKey::WhenOrEvery(When::Never)),
    title: "The edge, bypassing its caches",
    changes: "the query: a unique one, which no cache can have stored",
    every: None,
    when: "a rejected status code; with a healthy edge, each probe or every Nth probe, or if the last response hid \
           a broken link",
    cost: "1",
    depends_on_others: false,
    due,
    failed: experiment::failed,
    concludes: experiment::follows_the_change,
    run: |run, _| Box::pin(run.ask_edge(Variant::CacheBypass(nonce()))),
};

fn due(run: &DiagnosticsRun<'_>, occasion: Occasion<'_>) -> bool {
    match occasion.moment {
        Moment::Early => false,
        Moment::Failed(_) => {
            DIAGNOSTIC.when(&run.module.diagnostics) != When::Never && occasion.rejected_status().is_some()
        }
        Moment::Succeeded(_) => match DIAGNOSTIC.when(&run.module.diagnostics) {
            When::Always => true,
            When::Every(nth) => run.previous.masked || run.previous.probes.is_multiple_of(nth.max(1)),
            When::OnFailure => run.previous.masked,
            When::Never => false,
        },
    }
}

/// A number that no earlier request contained.
fn nonce() -> u64 {
    getrandom::u64().unwrap_or_default()
}
