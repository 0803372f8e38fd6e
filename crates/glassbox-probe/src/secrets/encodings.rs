//! The encodings in which a target may repeat a secret, and the decoding of a string before the search.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use std::fmt::Write as _;

/// Maximum depth of nested encodings.
const DEEPEST: usize = 3;

/// Minimum length of a base64 form, in bytes. A shorter form may match an ordinary word.
const SHORTEST_BASE64: usize = 5;

/// One byte of a searched string, and its range in the original string.
#[derive(Clone, Copy)]
struct Unit {
    byte: u8,
    start: usize,
    end: usize,
}

/// A string in the form that is searched: without white space, in lower case, with one base64 alphabet, and optionally
/// decoded.
#[derive(Default)]
pub(super) struct DecodedText {
    pub bytes: Vec<u8>,
    /// Start and end of each byte in the original string.
    pub spans: Vec<(usize, usize)>,
    /// Positions in `bytes` of the line ends, including the end of the string.
    pub line_ends: Vec<usize>,
    /// Positions in `bytes` of `…`, which marks a truncated string.
    pub cuts: Vec<usize>,
}

impl DecodedText {
    /// A string without decoding.
    pub fn plain(text: &[u8]) -> Self {
        Self::of(units(text))
    }

    /// A string with percent-encoding and escapes decoded; `None` if it has neither.
    pub fn decoded(text: &[u8]) -> Option<Self> {
        if !text.iter().any(|byte| b"%\\&".contains(byte)) {
            return None;
        }
        let mut units: Vec<_> = units(text).collect();
        for _ in 0..DEEPEST {
            match decode(&units) {
                Some(decoded) => units = decoded,
                None => break,
            }
        }
        Some(Self::of(units.into_iter()))
    }

    fn of(units: impl Iterator<Item = Unit>) -> Self {
        let mut view = Self::default();
        for unit in units {
            if unit.byte == b'\n' {
                view.line_ends.push(view.bytes.len());
            }
            if let Some(byte) = folded(unit.byte) {
                view.bytes.push(byte);
                view.spans.push((unit.start, unit.end));
                if byte == b'\xa6' && view.bytes.ends_with("…".as_bytes()) {
                    view.cuts.push(view.bytes.len() - "…".len());
                }
            }
        }
        view.line_ends.push(view.bytes.len());
        view
    }
}

fn units(text: &[u8]) -> impl Iterator<Item = Unit> {
    let unit = |(start, byte): (usize, &u8)| Unit {
        byte: *byte,
        start,
        end: start + 1,
    };
    text.iter().enumerate().map(unit)
}

/// A byte in the searched form; `None` for white space and control characters, which may split a secret.
fn folded(byte: u8) -> Option<u8> {
    match byte {
        0..=b' ' | 0x7f => None,
        b'-' => Some(b'+'),
        b'_' => Some(b'/'),
        _ => Some(byte.to_ascii_lowercase()),
    }
}

/// Decodes each escape once; `None` if there is none.
fn decode(units: &[Unit]) -> Option<Vec<Unit>> {
    let (mut decoded, mut at, mut has_changed) = (Vec::with_capacity(units.len()), 0, false);
    while let Some(first) = units.get(at) {
        let Some((character, length)) = escape_at(&units[at..]) else {
            decoded.push(*first);
            at += 1;
            continue;
        };
        let (start, end) = (first.start, units[at + length - 1].end);
        decoded.extend(character.into_iter().map(|byte| Unit { byte, start, end }));
        at += length;
        has_changed = true;
    }
    has_changed.then_some(decoded)
}

fn escape_at(units: &[Unit]) -> Option<(Vec<u8>, usize)> {
    if !units.first().is_some_and(|first| b"%\\&".contains(&first.byte)) {
        return None;
    }
    let text: Vec<u8> = units.iter().take(LONGEST_ESCAPE).map(|unit| unit.byte).collect();
    escape(&text)
}

/// Maximum length of an escape, such as `&#x0000000010ffff;`, in bytes.
const LONGEST_ESCAPE: usize = 20;

/// HTML named character references of ASCII characters.
const ENTITIES: [(&[u8], u8); 33] = [
    (b"amp", b'&'),
    (b"apos", b'\''),
    (b"ast", b'*'),
    (b"bsol", b'\\'),
    (b"colon", b':'),
    (b"comma", b','),
    (b"commat", b'@'),
    (b"dollar", b'$'),
    (b"equals", b'='),
    (b"excl", b'!'),
    (b"grave", b'`'),
    (b"gt", b'>'),
    (b"Hat", b'^'),
    (b"lbrace", b'{'),
    (b"lbrack", b'['),
    (b"lcub", b'{'),
    (b"lowbar", b'_'),
    (b"lpar", b'('),
    (b"lsqb", b'['),
    (b"lt", b'<'),
    (b"num", b'#'),
    (b"percnt", b'%'),
    (b"period", b'.'),
    (b"plus", b'+'),
    (b"quest", b'?'),
    (b"quot", b'"'),
    (b"rcub", b'}'),
    (b"rpar", b')'),
    (b"rsqb", b']'),
    (b"semi", b';'),
    (b"sol", b'/'),
    (b"vert", b'|'),
    (b"verbar", b'|'),
];

/// Names that browsers also accept without a semicolon.
const WITHOUT_SEMICOLON: [&[u8]; 4] = [b"amp", b"gt", b"lt", b"quot"];

/// The escape at the start of a string: its decoded bytes, and its length in bytes.
fn escape(text: &[u8]) -> Option<(Vec<u8>, usize)> {
    let byte = |digits: &[u8]| u8::try_from(number(digits, 16)?).ok();
    match text {
        [b'%', b'u', ..] => utf16(text, b"%u"),
        [b'%', a, b, ..] | [b'\\', b'x', a, b, ..] => {
            let length = if text[0] == b'%' { 3 } else { 4 };
            Some((vec![byte(&[*a, *b])?], length))
        }
        [b'\\', b'u', b'{', rest @ ..] => {
            let end = rest.iter().position(|byte| *byte == b'}')?;
            Some((character(number(&rest[..end], 16)?)?, end + 4))
        }
        [b'\\', b'u', ..] => utf16(text, b"\\u"),
        [b'\\', b'U', rest @ ..] => Some((character(number(rest.get(..8)?, 16)?)?, 10)),
        [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..] => {
            let digits = [*a, *b, *c];
            Some((vec![u8::try_from(number(&digits, 8)?).ok()?], 4))
        }
        [b'\\', b'n' | b'r' | b't', ..] => Some((vec![b' '], 2)),
        [b'\\', escaped @ (b'"' | b'\'' | b'\\' | b'/'), ..] => Some((vec![*escaped], 2)),
        [b'&', reference @ ..] => {
            let (character, length) = html_reference(reference)?;
            Some((character, 1 + length))
        }
        _ => None,
    }
}

/// A character in one or two UTF-16 code units, each with this prefix and four hexadecimal digits: its decoded bytes,
/// and its length in bytes. JSON writes characters above U+FFFF as two units (RFC 8259 section 7).
fn utf16(text: &[u8], prefix: &[u8]) -> Option<(Vec<u8>, usize)> {
    let length = prefix.len() + 4;
    let unit = |text: &[u8]| u16::try_from(number(text.strip_prefix(prefix)?.get(..4)?, 16)?).ok();
    let decoded = |units: &[u16]| Some((String::from_utf16(units).ok()?.into_bytes(), units.len() * length));
    let first = unit(text)?;
    decoded(&[first]).or_else(|| decoded(&[first, unit(text.get(length..)?)?]))
}

/// The HTML character reference after `&`: its decoded bytes, and its length in bytes. As in browsers, the semicolon of
/// a numeric reference is optional.
fn html_reference(text: &[u8]) -> Option<(Vec<u8>, usize)> {
    let (prefix, radix) = match text {
        [b'#', b'x' | b'X', ..] => (2, 16),
        [b'#', ..] => (1, 10),
        _ => return named_reference(text),
    };
    let is_digit = |byte: &u8| char::from(*byte).is_digit(radix);
    let digits = text[prefix..].iter().take_while(|byte| is_digit(byte)).count();
    let end = prefix + digits;
    let semicolon = usize::from(text.get(end) == Some(&b';'));
    Some((character(number(&text[prefix..end], radix)?)?, end + semicolon))
}

fn named_reference(text: &[u8]) -> Option<(Vec<u8>, usize)> {
    let (name, byte) = ENTITIES.iter().find(|(name, _)| {
        text.strip_prefix(*name)
            .is_some_and(|rest| rest.starts_with(b";") || WITHOUT_SEMICOLON.contains(name))
    })?;
    let semicolon = usize::from(text.get(name.len()) == Some(&b';'));
    Some((vec![*byte], name.len() + semicolon))
}

fn number(digits: &[u8], radix: u32) -> Option<u32> {
    let digits = std::str::from_utf8(digits).ok()?;
    let is_plain = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    u32::from_str_radix(digits, radix).ok().filter(|_| is_plain)
}

fn character(code: u32) -> Option<Vec<u8>> {
    Some(char::from_u32(code)?.to_string().into_bytes())
}

/// The encoded forms of a value, in the form that is searched.
pub(super) fn of(value: &[u8]) -> Vec<Vec<u8>> {
    let mut forms = vec![DecodedText::plain(value).bytes];
    forms.extend(DecodedText::decoded(value).map(|view| view.bytes));
    // The encoding of HTML forms.
    if value.contains(&b' ') {
        let with_plus: Vec<u8> = value
            .iter()
            .map(|byte| if *byte == b' ' { b'+' } else { *byte })
            .collect();
        forms.push(DecodedText::plain(&with_plus).bytes);
    }
    let hex = value.iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("writing to a String cannot fail");
        hex
    });
    forms.push(hex.into_bytes());
    forms.extend((0..3).filter_map(|before| base64(value, before)));
    forms.retain(|form| form.len() >= super::SHORTEST);
    forms.sort();
    forms.dedup();
    forms
}

/// The base64 characters that depend only on the value if `before` bytes precede it. Base64 encodes three bytes as four
/// characters.
fn base64(value: &[u8], before: usize) -> Option<Vec<u8>> {
    let encoded = STANDARD_NO_PAD.encode([&[0; 2][..before], value].concat());
    let own = (before * 8).div_ceil(6)..(before + value.len()) * 8 / 6;
    let letters = encoded.get(own)?;
    (letters.len() >= SHORTEST_BASE64).then(|| DecodedText::plain(letters.as_bytes()).bytes)
}

#[cfg(test)]
mod tests {
    use super::{DecodedText, base64, of};
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE};
    use proptest::prelude::*;

    #[test]
    fn escapes_are_read_once_and_again() {
        let decoded =
            |text: &str| DecodedText::decoded(text.as_bytes()).map(|view| String::from_utf8(view.bytes).unwrap());
        for (text, read) in [
            ("a%62c", "abc"),
            ("a%2562c", "abc"),
            (r"a\u0062c", "abc"),
            (r"a\u{62}c", "abc"),
            (r"a\ud83d\ude00c", "a😀c"),
            (r"a\U0001f600c", "a😀c"),
            (r"a\ud83dc", r"a\ud83dc"),
            (r"a%u0062c", "abc"),
            (r"a\142c", "abc"),
            (r"a\x62c", "abc"),
            (r#"a\"c"#, "a\"c"),
            ("a&#98;c&#x64;&amp;", "abcd&"),
            ("a&#98c&#x000064 &amp", "abcd&"),
            ("a&sol;b&equals;&Hat;&lowbar;", "a/b=^/"),
            ("a&sol b&#;&#x;", "a&solb&#;&#x;"),
            ("a%zzb&nope;\\", "a%zzb&nope;\\"),
            ("%", "%"),
            (r"\u00", r"\u00"),
        ] {
            assert_eq!(decoded(text).as_deref(), Some(read), "{text}");
        }
        assert_eq!(decoded("abc"), None);
    }

    proptest! {
        #[test]
        fn base64_is_found_whatever_stands_around(
            value in prop::collection::vec(any::<u8>(), 5..40),
            before in prop::collection::vec(any::<u8>(), 0..10),
            after in prop::collection::vec(any::<u8>(), 0..10),
        ) {
            let all = [&before[..], &value, &after].concat();
            let form = base64(&value, before.len() % 3).unwrap();
            for encoded in [STANDARD.encode(&all), URL_SAFE.encode(&all)] {
                let view = DecodedText::plain(encoded.as_bytes()).bytes;
                prop_assert!(view.windows(form.len()).any(|part| part == form));
            }
        }

        #[test]
        fn no_text_breaks_a_view(text in prop::collection::vec(any::<u8>(), 0..200)) {
            for view in [Some(DecodedText::plain(&text)), DecodedText::decoded(&text)].into_iter().flatten() {
                prop_assert_eq!(view.bytes.len(), view.spans.len());
                prop_assert!(view.spans.iter().all(|(start, end)| start < end && *end <= text.len()));
            }
            of(&text);
        }
    }
}
