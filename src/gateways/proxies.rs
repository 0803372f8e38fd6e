//! Proxies and load balancers that one runs oneself.

use super::Known::Measured;
use super::Mark::{Begins, Body, BodyIs, Has, Lacks, Phrase, Quick, Says, ServerWith, StartsTitled, Status, Waited};
use super::Means::{Front, Upstream};
use super::{Gateway, UNMARKED, common_page, likely, page};
use crate::reason::Reason::{
    FrontDenied, FrontInternalError, FrontLoop, FrontNotFound, FrontRateLimited, FrontRequestRefused,
    UpstreamConnectionRefused as Refused, UpstreamConnectionTerminated as Terminated,
    UpstreamConnectionTimeout as ConnectTimeout, UpstreamDestinationIpUnroutable as Unroutable,
    UpstreamDestinationUnavailable as Unavailable, UpstreamDnsError as Dns, UpstreamDnsTimeout as DnsTimeout,
    UpstreamHttpProtocolError as Protocol, UpstreamHttpResponseHeaderSectionSize as HeaderSize,
    UpstreamHttpResponseIncomplete as Incomplete, UpstreamHttpResponseTimeout as ResponseTimeout,
    UpstreamTlsAlertReceived as Alert, UpstreamTlsCertificateError as Certificate, UpstreamTlsProtocolError as Tls,
};

/// Each product with its own pages, the most telling first.
pub(super) const ROWS: &[Gateway] = &[
    Gateway {
        name: "haproxy",
        known: Measured("HAProxy 2.6 and 2.8"),
        own: &[
            page(
                &[Body("No server is available to handle this request."), Quick],
                Upstream(&[Unavailable, Dns, Unroutable, FrontNotFound]),
            ),
            // Three retries, a second apart.
            page(
                &[
                    Body("No server is available to handle this request."),
                    Waited(2500, 3600),
                ],
                Upstream(&[Refused, Certificate, Tls, Alert]),
            ),
            page(
                &[Body("No server is available to handle this request.")],
                Upstream(&[ConnectTimeout, Refused, Certificate, Unavailable]),
            ),
            page(
                &[Body("The server returned an invalid or incomplete response.")],
                Upstream(&[Terminated, Protocol, HeaderSize]),
            ),
            page(
                &[Body("The server didn't respond in time.")],
                Upstream(&[ResponseTimeout]),
            ),
        ],
        template: &[&[Lacks("server"), StartsTitled("<html><body><h1>"), Body("</h1>\n")]],
        ..UNMARKED
    },
    Gateway {
        name: "varnish",
        known: Measured("Varnish 7.1"),
        here: &[Has("x-varnish"), Begins("server", "Varnish")],
        own: &[
            page(
                &[Body("Guru Meditation"), Phrase("VCL failed")],
                Front(FrontInternalError),
            ),
            page(
                &[Body("Guru Meditation"), Body("VCL failed")],
                Front(FrontInternalError),
            ),
            page(
                &[Body("Guru Meditation"), Body("Backend fetch failed"), Quick],
                Upstream(&[Refused, Terminated, Protocol, Unavailable, Unroutable, HeaderSize]),
            ),
            page(
                &[Body("Guru Meditation"), Body("Backend fetch failed")],
                Upstream(&[ResponseTimeout, ConnectTimeout]),
            ),
            // What VCL makes up has no Age; what came of a backend has.
            page(
                &[Body("Guru Meditation"), Status(&[503]), Has("age")],
                Upstream(&[Incomplete, Terminated]),
            ),
            // What VCL makes up, under whatever name.
            likely(
                &[Body("Guru Meditation"), Status(&[500, 503])],
                Front(FrontInternalError),
            ),
        ],
        template: &[&[Body("Guru Meditation"), Has("x-varnish")]],
        ..UNMARKED
    },
    Gateway {
        name: "apache_traffic_server",
        known: Measured("Apache Traffic Server 9.2"),
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
                Front(FrontLoop),
            ),
            page(
                &[Begins("server", "ATS"), Phrase("Not Found on Accelerator")],
                Front(FrontNotFound),
            ),
            page(&[Begins("server", "ATS"), Phrase("Access Denied")], Front(FrontDenied)),
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
            page(
                &[Lacks("server"), Status(&[503]), BodyIs("no available server")],
                Upstream(&[Unavailable]),
            ),
            // So does every Go program.
            common_page(
                &[Lacks("server"), Status(&[404]), BodyIs("404 page not found")],
                Front(FrontNotFound),
            ),
            common_page(
                &[
                    Lacks("server"),
                    Lacks("x-content-type-options"),
                    Status(&[403]),
                    BodyIs("Forbidden"),
                ],
                Front(FrontDenied),
            ),
            page(&[Has("x-retry-in"), Status(&[429])], Front(FrontRateLimited)),
            common_page(
                &[
                    Lacks("server"),
                    Lacks("x-content-type-options"),
                    Status(&[413]),
                    BodyIs("Request Entity Too Large"),
                ],
                Front(FrontRequestRefused),
            ),
            page(
                &[Says("www-authenticate", "realm=\"traefik\""), Status(&[401])],
                Front(FrontDenied),
            )
            .documented("traefik/traefik:pkg/middlewares/auth/basic_auth.go"),
        ],
        ..UNMARKED
    },
];
