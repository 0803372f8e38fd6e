//! One round: what is known of the key, the probe, and what it leaves behind.

use super::turnstile::Place;
use super::{LATE, Patrol};
use crate::exposition::page;
use crate::history::Entry;
use crate::limits::SHORTEST_DEADLINE;
use crate::memory::{Latest, Memory};
use crate::metrics::{Family, LAST_RUN, Page};
use crate::past::Past;
use crate::probe::{Finding, OwnFault, Probe};
use crate::reason::Reason;
use crate::series::{Kept, Key, Series};
use futures_util::FutureExt as _;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};
use tokio::sync::watch;

/// Series begin to count before the scrape that makes them: Prometheus stamps a scrape when it asks, by its own clock.
const CREATED_BEFORE: Duration = Duration::from_secs(1);

/// How a leased probe came to its turn.
#[derive(Clone, Debug)]
pub(super) struct Leased {
    /// From the moment it was due to the moment it began.
    pub lag: Duration,
    /// That is late for its interval.
    pub late: bool,
    /// What is kept of the key; none in the first round of a lease.
    pub kept: Option<Arc<Kept>>,
}

/// What a round read: the gauges of its probe, and the series of its key as they now are.
#[derive(Debug)]
pub struct Reading {
    /// The evidence.
    pub entry: Entry,
    gauges: Page,
    kept: Arc<Kept>,
}

impl Reading {
    /// What is kept of the key.
    pub(super) const fn kept(&self) -> &Arc<Kept> {
        &self.kept
    }

    /// Lets everything that a scrape of the key gets be read.
    pub fn read<T>(&self, read: impl FnOnce(&[&Family]) -> T) -> T {
        let mut series = Page::new(self.gauges.level());
        self.kept.series().write(&mut series);
        read(&self.gauges.beside(&series))
    }
}

impl Patrol {
    /// Runs a probe, and takes in what it found.
    ///
    /// # Errors
    /// When the exporter itself had no means to probe. That is counted and logged here.
    pub(super) async fn round(&self, key: Key, probe: Probe, leased: Option<Leased>) -> Result<Reading, OwnFault> {
        let _in_flight = InFlight::new(&self.in_flight);
        let outcome = match self.turn_of(&probe).await {
            Ok(turn) => self.guarded(Box::pin(self.in_turn(turn, key, probe, leased))).await,
            Err(overloaded) => Err(overloaded),
        };
        if let Err(fault) = &outcome {
            self.own.local_error(fault.reason);
            if let Some(untold) = self.own.may_tell() {
                let reason = fault.reason.as_str();
                tracing::warn!(reason, error = fault.detail, untold, "Local fault");
            }
        }
        outcome
    }

    /// Runs a probe whose turn it is, in what is left of its time.
    async fn in_turn(
        &self,
        turn: Turn,
        key: Key,
        mut probe: Probe,
        leased: Option<Leased>,
    ) -> Result<Reading, OwnFault> {
        let waited = turn.waited();
        self.own.queued(waited);
        let left = probe.timeout.saturating_sub(waited).max(SHORTEST_DEADLINE);
        probe.timeout = probe.timeout.min(left);
        let begun = Instant::now();
        let kept = leased.as_ref().and_then(|turn| turn.kept.clone());
        let kept = kept.or_else(|| self.series.peek(&key));
        let past = self.past(kept.as_deref(), &probe);
        let mut finding = match &turn {
            Turn::Missed(_, words) => probe.not_begun(&past, Reason::LocalNoTurn, words),
            Turn::Taken(_) => probe.once(&past).await?,
        };
        finding.lag = leased.as_ref().map(|turn| turn.lag);
        finding.late = finding.report.own_delay() > LATE || leased.is_some_and(|turn| turn.late);
        Ok(self.take_in(&key, finding, kept, begun))
    }

    /// Its turn: a place among the probes of its destination, where they are counted, and one among all.
    async fn turn_of(&self, probe: &Probe) -> Result<Turn, OwnFault> {
        let mut places = Vec::new();
        if let Some((destination, most)) = destination(probe) {
            // A probe that began with less than half of its time would blame its target for our queue.
            let wait = probe.timeout / 2;
            let Some(place) = self.turnstile.enter_to(destination, most, wait).await else {
                let words = format!(
                    "In half of its time no place came free: {most} probes of this host and port were under way \
                     already (limits.per_destination)."
                );
                return Ok(Turn::Missed(wait, words));
            };
            places.push(place);
        }
        let wait = probe.terms.limits.queue.min(probe.timeout / 10);
        let Some(place) = self.turnstile.enter(wait).await else {
            self.own.shed("probes");
            return Err(OwnFault {
                reason: Reason::LocalOverloaded,
                detail: "limits.probes, or the limit of open files, leaves no place for another".to_owned(),
            });
        };
        places.push(place);
        Ok(Turn::Taken(places))
    }

    /// What is known of the key from before.
    fn past(&self, kept: Option<&Kept>, probe: &Probe) -> Past {
        let now = Instant::now();
        let bypass = probe.module.beside.bypass;
        let mut past = match kept {
            Some(kept) => kept.memory().past(bypass, now),
            None => Memory::default().past(bypass, now),
        };
        past.quorum_failed = self.quorum.failed(now);
        past
    }

    /// Counts the finding, learns from it, and keeps it as evidence.
    fn take_in(&self, key: &Key, finding: Finding, held: Option<Arc<Kept>>, scraped: Instant) -> Reading {
        self.own.probed(&finding);
        log(&finding);
        let now = Instant::now();
        let began = finding.report.began;
        let created = began.checked_sub(CREATED_BEFORE).unwrap_or(UNIX_EPOCH);
        // The module as it now is: a probe that was begun before a reload must not bring its old bounds back.
        let config = self.config.load();
        let module = config.module(&finding.module.name).unwrap_or(&finding.module);
        let target = &finding.aim.target;
        let frame = self.series.frame(module, target);
        let make = || Series::new(frame.clone(), created);
        let kept = match held.filter(|_| finding.lag.is_some()) {
            Some(held) => {
                self.series.hold(key, &held, now);
                held
            }
            None => self.series.series(key, now, make),
        };
        let id = self.history.name();
        {
            let mut series = kept.series();
            series.fit(frame, created);
            series.observe(&finding, id);
        }
        let mut gauges = page::gauges(&finding);
        if finding.lag.is_some() {
            let last_run = began.duration_since(UNIX_EPOCH).unwrap_or_default();
            gauges.set(&LAST_RUN, last_run.as_secs_f64());
        } else {
            kept.memory().scraped = Some(scraped);
        }
        kept.memory().learn(&finding, now);
        self.observe_quorum(&finding, now);
        let entry = self.history.add(id, finding);
        {
            let mut memory = kept.memory();
            memory.remember(&entry.finding, now);
            memory.latest = Some(Latest {
                evidence: id,
                at: now,
                reason: entry.finding.verdict.as_ref().map(|verdict| verdict.reason),
            });
        }
        Reading { entry, gauges, kept }
    }

    /// A name that was probed tells of the others. An address in place of a name counts as one.
    fn observe_quorum(&self, finding: &Finding, now: Instant) {
        // What was not begun tells nothing of the way.
        let fault = finding.report.fault.as_ref();
        if fault.is_some_and(|fault| matches!(fault.reason, Reason::LocalNoTurn | Reason::LocalDenied)) {
            return;
        }
        let host = finding.aim.target.host();
        // The path of a unix socket has none.
        if !host.is_empty() {
            self.quorum.observe(host, &finding.report, now);
        }
    }

    /// A panic in one probe, or in what is made of its finding, fails that probe only. What many probes share is whole at each
    /// step. A task of its own would do it, too, and wake another thread for each probe.
    async fn guarded<T>(&self, work: impl Future<Output = Result<T, OwnFault>>) -> Result<T, OwnFault> {
        let outcome = AssertUnwindSafe(work).catch_unwind().await;
        outcome.unwrap_or_else(|_panic| {
            self.own.panicked();
            Err(OwnFault {
                reason: Reason::LocalPanicked,
                detail: "This is a defect of the exporter; please report it.".to_owned(),
            })
        })
    }
}

/// What came of waiting for a turn.
enum Turn {
    /// These places are the probe's, until it has been taken in.
    Taken(Vec<Place>),
    /// Others were at its destination for so long.
    Missed(Duration, String),
}

impl Turn {
    /// How long it was waited for.
    fn waited(&self) -> Duration {
        match self {
            Self::Taken(places) => places.iter().map(|place| place.waited).sum(),
            Self::Missed(waited, _) => *waited,
        }
    }
}

/// The host and port that take turns, and how many probes of them may run at once.
fn destination(probe: &Probe) -> Option<(String, usize)> {
    let most = probe.terms.limits.per_destination?;
    let origin = probe.module.prober.origin(&probe.aim)?;
    let port = origin.port.map_or_else(String::new, |port| format!(":{port}"));
    Some((format!("{}{port}", origin.host), most))
}

fn log(finding: &Finding) {
    let (module, target) = (&*finding.module.name, &finding.aim.target);
    let took = finding.report.took.as_secs_f64();
    match &finding.verdict {
        None => tracing::debug!(target: "prober", module, %target, duration_seconds = took, "Probe succeeded"),
        Some(verdict) if verdict.masked => tracing::warn!(
            target: "prober",
            module,
            %target,
            duration_seconds = took,
            phase = verdict.stage.phase(),
            link = verdict.link.as_str(),
            reason = verdict.reason.as_str(),
            masked = true,
            "Probe succeeded, and hides a fault"
        ),
        Some(verdict) => tracing::error!(
            target: "prober",
            module,
            %target,
            error = finding.report.fault.as_ref().map_or("", |fault| &fault.detail),
            duration_seconds = took,
            phase = verdict.stage.phase(),
            link = verdict.link.as_str(),
            reason = verdict.reason.as_str(),
            "Probe failed"
        ),
    }
}

/// Counts one probe in flight for as long as it lives.
struct InFlight<'a>(&'a watch::Sender<usize>);

impl<'a> InFlight<'a> {
    fn new(probes: &'a watch::Sender<usize>) -> Self {
        probes.send_modify(|probes| *probes += 1);
        Self(probes)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|probes| *probes -= 1);
    }
}

#[cfg(test)]
mod tests {
    use crate::check::{Check, Resolver, Terms};
    use crate::config::{self, Config, Defaults};
    use crate::controls::Controls;
    use crate::history::History;
    use crate::metrics::{Level, Page};
    use crate::patrol::lease::Lease;
    use crate::patrol::{Patrol, Reading};
    use crate::policy::Origin;
    use crate::probe::{OwnFault, Probe};
    use crate::probers::{Aim, Beside, Module, Prober, Probing, Resolving, Shape, Way};
    use crate::reason::Reason;
    use crate::report::Report;
    use crate::series::{Key, SeriesTable};
    use crate::target::Target;
    use crate::workers::Workers;
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    /// Panics where its target says so.
    #[derive(Debug)]
    struct Defective(Arc<Resolver>);

    impl Prober for Defective {
        fn probe<'a>(&'a self, _: &'a mut Check, aim: &'a Aim, _: Way<'a>) -> Probing<'a> {
            Box::pin(async move {
                assert_ne!(aim.target.written(), "panic", "on purpose");
                Ok(())
            })
        }
        fn addresses<'a>(&'a self, _: &'a mut Check, _: &'a Aim) -> Resolving<'a> {
            Box::pin(async { Ok(Vec::new()) })
        }
        fn has_own_fields(&self, _: &Aim) -> bool {
            false
        }
        fn resolver(&self) -> &Arc<Resolver> {
            &self.0
        }
        fn gauges(&self, _: &Report, _: &mut Page) -> Duration {
            Duration::ZERO
        }
        fn shape(&self, _: &Target) -> Shape {
            Shape {
                stages: vec![],
                codes: vec![],
            }
        }
        fn origin(&self, _: &Aim) -> Option<Origin> {
            None
        }
    }

    fn patrol() -> Arc<Patrol> {
        let config = Config::parse(config::DEFAULT, Defaults::default()).unwrap();
        let table = SeriesTable::new(10, Duration::from_hours(1));
        Arc::new(Patrol::new(config, table, History::new(10, 1), Workers::default()))
    }

    async fn once(patrol: &Arc<Patrol>, target: &str) -> Result<Reading, OwnFault> {
        let probe = Probe {
            module: Arc::new(Module {
                name: "m".into(),
                timeout: None,
                interval: None,
                metrics: Level::Standard,
                buckets: None,
                beside: Beside::default(),
                fence: None,
                prober: Arc::new(Defective(Arc::new(Resolver::with_servers(&[])))),
            }),
            aim: Aim {
                target: Target::new(target),
                hostname: None,
                hops: Vec::new(),
            },
            timeout: Duration::from_secs(5),
            controls: Arc::new(Controls::default()),
            terms: Terms::default(),
        };
        patrol.round(Key::new(&probe.module, &probe.aim), probe, None).await
    }

    #[tokio::test]
    async fn a_panic_in_one_probe_fails_that_probe_only() {
        let patrol = patrol();
        assert_eq!(once(&patrol, "panic").await.unwrap_err().reason, Reason::LocalPanicked);
        assert_eq!(patrol.own.panics(), 1);
        assert!(once(&patrol, "fine").await.is_ok());
        assert_eq!(*patrol.in_flight.borrow(), 0);
    }

    #[tokio::test]
    async fn a_lease_keeps_its_last_reading_through_a_fault_of_our_own() {
        let patrol = patrol();
        let lease = Lease::new(Instant::now(), None);
        lease.take(once(&patrol, "panic").await);
        assert_eq!(lease.reading().await.unwrap_err().reason, Reason::LocalPanicked);
        lease.take(once(&patrol, "fine").await);
        let read = lease.reading().await.unwrap().entry.id;
        lease.take(once(&patrol, "panic").await);
        assert_eq!(lease.reading().await.unwrap().entry.id, read);
    }
}
