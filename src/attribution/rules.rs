//! The decision table for failed probes, in order of trust: our own side first, then where the exchange stopped, then what the machines
//! behind the edge say when asked directly, then what was answered.

use super::backend_conditions::{backend_broken, backend_fails_alike, backend_healthy};
use super::conditions::{
    captive_portal, content_assertion_failed, controls_failed, datagram_no_response, grpc_health_status,
    name_not_resolved, resolver_failed, response_slow,
};
use super::module_proxy::{module_proxy_failed, module_proxy_response};
use super::response_conditions::{
    baseline_headers_present, by_the_edge, gateway_own_error, gateway_relayed_response, gateway_upstream_error,
    generic_error_page, plaintext_to_tls_port,
};
use super::{Attribution, AttributionRule, heuristics};
use crate::chain::{Link, Stage};
use crate::reason::{Reason, ReasonFamily};
use crate::rule_id::RuleId;
use crate::verdict::Certainty;

use Certainty::{Certain, Likely};

/// What is broken when a probe fails. The first rule that speaks decides.
pub const RULES: &[AttributionRule] = &[
    AttributionRule {
        id: RuleId::LocalFailure,
        when: "The reason is local (an invalid target, a file that cannot be read): `local`.",
        blind: "",
        applies: |case| case.attribute_if(case.family(ReasonFamily::Local), Link::Local, Certain),
    },
    AttributionRule {
        id: RuleId::TokenRequestFailed,
        when: "The exchange with the token server failed: the target was not asked: `local`.",
        blind: "",
        applies: |case| {
            let stopped = case.report.failed_fetching_credentials();
            stopped.then(|| Attribution::on(Link::Local, Certain, Reason::LocalCredentials))
        },
    },
    AttributionRule {
        id: RuleId::ModuleProxyFailed,
        when: "The module's proxy could not be reached (certain), opened no way through, or took a request for an http target \
               and closed the connection or stayed silent without a byte of an answer (likely): `local`.",
        blind: "A proxy may refuse what it cannot reach, and is silent while the target is: a backend that is asked directly, \
                or `reference_request`, shows the difference.",
        applies: module_proxy_failed,
    },
    AttributionRule {
        id: RuleId::ProxyCannotReachTarget,
        when: "The module's proxy says that it does not get through to the target: `network`.",
        blind: "The proxy itself may be cut off, and a machine that is dead looks the same.",
        applies: |case| case.attribute_if(case.reason(Reason::ProxyTargetUnreachable), Link::Network, Likely),
    },
    AttributionRule {
        id: RuleId::ModuleProxyResponse,
        when: "The module's proxy answered the request for an http target itself: it requires authentication or refuses: \
               `local`; it does not reach the target: `network`. A refusal that a known server, gateway or mesh makes counts as the \
               proxy's where no `Via` says that a proxy passed it on.",
        blind: "The page of a proxy that is not known is taken for the target's.",
        applies: module_proxy_response,
    },
    AttributionRule {
        id: RuleId::CaptivePortal,
        when: "A name that cannot exist resolves: somebody on our side answers for every name: `local`.",
        blind: "A resolver that answers every name of one suffix only is not seen.",
        applies: captive_portal,
    },
    AttributionRule {
        id: RuleId::ResolverFailed,
        when: "The name did not resolve, and no control's name does: `local`; certain where the names of two controls \
               fail, too.",
        blind: "Needs `controls` with a name.",
        applies: resolver_failed,
    },
    AttributionRule {
        id: RuleId::ControlsFailed,
        when: "The probe failed at resolve or connect, and so did every control (or, without controls, every other key of \
               this process): `local`; certain where at least two controls failed.",
        blind: "Needs `controls`, or five names in three networks; a name that is reached, or addresses in place of names in two \
                networks, speak against it. A target beyond a cut that the controls are not \
                beyond is not seen.",
        applies: controls_failed,
    },
    AttributionRule {
        id: RuleId::ResolverNoResponse,
        when: "No name server answered: `dns`.",
        blind: "Without `controls` our own resolver's silence looks the same.",
        applies: |case| {
            let silent = case.reason(Reason::DnsTimedOut) && case.stage(Stage::Resolve);
            case.attribute_if(silent, Link::Dns, Likely)
        },
    },
    AttributionRule {
        id: RuleId::NameNotResolved,
        when: "The exchange stopped at resolve: `dns`; certain where the name does not exist or has no such address, or where \
               a control's name resolves; likely where a proxy of the module is to dial.",
        blind: "Without `controls` a failure of our own resolver looks the same. A proxy may resolve names that the exporter's \
                name server does not have.",
        applies: name_not_resolved,
    },
    AttributionRule {
        id: RuleId::ConnectionRefused,
        when: "The connection was refused, or the machine says that nobody listens for datagrams: `edge`.",
        blind: "A firewall that rejects looks the same.",
        applies: |case| {
            let refused = case.reason(Reason::TcpRefused) || case.reason(Reason::TcpReset);
            let closed = case.reason(Reason::DnsServerUnreachable) || case.reason(Reason::QuicRefused);
            case.attribute_if(closed || (refused && case.stage(Stage::Connect)), Link::Edge, Likely)
        },
    },
    AttributionRule {
        id: RuleId::DatagramNoResponse,
        when: "A datagram got no answer, or the word of a router or host that it was not delivered: `network`.",
        blind: "A machine that is dead or overloaded, or a firewall that drops, looks the same as a lost datagram.",
        applies: datagram_no_response,
    },
    AttributionRule {
        id: RuleId::ConnectNoResponse,
        when: "The connection attempt met silence or no route: `network`.",
        blind: "A machine that is dead, or a firewall that drops, looks the same.",
        applies: |case| case.attribute_if(case.stage(Stage::Connect), Link::Network, Likely),
    },
    AttributionRule {
        id: RuleId::TlsFailed,
        when: "The handshake failed after the server had sent a part of it, the certificate failed, or a TLS alert came later: \
               `tls`. That both sides share no version or cipher suite is certain where additional connections have shown it; \
               where they show something else, or could not be opened, likely. So is a handshake that ended in silence, a \
               close or a reset: the network may have lost it.",
        blind: "Behind STARTTLS and proxies no additional connections are opened. A proxy that accepts CONNECT and answers \
                with a page of its own looks like a target that does not speak TLS (likely).",
        applies: |case| {
            let failed = case.stage(Stage::Secure) && !case.ended_before_tls();
            // A proxy may accept CONNECT and then send a page of its own.
            let may_be_the_proxys = case.reason(Reason::TlsNotSupported) && case.is_through_a_proxy();
            // A path that loses large packets, or cuts the connection, looks like a server that stops in its handshake.
            let may_be_the_networks = [Reason::TlsTimedOut, Reason::TlsClosed, Reason::TcpReset]
                .into_iter()
                .any(|reason| case.reason(reason));
            let inferred = case.cause_in_tls_is_inferred() || may_be_the_proxys || may_be_the_networks;
            let certainty = if inferred { Likely } else { Certain };
            case.attribute_if(failed || case.family(ReasonFamily::Tls), Link::Tls, certainty)
        },
    },
    AttributionRule {
        id: RuleId::ContentAssertionFailed,
        when: "The answer was accepted and its body, headers or version fail an assertion, its size or its coding is not \
               what the module takes: `content`; likely where the probe's time ended while a dialogue waited for another line.",
        blind: "A slow server that has greeted, and not yet said what the module expects, looks like one that says something \
                else.",
        applies: content_assertion_failed,
    },
    AttributionRule {
        id: RuleId::GrpcHealthStatus,
        when: "The health service says that the service does not serve, or ends the call with a status: `origin`; where a \
               gateway is known there and the status is UNAVAILABLE or DEADLINE_EXCEEDED, `upstream`.",
        blind: "A gateway that is not known may end calls by itself.",
        applies: grpc_health_status,
    },
    AttributionRule {
        id: RuleId::WebsocketNotUpgraded,
        when: "The answer is good and does not switch to the WebSocket protocol: `edge` where a gateway is known there (it \
               may not pass the request to switch on), else `origin`.",
        blind: "A path that is none of a WebSocket looks the same.",
        applies: |case| {
            let link = if case.gateway().is_some() {
                Link::Edge
            } else {
                Link::Origin
            };
            case.attribute_if(case.reason(Reason::WebsocketNotUpgraded), link, Likely)
        },
    },
    AttributionRule {
        id: RuleId::RedirectLoop,
        when: "The redirects do not end, or lead nowhere: `origin`.",
        blind: "An edge that redirects by itself (to https, to a canonical name) can loop with its origin.",
        applies: |case| {
            let loops = case.reason(Reason::HttpResponseRedirectLoop) || case.reason(Reason::HttpResponseBadRedirect);
            case.attribute_if(loops, Link::Origin, Likely)
        },
    },
    AttributionRule {
        id: RuleId::ResponseSlow,
        when: "The answer is right but later than `fail_if_slower_than`: `origin`; where the machine behind the edge is \
               fast when asked directly, `upstream`.",
        blind: "Without backends the edge may be what is slow.",
        applies: response_slow,
    },
    AttributionRule {
        id: RuleId::BackendBroken,
        when: "A machine behind the edge, asked directly, refused, broke off, stayed silent after the connection or \
               showed a bad certificate, and the edge fails as it would then: `upstream`, with exactly that cause, side \
               `origin`; certain where the edge's answer is proven to be a gateway's own and names this cause, and that machine \
               accepted a connection of the exporter within the last hour or is marked `reachable`, or the answer means \
               nothing else. Where the answer excludes this cause: likely, with the reasons of both and without a side.",
        blind: "A machine that lets in only its own gateway looks dead to us: leave it out of `backends`, or let it admit \
                the prober. Beside an answer that came through, or that the edge refused by itself, it counts for nothing. What \
                we do not trust or cannot read, the gateway may: a handshake, a broken answer, is never certain.",
        applies: backend_broken,
    },
    AttributionRule {
        id: RuleId::BackendFailsAlike,
        when: "A machine behind the edge, asked directly, answered with a status or a content that the module refuses, \
               too: `origin`, certain where both answer 500 in the same words of their own, and neither answer shows a gateway \
               or is the page of a framework; where its answer is a gateway's page for a failure behind it, `upstream`, certain \
               where the edge relays it.",
        blind: "A machine that tells us from its gateway (by address, by a header) may answer us otherwise: 401, 403, 407, \
                421 and 429 count only where the edge gives the very same.",
        applies: backend_fails_alike,
    },
    AttributionRule {
        id: RuleId::ClientCertificateRequired,
        when: "The handshake asked for a client certificate, and the answer is a page which says that none was sent, or that it \
               was not accepted: `tls`.",
        blind: "A gateway that asks for one, too, may relay what the machine behind it says of the gateway's own.",
        applies: |case| {
            let demanded = case.demands_client_cert();
            demanded.then(|| Attribution::on(Link::Tls, Likely, Reason::TlsClientCert))
        },
    },
    AttributionRule {
        id: RuleId::GatewayOwnError,
        when: "A known gateway answered with its own page, or its own field, for a refusal or failure of its own: \
               `edge`; certain where the answer is proven to be its own (a field that only its own answers have, or a text \
               that nobody else writes and nothing beside it), such a product stands at the edge alone, and no machine behind \
               the edge shows it or gives the same answer.",
        blind: "An application behind it that runs on the same product makes the same page; a gateway before it may leave no \
                mark.",
        applies: gateway_own_error,
    },
    AttributionRule {
        id: RuleId::GatewayRelayedResponse,
        when: "A known gateway marks the answer as one that came from behind it: `origin`.",
        blind: "",
        applies: gateway_relayed_response,
    },
    AttributionRule {
        id: RuleId::BaselineHeadersPresent,
        when: "The answer has a field that good answers of this key always have and the gateway never writes, or one by which \
               the machine behind the edge, healthy when asked directly, says what it is; or that machine is healthy and the \
               answer is a 500 in JSON or on the page of a framework; and no known gateway makes such a page: `origin`.",
        blind: "Needs a good answer and one that the gateway made itself, since the exporter started; or backends. A gateway that \
                is built of an application's framework makes the same page of its own failure.",
        applies: baseline_headers_present,
    },
    AttributionRule {
        id: RuleId::BackendHealthy,
        when: "The machine behind the edge answers when asked directly, and the edge fails: `upstream`, side \
               `gateway`, never more than likely; a status that does not concern its backend, or no answer at all: `edge`. Where the \
               healthy answer is what the gateway has no patience or no room for, side `origin`.",
        blind: "A fault that comes and goes, or that only some of several machines have, may have passed by.",
        applies: backend_healthy,
    },
    AttributionRule {
        id: RuleId::GatewayUpstreamError,
        when: "A known gateway answered with its own page, or its own field, for a failure behind it: `upstream`; certain where \
               the answer is proven to be its own (a field that only its own answers have, or a text that nobody else writes \
               and nothing beside it), and means nothing else.",
        blind: "Custom error pages hide the product. Where a product says the same of many causes, the reasons are the \
                likeliest of them.",
        applies: gateway_upstream_error,
    },
    AttributionRule {
        id: RuleId::PlaintextToTlsPort,
        when: "The answer says that the port wants TLS, or TLS is spoken where plain text got no answer: `tls`; behind an \
               edge that refuses the reference request by itself, or that we reached over TLS: `upstream`.",
        blind: "Without the reference request a gateway that relays such an answer in plain text is taken for the port.",
        applies: plaintext_to_tls_port,
    },
    AttributionRule {
        id: RuleId::ExchangeBrokenBehindGateway,
        when: "The answer broke off, was no HTTP or did not come, and a gateway stands there (it shows on the answer, or \
               it refused the reference request by itself): `upstream`.",
        blind: "A gateway that breaks by itself looks the same; so does a server without a gateway that refuses the reference \
                request.",
        applies: |case| {
            let behind = case.broke() && (case.gateway().is_some() || case.edge_lives);
            behind.then(|| Attribution::any_of(Link::Upstream, Likely, &case.as_upstream()))
        },
    },
    AttributionRule {
        id: RuleId::ExchangeBrokenAtEdge,
        when: "The answer broke off, was no HTTP or did not come, and no gateway is known there: `edge`.",
        blind: "A gateway that cannot be seen may relay what broke behind it: `reference_request` tells.",
        applies: |case| case.attribute_if(case.broke(), Link::Edge, Likely),
    },
    AttributionRule {
        id: RuleId::MatchesReferenceErrorPage,
        when: "The answer is built like the page with which the edge refused the reference request: 502 to 504 mean \
               `upstream`, the rest `edge`.",
        blind: "Two servers of one product make the same page.",
        applies: |case| by_the_edge(case, case.looks_like_the_edges_own()),
    },
    AttributionRule {
        id: RuleId::NotAGatewayPage,
        when: "A known gateway stands there, and the answer is none of its own pages: `origin`.",
        blind: "Custom error pages of the gateway look the same.",
        applies: |case| {
            let others = case.refused().is_some() && case.gateway().is_some();
            others.then(|| Attribution::on(Link::Origin, Likely, Reason::OriginStatus))
        },
    },
    AttributionRule {
        id: RuleId::GenericErrorPage,
        when: "Nobody is known there, and the answer is a page that a known gateway makes, as others do: 502 to 504 and 500 \
               mean `upstream`, the rest `edge`; likely.",
        blind: "Programs in Go make the pages of a gateway in Go.",
        applies: generic_error_page,
    },
    AttributionRule {
        id: RuleId::BaselineHeadersMissing,
        when: "The answer has none of at least two fields that good answers of this key always have and the gateway never \
               writes: the gateway made it; 502 to 504 mean `upstream`, the rest `edge`.",
        blind: "An application whose errors take another way than its good answers lacks them, too.",
        applies: |case| {
            let marks = case.facts.baseline.through_marks()?;
            let reply = case.refused()?;
            let none = !marks.iter().any(|name| reply.headers.contains_key(*name));
            by_the_edge(case, none && marks.len() >= 2)
        },
    },
    AttributionRule {
        id: RuleId::CustomErrorPage,
        when: "Nobody is known there, and the answer is JSON or a page with words of its own: `origin`.",
        blind: "Custom error pages of a gateway look the same.",
        applies: |case| {
            let custom = case.refused().is_some_and(heuristics::is_custom);
            custom.then(|| Attribution::on(Link::Origin, Likely, Reason::OriginStatus))
        },
    },
    AttributionRule {
        id: RuleId::BareErrorPage,
        when: "Nobody is known there, and a 502, 503 or 504 says no more than its own status line: `upstream`; a 401, 403, \
               408, 413, 414, 421, 429, 431 or 494 to 497: `edge`.",
        blind: "An application without error pages looks the same.",
        applies: |case| {
            let status = case.refused().filter(|reply| heuristics::is_bare(reply))?.status;
            by_the_edge(
                case,
                heuristics::speaks_of_upstream(status)
                    || matches!(status, 401 | 403 | 408 | 413 | 414 | 421 | 429 | 431 | 494..=497),
            )
        },
    },
    AttributionRule {
        id: RuleId::Undecided,
        when: "A gateway or the application may have done it, and the evidence does not tell: `unknown`.",
        blind: "",
        applies: |case| case.attribute_if(case.fault().is_some(), Link::Unknown, Likely),
    },
];
