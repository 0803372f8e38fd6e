//! Detects an outage of the exporter's own network or resolver. In an outage, many names in several networks all fail
//! at resolve or connect.
//!
//! A reachable name contradicts an outage. An address given instead of a name may be in a nearby network, which an
//! outage of the uplink or of the resolver leaves reachable. A single reachable address therefore does not contradict
//! an outage of the uplink, and no number of addresses contradicts an outage of the resolver.

use glassbox_verdict::chain::Stage;
use glassbox_verdict::host_port::Host;
use glassbox_verdict::reason::Reason;
use glassbox_verdict::report::Report;
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Minimum number of names that must have failed.
const NAMES: usize = 5;

/// Minimum number of networks that these names must be in.
const NETWORKS: usize = 3;

/// Observations older than this are ignored.
const FRESH: Duration = Duration::from_mins(2);

/// Maximum number of remembered names.
const MOST_NAMES: usize = 1024;

/// The latest observation of every name.
#[derive(Debug, Default)]
pub struct OutageDetector(Mutex<HashMap<String, NameState>>);

#[derive(Debug)]
struct NameState {
    at: Instant,
    /// The stage at which the probe stopped before it reached the target; `None` if it got past connect.
    stopped: Option<Stage>,
    /// Whether the target is an address rather than a name.
    is_address: bool,
    /// Last address to which the name resolved.
    network: Option<Network>,
}

/// The first two bytes of an IPv4 address, the first six of an IPv6 address.
type Network = [u8; 6];

impl OutageDetector {
    /// Records a probe of a name.
    pub fn observe(&self, name: &str, report: &Report, now: Instant) {
        // A machine that refuses a connection was reached.
        let stopped = report.fault.as_ref().filter(|fault| {
            let near = matches!(fault.stage, Stage::Resolve | Stage::Connect);
            near && !matches!(fault.reason, Reason::TcpRefused | Reason::TcpReset)
        });
        let network = report
            .with_target()
            .next()
            .and_then(|exchange| exchange.peer)
            .map(|peer| network(peer.ip()));
        let stopped = stopped.map(|fault| fault.stage);
        let mut names = self.0.lock();
        if let Some(seen) = names.get_mut(name) {
            (seen.at, seen.stopped) = (now, stopped);
            seen.network = network.or(seen.network);
            return;
        }
        if names.len() >= MOST_NAMES {
            names.retain(|_, seen| now.saturating_duration_since(seen.at) < FRESH);
        }
        if names.len() < MOST_NAMES {
            let seen = NameState {
                at: now,
                stopped,
                is_address: is_address(name),
                network,
            };
            names.insert(name.to_owned(), seen);
        }
    }

    /// Whether all recent probes failed, and whether there are enough of them to be conclusive for this target, a
    /// name or an address.
    #[must_use]
    pub fn failed(&self, target: &str, now: Instant) -> bool {
        let names = self.0.lock();
        let fresh = || {
            let seen = names.values();
            seen.filter(|seen| now.saturating_duration_since(seen.at) < FRESH)
        };
        let reached = || fresh().filter(|seen| seen.stopped.is_none());
        // Checked first: in the healthy case, the first name already decides.
        if reached().any(|seen| !seen.is_address) {
            return false;
        }
        // If an address is reachable, only names can indicate an outage, and the outage does not affect addresses.
        let only_names = reached().next().is_some();
        if only_names && is_address(target) {
            return false;
        }
        let failing = || fresh().filter(|seen| seen.stopped.is_some() && !(only_names && seen.is_address));
        let unresolved = failing().all(|seen| seen.stopped == Some(Stage::Resolve));
        let spread = |seen: &mut dyn Iterator<Item = &NameState>| {
            let networks: HashSet<_> = seen.filter_map(|seen| seen.network).collect();
            networks.len()
        };
        if !unresolved && spread(&mut reached()) > 1 {
            return false;
        }
        failing().count() >= NAMES && spread(&mut failing()) >= NETWORKS
    }
}

fn is_address(target: &str) -> bool {
    Host::new(target).address().is_some()
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
    use super::{FRESH, OutageDetector};
    use glassbox_verdict::chain::Stage;
    use glassbox_verdict::reason::Reason;
    use glassbox_verdict::report::{Exchange, Fault, Report};
    use std::time::{Duration, Instant, SystemTime};

    fn report(peer: [u8; 4], stage: Option<Stage>) -> Report {
        Report {
            began: SystemTime::UNIX_EPOCH,
            took: Duration::ZERO,
            timeout: Duration::ZERO,
            exchanges: vec![Exchange {
                peer: Some((peer, 443).into()),
                ..Exchange::default()
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
        let detector = OutageDetector::default();
        let now = Instant::now();
        let fail = |name: u8| {
            detector.observe(
                &format!("n{name}"),
                &report([10, name % 3, 0, 1], Some(Stage::Connect)),
                now,
            );
        };
        (0..4).for_each(fail);
        assert!(!detector.failed("n0", now), "four names are too few");
        fail(4);
        assert!(detector.failed("n0", now));
        assert!(!detector.failed("n0", now + FRESH), "old results prove nothing");
        detector.observe("n0", &report([10, 0, 0, 1], Some(Stage::Secure)), now);
        assert!(!detector.failed("n0", now), "one that was reached is enough");
    }

    #[test]
    fn many_names_in_one_network_make_none() {
        let detector = OutageDetector::default();
        let now = Instant::now();
        for name in 0..20 {
            detector.observe(
                &format!("n{name}"),
                &report([10, 0, 0, name], Some(Stage::Connect)),
                now,
            );
        }
        assert!(!detector.failed("n0", now));
    }

    #[test]
    fn one_address_that_is_reached_does_not_hide_an_outage_and_its_twins_do() {
        let now = Instant::now();
        let outage = |stage| {
            let detector = OutageDetector::default();
            for name in 0..6 {
                let host = format!("n{name}");
                // Address to which the name resolved before.
                detector.observe(&host, &report([10, name % 3, 0, 1], None), now);
                detector.observe(&host, &report([10, name % 3, 0, 1], Some(stage)), now);
            }
            detector
        };
        for stage in [Stage::Resolve, Stage::Connect] {
            let detector = outage(stage);
            detector.observe("127.0.0.1", &report([127, 0, 0, 1], None), now);
            assert!(detector.failed("n0", now), "{stage:?}");
            assert!(!detector.failed("127.0.0.9", now), "an address has no part in it");
            detector.observe("[::1]", &report([127, 0, 0, 2], None), now);
            assert!(detector.failed("n0", now), "{stage:?}: another one in the same network");
        }
        // Addresses imply nothing about the resolver. Two in different networks contradict an outage of the network.
        for (stage, failed) in [(Stage::Resolve, true), (Stage::Connect, false)] {
            let detector = outage(stage);
            detector.observe("192.0.2.1", &report([192, 0, 2, 1], None), now);
            detector.observe("198.51.100.1", &report([198, 51, 100, 1], None), now);
            assert_eq!(detector.failed("n0", now), failed, "{stage:?}");
        }
        // Addresses that fail do not count as names if another address is reachable.
        let detector = OutageDetector::default();
        for last in 0..6 {
            detector.observe(
                &format!("10.{last}.0.1"),
                &report([10, last, 0, 1], Some(Stage::Connect)),
                now,
            );
        }
        assert!(detector.failed("10.0.0.1", now));
        detector.observe("10.9.0.1", &report([10, 9, 0, 1], None), now);
        assert!(!detector.failed("10.0.0.1", now) && !detector.failed("n0", now));
        // One reachable name is enough.
        let detector = outage(Stage::Connect);
        detector.observe("n9", &report([10, 9, 0, 1], None), now);
        assert!(!detector.failed("n0", now));
    }
}
