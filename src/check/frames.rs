//! Walks over the heads of HTTP/2 frames (RFC 9113 section 4.1), to tell the request's end and the answer's begin, and of
//! TLS records (RFC 8446 section 5.1), to tell an end from a cut.

const HEAD: usize = 9;
const PREFACE: usize = 24;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const END_STREAM: u8 = 1;

/// One direction of an HTTP/2 connection.
#[derive(Debug, Default)]
pub(super) struct Frames {
    head: [u8; HEAD],
    have: usize,
    /// Bytes to pass over: the preface, then each payload.
    skip: usize,
    ends_stream: bool,
    has_data: bool,
}

/// What a piece of the byte stream brought.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// Heads of HEADERS frames, but for those of trailers.
    pub headers: usize,
    /// The last byte of a frame with `END_STREAM`.
    pub stream_ended: bool,
}

impl Frames {
    /// The client's direction, which begins with the connection preface.
    pub fn after_preface() -> Self {
        Self {
            skip: PREFACE,
            ..Self::default()
        }
    }

    /// Takes the next bytes.
    pub fn feed(&mut self, mut bytes: &[u8]) -> Seen {
        let mut seen = Seen::default();
        while !bytes.is_empty() {
            if self.skip > 0 {
                let step = self.skip.min(bytes.len());
                self.skip -= step;
                bytes = &bytes[step..];
            } else {
                let step = (HEAD - self.have).min(bytes.len());
                self.head[self.have..self.have + step].copy_from_slice(&bytes[..step]);
                self.have += step;
                bytes = &bytes[step..];
                if self.have < HEAD {
                    break;
                }
                self.open_frame(&mut seen);
            }
            if self.skip == 0 && self.ends_stream {
                seen.stream_ended = true;
                self.ends_stream = false;
            }
        }
        seen
    }

    fn open_frame(&mut self, seen: &mut Seen) {
        let [a, b, c, kind, flags, ..] = self.head;
        self.have = 0;
        self.skip = u32::from_be_bytes([0, a, b, c]) as usize;
        self.ends_stream = matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0;
        self.has_data |= kind == DATA;
        seen.headers += usize::from(kind == HEADERS && !self.has_data);
    }
}

/// The peer's direction of a TLS connection.
#[derive(Debug, Default)]
pub(super) struct Records {
    head: [u8; RECORD_HEAD],
    have: usize,
    skip: usize,
}

const RECORD_HEAD: usize = 5;

impl Records {
    /// Takes the next bytes.
    pub fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.skip > 0 {
                let step = self.skip.min(bytes.len());
                self.skip -= step;
                bytes = &bytes[step..];
                continue;
            }
            let step = (RECORD_HEAD - self.have).min(bytes.len());
            self.head[self.have..self.have + step].copy_from_slice(&bytes[..step]);
            self.have += step;
            bytes = &bytes[step..];
            if self.have == RECORD_HEAD {
                let [.., high, low] = self.head;
                self.skip = usize::from(u16::from_be_bytes([high, low]));
                self.have = 0;
            }
        }
    }

    /// Bytes up to the end of the present record, or of its head.
    pub const fn rest(&self) -> usize {
        if self.skip > 0 {
            self.skip
        } else {
            RECORD_HEAD - self.have
        }
    }

    /// Whether the last record is whole.
    pub const fn at_boundary(&self) -> bool {
        self.have == 0 && self.skip == 0
    }
}

/// Bytes up to the end of the status code.
const STATUS: usize = "HTTP/1.1 100".len();

/// Finds the empty line that ends the head of an HTTP/1 answer, past those of interim answers (RFC 9110 section 15.2).
#[derive(Debug, Default)]
pub(super) struct HeadEnd {
    seen: u64,
    start: [u8; STATUS],
    in_head: usize,
    line_is_empty: bool,
    at: Option<u64>,
    interims: usize,
}

impl HeadEnd {
    pub fn feed(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if self.at.is_some() {
                return;
            }
            self.seen += 1;
            if let Some(place) = self.start.get_mut(self.in_head) {
                *place = *byte;
            }
            self.in_head += 1;
            match byte {
                b'\n' if self.line_is_empty && self.is_interim() => {
                    self.interims += 1;
                    self.in_head = 0;
                    self.line_is_empty = false;
                }
                b'\n' if self.line_is_empty => self.at = Some(self.seen),
                b'\n' => self.line_is_empty = true,
                b'\r' => {}
                _ => self.line_is_empty = false,
            }
        }
    }

    /// With 101 the connection is no HTTP any more: it is a final answer.
    fn is_interim(&self) -> bool {
        self.start.starts_with(b"HTTP/1.") && self.start[9] == b'1' && &self.start[9..] != b"101"
    }

    /// Interim answers that came so far.
    pub const fn interims(&self) -> usize {
        self.interims
    }

    /// Bytes up to the end of the head.
    pub const fn at(&self) -> Option<u64> {
        self.at
    }
}

#[cfg(test)]
mod tests {
    use super::{Frames, HeadEnd, Records};

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut bytes = vec![length[1], length[2], length[3], kind, flags, 0, 0, 0, 1];
        bytes.extend_from_slice(payload);
        bytes
    }

    #[test]
    fn settings_are_no_answer_and_headers_are() {
        let mut theirs = Frames::default();
        assert_eq!(theirs.feed(&frame(4, 0, &[0; 6])).headers, 0);
        assert_eq!(theirs.feed(&frame(1, 4, b"head")).headers, 1);
    }

    #[test]
    fn the_stream_ends_with_the_last_byte_of_its_last_frame_in_any_cut() {
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        bytes.extend(frame(4, 0, &[0; 12]));
        bytes.extend(frame(1, 4, b"head"));
        bytes.extend(frame(0, 1, b"body"));
        for cut in 1..bytes.len() {
            let mut ours = Frames::after_preface();
            let first = ours.feed(&bytes[..cut]);
            let second = ours.feed(&bytes[cut..]);
            assert!(!first.stream_ended && second.stream_ended, "cut at {cut}");
        }
    }

    #[test]
    fn a_record_is_whole_with_its_last_byte_and_not_before() {
        let bytes = [23, 3, 3, 0, 3, 1, 2, 3, 21, 3, 3, 0, 1, 9];
        for cut in 0..=bytes.len() {
            let mut records = Records::default();
            records.feed(&bytes[..cut / 2]);
            records.feed(&bytes[cut / 2..cut]);
            assert_eq!(records.at_boundary(), [0, 8, 14].contains(&cut), "cut at {cut}");
        }
    }

    #[test]
    fn an_empty_last_frame_ends_the_stream() {
        let mut ours = Frames::default();
        assert!(ours.feed(&frame(1, 5, b"")).stream_ended);
    }

    #[test]
    fn the_head_ends_at_its_empty_line() {
        for (text, at) in [
            ("HTTP/1.1 200 OK\r\nA: b\r\n\r\nbody\r\n\r\n", Some(25)),
            ("HTTP/1.1 200 OK\n\nbody", Some(17)),
            ("HTTP/1.1 200 OK\r\nA: b\r\n", None),
            (
                "HTTP/1.1 103 Early\r\nA: b\r\n\r\nHTTP/1.1 100 Go\r\n\r\nHTTP/1.1 200 OK\r\n\r\nbody",
                Some(66),
            ),
            ("HTTP/1.1 101 Switch\r\n\r\n\r\n\r\n", Some(23)),
        ] {
            let mut end = HeadEnd::default();
            for piece in text.as_bytes().chunks(3) {
                end.feed(piece);
            }
            assert_eq!(end.at(), at, "{text:?}");
        }
    }
}
