//! Character classes: in brackets, by POSIX' names, by Perl's letters, by Unicode's names.

use super::RegexpError;
use super::escape::{self, Escape};
use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Class, ClassUnicode, ClassUnicodeRange, HirKind};

pub(super) const BAD_RANGE: &str = "invalid character class range";
const MISSING_BRACKET: &str = "missing closing ]";

/// POSIX' classes, of ASCII only.
const POSIX: [(&str, &[(char, char)]); 14] = [
    ("alnum", &[('0', '9'), ('A', 'Z'), ('a', 'z')]),
    ("alpha", &[('A', 'Z'), ('a', 'z')]),
    ("ascii", &[('\0', '\x7f')]),
    ("blank", &[('\t', '\t'), (' ', ' ')]),
    ("cntrl", &[('\0', '\x1f'), ('\x7f', '\x7f')]),
    ("digit", &[('0', '9')]),
    ("graph", &[('!', '~')]),
    ("lower", &[('a', 'z')]),
    ("print", &[(' ', '~')]),
    ("punct", &[('!', '/'), (':', '@'), ('[', '`'), ('{', '~')]),
    ("space", &[('\t', '\r'), (' ', ' ')]),
    ("upper", &[('A', 'Z')]),
    ("word", &[('0', '9'), ('A', 'Z'), ('a', 'z'), ('_', '_')]),
    ("xdigit", &[('0', '9'), ('A', 'F'), ('a', 'f')]),
];

/// What `\s` is: unlike POSIX' space without the vertical tab.
const PERL_SPACE: &[(char, char)] = &[('\t', '\n'), ('\x0c', '\r'), (' ', ' ')];

/// The scripts whose full names have four letters. Other names of four letters are codes, which Go does not know.
const SHORT_SCRIPTS: [&str; 9] = ["ahom", "cham", "kawi", "lisu", "miao", "modi", "newa", "thai", "toto"];

/// A class that was read, and how many bytes it was written in.
pub(super) struct Bracket {
    pub class: ClassUnicode,
    pub length: usize,
}

/// Reads `[…]` at the begin of a text.
pub(super) fn bracket(text: &str, fold: bool) -> Result<Bracket, RegexpError> {
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
        // A hyphen before the end is one.
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

/// From one code to another. Halves of UTF-16 pairs are characters to Go, but are in no text.
fn span(low: u32, high: u32) -> ClassUnicode {
    let low = char::from_u32(low).unwrap_or('\u{e000}');
    let high = char::from_u32(high).unwrap_or('\u{d7ff}');
    let range = (low <= high).then(|| ClassUnicodeRange::new(low, high));
    ClassUnicode::new(range)
}

/// The code of one character within brackets.
fn character(class: &str, at: &mut usize) -> Result<u32, RegexpError> {
    let rest = &class[*at..];
    let Some(next) = rest.chars().next() else {
        return Err(RegexpError::new(MISSING_BRACKET, class));
    };
    if next != '\\' {
        *at += next.len_utf8();
        return Ok(next.into());
    }
    let (character, length) = escape::character(rest)?;
    *at += length;
    Ok(character)
}

/// `[:name:]` or `[:^name:]`; `None` where there is none.
fn posix(text: &str, fold: bool) -> Result<Option<(ClassUnicode, usize)>, RegexpError> {
    let Some((inner, _)) = text.strip_prefix("[:").and_then(|rest| rest.split_once(":]")) else {
        return Ok(None);
    };
    let length = inner.len() + "[::]".len();
    let (negated, name) = match inner.strip_prefix('^') {
        Some(name) => (true, name),
        None => (false, inner),
    };
    match POSIX.iter().find(|(known, _)| *known == name) {
        Some((_, ranges)) => Ok(Some((of(ranges, negated, fold), length))),
        None => Err(RegexpError::new(BAD_RANGE, &text[..length])),
    }
}

/// `\d`, `\s`, `\w` and their opposites.
pub(super) fn perl(letter: char, fold: bool) -> Option<ClassUnicode> {
    let posix = |name| {
        POSIX
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, ranges)| *ranges)
    };
    let ranges = match letter.to_ascii_lowercase() {
        'd' => posix("digit")?,
        's' => PERL_SPACE,
        'w' => posix("word")?,
        _ => return None,
    };
    Some(of(ranges, letter.is_ascii_uppercase(), fold))
}

fn of(ranges: &[(char, char)], negated: bool, fold: bool) -> ClassUnicode {
    let class = ClassUnicode::new(ranges.iter().map(|(low, high)| ClassUnicodeRange::new(*low, *high)));
    let mut class = if fold { folded(class) } else { class };
    if negated {
        class.negate();
    }
    class
}

/// A general category or a script of Unicode, by its name. As in Go since 1.25, case and what joins words are ignored.
pub(super) fn unicode(name: &str, negated: bool, fold: bool) -> Option<ClassUnicode> {
    let name = name.replace(['_', '-', ' '], "").to_ascii_lowercase();
    // The library skips an `is` that Go does not.
    if name.is_empty() || name.starts_with("is") || !name.bytes().all(|byte| byte.is_ascii_lowercase()) {
        return None;
    }
    let by = |property| table(&format!("\\p{{{property}={name}}}"));
    let is_code = name.len() == 4 && !SHORT_SCRIPTS.contains(&name.as_str());
    let mut class = match name.as_str() {
        // Halves of UTF-16 pairs, which the library has no table of.
        "cs" | "surrogate" => ClassUnicode::empty(),
        _ => by("gc").or_else(|| by("sc").filter(|_| !is_code))?,
    };
    if fold {
        class = folded(class);
    }
    if negated {
        class.negate();
    }
    Some(class)
}

/// The tables are those of the library.
pub(super) fn table(property: &str) -> Option<ClassUnicode> {
    let hir = ParserBuilder::new().build().parse(property).ok()?;
    match hir.into_kind() {
        HirKind::Class(Class::Unicode(class)) => Some(class),
        // A table of one character, such as that of `Zl`.
        HirKind::Literal(only) => {
            let only = std::str::from_utf8(&only.0).ok()?.chars();
            Some(ClassUnicode::new(only.map(|one| ClassUnicodeRange::new(one, one))))
        }
        _ => None,
    }
}

/// With the other cases of its letters.
pub(super) fn folded(mut class: ClassUnicode) -> ClassUnicode {
    // Fails only where the library was built without its tables; then the case of ASCII is folded by nobody either.
    if class.try_case_fold_simple().is_err() {
        debug_assert!(false, "the tables of cases are built in");
    }
    class
}
