//! The turnstile: how many probes run at once, in all and to one destination, and how long one waits for its turn.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
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
}

/// The turnstile.
#[derive(Debug)]
pub(super) struct Turnstile {
    places: Arc<Semaphore>,
    /// How many places there are.
    granted: Mutex<usize>,
    destinations: Mutex<HashMap<String, Weak<Semaphore>>>,
}

impl Turnstile {
    pub fn new(places: usize) -> Self {
        Self {
            places: Arc::new(Semaphore::new(places)),
            granted: Mutex::new(places),
            destinations: Mutex::default(),
        }
    }

    /// From now on there are so many places. Those that are taken and too many go when they are given back.
    pub fn set(&self, places: usize) {
        let mut granted = lock(&self.granted);
        if places > *granted {
            self.places.add_permits(places - *granted);
        } else {
            let many = u32::try_from(*granted - places).unwrap_or(u32::MAX);
            let all = self.places.clone();
            let _forgetting = tokio::spawn(async move {
                if let Ok(taken) = all.acquire_many_owned(many).await {
                    taken.forget();
                }
            });
        }
        *granted = places;
    }

    /// A place, within `wait`.
    pub async fn enter(&self, wait: Duration) -> Option<Place> {
        turn(self.places.clone(), wait).await
    }

    /// A place among `most` probes of one destination, within `wait`.
    pub async fn enter_to(&self, destination: String, most: usize, wait: Duration) -> Option<Place> {
        let places = self.places_of(destination, most);
        turn(places, wait).await
    }

    fn places_of(&self, destination: String, most: usize) -> Arc<Semaphore> {
        let mut destinations = lock(&self.destinations);
        if let Some(places) = destinations.get(&destination).and_then(Weak::upgrade) {
            return places;
        }
        if destinations.len() >= REMEMBERED {
            destinations.retain(|_, places| places.strong_count() > 0);
        }
        let places = Arc::new(Semaphore::new(most));
        destinations.insert(destination, Arc::downgrade(&places));
        places
    }
}

async fn turn(places: Arc<Semaphore>, wait: Duration) -> Option<Place> {
    let place = |permit, waited| {
        Some(Place {
            waited,
            _permit: permit,
        })
    };
    if let Ok(permit) = places.clone().try_acquire_owned() {
        return place(permit, Duration::ZERO);
    }
    let asked = Instant::now();
    let permit = tokio::time::timeout(wait, places.acquire_owned()).await.ok()?.ok()?;
    place(permit, asked.elapsed())
}

fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
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
}
