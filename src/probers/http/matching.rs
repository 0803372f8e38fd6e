//! What is asserted of a body: looked at off the runtime where that may take long, so that no other probe waits for it.

use super::JsonAssertions;
use crate::limits::Limits;
use crate::reason::Reason;
use crate::regexp::Regexp;
use std::sync::Arc;
use std::time::Duration;

/// Bytes of a body that are matched before anybody else would have noticed.
const AT_ONCE: usize = 16 * 1024;

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
        let most_values = limits.json_values;
        if body.len() <= AT_ONCE && self.json.is_empty() {
            return self.judge(&body, most_values);
        }
        let place = match self.json.place(time).await {
            Ok(place) => place,
            Err(words) => return Some((Reason::LocalOverloaded, words)),
        };
        let assertions = self.clone();
        let judging = tokio::task::spawn_blocking(move || {
            let _place = place;
            assertions.judge(&body, most_values)
        });
        let reason = if self.matches_text() {
            Reason::ContentBody
        } else {
            Reason::ContentJson
        };
        match tokio::time::timeout(time, judging).await {
            Ok(Ok(objection)) => objection,
            Ok(Err(error)) => match error.try_into_panic() {
                // It is our own, and fails this probe as any other would.
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Some((reason, "The assertion on the body could not be evaluated.".to_owned())),
            },
            Err(_) => Some((
                reason,
                "The assertion on the body took all of the probe's time.".to_owned(),
            )),
        }
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
