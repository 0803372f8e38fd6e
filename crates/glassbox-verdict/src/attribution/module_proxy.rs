//! Conditions for probes through the module's own proxy: whether the proxy, or its route to the target, failed.

use super::Attribution;
use super::case::{AskedBackend, BackendState, Case};
use crate::chain::{Link, Stage};
use crate::gateways::{GatewayKind, Meaning, OwnResponse, Recognised};
use crate::reason::{Reason, ReasonFamily};
use crate::verdict::Certainty;

use Certainty::{Certain, Likely};

/// The proxy was unreachable, opened no tunnel, or sent nothing in response to a request that it had to forward.
pub(super) fn module_proxy_failed(case: &Case<'_>) -> Option<Attribution> {
    if gave_nothing(case) {
        return Some(Attribution::on(Link::Local, Likely, Reason::ProxyFailed));
    }
    let certainty = if case.family(ReasonFamily::Proxy) {
        Likely
    } else {
        Certain
    };
    case.attribute_if(case.report.failed_at_proxy(), Link::Local, certainty)
}

/// A working proxy responds even if the target does not, unless it waits for the target. A silent backend, or a proxy
/// that rejects the reference request, therefore exonerates the proxy.
fn gave_nothing(case: &Case<'_>) -> bool {
    let nothing = case.report.last_exchange().is_some_and(|exchange| {
        exchange.is_relayed()
            && !exchange.for_credentials
            && exchange.reply.is_none()
            && exchange.wire.excerpt.is_empty()
    });
    let ended = [Stage::Send, Stage::Wait, Stage::Receive]
        .iter()
        .any(|stage| case.stage(*stage));
    let closed = case.gave_nothing();
    let silent = case.reason(Reason::HttpTimedOutWaiting) || case.reason(Reason::TcpNoResponse);
    let hangs = |backend: &AskedBackend<'_>| {
        matches!(
            backend.state,
            BackendState::Slow | BackendState::Broken(Reason::UpstreamHttpResponseTimeout)
        )
    };
    let target_is_silent = case.edge_lives
        || case
            .backends
            .iter()
            .any(|backend| backend.is_silent() || hangs(backend));
    nothing && ended && (closed || (silent && !target_is_silent))
}

/// For an http target, the module's proxy sends its own response if it does not forward the request. For an https
/// target, it does the same in response to CONNECT.
pub(super) fn module_proxy_response(case: &Case<'_>) -> Option<Attribution> {
    let reply = case.of_own_proxy()?;
    let names_target = || {
        let body = String::from_utf8_lossy(&reply.body_start).to_ascii_lowercase();
        case.host()
            .is_some_and(|host| body.contains(&host.to_ascii_lowercase()))
    };
    // Every proxy that forwards a response adds its own entry to this field.
    let passed_on = reply.headers.get_all("via").iter().count();
    let own = match case.recognised {
        Some(Recognised::Own(own)) => Some(own),
        _ => None,
    };
    let is_its_own = own.filter(|own| {
        (own.forward && passed_on <= 1) || (matches!(own.meaning, Meaning::Upstream(_)) && names_target())
    });
    match is_its_own.map(|own| own.meaning) {
        _ if reply.status == 407 => Some(Attribution::on(Link::Local, Likely, Reason::ProxyRefused)),
        Some(Meaning::Itself(_)) => Some(Attribution::on(Link::Local, Likely, Reason::ProxyRefused)),
        Some(Meaning::Upstream(_)) => Some(Attribution::on(Link::Network, Likely, Reason::ProxyTargetUnreachable)),
        Some(Meaning::Origin) | None if passed_on == 0 && is_a_refusal(case) => {
            Some(Attribution::on(Link::Local, Likely, Reason::ProxyRefused))
        }
        Some(Meaning::Origin) | None => None,
    }
}

/// Whether a product that may serve as a forward proxy (an egress mesh, Apache, nginx) refuses the request by policy.
/// Excludes CDNs, which are not forward proxies, and responses with the target's baseline headers, which come from the
/// target.
fn is_a_refusal(case: &Case<'_>) -> bool {
    let refuses = match case.recognised {
        Some(Recognised::Own(OwnResponse { kind, meaning, .. })) => {
            kind != GatewayKind::Edge && matches!(meaning, Meaning::Itself(Reason::EdgeDenied))
        }
        Some(Recognised::Perhaps(_, meaning)) => matches!(meaning, Meaning::Itself(Reason::EdgeDenied)),
        Some(Recognised::Through(_)) | None => false,
    };
    refuses && case.refused().is_some_and(|reply| reply.status == 403) && !case.has_baseline_headers()
}
