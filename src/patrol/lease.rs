//! Leases: a key that is scraped again and again is probed between scrapes, at its module's interval, until the scrapes
//! stay away.

use super::Patrol;
use super::round::{Leased, Reading};
use super::schedule::{Due, Schedule, Turn};
use crate::probe::{OwnFault, Probe};
use crate::probers::{Aim, Module};
use crate::reason::Reason;
use crate::series::Key;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::time::sleep_until;

/// A lease ends so long after the last scrape, whatever the scrapes' own interval was.
const LONGEST_SILENCE: Duration = Duration::from_mins(5);

/// Scrapes that follow each other faster say nothing of how often they come.
const SHORTEST_GAP: Duration = Duration::from_secs(1);

/// All leases.
#[derive(Debug)]
pub(super) struct Leases {
    held: Mutex<Held>,
    /// Every schedule counts from here.
    epoch: Instant,
    /// Tells all leases to look up from their sleep.
    news: watch::Sender<()>,
}

/// The keys that are probed now, or between scrapes.
#[derive(Debug, Default)]
struct Held {
    by_key: HashMap<Key, Arc<Lease>>,
    /// How many of them outlive their first round.
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

    /// The configuration has changed, or the process is about to end.
    pub fn look_up(&self) {
        self.news.send_replace(());
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        // Every change is one insertion or removal, with its count.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the lease up, unless a scrape has come in the last moment. Scrapes renew while they hold the same lock.
    fn end_if_unwanted(&self, key: &Key, lease: &Arc<Lease>, now: Instant) -> bool {
        let mut held = self.held();
        let unwanted = lease.scrapes().expire() <= now;
        if unwanted {
            held.remove(key, lease);
        }
        unwanted
    }
}

impl Held {
    fn insert(&mut self, key: Key, lease: Arc<Lease>) {
        self.leases += usize::from(lease.lasts);
        self.by_key.insert(key, lease);
    }

    fn remove(&mut self, key: &Key, lease: &Arc<Lease>) {
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
    /// What was read last; none before the first round has ended.
    reading: watch::Sender<Option<Result<Arc<Reading>, OwnFault>>>,
}

impl Lease {
    /// Begun by a scrape that came so long after the one before; without one before, it is for once.
    pub fn new(now: Instant, gap: Option<Duration>) -> Self {
        Self {
            lasts: gap.is_some(),
            scrapes: Mutex::new(Scrapes {
                last: now,
                longest: [gap.unwrap_or_default(), Duration::ZERO],
                since: now,
            }),
            reading: watch::Sender::new(None),
        }
    }

    fn scrapes(&self) -> MutexGuard<'_, Scrapes> {
        // Whatever of it has changed, it is a time that was.
        self.scrapes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was read last. Waits for the first.
    pub async fn reading(&self) -> Result<Arc<Reading>, OwnFault> {
        let mut readings = self.reading.subscribe();
        match readings.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(reading)) => reading.clone(),
            // The sender is ours and lives.
            Ok(None) | Err(_) => Err(broken()),
        }
    }

    /// Keeps what a round read. A fault of our own is no reading: the last one stays.
    pub fn take(&self, outcome: Result<Reading, OwnFault>) {
        self.reading.send_modify(|reading| match (outcome, &reading) {
            (Ok(read), _) => *reading = Some(Ok(Arc::new(read))),
            (Err(_), Some(Ok(_))) => {}
            (Err(fault), _) => *reading = Some(Err(fault)),
        });
    }

    /// What is kept of the key, once it was read.
    fn kept(&self) -> Option<Arc<crate::series::Kept>> {
        match &*self.reading.borrow() {
            Some(Ok(reading)) => Some(reading.kept().clone()),
            _ => None,
        }
    }
}

fn broken() -> OwnFault {
    OwnFault {
        reason: Reason::LocalPanicked,
        detail: "A lease ended without a reading. This is a defect of the exporter; please report it.".to_owned(),
    }
}

/// When the key was scraped.
#[derive(Debug)]
struct Scrapes {
    last: Instant,
    /// The longest gap between two scrapes, lately and in the time before that: two servers that scrape one key come at
    /// uneven times, and a person who looks in between is no measure.
    longest: [Duration; 2],
    /// When lately began.
    since: Instant,
}

impl Scrapes {
    fn came(&mut self, now: Instant) {
        if now.saturating_duration_since(self.since) >= LONGEST_SILENCE {
            self.longest = [Duration::ZERO, self.longest[0]];
            self.since = now;
        }
        let gap = now.saturating_duration_since(self.last);
        self.longest[0] = self.longest[0].max(gap);
        self.last = now;
    }

    /// The process stood still so long: scrapes that came meanwhile are still to be read.
    fn excuse(&mut self, stall: Duration) {
        self.last += stall;
    }

    /// When three scrapes in a row have stayed away. A scrape that is late by half its interval is not missed yet.
    fn expire(&self) -> Instant {
        let gap = self.longest[0].max(self.longest[1]).max(SHORTEST_GAP);
        self.last + (gap * 7 / 2).min(LONGEST_SILENCE)
    }
}

impl Patrol {
    /// The lease of a key that is scraped now: renewed, or begun where this is the second scrape. The first scrape, and
    /// those beyond the limit, have one for once: so no key is ever probed twice at the same time. None where the module
    /// has no interval. Tells, too, whether others have begun it.
    pub(super) fn lease_of(self: &Arc<Self>, key: &Key, probe: &Probe) -> Option<(Arc<Lease>, bool)> {
        let interval = probe.module.interval?;
        let now = Instant::now();
        let most = self.config.load().limits().leases.min(self.series.tenured_room());
        let mut held = self.leases.held();
        if let Some(lease) = held.by_key.get(key) {
            lease.scrapes().came(now);
            return Some((lease.clone(), true));
        }
        let before = self.series.peek(key).and_then(|kept| kept.memory().scraped);
        let gap = before.map(|before| now.saturating_duration_since(before));
        if gap.is_some() && held.leases >= most {
            self.own.met("leases");
        }
        let lease = Arc::new(Lease::new(now, gap.filter(|_| held.leases < most)));
        held.insert(key.clone(), lease.clone());
        drop(held);
        self.workers
            .spawn(self.clone().keep(key.clone(), lease.clone(), interval, probe.clone()));
        Some((lease, false))
    }

    /// Probes a key until nobody wants it any more. The first round is the scrape's own, and has its deadline.
    async fn keep(self: Arc<Self>, key: Key, lease: Arc<Lease>, interval: Duration, first: Probe) {
        let _ends = Ends {
            patrol: &self,
            key: &key,
            lease: &lease,
        };
        let mut news = self.leases.news.subscribe();
        let (name, aim) = (first.module.name.clone(), first.aim.clone());
        self.first_round(&key, &lease, interval, first).await;
        // What could not be begun for want of means is begun anew by the next scrape.
        if !lease.lasts || lease.kept().is_none() {
            return;
        }
        let mut schedule = Schedule::new(&key, interval, self.leases.epoch);
        // A full place after the first round, or a little more or less: never two rounds at once.
        let mut due = schedule.after(Instant::now() + interval / 2);
        loop {
            let wake = due.begin.min(lease.scrapes().expire());
            tokio::select! {
                () = sleep_until(wake.into()) => lease.scrapes().excuse(wake.elapsed()),
                // The sender lives in the patrol, which we hold.
                _ = news.changed() => {}
            }
            let Some((module, interval)) = self.wanted(&name, &aim) else {
                return;
            };
            let now = Instant::now();
            if self.leases.end_if_unwanted(&key, &lease, now) {
                return;
            }
            if interval != schedule.interval() {
                schedule = Schedule::new(&key, interval, self.leases.epoch);
                due = schedule.after(now);
            } else if now >= due.begin {
                due = self.turn(&key, &lease, &schedule, due, (module, &aim)).await;
            }
        }
    }

    async fn first_round(self: &Arc<Self>, key: &Key, lease: &Lease, interval: Duration, probe: Probe) {
        let leased = lease.lasts.then_some(Leased {
            lag: Duration::ZERO,
            late: false,
            kept: None,
        });
        let timeout = if lease.lasts {
            probe.timeout.min(interval)
        } else {
            probe.timeout
        };
        lease.take(self.round(key.clone(), Probe { timeout, ..probe }, leased).await);
    }

    /// The module as it now is, and its interval, unless it no longer takes such a key.
    fn wanted(&self, name: &str, aim: &Aim) -> Option<(Arc<Module>, Duration)> {
        let config = self.config.load();
        let module = config.module(name).filter(|_| !self.is_draining())?.clone();
        let interval = module.interval?;
        let mut hops = aim.hops.iter();
        let as_trusted = hops.all(|hop| hop.trusted == module.names(hop));
        let taken = as_trusted && module.admits(aim) && module.prober.accept(aim).is_ok();
        taken.then_some((module, interval))
    }

    /// Runs what is due, puts it off, or leaves it out. Gives what is due next.
    async fn turn(
        self: &Arc<Self>,
        key: &Key,
        lease: &Lease,
        schedule: &Schedule,
        due: Due,
        (module, aim): (Arc<Module>, &Aim),
    ) -> Due {
        let begins = Instant::now();
        match schedule.turn(due, begins) {
            Turn::Run => {}
            Turn::PutOff(later) => return later,
            Turn::Skip(probes) => {
                self.own.skipped(probes);
                return schedule.after(begins);
            }
        }
        let lag = begins.saturating_duration_since(due.at);
        self.own.leased_probe(lag);
        let time = schedule.time(lag);
        let probe = Probe {
            timeout: module.timeout.map_or(time, |timeout| timeout.min(time)),
            terms: self.terms(&module),
            module,
            aim: aim.clone(),
            controls: self.config.load().controls().clone(),
        };
        let leased = Leased {
            lag,
            late: schedule.is_late(lag.saturating_sub(due.put_off)),
            kept: lease.kept(),
        };
        lease.take(self.round(key.clone(), probe, Some(leased)).await);
        schedule.after(due.at)
    }
}

/// Whatever ends the task ends the lease: a scrape must not read old numbers for ever.
struct Ends<'a> {
    patrol: &'a Patrol,
    key: &'a Key,
    lease: &'a Arc<Lease>,
}

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.patrol.leases.held().remove(self.key, self.lease);
        // One for once was a single scrape: to hold its key would be a second sight of it.
        if let Some(kept) = self.lease.kept().filter(|_| self.lease.lasts) {
            // Where it was pushed out, it comes back: no counter goes back because nobody probes between scrapes any more.
            self.patrol.series.hold(self.key, &kept, Instant::now());
            kept.memory().scraped = Some(self.lease.scrapes().last);
        }
        self.lease.reading.send_if_modified(|reading| {
            let none = reading.is_none();
            if none {
                *reading = Some(Err(broken()));
            }
            none
        });
    }
}

#[cfg(test)]
mod tests {
    use super::{LONGEST_SILENCE, Lease};
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
