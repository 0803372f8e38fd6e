//! Load balancers and API gateways of cloud providers.

use super::Meaning::{Itself, Origin, Upstream};
use super::Provenance::Documented;
use super::Signature::{AnyOf, Begins, Body, BodyIs, Has, Message, Says, StartsTitled, Status, Text, Titled};
use super::{Gateway, UNMARKED, likely, page};
use crate::reason::Reason::{
    EdgeDenied, EdgeInternalError, EdgeNotFound, EdgeOverloaded, EdgeRateLimited, UpstreamConnectionRefused as Refused,
    UpstreamConnectionTerminated as Terminated, UpstreamConnectionTimeout as ConnectTimeout,
    UpstreamDestinationUnavailable as Unavailable, UpstreamFailed, UpstreamHttpProtocolError as Protocol,
    UpstreamHttpResponseTimeout as ResponseTimeout, UpstreamTlsProtocolError as Tls,
};

/// Fields that API Gateway adds to its own and to relayed responses: a request identifier or an error type.
const API_GATEWAY: super::Signature = AnyOf(&[Has("apigw-requestid"), Has("x-amz-apigw-id"), Has("x-amzn-errortype")]);

/// The products of this group. Within a product, the most specific page comes first.
pub(super) const ROWS: &[Gateway] = &[
    Gateway {
        name: "aws_alb",
        known: Documented("docs.aws.amazon.com: Application Load Balancers, troubleshooting"),
        // The response of a Lambda function behind the load balancer has the same `Server`.
        own_texts: &[
            "502 Bad Gateway 502 Bad Gateway",
            "503 Service Temporarily Unavailable 503 Service Temporarily Unavailable",
            "504 Gateway Time-out 504 Gateway Time-out",
        ],
        here: &[Begins("server", "awselb")],
        own: &[
            page(
                &[Begins("server", "awselb"), Status(&[502]), Titled("<title>")],
                Upstream(&[Refused, Terminated, Protocol, Tls]),
            ),
            page(
                &[
                    Begins("server", "awselb"),
                    Status(&[503]),
                    Body("503 Service Temporarily Unavailable"),
                ],
                Upstream(&[Unavailable]),
            ),
            page(
                &[Begins("server", "awselb"), Status(&[504]), Titled("<title>")],
                Upstream(&[ResponseTimeout, ConnectTimeout]),
            ),
            // The ingress controller configures this text for a missing service.
            likely(
                &[Begins("server", "awselb"), Text("Backend service does not exist")],
                Upstream(&[Unavailable, EdgeNotFound]),
            ),
            likely(
                &[Begins("server", "awselb"), Status(&[502]), BodyIs("")],
                Upstream(&[Refused, Terminated, Protocol, Tls]),
            ),
            likely(
                &[Begins("server", "awselb"), Status(&[503]), BodyIs("")],
                Upstream(&[Unavailable, EdgeOverloaded]),
            ),
            likely(
                &[Begins("server", "awselb"), Status(&[504]), BodyIs("")],
                Upstream(&[ResponseTimeout, ConnectTimeout]),
            ),
            // A fixed-response rule returns the text that its author configured.
            page(
                &[Begins("server", "awselb"), Status(&[502, 503, 504])],
                Itself(EdgeDenied),
            ),
        ],
        template: &[&[Begins("server", "awselb")]],
        ..UNMARKED
    },
    Gateway {
        name: "aws_api_gateway",
        known: Documented("docs.aws.amazon.com: API Gateway, gateway response types"),
        own_fields: &[Has("x-amzn-errortype")],
        here: &[Has("x-amz-apigw-id"), Has("apigw-requestid")],
        through: &[Has("x-amzn-remapped-content-length"), Has("x-amzn-remapped-date")],
        own: &[
            // An integration may return the same message, but never with the field of the error type.
            page(
                &[API_GATEWAY, Message("Not Found"), Status(&[404])],
                Itself(EdgeNotFound),
            ),
            page(
                &[API_GATEWAY, Message("Service Unavailable"), Status(&[503])],
                Upstream(&[ConnectTimeout, ResponseTimeout, Refused]),
            ),
            page(
                &[API_GATEWAY, Message("Endpoint request timed out")],
                Upstream(&[ResponseTimeout]),
            ),
            likely(
                &[API_GATEWAY, Message("Internal server error")],
                Upstream(&[Protocol, UpstreamFailed, EdgeInternalError]),
            ),
            page(
                &[API_GATEWAY, Message("Network error communicating with endpoint")],
                Upstream(&[Refused, ConnectTimeout]),
            ),
            page(
                &[API_GATEWAY, Message("Missing Authentication Token")],
                Itself(EdgeDenied),
            ),
            page(&[API_GATEWAY, Message("Forbidden"), Status(&[403])], Itself(EdgeDenied)),
            page(
                &[API_GATEWAY, Message("Unauthorized"), Status(&[401])],
                Itself(EdgeDenied),
            ),
            page(
                &[
                    API_GATEWAY,
                    AnyOf(&[Message("Too Many Requests"), Message("Limit Exceeded")]),
                    Status(&[429]),
                ],
                Itself(EdgeRateLimited),
            ),
            // A failure of the configuration, of an authorizer or of the integration.
            likely(&[Has("x-amzn-errortype"), Status(&[500])], Itself(EdgeInternalError)),
            likely(
                &[Message("Missing Authentication Token"), Status(&[403])],
                Itself(EdgeDenied),
            ),
            likely(
                &[Message("Endpoint request timed out"), Status(&[503, 504])],
                Upstream(&[ResponseTimeout]),
            ),
        ],
        template: &[&[Has("x-amzn-errortype"), Body("\"message\":")]],
        ..UNMARKED
    },
    Gateway {
        name: "google_api_gateway",
        known: Documented("GoogleCloudPlatform/esp-v2 and cloud.google.com/endpoints/docs: troubleshooting responses"),
        own: &[
            page(
                &[Text("The current request is not defined by this API.")],
                Itself(EdgeNotFound),
            ),
            page(&[Text("Method does not exist."), Status(&[404])], Itself(EdgeNotFound)),
            // Messages of gRPC libraries begin with the same words. Only this JSON layout is specific to the gateway.
            likely(
                &[StartsTitled("{\"code\":"), Body("\"message\":\"PERMISSION_DENIED:")],
                Itself(EdgeDenied),
            ),
            likely(
                &[StartsTitled("{\"code\":"), Body("\"message\":\"UNAUTHENTICATED:")],
                Itself(EdgeDenied),
            ),
            likely(
                &[
                    StartsTitled("{\"code\":"),
                    Body("\"message\":\"INVALID_ARGUMENT:API key"),
                ],
                Itself(EdgeDenied),
            ),
            likely(
                &[StartsTitled("{\"code\":"), Body("\"message\":\"RESOURCE_EXHAUSTED:")],
                Itself(EdgeRateLimited),
            ),
            page(&[Body("Method doesn't allow unregistered callers")], Itself(EdgeDenied)),
        ],
        ..UNMARKED
    },
    Gateway {
        name: "google_cloud_lb",
        known: Documented("cloud.google.com: external load balancers, Cloud Run and App Engine, troubleshooting"),
        own_fields: &[Has("x-goog-iap-generated-response")],
        own_texts: &[
            "# Server Error Error: Server Error The server encountered a temporary error and could not complete your request. \
             Please try again in 30 seconds.",
        ],
        here: &[
            Says("via", "1.1 google"),
            Begins("server", "Google Frontend"),
            Has("x-goog-iap-generated-response"),
        ],
        through: &[Says("via", "1.1 google")],
        own: &[
            page(&[Has("x-goog-iap-generated-response")], Itself(EdgeDenied)),
            likely(
                &[Body("The request was aborted because there was no available instance")],
                Upstream(&[Unavailable, EdgeOverloaded]),
            ),
            page(
                &[Begins("server", "Google Frontend"), Text("Rate exceeded.")],
                Itself(EdgeRateLimited),
            ),
            likely(
                &[
                    Begins("server", "Google Frontend"),
                    Text("Service Unavailable"),
                    Status(&[503]),
                ],
                Upstream(&[Unavailable, Terminated]),
            ),
            // A Cloud Armor rule with `deny(502)` returns the same page.
            likely(
                &[
                    Body("<title>502 Server Error</title>"),
                    Body("The server encountered a temporary error"),
                ],
                Upstream(&[Refused, Terminated, Unavailable, ResponseTimeout]),
            ),
            likely(
                &[Body("<title>503 Server Error</title>")],
                Upstream(&[Unavailable, EdgeOverloaded]),
            ),
            page(&[Body("<title>504 Server Error</title>")], Upstream(&[ResponseTimeout])),
            // The load balancer also returns this page for a crashed application.
            likely(
                &[
                    Body("<title>500 Server Error</title>"),
                    Body("<h1>Error: Server Error</h1>"),
                ],
                Origin,
            ),
            page(
                &[Body("Error: Forbidden"), Body("does not have permission to get URL")],
                Itself(EdgeDenied),
            ),
            page(
                &[Body("Error: Page not found"), Body("was not found on this server")],
                Itself(EdgeNotFound),
            ),
        ],
        template: &[&[Body("<body text=#000000 bgcolor=#ffffff>"), Body("<h1>Error: ")]],
        ..UNMARKED
    },
];
