//! Fields that describe failures in a structured form: `Proxy-Status` (RFC 9209) and `Cache-Status` (RFC 9211).

use super::{
    GatewayKind, Meaning, ObservedResponse, OwnResponse, Recognised, names_an_application, nearest, own_reason,
};
use crate::reason::Reason;
use http::{HeaderMap, HeaderValue};
use sfv::{BareItem, Item, List, ListEntry, Parameters, Parser};

/// The error types of RFC 9209 section 2.3 and their meanings.
const ERRORS: &[(&str, Meaning)] = &[
    ("dns_timeout", Meaning::Upstream(&[Reason::UpstreamDnsTimeout])),
    ("dns_error", Meaning::Upstream(&[Reason::UpstreamDnsError])),
    ("destination_not_found", Meaning::Itself(Reason::EdgeNotFound)),
    (
        "destination_unavailable",
        // Envoy also uses this type for names that do not resolve.
        Meaning::Upstream(&[Reason::UpstreamDestinationUnavailable, Reason::UpstreamDnsError]),
    ),
    (
        "destination_ip_prohibited",
        Meaning::Upstream(&[Reason::UpstreamDestinationIpProhibited]),
    ),
    (
        "destination_ip_unroutable",
        Meaning::Upstream(&[Reason::UpstreamDestinationIpUnroutable]),
    ),
    (
        "connection_refused",
        Meaning::Upstream(&[Reason::UpstreamConnectionRefused]),
    ),
    (
        "connection_terminated",
        Meaning::Upstream(&[Reason::UpstreamConnectionTerminated]),
    ),
    (
        "connection_timeout",
        Meaning::Upstream(&[Reason::UpstreamConnectionTimeout]),
    ),
    (
        "connection_read_timeout",
        Meaning::Upstream(&[Reason::UpstreamConnectionReadTimeout]),
    ),
    (
        "connection_write_timeout",
        Meaning::Upstream(&[Reason::UpstreamConnectionWriteTimeout]),
    ),
    (
        "connection_limit_reached",
        Meaning::Upstream(&[Reason::UpstreamConnectionLimitReached]),
    ),
    (
        "tls_protocol_error",
        Meaning::Upstream(&[Reason::UpstreamTlsProtocolError]),
    ),
    (
        "tls_certificate_error",
        Meaning::Upstream(&[Reason::UpstreamTlsCertificateError]),
    ),
    (
        "tls_alert_received",
        Meaning::Upstream(&[Reason::UpstreamTlsAlertReceived]),
    ),
    ("http_request_denied", Meaning::Itself(Reason::EdgeDenied)),
    (
        "http_response_incomplete",
        Meaning::Upstream(&[Reason::UpstreamHttpResponseIncomplete]),
    ),
    (
        "http_response_header_section_size",
        Meaning::Upstream(&[Reason::UpstreamHttpResponseHeaderSectionSize]),
    ),
    (
        "http_response_header_size",
        Meaning::Upstream(&[Reason::UpstreamHttpResponseHeaderSectionSize]),
    ),
    (
        "http_response_body_size",
        Meaning::Upstream(&[Reason::UpstreamHttpResponseBodySize]),
    ),
    (
        "http_response_trailer_section_size",
        Meaning::Upstream(&[Reason::UpstreamHttpProtocolError]),
    ),
    (
        "http_response_trailer_size",
        Meaning::Upstream(&[Reason::UpstreamHttpProtocolError]),
    ),
    (
        "http_response_transfer_coding",
        Meaning::Upstream(&[Reason::UpstreamHttpResponseTransferCoding]),
    ),
    (
        "http_response_content_coding",
        Meaning::Upstream(&[Reason::UpstreamHttpResponseContentCoding]),
    ),
    (
        "http_response_timeout",
        Meaning::Upstream(&[Reason::UpstreamHttpResponseTimeout]),
    ),
    (
        "http_upgrade_failed",
        Meaning::Upstream(&[Reason::UpstreamHttpUpgradeFailed]),
    ),
    (
        "http_protocol_error",
        Meaning::Upstream(&[Reason::UpstreamHttpProtocolError]),
    ),
    ("proxy_internal_error", Meaning::Itself(Reason::EdgeInternalError)),
    ("proxy_configuration_error", Meaning::Itself(Reason::EdgeInternalError)),
    ("proxy_loop_detected", Meaning::Itself(Reason::EdgeLoop)),
];

/// Error types of responses that a gateway generates without contacting its upstream. The status determines the
/// meaning.
const BY_STATUS: [&str; 2] = ["http_request_error", "proxy_internal_response"];

/// Texts in `details` that are more specific than the error type: Envoy returns `connection_refused` for any failure
/// before the connection is established. Underscores in `details` count as spaces, and all parts separated by `|` must
/// match.
const DETAILS: &[(&str, Reason)] = &[
    ("certificate verify failed", Reason::UpstreamTlsCertificateError),
    ("tls error:|alert", Reason::UpstreamTlsAlertReceived),
    ("tls error", Reason::UpstreamTlsProtocolError),
    ("connection timeout", Reason::UpstreamConnectionTimeout),
    ("network is unreachable", Reason::UpstreamDestinationIpUnroutable),
    ("no route to host", Reason::UpstreamDestinationIpUnroutable),
    ("connection refused", Reason::UpstreamConnectionRefused),
    ("delayed connect error: 111", Reason::UpstreamConnectionRefused),
    ("dns resolution failure", Reason::UpstreamDnsError),
];

/// Parses both fields, in the header and in the trailers.
pub(super) fn read(answer: &ObservedResponse<'_>) -> Option<Recognised> {
    let who = nearest(answer);
    let members = members(answer, "proxy-status");
    // The first member is closest to the origin. Its error causes the errors of the members that follow.
    let error = members
        .iter()
        .enumerate()
        .find_map(|(place, member)| Some((place + 1 == members.len(), meaning_of(member, answer.status)?)));
    let relayed = || {
        let received = members
            .iter()
            .any(|member| member.params.get("received-status").is_some());
        received || passed_by_a_cache(answer)
    };
    // An application may relay the response that a proxy sent to it.
    let may_be_passed_on = names_an_application(answer) || is_json(answer);
    match error {
        Some((last, meaning)) => Some(Recognised::Own(OwnResponse {
            by: who,
            kind: GatewayKind::Gateway,
            forward: false,
            proven: !may_be_passed_on,
            // For the outermost gateway, a refusal by an inner gateway is an upstream failure.
            meaning: match meaning {
                Meaning::Itself(_) if !last => Meaning::Upstream(&[Reason::UpstreamFailed]),
                meaning => meaning,
            },
            sure: (last || !matches!(meaning, Meaning::Itself(_))) && !may_be_passed_on,
        })),
        None => relayed().then_some(Recognised::Through(who)),
    }
}

/// Whether the body is JSON, like the error of an application.
fn is_json(answer: &ObservedResponse<'_>) -> bool {
    let kind = answer
        .headers
        .get("content-type")
        .map(HeaderValue::as_bytes)
        .unwrap_or_default();
    String::from_utf8_lossy(kind).to_ascii_lowercase().contains("json") && !answer.body.trim().is_empty()
}

/// Whether a cache received this status from its upstream (RFC 9211 section 2.3).
fn passed_by_a_cache(answer: &ObservedResponse<'_>) -> bool {
    members(answer, "cache-status").iter().any(|member| {
        let status = member.params.get("fwd-status").and_then(BareItem::as_integer);
        status.is_some_and(|status| i64::from(status) == i64::from(answer.status))
    })
}

fn members(answer: &ObservedResponse<'_>, field: &str) -> Vec<Item> {
    let mut found = in_fields(answer.headers, field);
    found.extend(in_fields(answer.trailers, field));
    found
}

fn in_fields(fields: &HeaderMap, field: &str) -> Vec<Item> {
    let values: Vec<_> = fields
        .get_all(field)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .collect();
    let list: List = Parser::new(&values.join(", ")).parse().unwrap_or_default();
    let items = list.into_iter().filter_map(|entry| match entry {
        ListEntry::Item(item) => Some(item),
        ListEntry::InnerList(_) => None,
    });
    items.collect()
}

/// The error of one intermediary. Meta writes the error type where the name of the intermediary belongs.
fn meaning_of(member: &Item, status: u16) -> Option<Meaning> {
    let error = match member.params.get("error") {
        Some(error) => text(error)?,
        None => text(&member.bare_item).filter(|name| of_error(name, status).is_some())?,
    };
    by_details(&member.params).or_else(|| of_error(&error, status))
}

fn by_details(parameters: &Parameters) -> Option<Meaning> {
    let details = text(parameters.get("details")?)?.to_ascii_lowercase().replace('_', " ");
    let fits = |pattern: &str| pattern.split('|').all(|part| details.contains(part));
    let (_, reason) = DETAILS.iter().find(|(pattern, _)| fits(pattern))?;
    Some(Meaning::Upstream(std::slice::from_ref(reason)))
}

fn of_error(name: &str, status: u16) -> Option<Meaning> {
    if BY_STATUS.contains(&name) {
        return Some(Meaning::Itself(own_reason(status)));
    }
    let row = ERRORS.iter().find(|(known, _)| *known == name)?;
    Some(row.1)
}

/// The value of a token or a string: `error` is a token, but some gateways send a string.
fn text(item: &BareItem) -> Option<String> {
    let token = item.as_token().map(|token| token.as_str().to_owned());
    token.or_else(|| item.as_string().map(|string| string.as_str().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::{BY_STATUS, ERRORS, read};
    use crate::gateways::{Meaning, ObservedResponse, OwnResponse, Recognised};
    use crate::reason::Reason;
    use http::{HeaderMap, HeaderName, HeaderValue};
    use std::time::Duration;

    fn said(field: &str, value: &str) -> Option<Recognised> {
        let mut fields = HeaderMap::new();
        fields.insert(
            HeaderName::from_bytes(field.as_bytes()).unwrap(),
            HeaderValue::from_str(value).unwrap(),
        );
        let none = HeaderMap::new();
        let answer = |headers, trailers| ObservedResponse {
            status: 502,
            phrase: None,
            headers,
            trailers,
            body: "",
            waited: Duration::ZERO,
        };
        let in_head = read(&answer(&fields, &none));
        assert_eq!(in_head, read(&answer(&none, &fields)), "in the trailers as in the head");
        in_head
    }

    fn upstream(value: &str) -> Vec<Reason> {
        match said("proxy-status", value) {
            Some(Recognised::Own(OwnResponse {
                meaning: Meaning::Upstream(reasons),
                ..
            })) => reasons.to_vec(),
            other => panic!("{value}: {other:?}"),
        }
    }

    #[test]
    fn details_say_more_than_the_error_type() {
        for (details, reason) in [
            (
                "upstream_reset_before_response_started{delayed_connect_error:_Connection_refused}; UF",
                Reason::UpstreamConnectionRefused,
            ),
            (
                "upstream_reset_before_response_started{connection_timeout}; UF",
                Reason::UpstreamConnectionTimeout,
            ),
            (
                "x{TLS_error:_OPENSSL:CERTIFICATE_VERIFY_FAILED:certificate_has_expired}; UF",
                Reason::UpstreamTlsCertificateError,
            ),
            (
                "x{TLS_error:_268435581:SSL_routines:SSLV3_ALERT_HANDSHAKE_FAILURE}; UF",
                Reason::UpstreamTlsAlertReceived,
            ),
            (
                "x{immediate_connect_error:_Network_is_unreachable}; UF",
                Reason::UpstreamDestinationIpUnroutable,
            ),
            ("something else", Reason::UpstreamConnectionRefused),
        ] {
            let value = format!("edge; error=connection_refused; details=\"{details}\"");
            assert_eq!(upstream(&value), [reason], "{details}");
        }
    }

    #[test]
    fn the_member_next_to_the_origin_is_the_root() {
        let value = "inner; error=dns_timeout, edge; error=http_response_timeout";
        assert_eq!(upstream(value), [Reason::UpstreamDnsTimeout]);
    }

    #[test]
    fn an_error_type_may_stand_in_the_members_place_or_be_a_string() {
        assert_eq!(
            upstream("connection_timeout; e_proxy=\"x\""),
            [Reason::UpstreamConnectionTimeout]
        );
        assert_eq!(upstream("edge; error=\"dns_error\""), [Reason::UpstreamDnsError]);
        let denied = said("proxy-status", "Cloudflare-Proxy;error=http_request_error");
        let Some(Recognised::Own(denied)) = denied else {
            panic!("{denied:?}")
        };
        assert_eq!(
            (denied.by, denied.meaning),
            (None, Meaning::Itself(Reason::EdgeInternalError)),
            "the status is 502"
        );
        assert!(denied.sure);
        let inner = said(
            "proxy-status",
            "inner; error=http_request_denied, edge; received-status=403",
        );
        assert!(matches!(
            inner,
            Some(Recognised::Own(OwnResponse {
                meaning: Meaning::Upstream(_),
                sure: false,
                ..
            }))
        ));
    }

    #[test]
    fn a_status_that_was_received_was_passed_on() {
        for (field, value) in [
            ("proxy-status", "edge; received-status=502"),
            ("cache-status", "\"Netlify Edge\"; fwd=miss; fwd-status=502; stored"),
        ] {
            assert_eq!(said(field, value), Some(Recognised::Through(None)), "{value}");
        }
        assert_eq!(said("cache-status", "edge; fwd=miss; fwd-status=200"), None);
    }

    #[test]
    fn what_is_no_structured_field_says_nothing() {
        for value in ["", "edge; error=", "(a b)", "edge; error=new_type", "\u{e9}", "42"] {
            assert_eq!(said("proxy-status", value), None, "{value}");
        }
        assert_eq!(ERRORS.len() + BY_STATUS.len(), 32);
    }
}
