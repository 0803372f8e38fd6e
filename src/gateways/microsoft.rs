//! The products of Microsoft, hosted and not.

use super::Kind::{Edge, Server};
use super::Known::Documented;
use super::Mark::{Begins, Body, Has, Says, Status, Text, Titled};
use super::Means::{Front, Origin, Upstream};
use super::{Gateway, UNMARKED, likely, page};
use crate::reason::Reason::{
    FrontDenied, FrontInternalError, FrontNotFound, FrontOverloaded, FrontRateLimited, FrontRequestRefused,
    UpstreamConnectionRefused as Refused, UpstreamConnectionTerminated as Terminated,
    UpstreamConnectionTimeout as ConnectTimeout, UpstreamDestinationUnavailable as Unavailable,
    UpstreamDnsError as Dns, UpstreamFailed, UpstreamHttpProtocolError as Protocol,
    UpstreamHttpResponseTimeout as ResponseTimeout, UpstreamTlsCertificateError as Certificate,
    UpstreamTlsProtocolError as Tls,
};

/// Each product with its own pages, the most telling first.
pub(super) const ROWS: &[Gateway] = &[
    Gateway {
        name: "azure_front_door",
        kind: Edge,
        known: Documented("MicrosoftDocs/azure-docs:articles/frontdoor/troubleshoot-issues.md"),
        here: &[Has("x-azure-ref")],
        own: &[
            page(
                &[Begins("x-azure-externalerror", "0x830c1011")],
                Upstream(&[Certificate]),
            ),
            page(
                &[Says("x-azure-externalerror", "certificate")],
                Upstream(&[Certificate]),
            ),
            page(&[Has("x-azure-externalerror")], Upstream(&[UpstreamFailed])),
            page(&[Body("OriginInvalidResponse")], Upstream(&[Protocol])),
            page(&[Body("OriginTimeout")], Upstream(&[ResponseTimeout])),
            page(&[Body("OriginConnection")], Upstream(&[Refused, Terminated])),
            page(&[Body("find your Azure Front Door")], Front(FrontNotFound)),
            page(
                &[Body("Our services aren't available right now"), Status(&[504])],
                Upstream(&[ResponseTimeout]),
            ),
            page(
                &[Body("Our services aren't available right now"), Status(&[400])],
                Front(FrontRequestRefused),
            ),
            page(
                &[Body("Our services aren't available right now"), Status(&[403])],
                Front(FrontDenied),
            ),
            page(
                &[Body("Our services aren't available right now"), Status(&[404])],
                Front(FrontNotFound),
            ),
            page(
                &[Body("Our services aren't available right now"), Status(&[429])],
                Front(FrontRateLimited),
            ),
            likely(
                &[Body("Our services aren't available right now")],
                Upstream(&[ResponseTimeout, Certificate, Refused, FrontInternalError]),
            ),
            page(
                &[Has("x-azure-ref"), Body("The request is blocked.")],
                Front(FrontDenied),
            ),
        ],
        template: &[&[Has("x-azure-ref"), Body("Azure Front Door")]],
        ..UNMARKED
    },
    Gateway {
        name: "azure_application_gateway",
        kind: Edge,
        known: Documented("MicrosoftDocs/azure-docs:articles/application-gateway/http-response-codes.md"),
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
        kind: Edge,
        known: Documented("MicrosoftDocs/azure-docs:articles/api-management/api-management-error-handling-policies.md"),
        own: &[
            page(
                &[Body("Access denied due to missing subscription key")],
                Front(FrontDenied),
            ),
            page(
                &[Body("Access denied due to invalid subscription key")],
                Front(FrontDenied),
            ),
            page(&[Body("Rate limit is exceeded. Try again in")], Front(FrontRateLimited)),
            page(&[Body("Out of call volume quota")], Front(FrontRateLimited)),
            likely(
                &[Text("Resource not found"), Body("\"statusCode\""), Status(&[404])],
                Front(FrontNotFound),
            ),
            page(
                &[Text("Unable to match incoming request to an operation.")],
                Front(FrontNotFound),
            ),
            page(&[Text("JWT not present."), Status(&[401])], Front(FrontDenied)),
            // A backend that cannot be reached, or a policy that failed.
            likely(
                &[Text("Internal server error"), Body("\"activityId\"")],
                Upstream(&[Refused, ConnectTimeout, Dns, FrontInternalError]),
            ),
        ],
        ..UNMARKED
    },
    Gateway {
        name: "azure_app_service",
        kind: Edge,
        known: Documented("MicrosoftDocs/azure-docs:articles/app-service, troubleshooting"),
        own: &[
            likely(
                &[Body("This web app is stopped")],
                Upstream(&[Unavailable, FrontDenied]),
            ),
            likely(&[Body("Web App - Unavailable")], Upstream(&[Unavailable, FrontDenied])),
            page(&[Body("Error 404 - Web app not found")], Front(FrontNotFound)),
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
            page(
                &[Body("HTTP Error 502.")],
                Upstream(&[Refused, Protocol, ResponseTimeout, Unavailable]),
            ),
            page(&[Body("HTTP Error 504.")], Upstream(&[ResponseTimeout])),
            // What starts an application of ASP.NET Core says this where the application ends: 500.30 to 500.38.
            likely(&[Body("HTTP Error 500.3")], Origin),
            likely(&[Body("HTTP Error 500.19")], Front(FrontInternalError)),
            // This page stands in place of what the application says of its failure.
            likely(&[Body("500 - Internal server error."), Titled("<title>")], Origin),
            likely(&[Body("HTTP Error 500.0")], Origin),
            // The worker behind the listener is stopped, or its queue is full.
            likely(
                &[Body("HTTP Error 503. The service is unavailable")],
                Upstream(&[Unavailable, FrontOverloaded]),
            ),
            likely(&[Body("Bad Request - Invalid Hostname")], Front(FrontNotFound)),
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
