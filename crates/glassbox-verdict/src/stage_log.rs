//! The stage log of one exchange: the stages that were reached, with start, duration and outcome.

use crate::chain::Stage;
use crate::reason::Reason;
use std::time::Duration;

/// Timing of one stage. Only a [`StageLog`] can create one, so it always describes a stage that ran.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StageTiming {
    stage: Stage,
    begun: Duration,
    took: Duration,
    failed: Option<Reason>,
}

impl StageTiming {
    /// The stage.
    #[must_use]
    pub const fn stage(&self) -> Stage {
        self.stage
    }

    /// Start, relative to the probe's start.
    #[must_use]
    pub const fn begun(&self) -> Duration {
        self.begun
    }

    /// Duration until the stage finished or failed.
    #[must_use]
    pub const fn took(&self) -> Duration {
        self.took
    }

    /// Reason of the failure; `None` if the stage finished.
    #[must_use]
    pub const fn failed(&self) -> Option<Reason> {
        self.failed
    }

    /// Whether the stage finished.
    #[must_use]
    pub const fn finished(&self) -> bool {
        self.failed.is_none()
    }
}

/// Timings of one exchange in time order. A stage may occur twice; a stage that was not reached has no timing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StageLog {
    timings: Vec<StageTiming>,
}

impl StageLog {
    /// Starts a stage. All times are relative to the probe's start.
    pub fn begin(&mut self, stage: Stage, at: Duration) -> RunningStage<'_> {
        RunningStage {
            stage_log: self,
            stage,
            begun: at,
        }
    }

    /// Timings so far.
    #[must_use]
    pub fn timings(&self) -> &[StageTiming] {
        &self.timings
    }
}

/// A running stage. It ends with [`RunningStage::finish`] or [`RunningStage::fail`].
#[must_use = "a stage must end"]
pub struct RunningStage<'a> {
    stage_log: &'a mut StageLog,
    stage: Stage,
    begun: Duration,
}

impl RunningStage<'_> {
    /// Marks that the stage's own work started later than the stage.
    pub fn begun_at(&mut self, at: Duration) {
        self.begun = self.begun.max(at);
    }

    /// Ends the stage successfully.
    pub fn finish(self, at: Duration) {
        self.close(at, None);
    }

    /// Ends the stage with a failure.
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
