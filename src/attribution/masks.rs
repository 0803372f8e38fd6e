//! The decision table for good answers: which broken link they hide.

use super::behind::good_before_broken_hop;
use super::case::with_answer;
use super::pages::good_but_empty;
use super::speaks::captive_portal;
use super::{Blame, Rule, looks};
use crate::chain::Link;
use crate::gateways::laundered;
use crate::reason::Reason;
use crate::verdict::Certainty::{Certain, Likely};

/// What a good answer hides. The first rule that speaks decides.
pub const MASKS: &[Rule] = &[
    Rule {
        name: "good-from-captive-portal",
        when: "The answer is good, and a name that cannot exist resolves: it may be anybody's: `local`, masked.",
        blind: "",
        speaks: captive_portal,
    },
    Rule {
        name: "good-before-broken-hop",
        when: "The answer is good, and a machine behind the front is not when asked directly: a cache answers, or the \
               gateway made a good answer of a broken one: `upstream` or `origin`, masked.",
        blind: "A machine that lets in only its own gateway looks dead to us. Certificates do not count here (a gateway may trust \
                others than we do), nor what came late, nor a refusal below 500. Never more than likely: a firewall may \
                refuse us alone.",
        speaks: good_before_broken_hop,
    },
    Rule {
        name: "good-made-of-broken",
        when: "The answer is good, and the gateway says that it made it of something that was not, or the body begins like \
               another protocol (SSH, SMTP, another HTTP head): `upstream`, masked.",
        blind: "Of most broken answers that a gateway makes good nothing is left to see: that takes hops.",
        speaks: |case| {
            let leg = case.report.last_leg()?;
            let wrapped = looks::wraps_another_protocol(leg)
                .then(|| Blame::on(Link::Upstream, Likely, Reason::UpstreamHttpProtocolError));
            let says = with_answer(leg, laundered);
            says.map(|(name, reason)| Blame::on(Link::Upstream, Certain, reason).answered_by(name))
                .or(wrapped)
        },
    },
    Rule {
        name: "good-but-overrun",
        when: "The answer is good, and more bytes came than its length says, here or from the machine behind: `origin`, \
               masked.",
        blind: "What comes after the answer was read is not seen.",
        speaks: |case| {
            let at_hop = case.hops.iter().filter_map(|hop| hop.drilled.report.final_reply());
            let overrun = case
                .report
                .final_reply()
                .into_iter()
                .chain(at_hop)
                .any(|reply| reply.overrun);
            // A gateway may have written too much itself.
            overrun.then(|| Blame::on(Link::Origin, Likely, Reason::HttpOverrun))
        },
    },
    Rule {
        name: "good-but-huge-head",
        when: "The answer is good, and its header fields are over 64 KiB: most gateways and many clients refuse them: \
               `upstream` behind a known gateway, else `front`; masked.",
        blind: "",
        speaks: |case| {
            case.report
                .final_reply()
                .filter(|reply| reply.head_size >= looks::HUGE_HEAD)?;
            Some(match case.gateway() {
                Some(_) => Blame::on(Link::Upstream, Likely, Reason::UpstreamHttpResponseHeaderSectionSize),
                None => Blame::on(Link::Front, Likely, Reason::HttpResponseHeaderTooLarge),
            })
        },
    },
    Rule {
        name: "good-but-empty",
        when: "The answer is good and empty, and the machine behind the front, asked directly, has one with a body and \
               other fields: the front knows no way to it: `front`, masked.",
        blind: "Needs hops.",
        speaks: good_but_empty,
    },
];
