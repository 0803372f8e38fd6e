//! WebSocket frames (RFC 6455 section 5). The library reads and writes the frame headers.

use crate::check::DialogueRead;
use glassbox_verdict::reason::Reason;
use std::io::Cursor;
use tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};
use tungstenite::protocol::frame::{CloseFrame, Frame, FrameHeader};

/// A text message in one frame.
pub(super) fn masked_text(text: &[u8]) -> Vec<u8> {
    masked(Frame::message(text.to_vec(), OpCode::Data(Data::Text), true))
}

/// A close frame: no more data will be sent (section 7.1).
pub(super) fn masked_close() -> Vec<u8> {
    let frame = CloseFrame {
        code: CloseCode::Normal,
        reason: "".into(),
    };
    masked(Frame::close(Some(frame)))
}

/// Masks a frame, as required of clients (section 5.3).
fn masked(mut frame: Frame) -> Vec<u8> {
    frame.header_mut().mask = Some(getrandom::u32().unwrap_or_default().to_be_bytes());
    let mut bytes = Vec::with_capacity(frame.len());
    // Writing a frame to memory cannot fail.
    frame.format(&mut bytes).expect("writing to a Vec cannot fail");
    bytes
}

/// A pong with a ping's payload (section 5.5.3).
fn masked_pong(payload: &[u8]) -> Vec<u8> {
    masked(Frame::pong(payload.to_vec()))
}

/// Maximum payload of a control frame in bytes (section 5.5).
const LARGEST_CONTROL: u64 = 125;

/// The next message, reassembled from its frames. Pings are answered, pongs are ignored.
#[derive(Debug)]
pub(super) struct Message {
    /// Maximum size of the message in bytes.
    most: u64,
    text: Vec<u8>,
    /// Type of the message, known from its first frame.
    kind: Option<Data>,
    close_code: Option<u16>,
}

/// A complete frame.
struct Whole<'a> {
    header: FrameHeader,
    payload: &'a [u8],
    /// Size of the frame in bytes, including its header.
    size: usize,
}

impl Message {
    /// A message of up to `most` bytes.
    pub const fn within(most: u64) -> Self {
        Self {
            most,
            text: Vec::new(),
            kind: None,
            close_code: None,
        }
    }

    /// The payload received so far of an incomplete message.
    pub fn begun(&self) -> &[u8] {
        &self.text
    }

    /// The close code, if the server closed the WebSocket instead of sending the message.
    pub const fn close_code(&self) -> Option<u16> {
        self.close_code
    }

    /// Consumes the complete frames in `bytes`. Each frame is consumed once, however the message is fragmented.
    pub fn take(&mut self, bytes: &[u8]) -> DialogueRead<Vec<u8>> {
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            let frame = match self.frame(rest) {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err((reason, words)) => return DialogueRead::Never(reason, words),
            };
            at += frame.size;
            match frame.header.opcode {
                OpCode::Data(data) => {
                    if let Err(words) = self.add(data, frame.payload) {
                        return DialogueRead::Never(Reason::WebsocketInvalid, words.to_owned());
                    }
                    if frame.header.is_final {
                        return self.whole(at);
                    }
                }
                OpCode::Control(Control::Close) => return self.closed(frame.payload),
                OpCode::Control(Control::Ping) => return DialogueRead::Answer(at, masked_pong(frame.payload)),
                OpCode::Control(_) => {}
            }
        }
        DialogueRead::More(at)
    }

    /// The first frame in `bytes`, if it is complete and valid.
    fn frame<'a>(&self, bytes: &'a [u8]) -> Result<Option<Whole<'a>>, (Reason, String)> {
        let invalid = |words: &str| Err((Reason::WebsocketInvalid, words.to_owned()));
        let mut cursor = Cursor::new(bytes);
        let (header, length) = match FrameHeader::parse(&mut cursor) {
            Ok(Some(parsed)) => parsed,
            Ok(None) => return Ok(None),
            Err(error) => return invalid(&format!("The server sent an invalid frame: {error}.")),
        };
        if header.mask.is_some() {
            return invalid("The server sent a masked frame.");
        }
        if header.rsv1 || header.rsv2 || header.rsv3 {
            return invalid("The server sent a frame with a reserved bit set.");
        }
        if !has_shortest_length(bytes[1] & 0x7f, length) {
            return invalid("The server sent a frame whose length field is not as short as possible.");
        }
        if matches!(header.opcode, OpCode::Control(_)) {
            if length > LARGEST_CONTROL {
                return invalid("The server sent a control frame longer than 125 bytes.");
            }
            if !header.is_final {
                return invalid("The server sent a fragmented control frame.");
            }
        } else if length > self.most || self.text.len() as u64 + length > self.most {
            let words = format!("The message exceeds the limit of {} bytes for matching.", self.most);
            return Err((Reason::ContentBodyTooLarge, words));
        }
        let begin = usize::try_from(cursor.position()).unwrap_or(usize::MAX);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let payload = bytes.get(begin..).and_then(|rest| rest.get(..length));
        Ok(payload.map(|payload| Whole {
            header,
            payload,
            size: begin + length,
        }))
    }

    /// Adds one fragment of the message (section 5.4).
    fn add(&mut self, data: Data, payload: &[u8]) -> Result<(), &'static str> {
        match (data, self.kind) {
            (Data::Continue, None) => return Err("The server sent a continuation frame without a first frame."),
            (Data::Text | Data::Binary, Some(_)) => return Err("The server started a new message within another one."),
            (Data::Text | Data::Binary, None) => self.kind = Some(data),
            _ => {}
        }
        self.text.extend_from_slice(payload);
        Ok(())
    }

    fn whole(&mut self, at: usize) -> DialogueRead<Vec<u8>> {
        let text = std::mem::take(&mut self.text);
        if self.kind.take() == Some(Data::Text) && std::str::from_utf8(&text).is_err() {
            let words = "The server sent a text message that is not valid UTF-8.";
            return DialogueRead::Never(Reason::WebsocketInvalid, words.to_owned());
        }
        DialogueRead::Whole(at, text)
    }

    /// Handles a close frame: empty, or a code of two bytes and an optional text (section 5.5.1).
    fn closed(&mut self, payload: &[u8]) -> DialogueRead<Vec<u8>> {
        let invalid = |words: String| DialogueRead::Never(Reason::WebsocketInvalid, words);
        let Some((code, words)) = payload.split_first_chunk() else {
            return if payload.is_empty() {
                let words = "The server closed the WebSocket without a code before the expected message.";
                DialogueRead::Never(Reason::WebsocketClosed, words.to_owned())
            } else {
                invalid("The server closed the WebSocket with an incomplete code.".to_owned())
            };
        };
        let code = u16::from_be_bytes(*code);
        self.close_code = Some(code);
        let Some(meaning) = meaning_of(code) else {
            return invalid(format!(
                "The server closed the WebSocket with code {code}, which must not be sent."
            ));
        };
        if std::str::from_utf8(words).is_err() {
            return invalid(format!(
                "The server closed the WebSocket with code {code} and a reason that is not valid UTF-8."
            ));
        }
        let words =
            format!("The server closed the WebSocket with code {code} ({meaning}) before the expected message.");
        DialogueRead::Never(Reason::WebsocketClosed, words)
    }
}

/// Whether a length has the shortest encoding (RFC 6455 section 5.2). `first` is the length field in the second byte of
/// the frame.
const fn has_shortest_length(first: u8, length: u64) -> bool {
    match first {
        126 => length > LARGEST_CONTROL,
        127 => length > 0xffff && length >> 63 == 0,
        _ => true,
    }
}

/// The meaning of a code (section 7.4 and the IANA registry); `None` if it must not appear in a frame.
const fn meaning_of(code: u16) -> Option<&'static str> {
    Some(match code {
        1000 => "normal closure",
        1001 => "going away",
        1002 => "protocol error",
        1003 => "unsupported data",
        1007 => "invalid payload data",
        1008 => "policy violation",
        1009 => "message too big",
        1010 => "mandatory extension missing",
        1011 => "internal error",
        1012 => "service restart",
        1013 => "try again later",
        1014 => "bad gateway",
        3000..=3999 => "registered by a library or an application",
        4000..=4999 => "private use",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::{Message, masked_text};
    use crate::check::DialogueRead;
    use glassbox_verdict::reason::Reason;

    const MOST: u64 = 10 << 20;

    #[test]
    fn a_message_is_put_together_from_its_frames() {
        let heard = |bytes: &[u8]| match Message::within(MOST).take(bytes) {
            DialogueRead::Whole(count, text) => Some((count, text)),
            _ => None,
        };
        assert_eq!(heard(b"\x81\x02hi"), Some((4, b"hi".to_vec())));
        assert_eq!(heard(b"\x8a\x00\x81\x02hi"), Some((6, b"hi".to_vec())));
        assert_eq!(heard(b"\x01\x02he\x8a\x01x\x80\x03llo"), Some((12, b"hello".to_vec())));
        // A character may be split between two frames.
        assert_eq!(heard(b"\x01\x01\xc3\x80\x01\xbc"), Some((6, "ü".as_bytes().to_vec())));
        assert_eq!(heard(b"\x82\x01\xff"), Some((3, b"\xff".to_vec())));
        assert_eq!(heard(b"\x82\x01\0more"), Some((3, b"\0".to_vec())));
        for part in [&b""[..], b"\x81", b"\x81\x02h"] {
            let heard = Message::within(MOST).take(part);
            assert!(matches!(heard, DialogueRead::More(0)), "{part:?}");
        }
    }

    #[test]
    fn each_frame_is_taken_once() {
        let mut message = Message::within(5);
        for part in [&b"\x01\x02he"[..], b"\x00\x00", b"\x8a\x01x", b"\x00\x02ll"] {
            assert!(matches!(message.take(part), DialogueRead::More(taken) if taken == part.len()));
        }
        assert!(matches!(message.take(b"\x80\x01o more"), DialogueRead::Whole(3, text) if text == b"hello"));
        let mut long = Message::within(5);
        assert!(matches!(long.take(b"\x01\x04hell"), DialogueRead::More(6)));
        assert!(matches!(
            long.take(b"\x80\x02o!"),
            DialogueRead::Never(Reason::ContentBodyTooLarge, _)
        ));
    }

    #[test]
    fn what_can_never_be_a_message_is_told() {
        let reason = |bytes: &[u8]| match Message::within(MOST).take(bytes) {
            DialogueRead::Never(reason, _) => Some(reason),
            _ => None,
        };
        assert_eq!(reason(b"\x88\x02\x03\xe8"), Some(Reason::WebsocketClosed));
        assert_eq!(reason(b"\x88\x00"), Some(Reason::WebsocketClosed));
        let large = [&b"\x89\x7e\x00\x7e"[..], &[b'x'; 126]].concat();
        for frame in [
            &b"\x81\x82abcdxx"[..],
            b"\x83\x00",
            b"\x8b\x00",
            b"\xc1\x02hi",
            b"\xa1\x02hi",
            b"\x91\x02hi",
            b"\xc9\x00",
            b"\x09\x01x",
            &large,
            b"\x80\x02hi",
            b"\x01\x01a\x81\x01b",
            b"\x81\x01\xff",
            b"\x81\x03\xed\xa0\x80",
            b"\x81\x7e\x00\x05hello",
            b"\x81\x7f\0\0\0\0\0\0\0\x05hello",
            b"\x81\x7f\x80\0\0\0\0\0\0\x05hello",
            b"\x88\x01x",
            b"\x88\x03\x03\xe8\xff",
        ] {
            assert_eq!(reason(frame), Some(Reason::WebsocketInvalid), "{frame:?}");
        }
        assert_eq!(reason(b"\x81\x7f\0\0\0\x01\0\0\0\0"), Some(Reason::ContentBodyTooLarge));
    }

    #[test]
    fn the_code_of_a_close_is_kept_and_judged() {
        for (code, reason) in [
            (999, Reason::WebsocketInvalid),
            (1000, Reason::WebsocketClosed),
            (1004, Reason::WebsocketInvalid),
            (1005, Reason::WebsocketInvalid),
            (1006, Reason::WebsocketInvalid),
            (1011, Reason::WebsocketClosed),
            (1014, Reason::WebsocketClosed),
            (1015, Reason::WebsocketInvalid),
            (2999, Reason::WebsocketInvalid),
            (3000, Reason::WebsocketClosed),
            (4999, Reason::WebsocketClosed),
            (5000, Reason::WebsocketInvalid),
        ] {
            let mut message = Message::within(MOST);
            let frame = [&b"\x88\x05"[..], &u16::to_be_bytes(code), b"why"].concat();
            let DialogueRead::Never(given, words) = message.take(&frame) else {
                panic!("{code}");
            };
            assert_eq!((given, message.close_code()), (reason, Some(code)), "{words}");
            assert!(words.contains(&code.to_string()), "{words}");
        }
    }

    #[test]
    fn a_ping_is_answered_with_what_it_holds() {
        let mut message = Message::within(MOST);
        let DialogueRead::Answer(taken, pong) = message.take(b"\x89\x02hi\x81\x01x") else {
            panic!("no pong");
        };
        assert_eq!((taken, &pong[..2]), (4, &[0x8a, 0x82][..]));
        assert_eq!([pong[6] ^ pong[2], pong[7] ^ pong[3]], *b"hi");
        assert!(matches!(message.take(b"\x81\x01x"), DialogueRead::Whole(3, _)));
    }

    #[test]
    fn what_we_say_is_masked() {
        let bytes = masked_text(b"hi");
        assert_eq!(bytes[..2], [0x81, 0x82]);
        let mask = &bytes[2..6];
        assert_eq!([bytes[6] ^ mask[0], bytes[7] ^ mask[1]], *b"hi");
    }
}
