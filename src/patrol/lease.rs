//! Leases: a key that is scraped again and again is probed between scrapes, at its module's interval, until the scrapes
//! stay away.

use super::Patrol;
use super::round::{Leased, Reading};
use super::schedule::{Schedule, Turn};
use crate::limits::SHORTEST_DEADLINE;
use crate::probe::{OwnFault, Probe};
use crate::probers::{Aim, Module};
use crate::reason::Reason;
use crate::series::Key;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::time::{sleep, sleep_until};

/// A lease ends so long after the last scrape, whatever the scrapes' own interval was.
const LONGEST_SILENCE: Duration = Duration::from_mins(5);

/// Gaps between scrapes that are remembered: two servers that scrape one key come at uneven times.
const GAPS: usize = 4;

/// All leases.
#[derive(Debug)]
pub(super) struct Leases {
    held: Mutex<HashMap<Key, Arc<Lease>>>,
    /// Every schedule counts from here.
    epoch: Instant,
    /// Tells all leases to look up from their sleep.
    news: watch::Sender<()>,
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
        self.held().len()
    }

    /// The configuration has changed, or the process is about to end.
    pub fn look_up(&self) {
        self.news.send_replace(());
    }

    fn held(&self) -> MutexGuard<'_, HashMap<Key, Arc<Lease>>> {
        // Every change is one insertion or removal.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the lease up, unless a scrape has come in the last moment. Scrapes renew while they hold the same lock.
    fn end_if_unwanted(&self, key: &Key, lease: &Lease, now: Instant) -> bool {
        let mut held = self.held();
        let unwanted = lease.scrapes().expire() <= now;
        if unwanted {
            held.remove(key);
        }
        unwanted
    }
}

/// One key that is probed between scrapes.
#[derive(Debug)]
pub(super) struct Lease {
    scrapes: Mutex<Scrapes>,
    /// What was read last; none before the first round has ended.
    reading: watch::Sender<Option<Result<Arc<Reading>, OwnFault>>>,
}

impl Lease {
    /// A lease begun by a scrape that came so long after the one before.
    pub fn new(now: Instant, gap: Duration, interval: Duration) -> Self {
        Self {
            scrapes: Mutex::new(Scrapes {
                last: now,
                gaps: [gap; GAPS],
                interval,
            }),
            reading: watch::Sender::new(None),
        }
    }

    fn scrapes(&self) -> MutexGuard<'_, Scrapes> {
        // Two plain fields: whole at each step.
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
    gaps: [Duration; GAPS],
    /// Scrapes that follow each other faster than the probes are no measure of how often they come.
    interval: Duration,
}

impl Scrapes {
    fn came(&mut self, now: Instant) {
        self.gaps.rotate_left(1);
        self.gaps[GAPS - 1] = now.saturating_duration_since(self.last);
        self.last = now;
    }

    /// When three scrapes in a row have stayed away. A scrape that is late by half its interval is not missed yet.
    fn expire(&self) -> Instant {
        let gap = self.gaps.iter().fold(self.interval, |longest, gap| longest.max(*gap));
        self.last + (gap * 7 / 2).min(LONGEST_SILENCE)
    }
}

impl Patrol {
    /// The lease of a key that is scraped now: renewed, or begun where this is the second scrape. None where the module
    /// has no interval, at the first scrape, and while there are as many leases as there may be.
    pub(super) fn lease_of(self: &Arc<Self>, key: &Key, probe: &Probe) -> Option<Arc<Lease>> {
        let interval = probe.module.interval?;
        let now = Instant::now();
        let most = self.config.load().most_leases();
        let mut held = self.leases.held();
        let room = held.len() < most;
        match held.entry(key.clone()) {
            Entry::Occupied(lease) => {
                lease.get().scrapes().came(now);
                Some(lease.get().clone())
            }
            Entry::Vacant(place) => {
                let before = self.series.peek(key)?.memory().scraped?;
                if !room || self.is_draining() {
                    return None;
                }
                let lease = Arc::new(Lease::new(now, now.saturating_duration_since(before), interval));
                place.insert(lease.clone());
                tokio::spawn(self.clone().keep(key.clone(), lease.clone(), interval, probe.clone()));
                Some(lease)
            }
        }
    }

    /// Probes a key until nobody wants it any more. The first round is the scrape's own, and has its deadline.
    async fn keep(self: Arc<Self>, key: Key, lease: Arc<Lease>, interval: Duration, first: Probe) {
        let _ends = Ends {
            patrol: &self,
            key: &key,
            lease: &lease,
        };
        let mut news = self.leases.news.subscribe();
        let mut schedule = Schedule::new(&key, interval, self.leases.epoch);
        let aim = first.aim.clone();
        let on_time = Leased {
            lag: Duration::ZERO,
            late: false,
        };
        let first = Probe {
            timeout: first.timeout.min(interval),
            ..first
        };
        let name = first.module.name.clone();
        lease.take(self.round(key.clone(), first, Some(on_time)).await);
        // A full place after the first round, or a little more or less: never two rounds at once.
        let mut due = schedule.after(Instant::now() + interval / 2);
        loop {
            let wake = due.min(lease.scrapes().expire());
            tokio::select! {
                () = sleep_until(wake.into()) => {}
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
            } else if now >= due {
                due = self.turn(&key, &lease, &schedule, due, (module, &aim)).await;
            }
        }
    }

    /// The module as it now is, and its interval, unless it no longer takes such a key.
    fn wanted(&self, name: &str, aim: &Aim) -> Option<(Arc<Module>, Duration)> {
        let module = self.config.load().module(name).filter(|_| !self.is_draining())?.clone();
        let interval = module.interval?;
        module.prober.accept(aim).ok()?;
        Some((module, interval))
    }

    /// Runs what is due, or leaves it out. Gives what is due next.
    async fn turn(
        self: &Arc<Self>,
        key: &Key,
        lease: &Lease,
        schedule: &Schedule,
        due: Instant,
        (module, aim): (Arc<Module>, &Aim),
    ) -> Instant {
        let now = Instant::now();
        match schedule.turn(due, now) {
            Turn::Run => {}
            Turn::PutOff(by) => sleep(by).await,
            Turn::Skip(probes) => {
                self.own.skipped(probes);
                return schedule.after(now);
            }
        }
        let begins = Instant::now();
        let lag = begins.saturating_duration_since(due);
        self.own.leased_probe(lag);
        let rest = schedule
            .end_of(due)
            .saturating_duration_since(begins)
            .max(SHORTEST_DEADLINE);
        let probe = Probe {
            timeout: module.timeout.map_or(rest, |timeout| timeout.min(rest)),
            module,
            aim: aim.clone(),
            controls: self.config.load().controls().clone(),
        };
        let leased = Leased {
            lag,
            late: schedule.is_late(lag),
        };
        lease.take(self.round(key.clone(), probe, Some(leased)).await);
        schedule.after(due)
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
        let mut held = self.patrol.leases.held();
        if held.get(self.key).is_some_and(|lease| Arc::ptr_eq(lease, self.lease)) {
            held.remove(self.key);
        }
        drop(held);
        if let Some(kept) = self.patrol.series.peek(self.key) {
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
        let lease = Lease::new(now, SECOND * gaps[0], SECOND);
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
        let now = Instant::now();
        let lease = Lease::new(now, Duration::from_millis(1), 10 * SECOND);
        assert!(lease.scrapes().expire() > now + 30 * SECOND);
    }

    #[test]
    fn rare_scrapes_keep_a_lease_for_five_minutes_at_most() {
        let (lease, last) = lease_after(&[120, 120]);
        assert_eq!(lease.scrapes().expire(), last + LONGEST_SILENCE);
    }
}
