//! What the machines behind the front say when they are asked directly, beside what the front answered.

use super::case::{Case, Hopped, State, beside_a_healthy_hop, of_upstream};
use super::{Blame, looks};
use crate::chain::Link;
use crate::gateways::{Means, Recognised, own_reason};
use crate::reason::Reason;
use crate::report::Reply;
use crate::verdict::{Certainty, Side};

use Certainty::{Certain, Likely};

pub(super) fn hop_broken(case: &Case<'_>) -> Option<Blame> {
    let (hop, _) = case.innermost_failing()?;
    let State::Broken(reason) = hop.state else {
        return None;
    };
    if !explains(case) {
        return None;
    }
    // A gateway may trust other authorities than we do; and where it names a failure of its own, both may be broken.
    let of_itself = matches!(case.recognised, Some(Recognised::Own(own)) if matches!(own.means, Means::Front(_)));
    let certainty = match case.refused() {
        _ if reason == Reason::UpstreamTlsCertificateError || of_itself => Likely,
        Some(reply) if !speaks_of_it(case, reply) => Likely,
        _ => Certain,
    };
    Some(Blame::on(Link::Upstream, certainty, reason).side(Side::Origin))
}

/// Whether an answer speaks of what stands behind the front, and can mean neither a limit of the front nor a page of the
/// application: a machine that a firewall closes to us alone looks broken, too.
fn speaks_of_it(case: &Case<'_>, reply: &Reply) -> bool {
    match of_upstream(case.recognised) {
        Some((reasons, _)) => !reasons.contains(&Reason::FrontOverloaded),
        None => looks::speaks_of_upstream(reply.status) && looks::is_bare(reply),
    }
}

/// Whether a broken machine behind the front can be why the front answers so. A front that refuses by itself would
/// refuse whatever stands behind it, and an answer that came through shows that somebody there answered: a machine that
/// is closed to us alone looks broken, too.
fn explains(case: &Case<'_>) -> bool {
    if case.demands_client_cert() || case.came_through() {
        return false;
    }
    case.refused().is_none_or(|reply| {
        let of_upstream = of_upstream(case.recognised).is_some();
        let loops =
            matches!(case.recognised, Some(Recognised::Own(own)) if own.means == Means::Front(Reason::FrontLoop));
        of_upstream || looks::wants_tls(reply) || (reply.status >= 500 && !loops)
    })
}

/// Only what no gateway would take: an answer that came late, a certificate of another authority, or a refusal that may
/// be meant for us alone, says nothing beside a good answer. Even so a firewall may refuse us alone.
pub(super) fn good_before_broken_hop(case: &Case<'_>) -> Option<Blame> {
    let (hop, _) = case.innermost_failing()?;
    let report = &hop.drilled.report;
    let late = report.fault.as_ref().is_some_and(|fault| fault.at_deadline);
    let of_tls = |reason: Reason| reason.as_str().starts_with("upstream.tls");
    let blame = match hop.state {
        State::Broken(reason) if !late && !of_tls(reason) => hop_broken(case),
        State::Refuses if report.final_reply().is_some_and(|reply| reply.status >= 500) => hop_answers_alike(case),
        _ => None,
    }?;
    Some(Blame {
        certainty: Likely,
        ..blame
    })
}

pub(super) fn hop_answers_alike(case: &Case<'_>) -> Option<Blame> {
    let Some((hop, healthy_behind)) = case.innermost_failing() else {
        return stranger_answers_alike(case);
    };
    let reply = hop.drilled.report.final_reply()?;
    if hop.state != State::Refuses {
        return None;
    }
    let alike = |front: &Reply| front.status == reply.status || (front.status >= 500 && reply.status >= 500);
    if case.refused().is_some_and(|front| !alike(front)) {
        return None;
    }
    let behind = |reasons: &[Reason], certainty| {
        if healthy_behind {
            let next = case.hops.iter().find(|hop| hop.state == State::Healthy);
            let tls = next.is_some_and(|next| next.drilled.hop.tls);
            Blame::any_of(Link::Upstream, certainty, &beside_a_healthy_hop(reasons, tls)).side(Side::Gateway)
        } else {
            Blame::any_of(Link::Upstream, certainty, reasons).side(Side::Origin)
        }
    };
    let by = match hop.recognised {
        Some(Recognised::Own(own)) => Some(own.by),
        _ => None,
    };
    Some(match (of_upstream(hop.recognised), by) {
        (Some((reasons, sure)), Some(by)) => behind(reasons, if sure { Certain } else { Likely }).answered_by(by),
        _ if healthy_behind => behind(looks::by_shape(reply.status, hop.waited()), Likely),
        _ => Blame::on(Link::Origin, surely_its_own(case, hop, reply), Reason::OriginStatus),
    })
}

/// That the machine made the answer which the front gave is sure where both say the same in words of their own, which no
/// gateway uses of what stands behind it.
fn surely_its_own(case: &Case<'_>, hop: &Hopped<'_>, reply: &Reply) -> Certainty {
    let same = case.refused().is_some_and(|front| looks::same_answer(front, reply));
    let speaks_of_others = looks::speaks_of_upstream(reply.status) && !looks::is_custom(reply);
    let known =
        |recognised: Option<Recognised>| matches!(recognised, Some(Recognised::Own(_) | Recognised::Perhaps(..)));
    if same && !speaks_of_others && !known(hop.recognised) && !known(case.recognised) {
        Certain
    } else {
        Likely
    }
}

/// A refusal that strangers get says something only where the front gives the very same.
fn stranger_answers_alike(case: &Case<'_>) -> Option<Blame> {
    let hop = case.hops.iter().find(|hop| hop.state == State::Stranger)?;
    let reply = hop.drilled.report.final_reply()?;
    let front = case
        .refused()
        .filter(|_| !matches!(case.recognised, Some(Recognised::Own(_))))?;
    looks::same_answer(front, reply).then(|| Blame::on(Link::Origin, Likely, Reason::OriginStatus))
}

pub(super) fn hop_healthy(case: &Case<'_>) -> Option<Blame> {
    let hop = case.next_is_healthy()?;
    let tls = hop.drilled.hop.tls;
    if let Some((said, sure)) = of_upstream(case.recognised) {
        if hop.head_size() >= looks::LARGE_HEAD && said.contains(&Reason::UpstreamHttpResponseHeaderSectionSize) {
            let size = Reason::UpstreamHttpResponseHeaderSectionSize;
            return Some(Blame::on(Link::Upstream, Likely, size).side(Side::Origin));
        }
        let certainty = if sure { Certain } else { Likely };
        let patience = case.waited() >= looks::STALLED && said.contains(&Reason::UpstreamHttpResponseTimeout);
        if patience && hop.answered_after() > case.waited() {
            // The gateway's patience is shorter than what stands behind it needs.
            let late = Reason::UpstreamHttpResponseTimeout;
            return Some(Blame::on(Link::Upstream, certainty, late).side(Side::Origin));
        }
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
        Blame::on(Link::Front, Likely, own_reason(reply.status))
    })
}
