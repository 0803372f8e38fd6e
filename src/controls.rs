//! Controls: names and addresses that are always reachable from a healthy network. If all of them fail, the exporter's
//! own network is at fault.

use crate::check::{AddressFamily, Check, ProbeContext, ProbeFailed, Resolver};
use crate::investigation::{Control, ControlOutcome, Vantage};
use crate::reason::Reason;
use crate::report::Report;
use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

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
    /// The host of a URL, which resolves and accepts connections.
    Host {
        /// Name or address.
        host: String,
        /// TCP port.
        port: u16,
    },
}

/// The configured controls, and the latest result for each resolver.
#[derive(Debug, Default)]
pub struct Controls {
    specs: Arc<[ControlSpec]>,
    latest: Mutex<HashMap<usize, Arc<LatestControls>>>,
}

/// Resources for probing the controls.
#[derive(Clone, Copy, Debug)]
pub struct ControlContext<'a> {
    /// The module's resolver. Each resolver has separate results.
    pub resolver: &'a Arc<Resolver>,
    /// Limits and policy of the probe that needs the result.
    pub context: &'a ProbeContext,
}

/// The latest result for one resolver.
#[derive(Debug, Default)]
struct LatestControls {
    /// Held while a round of controls runs, so that only one round runs at a time.
    running: Arc<tokio::sync::Mutex<()>>,
    result: Mutex<Option<ControlResult>>,
}

/// The result of one round.
#[derive(Debug)]
struct ControlResult {
    started: Instant,
    finished: Instant,
    vantage: Arc<Vantage>,
}

impl LatestControls {
    fn result(&self) -> MutexGuard<'_, Option<ControlResult>> {
        // The result is only replaced as a whole, so a poisoned lock is harmless.
        self.result.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The latest valid result. A healthy result is valid for `age`, because the network may have failed since. A
    /// faulty result is valid until the next round finishes, up to [`VALID_FOR`]. A round that started before `since`
    /// proves nothing about what happened after it.
    fn vantage(&self, age: Duration, since: Instant) -> Option<Arc<Vantage>> {
        let result = self.result();
        let ControlResult {
            started,
            finished,
            vantage,
        } = result.as_ref()?;
        let valid_for = if vantage.healthy() { age } else { VALID_FOR };
        (finished.elapsed() < valid_for).then(|| {
            if *started < since {
                let vantage = Vantage::clone(vantage);
                Arc::new(Vantage { stale: true, ..vantage })
            } else {
                vantage.clone()
            }
        })
    }

    /// Whether another round is due. After a faulty result, the next round is due sooner.
    fn is_older_than(&self, age: Duration) -> bool {
        self.result().as_ref().is_none_or(|result| {
            let age = if result.vantage.healthy() {
                age
            } else {
                age.min(Controls::AFTER_FAILURE)
            };
            result.finished.elapsed() >= age
        })
    }

    /// Stores the result of a round that started at `started`.
    fn store(&self, started: Instant, mut vantage: Vantage) {
        let mut result = self.result();
        let earlier = result.as_ref().map(|result| result.vantage.clone());
        for (number, control) in vantage.controls.iter_mut().enumerate() {
            let answered_before = earlier.as_ref().and_then(|earlier| earlier.controls.get(number));
            control.has_answered = control.outcome == ControlOutcome::Answered
                || answered_before.is_some_and(|control| control.has_answered);
        }
        *result = Some(ControlResult {
            started,
            finished: Instant::now(),
            vantage: Arc::new(vantage),
        });
    }
}

/// Maximum age of a valid result.
const VALID_FOR: Duration = Duration::from_mins(2);

/// Timeout of each control. It does not depend on the deadline of the probe that needs the result.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Additional time by which the controls start before a probe's deadline.
const MARGIN: Duration = Duration::from_millis(250);

/// Maximum number of resolvers with separate results. A typical configuration has only a few resolvers.
const MAX_RESOLVERS: usize = 256;

/// Accepts both address families.
const ANY: AddressFamily = AddressFamily {
    prefers_ip4: true,
    fallback: true,
};

impl Controls {
    /// Maximum age of a result after a successful probe.
    pub const WHILE_WELL: Duration = Duration::from_mins(1);
    /// Maximum age of a result after a failed probe.
    pub const AFTER_FAILURE: Duration = Duration::from_secs(5);

    /// Controls without results.
    #[must_use]
    pub fn new(specs: Vec<ControlSpec>) -> Self {
        Self {
            specs: specs.into(),
            latest: Mutex::default(),
        }
    }

    /// Time after which a probe without a response starts the controls, so that their result is available at the
    /// probe's deadline. At least a quarter of the timeout, because most probes finish earlier.
    #[must_use]
    pub fn latest_start(timeout: Duration) -> Duration {
        timeout.saturating_sub(TIMEOUT + MARGIN).max(timeout / 4)
    }

    /// Starts a round of controls for a probe that may fail, unless a round is running. Does not wait for the round. A
    /// result older than half the permitted age is refreshed, because it would be too old at the probe's deadline.
    pub fn start(&self, means: ControlContext<'_>) {
        if let Some(latest) = self.latest_for(means.resolver) {
            self.start_round(&latest, means, Self::AFTER_FAILURE / 2);
        }
    }

    /// The latest result of the controls. The maximum age of a healthy result is `age`. Waits up to `left` for a round
    /// that is due or running. The round finishes even after this timeout, and its result serves the next probe.
    /// `None` if there are no controls or no valid result. A result is `stale` if its round started before `since`.
    pub async fn look(
        &self,
        means: ControlContext<'_>,
        age: Duration,
        since: Instant,
        left: Duration,
    ) -> Option<Arc<Vantage>> {
        let latest = self.latest_for(means.resolver)?;
        self.start_round(&latest, means, age);
        // A round that is running is more recent than any result.
        let _in_time = tokio::time::timeout(left, latest.running.lock()).await;
        latest.vantage(age, since)
    }

    /// Whether the latest results of all resolvers are healthy; `None` without controls.
    #[must_use]
    pub fn healthy(&self) -> Option<bool> {
        if self.specs.is_empty() {
            return None;
        }
        let latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let is_faulty = |latest: &Arc<LatestControls>| {
            let result = latest.vantage(VALID_FOR, Instant::now());
            result.is_some_and(|result| !result.healthy())
        };
        Some(!latest.values().any(is_faulty))
    }

    /// The latest result for a resolver; `None` without controls or with too many resolvers.
    fn latest_for(&self, resolver: &Arc<Resolver>) -> Option<Arc<LatestControls>> {
        if self.specs.is_empty() {
            return None;
        }
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let id = Arc::as_ptr(resolver).addr();
        if !latest.contains_key(&id) && latest.len() >= MAX_RESOLVERS {
            return None;
        }
        Some(latest.entry(id).or_default().clone())
    }

    /// Starts a round in a separate task, because a probe with a short timeout or a disconnected scraper must not
    /// cancel it. Otherwise, the exporter would never detect a network that drops packets.
    fn start_round(&self, latest: &Arc<LatestControls>, means: ControlContext<'_>, age: Duration) {
        if !latest.is_older_than(age) {
            return;
        }
        let Ok(running) = latest.running.clone().try_lock_owned() else {
            return;
        };
        let (specs, latest) = (self.specs.clone(), latest.clone());
        let (resolver, context) = (means.resolver.clone(), means.context.clone());
        tokio::spawn(async move {
            let started = Instant::now();
            latest.store(started, run_all(&specs, &resolver, &context).await);
            drop(running);
        });
    }
}

/// Probes all controls concurrently, and resolves a nonexistent name.
async fn run_all(specs: &[ControlSpec], resolver: &Resolver, context: &ProbeContext) -> Vantage {
    let probed = specs.iter().map(|spec| spec.probe(resolver, context));
    let needs_names = specs
        .iter()
        .any(|spec| matches!(spec, ControlSpec::Name { .. } | ControlSpec::Host { .. }));
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
            Self::Host { host, .. } => host.parse::<IpAddr>().is_err().then_some(host),
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
            Self::Host { host, port } => {
                *found = check.resolve_all(resolver, host, ANY).await?;
                // The exporter's host may support only one address family.
                let one_of_each = [IpAddr::is_ipv4, IpAddr::is_ipv6]
                    .into_iter()
                    .filter_map(|of_family: fn(&IpAddr) -> bool| found.iter().copied().find(of_family));
                let mut connected = Ok(());
                for address in one_of_each {
                    connected = check.connect(SocketAddr::new(address, *port)).await;
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
        Some(fault) if fault.stage == crate::chain::Stage::Resolve => ControlOutcome::NoName,
        Some(_) => ControlOutcome::NoConnection,
    }
}

impl fmt::Display for ControlSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name { name, .. } => write!(f, "the name {name}"),
            Self::Address(address) => write!(f, "the address {address}"),
            Self::Host { host, port } => write!(f, "the host {host}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{domain, network};

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
