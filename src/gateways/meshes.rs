//! Envoy and the proxies of service meshes.

use super::Known::{Documented, Measured};
use super::Mark::{Begins, Body, BodyIs, Has, Says, Shorter, Starts, Status, Text};
use super::Means::{Front, Upstream};
use super::{Gateway, UNMARKED, likely, page};
use crate::reason::Reason::{
    FrontDenied, FrontInternalError, FrontNotFound, FrontOverloaded, FrontRateLimited, FrontRequestRefused,
    UpstreamConnectionRefused as Refused, UpstreamConnectionTerminated as Terminated,
    UpstreamConnectionTimeout as ConnectTimeout, UpstreamDestinationIpUnroutable as Unroutable,
    UpstreamDestinationUnavailable as Unavailable, UpstreamDnsError as Dns, UpstreamFailed,
    UpstreamHttpProtocolError as Protocol, UpstreamHttpResponseIncomplete as Incomplete,
    UpstreamHttpResponseTimeout as ResponseTimeout, UpstreamTlsAlertReceived as Alert,
    UpstreamTlsCertificateError as Certificate, UpstreamTlsProtocolError as Tls,
};

/// What Envoy says of a connection or stream that failed before the answer began.
const RESET: super::Mark = Body("reset before headers");

/// Where the texts below stand in Envoy's source.
const ROUTER: &str = "envoyproxy/envoy:source/common/router/router.cc and source/common/http/utility.cc";
const FILTERS: &str = "envoyproxy/envoy:source/extensions/filters/http";
const JWT: &str = "google/jwt_verify_lib:src/status.cc";
const MANAGER: &str = "envoyproxy/envoy:source/common/http/conn_manager_impl.cc";

/// Each product with its own pages, the most telling first.
pub(super) const ROWS: &[Gateway] = &[
    Gateway {
        name: "linkerd",
        known: Documented("linkerd/linkerd2-proxy:linkerd/app/core/src/errors/respond.rs"),
        own: &[
            page(&[Says("l5d-proxy-error", "certificate")], Upstream(&[Certificate])),
            page(&[Says("l5d-proxy-error", "refused")], Upstream(&[Refused])),
            page(
                &[Says("l5d-proxy-error", "connect timed out")],
                Upstream(&[ConnectTimeout]),
            ),
            page(&[Says("l5d-proxy-error", "fail-fast")], Upstream(&[Unavailable])),
            page(&[Says("l5d-proxy-error", "timed out")], Upstream(&[ResponseTimeout])),
            page(&[Says("l5d-proxy-error", "unauthorized")], Front(FrontDenied)),
            likely(&[Says("l5d-proxy-error", "rate")], Front(FrontRateLimited)),
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
        here: &[Begins("server", "envoy"), Begins("server", "istio-envoy")],
        through: &[Has("x-envoy-upstream-service-time")],
        // A sidecar says the same, and the gateway before it passes that on.
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
            page(&[RESET, Body("overflow")], Front(FrontOverloaded)).or_inner(),
            page(&[RESET, Body("overload manager")], Front(FrontOverloaded))
                .or_inner()
                .documented(ROUTER),
            page(&[RESET], Upstream(&[Terminated, ResponseTimeout, Refused]))
                .or_inner()
                .documented(ROUTER),
            page(&[Has("x-envoy-overloaded")], Front(FrontOverloaded)),
            page(&[Has("x-envoy-ratelimited")], Front(FrontRateLimited)),
            page(&[Text("no healthy upstream")], Upstream(&[Unavailable, Dns])).or_inner(),
            page(&[Text("upstream request timeout")], Upstream(&[ResponseTimeout])).or_inner(),
            page(&[Text("upstream response timeout")], Upstream(&[ResponseTimeout]))
                .or_inner()
                .documented(ROUTER),
            page(
                &[Text("upstream max stream duration reached")],
                Upstream(&[ResponseTimeout]),
            )
            .or_inner()
            .documented(ROUTER),
            page(&[Text("upstream per try idle timeout")], Upstream(&[ResponseTimeout]))
                .or_inner()
                .documented(ROUTER),
            page(&[Text("stream timeout"), Status(&[408])], Front(FrontRequestRefused))
                .or_inner()
                .documented(MANAGER),
            page(&[Text("stream timeout")], Upstream(&[ResponseTimeout]))
                .or_inner()
                .documented(MANAGER),
            page(&[Text("max duration timeout")], Upstream(&[ResponseTimeout]))
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
                Front(FrontOverloaded),
            )
            .or_inner()
            .documented(FILTERS),
            likely(&[Text("no cluster")], Upstream(&[Unavailable, FrontNotFound]))
                .or_inner()
                .documented(ROUTER),
            likely(&[Text("cluster not found")], Upstream(&[Unavailable, FrontNotFound]))
                .or_inner()
                .documented(ROUTER),
            page(&[Text("RBAC: access denied")], Front(FrontDenied)).or_inner(),
            page(&[Text("fault filter abort")], Front(FrontDenied))
                .or_inner()
                .documented(FILTERS),
            page(&[Text("local_rate_limited")], Front(FrontRateLimited)).or_inner(),
            page(&[Text("envoy overloaded")], Front(FrontOverloaded))
                .or_inner()
                .documented(MANAGER),
            page(&[Text("OAuth flow failed.")], Front(FrontDenied))
                .or_inner()
                .documented(FILTERS),
            page(&[Text("Invalid origin")], Front(FrontDenied))
                .or_inner()
                .documented(FILTERS),
            page(&[Starts("Jwt "), Shorter(200)], Front(FrontDenied))
                .or_inner()
                .documented(JWT),
            page(&[Starts("{"), Body("\"Jwt ")], Front(FrontDenied))
                .or_inner()
                .documented(JWT),
            page(&[Starts("Jwks "), Shorter(200)], Front(FrontDenied))
                .or_inner()
                .documented(JWT),
            page(&[Text("Audiences in Jwt are not allowed")], Front(FrontDenied))
                .or_inner()
                .documented(JWT),
            likely(
                &[
                    Begins("server", "envoy"),
                    Status(&[500]),
                    BodyIs("Internal Server Error"),
                ],
                Front(FrontInternalError),
            )
            .documented(MANAGER),
        ],
        // What comes from behind has the time that it took, or a body of its own.
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
