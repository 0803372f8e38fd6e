//! When a leased key is due: at a fixed offset in every interval, so that a thousand keys do not start at the same time. No I/O and no
//! clock.

use super::LATE;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

/// The places of one key on the clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    epoch: Instant,
    interval: Duration,
    /// The key's place in the interval, and how far it steps back when many keys are late: both from 0 to 1.
    place: f64,
    step: f64,
}

/// A probe that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ScheduledRun {
    /// Its place on the clock.
    pub at: Instant,
    /// When it is to begin: then, unless it was put off.
    pub begin: Instant,
    /// The part of the time in between that was chosen.
    pub put_off: Duration,
}

/// What to do with a probe that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ScheduleDecision {
    /// Run it.
    Run,
    /// Run it a little later: whatever made this key late made others late, too.
    PutOff(ScheduledRun),
    /// Leave so many out, and wait for the next place.
    Skip(u64),
}

impl Schedule {
    /// The places of a key, counted from `epoch`. Two keys lie as far apart after a restart as before.
    pub fn new(key: &impl Hash, interval: Duration, epoch: Instant) -> Self {
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
    pub fn after(&self, moment: Instant) -> ScheduledRun {
        let first = self.epoch + self.interval.mul_f64(self.place);
        let since = moment.saturating_duration_since(first);
        let at = if moment < first {
            first
        } else {
            let rounds = since.as_nanos() / self.interval.as_nanos().max(1) + 1;
            first + self.interval * u32::try_from(rounds).unwrap_or(u32::MAX)
        };
        ScheduledRun {
            at,
            begin: at,
            put_off: Duration::ZERO,
        }
    }

    /// A probe that begins so soon after it was due is on time.
    pub fn on_time(&self) -> Duration {
        (self.interval / 20).min(Duration::from_millis(10))
    }

    /// What to do at `now` with what is due. A stall of the process makes all keys late at once: a burst would only
    /// measure itself. So the later a key is, the more time it is spread over.
    pub fn turn(&self, due: ScheduledRun, now: Instant) -> ScheduleDecision {
        let late = now.saturating_duration_since(due.begin);
        if late > self.interval / 16 {
            let whole = now.saturating_duration_since(due.at).as_nanos() / self.interval.as_nanos().max(1);
            ScheduleDecision::Skip(u64::try_from(whole).unwrap_or(u64::MAX).saturating_add(1))
        } else if late <= self.on_time() || due.begin > due.at {
            ScheduleDecision::Run
        } else {
            let put_off = (late * 8).min(self.interval / 4).mul_f64(self.step);
            ScheduleDecision::PutOff(ScheduledRun {
                begin: now + put_off,
                put_off,
                ..due
            })
        }
    }

    /// How long a probe may take that begins so late: the interval, so that what hangs is counted in every one; a little
    /// less where it is a little late, so that the next one is not later still.
    pub fn time(&self, lag: Duration) -> Duration {
        if lag <= self.on_time() {
            self.interval.saturating_sub(lag)
        } else {
            self.interval
        }
    }

    /// Whether a key that we came to so late says more of us than of its target.
    pub fn is_late(&self, late: Duration) -> bool {
        late > LATE.min(self.interval / 10)
    }
}

#[cfg(test)]
mod tests {
    use super::{Schedule, ScheduleDecision};
    use std::time::{Duration, Instant};

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_key_keeps_its_place_and_the_places_are_spread() {
        let epoch = Instant::now();
        let mut slots = [0; 100];
        for key in 0..1000 {
            let schedule = Schedule::new(&format!("http://target/{key}"), 10 * SECOND, epoch);
            let first = schedule.after(epoch).at;
            assert_eq!(schedule.after(first).at, first + 10 * SECOND);
            assert_eq!(schedule.after(first + 25 * SECOND).at, first + 30 * SECOND);
            let slot = (first - epoch).as_millis() % 10_000 / 100;
            slots[usize::try_from(slot).unwrap()] += 1;
        }
        // Each tenth of a second has 10 of 1,000 keys on average and a maximum of 30.
        assert!(slots.iter().all(|keys| *keys <= 30), "{slots:?}");
    }

    #[test]
    fn what_is_a_little_late_runs_and_what_is_very_late_is_left_out() {
        let at = Instant::now();
        let due = Schedule::new(&"key", SECOND, at).after(at);
        let at = due.at;
        let schedule = Schedule::new(&"key", SECOND, at);
        let turn = |millis| schedule.turn(due, at + Duration::from_millis(millis));
        assert_eq!(turn(0), ScheduleDecision::Run);
        assert_eq!(turn(10), ScheduleDecision::Run);
        assert_eq!(turn(500), ScheduleDecision::Skip(1));
        assert_eq!(turn(9_500), ScheduleDecision::Skip(10));
        // It is put off once, and by no more than it was late several times over.
        let ScheduleDecision::PutOff(later) = turn(20) else {
            panic!("20 ms are late for a second");
        };
        assert!(later.begin <= at + Duration::from_millis(180) && later.at == at);
        assert_eq!(
            schedule.turn(later, later.begin + Duration::from_millis(20)),
            ScheduleDecision::Run
        );
        assert_eq!(
            schedule.turn(later, later.begin + SECOND / 2),
            ScheduleDecision::Skip(1)
        );
    }

    #[test]
    fn a_probe_has_the_interval_and_ends_before_the_next_where_both_can_be() {
        let schedule = Schedule::new(&"key", SECOND, Instant::now());
        let ms = Duration::from_millis;
        assert_eq!(schedule.time(ms(0)), SECOND);
        assert_eq!(schedule.time(ms(4)), ms(996));
        assert_eq!(schedule.time(ms(60)), SECOND);
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
                ScheduleDecision::Run => awake,
                ScheduleDecision::PutOff(later) => later.begin,
                ScheduleDecision::Skip(_) => schedule.after(awake).begin,
            };
            let next = schedule.after(awake).begin.max(starts);
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
