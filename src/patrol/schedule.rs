//! When a leased key is due: at its own place in every interval, so that a thousand keys do not start at once.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

/// A probe that begins so soon after it was due is on time.
const ON_TIME: Duration = Duration::from_millis(10);

/// The places of one key on the clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    epoch: Instant,
    interval: Duration,
    /// The key's place in the interval, and how far it steps back when many keys are late: both from 0 to 1.
    place: f64,
    step: f64,
}

/// What to do with a probe that was due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Run it.
    Run,
    /// Run it a little later: whatever made this key late made others late, too.
    PutOff(Duration),
    /// Leave so many out, and wait for the next place.
    Skip(u64),
}

impl Schedule {
    /// The places of a key, counted from `epoch`.
    pub fn new(key: &impl Hash, interval: Duration, epoch: Instant) -> Self {
        // Without a random key: after a restart each key has its old place.
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        let hash = hasher.finish();
        let share =
            |bits: u64| f64::from(u32::try_from(bits & u64::from(u32::MAX)).unwrap_or_default()) / 4_294_967_296.0;
        Self {
            epoch,
            interval,
            place: share(hash),
            step: share(hash >> 32),
        }
    }

    pub const fn interval(&self) -> Duration {
        self.interval
    }

    /// The first place after a moment.
    pub fn after(&self, moment: Instant) -> Instant {
        let first = self.epoch + self.interval.mul_f64(self.place);
        let since = moment.saturating_duration_since(first);
        if moment < first {
            return first;
        }
        let rounds = since.as_nanos() / self.interval.as_nanos().max(1) + 1;
        first + self.interval * u32::try_from(rounds).unwrap_or(u32::MAX)
    }

    /// The end of the turn that was due then: its probe must have ended by then.
    pub fn end_of(&self, due: Instant) -> Instant {
        due + self.interval
    }

    /// What to do at `now` with what was due. A stall of the process makes all keys late at once: a burst would only
    /// measure itself.
    pub fn turn(&self, due: Instant, now: Instant) -> Turn {
        let lag = now.saturating_duration_since(due);
        if lag <= ON_TIME {
            Turn::Run
        } else if lag <= self.interval / 8 {
            Turn::PutOff((self.interval / 4).mul_f64(self.step))
        } else {
            let whole = lag.as_nanos() / self.interval.as_nanos().max(1);
            Turn::Skip(u64::try_from(whole).unwrap_or(u64::MAX) + 1)
        }
    }

    /// Whether a probe that began so late says more of us than of its target.
    pub fn is_late(&self, lag: Duration) -> bool {
        lag > self.interval / 10
    }
}

#[cfg(test)]
mod tests {
    use super::{Schedule, Turn};
    use std::time::{Duration, Instant};

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_key_keeps_its_place_and_the_places_are_spread() {
        let epoch = Instant::now();
        let mut slots = [0; 100];
        for key in 0..1000 {
            let schedule = Schedule::new(&format!("http://target/{key}"), 10 * SECOND, epoch);
            let first = schedule.after(epoch);
            assert_eq!(schedule.after(first), first + 10 * SECOND);
            assert_eq!(schedule.after(first + 25 * SECOND), first + 30 * SECOND);
            let slot = (first - epoch).as_millis() % 10_000 / 100;
            slots[usize::try_from(slot).unwrap()] += 1;
        }
        // A tenth of a second has 10 of 1,000 keys, 30 at most.
        assert!(slots.iter().all(|keys| *keys <= 30), "{slots:?}");
    }

    #[test]
    fn what_is_a_little_late_runs_and_what_is_very_late_is_left_out() {
        let due = Instant::now();
        let schedule = Schedule::new(&"key", SECOND, due);
        let turn = |millis| schedule.turn(due, due + Duration::from_millis(millis));
        assert_eq!(turn(0), Turn::Run);
        assert_eq!(turn(10), Turn::Run);
        assert!(matches!(turn(100), Turn::PutOff(by) if by <= SECOND / 4));
        assert_eq!(turn(500), Turn::Skip(1));
        assert_eq!(turn(9_500), Turn::Skip(10));
    }

    /// All keys of a 10 s round wake up late by a different time, as after a stall of the whole process.
    #[test]
    fn after_a_stall_no_tenth_of_a_second_starts_more_than_its_share() {
        let epoch = Instant::now();
        let awake = epoch + 20 * SECOND;
        let mut slots = [0; 100];
        for key in 0..1000 {
            let schedule = Schedule::new(&format!("http://target/{key}"), 10 * SECOND, epoch);
            // Asleep since 10 s: each key was due at its place in that time.
            let due = schedule.after(epoch + 10 * SECOND);
            let starts = match schedule.turn(due, awake) {
                Turn::Run => awake,
                Turn::PutOff(by) => awake + by,
                Turn::Skip(_) => schedule.after(awake),
            };
            let next = schedule.after(awake).max(starts);
            for start in [starts, next] {
                if let Some(slot) = slots.get_mut(usize::try_from((start - awake).as_millis() / 100).unwrap()) {
                    *slot += 1;
                }
                if starts == next {
                    break;
                }
            }
        }
        assert!(slots.iter().all(|keys| *keys <= 30), "{slots:?}");
    }
}
