//! What is asserted of a body: looked at off the runtime where that may take long, so that no other probe waits for it.

use super::JsonAssertions;
use crate::check::{BRIEF, Late, aside};
use crate::limits::Limits;
use crate::reason::Reason;
use crate::regexp::Regexp;
use std::sync::Arc;
use std::time::{Duration, Instant};

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

    /// What is wrong with a body, told within `time`.
    pub(super) async fn objection(
        self: &Arc<Self>,
        body: Vec<u8>,
        limits: &Limits,
        time: Duration,
    ) -> Option<(Reason, String)> {
        if self.is_empty() {
            return None;
        }
        let until = Instant::now() + time;
        let most_values = limits.json_values;
        if body.len() <= BRIEF && self.json.is_empty() {
            return self.judge(&body, most_values);
        }
        let place = match self.json.place(time).await {
            Ok(place) => place,
            Err(words) => return Some((Reason::LocalOverloaded, words)),
        };
        let assertions = self.clone();
        let judging = aside(until, move || {
            let _place = place;
            assertions.judge(&body, most_values)
        });
        let reason = if self.matches_text() {
            Reason::ContentBody
        } else {
            Reason::ContentJson
        };
        let (reason, words) = match judging.await {
            Ok(objection) => return objection,
            Err(Late::Slow) => (reason, "The assertion on the body took all of the probe's time."),
            Err(Late::NotBegun) => (
                Reason::LocalOverloaded,
                "Other work left no thread to evaluate the assertion on the body with in time.",
            ),
        };
        Some((reason, words.to_owned()))
    }

    fn judge(&self, body: &[u8], most_values: usize) -> Option<(Reason, String)> {
        let unwanted = self.fail_if_matches.iter().find(|pattern| pattern.is_match(body));
        let missing = || self.fail_if_not_matches.iter().find(|pattern| !pattern.is_match(body));
        let said = |words: &str, pattern: &Regexp| format!("The body {words} {:?}.", pattern.as_str());
        let objection = match unwanted {
            Some(pattern) => Some(said("matches", pattern)),
            None => missing().map(|pattern| said("does not match", pattern)),
        };
        match objection {
            Some(words) => Some((Reason::ContentBody, words)),
            None => self.json.objection(body, most_values),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{BRIEF, BodyAssertions};
    use crate::limits::Limits;
    use crate::reason::Reason;
    use crate::regexp::Regexp;
    use std::sync::{Arc, mpsc};
    use std::time::Duration;
    use tokio::runtime::Builder;
    use tokio::sync::oneshot;

    #[test]
    fn a_body_that_was_never_looked_at_is_not_blamed() {
        let mut builder = Builder::new_current_thread();
        let runtime = builder.enable_time().max_blocking_threads(1).build().unwrap();
        let assertions = Arc::new(BodyAssertions {
            fail_if_not_matches: vec![Regexp::new("x").unwrap()],
            ..BodyAssertions::default()
        });
        runtime.block_on(async {
            let (let_go, held) = mpsc::channel::<()>();
            let (begins, begun) = oneshot::channel();
            let other_work = tokio::task::spawn_blocking(move || {
                begins.send(()).unwrap();
                held.recv().unwrap();
            });
            begun.await.unwrap();
            let judge = async |time| {
                let body = vec![b'x'; BRIEF + 1];
                assertions.objection(body, &Limits::default(), time).await
            };
            let (reason, words) = judge(Duration::ZERO).await.unwrap();
            assert_eq!(reason, Reason::LocalOverloaded, "{words}");
            let_go.send(()).unwrap();
            other_work.await.unwrap();
            assert_eq!(judge(Duration::from_mins(1)).await, None);
        });
    }
}
