//! Regular expressions in Go's dialect (RE2 with Perl classes and flags), as in the configurations of
//! `blackbox_exporter`.
//!
//! A custom parser reads Go's syntax. The engine of the `regex` crate executes the result. It has the same matching
//! rules: leftmost match, first alternative wins.
#![forbid(unsafe_code)]

mod bracket;
mod class;
mod engine;
mod escape;
mod parse;
mod stepper;
mod template;

pub use template::expand;

use engine::Engine;
use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// A compiled expression.
#[derive(Clone)]
pub struct Regexp {
    pattern: Arc<str>,
    /// Shared by clones, including its caches.
    engine: Arc<Engine>,
    names: Arc<[Option<String>]>,
}

/// Error of an invalid expression, with the wording of Go's library.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RegexpError(String);

impl RegexpError {
    fn new(words: &str, place: &str) -> Self {
        Self(format!("{words}: `{place}`"))
    }
}

/// Byte ranges of a match and its groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Captures {
    spans: Vec<Option<Range<usize>>>,
    names: Arc<[Option<String>]>,
}

impl Regexp {
    /// Compiles an expression.
    ///
    /// # Errors
    /// When the expression is invalid in Go's dialect, or too large.
    pub fn new(pattern: &str) -> Result<Self, RegexpError> {
        let parsed = parse::parse(pattern)?;
        Ok(Self {
            engine: engine::engine(pattern, &parsed.hir)?,
            pattern: pattern.into(),
            names: parsed.names.into(),
        })
    }

    /// Returns the unmodified expression.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.pattern
    }

    /// Whether the expression matches anywhere in a string.
    #[must_use]
    pub fn is_match(&self, text: &[u8]) -> bool {
        self.engine.get().is_match(Utf8::of(text).text.as_ref())
    }

    /// Like [`Self::is_match`], for a large string. Calls `is_over` periodically, and returns `None` once it returns
    /// true.
    #[must_use]
    pub fn is_match_until(&self, text: &[u8], is_over: impl Fn() -> bool) -> Option<bool> {
        match engine::stepper(&self.pattern) {
            Some(dfa) => stepper::is_match(&dfa, text, is_over),
            None => Some(self.is_match(text)),
        }
    }

    /// Returns the first match with its groups.
    #[must_use]
    pub fn captures(&self, text: &[u8]) -> Option<Captures> {
        let utf8 = Utf8::of(text);
        let engine = self.engine.get();
        let mut found = engine.create_captures();
        engine.captures(utf8.text.as_ref(), &mut found);
        found.is_match().then(|| Captures {
            spans: found
                .iter()
                .map(|span| span.map(|span| utf8.place(span.start)..utf8.place(span.end)))
                .collect(),
            names: self.names.clone(),
        })
    }
}

impl fmt::Debug for Regexp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Regexp({:?})", self.pattern)
    }
}

impl Captures {
    /// Returns the range of a group. Group 0 is the whole match.
    #[must_use]
    pub fn group(&self, index: usize) -> Option<Range<usize>> {
        self.spans.get(index)?.clone()
    }

    /// Returns the range of the first matched group with this name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<Range<usize>> {
        let mut of_name = (0..)
            .zip(&*self.names)
            .filter(|(_, known)| known.as_deref() == Some(name));
        of_name.find_map(|(index, _)| self.group(index))
    }
}

/// A string as Go reads it: U+FFFD replaces each byte that is not valid UTF-8.
struct Utf8<'a> {
    text: Cow<'a, str>,
    /// For each replaced byte, the position after it in this string and in the original.
    replaced: Vec<(usize, usize)>,
}

impl<'a> Utf8<'a> {
    fn of(bytes: &'a [u8]) -> Self {
        if let Ok(text) = std::str::from_utf8(bytes) {
            return Self {
                text: text.into(),
                replaced: Vec::new(),
            };
        }
        let (mut text, mut replaced, mut at) = (String::with_capacity(bytes.len()), Vec::new(), 0);
        for chunk in bytes.utf8_chunks() {
            text.push_str(chunk.valid());
            at += chunk.valid().len();
            for _ in chunk.invalid() {
                text.push(char::REPLACEMENT_CHARACTER);
                at += 1;
                replaced.push((text.len(), at));
            }
        }
        Self {
            text: text.into(),
            replaced,
        }
    }

    /// Converts a position in this string to the position in the original.
    fn place(&self, at: usize) -> usize {
        let before = self.replaced.partition_point(|(place, _)| *place <= at);
        match before.checked_sub(1).map(|last| self.replaced[last]) {
            None => at,
            Some((place, original)) => original + (at - place),
        }
    }
}

#[cfg(test)]
mod tests;
