//! The usual responses of a key: the header fields of successful responses, and those that the gateway itself adds.

use crate::report::Reply;
use http::HeaderName;

/// Fields that describe a body or a connection, or that edges add to forwarded responses, regardless of who generated
/// them.
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

/// Maximum number of remembered field names, and their maximum length in bytes. The server chooses the names, so both
/// are limited.
const MOST_FIELDS: usize = 32;
const LONGEST_FIELD: usize = 64;

/// Facts about a key from its earlier probes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Baseline {
    /// Fields that every successful response contained.
    always: Option<Fields>,
    /// Status with which the edge itself rejected the last reference request.
    pub refused_fields: Option<u16>,
    /// The `X-Request-Id` of the last successful response.
    last_request_id: Option<Box<[u8]>>,
    gateway: Option<Box<Gateway>>,
}

impl Baseline {
    /// Nothing is known.
    pub const EMPTY: Self = Self {
        always: None,
        refused_fields: None,
        last_request_id: None,
        gateway: None,
    };
}

/// Facts about a gateway. Most keys have no gateway that generates its own responses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Gateway {
    /// Fields of the gateway's own responses, if one was observed.
    own: Option<Fields>,
    /// A name from the catalogue.
    product: Option<&'static str>,
}

/// A short list of distinct field names. There is one for each key, and most are empty.
type Fields = Box<[HeaderName]>;

impl Baseline {
    /// Records a successful response.
    pub fn learn_good(&mut self, reply: &Reply) {
        let fields = marks(reply);
        self.always = Some(match self.always.take() {
            None => fields,
            Some(always) => always.into_iter().filter(|name| fields.contains(name)).collect(),
        });
        self.last_request_id = request_id(reply);
    }

    /// Records a response that the gateway itself generated.
    pub fn learn_gateway_response(&mut self, reply: &Reply) {
        let gateway = self.gateway.get_or_insert_default();
        let known = gateway.own.take().unwrap_or_default();
        let new: Vec<_> = marks(reply).into_iter().filter(|name| !known.contains(name)).collect();
        gateway.own = Some(known.into_iter().chain(new).take(MOST_FIELDS).collect());
    }

    /// Fields that only come from behind the gateway; `None` until both kinds of responses were observed.
    #[must_use]
    pub fn through_marks(&self) -> Option<Vec<&HeaderName>> {
        let (always, own) = (self.always.as_ref()?, self.gateway.as_ref()?.own.as_ref()?);
        Some(always.iter().filter(|name| !own.contains(name)).collect())
    }

    /// The gateway that was observed at the edge: a name from the catalogue.
    #[must_use]
    pub fn product(&self) -> Option<&'static str> {
        self.gateway.as_ref()?.product
    }

    /// Records a gateway that was observed at the edge.
    pub fn learn_product(&mut self, name: &'static str) {
        self.gateway.get_or_insert_default().product = Some(name);
    }

    /// Whether a response carries the `X-Request-Id` of the last successful one, which means that it is a copy.
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
