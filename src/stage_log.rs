//! The stage log of one exchange: which stages were reached, when each began, how long it took, and how it ended.

use crate::chain::Stage;
use crate::reason::Reason;
use std::time::Duration;

/// One stage's time. Only a [`StageLog`] can make one, so a lap was really run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StageTiming {
    stage: Stage,
    begun: Duration,
    took: Duration,
    failed: Option<Reason>,
}

impl StageTiming {
    /// The stage that was run.
    #[must_use]
    pub const fn stage(&self) -> Stage {
        self.stage
    }

    /// When it began, counted from the start of the probe.
    #[must_use]
    pub const fn begun(&self) -> Duration {
        self.begun
    }

    /// How long it took, to its end or to its failure.
    #[must_use]
    pub const fn took(&self) -> Duration {
        self.took
    }

    /// Why it failed; `None` for a lap that finished.
    #[must_use]
    pub const fn failed(&self) -> Option<Reason> {
        self.failed
    }

    /// Whether it ran to its end.
    #[must_use]
    pub const fn finished(&self) -> bool {
        self.failed.is_none()
    }
}

/// The laps of one leg in time order. A stage may occur twice; one that was not reached has no lap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StageLog {
    timings: Vec<StageTiming>,
}

impl StageLog {
    /// Opens a lap. All times are counted from the start of the probe.
    pub fn begin(&mut self, stage: Stage, at: Duration) -> RunningStage<'_> {
        RunningStage {
            stage_log: self,
            stage,
            begun: at,
        }
    }

    /// The laps so far.
    #[must_use]
    pub fn timings(&self) -> &[StageTiming] {
        &self.timings
    }
}

/// A lap that runs. Ends as [`RunningStage::finish`] or [`RunningStage::fail`].
#[must_use = "a lap must end"]
pub struct RunningStage<'a> {
    stage_log: &'a mut StageLog,
    stage: Stage,
    begun: Duration,
}

impl RunningStage<'_> {
    /// The stage's own work began later than the lap was opened.
    pub fn begun_at(&mut self, at: Duration) {
        self.begun = self.begun.max(at);
    }

    /// The stage came to its end.
    pub fn finish(self, at: Duration) {
        self.close(at, None);
    }

    /// The stage failed.
    pub fn fail(self, at: Duration, reason: Reason) {
        self.close(at, Some(reason));
    }

    fn close(self, at: Duration, failed: Option<Reason>) {
        self.stage_log.timings.push(StageTiming {
            stage: self.stage,
            begun: self.begun,
            took: at.saturating_sub(self.begun),
            failed,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::StageLog;
    use crate::chain::Stage;
    use crate::reason::Reason;
    use std::time::Duration;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_failed_stage_keeps_its_timing() {
        let mut stage_log = StageLog::default();
        stage_log.begin(Stage::Resolve, ms(0)).finish(ms(2));
        stage_log.begin(Stage::Connect, ms(3)).fail(ms(10), Reason::TcpRefused);
        let timings = stage_log.timings();
        assert_eq!(timings.len(), 2);
        assert!(timings[0].finished());
        assert_eq!(timings[1].begun(), ms(3));
        assert_eq!(timings[1].took(), ms(7));
        assert_eq!(timings[1].failed(), Some(Reason::TcpRefused));
    }

    #[test]
    fn a_lap_never_takes_less_than_nothing() {
        let mut stage_log = StageLog::default();
        stage_log.begin(Stage::Wait, ms(5)).finish(ms(4));
        assert_eq!(stage_log.timings()[0].took(), ms(0));
    }
}
