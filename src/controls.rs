//! Controls: what should always answer from here. When all of it fails, the fault is on our own side.

use crate::check::{AddressFamily, Check, ProbeContext, ProbeFailed, Resolver};
use crate::investigation::{Control, ControlOutcome, Vantage};
use crate::reason::Reason;
use crate::report::Report;
use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// One thing that should always answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControlSpec {
    /// A name that resolves; to one of these addresses, where some are given.
    Name {
        /// The name.
        name: String,
        /// Where it leads; none means anywhere.
        expect: Vec<IpAddr>,
    },
    /// An address that takes connections.
    Address(SocketAddr),
    /// The host of a URL: it resolves and takes connections.
    Host {
        /// The host.
        host: String,
        /// Its port.
        port: u16,
    },
}

/// The controls, and what they said last, for each name service.
#[derive(Debug, Default)]
pub struct Controls {
    specs: Vec<ControlSpec>,
    seen: Mutex<HashMap<usize, Arc<LatestControls>>>,
}

/// By which means they are asked.
#[derive(Clone, Copy, Debug)]
pub struct ControlContext<'a> {
    /// The name service. What it says is kept for itself.
    pub resolver: &'a Arc<Resolver>,
    /// On which terms they are asked.
    pub context: &'a ProbeContext,
}

/// What the controls said last over one name service.
#[derive(Debug, Default)]
struct LatestControls {
    /// Held while they are asked, so that nobody asks twice at once.
    asking: tokio::sync::Mutex<()>,
    said: Mutex<Option<(Instant, Arc<Vantage>)>>,
}

impl LatestControls {
    fn said(&self) -> MutexGuard<'_, Option<(Instant, Arc<Vantage>)>> {
        // It is replaced as a whole.
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was said last, unless that is too long ago to be true.
    fn vantage(&self) -> Option<Arc<Vantage>> {
        let said = self.said();
        let (at, vantage) = said.as_ref()?;
        (at.elapsed() < TRUE_FOR).then(|| vantage.clone())
    }

    /// Whether what was said is old; while our own side was suspect, that is sooner.
    fn is_older_than(&self, age: Duration) -> bool {
        self.said().as_ref().is_none_or(|(at, vantage)| {
            let age = if vantage.healthy() {
                age
            } else {
                age.min(Controls::AFTER_FAILURE)
            };
            at.elapsed() >= age
        })
    }
}

/// What controls said is no longer held for true after this.
const TRUE_FOR: Duration = Duration::from_mins(2);

/// A control gets so much time, or what is left of the probe's.
const PATIENCE: Duration = Duration::from_secs(2);

/// As many name services have a memory of their own; a configuration has a handful.
const MOST_RESOLVERS: usize = 256;

/// Both families, as it comes.
const ANY: AddressFamily = AddressFamily {
    prefers_ip4: true,
    fallback: true,
};

impl Controls {
    /// While all is well the controls are asked so often, at most.
    pub const WHILE_WELL: Duration = Duration::from_mins(1);
    /// When something failed, what they said is taken for true so long.
    pub const AFTER_FAILURE: Duration = Duration::from_secs(5);

    /// Controls that were not asked yet.
    #[must_use]
    pub fn new(specs: Vec<ControlSpec>) -> Self {
        Self {
            specs,
            seen: Mutex::default(),
        }
    }

    /// What they say, or said within `age`; `None` where there are no controls, or where there was no time to ask. Takes
    /// no more than what is `left`.
    pub async fn look(&self, means: ControlContext<'_>, age: Duration, left: Duration) -> Option<Arc<Vantage>> {
        if self.specs.is_empty() {
            return None;
        }
        let latest = self.latest(means.resolver)?;
        let until = Instant::now() + left;
        if latest.is_older_than(age)
            && let Ok(_asking) = tokio::time::timeout(left, latest.asking.lock()).await
            && latest.is_older_than(age)
        {
            let left = until.saturating_duration_since(Instant::now());
            if !left.is_zero() {
                let vantage = Box::pin(self.ask(means, left.min(PATIENCE))).await;
                *latest.said() = Some((Instant::now(), Arc::new(vantage)));
            }
        }
        latest.vantage()
    }

    /// Whether our own side looked well when it was looked at last; `None` where there are no controls.
    #[must_use]
    pub fn healthy(&self) -> Option<bool> {
        if self.specs.is_empty() {
            return None;
        }
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let suspect = |latest: &Arc<LatestControls>| latest.vantage().is_some_and(|vantage| !vantage.healthy());
        Some(!seen.values().any(suspect))
    }

    fn latest(&self, resolver: &Arc<Resolver>) -> Option<Arc<LatestControls>> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let id = Arc::as_ptr(resolver).addr();
        if !seen.contains_key(&id) && seen.len() >= MOST_RESOLVERS {
            return None;
        }
        Some(seen.entry(id).or_default().clone())
    }

    async fn ask(&self, means: ControlContext<'_>, patience: Duration) -> Vantage {
        let asked = self.specs.iter().map(|spec| spec.ask(means, patience));
        let names = self
            .specs
            .iter()
            .any(|spec| matches!(spec, ControlSpec::Name { .. } | ControlSpec::Host { .. }));
        let (asked, invented) = tokio::join!(
            futures_util::future::join_all(asked),
            invented_name_leads_to(means, patience, names),
        );
        let (controls, misled): (Vec<_>, Vec<_>) = asked.into_iter().unzip();
        let portal: Vec<IpAddr> = misled.into_iter().flatten().chain(invented).collect();
        Vantage {
            controls,
            captive: !portal.is_empty(),
            portal,
            outage: false,
        }
    }
}

/// A name that nobody can have registered (RFC 2606 section 2): who answers for it answers for everything.
async fn invented_name_leads_to(means: ControlContext<'_>, patience: Duration, ask: bool) -> Vec<IpAddr> {
    if !ask {
        return Vec::new();
    }
    let name = format!("glassbox-{:016x}.example.", getrandom::u64().unwrap_or_default());
    let mut check = Check::new(means.context, patience);
    check.resolve_all(means.resolver, &name, ANY).await.unwrap_or_default()
}

impl ControlSpec {
    /// What became of it, and where it led if it must not.
    async fn ask(&self, means: ControlContext<'_>, patience: Duration) -> (Control, Vec<IpAddr>) {
        let mut check = Check::new(means.context, patience);
        let led = self.run(&mut check, means.resolver).await;
        let report = check.finish();
        let misled = match (self, &led) {
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
            outcome: reached(&report, patience),
            began: report.began,
            timings: report.timings().cloned().collect(),
            detail: report.fault.map(|fault| fault.detail).unwrap_or_default(),
        };
        (control, misled)
    }

    async fn run(&self, check: &mut Check, resolver: &Resolver) -> Result<Vec<IpAddr>, ProbeFailed> {
        match self {
            Self::Name { name, .. } => check.resolve_all(resolver, name, ANY).await,
            Self::Address(address) => check.connect(*address).await.map(|()| Vec::new()),
            Self::Host { host, port } => {
                let found = check.resolve_all(resolver, host, ANY).await?;
                // This host may lack a family.
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

/// Silence is an answer only after the full patience: a probe with little time must not speak for all others.
fn reached(report: &Report, patience: Duration) -> ControlOutcome {
    match &report.fault {
        None => ControlOutcome::Answered,
        Some(fault) if fault.at_deadline && patience < PATIENCE => ControlOutcome::NotAsked,
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
