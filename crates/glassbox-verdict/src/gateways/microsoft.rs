//! Microsoft's hosted and self-hosted products.

use super::GatewayKind::{Edge, Server};
use super::Meaning::{Itself, Origin, Upstream};
use super::Provenance::Documented;
use super::Signature::{Begins, Body, Has, Says, Status, Text, Titled};
use super::{Gateway, UNMARKED, likely, page};
use crate::reason::Reason::{
    EdgeDenied, EdgeInternalError, EdgeNotFound, EdgeOverloaded, EdgeRateLimited, EdgeRequestRefused,
    UpstreamConnectionRefused as Refused, UpstreamConnectionTerminated as Terminated,
    UpstreamConnectionTimeout as ConnectTimeout, UpstreamDestinationUnavailable as Unavailable,
    UpstreamDnsError as Dns, UpstreamFailed, UpstreamHttpProtocolError as Protocol,
    UpstreamHttpResponseTimeout as ResponseTimeout, UpstreamTlsCertificateError as Certificate,
    UpstreamTlsProtocolError as Tls,
};

/// The products of this group. Within a product, the most specific page comes first.
pub(super) const ROWS: &[Gateway] = &[
    Gateway {
        name: "azure_front_door",
        kind: Edge,
        known: Documented("MicrosoftDocs/azure-docs:articles/frontdoor/troubleshoot-issues.md"),
        own_fields: &[Has("x-azure-externalerror")],
        here: &[Has("x-azure-ref")],
        own: &[
            // The field is present only if the module sends `X-Azure-DebugInfo`.
            page(
                &[Begins("x-azure-externalerror", "0x830c1011")],
                Upstream(&[Certificate]),
            ),
            page(
                &[Says("x-azure-externalerror", "certificate")],
                Upstream(&[Certificate]),
            ),
            likely(&[Has("x-azure-externalerror")], Upstream(&[UpstreamFailed])),
            page(&[Body("OriginInvalidResponse")], Upstream(&[Protocol])),
            page(&[Body("OriginTimeout")], Upstream(&[ResponseTimeout])),
            page(&[Body("OriginConnection")], Upstream(&[Refused, Terminated])),
            page(&[Body("find your Azure Front Door")], Itself(EdgeNotFound)),
            page(
                &[Body("Our services aren't available right now"), Status(&[504])],
                Upstream(&[ResponseTimeout]),
            ),
            page(
                &[Body("Our services aren't available right now"), Status(&[400])],
                Itself(EdgeRequestRefused),
            ),
            page(
                &[Body("Our services aren't available right now"), Status(&[403])],
                Itself(EdgeDenied),
            ),
            page(
                &[Body("Our services aren't available right now"), Status(&[404])],
                Itself(EdgeNotFound),
            ),
            // The names in the TLS handshake and in the request belong to different sites.
            page(
                &[Body("Our services aren't available right now"), Status(&[421])],
                Itself(EdgeNotFound),
            ),
            page(
                &[Body("Our services aren't available right now"), Status(&[429])],
                Itself(EdgeRateLimited),
            ),
            likely(
                &[Body("Our services aren't available right now")],
                Upstream(&[ResponseTimeout, Certificate, Refused, EdgeInternalError]),
            ),
            page(
                &[Has("x-azure-ref"), Body("The request is blocked.")],
                Itself(EdgeDenied),
            ),
        ],
        template: &[&[Has("x-azure-ref"), Body("Azure Front Door")]],
        ..UNMARKED
    },
    Gateway {
        name: "azure_application_gateway",
        known: Documented("MicrosoftDocs/azure-docs:articles/application-gateway/http-response-codes.md"),
        own_texts: &[
            "502 Bad Gateway 502 Bad Gateway Microsoft-Azure-Application-Gateway*",
            "504 Gateway Time-out 504 Gateway Time-out Microsoft-Azure-Application-Gateway*",
        ],
        here: &[Begins("server", "Microsoft-Azure-Application-Gateway")],
        own: &[
            page(
                &[Body("<hr><center>Microsoft-Azure-Application-Gateway"), Status(&[502])],
                Upstream(&[Unavailable, Refused, Tls]),
            ),
            page(
                &[Body("<hr><center>Microsoft-Azure-Application-Gateway"), Status(&[504])],
                Upstream(&[ResponseTimeout]),
            ),
            page(
                &[
                    Begins("server", "Microsoft-Azure-Application-Gateway"),
                    Body("Web server received an invalid response"),
                ],
                Upstream(&[Unavailable, Refused, Tls]),
            ),
        ],
        template: &[&[Body("<hr><center>Microsoft-Azure-Application-Gateway")]],
        ..UNMARKED
    },
    Gateway {
        name: "azure_api_management",
        known: Documented("MicrosoftDocs/azure-docs:articles/api-management/api-management-error-handling-policies.md"),
        own: &[
            page(
                &[Body("Access denied due to missing subscription key")],
                Itself(EdgeDenied),
            ),
            page(
                &[Body("Access denied due to invalid subscription key")],
                Itself(EdgeDenied),
            ),
            page(&[Body("Rate limit is exceeded. Try again in")], Itself(EdgeRateLimited)),
            page(&[Body("Out of call volume quota")], Itself(EdgeRateLimited)),
            likely(
                &[Text("Resource not found"), Body("\"statusCode\""), Status(&[404])],
                Itself(EdgeNotFound),
            ),
            page(
                &[Text("Unable to match incoming request to an operation.")],
                Itself(EdgeNotFound),
            ),
            page(&[Text("JWT not present."), Status(&[401])], Itself(EdgeDenied)),
            // The backend is unreachable, or a policy failed.
            likely(
                &[Text("Internal server error"), Body("\"activityId\"")],
                Upstream(&[Refused, ConnectTimeout, Dns, EdgeInternalError]),
            ),
        ],
        ..UNMARKED
    },
    Gateway {
        name: "azure_app_service",
        known: Documented("MicrosoftDocs/azure-docs:articles/app-service, troubleshooting"),
        own: &[
            likely(&[Body("This web app is stopped")], Upstream(&[Unavailable, EdgeDenied])),
            likely(&[Body("Web App - Unavailable")], Upstream(&[Unavailable, EdgeDenied])),
            page(&[Body("Error 404 - Web app not found")], Itself(EdgeNotFound)),
        ],
        ..UNMARKED
    },
    Gateway {
        name: "iis_arr",
        kind: Server,
        known: Documented("learn.microsoft.com/iis: HTTP status codes in IIS, troubleshooting 502 errors in ARR"),
        here: &[Says("x-powered-by", "ARR/")],
        own: &[
            page(&[Body("502.3 - Bad Gateway"), Body("0x80072efd")], Upstream(&[Refused])),
            page(
                &[Body("502.3 - Bad Gateway"), Body("0x80072ee2")],
                Upstream(&[ResponseTimeout, ConnectTimeout]),
            ),
            page(&[Body("502.3 - Bad Gateway"), Body("0x80072ee7")], Upstream(&[Dns])),
            page(
                &[Body("502.3 - Bad Gateway"), Body("0x80072efe")],
                Upstream(&[Terminated]),
            ),
            page(
                &[Body("502.3 - Bad Gateway"), Body("0x80072f8f")],
                Upstream(&[Certificate]),
            ),
            page(
                &[Body("502.3 - Bad Gateway"), Body("0x80072f78")],
                Upstream(&[Protocol]),
            ),
            page(
                &[Body(
                    "502 - Web server received an invalid response while acting as a gateway or proxy server",
                )],
                Upstream(&[Refused, Protocol, ResponseTimeout]),
            ),
            // The application process failed to start.
            likely(&[Body("HTTP Error 502.5")], Origin),
            page(
                &[Body("HTTP Error 502.")],
                Upstream(&[Refused, Protocol, ResponseTimeout, Unavailable]),
            ),
            page(&[Body("HTTP Error 504.")], Upstream(&[ResponseTimeout])),
            // The ASP.NET Core module returns 500.30 to 500.38 if the application exits.
            likely(&[Body("HTTP Error 500.3")], Origin),
            likely(&[Body("HTTP Error 500.19")], Itself(EdgeInternalError)),
            // IIS replaces the application's own error page with this one.
            likely(&[Body("500 - Internal server error."), Titled("<title>")], Origin),
            likely(&[Body("HTTP Error 500.0")], Origin),
            // The worker process behind the listener is stopped, or its queue is full.
            likely(
                &[Body("HTTP Error 503. The service is unavailable")],
                Upstream(&[Unavailable, EdgeOverloaded]),
            ),
            likely(&[Body("Bad Request - Invalid Hostname")], Itself(EdgeNotFound)),
        ],
        template: &[
            &[Body("<h1>Server Error</h1>"), Titled("<h2>")],
            &[Body("<title>IIS"), Titled("Detailed Error - ")],
            &[Titled("<h3>HTTP Error ")],
            &[Begins("server", "Microsoft-HTTPAPI"), Titled("HTTP Error ")],
            &[Begins("server", "Microsoft-HTTPAPI"), Body("<h2>Bad Request - ")],
        ],
        ..UNMARKED
    },
];
