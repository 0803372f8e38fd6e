//! Templates that are filled with what was found: Go's `Regexp.Expand`.

use super::Captures;
use super::class;
use regex_syntax::hir::ClassUnicode;
use std::ops::Range;
use std::sync::LazyLock;

/// What a name is made of in Go: letters, decimal digits and `_`. Rust's `is_alphanumeric` takes more than that.
static OF_NAMES: LazyLock<Option<ClassUnicode>> = LazyLock::new(|| class::table(r"[\pL\p{Nd}_]"));

/// Fills `$1`, `${1}`, `$name` and `${name}`; `$$` is a dollar. `$1x` is the group named `1x`. A group that was not found,
/// or that there is not, gives nothing; a dollar that begins none of these stays.
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

/// The name behind a dollar, and how many bytes it was written in.
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

/// Digits are an index, but for those with a needless zero and those that are too many: to Go, they are a name.
fn find(name: &str, captures: &Captures) -> Option<Range<usize>> {
    let has_zero = name.len() > 1 && name.starts_with('0');
    if name.bytes().all(|byte| byte.is_ascii_digit()) && name.len() < 10 && !has_zero {
        return captures.group(name.parse().ok()?);
    }
    captures.named(name)
}
