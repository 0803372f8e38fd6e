//! When a probe fails or is slow, the exporter sends additional requests. Each of them changes exactly one thing: it
//! goes directly to a backend, bypasses the caches, uses HTTP/1.1, or goes to another address. The comparison shows
//! what the failure depends on. Example: the edge returns 502, and a direct request to the backend succeeds. The
//! fault is then between the two.
//!
//! `glassbox-probe` runs these requests. This module holds only their results, one for each diagnostic, as facts without a
//! verdict. Attribution, evidence and metrics read them.

mod vantage;

pub use vantage::{Control, ControlOutcome, Vantage};

use crate::backend::Backend;
use crate::report::Report;
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
#[non_exhaustive]
pub struct DiagnosticResult {
    /// The diagnostic.
    pub kind: DiagnosticKind,
    /// Its outcome.
    pub outcome: DiagnosticOutcome,
}

/// The diagnostics, in the order in which pages show their results. The probe has a row for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum DiagnosticKind {
    /// Direct requests to the backends.
    Backends,
    /// The same requests again, to the edge and to the backends.
    Repetition,
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

/// The budget that refused a diagnostic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BudgetRefusal {
    /// The budget of the target.
    Target,
    /// The budget of the process.
    Process,
}

impl BudgetRefusal {
    /// The key in the configuration.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Target => "diagnostics.budget",
            Self::Process => "limits.diagnostics",
        }
    }
}

/// The outcome of one diagnostic, by where its requests went.
#[derive(Clone, Debug)]
pub enum DiagnosticOutcome {
    /// To the backends, from the outside in.
    Direct(Vec<DirectRequest>),
    /// To the edge.
    Edge(Box<Report>),
    /// The same request again, to the edge and to each backend.
    Repeated {
        /// To the edge.
        edge: Vec<Report>,
        /// To the backends.
        direct: Vec<DirectRequest>,
    },
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
    pub fn put(&mut self, kind: DiagnosticKind, outcome: DiagnosticOutcome) {
        let result = DiagnosticResult { kind, outcome };
        match self.results.binary_search_by_key(&kind, |known| known.kind) {
            Ok(_) if result.outcome.refusal().is_some() => {}
            Ok(place) => self.results[place] = result,
            Err(place) => self.results.insert(place, result),
        }
    }

    /// Takes the direct requests of an earlier investigation, because a budget refused those of this one, if they were
    /// sent after this time.
    pub fn take_backends_of(&mut self, earlier: &Self, since: SystemTime) {
        let direct = earlier.backends();
        if !direct.is_empty() && direct.iter().all(|direct| direct.report.began > since) {
            self.put(DiagnosticKind::Backends, DiagnosticOutcome::Direct(direct.to_vec()));
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

    /// All direct requests: the first to each machine, and the repeated ones.
    pub fn all_direct(&self) -> impl Iterator<Item = &DirectRequest> {
        let repeated = match self.outcome(DiagnosticKind::Repetition) {
            Some(DiagnosticOutcome::Repeated { direct, .. }) => direct.as_slice(),
            _ => &[],
        };
        self.backends().iter().chain(repeated)
    }

    /// The repeated requests to the edge.
    #[must_use]
    pub fn repeated(&self) -> &[Report] {
        match self.outcome(DiagnosticKind::Repetition) {
            Some(DiagnosticOutcome::Repeated { edge, .. }) => edge,
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
            Self::Direct(_) | Self::Edge(_) | Self::Repeated { .. } | Self::Addresses(_) => None,
        }
    }

    /// The requests of the diagnostic.
    #[must_use]
    pub fn requests(&self) -> Vec<DiagnosticRequest<'_>> {
        match self {
            Self::Direct(direct) => direct.iter().map(DiagnosticRequest::Direct).collect(),
            Self::Edge(report) => vec![DiagnosticRequest::Edge(report)],
            Self::Repeated { edge, direct } => {
                let edge = edge.iter().map(DiagnosticRequest::Edge);
                edge.chain(direct.iter().map(DiagnosticRequest::Direct)).collect()
            }
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
            Self::Direct(direct) => direct.iter_mut().flat_map(DirectRequest::reports_mut).collect(),
            Self::Edge(report) => vec![report],
            Self::Repeated { edge, direct } => {
                let direct = direct.iter_mut().flat_map(DirectRequest::reports_mut);
                edge.iter_mut().chain(direct).collect()
            }
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
#[non_exhaustive]
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

impl DirectRequest {
    /// A request that was the same as the one to the edge, to a backend that is not known to be reachable.
    #[must_use]
    pub const fn new(backend: Backend, report: Report) -> Self {
        Self {
            backend,
            reachable: false,
            held_back: false,
            report,
            handshake: None,
        }
    }

    fn reports_mut(&mut self) -> impl Iterator<Item = &mut Report> {
        std::iter::once(&mut self.report).chain(&mut self.handshake)
    }
}
