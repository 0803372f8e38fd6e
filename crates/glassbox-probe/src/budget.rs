//! The budgets of the diagnostics: how many additional requests they may send to one target, and all of them together.
//!
//! A budget of `30/m` permits a maximum of 30 requests in any minute, not only on average: each request counts until it is
//! one minute old. A diagnostic takes all of its requests at once, or does not run. The current time is an argument.

use glassbox_verdict::investigation::BudgetRefusal;
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Maximum number of targets whose requests are remembered. Requests to further targets are refused until the requests of
/// others are old enough to be forgotten.
const MOST_TARGETS: usize = 50_000;

/// Number of targets from which those without recent requests are forgotten.
const FORGET_FROM: usize = 256;

/// Parts of a period. Requests in the same part are remembered together, as of the last of them.
const PARTS: u32 = 60;

/// A number of requests in any period of this length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestRate {
    /// Maximum number of requests.
    pub requests: u32,
    /// Length of the period: a second, a minute or an hour.
    pub per: Duration,
}

impl RequestRate {
    /// The units of a period, with their names in the configuration.
    pub const UNITS: [(&str, Duration); 3] = [
        ("s", Duration::from_secs(1)),
        ("m", Duration::from_mins(1)),
        ("h", Duration::from_hours(1)),
    ];

    /// A number of requests in any minute.
    #[must_use]
    pub const fn per_minute(requests: u32) -> Self {
        Self {
            requests,
            per: Duration::from_mins(1),
        }
    }

    /// Requests per second.
    #[must_use]
    pub fn per_second(self) -> f64 {
        f64::from(self.requests) / self.per.as_secs_f64()
    }
}

impl fmt::Display for RequestRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = Self::UNITS.iter().find(|(_, per)| *per == self.per);
        write!(f, "{}/{}", self.requests, unit.map_or("?", |(name, _)| name))
    }
}

/// The requests of the diagnostics of one process.
#[derive(Debug, Default)]
pub struct DiagnosticsBudgets {
    spent: Mutex<SpentRequests>,
    hasher: RandomState,
}

#[derive(Debug, Default)]
struct SpentRequests {
    process: RecentRequests,
    /// By the hash of the target's key.
    targets: HashMap<u64, RecentRequests>,
    /// Number of targets from which old ones are forgotten next.
    forget_from: usize,
}

impl DiagnosticsBudgets {
    /// The account of a target.
    #[must_use]
    pub fn account(self: &Arc<Self>, key: &impl Hash) -> TargetBudget {
        TargetBudget {
            key: self.hasher.hash_one(key),
            budgets: self.clone(),
        }
    }
}

/// The account of one target.
#[derive(Clone, Debug)]
pub struct TargetBudget {
    budgets: Arc<DiagnosticsBudgets>,
    key: u64,
}

impl TargetBudget {
    /// Takes requests from the budget of the target and from that of the process, or from neither.
    ///
    /// # Errors
    /// If one of them does not permit all of the requests.
    pub fn take(
        &self,
        requests: u32,
        target: RequestRate,
        process: RequestRate,
        now: Instant,
    ) -> Result<(), BudgetRefusal> {
        if requests == 0 {
            return Ok(());
        }
        let mut spent = self.budgets.spent.lock();
        let spent = &mut *spent;
        let before = spent.targets.get_mut(&self.key);
        if before
            .map_or(0, |recent| recent.within(target.per, now))
            .saturating_add(requests)
            > target.requests
        {
            return Err(BudgetRefusal::Target);
        }
        let in_process = spent.process.within(process.per, now);
        if in_process.saturating_add(requests) > process.requests || !spent.has_room_for(self.key, now) {
            return Err(BudgetRefusal::Process);
        }
        spent.process.add(requests, process.per, now);
        spent
            .targets
            .entry(self.key)
            .or_default()
            .add(requests, target.per, now);
        Ok(())
    }
}

impl SpentRequests {
    /// Whether there is room for this target. From time to time, forgets targets without recent requests.
    fn has_room_for(&mut self, key: u64, now: Instant) -> bool {
        if self.targets.len() >= self.forget_from.clamp(FORGET_FROM, MOST_TARGETS) {
            self.targets.retain(|_, recent| recent.is_recent(now));
            self.forget_from = 2 * self.targets.len();
        }
        self.targets.len() < MOST_TARGETS || self.targets.contains_key(&key)
    }
}

/// The recent requests of a target or of the process, oldest first.
#[derive(Debug, Default)]
struct RecentRequests {
    groups: VecDeque<RequestGroup>,
    /// Period of the budget from which the last of them was taken.
    per: Duration,
}

/// Requests that were sent at almost the same time.
#[derive(Clone, Copy, Debug)]
struct RequestGroup {
    first: Instant,
    last: Instant,
    requests: u32,
}

impl RecentRequests {
    /// Number of requests within the last period. Older ones are forgotten.
    fn within(&mut self, per: Duration, now: Instant) -> u32 {
        let is_old = |group: &RequestGroup| now.saturating_duration_since(group.last) >= per;
        while self.groups.front().is_some_and(is_old) {
            self.groups.pop_front();
        }
        let numbers = self.groups.iter().map(|group| group.requests);
        numbers.fold(0, u32::saturating_add)
    }

    fn add(&mut self, requests: u32, per: Duration, now: Instant) {
        self.per = per;
        let is_same = |group: &&mut RequestGroup| now.saturating_duration_since(group.first) < per / PARTS;
        match self.groups.back_mut().filter(is_same) {
            Some(group) => {
                group.last = group.last.max(now);
                group.requests = group.requests.saturating_add(requests);
            }
            None => self.groups.push_back(RequestGroup {
                first: now,
                last: now,
                requests,
            }),
        }
    }

    fn is_recent(&self, now: Instant) -> bool {
        let last = self.groups.back();
        last.is_some_and(|group| now.saturating_duration_since(group.last) < self.per)
    }
}

#[cfg(test)]
mod tests {
    use super::{DiagnosticsBudgets, FORGET_FROM, MOST_TARGETS, PARTS, RequestRate};
    use glassbox_verdict::investigation::BudgetRefusal;
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    const MANY: RequestRate = RequestRate::per_minute(1_000_000);

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn no_period_has_more_requests_than_the_budget() {
        let budgets = Arc::new(DiagnosticsBudgets::default());
        let account = budgets.account(&"target");
        let (start, rate) = (Instant::now(), RequestRate::per_minute(7));
        let mut taken = Vec::new();
        for tenth in 0..3000 {
            let now = start + Duration::from_millis(100 * tenth);
            if account.take(1, rate, MANY, now).is_ok() {
                taken.push(now);
            }
        }
        for (number, begin) in taken.iter().enumerate() {
            let within = taken[number..].iter().filter(|at| **at - *begin < rate.per).count();
            assert!(within <= 7, "{within} requests within a minute");
        }
        // Five minutes. Requests that are remembered together count up to a sixtieth of a period longer.
        assert!(taken.len() > 4 * 7, "{} requests", taken.len());
    }

    #[test]
    fn a_diagnostic_takes_all_of_its_requests_or_none() {
        let account = Arc::new(DiagnosticsBudgets::default()).account(&"target");
        let (now, rate) = (Instant::now(), RequestRate::per_minute(3));
        assert_eq!(account.take(2, rate, MANY, now), Ok(()));
        assert_eq!(account.take(2, rate, MANY, now), Err(BudgetRefusal::Target));
        assert_eq!(account.take(1, rate, MANY, now), Ok(()));
        assert_eq!(account.take(0, rate, MANY, now), Ok(()));
        let later = now + seconds(59);
        assert_eq!(account.take(1, rate, MANY, later), Err(BudgetRefusal::Target));
        assert_eq!(account.take(3, rate, MANY, now + seconds(60)), Ok(()));
    }

    #[test]
    fn a_refusal_of_the_process_costs_the_target_nothing() {
        let budgets = Arc::new(DiagnosticsBudgets::default());
        let (one, other) = (budgets.account(&"one"), budgets.account(&"other"));
        let (now, rate, process) = (Instant::now(), RequestRate::per_minute(3), RequestRate::per_minute(4));
        assert_eq!(one.take(3, rate, process, now), Ok(()));
        assert_eq!(other.take(3, rate, process, now), Err(BudgetRefusal::Process));
        assert_eq!(one.take(1, rate, process, now), Err(BudgetRefusal::Target));
        assert_eq!(other.take(1, rate, process, now), Ok(()));
        assert_eq!(other.take(2, rate, MANY, now), Ok(()));
    }

    #[test]
    fn a_budget_of_0_permits_nothing_and_a_reload_applies_at_once() {
        let account = Arc::new(DiagnosticsBudgets::default()).account(&"target");
        let now = Instant::now();
        let none = RequestRate::per_minute(0);
        assert_eq!(account.take(1, none, MANY, now), Err(BudgetRefusal::Target));
        let hourly = RequestRate {
            requests: 1,
            per: seconds(3600),
        };
        assert_eq!(account.take(1, hourly, MANY, now), Ok(()));
        let soon = now + seconds(61);
        assert_eq!(account.take(1, hourly, MANY, soon), Err(BudgetRefusal::Target));
        assert_eq!(account.take(1, RequestRate::per_minute(1), MANY, soon), Ok(()));
    }

    #[test]
    fn memory_is_bounded() {
        let budgets = Arc::new(DiagnosticsBudgets::default());
        let (start, rate) = (Instant::now(), RequestRate::per_minute(1_000_000));
        let account = budgets.account(&"busy");
        for tenth in 0..3000 {
            account
                .take(1, rate, MANY, start + Duration::from_millis(100 * tenth))
                .unwrap();
        }
        let groups = |budgets: &DiagnosticsBudgets| {
            let spent = budgets.spent.lock();
            spent.targets.values().map(|recent| recent.groups.len()).max().unwrap()
        };
        assert!(groups(&budgets) <= 2 + PARTS as usize);
        // Targets are forgotten when their requests are old, and no more than the maximum are remembered.
        let targets = |budgets: &DiagnosticsBudgets| budgets.spent.lock().targets.len();
        for second in 0..5000 {
            let now = start + seconds(1000 + second);
            budgets.account(&second).take(1, rate, MANY, now).unwrap();
        }
        assert!(targets(&budgets) <= 2 * FORGET_FROM, "{} targets", targets(&budgets));
        let at_once = start + seconds(100_000);
        let refused =
            (0..MOST_TARGETS + 10).filter(|number| budgets.account(number).take(1, rate, MANY, at_once).is_err());
        assert_eq!(refused.count(), 10);
        assert_eq!(targets(&budgets), MOST_TARGETS);
    }

    #[test]
    fn a_rate_is_shown_as_it_is_written() {
        assert_eq!(RequestRate::per_minute(30).to_string(), "30/m");
        assert!((RequestRate::per_minute(6000).per_second() - 100.0).abs() < 1e-9);
    }
}
