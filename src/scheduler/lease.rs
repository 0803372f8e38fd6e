//! Leases: periodic probes of a key between scrapes.
//!
//! A module can set an `interval` to probe its targets between scrapes. Prometheus keeps the list of targets, so scrapes
//! determine which keys to probe. The first scrape of a key (a module and a target) creates a lease. A task then probes
//! the key once per interval, and each later scrape returns the latest reading instead of running a probe. Each scrape
//! renews the lease. When Prometheus stops scraping the key, the lease expires a few scrape intervals after the last
//! scrape.

mod scrapes;

use super::run::{LeasedRun, Reading};
use super::schedule::{Schedule, ScheduleDecision, ScheduledRun};
use super::{Caller, Scheduler, ScrapeError};
use crate::probe::{LocalError, Probe};
use crate::probers::{Module, ProbeRequest};
use crate::reason::Reason;
use crate::series::SeriesKey;
use scrapes::Scrapes;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::time::sleep_until;

/// A reading that has just become old is waited for so long: the round that replaces it may end in this moment.
const OVERDUE: Duration = Duration::from_millis(500);

/// All leases.
#[derive(Debug)]
pub(super) struct Leases {
    held: Mutex<LeaseTable>,
    /// Start time of all schedules.
    epoch: Instant,
    /// Wakes all lease tasks.
    news: watch::Sender<()>,
}

/// The keys that are probed now, or between scrapes.
#[derive(Debug, Default)]
struct LeaseTable {
    by_key: HashMap<SeriesKey, Arc<Lease>>,
    /// Number of keys that stay leased after their first round.
    leases: usize,
}

impl Default for Leases {
    fn default() -> Self {
        Self {
            held: Mutex::default(),
            epoch: Instant::now(),
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
        // Every change is one insertion or removal, with its count.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the lease up, unless a scrape has come in the last moment. Scrapes renew while they hold the same lock.
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

/// A key that is probed between scrapes, or once: for all scrapes that ask for it meanwhile.
#[derive(Debug)]
pub(super) struct Lease {
    /// It outlives its first round.
    lasts: bool,
    scrapes: Mutex<Scrapes>,
    latest: watch::Sender<LatestReading>,
}

/// What came of the rounds of a key.
#[derive(Debug, Default)]
struct LatestReading {
    /// What was read last, and when.
    read: Option<(Instant, Arc<Reading>)>,
    /// Why nothing was read since.
    fault: Option<LocalError>,
}

impl LatestReading {
    /// What a scrape gets, unless it is older.
    fn no_older_than(&self, oldest: Duration) -> Option<Arc<Reading>> {
        let (at, reading) = self.read.as_ref()?;
        (at.elapsed() <= oldest).then(|| reading.clone())
    }

    /// Why a scrape gets nothing.
    fn unread(&self) -> ScrapeError {
        match (&self.read, &self.fault) {
            (Some((at, _)), fault) => ScrapeError::Stale {
                age: at.elapsed(),
                fault: fault.clone(),
            },
            (None, Some(fault)) => ScrapeError::Fault(fault.clone()),
            (None, None) => ScrapeError::NotYet,
        }
    }
}

impl Lease {
    /// Begun by a scrape that came so long after the one before; without one before, it is for once.
    pub fn new(now: Instant, gap: Option<Duration>) -> Self {
        Self {
            lasts: gap.is_some(),
            scrapes: Mutex::new(Scrapes::new(now, gap.unwrap_or_default())),
            latest: watch::Sender::default(),
        }
    }

    fn scrapes(&self) -> MutexGuard<'_, Scrapes> {
        // Whatever of it has changed, it is a time that was.
        self.scrapes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was read last. Waits for the first. A reading that is older than `oldest` is not the present.
    pub async fn reading(&self, oldest: Duration) -> Result<Arc<Reading>, ScrapeError> {
        let mut latest = self.latest.subscribe();
        let there = latest.wait_for(|latest| latest.read.is_some() || latest.fault.is_some());
        let is_old = match there.await {
            Ok(latest) => match latest.no_older_than(oldest) {
                Some(reading) => return Ok(reading),
                None => latest.read.is_some(),
            },
            // The sender is ours and lives.
            Err(_) => false,
        };
        let fresh = latest.wait_for(|latest| latest.no_older_than(oldest).is_some());
        if is_old && let Ok(Ok(latest)) = tokio::time::timeout(OVERDUE, fresh).await {
            return latest.no_older_than(oldest).ok_or_else(|| latest.unread());
        }
        Err(self.latest.borrow().unread())
    }

    /// Stores the reading of a round. A fault of the exporter does not replace the last reading.
    pub fn take(&self, outcome: Result<Reading, LocalError>) {
        self.latest.send_modify(|latest| match outcome {
            Ok(read) => {
                *latest = LatestReading {
                    read: Some((Instant::now(), Arc::new(read))),
                    fault: None,
                }
            }
            Err(fault) => latest.fault = Some(fault),
        });
    }

    /// What is kept of the key, once it was read.
    fn kept(&self) -> Option<Arc<crate::series::KeyState>> {
        let latest = self.latest.borrow();
        latest.read.as_ref().map(|(_, reading)| reading.kept().clone())
    }
}

fn broken() -> LocalError {
    LocalError {
        reason: Reason::LocalPanic,
        detail: "A lease ended without a reading. This is a defect of the exporter; please report it.".to_owned(),
    }
}

impl Scheduler {
    /// The lease of a key that is scraped now: renewed, or begun where this is the second scrape. The first scrape, and
    /// those beyond the limit, have one for once: so no key is ever probed twice at the same time. None where the module
    /// has no interval. Gives that, too.
    pub(super) fn lease_of(
        self: &Arc<Self>,
        key: &SeriesKey,
        probe: &Probe,
        caller: Caller,
    ) -> Option<(Arc<Lease>, Duration)> {
        let interval = probe.module.interval?;
        let now = Instant::now();
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
        // Made here: a worker that drops the task before its first turn ends the lease, too.
        let ends = LeaseGuard {
            scheduler: self.clone(),
            key: key.clone(),
            lease: lease.clone(),
        };
        self.workers.spawn(keep(ends, interval, probe.clone(), caller));
        Some((lease, interval))
    }

    /// Probes a key until nobody wants it any more.
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
        // A full place after the first round, or a little more or less: never two rounds at once.
        let mut due = schedule.after(Instant::now() + interval / 2);
        loop {
            let wake = due.begin.min(lease.scrapes().expire());
            tokio::select! {
                () = sleep_until(wake.into()) => lease.scrapes().excuse(wake.elapsed()),
                // The sender lives in the patrol, which we hold.
                _ = news.changed() => {}
            }
            let Some((module, interval)) = self.wanted(&name, &requested) else {
                return;
            };
            let now = Instant::now();
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

    /// The first round has the deadline of its module: others read it, whatever the scrape that asked for it may take.
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

    /// The module as it now is, and its interval, unless it no longer takes such a key.
    fn wanted(&self, name: &str, requested: &ProbeRequest) -> Option<(Arc<Module>, Duration)> {
        let config = self.config.load();
        let module = config.module(name).filter(|_| !self.is_draining())?.clone();
        let interval = module.interval?;
        let mut backends = requested.backends.iter();
        let as_trusted = backends.all(|backend| backend.trusted == module.names(backend));
        let taken = as_trusted && module.admits(requested) && module.prober.accept(requested).is_ok();
        taken.then_some((module, interval))
    }

    /// Runs what is due, puts it off, or leaves it out. Gives what is due next.
    async fn turn(
        self: &Arc<Self>,
        key: &SeriesKey,
        lease: &Lease,
        schedule: &Schedule,
        due: ScheduledRun,
        (module, requested): (Arc<Module>, &ProbeRequest),
    ) -> ScheduledRun {
        let begins = Instant::now();
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

/// Whatever ends the task ends the lease: a scrape must not read old numbers for ever.
struct LeaseGuard {
    scheduler: Arc<Scheduler>,
    key: SeriesKey,
    lease: Arc<Lease>,
}

impl Drop for LeaseGuard {
    fn drop(&mut self) {
        self.scheduler.leases.held().remove(&self.key, &self.lease);
        // One for once was a single scrape: to hold its key would be a second sight of it.
        if let Some(kept) = self.lease.kept().filter(|_| self.lease.lasts) {
            // Where it was pushed out, it comes back: no counter goes back because nobody probes between scrapes any more.
            self.scheduler.series.hold(&self.key, &kept, Instant::now());
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
mod tests {
    use super::Lease;
    use super::scrapes::LONGEST_SILENCE;
    use std::time::{Duration, Instant};

    const SECOND: Duration = Duration::from_secs(1);

    fn lease_after(gaps: &[u32]) -> (Lease, Instant) {
        let mut now = Instant::now();
        let lease = Lease::new(now, Some(SECOND * gaps[0]));
        for gap in &gaps[1..] {
            now += SECOND * *gap;
            lease.scrapes().came(now);
        }
        (lease, now)
    }

    #[test]
    fn a_lease_outlives_two_missed_scrapes_and_not_three() {
        let (lease, last) = lease_after(&[15, 15, 15]);
        let end = lease.scrapes().expire();
        // The third after the last one may be late by half an interval.
        assert!(end > last + 45 * SECOND && end < last + 60 * SECOND);
    }

    #[test]
    fn two_servers_that_come_at_uneven_times_count_by_the_longer_gap() {
        let (lease, last) = lease_after(&[13, 2, 13, 2]);
        assert!(lease.scrapes().expire() > last + 39 * SECOND);
    }

    #[test]
    fn scrapes_in_quick_succession_are_no_measure() {
        let (lease, last) = lease_after(&[15, 15, 0, 0, 0, 0, 0, 0, 0]);
        assert!(lease.scrapes().expire() > last + 45 * SECOND);
    }

    #[test]
    fn scrapes_that_come_more_often_for_good_are_the_measure_in_the_end() {
        let gaps: Vec<_> = std::iter::once(60).chain(std::iter::repeat_n(5, 200)).collect();
        let (lease, last) = lease_after(&gaps);
        assert!(lease.scrapes().expire() < last + 20 * SECOND);
    }

    #[test]
    fn rare_scrapes_keep_a_lease_for_five_minutes_at_most() {
        let (lease, last) = lease_after(&[120, 120]);
        assert_eq!(lease.scrapes().expire(), last + LONGEST_SILENCE);
    }
}
