//! Comparison of two rates from a few requests each.

/// Maximum probability of a difference by chance that still counts as a difference.
const BY_CHANCE: f64 = 0.05;

/// How many requests were sent, and how many of them failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tally {
    /// Number of requests with a conclusive result.
    pub asked: u32,
    /// Number of them that failed.
    pub failed: u32,
}

impl Tally {
    /// Counts the outcomes of requests: `true` is a failure.
    pub fn of(failures: impl IntoIterator<Item = bool>) -> Self {
        failures.into_iter().fold(Self::default(), |tally, failed| {
            tally.plus(Self {
                asked: 1,
                failed: u32::from(failed),
            })
        })
    }

    /// Both together.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            asked: self.asked.saturating_add(other.asked),
            failed: self.failed.saturating_add(other.failed),
        }
    }

    /// Whether all requests failed.
    #[must_use]
    pub const fn all_failed(self) -> bool {
        self.asked > 0 && self.failed == self.asked
    }

    /// Whether some requests failed and others succeeded.
    #[must_use]
    pub const fn is_mixed(self) -> bool {
        self.failed > 0 && self.failed < self.asked
    }

    /// Whether this rate of failures is lower than the other. If both rates were the same, a number of failures as low
    /// as this one would have a probability below 5 %. The rate is unknown, with a uniform prior, so that the number of
    /// failures has a beta-binomial distribution.
    ///
    /// ```
    /// use glassbox_verdict::statistics::Tally;
    ///
    /// let edge = Tally::of([true; 3]);
    /// assert!(Tally::of([false; 3]).is_lower_than(edge));
    /// // One success beside one failure may be chance.
    /// assert!(!Tally::of([false]).is_lower_than(Tally::of([true])));
    /// ```
    #[must_use]
    pub fn is_lower_than(self, other: Self) -> bool {
        let (failed, succeeded) = (f64::from(other.failed), f64::from(other.asked - other.failed));
        // Probability of 0 failures, from which those of 1, 2, … failures follow.
        let mut probability = (0..self.asked).map(f64::from).fold(1.0, |product, number| {
            product * (succeeded + 1.0 + number) / (failed + succeeded + 2.0 + number)
        });
        let mut sum = probability;
        for number in 0..self.failed {
            let (so_far, rest) = (f64::from(number), f64::from(self.asked - number));
            probability *= rest / (so_far + 1.0) * (failed + 1.0 + so_far) / (succeeded + rest);
            sum += probability;
        }
        self.asked > 0 && sum < BY_CHANCE
    }
}

#[cfg(test)]
mod tests {
    use super::Tally;

    const fn tally(failed: u32, asked: u32) -> Tally {
        Tally { asked, failed }
    }

    #[test]
    fn three_failures_beside_three_successes_are_a_difference_and_two_are_not() {
        for (direct, edge, is_lower) in [
            (tally(0, 1), tally(1, 1), false),
            (tally(0, 2), tally(2, 2), false),
            (tally(0, 3), tally(3, 3), true),
            (tally(1, 3), tally(3, 3), false),
            (tally(1, 9), tally(9, 9), true),
            (tally(3, 3), tally(3, 3), false),
            // Half of the requests fail at the edge.
            (tally(0, 3), tally(3, 6), false),
            (tally(0, 9), tally(9, 18), true),
            // One of twenty.
            (tally(0, 20), tally(1, 20), false),
            (tally(0, 0), tally(3, 3), false),
            (tally(0, 3), tally(0, 0), false),
            (tally(0, 3), tally(0, 3), false),
        ] {
            assert_eq!(direct.is_lower_than(edge), is_lower, "{direct:?} beside {edge:?}");
        }
    }

    /// The probabilities of all numbers of failures are those of a distribution.
    #[test]
    fn everything_failed_is_never_lower() {
        for failed in 0..40 {
            for asked in 1..30 {
                assert!(
                    !tally(asked, asked).is_lower_than(tally(failed, 40)),
                    "{failed} {asked}"
                );
            }
        }
    }

    #[test]
    fn outcomes_are_counted() {
        assert_eq!(Tally::of([true, false, true]), tally(2, 3));
        assert!(Tally::of([true, false]).is_mixed() && !Tally::of([true]).is_mixed());
        assert!(Tally::of([true]).all_failed() && !Tally::default().all_failed());
        assert_eq!(tally(1, 2).plus(tally(1, 1)), tally(2, 3));
    }
}
