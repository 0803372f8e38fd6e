//! Conditions that examine the failed response itself: its page and header fields may identify the author.

use super::case::{AskedBackend, Case, of_upstream, shook_hands, with_answer};
use super::{Attribution, heuristics};
use crate::chain::Link;
use crate::gateways::{GatewayKind, Meaning, OwnResponse, Recognised, nearest, own_reason};
use crate::investigation::Investigation;
use crate::reason::Reason;
use crate::verdict::{Certainty, Side};

use Certainty::{Certain, Likely};

/// `Certain` only if the product runs at the edge exclusively. For other products, an unrecognisable gateway may be in
/// front, or the page may come from a proxy of the same product next to the application, which a direct request to the
/// application bypasses.
pub(super) fn gateway_own_error(case: &Case<'_>) -> Option<Attribution> {
    let Recognised::Own(own) = case.recognised? else {
        return None;
    };
    let Meaning::Itself(reason) = own.meaning else {
        return None;
    };
    let is_certain =
        own.sure && own.kind == GatewayKind::Edge && !case.has_baseline_headers() && !stands_behind(case, own.by);
    let certainty = if is_certain { Certain } else { Likely };
    Some(Attribution::on(Link::Edge, certainty, reason).answered_by(own.by))
}

/// Whether the product may be behind the edge: a backend shows the same product or returns the same response to a
/// direct request.
fn stands_behind(case: &Case<'_>, product: Option<&str>) -> bool {
    case.backends.iter().any(|backend| {
        let exchange = backend.direct.report.last_exchange();
        let shows = exchange.is_some_and(|exchange| with_answer(exchange, nearest) == product);
        let alike = backend.direct.report.final_reply().zip(case.refused());
        shows || alike.is_some_and(|(reply, edge)| heuristics::same_answer(edge, reply))
    })
}

pub(super) fn gateway_upstream_error(case: &Case<'_>) -> Option<Attribution> {
    let Recognised::Own(own) = case.recognised? else {
        return None;
    };
    let (reasons, sure) = of_upstream(case.recognised)?;
    // The module's own proxy may be the same product and may be unable to reach the target.
    let may_be_of_own_proxy = case.of_own_proxy().is_some();
    let certainty = if sure && !may_be_of_own_proxy { Certain } else { Likely };
    let attribution = Attribution::any_of(Link::Upstream, certainty, reasons).answered_by(own.by);
    // A backend that is silent for both the gateway and the exporter is silent for all clients.
    let silent_to_us = case.backends.first().is_some_and(AskedBackend::is_silent);
    let silent_alike = silent_to_us && reasons.contains(&Reason::UpstreamConnectionTimeout);
    Some(if silent_alike {
        attribution.side(Side::Origin)
    } else {
        attribution
    })
}

pub(super) fn generic_error_page(case: &Case<'_>) -> Option<Attribution> {
    let Recognised::Perhaps(name, meaning) = case.recognised? else {
        return None;
    };
    let attribution = match meaning {
        Meaning::Upstream(reasons) => Attribution::any_of(Link::Upstream, Likely, reasons),
        Meaning::Itself(reason) => Attribution::on(Link::Edge, Likely, reason),
        Meaning::Origin => Attribution::on(Link::Origin, Likely, Reason::OriginStatus),
    };
    Some(attribution.answered_by(Some(name)))
}

pub(super) fn plaintext_to_tls_port(case: &Case<'_>) -> Option<Attribution> {
    let says = case.refused().is_some_and(heuristics::wants_tls);
    let diagnostics = case.facts.diagnostics;
    let applies = case.broke() && diagnostics.and_then(Investigation::handshake).is_some_and(shook_hands);
    let refusal = || diagnostics?.reference()?.final_reply();
    let behind = case.report.last_exchange().is_some_and(|exchange| exchange.wants_tls)
        || refusal().is_some_and(|refusal| !heuristics::wants_tls(refusal) && refusal.status == 400);
    match (says || applies, behind) {
        (false, _) => None,
        (true, true) => Some(Attribution::on(Link::Upstream, Likely, Reason::UpstreamTlsRequired)),
        (true, false) => Some(Attribution::on(Link::Tls, Likely, Reason::TlsRequired)),
    }
}

pub(super) fn gateway_relayed_response(case: &Case<'_>) -> Option<Attribution> {
    let name = match case.recognised? {
        Recognised::Through(name) => name,
        Recognised::Own(OwnResponse {
            by,
            meaning: Meaning::Origin,
            ..
        }) => by,
        Recognised::Own(_) | Recognised::Perhaps(..) => return None,
    };
    Some(Attribution::on(Link::Origin, Likely, Reason::OriginStatus).answered_by(name))
}

/// The error page contains the application's header fields, or is a typical exception page, and no known gateway
/// generates it. The application may have recovered since the edge forwarded the request.
pub(super) fn baseline_headers_present(case: &Case<'_>) -> Option<Attribution> {
    let reply = case.refused()?;
    let good = case
        .next_is_healthy()
        .and_then(|backend| backend.direct.report.final_reply());
    let shares = || {
        good.is_some_and(|good| heuristics::has_marks_of(reply, good) || heuristics::is_an_applications_failure(reply))
    };
    let by_gateway = matches!(case.recognised, Some(Recognised::Own(_)));
    let applies = !by_gateway && (case.has_baseline_headers() || shares());
    applies.then(|| Attribution::on(Link::Origin, Likely, Reason::OriginStatus))
}

/// Attributes a response that the edge generated, independent of its product.
pub(super) fn by_the_edge(case: &Case<'_>, it_did: bool) -> Option<Attribution> {
    let reply = case.refused().filter(|_| it_did)?;
    Some(if heuristics::speaks_of_upstream(reply.status) {
        Attribution::any_of(
            Link::Upstream,
            Likely,
            heuristics::by_shape(reply.status, case.waited()),
        )
    } else {
        Attribution::on(Link::Edge, Likely, own_reason(reply.status))
    })
}

pub(super) fn success_with_empty_body(case: &Case<'_>) -> Option<Attribution> {
    let backend = case.next_is_healthy()?.direct.report.final_reply()?;
    let edge = case
        .report
        .final_reply()
        .filter(|reply| reply.status == 200 && reply.body_length == 0)?;
    let known_by = |name: &&http::HeaderName| !["date", "connection", "content-length"].contains(&name.as_str());
    let missing = backend.headers.keys().filter(known_by).all(|name| {
        let same = |value| backend.headers.get(name) == Some(value);
        !edge.headers.get(name).is_some_and(same)
    });
    let empty = backend.status == 200 && backend.body_length > 0 && missing;
    empty.then(|| Attribution::on(Link::Edge, Likely, Reason::EdgeNotFound))
}
