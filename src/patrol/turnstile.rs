//! The turnstile: how many probes run at once, in all and to one destination, and how long one waits for its turn.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Destinations that are remembered before those are forgotten that nobody probes.
const REMEMBERED: usize = 1024;

/// A place among the probes that run: given back with its value.
#[derive(Debug)]
pub(super) struct Place {
    /// How long it was waited for; nothing where it was free.
    pub waited: Duration,
    _permit: OwnedSemaphorePermit,
    /// What gives the places lives as long as one of them is taken.
    _of: Arc<Places>,
}

/// So many places, which may become more or fewer.
#[derive(Debug)]
struct Places {
    free: Arc<Semaphore>,
    /// How many there are.
    granted: Mutex<usize>,
}

impl Places {
    fn new(granted: usize) -> Arc<Self> {
        Arc::new(Self {
            free: Arc::new(Semaphore::new(granted)),
            granted: Mutex::new(granted),
        })
    }

    /// From now on there are so many places. Those that are taken and too many go when they are given back.
    fn set(&self, places: usize) {
        let mut granted = self.granted.lock().unwrap_or_else(PoisonError::into_inner);
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

    async fn take(self: Arc<Self>, wait: Duration) -> Option<Place> {
        let (permit, waited) = if let Ok(permit) = self.free.clone().try_acquire_owned() {
            (permit, Duration::ZERO)
        } else {
            let asked = Instant::now();
            let taken = tokio::time::timeout(wait, self.free.clone().acquire_owned()).await;
            (taken.ok()?.ok()?, asked.elapsed())
        };
        Some(Place {
            waited,
            _permit: permit,
            _of: self,
        })
    }
}

/// The turnstile.
#[derive(Debug)]
pub(super) struct Turnstile {
    all: Arc<Places>,
    destinations: Mutex<HashMap<String, Weak<Places>>>,
}

impl Turnstile {
    pub fn new(places: usize) -> Self {
        Self {
            all: Places::new(places),
            destinations: Mutex::default(),
        }
    }

    /// From now on there are so many places.
    pub fn set(&self, places: usize) {
        self.all.set(places);
    }

    /// A place, within `wait`.
    pub async fn enter(&self, wait: Duration) -> Option<Place> {
        self.all.clone().take(wait).await
    }

    /// A place among `most` probes of one destination, within `wait`.
    pub async fn enter_to(&self, destination: String, most: usize, wait: Duration) -> Option<Place> {
        self.places_to(destination, most).take(wait).await
    }

    fn places_to(&self, destination: String, most: usize) -> Arc<Places> {
        let mut destinations = self.destinations.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(places) = destinations.get(&destination).and_then(Weak::upgrade) {
            places.set(most);
            return places;
        }
        if destinations.len() >= REMEMBERED {
            destinations.retain(|_, places| places.strong_count() > 0);
        }
        let places = Places::new(most);
        destinations.insert(destination, Arc::downgrade(&places));
        places
    }
}

#[cfg(test)]
mod tests {
    use super::Turnstile;
    use std::time::Duration;

    const AT_ONCE: Duration = Duration::ZERO;

    #[tokio::test]
    async fn there_are_as_many_places_as_were_set_last() {
        let turnstile = Turnstile::new(2);
        let (one, two) = (turnstile.enter(AT_ONCE).await, turnstile.enter(AT_ONCE).await);
        assert!(one.is_some() && two.is_some());
        assert!(turnstile.enter(AT_ONCE).await.is_none());
        turnstile.set(3);
        let three = turnstile.enter(AT_ONCE).await;
        assert!(three.is_some());
        turnstile.set(1);
        drop((one, two));
        // What was too much is taken back before anybody else gets it.
        tokio::task::yield_now().await;
        assert!(turnstile.enter(AT_ONCE).await.is_none());
        drop(three);
        assert!(turnstile.enter(Duration::from_secs(5)).await.is_some());
    }

    #[tokio::test]
    async fn each_destination_has_places_of_its_own() {
        let turnstile = Turnstile::new(10);
        let to = |name: &str| turnstile.enter_to(name.to_owned(), 1, AT_ONCE);
        let held = to("a").await;
        assert!(held.is_some() && to("a").await.is_none() && to("b").await.is_some());
        drop(held);
        assert!(to("a").await.is_some());
    }

    #[tokio::test]
    async fn a_busy_destination_has_as_many_places_as_were_asked_for_last() {
        let turnstile = Turnstile::new(10);
        let to = |most| turnstile.enter_to("a".to_owned(), most, AT_ONCE);
        let one = to(1).await;
        assert!(one.is_some() && to(1).await.is_none());
        let two = to(2).await;
        assert!(two.is_some() && to(2).await.is_none());
        drop(one);
        assert!(to(1).await.is_none(), "the second is there still");
        drop(two);
        tokio::task::yield_now().await;
        assert!(to(1).await.is_some());
    }
}
