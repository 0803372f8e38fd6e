//! Who has the right password. bcrypt is slow on purpose: verdicts are kept, and few are asked for at once.

use crate::secret::Secret;
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Semaphore;

/// Verdicts of each kind that are kept.
const KEPT: usize = 100;

/// Passwords that may wait to be looked at. Each takes some 70 ms: who comes behind so many would wait for a second.
const WAITING: usize = 16;

/// A hash that no password has, of such a cost. Asking it for who is not known takes as long as asking for who is.
fn nobodys(cost: &str) -> String {
    format!("$2b${cost}$abcdefghijklmnopqrstuuAFBFBFBFBFBFBFBFBFBFBFBFBFBFBFO")
}

/// The highest cost of the hashes, as they write it (`$2y$12$…`).
fn highest_cost<'a>(hashes: impl Iterator<Item = &'a Secret>) -> &'a str {
    let costs = hashes.filter_map(|hash| hash.reveal().split('$').nth(2));
    costs.max().unwrap_or("10")
}

/// What is known of passwords.
#[derive(Debug)]
pub(super) struct Passwords {
    /// The digests of who asked with what, and the hash: those that fit, and those that do not. However many wrong ones come,
    /// the right ones stay.
    right: Mutex<HashSet<[u8; 32]>>,
    wrong: Mutex<HashSet<[u8; 32]>>,
    /// One at a time: who floods us takes no thread from the probes.
    hashing: Semaphore,
    waiting: Semaphore,
}

/// What is said of a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Right,
    Wrong,
    /// Too many wait to be told.
    Busy,
}

impl Default for Passwords {
    fn default() -> Self {
        Self {
            right: Mutex::default(),
            wrong: Mutex::default(),
            hashing: Semaphore::new(1),
            waiting: Semaphore::new(WAITING),
        }
    }
}

impl Passwords {
    /// Whether a user has this password, by the hashes of all users.
    pub async fn judge(&self, user: &str, password: String, users: &BTreeMap<String, Secret>) -> Verdict {
        let hash = users.get(user);
        let hash_text = hash.map_or_else(
            || nobodys(highest_cost(users.values())),
            |hash| hash.reveal().to_owned(),
        );
        let key = digest([user, &password, &hash_text]);
        if let Some(verdict) = self.kept(&key) {
            return verdict;
        }
        let Ok(_waiting) = self.waiting.try_acquire() else {
            return Verdict::Busy;
        };
        // It is never closed.
        let _hashing = self.hashing.acquire().await;
        if let Some(verdict) = self.kept(&key) {
            return verdict;
        }
        let asked = tokio::task::spawn_blocking(move || bcrypt::verify(password, &hash_text));
        let fits = matches!(asked.await, Ok(Ok(true))) && hash.is_some();
        let (verdict, kept) = if fits {
            (Verdict::Right, &self.right)
        } else {
            (Verdict::Wrong, &self.wrong)
        };
        let mut kept = lock(kept);
        if kept.len() >= KEPT {
            kept.clear();
        }
        kept.insert(key);
        verdict
    }

    fn kept(&self, key: &[u8; 32]) -> Option<Verdict> {
        if lock(&self.right).contains(key) {
            return Some(Verdict::Right);
        }
        lock(&self.wrong).contains(key).then_some(Verdict::Wrong)
    }
}

fn digest(parts: [&str; 3]) -> [u8; 32] {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update(part.len().to_be_bytes());
        digest.update(part);
    }
    digest.finalize().into()
}

fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::{KEPT, Passwords, Verdict, WAITING, highest_cost, nobodys};
    use crate::secret::Secret;
    use std::collections::BTreeMap;
    use std::sync::Arc;

    #[test]
    fn asking_for_nobody_takes_a_whole_hash() {
        // What cannot be read as a hash is refused at once, and tells that there is no such user.
        assert!(matches!(bcrypt::verify("any", &nobodys("04")), Ok(false)));
    }

    #[test]
    fn asking_for_nobody_costs_what_the_dearest_hash_costs() {
        let hashes = ["$2y$10$abc", "$2y$12$abc", "$2b$04$abc"].map(Secret::new);
        assert_eq!(highest_cost(hashes.iter()), "12");
        assert_eq!(highest_cost([].iter()), "10");
    }

    #[tokio::test]
    async fn a_flood_of_wrong_passwords_waits_and_the_right_one_does_not() {
        let hash = Secret::new(bcrypt::hash("right", 4).unwrap());
        let users = Arc::new(BTreeMap::from([("user".to_owned(), hash)]));
        let passwords = Arc::new(Passwords::default());
        let judge = |password: &str| {
            let (passwords, users, password) = (passwords.clone(), users.clone(), password.to_owned());
            async move { passwords.judge("user", password, &users).await }
        };
        assert_eq!(judge("right").await, Verdict::Right);
        for number in 0..=KEPT {
            assert_eq!(judge(&number.to_string()).await, Verdict::Wrong);
        }
        let held = passwords.hashing.acquire().await.unwrap();
        let flood: Vec<_> = (1000..1000 + WAITING)
            .map(|number| tokio::spawn(judge(&number.to_string())))
            .collect();
        while passwords.waiting.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(judge("another").await, Verdict::Busy);
        assert_eq!(judge("right").await, Verdict::Right);
        drop(held);
        for judged in flood {
            assert_eq!(judged.await.unwrap(), Verdict::Wrong);
        }
    }
}
