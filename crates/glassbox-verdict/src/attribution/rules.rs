//! The decision table for failed probes, in order of trust: first the exporter's own faults, then the stage at which
//! the exchange stopped, then the results of direct requests to the backends, then the response.

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

/// Rules for failed probes. The first rule that matches decides.
pub const RULES: &[AttributionRule] = &[
    AttributionRule {
        id: RuleId::LocalFailure,
        when: "The reason is local, such as an invalid target or an unreadable file: `local`.",
        blind: "",
        applies: |case| case.attribute_if(case.family(ReasonFamily::Local), Link::Local, Certain),
    },
    AttributionRule {
        id: RuleId::TokenRequestFailed,
        when: "The exchange with the token server failed, so the target received no request: `local`.",
        blind: "",
        applies: |case| {
            let stopped = case.report.failed_fetching_credentials();
            stopped.then(|| Attribution::on(Link::Local, Certain, Reason::LocalCredentials))
        },
    },
    AttributionRule {
        id: RuleId::ModuleProxyFailed,
        when: "The module's proxy failed: `local`. Certain if it was unreachable. Likely if it did not open a tunnel, \
               or if it accepted a request for an http target and then closed the connection or sent nothing.",
        blind: "A proxy may refuse a target that it cannot reach, and it sends nothing while it waits for a silent \
                target. A direct request to a backend, or `reference_request`, shows the difference.",
        applies: module_proxy_failed,
    },
    AttributionRule {
        id: RuleId::ProxyCannotReachTarget,
        when: "The module's proxy reports that it cannot reach the target: `network`.",
        blind: "The proxy itself may be cut off. A dead target looks the same.",
        applies: |case| case.attribute_if(case.reason(Reason::ProxyTargetUnreachable), Link::Network, Likely),
    },
    AttributionRule {
        id: RuleId::ModuleProxyResponse,
        when: "The module's proxy itself answered the request for an http target. If it requires authentication or \
               refuses the request: `local`. If it cannot reach the target: `network`. A refusal by a known server, \
               gateway or mesh is attributed to the proxy unless a `Via` field shows that a proxy forwarded it.",
        blind: "The error page of an unknown proxy is mistaken for the target's.",
        applies: module_proxy_response,
    },
    AttributionRule {
        id: RuleId::CaptivePortal,
        when: "A name that cannot exist resolves to the target's address, so a captive portal in the exporter's \
               network answers every DNS query: `local`. Certain if no control shows otherwise, and the controls ran \
               during the probe. Likely if only a control resolved to an unexpected address.",
        blind: "A resolver that resolves every name, but only under one suffix, is not detected.",
        applies: captive_portal,
    },
    AttributionRule {
        id: RuleId::ResolverFailed,
        when: "The name did not resolve, and no control's name resolved either: `local`. Certain if the names of \
               controls in two domains resolved before and failed during the probe, all without any DNS response.",
        blind: "Requires `controls` with a name.",
        applies: resolver_failed,
    },
    AttributionRule {
        id: RuleId::ControlsFailed,
        when: "The probe failed at resolve or connect, and every control failed too: `local`. Without controls, every \
               other key of this process must have failed. Certain if controls in two places succeeded before, and \
               their connections failed during the probe, all without any response.",
        blind: "Requires `controls`, or five names in three networks. A reachable name contradicts this rule. \
                Reachable IP addresses, used as targets in two networks, contradict it as well. The rule misses an \
                outage that affects the target but not the controls.",
        applies: controls_failed,
    },
    AttributionRule {
        id: RuleId::ResolverNoResponse,
        when: "No name server responded: `dns`.",
        blind: "Without `controls`, a failure of the exporter's own resolver looks the same.",
        applies: |case| {
            let silent = case.reason(Reason::DnsTimedOut) && case.stage(Stage::Resolve);
            case.attribute_if(silent, Link::Dns, Likely)
        },
    },
    AttributionRule {
        id: RuleId::NameNotResolved,
        when: "The exchange stopped at resolve: `dns`. Certain if the name does not exist or has no address of the \
               requested family, or if during the probe a control's name resolves and a control connects. Only \
               likely if the module's proxy opens the connection.",
        blind: "Without `controls`, a failure of the exporter's own resolver looks the same. A proxy may resolve names \
                that the exporter's name server does not know.",
        applies: name_not_resolved,
    },
    AttributionRule {
        id: RuleId::ConnectionRefused,
        when: "The connection was refused, or the host reports that nothing is listening on the UDP port: `edge`.",
        blind: "A firewall that rejects connections looks the same.",
        applies: |case| {
            let refused = case.reason(Reason::TcpRefused) || case.reason(Reason::TcpReset);
            let closed = case.reason(Reason::DnsServerUnreachable) || case.reason(Reason::QuicRefused);
            case.attribute_if(closed || (refused && case.stage(Stage::Connect)), Link::Edge, Likely)
        },
    },
    AttributionRule {
        id: RuleId::DatagramNoResponse,
        when: "A datagram received no response, or a router or host reported that it was not delivered: `network`.",
        blind: "A dead or overloaded machine, or a firewall that drops packets, looks the same as a lost datagram.",
        applies: datagram_no_response,
    },
    AttributionRule {
        id: RuleId::ConnectNoResponse,
        when: "The connection attempt received no response, or there is no route: `network`.",
        blind: "A dead machine, or a firewall that drops packets, looks the same.",
        applies: |case| case.attribute_if(case.stage(Stage::Connect), Link::Network, Likely),
    },
    AttributionRule {
        id: RuleId::TlsFailed,
        when: "The handshake failed after the server had sent part of it, the certificate was rejected, or a TLS alert \
               arrived later: `tls`. A missing common version or cipher suite is certain if additional connections \
               prove it. It is likely if they show something else or could not be opened. A handshake that ended in \
               silence, a close or a reset is also likely, because the network may be the cause. So is an alert after the \
               handshake.",
        blind: "Behind STARTTLS and proxies, the exporter opens no additional connections. A proxy that accepts \
                CONNECT and then returns its own page looks like a target without TLS, so this verdict is only likely.",
        applies: |case| {
            let failed = case.stage(Stage::Secure) && !case.ended_before_tls();
            // A proxy may accept CONNECT and then send its own page.
            let may_be_the_proxys = case.reason(Reason::TlsNotSupported) && case.is_through_a_proxy();
            // A network that loses large packets or cuts the connection looks like a server that stops in the
            // handshake.
            let may_be_the_networks = [Reason::TlsTimedOut, Reason::TlsClosed, Reason::TcpReset]
                .into_iter()
                .any(|reason| case.reason(reason));
            // A server that fails for another reason may also end the connection with an alert.
            let is_a_late_alert = case.reason(Reason::TlsAlert) && !case.stage(Stage::Secure);
            let inferred =
                case.cause_in_tls_is_inferred() || may_be_the_proxys || may_be_the_networks || is_a_late_alert;
            let certainty = if inferred { Likely } else { Certain };
            case.attribute_if(failed || case.family(ReasonFamily::Tls), Link::Tls, certainty)
        },
    },
    AttributionRule {
        id: RuleId::ContentAssertionFailed,
        when: "The response was accepted, but its body, headers or version fail an assertion, or the module does not \
               accept its size or coding: `content`. Only likely if the deadline passed while a dialogue was waiting \
               for another line.",
        blind: "A slow server that has sent its greeting but not yet the expected line looks like a server that sends \
                something else.",
        applies: content_assertion_failed,
    },
    AttributionRule {
        id: RuleId::GrpcHealthStatus,
        when: "The health service reports that the service is not serving, or ends the call with a status other than \
               OK: `origin`. If a known gateway is at the edge and the status is UNAVAILABLE or DEADLINE_EXCEEDED: \
               `upstream`.",
        blind: "An unknown gateway may end calls without asking its backend.",
        applies: grpc_health_status,
    },
    AttributionRule {
        id: RuleId::WebsocketNotUpgraded,
        when: "The response succeeded but does not switch to the WebSocket protocol. If a known gateway is at the \
               edge: `edge`, because the gateway may not forward the upgrade request. Otherwise: `origin`.",
        blind: "A path that does not serve a WebSocket looks the same.",
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
        when: "The redirects do not end, or have no usable location: `origin`.",
        blind: "An edge that issues its own redirects (to https, to a canonical name) can form a loop with its origin.",
        applies: |case| {
            let loops = case.reason(Reason::HttpResponseRedirectLoop) || case.reason(Reason::HttpResponseBadRedirect);
            case.attribute_if(loops, Link::Origin, Likely)
        },
    },
    AttributionRule {
        id: RuleId::ResponseSlow,
        when: "The response is correct but slower than `fail_if_slower_than`: `origin`. If the backend responds fast \
               to a direct request: `upstream`.",
        blind: "Without backends, the edge may be the slow part.",
        applies: response_slow,
    },
    AttributionRule {
        id: RuleId::BackendBroken,
        when: "A direct request to a backend was refused, broke off, received no response after connecting, or met an \
               invalid certificate, and the edge fails in the matching way: `upstream` with exactly that cause, side \
               `origin`. Certain if the edge's response is proven to be a gateway's own and indicates only this cause. \
               If the response indicates this cause among others, the verdict is certain only if the backend accepted \
               a connection from the exporter within the last hour or is marked `reachable`. If the response excludes \
               this cause, the verdict is likely, lists the reasons of both and has no side.",
        blind: "A backend that accepts only its own gateway looks dead to the exporter. Omit it from `backends`, or \
                let it accept the exporter. The backend's state is ignored if the edge relayed a response or rejected \
                the request itself. The gateway may trust certificates or parse responses that the exporter rejects, \
                so a failed handshake or a malformed response is never certain.",
        applies: backend_broken,
    },
    AttributionRule {
        id: RuleId::BackendFailsAlike,
        when: "A backend, asked directly, also returned a status or content that the module rejects: `origin`. Certain \
               if edge and backend both return 500 with the same specific text, and neither response shows a gateway \
               or a framework's error page. If the backend's response is a gateway's page for an upstream failure: \
               `upstream`, certain if the edge relays it. If only some of the direct requests fail, because they \
               met different members of a pool or an intermittent fault: never more than likely.",
        blind: "A backend that distinguishes the exporter from its gateway (by address or by header) may respond \
                differently: 401, 403, 407, 421 and 429 count only if the edge returns the same status.",
        applies: backend_fails_alike,
    },
    AttributionRule {
        id: RuleId::ClientCertificateRequired,
        when: "The handshake requested a client certificate, and the response states that none was sent or that it was \
               not accepted: `tls`.",
        blind: "A gateway that also requests one may relay its backend's complaint about the gateway's own \
                certificate.",
        applies: |case| {
            let demanded = case.demands_client_cert();
            demanded.then(|| Attribution::on(Link::Tls, Likely, Reason::TlsClientCert))
        },
    },
    AttributionRule {
        id: RuleId::GatewayOwnError,
        when: "A known gateway returned its own page or field for its own refusal or failure: `edge`. Certain if the \
               response is proven to be the gateway's, the product runs only at the edge (such as a CDN), and no \
               backend shows the product or returns the same response. A field that only the \
               gateway's own responses contain counts as proof, and so does a page whose whole text is unique to the \
               product.",
        blind: "If the application behind the gateway uses the same product, it returns the same page. Another gateway \
                in front of this one may leave no trace.",
        applies: gateway_own_error,
    },
    AttributionRule {
        id: RuleId::GatewayRelayedResponse,
        when: "A known gateway marks the response as relayed from its backend: `origin`.",
        blind: "",
        applies: gateway_relayed_response,
    },
    AttributionRule {
        id: RuleId::BaselineHeadersPresent,
        when: "The response comes from the application: `origin`. It contains a field that successful responses of \
               this key always contain and the gateway never writes. Or a backend is healthy when asked directly, and \
               the response contains a field that identifies this backend, or is a 500 in JSON or on a framework's \
               error page. The rule does not apply if a known gateway generates such a page.",
        blind: "Requires backends. Without them, it requires a successful response and a response that the gateway \
                generated itself, both since the exporter started. A gateway built on an application framework \
                generates the same page for its own failures.",
        applies: baseline_headers_present,
    },
    AttributionRule {
        id: RuleId::BackendHealthy,
        when: "A backend responds to direct requests, but the edge fails: `upstream`, side `gateway`, never more than \
               likely. The side requires at least three failed requests to the edge, in this probe and in earlier ones, \
               and a rate of failures that is higher than the backend's (less than 5 % by chance). Otherwise, only the \
               edge's response decides. If the status does not concern the backend: `edge`, under the same condition. \
               If there is no response at all: `edge`. If the healthy response is slower or larger than the gateway \
               allows: `upstream`, side `origin`.",
        blind: "A rare intermittent fault may occur in three requests to the edge and in none of the direct requests.",
        applies: backend_healthy,
    },
    AttributionRule {
        id: RuleId::GatewayUpstreamError,
        when: "A known gateway returned its own page or field for an upstream failure: `upstream`. Certain if the \
               response has no other meaning and is proven to be the gateway's. A field that only \
               the gateway's own responses contain counts as proof, and so does a page whose whole text is unique to \
               the product.",
        blind: "Custom error pages hide the product. If a product returns the same page for many causes, the \
                verdict lists the most likely reasons.",
        applies: gateway_upstream_error,
    },
    AttributionRule {
        id: RuleId::PlaintextToTlsPort,
        when: "The response states that the port expects TLS, or the port completes a TLS handshake but did not \
               respond to plain text: `tls`. If the exporter reached the edge over TLS, or the edge itself rejects the \
               reference request: `upstream`.",
        blind: "Without the reference request, a gateway that speaks plain text and relays its backend's complaint \
                looks like a port that expects TLS.",
        applies: plaintext_to_tls_port,
    },
    AttributionRule {
        id: RuleId::ExchangeBrokenBehindGateway,
        when: "The response broke off, was not HTTP or did not arrive, and there is a gateway: `upstream`. A gateway \
               is known from its response, or because it rejected the reference request itself.",
        blind: "A gateway that fails internally looks the same. So does a server without a gateway that rejects the \
                reference request.",
        applies: |case| {
            let behind = case.broke() && (case.gateway().is_some() || case.edge_lives);
            behind.then(|| Attribution::any_of(Link::Upstream, Likely, &case.as_upstream()))
        },
    },
    AttributionRule {
        id: RuleId::ExchangeBrokenAtEdge,
        when: "The response broke off, was not HTTP or did not arrive, and no gateway is known at the edge: `edge`.",
        blind: "An undetected gateway may relay its backend's failure: `reference_request` shows the difference.",
        applies: |case| case.attribute_if(case.broke(), Link::Edge, Likely),
    },
    AttributionRule {
        id: RuleId::MatchesReferenceErrorPage,
        when: "The response has the same structure as the page with which the edge rejected the reference request. For \
               502 to 504: `upstream`. For other statuses: `edge`.",
        blind: "Two servers of the same product generate the same page.",
        applies: |case| by_the_edge(case, case.looks_like_the_edges_own()),
    },
    AttributionRule {
        id: RuleId::NotAGatewayPage,
        when: "A known gateway is at the edge, and the response is not one of its own pages: `origin`.",
        blind: "The gateway's custom error pages look the same.",
        applies: |case| {
            let others = case.refused().is_some() && case.gateway().is_some();
            others.then(|| Attribution::on(Link::Origin, Likely, Reason::OriginStatus))
        },
    },
    AttributionRule {
        id: RuleId::GenericErrorPage,
        when: "No gateway is known at the edge, and the response is a page that a known gateway generates, but other \
               software does too. For 500 and 502 to 504: `upstream`. For other statuses: `edge`. Never more than \
               likely.",
        blind: "Go programs generate the same pages as gateways written in Go.",
        applies: generic_error_page,
    },
    AttributionRule {
        id: RuleId::BaselineHeadersMissing,
        when: "Successful responses of this key always contain at least two fields that the gateway never writes. This \
               response contains none of them, so the gateway generated it. For 502 to 504: `upstream`. For other \
               statuses: `edge`.",
        blind: "An application whose error responses take a different path from its successful ones lacks these fields \
                as well.",
        applies: |case| {
            let marks = case.facts.baseline.through_marks()?;
            let reply = case.refused()?;
            let none = !marks.iter().any(|name| reply.headers.contains_key(*name));
            by_the_edge(case, none && marks.len() >= 2)
        },
    },
    AttributionRule {
        id: RuleId::CustomErrorPage,
        when: "No gateway is known at the edge, and the response is JSON or a page with custom text: `origin`.",
        blind: "A gateway's custom error pages look the same.",
        applies: |case| {
            let custom = case.refused().is_some_and(heuristics::is_custom);
            custom.then(|| Attribution::on(Link::Origin, Likely, Reason::OriginStatus))
        },
    },
    AttributionRule {
        id: RuleId::BareErrorPage,
        when: "No gateway is known at the edge, and the error page contains only its status line. For 502, 503 and \
               504: `upstream`. For 401, 403, 408, 413, 414, 421, 429, 431 and 494 to 497: `edge`.",
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
        when: "Either a gateway or the application may have failed, and the evidence is inconclusive: `unknown`.",
        blind: "",
        applies: |case| case.attribute_if(case.fault().is_some(), Link::Unknown, Likely),
    },
];
