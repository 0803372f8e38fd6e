//! Controls: names and addresses that are always reachable from a healthy network. When all of them fail, the fault is in the
//! network of the exporter.

use crate::check::{AddressFamily, Check, ProbeContext, ProbeFailed, Resolver};
use crate::investigation::{Control, ControlOutcome, Vantage};
use crate::reason::Reason;
use crate::report::Report;
use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A name or an address that is always reachable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControlSpec {
    /// A name that resolves, to one of the expected addresses where some are given.
    Name {
        /// The name.
        name: String,
        /// The expected addresses. Empty accepts any address.
        expect: Vec<IpAddr>,
    },
    /// An address that accepts connections.
    Address(SocketAddr),
    /// The host of a URL. It resolves and accepts connections.
    Host {
        /// The host.
        host: String,
        /// Its port.
        port: u16,
    },
}

/// The controls and their latest result for each resolver.
#[derive(Debug, Default)]
pub struct Controls {
    specs: Arc<[ControlSpec]>,
    latest: Mutex<HashMap<usize, Arc<LatestControls>>>,
}

/// How the controls are probed.
#[derive(Clone, Copy, Debug)]
pub struct ControlContext<'a> {
    /// The resolver of the module. Each resolver has results of its own.
    pub resolver: &'a Arc<Resolver>,
    /// Limits and policy of the probe that asks for a result.
    pub context: &'a ProbeContext,
}

/// The latest result for one resolver.
#[derive(Debug, Default)]
struct LatestControls {
    /// Held while a round of controls runs, so that no two rounds run at once.
    running: Arc<tokio::sync::Mutex<()>>,
    result: Mutex<Option<(Instant, Arc<Vantage>)>>,
}

impl LatestControls {
    fn result(&self) -> MutexGuard<'_, Option<(Instant, Arc<Vantage>)>> {
        // It is replaced as a whole.
        self.result.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The latest result. One that reports a healthy network is valid for `age` only: the network may have failed since. One that
    /// reports a fault is valid until the next round has finished, for a maximum of [`VALID_FOR`].
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

    /// Whether another round is due. After a round that reported a fault, the next one is due sooner.
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

/// Maximum age of a result that is used.
const VALID_FOR: Duration = Duration::from_mins(2);

/// Timeout of each control. It does not depend on the deadline of the probe that needs the result.
const TIMEOUT: Duration = Duration::from_secs(2);

/// The controls of a probe start earlier than their timeout requires by this.
const MARGIN: Duration = Duration::from_millis(250);

/// Maximum number of resolvers with results of their own. A configuration has a handful.
const MAX_RESOLVERS: usize = 256;

/// Either address family.
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

    /// When a probe with this timeout, still without a response, should start the controls: their result is then there at its
    /// deadline. Not before a quarter of the timeout: most probes have finished by then.
    #[must_use]
    pub fn latest_start(timeout: Duration) -> Duration {
        timeout.saturating_sub(TIMEOUT + MARGIN).max(timeout / 4)
    }

    /// Starts a round of controls where the latest result is older than `age` and no round runs. Does not wait for it.
    pub fn start(&self, means: ControlContext<'_>, age: Duration) {
        if let Some(latest) = self.latest_for(means.resolver) {
            self.start_round(&latest, means, age);
        }
    }

    /// The result of the controls, maximum `age` old where it reports a healthy network. Waits for a round that is due or runs, but
    /// no longer than `left`; such a round finishes in any case, and the next probe finds its result. `None` where there are no
    /// controls, or no result yet.
    pub async fn look(&self, means: ControlContext<'_>, age: Duration, left: Duration) -> Option<Arc<Vantage>> {
        let latest = self.latest_for(means.resolver)?;
        self.start_round(&latest, means, age);
        if latest.is_older_than(age) {
            let _in_time = tokio::time::timeout(left, latest.running.lock()).await;
        }
        latest.vantage(age)
    }

    /// Whether no result reports a fault; `None` where there are no controls.
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

    /// `None` where there are no controls, or too many resolvers.
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

    /// A round runs on a task of its own: a probe with a short timeout, or a scraper that hangs up, must not cut it short. A network
    /// that drops packets would otherwise never be noticed.
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

/// Probes every control at once, and a name that must not exist.
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

/// Resolves a name that nobody can have registered (RFC 2606 section 2). A resolver that finds an address for it does so for every name.
async fn addresses_of_invented_name(resolver: &Resolver, context: &ProbeContext, ask: bool) -> Vec<IpAddr> {
    if !ask {
        return Vec::new();
    }
    let name = format!("glassbox-{:016x}.example.", getrandom::u64().unwrap_or_default());
    let mut check = Check::new(context, TIMEOUT);
    check.resolve_all(resolver, &name, ANY).await.unwrap_or_default()
}

impl ControlSpec {
    /// The outcome, and the addresses that the name resolved to where these are not the expected ones.
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
            began: report.began,
            timings: report.timings().cloned().collect(),
            detail: report.fault.map(|fault| fault.detail).unwrap_or_default(),
        };
        (control, unexpected)
    }

    async fn run(&self, check: &mut Check, resolver: &Resolver) -> Result<Vec<IpAddr>, ProbeFailed> {
        match self {
            Self::Name { name, .. } => check.resolve_all(resolver, name, ANY).await,
            Self::Address(address) => check.connect(*address).await.map(|()| Vec::new()),
            Self::Host { host, port } => {
                let found = check.resolve_all(resolver, host, ANY).await?;
                // The host of the exporter may lack an address family.
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
