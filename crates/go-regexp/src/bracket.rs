//! Bracket expressions.

use super::RegexpError;
use super::class::{self, BAD_RANGE, folded};
use super::escape::{self, Escape};
use regex_syntax::hir::{ClassUnicode, ClassUnicodeRange};

const MISSING_BRACKET: &str = "missing closing ]";

/// A parsed class and the length of its source text in bytes.
pub(super) struct Bracket {
    pub class: ClassUnicode,
    pub length: usize,
}

/// Parses `[…]` at the start of a string.
pub(super) fn parse(text: &str, fold: bool) -> Result<Bracket, RegexpError> {
    let negated = text[1..].starts_with('^');
    let mut at = 1 + usize::from(negated);
    let mut class = ClassUnicode::empty();
    let mut first = true;
    loop {
        let rest = &text[at..];
        if rest.starts_with(']') && !first {
            break;
        }
        first = false;
        if let Some((named, length)) = posix(rest, fold)? {
            class.union(&named);
            at += length;
            continue;
        }
        if let Some((Escape::Class(escaped), length)) = escape::class(rest, fold)? {
            class.union(&escaped);
            at += length;
            continue;
        }
        let from = at;
        let low = character(text, &mut at)?;
        let mut high = low;
        // A hyphen before the closing bracket is a literal.
        if text[at..].starts_with('-') && text[at + 1..].chars().next().is_some_and(|next| next != ']') {
            at += 1;
            high = character(text, &mut at)?;
            if high < low {
                return Err(RegexpError::new(BAD_RANGE, &text[from..at]));
            }
        }
        let range = span(low, high);
        class.union(&if fold { folded(range) } else { range });
    }
    if negated {
        class.negate();
    }
    Ok(Bracket { class, length: at + 1 })
}

/// Returns a range of code points. Go accepts surrogates as characters, but no string contains them.
fn span(low: u32, high: u32) -> ClassUnicode {
    let low = char::from_u32(low).unwrap_or('\u{e000}');
    let high = char::from_u32(high).unwrap_or('\u{d7ff}');
    let range = (low <= high).then(|| ClassUnicodeRange::new(low, high));
    ClassUnicode::new(range)
}

/// Parses one character within brackets and returns its code point.
fn character(text: &str, at: &mut usize) -> Result<u32, RegexpError> {
    let rest = &text[*at..];
    let Some(next) = rest.chars().next() else {
        return Err(RegexpError::new(MISSING_BRACKET, text));
    };
    if next != '\\' {
        *at += next.len_utf8();
        return Ok(next.into());
    }
    let (character, length) = escape::character(rest)?;
    *at += length;
    Ok(character)
}

/// Parses `[:name:]` or `[:^name:]`. Returns `None` if the string does not start with a POSIX class.
fn posix(text: &str, fold: bool) -> Result<Option<(ClassUnicode, usize)>, RegexpError> {
    let Some((inner, _)) = text.strip_prefix("[:").and_then(|rest| rest.split_once(":]")) else {
        return Ok(None);
    };
    let length = inner.len() + "[::]".len();
    let (negated, name) = match inner.strip_prefix('^') {
        Some(name) => (true, name),
        None => (false, inner),
    };
    match class::posix(name, negated, fold) {
        Some(class) => Ok(Some((class, length))),
        None => Err(RegexpError::new(BAD_RANGE, &text[..length])),
    }
}
