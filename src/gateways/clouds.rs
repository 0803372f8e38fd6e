//! Load balancers and API gateways that a cloud runs.

use super::Kind::Edge;
use super::Known::Documented;
use super::Mark::{Begins, Body, BodyIs, Has, Says, Starts, Status, Text, Titled};
use super::Means::{Front, Origin, Upstream};
use super::{Gateway, UNMARKED, likely, page};
use crate::reason::Reason::{
    FrontDenied, FrontInternalError, FrontNotFound, FrontOverloaded, FrontRateLimited,
    UpstreamConnectionRefused as Refused, UpstreamConnectionTerminated as Terminated,
    UpstreamConnectionTimeout as ConnectTimeout, UpstreamDestinationUnavailable as Unavailable, UpstreamFailed,
    UpstreamHttpProtocolError as Protocol, UpstreamHttpResponseTimeout as ResponseTimeout,
    UpstreamTlsProtocolError as Tls,
};

/// Each product with its own pages, the most telling first.
pub(super) const ROWS: &[Gateway] = &[
    Gateway {
        name: "aws_alb",
        kind: Edge,
        known: Documented("docs.aws.amazon.com: Application Load Balancers, troubleshooting"),
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
            // The controller that writes the rules of a cluster has words of its own where a service is missing.
            likely(
                &[Begins("server", "awselb"), Text("Backend service does not exist")],
                Upstream(&[Unavailable, FrontNotFound]),
            ),
            likely(
                &[Begins("server", "awselb"), Status(&[502]), BodyIs("")],
                Upstream(&[Refused, Terminated, Protocol, Tls]),
            ),
            likely(
                &[Begins("server", "awselb"), Status(&[503]), BodyIs("")],
                Upstream(&[Unavailable, FrontOverloaded]),
            ),
            likely(
                &[Begins("server", "awselb"), Status(&[504]), BodyIs("")],
                Upstream(&[ResponseTimeout, ConnectTimeout]),
            ),
            // A rule gives an answer of its own in the words of its author.
            page(
                &[Begins("server", "awselb"), Status(&[502, 503, 504])],
                Front(FrontDenied),
            ),
        ],
        template: &[&[Begins("server", "awselb")]],
        ..UNMARKED
    },
    Gateway {
        name: "aws_api_gateway",
        kind: Edge,
        known: Documented("docs.aws.amazon.com: API Gateway, gateway response types"),
        here: &[Has("x-amz-apigw-id"), Has("apigw-requestid")],
        through: &[Has("x-amzn-remapped-content-length"), Has("x-amzn-remapped-date")],
        own: &[
            page(
                &[Has("apigw-requestid"), Text("Not Found"), Status(&[404])],
                Front(FrontNotFound),
            ),
            page(
                &[Has("apigw-requestid"), Text("Service Unavailable"), Status(&[503])],
                Upstream(&[ConnectTimeout, ResponseTimeout, Refused]),
            ),
            page(
                &[Has("apigw-requestid"), Text("Endpoint request timed out")],
                Upstream(&[ResponseTimeout]),
            ),
            likely(
                &[Has("apigw-requestid"), Text("Internal server error")],
                Upstream(&[Protocol, UpstreamFailed, FrontInternalError]),
            ),
            page(
                &[
                    Has("apigw-requestid"),
                    Text("Network error communicating with endpoint"),
                ],
                Upstream(&[Refused, ConnectTimeout]),
            ),
            page(
                &[Has("apigw-requestid"), Text("Missing Authentication Token")],
                Front(FrontDenied),
            ),
            page(
                &[Has("apigw-requestid"), Text("Forbidden"), Status(&[403])],
                Front(FrontDenied),
            ),
            page(
                &[Has("apigw-requestid"), Text("Unauthorized"), Status(&[401])],
                Front(FrontDenied),
            ),
            page(
                &[Has("apigw-requestid"), Text("Too Many Requests"), Status(&[429])],
                Front(FrontRateLimited),
            ),
            page(
                &[Has("apigw-requestid"), Text("Limit Exceeded"), Status(&[429])],
                Front(FrontRateLimited),
            ),
            page(
                &[Has("x-amz-apigw-id"), Text("Endpoint request timed out")],
                Upstream(&[ResponseTimeout]),
            ),
            likely(
                &[Has("x-amz-apigw-id"), Text("Internal server error")],
                Upstream(&[Protocol, UpstreamFailed, FrontInternalError]),
            ),
            page(
                &[Has("x-amz-apigw-id"), Text("Network error communicating with endpoint")],
                Upstream(&[Refused, ConnectTimeout]),
            ),
            page(
                &[Has("x-amz-apigw-id"), Text("Missing Authentication Token")],
                Front(FrontDenied),
            ),
            page(
                &[Has("x-amz-apigw-id"), Text("Forbidden"), Status(&[403])],
                Front(FrontDenied),
            ),
            page(
                &[Has("x-amz-apigw-id"), Text("Unauthorized"), Status(&[401])],
                Front(FrontDenied),
            ),
            page(
                &[Has("x-amz-apigw-id"), Text("Too Many Requests"), Status(&[429])],
                Front(FrontRateLimited),
            ),
            page(
                &[Has("x-amz-apigw-id"), Text("Limit Exceeded"), Status(&[429])],
                Front(FrontRateLimited),
            ),
            page(
                &[Has("x-amzn-errortype"), Text("Endpoint request timed out")],
                Upstream(&[ResponseTimeout]),
            ),
            likely(
                &[Has("x-amzn-errortype"), Text("Internal server error")],
                Upstream(&[Protocol, UpstreamFailed, FrontInternalError]),
            ),
            page(
                &[
                    Has("x-amzn-errortype"),
                    Text("Network error communicating with endpoint"),
                ],
                Upstream(&[Refused, ConnectTimeout]),
            ),
            page(
                &[Has("x-amzn-errortype"), Text("Missing Authentication Token")],
                Front(FrontDenied),
            ),
            page(
                &[Has("x-amzn-errortype"), Text("Forbidden"), Status(&[403])],
                Front(FrontDenied),
            ),
            page(
                &[Has("x-amzn-errortype"), Text("Unauthorized"), Status(&[401])],
                Front(FrontDenied),
            ),
            page(
                &[Has("x-amzn-errortype"), Text("Too Many Requests"), Status(&[429])],
                Front(FrontRateLimited),
            ),
            page(
                &[Has("x-amzn-errortype"), Text("Limit Exceeded"), Status(&[429])],
                Front(FrontRateLimited),
            ),
            // Its own configuration, an authorizer, or what it calls.
            likely(&[Has("x-amzn-errortype"), Status(&[500])], Front(FrontInternalError)),
            likely(
                &[Text("Missing Authentication Token"), Status(&[403])],
                Front(FrontDenied),
            ),
            likely(
                &[Text("Endpoint request timed out"), Status(&[503, 504])],
                Upstream(&[ResponseTimeout]),
            ),
        ],
        template: &[&[Has("x-amzn-errortype"), Body("\"message\":")]],
    },
    Gateway {
        name: "google_api_gateway",
        kind: Edge,
        known: Documented("GoogleCloudPlatform/esp-v2 and cloud.google.com/endpoints/docs: troubleshooting responses"),
        own: &[
            page(
                &[Text("The current request is not defined by this API.")],
                Front(FrontNotFound),
            ),
            page(&[Text("Method does not exist."), Status(&[404])], Front(FrontNotFound)),
            page(&[Starts("{"), Body("\"PERMISSION_DENIED:")], Front(FrontDenied)),
            page(&[Starts("{"), Body("\"UNAUTHENTICATED:")], Front(FrontDenied)),
            page(&[Starts("{"), Body("\"INVALID_ARGUMENT:API key")], Front(FrontDenied)),
            page(&[Starts("{"), Body("\"RESOURCE_EXHAUSTED:")], Front(FrontRateLimited)),
            page(&[Body("Method doesn't allow unregistered callers")], Front(FrontDenied)),
        ],
        ..UNMARKED
    },
    Gateway {
        name: "google_cloud_lb",
        kind: Edge,
        known: Documented("cloud.google.com: external load balancers, Cloud Run and App Engine, troubleshooting"),
        here: &[Says("via", "1.1 google"), Begins("server", "Google Frontend")],
        through: &[Says("via", "1.1 google")],
        own: &[
            page(&[Has("x-goog-iap-generated-response")], Front(FrontDenied)),
            likely(
                &[Body("The request was aborted because there was no available instance")],
                Upstream(&[Unavailable, FrontOverloaded]),
            ),
            page(
                &[Begins("server", "Google Frontend"), Text("Rate exceeded.")],
                Front(FrontRateLimited),
            ),
            likely(
                &[
                    Begins("server", "Google Frontend"),
                    Text("Service Unavailable"),
                    Status(&[503]),
                ],
                Upstream(&[Unavailable, Terminated]),
            ),
            page(
                &[
                    Body("<title>502 Server Error</title>"),
                    Body("The server encountered a temporary error"),
                ],
                Upstream(&[Refused, Terminated, Unavailable, ResponseTimeout]),
            ),
            likely(
                &[Body("<title>503 Server Error</title>")],
                Upstream(&[Unavailable, FrontOverloaded]),
            ),
            page(&[Body("<title>504 Server Error</title>")], Upstream(&[ResponseTimeout])),
            // Of a program that crashed it says this, too.
            likely(
                &[
                    Body("<title>500 Server Error</title>"),
                    Body("<h1>Error: Server Error</h1>"),
                ],
                Origin,
            ),
            page(
                &[Body("Error: Forbidden"), Body("does not have permission to get URL")],
                Front(FrontDenied),
            ),
            page(
                &[Body("Error: Page not found"), Body("was not found on this server")],
                Front(FrontNotFound),
            ),
        ],
        template: &[&[Body("<body text=#000000 bgcolor=#ffffff>"), Body("<h1>Error: ")]],
    },
];
