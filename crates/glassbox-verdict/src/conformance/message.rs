//! Splits a response into lines, headers and body. It accepts every line ending, so that all deviations are found.

use std::ops::Range;

/// A response that begins with a status line.
pub(super) struct RawMessage<'a> {
    pub bytes: &'a [u8],
    /// Empty lines before the first status line.
    pub before: Range<usize>,
    /// Responses with a status of 1xx other than 101, before the final one.
    pub interim: Vec<RawHead>,
    /// The final response. Absent if the connection ended after an interim response.
    pub head: Option<RawHead>,
    /// Everything after the header of the final response.
    pub body: Range<usize>,
}

/// One header: a status line and field lines.
pub(super) struct RawHead {
    pub status_line: Line,
    pub fields: Vec<RawField>,
    /// The empty line. Absent if the connection ended before it.
    pub end: Option<Line>,
}

/// A field line with its folded lines.
pub(super) struct RawField {
    pub line: Line,
    pub folds: Vec<Line>,
}

/// A line, without its ending.
#[derive(Clone)]
pub(super) struct Line {
    pub content: Range<usize>,
    pub ending: Ending,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    CrLf,
    Lf,
    /// The bytes end within the line.
    Missing,
}

impl Ending {
    const fn length(self) -> usize {
        match self {
            Self::CrLf => 2,
            Self::Lf => 1,
            Self::Missing => 0,
        }
    }
}

impl Line {
    pub fn read(bytes: &[u8], at: usize) -> Self {
        let Some(length) = memchr::memchr(b'\n', &bytes[at..]) else {
            return Self {
                content: at..bytes.len(),
                ending: Ending::Missing,
            };
        };
        let end = at + length;
        if length > 0 && bytes[end - 1] == b'\r' {
            Self {
                content: at..end - 1,
                ending: Ending::CrLf,
            }
        } else {
            Self {
                content: at..end,
                ending: Ending::Lf,
            }
        }
    }

    /// Offset of the next line.
    pub fn next(&self) -> usize {
        self.content.end + self.ending.length()
    }
}

impl RawField {
    /// The line and its folded lines.
    pub fn range(&self) -> Range<usize> {
        self.line.content.start..self.folds.last().unwrap_or(&self.line).content.end
    }

    /// Name and value as written: the name may end with spaces, and the value begins after the colon. `None` if there
    /// is no colon.
    pub fn name_and_value<'a>(&self, bytes: &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
        let line = &bytes[self.line.content.clone()];
        let colon = memchr::memchr(b':', line)?;
        Some((&line[..colon], &line[colon + 1..]))
    }

    /// Whether this is the field of this name, regardless of case and of spaces around the name.
    pub fn is_named(&self, bytes: &[u8], name: &str) -> bool {
        self.name_and_value(bytes)
            .is_some_and(|(found, _)| found.trim_ascii().eq_ignore_ascii_case(name.as_bytes()))
    }

    /// The value with its folded lines, without surrounding spaces.
    pub fn value(&self, bytes: &[u8]) -> Vec<u8> {
        let (_, first) = self.name_and_value(bytes).unwrap_or_default();
        let mut value = first.trim_ascii().to_vec();
        for fold in &self.folds {
            value.push(b' ');
            value.extend_from_slice(bytes[fold.content.clone()].trim_ascii());
        }
        value.trim_ascii().to_vec()
    }
}

impl RawHead {
    fn read(bytes: &[u8], at: usize) -> Self {
        let status_line = Line::read(bytes, at);
        let mut at = status_line.next();
        let mut fields: Vec<RawField> = Vec::new();
        while at < bytes.len() {
            let line = Line::read(bytes, at);
            at = line.next();
            if line.content.is_empty() && line.ending != Ending::Missing {
                return Self {
                    status_line,
                    fields,
                    end: Some(line),
                };
            }
            match fields.last_mut() {
                Some(field) if is_space(bytes[line.content.start]) => field.folds.push(line),
                _ => fields.push(RawField {
                    line,
                    folds: Vec::new(),
                }),
            }
        }
        Self {
            status_line,
            fields,
            end: None,
        }
    }

    /// All lines in order, including the empty line.
    pub fn lines(&self) -> impl Iterator<Item = &Line> {
        let of_fields = self
            .fields
            .iter()
            .flat_map(|field| std::iter::once(&field.line).chain(&field.folds));
        std::iter::once(&self.status_line).chain(of_fields).chain(&self.end)
    }

    /// The header with all its line endings.
    pub fn range(&self) -> Range<usize> {
        let last = self.lines().last().unwrap_or(&self.status_line);
        self.status_line.content.start..last.next()
    }

    /// The fields of a name.
    pub fn named<'a>(&'a self, bytes: &'a [u8], name: &'a str) -> impl Iterator<Item = &'a RawField> {
        self.fields.iter().filter(move |field| field.is_named(bytes, name))
    }

    /// Number in the status line: the first digits after the version. 0 if there are none.
    pub fn status(&self, bytes: &[u8]) -> u32 {
        let line = &bytes[self.status_line.content.clone()];
        let rest = line.iter().skip_while(|byte| !is_space(**byte));
        let digits = rest
            .skip_while(|byte| is_space(**byte))
            .take_while(|byte| byte.is_ascii_digit());
        digits
            .take(6)
            .fold(0, |number, digit| number * 10 + u32::from(digit - b'0'))
    }

    /// Whether the status line states HTTP/1.0.
    pub fn is_http10(&self, bytes: &[u8]) -> bool {
        bytes[self.status_line.content.clone()].starts_with(b"HTTP/1.0")
    }
}

impl<'a> RawMessage<'a> {
    /// `None` if the bytes do not begin with a status line, or if it is incomplete.
    pub fn split(bytes: &'a [u8]) -> Option<Self> {
        let start = bytes.iter().position(|byte| !matches!(byte, b'\r' | b'\n'))?;
        let mut message = Self {
            bytes,
            before: 0..start,
            interim: Vec::new(),
            head: None,
            body: bytes.len()..bytes.len(),
        };
        let mut at = start;
        // The body of an interim response is not a status line.
        while begins_with_http(&bytes[at..]) {
            let head = RawHead::read(bytes, at);
            at = head.range().end;
            if head.end.is_some() && is_interim(head.status(bytes)) {
                message.interim.push(head);
            } else {
                message.head = Some(head);
                message.body = at..bytes.len();
                break;
            }
        }
        let begun = message.heads().next()?;
        (begun.status_line.ending != Ending::Missing).then_some(message)
    }

    /// All headers, in order.
    pub fn heads(&self) -> impl Iterator<Item = &RawHead> {
        self.interim.iter().chain(&self.head)
    }

    /// The bytes of a range.
    pub fn text(&self, range: &Range<usize>) -> &'a [u8] {
        &self.bytes[range.clone()]
    }
}

/// Whether the bytes begin with the name of the protocol, in any case and after any spaces.
fn begins_with_http(bytes: &[u8]) -> bool {
    let spaces = bytes.iter().take_while(|byte| is_space(**byte)).count();
    let name = bytes[spaces..].get(..5);
    name.is_some_and(|name| name.eq_ignore_ascii_case(b"HTTP/"))
}

const fn is_interim(status: u32) -> bool {
    matches!(status, 100 | 102..=199)
}

/// A space or a tab.
pub(super) const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}
