//! What was asked beside the front, when it failed or was slow: facts only, no judgment.

use crate::hop::Hop;
use crate::ledger::Lap;
use crate::report::Report;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

/// The answers of everybody who was asked beside the front.
#[derive(Clone, Debug, Default)]
pub struct Investigation {
    /// How long all of it took.
    pub took: Duration,
    /// The hops, inward.
    pub hops: Vec<Drilled>,
    /// The front, asked past the caches.
    pub bypass: Option<Report>,
    /// The front, asked over HTTP/1.1, where its failing answer came over HTTP/2: that has no reason phrase.
    pub again: Option<Report>,
    /// The front, asked what every gateway refuses by itself.
    pub reference: Option<Report>,
    /// A TLS handshake on the port that gave no answer in plain text.
    pub handshake: Option<Report>,
    /// The front's other addresses, where all are to be probed; the first is the front itself.
    pub addresses: Vec<(IpAddr, Report)>,
}

impl Investigation {
    /// Every report in it.
    pub fn reports_mut(&mut self) -> impl Iterator<Item = &mut Report> {
        let hops = self.hops.iter_mut().flat_map(|drilled| {
            let handshake = drilled.handshake.as_mut();
            std::iter::once(&mut drilled.report).chain(handshake)
        });
        hops.chain(&mut self.bypass)
            .chain(&mut self.again)
            .chain(&mut self.reference)
            .chain(&mut self.handshake)
            .chain(self.addresses.iter_mut().map(|(_, report)| report))
    }
}

/// One hop that was asked.
#[derive(Clone, Debug)]
pub struct Drilled {
    /// Which.
    pub hop: Hop,
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
    pub quorum: bool,
}

/// One control that was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    /// What was asked, for people.
    pub what: String,
    /// Whether it needed the name service.
    pub needs_name: bool,
    /// How far it came.
    pub outcome: Reached,
    /// The particulars of a failure.
    pub detail: String,
    /// When it was asked. One answer serves several probes, so that may be before the probe began.
    pub began: SystemTime,
    /// Its stages, each from its own begin.
    pub laps: Vec<Lap>,
}

/// How far a control came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reached {
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
        !self.captive && !self.quorum && !self.all_failed() && !self.names_failed()
    }

    /// Every control failed at resolve or connect.
    #[must_use]
    pub fn all_failed(&self) -> bool {
        let asked = || {
            self.controls
                .iter()
                .filter(|control| control.outcome != Reached::NotAsked)
        };
        asked().next().is_some() && asked().all(|control| control.outcome != Reached::Answered)
    }

    /// Every control that has a name failed to resolve it.
    #[must_use]
    pub fn names_failed(&self) -> bool {
        let named = || {
            let asked = self
                .controls
                .iter()
                .filter(|control| control.outcome != Reached::NotAsked);
            asked.filter(|control| control.needs_name)
        };
        named().next().is_some() && named().all(|control| control.outcome == Reached::NoName)
    }
}

#[cfg(test)]
mod tests {
    use super::{Control, Reached, Vantage};
    use std::time::SystemTime;

    fn vantage(outcomes: &[(bool, Reached)]) -> Vantage {
        let controls = outcomes.iter().map(|(needs_name, outcome)| Control {
            what: "control".to_owned(),
            needs_name: *needs_name,
            outcome: *outcome,
            detail: String::new(),
            began: SystemTime::UNIX_EPOCH,
            laps: Vec::new(),
        });
        Vantage {
            controls: controls.collect(),
            ..Vantage::default()
        }
    }

    #[test]
    fn our_side_is_suspect_when_every_control_fails_or_every_name_does() {
        use Reached::{Answered, NoConnection, NoName, NotAsked};
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
