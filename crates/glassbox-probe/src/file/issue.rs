//! Errors and warnings about a configuration file, with line, column, key, the invalid value and what was expected.

use std::fmt;

/// A location in the file. Lines and columns start at 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location {
    /// Line, from 1.
    pub line: u64,
    /// Column, from 1.
    pub column: u64,
}

impl Location {
    /// The start of the file.
    pub const START: Self = Self { line: 1, column: 1 };

    /// Creates an issue at this location.
    #[must_use]
    pub fn issue(self, key: impl Into<String>, words: impl fmt::Display) -> ConfigIssue {
        ConfigIssue {
            line: self.line,
            column: self.column,
            key: shortened(key.into()),
            words: shortened(words.to_string()),
            unknown: None,
        }
    }
}

/// Maximum bytes of a message. A longer message quotes a long value. Its middle is cut, because the start names the
/// problem and the end names what was expected.
const LONGEST: usize = 1500;

fn shortened(text: String) -> String {
    if text.len() <= LONGEST {
        return text;
    }
    let start = &text[..text.floor_char_boundary(LONGEST * 2 / 3)];
    let end = text.ceil_char_boundary(text.len() - LONGEST / 3);
    format!("{start} … {}", &text[end..])
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// An error or a warning and its location in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigIssue {
    /// Line, from 1.
    pub line: u64,
    /// Column, from 1.
    pub column: u64,
    /// The dotted key. Empty if the key is unknown.
    pub key: String,
    /// The problem and what was expected.
    pub words: String,
    /// The key, if it is unknown.
    pub unknown: Option<UnknownKey>,
}

/// A key that its block does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownKey {
    /// The name in the file.
    pub name: String,
    /// Whether the words already contain the intended key.
    pub is_explained: bool,
}

impl fmt::Display for ConfigIssue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.line, self.column)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.words)
    }
}

#[cfg(test)]
mod tests {
    use super::{LONGEST, Location};

    #[test]
    fn an_issue_about_a_long_value_keeps_what_was_expected() {
        for letter in ["x", "é", "\u{1f980}"] {
            let words = format!("{:?} is not a prober; write http", letter.repeat(9000));
            let issue = Location::START.issue("a".repeat(9000), words);
            assert!(issue.to_string().len() < 2 * LONGEST + 100);
            assert!(issue.words.ends_with("is not a prober; write http"), "{issue}");
        }
        assert_eq!(Location::START.issue("key", "short").to_string(), "1:1: key: short");
    }
}
