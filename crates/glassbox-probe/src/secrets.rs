//! The secrets that a probe sends, and their masking in the data that the target returns.
//!
//! A target may repeat the data that it received: in a `grpc-message`, a reason phrase, a redirect path or a banner.
//! Each request, tunnel and dialogue adds its secrets to the [`Secrets`] of its check. After a probe's checks have
//! finished, and before any other code reads the reports, the [`SecretMasker`] for all these secrets masks them
//! (`report/masking.rs`). The code that displays reports masks nothing.
//!
//! The masker finds a value regardless of case, in base64 (both alphabets, all three offsets), in hexadecimal,
//! percent-encoded, escaped as in JSON or HTML, and with white space or line breaks inside. It also finds parts of a
//! long value. It does not find other transformations, such as a reversed value.

mod detection;
mod encodings;
mod masker;
mod report;

pub use masker::{BodyPart, SecretMasker};
pub use report::{mask_responses, mask_texts};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, PROXY_AUTHORIZATION, REFERER};
use http::{HeaderName, HeaderValue};
use memchr::memchr;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// Minimum length of a masked value, in bytes. Any text may contain shorter values by chance.
const SHORTEST: usize = 4;

/// Minimum length of a masked part of a body or a header field, in bytes.
const SHORTEST_PART: usize = 6;

/// Maximum length of a value, in bytes. A longer value is truncated.
const LONGEST: usize = 16 * 1024;

/// Maximum number of values of one probe. A body may have any number of parts.
const MOST: usize = 512;

/// A value that was sent.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Value {
    bytes: Box<[u8]>,
    /// Whether the value was sent as a secret. Otherwise, it is a possible secret, such as a part of a query or body.
    is_certain: bool,
}

/// The secrets that one probe sent. `Debug` shows only their number.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Secrets(Vec<Value>);

impl Secrets {
    /// Adds a secret, such as a password or a token.
    pub fn add(&mut self, secret: &[u8]) {
        self.insert(secret, SHORTEST, true);
    }

    /// Adds a possible secret.
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

    /// Adds the value of a request header field if it is marked as sensitive.
    pub fn add_field(&mut self, name: &HeaderName, value: &HeaderValue) {
        if !value.is_sensitive() {
            return;
        }
        let text = value.as_bytes();
        if *name == REFERER {
            // The URL of the previous request.
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
        // The target may repeat only a part of a field.
        let separates = |byte: &u8| byte.is_ascii_whitespace() || b";,=\"'&:".contains(byte);
        for part in text.split(separates) {
            self.insert(part, SHORTEST_PART, true);
        }
        if name.as_str().ends_with("-bin") {
            STANDARD.decode(text).iter().for_each(|bytes| self.add(bytes));
        }
    }

    /// Adds the credentials after the scheme of an `Authorization` field. For `user:password` in base64, also adds the
    /// decoded pair and the password.
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

    /// Adds the possible secrets in the query of a request target. A URL's user and password are in the field
    /// `Authorization`.
    pub fn add_target(&mut self, target: &[u8]) {
        if let Some(at) = memchr(b'?', target) {
            detection::of_query(&target[at + 1..], &mut |text| self.insert(text, SHORTEST, false));
        }
    }

    /// Adds the values of a request body: those of a JSON document or a form, otherwise all words.
    pub fn add_body(&mut self, body: &[u8]) {
        detection::of_body(body, &mut |text| self.add_possible(text));
    }

    /// Adds all strings of a JSON document.
    pub fn add_json(&mut self, fields: &serde_json::Map<String, serde_json::Value>) {
        for value in fields.values() {
            detection::of_json(value, &mut |text| self.add(text));
        }
    }

    /// Adds the secrets in a step of a dialogue: words after an authentication command, and words with letters and
    /// digits.
    pub fn add_dialogue(&mut self, sent: &[u8]) {
        detection::of_dialogue(sent, &mut |word| self.insert(word, SHORTEST, true));
    }

    /// Adds the secrets of another check of the same probe.
    pub fn merge(&mut self, other: &Self) {
        for value in &other.0 {
            self.insert(&value.bytes, SHORTEST, value.is_certain);
        }
    }

    /// Masks a string from the target for use in one of the exporter's messages.
    #[must_use]
    pub fn shown<'a>(&self, words: &'a str) -> Cow<'a, str> {
        let masked = self.masks().and_then(|masks| masks.text(words, BodyPart::Foreign));
        masked.map_or(Cow::Borrowed(words), Cow::Owned)
    }

    /// Whether there are no secrets.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The masker for these secrets; `None` if there are none.
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
