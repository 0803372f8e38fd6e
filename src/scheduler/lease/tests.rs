//! Leases with a paused clock: the tests wait for minutes in no time, and a busy machine does not change their results.

use super::Lease;
use super::scrapes::LONGEST_SILENCE;
use crate::config::{Config, Defaults};
use crate::history::History;
use crate::scheduler::{Caller, ClientAddress, Reading, Scheduler, ScrapeError};
use crate::series::SeriesTable;
use crate::workers::Workers;
use futures_util::future::join_all;
use glassbox_probe::check::{AddressFamily, Check, ProbeContext, Refusal, Resolver};
use glassbox_probe::clock;
use glassbox_probe::controls::Controls;
use glassbox_probe::metrics::{Level, MetricPage};
use glassbox_probe::policy::Origin;
use glassbox_probe::probe::Probe;
use glassbox_probe::probers::{DiagnosticsSettings, InitialSeries, Module, ProbeFuture, ProbeRequest, Prober, Variant};
use glassbox_probe::target::Target;
use glassbox_verdict::reason::Reason;
use glassbox_verdict::report::Report;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::time::{advance, sleep};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);

/// The time between two scrapes of a Prometheus server.
const BETWEEN_SCRAPES: Duration = Duration::from_secs(15);

/// The runtime's timers have a resolution of 1 ms.
const RESOLUTION: Duration = Duration::from_millis(2);

/// What the target does with a probe.
#[derive(Clone, Copy, Debug)]
enum Behaviour {
    RespondsAfter(Duration),
    /// The probe fails at its deadline.
    Hangs,
    /// The prober panics, which is a local error.
    Panics,
}

/// Prober of a target whose behaviour depends on the number of the probe, starting from 1.
#[derive(Debug)]
struct FakeTarget {
    behaviour: fn(usize) -> Behaviour,
    resolver: Arc<Resolver>,
    starts: Mutex<Vec<Instant>>,
    running: AtomicUsize,
    most_running: AtomicUsize,
}

impl FakeTarget {
    async fn respond(&self, check: &mut Check) -> Result<(), glassbox_probe::check::ProbeFailed> {
        let number = {
            let mut starts = self.starts.lock().unwrap();
            starts.push(clock::now());
            starts.len()
        };
        match (self.behaviour)(number) {
            Behaviour::RespondsAfter(time) => sleep(time).await,
            Behaviour::Hangs => {
                sleep(check.left()).await;
                return Err(check.fail(Reason::HttpTimedOutWaiting, "no response"));
            }
            Behaviour::Panics => panic!("intentional panic of the test"),
        }
        Ok(())
    }
}

impl Prober for FakeTarget {
    fn probe<'a>(&'a self, check: &'a mut Check, _: &'a ProbeRequest, _: Variant<'a>) -> ProbeFuture<'a> {
        Box::pin(async move {
            let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
            self.most_running.fetch_max(running, Ordering::SeqCst);
            let outcome = self.respond(check).await;
            self.running.fetch_sub(1, Ordering::SeqCst);
            outcome
        })
    }
    fn host(&self, _: &ProbeRequest) -> Result<(String, AddressFamily), Refusal> {
        Err(Refusal::of_target("no addresses"))
    }
    fn has_module_fields(&self, _: &ProbeRequest) -> bool {
        false
    }
    fn resolver(&self) -> &Arc<Resolver> {
        &self.resolver
    }
    fn gauges(&self, _: &Report, _: &mut MetricPage) -> Duration {
        Duration::ZERO
    }
    fn initial_series(&self, _: &Target) -> InitialSeries {
        InitialSeries {
            stages: vec![],
            codes: vec![],
        }
    }
    fn origin(&self, _: &ProbeRequest) -> Option<Origin> {
        None
    }
}

/// A scheduler with one module and one target.
struct Bench {
    scheduler: Arc<Scheduler>,
    target: Arc<FakeTarget>,
    module: Module,
}

fn config() -> Config {
    Config::load_or_default(None, Defaults::default()).unwrap()
}

impl Bench {
    fn new(interval: Duration, timeout: Option<Duration>, behaviour: fn(usize) -> Behaviour) -> Self {
        let target = Arc::new(FakeTarget {
            behaviour,
            resolver: Arc::new(Resolver::with_servers(&[])),
            starts: Mutex::default(),
            running: AtomicUsize::default(),
            most_running: AtomicUsize::default(),
        });
        let module = Module {
            name: "fake".into(),
            timeout,
            interval: Some(interval),
            metrics: Level::Standard,
            buckets: None,
            diagnostics: DiagnosticsSettings::default(),
            allowlist: None,
            prober: target.clone(),
        };
        let table = SeriesTable::new(10, Duration::from_hours(1));
        let config = config().with_module(module.clone());
        Self {
            scheduler: Arc::new(Scheduler::new(config, table, History::new(10, 1), Workers::default())),
            target,
            module,
        }
    }

    async fn scrape_within(&self, timeout: Duration) -> Result<Arc<Reading>, ScrapeError> {
        let probe = Probe {
            module: Arc::new(self.module.clone()),
            requested: ProbeRequest {
                target: Target::new("target"),
                hostname: None,
                backends: Vec::new(),
            },
            timeout,
            controls: Arc::new(Controls::default()),
            context: ProbeContext::default(),
        };
        let caller = Caller::Scrape(ClientAddress::default());
        self.scheduler.scrape(probe, caller).await
    }

    async fn scrape(&self) -> Result<Arc<Reading>, ScrapeError> {
        self.scrape_within(10 * SECOND).await
    }

    /// Scrapes twice. The second scrape starts the lease.
    async fn lease(&self) {
        let _single = self.scrape().await;
        sleep(BETWEEN_SCRAPES).await;
        let _first_of_the_lease = self.scrape().await;
        assert_eq!(self.leases(), 1);
    }

    /// Scrapes regularly, and returns the outcomes.
    async fn scrapes(&self, count: usize, pause: Duration) -> Vec<Result<Arc<Reading>, ScrapeError>> {
        let mut outcomes = Vec::new();
        for _ in 0..count {
            sleep(pause).await;
            outcomes.push(self.scrape().await);
        }
        outcomes
    }

    fn leases(&self) -> usize {
        self.scheduler.leases.count()
    }

    fn starts(&self) -> Vec<Instant> {
        self.target.starts.lock().unwrap().clone()
    }
}

fn at_once(_: usize) -> Behaviour {
    Behaviour::RespondsAfter(Duration::ZERO)
}

fn attempts(reading: &Reading) -> usize {
    usize::try_from(reading.kept().series().attempts().0).unwrap()
}

/// Asserts that each probe starts one interval after the previous one.
fn assert_regular(starts: &[Instant], interval: Duration) {
    for pair in starts.windows(2) {
        let gap = pair[1] - pair[0];
        assert!(gap.abs_diff(interval) <= RESOLUTION, "{gap:?} instead of {interval:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_leased_key_is_probed_once_per_interval_and_by_no_scrape() {
    let bench = Bench::new(10 * SECOND, None, at_once);
    bench.lease().await;
    let before = bench.starts().len();
    let outcomes = bench.scrapes(240, BETWEEN_SCRAPES).await;
    assert!(outcomes.iter().all(Result::is_ok));
    let starts = bench.starts();
    // One hour. The first of these probes is due after half an interval to one and a half.
    assert!((359..=360).contains(&(starts.len() - before)), "{}", starts.len());
    assert_regular(&starts[before..], 10 * SECOND);
    assert_eq!(attempts(outcomes.last().unwrap().as_ref().unwrap()), starts.len());
}

#[tokio::test(start_paused = true)]
async fn a_lease_ends_without_scrapes_and_keeps_the_counters() {
    let bench = Bench::new(SECOND, None, at_once);
    bench.lease().await;
    let last_scrape = clock::now();
    sleep(10 * MINUTE).await;
    assert_eq!(bench.leases(), 0);
    let starts = bench.starts();
    let silence = *starts.last().unwrap() - last_scrape;
    // The third missed scrape may be late by half an interval.
    assert!(
        silence > 3 * BETWEEN_SCRAPES && silence < 4 * BETWEEN_SCRAPES,
        "{silence:?}"
    );
    // The next scrape starts the lease again. No probe was lost or counted twice.
    let again = bench.scrape().await.unwrap();
    assert_eq!(attempts(&again), starts.len() + 1);
    assert_eq!(bench.leases(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_stopped_process_does_not_end_its_leases() {
    let bench = Bench::new(SECOND, None, at_once);
    bench.lease().await;
    advance(10 * MINUTE).await;
    sleep(SECOND).await;
    assert_eq!(bench.leases(), 1);
    // The missed probes are skipped.
    let starts = bench.starts().len();
    sleep(10 * SECOND).await;
    assert_eq!(bench.starts().len() - starts, 10);
}

#[tokio::test(start_paused = true)]
async fn a_reload_changes_the_interval_of_a_lease_or_ends_it() {
    let mut bench = Bench::new(SECOND, None, at_once);
    bench.lease().await;
    bench.module.interval = Some(4 * SECOND);
    bench.scheduler.reconfigure(config().with_module(bench.module.clone()));
    sleep(4 * SECOND).await;
    let before = bench.starts().len();
    bench.scrapes(4, 5 * SECOND).await;
    let starts = bench.starts();
    assert_eq!(starts.len() - before, 5);
    assert_regular(&starts[before..], 4 * SECOND);

    bench.scheduler.reconfigure(config());
    sleep(SECOND).await;
    assert_eq!(bench.leases(), 0);
    sleep(MINUTE).await;
    assert!(bench.starts().len() <= starts.len() + 1);
}

#[tokio::test(start_paused = true)]
async fn a_scrape_reads_the_last_result_during_a_hanging_probe() {
    let bench = Bench::new(30 * SECOND, None, |number| match number {
        1 | 2 => Behaviour::RespondsAfter(SECOND),
        _ => Behaviour::Hangs,
    });
    bench.lease().await;
    while bench.starts().len() < 3 {
        bench.scrapes(1, SECOND).await;
    }
    let begun = clock::now();
    let during = bench.scrape().await.unwrap();
    assert_eq!(clock::since(begun), Duration::ZERO);
    assert_eq!(*bench.scheduler.in_flight.borrow(), 1);
    assert_eq!(attempts(&during), 2);
    assert!(during.entry.finding.report.succeeded());
}

/// A client with a short timeout starts a probe or a lease. Its timeout does not limit the probe, because other clients
/// read the same result.
#[tokio::test(start_paused = true)]
async fn the_first_probe_has_the_module_timeout_and_each_scrape_its_own() {
    let bench = Bench::new(MINUTE, Some(20 * SECOND), |_| Behaviour::RespondsAfter(4 * SECOND));
    for probes in 1..=2 {
        let begun = clock::now();
        let hasty = bench.scrape_within(2 * SECOND);
        let patient = bench.scrape_within(10 * SECOND);
        let (hasty, patient) = tokio::join!(hasty, patient);
        assert_eq!(hasty.unwrap_err(), ScrapeError::NotYet);
        assert_eq!(attempts(&patient.unwrap()), probes);
        assert!(clock::since(begun) <= 4 * SECOND + RESOLUTION);
        assert_eq!(bench.starts().len(), probes);
        sleep(BETWEEN_SCRAPES).await;
    }
}

/// If the exporter cannot probe for a local reason, an old result must not be returned as the present state forever.
#[tokio::test(start_paused = true)]
async fn an_old_result_is_not_returned_as_current() {
    let bench = Bench::new(5 * SECOND, None, |number| match number {
        3..=9 => Behaviour::Panics,
        _ => Behaviour::RespondsAfter(Duration::ZERO),
    });
    bench.lease().await;
    let read = clock::now();
    // Two intervals.
    sleep(10 * SECOND).await;
    assert_eq!(attempts(&bench.scrape().await.unwrap()), 2);
    sleep(SECOND).await;
    let begun = clock::now();
    let stale = bench.scrape().await.unwrap_err();
    assert!(clock::since(begun).abs_diff(super::OVERDUE) <= RESOLUTION);
    let ScrapeError::Stale {
        age,
        fault: Some(fault),
    } = &stale
    else {
        panic!("{stale:?}");
    };
    assert_eq!((*age, fault.reason), (clock::since(read), Reason::LocalPanic));
    assert!(stale.to_string().contains("so its result is too old"), "{stale}");
    // The lease continues, and a later probe succeeds.
    bench.scrapes(2, BETWEEN_SCRAPES).await;
    assert!(bench.scrape().await.is_ok());
    assert_eq!(bench.leases(), 1);
}

/// The opposite case: a target that hangs until the timeout is still probed regularly, so its result is current.
#[tokio::test(start_paused = true)]
async fn a_hanging_target_counts_in_every_interval_and_in_every_scrape() {
    let interval = Duration::from_millis(1600);
    let bench = Bench::new(interval, Some(interval), |_| Behaviour::Hangs);
    bench.lease().await;
    let before = bench.starts().len();
    let outcomes = bench.scrapes(500, interval / 5).await;
    for outcome in &outcomes {
        let reading = outcome.as_ref().unwrap();
        assert!(!reading.entry.finding.report.succeeded());
    }
    let starts = bench.starts();
    // Each probe ends when the next one is due, and does not delay it.
    assert!((99..=100).contains(&(starts.len() - before)), "{}", starts.len());
    assert_regular(&starts[before..], interval);
    let last = outcomes.last().unwrap().as_ref().unwrap();
    let (attempts, succeeded) = last.kept().series().attempts();
    assert!(attempts >= 99 && succeeded == 0, "{attempts} {succeeded}");
}

/// Concurrent scrapes of several servers, including the very first ones: one of them starts a probe, and all read its
/// result.
#[tokio::test(start_paused = true)]
async fn a_key_never_has_two_concurrent_probes() {
    let bench = Bench::new(SECOND, None, |_| Behaviour::RespondsAfter(SECOND * 9 / 10));
    for probes in 1..=2 {
        let read = join_all((0..8).map(|_| bench.scrape())).await;
        assert!(read.iter().all(|reading| attempts(reading.as_ref().unwrap()) == probes));
        sleep(SECOND / 20).await;
        assert_eq!(bench.starts().len(), probes);
    }
    bench.scrapes(20, SECOND / 3).await;
    assert!(bench.starts().len() > 5);
    assert_eq!(bench.target.most_running.load(Ordering::SeqCst), 1);
}

fn lease_after(gaps: &[u32]) -> (Lease, Instant) {
    let mut now = clock::now();
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
    // The third missed scrape may be late by half an interval.
    assert!(end > last + 45 * SECOND && end < last + 60 * SECOND);
}

#[test]
fn with_two_servers_at_uneven_times_the_longer_gap_counts() {
    let (lease, last) = lease_after(&[13, 2, 13, 2]);
    assert!(lease.scrapes().expire() > last + 39 * SECOND);
}

#[test]
fn scrapes_in_quick_succession_do_not_count_as_the_interval() {
    let (lease, last) = lease_after(&[15, 15, 0, 0, 0, 0, 0, 0, 0]);
    assert!(lease.scrapes().expire() > last + 45 * SECOND);
}

#[test]
fn a_permanently_shorter_scrape_interval_counts_eventually() {
    let gaps: Vec<_> = std::iter::once(60).chain(std::iter::repeat_n(5, 200)).collect();
    let (lease, last) = lease_after(&gaps);
    assert!(lease.scrapes().expire() < last + 20 * SECOND);
}

#[test]
fn rare_scrapes_keep_a_lease_for_up_to_five_minutes() {
    let (lease, last) = lease_after(&[120, 120]);
    assert_eq!(lease.scrapes().expire(), last + LONGEST_SILENCE);
}
