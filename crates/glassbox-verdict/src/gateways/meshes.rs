//! Envoy and the proxies of service meshes.

use super::Meaning::{Itself, Upstream};
use super::Provenance::{Documented, Measured};
use super::Signature::{Begins, Body, BodyIs, Has, Says, Shorter, Starts, Status, Text};
use super::{Gateway, UNMARKED, likely, page};
use crate::reason::Reason::{
    EdgeDenied, EdgeInternalError, EdgeOverloaded, EdgeRateLimited, EdgeRequestRefused,
    UpstreamConnectionLimitReached as LimitReached, UpstreamConnectionRefused as Refused,
    UpstreamConnectionTerminated as Terminated, UpstreamConnectionTimeout as ConnectTimeout,
    UpstreamDestinationIpUnroutable as Unroutable, UpstreamDestinationUnavailable as Unavailable,
    UpstreamDnsError as Dns, UpstreamFailed, UpstreamHttpProtocolError as Protocol,
    UpstreamHttpResponseIncomplete as Incomplete, UpstreamHttpResponseTimeout as ResponseTimeout,
    UpstreamTlsAlertReceived as Alert, UpstreamTlsCertificateError as Certificate, UpstreamTlsProtocolError as Tls,
};

/// Envoy's text for a connection or stream that failed before the response began.
const RESET: super::Signature = Body("reset before headers");

/// Envoy's source files that define the messages below.
const ROUTER: &str = "envoyproxy/envoy:source/common/router/router.cc and source/common/http/utility.cc";
const FILTERS: &str = "envoyproxy/envoy:source/extensions/filters/http";
const JWT: &str = "google/jwt_verify_lib:src/status.cc";
const MANAGER: &str = "envoyproxy/envoy:source/common/http/conn_manager_impl.cc";

/// Complete bodies that only Envoy generates. Shorter messages from its filters are not in the list, because
/// applications may use them as well.
const OF_ENVOY: &[&str] = &[
    "upstream connect error or disconnect/reset before headers",
    "upstream connect error or disconnect/reset before headers. ... reset reason: ...",
    "upstream connect error or disconnect/reset before headers. ... reset reason: ... transport failure reason: ... ...",
    "no healthy upstream",
    "upstream request timeout",
    "upstream max stream duration reached",
    "downstream duration timeout",
    "Dynamic forward proxy pending request overflow",
    "RBAC: access denied",
    "fault filter abort",
    "local_rate_limited",
    "envoy overloaded",
];

/// The products of this group. Within a product, the most specific page comes first.
pub(super) const ROWS: &[Gateway] = &[
    Gateway {
        name: "linkerd",
        known: Documented("linkerd/linkerd2-proxy:linkerd/app/core/src/errors/respond.rs"),
        own_fields: &[Has("l5d-proxy-error")],
        own: &[
            likely(&[Says("l5d-proxy-error", "certificate")], Upstream(&[Certificate])),
            likely(&[Says("l5d-proxy-error", "refused")], Upstream(&[Refused])),
            likely(
                &[Says("l5d-proxy-error", "connect timed out")],
                Upstream(&[ConnectTimeout]),
            ),
            likely(&[Says("l5d-proxy-error", "fail-fast")], Upstream(&[Unavailable])),
            likely(&[Says("l5d-proxy-error", "timed out")], Upstream(&[ResponseTimeout])),
            likely(&[Says("l5d-proxy-error", "unauthorized")], Itself(EdgeDenied)),
            likely(&[Says("l5d-proxy-error", "rate")], Itself(EdgeRateLimited)),
            likely(
                &[Has("l5d-proxy-error"), Status(&[502, 503, 504])],
                Upstream(&[UpstreamFailed]),
            ),
        ],
        template: &[&[Has("l5d-proxy-error")]],
        ..UNMARKED
    },
    Gateway {
        name: "envoy",
        known: Measured("Envoy 1.36 and 1.40"),
        own_fields: &[Has("x-envoy-overloaded"), Has("x-envoy-ratelimited")],
        own_texts: OF_ENVOY,
        here: &[Begins("server", "envoy"), Begins("server", "istio-envoy")],
        through: &[Has("x-envoy-upstream-service-time")],
        // A sidecar returns the same messages, and the gateway in front of it relays them; hence `or_inner` below.
        own: &[
            page(
                &[Body("delayed connect error: Connection refused")],
                Upstream(&[Refused]),
            )
            .or_inner(),
            page(&[Body("delayed connect error: 111")], Upstream(&[Refused])).or_inner(),
            page(
                &[Body("immediate connect error: Network is unreachable")],
                Upstream(&[Unroutable]),
            )
            .or_inner(),
            page(&[RESET, Body("CERTIFICATE_VERIFY_FAILED")], Upstream(&[Certificate])).or_inner(),
            page(&[RESET, Body("ALERT")], Upstream(&[Alert])).or_inner(),
            page(&[RESET, Body("TLS_error")], Upstream(&[Tls])).or_inner(),
            page(
                &[RESET, Body("connection failure")],
                Upstream(&[Refused, Unroutable, Certificate]),
            )
            .or_inner(),
            page(&[RESET, Body("connection timeout")], Upstream(&[ConnectTimeout])).or_inner(),
            page(&[RESET, Body("connection termination")], Upstream(&[Terminated])).or_inner(),
            page(&[RESET, Body("remote reset")], Upstream(&[Terminated])).or_inner(),
            page(&[RESET, Body("refused stream reset")], Upstream(&[Terminated]))
                .or_inner()
                .documented(ROUTER),
            page(&[RESET, Body("protocol error")], Upstream(&[Protocol])).or_inner(),
            page(&[RESET, Body("half close")], Upstream(&[Incomplete, Terminated]))
                .or_inner()
                .documented(ROUTER),
            page(&[RESET, Body("overflow")], Upstream(&[LimitReached])).or_inner(),
            page(&[RESET, Body("overload manager")], Itself(EdgeOverloaded))
                .or_inner()
                .documented(ROUTER),
            page(&[RESET], Upstream(&[Terminated, ResponseTimeout, Refused]))
                .or_inner()
                .documented(ROUTER),
            // The cause is Envoy's own load, a runtime setting, or a limit for one cluster.
            likely(&[Has("x-envoy-overloaded")], Itself(EdgeOverloaded)),
            page(&[Has("x-envoy-ratelimited")], Itself(EdgeRateLimited)),
            page(&[Text("no healthy upstream")], Upstream(&[Unavailable, Dns])).or_inner(),
            page(&[Text("upstream request timeout")], Upstream(&[ResponseTimeout])).or_inner(),
            page(
                &[Text("upstream max stream duration reached")],
                Upstream(&[ResponseTimeout]),
            )
            .or_inner()
            .documented(ROUTER),
            page(&[Text("stream timeout"), Status(&[408])], Itself(EdgeRequestRefused))
                .or_inner()
                .documented(MANAGER),
            page(&[Text("stream timeout")], Upstream(&[ResponseTimeout]))
                .or_inner()
                .documented(MANAGER),
            // The limit applies to the whole exchange. The exporter sends its request at once, so the upstream is slow.
            likely(
                &[Text("downstream duration timeout")],
                Upstream(&[ResponseTimeout, EdgeRequestRefused]),
            )
            .or_inner()
            .documented(MANAGER),
            page(&[Text("DNS resolution failure")], Upstream(&[Dns]))
                .or_inner()
                .documented(FILTERS),
            page(&[Text("dns resolution timeout")], Upstream(&[Dns]))
                .or_inner()
                .documented(FILTERS),
            page(
                &[Text("Dynamic forward proxy pending request overflow")],
                Itself(EdgeOverloaded),
            )
            .or_inner()
            .documented(FILTERS),
            page(&[Text("RBAC: access denied")], Itself(EdgeDenied)).or_inner(),
            page(&[Text("fault filter abort")], Itself(EdgeDenied))
                .or_inner()
                .documented(FILTERS),
            page(&[Text("local_rate_limited")], Itself(EdgeRateLimited)).or_inner(),
            page(&[Text("envoy overloaded")], Itself(EdgeOverloaded))
                .or_inner()
                .documented(MANAGER),
            page(&[Text("OAuth flow failed.")], Itself(EdgeDenied))
                .or_inner()
                .documented(FILTERS),
            page(&[Text("Invalid origin")], Itself(EdgeDenied))
                .or_inner()
                .documented(FILTERS),
            page(&[Starts("Jwt "), Shorter(200)], Itself(EdgeDenied))
                .or_inner()
                .documented(JWT),
            page(&[Starts("{"), Body("\"Jwt ")], Itself(EdgeDenied))
                .or_inner()
                .documented(JWT),
            page(&[Starts("Jwks "), Shorter(200)], Itself(EdgeDenied))
                .or_inner()
                .documented(JWT),
            page(&[Text("Audiences in Jwt are not allowed")], Itself(EdgeDenied))
                .or_inner()
                .documented(JWT),
            likely(
                &[
                    Begins("server", "envoy"),
                    Status(&[500]),
                    BodyIs("Internal Server Error"),
                ],
                Itself(EdgeInternalError),
            )
            .documented(MANAGER),
        ],
        // A relayed response has a body or the field with the upstream's response time.
        template: &[
            &[Begins("server", "envoy"), BodyIs("")],
            &[Begins("server", "istio-envoy"), BodyIs("")],
            &[
                Begins("server", "envoy"),
                Begins("content-type", "text/plain"),
                Shorter(200),
            ],
            &[
                Begins("server", "istio-envoy"),
                Begins("content-type", "text/plain"),
                Shorter(200),
            ],
        ],
        ..UNMARKED
    },
];
