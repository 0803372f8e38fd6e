//! How often the requests of a target's latest probes failed: those to the edge, and the direct ones to each backend. One
//! success beside a failing edge proves nothing about an intermittent fault. Only the counts show whether one of them
//! fails more often than the other.

use crate::investigation::{DirectRequest, Investigation};
use crate::report::Report;
use crate::statistics::Tally;

/// Outcomes of the requests of one or several probes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcomes {
    /// Of the requests to the edge.
    pub edge: Tally,
    /// Of the direct requests to each backend, by its name.
    backends: Vec<(String, Tally)>,
}

/// Outcomes of earlier probes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EarlierOutcomes {
    /// Of the probes since the edge last succeeded.
    pub streak: Outcomes,
    /// Of all probes of the last minutes.
    pub window: Outcomes,
}

impl Outcomes {
    /// Outcomes of one probe. Requests that an earlier probe sent do not count again.
    #[must_use]
    pub fn of(edge: &Report, investigation: Option<&Investigation>) -> Self {
        let is_of_this_probe = |report: &Report| report.began >= edge.began;
        let repeated = investigation.map_or(&[] as &[Report], Investigation::repeated);
        let repeated = repeated.iter().filter(|report| is_of_this_probe(report));
        let requests = std::iter::once(edge).chain(repeated);
        let mut outcomes = Self {
            edge: Tally::of(
                requests
                    .filter(|report| !report.failed_locally())
                    .map(|report| !report.succeeded()),
            ),
            backends: Vec::new(),
        };
        let direct = investigation.into_iter().flat_map(Investigation::all_direct);
        for direct in direct.filter(|direct| is_of_this_probe(&direct.report)) {
            outcomes.count(&direct.backend.name, of_direct(direct));
        }
        outcomes
    }

    /// Of the direct requests to this backend.
    #[must_use]
    pub fn backend(&self, name: &str) -> Tally {
        let known = self.backends.iter().find(|(known, _)| known == name);
        known.map_or_else(Tally::default, |(_, tally)| *tally)
    }

    /// Adds the outcomes of another probe.
    pub fn add(&mut self, other: &Self) {
        self.edge = self.edge.plus(other.edge);
        for (name, tally) in &other.backends {
            self.count(name, *tally);
        }
    }

    /// Both together.
    #[must_use]
    pub fn plus(mut self, other: &Self) -> Self {
        self.add(other);
        self
    }

    fn count(&mut self, name: &str, tally: Tally) {
        match self.backends.iter_mut().find(|(known, _)| known == name) {
            Some((_, sum)) => *sum = sum.plus(tally),
            None => self.backends.push((name.to_owned(), tally)),
        }
    }
}

/// A request that the exporter could not send shows nothing.
fn of_direct(direct: &DirectRequest) -> Tally {
    let report = &direct.report;
    Tally::of((!report.failed_locally()).then(|| !report.succeeded()))
}

impl EarlierOutcomes {
    /// Sums the outcomes of earlier probes, the latest one first.
    pub fn of<'a>(latest_first: impl IntoIterator<Item = &'a Outcomes>) -> Self {
        let mut earlier = Self::default();
        let mut in_streak = true;
        for outcomes in latest_first {
            in_streak &= outcomes.edge.all_failed();
            if in_streak {
                earlier.streak.add(outcomes);
            }
            earlier.window.add(outcomes);
        }
        earlier
    }
}

#[cfg(test)]
mod tests {
    use super::{EarlierOutcomes, Outcomes};
    use crate::backend::Backend;
    use crate::chain::Stage;
    use crate::investigation::{DiagnosticKind, DiagnosticOutcome, DirectRequest, Investigation};
    use crate::reason::Reason;
    use crate::report::{Reply, Report, ReportBuilder};
    use crate::statistics::Tally;
    use std::time::Duration;

    fn new() -> ReportBuilder {
        ReportBuilder::new("", Duration::from_secs(1))
    }

    fn failed(reason: Reason) -> Report {
        new().fail(Stage::Connect, Duration::ZERO, reason)
    }

    fn succeeded() -> Report {
        new().reply(Reply::default(), Duration::ZERO).accept()
    }

    fn to(name: &str, report: Report) -> DirectRequest {
        DirectRequest::new(Backend::new(name, "192.0.2.1:80").unwrap(), report)
    }

    fn probe(edge: &Report, app: Report) -> Outcomes {
        let mut investigation = Investigation::default();
        let direct = DiagnosticOutcome::Direct(vec![to("app", app)]);
        investigation.put(DiagnosticKind::Backends, direct);
        Outcomes::of(edge, Some(&investigation))
    }

    #[test]
    fn repeated_requests_count_and_local_failures_do_not() {
        let mut investigation = Investigation::default();
        let first = vec![to("app", succeeded()), to("denied", failed(Reason::LocalDenied))];
        investigation.put(DiagnosticKind::Backends, DiagnosticOutcome::Direct(first));
        let repeated = DiagnosticOutcome::Repeated {
            edge: vec![succeeded(), failed(Reason::TcpRefused), failed(Reason::LocalDenied)],
            direct: vec![to("app", failed(Reason::TcpRefused)), to("app", succeeded())],
        };
        investigation.put(DiagnosticKind::Repetition, repeated);
        let outcomes = Outcomes::of(&failed(Reason::TcpRefused), Some(&investigation));
        assert_eq!(outcomes.edge, Tally::of([true, false, true]));
        assert_eq!(outcomes.backend("app"), Tally::of([false, true, false]));
        assert_eq!(outcomes.backend("denied"), Tally::default());
        assert_eq!(outcomes.backend("other"), Tally::default());
    }

    #[test]
    fn requests_of_an_earlier_probe_do_not_count_again() {
        let at = |second| std::time::UNIX_EPOCH + Duration::from_secs(second);
        let report = |second| {
            new()
                .began(at(second))
                .fail(Stage::Connect, Duration::ZERO, Reason::TcpRefused)
        };
        let mut investigation = Investigation::default();
        let repeated = DiagnosticOutcome::Repeated {
            edge: vec![report(9)],
            direct: vec![to("app", report(9)), to("app", report(11))],
        };
        investigation.put(DiagnosticKind::Repetition, repeated);
        let outcomes = Outcomes::of(&report(10), Some(&investigation));
        assert_eq!(
            (outcomes.edge, outcomes.backend("app")),
            (Tally::of([true]), Tally::of([true]))
        );
    }

    #[test]
    fn a_streak_begins_after_the_latest_success_of_the_edge() {
        let (good, bad) = (succeeded(), failed(Reason::TcpRefused));
        let probes = [
            probe(&bad, succeeded()),
            probe(&bad, bad.clone()),
            probe(&good, succeeded()),
            probe(&bad, succeeded()),
        ];
        let earlier = EarlierOutcomes::of(&probes);
        assert_eq!(earlier.streak.edge, Tally::of([true; 2]));
        assert_eq!(earlier.streak.backend("app"), Tally::of([true, false]));
        assert_eq!(earlier.window.edge, Tally::of([true, true, true, false]));
        assert_eq!(earlier.window.backend("app"), Tally::of([true, false, false, false]));
    }
}
