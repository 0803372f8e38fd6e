//! The decision table, in order of trust: our own side first, then where the exchange stopped, then what the machines
//! behind the front say when asked directly, then what was answered.

use super::case::{Case, State, beside_a_healthy_hop, of_upstream, shook_hands, with_answer};
use super::{Blame, Rule, looks};
use crate::chain::{Link, Stage};
use crate::gateways::{Means, Recognised, laundered};
use crate::reason::Reason;
use crate::verdict::{Certainty, Side};

use Certainty::{Certain, Likely};

/// The decision table. The first rule that speaks decides.
pub const RULES: &[Rule] = &[
    Rule {
        name: "own-side",
        when: "The reason is one of our own side (a target that is none, a file that cannot be read): `local`.",
        blind: "",
        masked: false,
        speaks: |case| case.blame_if(case.family("local"), Link::Local, Certain),
    },
    Rule {
        name: "captive-portal",
        when: "A name that cannot exist resolves: somebody on our side answers for every name: `local`.",
        blind: "A resolver that answers every name of one suffix only is not seen.",
        masked: false,
        speaks: captive_portal,
    },
    Rule {
        name: "resolver-dead",
        when: "The name did not resolve, and no control's name does: `local`.",
        blind: "Needs `controls` with a name.",
        masked: false,
        speaks: |case| {
            let dead = case.stage(Stage::Resolve) && case.facts.vantage.is_some_and(|vantage| vantage.names_failed());
            dead.then(|| Blame::on(Link::Local, Certain, Reason::LocalResolverUnreachable))
        },
    },
    Rule {
        name: "controls-failed",
        when: "The probe failed at resolve or connect, and so did every control (or, without controls, every other key of \
               this process: then `likely`): `local`.",
        blind: "Needs `controls`, or five names in three networks. A target beyond a cut that the controls are not \
                beyond is not seen.",
        masked: false,
        speaks: controls_failed,
    },
    Rule {
        name: "resolver-silent",
        when: "No name server answered: `dns`.",
        blind: "Without `controls` our own resolver's silence looks the same.",
        masked: false,
        speaks: |case| case.blame_if(case.reason(Reason::DnsTimedOut), Link::Dns, Likely),
    },
    Rule {
        name: "name-not-resolved",
        when: "The exchange stopped at resolve: `dns`.",
        blind: "",
        masked: false,
        speaks: |case| case.blame_if(case.stage(Stage::Resolve), Link::Dns, Certain),
    },
    Rule {
        name: "nothing-listens",
        when: "The connection was refused: the machine is there and nothing listens: `front`.",
        blind: "A firewall that rejects looks the same.",
        masked: false,
        speaks: |case| {
            let refused = case.reason(Reason::TcpRefused) || case.reason(Reason::TcpReset);
            case.blame_if(refused && case.stage(Stage::Connect), Link::Front, Likely)
        },
    },
    Rule {
        name: "connect-silent",
        when: "The connection attempt met silence or no route: `path`.",
        blind: "A machine that is dead, or a firewall that drops, looks the same.",
        masked: false,
        speaks: |case| case.blame_if(case.stage(Stage::Connect), Link::Path, Likely),
    },
    Rule {
        name: "tls-refused",
        when: "The handshake or the certificate failed, or a TLS alert came later: `tls`.",
        blind: "",
        masked: false,
        speaks: |case| case.blame_if(case.stage(Stage::Secure) || case.family("tls"), Link::Tls, Certain),
    },
    Rule {
        name: "content-refused",
        when: "The answer was accepted and its body, headers or version fail an assertion, its size or its coding is not \
               what the module takes: `content`.",
        blind: "",
        masked: false,
        speaks: content_refused,
    },
    Rule {
        name: "redirect-loop",
        when: "The redirects do not end, or lead nowhere: `origin`.",
        blind: "A front that redirects by itself (to https, to a canonical name) can loop with its origin.",
        masked: false,
        speaks: |case| {
            let loops = case.reason(Reason::HttpResponseRedirectLoop) || case.reason(Reason::HttpResponseBadRedirect);
            case.blame_if(loops, Link::Origin, Likely)
        },
    },
    Rule {
        name: "answer-slow",
        when: "The answer is right but later than `fail_if_slower_than`: `origin`; where the machine behind the front is \
               fast when asked directly, `upstream`.",
        blind: "Without hops the front may be what is slow.",
        masked: false,
        speaks: answer_slow,
    },
    Rule {
        name: "hop-broken",
        when: "A machine behind the front, asked directly, refused, broke off, stayed silent after the connection or \
               showed a bad certificate: `upstream`, with exactly that cause, side `origin`.",
        blind: "A machine that lets in only its own gateway looks dead to us: leave it out of `hops`, or let it admit \
                the prober.",
        masked: false,
        speaks: hop_broken,
    },
    Rule {
        name: "hop-answers-alike",
        when: "A machine behind the front, asked directly, answered with a status or a content that the module refuses, \
               too: `origin`; where its answer is a gateway's page for a failure behind it, `upstream`.",
        blind: "A machine that tells us from its gateway (by address, by a header) may answer us otherwise.",
        masked: false,
        speaks: hop_answers_alike,
    },
    Rule {
        name: "gateway-speaks-of-itself",
        when: "A known gateway answered with its own page, or its own field, for a refusal or failure of its own: \
               `front`.",
        blind: "An application behind it that runs on the same product makes the same page.",
        masked: false,
        speaks: gateway_speaks_of_itself,
    },
    Rule {
        name: "hop-healthy",
        when: "The machine behind the front is well when asked directly, and the front is not: `upstream`, side \
               `gateway`; a status that does not speak of what stands behind: `front`.",
        blind: "A fault that comes and goes, or that only some of several machines have, may have passed by.",
        masked: false,
        speaks: hop_healthy,
    },
    Rule {
        name: "gateway-speaks-of-upstream",
        when: "A known gateway answered with its own page, or its own field, for a failure behind it: `upstream`.",
        blind: "Custom error pages hide the product. Where a product says the same of many causes, the reasons are the \
                likeliest of them.",
        masked: false,
        speaks: gateway_speaks_of_upstream,
    },
    Rule {
        name: "plain-text-to-tls",
        when: "The answer says that the port wants TLS, or TLS is spoken where plain text got no answer: `tls`; behind a \
               front that refuses the reference request by itself, or that we reached over TLS: `upstream`.",
        blind: "Without the reference request a gateway that relays such an answer in plain text is taken for the port.",
        masked: false,
        speaks: plain_text_to_tls,
    },
    Rule {
        name: "gateway-relays",
        when: "A known gateway marks the answer as one that came from behind it: `origin`.",
        blind: "",
        masked: false,
        speaks: gateway_relays,
    },
    Rule {
        name: "usual-marks",
        when: "The answer has a field that good answers of this key always have and the gateway never writes: `origin`.",
        blind: "Needs a good answer and one that the gateway made itself, since the exporter started.",
        masked: false,
        speaks: |case| {
            let marks = case.facts.baseline.through_marks()?;
            let reply = case.refused()?;
            let has = marks.iter().any(|name| reply.headers.contains_key(*name));
            has.then(|| Blame::on(Link::Origin, Likely, Reason::OriginStatus))
        },
    },
    Rule {
        name: "broken-behind-gateway",
        when: "The answer broke off, was no HTTP or did not come, and a gateway stands there (it shows on the answer, or \
               it refused the reference request by itself): `upstream`.",
        blind: "A gateway that breaks by itself looks the same.",
        masked: false,
        speaks: |case| {
            let behind = case.broke() && (case.gateway.is_some() || case.edge_lives);
            behind.then(|| Blame::on(Link::Upstream, Likely, case.as_upstream()))
        },
    },
    Rule {
        name: "broken-at-front",
        when: "The answer broke off, was no HTTP or did not come, and no gateway is known there: `front`.",
        blind: "A gateway that cannot be seen may relay what broke behind it: `reference_request` tells.",
        masked: false,
        speaks: |case| case.blame_if(case.broke(), Link::Front, Likely),
    },
    Rule {
        name: "edges-own-skeleton",
        when: "The answer is built like the page with which the edge refused the reference request: 502 to 504 mean \
               `upstream`, the rest `front`.",
        blind: "Two servers of one product make the same page.",
        masked: false,
        speaks: |case| by_the_edge(case, case.looks_like_the_edges_own()),
    },
    Rule {
        name: "not-the-gateways-page",
        when: "A known gateway stands there, and the answer is none of its own pages: `origin`.",
        blind: "Custom error pages of the gateway look the same.",
        masked: false,
        speaks: |case| {
            let others = case.refused().is_some() && case.gateway.is_some();
            others.then(|| Blame::on(Link::Origin, Likely, Reason::OriginStatus))
        },
    },
    Rule {
        name: "usual-marks-missing",
        when: "The answer has none of at least two fields that good answers of this key always have and the gateway never \
               writes: the gateway made it; 502 to 504 mean `upstream`, the rest `front`.",
        blind: "An application whose errors take another way than its good answers lacks them, too.",
        masked: false,
        speaks: |case| {
            let marks = case.facts.baseline.through_marks()?;
            let reply = case.refused()?;
            let none = !marks.iter().any(|name| reply.headers.contains_key(*name));
            by_the_edge(case, none && marks.len() >= 2)
        },
    },
    Rule {
        name: "custom-page",
        when: "Nobody is known there, and the answer is JSON or a page with words of its own: `origin`.",
        blind: "Custom error pages of a gateway look the same.",
        masked: false,
        speaks: |case| {
            let custom = case.refused().is_some_and(looks::is_custom);
            custom.then(|| Blame::on(Link::Origin, Likely, Reason::OriginStatus))
        },
    },
    Rule {
        name: "bare-page",
        when: "Nobody is known there, and a 502, 503 or 504 says no more than its own status line: `upstream`; a 401, 403 \
               or 429: `front`.",
        blind: "An application without error pages looks the same.",
        masked: false,
        speaks: |case| {
            let status = case.refused().filter(|reply| looks::is_bare(reply))?.status;
            by_the_edge(case, looks::speaks_of_upstream(status) || matches!(status, 401 | 403 | 429))
        },
    },
    Rule {
        name: "not-decided",
        when: "A gateway or the application may have done it, and the evidence does not tell: `unknown`.",
        blind: "",
        masked: false,
        speaks: |case| case.blame_if(case.fault().is_some(), Link::Unknown, Likely),
    },
    Rule {
        name: "good-from-captive-portal",
        when: "The answer is good, and a name that cannot exist resolves: it may be anybody's: `local`, masked.",
        blind: "",
        masked: true,
        speaks: captive_portal,
    },
    Rule {
        name: "good-before-broken-hop",
        when: "The answer is good, and a machine behind the front is not when asked directly: a cache answers, or the \
               gateway made a good answer of a broken one: `upstream` or `origin`, masked.",
        blind: "A machine that lets in only its own gateway looks dead to us.",
        masked: true,
        speaks: |case| hop_broken(case).or_else(|| hop_answers_alike(case)),
    },
    Rule {
        name: "good-made-of-broken",
        when: "The answer is good, and the gateway says that it made it of something that was not: `upstream`, masked.",
        blind: "",
        masked: true,
        speaks: |case| {
            let (name, reason) = with_answer(case.report.last_leg()?, laundered)?;
            Some(Blame::on(Link::Upstream, Certain, reason).answered_by(name))
        },
    },
    Rule {
        name: "good-but-overrun",
        when: "The answer is good, and more bytes came than its length says, here or from the machine behind: `origin`, \
               masked.",
        blind: "What comes after the answer was read is not seen.",
        masked: true,
        speaks: |case| {
            let at_hop = case.hops.iter().filter_map(|hop| hop.drilled.report.final_reply());
            let overrun = case.report.final_reply().into_iter().chain(at_hop).any(|reply| reply.overrun);
            overrun.then(|| Blame::on(Link::Origin, Certain, Reason::HttpOverrun))
        },
    },
    Rule {
        name: "good-but-empty",
        when: "The answer is good and empty, and the machine behind the front, asked directly, has one with a body and \
               other fields: the front knows no way to it: `front`, masked.",
        blind: "Needs hops.",
        masked: true,
        speaks: good_but_empty,
    },
];

impl Case<'_> {
    fn blame_if(&self, speaks: bool, link: Link, certainty: Certainty) -> Option<Blame> {
        let fault = self.fault().filter(|_| speaks)?;
        Some(Blame::on(link, certainty, fault.reason))
    }
}

fn captive_portal(case: &Case<'_>) -> Option<Blame> {
    let captive = case.facts.vantage.is_some_and(|vantage| vantage.captive);
    captive.then(|| Blame::on(Link::Local, Certain, Reason::LocalCaptivePortal))
}

fn controls_failed(case: &Case<'_>) -> Option<Blame> {
    let vantage = case.facts.vantage?;
    let near = case.stage(Stage::Resolve) || case.stage(Stage::Connect);
    let certainty = if vantage.all_failed() { Certain } else { Likely };
    let failed = near && (vantage.all_failed() || vantage.quorum);
    failed.then(|| Blame::on(Link::Local, certainty, Reason::LocalControlsFailed))
}

fn content_refused(case: &Case<'_>) -> Option<Blame> {
    let limits = case.reason(Reason::HttpResponseTooLarge) || case.reason(Reason::HttpResponseBadCoding);
    let blame = case.blame_if(case.family("content") || limits, Link::Content, Certain)?;
    Some(match case.hops.last().map(|hop| hop.state) {
        Some(State::Healthy) => blame.side(Side::Gateway),
        Some(State::Refuses) => blame.side(Side::Origin),
        _ => blame,
    })
}

fn answer_slow(case: &Case<'_>) -> Option<Blame> {
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

fn hop_broken(case: &Case<'_>) -> Option<Blame> {
    let (hop, _) = case.innermost_failing()?;
    match hop.state {
        // The front refuses by itself, and would whatever stands behind it.
        _ if speaks_of_itself(case) => None,
        State::Broken(reason) => Some(Blame::on(Link::Upstream, Certain, reason).side(Side::Origin)),
        _ => None,
    }
}

fn hop_answers_alike(case: &Case<'_>) -> Option<Blame> {
    let (hop, healthy_behind) = case.innermost_failing()?;
    let reply = hop.drilled.report.final_reply()?;
    if hop.state != State::Refuses {
        return None;
    }
    let differs = case.refused().is_some_and(|front| front.status != reply.status);
    if differs && speaks_of_itself(case) {
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

const fn speaks_of_itself(case: &Case<'_>) -> bool {
    matches!(case.recognised, Some(Recognised::Own(_, Means::Front(_))))
}

fn gateway_speaks_of_itself(case: &Case<'_>) -> Option<Blame> {
    match case.recognised? {
        Recognised::Own(name, Means::Front(reason)) => {
            Some(Blame::on(Link::Front, Certain, reason).answered_by(name))
        }
        _ => None,
    }
}

fn hop_healthy(case: &Case<'_>) -> Option<Blame> {
    let hop = case.next_is_healthy()?;
    let tls = hop.drilled.hop.tls;
    if let Some(said) = of_upstream(case.recognised) {
        let patience = said.contains(&Reason::UpstreamHttpResponseTimeout);
        if patience && hop.answered_after() > case.waited() {
            // The gateway's patience is shorter than what stands behind it needs.
            return Some(Blame::on(Link::Upstream, Certain, Reason::UpstreamHttpResponseTimeout).side(Side::Origin));
        }
        return Some(Blame::any_of(Link::Upstream, Certain, &beside_a_healthy_hop(said, tls)).side(Side::Gateway));
    }
    if case.broke() {
        return Some(Blame::on(Link::Upstream, Likely, case.as_upstream()).side(Side::Gateway));
    }
    let reply = case.refused()?;
    Some(if looks::speaks_of_upstream(reply.status) {
        let fits = beside_a_healthy_hop(looks::by_shape(reply.status, case.waited()), tls);
        Blame::any_of(Link::Upstream, Likely, &fits).side(Side::Gateway)
    } else {
        Blame::on(Link::Front, Likely, looks::by_itself(reply.status))
    })
}

fn gateway_speaks_of_upstream(case: &Case<'_>) -> Option<Blame> {
    let Some(Recognised::Own(name, Means::Upstream(reasons))) = case.recognised else {
        return None;
    };
    let blame = Blame::any_of(Link::Upstream, Certain, reasons).answered_by(name);
    // What is silent to the gateway and to us alike is silent to everybody.
    let silent_to_us = case.hops.first().is_some_and(|hop| hop.is_silent());
    let silent_alike = silent_to_us && reasons.contains(&Reason::UpstreamConnectionTimeout);
    Some(if silent_alike { blame.side(Side::Origin) } else { blame })
}

fn plain_text_to_tls(case: &Case<'_>) -> Option<Blame> {
    let says = case.refused().is_some_and(looks::wants_tls);
    let beside = case.facts.beside;
    let speaks = case.broke() && beside.and_then(|beside| beside.handshake.as_ref()).is_some_and(shook_hands);
    let refusal = || beside?.reference.as_ref()?.final_reply();
    let behind = case.report.last_leg().is_some_and(|leg| leg.wants_tls)
        || refusal().is_some_and(|refusal| !looks::wants_tls(refusal) && refusal.status == 400);
    match (says || speaks, behind) {
        (false, _) => None,
        (true, true) => Some(Blame::on(Link::Upstream, Likely, Reason::UpstreamTlsExpected)),
        (true, false) => Some(Blame::on(Link::Tls, Likely, Reason::TlsExpected)),
    }
}

fn gateway_relays(case: &Case<'_>) -> Option<Blame> {
    match case.recognised? {
        Recognised::Through(name) | Recognised::Own(name, Means::Origin) => {
            Some(Blame::on(Link::Origin, Likely, Reason::OriginStatus).answered_by(name))
        }
        Recognised::Own(..) => None,
    }
}

/// The edge made the answer, whoever it is.
fn by_the_edge(case: &Case<'_>, it_did: bool) -> Option<Blame> {
    let reply = case.refused().filter(|_| it_did)?;
    Some(if looks::speaks_of_upstream(reply.status) {
        Blame::any_of(Link::Upstream, Likely, looks::by_shape(reply.status, case.waited()))
    } else {
        Blame::on(Link::Front, Likely, looks::by_itself(reply.status))
    })
}

fn good_but_empty(case: &Case<'_>) -> Option<Blame> {
    let hop = case.next_is_healthy()?.drilled.report.final_reply()?;
    let front = case.report.final_reply().filter(|reply| reply.status == 200 && reply.body_length == 0)?;
    let known_by = |name: &&http::HeaderName| !["date", "connection", "content-length"].contains(&name.as_str());
    let missing = hop.headers.keys().filter(known_by).all(|name| {
        let same = |value| hop.headers.get(name) == Some(value);
        !front.headers.get(name).is_some_and(same)
    });
    let empty = hop.status == 200 && hop.body_length > 0 && missing;
    empty.then(|| Blame::on(Link::Front, Likely, Reason::FrontNotFound))
}
