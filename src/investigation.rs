//! When a probe fails or is slow, the exporter sends additional requests. Each of them changes exactly one thing: it
//! goes directly to a backend, bypasses the caches, uses HTTP/1.1, or goes to another address. The comparison shows
//! what the failure depends on. Example: the edge returns 502, and a direct request to the backend succeeds. The
//! fault is then between the two.
//!
//! `diagnostics.rs` runs these requests. This file holds only their results, one for each diagnostic, as facts without a
//! verdict. Attribution, evidence and metrics read them.

use crate::backend::Backend;
use crate::budget::BudgetRefusal;
use crate::report::Report;
use crate::stage_log::StageTiming;
use std::collections::HashSet;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

/// Results of the diagnostics of one probe.
#[derive(Clone, Debug, Default)]
pub struct Investigation {
    /// Duration of all diagnostics together.
    pub took: Duration,
    results: Vec<DiagnosticResult>,
}

/// The result of one diagnostic.
#[derive(Clone, Debug)]
pub struct DiagnosticResult {
    /// The diagnostic.
    pub kind: DiagnosticKind,
    /// Its outcome.
    pub outcome: DiagnosticOutcome,
}

/// The diagnostics. `diagnostics.rs` has a table with a row for each, in the same order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DiagnosticKind {
    /// Direct requests to the backends.
    Backends,
    /// A request to the edge that bypasses caches.
    CacheBypass,
    /// A retry over HTTP/1.1.
    Http1Retry,
    /// A request that every gateway rejects by itself.
    ReferenceRequest,
    /// A TLS handshake with the edge.
    Handshake,
    /// Probes of the other addresses of the edge.
    Addresses,
}

/// The outcome of one diagnostic, by where its requests went.
#[derive(Clone, Debug)]
pub enum DiagnosticOutcome {
    /// To the backends, from the outside in.
    Direct(Vec<DirectRequest>),
    /// To the edge.
    Edge(Box<Report>),
    /// To the other addresses of the edge.
    Addresses(Vec<(IpAddr, Report)>),
    /// No request was sent: a budget refused them. This implies nothing about the target.
    NotRun(BudgetRefusal),
}

/// One request of a diagnostic: where it went, and its report.
#[derive(Clone, Copy, Debug)]
pub enum DiagnosticRequest<'a> {
    /// To a backend.
    Direct(&'a DirectRequest),
    /// To the edge.
    Edge(&'a Report),
    /// To another address of the edge.
    Address(IpAddr, &'a Report),
}

impl Investigation {
    /// All results, in the order of the table of diagnostics.
    #[must_use]
    pub fn results(&self) -> &[DiagnosticResult] {
        &self.results
    }

    /// Adds a result, which replaces an earlier result of the same diagnostic, unless it did not run.
    pub fn put(&mut self, result: DiagnosticResult) {
        match self.results.binary_search_by_key(&result.kind, |known| known.kind) {
            Ok(_) if result.outcome.refusal().is_some() => {}
            Ok(place) => self.results[place] = result,
            Err(place) => self.results.insert(place, result),
        }
    }

    /// Whether a diagnostic sent requests.
    #[must_use]
    pub fn any_ran(&self) -> bool {
        let mut results = self.results.iter();
        results.any(|result| result.outcome.refusal().is_none())
    }

    /// Whether a budget refused a diagnostic.
    #[must_use]
    pub fn any_refused(&self) -> bool {
        let mut results = self.results.iter();
        results.any(|result| result.outcome.refusal().is_some())
    }

    /// Whether this budget refused a diagnostic.
    #[must_use]
    pub fn refused(&self, by: BudgetRefusal) -> bool {
        let mut results = self.results.iter();
        results.any(|result| result.outcome.refusal() == Some(by))
    }

    /// The budget that refused this diagnostic, if one did.
    #[must_use]
    pub fn refusal(&self, kind: DiagnosticKind) -> Option<BudgetRefusal> {
        self.outcome(kind)?.refusal()
    }

    /// The direct requests to the backends, from the outside in.
    #[must_use]
    pub fn backends(&self) -> &[DirectRequest] {
        match self.outcome(DiagnosticKind::Backends) {
            Some(DiagnosticOutcome::Direct(direct)) => direct,
            _ => &[],
        }
    }

    /// The request to the edge that bypasses caches.
    #[must_use]
    pub fn bypass(&self) -> Option<&Report> {
        self.edge(DiagnosticKind::CacheBypass)
    }

    /// The retry over HTTP/1.1, sent if the failed response came over HTTP/2, which has no reason phrase.
    #[must_use]
    pub fn http1_retry(&self) -> Option<&Report> {
        self.edge(DiagnosticKind::Http1Retry)
    }

    /// The reference request: one that every gateway rejects by itself.
    #[must_use]
    pub fn reference(&self) -> Option<&Report> {
        self.edge(DiagnosticKind::ReferenceRequest)
    }

    /// A TLS handshake on the port, if it did not respond in plain text.
    #[must_use]
    pub fn handshake(&self) -> Option<&Report> {
        self.edge(DiagnosticKind::Handshake)
    }

    /// Probes of the edge's other addresses, if all are to be probed. The first address is the edge itself.
    #[must_use]
    pub fn addresses(&self) -> &[(IpAddr, Report)] {
        match self.outcome(DiagnosticKind::Addresses) {
            Some(DiagnosticOutcome::Addresses(addresses)) => addresses,
            _ => &[],
        }
    }

    /// Whether a request had no result when the deadline passed.
    #[must_use]
    pub fn has_timeouts(&self) -> bool {
        let timed_out = |report: &Report| report.fault.as_ref().is_some_and(|fault| fault.at_deadline);
        let requests = || self.results.iter().flat_map(|result| result.outcome.requests());
        let handshakes = self.backends().iter().filter_map(|direct| direct.handshake.as_ref());
        requests().any(|request| timed_out(request.report())) || handshakes.into_iter().any(timed_out)
    }

    /// All reports of the investigation, mutable.
    pub fn reports_mut(&mut self) -> Vec<&mut Report> {
        let outcomes = self.results.iter_mut().map(|result| &mut result.outcome);
        outcomes.flat_map(DiagnosticOutcome::reports_mut).collect()
    }

    fn outcome(&self, kind: DiagnosticKind) -> Option<&DiagnosticOutcome> {
        let result = self.results.iter().find(|result| result.kind == kind)?;
        Some(&result.outcome)
    }

    fn edge(&self, kind: DiagnosticKind) -> Option<&Report> {
        match self.outcome(kind)? {
            DiagnosticOutcome::Edge(report) => Some(report),
            _ => None,
        }
    }
}

impl DiagnosticOutcome {
    /// The budget that refused the requests of the diagnostic, if one did.
    #[must_use]
    pub const fn refusal(&self) -> Option<BudgetRefusal> {
        match self {
            Self::NotRun(refusal) => Some(*refusal),
            Self::Direct(_) | Self::Edge(_) | Self::Addresses(_) => None,
        }
    }

    /// The requests of the diagnostic.
    #[must_use]
    pub fn requests(&self) -> Vec<DiagnosticRequest<'_>> {
        match self {
            Self::Direct(direct) => direct.iter().map(DiagnosticRequest::Direct).collect(),
            Self::Edge(report) => vec![DiagnosticRequest::Edge(report)],
            Self::Addresses(addresses) => {
                let requests = addresses.iter();
                let requests = requests.map(|(address, report)| DiagnosticRequest::Address(*address, report));
                requests.collect()
            }
            Self::NotRun(_) => Vec::new(),
        }
    }

    fn reports_mut(&mut self) -> Vec<&mut Report> {
        match self {
            Self::Direct(direct) => direct
                .iter_mut()
                .flat_map(|direct| std::iter::once(&mut direct.report).chain(&mut direct.handshake))
                .collect(),
            Self::Edge(report) => vec![report],
            Self::Addresses(addresses) => addresses.iter_mut().map(|(_, report)| report).collect(),
            Self::NotRun(_) => Vec::new(),
        }
    }
}

impl<'a> DiagnosticRequest<'a> {
    /// Report of the request.
    #[must_use]
    pub const fn report(self) -> &'a Report {
        match self {
            Self::Direct(direct) => &direct.report,
            Self::Edge(report) | Self::Address(_, report) => report,
        }
    }
}

/// A direct request to a backend.
#[derive(Clone, Debug)]
pub struct DirectRequest {
    /// The backend.
    pub backend: Backend,
    /// Whether silence counts as a failure: the backend responded recently, or is marked reachable in the
    /// configuration.
    pub reachable: bool,
    /// Whether the module's header fields were withheld, so that the request differs from the probe's.
    pub held_back: bool,
    /// Report of the request.
    pub report: Report,
    /// A TLS handshake on the backend's port, if it did not respond in plain text.
    pub handshake: Option<Report>,
}

/// The state of the exporter's own network and resolver, according to the controls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
pub struct Vantage {
    /// Results of the controls.
    pub controls: Vec<Control>,
    /// Whether a name that cannot exist resolved: a captive portal answers every DNS query.
    pub captive: bool,
    /// Addresses to which that name resolved, and those of a control that are not the expected ones.
    pub portal: Vec<IpAddr>,
    /// Whether every name resolves to these addresses, as far as the controls show.
    pub captive_for_all: bool,
    /// Whether the resolver sent a response to the query for that name, such as NXDOMAIN.
    pub resolver_responded: bool,
    /// Whether there is no control result, but the process's other keys fail in the same way.
    pub outage: bool,
    /// Whether the controls ran so long before the probe that the network may have recovered since.
    pub stale: bool,
}

/// Result of one control.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
pub struct Control {
    /// Description of the control, for display.
    pub what: String,
    /// Whether the control needs DNS.
    pub needs_name: bool,
    /// Outcome of the control.
    pub outcome: ControlOutcome,
    /// Whether the failure was itself a response, such as a refused connection or a DNS error: packets get through.
    pub got_response: bool,
    /// Network of the address, or registrable domain of the name. Controls at one place may fail together because of that
    /// place alone.
    pub place: String,
    /// Whether the control opens a connection. A name may be resolved from the cache of the resolver.
    pub connects: bool,
    /// Whether the control has succeeded since the configuration was loaded. If not, it may never have been reachable.
    pub has_answered: bool,
    /// Details of a failure.
    pub detail: String,
    /// Start time. Several probes share one result, so it may precede the start of the probe.
    pub began: SystemTime,
    /// Timings of its stages, each relative to the start of the control.
    pub timings: Vec<StageTiming>,
}

/// Outcome of a control.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlOutcome {
    /// It responded, with any response.
    Answered,
    /// Its name did not resolve.
    NoName,
    /// The connection to its address failed.
    NoConnection,
    /// It did not run because the exporter lacked a resource.
    NotAsked,
}

impl Control {
    fn failed_in_silence(&self) -> bool {
        self.outcome != ControlOutcome::Answered && !self.got_response && self.has_answered
    }
}

/// Number of distinct places.
fn places<'a>(controls: impl Iterator<Item = &'a Control>) -> usize {
    controls
        .map(|control| control.place.as_str())
        .collect::<HashSet<_>>()
        .len()
}

impl Vantage {
    /// Whether the exporter's own network and resolver appear healthy.
    #[must_use]
    pub fn healthy(&self) -> bool {
        !self.captive && !self.outage && !self.all_failed() && !self.names_failed()
    }

    /// Whether a control responded. A control that did not run does not count.
    #[must_use]
    pub fn any_answered(&self) -> bool {
        let answered = |control: &Control| control.outcome == ControlOutcome::Answered;
        self.controls.iter().any(answered)
    }

    /// Whether only a fault of the exporter's own network explains the controls: all failed without any response, and the
    /// connections to several places did, too, although each of them succeeded earlier.
    #[must_use]
    pub fn proves_no_network(&self) -> bool {
        let failed = |control: &Control| control.outcome == ControlOutcome::NoConnection;
        let ran = || self.ran();
        !self.has_old_or_any_response()
            && ran().all(Control::failed_in_silence)
            && places(ran().filter(|control| failed(control))) >= 2
    }

    /// Whether only a fault of the exporter's own resolver explains the controls: no name in several domains resolved,
    /// although each of them did earlier, and the resolver sent no response at all.
    #[must_use]
    pub fn proves_no_resolver(&self) -> bool {
        let named = || self.ran().filter(|control| control.needs_name);
        let unresolved = |control: &Control| control.outcome == ControlOutcome::NoName && control.failed_in_silence();
        !self.has_old_or_any_response() && named().all(unresolved) && places(named()) >= 2
    }

    /// Whether a control connected during the probe. The exporter's network was healthy then.
    #[must_use]
    pub fn proves_network(&self) -> bool {
        let connected = |control: &Control| control.connects && control.outcome == ControlOutcome::Answered;
        self.healthy() && !self.stale && self.ran().any(connected)
    }

    fn has_old_or_any_response(&self) -> bool {
        self.stale || self.captive || self.resolver_responded
    }

    fn ran(&self) -> impl Iterator<Item = &Control> {
        self.controls
            .iter()
            .filter(|control| control.outcome != ControlOutcome::NotAsked)
    }

    /// Whether every control failed at resolve or connect.
    #[must_use]
    pub fn all_failed(&self) -> bool {
        let asked = || {
            self.controls
                .iter()
                .filter(|control| control.outcome != ControlOutcome::NotAsked)
        };
        asked().next().is_some() && asked().all(|control| control.outcome != ControlOutcome::Answered)
    }

    /// Whether every control with a name failed to resolve it.
    #[must_use]
    pub fn names_failed(&self) -> bool {
        let named = || {
            let asked = self
                .controls
                .iter()
                .filter(|control| control.outcome != ControlOutcome::NotAsked);
            asked.filter(|control| control.needs_name)
        };
        named().next().is_some() && named().all(|control| control.outcome == ControlOutcome::NoName)
    }
}

#[cfg(test)]
mod tests {
    use super::{Control, ControlOutcome, Vantage};
    use std::time::SystemTime;

    fn vantage(outcomes: &[(bool, ControlOutcome)]) -> Vantage {
        let controls = outcomes.iter().map(|(needs_name, outcome)| Control {
            what: "control".to_owned(),
            needs_name: *needs_name,
            outcome: *outcome,
            got_response: false,
            place: String::new(),
            connects: !needs_name,
            has_answered: true,
            detail: String::new(),
            began: SystemTime::UNIX_EPOCH,
            timings: Vec::new(),
        });
        Vantage {
            controls: controls.collect(),
            ..Vantage::default()
        }
    }

    #[test]
    fn silence_is_proven_at_two_places_without_any_response() {
        use ControlOutcome::{Answered, NoConnection, NoName, NotAsked};
        let at = |places: &[&str], outcomes: &[(bool, ControlOutcome)]| {
            let mut vantage = vantage(outcomes);
            for (control, place) in vantage.controls.iter_mut().zip(places) {
                control.place = (*place).to_owned();
            }
            vantage
        };
        let unconnected = || at(&["a", "b"], &[(false, NoConnection), (false, NoConnection)]);
        let unresolved = || at(&["a", "b", "c"], &[(true, NoName), (true, NoName), (false, Answered)]);
        assert!(unconnected().proves_no_network() && unresolved().proves_no_resolver());
        assert!(!unconnected().proves_no_resolver() && !unresolved().proves_no_network());
        let also_unresolved = [(false, NoConnection), (false, NoConnection), (true, NoName)];
        assert!(at(&["a", "b", "c"], &also_unresolved).proves_no_network());
        // A resolver that fails does not explain a connection that does.
        assert!(!at(&["a", "b"], &[(true, NoName), (true, NoName)]).proves_no_network());
        assert!(!at(&["a", "b"], &[(false, NoConnection), (true, NoName)]).proves_no_network());
        assert!(!at(&["a", "b"], &[(false, NoConnection), (false, NotAsked)]).proves_no_network());
        assert!(!at(&["a", "a"], &[(false, NoConnection), (false, NoConnection)]).proves_no_network());
        for change in [
            (|vantage: &mut Vantage| vantage.controls[1].got_response = true) as fn(&mut Vantage),
            |vantage| vantage.controls[1].has_answered = false,
            |vantage| vantage.stale = true,
            |vantage| vantage.resolver_responded = true,
        ] {
            let (mut unconnected, mut unresolved) = (unconnected(), unresolved());
            change(&mut unconnected);
            change(&mut unresolved);
            assert!(!unconnected.proves_no_network() && !unresolved.proves_no_resolver());
        }
    }

    #[test]
    fn our_side_is_suspect_when_every_control_fails_or_every_name_does() {
        use ControlOutcome::{Answered, NoConnection, NoName, NotAsked};
        assert!(vantage(&[]).healthy());
        assert!(vantage(&[(true, Answered), (false, NoConnection)]).healthy());
        assert!(vantage(&[(true, NotAsked)]).healthy());
        assert!(!vantage(&[(true, NoName), (false, NoConnection)]).healthy());
        assert!(!vantage(&[(true, NoName), (false, Answered)]).healthy());
        assert!(!vantage(&[(false, NoConnection), (true, NotAsked)]).healthy());
        let captive = Vantage {
            captive: true,
            ..vantage(&[(true, Answered)])
        };
        assert!(!captive.healthy());
    }
}
