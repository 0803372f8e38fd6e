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

/// What a good answer hides. The first rule that speaks decides.
pub const MASKS: &[AttributionRule] = &[
    AttributionRule {
        id: RuleId::SuccessFromCaptivePortal,
        when: "The answer is good, and a name that cannot exist resolves: it may be anybody's: `local`, masked.",
        blind: "",
        applies: captive_portal,
    },
    AttributionRule {
        id: RuleId::SuccessWithBrokenBackend,
        when: "The answer is good, and a machine behind the edge is not when asked directly: a cache answers, or the \
               gateway made a good answer of a broken one: `upstream` or `origin`, masked.",
        blind: "A machine that lets in only its own gateway looks dead to us. Certificates do not count here (a gateway may trust \
                others than we do), nor what came late, nor a refusal below 500. Never more than likely: a firewall may \
                refuse us alone.",
        applies: success_with_broken_backend,
    },
    AttributionRule {
        id: RuleId::RepairedUpstreamResponse,
        when: "The answer is good, and the gateway says that it made it of something that was not, or the body begins like \
               another protocol (SSH, SMTP, another HTTP head): `upstream`, masked.",
        blind: "Of most broken answers that a gateway makes good nothing is left to see: that takes backends.",
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
        when: "The answer is good, and more bytes came than its length says, here or from the machine behind: `origin`, \
               masked.",
        blind: "What comes after the answer was read is not seen.",
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
            // A gateway may have written too much itself.
            overrun.then(|| Attribution::on(Link::Origin, Likely, Reason::HttpExcessBody))
        },
    },
    AttributionRule {
        id: RuleId::SuccessWithLargeHeader,
        when: "The answer is good, and its header fields are over 64 KiB: most gateways and many clients refuse them: \
               `upstream` behind a known gateway, else `edge`; masked.",
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
        when: "The answer is good and empty, and the machine behind the edge, asked directly, has one with a body and \
               other fields: the edge knows no way to it: `edge`, masked.",
        blind: "Needs backends.",
        applies: success_with_empty_body,
    },
];
