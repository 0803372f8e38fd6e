//! Errors in a configuration file. An error has the file, line, column, key, the invalid value and what was expected.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// A location in the file. Lines and columns start at 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Location {
    pub line: u64,
    pub column: u64,
}

impl Location {
    /// The start of the file.
    pub const START: Self = Self { line: 1, column: 1 };

    /// Creates an issue at this location.
    pub fn issue(self, key: impl Into<String>, words: impl fmt::Display) -> ConfigIssue {
        ConfigIssue {
            line: self.line,
            column: self.column,
            key: shortened(key.into()),
            words: shortened(words.to_string()),
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

/// A configuration file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("error reading config file {}: {words}", path.display())]
    Unreadable {
        /// Path of the file.
        path: PathBuf,
        /// Reason.
        words: String,
    },
    /// Reading the file, or a file named in it, takes too long.
    #[error("error reading config file {}: {words}", path.display())]
    Hanging {
        /// Path of the file.
        path: PathBuf,
        /// The operation that takes too long.
        words: &'static str,
    },
    /// The content of the file is invalid.
    #[error("error parsing config file: {}:{issue}", path.display())]
    Invalid {
        /// Path of the file.
        path: PathBuf,
        /// The error and its location.
        issue: ConfigIssue,
    },
}

impl ConfigError {
    pub(super) fn unreadable(path: &Path, error: &io::Error) -> Self {
        let words = match error.kind() {
            io::ErrorKind::InvalidData => "the file is not valid UTF-8; save it as UTF-8".to_owned(),
            _ => error.to_string(),
        };
        Self::Unreadable {
            path: path.to_owned(),
            words,
        }
    }

    pub(super) fn invalid(path: &Path, issue: ConfigIssue) -> Self {
        Self::Invalid {
            path: path.to_owned(),
            issue,
        }
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
