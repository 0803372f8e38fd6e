//! One round of controls: each is probed once, and a name that cannot exist is resolved.

use crate::check::{AddressFamily, Check, ProbeContext, ProbeFailed, Resolver};
use glassbox_verdict::chain::Stage;
use glassbox_verdict::host_port::HostPort;
use glassbox_verdict::investigation::{Control, ControlOutcome, Vantage};
use glassbox_verdict::reason::Reason;
use glassbox_verdict::report::Report;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Timeout of each control. It does not depend on the deadline of the probe that needs the result.
pub(super) const TIMEOUT: Duration = Duration::from_secs(2);

/// Accepts both address families.
const ANY: AddressFamily = AddressFamily {
    prefers_ip4: true,
    fallback: true,
};

/// A control as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControlSpec {
    /// A name that must resolve: to one of `expect`, or to any address if `expect` is empty.
    Name {
        /// Name to resolve.
        name: String,
        /// Expected addresses. An empty list accepts any address.
        expect: Vec<IpAddr>,
    },
    /// An address that accepts connections.
    Address(SocketAddr),
    /// The host and port of a URL. The host resolves, and the port accepts connections.
    Host(HostPort),
}

/// Probes all controls concurrently, and resolves a nonexistent name.
pub(super) async fn run_all(specs: &[ControlSpec], resolver: &Resolver, context: &ProbeContext) -> Vantage {
    let probed = specs.iter().map(|spec| spec.probe(resolver, context));
    let needs_names = specs
        .iter()
        .any(|spec| matches!(spec, ControlSpec::Name { .. } | ControlSpec::Host(_)));
    let (probed, invented) = tokio::join!(
        futures_util::future::join_all(probed),
        resolve_invented_name(resolver, context, needs_names),
    );
    let (controls, found): (Vec<_>, Vec<_>) = probed.into_iter().unzip();
    let all_lead_there = found
        .iter()
        .flatten()
        .all(|address| invented.addresses.contains(address));
    let unexpected = specs
        .iter()
        .zip(found)
        .filter(|(spec, found)| spec.expects_none_of(found));
    let mut portal = invented.addresses;
    let captive_for_all = !portal.is_empty() && all_lead_there;
    portal.extend(unexpected.flat_map(|(_, found)| found));
    Vantage {
        controls,
        captive: !portal.is_empty(),
        portal,
        captive_for_all,
        resolver_responded: invented.got_response,
        ..Vantage::default()
    }
}

/// The DNS response to a query for a nonexistent name.
#[derive(Default)]
struct InventedName {
    addresses: Vec<IpAddr>,
    got_response: bool,
}

/// Resolves a name that cannot exist (RFC 2606 section 2). A resolver that returns an address for it may do so for every
/// name.
async fn resolve_invented_name(resolver: &Resolver, context: &ProbeContext, ask: bool) -> InventedName {
    if !ask {
        return InventedName::default();
    }
    let name = format!("glassbox-{:016x}.example.", getrandom::u64().unwrap_or_default());
    let mut check = Check::new(context, TIMEOUT);
    let addresses = check.resolve_all(resolver, &name, ANY).await.unwrap_or_default();
    InventedName {
        got_response: !addresses.is_empty() || got_response(&check.finish()),
        addresses,
    }
}

impl ControlSpec {
    /// The outcome of the control, and the addresses to which its name resolved.
    async fn probe(&self, resolver: &Resolver, context: &ProbeContext) -> (Control, Vec<IpAddr>) {
        let mut check = Check::new(context, TIMEOUT);
        let mut found = Vec::new();
        // The report contains the failure.
        let _failed = self.run(&mut check, resolver, &mut found).await;
        let report = check.finish();
        let dialled = report.last_exchange().and_then(|exchange| exchange.peer);
        let control = Control {
            what: self.to_string(),
            needs_name: self.name().is_some(),
            outcome: outcome(&report),
            got_response: got_response(&report),
            place: match (dialled, self.name()) {
                (None, Some(name)) => domain(name),
                (Some(peer), _) => network(peer.ip()),
                (None, None) => self.to_string(),
            },
            connects: !matches!(self, Self::Name { .. }),
            has_answered: false,
            began: report.began,
            timings: report.timings().cloned().collect(),
            detail: report.fault.map(|fault| fault.detail).unwrap_or_default(),
        };
        (control, found)
    }

    /// The name that the control resolves.
    fn name(&self) -> Option<&str> {
        match self {
            Self::Address(_) => None,
            Self::Name { name, .. } => Some(name),
            Self::Host(control) => {
                let host = control.host();
                host.address().is_none().then_some(host.as_str())
            }
        }
    }

    /// Whether the name resolved, but to none of the expected addresses.
    fn expects_none_of(&self, found: &[IpAddr]) -> bool {
        let Self::Name { expect, .. } = self else {
            return false;
        };
        !expect.is_empty() && !found.is_empty() && !found.iter().any(|address| expect.contains(address))
    }

    async fn run(&self, check: &mut Check, resolver: &Resolver, found: &mut Vec<IpAddr>) -> Result<(), ProbeFailed> {
        match self {
            Self::Name { name, .. } => {
                *found = check.resolve_all(resolver, name, ANY).await?;
                Ok(())
            }
            Self::Address(address) => check.connect(*address).await,
            Self::Host(control) => {
                *found = check.resolve_all(resolver, control.host().as_str(), ANY).await?;
                // The exporter's host may support only one address family.
                let one_of_each = [IpAddr::is_ipv4, IpAddr::is_ipv6]
                    .into_iter()
                    .filter_map(|of_family: fn(&IpAddr) -> bool| found.iter().copied().find(of_family));
                let mut connected = Ok(());
                for address in one_of_each {
                    connected = check.connect(SocketAddr::new(address, control.port())).await;
                    if connected.is_ok() {
                        check.clear_failure();
                        break;
                    }
                }
                connected
            }
        }
    }
}

/// The domain that fails as a whole: the registrable domain or, for a private name, its last label.
fn domain(name: &str) -> String {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let is_public = psl::suffix(name.as_bytes()).is_some_and(|suffix| suffix.is_known());
    let domain = psl::domain_str(&name).filter(|_| is_public);
    let last_label = || name.rsplit('.').next().unwrap_or(&name);
    domain.unwrap_or_else(last_label).to_owned()
}

/// The network that may fail as a whole. It is large, because one operator often has several nearby networks.
fn network(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) if address.is_private() || address.is_loopback() || address.is_link_local() => {
            let [a, b, ..] = address.octets();
            format!("{a}.{b}.0.0/16")
        }
        IpAddr::V4(address) => format!("{}.0.0.0/8", address.octets()[0]),
        IpAddr::V6(address) => {
            let [a, b, ..] = address.segments();
            format!("{a:x}:{b:x}::/32")
        }
    }
}

/// Whether the failure was itself a response: a refused connection, or an error from a name server.
fn got_response(report: &Report) -> bool {
    let responses = [
        Reason::TcpRefused,
        Reason::TcpReset,
        Reason::DnsNameNotResolved,
        Reason::DnsNoData,
        Reason::DnsServfail,
        Reason::DnsRefused,
        Reason::DnsMalformed,
    ];
    report
        .fault
        .as_ref()
        .is_some_and(|fault| responses.contains(&fault.reason))
}

fn outcome(report: &Report) -> ControlOutcome {
    match &report.fault {
        None => ControlOutcome::Answered,
        Some(fault) if fault.reason.is_local_error() || fault.reason == Reason::LocalDenied => ControlOutcome::NotAsked,
        Some(fault) if fault.stage == Stage::Resolve => ControlOutcome::NoName,
        Some(_) => ControlOutcome::NoConnection,
    }
}

impl fmt::Display for ControlSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name { name, .. } => write!(f, "the name {name}"),
            Self::Address(address) => write!(f, "the address {address}"),
            Self::Host(control) => write!(f, "the host {control}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ControlSpec, HostPort, domain, network};

    #[test]
    fn a_control_is_displayed_as_it_is_configured() {
        let control = |host| ControlSpec::Host(HostPort::new(host, 443));
        assert_eq!(control("2001:db8::1").to_string(), "the host [2001:db8::1]:443");
        assert_eq!(control("2001:db8::1").name(), None);
        assert_eq!(control("a.test").name(), Some("a.test"));
    }

    #[test]
    fn controls_at_one_place_may_fail_together() {
        for (name, place) in [
            ("www.example.co.uk.", "example.co.uk"),
            ("WWW.Example.com", "example.com"),
            ("a.corp", "corp"),
            ("router", "router"),
        ] {
            assert_eq!(domain(name), place);
        }
        for (address, place) in [
            ("1.1.1.1", "1.0.0.0/8"),
            ("1.0.0.1", "1.0.0.0/8"),
            ("10.1.2.3", "10.1.0.0/16"),
            ("::ffff:10.1.9.9", "10.1.0.0/16"),
            ("2001:DB8:1::1", "2001:db8::/32"),
        ] {
            assert_eq!(network(address.parse().unwrap()), place);
        }
    }
}
