//! Meanings of responses with ambiguous text: by the status alone, or by all matching rows.

use super::{ErrorPage, Meaning, ObservedResponse, Recognised, Signature, catalogue, row_of};
use crate::reason::Reason;

/// Meaning of a gateway's own page that only has a status (RFC 9110 section 15, and the non-standard codes of some
/// products).
#[must_use]
pub const fn by_status(status: u16) -> Meaning {
    use Reason::{
        UpstreamConnectionRefused as Refused, UpstreamConnectionTerminated as Terminated,
        UpstreamConnectionTimeout as ConnectTimeout, UpstreamDestinationUnavailable as Unavailable,
        UpstreamHttpProtocolError as Protocol, UpstreamHttpResponseTimeout as ResponseTimeout,
    };
    match status {
        502 => Meaning::Upstream(&[Refused, Terminated, Protocol, Unavailable]),
        // The gateway's own limits and maintenance modes have the same status.
        503 => Meaning::Upstream(&[Unavailable, Reason::EdgeOverloaded]),
        504 => Meaning::Upstream(&[ResponseTimeout, ConnectTimeout]),
        _ => Meaning::Itself(own_reason(status)),
    }
}

/// Reason for a gateway's own response whose status does not concern its upstream.
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

/// All upstream failures that a gateway's own response can mean, independent of its duration. The status and the text
/// exclude a failure; the duration only affects its probability. Empty if the response does not concern the upstream.
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
    let gateway = catalogue().find(|gateway| Some(gateway.name) == own.by);
    if let Some((gateway, row)) = gateway.and_then(|gateway| Some((gateway, row_of(gateway, answer)?))) {
        let alike = gateway.own.iter().filter(|other| other.says_the_same_as(row));
        reasons.extend(alike.flat_map(|other| of_upstream(other.meaning)));
    }
    reasons
}

impl ErrorPage {
    /// Whether both rows describe the same page and differ only in its duration.
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
