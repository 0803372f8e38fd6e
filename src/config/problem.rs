//! What is wrong with a configuration: file, line, column, key, what is wrong, and what would be right.

use super::file::At;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// One problem and its place in the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Line, from 1; 0 where the place is not known.
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
        if self.line > 0 {
            write!(f, "{}:{}: ", self.line, self.column)?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.words)
    }
}

/// The problem of a value that stands at `key` below `path`.
pub(super) fn at<T>(value: &At<T>, path: &str, key: &str, words: impl fmt::Display) -> Problem {
    Problem {
        line: value.defined.line(),
        column: value.defined.column(),
        key: format!("{path}.{key}"),
        words: words.to_string(),
    }
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
        Self::Unreadable {
            path: path.to_owned(),
            words: error.to_string(),
        }
    }

    pub(super) fn invalid(path: &Path, problem: Problem) -> Self {
        Self::Invalid {
            path: path.to_owned(),
            problem,
        }
    }
}
