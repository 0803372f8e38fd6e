//! Finds the boundaries of HTTP/2 frames and of TLS records.
//!
//! Frame boundaries (RFC 9113 section 4.1) give the timestamps of the end of the request and the start of the response.
//! Record boundaries (RFC 8446 section 5.1) distinguish an orderly close from a truncated connection.

const HEAD: usize = 9;
const PREFACE: usize = 24;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const END_STREAM: u8 = 1;

/// One direction of an HTTP/2 connection.
#[derive(Debug, Default)]
pub(super) struct Http2Frames {
    head: [u8; HEAD],
    have: usize,
    /// Bytes to skip: the preface, then each payload.
    skip: usize,
    ends_stream: bool,
    stream: StreamState,
    has_data: bool,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum StreamState {
    #[default]
    Open,
    /// A frame with `END_STREAM` was received.
    Complete,
    /// `RST_STREAM` was received before `END_STREAM`.
    Cut,
}

/// The frames found in a piece of the byte stream.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct FrameEvents {
    /// Number of HEADERS frames that started before the first DATA frame. Trailers after data are not counted.
    pub headers: usize,
    /// Whether the last byte of a frame with `END_STREAM` was found.
    pub stream_ended: bool,
}

impl Http2Frames {
    /// The client's direction, which starts with the connection preface.
    pub fn after_preface() -> Self {
        Self {
            skip: PREFACE,
            ..Self::default()
        }
    }

    /// Processes the next bytes.
    pub fn feed(&mut self, mut bytes: &[u8]) -> FrameEvents {
        let mut seen = FrameEvents::default();
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

    /// Whether the stream was reset before its last frame. A reset after that is allowed (RFC 9113 section 8.1).
    pub fn was_cut(&self) -> bool {
        self.stream == StreamState::Cut
    }

    fn open_frame(&mut self, seen: &mut FrameEvents) {
        let [a, b, c, kind, flags, ..] = self.head;
        self.have = 0;
        self.skip = u32::from_be_bytes([0, a, b, c]) as usize;
        self.ends_stream = matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0;
        if self.stream == StreamState::Open {
            self.stream = match kind {
                RST_STREAM => StreamState::Cut,
                _ if self.ends_stream => StreamState::Complete,
                _ => StreamState::Open,
            };
        }
        self.has_data |= kind == DATA;
        seen.headers += usize::from(kind == HEADERS && !self.has_data);
    }
}

/// The receiving direction of a TLS connection.
#[derive(Debug, Default)]
pub(super) struct TlsRecords {
    /// The connection ended without `close_notify` (RFC 8446 section 6.1).
    pub lacks_close_notify: bool,
    head: [u8; RECORD_HEAD],
    have: usize,
    skip: usize,
}

const RECORD_HEAD: usize = 5;

impl TlsRecords {
    /// Processes the next bytes.
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

    /// Bytes up to the end of the current record, or of its header.
    pub const fn rest(&self) -> usize {
        if self.skip > 0 {
            self.skip
        } else {
            RECORD_HEAD - self.have
        }
    }

    /// Whether the last record is complete.
    pub const fn at_boundary(&self) -> bool {
        self.have == 0 && self.skip == 0
    }
}

#[cfg(test)]
mod tests {
    use super::{Http2Frames, TlsRecords};

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut bytes = vec![length[1], length[2], length[3], kind, flags, 0, 0, 0, 1];
        bytes.extend_from_slice(payload);
        bytes
    }

    #[test]
    fn settings_are_no_answer_and_headers_are() {
        let mut theirs = Http2Frames::default();
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
            let mut ours = Http2Frames::after_preface();
            let first = ours.feed(&bytes[..cut]);
            let second = ours.feed(&bytes[cut..]);
            assert!(!first.stream_ended && second.stream_ended, "cut at {cut}");
        }
    }

    #[test]
    fn a_record_is_whole_with_its_last_byte_and_not_before() {
        let bytes = [23, 3, 3, 0, 3, 1, 2, 3, 21, 3, 3, 0, 1, 9];
        for cut in 0..=bytes.len() {
            let mut records = TlsRecords::default();
            records.feed(&bytes[..cut / 2]);
            records.feed(&bytes[cut / 2..cut]);
            assert_eq!(records.at_boundary(), [0, 8, 14].contains(&cut), "cut at {cut}");
        }
    }

    #[test]
    fn a_stream_is_cut_by_a_reset_before_its_last_frame_only() {
        let reset = frame(3, 0, &[0; 4]);
        for (frames, cut) in [
            (vec![frame(1, 4, b"head"), frame(0, 0, b"body"), reset.clone()], true),
            (vec![frame(1, 4, b"head"), reset.clone(), frame(0, 1, b"body")], true),
            (vec![frame(1, 4, b"head"), frame(0, 1, b"body"), reset.clone()], false),
            (vec![frame(1, 5, b"head"), reset], false),
            (vec![frame(1, 4, b"head"), frame(0, 0, b"body")], false),
        ] {
            let mut theirs = Http2Frames::default();
            for byte in frames.concat() {
                theirs.feed(&[byte]);
            }
            assert_eq!(theirs.was_cut(), cut, "{frames:?}");
        }
    }

    #[test]
    fn an_empty_last_frame_ends_the_stream() {
        let mut ours = Http2Frames::default();
        assert!(ours.feed(&frame(1, 5, b"")).stream_ended);
    }
}
