//! Checks passwords against bcrypt hashes.
//!
//! bcrypt is slow on purpose. Results are therefore cached, only one hash is computed at a time, and client addresses
//! take turns (`queue`). Checking a wrong password takes as long as the most expensive hash, whether or not the user
//! exists, so the response time does not reveal user names.

mod queue;

use crate::scheduler::ClientAddress;
use glassbox_probe::secret::Secret;
use parking_lot::Mutex;
use queue::Queue;
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, HashSet};

/// Maximum number of cached results of each kind (right and wrong).
const KEPT: usize = 100;

/// Cost if no hash contains one. It equals that of `htpasswd -B -C 10`.
const USUAL_COST: u32 = 10;

/// Valid bcrypt hash that has the given cost and matches no password.
fn nobodys(cost: u32) -> String {
    format!("$2b${cost:02}$abcdefghijklmnopqrstuuAFBFBFBFBFBFBFBFBFBFBFBFBFBFBFO")
}

/// Cost of a hash (12 in `$2y$12$…`). The amount of work is 2^cost.
fn cost(hash: &str) -> u32 {
    let cost = hash.split('$').nth(2);
    cost.and_then(|cost| cost.parse().ok()).unwrap_or(USUAL_COST)
}

fn highest_cost<'a>(hashes: impl Iterator<Item = &'a Secret>) -> u32 {
    hashes.map(|hash| cost(hash.reveal())).max().unwrap_or(USUAL_COST)
}

/// Costs of the additional hashes that raise the work from `own` to `highest`:
/// 2^own + 2^own + 2^(own+1) + … = 2^highest.
fn missing_work(own: u32, highest: u32) -> impl Iterator<Item = u32> {
    own..highest
}

/// Password checker with its result cache.
#[derive(Debug, Default)]
pub(super) struct Passwords {
    /// Digests of user, password and hash. Right and wrong results are cached separately, so that a flood of wrong
    /// passwords cannot evict right ones.
    right: Mutex<HashSet<[u8; 32]>>,
    wrong: Mutex<HashSet<[u8; 32]>>,
    queue: Queue,
}

/// Result of a password check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AuthResult {
    Right,
    Wrong,
    /// Not checked: the queue is full.
    Busy,
}

impl Passwords {
    /// Checks the password of a user. `users` maps each user name to its hash.
    pub async fn judge(
        &self,
        source: ClientAddress,
        user: &str,
        password: String,
        users: &BTreeMap<String, Secret>,
    ) -> AuthResult {
        let highest = highest_cost(users.values());
        let hash = users.get(user);
        let hash_text = hash.map_or_else(|| nobodys(highest), |hash| hash.reveal().to_owned());
        let key = digest([user, &password, &hash_text]);
        if let Some(verdict) = self.kept(&key) {
            return verdict;
        }
        let Ok(turn) = self.queue.turn(source).await else {
            return AuthResult::Busy;
        };
        if let Some(verdict) = self.kept(&key) {
            return verdict;
        }
        let asked = tokio::task::spawn_blocking(move || {
            // The thread holds the turn until the hash is computed. A client that disconnects early cannot start a
            // second computation.
            let _turn = turn;
            fits(&password, &hash_text, highest)
        });
        let fits = matches!(asked.await, Ok(true)) && hash.is_some();
        let (verdict, kept) = if fits {
            (AuthResult::Right, &self.right)
        } else {
            (AuthResult::Wrong, &self.wrong)
        };
        let mut kept = kept.lock();
        if kept.len() >= KEPT {
            kept.clear();
        }
        kept.insert(key);
        verdict
    }

    fn kept(&self, key: &[u8; 32]) -> Option<AuthResult> {
        if self.right.lock().contains(key) {
            return Some(AuthResult::Right);
        }
        self.wrong.lock().contains(key).then_some(AuthResult::Wrong)
    }
}

/// Returns whether the password matches the hash. A mismatch always takes the work of the highest cost, regardless of
/// the cost of this hash.
fn fits(password: &str, hash: &str, highest: u32) -> bool {
    if matches!(bcrypt::verify(password, hash), Ok(true)) {
        return true;
    }
    for cost in missing_work(cost(hash), highest) {
        let _never = bcrypt::verify(password, &nobodys(cost));
    }
    false
}

fn digest(parts: [&str; 3]) -> [u8; 32] {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update(part.len().to_be_bytes());
        digest.update(part);
    }
    digest.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::{AuthResult, KEPT, Passwords, cost, highest_cost, missing_work, nobodys};
    use crate::scheduler::ClientAddress;
    use glassbox_probe::secret::Secret;
    use std::collections::BTreeMap;
    use std::sync::Arc;

    #[test]
    fn an_unknown_user_costs_a_whole_hash() {
        // bcrypt rejects an invalid hash immediately, which would reveal that the user does not exist.
        assert!(matches!(bcrypt::verify("any", &nobodys(4)), Ok(false)));
    }

    #[test]
    fn a_wrong_password_takes_the_work_of_the_highest_cost_for_every_user() {
        let hashes = ["$2y$10$abc", "$2y$12$abc", "$2b$04$abc"];
        let highest = highest_cost(hashes.map(Secret::new).iter());
        assert_eq!(highest, 12);
        let work = |cost: u32| 1_u64 << cost;
        for hash in hashes.map(str::to_owned).into_iter().chain([nobodys(highest)]) {
            let own = cost(&hash);
            let all = work(own) + missing_work(own, highest).map(work).sum::<u64>();
            assert_eq!(all, work(highest), "{hash}");
        }
        assert_eq!(highest_cost([].iter()), 10);
    }

    #[tokio::test]
    async fn a_flood_of_wrong_passwords_does_not_block_the_right_one() {
        let hash = Secret::new(bcrypt::hash("right", 4).unwrap());
        let users = Arc::new(BTreeMap::from([("user".to_owned(), hash)]));
        let passwords = Arc::new(Passwords::default());
        let judge = |last: u8, password: &str| {
            let (passwords, users, password) = (passwords.clone(), users.clone(), password.to_owned());
            let source = ClientAddress::of([192, 0, 2, last].into());
            async move { passwords.judge(source, "user", password, &users).await }
        };
        for number in 0..=KEPT {
            assert_eq!(judge(1, &number.to_string()).await, AuthResult::Wrong);
        }
        let held = passwords.queue.turn(ClientAddress::default()).await.unwrap();
        let flood: Vec<_> = (1000..1200)
            .map(|number| tokio::spawn(judge(1, &number.to_string())))
            .collect();
        while passwords.queue.waiting() < 200 {
            tokio::task::yield_now().await;
        }
        let right = tokio::spawn(judge(2, "right"));
        while passwords.queue.waiting() < 201 {
            tokio::task::yield_now().await;
        }
        drop(held);
        assert_eq!(right.await.unwrap(), AuthResult::Right);
        assert!(
            passwords.queue.waiting() > 100,
            "the request waited for the whole flood"
        );
        for judged in flood {
            assert_eq!(judged.await.unwrap(), AuthResult::Wrong);
        }
        // The cached result needs no turn.
        let _held = passwords.queue.turn(ClientAddress::default()).await.unwrap();
        assert_eq!(judge(1, "right").await, AuthResult::Right);
    }
}
