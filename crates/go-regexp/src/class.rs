//! Named character classes: POSIX classes, Perl classes and Unicode classes.

use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Class, ClassUnicode, ClassUnicodeRange, HirKind};

pub(super) const BAD_RANGE: &str = "invalid character class range";

/// POSIX classes; they contain only ASCII characters.
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

/// The class `\s`. Unlike POSIX `space`, it does not contain the vertical tab.
const PERL_SPACE: &[(char, char)] = &[('\t', '\n'), ('\x0c', '\r'), (' ', ' ')];

/// Scripts with a full name of four letters. Other names of four letters are script codes, which Go does not support.
const SHORT_SCRIPTS: [&str; 9] = ["ahom", "cham", "kawi", "lisu", "miao", "modi", "newa", "thai", "toto"];

/// Returns a POSIX class by name.
pub(super) fn posix(name: &str, negated: bool, fold: bool) -> Option<ClassUnicode> {
    let (_, ranges) = POSIX.iter().find(|(known, _)| *known == name)?;
    Some(of(ranges, negated, fold))
}

/// Returns the class `\d`, `\s`, `\w` or its negation.
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

/// Returns a Unicode general category or script by name. As in Go since 1.25, case and separators are ignored.
pub(super) fn unicode(name: &str, negated: bool, fold: bool) -> Option<ClassUnicode> {
    let name = name.replace(['_', '-', ' '], "").to_ascii_lowercase();
    // `regex_syntax` ignores a prefix `is`; Go does not.
    if name.is_empty() || name.starts_with("is") || !name.bytes().all(|byte| byte.is_ascii_lowercase()) {
        return None;
    }
    let by = |property| table(&format!("\\p{{{property}={name}}}"));
    let is_code = name.len() == 4 && !SHORT_SCRIPTS.contains(&name.as_str());
    let mut class = match name.as_str() {
        // Surrogates, for which `regex_syntax` has no table.
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

/// Returns the class of a Unicode property from the tables of `regex_syntax`.
pub(super) fn table(property: &str) -> Option<ClassUnicode> {
    let hir = ParserBuilder::new().build().parse(property).ok()?;
    match hir.into_kind() {
        HirKind::Class(Class::Unicode(class)) => Some(class),
        // `regex_syntax` returns a literal for a table with one character, such as `Zl`.
        HirKind::Literal(only) => {
            let only = std::str::from_utf8(&only.0).ok()?.chars();
            Some(ClassUnicode::new(only.map(|one| ClassUnicodeRange::new(one, one))))
        }
        _ => None,
    }
}

/// Adds the other cases of each letter.
pub(super) fn folded(mut class: ClassUnicode) -> ClassUnicode {
    // This fails only if `regex_syntax` was built without case tables. Nothing is folded in that case, not even ASCII.
    if class.try_case_fold_simple().is_err() {
        debug_assert!(false, "the case tables are built in");
    }
    class
}
