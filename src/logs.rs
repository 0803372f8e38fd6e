//! Log lines: their format, and the writer to stderr.

mod lines;
mod writer;

pub use lines::LogLines;
pub use writer::{dropped_log_lines, flush_logs};

use clap::ValueEnum;

/// A log format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// `key=value` pairs.
    Logfmt,
    /// One JSON object per line.
    Json,
}
