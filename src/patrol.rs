//! The patrol: every probe that this process makes is one of its rounds, asked for by a scrape or due by a lease.

mod lease;
mod round;
mod schedule;
mod turnstile;

pub use round::Reading;

use crate::check::{Denials, Dialer, Terms};
use crate::config::Config;
use crate::history::History;
use crate::limits::Limits;
use crate::metrics::Family;
use crate::own::{Census, Own};
use crate::policy::Rule;
use crate::probe::{OwnFault, Probe};
use crate::probers::Module;
use crate::quorum::Quorum;
use crate::series::{Kept, Key, SeriesTable};
use crate::workers::Workers;
use arc_swap::{ArcSwap, Guard};
use lease::Leases;
use nix::sys::resource::{Resource, getrlimit};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::watch;
use turnstile::Turnstile;

/// An exporter that is so late says more of itself than of the target.
const LATE: Duration = Duration::from_millis(50);

/// What probes by, what probes leave behind, and the keys that are probed between scrapes.
#[derive(Debug)]
pub struct Patrol {
    config: ArcSwap<Config>,
    series: SeriesTable,
    history: History,
    quorum: Quorum,
    own: Own,
    leases: Leases,
    turnstile: Turnstile,
    in_flight: watch::Sender<usize>,
    draining: AtomicBool,
    /// How many may be open.
    files: usize,
    /// Where this exporter itself listens.
    listeners: OnceLock<Arc<[SocketAddr]>>,
    denials: Arc<Denials>,
    workers: Workers,
}

/// Why a scrape cannot be answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unread {
    /// The exporter itself failed.
    #[error(transparent)]
    Fault(#[from] OwnFault),
    /// Another scrape with a longer timeout has begun the first probe, and it has not ended yet.
    #[error("The first probe of this target has not ended yet; ask again.")]
    NotYet,
}

impl Patrol {
    /// A patrol that has probed nothing yet.
    #[must_use]
    pub fn new(config: Config, series: SeriesTable, history: History, workers: Workers) -> Self {
        let files = files();
        Self {
            turnstile: Turnstile::new(config.limits().within_files(files).probes),
            files,
            config: ArcSwap::from_pointee(config),
            series,
            history,
            quorum: Quorum::default(),
            own: Own::new(),
            leases: Leases::default(),
            in_flight: watch::Sender::new(0),
            draining: AtomicBool::new(false),
            listeners: OnceLock::new(),
            denials: Arc::default(),
            workers,
        }
    }

    /// Answers a scrape: with what its lease last read, else with a probe of its own. Only the first reading of a lease is
    /// waited for, and no longer than the scrape may take.
    ///
    /// # Errors
    /// When the exporter itself had no means to probe, or the first reading is not there yet.
    pub async fn scrape(self: &Arc<Self>, probe: Probe) -> Result<Arc<Reading>, Unread> {
        let key = Key::new(&probe.module, &probe.aim);
        let Some((lease, others)) = self.lease_of(&key, &probe) else {
            let reading = self.round(key, probe, None).await?;
            return Ok(Arc::new(reading));
        };
        if !others {
            // Its first round is this scrape's own, and has this scrape's deadline.
            return Ok(lease.reading().await?);
        }
        let reading = tokio::time::timeout(probe.timeout, lease.reading()).await;
        Ok(reading.map_err(|_| Unread::NotYet)??)
    }

    /// The configuration in force.
    pub fn config(&self) -> Guard<Arc<Config>> {
        self.config.load()
    }

    /// From now on this configuration is in force. Leases of modules that it has go on, with its settings.
    pub fn reconfigure(&self, config: Config) {
        self.config.store(Arc::new(config));
        self.turnstile.set(self.limits().probes);
        self.leases.look_up();
    }

    /// The bounds in force.
    pub fn limits(&self) -> Limits {
        self.config.load().limits().within_files(self.files)
    }

    /// From now on these addresses are this exporter's own.
    pub fn listens_at(&self, listeners: Arc<[SocketAddr]>) {
        // They do not change while it runs.
        let _first = self.listeners.set(listeners);
    }

    /// On which terms a module's probes run.
    pub fn terms(&self, module: &Module) -> Terms {
        let config = self.config.load();
        let listeners = self.listeners.get().cloned().unwrap_or_default();
        let dialer = Dialer::new(config.policy().clone(), listeners, self.denials.clone());
        Terms {
            dialer: dialer.within(module.fence.clone()),
            limits: *config.limits(),
        }
    }

    /// A target was asked for that the module is not for.
    pub fn denied(&self) {
        self.denials.count(Rule::AllowedTargets);
    }

    /// Every key, and what is kept of it.
    #[must_use]
    pub fn keys(&self) -> Vec<(Arc<Key>, Arc<Kept>)> {
        self.series.all()
    }

    /// The evidence.
    pub const fn history(&self) -> &History {
        &self.history
    }

    /// Who does what must go on by itself.
    pub const fn workers(&self) -> &Workers {
        &self.workers
    }

    /// What the exporter counts about itself.
    pub const fn own(&self) -> &Own {
        &self.own
    }

    /// The exporter's own metrics.
    #[must_use]
    pub fn own_families(&self) -> Vec<Family> {
        self.own.families(&Census {
            in_flight: *self.in_flight.borrow(),
            leases: self.leases.count(),
            unfenced: self.config.load().unfenced(),
            denials: &self.denials,
            limits: &self.limits(),
            table: self.series.stats(),
        })
    }

    /// From now on nothing new is begun, and leases end; [`Patrol::idle`] tells when the last probe has ended.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
        self.leases.look_up();
    }

    /// Whether nothing new is begun.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    /// Waits until no probe is in flight.
    pub async fn idle(&self) {
        // The sender lives as long as we do: waiting cannot fail.
        let _ = self.in_flight.subscribe().wait_for(|probes| *probes == 0).await;
    }
}

/// How many files this process may have open.
fn files() -> usize {
    let limit = getrlimit(Resource::RLIMIT_NOFILE);
    limit.map_or(usize::MAX, |(soft, _)| usize::try_from(soft).unwrap_or(usize::MAX))
}
