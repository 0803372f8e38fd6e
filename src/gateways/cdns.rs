//! Content delivery networks.

use super::Kind::Edge;
use super::Known::Documented;
use super::Mark::{Begins, Body, Has, Says, Shorter, Status};
use super::Means::{Front, Origin, Upstream};
use super::{Gateway, UNMARKED, likely, page};
use crate::reason::Reason::{
    FrontDenied, FrontInternalError, FrontLoop, FrontNotFound, FrontOverloaded, FrontRateLimited,
    UpstreamConnectionLimitReached as LimitReached, UpstreamConnectionRefused as Refused,
    UpstreamConnectionTerminated as Terminated, UpstreamConnectionTimeout as ConnectTimeout,
    UpstreamDestinationIpUnroutable as Unroutable, UpstreamDestinationUnavailable as Unavailable,
    UpstreamDnsError as Dns, UpstreamFailed, UpstreamHttpProtocolError as Protocol,
    UpstreamHttpResponseBodySize as BodySize, UpstreamHttpResponseHeaderSectionSize as HeaderSize,
    UpstreamHttpResponseIncomplete as Incomplete, UpstreamHttpResponseTimeout as ResponseTimeout,
    UpstreamTlsCertificateError as Certificate, UpstreamTlsProtocolError as Tls,
};

/// Each product with its own pages, the most telling first.
pub(super) const ROWS: &[Gateway] = &[
    Gateway {
        name: "cloudflare",
        kind: Edge,
        known: Documented("cloudflare/cloudflare-docs:src/content/docs/support/troubleshooting/http-status-codes"),
        here: &[Begins("server", "cloudflare"), Has("cf-ray")],
        own: &[
            page(
                &[Begins("server", "cloudflare"), Status(&[520])],
                Upstream(&[Protocol, Terminated]),
            ),
            page(&[Begins("server", "cloudflare"), Status(&[521])], Upstream(&[Refused])),
            page(
                &[Begins("server", "cloudflare"), Status(&[522])],
                Upstream(&[ConnectTimeout]),
            ),
            page(
                &[Begins("server", "cloudflare"), Status(&[523])],
                Upstream(&[Unroutable]),
            ),
            page(
                &[Begins("server", "cloudflare"), Status(&[524])],
                Upstream(&[ResponseTimeout]),
            ),
            page(&[Begins("server", "cloudflare"), Status(&[525])], Upstream(&[Tls])),
            page(
                &[Begins("server", "cloudflare"), Status(&[526])],
                Upstream(&[Certificate]),
            ),
            page(
                &[Begins("server", "cloudflare"), Status(&[530]), Body("1016")],
                Upstream(&[Dns]),
            ),
            page(
                &[Begins("server", "cloudflare"), Status(&[530]), Body("1033")],
                Upstream(&[Unavailable]),
            ),
            likely(
                &[Begins("server", "cloudflare"), Status(&[530])],
                Upstream(&[Dns, UpstreamFailed]),
            ),
            page(
                &[Begins("server", "cloudflare"), Body("error code: 1000")],
                Front(FrontLoop),
            ),
            page(
                &[Begins("server", "cloudflare"), Body("cf-error-code"), Body(">1000<")],
                Front(FrontLoop),
            ),
            page(
                &[Begins("server", "cloudflare"), Body("error code: 1019")],
                Front(FrontLoop),
            ),
            page(
                &[Begins("server", "cloudflare"), Body("cf-error-code"), Body(">1019<")],
                Front(FrontLoop),
            ),
            likely(
                &[Begins("server", "cloudflare"), Body("error code: 1001")],
                Front(FrontNotFound),
            ),
            likely(
                &[Begins("server", "cloudflare"), Body("cf-error-code"), Body(">1001<")],
                Front(FrontNotFound),
            ),
            page(
                &[Begins("server", "cloudflare"), Body("error code: 1015")],
                Front(FrontRateLimited),
            ),
            page(
                &[Begins("server", "cloudflare"), Body("cf-error-code"), Body(">1015<")],
                Front(FrontRateLimited),
            ),
            page(
                &[Begins("server", "cloudflare"), Body("error code: 1016")],
                Upstream(&[Dns]),
            ),
            page(
                &[Begins("server", "cloudflare"), Body("cf-error-code"), Body(">1016<")],
                Upstream(&[Dns]),
            ),
            likely(
                &[Begins("server", "cloudflare"), Body("error code: 1101")],
                Front(FrontInternalError),
            ),
            likely(
                &[Begins("server", "cloudflare"), Body("cf-error-code"), Body(">1101<")],
                Front(FrontInternalError),
            ),
            likely(
                &[Begins("server", "cloudflare"), Body("error code: 1102")],
                Front(FrontInternalError),
            ),
            likely(
                &[Begins("server", "cloudflare"), Body("cf-error-code"), Body(">1102<")],
                Front(FrontInternalError),
            ),
            // The other codes of four digits are refusals of its own.
            page(
                &[Begins("server", "cloudflare"), Body("error code: 1"), Shorter(40)],
                Front(FrontDenied),
            ),
            page(
                &[
                    Begins("server", "cloudflare"),
                    Body("cf-error-code"),
                    Status(&[403, 409, 429, 503]),
                ],
                Front(FrontDenied),
            ),
            page(
                &[Begins("server", "cloudflare"), Body("Attention Required! | Cloudflare")],
                Front(FrontDenied),
            ),
            page(
                &[Begins("server", "cloudflare"), Has("cf-mitigated")],
                Front(FrontDenied),
            ),
            page(
                &[
                    Begins("server", "cloudflare"),
                    Body("/cdn-cgi/challenge-platform/"),
                    Status(&[403, 429, 503]),
                ],
                Front(FrontDenied),
            ),
            // Its branded page for 502 and 504 stands in place of the origin's own answer with that status.
            page(
                &[
                    Begins("server", "cloudflare"),
                    Status(&[502, 504]),
                    Body("cf-error-details"),
                ],
                Origin,
            ),
            page(
                &[
                    Begins("server", "cloudflare"),
                    Status(&[502, 504]),
                    Body("<center>cloudflare</center>"),
                ],
                Front(FrontInternalError),
            ),
            page(
                &[
                    Begins("server", "cloudflare"),
                    Status(&[503]),
                    Body("<center>cloudflare</center>"),
                ],
                Front(FrontOverloaded),
            ),
        ],
        template: &[&[Begins("server", "cloudflare"), Body("<center>cloudflare</center>")]],
        ..UNMARKED
    },
    Gateway {
        name: "cloudfront",
        kind: Edge,
        known: Documented(
            "awsdocs/amazon-cloudfront-developer-guide:doc_source/http-502-bad-gateway.md and its siblings",
        ),
        here: &[Has("x-amz-cf-id"), Says("via", "(CloudFront)")],
        own: &[
            // A function at the edge gave the answer, or failed to.
            page(&[Begins("x-cache", "FunctionGeneratedResponse")], Front(FrontDenied)),
            page(&[Begins("x-cache", "LambdaGeneratedResponse")], Front(FrontDenied)),
            page(&[Begins("x-cache", "Function")], Front(FrontInternalError)),
            page(&[Begins("x-cache", "Lambda")], Front(FrontInternalError)),
            likely(
                &[
                    Body("Generated by cloudfront (CloudFront)"),
                    Body("The Lambda function"),
                ],
                Front(FrontInternalError),
            ),
            likely(
                &[
                    Body("Generated by cloudfront (CloudFront)"),
                    Body("The CloudFront function"),
                ],
                Front(FrontInternalError),
            ),
            likely(
                &[Body("Generated by cloudfront (CloudFront)"), Body("Lambda@Edge")],
                Front(FrontInternalError),
            ),
            page(
                &[
                    Body("Generated by cloudfront (CloudFront)"),
                    Body("resolve the origin domain name"),
                ],
                Upstream(&[Dns]),
            ),
            likely(
                &[Body("Generated by cloudfront (CloudFront)"), Status(&[502])],
                Upstream(&[Refused, Tls, Certificate, Dns]),
            ),
            page(
                &[Body("Generated by cloudfront (CloudFront)"), Status(&[504])],
                Upstream(&[ResponseTimeout, ConnectTimeout]),
            ),
            page(
                &[
                    Body("Generated by cloudfront (CloudFront)"),
                    Body("establish a connection with the origin"),
                ],
                Upstream(&[Refused, ConnectTimeout, Terminated]),
            ),
            likely(
                &[Body("Generated by cloudfront (CloudFront)"), Status(&[503])],
                Front(FrontOverloaded),
            ),
        ],
        template: &[
            &[Body("Generated by cloudfront (CloudFront)")],
            &[
                Begins("server", "CloudFront"),
                Body("ERROR: The request could not be satisfied"),
            ],
        ],
        ..UNMARKED
    },
    Gateway {
        name: "fastly",
        kind: Edge,
        known: Documented("fastly.com/documentation/guides: common 503 errors"),
        here: &[Says("x-served-by", "cache-")],
        own: &[
            // The reason phrase names the cause; HTTP/2 has none, but the title of the page repeats it.
            page(&[Body("<title>503 first byte timeout")], Upstream(&[ResponseTimeout])),
            page(&[Body("<title>503 connection refused")], Upstream(&[Refused])),
            page(&[Body("<title>503 connection timed out")], Upstream(&[ConnectTimeout])),
            page(
                &[Body("<title>503 Operation now in progress")],
                Upstream(&[ConnectTimeout]),
            ),
            page(
                &[Body("<title>503 backend read error")],
                Upstream(&[Terminated, Incomplete]),
            ),
            page(&[Body("<title>503 backend write error")], Upstream(&[Terminated])),
            page(&[Body("<title>503 connection reset by peer")], Upstream(&[Terminated])),
            page(&[Body("<title>503 Broken pipe")], Upstream(&[Terminated])),
            page(&[Body("<title>503 Backend is unhealthy")], Upstream(&[Unavailable])),
            page(
                &[Body("<title>503 All backends failed or unhealthy")],
                Upstream(&[Unavailable]),
            ),
            page(
                &[Body("<title>503 Quorum weight not reached")],
                Upstream(&[Unavailable]),
            ),
            page(&[Body("<title>503 SSL handshake error")], Upstream(&[Tls])),
            page(
                &[Body("<title>503 hostname doesn't match against certificate")],
                Upstream(&[Certificate]),
            ),
            page(&[Body("<title>503 Certificate has expired")], Upstream(&[Certificate])),
            page(
                &[Body("<title>503 unable to get local issuer certificate")],
                Upstream(&[Certificate]),
            ),
            page(&[Body("<title>503 Network is unreachable")], Upstream(&[Unroutable])),
            page(&[Body("<title>503 Network unreachable")], Upstream(&[Unroutable])),
            page(
                &[Body("<title>503 Gateway address unreachable")],
                Upstream(&[Unroutable]),
            ),
            page(&[Body("<title>503 Host name lookup failure")], Upstream(&[Dns])),
            page(&[Body("<title>503 Header overflow")], Upstream(&[HeaderSize])),
            page(&[Body("<title>503 Illegal Vary header")], Upstream(&[Protocol])),
            page(&[Body("<title>503 Response object too large")], Upstream(&[BodySize])),
            page(
                &[Body("<title>503 backend.max_conn reached")],
                Upstream(&[LimitReached]),
            ),
            page(
                &[Body("<title>503 Loop detected"), Body("Guru Mediation:")],
                Front(FrontLoop),
            ),
            page(
                &[
                    Body("<title>503 Maximum threads for service reached"),
                    Body("Guru Mediation:"),
                ],
                Front(FrontOverloaded),
            ),
            page(
                &[Body("<title>503 Connection limit exceeded"), Body("Guru Mediation:")],
                Front(FrontOverloaded),
            ),
            page(
                &[Body("<title>503 Max restarts limit reached"), Body("Guru Mediation:")],
                Front(FrontInternalError),
            ),
            page(
                &[Body("<title>503 Too many restarts"), Body("Guru Mediation:")],
                Front(FrontInternalError),
            ),
            page(
                &[Body("<title>503 Backend not found"), Body("Guru Mediation:")],
                Front(FrontInternalError),
            ),
            page(&[Body("Fastly error: unknown domain")], Front(FrontNotFound)),
            page(
                &[Body("Requested host does not match any Subject Alternative Names")],
                Front(FrontNotFound),
            ),
            // Of the other phrases some are its own limits, and VCL may make up any.
            likely(
                &[Body("Guru Mediation:"), Body("Details: cache-"), Status(&[503])],
                Upstream(&[Refused, ConnectTimeout, Terminated, FrontOverloaded, FrontInternalError]),
            ),
            page(&[Body("Fastly error:")], Front(FrontInternalError)),
        ],
        template: &[&[Body("Guru Mediation:"), Body("Details: cache-")]],
        ..UNMARKED
    },
    Gateway {
        name: "akamai",
        kind: Edge,
        known: Documented("techdocs.akamai.com: edge error pages and their reference strings"),
        here: &[Begins("server", "AkamaiGHost"), Has("x-akamai-request-id")],
        own: &[
            likely(
                &[Begins("server", "AkamaiGHost"), Status(&[503])],
                Upstream(&[Refused, ConnectTimeout, FrontOverloaded]),
            ),
            page(
                &[Begins("server", "AkamaiGHost"), Status(&[504])],
                Upstream(&[ResponseTimeout]),
            ),
            likely(
                &[Begins("server", "AkamaiGHost"), Status(&[502])],
                Upstream(&[Dns, Protocol]),
            ),
        ],
        template: &[
            &[Begins("server", "AkamaiGHost")],
            &[Body("errors.edgesuite.net"), Body("Reference")],
        ],
        ..UNMARKED
    },
];
