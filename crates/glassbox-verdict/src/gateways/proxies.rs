//! Self-hosted proxies and load balancers.

use super::Meaning::{Itself, Upstream};
use super::Provenance::Measured;
use super::Signature::{
    Begins, Body, BodyIs, Has, Lacks, Phrase, Quick, Says, ServerWith, StartsTitled, Status, Waited,
};
use super::{Gateway, UNMARKED, common_page, likely, page};
use crate::reason::Reason::{
    EdgeDenied, EdgeInternalError, EdgeLoop, EdgeNotFound, EdgeRateLimited, EdgeRequestRefused,
    UpstreamConnectionRefused as Refused, UpstreamConnectionTerminated as Terminated,
    UpstreamConnectionTimeout as ConnectTimeout, UpstreamDestinationIpUnroutable as Unroutable,
    UpstreamDestinationUnavailable as Unavailable, UpstreamDnsError as Dns, UpstreamDnsTimeout as DnsTimeout,
    UpstreamHttpProtocolError as Protocol, UpstreamHttpResponseHeaderSectionSize as HeaderSize,
    UpstreamHttpResponseIncomplete as Incomplete, UpstreamHttpResponseTimeout as ResponseTimeout,
    UpstreamTlsAlertReceived as Alert, UpstreamTlsCertificateError as Certificate, UpstreamTlsProtocolError as Tls,
};

/// The products of this group. Within a product, the most specific page comes first.
pub(super) const ROWS: &[Gateway] = &[
    Gateway {
        name: "haproxy",
        known: Measured("HAProxy 2.6 and 2.8"),
        own_texts: &[
            "503 Service Unavailable No server is available to handle this request.",
            "502 Bad Gateway The server returned an invalid or incomplete response.",
            "504 Gateway Time-out The server didn't respond in time.",
            "403 Forbidden Request forbidden by administrative rules.",
        ],
        own: &[
            // A rule with `deny_status 503`, a full queue and maintenance mode return the same page.
            likely(
                &[Body("No server is available to handle this request."), Quick],
                Upstream(&[Unavailable, Dns, Unroutable, EdgeNotFound]),
            ),
            // Three retries, one second apart.
            likely(
                &[
                    Body("No server is available to handle this request."),
                    Waited(2500, 3600),
                ],
                Upstream(&[Refused, Certificate, Tls, Alert]),
            ),
            likely(
                &[Body("No server is available to handle this request.")],
                Upstream(&[ConnectTimeout, Refused, Certificate, Unavailable]),
            ),
            // Rules with `deny_status 502` or `504`, on requests or on responses, return the next two pages as well.
            likely(
                &[Body("The server returned an invalid or incomplete response.")],
                Upstream(&[Terminated, Protocol, HeaderSize]),
            ),
            likely(
                &[Body("The server didn't respond in time.")],
                Upstream(&[ResponseTimeout]),
            ),
            page(
                &[
                    Lacks("server"),
                    Status(&[403]),
                    Body("Request forbidden by administrative rules."),
                ],
                Itself(EdgeDenied),
            ),
        ],
        template: &[&[Lacks("server"), StartsTitled("<html><body><h1>"), Body("</h1>\n")]],
        ..UNMARKED
    },
    Gateway {
        name: "varnish",
        known: Measured("Varnish 7.1"),
        own_texts: &[
            "503 Backend fetch failed Error 503 Backend fetch failed Backend fetch failed Guru Meditation: XID: * Varnish \
             cache server",
            "503 VCL failed Error 503 VCL failed VCL failed Guru Meditation: XID: * Varnish cache server",
        ],
        here: &[Has("x-varnish"), Begins("server", "Varnish")],
        own: &[
            page(
                &[Body("Guru Meditation"), Phrase("VCL failed")],
                Itself(EdgeInternalError),
            ),
            page(
                &[Body("Guru Meditation"), Body("VCL failed")],
                Itself(EdgeInternalError),
            ),
            // `return (error)` in vcl_backend_response or vcl_backend_fetch returns this page, with Age, for any
            // cause.
            likely(
                &[Body("Guru Meditation"), Body("Backend fetch failed"), Has("age"), Quick],
                Upstream(&[Refused, Terminated, Protocol, Unavailable, Unroutable, HeaderSize]),
            ),
            likely(
                &[Body("Guru Meditation"), Body("Backend fetch failed"), Has("age")],
                Upstream(&[ResponseTimeout, ConnectTimeout]),
            ),
            // `synth(503, "Backend fetch failed")` returns this page without Age. VCL may also remove the field.
            likely(
                &[Body("Guru Meditation"), Body("Backend fetch failed")],
                Upstream(&[Refused, Terminated, ResponseTimeout, ConnectTimeout, Unavailable]),
            ),
            // Pages for backend failures have Age. Pages that VCL generates have Age only behind a second Varnish.
            likely(
                &[Body("Guru Meditation"), Status(&[503]), Has("age")],
                Upstream(&[Incomplete, Terminated]),
            ),
            // Pages that VCL generates, with any title.
            likely(
                &[Body("Guru Meditation"), Status(&[500, 503])],
                Itself(EdgeInternalError),
            ),
        ],
        template: &[&[Body("Guru Meditation"), Has("x-varnish")]],
        ..UNMARKED
    },
    Gateway {
        name: "apache_traffic_server",
        known: Measured("Apache Traffic Server 9.2"),
        own_fields: &[
            Phrase("connect failed"),
            Phrase("Next Hop Connection Failed"),
            Phrase("Cannot find server."),
            Phrase("Invalid HTTP Response"),
            Phrase("Malformed Server Response Status"),
            Phrase("Direct self loop detected"),
            Phrase("Not Found on Accelerator"),
        ],
        here: &[Begins("server", "ATS")],
        through: &[ServerWith("ATS", "age")],
        own: &[
            page(
                &[Begins("server", "ATS"), Phrase("Connection refused")],
                Upstream(&[Refused]),
            ),
            page(
                &[Begins("server", "ATS"), Phrase("connect failed"), Quick],
                Upstream(&[Terminated, Tls]),
            ),
            page(
                &[Begins("server", "ATS"), Phrase("connect failed")],
                Upstream(&[ConnectTimeout]),
            ),
            page(
                &[Begins("server", "ATS"), Phrase("Next Hop Connection Failed")],
                Upstream(&[Unavailable]),
            ),
            page(
                &[Begins("server", "ATS"), Phrase("Cannot find server.")],
                Upstream(&[Dns]),
            ),
            page(
                &[Begins("server", "ATS"), Phrase("Connection Timed Out")],
                Upstream(&[ResponseTimeout]),
            ),
            page(
                &[Begins("server", "ATS"), Phrase("Invalid HTTP Response")],
                Upstream(&[Protocol]),
            ),
            page(
                &[Begins("server", "ATS"), Phrase("Malformed Server Response Status")],
                Upstream(&[Protocol, Terminated]),
            ),
            page(
                &[Begins("server", "ATS"), Phrase("Direct self loop detected")],
                Itself(EdgeLoop),
            ),
            page(
                &[Begins("server", "ATS"), Phrase("Not Found on Accelerator")],
                Itself(EdgeNotFound),
            ),
            page(&[Begins("server", "ATS"), Phrase("Access Denied")], Itself(EdgeDenied)),
            page(
                &[Begins("server", "ATS"), Status(&[502]), Phrase("")],
                Upstream(&[Tls, Certificate, Alert]),
            ),
            page(
                &[Begins("server", "ATS"), Body("<TITLE>Could Not Connect</TITLE>"), Quick],
                Upstream(&[Refused, Unroutable, Terminated]),
            ),
            page(
                &[Begins("server", "ATS"), Body("<TITLE>Could Not Connect</TITLE>")],
                Upstream(&[ConnectTimeout, Terminated]),
            ),
        ],
        template: &[&[Begins("server", "ATS"), Body("<TITLE>"), Says("content-language", "en")]],
        ..UNMARKED
    },
    Gateway {
        name: "traefik",
        known: Measured("Traefik 3.7"),
        own_texts: &["no available server"],
        own: &[
            common_page(
                &[
                    Lacks("server"),
                    Lacks("x-content-type-options"),
                    Status(&[502]),
                    BodyIs("Bad Gateway"),
                ],
                Upstream(&[Refused, Terminated, Dns, Unroutable, Alert]),
            ),
            common_page(
                &[
                    Lacks("server"),
                    Lacks("x-content-type-options"),
                    Status(&[504]),
                    BodyIs("Gateway Timeout"),
                ],
                Upstream(&[ResponseTimeout, ConnectTimeout, DnsTimeout]),
            ),
            common_page(
                &[
                    Lacks("server"),
                    Lacks("x-content-type-options"),
                    Status(&[500]),
                    BodyIs("Internal Server Error"),
                ],
                Upstream(&[Protocol, Certificate, Tls]),
            ),
            // An application that assigns servers to its users may use the same words.
            likely(
                &[Lacks("server"), Status(&[503]), BodyIs("no available server")],
                Upstream(&[Unavailable]),
            ),
            // Every Go program returns the same text.
            common_page(
                &[Lacks("server"), Status(&[404]), BodyIs("404 page not found")],
                Itself(EdgeNotFound),
            ),
            common_page(
                &[
                    Lacks("server"),
                    Lacks("x-content-type-options"),
                    Status(&[403]),
                    BodyIs("Forbidden"),
                ],
                Itself(EdgeDenied),
            ),
            page(&[Has("x-retry-in"), Status(&[429])], Itself(EdgeRateLimited)),
            common_page(
                &[
                    Lacks("server"),
                    Lacks("x-content-type-options"),
                    Status(&[413]),
                    BodyIs("Request Entity Too Large"),
                ],
                Itself(EdgeRequestRefused),
            ),
            page(
                &[Says("www-authenticate", "realm=\"traefik\""), Status(&[401])],
                Itself(EdgeDenied),
            )
            .documented("traefik/traefik:pkg/middlewares/auth/basic_auth.go"),
        ],
        ..UNMARKED
    },
];
