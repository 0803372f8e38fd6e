//! Checks the fields of a header section and renames those that the library would reject.

use super::hpack::{FieldLine, FieldLines, Invalid, Name};
use glassbox_verdict::report::{Deviation, DeviationFound, Deviations};
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, HeaderName, HeaderValue};

/// Fields of an HTTP/1 connection (RFC 9113 section 8.2.2).
const OF_CONNECTION: [&str; 6] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "transfer-encoding",
    "upgrade",
    "te",
];

/// `:status: 204` and `:status: 304` of the static table (RFC 7541 appendix A).
const STATIC_204: u8 = 0x89;
const STATIC_304: u8 = 0x8b;

/// The state after the previous sections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Before {
    /// Only interim responses so far: a head must follow.
    #[default]
    Head,
    /// The final head was received: trailers follow.
    Trailers,
    /// A head whose status is in the dynamic table: it may be interim or final.
    Unknown,
}

/// The result of checking a section.
#[derive(Debug, Default)]
pub struct Section {
    pub deviations: Deviations,
    /// The reason why the response is malformed, if `blackbox_exporter` rejects it too.
    pub refused: Option<DeviationFound>,
    /// Connection fields must be renamed.
    connection: bool,
    status: Option<Status>,
    found: Lengths,
    /// A field that is not a pseudo-header field was found.
    regular: bool,
    /// Some fields are in the dynamic table.
    dynamic: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Interim,
    Final,
    /// 204 or 304: final and without a body, regardless of the length (RFC 9110 section 6.4.1).
    Bodiless,
}

/// The `content-length` fields of a section.
#[derive(Debug, Default)]
struct Lengths {
    count: usize,
    /// The number in the first field.
    first: Option<u64>,
    differ: bool,
    /// The library would reject the fields or enforce the length on the body, so they must be renamed.
    renamed: bool,
}

impl Section {
    /// Checks the fields of a block. `ends` states that the stream ends with it, although its head may declare a body.
    ///
    /// # Errors
    /// When the block is not valid HPACK.
    pub fn of(block: &[u8], before: Before, ends: bool) -> Result<Self, Invalid> {
        let mut section = Self::default();
        let (mut names, mut values) = (Vec::new(), Vec::new());
        for field in FieldLines::of(block) {
            let field = field?;
            let value = field.value.map(|value| value.read(&mut values)).transpose()?;
            let value = match block[field.place.clone()] {
                [STATIC_204] => Some(&b"204"[..]),
                [STATIC_304] => Some(&b"304"[..]),
                _ => value,
            };
            let name = match field.name {
                Name::Known(name) => Some(name),
                Name::Literal(name) => Some(name.read(&mut names)?),
                Name::Static | Name::Dynamic => None,
            };
            section.regular |= matches!(field.name, Name::Static);
            section.dynamic |= matches!(field.name, Name::Dynamic);
            if value.is_some_and(|value| value.iter().copied().any(is_control)) {
                section.refuse(Deviation::FieldValue, name);
            }
            match name {
                Some(name) if name.starts_with(b":") => section.pseudo(name, value, before),
                Some(name) => section.named(name, value.unwrap_or_default(), before),
                None => {}
            }
        }
        if section.status.is_none() && before == Before::Head && !section.dynamic {
            section.refuse(Deviation::PseudoField, Some(b":status"));
        }
        if ends {
            section.without_body(before);
        }
        Ok(section)
    }

    /// Go reads the head of a response that declares a body and has none. It fails only when it reads the body.
    fn without_body(&mut self, before: Before) {
        let may_have_body = before != Before::Trailers && self.status == Some(Status::Final);
        let declares_body = self.found.count == 1 && self.found.first.is_some_and(|length| length > 0);
        if may_have_body && declares_body {
            self.found.renamed = true;
            self.deviations.note(Deviation::MissingBody);
        }
    }

    /// The state after this section.
    pub const fn next(&self, before: Before) -> Before {
        match (before, self.status) {
            (Before::Head, Some(Status::Interim)) => Before::Head,
            (Before::Head | Before::Trailers, Some(Status::Final | Status::Bodiless)) | (Before::Trailers, _) => {
                Before::Trailers
            }
            _ => Before::Unknown,
        }
    }

    fn pseudo(&mut self, name: &[u8], value: Option<&[u8]>, before: Before) {
        let status = match value {
            Some([b'1', _, _]) => Some(Status::Interim),
            Some(b"204" | b"304") => Some(Status::Bodiless),
            None | Some([b'2'..=b'9', b'0'..=b'9', b'0'..=b'9']) => Some(Status::Final),
            Some(_) => None,
        };
        let is_allowed = name == b":status" && before != Before::Trailers && !self.regular && self.status.is_none();
        if !is_allowed || status.is_none() {
            self.refuse(Deviation::PseudoField, Some(name));
        }
        self.status = self.status.or(status);
    }

    fn named(&mut self, name: &[u8], value: &[u8], before: Before) {
        self.regular = true;
        if OF_CONNECTION.iter().any(|field| field.as_bytes() == name) {
            self.connection = true;
            self.deviations.note_field(Deviation::ConnectionField, name);
        } else if name == CONTENT_LENGTH.as_str().as_bytes() {
            if before == Before::Trailers {
                self.deviations.note_field(Deviation::FramingInTrailers, name);
            } else {
                self.length(value);
            }
        } else if name.iter().any(u8::is_ascii_uppercase) {
            self.refuse(Deviation::UpperCase, Some(name));
        } else if name.is_empty() || !name.iter().copied().all(is_token) {
            self.refuse(Deviation::FieldName, Some(name));
        }
    }

    /// Go ignores an invalid length, but the library rejects it, so it is renamed. Multiple lengths are renamed too.
    fn length(&mut self, value: &[u8]) {
        let number = length(value);
        self.found.renamed |= number.is_none() || self.found.count > 0;
        if value.is_empty() {
            self.deviations.note(Deviation::EmptyLength);
        } else if number.is_none() {
            self.deviations.note(Deviation::LengthInvalid);
        }
        if self.found.count > 0 {
            let same = self.found.first == number && !self.found.differ;
            self.found.differ = !same;
            self.deviations.note(if same {
                Deviation::RepeatedLength
            } else {
                Deviation::LengthsDiffer
            });
        }
        self.found.count += 1;
        self.found.first = self.found.first.or(number);
    }

    fn refuse(&mut self, deviation: Deviation, name: Option<&[u8]>) {
        let found = name.map_or(deviation.into(), |name| DeviationFound::of_field(deviation, name));
        self.deviations.note(found.clone());
        self.refused.get_or_insert(found);
    }

    /// The block with new names for the fields that the library would reject. `None` if there are none.
    pub fn rewrite(&self, block: &[u8]) -> Option<Vec<u8>> {
        if !self.connection && !self.found.renamed {
            return None;
        }
        let mut written = Vec::with_capacity(block.len() + 64);
        let mut copied = 0;
        for field in FieldLines::of(block).map_while(Result::ok) {
            if let Some(name) = self.renamed(&field) {
                written.extend_from_slice(&block[copied..field.place.start]);
                write(&field, name, block, &mut written);
                copied = field.place.end;
            }
        }
        written.extend_from_slice(&block[copied..]);
        Some(written)
    }

    /// The name of a field that must be renamed.
    fn renamed(&self, field: &FieldLine<'_>) -> Option<&'static str> {
        let mut room = Vec::new();
        let name = match field.name {
            Name::Known(name) => name,
            Name::Literal(name) => name.read(&mut room).ok()?,
            Name::Static | Name::Dynamic => return None,
        };
        let length = CONTENT_LENGTH.as_str();
        if self.found.renamed && name == length.as_bytes() {
            return Some("content-length");
        }
        OF_CONNECTION.into_iter().find(|field| field.as_bytes() == name)
    }
}

/// Writes a field with its new name, as a literal with the same effect on the size of the dynamic table.
fn write(field: &FieldLine<'_>, name: &str, block: &[u8], into: &mut Vec<u8>) {
    into.push(field.prefix);
    into.push(u8::try_from(name.len()).unwrap_or_default());
    into.extend(name.bytes().rev());
    match &block[field.value_place.clone()] {
        [] => into.push(0),
        value => into.extend_from_slice(value),
    }
}

/// Restores the names of the renamed fields of a section.
pub fn restore(fields: &mut HeaderMap, deviations: &Deviations) {
    for found in deviations.iter() {
        let name = match (found.deviation, &found.field) {
            (Deviation::ConnectionField, Some(name)) => OF_CONNECTION.into_iter().find(|field| field == name),
            (
                Deviation::EmptyLength
                | Deviation::LengthInvalid
                | Deviation::RepeatedLength
                | Deviation::LengthsDiffer
                | Deviation::MissingBody,
                _,
            ) => Some("content-length"),
            _ => None,
        };
        let Some(name) = name else { continue };
        let other: String = name.chars().rev().collect();
        let Ok(other) = HeaderName::try_from(other) else {
            continue;
        };
        if !fields.contains_key(&other) {
            continue;
        }
        let values: Vec<HeaderValue> = fields.get_all(&other).iter().cloned().collect();
        fields.remove(&other);
        for value in values {
            fields.append(HeaderName::from_static(name), value);
        }
    }
}

/// The declared length, as Go reads it: the number in the only `content-length` field.
pub fn declared_length(fields: &HeaderMap) -> Option<u64> {
    let mut values = fields.get_all(CONTENT_LENGTH).iter();
    let only = values.next().filter(|_| values.next().is_none())?;
    length(only.as_bytes())
}

/// A number of up to 63 bits, as Go accepts it.
fn length(value: &[u8]) -> Option<u64> {
    let is_number = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    let number = std::str::from_utf8(value).ok().filter(|_| is_number)?;
    number.parse().ok().filter(|number| i64::try_from(*number).is_ok())
}

const fn is_control(byte: u8) -> bool {
    byte.is_ascii_control() && byte != b'\t'
}

/// A character of a token (RFC 9110 section 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
