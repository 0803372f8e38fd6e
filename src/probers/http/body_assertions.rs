//! Assertions on a response body. Large bodies are searched outside the async runtime, so that no other probe waits.

use super::JsonAssertions;
use crate::check::{BRIEF, BlockingError, KeptBody, WorkLimits, WorkStopped, compute};
use crate::reason::Reason;
use crate::regexp::Regexp;
use std::sync::Arc;
use std::time::Instant;

/// The assertions of a module on its body.
#[derive(Clone, Debug, Default)]
pub struct BodyAssertions {
    /// Fail if any of these is found in it.
    pub fail_if_matches: Vec<Regexp>,
    /// Fail if any of these is not found in it.
    pub fail_if_not_matches: Vec<Regexp>,
    /// What is asserted of its JSON.
    pub json: JsonAssertions,
}

impl BodyAssertions {
    /// Whether nothing is asserted.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        !self.matches_text() && self.json.is_empty()
    }

    /// Whether regular expressions are looked for.
    #[must_use]
    pub const fn matches_text(&self) -> bool {
        !self.fail_if_matches.is_empty() || !self.fail_if_not_matches.is_empty()
    }

    /// What is wrong with a body of at most so many JSON values, as far as that can be told in time.
    pub(super) async fn objection(
        self: &Arc<Self>,
        body: KeptBody,
        most_values: usize,
        work_limits: WorkLimits,
    ) -> Option<(Reason, String)> {
        if self.is_empty() {
            return None;
        }
        if body.len() <= BRIEF && self.json.is_empty() {
            return self.judge_text(|pattern| Ok(pattern.is_match(&body))).unwrap_or(None);
        }
        let time = work_limits.until.saturating_duration_since(Instant::now());
        let place = match self.json.place(time).await {
            Ok(place) => place,
            Err(words) => return Some((Reason::LocalOverloaded, words)),
        };
        let assertions = self.clone();
        let WorkLimits { until, host, memory } = work_limits;
        let judging = compute(host, until, move |clock| {
            let _place = place;
            let objection = assertions
                .judge_text(|pattern| pattern.is_match_until(&body, || clock.is_over()).ok_or(WorkStopped))?;
            match objection {
                Some(objection) => Ok(Some(objection)),
                None => assertions.json.objection(&body, most_values, clock, &memory),
            }
        });
        let reason = if self.matches_text() {
            Reason::ContentBody
        } else {
            Reason::ContentJson
        };
        let (reason, words) = match judging.await {
            Ok(objection) => return objection,
            Err(BlockingError::Slow) => (reason, "The assertion on the body took all of the probe's time."),
            Err(BlockingError::NotBegun | BlockingError::Starved) => (
                Reason::LocalOverloaded,
                "Other work left no thread, or not enough of a processor, to evaluate the assertion on the body in time.",
            ),
        };
        Some((reason, words.to_owned()))
    }

    /// What regular expressions object to.
    fn judge_text(
        &self,
        finds: impl Fn(&Regexp) -> Result<bool, WorkStopped>,
    ) -> Result<Option<(Reason, String)>, WorkStopped> {
        let said = |words: &str, pattern: &Regexp| {
            let words = format!("The body {words} {:?}.", pattern.as_str());
            Ok(Some((Reason::ContentBody, words)))
        };
        for pattern in &self.fail_if_matches {
            if finds(pattern)? {
                return said("matches", pattern);
            }
        }
        for pattern in &self.fail_if_not_matches {
            if !finds(pattern)? {
                return said("does not match", pattern);
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::{BRIEF, BodyAssertions};
    use crate::check::{FairnessKey, ProbeMemory, WorkLimits};
    use crate::reason::Reason;
    use crate::regexp::Regexp;
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    #[tokio::test]
    async fn a_body_that_was_never_looked_at_is_not_blamed() {
        let assertions = Arc::new(BodyAssertions {
            fail_if_not_matches: vec![Regexp::new("x").unwrap()],
            ..BodyAssertions::default()
        });
        let judge = async |time| {
            let work_limits = WorkLimits {
                until: Instant::now() + time,
                host: FairnessKey::of("a"),
                memory: ProbeMemory::default(),
            };
            assertions
                .objection(vec![b'x'; BRIEF + 1].into(), 10, work_limits)
                .await
        };
        let (reason, words) = judge(Duration::ZERO).await.unwrap();
        assert_eq!(reason, Reason::LocalOverloaded, "{words}");
        assert_eq!(judge(Duration::from_mins(1)).await, None);
    }
}
