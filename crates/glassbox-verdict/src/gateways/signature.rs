//! Gateway signatures: the response properties that the catalogue rows test.

use http::HeaderMap;
use memchr::memchr2_iter;
use std::time::Duration;

/// Maximum duration of an immediate response. Every gateway timeout is longer: the defaults of all products are whole
/// seconds.
const AT_ONCE: Duration = Duration::from_millis(750);

/// Response properties that identify which machine generated the response.
#[derive(Clone, Copy, Debug)]
pub struct ObservedResponse<'a> {
    /// The status code.
    pub status: u16,
    /// The reason phrase of HTTP/1.1, if it is not the usual one.
    pub phrase: Option<&'a str>,
    /// The header fields.
    pub headers: &'a HeaderMap,
    /// The trailer fields.
    pub trailers: &'a HeaderMap,
    /// Start of the body.
    pub body: &'a str,
    /// Time to the first byte, without the network round trip.
    pub waited: Duration,
}

/// A response property. Strings are compared case-insensitively.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Signature {
    /// The status is one of these.
    Status(&'static [u16]),
    /// The field is present.
    Has(&'static str),
    /// The field is absent.
    Lacks(&'static str),
    /// The field is present more than once, and one of its values begins with this text.
    AmongMany(&'static str, &'static str),
    /// `Server` begins with this text, and the field is present.
    ServerWith(&'static str, &'static str),
    /// A value of the field contains this text.
    Says(&'static str, &'static str),
    /// A value of the field begins with this text.
    Begins(&'static str, &'static str),
    /// The reason phrase equals this text.
    Phrase(&'static str),
    /// The body contains this text.
    Body(&'static str),
    /// The body, trimmed, equals this text.
    BodyIs(&'static str),
    /// The body, trimmed, begins with this text.
    Starts(&'static str),
    /// The body is this text, or a JSON document that has it as a value.
    Text(&'static str),
    /// The body is a JSON object that has this text as `message`, and nothing else.
    Message(&'static str),
    /// The body contains this text followed by one of these numbers and no further digit.
    Numbered(&'static str, &'static [u16]),
    /// At least one of these matches.
    AnyOf(&'static [Self]),
    /// The body contains this text followed by the response's own status code, as in titles of error pages.
    Titled(&'static str),
    /// The body begins with this text and the response's own status code.
    StartsTitled(&'static str),
    /// The footer after this text has no version, or equals `Server`. Otherwise, a second server of the same product
    /// behind the first one generated the page.
    FootOfServer(&'static str),
    /// The status is at least 400.
    Failure,
    /// The body is shorter than this number of bytes.
    Shorter(usize),
    /// The response took less than 750 ms, so no timeout expired.
    Quick,
    /// The response took 750 ms or longer.
    Slow,
    /// The response took at least the first number of milliseconds and less than the second.
    Waited(u64, u64),
}

impl Signature {
    /// Whether the signature concerns the response duration, not the content.
    #[must_use]
    pub const fn is_of_time(&self) -> bool {
        matches!(self, Self::Quick | Self::Slow | Self::Waited(..))
    }

    /// Whether the signature concerns the value of this field.
    #[must_use]
    pub fn is_of(&self, field: &str) -> bool {
        matches!(self, Self::Says(name, _) | Self::Begins(name, _) if *name == field)
    }

    /// Whether the response has the signature.
    #[must_use]
    pub fn holds(&self, answer: &ObservedResponse<'_>) -> bool {
        match self {
            Self::Status(codes) => codes.contains(&answer.status),
            Self::Has(name) => answer.headers.contains_key(*name),
            Self::Lacks(name) => !answer.headers.contains_key(*name),
            Self::AmongMany(name, text) => {
                values(answer, name).nth(1).is_some() && values(answer, name).any(|value| begins(&value, text))
            }
            Self::ServerWith(text, name) => {
                answer.headers.contains_key(*name) && values(answer, "server").any(|value| begins(&value, text))
            }
            Self::Says(name, text) => values(answer, name).any(|value| contains(&value, text)),
            Self::Begins(name, text) => values(answer, name).any(|value| begins(&value, text)),
            Self::Phrase(text) => answer.phrase.is_some_and(|phrase| phrase.eq_ignore_ascii_case(text)),
            Self::Body(text) => contains(answer.body, text),
            Self::BodyIs(text) => answer.body.trim().eq_ignore_ascii_case(text),
            Self::Starts(text) => begins(answer.body.trim_start(), text),
            Self::Text(text) => is_text(answer.body.trim(), text),
            Self::Message(text) => is_message(answer.body, text),
            Self::Numbered(text, numbers) => numbers.iter().any(|number| is_numbered(answer.body, text, *number)),
            Self::AnyOf(signatures) => signatures.iter().any(|signature| signature.holds(answer)),
            Self::Titled(text) => contains(answer.body, &format!("{text}{}", answer.status)),
            Self::StartsTitled(text) => begins(answer.body.trim_start(), &format!("{text}{}", answer.status)),
            Self::FootOfServer(text) => is_foot_of_server(answer, text),
            Self::Failure => answer.status >= 400,
            Self::Shorter(bytes) => answer.body.len() < *bytes,
            Self::Quick => answer.waited < AT_ONCE,
            Self::Slow => answer.waited >= AT_ONCE,
            Self::Waited(from, below) => {
                (Duration::from_millis(*from)..Duration::from_millis(*below)).contains(&answer.waited)
            }
        }
    }
}

fn values<'a>(answer: &'a ObservedResponse<'_>, name: &str) -> impl Iterator<Item = std::borrow::Cow<'a, str>> {
    let values = answer.headers.get_all(name).into_iter();
    values.map(|value| String::from_utf8_lossy(value.as_bytes()))
}

/// Whether a body equals a string or is a JSON document with that string as a value.
fn is_text(body: &str, text: &str) -> bool {
    body.eq_ignore_ascii_case(text) || (body.starts_with(['{', '[']) && contains(body, &format!("\"{text}\"")))
}

/// Whether a body is a JSON object with only the member `message`, and with this value.
fn is_message(body: &str, text: &str) -> bool {
    let inner = body.trim().strip_prefix('{').and_then(|inner| inner.strip_suffix('}'));
    let value = inner.and_then(|inner| inner.trim().strip_prefix("\"message\"")?.trim_start().strip_prefix(':'));
    let value = value.and_then(|value| value.trim().strip_prefix('"')?.strip_suffix('"'));
    value.is_some_and(|value| value.eq_ignore_ascii_case(text))
}

fn is_numbered(body: &str, text: &str, number: u16) -> bool {
    let wanted = format!("{text}{number}");
    let ends = |at: usize| !body.as_bytes().get(at + wanted.len()).is_some_and(u8::is_ascii_digit);
    places(body, &wanted).any(ends)
}

/// Compares the footer with `Server`. nginx and its derivatives write the same text into both, with or without a
/// version.
fn is_foot_of_server(answer: &ObservedResponse<'_>, before: &str) -> bool {
    let lower = answer.body.to_ascii_lowercase();
    let foot = lower
        .split_once(&before.to_ascii_lowercase())
        .and_then(|(_, rest)| rest.split('<').next());
    foot.is_some_and(|foot| {
        let foot = foot.trim();
        !foot.contains('/') || values(answer, "server").any(|server| server.trim().eq_ignore_ascii_case(foot))
    })
}

fn begins(text: &str, start: &str) -> bool {
    text.get(..start.len())
        .is_some_and(|head| head.eq_ignore_ascii_case(start))
}

fn contains(text: &str, part: &str) -> bool {
    part.is_empty() || places(text, part).next().is_some()
}

/// Positions of a non-empty substring.
fn places<'a>(text: &'a str, part: &'a str) -> impl Iterator<Item = usize> + 'a {
    let (text, part) = (text.as_bytes(), part.as_bytes());
    let first = part.first().copied().unwrap_or_default();
    let begins_with_part = move |at: &usize| {
        text.get(*at..at + part.len())
            .is_some_and(|here| here.eq_ignore_ascii_case(part))
    };
    memchr2_iter(first.to_ascii_lowercase(), first.to_ascii_uppercase(), text).filter(begins_with_part)
}

#[cfg(test)]
mod tests {
    use super::{ObservedResponse, Signature};
    use http::HeaderMap;
    use std::time::Duration;

    #[test]
    fn each_mark_holds_where_it_should() {
        let mut headers = HeaderMap::new();
        headers.insert("server", "nginx/1.22.1".parse().unwrap());
        let answer = ObservedResponse {
            status: 502,
            phrase: Some("Proxy Error"),
            headers: &headers,
            trailers: &HeaderMap::new(),
            body: " Bad Gateway 502\n",
            waited: Duration::from_secs(2),
        };
        for (signature, holds) in [
            (Signature::Status(&[502, 504]), true),
            (Signature::Status(&[503]), false),
            (Signature::Has("Server"), true),
            (Signature::Lacks("server"), false),
            (Signature::AmongMany("server", "nginx"), false),
            (Signature::ServerWith("nginx", "server"), true),
            (Signature::Says("server", "GINX"), true),
            (Signature::Begins("server", "nginx"), true),
            (Signature::Begins("server", "ginx"), false),
            (Signature::Phrase("proxy error"), true),
            (Signature::Body("gateway"), true),
            (Signature::BodyIs("bad gateway 502"), true),
            (Signature::BodyIs("bad"), false),
            (Signature::Starts("bad"), true),
            (Signature::Starts("gateway"), false),
            (Signature::Text("bad gateway 502"), true),
            (Signature::Text("bad"), false),
            (Signature::Numbered("gateway ", &[404, 502]), true),
            (Signature::Numbered("gateway ", &[50]), false),
            (Signature::AnyOf(&[Signature::Has("x"), Signature::Has("server")]), true),
            (Signature::AnyOf(&[Signature::Has("x")]), false),
            (Signature::Titled("gateway "), true),
            (Signature::Titled("bad "), false),
            (Signature::StartsTitled("bad gateway "), true),
            (Signature::StartsTitled("gateway "), false),
            (Signature::Failure, true),
            (Signature::Shorter(100), true),
            (Signature::Quick, false),
            (Signature::Slow, true),
            (Signature::Waited(2000, 2001), true),
            (Signature::Waited(0, 2000), false),
        ] {
            assert_eq!(signature.holds(&answer), holds, "{signature:?}");
        }
    }
    fn holds(signature: Signature, server: Option<&'static str>, body: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.extend(server.map(|server| (http::header::SERVER, server.parse().unwrap())));
        signature.holds(&ObservedResponse {
            status: 404,
            phrase: None,
            headers: &headers,
            trailers: &HeaderMap::new(),
            body,
            waited: Duration::ZERO,
        })
    }

    #[test]
    fn a_text_is_the_whole_body_or_a_value_in_json() {
        let text = Signature::Text("no healthy upstream");
        for (body, is_it) in [
            ("no healthy upstream\n", true),
            ("{\"message\":\"no healthy upstream\",\"code\":503}", true),
            ("{\"message\":\"there is no healthy upstream\"}", false),
            ("<p>no healthy upstream</p>", false),
        ] {
            assert_eq!(holds(text, None, body), is_it, "{body}");
        }
    }

    #[test]
    fn a_message_is_the_only_member_of_a_json_object() {
        for (body, is_it) in [
            ("{\"message\":\"Forbidden\"}", true),
            ("{ \"message\" : \"forbidden\" }\n", true),
            ("{\"message\":\"Forbidden\",\"statusCode\":403}", false),
            ("{\"statusCode\":403,\"message\":\"Forbidden\"}", false),
            ("{\"message\":\"Forbidden for you\"}", false),
            ("Forbidden", false),
        ] {
            assert_eq!(holds(Signature::Message("Forbidden"), None, body), is_it, "{body}");
        }
    }

    #[test]
    fn a_foot_with_a_version_that_server_lacks_is_anothers() {
        let foot = Signature::FootOfServer("<hr><center>");
        for (server, body, is_it) in [
            (Some("nginx/1.25.3"), "<hr><center>nginx/1.25.3</center>", true),
            (Some("nginx"), "<hr><center>nginx</center>", true),
            (None, "<hr><center>nginx</center>", true),
            (Some("nginx"), "<hr><center>nginx/1.25.3</center>", false),
            (Some("nginx/1.22.1"), "<hr><center>nginx/1.25.3</center>", false),
            (None, "<hr><center>nginx/1.25.3</center>", false),
            (Some("nginx"), "<p>nginx</p>", false),
        ] {
            assert_eq!(holds(foot, server, body), is_it, "{server:?} {body}");
        }
    }
}
