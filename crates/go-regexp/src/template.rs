//! Templates with references to groups, as in Go's `Regexp.Expand`.

use super::Captures;
use super::class;
use regex_syntax::hir::ClassUnicode;
use std::ops::Range;
use std::sync::LazyLock;

/// Characters of a name in Go: letters, decimal digits and `_`. Rust's `is_alphanumeric` accepts more characters.
static OF_NAMES: LazyLock<Option<ClassUnicode>> = LazyLock::new(|| class::table(r"[\pL\p{Nd}_]"));

/// Expands `$1`, `${1}`, `$name` and `${name}`; `$$` is a dollar sign. `$1x` refers to the group named `1x`. A group
/// that is unmatched or unknown expands to nothing. A dollar sign that does not start a reference is kept.
#[must_use]
pub fn expand(template: &[u8], text: &[u8], captures: &Captures) -> Vec<u8> {
    let mut filled = Vec::with_capacity(template.len());
    let mut rest = template;
    while let Some(dollar) = rest.iter().position(|byte| *byte == b'$') {
        filled.extend_from_slice(&rest[..dollar]);
        rest = &rest[dollar + 1..];
        if let Some(after) = rest.strip_prefix(b"$") {
            filled.push(b'$');
            rest = after;
            continue;
        }
        match name(rest) {
            Some((name, length)) => {
                if let Some(span) = find(name, captures) {
                    filled.extend_from_slice(text.get(span).unwrap_or_default());
                }
                rest = &rest[length..];
            }
            None => filled.push(b'$'),
        }
    }
    filled.extend_from_slice(rest);
    filled
}

/// Parses the name after a dollar sign. Returns the name and the length of its source text in bytes.
fn name(text: &[u8]) -> Option<(&str, usize)> {
    let (inner, braces) = match text.strip_prefix(b"{") {
        Some(inner) => (inner, true),
        None => (text, false),
    };
    let valid = inner.utf8_chunks().next().map_or("", |chunk| chunk.valid());
    let end = valid.find(|c| !is_of_names(c)).unwrap_or(valid.len());
    let name = &valid[..end];
    match (name.is_empty(), braces) {
        (true, _) => None,
        (false, false) => Some((name, end)),
        (false, true) => (inner.get(end) == Some(&b'}')).then_some((name, end + 2)),
    }
}

fn is_of_names(character: char) -> bool {
    if character.is_ascii() {
        return character.is_ascii_alphanumeric() || character == '_';
    }
    let mut ranges = OF_NAMES.iter().flat_map(ClassUnicode::iter);
    ranges.any(|range| (range.start()..=range.end()).contains(&character))
}

/// Finds a group. All digits is an index, unless there is a leading zero or the number is too large; it is then a name,
/// as in Go.
fn find(name: &str, captures: &Captures) -> Option<Range<usize>> {
    let has_zero = name.len() > 1 && name.starts_with('0');
    if name.bytes().all(|byte| byte.is_ascii_digit()) && name.len() < 10 && !has_zero {
        return captures.group(name.parse().ok()?);
    }
    captures.named(name)
}
