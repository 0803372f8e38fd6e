//! Compiles regular expressions in Go's syntax.

use super::issue::ConfigIssue;
use super::read::{Spanned, at};
use go_regexp::Regexp;

/// Compiles the expressions of a key.
///
/// # Errors
/// If an expression is invalid.
pub fn regexps(written: Option<&[Spanned<String>]>, path: &str, key: &str) -> Result<Vec<Regexp>, ConfigIssue> {
    let patterns = written.unwrap_or_default().iter();
    patterns.map(|written| regexp(written, path, key)).collect()
}

/// Compiles an expression.
///
/// # Errors
/// If it is invalid.
pub fn regexp(written: &Spanned<String>, path: &str, key: &str) -> Result<Regexp, ConfigIssue> {
    Regexp::new(&written.value).map_err(|error| {
        at(
            written,
            path,
            key,
            format!("invalid regular expression {:?}: {error}", written.value),
        )
    })
}
