//! The chunked coding (RFC 9112 section 7.1), decoded in place.
//!
//! A buffer may hold many small chunks. Their data is moved together, over the size lines in between, so that one read
//! returns one piece of the body:
//!
//! ```text
//! 5␍␊hello␍␊6␍␊ world␍␊0␍␊␍␊   becomes   5␍␊hello world…
//!                                          start┘         └end
//! ```

use super::framing::frames;
use super::head::{HeadError, HeadLimits, HeadReader};
use glassbox_verdict::report::{Deviation, Deviations};
use http::HeaderMap;
use memchr::{memchr, memmem};

/// Maximum bytes of a chunk size line, and of a trailer section, as in Go.
const LONGEST: usize = 4096;

/// Overhead that is always allowed for a chunk, in addition to twice the size of its data. In bytes, as in Go.
const ALLOWED: u64 = 16;
/// Maximum excess overhead of a body, in bytes, as in Go: a server may send single bytes, but not unlimited extensions.
const MOST_OVERHEAD: u64 = 16 * 1024;

/// Decodes the chunks of one body.
#[derive(Debug, Default)]
pub struct Chunks {
    state: State,
    overhead: u64,
    trailers: HeaderMap,
    deviations: Deviations,
    /// The error to return after the data that was decoded before the error.
    failed: Option<HeadError>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Before the line with a size.
    #[default]
    Size,
    /// Within the data, with this many bytes left.
    Data(u64),
    /// Before the CRLF that ends data.
    DataEnd,
    Trailers,
    Ended,
}

/// The positions of decoded data in a buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Decoded {
    /// Start of the data.
    pub start: usize,
    /// End of the data.
    pub end: usize,
    /// Bytes that are consumed, including the data.
    pub taken: usize,
    /// Chunks that start in these bytes.
    pub chunks: usize,
}

impl Chunks {
    /// Whether the body has ended, including its trailers.
    pub fn has_ended(&self) -> bool {
        self.state == State::Ended
    }

    /// Takes the trailer fields and the deviations found so far.
    pub fn end(&mut self) -> (HeaderMap, Deviations) {
        (std::mem::take(&mut self.trailers), std::mem::take(&mut self.deviations))
    }

    /// Decodes everything that is complete. `bytes` starts with the bytes that were not consumed before.
    pub fn decode(&mut self, bytes: &mut [u8]) -> Result<Decoded, HeadError> {
        if let Some(failed) = self.failed.take() {
            return Err(failed);
        }
        let mut decoded = Decoded::default();
        loop {
            match self.step(bytes, &mut decoded) {
                Ok(true) => {}
                Ok(false) => return Ok(decoded),
                Err(error) if decoded.start == decoded.end => return Err(error),
                Err(error) => {
                    self.failed = Some(error);
                    return Ok(decoded);
                }
            }
        }
    }

    /// Decodes one line or the data of one chunk. Returns whether there may be more.
    fn step(&mut self, bytes: &mut [u8], decoded: &mut Decoded) -> Result<bool, HeadError> {
        let rest = &bytes[decoded.taken..];
        match self.state {
            State::Size => {
                let Some(line) = line(rest)? else {
                    return Ok(false);
                };
                decoded.taken += line.len() + 2;
                decoded.chunks += 1;
                let size = self.size(line)?;
                self.state = if size == 0 { State::Trailers } else { State::Data(size) };
            }
            State::Data(left) => {
                let count = rest.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                if count == 0 {
                    return Ok(false);
                }
                let from = decoded.taken;
                if decoded.start == decoded.end {
                    (decoded.start, decoded.end) = (from, from);
                } else {
                    bytes.copy_within(from..from + count, decoded.end);
                }
                decoded.end += count;
                decoded.taken += count;
                self.state = match left - count as u64 {
                    0 => State::DataEnd,
                    left => State::Data(left),
                };
            }
            State::DataEnd => {
                match rest {
                    [b'\r', b'\n', ..] => {}
                    [] | [_] => return Ok(false),
                    _ => return Err(Deviation::ChunkDataEnd.into()),
                }
                decoded.taken += 2;
                self.state = State::Size;
            }
            State::Trailers => {
                let Some(taken) = self.read_trailers(rest)? else {
                    return Ok(false);
                };
                decoded.taken += taken;
                self.state = State::Ended;
            }
            State::Ended => return Ok(false),
        }
        Ok(true)
    }

    fn size(&mut self, line: &[u8]) -> Result<u64, HeadError> {
        let mut trimmed = line;
        while let [shorter @ .., b' ' | b'\t'] = trimmed {
            trimmed = shorter;
        }
        let digits = &trimmed[..memchr(b';', trimmed).unwrap_or(trimmed.len())];
        if digits.is_empty() || digits.len() > 16 {
            return Err(Deviation::ChunkSize.into());
        }
        let mut size = 0;
        for digit in digits {
            let value = char::from(*digit).to_digit(16).ok_or(Deviation::ChunkSize)?;
            size = size << 4 | u64::from(value);
        }
        if trimmed.len() < line.len() {
            self.deviations.note(if digits.len() == trimmed.len() {
                Deviation::SpaceAfterSize
            } else {
                Deviation::SpaceAfterExtension
            });
        }
        let allowed = ALLOWED.saturating_add(size.saturating_mul(2));
        self.overhead = (self.overhead + line.len() as u64 + 2).saturating_sub(allowed);
        if self.overhead > MOST_OVERHEAD {
            return Err(Deviation::ChunkOverhead.into());
        }
        Ok(size)
    }

    /// Reads the trailer section when it is complete. Returns its length.
    fn read_trailers(&mut self, rest: &[u8]) -> Result<Option<usize>, HeadError> {
        const END: &[u8] = b"\r\n\r\n";
        match rest {
            [b'\r', b'\n', ..] => return Ok(Some(2)),
            [] | [_] => return Ok(None),
            _ => {}
        }
        let known = &rest[..rest.len().min(LONGEST)];
        let Some(end) = memmem::find(known, END) else {
            return if known.len() == LONGEST {
                Err(Deviation::TrailersLong.into())
            } else {
                Ok(None)
            };
        };
        let mut reader = HeadReader::trailers(HeadLimits {
            bytes: LONGEST,
            fields: LONGEST,
        });
        let (taken, _) = reader.advance(&rest[..end + END.len()])?;
        let (section, deviations) = reader.end();
        self.deviations.append(deviations);
        for name in section.fields.keys().filter(|name| frames(name.as_str().as_bytes())) {
            self.deviations
                .note_field(Deviation::FramingInTrailers, name.as_str().as_bytes());
        }
        self.trailers = section.fields;
        Ok(Some(taken))
    }
}

/// The next line without its CRLF, or `None` if it is incomplete.
fn line(rest: &[u8]) -> Result<Option<&[u8]>, HeadError> {
    let known = &rest[..rest.len().min(LONGEST)];
    let Some(end) = memchr(b'\n', known) else {
        return if known.len() == LONGEST {
            Err(Deviation::ChunkLineLong.into())
        } else {
            Ok(None)
        };
    };
    match memchr(b'\r', &known[..end]) {
        Some(at) if at + 1 == end => Ok(Some(&known[..at])),
        _ => Err(Deviation::ChunkLineEnd.into()),
    }
}
