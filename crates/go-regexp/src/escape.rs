//! Escape sequences.

use super::RegexpError;
use super::class::{self, BAD_RANGE};
use regex_syntax::hir::ClassUnicode;

const BAD_ESCAPE: &str = "invalid escape sequence";

/// A parsed escape sequence.
pub(super) enum Escape {
    /// A code point. Go also accepts surrogates.
    Character(u32),
    Class(ClassUnicode),
}

/// Parses an escape sequence at the start of a string. Also returns its length in bytes.
pub(super) fn read(text: &str, fold: bool) -> Result<(Escape, usize), RegexpError> {
    if let Some(found) = class(text, fold)? {
        return Ok(found);
    }
    let (character, length) = character(text)?;
    Ok((Escape::Character(character), length))
}

/// Parses an escaped class: `\d`, `\pL`, `\p{Greek}`.
pub(super) fn class(text: &str, fold: bool) -> Result<Option<(Escape, usize)>, RegexpError> {
    let mut characters = text.chars();
    let (Some('\\'), Some(letter)) = (characters.next(), characters.next()) else {
        return Ok(None);
    };
    if let Some(class) = class::perl(letter, fold) {
        return Ok(Some((Escape::Class(class), 2)));
    }
    if !matches!(letter, 'p' | 'P') {
        return Ok(None);
    }
    let (name, length) = match characters.next() {
        Some('{') => match text.find('}') {
            Some(end) => (&text[3..end], end + 1),
            None => return Err(RegexpError::new(BAD_RANGE, text)),
        },
        Some(one) => (&text[2..2 + one.len_utf8()], 2 + one.len_utf8()),
        None => return Err(RegexpError::new(BAD_RANGE, text)),
    };
    let (inverted, name) = match name.strip_prefix('^') {
        Some(name) => (true, name),
        None => (false, name),
    };
    match class::unicode(name, inverted != (letter == 'P'), fold) {
        Some(class) => Ok(Some((Escape::Class(class), length))),
        None => Err(RegexpError::new(BAD_RANGE, &text[..length])),
    }
}

/// Parses an escaped character and returns its code point.
pub(super) fn character(text: &str) -> Result<(u32, usize), RegexpError> {
    let Some(letter) = text[1..].chars().next() else {
        return Err(RegexpError::new("trailing backslash at end of expression", ""));
    };
    let plain = |character: char| Ok((u32::from(character), 2));
    let read = match letter {
        '0'..='7' => octal(text, letter),
        'x' => hexadecimal(text),
        'a' => plain('\x07'),
        'f' => plain('\x0c'),
        'n' => plain('\n'),
        'r' => plain('\r'),
        't' => plain('\t'),
        'v' => plain('\x0b'),
        _ if letter.is_ascii() && !letter.is_ascii_alphanumeric() => plain(letter),
        _ => Err(1 + letter.len_utf8()),
    };
    read.map_err(|length| RegexpError::new(BAD_ESCAPE, &text[..length]))
}

/// Parses up to three octal digits. A single digit other than 0 would be a backreference, which Go does not support.
fn octal(text: &str, first: char) -> Result<(u32, usize), usize> {
    let digits = text[1..].chars().map_while(|digit| digit.to_digit(8)).take(3);
    let (code, count) = digits.fold((0, 0), |(code, count), digit| (code * 8 + digit, count + 1));
    if count == 1 && first != '0' {
        return Err(2);
    }
    Ok((code, 1 + count))
}

/// Parses `\x7F` or `\x{10FFFF}`. The error is the length of the invalid sequence.
fn hexadecimal(text: &str) -> Result<(u32, usize), usize> {
    let inner = &text[2..];
    if inner.starts_with('{') {
        return braced(text);
    }
    let mut characters = inner.chars();
    let high = characters.next().and_then(|high| high.to_digit(16));
    let low = characters.next().and_then(|low| low.to_digit(16));
    let length = text.len() - characters.as_str().len();
    match (high, low) {
        (Some(high), Some(low)) => Ok((high * 16 + low, length)),
        _ => Err(length),
    }
}

/// Parses `\x{10FFFF}`.
fn braced(text: &str) -> Result<(u32, usize), usize> {
    let begin = "\\x{".len();
    let mut code = 0;
    for (at, character) in text[begin..].char_indices() {
        let length = begin + at + character.len_utf8();
        if character == '}' {
            return if at == 0 { Err(length) } else { Ok((code, length)) };
        }
        code = character
            .to_digit(16)
            .map(|digit| code * 16 + digit)
            .filter(|code| *code <= u32::from(char::MAX))
            .ok_or(length)?;
    }
    Err(text.len())
}
