//! What the rules look for, and what they then blame.

use super::Blame;
use super::case::{Case, State};
use crate::chain::{Link, Stage};
use crate::investigation::{Reached, Vantage};
use crate::reason::Reason;
use crate::report::Spoken;
use crate::verdict::{Certainty, Side};

use Certainty::{Certain, Likely};

impl Case<'_> {
    pub fn blame_if(&self, speaks: bool, link: Link, certainty: Certainty) -> Option<Blame> {
        let fault = self.fault().filter(|_| speaks)?;
        Some(Blame::on(link, certainty, fault.reason))
    }
}

pub(super) fn captive_portal(case: &Case<'_>) -> Option<Blame> {
    let vantage = case.facts.vantage?;
    let peer = case.facts.front.with_target().next()?.peer?.ip();
    let captive = vantage.captive && vantage.portal.contains(&peer) && !case.target_is_an_address();
    captive.then(|| Blame::on(Link::Local, Certain, Reason::LocalCaptivePortal))
}

pub(super) fn controls_failed(case: &Case<'_>) -> Option<Blame> {
    let vantage = case.facts.vantage?;
    // Who refuses has been reached.
    let reached = case.reason(Reason::TcpRefused) || case.reason(Reason::TcpReset);
    let near = case.stage(Stage::Resolve) || (case.stage(Stage::Connect) && !reached);
    // One control alone may itself be what is down.
    let asked = vantage
        .controls
        .iter()
        .filter(|control| control.outcome != Reached::NotAsked);
    let certainty = if vantage.all_failed() && asked.count() >= 2 {
        Certain
    } else {
        Likely
    };
    let failed = near && (vantage.all_failed() || vantage.quorum);
    failed.then(|| Blame::on(Link::Local, certainty, Reason::LocalControlsFailed))
}

pub(super) fn content_refused(case: &Case<'_>) -> Option<Blame> {
    let limits = case.reason(Reason::HttpResponseTooLarge) || case.reason(Reason::HttpResponseBadCoding);
    let blame = case.blame_if(case.family("content") || limits, Link::Content, Certain)?;
    Some(match case.hops.last().map(|hop| hop.state) {
        Some(State::Healthy) => blame.side(Side::Gateway),
        Some(State::Refuses) => blame.side(Side::Origin),
        _ => blame,
    })
}

pub(super) fn datagram_lost(case: &Case<'_>) -> Option<Blame> {
    match case.fault()?.reason {
        // A name that did not resolve has rules of its own.
        Reason::DnsTimedOut | Reason::IcmpTimedOut | Reason::QuicTimedOut => case.blame_if(true, Link::Path, Likely),
        Reason::TcpAddressUnreachable => case.blame_if(!case.stage(Stage::Connect), Link::Path, Likely),
        // The router that says so may be the first, on our own side.
        Reason::IcmpUnreachable | Reason::IcmpTooBig => case.blame_if(true, Link::Path, proven_by_controls(case)),
        _ => None,
    }
}

/// Certain where a control answers from here, so that the exporter's own side is out of the question.
fn proven_by_controls(case: &Case<'_>) -> Certainty {
    let answers = |vantage: &Vantage| {
        let reached = |outcome| outcome == Reached::Answered;
        vantage.healthy() && vantage.controls.iter().any(|control| reached(control.outcome))
    };
    if case.facts.vantage.is_some_and(answers) {
        Certain
    } else {
        Likely
    }
}

/// No name of a control resolves, either. That the name does not exist is the answer of a resolver that lives, and one
/// control's own zone may be down.
pub(super) fn resolver_dead(case: &Case<'_>) -> Option<Blame> {
    let vantage = case.facts.vantage.filter(|vantage| vantage.names_failed())?;
    let named = vantage
        .controls
        .iter()
        .filter(|control| control.outcome == Reached::NoName);
    let silent = case.reason(Reason::DnsTimedOut) || case.reason(Reason::DnsRefused);
    let certainty = if silent || named.count() >= 2 { Certain } else { Likely };
    let dead = case.stage(Stage::Resolve);
    dead.then(|| Blame::on(Link::Local, certainty, Reason::LocalResolverUnreachable))
}

/// What the name's own servers say is certain; a failure may be that of our own resolver, unless it resolves a control.
pub(super) fn name_not_resolved(case: &Case<'_>) -> Option<Blame> {
    let resolves = |vantage: &Vantage| {
        let found = |outcome| matches!(outcome, Reached::Answered | Reached::NoConnection);
        vantage
            .controls
            .iter()
            .any(|control| control.needs_name && found(control.outcome))
    };
    let said = case.reason(Reason::DnsNameNotResolved) || case.reason(Reason::DnsNoData);
    let certainty = if said || case.facts.vantage.is_some_and(resolves) {
        Certain
    } else {
        Likely
    };
    case.blame_if(case.stage(Stage::Resolve), Link::Dns, certainty)
}

pub(super) fn health_service_says(case: &Case<'_>) -> Option<Blame> {
    /// `DEADLINE_EXCEEDED` and `UNAVAILABLE`: what gateways say of what stands behind them.
    const OF_UPSTREAM: [u32; 2] = [4, 14];
    let Some(Spoken::Health(health)) = case.report.last_leg()?.spoken else {
        return None;
    };
    match case.fault()?.reason {
        Reason::GrpcNotServing => case.blame_if(true, Link::Origin, Certain),
        Reason::GrpcStatus if case.gateway().is_some() && OF_UPSTREAM.contains(&health.code) => {
            Some(Blame::on(Link::Upstream, Likely, Reason::UpstreamFailed))
        }
        Reason::GrpcStatus => case.blame_if(true, Link::Origin, Likely),
        _ => None,
    }
}

pub(super) fn answer_slow(case: &Case<'_>) -> Option<Blame> {
    if !case.reason(Reason::HttpSlow) {
        return None;
    }
    Some(match case.innermost_failing() {
        // Our own way to it may be what is slow.
        Some((hop, _)) if hop.state == State::Slow => {
            let certainty = if hop.waited() * 2 >= hop.answered_after() {
                Certain
            } else {
                Likely
            };
            Blame::on(Link::Origin, certainty, Reason::OriginSlow)
        }
        _ if case.next_is_healthy().is_some() => {
            Blame::on(Link::Upstream, Likely, Reason::UpstreamFailed).side(Side::Gateway)
        }
        _ => Blame::on(Link::Origin, Likely, Reason::OriginSlow),
    })
}
