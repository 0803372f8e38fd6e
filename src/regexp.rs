//! Regular expressions in Go's dialect (RE2 with Perl's classes and flags), as the peer's configurations are written in.
//!
//! Our own parser reads Go's syntax; what it means is run by the engine of the `regex` crate, which has the same rules of
//! matching: leftmost, the first alternative wins.

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

/// An expression, ready to search with.
#[derive(Clone)]
pub struct Regexp {
    pattern: Arc<str>,
    /// Shared: what it remembers of texts for speed is, too.
    engine: Arc<Engine>,
    names: Arc<[Option<String>]>,
}

/// Why a text is no expression, in the words of Go's own library.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RegexpError(String);

impl RegexpError {
    fn new(words: &str, place: &str) -> Self {
        Self(format!("{words}: `{place}`"))
    }
}

/// Where an expression and its groups were found, in bytes of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Captures {
    spans: Vec<Option<Range<usize>>>,
    names: Arc<[Option<String>]>,
}

impl Regexp {
    /// Reads an expression.
    ///
    /// # Errors
    /// When it is none in Go's dialect, or too large.
    pub fn new(pattern: &str) -> Result<Self, RegexpError> {
        let parsed = parse::parse(pattern)?;
        Ok(Self {
            engine: engine::engine(pattern, &parsed.hir)?,
            pattern: pattern.into(),
            names: parsed.names.into(),
        })
    }

    /// The expression as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.pattern
    }

    /// Whether it is found anywhere in a text.
    #[must_use]
    pub fn is_match(&self, text: &[u8]) -> bool {
        self.engine.get().is_match(Utf8::of(text).text.as_ref())
    }

    /// The same for a large text: the search asks now and then whether it is over, and ends without a result then.
    #[must_use]
    pub fn is_match_until(&self, text: &[u8], is_over: impl Fn() -> bool) -> Option<bool> {
        match engine::stepper(&self.pattern) {
            Some(dfa) => stepper::is_match(&dfa, text, is_over),
            None => Some(self.is_match(text)),
        }
    }

    /// Where it is found first, with its groups.
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
    /// Where a group was found; 0 is the whole.
    #[must_use]
    pub fn group(&self, index: usize) -> Option<Range<usize>> {
        self.spans.get(index)?.clone()
    }

    /// Where the first group of this name was found that was found at all.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<Range<usize>> {
        let mut of_name = (0..)
            .zip(&*self.names)
            .filter(|(_, known)| known.as_deref() == Some(name));
        of_name.find_map(|(index, _)| self.group(index))
    }
}

/// A text as Go reads it: each byte that is no UTF-8 is a U+FFFD.
struct Utf8<'a> {
    text: Cow<'a, str>,
    /// After each replaced byte: the place in this text, and in the original.
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

    /// The place in the original.
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
