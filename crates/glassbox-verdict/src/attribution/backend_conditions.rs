//! Conditions of the decision tables that compare the failed response with the backends' responses to direct
//! requests.

use super::asked_backend::was_cut_short;
use super::case::{AskedBackend, BackendState, Case, of_upstream, with_a_healthy_backend, with_answer};
use super::{Attribution, MOST_REASONS, heuristics};
use crate::chain::Link;
use crate::gateways::{Meaning, OwnResponse, Recognised, head_limit, nearest, own_reason};
use crate::reason::{Reason, ReasonFamily};
use crate::report::{Reply, Report};
use crate::verdict::{Certainty, Side};

use Certainty::{Certain, Likely};

/// The two machines between which the exchange fails, if the side is known. It fails between the last machine that fails
/// and the first one that is healthy.
pub(super) fn between(case: &Case<'_>, side: Option<Side>) -> Option<[String; 2]> {
    side?;
    let (outer, inner) = match case.innermost_failing() {
        Some((failing, healthy)) => match (failing.state, healthy) {
            // A machine that cannot be reached does not get as far as the next one.
            (BackendState::Broken(reason), _) if is_before_the_exchange(reason) => (case.in_front_of(failing), failing),
            (_, Some(healthy)) => (Some(failing.name()), healthy),
            (BackendState::Broken(_), None) => (case.in_front_of(failing), failing),
            (_, None) => return None,
        },
        None => (None, case.next_is_healthy()?),
    };
    Some([outer.unwrap_or("edge").to_owned(), inner.name().to_owned()])
}

/// Whether the failure precedes the request, so that the backend cannot have failed because of its own backend.
const fn is_before_the_exchange(reason: Reason) -> bool {
    reason.is_tls_behind_a_gateway()
        || matches!(
            reason,
            Reason::UpstreamConnectionRefused
                | Reason::UpstreamConnectionTimeout
                | Reason::UpstreamDestinationIpUnroutable
                | Reason::UpstreamTlsRequired
        )
}

pub(super) fn backend_broken(case: &Case<'_>) -> Option<Attribution> {
    let (backend, healthy) = case.innermost_failing()?;
    let BackendState::Broken(reason) = backend.state else {
        return None;
    };
    if !explains(case) {
        return None;
    }
    if disagrees(case).is_some() {
        // The gateway's observation comes first: it concerns the request that failed.
        let met = case.can_mean.iter().take(MOST_REASONS - 1).copied();
        let reasons: Vec<Reason> = met.chain([reason]).collect();
        return Some(Attribution::any_of(Link::Upstream, Likely, &reasons));
    }
    if let Some(healthy) = healthy.filter(|_| !is_before_the_exchange(reason)) {
        // The backend accepted the request but did not respond, while the next one does.
        let attribution = Attribution::on(Link::Upstream, Likely, reason);
        let is_lasting = case.fails_more_often_than(healthy);
        return Some(if is_lasting {
            attribution.side(Side::Gateway)
        } else {
            attribution
        });
    }
    let is_proven = says_the_same(case, backend, reason) && !depends_on_who_asks(reason);
    let certainty = if is_proven && !backend.fails_sometimes() {
        Certain
    } else {
        Likely
    };
    Some(Attribution::on(Link::Upstream, certainty, reason).side(Side::Origin))
}

/// The failure of the first backend, if the gateway's response excludes it. The machine may have changed since, may
/// treat the exporter differently, or may not be the one that the gateway uses.
pub(super) fn disagrees(case: &Case<'_>) -> Option<Reason> {
    let (backend, _) = case.innermost_failing()?;
    let is_next = case.backends.first().is_some_and(|first| std::ptr::eq(first, backend));
    let BackendState::Broken(met) = backend.state else {
        return None;
    };
    let excluded = !case.can_mean.is_empty() && !case.can_mean.iter().any(|said| may_be_one(*said, met));
    (is_next && excluded).then_some(met)
}

/// Whether a gateway may report the observed failure in this way. Programs differ in how they classify malformed
/// responses and failed handshakes. A gateway that no longer sends requests to a machine does not report why.
fn may_be_one(said: Reason, met: Reason) -> bool {
    use Reason::{
        UpstreamConnectionReadTimeout as ReadTimeout, UpstreamConnectionTerminated as Terminated,
        UpstreamDestinationUnavailable as Unavailable, UpstreamHttpProtocolError as Protocol,
        UpstreamHttpResponseBodySize as BodySize, UpstreamHttpResponseContentCoding as ContentCoding,
        UpstreamHttpResponseHeaderSectionSize as HeaderSize, UpstreamHttpResponseIncomplete as Incomplete,
        UpstreamHttpResponseTimeout as ResponseTimeout, UpstreamHttpResponseTransferCoding as TransferCoding,
        UpstreamTlsAlertReceived as Alert, UpstreamTlsCertificateError as Certificate, UpstreamTlsProtocolError as Tls,
        UpstreamTlsRequired as TlsRequired,
    };
    const OF_THE_ANSWER: &[Reason] = &[
        Terminated,
        Protocol,
        BodySize,
        ContentCoding,
        HeaderSize,
        Incomplete,
        TransferCoding,
        TlsRequired,
    ];
    const OF_TLS: &[Reason] = &[Alert, Certificate, Tls, TlsRequired, Terminated];
    const OF_TIME: &[Reason] = &[ResponseTimeout, ReadTimeout];
    // A backend that expects TLS but receives plain text, or the other way round, may stay silent.
    const MAYBE_SILENT: &[Reason] = &[Tls, TlsRequired, Incomplete];
    let both = |group: &[Reason]| group.contains(&said) && group.contains(&met);
    said == met
        || matches!(said, Unavailable | Reason::UpstreamFailed)
        || [OF_THE_ANSWER, OF_TLS, OF_TIME].into_iter().any(both)
        || (OF_TIME.contains(&said) && MAYBE_SILENT.contains(&met))
}

/// Whether the gateway's own response is proven, matches the result of the direct request, and cannot be caused by a
/// limit of the gateway. A page that has several meanings, or that the configuration can also generate, counts only
/// if the exporter can reach the backend: a firewall that blocks only the exporter also makes the backend look down.
fn says_the_same(case: &Case<'_>, backend: &AskedBackend<'_>, reason: Reason) -> bool {
    let Some(Recognised::Own(own)) = case.recognised else {
        return false;
    };
    let Meaning::Upstream(said) = own.meaning else {
        return false;
    };
    let is_enough = (own.sure && said.len() == 1) || (own.proven && backend.lets_the_exporter_in());
    is_enough
        && !was_cut_short(&backend.direct.report)
        && said.contains(&reason)
        && said.iter().all(|reason| reason.family() == ReasonFamily::Upstream)
}

/// Whether a gateway may succeed where the exporter fails. A gateway may trust other CAs, use other TLS versions or a
/// client certificate, and parse responses that the exporter rejects.
const fn depends_on_who_asks(reason: Reason) -> bool {
    reason.is_tls_behind_a_gateway()
        || matches!(
            reason,
            Reason::UpstreamHttpProtocolError
                | Reason::UpstreamHttpResponseTransferCoding
                | Reason::UpstreamHttpResponseContentCoding
                | Reason::UpstreamHttpResponseHeaderSectionSize
                | Reason::UpstreamHttpResponseBodySize
        )
}

/// Whether a broken backend can explain the edge's response. An edge that itself rejects a request does so
/// regardless of its backends. A relayed response proves that a backend responded. A machine that rejects only the
/// exporter looks broken as well.
fn explains(case: &Case<'_>) -> bool {
    if case.demands_client_cert() || case.came_through() {
        return false;
    }
    case.refused().is_none_or(|reply| {
        let of_upstream = of_upstream(case.recognised).is_some();
        let loops =
            matches!(case.recognised, Some(Recognised::Own(own)) if own.meaning == Meaning::Itself(Reason::EdgeLoop));
        of_upstream || heuristics::wants_tls(reply) || (reply.status >= 500 && !loops)
    })
}

/// Counts only failures that affect every gateway. A late response, a rejected certificate, or a refusal of an unknown
/// client does not contradict the edge's successful response. The verdict is only likely, because a firewall may block
/// only the exporter.
pub(super) fn success_with_broken_backend(case: &Case<'_>) -> Option<Attribution> {
    let (backend, _) = case.innermost_failing()?;
    if backend.fails_sometimes() {
        // The gateway chose a healthy member of the pool.
        return None;
    }
    let report = &backend.direct.report;
    let late = report.fault.as_ref().is_some_and(|fault| fault.at_deadline);
    let of_tls = |reason: Reason| reason.is_tls_behind_a_gateway();
    let attribution = match backend.state {
        BackendState::Broken(reason) if !late && !of_tls(reason) => backend_broken(case),
        BackendState::Refuses if report.final_reply().is_some_and(|reply| reply.status >= 500) => {
            backend_fails_alike(case)
        }
        _ => None,
    }?;
    Some(Attribution {
        certainty: Likely,
        ..attribution
    })
}

pub(super) fn backend_fails_alike(case: &Case<'_>) -> Option<Attribution> {
    let Some((backend, healthy)) = case.innermost_failing() else {
        return stranger_answers_alike(case);
    };
    let reply = backend.direct.report.final_reply()?;
    if backend.state != BackendState::Refuses {
        return None;
    }
    let alike = |edge: &Reply| edge.status == reply.status || (edge.status >= 500 && reply.status >= 500);
    if case.refused().is_some_and(|edge| !alike(edge)) {
        return None;
    }
    // A gateway relays the status of its backend. Its own page for an upstream failure has another cause, unless the
    // backend's response is such a page as well.
    let is_own = matches!(case.recognised, Some(Recognised::Own(_))) && of_upstream(case.recognised).is_some();
    let is_relayed = case.refused().is_some_and(|edge| edge.status == reply.status);
    if is_own && !is_relayed && of_upstream(backend.recognised).is_none() {
        return None;
    }
    let behind = |reasons: &[Reason], certainty| {
        let Some(healthy) = healthy else {
            return Attribution::any_of(Link::Upstream, certainty, reasons).side(Side::Origin);
        };
        if !case.fails_more_often_than(healthy) {
            return Attribution::any_of(Link::Upstream, certainty, reasons);
        }
        let fits = with_a_healthy_backend(reasons, healthy.direct.backend.tls);
        Attribution::any_of(Link::Upstream, certainty, &fits).side(Side::Gateway)
    };
    Some(match (of_upstream(backend.recognised), backend.recognised) {
        (Some((reasons, sure)), Some(Recognised::Own(OwnResponse { by, .. }))) => {
            let is_proven = sure && relays(case, reply) && !backend.fails_sometimes();
            behind(reasons, if is_proven { Certain } else { Likely }).answered_by(by)
        }
        _ if healthy.is_some() => behind(heuristics::by_shape(reply.status, backend.waited()), Likely),
        _ => Attribution::on(Link::Origin, surely_its_own(case, backend, reply), Reason::OriginStatus),
    })
}

/// Whether the edge may have relayed this response: the status is the same, and the text is the same or generic.
fn relays(case: &Case<'_>, reply: &Reply) -> bool {
    case.refused().is_some_and(|edge| {
        edge.status == reply.status && (heuristics::same_answer(edge, reply) || heuristics::is_bare(edge))
    })
}

/// `Certain` if the edge and the backend both return 500 with the same specific text. Gateways generate all other error
/// statuses themselves, for failed backends or refusals. Some also generate 500 (`error_page 502 =500`, or a gateway
/// that is built with a web framework). Therefore neither response may show a gateway or a framework's error page.
fn surely_its_own(case: &Case<'_>, backend: &AskedBackend<'_>, reply: &Reply) -> Certainty {
    let same = case.refused().is_some_and(|edge| heuristics::same_answer(edge, reply));
    let known =
        |recognised: Option<Recognised>| matches!(recognised, Some(Recognised::Own(_) | Recognised::Perhaps(..)));
    let shows_gateway = |report: &Report| {
        let last = report.last_exchange();
        last.is_some_and(|exchange| with_answer(exchange, nearest).is_some())
    };
    let is_the_applications = reply.status == 500
        && !heuristics::is_an_applications_failure(reply)
        && !shows_gateway(case.report)
        && !shows_gateway(&backend.direct.report);
    if same
        && is_the_applications
        && !backend.fails_sometimes()
        && !known(backend.recognised)
        && !known(case.recognised)
    {
        Certain
    } else {
        Likely
    }
}

/// A refusal that unknown clients receive counts only if the edge returns the same status.
fn stranger_answers_alike(case: &Case<'_>) -> Option<Attribution> {
    let backend = case
        .backends
        .iter()
        .find(|backend| backend.state == BackendState::Stranger)?;
    let reply = backend.direct.report.final_reply()?;
    let edge = case
        .refused()
        .filter(|_| !matches!(case.recognised, Some(Recognised::Own(_))))?;
    heuristics::same_answer(edge, reply).then(|| Attribution::on(Link::Origin, Likely, Reason::OriginStatus))
}

/// Header size, in bytes, that the gateway certainly accepts.
fn room_for_a_head(case: &Case<'_>) -> usize {
    let product = match case.recognised {
        Some(Recognised::Own(own)) => own.by,
        _ => None,
    };
    product.and_then(head_limit).unwrap_or(heuristics::LARGE_HEAD)
}

pub(super) fn backend_healthy(case: &Case<'_>) -> Option<Attribution> {
    let backend = case.next_is_healthy()?;
    let tls = backend.direct.backend.tls;
    let is_lasting = case.fails_more_often_than(backend);
    if let Some((said, sure)) = of_upstream(case.recognised) {
        if backend.head_size() > room_for_a_head(case) && said.contains(&Reason::UpstreamHttpResponseHeaderSectionSize)
        {
            let size = Reason::UpstreamHttpResponseHeaderSectionSize;
            return Some(Attribution::on(Link::Upstream, Likely, size).side(Side::Origin));
        }
        let certainty = if sure { Certain } else { Likely };
        let patience = case.waited() >= heuristics::STALLED && said.contains(&Reason::UpstreamHttpResponseTimeout);
        if patience && backend.answered_after() > case.waited() {
            // The gateway's timeout is shorter than the response time of its backend.
            let late = Reason::UpstreamHttpResponseTimeout;
            return Some(Attribution::on(Link::Upstream, certainty, late).side(Side::Origin));
        }
        // Otherwise, only the gateway's own statement counts.
        return is_lasting.then(|| {
            Attribution::any_of(Link::Upstream, certainty, &with_a_healthy_backend(said, tls)).side(Side::Gateway)
        });
    }
    if case.gave_nothing() {
        // Gateways return their own page for upstream failures.
        return Some(Attribution::on(Link::Edge, Likely, Reason::EdgeInternalError));
    }
    if case.broke() {
        let attribution = Attribution::any_of(Link::Upstream, Likely, &case.as_upstream());
        return Some(if is_lasting {
            attribution.side(Side::Gateway)
        } else {
            attribution
        });
    }
    let reply = case.refused()?;
    let shape = heuristics::by_shape(reply.status, case.waited());
    match (heuristics::speaks_of_upstream(reply.status), is_lasting) {
        (true, true) => {
            let fits = with_a_healthy_backend(shape, tls);
            Some(Attribution::any_of(Link::Upstream, Likely, &fits).side(Side::Gateway))
        }
        (true, false) => Some(Attribution::any_of(Link::Upstream, Likely, shape)),
        (false, true) => Some(Attribution::on(Link::Edge, Likely, own_reason(reply.status))),
        // An application that fails intermittently may have recovered before the direct request.
        (false, false) => None,
    }
}
