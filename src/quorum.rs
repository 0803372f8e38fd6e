//! The quorum of the keys: when many names in several networks all fail at resolve or connect, it is hardly them.

use crate::chain::Stage;
use crate::reason::Reason;
use crate::report::Report;
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Names that must have failed, at least.
const NAMES: usize = 5;

/// Networks that they must be spread over, at least.
const NETWORKS: usize = 3;

/// What was seen longer ago says nothing of now.
const FRESH: Duration = Duration::from_mins(2);

/// Names that are remembered, at most.
const MOST_NAMES: usize = 1024;

/// The latest of every name.
#[derive(Debug, Default)]
pub struct Quorum(Mutex<HashMap<String, Seen>>);

#[derive(Debug)]
struct Seen {
    at: Instant,
    /// Whether the probe came past connect.
    reached: bool,
    /// Where the name led, when it last led somewhere.
    network: Option<Network>,
}

/// The first two bytes of an IPv4 address, the first six of an IPv6 address.
type Network = [u8; 6];

impl Quorum {
    /// Takes in a probe of a name.
    pub fn observe(&self, name: &str, report: &Report, now: Instant) {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !names.contains_key(name) && names.len() >= MOST_NAMES {
            names.retain(|_, seen| now.saturating_duration_since(seen.at) < FRESH);
            if names.len() >= MOST_NAMES {
                return;
            }
        }
        // Who refuses has been reached.
        let stopped = report.fault.as_ref().filter(|fault| {
            let near = matches!(fault.stage, Stage::Resolve | Stage::Connect);
            near && !matches!(fault.reason, Reason::TcpRefused | Reason::TcpReset)
        });
        let network = report
            .with_target()
            .next()
            .and_then(|leg| leg.peer)
            .map(|peer| network(peer.ip()));
        let seen = Seen {
            at: now,
            reached: stopped.is_none(),
            network,
        };
        match names.get_mut(name) {
            Some(before) => {
                *before = Seen {
                    network: network.or(before.network),
                    ..seen
                }
            }
            None => drop(names.insert(name.to_owned(), seen)),
        }
    }

    /// Whether all that was probed lately failed, and that was enough to mean something.
    #[must_use]
    pub fn failed(&self, now: Instant) -> bool {
        let names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = || {
            let seen = names.values();
            seen.filter(|seen| now.saturating_duration_since(seen.at) < FRESH)
        };
        // Asked first: where all is well, the first name that is looked at tells.
        if fresh().any(|seen| seen.reached) {
            return false;
        }
        let networks: HashSet<_> = fresh().filter_map(|seen| seen.network).collect();
        fresh().count() >= NAMES && networks.len() >= NETWORKS
    }
}

fn network(address: IpAddr) -> Network {
    let mut network = Network::default();
    match address.to_canonical() {
        IpAddr::V4(address) => network[..2].copy_from_slice(&address.octets()[..2]),
        IpAddr::V6(address) => network.copy_from_slice(&address.octets()[..6]),
    }
    network
}

#[cfg(test)]
mod tests {
    use super::{FRESH, Quorum};
    use crate::chain::Stage;
    use crate::reason::Reason;
    use crate::report::{Fault, Leg, Report};
    use std::time::{Duration, Instant, SystemTime};

    fn report(peer: [u8; 4], stage: Option<Stage>) -> Report {
        Report {
            began: SystemTime::UNIX_EPOCH,
            took: Duration::ZERO,
            timeout: Duration::ZERO,
            legs: vec![Leg {
                peer: Some((peer, 443).into()),
                ..Leg::default()
            }],
            fault: stage.map(|stage| Fault {
                stage,
                reason: Reason::TcpTimedOut,
                detail: String::new(),
                at_deadline: true,
            }),
        }
    }

    #[test]
    fn many_names_in_several_networks_make_a_quorum() {
        let quorum = Quorum::default();
        let now = Instant::now();
        let fail = |name: u8| {
            quorum.observe(
                &format!("n{name}"),
                &report([10, name % 3, 0, 1], Some(Stage::Connect)),
                now,
            );
        };
        (0..4).for_each(fail);
        assert!(!quorum.failed(now), "four names are too few");
        fail(4);
        assert!(quorum.failed(now));
        assert!(!quorum.failed(now + FRESH), "what is old says nothing");
        quorum.observe("n0", &report([10, 0, 0, 1], Some(Stage::Secure)), now);
        assert!(!quorum.failed(now), "one that was reached is enough");
    }

    #[test]
    fn many_names_in_one_network_make_none() {
        let quorum = Quorum::default();
        let now = Instant::now();
        for name in 0..20 {
            quorum.observe(
                &format!("n{name}"),
                &report([10, 0, 0, name], Some(Stage::Connect)),
                now,
            );
        }
        assert!(!quorum.failed(now));
    }
}
