//! Proxies that one runs oneself.

use super::Mark::{Begins, Body, BodyIs, Has, Lacks, Phrase, Says, Shorter, Status};
use super::Means::{Front, Upstream};
use super::{Gateway, page};
use crate::reason::Reason::{
    FrontDenied, FrontInternalError, FrontLoop, FrontNotFound, FrontOverloaded, FrontRateLimited,
    UpstreamConnectionRefused as Refused, UpstreamConnectionTerminated as Terminated,
    UpstreamConnectionTimeout as ConnectTimeout, UpstreamDestinationIpUnroutable as Unroutable,
    UpstreamDestinationUnavailable as Unavailable, UpstreamDnsError as Dns, UpstreamHttpProtocolError as Protocol,
    UpstreamHttpResponseHeaderSectionSize as HeaderSize, UpstreamHttpResponseTimeout as ResponseTimeout,
    UpstreamTlsAlertReceived as Alert, UpstreamTlsCertificateError as Certificate, UpstreamTlsProtocolError as Tls,
};

/// nginx and its kin write the same pages; the foot names the product, and so does `Server`.
macro_rules! nginx_kin {
    ($name:literal, $foot:literal) => {
        Gateway {
            name: $name,
            here: &[Begins("server", $name)],
            through: &[],
            own: &[
                page(
                    &[Body($foot), Status(&[502])],
                    Upstream(&[Refused, Terminated, Protocol, HeaderSize, Dns, Unavailable, Certificate]),
                ),
                page(
                    &[Body($foot), Status(&[504])],
                    Upstream(&[ResponseTimeout, ConnectTimeout]),
                ),
                page(&[Body($foot), Status(&[403])], Front(FrontDenied)),
                page(&[Body($foot), Status(&[404])], Front(FrontNotFound)),
                page(&[Body($foot), Status(&[429])], Front(FrontRateLimited)),
                page(&[Body($foot), Status(&[503])], Front(FrontOverloaded)),
                page(&[Body($foot), Status(&[500])], Front(FrontInternalError)),
            ],
        }
    };
}

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
                &[Body("No server is available to handle this request.")],
                Upstream(&[Unavailable, Refused, ConnectTimeout, Dns, Unroutable]),
            ),
            page(
                &[Body("The server returned an invalid or incomplete response.")],
                Upstream(&[Protocol, Terminated, HeaderSize]),
            ),
            page(
                &[Body("The server didn't respond in time.")],
                Upstream(&[ResponseTimeout]),
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
                Upstream(&[Unavailable, Dns, Unroutable]),
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
                &[Body("Guru Meditation"), Body("Backend fetch failed")],
                Upstream(&[Refused, Terminated, ConnectTimeout, ResponseTimeout, Protocol]),
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
        through: &[Has("age")],
        own: &[
            page(
                &[Begins("server", "ATS"), Phrase("Connection refused")],
                Upstream(&[Refused]),
            ),
            page(
                &[Begins("server", "ATS"), Phrase("connect failed")],
                Upstream(&[ConnectTimeout]),
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
                &[Begins("server", "ATS"), Body("<TITLE>Could Not Connect</TITLE>")],
                Upstream(&[Refused, ConnectTimeout, Terminated]),
            ),
        ],
    },
    Gateway {
        name: "apache",
        here: &[Begins("server", "Apache")],
        through: &[],
        own: &[
            page(
                &[Body("Error during SSL Handshake with remote server")],
                Upstream(&[Certificate, Tls, Alert]),
            ),
            page(&[Body("DNS lookup failure for:")], Upstream(&[Dns])),
            page(
                &[Body("Error reading from remote server")],
                Upstream(&[Terminated, ResponseTimeout]),
            ),
            page(
                &[Body("//DTD HTML"), Body("received an invalid"), Status(&[502])],
                Upstream(&[Protocol, HeaderSize]),
            ),
            page(
                &[Body("//DTD HTML"), Body("<title>504 Gateway Timeout</title>")],
                Upstream(&[ResponseTimeout]),
            ),
            page(
                &[Body("//DTD HTML"), Body("<title>503 Service Unavailable</title>")],
                Upstream(&[Refused, ConnectTimeout, Unroutable, Unavailable]),
            ),
            page(
                &[Body("//DTD HTML"), Body("<title>403 Forbidden</title>")],
                Front(FrontDenied),
            ),
            page(
                &[Body("//DTD HTML"), Body("<title>404 Not Found</title>")],
                Front(FrontNotFound),
            ),
            page(
                &[Body("//DTD HTML"), Body("<title>500 Internal Server Error</title>")],
                Front(FrontInternalError),
            ),
        ],
    },
    Gateway {
        name: "h2o",
        here: &[Begins("server", "h2o")],
        through: &[],
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
            page(&[Begins("server", "h2o"), BodyIs("forbidden")], Front(FrontDenied)),
            page(&[Begins("server", "h2o"), BodyIs("not found")], Front(FrontNotFound)),
        ],
    },
    Gateway {
        name: "lighttpd",
        here: &[Begins("server", "lighttpd")],
        through: &[],
        own: &[
            page(
                &[Body("XHTML 1.0 Transitional"), Body("<h1>502 Bad Gateway</h1>")],
                Upstream(&[Protocol]),
            ),
            page(
                &[Body("XHTML 1.0 Transitional"), Body("<h1>503 Service")],
                Upstream(&[Refused, ConnectTimeout]),
            ),
            page(
                &[Body("XHTML 1.0 Transitional"), Body("<h1>504 Gateway Timeout</h1>")],
                Upstream(&[ResponseTimeout]),
            ),
            page(
                &[
                    Body("XHTML 1.0 Transitional"),
                    Body("<h1>500 Internal Server Error</h1>"),
                ],
                Upstream(&[Terminated]),
            ),
            page(
                &[Body("XHTML 1.0 Transitional"), Body("<h1>403 Forbidden</h1>")],
                Front(FrontDenied),
            ),
            page(
                &[Body("XHTML 1.0 Transitional"), Body("<h1>404 Not Found</h1>")],
                Front(FrontNotFound),
            ),
        ],
    },
    Gateway {
        name: "traefik",
        here: &[],
        through: &[],
        own: &[
            page(
                &[Lacks("server"), Status(&[502]), BodyIs("Bad Gateway")],
                Upstream(&[Refused, Terminated, Dns, Unroutable]),
            ),
            page(
                &[Lacks("server"), Status(&[504]), BodyIs("Gateway Timeout")],
                Upstream(&[ResponseTimeout, ConnectTimeout]),
            ),
            page(
                &[Lacks("server"), Status(&[500]), BodyIs("Internal Server Error")],
                Upstream(&[Protocol, Certificate, Tls]),
            ),
            page(
                &[Lacks("server"), Status(&[503]), BodyIs("no available server")],
                Upstream(&[Unavailable]),
            ),
            page(
                &[Lacks("server"), Status(&[404]), BodyIs("404 page not found")],
                Front(FrontNotFound),
            ),
            page(
                &[Lacks("server"), Status(&[403]), BodyIs("Forbidden")],
                Front(FrontDenied),
            ),
            page(&[Has("x-retry-in"), Status(&[429])], Front(FrontRateLimited)),
        ],
    },
    Gateway {
        name: "caddy",
        here: &[Begins("server", "Caddy"), Says("via", "1.1 Caddy")],
        through: &[Says("via", "Caddy")],
        own: &[
            page(
                &[Begins("server", "Caddy"), Status(&[502]), BodyIs("")],
                Upstream(&[Refused, Terminated, ConnectTimeout, Protocol, Dns]),
            ),
            page(
                &[Begins("server", "Caddy"), Status(&[504]), BodyIs("")],
                Upstream(&[ResponseTimeout]),
            ),
            page(
                &[Begins("server", "Caddy"), Status(&[503]), BodyIs("")],
                Upstream(&[Unavailable]),
            ),
            page(
                &[Begins("server", "Caddy"), Status(&[403]), BodyIs("")],
                Front(FrontDenied),
            ),
            page(
                &[Begins("server", "Caddy"), Status(&[404]), BodyIs("")],
                Front(FrontNotFound),
            ),
            page(
                &[Begins("server", "Caddy"), Status(&[500]), BodyIs("")],
                Front(FrontInternalError),
            ),
        ],
    },
    nginx_kin!("openresty", "<hr><center>openresty"),
    nginx_kin!("tengine", "<hr><center>tengine"),
    nginx_kin!("angie", "<hr><center>angie"),
    nginx_kin!("nginx", "<hr><center>nginx"),
];
