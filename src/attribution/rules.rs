//! The decision table for failed probes, in order of trust: our own side first, then where the exchange stopped, then what the machines
//! behind the front say when asked directly, then what was answered.

use super::behind::{hop_answers_alike, hop_broken, hop_healthy};
use super::pages::{
    by_the_edge, gateway_relays, gateway_speaks_of_itself, gateway_speaks_of_upstream, own_proxy_answers, page_of_many,
    plain_text_to_tls, usual_marks,
};
use super::speaks::{
    answer_slow, captive_portal, content_refused, controls_failed, datagram_lost, health_service_says,
    name_not_resolved, resolver_dead,
};
use super::{Blame, Rule, looks};
use crate::chain::{Link, Stage};
use crate::reason::Reason;
use crate::verdict::Certainty;

use Certainty::{Certain, Likely};

/// What is broken when a probe fails. The first rule that speaks decides.
pub const RULES: &[Rule] = &[
    Rule {
        name: "own-side",
        when: "The reason is one of our own side (a target that is none, a file that cannot be read): `local`.",
        blind: "",
        speaks: |case| case.blame_if(case.family("local"), Link::Local, Certain),
    },
    Rule {
        name: "no-token",
        when: "The exchange with the token server failed: the target was not asked: `local`.",
        blind: "",
        speaks: |case| {
            let stopped = case.report.stopped_for_credentials();
            stopped.then(|| Blame::on(Link::Local, Certain, Reason::LocalCredentials))
        },
    },
    Rule {
        name: "own-proxy",
        when: "The module's proxy could not be reached (certain), or opened no way through (likely): `local`.",
        blind: "A proxy may refuse what it cannot reach.",
        speaks: |case| {
            let certainty = if case.family("proxy") { Likely } else { Certain };
            case.blame_if(case.report.stopped_at_proxy(), Link::Local, certainty)
        },
    },
    Rule {
        name: "proxy-finds-no-way",
        when: "The module's proxy says that it does not get through to the target: `path`.",
        blind: "The proxy itself may be cut off, and a machine that is dead looks the same.",
        speaks: |case| case.blame_if(case.reason(Reason::ProxyNoWay), Link::Path, Likely),
    },
    Rule {
        name: "own-proxy-answers",
        when: "The module's proxy answered the request for an http target itself: it wants to know who we are or refuses: \
               `local`; it does not reach the target: `path`.",
        blind: "The page of a proxy that is not known is taken for the target's.",
        speaks: own_proxy_answers,
    },
    Rule {
        name: "captive-portal",
        when: "A name that cannot exist resolves: somebody on our side answers for every name: `local`.",
        blind: "A resolver that answers every name of one suffix only is not seen.",
        speaks: captive_portal,
    },
    Rule {
        name: "resolver-dead",
        when: "The name did not resolve, and no control's name does: `local`; certain where no name server answered, or where \
               two controls have names.",
        blind: "Needs `controls` with a name.",
        speaks: resolver_dead,
    },
    Rule {
        name: "controls-failed",
        when: "The probe failed at resolve or connect, and so did every control (or, without controls, every other key of \
               this process): `local`; certain where at least two controls failed.",
        blind: "Needs `controls`, or five names in three networks. A target beyond a cut that the controls are not \
                beyond is not seen.",
        speaks: controls_failed,
    },
    Rule {
        name: "resolver-silent",
        when: "No name server answered: `dns`.",
        blind: "Without `controls` our own resolver's silence looks the same.",
        speaks: |case| {
            let silent = case.reason(Reason::DnsTimedOut) && case.stage(Stage::Resolve);
            case.blame_if(silent, Link::Dns, Likely)
        },
    },
    Rule {
        name: "name-not-resolved",
        when: "The exchange stopped at resolve: `dns`; certain where the name does not exist or has no such address, or where \
               a control's name resolves.",
        blind: "Without `controls` a failure of our own resolver looks the same.",
        speaks: name_not_resolved,
    },
    Rule {
        name: "nothing-listens",
        when: "The connection was refused, or the machine says that nobody listens for datagrams: `front`.",
        blind: "A firewall that rejects looks the same.",
        speaks: |case| {
            let refused = case.reason(Reason::TcpRefused) || case.reason(Reason::TcpReset);
            let closed = case.reason(Reason::DnsServerUnreachable) || case.reason(Reason::QuicRefused);
            case.blame_if(closed || (refused && case.stage(Stage::Connect)), Link::Front, Likely)
        },
    },
    Rule {
        name: "datagram-lost",
        when: "A datagram got no answer, or the word of a router or host that it was not delivered: `path`.",
        blind: "A machine that is dead or overloaded, or a firewall that drops, looks the same as a lost datagram.",
        speaks: datagram_lost,
    },
    Rule {
        name: "connect-silent",
        when: "The connection attempt met silence or no route: `path`.",
        blind: "A machine that is dead, or a firewall that drops, looks the same.",
        speaks: |case| case.blame_if(case.stage(Stage::Connect), Link::Path, Likely),
    },
    Rule {
        name: "tls-refused",
        when: "The handshake failed after the server had sent a part of it, the certificate failed, or a TLS alert came later: \
               `tls`. That both sides share no version or cipher suite is certain where additional connections have shown it; \
               where they show something else, or could not be opened, likely.",
        blind: "Behind STARTTLS and proxies no additional connections are opened.",
        speaks: |case| {
            let failed = case.stage(Stage::Secure) && !case.ended_before_tls();
            let inferred = case.cause_in_tls_is_inferred();
            let certainty = if inferred { Likely } else { Certain };
            case.blame_if(failed || case.family("tls"), Link::Tls, certainty)
        },
    },
    Rule {
        name: "content-refused",
        when: "The answer was accepted and its body, headers or version fail an assertion, its size or its coding is not \
               what the module takes: `content`.",
        blind: "",
        speaks: content_refused,
    },
    Rule {
        name: "health-service-says",
        when: "The health service says that the service does not serve, or ends the call with a status: `origin`; where a \
               gateway is known there and the status is UNAVAILABLE or DEADLINE_EXCEEDED, `upstream`.",
        blind: "A gateway that is not known may end calls by itself.",
        speaks: health_service_says,
    },
    Rule {
        name: "not-switched",
        when: "The answer is good and does not switch to the WebSocket protocol: `front` where a gateway is known there (it \
               may not pass the request to switch on), else `origin`.",
        blind: "A path that is none of a WebSocket looks the same.",
        speaks: |case| {
            let link = if case.gateway().is_some() {
                Link::Front
            } else {
                Link::Origin
            };
            case.blame_if(case.reason(Reason::WebsocketNotUpgraded), link, Likely)
        },
    },
    Rule {
        name: "redirect-loop",
        when: "The redirects do not end, or lead nowhere: `origin`.",
        blind: "A front that redirects by itself (to https, to a canonical name) can loop with its origin.",
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
        speaks: answer_slow,
    },
    Rule {
        name: "hop-broken",
        when: "A machine behind the front, asked directly, refused, broke off, stayed silent after the connection or \
               showed a bad certificate, and the front fails as it would then: `upstream`, with exactly that cause, side \
               `origin`; certain where the front's answer speaks of what stands behind it.",
        blind: "A machine that lets in only its own gateway looks dead to us: leave it out of `hops`, or let it admit \
                the prober. Beside an answer that came through, or that the front refused by itself, it counts for nothing.",
        speaks: hop_broken,
    },
    Rule {
        name: "hop-answers-alike",
        when: "A machine behind the front, asked directly, answered with a status or a content that the module refuses, \
               too: `origin`, certain where both say the same in words of their own; where its answer is a gateway's page \
               for a failure behind it, `upstream`.",
        blind: "A machine that tells us from its gateway (by address, by a header) may answer us otherwise: 401, 403, 407, \
                421 and 429 count only where the front gives the very same.",
        speaks: hop_answers_alike,
    },
    Rule {
        name: "client-certificate-demanded",
        when: "The handshake asked for a client certificate, and the answer is a page which says that none was sent, or that it \
               was not accepted: `tls`.",
        blind: "A gateway that asks for one, too, may relay what the machine behind it says of the gateway's own.",
        speaks: |case| {
            let demanded = case.demands_client_cert();
            demanded.then(|| Blame::on(Link::Tls, Likely, Reason::TlsClientCert))
        },
    },
    Rule {
        name: "gateway-speaks-of-itself",
        when: "A known gateway answered with its own page, or its own field, for a refusal or failure of its own: \
               `front`; certain where such a product stands at the front alone, or where it is never the application and \
               what stands next behind is healthy.",
        blind: "An application behind it that runs on the same product makes the same page; a gateway before it may leave no \
                mark.",
        speaks: gateway_speaks_of_itself,
    },
    Rule {
        name: "gateway-relays",
        when: "A known gateway marks the answer as one that came from behind it: `origin`.",
        blind: "",
        speaks: gateway_relays,
    },
    Rule {
        name: "usual-marks",
        when: "The answer has a field that good answers of this key always have and the gateway never writes, or one by which \
               the machine behind the front, healthy when asked directly, says what it is; and no known gateway makes such a \
               page: `origin`.",
        blind: "Needs a good answer and one that the gateway made itself, since the exporter started; or hops.",
        speaks: usual_marks,
    },
    Rule {
        name: "hop-healthy",
        when: "The machine behind the front is well when asked directly, and the front is not: `upstream`, side \
               `gateway`; a status that does not speak of what stands behind, or no answer at all: `front`. Where the \
               healthy answer is what the gateway has no patience or no room for, side `origin`.",
        blind: "A fault that comes and goes, or that only some of several machines have, may have passed by.",
        speaks: hop_healthy,
    },
    Rule {
        name: "gateway-speaks-of-upstream",
        when: "A known gateway answered with its own page, or its own field, for a failure behind it: `upstream`; certain where \
               it makes that page for nothing else.",
        blind: "Custom error pages hide the product. Where a product says the same of many causes, the reasons are the \
                likeliest of them.",
        speaks: gateway_speaks_of_upstream,
    },
    Rule {
        name: "plain-text-to-tls",
        when: "The answer says that the port wants TLS, or TLS is spoken where plain text got no answer: `tls`; behind a \
               front that refuses the reference request by itself, or that we reached over TLS: `upstream`.",
        blind: "Without the reference request a gateway that relays such an answer in plain text is taken for the port.",
        speaks: plain_text_to_tls,
    },
    Rule {
        name: "broken-behind-gateway",
        when: "The answer broke off, was no HTTP or did not come, and a gateway stands there (it shows on the answer, or \
               it refused the reference request by itself): `upstream`.",
        blind: "A gateway that breaks by itself looks the same; so does a server without a gateway that refuses the reference \
                request.",
        speaks: |case| {
            let behind = case.broke() && (case.gateway().is_some() || case.edge_lives);
            behind.then(|| Blame::any_of(Link::Upstream, Likely, &case.as_upstream()))
        },
    },
    Rule {
        name: "broken-at-front",
        when: "The answer broke off, was no HTTP or did not come, and no gateway is known there: `front`.",
        blind: "A gateway that cannot be seen may relay what broke behind it: `reference_request` tells.",
        speaks: |case| case.blame_if(case.broke(), Link::Front, Likely),
    },
    Rule {
        name: "edges-own-skeleton",
        when: "The answer is built like the page with which the edge refused the reference request: 502 to 504 mean \
               `upstream`, the rest `front`.",
        blind: "Two servers of one product make the same page.",
        speaks: |case| by_the_edge(case, case.looks_like_the_edges_own()),
    },
    Rule {
        name: "not-the-gateways-page",
        when: "A known gateway stands there, and the answer is none of its own pages: `origin`.",
        blind: "Custom error pages of the gateway look the same.",
        speaks: |case| {
            let others = case.refused().is_some() && case.gateway().is_some();
            others.then(|| Blame::on(Link::Origin, Likely, Reason::OriginStatus))
        },
    },
    Rule {
        name: "page-of-many",
        when: "Nobody is known there, and the answer is a page that a known gateway makes, as others do: 502 to 504 and 500 \
               mean `upstream`, the rest `front`; likely.",
        blind: "Programs in Go make the pages of a gateway in Go.",
        speaks: page_of_many,
    },
    Rule {
        name: "usual-marks-missing",
        when: "The answer has none of at least two fields that good answers of this key always have and the gateway never \
               writes: the gateway made it; 502 to 504 mean `upstream`, the rest `front`.",
        blind: "An application whose errors take another way than its good answers lacks them, too.",
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
        speaks: |case| {
            let custom = case.refused().is_some_and(looks::is_custom);
            custom.then(|| Blame::on(Link::Origin, Likely, Reason::OriginStatus))
        },
    },
    Rule {
        name: "bare-page",
        when: "Nobody is known there, and a 502, 503 or 504 says no more than its own status line: `upstream`; a 401, 403, \
               408, 413, 414, 421, 429, 431 or 494 to 497: `front`.",
        blind: "An application without error pages looks the same.",
        speaks: |case| {
            let status = case.refused().filter(|reply| looks::is_bare(reply))?.status;
            by_the_edge(
                case,
                looks::speaks_of_upstream(status)
                    || matches!(status, 401 | 403 | 408 | 413 | 414 | 421 | 429 | 431 | 494..=497),
            )
        },
    },
    Rule {
        name: "not-decided",
        when: "A gateway or the application may have done it, and the evidence does not tell: `unknown`.",
        blind: "",
        speaks: |case| case.blame_if(case.fault().is_some(), Link::Unknown, Likely),
    },
];
