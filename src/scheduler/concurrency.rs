//! Limits how many probes run at the same time, in total and per destination, and how long a probe waits for a permit.

use super::fair_share::{Caller, FairPermit, FairShares};
use glassbox_probe::clock;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Number of destinations above which unused ones are removed from the map.
const REMEMBERED: usize = 1024;

/// Permit to run a probe of one destination. Dropping it returns the permit.
#[derive(Debug)]
pub(super) struct Permit {
    /// Time that the probe waited for the permit; zero if one was free.
    pub waited: Duration,
    _held: OwnedSemaphorePermit,
    /// Keeps the permits of the destination in the map while one of them is taken.
    _of: Arc<Permits>,
}

/// Permits of one destination. Their number can change.
#[derive(Debug)]
struct Permits {
    free: Arc<Semaphore>,
    /// Total number of permits.
    granted: Mutex<usize>,
}

impl Permits {
    fn new(granted: usize) -> Arc<Self> {
        Arc::new(Self {
            free: Arc::new(Semaphore::new(granted)),
            granted: Mutex::new(granted),
        })
    }

    /// Changes the number of permits. Surplus permits that are taken disappear when they are returned.
    fn set(&self, places: usize) {
        let mut granted = self.granted.lock();
        if places > *granted {
            self.free.add_permits(places - *granted);
        } else if places < *granted {
            let many = *granted - places;
            let taken = many - self.free.forget_permits(many);
            let (taken, free) = (u32::try_from(taken).unwrap_or(u32::MAX), self.free.clone());
            let _forgetting = tokio::spawn(async move {
                if let Ok(given_back) = free.acquire_many_owned(taken).await {
                    given_back.forget();
                }
            });
        }
        *granted = places;
    }

    async fn take(self: Arc<Self>, wait: Duration) -> Option<Permit> {
        let (permit, waited) = if let Ok(permit) = self.free.clone().try_acquire_owned() {
            (permit, Duration::ZERO)
        } else {
            let asked = clock::now();
            let taken = tokio::time::timeout(wait, self.free.clone().acquire_owned()).await;
            (taken.ok()?.ok()?, clock::since(asked))
        };
        Some(Permit {
            waited,
            _held: permit,
            _of: self,
        })
    }
}

/// Limits concurrent probes in total and per destination.
#[derive(Debug)]
pub(super) struct ConcurrencyLimiter {
    all: Arc<FairShares>,
    destinations: Mutex<HashMap<String, Weak<Permits>>>,
}

impl ConcurrencyLimiter {
    pub fn new(places: usize) -> Self {
        Self {
            all: FairShares::new(places),
            destinations: Mutex::default(),
        }
    }

    /// Changes the total number of permits.
    pub fn set(&self, places: usize) {
        self.all.set(places);
    }

    /// Takes a permit from the total, waiting up to `wait`. Also returns the time that it waited.
    pub async fn acquire(&self, caller: Caller, wait: Duration) -> Option<(FairPermit, Duration)> {
        self.all.take(caller, wait).await
    }

    /// Takes one of `most` permits of a destination, waiting up to `wait`.
    pub async fn acquire_for_destination(&self, destination: String, most: usize, wait: Duration) -> Option<Permit> {
        self.places_to(destination, most).take(wait).await
    }

    fn places_to(&self, destination: String, most: usize) -> Arc<Permits> {
        let mut destinations = self.destinations.lock();
        if let Some(places) = destinations.get(&destination).and_then(Weak::upgrade) {
            places.set(most);
            return places;
        }
        if destinations.len() >= REMEMBERED {
            destinations.retain(|_, places| places.strong_count() > 0);
        }
        let places = Permits::new(most);
        destinations.insert(destination, Arc::downgrade(&places));
        places
    }
}

#[cfg(test)]
mod tests {
    use super::ConcurrencyLimiter;
    use std::time::Duration;

    const AT_ONCE: Duration = Duration::ZERO;

    #[tokio::test(start_paused = true)]
    async fn each_destination_has_its_own_permits() {
        let concurrency = ConcurrencyLimiter::new(10);
        let to = |name: &str| concurrency.acquire_for_destination(name.to_owned(), 1, AT_ONCE);
        let held = to("a").await;
        assert!(held.is_some() && to("a").await.is_none() && to("b").await.is_some());
        drop(held);
        assert!(to("a").await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_waits_for_its_permit_until_its_own_limit() {
        let concurrency = ConcurrencyLimiter::new(10);
        let second = Duration::from_secs(1);
        let within = |seconds| concurrency.acquire_for_destination("a".to_owned(), 1, seconds * second);
        let held = within(0).await;
        let release = async {
            tokio::time::sleep(5 * second).await;
            drop(held);
        };
        let (hasty, patient, ()) = tokio::join!(within(3), within(10), release);
        assert!(hasty.is_none());
        let waited = patient.unwrap().waited;
        assert!(waited.abs_diff(5 * second) <= Duration::from_millis(2), "{waited:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_latest_limit_applies_to_a_busy_destination() {
        let concurrency = ConcurrencyLimiter::new(10);
        let to = |most| concurrency.acquire_for_destination("a".to_owned(), most, AT_ONCE);
        let one = to(1).await;
        assert!(one.is_some() && to(1).await.is_none());
        let two = to(2).await;
        assert!(two.is_some() && to(2).await.is_none());
        drop(one);
        assert!(to(1).await.is_none(), "the second permit is still taken");
        drop(two);
        tokio::task::yield_now().await;
        assert!(to(1).await.is_some());
    }
}
