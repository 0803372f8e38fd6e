//! Controls: names and addresses that are always reachable from a healthy network. If all of them fail, the exporter's
//! own network is at fault.

mod round;

pub use round::ControlSpec;

use crate::check::{ProbeContext, Resolver};
use crate::clock;
use glassbox_verdict::investigation::{ControlOutcome, Vantage};
use parking_lot::{Mutex, MutexGuard};
use round::{TIMEOUT, run_all};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

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
    result: Mutex<Option<ControlResult>>,
}

/// The result of one round.
#[derive(Debug)]
struct ControlResult {
    started: Instant,
    finished: Instant,
    vantage: Arc<Vantage>,
}

impl LatestControls {
    fn result(&self) -> MutexGuard<'_, Option<ControlResult>> {
        // The result is only replaced as a whole, so it stays usable after a panic.
        self.result.lock()
    }

    /// The latest valid result. A healthy result is valid for `age`, because the network may have failed since. A
    /// faulty result is valid until the next round finishes, up to [`VALID_FOR`]. A round that started before `since`
    /// proves nothing about what happened after it.
    fn vantage(&self, age: Duration, since: Instant) -> Option<Arc<Vantage>> {
        let result = self.result();
        let ControlResult {
            started,
            finished,
            vantage,
        } = result.as_ref()?;
        let valid_for = if vantage.healthy() { age } else { VALID_FOR };
        (clock::since(*finished) < valid_for).then(|| {
            if *started < since {
                let vantage = Vantage::clone(vantage);
                Arc::new(Vantage { stale: true, ..vantage })
            } else {
                vantage.clone()
            }
        })
    }

    /// Whether another round is due. After a faulty result, the next round is due sooner.
    fn is_older_than(&self, age: Duration) -> bool {
        self.result().as_ref().is_none_or(|result| {
            let age = if result.vantage.healthy() {
                age
            } else {
                age.min(Controls::AFTER_FAILURE)
            };
            clock::since(result.finished) >= age
        })
    }

    /// Stores the result of a round that started at `started`.
    fn store(&self, started: Instant, mut vantage: Vantage) {
        let mut result = self.result();
        let earlier = result.as_ref().map(|result| result.vantage.clone());
        for (number, control) in vantage.controls.iter_mut().enumerate() {
            let answered_before = earlier.as_ref().and_then(|earlier| earlier.controls.get(number));
            control.has_answered = control.outcome == ControlOutcome::Answered
                || answered_before.is_some_and(|control| control.has_answered);
        }
        *result = Some(ControlResult {
            started,
            finished: clock::now(),
            vantage: Arc::new(vantage),
        });
    }
}

/// Maximum age of a valid result.
const VALID_FOR: Duration = Duration::from_mins(2);

/// Additional time by which the controls start before a probe's deadline.
const MARGIN: Duration = Duration::from_millis(250);

/// Maximum number of resolvers with separate results. A typical configuration has only a few resolvers.
const MAX_RESOLVERS: usize = 256;

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
    /// `None` if there are no controls or no valid result. A result is `stale` if its round started before `since`.
    pub async fn look(
        &self,
        means: ControlContext<'_>,
        age: Duration,
        since: Instant,
        left: Duration,
    ) -> Option<Arc<Vantage>> {
        let latest = self.latest_for(means.resolver)?;
        self.start_round(&latest, means, age);
        // A round that is running is more recent than any result.
        let _in_time = tokio::time::timeout(left, latest.running.lock()).await;
        latest.vantage(age, since)
    }

    /// Whether the latest results of all resolvers are healthy; `None` without controls.
    #[must_use]
    pub fn healthy(&self) -> Option<bool> {
        if self.specs.is_empty() {
            return None;
        }
        let latest = self.latest.lock();
        let is_faulty = |latest: &Arc<LatestControls>| {
            let result = latest.vantage(VALID_FOR, clock::now());
            result.is_some_and(|result| !result.healthy())
        };
        Some(!latest.values().any(is_faulty))
    }

    /// The latest result for a resolver; `None` without controls or with too many resolvers.
    fn latest_for(&self, resolver: &Arc<Resolver>) -> Option<Arc<LatestControls>> {
        if self.specs.is_empty() {
            return None;
        }
        let mut latest = self.latest.lock();
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
            let started = clock::now();
            latest.store(started, run_all(&specs, &resolver, &context).await);
            drop(running);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::{ControlContext, ControlSpec, Controls, LatestControls, VALID_FOR};
    use crate::check::{ProbeContext, Resolver};
    use crate::clock;
    use glassbox_verdict::investigation::{Control, ControlOutcome, Vantage};
    use std::sync::Arc;
    use std::time::{Duration, SystemTime};
    use tokio::time::advance;

    const SECOND: Duration = Duration::from_secs(1);

    /// A round with one control.
    fn round(outcome: ControlOutcome) -> Vantage {
        Vantage {
            controls: vec![Control {
                what: "192.0.2.1:443".to_owned(),
                needs_name: false,
                outcome,
                got_response: outcome == ControlOutcome::Answered,
                place: "192.0.2.0/24".to_owned(),
                connects: true,
                has_answered: false,
                detail: String::new(),
                began: SystemTime::UNIX_EPOCH,
                timings: Vec::new(),
            }],
            ..Vantage::default()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_healthy_result_is_valid_for_the_requested_age_only() {
        let (latest, start) = (LatestControls::default(), clock::now());
        assert!(latest.is_older_than(VALID_FOR));
        latest.store(clock::now(), round(ControlOutcome::Answered));
        let is_valid = |age| latest.vantage(age, start).is_some_and(|vantage| vantage.healthy());
        advance(Duration::from_millis(4999)).await;
        assert!(is_valid(Controls::AFTER_FAILURE) && !latest.is_older_than(Controls::AFTER_FAILURE));
        advance(Duration::from_millis(1)).await;
        assert!(!is_valid(Controls::AFTER_FAILURE) && latest.is_older_than(Controls::AFTER_FAILURE));
        assert!(is_valid(Controls::WHILE_WELL) && !latest.is_older_than(Controls::WHILE_WELL));
        advance(55 * SECOND).await;
        assert!(!is_valid(Controls::WHILE_WELL) && latest.is_older_than(Controls::WHILE_WELL));
    }

    /// The network has failed. Without the next round, nobody knows whether it has recovered.
    #[tokio::test(start_paused = true)]
    async fn a_faulty_result_is_valid_longer_and_replaced_sooner() {
        let (latest, start) = (LatestControls::default(), clock::now());
        latest.store(clock::now(), round(ControlOutcome::Answered));
        latest.store(clock::now(), round(ControlOutcome::NoConnection));
        let vantage = || latest.vantage(Controls::AFTER_FAILURE, start);
        assert!(!latest.is_older_than(Controls::WHILE_WELL));
        advance(Controls::AFTER_FAILURE).await;
        assert!(latest.is_older_than(Controls::WHILE_WELL));
        let faulty = vantage().unwrap();
        assert!(!faulty.healthy() && faulty.controls[0].has_answered && !faulty.stale);
        // A probe that started later cannot rely on it.
        let later = latest.vantage(Controls::AFTER_FAILURE, clock::now()).unwrap();
        assert!(later.stale);
        advance(VALID_FOR).await;
        assert!(vantage().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_waits_for_a_running_round_until_its_own_deadline() {
        let controls = Controls::new(vec![ControlSpec::Address(([192, 0, 2, 1], 443).into())]);
        let (resolver, context) = (Arc::new(Resolver::with_servers(&[])), ProbeContext::default());
        let means = ControlContext {
            resolver: &resolver,
            context: &context,
        };
        let latest = controls.latest_for(&resolver).unwrap();
        latest.store(clock::now(), round(ControlOutcome::Answered));
        // No other round starts while this one runs.
        let running = latest.running.clone().lock_owned().await;
        let start = clock::now();
        let look = |left| controls.look(means, Controls::WHILE_WELL, start, left);
        let ends = async {
            tokio::time::sleep(5 * SECOND).await;
            latest.store(start, round(ControlOutcome::NoConnection));
            drop(running);
        };
        let (hasty, patient, ()) = tokio::join!(look(3 * SECOND), look(10 * SECOND), ends);
        assert!(hasty.unwrap().healthy());
        assert!(!patient.unwrap().healthy());
        assert_eq!(controls.healthy(), Some(false));
        advance(VALID_FOR).await;
        assert_eq!(controls.healthy(), Some(true));
    }
}
