//! Content delivery networks.

use super::GatewayKind::Edge;
use super::Meaning::{Itself, Origin, Upstream};
use super::Provenance::Documented;
use super::Signature::{AnyOf, Begins, Body, Has, Numbered, Says, Status};
use super::{Gateway, UNMARKED, likely, page};
use crate::reason::Reason::{
    EdgeDenied, EdgeInternalError, EdgeLoop, EdgeNotFound, EdgeOverloaded, EdgeRateLimited,
    UpstreamConnectionLimitReached as LimitReached, UpstreamConnectionRefused as Refused,
    UpstreamConnectionTerminated as Terminated, UpstreamConnectionTimeout as ConnectTimeout,
    UpstreamConnectionWriteTimeout as WriteTimeout, UpstreamDestinationIpUnroutable as Unroutable,
    UpstreamDestinationUnavailable as Unavailable, UpstreamDnsError as Dns, UpstreamFailed,
    UpstreamHttpProtocolError as Protocol, UpstreamHttpResponseBodySize as BodySize,
    UpstreamHttpResponseHeaderSectionSize as HeaderSize, UpstreamHttpResponseIncomplete as Incomplete,
    UpstreamHttpResponseTimeout as ResponseTimeout, UpstreamTlsAlertReceived as Alert,
    UpstreamTlsCertificateError as Certificate, UpstreamTlsProtocolError as Tls,
};

/// Matches one of these Cloudflare error codes, in plain text or on a page.
macro_rules! coded {
    ($($code:literal),+) => {
        AnyOf(&[
            Numbered("error code: ", &[$($code),+]),
            Numbered("cf-error-code\">", &[$($code),+]),
        ])
    };
}

/// Cloudflare's plain-text error messages: the response's own status, or one of the error codes below.
const CODES: &[&str] = &[
    "error code: #",
    "error code: 1000",
    "error code: 1005",
    "error code: 1006",
    "error code: 1007",
    "error code: 1008",
    "error code: 1009",
    "error code: 1010",
    "error code: 1011",
    "error code: 1012",
    "error code: 1015",
    "error code: 1016",
    "error code: 1019",
    "error code: 1020",
    "error code: 1033",
    "error code: 1106",
];

/// A response that an edge function generated.
const GENERATED: super::Signature = AnyOf(&[
    Begins("x-cache", "FunctionGeneratedResponse"),
    Begins("x-cache", "LambdaGeneratedResponse"),
]);

/// The products of this group. Within a product, the most specific page comes first.
pub(super) const ROWS: &[Gateway] = &[
    Gateway {
        name: "cloudflare",
        kind: Edge,
        known: Documented("cloudflare/cloudflare-docs:src/content/docs/support/troubleshooting/http-status-codes"),
        own_fields: &[Has("cf-error-type"), Has("cf-mitigated")],
        own_texts: CODES,
        here: &[Begins("server", "cloudflare"), Has("cf-ray")],
        own: &[
            page(
                &[Begins("server", "cloudflare"), Status(&[520])],
                // The response header may exceed 128 KiB, or the origin may require a client certificate.
                Upstream(&[Protocol, Terminated, HeaderSize, Alert]),
            ),
            page(&[Begins("server", "cloudflare"), Status(&[521])], Upstream(&[Refused])),
            page(
                &[Begins("server", "cloudflare"), Status(&[522])],
                // No connection within 19 s, or no acknowledgement of the request within 90 s.
                Upstream(&[ConnectTimeout, WriteTimeout]),
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
                &[Begins("server", "cloudflare"), Status(&[530]), coded!(1016)],
                Upstream(&[Dns]),
            ),
            page(
                &[Begins("server", "cloudflare"), Status(&[530]), coded!(1033)],
                Upstream(&[Unavailable]),
            ),
            likely(
                &[Begins("server", "cloudflare"), Status(&[530])],
                Upstream(&[Dns, UpstreamFailed]),
            ),
            page(&[Begins("server", "cloudflare"), coded!(1000, 1019)], Itself(EdgeLoop)),
            likely(
                &[Begins("server", "cloudflare"), coded!(1001, 1018, 1023)],
                Itself(EdgeNotFound),
            ),
            page(&[Begins("server", "cloudflare"), coded!(1015)], Itself(EdgeRateLimited)),
            page(&[Begins("server", "cloudflare"), coded!(1016)], Upstream(&[Dns])),
            likely(
                &[Begins("server", "cloudflare"), coded!(1101, 1102)],
                Itself(EdgeInternalError),
            ),
            // Too many requests are queued for the origin.
            likely(
                &[Begins("server", "cloudflare"), coded!(1200)],
                Upstream(&[LimitReached, EdgeOverloaded]),
            ),
            page(
                &[
                    Begins("server", "cloudflare"),
                    coded!(1005, 1006, 1007, 1008, 1009, 1010, 1011, 1012, 1020, 1106),
                ],
                Itself(EdgeDenied),
            ),
            // Other refusals, with any error code.
            likely(
                &[
                    Begins("server", "cloudflare"),
                    Body("cf-error-code"),
                    Status(&[403, 409, 429, 503]),
                ],
                Itself(EdgeDenied),
            ),
            likely(
                &[Begins("server", "cloudflare"), Body("Attention Required! | Cloudflare")],
                Itself(EdgeDenied),
            ),
            page(
                &[Begins("server", "cloudflare"), Has("cf-mitigated")],
                Itself(EdgeDenied),
            ),
            likely(
                &[Begins("server", "cloudflare"), Body("<title>Just a moment...</title>")],
                Itself(EdgeDenied),
            ),
            // Cloudflare replaces an origin's 502 or 504 response with its branded page.
            page(
                &[
                    Begins("server", "cloudflare"),
                    Status(&[502, 504]),
                    Body("cf-error-details"),
                ],
                Origin,
            ),
            // The page without the brand: the edge failed, or could not decode the origin's response (coding, length).
            likely(
                &[
                    Begins("server", "cloudflare"),
                    Status(&[502, 504]),
                    Body("<center>cloudflare</center>"),
                ],
                Upstream(&[Protocol, Incomplete, EdgeInternalError]),
            ),
            // A failure in Cloudflare's data centre.
            likely(
                &[
                    Begins("server", "cloudflare"),
                    Status(&[503]),
                    Body("<center>cloudflare</center>"),
                ],
                Itself(EdgeInternalError),
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
        own_fields: &[Begins("x-cache", "Function"), Begins("x-cache", "Lambda")],
        own_texts: &[
            "ERROR: The request could not be satisfied # ** The request could not be satisfied. ** Generated by cloudfront \
             (CloudFront) Request ID: *",
        ],
        here: &[Has("x-amz-cf-id"), Says("via", "(CloudFront)")],
        own: &[
            // An edge function returned the response or failed.
            page(&[GENERATED, Status(&[401, 403])], Itself(EdgeDenied)),
            likely(&[GENERATED], Itself(EdgeDenied)),
            page(&[Begins("x-cache", "Function")], Itself(EdgeInternalError)),
            page(&[Begins("x-cache", "Lambda")], Itself(EdgeInternalError)),
            likely(
                &[
                    Body("Generated by cloudfront (CloudFront)"),
                    Body("The Lambda function"),
                ],
                Itself(EdgeInternalError),
            ),
            likely(
                &[
                    Body("Generated by cloudfront (CloudFront)"),
                    Body("The CloudFront function"),
                ],
                Itself(EdgeInternalError),
            ),
            likely(
                &[Body("Generated by cloudfront (CloudFront)"), Body("Lambda@Edge")],
                Itself(EdgeInternalError),
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
                Itself(EdgeOverloaded),
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
        own_texts: &["503 ** Error 503 ** Guru Mediation: Details: cache-* * ... Varnish cache server"],
        here: &[Says("x-served-by", "cache-")],
        own: &[
            // The reason phrase names the cause. HTTP/2 has no reason phrase, but the page title repeats it.
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
                Itself(EdgeLoop),
            ),
            page(
                &[
                    Body("<title>503 Maximum threads for service reached"),
                    Body("Guru Mediation:"),
                ],
                Itself(EdgeOverloaded),
            ),
            page(
                &[Body("<title>503 Connection limit exceeded"), Body("Guru Mediation:")],
                Itself(EdgeOverloaded),
            ),
            page(
                &[Body("<title>503 Max restarts limit reached"), Body("Guru Mediation:")],
                Itself(EdgeInternalError),
            ),
            page(
                &[Body("<title>503 Too many restarts"), Body("Guru Mediation:")],
                Itself(EdgeInternalError),
            ),
            page(
                &[Body("<title>503 Backend not found"), Body("Guru Mediation:")],
                Itself(EdgeInternalError),
            ),
            page(&[Body("Fastly error: unknown domain")], Itself(EdgeNotFound)),
            page(
                &[Body("Requested host does not match any Subject Alternative Names")],
                Itself(EdgeNotFound),
            ),
            // Some of the other phrases report Fastly's own limits, and VCL may set any phrase.
            likely(
                &[Body("Guru Mediation:"), Body("Details: cache-"), Status(&[503])],
                Upstream(&[Refused, ConnectTimeout, Terminated, EdgeOverloaded, EdgeInternalError]),
            ),
            page(&[Body("Fastly error:")], Itself(EdgeInternalError)),
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
                Upstream(&[Refused, ConnectTimeout, EdgeOverloaded]),
            ),
            page(
                &[Begins("server", "AkamaiGHost"), Status(&[504])],
                Upstream(&[ResponseTimeout, ConnectTimeout]),
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
