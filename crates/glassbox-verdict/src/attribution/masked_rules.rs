//! The decision table for successful probes: which broken link a successful response masks.

use super::backend_conditions::success_with_broken_backend;
use super::case::with_answer;
use super::conditions::captive_portal;
use super::response_conditions::success_with_empty_body;
use super::{Attribution, AttributionRule, heuristics};
use crate::chain::Link;
use crate::gateways::laundered;
use crate::reason::Reason;
use crate::rule_id::RuleId;
use crate::verdict::Certainty::{Certain, Likely};

/// Rules for successful probes. The first rule that matches decides.
pub const MASKS: &[AttributionRule] = &[
    AttributionRule {
        id: RuleId::SuccessFromCaptivePortal,
        when: "The response succeeded, but a name that cannot exist resolves to the same address, and no control shows \
               otherwise, so any host may have sent the response: `local`, masked.",
        blind: "",
        applies: captive_portal,
    },
    AttributionRule {
        id: RuleId::SuccessWithBrokenBackend,
        when: "The response succeeded, but a direct request to a backend failed. A cache responded, or the gateway \
               turned a failed response into a successful one: `upstream` or `origin`, masked. Never more than likely, \
               because a firewall may reject only the exporter.",
        blind: "A backend that accepts only its own gateway looks dead to the exporter. Late responses, \
                refusals below 500 and rejected certificates do not count, because a gateway may accept them.",
        applies: success_with_broken_backend,
    },
    AttributionRule {
        id: RuleId::RepairedUpstreamResponse,
        when: "The response succeeded, but the gateway reports that it repaired a broken one, or the body begins like \
               another protocol (SSH, SMTP, another HTTP header): `upstream`, masked.",
        blind: "Most repaired responses show no trace of the fault. Backends are required to detect it.",
        applies: |case| {
            let exchange = case.report.last_exchange()?;
            let wrapped = heuristics::wraps_another_protocol(exchange)
                .then(|| Attribution::on(Link::Upstream, Likely, Reason::UpstreamHttpProtocolError));
            let says = with_answer(exchange, laundered);
            says.map(|(name, reason)| Attribution::on(Link::Upstream, Certain, reason).answered_by(Some(name)))
                .or(wrapped)
        },
    },
    AttributionRule {
        id: RuleId::SuccessWithExcessBody,
        when: "The response succeeded, but the edge or a backend sent more bytes than the Content-Length declares: \
               `origin`, masked.",
        blind: "Bytes that arrive after the exporter has read the response are not detected.",
        applies: |case| {
            let at_backend = case
                .backends
                .iter()
                .filter_map(|backend| backend.direct.report.final_reply());
            let overrun = case
                .report
                .final_reply()
                .into_iter()
                .chain(at_backend)
                .any(|reply| reply.overrun);
            // The gateway itself may have sent the excess bytes.
            overrun.then(|| Attribution::on(Link::Origin, Likely, Reason::HttpExcessBody))
        },
    },
    AttributionRule {
        id: RuleId::SuccessWithLargeHeader,
        when: "The response succeeded, but its header exceeds 64 KiB, which most gateways and many clients reject. \
               Behind a known gateway: `upstream`, masked. Otherwise: `edge`, masked.",
        blind: "",
        applies: |case| {
            case.report
                .final_reply()
                .filter(|reply| reply.head_size >= heuristics::HUGE_HEAD)?;
            Some(match case.gateway() {
                Some(_) => Attribution::on(Link::Upstream, Likely, Reason::UpstreamHttpResponseHeaderSectionSize),
                None => Attribution::on(Link::Edge, Likely, Reason::HttpResponseHeaderTooLarge),
            })
        },
    },
    AttributionRule {
        id: RuleId::SuccessWithEmptyBody,
        when: "The response succeeded but is empty, while the backend, asked directly, returns a body and different \
               fields. The edge has no route to the backend: `edge`, masked.",
        blind: "Requires backends.",
        applies: success_with_empty_body,
    },
];
