//! What one probe sent as a secret, and the masking of it in whatever a target sends back.
//!
//! A target may repeat what it was sent: in a `grpc-message`, a reason phrase, the path of a redirect, a banner. Each request, tunnel
//! and dialogue adds its secrets to the [`Secrets`] of its check. When the checks of a probe have ended, and before anybody reads
//! their texts, the reports pass through the [`SecretMasker`] of all of them (`report/masking.rs`). No printer masks anything by itself.
//!
//! Masked are the values in any case of letters, in base64 (both alphabets, at all three offsets), in hexadecimal, percent-encoded,
//! escaped as in JSON or HTML, and with white space or line breaks in between; of long ones also parts. What a target does to a
//! secret beyond that, such as reversing it, cannot be recognised.

mod detection;
mod encodings;
mod masker;

pub use masker::{BodyPart, SecretMasker};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, PROXY_AUTHORIZATION, REFERER};
use http::{HeaderName, HeaderValue};
use memchr::memchr;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// Bytes of the shortest value that is masked: shorter ones stand in any text by chance.
const SHORTEST: usize = 4;

/// Bytes of the shortest part of a query, a body or a header field that is masked.
const SHORTEST_PART: usize = 6;

/// Bytes of the longest value that is taken whole. Of a longer one the first as many are taken.
const LONGEST: usize = 16 * 1024;

/// Values of one probe, at most: a body may have any number of parts.
const MOST: usize = 512;

/// A value that was sent.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Value {
    bytes: Box<[u8]>,
    /// It was sent as a secret. Else it is what may be one: a part of a query, of a body, of a dialogue.
    is_certain: bool,
}

/// The secrets that one probe sent. `Debug` shows their number only.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Secrets(Vec<Value>);

impl Secrets {
    /// A secret, such as a password or a token.
    pub fn add(&mut self, secret: &[u8]) {
        self.insert(secret, SHORTEST, true);
    }

    /// What may be a secret.
    fn add_possible(&mut self, text: &[u8]) {
        self.insert(text, SHORTEST_PART, false);
    }

    fn insert(&mut self, bytes: &[u8], shortest: usize, is_certain: bool) {
        let bytes = bytes.trim_ascii();
        if bytes.len() < shortest || self.0.len() >= MOST {
            return;
        }
        let bytes = &bytes[..bytes.len().min(LONGEST)];
        match self.0.iter_mut().find(|known| *known.bytes == *bytes) {
            Some(known) => known.is_certain |= is_certain,
            None => self.0.push(Value {
                bytes: bytes.into(),
                is_certain,
            }),
        }
    }

    /// A header field of a request, where its value is marked sensitive.
    pub fn add_field(&mut self, name: &HeaderName, value: &HeaderValue) {
        if !value.is_sensitive() {
            return;
        }
        let text = value.as_bytes();
        if *name == REFERER {
            // The URL of the request before.
            self.add_target(text);
            return;
        }
        if *name == AUTHORIZATION || *name == PROXY_AUTHORIZATION {
            let scheme_ends = text.iter().position(u8::is_ascii_whitespace);
            let credentials = scheme_ends.map_or(text, |end| text[end..].trim_ascii());
            self.add_credentials(credentials);
            return;
        }
        self.add(text);
        // Of a field with several parts each may be repeated alone.
        let separates = |byte: &u8| byte.is_ascii_whitespace() || b";,=\"'&:".contains(byte);
        for part in text.split(separates) {
            self.insert(part, SHORTEST_PART, true);
        }
        if name.as_str().ends_with("-bin") {
            STANDARD.decode(text).iter().for_each(|bytes| self.add(bytes));
        }
    }

    /// What follows the scheme of an `Authorization` field; of `user:password` in base64 also that and the password.
    fn add_credentials(&mut self, credentials: &[u8]) {
        self.add(credentials);
        let Ok(pair) = STANDARD.decode(credentials) else {
            return;
        };
        if let Some(colon) = pair.iter().position(|byte| *byte == b':') {
            self.add(&pair);
            self.add(&pair[colon + 1..]);
        }
    }

    /// Of the query of a request's target, what looks like a secret. A user and a password of its URL are in the field
    /// `Authorization`.
    pub fn add_target(&mut self, target: &[u8]) {
        if let Some(at) = memchr(b'?', target) {
            detection::of_query(&target[at + 1..], &mut |text| self.insert(text, SHORTEST, false));
        }
    }

    /// The body of a request: the values of a JSON document or of a form, else its words.
    pub fn add_body(&mut self, body: &[u8]) {
        detection::of_body(body, &mut |text| self.add_possible(text));
    }

    /// All texts of a JSON document.
    pub fn add_json(&mut self, fields: &serde_json::Map<String, serde_json::Value>) {
        for value in fields.values() {
            detection::of_json(value, &mut |text| self.add(text));
        }
    }

    /// What a step of a dialogue sends: words that follow a command for authentication, and those that look like no word.
    pub fn add_dialogue(&mut self, sent: &[u8]) {
        detection::of_dialogue(sent, &mut |word| self.insert(word, SHORTEST, true));
    }

    /// Those of another check of the same probe.
    pub fn merge(&mut self, other: &Self) {
        for value in &other.0 {
            self.insert(&value.bytes, SHORTEST, value.is_certain);
        }
    }

    /// Words of the target as they may be shown, where they are put into a text of the exporter.
    #[must_use]
    pub fn shown<'a>(&self, words: &'a str) -> Cow<'a, str> {
        let masked = self.masks().and_then(|masks| masks.text(words, BodyPart::Foreign));
        masked.map_or(Cow::Borrowed(words), Cow::Owned)
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What finds them in a text; `None` where there are none.
    #[must_use]
    pub fn masks(&self) -> Option<Arc<SecretMasker>> {
        (!self.is_empty()).then(|| masker::of(self))
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} secrets", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::{BodyPart, Secrets};
    use http::{HeaderName, HeaderValue};

    fn shown(secrets: &Secrets, text: &str) -> String {
        let masks = secrets.masks().expect("there are secrets");
        masks.text(text, BodyPart::Foreign).unwrap_or_else(|| text.to_owned())
    }

    fn sensitive(text: &str) -> HeaderValue {
        let mut value = HeaderValue::from_str(text).unwrap();
        value.set_sensitive(true);
        value
    }

    #[test]
    fn credentials_hide_the_pair_the_password_and_what_was_written() {
        let mut secrets = Secrets::default();
        secrets.add_field(&http::header::AUTHORIZATION, &sensitive("Basic Ym9iOmh1bnRlcjIy"));
        for (text, hidden) in [
            ("no bob:hunter22 here", "no <secret> here"),
            ("password hunter22", "password <secret>"),
            ("Basic Ym9iOmh1bnRlcjIy", "Basic <secret>"),
            ("user bob", "user bob"),
        ] {
            assert_eq!(shown(&secrets, text), hidden);
        }
    }

    #[test]
    fn a_field_that_is_not_sensitive_hides_nothing() {
        let mut secrets = Secrets::default();
        secrets.add_field(&http::header::ACCEPT, &HeaderValue::from_static("text/html"));
        assert!(secrets.is_empty() && secrets.masks().is_none());
        secrets.add_field(&HeaderName::from_static("x-key"), &sensitive("id=abcdef; kind=ghijkl"));
        assert_eq!(shown(&secrets, "ghijkl, abcdef, kind"), "<secret>, <secret>, kind");
    }

    #[test]
    fn a_target_hides_its_query() {
        let mut secrets = Secrets::default();
        secrets.add_target(b"/path?key=abc%20def&x=1");
        assert_eq!(shown(&secrets, "key: abc def"), "key: <secret>");
        assert_eq!(shown(&secrets, "/path?key=abc%20def&x=1"), "/path?key=<secret>&x=1");
        assert_eq!(shown(&secrets, "a.test/path"), "a.test/path");
    }

    #[test]
    fn the_number_of_values_and_their_length_are_bounded() {
        let mut secrets = Secrets::default();
        for number in 0..10_000 {
            secrets.add(format!("value-{number}").as_bytes());
        }
        secrets.add(&vec![b'x'; 1024 * 1024]);
        assert_eq!(format!("{secrets:?}"), format!("{} secrets", super::MOST));
    }
}
