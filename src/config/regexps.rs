//! Composes regular expressions, in Go's dialect.

use super::file::At;
use super::problem::{Problem, at};
use crate::regexp::Regexp;

pub(super) fn regexps(written: Option<&[At<String>]>, path: &str, key: &str) -> Result<Vec<Regexp>, Problem> {
    let patterns = written.unwrap_or_default().iter();
    patterns.map(|written| regexp(written, path, key)).collect()
}

pub(super) fn regexp(written: &At<String>, path: &str, key: &str) -> Result<Regexp, Problem> {
    Regexp::new(&written.value).map_err(|error| {
        at(
            written,
            path,
            key,
            format!("{:?} is no regular expression: {error}", written.value),
        )
    })
}
