//! What a key's answers usually look like: which fields good answers have, and which the gateway writes by itself.

use crate::report::Reply;
use http::HeaderName;

/// Fields that describe a body or a connection, or that edges add to what they pass on: whoever makes the answer.
const NO_MARKS: [&str; 23] = [
    "accept-ranges",
    "allow",
    "alt-svc",
    "cache-control",
    "connection",
    "content-encoding",
    "content-language",
    "content-length",
    "content-security-policy",
    "content-type",
    "date",
    "etag",
    "expires",
    "keep-alive",
    "last-modified",
    "permissions-policy",
    "referrer-policy",
    "set-cookie",
    "strict-transport-security",
    "transfer-encoding",
    "vary",
    "x-content-type-options",
    "x-frame-options",
];

/// Field names that are remembered, at most, and bytes of each: a peer chooses them.
const MOST_FIELDS: usize = 32;
const LONGEST_FIELD: usize = 64;

/// What is known of a key from its earlier probes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Baseline {
    /// The fields that every good answer had.
    always: Option<Fields>,
    /// With which status the edge refused the reference request by itself, when it was asked last.
    pub refused_fields: Option<u16>,
    /// What made the last good answer one of its kind: its `X-Request-Id`.
    last_request_id: Option<Box<[u8]>>,
    gateway: Option<Box<Gateway>>,
}

/// What was seen of a gateway. Most keys have none that speaks for itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Gateway {
    /// The fields that it wrote on answers of its own, where one was seen.
    own: Option<Fields>,
    /// A name of the catalogue.
    product: Option<&'static str>,
}

/// Names of fields, few and each once. There is one list for each key: most have nothing in it.
type Fields = Box<[HeaderName]>;

impl Baseline {
    /// Takes in a good answer.
    pub fn learn_good(&mut self, reply: &Reply) {
        let fields = marks(reply);
        self.always = Some(match self.always.take() {
            None => fields,
            Some(always) => always.into_iter().filter(|name| fields.contains(name)).collect(),
        });
        self.last_request_id = request_id(reply);
    }

    /// Takes in an answer that the gateway made itself.
    pub fn learn_gateway_response(&mut self, reply: &Reply) {
        let gateway = self.gateway.get_or_insert_default();
        let known = gateway.own.take().unwrap_or_default();
        let new: Vec<_> = marks(reply).into_iter().filter(|name| !known.contains(name)).collect();
        gateway.own = Some(known.into_iter().chain(new).take(MOST_FIELDS).collect());
    }

    /// The fields that only come from behind the gateway; `None` until both kinds of answers were seen.
    #[must_use]
    pub fn through_marks(&self) -> Option<Vec<&HeaderName>> {
        let (always, own) = (self.always.as_ref()?, self.gateway.as_ref()?.own.as_ref()?);
        Some(always.iter().filter(|name| !own.contains(name)).collect())
    }

    /// The gateway that was seen there: a name of the catalogue.
    #[must_use]
    pub fn product(&self) -> Option<&'static str> {
        self.gateway.as_ref()?.product
    }

    /// This gateway was seen there.
    pub fn learn_product(&mut self, name: &'static str) {
        self.gateway.get_or_insert_default().product = Some(name);
    }

    /// Whether an answer carries the `X-Request-Id` of the last good one: nobody made it anew.
    #[must_use]
    pub fn repeats(&self, reply: &Reply) -> bool {
        self.last_request_id.is_some() && self.last_request_id == request_id(reply)
    }
}

fn marks(reply: &Reply) -> Fields {
    let mark = |name: &&HeaderName| !NO_MARKS.contains(&name.as_str()) && name.as_str().len() <= LONGEST_FIELD;
    reply.headers.keys().filter(mark).take(MOST_FIELDS).cloned().collect()
}

fn request_id(reply: &Reply) -> Option<Box<[u8]>> {
    let value = reply.headers.get("x-request-id")?.as_bytes();
    (8..=128).contains(&value.len()).then(|| value.into())
}

#[cfg(test)]
mod tests {
    use super::{Baseline, NO_MARKS};
    use crate::report::Reply;

    fn reply(fields: &[(&'static str, &'static str)]) -> Reply {
        let fields = fields
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        Reply {
            headers: fields.collect(),
            ..Reply::default()
        }
    }

    #[test]
    fn through_marks_are_what_good_answers_always_have_and_the_gateway_never_writes() {
        let mut baseline = Baseline::default();
        baseline.learn_good(&reply(&[
            ("server", "edge"),
            ("x-app", "1"),
            ("x-now-and-then", "1"),
            ("date", "now"),
        ]));
        assert_eq!(baseline.through_marks(), None);
        baseline.learn_good(&reply(&[("server", "edge"), ("x-app", "2"), ("date", "then")]));
        baseline.learn_gateway_response(&reply(&[("server", "edge"), ("date", "then")]));
        let marks: Vec<_> = baseline
            .through_marks()
            .unwrap()
            .into_iter()
            .map(http::HeaderName::as_str)
            .collect();
        assert_eq!(marks, ["x-app"]);
    }

    #[test]
    fn an_answer_repeats_when_its_request_id_does() {
        let mut baseline = Baseline::default();
        baseline.learn_good(&reply(&[("x-request-id", "0123456789")]));
        assert!(baseline.repeats(&reply(&[("x-request-id", "0123456789")])));
        assert!(!baseline.repeats(&reply(&[("x-request-id", "0123456790")])));
        assert!(!Baseline::default().repeats(&reply(&[])));
        assert!(NO_MARKS.is_sorted());
    }
}
