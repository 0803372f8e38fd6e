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
    result: Mutex<Option<(Instant, Arc<Vantage>)>>,
}

impl LatestControls {
    fn result(&self) -> MutexGuard<'_, Option<(Instant, Arc<Vantage>)>> {
        // The result is only replaced as a whole, so a poisoned lock is harmless.
        self.result.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The latest valid result. A healthy result is valid for `age`, because the network may have failed since. A
    /// faulty result is valid until the next round finishes, up to [`VALID_FOR`].
    fn vantage(&self, age: Duration) -> Option<Arc<Vantage>> {
        let result = self.result();
        let (at, vantage) = result.as_ref()?;
        let valid_for = if vantage.healthy() { age } else { VALID_FOR };
        let is_stale = !vantage.healthy() && at.elapsed() >= Controls::AFTER_FAILURE;
        (at.elapsed() < valid_for).then(|| {
            if is_stale {
                let vantage = Vantage::clone(vantage);
                Arc::new(Vantage { stale: true, ..vantage })
            } else {
                vantage.clone()
            }
        })
    }

    /// Whether another round is due. After a faulty result, the next round is due sooner.
    fn is_older_than(&self, age: Duration) -> bool {
        self.result().as_ref().is_none_or(|(at, vantage)| {
            let age = if vantage.healthy() {
                age
            } else {
                age.min(Controls::AFTER_FAILURE)
            };
            at.elapsed() >= age
        })
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
    /// `None` if there are no controls or no valid result.
    pub async fn look(&self, means: ControlContext<'_>, age: Duration, left: Duration) -> Option<Arc<Vantage>> {
        let latest = self.latest_for(means.resolver)?;
        self.start_round(&latest, means, age);
        if latest.is_older_than(age) {
            let _in_time = tokio::time::timeout(left, latest.running.lock()).await;
        }
        latest.vantage(age)
    }

    /// Whether the latest results of all resolvers are healthy; `None` without controls.
    #[must_use]
    pub fn healthy(&self) -> Option<bool> {
        if self.specs.is_empty() {
            return None;
        }
        let latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let is_faulty =
            |latest: &Arc<LatestControls>| latest.vantage(VALID_FOR).is_some_and(|result| !result.healthy());
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
            let vantage = run_all(&specs, &resolver, &context).await;
            *latest.result() = Some((Instant::now(), Arc::new(vantage)));
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
        addresses_of_invented_name(resolver, context, needs_names),
    );
    let (controls, unexpected): (Vec<_>, Vec<_>) = probed.into_iter().unzip();
    let portal: Vec<IpAddr> = unexpected.into_iter().flatten().chain(invented).collect();
    Vantage {
        controls,
        captive: !portal.is_empty(),
        portal,
        outage: false,
        stale: false,
    }
}

/// Resolves a name that cannot exist (RFC 2606 section 2). A resolver that returns an address for it does so for every
/// name.
async fn addresses_of_invented_name(resolver: &Resolver, context: &ProbeContext, ask: bool) -> Vec<IpAddr> {
    if !ask {
        return Vec::new();
    }
    let name = format!("glassbox-{:016x}.example.", getrandom::u64().unwrap_or_default());
    let mut check = Check::new(context, TIMEOUT);
    check.resolve_all(resolver, &name, ANY).await.unwrap_or_default()
}

impl ControlSpec {
    /// The outcome of the control, and the addresses of its name if none of them is expected.
    async fn probe(&self, resolver: &Resolver, context: &ProbeContext) -> (Control, Vec<IpAddr>) {
        let mut check = Check::new(context, TIMEOUT);
        let found = self.run(&mut check, resolver).await;
        let report = check.finish();
        let unexpected = match (self, &found) {
            (Self::Name { expect, .. }, Ok(found))
                if !expect.is_empty() && !found.iter().any(|address| expect.contains(address)) =>
            {
                found.clone()
            }
            _ => Vec::new(),
        };
        let control = Control {
            what: self.to_string(),
            needs_name: match self {
                Self::Name { .. } => true,
                Self::Address(_) => false,
                Self::Host { host, .. } => host.parse::<IpAddr>().is_err(),
            },
            outcome: outcome(&report),
            got_response: got_response(&report),
            place: self.place(),
            began: report.began,
            timings: report.timings().cloned().collect(),
            detail: report.fault.map(|fault| fault.detail).unwrap_or_default(),
        };
        (control, unexpected)
    }

    /// The IP address, or the domain that fails as a whole: the registrable domain or, for a private name, the last
    /// label.
    fn place(&self) -> String {
        let name = match self {
            Self::Address(address) => return address.ip().to_string(),
            Self::Name { name, .. } => name,
            Self::Host { host, .. } if host.parse::<IpAddr>().is_ok() => return host.clone(),
            Self::Host { host, .. } => host,
        };
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let is_public = psl::suffix(name.as_bytes()).is_some_and(|suffix| suffix.is_known());
        let domain = psl::domain_str(&name).filter(|_| is_public);
        let last_label = || name.rsplit('.').next().unwrap_or(&name);
        domain.unwrap_or_else(last_label).to_owned()
    }

    async fn run(&self, check: &mut Check, resolver: &Resolver) -> Result<Vec<IpAddr>, ProbeFailed> {
        match self {
            Self::Name { name, .. } => check.resolve_all(resolver, name, ANY).await,
            Self::Address(address) => check.connect(*address).await.map(|()| Vec::new()),
            Self::Host { host, port } => {
                let found = check.resolve_all(resolver, host, ANY).await?;
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
                connected.map(|()| found)
            }
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
    use super::ControlSpec;

    #[test]
    fn controls_at_one_place_may_fail_together() {
        let name = |name: &str| ControlSpec::Name {
            name: name.to_owned(),
            expect: Vec::new(),
        };
        let host = |host: &str| ControlSpec::Host {
            host: host.to_owned(),
            port: 443,
        };
        for (spec, place) in [
            (name("www.example.co.uk."), "example.co.uk"),
            (name("WWW.Example.com"), "example.com"),
            (name("a.corp"), "corp"),
            (name("router"), "router"),
            (host("api.example.org"), "example.org"),
            (host("2001:db8::1"), "2001:db8::1"),
            (ControlSpec::Address("192.0.2.1:53".parse().unwrap()), "192.0.2.1"),
        ] {
            assert_eq!(spec.place(), place);
        }
    }
}
