//! Conditions of the decision tables that need neither the gateway catalogue nor direct requests, and their
//! attributions.

use super::Attribution;
use super::case::{BackendState, Case};
use crate::chain::{Link, Stage};
use crate::investigation::{ControlOutcome, Vantage};
use crate::reason::{Reason, ReasonFamily};
use crate::report::ProtocolFacts;
use crate::verdict::{Certainty, Side};

use Certainty::{Certain, Likely};

impl Case<'_> {
    pub fn attribute_if(&self, applies: bool, link: Link, certainty: Certainty) -> Option<Attribution> {
        let fault = self.fault().filter(|_| applies)?;
        Some(Attribution::on(link, certainty, fault.reason))
    }
}

pub(super) fn captive_portal(case: &Case<'_>) -> Option<Attribution> {
    let vantage = case.facts.vantage?;
    let peer = case.facts.edge.with_target().next()?.peer?.ip();
    let captive = vantage.captive && vantage.portal.contains(&peer) && !case.target_is_an_address();
    let certainty = if vantage.captive_for_all && !vantage.stale {
        Certain
    } else {
        Likely
    };
    // A control whose site has moved, or a resolver that answers for missing names, hides nothing in a success.
    let proven = vantage.captive_for_all || case.fault().is_some();
    (captive && proven).then(|| Attribution::on(Link::Local, certainty, Reason::LocalCaptivePortal))
}

pub(super) fn controls_failed(case: &Case<'_>) -> Option<Attribution> {
    let vantage = case.facts.vantage?;
    // A refused or reset connection proves that the machine is reachable.
    let reached = case.reason(Reason::TcpRefused) || case.reason(Reason::TcpReset);
    let near = case.stage(Stage::Resolve) || (case.stage(Stage::Connect) && !reached);
    // A single control may itself be down, and a response of any kind proves that packets get through.
    let proven = vantage.proves_no_network() && !resolver_responded(case);
    let certainty = if proven { Certain } else { Likely };
    let failed = near && (vantage.all_failed() || vantage.outage);
    failed.then(|| Attribution::on(Link::Local, certainty, Reason::LocalControlsFailed))
}

pub(super) fn content_assertion_failed(case: &Case<'_>) -> Option<Attribution> {
    let limits = case.reason(Reason::HttpResponseTooLarge) || case.reason(Reason::HttpResponseBadCoding);
    // The expected data may have arrived after the deadline.
    let may_follow = case.reason(Reason::ContentExpect) && case.fault().is_some_and(|fault| fault.at_deadline);
    let certainty = if may_follow { Likely } else { Certain };
    let attribution = case.attribute_if(case.family(ReasonFamily::Content) || limits, Link::Content, certainty)?;
    // A healthy innermost backend does not show which machine in front of it changed the content.
    Some(match case.backends.last().map(|backend| backend.state) {
        Some(BackendState::Refuses) => attribution.side(Side::Origin),
        _ => attribution,
    })
}

pub(super) fn datagram_no_response(case: &Case<'_>) -> Option<Attribution> {
    match case.fault()?.reason {
        // Other rules handle a name that did not resolve.
        Reason::DnsTimedOut | Reason::IcmpTimedOut | Reason::QuicTimedOut => {
            case.attribute_if(true, Link::Network, Likely)
        }
        Reason::TcpAddressUnreachable => case.attribute_if(!case.stage(Stage::Connect), Link::Network, Likely),
        // The reporting router may be the first hop, in the exporter's own network.
        Reason::IcmpUnreachable | Reason::IcmpTooBig => {
            case.attribute_if(true, Link::Network, proven_by_controls(case))
        }
        _ => None,
    }
}

/// Certain if a control connects during the probe, because that excludes the exporter's own network.
fn proven_by_controls(case: &Case<'_>) -> Certainty {
    if case.facts.vantage.is_some_and(Vantage::proves_network) {
        Certain
    } else {
        Likely
    }
}

/// The controls' names do not resolve either. If there is only one control, its zone may be down.
pub(super) fn resolver_failed(case: &Case<'_>) -> Option<Attribution> {
    let vantage = case.facts.vantage.filter(|vantage| vantage.names_failed())?;
    // A resolver that responds is reachable: the zone that the names share may be broken.
    let proven = vantage.proves_no_resolver() && !resolver_responded(case);
    let certainty = if proven { Certain } else { Likely };
    let dead = name_failed(case);
    dead.then(|| Attribution::on(Link::Local, certainty, Reason::LocalResolverUnreachable))
}

/// Whether a name server responded to the query for the target's name, even if only with an error.
fn resolver_responded(case: &Case<'_>) -> bool {
    let responses = [
        Reason::DnsNameNotResolved,
        Reason::DnsNoData,
        Reason::DnsServfail,
        Reason::DnsRefused,
        Reason::DnsMalformed,
    ];
    responses.into_iter().any(|reason| case.reason(reason))
}

/// Whether name resolution failed. Excludes a redirect to an address that the module does not allow.
fn name_failed(case: &Case<'_>) -> bool {
    case.stage(Stage::Resolve) && !case.reason(Reason::HttpResponseBadRedirect)
}

/// A DNS response without an address for the name is certain. The exporter's own resolver may cause other failures,
/// unless it resolves a control and another control connects: a resolver without a network answers from its cache. If a
/// proxy opens the connection, possibly only the proxy can resolve the name.
pub(super) fn name_not_resolved(case: &Case<'_>) -> Option<Attribution> {
    let resolves = |vantage: &Vantage| {
        let found = |outcome| matches!(outcome, ControlOutcome::Answered | ControlOutcome::NoConnection);
        vantage
            .controls
            .iter()
            .any(|control| control.needs_name && found(control.outcome))
            && vantage.proves_network()
    };
    let said = case.reason(Reason::DnsNameNotResolved) || case.reason(Reason::DnsNoData);
    let proven = said || case.facts.vantage.is_some_and(resolves);
    let certainty = if proven && !case.report.last_exchange().is_some_and(|exchange| exchange.has_proxy) {
        Certain
    } else {
        Likely
    };
    case.attribute_if(name_failed(case), Link::Dns, certainty)
}

pub(super) fn grpc_health_status(case: &Case<'_>) -> Option<Attribution> {
    /// `DEADLINE_EXCEEDED` and `UNAVAILABLE`: the statuses that gateways return for upstream failures.
    const OF_UPSTREAM: [u32; 2] = [4, 14];
    let Some(ProtocolFacts::Health(health)) = case.report.last_exchange()?.spoken else {
        return None;
    };
    match case.fault()?.reason {
        Reason::GrpcNotServing => case.attribute_if(true, Link::Origin, Certain),
        Reason::GrpcStatus if case.gateway().is_some() && OF_UPSTREAM.contains(&health.code) => {
            Some(Attribution::on(Link::Upstream, Likely, Reason::UpstreamFailed))
        }
        Reason::GrpcStatus => case.attribute_if(true, Link::Origin, Likely),
        _ => None,
    }
}

pub(super) fn response_slow(case: &Case<'_>) -> Option<Attribution> {
    if !case.reason(Reason::HttpSlow) {
        return None;
    }
    Some(match case.innermost_failing() {
        // The exporter's own route to the backend may be slow.
        Some((backend, _)) if backend.state == BackendState::Slow => {
            let certainty = if backend.waited() * 2 >= backend.answered_after() {
                Certain
            } else {
                Likely
            };
            Attribution::on(Link::Origin, certainty, Reason::OriginSlow)
        }
        _ if case
            .next_is_healthy()
            .is_some_and(|next| case.fails_more_often_than(next)) =>
        {
            Attribution::on(Link::Upstream, Likely, Reason::UpstreamFailed).side(Side::Gateway)
        }
        _ => Attribution::on(Link::Origin, Likely, Reason::OriginSlow),
    })
}
