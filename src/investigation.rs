//! The results of the diagnostics of one probe: facts only, no judgment.
//!
//! When a probe fails or is slow, the exporter sends further requests that differ in exactly one thing: directly to a backend, past the
//! caches, over HTTP/1.1, to another address. The comparison shows on what the failure depends. Example: the edge answers 502, and a
//! direct request to the backend succeeds; so the fault lies between the two. The diagnostics run in `diagnostics.rs`; this file only
//! holds what they measured, for the attribution, the evidence and the metrics.

use crate::backend::Backend;
use crate::report::Report;
use crate::stage_log::StageTiming;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

/// The answers of everybody who was asked beside the edge.
#[derive(Clone, Debug, Default)]
pub struct Investigation {
    /// How long all of it took.
    pub took: Duration,
    /// The backends, inward.
    pub backends: Vec<DirectRequest>,
    /// The edge, asked past the caches.
    pub bypass: Option<Report>,
    /// The edge, asked over HTTP/1.1, where its failing answer came over HTTP/2: that has no reason phrase.
    pub again: Option<Report>,
    /// The edge, asked what every gateway refuses by itself.
    pub reference: Option<Report>,
    /// A TLS handshake on the port that gave no answer in plain text.
    pub handshake: Option<Report>,
    /// The edge's other addresses, where all are to be probed; the first is the edge itself.
    pub addresses: Vec<(IpAddr, Report)>,
}

impl Investigation {
    /// Whether a request had no result when the deadline passed.
    #[must_use]
    pub fn has_timeouts(&self) -> bool {
        let timed_out = |report: &Report| report.fault.as_ref().is_some_and(|fault| fault.at_deadline);
        self.reports().any(timed_out)
    }

    /// Every report in it.
    fn reports(&self) -> impl Iterator<Item = &Report> {
        let backends = self.backends.iter().flat_map(|direct| {
            let handshake = direct.handshake.as_ref();
            std::iter::once(&direct.report).chain(handshake)
        });
        backends
            .chain(&self.bypass)
            .chain(&self.again)
            .chain(&self.reference)
            .chain(&self.handshake)
            .chain(self.addresses.iter().map(|(_, report)| report))
    }

    /// Every report in it, to be changed.
    pub fn reports_mut(&mut self) -> impl Iterator<Item = &mut Report> {
        let backends = self.backends.iter_mut().flat_map(|direct| {
            let handshake = direct.handshake.as_mut();
            std::iter::once(&mut direct.report).chain(handshake)
        });
        backends
            .chain(&mut self.bypass)
            .chain(&mut self.again)
            .chain(&mut self.reference)
            .chain(&mut self.handshake)
            .chain(self.addresses.iter_mut().map(|(_, report)| report))
    }
}

/// One backend that was asked.
#[derive(Clone, Debug)]
pub struct DirectRequest {
    /// Which.
    pub backend: Backend,
    /// Whether silence of it is an answer: it said something lately, or the configuration vouches for it.
    pub reachable: bool,
    /// Whether fields of the module were held back from it: it did not get quite the same request.
    pub held_back: bool,
    /// What it answered.
    pub report: Report,
    /// A TLS handshake on its port, where it gave no answer in plain text.
    pub handshake: Option<Report>,
}

/// What the controls say of our own side.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vantage {
    /// Each control and what became of it.
    pub controls: Vec<Control>,
    /// A name that cannot exist resolved: somebody on our side answers for every name.
    pub captive: bool,
    /// Where that somebody leads.
    pub portal: Vec<IpAddr>,
    /// No control was asked: the other keys of this process fail alike.
    pub outage: bool,
    /// The controls ran some time before the probe, and may have recovered: they prove nothing about it.
    pub stale: bool,
}

/// One control that was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    /// What was asked, for people.
    pub what: String,
    /// Whether it needed the name service.
    pub needs_name: bool,
    /// How far it came.
    pub outcome: ControlOutcome,
    /// The particulars of a failure.
    pub detail: String,
    /// When it was asked. One answer serves several probes, so that may be before the probe began.
    pub began: SystemTime,
    /// Its stages, each from its own begin.
    pub timings: Vec<StageTiming>,
}

/// How far a control came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlOutcome {
    /// It answered, whatever it said.
    Answered,
    /// Its name did not resolve.
    NoName,
    /// Its address could not be connected to.
    NoConnection,
    /// It was not asked: the exporter itself was short of something.
    NotAsked,
}

impl Vantage {
    /// Whether our own side looks well.
    #[must_use]
    pub fn healthy(&self) -> bool {
        !self.captive && !self.outage && !self.all_failed() && !self.names_failed()
    }

    /// A control answered. One that had no time to says nothing.
    #[must_use]
    pub fn any_answered(&self) -> bool {
        let answered = |control: &Control| control.outcome == ControlOutcome::Answered;
        self.controls.iter().any(answered)
    }

    /// Every control failed at resolve or connect.
    #[must_use]
    pub fn all_failed(&self) -> bool {
        let asked = || {
            self.controls
                .iter()
                .filter(|control| control.outcome != ControlOutcome::NotAsked)
        };
        asked().next().is_some() && asked().all(|control| control.outcome != ControlOutcome::Answered)
    }

    /// Every control that has a name failed to resolve it.
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
