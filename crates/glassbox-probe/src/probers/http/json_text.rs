//! Parses JSON (RFC 8259) like Go's `encoding/json`, into CEL values. Each byte of invalid UTF-8 and each unpaired
//! surrogate becomes U+FFFD. If a name is repeated in an object, the last value counts. All numbers are doubles.
//!
//! The server chooses the nesting depth of a document, so the parser uses its own stack instead of recursion.

use cel::Value;
use cel::objects::{Key, Map};
use std::collections::HashMap;
use std::sync::Arc;

/// Maximum nesting depth. Go accepts 10,000, but at that depth the CEL library overflows the stack when it formats an
/// error.
const DEEPEST: usize = 2_000;

/// Why a body is not a valid document.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum JsonError {
    /// Invalid JSON.
    #[error("at byte {at}, expected {expected}")]
    Invalid {
        /// Byte offset, counted from 0.
        at: usize,
        expected: &'static str,
    },
    /// The document has more values than the limit.
    #[error("it has too many values")]
    TooLarge,
}

/// Parses a document of up to `most_values` values, including nested ones. A value of a few bytes takes some hundreds
/// of bytes in memory.
pub(super) fn read(body: &[u8], most_values: usize) -> Result<Value, JsonError> {
    let mut reader = Reader {
        body,
        at: 0,
        room: most_values,
        open: Vec::new(),
    };
    loop {
        let mut value = reader.begin_value()?;
        while let Some(complete) = value {
            if reader.open.is_empty() {
                reader.blank();
                return match reader.peek() {
                    None => Ok(complete),
                    Some(_) => Err(reader.wrong("the end of the document")),
                };
            }
            value = reader.end_value(complete)?;
        }
    }
}

/// The nesting depth of a document. This is cheap, since nothing is built.
pub(super) fn depth(body: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let mut bytes = body.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'[' | b'{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            b'"' => {
                while let Some(inner) = bytes.next() {
                    match inner {
                        b'"' => break,
                        b'\\' => {
                            bytes.next();
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    deepest
}

/// An incomplete list or object.
enum Open {
    List(Vec<Value>),
    /// The fields so far, and the name of the next value.
    Object(HashMap<Key, Value>, String),
}

struct Reader<'b> {
    body: &'b [u8],
    at: usize,
    room: usize,
    open: Vec<Open>,
}

impl Reader<'_> {
    /// Starts a value. Returns it if it is complete, or `None` for a list or object with contents.
    fn begin_value(&mut self) -> Result<Option<Value>, JsonError> {
        self.blank();
        self.room = self.room.checked_sub(1).ok_or(JsonError::TooLarge)?;
        let value = match self.peek() {
            Some(b'{') => {
                self.enter()?;
                if self.take(b'}') {
                    Value::Map(Map { map: Arc::default() })
                } else {
                    let name = self.name()?;
                    self.open.push(Open::Object(HashMap::new(), name));
                    return Ok(None);
                }
            }
            Some(b'[') => {
                self.enter()?;
                if self.take(b']') {
                    Value::List(Arc::default())
                } else {
                    self.open.push(Open::List(Vec::new()));
                    return Ok(None);
                }
            }
            Some(b'"') => Value::String(Arc::new(self.string()?)),
            Some(b'-' | b'0'..=b'9') => Value::Float(self.number()?),
            Some(b't') => self.word(b"true", Value::Bool(true))?,
            Some(b'f') => self.word(b"false", Value::Bool(false))?,
            Some(b'n') => self.word(b"null", Value::Null)?,
            _ => return Err(self.wrong("a value")),
        };
        Ok(Some(value))
    }

    /// Adds a complete value to its parent. Returns the parent if it is complete too.
    fn end_value(&mut self, value: Value) -> Result<Option<Value>, JsonError> {
        self.blank();
        let next = self.peek();
        match (self.open.pop(), next) {
            (Some(Open::List(mut list)), Some(b',' | b']')) => {
                list.push(value);
                self.at += 1;
                if next == Some(b']') {
                    return Ok(Some(Value::List(Arc::new(list))));
                }
                self.open.push(Open::List(list));
                Ok(None)
            }
            (Some(Open::Object(mut fields, name)), Some(b',' | b'}')) => {
                fields.insert(Key::String(Arc::new(name)), value);
                self.at += 1;
                if next == Some(b'}') {
                    return Ok(Some(Value::Map(Map { map: Arc::new(fields) })));
                }
                let name = self.name()?;
                self.open.push(Open::Object(fields, name));
                Ok(None)
            }
            (Some(Open::List(_)), _) => Err(self.wrong("a comma or the end of the list")),
            _ => Err(self.wrong("a comma or the end of the object")),
        }
    }

    fn wrong(&self, expected: &'static str) -> JsonError {
        JsonError::Invalid { at: self.at, expected }
    }

    fn peek(&self) -> Option<u8> {
        self.body.get(self.at).copied()
    }

    fn blank(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    fn enter(&mut self) -> Result<(), JsonError> {
        if self.open.len() >= DEEPEST {
            return Err(self.wrong("a nesting depth of up to 2000"));
        }
        self.at += 1;
        Ok(())
    }

    /// Skips whitespace and consumes the next byte if it is this one.
    fn take(&mut self, byte: u8) -> bool {
        self.blank();
        let comes = self.peek() == Some(byte);
        self.at += usize::from(comes);
        comes
    }

    /// Parses the name of a field and the colon.
    fn name(&mut self) -> Result<String, JsonError> {
        self.blank();
        if self.peek() != Some(b'"') {
            return Err(self.wrong("a name in double quotes"));
        }
        let name = self.string()?;
        if self.take(b':') {
            Ok(name)
        } else {
            Err(self.wrong("a colon"))
        }
    }

    fn word(&mut self, word: &[u8], value: Value) -> Result<Value, JsonError> {
        if !self.body[self.at..].starts_with(word) {
            return Err(self.wrong("true, false or null"));
        }
        self.at += word.len();
        Ok(value)
    }

    fn number(&mut self) -> Result<f64, JsonError> {
        let begin = self.at;
        self.at += usize::from(self.peek() == Some(b'-'));
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            self.at += usize::from(matches!(self.peek(), Some(b'+' | b'-')));
            self.digits()?;
        }
        let text = std::str::from_utf8(&self.body[begin..self.at]).ok();
        let number = text.and_then(|text| text.parse().ok());
        number
            .filter(|number: &f64| number.is_finite())
            .ok_or(JsonError::Invalid {
                at: begin,
                expected: "a number that a double can hold",
            })
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        let begin = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == begin {
            return Err(self.wrong("a digit"));
        }
        Ok(())
    }

    /// Parses a string, from its opening quote.
    fn string(&mut self) -> Result<String, JsonError> {
        self.at += 1;
        let mut text = String::new();
        loop {
            let rest = &self.body[self.at..];
            let ends = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..=0x1f);
            let plain = rest.iter().position(ends).unwrap_or(rest.len());
            push(&mut text, &rest[..plain]);
            self.at += plain;
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(text);
                }
                Some(b'\\') => text.push(self.escape()?),
                _ => return Err(self.wrong("the end of the string")),
            }
        }
    }

    fn escape(&mut self) -> Result<char, JsonError> {
        let escaped = match self.body.get(self.at + 1) {
            Some(plain @ (b'"' | b'\\' | b'/')) => char::from(*plain),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                let first = self
                    .unit(self.at)
                    .ok_or_else(|| self.wrong("four hexadecimal digits"))?;
                self.at += 6;
                return Ok(match (first, self.unit(self.at)) {
                    (0xd800..=0xdbff, Some(second @ 0xdc00..=0xdfff)) => {
                        self.at += 6;
                        let pair = 0x1_0000 + ((u32::from(first) & 0x3ff) << 10) + (u32::from(second) & 0x3ff);
                        char::from_u32(pair).unwrap_or(char::REPLACEMENT_CHARACTER)
                    }
                    _ => char::from_u32(first.into()).unwrap_or(char::REPLACEMENT_CHARACTER),
                });
            }
            _ => return Err(self.wrong("a valid escape")),
        };
        self.at += 2;
        Ok(escaped)
    }

    /// The number in an escape such as `\u1234` at this position, if there is one.
    fn unit(&self, at: usize) -> Option<u16> {
        let digits = self.body.get(at..at + 6)?.strip_prefix(b"\\u")?;
        let plain = digits.iter().all(u8::is_ascii_hexdigit);
        let text = std::str::from_utf8(digits).ok().filter(|_| plain)?;
        u16::from_str_radix(text, 16).ok()
    }
}

/// Adds text. Each byte of invalid UTF-8 becomes a separate character, as in Go.
fn push(text: &mut String, bytes: &[u8]) {
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
}

#[cfg(test)]
mod tests {
    use super::{JsonError, depth, read};
    use cel::Value;

    fn string(body: &[u8]) -> Option<String> {
        match read(body, 9) {
            Ok(Value::String(text)) => Some(text.to_string()),
            _ => None,
        }
    }

    #[test]
    fn every_value_counts() {
        let body = br#"{"a": [1, -2, 0.5, {"b": null}], "c": "d", "e": true}"#;
        // The object, its three fields, four list elements, and one nested field.
        assert!(matches!(read(body, 9), Ok(Value::Map(_))));
        assert_eq!(read(body, 8).unwrap_err(), JsonError::TooLarge);
        assert!(matches!(read(b"7", 1), Ok(Value::Float(7.0))));
    }

    /// Accepted by `blackbox_exporter`.
    #[test]
    fn what_go_accepts_is_accepted() {
        for right in [
            "{}",
            " [ ] ",
            "null",
            "true",
            "\t\r\n 1",
            "-0",
            "1e-400",
            "2E+0",
            "1.5e3",
            "[[[[1]]]]",
            "{\"a\":{}}",
            "{\"a\":2 , \"b\" : [ 1 , 2 ] }",
            "1 ",
        ] {
            assert!(read(right.as_bytes(), 9).is_ok(), "{right}");
        }
    }

    #[test]
    fn what_go_refuses_is_refused() {
        for wrong in [
            "",
            " ",
            "{",
            "[",
            "\"",
            "\"\\",
            "[1,]",
            "[1 2]",
            "1 2",
            "{'a':1}",
            "{a:1}",
            "{\"a\":2,}",
            "{\"a\" 2}",
            "{\"a\":2 \"b\":3}",
            "nul",
            "nullx",
            "truefalse",
            "2.",
            ".5",
            "02",
            "-",
            "+2",
            "0x2",
            "NaN",
            "Infinity",
            "1e",
            "1e+",
            "1e400",
            "-1e400",
            "\"\\x\"",
            "\"\\'\"",
            "\"\\uD8\"",
            "\"\\u+123\"",
            "\"\n\"",
            "\"\0\"",
            "1\0",
            "\u{feff}1",
            "/* */1",
            "\u{c}1",
            "\u{a0}1",
            "{}]",
            "]",
        ] {
            assert!(
                matches!(read(wrong.as_bytes(), 9), Err(JsonError::Invalid { .. })),
                "{wrong}"
            );
        }
        assert_eq!(read(b"[1,]", 9).unwrap_err().to_string(), "at byte 3, expected a value");
    }

    #[test]
    fn what_is_no_text_is_replaced() {
        for (body, right) in [
            (&b"\"\xff\""[..], "\u{fffd}"),
            (b"\"\xe2\x82\"", "\u{fffd}\u{fffd}"),
            (b"\"\xe2\x82\xac\"", "€"),
            (b"\"\xed\xa0\x80\"", "\u{fffd}\u{fffd}\u{fffd}"),
            (b"\"\xf0\x9f\x98\"", "\u{fffd}\u{fffd}\u{fffd}"),
            (b"\"\\ud800\"", "\u{fffd}"),
            (b"\"\\ud800\\u0041\"", "\u{fffd}A"),
            (b"\"\\ud83d\\ude00\"", "😀"),
            (b"\"\\udc00\\ud800\"", "\u{fffd}\u{fffd}"),
            (b"\"\\ud800\\n\"", "\u{fffd}\n"),
            (b"\"\\ud800\\ud83d\\ude00\"", "\u{fffd}😀"),
            (b"\"\\u0000\\/\\b\\f\\r\\t\\\\\\\"\"", "\0/\u{8}\u{c}\r\t\\\""),
            (b"\"\x7f\"", "\x7f"),
        ] {
            assert_eq!(string(body).as_deref(), Some(right), "{}", body.escape_ascii());
        }
    }

    #[test]
    fn of_equal_names_the_last_one_counts() {
        let json = |body: &str| read(body.as_bytes(), 9).unwrap();
        assert_eq!(json(r#"{"a":1,"\u0061":2}"#), json(r#"{"a":2}"#));
        assert_ne!(json(r#"{"A":1,"a":2}"#), json(r#"{"a":2}"#));
        assert_eq!(json("20000000000000000000000000000000000000e-37"), json("2"));
    }

    #[test]
    fn the_depth_of_a_document_is_bounded() {
        let nested = |depth: usize| [b"[".repeat(depth), b"]".repeat(depth)].concat();
        assert_eq!(depth(&nested(2_000)), 2_000);
        assert!(read(&nested(2_000), 20_000).is_ok());
        assert!(matches!(read(&nested(2_001), 20_000), Err(JsonError::Invalid { .. })));
        assert_eq!(depth(br#"{"a": "[[\"[[", "b": [{}], "c": []}"#), 3);
        assert_eq!(depth(b"]]][\"["), 1);
    }
}
