//! Load balancers and routers that a cloud runs.

use super::Mark::{Begins, Body, Has, Says, Status};
use super::Means::{Front, Origin, Upstream};
use super::{Gateway, page};
use crate::reason::Reason::{
    FrontDenied, FrontInternalError, FrontLoop, FrontNotFound, FrontOverloaded, UpstreamConnectionRefused as Refused,
    UpstreamConnectionTerminated as Terminated, UpstreamConnectionTimeout as ConnectTimeout,
    UpstreamDestinationUnavailable as Unavailable, UpstreamDnsError as Dns, UpstreamFailed,
    UpstreamHttpProtocolError as Protocol, UpstreamHttpResponseTimeout as ResponseTimeout,
    UpstreamTlsCertificateError as Certificate, UpstreamTlsProtocolError as Tls,
};

/// Each product with its own pages, the most telling first.
pub(super) const ROWS: &[Gateway] = &[
    Gateway {
        name: "aws_alb",
        here: &[Begins("server", "awselb")],
        through: &[],
        own: &[
            page(
                &[Begins("server", "awselb"), Status(&[502])],
                Upstream(&[Refused, Terminated, Protocol, Tls]),
            ),
            page(&[Begins("server", "awselb"), Status(&[503])], Upstream(&[Unavailable])),
            page(
                &[Begins("server", "awselb"), Status(&[504])],
                Upstream(&[ResponseTimeout, ConnectTimeout]),
            ),
            page(&[Begins("server", "awselb"), Status(&[403])], Front(FrontDenied)),
            page(&[Begins("server", "awselb"), Status(&[404])], Front(FrontNotFound)),
            page(&[Begins("server", "awselb"), Status(&[500])], Front(FrontInternalError)),
        ],
    },
    Gateway {
        name: "google_cloud_lb",
        here: &[Says("via", "1.1 google")],
        through: &[Says("via", "1.1 google")],
        own: &[
            page(
                &[
                    Body("<title>502 Server Error</title>"),
                    Body("The server encountered a temporary error"),
                ],
                Upstream(&[Refused, Terminated, Unavailable, ResponseTimeout]),
            ),
            page(&[Body("<title>503 Server Error</title>")], Upstream(&[Unavailable])),
            page(&[Body("<title>504 Server Error</title>")], Upstream(&[ResponseTimeout])),
        ],
    },
    Gateway {
        name: "azure_front_door",
        here: &[Has("x-azure-ref")],
        through: &[],
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
            page(
                &[Body("Our services aren't available right now"), Status(&[504])],
                Upstream(&[ResponseTimeout]),
            ),
            page(
                &[Body("Our services aren't available right now")],
                Upstream(&[ResponseTimeout, Certificate, Refused]),
            ),
        ],
    },
    Gateway {
        name: "azure_application_gateway",
        here: &[Begins("server", "Microsoft-Azure-Application-Gateway")],
        through: &[],
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
                &[Body("<hr><center>Microsoft-Azure-Application-Gateway"), Status(&[403])],
                Front(FrontDenied),
            ),
            page(
                &[Body("<hr><center>Microsoft-Azure-Application-Gateway"), Status(&[404])],
                Front(FrontNotFound),
            ),
            page(
                &[Body("<hr><center>Microsoft-Azure-Application-Gateway")],
                Front(FrontInternalError),
            ),
        ],
    },
    Gateway {
        name: "iis_arr",
        here: &[Says("x-powered-by", "ARR/")],
        through: &[],
        own: &[page(
            &[Body(
                "502 - Web server received an invalid response while acting as a gateway or proxy server",
            )],
            Upstream(&[Refused, Protocol, ResponseTimeout]),
        )],
    },
    Gateway {
        name: "heroku",
        here: &[Says("via", "vegur"), Says("via", "heroku-router")],
        through: &[],
        own: &[
            page(
                &[Body("herokucdn.com/error-pages/no-such-app.html")],
                Front(FrontNotFound),
            ),
            page(
                &[Body("herokucdn.com/error-pages/application-error.html")],
                Upstream(&[Refused, Terminated, ResponseTimeout]),
            ),
        ],
    },
    Gateway {
        name: "vercel",
        here: &[Begins("server", "Vercel"), Has("x-vercel-id")],
        through: &[],
        own: &[
            page(&[Begins("x-vercel-error", "DNS_HOSTNAME")], Upstream(&[Dns])),
            page(
                &[Begins("x-vercel-error", "ROUTER_EXTERNAL_TARGET_HANDSHAKE")],
                Upstream(&[Tls]),
            ),
            page(
                &[Begins("x-vercel-error", "ROUTER_EXTERNAL_TARGET")],
                Upstream(&[Refused, ConnectTimeout, Tls]),
            ),
            page(
                &[Begins("x-vercel-error", "FUNCTION_INVOCATION_TIMEOUT")],
                Upstream(&[ResponseTimeout]),
            ),
            page(
                &[Begins("x-vercel-error", "NO_RESPONSE_FROM_FUNCTION")],
                Upstream(&[Terminated]),
            ),
            page(&[Begins("x-vercel-error", "FUNCTION_INVOCATION_FAILED")], Origin),
            page(
                &[Begins("x-vercel-error", "FUNCTION_THROTTLED")],
                Front(FrontOverloaded),
            ),
            page(&[Begins("x-vercel-error", "INFINITE_LOOP_DETECTED")], Front(FrontLoop)),
            page(&[Begins("x-vercel-error", "DEPLOYMENT_")], Front(FrontNotFound)),
            page(&[Has("x-vercel-error")], Front(FrontInternalError)),
        ],
    },
];
