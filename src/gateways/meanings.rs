//! What an answer means where its words leave it open: by its status alone, or by all rows that it fits.

use super::{ErrorPage, Meaning, ObservedResponse, Recognised, Signature, catalogue, row_of};
use crate::reason::Reason;

/// What a status means on a page of a gateway's own that says nothing more (RFC 9110 section 15, and the numbers that
/// products made up).
#[must_use]
pub const fn by_status(status: u16) -> Meaning {
    use Reason::{
        UpstreamConnectionRefused as Refused, UpstreamConnectionTerminated as Terminated,
        UpstreamConnectionTimeout as ConnectTimeout, UpstreamDestinationUnavailable as Unavailable,
        UpstreamHttpProtocolError as Protocol, UpstreamHttpResponseTimeout as ResponseTimeout,
    };
    match status {
        502 => Meaning::Upstream(&[Refused, Terminated, Protocol, Unavailable]),
        // A limit of its own, or a switch that somebody turned, has the same status.
        503 => Meaning::Upstream(&[Unavailable, Reason::EdgeOverloaded]),
        504 => Meaning::Upstream(&[ResponseTimeout, ConnectTimeout]),
        _ => Meaning::Itself(own_reason(status)),
    }
}

/// What a gateway means that answers by itself with a status that is not about its upstream.
#[must_use]
pub const fn own_reason(status: u16) -> Reason {
    match status {
        401..=403 | 405..=407 | 451 | 561 => Reason::EdgeDenied,
        404 | 410 | 421 => Reason::EdgeNotFound,
        429 => Reason::EdgeRateLimited,
        508 => Reason::EdgeLoop,
        400..=499 => Reason::EdgeRequestRefused,
        _ => Reason::EdgeInternalError,
    }
}

/// All that an answer can mean of the machine behind the product that made it, however long it took. The time tells
/// only what is likely; the status and the words exclude the rest. Empty where that product says nothing of it.
#[must_use]
pub fn can_mean(recognised: Recognised, answer: &ObservedResponse<'_>) -> Vec<Reason> {
    let of_upstream = |meaning: Meaning| match meaning {
        Meaning::Upstream(reasons) => reasons,
        Meaning::Itself(_) | Meaning::Origin => &[],
    };
    let Recognised::Own(own) = recognised else {
        return Vec::new();
    };
    let mut reasons = of_upstream(own.meaning).to_vec();
    let gateway = catalogue().find(|gateway| gateway.name == own.by);
    if let Some((gateway, row)) = gateway.and_then(|gateway| Some((gateway, row_of(gateway, answer)?))) {
        let alike = gateway.own.iter().filter(|other| other.says_the_same_as(row));
        reasons.extend(alike.flat_map(|other| of_upstream(other.meaning)));
    }
    reasons
}

impl ErrorPage {
    /// Whether both are the same page, told apart by nothing but the time it took.
    fn says_the_same_as(&self, other: &Self) -> bool {
        let lasting = |page: &Self| -> Vec<&Signature> {
            page.signatures
                .iter()
                .filter(|signature| !signature.is_of_time())
                .collect()
        };
        lasting(self) == lasting(other)
    }
}
