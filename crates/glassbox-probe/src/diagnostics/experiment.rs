//! A diagnostic as an experiment, for the evidence: what it changed, how often it repeated the request, how often that
//! failed, and the conclusion.

use super::Diagnostic;
use glassbox_verdict::investigation::BudgetRefusal;
use glassbox_verdict::investigation::{DiagnosticRequest, Investigation};
use glassbox_verdict::report::Report;

/// One diagnostic of a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Experiment {
    /// Name of the diagnostic.
    pub name: &'static str,
    /// The one thing that it changed.
    pub changed: &'static str,
    /// Number of requests, or of handshakes.
    pub repeated: usize,
    /// How many of them failed.
    pub failed: usize,
    /// Conclusion from them, or the budget that refused them.
    pub conclusion: Result<&'static str, BudgetRefusal>,
}

/// All diagnostics of a probe, compared with the probe of the edge.
#[must_use]
pub fn experiments(edge: &Report, investigation: &Investigation) -> Vec<Experiment> {
    let results = investigation.results().iter().map(|result| {
        let diagnostic = Diagnostic::of(result.kind);
        let requests = result.outcome.requests();
        let failed = requests.iter().filter(|request| (diagnostic.failed)(request.report()));
        Experiment {
            name: diagnostic.name,
            changed: diagnostic.changes,
            repeated: requests.len(),
            failed: failed.count(),
            conclusion: match result.outcome.refusal() {
                Some(refusal) => Err(refusal),
                None => Ok(qualified((diagnostic.concludes)(edge, &requests), investigation)),
            },
        }
    });
    results.collect()
}

/// If repeated requests also succeed, a success proves nothing about the change.
fn qualified(conclusion: &'static str, investigation: &Investigation) -> &'static str {
    let is_intermittent = investigation.repeated().iter().any(Report::succeeded);
    if conclusion == DISAPPEARS && is_intermittent {
        "inconclusive: the request succeeds, but so do unchanged ones"
    } else {
        conclusion
    }
}

/// Conclusion if only the changed request succeeds.
const DISAPPEARS: &str = "the failure disappears with this change";

/// Whether a repeated request failed.
pub(super) const fn failed(report: &Report) -> bool {
    !report.succeeded()
}

/// Whether the failure follows the change: it disappears or appears with it.
pub(super) fn follows_the_change(edge: &Report, requests: &[DiagnosticRequest<'_>]) -> &'static str {
    if requests.iter().any(|request| request.report().failed_locally()) {
        return "inconclusive: the exporter could not send a request";
    }
    let mut faults = requests.iter().filter_map(|request| request.report().fault.as_ref());
    if faults.any(|fault| fault.at_deadline) {
        return "inconclusive: a request had no result at its deadline";
    }
    let failed = requests.iter().filter(|request| failed(request.report())).count();
    match (edge.succeeded(), failed) {
        (true, 0) => "no difference: both succeed",
        (false, 0) => DISAPPEARS,
        (true, _) if failed == requests.len() => "a failure appears with this change",
        (false, _) if failed == requests.len() => "the request also fails with this change",
        _ => "some of the requests fail, others succeed",
    }
}

#[cfg(test)]
mod tests {
    use super::{Experiment, experiments};
    use crate::check::{Check, ProbeContext};
    use glassbox_verdict::backend::Backend;
    use glassbox_verdict::investigation::BudgetRefusal;
    use glassbox_verdict::investigation::{DiagnosticKind, DiagnosticOutcome, DirectRequest, Investigation};
    use glassbox_verdict::reason::Reason;
    use glassbox_verdict::report::Report;
    use std::time::Duration;

    fn report(fault: Option<Reason>) -> Report {
        let mut check = Check::new(&ProbeContext::default(), Duration::from_secs(1));
        if let Some(reason) = fault {
            let _stopped = check.fail(reason, "on purpose");
        }
        check.finish()
    }

    fn one(edge: &Report, kind: DiagnosticKind, outcome: DiagnosticOutcome) -> Experiment {
        let mut investigation = Investigation::default();
        investigation.put(kind, outcome);
        experiments(edge, &investigation).remove(0)
    }

    #[test]
    fn a_failure_that_follows_the_change_says_so_and_one_without_a_result_does_not() {
        let (good, bad) = (report(None), report(Some(Reason::HttpStatus)));
        let mut late = report(Some(Reason::HttpTimedOutWaiting));
        late.fault.as_mut().unwrap().at_deadline = true;
        let edge_of = |report: &Report| DiagnosticOutcome::Edge(Box::new(report.clone()));
        for (edge, repeated, failed, conclusion) in [
            (&bad, &good, 0, "the failure disappears with this change"),
            (&bad, &bad, 1, "the request also fails with this change"),
            (&good, &bad, 1, "a failure appears with this change"),
            (&good, &good, 0, "no difference: both succeed"),
            (&bad, &late, 1, "inconclusive: a request had no result at its deadline"),
        ] {
            let found = one(edge, DiagnosticKind::CacheBypass, edge_of(repeated));
            assert_eq!((found.repeated, found.failed), (1, failed));
            assert_eq!(found.conclusion, Ok(conclusion));
        }
        let addresses = ["192.0.2.1", "192.0.2.2"].map(|address| address.parse().unwrap());
        let addresses = addresses.into_iter().zip([good.clone(), bad.clone()]).collect();
        let found = one(
            &good,
            DiagnosticKind::Addresses,
            DiagnosticOutcome::Addresses(addresses),
        );
        assert_eq!((found.repeated, found.failed), (2, 1));
        assert_eq!(found.conclusion, Ok("some of the requests fail, others succeed"));
    }

    /// The edge is expected to reject the reference request. A handshake has no response at all.
    #[test]
    fn a_request_that_must_be_rejected_fails_only_without_a_response() {
        let silent = report(Some(Reason::HttpClosedBeforeResponse));
        for kind in [DiagnosticKind::ReferenceRequest, DiagnosticKind::Handshake] {
            let found = one(&silent, kind, DiagnosticOutcome::Edge(Box::new(silent.clone())));
            assert_eq!(found.failed, 1);
            assert!(found.conclusion.unwrap().starts_with("inconclusive"));
        }
    }

    #[test]
    fn a_diagnostic_that_did_not_run_is_neither_a_failure_nor_a_success() {
        let refused = DiagnosticOutcome::NotRun(BudgetRefusal::Target);
        let found = one(&report(None), DiagnosticKind::Backends, refused);
        assert_eq!((found.repeated, found.failed), (0, 0));
        assert_eq!(found.conclusion, Err(BudgetRefusal::Target));
    }

    #[test]
    fn each_report_can_have_timed_out() {
        let mut late = report(Some(Reason::HttpTimedOutWaiting));
        late.fault.as_mut().unwrap().at_deadline = true;
        let direct = |report: &Report, handshake: Option<&Report>| {
            let mut direct = DirectRequest::new(Backend::new("app", "192.0.2.1:80").unwrap(), report.clone());
            direct.handshake = handshake.cloned();
            DiagnosticOutcome::Direct(vec![direct])
        };
        let good = report(None);
        let edge_of = |report: &Report| DiagnosticOutcome::Edge(Box::new(report.clone()));
        let address =
            |report: &Report| DiagnosticOutcome::Addresses(vec![("192.0.2.2".parse().unwrap(), report.clone())]);
        for (kind, outcome, has_timeouts) in [
            (DiagnosticKind::Backends, direct(&good, Some(&good)), false),
            (DiagnosticKind::Backends, direct(&late, None), true),
            (DiagnosticKind::Backends, direct(&good, Some(&late)), true),
            (DiagnosticKind::CacheBypass, edge_of(&late), true),
            (DiagnosticKind::Http1Retry, edge_of(&late), true),
            (DiagnosticKind::ReferenceRequest, edge_of(&late), true),
            (DiagnosticKind::Handshake, edge_of(&late), true),
            (DiagnosticKind::Addresses, address(&good), false),
            (DiagnosticKind::Addresses, address(&late), true),
            (
                DiagnosticKind::Addresses,
                DiagnosticOutcome::NotRun(BudgetRefusal::Target),
                false,
            ),
        ] {
            let mut investigation = Investigation::default();
            investigation.put(kind, outcome);
            assert_eq!(investigation.has_timeouts(), has_timeouts, "{kind:?}");
        }
    }

    #[test]
    fn a_diagnostic_that_did_not_run_replaces_no_result() {
        let (kind, mut investigation) = (DiagnosticKind::CacheBypass, Investigation::default());
        let ran = || DiagnosticOutcome::Edge(Box::new(report(None)));
        let not_run = || DiagnosticOutcome::NotRun(BudgetRefusal::Process);
        for (outcome, any_ran) in [(not_run(), false), (ran(), true), (not_run(), true)] {
            investigation.put(kind, outcome);
            assert_eq!(investigation.any_ran(), any_ran);
            assert_eq!(investigation.any_refused(), !any_ran);
        }
    }
}
