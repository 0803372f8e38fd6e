//! Errors of a configuration file: file, line, column, key, what is wrong, and what was expected.

use super::file::Spanned;
use crate::limits::cut;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// A place in the text, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Location {
    pub line: u64,
    pub column: u64,
}

impl Location {
    /// Where every text begins.
    pub const START: Self = Self { line: 1, column: 1 };

    /// The problem that is here, with a key.
    pub fn issue(self, key: impl Into<String>, words: impl fmt::Display) -> ConfigIssue {
        ConfigIssue {
            line: self.line,
            column: self.column,
            key: shortened(key.into()),
            words: shortened(words.to_string()),
        }
    }
}

/// Bytes of a text that is shown whole. A longer one quotes a long value: its start and its end say what is wrong and what was
/// expected.
const LONGEST: usize = 1500;

fn shortened(text: String) -> String {
    if text.len() <= LONGEST {
        return text;
    }
    let start = cut(&text, LONGEST * 2 / 3);
    let end = text.ceil_char_boundary(text.len() - LONGEST / 3);
    format!("{start} … {}", &text[end..])
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// One problem and its place in the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigIssue {
    /// Line, from 1.
    pub line: u64,
    /// Column, from 1.
    pub column: u64,
    /// The dotted key; empty where it is not known.
    pub key: String,
    /// What is wrong and what would be right.
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

/// The problem of a value that stands at `key` below `path`.
pub(super) fn at<T>(value: &Spanned<T>, path: &str, key: &str, words: impl fmt::Display) -> ConfigIssue {
    value.location.issue(super::tree::below(path, key), words)
}

/// A configuration file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file itself.
    #[error("error reading config file {}: {words}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        words: String,
    },
    /// It, or a file that it names, did not come in time.
    #[error("error reading config file {}: {words}", path.display())]
    Hanging {
        /// Which file.
        path: PathBuf,
        /// What took too long.
        words: &'static str,
    },
    /// Its content.
    #[error("error parsing config file: {}:{issue}", path.display())]
    Invalid {
        /// Which file.
        path: PathBuf,
        /// What and where.
        issue: ConfigIssue,
    },
}

impl ConfigError {
    pub(super) fn unreadable(path: &Path, error: &io::Error) -> Self {
        let words = match error.kind() {
            io::ErrorKind::InvalidData => "it holds bytes that are no UTF-8; save it as UTF-8".to_owned(),
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
