//! API gateways.

use super::Meaning::{Itself, Origin, Upstream};
use super::Provenance::Documented;
use super::Signature::{AnyOf, Begins, Body, BodyIs, Has, Says, Status, Text};
use super::{Gateway, UNMARKED, likely, page};
use crate::reason::Reason::{
    EdgeDenied, EdgeInternalError, EdgeNotFound, EdgeOverloaded, EdgeRateLimited, EdgeRequestRefused,
    UpstreamConnectionRefused as Refused, UpstreamConnectionTerminated as Terminated,
    UpstreamConnectionTimeout as ConnectTimeout, UpstreamDestinationUnavailable as Unavailable,
    UpstreamDnsError as Dns, UpstreamHttpProtocolError as Protocol, UpstreamHttpResponseTimeout as ResponseTimeout,
    UpstreamTlsCertificateError as Certificate, UpstreamTlsProtocolError as Tls,
};

/// The products of this group. Within a product, the most specific page comes first.
pub(super) const ROWS: &[Gateway] = &[
    Gateway {
        name: "kong",
        known: Documented("Kong/kong:kong/error_handlers.lua and kong/runloop/balancer/init.lua"),
        here: &[
            Begins("server", "kong"),
            Has("x-kong-response-latency"),
            Has("x-kong-upstream-latency"),
            Says("via", "kong/"),
        ],
        own_fields: &[Has("x-kong-response-latency")],
        through: &[Has("x-kong-upstream-latency")],
        own: &[
            // A plugin that ends a request with 502, 503 or 504 and without a message returns the same text
            // (kong/pdk/response.lua).
            likely(
                &[Body("An invalid response was received from the upstream server")],
                Upstream(&[Refused, Terminated, Protocol, Dns]),
            )
            .or_inner(),
            likely(
                &[Body("The upstream server is timing out")],
                Upstream(&[ResponseTimeout, ConnectTimeout]),
            )
            .or_inner(),
            likely(
                &[Body("The upstream server is currently unavailable")],
                Upstream(&[Unavailable]),
            )
            .or_inner(),
            page(
                &[Body("failure to get a peer from the ring-balancer")],
                Upstream(&[Unavailable]),
            )
            .or_inner(),
            page(&[Text("name resolution failed")], Upstream(&[Dns])).or_inner(),
            page(&[Body("no Route matched with those values")], Itself(EdgeNotFound)),
            page(&[Text("Request size limit exceeded")], Itself(EdgeRequestRefused)),
            page(&[Text("API rate limit exceeded")], Itself(EdgeRateLimited)),
            page(&[Text("No API key found in request")], Itself(EdgeDenied)),
            // A plugin that ends a request may return this status.
            likely(&[Has("x-kong-response-latency"), Status(&[503])], Itself(EdgeDenied)),
            likely(
                &[Has("x-kong-response-latency"), Status(&[502])],
                Upstream(&[Refused, Terminated, Protocol, Dns]),
            ),
        ],
        template: &[
            &[Has("x-kong-response-latency")],
            &[Begins("server", "kong/"), Body("\"message\":")],
        ],
        ..UNMARKED
    },
    Gateway {
        name: "tyk",
        known: Documented("TykTechnologies/tyk:gateway/handler_error.go"),
        own_fields: &[Says("x-generator", "tyk.io")],
        here: &[Says("x-generator", "tyk.io")],
        own: &[
            page(
                &[Says("x-generator", "tyk.io"), Body("Upstream host lookup failed")],
                Upstream(&[Dns]),
            ),
            page(
                &[
                    Says("x-generator", "tyk.io"),
                    Body("There was a problem proxying the request"),
                ],
                Upstream(&[Refused, Terminated, Protocol]),
            ),
            // A plugin may end a request with any status, including 504.
            likely(
                &[Says("x-generator", "tyk.io"), Status(&[504])],
                Upstream(&[ResponseTimeout]),
            ),
            likely(
                &[Says("x-generator", "tyk.io"), Status(&[503])],
                Upstream(&[Unavailable]),
            ),
        ],
        template: &[&[Says("x-generator", "tyk.io")]],
        ..UNMARKED
    },
    Gateway {
        name: "krakend",
        known: Documented("krakend.io/docs: status codes and X-KrakenD-Completed"),
        here: &[Has("x-krakend")],
        own: &[likely(
            &[Says("x-krakend-completed", "false"), Status(&[500, 502, 503, 504])],
            Upstream(&[Refused, ResponseTimeout, Protocol, EdgeInternalError]),
        )],
        template: &[
            &[Has("x-krakend"), BodyIs("")],
            &[Has("x-krakend"), Text("404 page not found")],
        ],
        ..UNMARKED
    },
    Gateway {
        name: "apigee",
        known: Documented("cloud.google.com/apigee/docs: runtime errors and playbooks"),
        own: &[
            page(
                &[Body("\"errorcode\""), Body("http.flow.GatewayTimeout")],
                Upstream(&[ResponseTimeout]),
            ),
            page(
                &[Body("\"errorcode\""), Body("http.flow.NoActiveTargets")],
                Upstream(&[Unavailable]),
            ),
            page(
                &[Body("\"errorcode\""), Body("http.flow.SslHandshakeFailed")],
                Upstream(&[Tls, Certificate]),
            ),
            page(
                &[Body("\"errorcode\""), Body("http.flow.UnexpectedEOFAtTarget")],
                Upstream(&[Terminated]),
            ),
            page(
                &[Body("\"errorcode\""), Body("http.flow.ServiceUnavailable")],
                Upstream(&[Refused, ConnectTimeout, Tls, Dns]),
            ),
            page(&[Body("\"errorcode\""), Body("AtTarget")], Upstream(&[Protocol])),
            page(&[Body("\"errorcode\""), Body("AtResponse")], Upstream(&[Protocol])),
            page(&[Body("\"errorcode\""), Body("http.flow.ErrorResponseCode")], Origin),
            page(
                &[Body("\"errorcode\""), Body("http.flow.ApplicationNotFound")],
                Itself(EdgeNotFound),
            ),
            page(
                &[Body("\"errorcode\""), Body("QuotaViolation")],
                Itself(EdgeRateLimited),
            ),
            page(
                &[Body("\"errorcode\""), Body("SpikeArrestViolation")],
                Itself(EdgeRateLimited),
            ),
            page(&[Body("\"errorcode\""), Body("oauth.v2.")], Itself(EdgeDenied)),
        ],
        template: &[&[Body("\"faultstring\""), Body("\"errorcode\"")]],
        ..UNMARKED
    },
    Gateway {
        name: "apisix",
        known: Documented("apache/apisix:apisix/init.lua and apisix/core/response.lua"),
        here: &[Begins("server", "APISIX")],
        // APISIX also adds this field to its own 502 and 504 pages; hence `or_inner` below.
        through: &[Has("x-apisix-upstream-status")],
        own: &[
            page(&[Text("404 Route Not Found")], Itself(EdgeNotFound)),
            page(
                &[Begins("server", "APISIX"), Body("no valid upstream node")],
                Upstream(&[Unavailable]),
            ),
            page(
                &[
                    Body("Powered by <a href=\"https://apisix.apache.org/\""),
                    Status(&[502]),
                ],
                Upstream(&[Refused, Terminated, Protocol]),
            )
            .or_inner(),
            likely(
                &[
                    Body("Powered by <a href=\"https://apisix.apache.org/\""),
                    Status(&[503]),
                ],
                Upstream(&[Unavailable, EdgeOverloaded]),
            )
            .or_inner(),
            page(
                &[
                    Body("Powered by <a href=\"https://apisix.apache.org/\""),
                    Status(&[504]),
                ],
                Upstream(&[ResponseTimeout, ConnectTimeout]),
            )
            .or_inner(),
        ],
        // Plugins and applications return errors as JSON, and both kinds of responses have this `Server`.
        template: &[
            &[Body("Powered by <a href=\"https://apisix.apache.org/\"")],
            &[Begins("server", "APISIX"), Body("\"error_msg\":")],
        ],
        ..UNMARKED
    },
    Gateway {
        name: "wso2",
        known: Documented("apim.docs.wso2.com: error handling"),
        own: &[
            page(
                &[Body("Error connecting to the back end")],
                Upstream(&[Refused, ConnectTimeout]),
            ),
            page(
                &[AnyOf(&[
                    Body("Suspended endpoint"),
                    Body("\"303001\""),
                    Body("\"code\":303001"),
                ])],
                Upstream(&[Unavailable]),
            ),
            likely(&[Body("\"101504\"")], Upstream(&[ResponseTimeout])),
            page(&[Body("\"900901\"")], Itself(EdgeDenied)),
            page(&[Body("\"900902\"")], Itself(EdgeDenied)),
            page(&[Body("\"900802\"")], Itself(EdgeRateLimited)),
        ],
        ..UNMARKED
    },
];
