//! The laps of one leg: which stages were reached, when each began, how long it took, how it ended.

use crate::chain::Stage;
use crate::reason::Reason;
use std::time::Duration;

/// One stage's time. Only a [`Ledger`] can make one, so a lap was really run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lap {
    stage: Stage,
    begun: Duration,
    took: Duration,
    failed: Option<Reason>,
}

impl Lap {
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
pub struct Ledger {
    laps: Vec<Lap>,
}

impl Ledger {
    /// Opens a lap. All times are counted from the start of the probe.
    pub fn begin(&mut self, stage: Stage, at: Duration) -> Open<'_> {
        Open {
            ledger: self,
            stage,
            begun: at,
        }
    }

    /// The laps so far.
    #[must_use]
    pub fn laps(&self) -> &[Lap] {
        &self.laps
    }
}

/// A lap that runs. Ends as [`Open::finish`] or [`Open::fail`].
#[must_use = "a lap must end"]
pub struct Open<'a> {
    ledger: &'a mut Ledger,
    stage: Stage,
    begun: Duration,
}

impl Open<'_> {
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
        self.ledger.laps.push(Lap {
            stage: self.stage,
            begun: self.begun,
            took: at.saturating_sub(self.begun),
            failed,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::Ledger;
    use crate::chain::Stage;
    use crate::reason::Reason;
    use std::time::Duration;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_failed_stage_keeps_its_lap() {
        let mut ledger = Ledger::default();
        ledger.begin(Stage::Resolve, ms(0)).finish(ms(2));
        ledger.begin(Stage::Connect, ms(3)).fail(ms(10), Reason::TcpRefused);
        let laps = ledger.laps();
        assert_eq!(laps.len(), 2);
        assert!(laps[0].finished());
        assert_eq!(laps[1].begun(), ms(3));
        assert_eq!(laps[1].took(), ms(7));
        assert_eq!(laps[1].failed(), Some(Reason::TcpRefused));
    }

    #[test]
    fn a_lap_never_takes_less_than_nothing() {
        let mut ledger = Ledger::default();
        ledger.begin(Stage::Wait, ms(5)).finish(ms(4));
        assert_eq!(ledger.laps()[0].took(), ms(0));
    }
}
