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
        when: "The response succeeded, but a name that cannot exist resolves, so any machine may have sent it: \
               `local`, masked.",
        blind: "",
        applies: captive_portal,
    },
    AttributionRule {
        id: RuleId::SuccessWithBrokenBackend,
        when: "The response succeeded, but a direct request to a machine behind the edge failed. A cache responded, \
               or the gateway turned a failed response into a successful one: `upstream` or `origin`, masked.",
        blind: "A machine that accepts only its own gateway looks dead to the exporter. Certificates (a gateway may \
                trust other authorities than the exporter), late responses and refusals below 500 do not count. \
                Never more than likely: a firewall may reject only the exporter.",
        applies: success_with_broken_backend,
    },
    AttributionRule {
        id: RuleId::RepairedUpstreamResponse,
        when: "The response succeeded, and the gateway reports that it repaired a broken one, or the body begins \
               like another protocol (SSH, SMTP, another HTTP header): `upstream`, masked.",
        blind: "Most repaired responses show no trace of the fault. Backends are required to detect it.",
        applies: |case| {
            let exchange = case.report.last_exchange()?;
            let wrapped = heuristics::wraps_another_protocol(exchange)
                .then(|| Attribution::on(Link::Upstream, Likely, Reason::UpstreamHttpProtocolError));
            let says = with_answer(exchange, laundered);
            says.map(|(name, reason)| Attribution::on(Link::Upstream, Certain, reason).answered_by(name))
                .or(wrapped)
        },
    },
    AttributionRule {
        id: RuleId::SuccessWithExcessBody,
        when: "The response succeeded, but the edge or a backend sent more bytes than its length declares: \
               `origin`, masked.",
        blind: "Bytes that arrive after the response was read are not detected.",
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
        when: "The response succeeded, but its header fields exceed 64 KiB, which most gateways and many clients \
               reject: `upstream` behind a known gateway, else `edge`; masked.",
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
        when: "The response succeeded and is empty, but the machine behind the edge returns a body and other fields \
               when asked directly, so the edge has no route to it: `edge`, masked.",
        blind: "Requires backends.",
        applies: success_with_empty_body,
    },
];
