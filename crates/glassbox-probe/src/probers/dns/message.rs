//! DNS messages: queries, framing for streams, parsing, and response codes.

use crate::check::{Check, ProbeFailed};
use glassbox_verdict::reason::Reason;
use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::{DNSClass, Name, RecordType};

/// A query to send.
pub(super) struct DnsQuestion {
    pub bytes: Vec<u8>,
}

impl DnsQuestion {
    /// Builds a query with one question and a random message ID.
    pub fn new(name: &Name, record_type: u16, class: u16, recursion_desired: bool) -> Self {
        let id = getrandom::u32().unwrap_or_default().to_be_bytes();
        let mut message = Message::new(u16::from_be_bytes([id[0], id[1]]), MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = recursion_desired;
        let mut query = Query::query(name.clone(), RecordType::from(record_type));
        query.set_query_class(DNSClass::from(class));
        message.add_query(query);
        // A name that passed `read_name` fits into a message.
        let bytes = message.to_vec().unwrap_or_default();
        Self { bytes }
    }

    /// Whether a message is the response to this query: it has the same ID and the response flag.
    pub fn is_answered_by(&self, message: &[u8]) -> bool {
        message.get(..2) == self.bytes.get(..2) && message.get(2).is_some_and(|flags| flags & 0x80 != 0)
    }

    pub fn with_length(&self) -> Vec<u8> {
        // A query is shorter than 64 KiB.
        let length = u16::try_from(self.bytes.len()).unwrap_or(u16::MAX);
        [&length.to_be_bytes()[..], &self.bytes].concat()
    }
}

/// The message after its length field, if it is complete.
pub(super) fn framed(bytes: &[u8]) -> Option<&[u8]> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    rest.get(..u16::from_be_bytes(*length).into())
}

pub(super) fn read(check: &mut Check, bytes: &[u8]) -> Result<Message, ProbeFailed> {
    Message::from_vec(bytes).map_err(|error| {
        let words = format!("The response is not a valid DNS message: {error}.");
        check.fail(Reason::DnsMalformed, words)
    })
}

/// The response codes that `blackbox_exporter` accepts by name (RFC 6895 section 2.3).
const RCODES: [(&str, u16); 20] = [
    ("NOERROR", 0),
    ("FORMERR", 1),
    ("SERVFAIL", 2),
    ("NXDOMAIN", 3),
    ("NOTIMP", 4),
    ("REFUSED", 5),
    ("YXDOMAIN", 6),
    ("YXRRSET", 7),
    ("NXRRSET", 8),
    ("NOTAUTH", 9),
    ("NOTZONE", 10),
    ("BADSIG", 16),
    ("BADVERS", 16),
    ("BADKEY", 17),
    ("BADTIME", 18),
    ("BADMODE", 19),
    ("BADNAME", 20),
    ("BADALG", 21),
    ("BADTRUNC", 22),
    ("BADCOOKIE", 23),
];

/// The number of a response code by its name.
#[must_use]
pub fn rcode_number(name: &str) -> Option<u16> {
    RCODES
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, number)| *number)
}

pub(super) fn rcode_name(number: u16) -> String {
    match RCODES.iter().find(|(_, known)| *known == number) {
        Some((name, _)) => (*name).to_owned(),
        None => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::{DnsQuestion, framed};
    use hickory_proto::rr::Name;

    #[test]
    fn a_question_knows_its_answer() {
        let question = DnsQuestion::new(&Name::from_ascii("example.test.").unwrap(), 1, 1, true);
        let mut answer = question.bytes.clone();
        assert!(!question.is_answered_by(&answer), "a query is not a response");
        answer[2] |= 0x80;
        assert!(question.is_answered_by(&answer));
        answer[0] ^= 1;
        assert!(!question.is_answered_by(&answer), "another ID");
        assert!(!question.is_answered_by(b""));
        let stream = question.with_length();
        assert_eq!(framed(&stream), Some(&question.bytes[..]));
        assert_eq!(framed(&stream[..stream.len() - 1]), None);
        assert_eq!(framed(&stream[..1]), None);
    }
}
