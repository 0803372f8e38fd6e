//! Heuristics for responses from unknown products: the shape of a response suggests its author. The resulting verdict
//! is never `certain`.

use crate::gateways::OF_APPLICATIONS;
use crate::reason::Reason;
use crate::report::{Exchange, Reply};
use std::time::Duration;

/// Minimum silence before a response breaks off that indicates a timeout rather than a broken connection.
pub(super) const STALLED: Duration = Duration::from_millis(750);

/// Words that gateways use for upstream failures. Applications rarely use them on their pages.
const OF_GATEWAYS: [&str; 6] = [
    "upstream",
    "backend",
    "proxy",
    "origin server",
    "no available server",
    "unhealthy",
];

/// Phrases that servers send in response to plain text on a TLS port: nginx, Apache, Go, Tomcat.
const WANTS_TLS: [&str; 4] = [
    "plain http request was sent to https port",
    "speaking plain http to an ssl-enabled server port",
    "client sent an http request to an https server",
    "combination of host and port requires tls",
];

/// Phrases that servers return if a client certificate is missing or rejected: nginx and its derivatives, including
/// Azure Application Gateway; Kong; IIS; Tyk; Tomcat and others.
const DEMANDS_CLIENT_CERT: [&str; 18] = [
    "no required ssl certificate was sent",
    "the ssl certificate error",
    "no required tls certificate was sent",
    "tls certificate failed verification",
    "(ssl) client certificate that the web server recognizes",
    "403.7 - forbidden",
    "403.13 - forbidden",
    "403.16 - forbidden",
    "403.17 - forbidden",
    "client certificate required",
    "client certificate is required",
    "client certificate was required",
    "client tls certificate is required",
    "requires a client certificate",
    "no client certificate",
    "missing client certificate",
    "invalid client certificate",
    "client certificate is untrusted",
];

/// Assumed header limit, in bytes, of gateways without a measurement in `tolerance.txt`.
pub(super) const LARGE_HEAD: usize = 8 * 1024;

/// A header of this size exceeds the limits of nearly all gateways and many clients.
pub(super) const HUGE_HEAD: usize = 64 * 1024;

/// First bytes of other protocols that never begin a normal body: SSH, or another HTTP response.
const BANNERS: [&[u8]; 2] = [b"SSH-", b"HTTP/1."];

/// Whether the body of an HTTP/1 response begins like another protocol: the gateway wrapped data that it could not
/// parse.
pub(super) fn wraps_another_protocol(exchange: &Exchange) -> bool {
    let Some(body) = exchange.wire.heads.and_then(|heads| exchange.wire.excerpt.get(heads..)) else {
        return false;
    };
    let chunked = exchange
        .reply
        .as_ref()
        .is_some_and(|reply| reply.headers.contains_key("transfer-encoding"));
    let size_line = body.iter().position(|byte| *byte == b'\n').filter(|_| chunked);
    let content = &body[size_line.map_or(0, |end| end + 1)..];
    BANNERS.iter().any(|banner| content.starts_with(banner))
}

/// Whether a server states that its port expects TLS.
pub(super) fn wants_tls(reply: &Reply) -> bool {
    let text = String::from_utf8_lossy(&reply.body_start).to_ascii_lowercase();
    reply.status == 400 && WANTS_TLS.iter().any(|words| text.contains(words))
}

/// Whether the response means that a client certificate is missing or rejected. 495 and 496 are nginx's status codes
/// for these errors.
pub(super) fn demands_client_cert(reply: &Reply) -> bool {
    let says = || {
        let text = text_of(&String::from_utf8_lossy(&reply.body_start)).to_ascii_lowercase();
        DEMANDS_CLIENT_CERT.iter().any(|words| text.contains(words))
    };
    matches!(reply.status, 495 | 496) || (matches!(reply.status, 400 | 401 | 403) && says())
}

/// Whether the status may apply only to unknown or too frequent clients. The gateway may receive a different one.
pub(super) const fn is_for_strangers(reply: &Reply) -> bool {
    matches!(reply.status, 401 | 403 | 407 | 421 | 429)
}

/// Whether two responses contain the same text, apart from numbers and identifiers.
pub(super) fn same_answer(one: &Reply, other: &Reply) -> bool {
    let words = |reply: &Reply| -> Vec<String> {
        let text = text_of(&String::from_utf8_lossy(&reply.body_start));
        let words = text.split(|c: char| !c.is_alphanumeric() && c != '-');
        let lasting = words.filter(|word| !word.is_empty() && !word.contains(|c: char| c.is_ascii_digit()));
        lasting.map(str::to_owned).collect()
    };
    one.status == other.status && !words(one).is_empty() && words(one) == words(other)
}

/// Whether a response shares an identifying header field with the application's successful response to a direct
/// request: a field that identifies applications, a custom field (`X-App-…`), or a `Server` of no known gateway.
pub(super) fn has_marks_of(reply: &Reply, application: &Reply) -> bool {
    let own = |name: &str| OF_APPLICATIONS.contains(&name) || name.starts_with("x-app-");
    let named = application
        .headers
        .keys()
        .any(|name| own(name.as_str()) && reply.headers.contains_key(name));
    let server = application.headers.get("server");
    let is_gateway = || {
        let fields = server.map(|value| (http::header::SERVER, value.clone()));
        let headers = fields.into_iter().collect();
        crate::gateways::nearest(&crate::gateways::ObservedResponse {
            status: application.status,
            phrase: None,
            headers: &headers,
            trailers: &http::HeaderMap::new(),
            body: "",
            waited: Duration::ZERO,
        })
        .is_some()
    };
    named || (server.is_some() && reply.headers.get("server") == server && !is_gateway())
}

/// Phrases on the default pages of frameworks for an unhandled exception: Spring, Django, Rails, Werkzeug, Tomcat,
/// Laravel and Symfony, ASP.NET, Express, PHP.
const OF_FRAMEWORKS: [&str; 9] = [
    "whitelabel error page",
    "<h1>server error (500)</h1>",
    "we're sorry, but something went wrong",
    "or there is an error in the application",
    "http status 500",
    "the server returned a \"500 internal server error\"",
    "server error in '/",
    "<pre>internal server error</pre>",
    "<b>fatal error</b>:",
];

/// Whether the response looks like an application failure: a 500 with JSON or with the default page of a framework.
/// Gateways that are built with such frameworks generate the same pages.
pub(super) fn is_an_applications_failure(reply: &Reply) -> bool {
    let body = String::from_utf8_lossy(&reply.body_start);
    let text = || body.to_lowercase();
    let of_framework = || OF_FRAMEWORKS.iter().any(|words| text().contains(words));
    reply.status == 500 && ((is_json(reply) && !speaks_like_a_gateway(&body)) || of_framework())
}

/// Whether two pages have the same structure: the same tags in the same order, type and server.
pub(super) fn same_skeleton(one: &Reply, other: &Reply) -> bool {
    let same = |name: &str| one.headers.get(name) == other.headers.get(name);
    let tags = tags(one);
    !tags.is_empty() && same("server") && same("content-type") && tags == self::tags(other)
}

fn tags(reply: &Reply) -> Vec<String> {
    let text = String::from_utf8_lossy(&reply.body_start);
    let starts = text.split('<').skip(1);
    starts
        .map(|rest| {
            let name = rest
                .chars()
                .take_while(|c| c.is_ascii_alphanumeric() || *c == '/' || *c == '!');
            name.collect::<String>().to_ascii_lowercase()
        })
        .filter(|name| !name.is_empty())
        .collect()
}

/// Whether the response looks application-specific: JSON, or a page with more text than the status line.
pub(super) fn is_custom(reply: &Reply) -> bool {
    let body = String::from_utf8_lossy(&reply.body_start);
    is_json(reply) || (has_own_words(reply, &body) && !speaks_like_a_gateway(&body))
}

fn is_json(reply: &Reply) -> bool {
    let json = reply.headers.get("content-type").is_some_and(|value| {
        let kind = String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase();
        kind.starts_with("application/") && kind.contains("json")
    });
    json && !reply.body_start.trim_ascii().is_empty()
}

/// Whether a page contains only its status line, nothing, or phrases that only gateways use.
pub(super) fn is_bare(reply: &Reply) -> bool {
    !is_custom(reply)
}

fn speaks_like_a_gateway(body: &str) -> bool {
    let text = text_of(body).to_lowercase();
    OF_GATEWAYS.iter().any(|words| text.contains(words))
}

/// Whether the page has at least three words besides the status code and its usual phrases.
fn has_own_words(reply: &Reply, body: &str) -> bool {
    let phrase = http::StatusCode::from_u16(reply.status)
        .ok()
        .and_then(|code| code.canonical_reason());
    let usual = format!(
        "{} {} {} error service temporarily unavailable gateway timeout time-out bad gateway internal server",
        reply.status,
        phrase.unwrap_or_default(),
        reply.reason_phrase.as_deref().unwrap_or_default(),
    )
    .to_lowercase();
    let usual: Vec<&str> = usual.split_whitespace().collect();
    let text = text_of(body).to_lowercase();
    let words = text.split(|c: char| !c.is_alphanumeric() && c != '-');
    let others = words.filter(|word| word.chars().count() > 2 && !usual.contains(word));
    others.count() >= 3
}

/// The text of a page without tags, scripts and styles.
fn text_of(body: &str) -> String {
    let mut text = String::new();
    let mut hidden = false;
    for (place, part) in body.split('<').enumerate() {
        let Some((tag, words)) = part.split_once('>').filter(|_| place > 0) else {
            if place == 0 {
                text.push_str(part);
            }
            continue;
        };
        let name = tag.to_ascii_lowercase();
        hidden = match name.split(|c: char| !c.is_ascii_alphanumeric() && c != '/').next() {
            Some("script" | "style") => true,
            Some("/script" | "/style") => false,
            _ => hidden,
        };
        if !hidden {
            text.push(' ');
            text.push_str(words.trim());
        }
    }
    text.trim().to_owned()
}

/// The meaning of 504 for every gateway (RFC 9110 section 15.6.5).
pub(super) const TIMEOUT: &[Reason] = &[Reason::UpstreamHttpResponseTimeout, Reason::UpstreamConnectionTimeout];

/// The possible meanings of a status that an unknown gateway generated, depending on the duration of the response.
pub(super) fn by_shape(status: u16, waited: Duration) -> &'static [Reason] {
    const QUICK: &[Reason] = &[
        Reason::UpstreamConnectionRefused,
        Reason::UpstreamConnectionTerminated,
        Reason::UpstreamDestinationUnavailable,
        Reason::UpstreamDnsError,
        Reason::UpstreamTlsCertificateError,
        Reason::UpstreamDestinationIpUnroutable,
        Reason::UpstreamHttpProtocolError,
    ];
    const SLOW: &[Reason] = &[
        Reason::UpstreamHttpResponseTimeout,
        Reason::UpstreamConnectionTimeout,
        Reason::UpstreamConnectionRefused,
    ];
    match status {
        504 => TIMEOUT,
        _ if waited >= STALLED => SLOW,
        _ => QUICK,
    }
}

/// Whether a status indicates an upstream failure (RFC 9110 sections 15.6.3 to 15.6.5).
pub(super) const fn speaks_of_upstream(status: u16) -> bool {
    matches!(status, 502..=504)
}

#[cfg(test)]
mod tests {
    use super::{demands_client_cert, is_bare, is_custom, same_skeleton, text_of, wants_tls};
    use crate::report::Reply;

    fn page(status: u16, kind: &str, body: &str) -> Reply {
        Reply {
            status,
            headers: [("content-type".parse().unwrap(), kind.parse().unwrap())]
                .into_iter()
                .collect(),
            body_start: body.as_bytes().to_vec(),
            ..Reply::default()
        }
    }

    #[test]
    fn a_bare_page_says_no_more_than_its_status_line() {
        for body in [
            "",
            "Service Unavailable\n",
            "503 Service Unavailable",
            "<p>The upstream server is currently not there for us</p>",
            "<html><head><title>503 Service Temporarily Unavailable</title></head><body><h1>503 Error</h1></body></html>",
        ] {
            assert!(is_bare(&page(503, "text/html", body)), "{body}");
            assert!(!is_custom(&page(503, "text/html", body)), "{body}");
        }
    }

    #[test]
    fn an_applications_page_has_words_of_its_own() {
        for (kind, body) in [
            ("application/json", "{\"error\":\"x\"}"),
            ("application/problem+json; charset=utf-8", "{}"),
            (
                "text/html",
                "<title>Shop</title><h1>We'll be right back</h1><p>The shop is being updated.</p>",
            ),
        ] {
            assert!(is_custom(&page(503, kind, body)), "{body}");
        }
    }

    #[test]
    fn a_skeleton_is_the_tags_without_their_words() {
        let refusal = page(400, "text/html", "<html><h1>400 Bad Request</h1><hr></html>");
        assert!(same_skeleton(
            &page(502, "text/html", "<html><h1>502 Bad Gateway</h1><hr></html>"),
            &refusal
        ));
        assert!(!same_skeleton(
            &page(502, "text/html", "<html><h2>502</h2><hr></html>"),
            &refusal
        ));
        assert!(!same_skeleton(
            &page(502, "text/plain", "Bad Gateway"),
            &page(400, "text/plain", "Bad Request")
        ));
    }

    #[test]
    fn text_is_what_a_reader_sees() {
        assert_eq!(
            text_of("<style>p{}</style><p>One <b>two</b></p><script>three()</script>"),
            "One two"
        );
        assert_eq!(text_of("plain"), "plain");
        assert_eq!(text_of("a < b"), "a");
    }

    #[test]
    fn a_server_that_demands_a_client_certificate_says_so() {
        for (status, body) in [
            (
                400,
                "<center><h1>400 Bad Request</h1></center>\r\n<center>No required SSL certificate was sent</center>",
            ),
            (400, "<center>The SSL certificate error</center>"),
            (401, "{\"message\":\"No required TLS certificate was sent\"}"),
            (403, "<h2>HTTP Error 403.7 - Forbidden</h2>"),
            (401, "<p>No client certificate chain in this request</p>"),
            (496, ""),
        ] {
            assert!(demands_client_cert(&page(status, "text/html", body)), "{status} {body}");
        }
        for (status, body) in [
            (400, "<center><h1>400 Bad Request</h1></center>"),
            (400, "<center>The plain HTTP request was sent to HTTPS port</center>"),
            (403, "<h1>403 Forbidden</h1>"),
            (500, "No required SSL certificate was sent"),
        ] {
            assert!(
                !demands_client_cert(&page(status, "text/html", body)),
                "{status} {body}"
            );
        }
    }

    #[test]
    fn a_port_for_tls_says_so() {
        assert!(wants_tls(&page(
            400,
            "text/html",
            "<center>The plain HTTP request was sent to HTTPS port</center>"
        )));
        assert!(!wants_tls(&page(400, "text/html", "Bad Request")));
    }
}
