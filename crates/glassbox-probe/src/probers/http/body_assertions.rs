//! Assertions on a response body. Large bodies are searched outside the async runtime, so that other probes do not
//! wait.

use super::JsonAssertions;
use crate::check::{BRIEF, BlockingError, KeptBody, WorkLimits, WorkStopped, compute};
use glassbox_verdict::reason::Reason;
use go_regexp::Regexp;
use std::sync::Arc;
use std::time::Instant;

/// A module's assertions on the body.
#[derive(Clone, Debug, Default)]
pub struct BodyAssertions {
    /// Fail if any of these matches.
    pub fail_if_matches: Vec<Regexp>,
    /// Fail if any of these does not match.
    pub fail_if_not_matches: Vec<Regexp>,
    /// Assertions on the JSON document.
    pub json: JsonAssertions,
}

impl BodyAssertions {
    /// Whether there are no assertions.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        !self.matches_text() && self.json.is_empty()
    }

    /// Whether there are regular expressions.
    #[must_use]
    pub const fn matches_text(&self) -> bool {
        !self.fail_if_matches.is_empty() || !self.fail_if_not_matches.is_empty()
    }

    /// Which assertion failed for a body of up to `most_values` JSON values. The evaluation ends at the deadline of the
    /// probe.
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
            Err(BlockingError::Slow) => (
                reason,
                "The assertion on the body was not evaluated before the deadline.",
            ),
            Err(BlockingError::NotBegun | BlockingError::Starved) => (
                Reason::LocalOverloaded,
                "The exporter had no free thread or too little CPU time to evaluate the assertion on the body.",
            ),
        };
        Some((reason, words.to_owned()))
    }

    /// Which regular expression failed.
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
    use glassbox_verdict::reason::Reason;
    use go_regexp::Regexp;
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
