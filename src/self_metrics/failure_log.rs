//! Rate limits for log lines about failed probes.
//!
//! Each key may log a burst of lines, then one line every ten seconds. A second limit applies to all keys together, so
//! that a stream of new targets cannot flood the log. Suppressed lines are counted.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Rate limit of one key.
const OF_TARGET: Pace = Pace {
    burst: 5.0,
    each: Duration::from_secs(10),
};

/// Rate limit of all keys together.
const OF_ALL: Pace = Pace {
    burst: 1000.0,
    each: Duration::from_millis(5),
};

/// Maximum number of keys with their own bucket. Further keys are subject to the total limit only.
const TARGETS: usize = 10_000;

/// Rate limit.
#[derive(Debug)]
struct Pace {
    burst: f64,
    /// Time after which another line is allowed.
    each: Duration,
}

/// Token bucket, with the number of lines suppressed since the last allowed line.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: f64,
    at: Instant,
    suppressed: u64,
}

impl Bucket {
    const fn full(pace: &Pace, at: Instant) -> Self {
        Self {
            tokens: pace.burst,
            at,
            suppressed: 0,
        }
    }

    fn fill(&mut self, pace: &Pace, now: Instant) {
        let earned = now.saturating_duration_since(self.at).as_secs_f64() / pace.each.as_secs_f64();
        self.tokens = (self.tokens + earned).min(pace.burst);
        self.at = now;
    }
}

/// Rate limiter for log lines about failed probes.
#[derive(Debug, Default)]
pub(super) struct FailureLogLimiter(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    targets: HashMap<u64, Bucket>,
    all: Option<Bucket>,
}

impl FailureLogLimiter {
    /// Returns the number of lines suppressed for this key since its last line, or `None` if the new line must be
    /// suppressed as well.
    pub fn may_log(&self, target: u64, now: Instant) -> Option<u64> {
        let mut state = self.0.lock();
        let State { targets, all } = &mut *state;
        let all = all.get_or_insert_with(|| Bucket::full(&OF_ALL, now));
        all.fill(&OF_ALL, now);
        if targets.len() >= TARGETS && !targets.contains_key(&target) {
            // A full bucket without suppressed lines is equivalent to no bucket.
            targets.retain(|_, bucket| {
                bucket.fill(&OF_TARGET, now);
                bucket.tokens < OF_TARGET.burst || bucket.suppressed > 0
            });
        }
        let mut unknown = Bucket::full(&OF_TARGET, now);
        let bucket = if targets.len() < TARGETS || targets.contains_key(&target) {
            targets.entry(target).or_insert(unknown)
        } else {
            &mut unknown
        };
        bucket.fill(&OF_TARGET, now);
        if bucket.tokens < 1.0 || all.tokens < 1.0 {
            bucket.suppressed += 1;
            return None;
        }
        bucket.tokens -= 1.0;
        all.tokens -= 1.0;
        Some(std::mem::take(&mut bucket.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::{FailureLogLimiter, OF_ALL, OF_TARGET, TARGETS};
    use std::time::{Duration, Instant};

    #[test]
    fn a_permanently_failing_target_is_logged_now_and_then_and_others_immediately() {
        let (log, now) = (FailureLogLimiter::default(), Instant::now());
        let at_once = (0..100).filter(|_| log.may_log(1, now).is_some()).count();
        assert_eq!(at_once, 5);
        assert_eq!(log.may_log(2, now), Some(0));
        assert_eq!(log.may_log(1, now + OF_TARGET.each), Some(95));
        assert_eq!(log.may_log(1, now + OF_TARGET.each), None);
        assert_eq!(log.may_log(1, now + 3 * OF_TARGET.each), Some(1));
    }

    #[test]
    fn new_targets_share_one_rate_limit_and_bounded_memory() {
        let (log, now) = (FailureLogLimiter::default(), Instant::now());
        let logged = (0..30_000).filter(|target| log.may_log(*target, now).is_some()).count();
        assert_eq!(logged, 1000);
        assert!(log.0.lock().targets.len() <= TARGETS);
        let later = now + 10 * OF_ALL.each;
        let logged = (40_000..50_000).filter(|target| log.may_log(*target, later).is_some());
        assert_eq!(logged.count(), 10);
        let much_later = now + Duration::from_hours(1);
        assert_eq!(log.may_log(60_000, much_later), Some(0));
    }
}
