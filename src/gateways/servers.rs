//! Web servers that also pass requests on.

use super::Mark::{AmongMany, Begins, Body, BodyIs, Phrase, Quick, Says, Shorter, Slow, Status};
use super::Means::{Front, Upstream};
use super::{Gateway, page};
use crate::reason::Reason::{
    FrontDenied, FrontInternalError, FrontNotFound, FrontOverloaded, FrontRateLimited,
    UpstreamConnectionReadTimeout as ReadTimeout, UpstreamConnectionRefused as Refused,
    UpstreamConnectionTerminated as Terminated, UpstreamConnectionTimeout as ConnectTimeout,
    UpstreamDestinationIpUnroutable as Unroutable, UpstreamDestinationUnavailable as Unavailable,
    UpstreamDnsError as Dns, UpstreamDnsTimeout as DnsTimeout, UpstreamHttpProtocolError as Protocol,
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
                // Only a resolver is waited for without a 504; or what stood behind broke off late.
                page(
                    &[Body($foot), Status(&[502])],
                    Upstream(&[DnsTimeout, Terminated, Refused]),
                ),
                page(
                    &[Body($foot), Status(&[504])],
                    Upstream(&[ResponseTimeout, ConnectTimeout, Tls]),
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
                &[Body("Error reading from remote server"), Quick],
                Upstream(&[Terminated]),
            ),
            page(
                &[Body("Error reading from remote server")],
                Upstream(&[ResponseTimeout, Terminated]),
            ),
            page(
                &[
                    Begins("server", "Apache"),
                    Body("//DTD HTML"),
                    Body("received an invalid"),
                    Status(&[502]),
                ],
                Upstream(&[Protocol, HeaderSize]),
            ),
            page(
                &[
                    Begins("server", "Apache"),
                    Body("//DTD HTML"),
                    Body("<title>504 Gateway Timeout</title>"),
                ],
                Upstream(&[ResponseTimeout]),
            ),
            page(
                &[
                    Begins("server", "Apache"),
                    Body("//DTD HTML"),
                    Body("<title>503 Service Unavailable</title>"),
                    Quick,
                ],
                Upstream(&[Refused, Unavailable, Unroutable]),
            ),
            page(
                &[
                    Begins("server", "Apache"),
                    Body("//DTD HTML"),
                    Body("<title>503 Service Unavailable</title>"),
                ],
                Upstream(&[ConnectTimeout, Refused]),
            ),
            page(
                &[
                    Begins("server", "Apache"),
                    Body("//DTD HTML"),
                    Body("<title>403 Forbidden</title>"),
                ],
                Front(FrontDenied),
            ),
            page(
                &[
                    Begins("server", "Apache"),
                    Body("//DTD HTML"),
                    Body("<title>404 Not Found</title>"),
                ],
                Front(FrontNotFound),
            ),
            page(
                &[
                    Begins("server", "Apache"),
                    Body("//DTD HTML"),
                    Body("<title>500 Internal Server Error</title>"),
                ],
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
            page(
                &[Begins("server", "h2o"), BodyIs("I/O error")],
                Upstream(&[Terminated, Tls]),
            ),
            page(&[Begins("server", "h2o"), BodyIs("forbidden")], Front(FrontDenied)),
            page(
                &[Begins("server", "h2o"), Status(&[403]), Phrase("OK"), BodyIs("")],
                Front(FrontDenied),
            ),
            page(
                &[Begins("server", "h2o"), Status(&[500]), BodyIs("Internal Server Error")],
                Front(FrontInternalError),
            ),
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
                Upstream(&[Protocol, HeaderSize]),
            ),
            page(
                &[Body("XHTML 1.0 Transitional"), Body("<h1>503 Service"), Quick],
                Upstream(&[Refused, Unavailable, Unroutable]),
            ),
            page(
                &[Body("XHTML 1.0 Transitional"), Body("<h1>503 Service")],
                Upstream(&[ConnectTimeout, Refused]),
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
                Upstream(&[Terminated, Protocol]),
            ),
            // A body that stalled becomes this page, once the gateway's patience is over.
            page(
                &[Body("XHTML 1.0 Transitional"), Body("<h1>403 Forbidden</h1>"), Slow],
                Upstream(&[ReadTimeout]),
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
        name: "caddy",
        here: &[Begins("server", "Caddy"), Says("via", "1.1 Caddy")],
        // Up to 2.6 it adds its own Server to the origin's.
        through: &[Says("via", "Caddy"), AmongMany("server", "Caddy")],
        own: &[
            page(
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
            page(
                &[Begins("server", "Caddy"), Status(&[502]), BodyIs("")],
                Upstream(&[ConnectTimeout, DnsTimeout, Terminated]),
            ),
            page(
                &[Begins("server", "Caddy"), Status(&[504]), BodyIs("")],
                Upstream(&[ResponseTimeout, Tls]),
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
