//! The error of a configuration file that cannot be used.

use glassbox_probe::file::ConfigIssue;
use std::io;
use std::path::{Path, PathBuf};

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
