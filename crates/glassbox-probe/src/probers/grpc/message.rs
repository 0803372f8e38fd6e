//! The two messages of the health service (grpc.health.v1), with their framing: a flag, a length of four bytes,
//! protobuf.

/// Size of the message header in bytes.
const HEAD: usize = 5;

/// `ServingStatus` of a healthy service.
pub(super) const SERVING: u32 = 1;

/// `ServingStatus` values by name, in the label order of `blackbox_exporter`.
pub(super) const STATUSES: [(&str, u32); 4] = [
    ("UNKNOWN", 0),
    ("SERVING", 1),
    ("NOT_SERVING", 2),
    ("SERVICE_UNKNOWN", 3),
];

pub(super) fn name(status: u32) -> &'static str {
    let known = STATUSES.iter().find(|(_, number)| *number == status);
    known.map_or("an unknown status", |(name, _)| name)
}

/// `HealthCheckRequest { string service = 1; }`.
pub(super) fn request(service: &str) -> Vec<u8> {
    let mut message = Vec::new();
    if !service.is_empty() {
        message.push(0x0a);
        put_varint(&mut message, service.len() as u64);
        message.extend(service.as_bytes());
    }
    // A service name in the configuration is shorter than 4 GiB.
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let mut framed = vec![0];
    framed.extend(length.to_be_bytes());
    framed.extend(message);
    framed
}

/// Maximum message size that grpc-go accepts, in bytes.
const LARGEST: u32 = 4 << 20;

/// Why a body does not contain a valid health service message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum InvalidMessage {
    /// The message is compressed, although the request offers no compression.
    Compressed,
    /// The declared length exceeds the maximum.
    TooLarge,
    /// The message is missing or incomplete.
    Incomplete,
    /// There is more than one message. The call returns exactly one.
    Several,
    /// The message is not valid protobuf.
    Malformed,
}

impl InvalidMessage {
    pub const fn words(self) -> &'static str {
        match self {
            Self::Compressed => "it is compressed",
            Self::TooLarge => "it is too large",
            Self::Incomplete => "it is missing or incomplete",
            Self::Several => "there is more than one",
            Self::Malformed => "it is malformed",
        }
    }
}

/// The status in a `HealthCheckResponse { ServingStatus status = 1; }`.
///
/// # Errors
/// Fails if the body is not exactly one such message.
pub(super) fn status(body: &[u8]) -> Result<u32, InvalidMessage> {
    let (head, rest) = body.split_first_chunk::<HEAD>().ok_or(InvalidMessage::Incomplete)?;
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
    if length > LARGEST {
        return Err(InvalidMessage::TooLarge);
    }
    let (message, more) = usize::try_from(length)
        .ok()
        .and_then(|length| rest.split_at_checked(length))
        .ok_or(InvalidMessage::Incomplete)?;
    if head[0] != 0 {
        return Err(InvalidMessage::Compressed);
    }
    let serving = serving(message).ok_or(InvalidMessage::Malformed)?;
    if more.is_empty() {
        Ok(serving)
    } else {
        Err(InvalidMessage::Several)
    }
}

fn serving(mut message: &[u8]) -> Option<u32> {
    let mut status = 0;
    while !message.is_empty() {
        let key = take_varint(&mut message)?;
        match key & 7 {
            0 => {
                let value = take_varint(&mut message)?;
                if key >> 3 == 1 {
                    status = u32::try_from(value).ok()?;
                }
            }
            1 => message = message.get(8..)?,
            2 => {
                let length = usize::try_from(take_varint(&mut message)?).ok()?;
                message = message.get(length..)?;
            }
            5 => message = message.get(4..)?,
            _ => return None,
        }
    }
    Some(status)
}

fn put_varint(bytes: &mut Vec<u8>, mut value: u64) {
    loop {
        #[allow(clippy::cast_possible_truncation, reason = "seven bits")]
        let low = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            return bytes.push(low);
        }
        bytes.push(low | 0x80);
    }
}

fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for place in 0..10 {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{InvalidMessage, request, status};

    #[test]
    fn the_request_is_framed() {
        assert_eq!(request(""), [0, 0, 0, 0, 0]);
        assert_eq!(request("a.B"), b"\0\0\0\0\x05\x0a\x03a.B");
        let long = request(&"x".repeat(300));
        assert_eq!(long[..8], [0, 0, 0, 1, 47, 0x0a, 0xac, 0x02]);
    }

    #[test]
    fn the_status_is_read_and_what_else_there_is_passed_over() {
        assert_eq!(status(b"\0\0\0\0\0"), Ok(0));
        assert_eq!(status(b"\0\0\0\0\x02\x08\x01"), Ok(1));
        assert_eq!(status(b"\0\0\0\0\x0d\x12\x02hi\x08\x02\x1d\0\0\0\0\x20\x07"), Ok(2));
        for (wrong, why) in [
            (&b""[..], InvalidMessage::Incomplete),
            (b"\0\0\0\0\x02\x08", InvalidMessage::Incomplete),
            (b"\x01\0\0\0\x02\x08\x01", InvalidMessage::Compressed),
            (b"\0\0\0\0\x01\x0b", InvalidMessage::Malformed),
            (b"\0\0\0\0\0\0\0\0\0\0", InvalidMessage::Several),
            (b"<html>", InvalidMessage::TooLarge),
        ] {
            assert_eq!(status(wrong), Err(why), "{wrong:?}");
        }
    }
}
