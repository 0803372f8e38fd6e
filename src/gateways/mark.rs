//! What can be seen on an answer, and the marks that rows of the catalogue are made of.

use http::HeaderMap;
use std::time::Duration;

/// Below this an answer came at once: no timeout of a gateway is as short. They are whole seconds in every product's
/// defaults.
const AT_ONCE: Duration = Duration::from_millis(750);

/// The parts of an answer that tell who made it.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// The status code.
    pub status: u16,
    /// The reason phrase of HTTP/1.1, if it is not the usual one.
    pub phrase: Option<&'a str>,
    /// The header fields.
    pub headers: &'a HeaderMap,
    /// The trailer fields.
    pub trailers: &'a HeaderMap,
    /// The begin of the body.
    pub body: &'a str,
    /// How long its first byte was waited for, without the network's part of it.
    pub waited: Duration,
}

/// One thing that is seen on an answer, or not. Texts are compared without regard to case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// The status is one of these.
    Status(&'static [u16]),
    /// A field is there.
    Has(&'static str),
    /// A field is not there.
    Lacks(&'static str),
    /// A field is there more than once, and one of its values begins with this text.
    AmongMany(&'static str, &'static str),
    /// `Server` begins with this text, and a field is there.
    ServerWith(&'static str, &'static str),
    /// A value of a field holds this text.
    Says(&'static str, &'static str),
    /// A value of a field begins with this text.
    Begins(&'static str, &'static str),
    /// The reason phrase is this.
    Phrase(&'static str),
    /// The body holds this text.
    Body(&'static str),
    /// The body, without space at its ends, is this text.
    BodyIs(&'static str),
    /// The body, without space at its ends, begins with this text.
    Starts(&'static str),
    /// The body is this text, or a JSON document that has it as a value.
    Text(&'static str),
    /// The body holds this text with the answer's own status code behind it, as the titles of error pages do.
    Titled(&'static str),
    /// The body begins with this text and the answer's own status code.
    StartsTitled(&'static str),
    /// The foot behind this text does not have a version that `Server` lacks: else the page came from behind, where a
    /// second server of the same product made it.
    FootOfServer(&'static str),
    /// The status is at least 400.
    Failure,
    /// The body is shorter than so many bytes.
    Shorter(usize),
    /// The answer came at once: no timeout ran out.
    Quick,
    /// The answer came late: something was waited for.
    Slow,
    /// The answer came after so many milliseconds, from and below.
    Waited(u64, u64),
}

impl Mark {
    /// Whether the mark is on the answer.
    #[must_use]
    pub fn holds(&self, answer: &Answer<'_>) -> bool {
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

fn values<'a>(answer: &'a Answer<'_>, name: &str) -> impl Iterator<Item = std::borrow::Cow<'a, str>> {
    let values = answer.headers.get_all(name).into_iter();
    values.map(|value| String::from_utf8_lossy(value.as_bytes()))
}

/// Whether a body is a text, or a JSON document with that text as a value.
fn is_text(body: &str, text: &str) -> bool {
    body.eq_ignore_ascii_case(text) || (body.starts_with(['{', '[']) && contains(body, &format!("\"{text}\"")))
}

/// nginx and its kin write into the foot of a page what they write into `Server`, with the version or without.
fn is_foot_of_server(answer: &Answer<'_>, before: &str) -> bool {
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
    part.is_empty()
        || text
            .as_bytes()
            .windows(part.len())
            .any(|window| window.eq_ignore_ascii_case(part.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::{Answer, Mark};
    use http::HeaderMap;
    use std::time::Duration;

    #[test]
    fn each_mark_holds_where_it_should() {
        let mut headers = HeaderMap::new();
        headers.insert("server", "nginx/1.22.1".parse().unwrap());
        let answer = Answer {
            status: 502,
            phrase: Some("Proxy Error"),
            headers: &headers,
            trailers: &HeaderMap::new(),
            body: " Bad Gateway 502\n",
            waited: Duration::from_secs(2),
        };
        for (mark, holds) in [
            (Mark::Status(&[502, 504]), true),
            (Mark::Status(&[503]), false),
            (Mark::Has("Server"), true),
            (Mark::Lacks("server"), false),
            (Mark::AmongMany("server", "nginx"), false),
            (Mark::ServerWith("nginx", "server"), true),
            (Mark::Says("server", "GINX"), true),
            (Mark::Begins("server", "nginx"), true),
            (Mark::Begins("server", "ginx"), false),
            (Mark::Phrase("proxy error"), true),
            (Mark::Body("gateway"), true),
            (Mark::BodyIs("bad gateway 502"), true),
            (Mark::BodyIs("bad"), false),
            (Mark::Starts("bad"), true),
            (Mark::Starts("gateway"), false),
            (Mark::Text("bad gateway 502"), true),
            (Mark::Text("bad"), false),
            (Mark::Titled("gateway "), true),
            (Mark::Titled("bad "), false),
            (Mark::StartsTitled("bad gateway "), true),
            (Mark::StartsTitled("gateway "), false),
            (Mark::Failure, true),
            (Mark::Shorter(100), true),
            (Mark::Quick, false),
            (Mark::Slow, true),
            (Mark::Waited(2000, 2001), true),
            (Mark::Waited(0, 2000), false),
        ] {
            assert_eq!(mark.holds(&answer), holds, "{mark:?}");
        }
    }
    fn holds(mark: Mark, server: Option<&'static str>, body: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.extend(server.map(|server| (http::header::SERVER, server.parse().unwrap())));
        mark.holds(&Answer {
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
        let text = Mark::Text("no healthy upstream");
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
    fn a_foot_with_a_version_that_server_lacks_is_anothers() {
        let foot = Mark::FootOfServer("<hr><center>");
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
