//! Builds one DNS query and parses the responses, record by record, so that an unreadable record does not affect the
//! others.

use hickory_proto::op::{Edns, Header, Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name, RecordType};
use hickory_proto::serialize::binary::{BinDecodable as _, BinDecoder, DecodeError};
use std::net::IpAddr;

/// Maximum size in bytes of a UDP response, sent in EDNS. Datagrams of this size pass every network path without
/// fragmentation (as in Go's resolver).
const ROOM: u16 = 1232;

/// Maximum number of addresses to keep from one response. This limits the memory that a hostile server can occupy.
const MOST_ADDRESSES: usize = 256;

/// Response codes (RFC 6895 section 2.3).
const FORMERR: u16 = 1;
const SERVFAIL: u16 = 2;
const NXDOMAIN: u16 = 3;
const NOTIMP: u16 = 4;
const REFUSED: u16 = 5;
const BADVERS: u16 = 16;

/// A serialized DNS query.
#[derive(Clone, Debug)]
pub(super) struct LookupQuestion {
    id: u16,
    query: Query,
    /// Whether the query has an OPT record (RFC 6891).
    pub edns: bool,
    pub bytes: Vec<u8>,
}

impl LookupQuestion {
    /// Builds a query for the addresses of one family.
    pub fn new(name: &Name, kind: RecordType, edns: bool, trust_ad: bool) -> Self {
        let [high, low, ..] = getrandom::u32().unwrap_or_default().to_be_bytes();
        let id = u16::from_be_bytes([high, low]);
        let query = Query::query(name.clone(), kind);
        let mut message = Message::new(id, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = true;
        message.metadata.authentic_data = trust_ad;
        message.add_query(query.clone());
        if edns {
            let mut room = Edns::new();
            room.set_max_payload(ROOM);
            message.edns = Some(room);
        }
        // A validated name always fits in a message.
        let bytes = message.to_vec().unwrap_or_default();
        Self { id, query, edns, bytes }
    }

    /// The message with its length in front, as streams require (RFC 1035 section 4.2.2).
    pub fn with_length(&self) -> Vec<u8> {
        let length = u16::try_from(self.bytes.len()).unwrap_or(u16::MAX);
        [&length.to_be_bytes()[..], &self.bytes].concat()
    }

    /// Parses a message that may be the response to this query.
    pub fn read(&self, bytes: &[u8]) -> ReceivedMessage {
        let id = bytes.first_chunk::<2>().map(|id| u16::from_be_bytes(*id));
        if id != Some(self.id) {
            return ReceivedMessage::Foreign;
        }
        match self.response(bytes) {
            Ok(received) => received,
            Err(_) => ReceivedMessage::Malformed,
        }
    }

    fn response(&self, bytes: &[u8]) -> Result<ReceivedMessage, DecodeError> {
        let mut decoder = BinDecoder::new(bytes);
        let header = Header::read(&mut decoder)?;
        if header.metadata.message_type != MessageType::Response {
            return Ok(ReceivedMessage::Foreign);
        }
        match header.counts.queries {
            0 => {}
            _ if Query::read(&mut decoder)? == self.query => {}
            // The ID was guessed, or belongs to another query.
            _ => return Ok(ReceivedMessage::Foreign),
        }
        let response = Response::read(&mut decoder, &header, self.query.query_type());
        // Servers that cannot parse a query do not repeat its question. A successful response without the question is
        // invalid.
        if header.counts.queries == 0 && !response.is_failure() {
            return Ok(ReceivedMessage::Malformed);
        }
        Ok(ReceivedMessage::Response(response))
    }
}

/// Classification of a received message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ReceivedMessage {
    /// The response to another query, or a forged one.
    Foreign,
    /// It has the query's ID but cannot be parsed.
    Malformed,
    Response(Response),
}

/// The relevant parts of a response.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Response {
    /// Response code, including the upper bits from an OPT record.
    code: u16,
    pub truncated: bool,
    /// Addresses of the requested family, in the order of the response.
    addresses: Vec<IpAddr>,
    /// Whether the answer section could not be parsed to its end.
    cut: bool,
    /// Whether this is a referral: the server does not offer recursion, does not know the name, and refers to other
    /// servers.
    refers: bool,
}

/// Result of a response for a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum LookupOutcome {
    /// At least one address.
    Addresses(Vec<IpAddr>),
    NoSuchName,
    NoData,
    /// Another server may return a more useful response.
    Failed(Failure),
}

/// Kind of a name server's failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    ServFail,
    Refused,
    FormErr,
    Other(u16),
    Malformed,
    Referral,
}

impl Response {
    fn read(decoder: &mut BinDecoder<'_>, header: &Header, wanted: RecordType) -> Self {
        let (flags, counts) = (&header.metadata, &header.counts);
        let mut response = Self {
            code: flags.response_code.into(),
            truncated: flags.truncation,
            ..Self::default()
        };
        // Skips further questions.
        let questions = (1..counts.queries).try_for_each(|_| Query::read(decoder).map(drop));
        let answers = questions.and_then(|()| response.read_answers(decoder, counts.answers, wanted));
        response.cut = answers.is_err();
        let authorities = answers.and_then(|()| skip(decoder, counts.authorities));
        let extended = authorities.and_then(|()| extended_code(decoder, counts.additionals));
        response.code |= extended.unwrap_or_default() << 4;
        response.refers = !flags.authoritative && !flags.recursion_available && counts.answers == 0;
        response
    }

    fn read_answers(
        &mut self,
        decoder: &mut BinDecoder<'_>,
        count: u16,
        wanted: RecordType,
    ) -> Result<(), DecodeError> {
        for _ in 0..count {
            let record = Raw::read(decoder)?;
            if record.kind == wanted && self.addresses.len() < MOST_ADDRESSES {
                self.addresses.extend(record.address());
            }
        }
        Ok(())
    }

    const fn is_failure(&self) -> bool {
        !matches!(self.code, 0 | NXDOMAIN)
    }

    /// Whether the server rejects the OPT record of a query (RFC 6891 section 7).
    pub const fn refuses_edns(&self) -> bool {
        matches!(self.code, FORMERR | NOTIMP | BADVERS)
    }

    /// The result for the name.
    pub fn outcome(self) -> LookupOutcome {
        match self.code {
            0 if !self.addresses.is_empty() => LookupOutcome::Addresses(self.addresses),
            0 if self.cut => LookupOutcome::Failed(Failure::Malformed),
            0 if self.refers => LookupOutcome::Failed(Failure::Referral),
            0 => LookupOutcome::NoData,
            NXDOMAIN => LookupOutcome::NoSuchName,
            SERVFAIL => LookupOutcome::Failed(Failure::ServFail),
            REFUSED => LookupOutcome::Failed(Failure::Refused),
            FORMERR => LookupOutcome::Failed(Failure::FormErr),
            other => LookupOutcome::Failed(Failure::Other(other)),
        }
    }
}

/// A record whose data is not parsed.
struct Raw<'a> {
    kind: RecordType,
    ttl: u32,
    data: &'a [u8],
}

impl<'a> Raw<'a> {
    fn read(decoder: &mut BinDecoder<'a>) -> Result<Self, DecodeError> {
        skip_name(decoder)?;
        let kind = decoder.read_u16()?.unverified();
        let _class = decoder.read_u16()?;
        let ttl = decoder.read_u32()?.unverified();
        let length = decoder.read_u16()?.unverified();
        let data = decoder.read_slice(length.into())?.unverified();
        Ok(Self {
            kind: kind.into(),
            ttl,
            data,
        })
    }

    /// The address of an A or AAAA record. Returns `None` if the data has a different length.
    fn address(&self) -> Option<IpAddr> {
        match self.kind {
            RecordType::A => <[u8; 4]>::try_from(self.data).ok().map(IpAddr::from),
            RecordType::AAAA => <[u8; 16]>::try_from(self.data).ok().map(IpAddr::from),
            _ => None,
        }
    }
}

/// Skips a name, which may end with a pointer (RFC 1035 section 4.1.4). The owner of a record is not relevant here.
fn skip_name(decoder: &mut BinDecoder<'_>) -> Result<(), DecodeError> {
    loop {
        match decoder.read_u8()?.unverified() {
            0 => return Ok(()),
            pointer if pointer >= 0xc0 => return decoder.read_u8().map(drop),
            length => drop(decoder.read_slice(length.into())?),
        }
    }
}

fn skip(decoder: &mut BinDecoder<'_>, count: u16) -> Result<(), DecodeError> {
    (0..count).try_for_each(|_| Raw::read(decoder).map(drop))
}

/// The upper bits of the response code, from the TTL of an OPT record (RFC 6891 section 6.1.3).
fn extended_code(decoder: &mut BinDecoder<'_>, count: u16) -> Result<u16, DecodeError> {
    let mut extended = 0;
    for _ in 0..count {
        let record = Raw::read(decoder)?;
        if record.kind == RecordType::OPT {
            let [upper, ..] = record.ttl.to_be_bytes();
            extended = upper.into();
        }
    }
    Ok(extended)
}

#[cfg(test)]
mod tests {
    use super::{Failure, LookupOutcome, LookupQuestion, ReceivedMessage};
    use crate::check::resolver::name;
    use hickory_proto::op::{Message, MessageType, ResponseCode};
    use hickory_proto::rr::rdata::A;
    use hickory_proto::rr::{Name, RData, Record, RecordType};

    fn question() -> LookupQuestion {
        LookupQuestion::new(&name::read("name.test").unwrap(), RecordType::A, false, false)
    }

    fn response(to: &LookupQuestion, change: impl FnOnce(&mut Message)) -> Vec<u8> {
        let mut message = Message::from_vec(&to.bytes).unwrap();
        message.metadata.message_type = MessageType::Response;
        message.metadata.recursion_available = true;
        change(&mut message);
        message.to_vec().unwrap()
    }

    fn outcome(received: ReceivedMessage) -> Option<LookupOutcome> {
        match received {
            ReceivedMessage::Response(response) => Some(response.outcome()),
            _ => None,
        }
    }

    #[test]
    fn only_the_response_to_the_question_is_taken() {
        let question = question();
        assert_eq!(
            question.read(&question.bytes),
            ReceivedMessage::Foreign,
            "the question itself"
        );
        assert_eq!(question.read(b""), ReceivedMessage::Foreign);
        assert_eq!(question.read(&question.bytes[..2]), ReceivedMessage::Malformed);
        let mut other = response(&question, |_| ());
        other[1] ^= 1;
        assert_eq!(question.read(&other), ReceivedMessage::Foreign, "another number");
        let about_another_name = response(&question, |message| {
            message.queries[0].set_name(Name::from_ascii("other.test.").unwrap());
        });
        assert_eq!(question.read(&about_another_name), ReceivedMessage::Foreign);
        let in_capitals = response(&question, |message| {
            message.queries[0].set_name(Name::from_ascii("NAME.test.").unwrap());
        });
        assert_eq!(outcome(question.read(&in_capitals)), Some(LookupOutcome::NoData));
    }

    #[test]
    fn a_failure_needs_no_question_and_an_answer_does() {
        let question = question();
        let without_question = |code| {
            response(&question, |message| {
                message.queries.clear();
                message.metadata.response_code = code;
            })
        };
        let refused = question.read(&without_question(ResponseCode::FormErr));
        assert_eq!(outcome(refused), Some(LookupOutcome::Failed(Failure::FormErr)));
        assert_eq!(
            question.read(&without_question(ResponseCode::NXDomain)),
            ReceivedMessage::Malformed
        );
        assert_eq!(
            question.read(&without_question(ResponseCode::NoError)),
            ReceivedMessage::Malformed
        );
    }

    #[test]
    fn the_extended_response_code_is_read() {
        let question = LookupQuestion::new(&name::read("name.test").unwrap(), RecordType::A, true, false);
        let bytes = response(&question, |message| {
            message.metadata.response_code = ResponseCode::BADVERS;
        });
        assert_eq!(
            outcome(question.read(&bytes)),
            Some(LookupOutcome::Failed(Failure::Other(16)))
        );
    }

    #[test]
    fn addresses_are_bounded() {
        let question = question();
        let bytes = response(&question, |message| {
            for number in 0..1000_u32 {
                let data = RData::A(A(number.into()));
                message.add_answer(Record::from_rdata(Name::from_ascii("name.test.").unwrap(), 60, data));
            }
        });
        match outcome(question.read(&bytes)) {
            Some(LookupOutcome::Addresses(addresses)) => assert_eq!(addresses.len(), super::MOST_ADDRESSES),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn no_cut_of_a_response_panics() {
        let question = question();
        let bytes = response(&question, |message| {
            let data = RData::A(A([127, 0, 0, 1].into()));
            message.add_answer(Record::from_rdata(Name::from_ascii("name.test.").unwrap(), 60, data));
        });
        for length in 0..bytes.len() {
            for flip in [0, 0xff, 0xc0] {
                let mut cut = bytes[..length].to_vec();
                if let Some(last) = cut.last_mut() {
                    *last ^= flip;
                }
                let _ = question.read(&cut);
            }
        }
    }
}
