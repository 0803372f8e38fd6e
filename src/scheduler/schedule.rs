//! Computes when a leased key is due.
//!
//! Each key has a fixed offset in the interval, so that a thousand keys do not start at the same time. This module does
//! no I/O and reads no clock.

use super::LATE;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

/// Schedule of one key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    epoch: Instant,
    interval: Duration,
    /// Offset of the key in the interval (`place`) and share of the delay when many keys are late (`step`): both from 0
    /// up to 1.
    place: f64,
    step: f64,
}

/// A scheduled run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ScheduledRun {
    /// Due time.
    pub at: Instant,
    /// Start time: the due time, or later if the run was postponed.
    pub begin: Instant,
    /// Intentional part of the delay.
    pub put_off: Duration,
}

/// What to do with a run that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ScheduleDecision {
    /// Run now.
    Run,
    /// Run a little later, because other keys are probably late as well.
    PutOff(ScheduledRun),
    /// Skip this number of runs and wait for the next due time.
    Skip(u64),
}

impl Schedule {
    /// Creates the schedule of a key, relative to `epoch`. The offset between two keys is the same after a restart.
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

    /// Returns the first run that is due after this time.
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

    /// Maximum delay of a run that counts as on time.
    pub fn on_time(&self) -> Duration {
        (self.interval / 20).min(Duration::from_millis(10))
    }

    /// Decides what to do at `now` with a run that is due. After a stall of the process, all keys are late at the same
    /// time, and a burst of probes would distort its own measurements. Late runs are therefore spread, over a time that
    /// grows with their delay.
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

    /// Returns the timeout of a run with this lag. The timeout equals the interval, so that a target that hangs fails
    /// one probe per interval. For a run that is on time, the lag is subtracted, so that the next run is not delayed
    /// further.
    pub fn time(&self, lag: Duration) -> Duration {
        if lag <= self.on_time() {
            self.interval.saturating_sub(lag)
        } else {
            self.interval
        }
    }

    /// Returns whether a run with this delay reflects the exporter more than its target.
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
    fn a_key_keeps_its_offset_and_the_offsets_are_spread() {
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
        // On average, 10 of 1,000 keys are due in each tenth of a second; at most 30 are.
        assert!(slots.iter().all(|keys| *keys <= 30), "{slots:?}");
    }

    #[test]
    fn a_slightly_late_run_is_run_and_a_very_late_one_is_skipped() {
        let at = Instant::now();
        let due = Schedule::new(&"key", SECOND, at).after(at);
        let at = due.at;
        let schedule = Schedule::new(&"key", SECOND, at);
        let turn = |millis| schedule.turn(due, at + Duration::from_millis(millis));
        assert_eq!(turn(0), ScheduleDecision::Run);
        assert_eq!(turn(10), ScheduleDecision::Run);
        assert_eq!(turn(500), ScheduleDecision::Skip(1));
        assert_eq!(turn(9_500), ScheduleDecision::Skip(10));
        // A run is postponed once, by up to eight times its delay.
        let ScheduleDecision::PutOff(later) = turn(20) else {
            panic!("20 ms is late for an interval of 1 s");
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
    fn a_probe_may_take_the_interval_and_ends_before_the_next_one_if_possible() {
        let schedule = Schedule::new(&"key", SECOND, Instant::now());
        let ms = Duration::from_millis;
        assert_eq!(schedule.time(ms(0)), SECOND);
        assert_eq!(schedule.time(ms(4)), ms(996));
        assert_eq!(schedule.time(ms(60)), SECOND);
    }

    /// After a stall of the whole process, all keys with an interval of 10 s are late by different times.
    #[test]
    fn after_a_stall_the_probes_are_spread_evenly() {
        let epoch = Instant::now();
        let awake = epoch + 20 * SECOND;
        let mut slots = [0; 100];
        for key in 0..1000 {
            let schedule = Schedule::new(&format!("http://target/{key}"), 10 * SECOND, epoch);
            // The process was stalled for 10 s, and each key was due once in that time.
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
