//! What the rules look for, and what they then blame.

use super::case::{Case, Hopped, State, beside_a_healthy_hop, of_upstream, shook_hands};
use super::{Blame, looks};
use crate::chain::{Link, Stage};
use crate::gateways::{Means, Recognised};
use crate::reason::Reason;
use crate::report::{Reply, Spoken};
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
    let certainty = if vantage.all_failed() { Certain } else { Likely };
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
        Reason::IcmpUnreachable | Reason::IcmpTooBig => case.blame_if(true, Link::Path, Certain),
        _ => None,
    }
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
        Some((hop, _)) if hop.state == State::Slow => Blame::on(Link::Origin, Certain, Reason::OriginSlow),
        _ if case.next_is_healthy().is_some() => {
            Blame::on(Link::Upstream, Likely, Reason::UpstreamFailed).side(Side::Gateway)
        }
        _ => Blame::on(Link::Origin, Likely, Reason::OriginSlow),
    })
}

pub(super) fn hop_broken(case: &Case<'_>) -> Option<Blame> {
    let (hop, _) = case.innermost_failing()?;
    match hop.state {
        // The front refuses by itself, and would whatever stands behind it.
        _ if speaks_of_itself(case) || case.demands_client_cert() => None,
        // A gateway may trust other authorities than we do.
        State::Broken(reason @ Reason::UpstreamTlsCertificateError) => {
            Some(Blame::on(Link::Upstream, Likely, reason).side(Side::Origin))
        }
        State::Broken(reason) => Some(Blame::on(Link::Upstream, Certain, reason).side(Side::Origin)),
        _ => None,
    }
}

/// Only what no gateway would take: an answer that came late, a certificate of another authority, or a refusal that may
/// be meant for us alone, says nothing beside a good answer.
pub(super) fn good_before_broken_hop(case: &Case<'_>) -> Option<Blame> {
    let (hop, _) = case.innermost_failing()?;
    let report = &hop.drilled.report;
    let late = report.fault.as_ref().is_some_and(|fault| fault.at_deadline);
    let of_tls = |reason: Reason| reason.as_str().starts_with("upstream.tls");
    match hop.state {
        State::Broken(reason) if !late && !of_tls(reason) => hop_broken(case),
        State::Refuses if report.final_reply().is_some_and(|reply| reply.status >= 500) => hop_answers_alike(case),
        _ => None,
    }
}

pub(super) fn hop_answers_alike(case: &Case<'_>) -> Option<Blame> {
    let (hop, healthy_behind) = case.innermost_failing()?;
    let reply = hop.drilled.report.final_reply()?;
    if hop.state != State::Refuses {
        return None;
    }
    let alike = |front: &Reply| front.status == reply.status || (front.status >= 500 && reply.status >= 500);
    if case.refused().is_some_and(|front| !alike(front)) {
        return None;
    }
    let behind = |reasons: &[Reason]| {
        if healthy_behind {
            let next = case.hops.iter().find(|hop| hop.state == State::Healthy);
            let tls = next.is_some_and(|next| next.drilled.hop.tls);
            Blame::any_of(Link::Upstream, Certain, &beside_a_healthy_hop(reasons, tls)).side(Side::Gateway)
        } else {
            Blame::any_of(Link::Upstream, Certain, reasons).side(Side::Origin)
        }
    };
    Some(match hop.recognised {
        Some(Recognised::Own(name, Means::Upstream(reasons))) => behind(reasons).answered_by(name),
        _ if healthy_behind => behind(looks::by_shape(reply.status, hop.waited())),
        _ => Blame::on(Link::Origin, Certain, Reason::OriginStatus),
    })
}

pub(super) const fn speaks_of_itself(case: &Case<'_>) -> bool {
    matches!(case.recognised, Some(Recognised::Own(_, Means::Front(_))))
}

pub(super) fn gateway_speaks_of_itself(case: &Case<'_>) -> Option<Blame> {
    match case.recognised? {
        Recognised::Own(name, Means::Front(reason)) => Some(Blame::on(Link::Front, Certain, reason).answered_by(name)),
        _ => None,
    }
}

pub(super) fn hop_healthy(case: &Case<'_>) -> Option<Blame> {
    let hop = case.next_is_healthy()?;
    let tls = hop.drilled.hop.tls;
    if let Some(said) = of_upstream(case.recognised) {
        if hop.head_size() >= looks::LARGE_HEAD && said.contains(&Reason::UpstreamHttpResponseHeaderSectionSize) {
            let size = Reason::UpstreamHttpResponseHeaderSectionSize;
            return Some(Blame::on(Link::Upstream, Likely, size).side(Side::Origin));
        }
        let patience = said.contains(&Reason::UpstreamHttpResponseTimeout);
        if patience && hop.answered_after() > case.waited() {
            // The gateway's patience is shorter than what stands behind it needs.
            return Some(Blame::on(Link::Upstream, Certain, Reason::UpstreamHttpResponseTimeout).side(Side::Origin));
        }
        let certainty = surely(said);
        return Some(Blame::any_of(Link::Upstream, certainty, &beside_a_healthy_hop(said, tls)).side(Side::Gateway));
    }
    if case.gave_nothing() {
        // For a failure behind them gateways have a page.
        return Some(Blame::on(Link::Front, Likely, Reason::FrontInternalError));
    }
    if case.broke() {
        return Some(Blame::any_of(Link::Upstream, Likely, &case.as_upstream()).side(Side::Gateway));
    }
    let reply = case.refused()?;
    Some(if looks::speaks_of_upstream(reply.status) {
        let fits = beside_a_healthy_hop(looks::by_shape(reply.status, case.waited()), tls);
        Blame::any_of(Link::Upstream, Likely, &fits).side(Side::Gateway)
    } else {
        Blame::on(Link::Front, Likely, looks::by_itself(reply.status))
    })
}

/// A page that may be about the gateway's own ways, too, is not sure to be about what stands behind it.
fn surely(said: &[Reason]) -> Certainty {
    if said.iter().all(|reason| reason.family() == "upstream") {
        Certain
    } else {
        Likely
    }
}

pub(super) fn gateway_speaks_of_upstream(case: &Case<'_>) -> Option<Blame> {
    let Some(Recognised::Own(name, Means::Upstream(reasons))) = case.recognised else {
        return None;
    };
    let blame = Blame::any_of(Link::Upstream, surely(reasons), reasons).answered_by(name);
    // What is silent to the gateway and to us alike is silent to everybody.
    let silent_to_us = case.hops.first().is_some_and(Hopped::is_silent);
    let silent_alike = silent_to_us && reasons.contains(&Reason::UpstreamConnectionTimeout);
    Some(if silent_alike { blame.side(Side::Origin) } else { blame })
}

pub(super) fn page_of_many(case: &Case<'_>) -> Option<Blame> {
    let Recognised::Perhaps(name, means) = case.recognised? else {
        return None;
    };
    let blame = match means {
        Means::Upstream(reasons) => Blame::any_of(Link::Upstream, Likely, reasons),
        Means::Front(reason) => Blame::on(Link::Front, Likely, reason),
        Means::Origin => Blame::on(Link::Origin, Likely, Reason::OriginStatus),
    };
    Some(blame.answered_by(name))
}

pub(super) fn plain_text_to_tls(case: &Case<'_>) -> Option<Blame> {
    let says = case.refused().is_some_and(looks::wants_tls);
    let beside = case.facts.beside;
    let speaks = case.broke()
        && beside
            .and_then(|beside| beside.handshake.as_ref())
            .is_some_and(shook_hands);
    let refusal = || beside?.reference.as_ref()?.final_reply();
    let behind = case.report.last_leg().is_some_and(|leg| leg.wants_tls)
        || refusal().is_some_and(|refusal| !looks::wants_tls(refusal) && refusal.status == 400);
    match (says || speaks, behind) {
        (false, _) => None,
        (true, true) => Some(Blame::on(Link::Upstream, Likely, Reason::UpstreamTlsExpected)),
        (true, false) => Some(Blame::on(Link::Tls, Likely, Reason::TlsExpected)),
    }
}

pub(super) fn gateway_relays(case: &Case<'_>) -> Option<Blame> {
    match case.recognised? {
        Recognised::Through(name) | Recognised::Own(name, Means::Origin) => {
            Some(Blame::on(Link::Origin, Likely, Reason::OriginStatus).answered_by(name))
        }
        Recognised::Own(..) | Recognised::Perhaps(..) => None,
    }
}

/// The edge made the answer, whoever it is.
pub(super) fn by_the_edge(case: &Case<'_>, it_did: bool) -> Option<Blame> {
    let reply = case.refused().filter(|_| it_did)?;
    Some(if looks::speaks_of_upstream(reply.status) {
        Blame::any_of(Link::Upstream, Likely, looks::by_shape(reply.status, case.waited()))
    } else {
        Blame::on(Link::Front, Likely, looks::by_itself(reply.status))
    })
}

pub(super) fn good_but_empty(case: &Case<'_>) -> Option<Blame> {
    let hop = case.next_is_healthy()?.drilled.report.final_reply()?;
    let front = case
        .report
        .final_reply()
        .filter(|reply| reply.status == 200 && reply.body_length == 0)?;
    let known_by = |name: &&http::HeaderName| !["date", "connection", "content-length"].contains(&name.as_str());
    let missing = hop.headers.keys().filter(known_by).all(|name| {
        let same = |value| hop.headers.get(name) == Some(value);
        !front.headers.get(name).is_some_and(same)
    });
    let empty = hop.status == 200 && hop.body_length > 0 && missing;
    empty.then(|| Blame::on(Link::Front, Likely, Reason::FrontNotFound))
}
