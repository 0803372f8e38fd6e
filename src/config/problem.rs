//! What is wrong with a configuration: file, line, column, key, what is wrong, and what would be right.

use super::file::At;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// A place in the text, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub line: u64,
    pub column: u64,
}

impl Place {
    /// Where every text begins.
    pub const START: Self = Self { line: 1, column: 1 };

    /// The problem that is here, with a key.
    pub fn problem(self, key: impl Into<String>, words: impl fmt::Display) -> Problem {
        Problem {
            line: self.line,
            column: self.column,
            key: key.into(),
            words: words.to_string(),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// One problem and its place in the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Line, from 1.
    pub line: u64,
    /// Column, from 1.
    pub column: u64,
    /// The dotted key; empty where it is not known.
    pub key: String,
    /// What is wrong and what would be right.
    pub words: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.line, self.column)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.words)
    }
}

/// The problem of a value that stands at `key` below `path`.
pub(super) fn at<T>(value: &At<T>, path: &str, key: &str, words: impl fmt::Display) -> Problem {
    value.place.problem(super::tree::below(path, key), words)
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
    /// Its content.
    #[error("error parsing config file: {}:{problem}", path.display())]
    Invalid {
        /// Which file.
        path: PathBuf,
        /// What and where.
        problem: Problem,
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

    pub(super) fn invalid(path: &Path, problem: Problem) -> Self {
        Self::Invalid {
            path: path.to_owned(),
            problem,
        }
    }
}
