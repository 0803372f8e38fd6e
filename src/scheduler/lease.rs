//! Leases: periodic probes of a key between scrapes.
//!
//! A module can set an `interval` to probe its targets between scrapes. Prometheus keeps the list of targets, so
//! scrapes determine which keys to probe. The first scrape of a key (a module and a target) runs a single probe. The
//! second scrape creates a lease: a task then probes the key once per interval, and each later scrape returns the
//! latest reading instead of running a probe. Each scrape renews the lease. When Prometheus stops scraping the key, the
//! lease expires a few scrape intervals after the last scrape.

mod scrapes;

use super::run::{LeasedRun, Reading};
use super::schedule::{Schedule, ScheduleDecision, ScheduledRun};
use super::{Caller, Scheduler, ScrapeError};
use crate::series::SeriesKey;
use glassbox_probe::clock;
use glassbox_probe::probe::{LocalError, Probe};
use glassbox_probe::probers::{Module, ProbeRequest};
use glassbox_verdict::reason::Reason;
use parking_lot::{Mutex, MutexGuard};
use scrapes::Scrapes;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::time::sleep_until;

/// Time that a scrape waits for a new reading if the last one is too old. The next run may be about to end.
const OVERDUE: Duration = Duration::from_millis(500);

/// All leases of the process.
#[derive(Debug)]
pub(super) struct Leases {
    held: Mutex<LeaseTable>,
    /// Start time of all schedules.
    epoch: Instant,
    /// Wakes all lease tasks.
    news: watch::Sender<()>,
}

/// Leased keys and keys with a single probe in progress.
#[derive(Debug, Default)]
struct LeaseTable {
    by_key: HashMap<SeriesKey, Arc<Lease>>,
    /// Number of entries that are probed every interval. The other entries run a single probe.
    leases: usize,
}

impl Default for Leases {
    fn default() -> Self {
        Self {
            held: Mutex::default(),
            epoch: clock::now(),
            news: watch::Sender::new(()),
        }
    }
}

impl Leases {
    pub fn count(&self) -> usize {
        self.held().leases
    }

    /// Wakes all lease tasks after a configuration change or before shutdown.
    pub fn reconsider(&self) {
        self.news.send_replace(());
    }

    fn held(&self) -> MutexGuard<'_, LeaseTable> {
        // `insert` and `remove` keep the map and the count consistent, also if a later step panics.
        self.held.lock()
    }

    /// Ends the lease if it has expired. Scrapes renew leases under the same lock, so none is lost.
    fn end_if_unwanted(&self, key: &SeriesKey, lease: &Arc<Lease>, now: Instant) -> bool {
        let mut held = self.held();
        let unwanted = lease.scrapes().expire() <= now;
        if unwanted {
            held.remove(key, lease);
        }
        unwanted
    }
}

impl LeaseTable {
    fn insert(&mut self, key: SeriesKey, lease: Arc<Lease>) {
        self.leases += usize::from(lease.lasts);
        self.by_key.insert(key, lease);
    }

    fn remove(&mut self, key: &SeriesKey, lease: &Arc<Lease>) {
        if self.by_key.get(key).is_some_and(|held| Arc::ptr_eq(held, lease)) {
            self.by_key.remove(key);
            self.leases -= usize::from(lease.lasts);
        }
    }
}

/// A key that is probed every interval or once, for all scrapes that arrive in that time.
#[derive(Debug)]
pub(super) struct Lease {
    /// Whether the key is probed every interval. False for a single probe.
    lasts: bool,
    scrapes: Mutex<Scrapes>,
    latest: watch::Sender<LatestReading>,
}

/// A key's latest outcome.
#[derive(Debug, Default)]
struct LatestReading {
    /// Last reading and its time.
    read: Option<(Instant, Arc<Reading>)>,
    /// Local error of the last run, if it failed after that reading.
    fault: Option<LocalError>,
}

impl LatestReading {
    /// Returns the last reading, unless it is older than `oldest`.
    fn no_older_than(&self, oldest: Duration) -> Option<Arc<Reading>> {
        let (at, reading) = self.read.as_ref()?;
        (clock::since(*at) <= oldest).then(|| reading.clone())
    }

    /// Returns why a scrape gets no reading.
    fn unread(&self) -> ScrapeError {
        match (&self.read, &self.fault) {
            (Some((at, _)), fault) => ScrapeError::Stale {
                age: clock::since(*at),
                fault: fault.clone(),
            },
            (None, Some(fault)) => ScrapeError::Fault(fault.clone()),
            (None, None) => ScrapeError::NotYet,
        }
    }
}

impl Lease {
    /// Creates a lease for a scrape that arrived `gap` after the previous one. Without a previous scrape, it is a
    /// single probe.
    pub fn new(now: Instant, gap: Option<Duration>) -> Self {
        Self {
            lasts: gap.is_some(),
            scrapes: Mutex::new(Scrapes::new(now, gap.unwrap_or_default())),
            latest: watch::Sender::default(),
        }
    }

    fn scrapes(&self) -> MutexGuard<'_, Scrapes> {
        // Every intermediate state is valid, so it stays usable after a panic.
        self.scrapes.lock()
    }

    /// Returns the last reading. Waits for the first one, and up to [`OVERDUE`] for a new one if the last one is older
    /// than `oldest`.
    pub async fn reading(&self, oldest: Duration) -> Result<Arc<Reading>, ScrapeError> {
        let mut latest = self.latest.subscribe();
        let there = latest.wait_for(|latest| latest.read.is_some() || latest.fault.is_some());
        let is_old = match there.await {
            Ok(latest) => match latest.no_older_than(oldest) {
                Some(reading) => return Ok(reading),
                None => latest.read.is_some(),
            },
            // Unreachable: `self` owns the sender.
            Err(_) => false,
        };
        let fresh = latest.wait_for(|latest| latest.no_older_than(oldest).is_some());
        if is_old && let Ok(Ok(latest)) = tokio::time::timeout(OVERDUE, fresh).await {
            return latest.no_older_than(oldest).ok_or_else(|| latest.unread());
        }
        Err(self.latest.borrow().unread())
    }

    /// Stores the outcome of a run. A local error does not replace the last reading, which remains available until it
    /// is too old.
    pub fn take(&self, outcome: Result<Reading, LocalError>) {
        self.latest.send_modify(|latest| match outcome {
            Ok(read) => {
                *latest = LatestReading {
                    read: Some((clock::now(), Arc::new(read))),
                    fault: None,
                }
            }
            Err(fault) => latest.fault = Some(fault),
        });
    }

    /// Returns the key's state, if there is a reading.
    fn kept(&self) -> Option<Arc<crate::series::KeyState>> {
        let latest = self.latest.borrow();
        latest.read.as_ref().map(|(_, reading)| reading.kept().clone())
    }
}

fn broken() -> LocalError {
    LocalError {
        reason: Reason::LocalInternalError,
        detail: "the lease ended without a reading; this is a defect of the exporter, please report it".to_owned(),
    }
}

impl Scheduler {
    /// Returns the lease of a scraped key and the interval of its module, or `None` if the module has no interval.
    /// Renews an existing lease. The second scrape of a key creates a lease. The first scrape, and all scrapes beyond
    /// the limit of leases, create a single probe, so that a key is never probed twice at the same time.
    pub(super) fn lease_of(
        self: &Arc<Self>,
        key: &SeriesKey,
        probe: &Probe,
        caller: Caller,
    ) -> Option<(Arc<Lease>, Duration)> {
        let interval = probe.module.interval?;
        let now = clock::now();
        let most = self.config.load().limits().leases.min(self.series.tenured_room());
        let mut held = self.leases.held();
        if let Some(lease) = held.by_key.get(key) {
            lease.scrapes().came(now);
            return Some((lease.clone(), interval));
        }
        let before = self.series.peek(key).and_then(|kept| kept.target_state().scraped);
        let gap = before.map(|before| now.saturating_duration_since(before));
        if gap.is_some() && held.leases >= most {
            self.self_metrics.met("leases");
        }
        let lease = Arc::new(Lease::new(now, gap.filter(|_| held.leases < most)));
        held.insert(key.clone(), lease.clone());
        drop(held);
        // Created here and not in the task, so that the lease also ends if a worker drops the task before its first
        // poll.
        let ends = LeaseGuard {
            scheduler: self.clone(),
            key: key.clone(),
            lease: lease.clone(),
        };
        self.workers.spawn(keep(ends, interval, probe.clone(), caller));
        Some((lease, interval))
    }

    /// Probes a key until its lease expires or its module no longer allows it.
    async fn lease_out(
        self: &Arc<Self>,
        key: &SeriesKey,
        lease: &Arc<Lease>,
        interval: Duration,
        (first, caller): (Probe, Caller),
    ) {
        let mut news = self.leases.news.subscribe();
        let (name, requested) = (first.module.name.clone(), first.requested.clone());
        self.first_run(key, lease, interval, (first, caller)).await;
        // The next scrape restarts a probe that could not start for lack of resources.
        if !lease.lasts || lease.kept().is_none() {
            return;
        }
        let mut schedule = Schedule::new(key, interval, self.leases.epoch);
        // At least half an interval after the end of the first run, so that two runs do not follow each other closely.
        let mut due = schedule.after(clock::now() + interval / 2);
        loop {
            let wake = due.begin.min(lease.scrapes().expire());
            tokio::select! {
                () = sleep_until(wake.into()) => lease.scrapes().excuse(clock::since(wake)),
                // The scheduler owns the sender, so waiting cannot fail.
                _ = news.changed() => {}
            }
            let Some((module, interval)) = self.wanted(&name, &requested) else {
                return;
            };
            let now = clock::now();
            if self.leases.end_if_unwanted(key, lease, now) {
                return;
            }
            if interval != schedule.interval() {
                schedule = Schedule::new(key, interval, self.leases.epoch);
                due = schedule.after(now);
            } else if now >= due.begin {
                due = self.turn(key, lease, &schedule, due, (module, &requested)).await;
            }
        }
    }

    /// Runs the first probe with its module's timeout, not the scrape's, because other scrapes may wait for the same
    /// reading. A lease's timeout is limited to its interval.
    async fn first_run(
        self: &Arc<Self>,
        key: &SeriesKey,
        lease: &Lease,
        interval: Duration,
        (probe, caller): (Probe, Caller),
    ) {
        let leased = lease.lasts.then_some(LeasedRun {
            lag: Duration::ZERO,
            late: false,
            kept: None,
        });
        let timeout = match (probe.module.timeout, lease.lasts) {
            (timeout, true) => timeout.map_or(interval, |timeout| timeout.min(interval)),
            (timeout, false) => timeout.unwrap_or(probe.timeout),
        };
        lease.take(self.run(key.clone(), Probe { timeout, ..probe }, leased, caller).await);
    }

    /// Returns the current module and its interval, or `None` if the module no longer allows this key.
    fn wanted(&self, name: &str, requested: &ProbeRequest) -> Option<(Arc<Module>, Duration)> {
        let config = self.config.load();
        let module = config.module(name).filter(|_| !self.is_draining())?.clone();
        let interval = module.interval?;
        let mut backends = requested.backends.iter();
        let as_trusted = backends.all(|backend| backend.trusted == module.names(backend));
        let taken = as_trusted && module.admits(requested) && module.prober.accept(requested).is_ok();
        taken.then_some((module, interval))
    }

    /// Runs, postpones or skips the run that is due. Returns the next one.
    async fn turn(
        self: &Arc<Self>,
        key: &SeriesKey,
        lease: &Lease,
        schedule: &Schedule,
        due: ScheduledRun,
        (module, requested): (Arc<Module>, &ProbeRequest),
    ) -> ScheduledRun {
        let begins = clock::now();
        match schedule.turn(due, begins) {
            ScheduleDecision::Run => {}
            ScheduleDecision::PutOff(later) => return later,
            ScheduleDecision::Skip(probes) => {
                self.self_metrics.skipped(probes);
                return schedule.after(begins);
            }
        }
        let lag = begins.saturating_duration_since(due.at);
        self.self_metrics.leased_probe(lag);
        let time = schedule.time(lag);
        let probe = Probe {
            timeout: module.timeout.map_or(time, |timeout| timeout.min(time)),
            context: self.context(&module, requested),
            module,
            requested: requested.clone(),
            controls: self.config.load().controls().clone(),
        };
        let leased = LeasedRun {
            lag,
            late: schedule.is_late(lag.saturating_sub(due.put_off)),
            kept: lease.kept(),
        };
        lease.take(self.run(key.clone(), probe, Some(leased), Caller::Lease).await);
        schedule.after(due.at)
    }
}

/// The task of a lease.
async fn keep(ends: LeaseGuard, interval: Duration, first: Probe, caller: Caller) {
    let LeaseGuard { scheduler, key, lease } = &ends;
    scheduler.lease_out(key, lease, interval, (first, caller)).await;
}

/// Ends the lease when its task ends for any reason, so that scrapes do not read an old result forever.
struct LeaseGuard {
    scheduler: Arc<Scheduler>,
    key: SeriesKey,
    lease: Arc<Lease>,
}

impl Drop for LeaseGuard {
    fn drop(&mut self) {
        self.scheduler.leases.held().remove(&self.key, &self.lease);
        // Not for a single probe: `hold` would count as a second observation of its key.
        if let Some(kept) = self.lease.kept().filter(|_| self.lease.lasts) {
            // Restores the series if they were evicted, so that no counter is reset by the end of the lease.
            self.scheduler.series.hold(&self.key, &kept, clock::now());
            kept.target_state().scraped = Some(self.lease.scrapes().last());
        }
        self.lease.latest.send_if_modified(|latest| {
            let none = latest.read.is_none() && latest.fault.is_none();
            if none {
                latest.fault = Some(broken());
            }
            none
        });
    }
}

#[cfg(test)]
mod tests;
