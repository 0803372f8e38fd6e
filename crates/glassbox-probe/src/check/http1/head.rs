//! The head of an HTTP/1 response (RFC 9112 sections 4 and 5), parsed line by line as it arrives.
//!
//! It accepts what Go's net/http accepts (`ReadResponse` and `textproto.ReadMIMEHeader`), as `blackbox_exporter` does,
//! and empty lines before the status line. Each accepted violation of the specification is recorded as a deviation.

use crate::check::response_error::Http1Error;
use glassbox_verdict::report::{Deviation, DeviationFound, Deviations};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use memchr::memchr;
use std::str;

/// The limits of a head.
#[derive(Clone, Copy, Debug)]
pub struct HeadLimits {
    /// Maximum bytes of the status line and all fields.
    pub bytes: usize,
    /// Maximum number of fields.
    pub fields: usize,
}

/// The reason why a head cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeadError {
    /// The head violates HTTP so severely that a client must not guess its meaning.
    Invalid(DeviationFound),
    /// The head exceeds this number of bytes.
    TooLong(usize),
    /// The head exceeds this number of fields.
    TooManyFields(usize),
}

impl From<Deviation> for HeadError {
    fn from(deviation: Deviation) -> Self {
        Self::Invalid(deviation.into())
    }
}

impl From<HeadError> for Http1Error {
    fn from(error: HeadError) -> Self {
        match error {
            HeadError::Invalid(found) => Self::Invalid(found),
            HeadError::TooLong(limit) => Self::HeadTooLong(limit),
            HeadError::TooManyFields(limit) => Self::TooManyFields(limit),
        }
    }
}

/// A complete head.
#[derive(Debug)]
pub struct Head {
    pub status_line: StatusLine,
    pub fields: HeaderMap,
}

/// The first line of a response.
#[derive(Clone, Debug, Default)]
pub struct StatusLine {
    /// 0 to 999: the value of the three characters, as Go reads them.
    pub status: u16,
    /// The version, such as `HTTP/1.1`.
    pub version: &'static str,
    /// The reason phrase, if it is not the standard one for the status.
    pub phrase: Option<String>,
}

impl StatusLine {
    /// Whether it is an interim response. 101 is final, because the connection then carries another protocol.
    pub const fn is_interim(&self) -> bool {
        matches!(self.status, 100 | 102..=199)
    }

    /// Whether the version is at least 1.1. As in Go, 0.0 is treated as 1.1.
    pub fn is_http11(&self) -> bool {
        self.version >= "HTTP/1.1" || self.version == "HTTP/0.0"
    }
}

/// Parses one head, or a trailer section, which is a head without a status line.
#[derive(Debug)]
pub struct HeadReader {
    limits: HeadLimits,
    /// Bytes of the consumed lines.
    taken: usize,
    /// Bytes of the current line or field that were already searched for its end.
    searched: usize,
    /// Position of the line feed that ends the first line of the current field, which may have continuation lines.
    first_end: Option<usize>,
    status_line: Option<StatusLine>,
    fields: HeaderMap,
    count: usize,
    deviations: Deviations,
}

impl HeadReader {
    pub fn new(limits: HeadLimits) -> Self {
        Self {
            limits,
            taken: 0,
            searched: 0,
            first_end: None,
            status_line: None,
            fields: HeaderMap::new(),
            count: 0,
            deviations: Deviations::default(),
        }
    }

    /// The same for a trailer section (RFC 9112 section 7.1.2).
    pub fn trailers(limits: HeadLimits) -> Self {
        Self {
            status_line: Some(StatusLine::default()),
            ..Self::new(limits)
        }
    }

    /// Consumes the complete lines. `bytes` starts with the bytes that were not consumed before. Returns the number of
    /// consumed bytes and whether the head has ended.
    pub fn advance(&mut self, bytes: &[u8]) -> Result<(usize, bool), HeadError> {
        let mut from = 0;
        loop {
            let rest = &bytes[from..];
            if self.status_line.is_none() {
                refuse_other_protocols(rest)?;
            } else if self.count == 0 && matches!(rest.first(), Some(b' ' | b'\t')) {
                return Err(Deviation::FoldedFirst.into());
            }
            let Some(end) = memchr(b'\n', &rest[self.searched..]) else {
                self.searched = rest.len();
                self.within_limit(bytes.len())?;
                self.taken += from;
                return Ok((from, false));
            };
            let end = self.searched + end;
            let length = end + 1;
            self.within_limit(from + length)?;
            let is_empty = matches!(rest[..end], [] | [b'\r']);
            if is_empty || self.status_line.is_none() {
                self.note_bare_lf(&rest[..length]);
                from += length;
                self.searched = 0;
                match (&self.status_line, is_empty) {
                    (Some(_), _) => {
                        self.taken += from;
                        return Ok((from, true));
                    }
                    (None, true) => self.deviations.note(Deviation::EmptyLine),
                    (None, false) => {
                        let line = without_end(&rest[..length]);
                        self.status_line = Some(status_line(line, &mut self.deviations)?);
                    }
                }
                continue;
            }
            let first_end = *self.first_end.get_or_insert(end);
            match rest.get(length) {
                Some(b' ' | b'\t') => self.searched = length,
                Some(_) => {
                    self.field(&rest[..length], first_end)?;
                    from += length;
                    self.searched = 0;
                    self.first_end = None;
                }
                // The next line may be a continuation, but the name must be on the first line.
                None if memchr(b':', &rest[..first_end]).is_none() => return Err(Deviation::NoColon.into()),
                None => {
                    self.searched = end;
                    self.taken += from;
                    return Ok((from, false));
                }
            }
        }
    }

    fn within_limit(&self, more: usize) -> Result<(), HeadError> {
        if self.taken + more > self.limits.bytes {
            return Err(HeadError::TooLong(self.limits.bytes));
        }
        Ok(())
    }

    fn note_bare_lf(&mut self, line: &[u8]) {
        if !line.ends_with(b"\r\n") {
            self.deviations.note(Deviation::BareLf);
        }
    }

    /// Processes one field: a line, or several with continuations.
    fn field(&mut self, lines: &[u8], first_end: usize) -> Result<(), HeadError> {
        let first = without_end(&lines[..=first_end]);
        let Some(colon) = memchr(b':', first) else {
            return Err(Deviation::NoColon.into());
        };
        let name = &first[..colon];
        self.note_bare_lf(&lines[..=first_end]);
        self.count += 1;
        if self.count > self.limits.fields {
            return Err(HeadError::TooManyFields(self.limits.fields));
        }
        let value = if first_end + 1 == lines.len() {
            HeaderValue::from_bytes(trimmed(&first[colon + 1..]))
        } else {
            let further = lines[first_end + 1..].split_inclusive(|byte| *byte == b'\n');
            further.for_each(|line| self.note_bare_lf(line));
            self.deviations.note_field(Deviation::ObsFold, name);
            HeaderValue::from_bytes(&unfolded(&first[colon + 1..], &lines[first_end + 1..]))
        };
        let Ok(value) = value else {
            return Err(HeadError::Invalid(DeviationFound::of_field(
                Deviation::FieldValue,
                name,
            )));
        };
        match HeaderName::from_bytes(name) {
            Ok(name) => {
                let added = self.fields.try_append(name, value);
                added.map_err(|_full| HeadError::TooManyFields(self.limits.fields))?;
                Ok(())
            }
            Err(_) => self.odd_name(name),
        }
    }

    /// A name with a space is accepted and ignored, as in Go: `Content-Length : 5` is not a Content-Length.
    fn odd_name(&mut self, name: &[u8]) -> Result<(), HeadError> {
        let word = name.trim_ascii_end();
        let is_word = |part: &[u8]| part.iter().all(|byte| is_token(*byte));
        let deviation = if name.is_empty() || !name.split(|byte| *byte == b' ').all(is_word) {
            return Err(HeadError::Invalid(DeviationFound::of_field(Deviation::FieldName, name)));
        } else if is_word(word) {
            Deviation::SpaceBeforeColon
        } else {
            Deviation::SpaceInName
        };
        // A name that is only too long for the library is also accepted and ignored.
        if word.len() < name.len() || deviation == Deviation::SpaceInName {
            self.deviations.note_field(deviation, word);
        }
        Ok(())
    }

    /// The complete head and its deviations.
    pub fn end(self) -> (Head, Deviations) {
        let head = Head {
            status_line: self.status_line.unwrap_or_default(),
            fields: self.fields,
        };
        (head, self.deviations)
    }
}

/// Data that does not start like HTTP is rejected immediately: a server of another protocol may wait for the client.
fn refuse_other_protocols(begin: &[u8]) -> Result<(), HeadError> {
    const PROTOCOL: &[u8] = b"HTTP/";
    let known = begin.len().min(PROTOCOL.len());
    if begin[..known] == PROTOCOL[..known] || matches!(begin, [b'\n', ..] | [b'\r'] | [b'\r', b'\n', ..]) {
        return Ok(());
    }
    Err(Deviation::NotHttp.into())
}

/// Parses a status line as Go does: version, one or more spaces, a number of three characters, reason phrase.
fn status_line(line: &[u8], deviations: &mut Deviations) -> Result<StatusLine, Deviation> {
    let space = memchr(b' ', line).ok_or(Deviation::StatusLine)?;
    let version = version(&line[..space]).ok_or(Deviation::VersionFormat)?;
    if !matches!(version, "HTTP/1.0" | "HTTP/1.1") {
        deviations.note(Deviation::Version);
    }
    let rest = &line[space + 1..];
    let spaces = rest.iter().take_while(|byte| **byte == b' ').count();
    if spaces > 0 {
        deviations.note(Deviation::StatusLineSpace);
    }
    let rest = &rest[spaces..];
    let end = memchr(b' ', rest);
    let (code, phrase) = rest.split_at(end.unwrap_or(rest.len()));
    let code: [u8; 3] = code.try_into().map_err(|_| Deviation::StatusLine)?;
    let status = str::from_utf8(&code).ok().and_then(|code| code.parse::<i16>().ok());
    let status = status.and_then(|status| u16::try_from(status).ok());
    let status = status.ok_or(Deviation::StatusLine)?;
    if !(100..=599).contains(&status) {
        deviations.note(Deviation::StatusCode);
    }
    let phrase = if let Some((_space, phrase)) = phrase.split_first() {
        phrase
    } else {
        deviations.note(Deviation::ReasonSpace);
        phrase
    };
    let usual = StatusCode::from_u16(status)
        .ok()
        .and_then(|code| code.canonical_reason());
    let phrase = (usual.map(str::as_bytes) != Some(phrase)).then(|| {
        if phrase.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') {
            deviations.note(Deviation::ReasonBytes);
        }
        String::from_utf8_lossy(phrase).trim().to_owned()
    });
    Ok(StatusLine {
        status,
        version,
        phrase,
    })
}

/// Bytes of a version: `HTTP/1.1`.
const VERSION: usize = 8;

/// All versions as text, concatenated.
const VERSIONS: [u8; 100 * VERSION] = {
    let mut all = [0; 100 * VERSION];
    let mut number = 0;
    while number < 100 {
        let [major, minor] = [b'0' + number / 10, b'0' + number % 10];
        let text = [b'H', b'T', b'T', b'P', b'/', major, b'.', minor];
        let mut at = 0;
        while at < VERSION {
            all[number as usize * VERSION + at] = text[at];
            at += 1;
        }
        number += 1;
    }
    all
};

fn version(text: &[u8]) -> Option<&'static str> {
    match text {
        b"HTTP/1.1" => Some("HTTP/1.1"),
        b"HTTP/1.0" => Some("HTTP/1.0"),
        [
            b'H',
            b'T',
            b'T',
            b'P',
            b'/',
            major @ b'0'..=b'9',
            b'.',
            minor @ b'0'..=b'9',
        ] => {
            let number = usize::from(major - b'0') * 10 + usize::from(minor - b'0');
            let known = VERSIONS.get(number * VERSION..(number + 1) * VERSION)?;
            str::from_utf8(known).ok()
        }
        _ => None,
    }
}

/// A line without CRLF or LF at its end.
fn without_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Removes spaces and tabs at both ends.
fn trimmed(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

/// A value with continuation lines, joined by spaces as in Go.
fn unfolded(first: &[u8], further: &[u8]) -> Vec<u8> {
    let mut value = trimmed(first).to_vec();
    for line in further.split_inclusive(|byte| *byte == b'\n') {
        if !value.is_empty() {
            value.push(b' ');
        }
        value.extend_from_slice(trimmed(without_end(line)));
    }
    value
}

/// A character of a token (RFC 9110 section 5.6.2).
const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~')
}
