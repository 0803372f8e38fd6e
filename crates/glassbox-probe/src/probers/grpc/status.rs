//! The gRPC status of a response, according to grpc-go's rules: the status that the server sends or, without one, the
//! status that clients derive from HTTP (<https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md>).

use super::message::{self, InvalidMessage};
use glassbox_verdict::reason::Reason;
use glassbox_verdict::report::{Health, Reply};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};

const UNKNOWN: u32 = 2;
const INTERNAL: u32 = 13;

/// Media type of gRPC. A subtype or parameters may follow.
const MEDIA_TYPE: &str = "application/grpc";

/// The outcome of a call.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct GrpcOutcome {
    /// The gRPC status and the reported health.
    pub health: Health,
    /// Why the response is not valid gRPC, if it is not. The status is then derived.
    pub objection: Option<(Reason, String)>,
}

impl GrpcOutcome {
    fn derived(code: u32, reason: Reason, words: String) -> Self {
        Self {
            health: Health { code, serving: None },
            objection: Some((reason, words)),
        }
    }
}

/// Evaluates a response whose body is complete according to its framing.
pub(super) fn of(reply: &Reply, body: &[u8]) -> GrpcOutcome {
    let is_grpc = has_media_type(&reply.headers);
    // A headers-only response carries the server's status, regardless of its HTTP status. If a body follows, the
    // header is ignored.
    let is_all = reply.declared_length == Some(0) && reply.trailers.is_empty();
    let in_head = Some(&reply.headers).filter(|fields| is_all && is_grpc && fields.contains_key("grpc-status"));
    if reply.status != 200 && in_head.is_none() {
        let code = of_http(reply.status);
        let name = code_name(code);
        let words = format!(
            "The response status is {}, which gRPC maps to {name} ({code}).",
            reply.status
        );
        return GrpcOutcome::derived(code, Reason::HttpStatus, words);
    }
    if !is_grpc {
        let words = "The response is not from a gRPC server: its content-type is not application/grpc.";
        return GrpcOutcome::derived(UNKNOWN, Reason::GrpcInvalid, words.to_owned());
    }
    let fields = in_head.unwrap_or(&reply.trailers);
    let mut statuses = fields.get_all("grpc-status").iter().peekable();
    if statuses.peek().is_none() {
        // Headers only, or trailers without the status.
        let has_ended_with_fields = reply.declared_length == Some(0) || !reply.trailers.is_empty();
        let code = if has_ended_with_fields { UNKNOWN } else { INTERNAL };
        let words = "The response does not contain a grpc-status: it is not from a gRPC server.";
        return GrpcOutcome::derived(code, Reason::GrpcInvalid, words.to_owned());
    }
    // grpc-go parses signed numbers. If the field is repeated, all values must be numbers, and the last one counts.
    let number = |status: &HeaderValue| status.to_str().ok()?.parse::<i32>().ok();
    let numbers: Option<Vec<i32>> = statuses.map(number).collect();
    let Some(code) = numbers.and_then(|numbers| numbers.last().copied()) else {
        let words = "The response's grpc-status is not a number.";
        return GrpcOutcome::derived(UNKNOWN, Reason::GrpcInvalid, words.to_owned());
    };
    if code != 0 {
        let code = code.cast_unsigned();
        return GrpcOutcome {
            health: Health { code, serving: None },
            objection: None,
        };
    }
    match message::status(body) {
        Ok(serving) => GrpcOutcome {
            health: Health {
                code: 0,
                serving: Some(serving),
            },
            objection: None,
        },
        Err(unusable) => {
            let words = format!(
                "The response does not contain a valid health service message: {}.",
                unusable.words()
            );
            GrpcOutcome::derived(code_of(unusable), Reason::GrpcInvalid, words)
        }
    }
}

fn has_media_type(fields: &HeaderMap) -> bool {
    fields.get_all(CONTENT_TYPE).iter().any(|value| {
        let rest = value.to_str().ok().and_then(|written| written.strip_prefix(MEDIA_TYPE));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['+', ';']))
    })
}

/// The gRPC status that clients derive from an HTTP status.
const fn of_http(status: u16) -> u32 {
    match status {
        400 => INTERNAL,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502 | 503 | 504 => 14,
        _ => UNKNOWN,
    }
}

const fn code_of(unusable: InvalidMessage) -> u32 {
    match unusable {
        // RESOURCE_EXHAUSTED: the message exceeds the client's limit.
        InvalidMessage::TooLarge => 8,
        InvalidMessage::Compressed
        | InvalidMessage::Incomplete
        | InvalidMessage::Several
        | InvalidMessage::Malformed => INTERNAL,
    }
}

/// The names of the gRPC status codes.
pub(super) fn code_name(code: u32) -> &'static str {
    const NAMES: [&str; 17] = [
        "OK",
        "CANCELLED",
        "UNKNOWN",
        "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
        "UNAUTHENTICATED",
    ];
    let place = usize::try_from(code).unwrap_or(usize::MAX);
    NAMES.get(place).copied().unwrap_or("an unknown code")
}

#[cfg(test)]
mod tests {
    use super::of;
    use glassbox_verdict::report::Reply;
    use http::{HeaderMap, HeaderName, HeaderValue};

    fn fields(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        pairs.iter().map(pair).collect()
    }

    fn reply(status: u16, head: &[(&'static str, &'static str)], trailers: &[(&'static str, &'static str)]) -> Reply {
        Reply {
            status,
            headers: fields(head),
            trailers: fields(trailers),
            ..Reply::default()
        }
    }

    const GRPC: (&str, &str) = ("content-type", "application/grpc");
    const SERVING: &[u8] = &[0, 0, 0, 0, 2, 0x08, 1];

    /// What `blackbox_exporter` 0.28 exports for each (`probe_grpc_status_code`).
    #[test]
    fn the_code_is_the_one_that_grpc_go_gives() {
        let code = |reply: &Reply, body: &[u8]| of(reply, body).health.code;
        for (status, derived) in [
            (204, 2),
            (301, 2),
            (400, 13),
            (401, 16),
            (403, 7),
            (404, 12),
            (408, 2),
            (429, 14),
            (500, 2),
            (502, 14),
            (503, 14),
            (504, 14),
        ] {
            let html = reply(status, &[("content-type", "text/html")], &[]);
            assert_eq!(code(&html, b"<html>"), derived, "{status}");
        }
        let trailers_only = |status, code| Reply {
            declared_length: Some(0),
            ..reply(status, &[GRPC, ("grpc-status", code)], &[])
        };
        assert_eq!(code(&trailers_only(404, "5"), b""), 5);
        assert_eq!(code(&trailers_only(503, "0"), b""), 13, "there is no message");
        let ok = [("grpc-status", "0")];
        for (media_type, right) in [
            ("application/grpc", 0),
            ("application/grpc+proto", 0),
            ("application/grpc;x", 0),
            ("application/grpc-web", 2),
            ("application/grpcx", 2),
            ("APPLICATION/GRPC", 2),
            ("text/html", 2),
        ] {
            let answer = reply(200, &[("content-type", media_type)], &ok);
            assert_eq!(code(&answer, SERVING), right, "{media_type}");
        }
        assert_eq!(code(&reply(200, &[], &ok), SERVING), 2, "no content-type");
        let with_status = |status| reply(200, &[GRPC], &[("grpc-status", status)]);
        for (status, right) in [
            ("x", 2),
            ("", 2),
            ("4294967296", 2),
            ("99", 99),
            ("007", 7),
            ("-1", u32::MAX),
        ] {
            assert_eq!(code(&with_status(status), SERVING), right, "{status:?}");
        }
        assert_eq!(
            code(&reply(200, &[GRPC], &[("x", "y")]), SERVING),
            2,
            "trailers without it"
        );
        assert_eq!(code(&reply(200, &[GRPC], &[]), SERVING), 13, "no trailers");
        let only_head = Reply {
            declared_length: Some(0),
            ..reply(200, &[GRPC], &[])
        };
        assert_eq!(code(&only_head, b""), 2, "nothing but a head, without it");
    }

    #[test]
    fn the_last_status_of_the_trailers_counts_and_none_before_a_body() {
        const OK: (&str, &str) = ("grpc-status", "0");
        const NOT_FOUND: (&str, &str) = ("grpc-status", "5");
        let code = |reply: &Reply| of(reply, SERVING).health.code;
        let trailers = |pairs: &[(&'static str, &'static str)]| reply(200, &[GRPC], pairs);
        assert_eq!(code(&trailers(&[OK, NOT_FOUND])), 5);
        assert_eq!(code(&trailers(&[NOT_FOUND, OK])), 0);
        assert_eq!(code(&trailers(&[("grpc-status", "x"), OK])), 2);
        assert_eq!(code(&reply(200, &[GRPC, NOT_FOUND], &[OK])), 0, "a head before a body");
        assert_eq!(code(&reply(200, &[GRPC, OK], &[NOT_FOUND])), 5);
        assert_eq!(code(&reply(200, &[GRPC, OK], &[])), 13, "no trailers");
        let only_head = |fields: &[(&'static str, &'static str)]| Reply {
            declared_length: Some(0),
            ..reply(200, fields, &[])
        };
        assert_eq!(code(&only_head(&[GRPC, OK, NOT_FOUND])), 5);
        let html = ("content-type", "text/html");
        assert_eq!(code(&reply(200, &[html, GRPC], &[OK])), 0, "either media type");
    }

    #[test]
    fn a_message_that_cannot_be_read_has_the_code_that_grpc_go_gives() {
        let answer = reply(200, &[GRPC], &[("grpc-status", "0")]);
        for (body, right) in [
            (&b""[..], 13),
            (&[0, 0], 13),
            (&[1, 0, 0, 0, 2, 0x08, 1], 13),
            (&[0, 0, 0, 0, 2, 0xff, 0xff], 13),
            (&[0, 0x7f, 0xff, 0xff, 0xff, 0x08, 1], 8),
            (&[0, 0, 0, 0, 2, 0x08, 1, 0, 0, 0, 0, 2, 0x08, 2], 13),
            (SERVING, 0),
        ] {
            assert_eq!(of(&answer, body).health.code, right, "{body:?}");
        }
    }
}
