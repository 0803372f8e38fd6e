//! API gateways.

use super::Mark::{Begins, Body, Has, Says, Status};
use super::Means::{Front, Upstream};
use super::{Gateway, page};
use crate::reason::Reason::{
    FrontDenied, FrontInternalError, FrontNotFound, FrontOverloaded, FrontRateLimited,
    UpstreamConnectionRefused as Refused, UpstreamConnectionTerminated as Terminated,
    UpstreamConnectionTimeout as ConnectTimeout, UpstreamDestinationUnavailable as Unavailable,
    UpstreamDnsError as Dns, UpstreamHttpProtocolError as Protocol, UpstreamHttpResponseTimeout as ResponseTimeout,
};

/// Each product with its own pages, the most telling first.
pub(super) const ROWS: &[Gateway] = &[
    Gateway {
        name: "kong",
        here: &[
            Begins("server", "kong"),
            Has("x-kong-response-latency"),
            Has("x-kong-upstream-latency"),
            Says("via", "kong/"),
        ],
        through: &[Has("x-kong-upstream-latency")],
        own: &[
            page(
                &[Body("An invalid response was received from the upstream server")],
                Upstream(&[Refused, Terminated, Protocol, Dns]),
            ),
            page(
                &[Body("The upstream server is timing out")],
                Upstream(&[ResponseTimeout, ConnectTimeout]),
            ),
            page(
                &[Body("The upstream server is currently unavailable")],
                Upstream(&[Unavailable]),
            ),
            page(&[Body("no Route matched with those values")], Front(FrontNotFound)),
            page(
                &[Has("x-kong-response-latency"), Status(&[401, 403])],
                Front(FrontDenied),
            ),
            page(
                &[Has("x-kong-response-latency"), Status(&[429])],
                Front(FrontRateLimited),
            ),
            page(
                &[Has("x-kong-response-latency"), Status(&[503])],
                Front(FrontOverloaded),
            ),
            page(
                &[Has("x-kong-response-latency"), Status(&[500])],
                Front(FrontInternalError),
            ),
        ],
    },
    Gateway {
        name: "tyk",
        here: &[Says("x-generator", "tyk.io")],
        through: &[],
        own: &[
            page(
                &[Says("x-generator", "tyk.io"), Body("Upstream host lookup failed")],
                Upstream(&[Dns]),
            ),
            page(
                &[
                    Says("x-generator", "tyk.io"),
                    Body("There was a problem proxying the request"),
                ],
                Upstream(&[Refused, Terminated, Protocol]),
            ),
            page(
                &[Says("x-generator", "tyk.io"), Status(&[504])],
                Upstream(&[ResponseTimeout]),
            ),
            page(
                &[Says("x-generator", "tyk.io"), Status(&[503])],
                Upstream(&[Unavailable]),
            ),
            page(
                &[Says("x-generator", "tyk.io"), Status(&[401, 403])],
                Front(FrontDenied),
            ),
            page(&[Says("x-generator", "tyk.io"), Status(&[404])], Front(FrontNotFound)),
            page(
                &[Says("x-generator", "tyk.io"), Status(&[429])],
                Front(FrontRateLimited),
            ),
        ],
    },
];
