//! Proxies and load balancers that one runs oneself.

use super::Mark::{Begins, Body, BodyIs, Has, Lacks, Phrase, Quick, Says, ServerWith, Status, Waited};
use super::Means::{Front, Upstream};
use super::{Gateway, common_page, page};
use crate::reason::Reason::{
    FrontDenied, FrontInternalError, FrontLoop, FrontNotFound, FrontOverloaded, FrontRateLimited,
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
        name: "envoy",
        here: &[Begins("server", "envoy"), Begins("server", "istio-envoy")],
        through: &[Has("x-envoy-upstream-service-time")],
        own: &[
            page(
                &[Body("delayed connect error: Connection refused")],
                Upstream(&[Refused]),
            ),
            page(&[Body("delayed connect error: 111")], Upstream(&[Refused])),
            page(
                &[Body("immediate connect error: Network is unreachable")],
                Upstream(&[Unroutable]),
            ),
            page(
                &[Body("reset before headers"), Body("CERTIFICATE_VERIFY_FAILED")],
                Upstream(&[Certificate]),
            ),
            page(&[Body("reset before headers"), Body("ALERT")], Upstream(&[Alert])),
            page(&[Body("reset before headers"), Body("TLS_error")], Upstream(&[Tls])),
            page(
                &[Body("reset before headers"), Body("remote connection failure")],
                Upstream(&[Refused, Unroutable, Certificate]),
            ),
            page(
                &[Body("reset before headers"), Body("connection timeout")],
                Upstream(&[ConnectTimeout]),
            ),
            page(
                &[Body("reset before headers"), Body("connection termination")],
                Upstream(&[Terminated]),
            ),
            page(
                &[Body("reset before headers"), Body("remote reset")],
                Upstream(&[Terminated]),
            ),
            page(
                &[Body("reset before headers"), Body("protocol error")],
                Upstream(&[Protocol]),
            ),
            page(
                &[Body("reset before headers"), Body("overflow")],
                Front(FrontOverloaded),
            ),
            page(&[Has("x-envoy-overloaded")], Front(FrontOverloaded)),
            page(&[Has("x-envoy-ratelimited")], Front(FrontRateLimited)),
            page(&[BodyIs("no healthy upstream")], Upstream(&[Unavailable, Dns])),
            page(&[BodyIs("upstream request timeout")], Upstream(&[ResponseTimeout])),
            page(&[BodyIs("RBAC: access denied")], Front(FrontDenied)),
            page(&[BodyIs("local_rate_limited")], Front(FrontRateLimited)),
            page(
                &[Begins("server", "envoy"), Status(&[404]), BodyIs("")],
                Front(FrontNotFound),
            ),
        ],
    },
    Gateway {
        name: "haproxy",
        here: &[],
        through: &[],
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
            page(
                &[Body(
                    "<html><body><h1>400 Bad request</h1>\nYour browser sent an invalid request.",
                )],
                Front(FrontDenied),
            ),
            page(
                &[Body(
                    "<html><body><h1>403 Forbidden</h1>\nRequest forbidden by administrative rules.",
                )],
                Front(FrontDenied),
            ),
            page(
                &[Body(
                    "<html><body><h1>429 Too Many Requests</h1>\nYou have sent too many requests",
                )],
                Front(FrontRateLimited),
            ),
            page(
                &[Body(
                    "<html><body><h1>500 Internal Server Error</h1>\nAn internal server error occurred.",
                )],
                Front(FrontInternalError),
            ),
        ],
    },
    Gateway {
        name: "squid",
        here: &[Begins("server", "squid"), Says("via", "(squid")],
        through: &[],
        own: &[
            page(&[Begins("x-squid-error", "ERR_CONNECT_FAIL 111")], Upstream(&[Refused])),
            page(
                &[Begins("x-squid-error", "ERR_CONNECT_FAIL 110")],
                Upstream(&[ConnectTimeout]),
            ),
            page(
                &[Begins("x-squid-error", "ERR_CONNECT_FAIL 101")],
                Upstream(&[Unroutable]),
            ),
            page(
                &[Begins("x-squid-error", "ERR_CONNECT_FAIL 113")],
                Upstream(&[Unroutable]),
            ),
            page(
                &[Begins("x-squid-error", "ERR_CONNECT_FAIL")],
                Upstream(&[Refused, ConnectTimeout, Unroutable]),
            ),
            page(
                &[Begins("x-squid-error", "ERR_SECURE_CONNECT_FAIL"), Body("certificate")],
                Upstream(&[Certificate]),
            ),
            page(
                &[Begins("x-squid-error", "ERR_SECURE_CONNECT_FAIL")],
                Upstream(&[Tls, Certificate, Alert]),
            ),
            page(&[Begins("x-squid-error", "ERR_DNS_FAIL")], Upstream(&[Dns])),
            page(
                &[Begins("x-squid-error", "ERR_READ_TIMEOUT")],
                Upstream(&[ResponseTimeout]),
            ),
            page(
                &[Begins("x-squid-error", "ERR_READ_ERROR 104")],
                Upstream(&[Terminated]),
            ),
            page(
                &[Begins("x-squid-error", "ERR_READ_ERROR")],
                Upstream(&[Unavailable, Dns, Unroutable, FrontNotFound]),
            ),
            page(
                &[Begins("x-squid-error", "ERR_ZERO_SIZE_OBJECT")],
                Upstream(&[Terminated]),
            ),
            page(&[Begins("x-squid-error", "ERR_INVALID_RESP")], Upstream(&[Protocol])),
            page(&[Begins("x-squid-error", "ERR_TOO_BIG")], Upstream(&[HeaderSize])),
            page(
                &[Begins("x-squid-error", "ERR_CANNOT_FORWARD")],
                Upstream(&[Unavailable]),
            ),
            page(&[Begins("x-squid-error", "ERR_ACCESS_DENIED")], Front(FrontDenied)),
            page(&[Has("x-squid-error")], Front(FrontInternalError)),
        ],
    },
    Gateway {
        name: "varnish",
        here: &[Has("x-varnish"), Begins("server", "Varnish")],
        through: &[],
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
            page(&[Body("Guru Meditation"), Status(&[403])], Front(FrontDenied)),
            page(&[Body("Guru Meditation"), Status(&[404])], Front(FrontNotFound)),
            page(&[Body("Guru Meditation"), Status(&[429])], Front(FrontRateLimited)),
            page(
                &[Body("Guru Meditation"), Status(&[500, 503])],
                Front(FrontInternalError),
            ),
        ],
    },
    Gateway {
        name: "apache_traffic_server",
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
    },
    Gateway {
        name: "traefik",
        here: &[],
        through: &[],
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
        ],
    },
];
