//! What the answer itself says of who made it.

use super::case::{Case, Hopped, of_upstream, shook_hands};
use super::{Blame, looks};
use crate::chain::Link;
use crate::gateways::{Kind, Means, Own, Recognised, own_reason};
use crate::reason::Reason;
use crate::verdict::{Certainty, Side};

use Certainty::{Certain, Likely};

/// The module's own proxy answers a request for an http target itself where it does not pass it on: as it answers CONNECT
/// for an https target.
pub(super) fn own_proxy_answers(case: &Case<'_>) -> Option<Blame> {
    let reply = case.of_own_proxy()?;
    let names_target = || {
        let body = String::from_utf8_lossy(&reply.body_start).to_ascii_lowercase();
        case.host()
            .is_some_and(|host| body.contains(&host.to_ascii_lowercase()))
    };
    // Each that passes an answer on writes itself into this field.
    let alone = reply.headers.get_all("via").iter().count() <= 1;
    let own = match case.recognised {
        Some(Recognised::Own(own)) => Some(own),
        _ => None,
    };
    let is_its_own = own.filter(|own| {
        let of_such = own.kind == Kind::Forward || own.by == "squid";
        (of_such && alone) || (matches!(own.means, Means::Upstream(_)) && names_target())
    });
    match is_its_own.map(|own| own.means) {
        _ if reply.status == 407 => Some(Blame::on(Link::Local, Likely, Reason::ProxyRefused)),
        Some(Means::Front(_)) => Some(Blame::on(Link::Local, Likely, Reason::ProxyRefused)),
        Some(Means::Upstream(_)) => Some(Blame::on(Link::Path, Likely, Reason::ProxyNoWay)),
        Some(Means::Origin) | None => None,
    }
}

/// The front made the page for sure where such a product stands nowhere else, or where what stands next behind it is
/// healthy and never makes such a page.
pub(super) fn gateway_speaks_of_itself(case: &Case<'_>) -> Option<Blame> {
    let Recognised::Own(own) = case.recognised? else {
        return None;
    };
    let Means::Front(reason) = own.means else { return None };
    let alone = match own.kind {
        Kind::Edge => true,
        Kind::Gateway => case.next_is_healthy().is_some(),
        Kind::Server | Kind::Forward => false,
    };
    let certainty = if own.sure && alone && !case.has_usual_marks() {
        Certain
    } else {
        Likely
    };
    Some(Blame::on(Link::Front, certainty, reason).answered_by(own.by))
}

pub(super) fn gateway_speaks_of_upstream(case: &Case<'_>) -> Option<Blame> {
    let Recognised::Own(own) = case.recognised? else {
        return None;
    };
    let (reasons, sure) = of_upstream(case.recognised)?;
    let certainty = if sure { Certain } else { Likely };
    let blame = Blame::any_of(Link::Upstream, certainty, reasons).answered_by(own.by);
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
    let name = match case.recognised? {
        Recognised::Through(name) => name,
        Recognised::Own(Own {
            by,
            means: Means::Origin,
            ..
        }) => by,
        Recognised::Own(_) | Recognised::Perhaps(..) => return None,
    };
    Some(Blame::on(Link::Origin, Likely, Reason::OriginStatus).answered_by(name))
}

/// Marks of the application on a page that no gateway makes: what stands behind may be healthy now, it was this once not.
pub(super) fn usual_marks(case: &Case<'_>) -> Option<Blame> {
    let reply = case.refused()?;
    let good = case.next_is_healthy().and_then(|hop| hop.drilled.report.final_reply());
    let shares = || good.is_some_and(|good| looks::has_marks_of(reply, good));
    let by_gateway = matches!(case.recognised, Some(Recognised::Own(_)));
    let speaks = !by_gateway && (case.has_usual_marks() || shares());
    speaks.then(|| Blame::on(Link::Origin, Likely, Reason::OriginStatus))
}

/// The edge made the answer, whoever it is.
pub(super) fn by_the_edge(case: &Case<'_>, it_did: bool) -> Option<Blame> {
    let reply = case.refused().filter(|_| it_did)?;
    Some(if looks::speaks_of_upstream(reply.status) {
        Blame::any_of(Link::Upstream, Likely, looks::by_shape(reply.status, case.waited()))
    } else {
        Blame::on(Link::Front, Likely, own_reason(reply.status))
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
