//! Web servers that can also be reverse proxies.

use super::GatewayKind::Server;
use super::Meaning::{Itself, Upstream};
use super::Provenance::{Documented, Measured};
use super::Signature::{
    AmongMany, Begins, Body, BodyIs, FootOfServer, Phrase, Quick, Says, Shorter, Slow, Starts, Status, Titled,
};
use super::{Gateway, UNMARKED, likely, page};
use crate::reason::Reason::{
    EdgeDenied, EdgeInternalError, EdgeNotFound, EdgeOverloaded, UpstreamConnectionReadTimeout as ReadTimeout,
    UpstreamConnectionRefused as Refused, UpstreamConnectionTerminated as Terminated,
    UpstreamConnectionTimeout as ConnectTimeout, UpstreamDestinationIpUnroutable as Unroutable,
    UpstreamDestinationUnavailable as Unavailable, UpstreamDnsError as Dns, UpstreamDnsTimeout as DnsTimeout,
    UpstreamHttpProtocolError as Protocol, UpstreamHttpResponseHeaderSectionSize as HeaderSize,
    UpstreamHttpResponseTimeout as ResponseTimeout, UpstreamTlsAlertReceived as Alert,
    UpstreamTlsCertificateError as Certificate, UpstreamTlsProtocolError as Tls,
};

/// The pages of nginx and its derivatives. The footer and `Server` name the product.
macro_rules! nginx_kin {
    ($name:literal, $foot:literal, $known:expr, $own_texts:expr) => {
        Gateway {
            name: $name,
            kind: Server,
            known: $known,
            own_texts: $own_texts,
            here: &[Begins("server", $name)],
            own: &[
                // `return 502` in the configuration returns the same page. So does `error_page 500 =502 @name` with a
                // `return` in `@name`; this page arrives as late as the application's own error.
                likely(
                    &[Body($foot), Status(&[502]), Quick],
                    Upstream(&[
                        Refused,
                        Terminated,
                        Certificate,
                        Dns,
                        Unavailable,
                        Unroutable,
                        Protocol,
                        HeaderSize,
                        Alert,
                        Tls,
                    ]),
                ),
                // A late 502: nginx waited for a resolver, which does not cause a 504, or the upstream disconnected.
                likely(
                    &[Body($foot), Status(&[502])],
                    Upstream(&[DnsTimeout, Terminated, Refused]),
                ),
                likely(
                    &[Body($foot), Status(&[504])],
                    Upstream(&[ResponseTimeout, ConnectTimeout, Tls]),
                ),
                // The cause is an ingress without endpoints, or a limit of requests or connections.
                likely(
                    &[Body($foot), Status(&[503]), FootOfServer("<hr><center>")],
                    Upstream(&[Unavailable, EdgeOverloaded]),
                )
                .documented(
                    "kubernetes/ingress-nginx:rootfs/etc/nginx/template/nginx.tmpl; nginx.org limit_req_status",
                ),
            ],
            template: &[&[Body($foot), FootOfServer("<hr><center>")]],
            ..UNMARKED
        }
    };
}

/// The products of this group. Within a product, the most specific page comes first.
pub(super) const ROWS: &[Gateway] = &[
    Gateway {
        name: "apache",
        kind: Server,
        known: Measured("Apache httpd 2.4.62 and 2.4.71, mod_proxy"),
        own_texts: &[
            "502 Proxy Error Proxy Error The proxy server received an invalid response from an upstream server. The proxy \
             server could not handle the request ... Reason: Error reading from remote server",
            "502 Proxy Error Proxy Error The proxy server received an invalid response from an upstream server. The proxy \
             server could not handle the request ... Reason: Error reading from remote server Apache* ... Server at * Port *",
            "502 Bad Gateway Bad Gateway The proxy server received an invalid response from an upstream server.",
            "502 Bad Gateway Bad Gateway The proxy server received an invalid response from an upstream server. Apache* ... \
             Server at * Port *",
            "# Proxy Error Proxy Error The proxy server could not handle the request ... Reason: DNS lookup failure for: *",
            "# Proxy Error Proxy Error The proxy server could not handle the request ... Reason: DNS lookup failure for: * \
             Apache* ... Server at * Port *",
            "500 Proxy Error Proxy Error The proxy server could not handle the request ... Reason: Error during SSL Handshake \
             with remote server",
            "500 Proxy Error Proxy Error The proxy server could not handle the request ... Reason: Error during SSL Handshake \
             with remote server Apache* ... Server at * Port *",
            "504 Gateway Timeout Gateway Timeout The gateway did not receive a timely response from the upstream server or \
             application.",
            "504 Gateway Timeout Gateway Timeout The gateway did not receive a timely response from the upstream server or \
             application. Apache* ... Server at * Port *",
        ],
        here: &[Begins("server", "Apache")],
        own: &[
            page(
                &[Body("Error during SSL Handshake with remote server"), Quick],
                Upstream(&[Certificate, Tls, Alert]),
            ),
            // The upstream may have been silent during the handshake.
            page(
                &[Body("Error during SSL Handshake with remote server")],
                Upstream(&[ConnectTimeout, Tls, Certificate, Alert]),
            ),
            page(&[Body("DNS lookup failure for:"), Quick], Upstream(&[Dns])),
            page(&[Body("DNS lookup failure for:")], Upstream(&[DnsTimeout, Dns])),
            // Apache also returns this text for a response that is not HTTP.
            page(
                &[Body("Error reading from remote server"), Quick],
                Upstream(&[Terminated, Protocol]),
            ),
            page(
                &[Body("Error reading from remote server")],
                Upstream(&[ResponseTimeout, Terminated]),
            ),
            // `Redirect 502 /` and `Redirect 504 /` return these two pages, and `ProxyErrorOverride` replaces the
            // application's page with them. Only the proxy returns the pages that name a reason.
            likely(
                &[
                    Body("//EN\""),
                    Body("received an invalid"),
                    Titled("<title>"),
                    Status(&[502]),
                ],
                Upstream(&[Protocol, HeaderSize]),
            ),
            likely(
                &[
                    Starts("<!DOCTYPE HTML PUBLIC"),
                    Body("<title>504 Gateway Timeout</title>"),
                ],
                Upstream(&[ResponseTimeout]),
            ),
            // A maintenance rule (`R=503`) returns the same page.
            likely(
                &[
                    Begins("server", "Apache"),
                    Starts("<!DOCTYPE HTML PUBLIC"),
                    Body("<title>503 Service Unavailable</title>"),
                    Quick,
                ],
                Upstream(&[Refused, Unavailable, Unroutable, EdgeOverloaded]),
            ),
            likely(
                &[
                    Begins("server", "Apache"),
                    Starts("<!DOCTYPE HTML PUBLIC"),
                    Body("<title>503 Service Unavailable</title>"),
                ],
                Upstream(&[ConnectTimeout, Refused, EdgeOverloaded]),
            ),
            // Apache also returns this page for a crashed program (CGI, WSGI).
            likely(
                &[
                    Begins("server", "Apache"),
                    Starts("<!DOCTYPE HTML PUBLIC"),
                    Body("<title>500 Internal Server Error</title>"),
                ],
                Itself(EdgeInternalError),
            ),
        ],
        // Other programs also begin with a document type, but their `<head>` differs.
        template: &[
            &[
                Begins("server", "Apache"),
                Starts("<!DOCTYPE HTML PUBLIC"),
                Titled("<html><head>\n<title>"),
            ],
            &[
                Starts("<!DOCTYPE HTML PUBLIC"),
                Titled("<html><head>\n<title>"),
                Body("<address>Apache"),
            ],
        ],
        ..UNMARKED
    },
    Gateway {
        name: "h2o",
        kind: Server,
        known: Measured("h2o 2.2"),
        own_fields: &[Phrase("Gateway Error")],
        here: &[Begins("server", "h2o")],
        own: &[
            page(
                &[Begins("server", "h2o"), BodyIs("connection failure")],
                Upstream(&[Refused, Unroutable]),
            ),
            page(
                &[Begins("server", "h2o"), BodyIs("connection timeout")],
                Upstream(&[ConnectTimeout]),
            ),
            page(
                &[Begins("server", "h2o"), BodyIs("I/O error (head)")],
                Upstream(&[Terminated]),
            ),
            page(
                &[Begins("server", "h2o"), BodyIs("I/O timeout")],
                Upstream(&[ResponseTimeout]),
            ),
            page(
                &[Begins("server", "h2o"), BodyIs("failed to parse the response")],
                Upstream(&[Protocol]),
            ),
            page(
                &[Begins("server", "h2o"), BodyIs("invalid response from upstream")],
                Upstream(&[Protocol]),
            ),
            page(
                &[Begins("server", "h2o"), BodyIs("ssl handshake failure")],
                Upstream(&[Tls, Alert]),
            ),
            page(
                &[Begins("server", "h2o"), BodyIs("socket create error")],
                Upstream(&[Unroutable]),
            ),
            page(
                &[
                    Begins("server", "h2o"),
                    Phrase("Gateway Error"),
                    Body("certificate"),
                    Shorter(80),
                ],
                Upstream(&[Certificate]),
            ),
            page(
                &[
                    Begins("server", "h2o"),
                    Phrase("Gateway Error"),
                    Body("name"),
                    Shorter(80),
                ],
                Upstream(&[Dns]),
            ),
            page(
                &[Begins("server", "h2o"), BodyIs("I/O error")],
                Upstream(&[Terminated, Tls]),
            ),
            likely(
                &[Begins("server", "h2o"), Status(&[403]), Phrase("OK"), BodyIs("")],
                Itself(EdgeDenied),
            ),
            likely(
                &[Begins("server", "h2o"), Status(&[500]), BodyIs("Internal Server Error")],
                Itself(EdgeInternalError),
            ),
            likely(&[Begins("server", "h2o"), BodyIs("not found")], Itself(EdgeNotFound)),
        ],
        template: &[
            &[Begins("server", "h2o"), BodyIs("bad request")],
            &[Begins("server", "h2o"), BodyIs("forbidden")],
            &[Begins("server", "h2o"), BodyIs("unauthorized")],
            &[Begins("server", "h2o"), BodyIs("method not allowed")],
        ],
        ..UNMARKED
    },
    Gateway {
        name: "lighttpd",
        kind: Server,
        known: Measured("lighttpd 1.4.69"),
        own_texts: &[
            "502 Bad Gateway 502 Bad Gateway",
            "504 Gateway Timeout 504 Gateway Timeout",
        ],
        here: &[Begins("server", "lighttpd")],
        own: &[
            // `url.redirect-code` with 502 or 504 returns the same pages.
            likely(
                &[Body("XHTML 1.0 Transitional"), Body("<h1>502 Bad Gateway</h1>")],
                Upstream(&[Protocol, HeaderSize]),
            ),
            likely(
                &[Body("XHTML 1.0 Transitional"), Body("<h1>503 Service"), Quick],
                Upstream(&[Refused, Unavailable, Unroutable]),
            ),
            likely(
                &[Body("XHTML 1.0 Transitional"), Body("<h1>503 Service")],
                Upstream(&[ConnectTimeout, Refused]),
            ),
            likely(
                &[Body("XHTML 1.0 Transitional"), Body("<h1>504 Gateway Timeout</h1>")],
                Upstream(&[ResponseTimeout]),
            ),
            // lighttpd also returns this page for a crashed program.
            likely(
                &[
                    Body("XHTML 1.0 Transitional"),
                    Body("<h1>500 Internal Server Error</h1>"),
                ],
                Upstream(&[Terminated, Protocol]),
            ),
            // lighttpd returns this page when a stalled response body reaches its timeout.
            likely(
                &[Body("XHTML 1.0 Transitional"), Body("<h1>403 Forbidden</h1>"), Slow],
                Upstream(&[ReadTimeout]),
            ),
        ],
        template: &[&[Body("XHTML 1.0 Transitional"), Titled("<h1>"), Titled("<title>")]],
        ..UNMARKED
    },
    Gateway {
        name: "caddy",
        kind: Server,
        known: Measured("Caddy 2.6 and 2.11"),
        here: &[Begins("server", "Caddy"), Says("via", "1.1 Caddy")],
        // Up to version 2.6, Caddy adds its own Server field to the origin's.
        through: &[Says("via", "Caddy"), AmongMany("server", "Caddy")],
        // Behind version 2.6, an empty response of an application without a Server field looks the same.
        own: &[
            likely(
                &[Begins("server", "Caddy"), Status(&[502]), BodyIs(""), Quick],
                Upstream(&[
                    Refused,
                    Terminated,
                    Certificate,
                    Dns,
                    Protocol,
                    Unroutable,
                    Alert,
                    Tls,
                    HeaderSize,
                ]),
            ),
            likely(
                &[Begins("server", "Caddy"), Status(&[502]), BodyIs("")],
                Upstream(&[ConnectTimeout, DnsTimeout, Terminated]),
            ),
            likely(
                &[Begins("server", "Caddy"), Status(&[504]), BodyIs("")],
                Upstream(&[ResponseTimeout, Tls]),
            ),
            likely(
                &[Begins("server", "Caddy"), Status(&[503]), BodyIs("")],
                Upstream(&[Unavailable]),
            ),
        ],
        template: &[&[Begins("server", "Caddy"), BodyIs("")]],
        ..UNMARKED
    },
    nginx_kin!(
        "openresty",
        "<hr><center>openresty",
        Documented("a build of nginx: nginx/nginx:src/http/ngx_http_special_response.c, under its own name"),
        &[]
    ),
    nginx_kin!(
        "tengine",
        "<hr><center>tengine",
        Documented("a build of nginx: nginx/nginx:src/http/ngx_http_special_response.c, under its own name"),
        &[]
    ),
    nginx_kin!(
        "angie",
        "<hr><center>angie",
        Documented("a build of nginx: nginx/nginx:src/http/ngx_http_special_response.c, under its own name"),
        &[]
    ),
    nginx_kin!(
        "nginx",
        "<hr><center>nginx",
        Measured("nginx 1.22 and 1.31"),
        &[
            "502 Bad Gateway 502 Bad Gateway nginx*",
            "504 Gateway Time-out 504 Gateway Time-out nginx*",
        ]
    ),
];
