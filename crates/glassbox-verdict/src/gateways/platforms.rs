//! Application platforms with their own routers.

use super::GatewayKind::Edge;
use super::Meaning::{Itself, Origin, Upstream};
use super::Provenance::Documented;
use super::Signature::{Begins, Body, BodyIs, Has, Lacks, Says, Status, Text};
use super::{Gateway, UNMARKED, likely, page};
use crate::reason::Reason::{
    EdgeDenied, EdgeInternalError, EdgeNotFound, EdgeOverloaded, UpstreamConnectionLimitReached as LimitReached,
    UpstreamConnectionRefused as Refused, UpstreamConnectionTerminated as Terminated,
    UpstreamConnectionTimeout as ConnectTimeout, UpstreamDestinationIpProhibited as Prohibited,
    UpstreamDestinationUnavailable as Unavailable, UpstreamDnsError as Dns, UpstreamFailed,
    UpstreamHttpProtocolError as Protocol, UpstreamHttpResponseTimeout as ResponseTimeout,
    UpstreamTlsAlertReceived as Alert, UpstreamTlsCertificateError as Certificate, UpstreamTlsProtocolError as Tls,
};

/// The products of this group. Within a product, the most specific page comes first.
pub(super) const ROWS: &[Gateway] = &[
    Gateway {
        name: "render",
        known: Documented("community.render.com: threads with x-render-routing no-server, hibernate-wake-error"),
        here: &[Has("x-render-routing"), Has("rndr-id")],
        through: &[Has("x-render-origin-server")],
        own: &[
            page(
                &[Says("x-render-routing", "no-server"), Status(&[502, 503])],
                Upstream(&[Unavailable]),
            ),
            likely(
                &[Says("x-render-routing", "no-server")],
                Upstream(&[Unavailable, EdgeNotFound]),
            ),
            page(&[Says("x-render-routing", "suspend")], Itself(EdgeDenied)),
            page(
                &[Says("x-render-routing", "error"), Status(&[502, 503, 504])],
                Upstream(&[Refused, Unavailable, Terminated]),
            ),
        ],
        // Relayed responses also have this field, with other values.
        template: &[&[Says("x-render-routing", "hibernate")]],
        ..UNMARKED
    },
    Gateway {
        name: "railway",
        known: Documented("docs.railway.com: application failed to respond"),
        own_fields: &[Has("x-railway-fallback")],
        here: &[Begins("server", "railway-edge")],
        own: &[page(
            &[Has("x-railway-fallback"), Body("Application failed to respond")],
            Upstream(&[Refused, ResponseTimeout, Terminated]),
        )],
        template: &[&[Has("x-railway-fallback")]],
        ..UNMARKED
    },
    Gateway {
        name: "fly",
        known: Documented("fly.io/docs: the Fly Proxy, troubleshooting"),
        here: &[Begins("server", "Fly/"), Has("fly-request-id")],
        own: &[likely(
            &[Begins("server", "Fly/"), BodyIs(""), Status(&[502, 503, 504])],
            Upstream(&[Refused, Unavailable, Terminated, EdgeOverloaded]),
        )],
        ..UNMARKED
    },
    Gateway {
        name: "heroku",
        known: Documented("devcenter.heroku.com/articles/error-codes and error-pages"),
        here: &[Says("via", "vegur"), Says("via", "heroku-router")],
        own: &[
            page(
                &[Body("herokucdn.com/error-pages/no-such-app.html")],
                Itself(EdgeNotFound),
            ),
            page(
                &[Body("herokucdn.com/error-pages/maintenance-mode.html")],
                Itself(EdgeDenied),
            ),
            likely(
                &[Body("herokucdn.com/error-pages/application-error.html")],
                Upstream(&[Refused, Terminated, ResponseTimeout, EdgeInternalError]),
            ),
            likely(
                &[Body(
                    "An error occurred in the application and your page could not be served",
                )],
                Upstream(&[Refused, Terminated, ResponseTimeout, EdgeInternalError]),
            ),
            page(&[Body("no app is configured at that hostname")], Itself(EdgeNotFound)),
        ],
        ..UNMARKED
    },
    Gateway {
        name: "vercel",
        kind: Edge,
        known: Documented("vercel.com/docs/errors"),
        own_fields: &[Has("x-vercel-error"), Has("x-vercel-mitigated")],
        here: &[Begins("server", "Vercel"), Has("x-vercel-id")],
        own: &[
            page(
                &[Begins("x-vercel-error", "DNS_HOSTNAME_RESOLVED_PRIVATE")],
                Upstream(&[Prohibited]),
            ),
            page(&[Begins("x-vercel-error", "DNS_HOSTNAME")], Upstream(&[Dns])),
            page(
                &[Begins("x-vercel-error", "ROUTER_EXTERNAL_TARGET_HANDSHAKE")],
                Upstream(&[Tls]),
            ),
            page(
                &[Begins("x-vercel-error", "ROUTER_EXTERNAL_TARGET")],
                Upstream(&[Refused, ConnectTimeout, Tls]),
            ),
            page(
                &[Begins("x-vercel-error", "FUNCTION_INVOCATION_TIMEOUT")],
                Upstream(&[ResponseTimeout]),
            ),
            page(
                &[Begins("x-vercel-error", "EDGE_FUNCTION_INVOCATION_TIMEOUT")],
                Upstream(&[ResponseTimeout]),
            ),
            page(
                &[Begins("x-vercel-error", "MIDDLEWARE_INVOCATION_TIMEOUT")],
                Upstream(&[ResponseTimeout]),
            ),
            page(
                &[Begins("x-vercel-error", "NO_RESPONSE_FROM_FUNCTION")],
                Upstream(&[Terminated]),
            ),
            page(&[Begins("x-vercel-error", "FUNCTION_INVOCATION_FAILED")], Origin),
            page(&[Begins("x-vercel-error", "EDGE_FUNCTION_INVOCATION_FAILED")], Origin),
            page(&[Begins("x-vercel-error", "MIDDLEWARE_INVOCATION_FAILED")], Origin),
            page(
                &[Begins("x-vercel-error", "FUNCTION_RESPONSE_PAYLOAD_TOO_LARGE")],
                Origin,
            ),
            page(&[Begins("x-vercel-error", "BODY_NOT_A_STRING_FROM_FUNCTION")], Origin),
            page(
                &[Begins("x-vercel-error", "FUNCTION_THROTTLED")],
                Itself(EdgeOverloaded),
            ),
            page(&[Begins("x-vercel-error", "DEPLOYMENT_BLOCKED")], Itself(EdgeDenied)),
            page(&[Begins("x-vercel-error", "DEPLOYMENT_DISABLED")], Itself(EdgeDenied)),
            page(&[Begins("x-vercel-error", "DEPLOYMENT_PAUSED")], Itself(EdgeDenied)),
            page(&[Begins("x-vercel-error", "DEPLOYMENT_")], Itself(EdgeNotFound)),
            likely(
                &[Has("x-vercel-error"), Status(&[502, 503, 504])],
                Itself(EdgeInternalError),
            ),
            page(&[Has("x-vercel-mitigated")], Itself(EdgeDenied)),
        ],
        template: &[&[Has("x-vercel-error")]],
        ..UNMARKED
    },
    Gateway {
        name: "netlify",
        kind: Edge,
        known: Documented("docs.netlify.com: errors of functions and of proxied requests"),
        here: &[Begins("server", "Netlify"), Has("x-nf-request-id")],
        through: &[Says("cache-status", "fwd-status=")],
        own: &[
            page(
                &[Begins("server", "Netlify"), Body("Inactivity Timeout"), Status(&[504])],
                Upstream(&[ResponseTimeout]),
            ),
            likely(&[Begins("server", "Netlify"), Body("\"errorType\"")], Origin),
            likely(
                &[
                    Begins("server", "Netlify"),
                    Body("unhandled error in the function code"),
                ],
                Origin,
            ),
            likely(
                &[Begins("server", "Netlify"), Lacks("cache-status"), Status(&[502, 504])],
                Upstream(&[Refused, ResponseTimeout, Dns]),
            ),
        ],
        template: &[
            &[Begins("server", "Netlify"), Body("Not Found - Request ID")],
            &[
                Begins("server", "Netlify"),
                Lacks("cache-status"),
                Status(&[401, 403, 429]),
            ],
        ],
        ..UNMARKED
    },
    Gateway {
        name: "gorouter",
        known: Documented("cloudfoundry/gorouter:errorwriter and proxy/round_tripper/error_handler.go"),
        own_fields: &[Has("x-cf-routererror")],
        here: &[Has("x-cf-routererror")],
        own: &[
            page(&[Says("x-cf-routererror", "connection refused")], Upstream(&[Refused])),
            page(
                &[Says("x-cf-routererror", "i/o timeout")],
                Upstream(&[ConnectTimeout, ResponseTimeout]),
            ),
            page(&[Says("x-cf-routererror", "x509")], Upstream(&[Certificate])),
            page(&[Says("x-cf-routererror", "no_endpoints")], Upstream(&[Unavailable])),
            // The router removes a route when the last instance of its application disappears.
            likely(
                &[Says("x-cf-routererror", "unknown_route")],
                Upstream(&[Unavailable, EdgeNotFound]),
            ),
            // The backend's certificate is for another name.
            page(
                &[Says("x-cf-routererror", "endpoint_failure"), Status(&[503])],
                Upstream(&[Certificate]),
            ),
            page(
                &[Says("x-cf-routererror", "endpoint_failure"), Status(&[525])],
                Upstream(&[Tls, Alert]),
            ),
            page(
                &[Says("x-cf-routererror", "endpoint_failure"), Status(&[526])],
                Upstream(&[Certificate]),
            ),
            page(
                &[Says("x-cf-routererror", "endpoint_failure"), Status(&[496])],
                Upstream(&[Alert]),
            ),
            page(
                &[Says("x-cf-routererror", "endpoint_failure")],
                Upstream(&[Refused, Terminated, ResponseTimeout, Protocol]),
            ),
            likely(
                &[Says("x-cf-routererror", "connection_limit_reached")],
                Upstream(&[LimitReached, EdgeOverloaded]),
            ),
            likely(
                &[Says("x-cf-routererror", "route_service")],
                Upstream(&[UpstreamFailed, EdgeInternalError]),
            ),
            page(
                &[Body("Registered endpoint failed to handle the request")],
                Upstream(&[Refused, Terminated, ResponseTimeout, Protocol]),
            ),
            page(&[Body("has no available endpoints")], Upstream(&[Unavailable])),
            likely(
                &[Body("404 Not Found: Requested route")],
                Upstream(&[Unavailable, EdgeNotFound]),
            ),
        ],
        template: &[&[Has("x-cf-routererror")]],
        ..UNMARKED
    },
    Gateway {
        name: "openshift_router",
        known: Documented("openshift/router:images/router/haproxy/conf/error-page-503.http"),
        own: &[likely(
            &[
                Body("<h1>Application is not available</h1>"),
                Body("not serving requests at this endpoint"),
            ],
            Upstream(&[Unavailable, EdgeNotFound]),
        )],
        ..UNMARKED
    },
    Gateway {
        name: "kubernetes_default_backend",
        known: Documented("kubernetes/ingress-gce:cmd/404-server/server.go"),
        own_texts: &["default backend - 404"],
        own: &[
            page(&[Text("default backend - 404")], Itself(EdgeNotFound)),
            page(&[Body("(backend NotFound), service rules for")], Itself(EdgeNotFound)),
        ],
        ..UNMARKED
    },
    Gateway {
        name: "github_pages",
        known: Documented("docs.github.com: the 404 page of GitHub Pages"),
        own: &[page(
            &[Body("There isn't a GitHub Pages site here")],
            Itself(EdgeNotFound),
        )],
        ..UNMARKED
    },
    Gateway {
        name: "firebase_hosting",
        known: Documented("firebase.google.com/docs/hosting"),
        own: &[page(
            &[Body("<h1>Site Not Found</h1>"), Body("Firebase")],
            Itself(EdgeNotFound),
        )],
        ..UNMARKED
    },
];
