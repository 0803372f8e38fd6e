//! Frames of a WebSocket (RFC 6455 section 5): the library reads and writes their heads.

use crate::check::Heard;
use crate::reason::Reason;
use std::io::Cursor;
use tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};
use tungstenite::protocol::frame::{CloseFrame, Frame, FrameHeader};

/// A text message in one frame.
pub(super) fn masked_text(text: &[u8]) -> Vec<u8> {
    masked(Frame::message(text.to_vec(), OpCode::Data(Data::Text), true))
}

/// The word that nothing more will be said (section 7.1).
pub(super) fn masked_close() -> Vec<u8> {
    let frame = CloseFrame {
        code: CloseCode::Normal,
        reason: "".into(),
    };
    masked(Frame::close(Some(frame)))
}

/// Masked as a client's frames must be (section 5.3).
fn masked(mut frame: Frame) -> Vec<u8> {
    frame.header_mut().mask = Some(getrandom::u32().unwrap_or_default().to_be_bytes());
    let mut bytes = Vec::with_capacity(frame.len());
    // A frame can always be written to memory.
    frame.format(&mut bytes).expect("writing to a Vec cannot fail");
    bytes
}

/// The next message, put together from as many frames as the peer makes of it. Pings and pongs are none.
#[derive(Debug)]
pub(super) struct Message {
    /// Bytes of it, at most.
    most: u64,
    text: Vec<u8>,
}

impl Message {
    /// One of at most so many bytes.
    pub const fn within(most: u64) -> Self {
        Self { most, text: Vec::new() }
    }

    /// Takes the frames that are whole in what came. Each is taken once, however the peer cuts the message.
    pub fn take(&mut self, bytes: &[u8]) -> Heard<Vec<u8>> {
        let invalid = |words: &str| Heard::Never(Reason::WebsocketInvalid, words.to_owned());
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            let mut cursor = Cursor::new(rest);
            let (header, length) = match FrameHeader::parse(&mut cursor) {
                Ok(Some(parsed)) => parsed,
                Ok(None) => break,
                Err(error) => return invalid(&format!("A frame of the peer cannot be read: {error}.")),
            };
            if header.mask.is_some() {
                return invalid("The server masks its frames.");
            }
            let most = self.most;
            if length > most || self.text.len() as u64 + length > most {
                let words = format!("The message is over the {most} bytes that may be matched.");
                return Heard::Never(Reason::ContentBodyTooLarge, words);
            }
            let begin = usize::try_from(cursor.position()).unwrap_or(usize::MAX);
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            let Some(payload) = rest.get(begin..).and_then(|rest| rest.get(..length)) else {
                break;
            };
            at += begin + length;
            match header.opcode {
                OpCode::Data(_) => {
                    self.text.extend_from_slice(payload);
                    if header.is_final {
                        return Heard::Whole(at, std::mem::take(&mut self.text));
                    }
                }
                OpCode::Control(Control::Close) => {
                    let words = "The server closed the WebSocket before the expected message.";
                    return Heard::Never(Reason::WebsocketClosed, words.to_owned());
                }
                OpCode::Control(_) => {}
            }
        }
        Heard::More(at)
    }
}

#[cfg(test)]
mod tests {
    use super::{Message, masked_text};
    use crate::check::Heard;
    use crate::reason::Reason;

    const MOST: u64 = 10 << 20;

    #[test]
    fn a_message_is_put_together_from_its_frames() {
        let heard = |bytes: &[u8]| match Message::within(MOST).take(bytes) {
            Heard::Whole(count, text) => Some((count, text)),
            _ => None,
        };
        assert_eq!(heard(b"\x81\x02hi"), Some((4, b"hi".to_vec())));
        assert_eq!(heard(b"\x89\x00\x81\x02hi"), Some((6, b"hi".to_vec())));
        assert_eq!(heard(b"\x01\x02he\x89\x01x\x80\x03llo"), Some((12, b"hello".to_vec())));
        assert_eq!(heard(b"\x82\x01\0more"), Some((3, b"\0".to_vec())));
        for part in [&b""[..], b"\x81", b"\x81\x02h"] {
            let heard = Message::within(MOST).take(part);
            assert!(matches!(heard, Heard::More(0)), "{part:?}");
        }
    }

    #[test]
    fn each_frame_is_taken_once() {
        let mut message = Message::within(5);
        for part in [&b"\x01\x02he"[..], b"\x00\x00", b"\x89\x01x", b"\x00\x02ll"] {
            assert!(matches!(message.take(part), Heard::More(taken) if taken == part.len()));
        }
        assert!(matches!(message.take(b"\x80\x01o more"), Heard::Whole(3, text) if text == b"hello"));
        let mut long = Message::within(5);
        assert!(matches!(long.take(b"\x01\x04hell"), Heard::More(6)));
        assert!(matches!(
            long.take(b"\x80\x02o!"),
            Heard::Never(Reason::ContentBodyTooLarge, _)
        ));
    }

    #[test]
    fn what_can_never_be_a_message_is_told() {
        let reason = |bytes: &[u8]| match Message::within(MOST).take(bytes) {
            Heard::Never(reason, _) => Some(reason),
            _ => None,
        };
        assert_eq!(reason(b"\x88\x02\x03\xe8"), Some(Reason::WebsocketClosed));
        assert_eq!(reason(b"\x81\x82abcdxx"), Some(Reason::WebsocketInvalid));
        assert_eq!(reason(b"\x83\x00"), Some(Reason::WebsocketInvalid));
        assert_eq!(reason(b"\x81\x7f\0\0\0\x01\0\0\0\0"), Some(Reason::ContentBodyTooLarge));
    }

    #[test]
    fn what_we_say_is_masked() {
        let bytes = masked_text(b"hi");
        assert_eq!(bytes[..2], [0x81, 0x82]);
        let mask = &bytes[2..6];
        assert_eq!([bytes[6] ^ mask[0], bytes[7] ^ mask[1]], *b"hi");
    }
}
