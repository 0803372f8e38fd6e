//! Controls: names and addresses that are always reachable from a healthy network. If all of them fail, the exporter's
//! own network is at fault.

mod round;

pub use round::ControlSpec;

use crate::check::{ProbeContext, Resolver};
use glassbox_verdict::investigation::{ControlOutcome, Vantage};
use round::{TIMEOUT, run_all};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
        // The result is only replaced as a whole, so a poisoned lock is harmless.
        self.result.lock().unwrap_or_else(PoisonError::into_inner)
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
        (finished.elapsed() < valid_for).then(|| {
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
            result.finished.elapsed() >= age
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
            finished: Instant::now(),
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
        let latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let is_faulty = |latest: &Arc<LatestControls>| {
            let result = latest.vantage(VALID_FOR, Instant::now());
            result.is_some_and(|result| !result.healthy())
        };
        Some(!latest.values().any(is_faulty))
    }

    /// The latest result for a resolver; `None` without controls or with too many resolvers.
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
            let started = Instant::now();
            latest.store(started, run_all(&specs, &resolver, &context).await);
            drop(running);
        });
    }
}
