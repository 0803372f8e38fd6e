//! The results of the controls, and what they prove about the exporter's own network and resolver.

use crate::stage_log::StageTiming;
use std::collections::HashSet;
use std::net::IpAddr;
use std::time::SystemTime;

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
    /// Set if no control has a result, but the other keys of this exporter fail in the same way.
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

impl ControlOutcome {
    /// The words in the evidence.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::NoName => "not resolved",
            Self::NoConnection => "not connected",
            Self::NotAsked => "not asked",
        }
    }
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
impl Vantage {
    /// Controls with these outcomes, each at a place of its own. The flag states whether the control needs DNS.
    pub(crate) fn of_outcomes(outcomes: &[(bool, ControlOutcome)]) -> Self {
        let controls = outcomes
            .iter()
            .enumerate()
            .map(|(number, (needs_name, outcome))| Control {
                what: "a control".to_owned(),
                needs_name: *needs_name,
                outcome: *outcome,
                got_response: false,
                place: number.to_string(),
                connects: !needs_name,
                has_answered: true,
                detail: String::new(),
                began: SystemTime::UNIX_EPOCH,
                timings: Vec::new(),
            });
        Self {
            controls: controls.collect(),
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ControlOutcome, Vantage};

    #[test]
    fn silence_is_proven_at_two_places_without_any_response() {
        use ControlOutcome::{Answered, NoConnection, NoName, NotAsked};
        let at = |places: &[&str], outcomes: &[(bool, ControlOutcome)]| {
            let mut vantage = Vantage::of_outcomes(outcomes);
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
        assert!(Vantage::of_outcomes(&[]).healthy());
        assert!(Vantage::of_outcomes(&[(true, Answered), (false, NoConnection)]).healthy());
        assert!(Vantage::of_outcomes(&[(true, NotAsked)]).healthy());
        assert!(!Vantage::of_outcomes(&[(true, NoName), (false, NoConnection)]).healthy());
        assert!(!Vantage::of_outcomes(&[(true, NoName), (false, Answered)]).healthy());
        assert!(!Vantage::of_outcomes(&[(false, NoConnection), (true, NotAsked)]).healthy());
        let captive = Vantage {
            captive: true,
            ..Vantage::of_outcomes(&[(true, Answered)])
        };
        assert!(!captive.healthy());
    }
}
