//! HTTP/2: preserves response fields that the library rejects and `blackbox_exporter` accepts.
//!
//! The h2 library treats a response as malformed if it has an HTTP/1 connection field, such as `connection: close`
//! (RFC 9113 section 8.2.2), a `content-length` that is not a number, or one above 0 in a response that ends with its
//! head. Go's net/http accepts such a response, so the probe must succeed. This module therefore reads the frames
//! before the library does, and writes the name of such a field backwards. The original names are restored after the
//! library has parsed the response. A [`Deviation`](glassbox_verdict::report::Deviation) records each field.
//!
//! ```text
//! socket ─ TLS ─ HEADERS connection: close ─ HeaderBlocks ─ HEADERS noitcennoc: close ─ h2 ─ restore ─ connection:close
//! ```
//!
//! The new name has the same length, so a field uses the same space in the dynamic table of HPACK (RFC 7541 section
//! 2.3.2). The library's table stays synchronised with the server's, and this module needs no table. A field that
//! refers to a renamed table entry has the new name automatically. Blocks without such fields and invalid blocks are
//! passed on unchanged.

mod hpack;
mod huffman;
mod section;

use glassbox_verdict::report::{DeviationFound, Deviations};
use section::{Before, Section};
pub(super) use section::{declared_length, restore};
use tokio::io::ReadBuf;

const HEAD: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 0x01;
const END_HEADERS: u8 = 0x04;
const PADDED: u8 = 0x08;
const PRIORITY: u8 = 0x20;

/// Maximum payload length of a written frame (RFC 9113 section 4.2).
const LONGEST: usize = 16384;

/// Bytes that the frames of a block may use in addition to its fields: frame headers and padding.
const OVERHEAD: usize = 16 * 1024;

/// The server-to-client direction of a connection with one request. It holds each header block until the block is
/// complete.
#[derive(Debug)]
pub(super) struct HeaderBlocks {
    /// Maximum bytes held of one block.
    most: usize,
    /// Whether the request is HEAD. Its response then declares a length but has no body.
    is_head: bool,
    /// Received bytes that are not passed on yet: a frame header, or the frames of a block.
    held: Vec<u8>,
    /// Start of the last frame in the held bytes.
    frame: usize,
    /// The block fragments of the held frames.
    block: Vec<u8>,
    /// Payload bytes that are passed on unchanged.
    skip: usize,
    /// The output that is ready, and the number of bytes already taken.
    ready: Vec<u8>,
    gone: usize,
    before: Before,
    found: Deviations,
    refused: Option<DeviationFound>,
    /// A block was invalid or too long. All further input is passed on unchanged, and the library rejects it.
    gave_up: bool,
}

impl HeaderBlocks {
    /// For the response to a HEAD request.
    pub fn answering_head(self) -> Self {
        Self { is_head: true, ..self }
    }

    /// For heads of up to this number of bytes.
    pub fn up_to(bytes: usize) -> Self {
        Self {
            most: bytes.saturating_add(OVERHEAD),
            is_head: false,
            held: Vec::new(),
            frame: 0,
            block: Vec::new(),
            skip: 0,
            ready: Vec::new(),
            gone: 0,
            before: Before::Head,
            found: Deviations::default(),
            refused: None,
            gave_up: false,
        }
    }

    /// Processes received bytes. Returns how many of them pass unchanged, before the output that is ready.
    pub fn take(&mut self, bytes: &[u8]) -> usize {
        let mut rest = bytes;
        let mut straight = 0;
        while !rest.is_empty() && self.refused.is_none() {
            let step = self.step(rest);
            if step == 0 {
                let step = self.missing().min(rest.len());
                self.held.extend_from_slice(&rest[..step]);
                rest = &rest[step..];
                self.advance();
                continue;
            }
            if self.ready.is_empty() {
                straight += step;
            } else {
                self.ready.extend_from_slice(&rest[..step]);
            }
            rest = &rest[step..];
        }
        straight
    }

    /// Returns how many of the next bytes are passed on unchanged. These are payload bytes to skip, or the complete
    /// header of a frame that does not start a block.
    fn step(&mut self, rest: &[u8]) -> usize {
        if self.gave_up {
            return rest.len();
        }
        if self.skip == 0 && self.held.is_empty() {
            let other = head(rest).filter(|head| head.kind != HEADERS);
            return other.map_or(0, |head| {
                self.pass_over(head);
                HEAD
            });
        }
        let step = self.skip.min(rest.len());
        self.skip -= step;
        step
    }

    fn pass_over(&mut self, head: Head) {
        self.skip = head.length;
        if head.kind == DATA {
            self.before = Before::Trailers;
        }
    }

    /// Ends the input. The held bytes are passed on.
    pub fn end(&mut self) {
        self.let_go();
    }

    /// Fills a buffer with the output that is ready. Returns false if there is none.
    pub fn give(&mut self, buffer: &mut ReadBuf<'_>) -> bool {
        let rest = &self.ready[self.gone..];
        let step = rest.len().min(buffer.remaining());
        buffer.put_slice(&rest[..step]);
        self.gone += step;
        if self.gone == self.ready.len() {
            // Frees the buffer: a waiting connection must not hold memory.
            (self.ready, self.gone) = (Vec::new(), 0);
        }
        step > 0
    }

    /// The deviations found since the last call.
    pub fn found(&mut self) -> Deviations {
        std::mem::take(&mut self.found)
    }

    /// The reason why no more output follows.
    pub const fn refused(&self) -> Option<&DeviationFound> {
        self.refused.as_ref()
    }

    /// Bytes missing from the current frame, as far as its header is known.
    fn missing(&self) -> usize {
        let frame = &self.held[self.frame..];
        match head(frame) {
            None => HEAD - frame.len(),
            Some(head) => HEAD + head.length - frame.len(),
        }
    }

    /// Processes the held frame when its header is complete, and again when its payload is complete.
    fn advance(&mut self) {
        let Some(head) = head(&self.held[self.frame..]) else {
            return;
        };
        let expected = if self.frame == 0 { HEADERS } else { CONTINUATION };
        if head.kind != expected {
            // Within a block, only CONTINUATION may follow (RFC 9113 section 6.10).
            self.gave_up = self.frame > 0;
            self.pass_over(head);
            self.let_go();
        } else if self.held.len() + self.missing() > self.most {
            self.give_up();
        } else if self.missing() == 0 {
            self.end_frame(head);
        }
    }

    fn end_frame(&mut self, head: Head) {
        let Some(fragment) = head.fragment(&self.held[self.frame + HEAD..]) else {
            self.give_up();
            return;
        };
        self.block.extend_from_slice(fragment);
        self.frame = self.held.len();
        if head.flags & END_HEADERS != 0 {
            let block = std::mem::take(&mut self.block);
            self.end_block(&block);
        }
    }

    fn end_block(&mut self, block: &[u8]) {
        let ends = head(&self.held).is_some_and(|first| first.flags & END_STREAM != 0);
        let Ok(section) = Section::of(block, self.before, ends && !self.is_head) else {
            self.give_up();
            return;
        };
        self.before = section.next(self.before);
        let rewritten = section.rewrite(block);
        self.found.append(section.deviations);
        self.refused = section.refused;
        if self.refused.is_some() {
            self.held = Vec::new();
        } else if let Some(rewritten) = rewritten {
            let held = std::mem::take(&mut self.held);
            write_frames(&held[..HEAD], &rewritten, &mut self.ready);
            self.frame = 0;
        } else {
            self.let_go();
        }
    }

    /// Passes on the held bytes and all further input unchanged. The library rejects it.
    fn give_up(&mut self) {
        self.gave_up = true;
        self.let_go();
    }

    fn let_go(&mut self) {
        if self.ready.is_empty() {
            self.ready = std::mem::take(&mut self.held);
        } else {
            self.ready.append(&mut self.held);
        }
        self.frame = 0;
        self.block = Vec::new();
    }
}

/// The head of a frame (RFC 9113 section 4.1).
#[derive(Clone, Copy)]
struct Head {
    length: usize,
    kind: u8,
    flags: u8,
}

fn head(frame: &[u8]) -> Option<Head> {
    let [a, b, c, kind, flags, ..] = *frame.first_chunk::<HEAD>()?;
    Some(Head {
        length: u32::from_be_bytes([0, a, b, c]) as usize,
        kind,
        flags,
    })
}

impl Head {
    /// The block fragment of a payload, without padding and priority (RFC 9113 section 6.2). `None` if it is invalid.
    fn fragment(self, payload: &[u8]) -> Option<&[u8]> {
        if self.kind == CONTINUATION {
            return Some(payload);
        }
        let (mut fragment, mut padding) = (payload, 0);
        if self.flags & PADDED != 0 {
            let (length, rest) = fragment.split_first()?;
            (fragment, padding) = (rest, usize::from(*length));
        }
        if self.flags & PRIORITY != 0 {
            fragment = fragment.get(5..)?;
        }
        fragment.get(..fragment.len().checked_sub(padding)?)
    }
}

/// Writes a block as frames. `first` is the original header of its first frame.
fn write_frames(first: &[u8], block: &[u8], into: &mut Vec<u8>) {
    let end_stream = first[4] & END_STREAM;
    let mut pieces = block.chunks(LONGEST).peekable();
    let (mut kind, mut flags) = (HEADERS, end_stream);
    while let Some(piece) = pieces.next() {
        if pieces.peek().is_none() {
            flags |= END_HEADERS;
        }
        let length = u32::try_from(piece.len()).unwrap_or_default().to_be_bytes();
        into.extend_from_slice(&length[1..]);
        into.extend([kind, flags]);
        into.extend_from_slice(&first[5..]);
        into.extend_from_slice(piece);
        (kind, flags) = (CONTINUATION, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::{HeaderBlocks, write_frames};
    use tokio::io::ReadBuf;

    const FIRST: &[u8] = b"\0\0\0\x01\0\0\0\0\x01";

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
    }

    /// The bytes that are passed on when the input arrives in these pieces.
    fn passed<'a>(blocks: &mut HeaderBlocks, pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
        let mut passed = Vec::new();
        let drain = |blocks: &mut HeaderBlocks, passed: &mut Vec<u8>| {
            let mut room = [0; 7];
            let mut buffer = ReadBuf::new(&mut room);
            while blocks.give(&mut buffer) {
                passed.extend_from_slice(buffer.filled());
                buffer.clear();
            }
        };
        for piece in pieces {
            let straight = blocks.take(piece);
            passed.extend_from_slice(&piece[..straight]);
            drain(blocks, &mut passed);
        }
        blocks.end();
        drain(blocks, &mut passed);
        passed
    }

    /// SETTINGS, an interim response, a head in two frames, data and trailers.
    fn response(name: &[u8]) -> Vec<u8> {
        let field = |name: &[u8]| [&[0x40, u8::try_from(name.len()).unwrap()][..], name, b"\x01x"].concat();
        [
            frame(4, 0, &[0; 6]),
            frame(1, 4, &[b"\x08\x03103", &field(name)[..]].concat()),
            frame(1, 0, b"\x88"),
            frame(9, 4, &field(name)),
            frame(0, 0, &[b'a'; 40]),
            frame(1, 5, &field(name)),
            frame(7, 0, &[0; 8]),
        ]
        .concat()
    }

    #[test]
    fn what_has_no_such_field_goes_on_as_it_came_in_any_cut() {
        let bytes = response(b"x-a");
        for cut in 0..=bytes.len() {
            let mut blocks = HeaderBlocks::up_to(1000);
            assert_eq!(
                passed(&mut blocks, [&bytes[..cut], &bytes[cut..]]),
                bytes,
                "cut at {cut}"
            );
            assert!(blocks.found().is_empty());
        }
    }

    #[test]
    fn a_field_of_a_connection_has_its_name_backwards_in_any_cut() {
        let (bytes, expected) = (response(b"upgrade"), response(b"edargpu"));
        // The head is written in one frame.
        let (one, two) = (
            frame(1, 4, b"\x88\x40\x07edargpu\x01x"),
            [frame(1, 0, b"\x88"), frame(9, 4, b"\x40\x07edargpu\x01x")].concat(),
        );
        let at = expected.windows(two.len()).position(|window| window == two).unwrap();
        let expected = [&expected[..at], &one, &expected[at + two.len()..]].concat();
        for cut in 0..=bytes.len() {
            let mut blocks = HeaderBlocks::up_to(1000);
            assert_eq!(
                passed(&mut blocks, [&bytes[..cut], &bytes[cut..]]),
                expected,
                "cut at {cut}"
            );
            assert_eq!(blocks.found().names(), ["connection_specific_field"]);
        }
        let bytes: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(passed(&mut HeaderBlocks::up_to(1000), bytes), expected);
    }

    #[test]
    fn names_of_the_static_table_and_compressed_ones_are_written_out() {
        for (block, expected) in [
            (&b"\x88\xb9"[..], &b"\x88\x00\x11gnidocne-refsnart\x00"[..]),
            (b"\x88\x79\x01x", b"\x88\x40\x11gnidocne-refsnart\x01x"),
            (b"\x88\x0f\x2a\x01x", b"\x88\x00\x11gnidocne-refsnart\x01x"),
            (b"\x88\x1f\x2a\x81\xf3", b"\x88\x10\x11gnidocne-refsnart\x81\xf3"),
            (
                b"\x20\x88\x10\x87\x21\xea\xa8\xa4\x49\x8f\x57\x00",
                b"\x20\x88\x10\x0anoitcennoc\x00",
            ),
            (b"\x88\x5c\x01x", b"\x88\x40\x0ehtgnel-tnetnoc\x01x"),
        ] {
            let bytes = frame(1, 4, block);
            let passed = passed(&mut HeaderBlocks::up_to(1000), [&bytes[..]]);
            assert_eq!(passed, frame(1, 4, expected), "{block:x?}");
        }
    }

    #[test]
    fn a_block_that_is_too_long_or_broken_goes_on_and_so_does_all_that_follows() {
        let field = frame(1, 4, b"\x88\x00\x07upgrade\x01x");
        for begin in [
            frame(1, 0, &vec![b'x'; 50_000]),
            frame(1, 4, b"\x88\xff\xff\xff"),
            frame(1, 4 | 8, b"\x05\x88"),
            frame(1, 4 | 8, b""),
            frame(1, 4 | 0x20, b"\0\0"),
            [frame(1, 0, b"\x88"), frame(0, 0, b"x")].concat(),
        ] {
            let bytes = [begin, field.clone()].concat();
            let mut blocks = HeaderBlocks::up_to(1000);
            assert_eq!(passed(&mut blocks, bytes.chunks(5000)), bytes);
            assert!(blocks.held.capacity() <= 1000 + super::OVERHEAD + 2 * 5000);
        }
    }

    #[test]
    fn what_comes_before_a_refused_block_goes_on() {
        let settings = frame(4, 0, &[0; 6]);
        let bytes = [settings.clone(), frame(1, 4, b"\x88\x00\x01X\x01x"), frame(0, 1, b"x")].concat();
        let mut blocks = HeaderBlocks::up_to(1000);
        assert_eq!(passed(&mut blocks, [&bytes[..]]), settings);
        assert_eq!(blocks.refused().unwrap().deviation.as_str(), "uppercase_field_name");
    }

    #[test]
    fn a_long_block_is_written_in_frames_of_the_usual_size() {
        let mut written = Vec::new();
        write_frames(FIRST, &vec![7; 16_384 * 2 + 1], &mut written);
        let expected = [frame(1, 0, &[7; 16_384]), frame(9, 0, &[7; 16_384]), frame(9, 4, &[7])];
        assert_eq!(written, expected.concat());
    }
}
