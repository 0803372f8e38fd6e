//! Tests of the rules: for each rule, evidence that matches it and similar evidence that must not match.

use super::{Facts, MASKS, RULES, attribute};
use crate::backend::Backend;
use crate::baseline::Baseline;
use crate::chain::{Link, Stage};
use crate::gateways;
use crate::investigation::{
    Control, ControlOutcome, DiagnosticKind, DiagnosticOutcome, DiagnosticResult, DirectRequest, Investigation, Vantage,
};
use crate::reason::Reason;
use crate::report::{Exchange, Fault, Health, ProtocolFacts, Reply, Report, TlsFacts};
use crate::rule_id::RuleId;
use crate::stage_log::StageLog;
use crate::verdict::{Certainty, Side, Verdict};
use proptest::prelude::*;
use std::time::{Duration, SystemTime};

/// Input of an attribution, with builder methods.
#[derive(Clone, Debug)]
struct World {
    edge: Report,
    diagnostics: WorldDiagnostics,
    baseline: Baseline,
    vantage: Option<Vantage>,
}

/// The results of the diagnostics, to be filled.
#[derive(Clone, Debug, Default)]
struct WorldDiagnostics {
    backends: Vec<DirectRequest>,
    bypass: Option<Report>,
    again: Option<Report>,
    reference: Option<Report>,
    handshake: Option<Report>,
}

impl WorldDiagnostics {
    fn investigation(&self) -> Investigation {
        let mut investigation = Investigation::default();
        let mut put = |kind, outcome| investigation.put(DiagnosticResult { kind, outcome });
        if !self.backends.is_empty() {
            put(
                DiagnosticKind::Backends,
                DiagnosticOutcome::Direct(self.backends.clone()),
            );
        }
        for (kind, report) in [
            (DiagnosticKind::CacheBypass, &self.bypass),
            (DiagnosticKind::Http1Retry, &self.again),
            (DiagnosticKind::ReferenceRequest, &self.reference),
            (DiagnosticKind::Handshake, &self.handshake),
        ] {
            if let Some(report) = report {
                put(kind, DiagnosticOutcome::Edge(Box::new(report.clone())));
            }
        }
        investigation
    }
}

impl World {
    fn of(edge: Report) -> Self {
        Self {
            edge,
            diagnostics: WorldDiagnostics::default(),
            baseline: Baseline::default(),
            vantage: None,
        }
    }

    fn backend(mut self, report: Report) -> Self {
        let name = format!("backend{}", self.diagnostics.backends.len());
        self.diagnostics.backends.push(DirectRequest {
            backend: Backend {
                trusted: true,
                ..Backend::new(&name, "10.0.0.7:80").unwrap()
            },
            reachable: false,
            held_back: false,
            report,
            handshake: None,
        });
        self
    }

    /// Marks the last backend as recently reachable from the exporter.
    fn reachable(mut self) -> Self {
        self.diagnostics.backends.last_mut().unwrap().reachable = true;
        self
    }

    fn reference(mut self, report: Report) -> Self {
        self.diagnostics.reference = Some(report);
        self
    }

    fn try_judge(&self) -> Option<Verdict> {
        attribute(&Facts {
            edge: &self.edge,
            diagnostics: Some(&self.diagnostics.investigation()),
            baseline: &self.baseline,
            vantage: self.vantage.as_ref(),
        })
    }

    #[track_caller]
    fn says(&self, rule: RuleId, link: Link, reason: Reason) -> Verdict {
        let verdict = self.try_judge().expect("a verdict");
        assert_eq!(
            (verdict.rule, verdict.link, verdict.reason),
            (rule, link, reason),
            "{verdict:#?}"
        );
        assert_eq!(verdict.masked, self.edge.succeeded());
        verdict
    }
}

fn stopped(stage: Stage, reason: Reason) -> Report {
    let mut stage_log = StageLog::default();
    stage_log
        .begin(stage, Duration::ZERO)
        .fail(Duration::from_millis(3), reason);
    Report {
        began: SystemTime::UNIX_EPOCH,
        took: Duration::from_millis(3),
        timeout: Duration::from_secs(1),
        exchanges: vec![Exchange {
            stage_log,
            ..Exchange::default()
        }],
        fault: Some(Fault {
            stage,
            reason,
            detail: String::new(),
            at_deadline: false,
        }),
    }
}

fn reply(status: u16, body: &str, headers: &[(&'static str, &'static str)]) -> Reply {
    let fields = headers.iter().map(|(name, value)| {
        let name = http::HeaderName::from_static(name);
        (name, http::HeaderValue::from_static(value))
    });
    Reply {
        status,
        headers: fields.collect(),
        body_length: body.len() as u64,
        body_start: body.as_bytes().to_vec(),
        ..Reply::default()
    }
}

/// A report with a rejected status.
fn refused(status: u16, body: &str, headers: &[(&'static str, &'static str)]) -> Report {
    let mut report = stopped(Stage::Receive, Reason::HttpStatus);
    report.exchanges[0].reply = Some(reply(status, body, headers));
    report
}

fn good(body: &str, headers: &[(&'static str, &'static str)]) -> Report {
    let mut report = refused(200, body, headers);
    report.fault = None;
    report
}

/// The same report with this time to the first byte, in milliseconds.
fn after(mut report: Report, millis: u64) -> Report {
    let mut stage_log = StageLog::default();
    stage_log
        .begin(Stage::Wait, Duration::ZERO)
        .finish(Duration::from_millis(millis));
    report.exchanges[0].stage_log = stage_log;
    report.took = Duration::from_millis(millis);
    report
}

const NGINX: &[(&str, &str)] = &[("server", "nginx")];
const NGINX_502: &str = "<html><head><title>502 Bad Gateway</title></head><body><center><h1>502 Bad Gateway</h1></center>\
    <hr><center>nginx</center></body></html>";
const NGINX_400: &str = "<html><head><title>400 Bad Request</title></head><body><center><h1>400 Bad Request</h1></center>\
    <hr><center>nginx</center></body></html>";
const TLS_400: &str = "<h1>400 Bad Request</h1>Client sent an HTTP request to an HTTPS server.";

fn vantage(outcomes: &[(bool, ControlOutcome)]) -> Vantage {
    let controls = outcomes
        .iter()
        .enumerate()
        .map(|(number, (needs_name, outcome))| Control {
            what: "a control".to_owned(),
            needs_name: *needs_name,
            outcome: *outcome,
            got_response: false,
            place: number.to_string(),
            connects: !needs_name,
            has_answered: true,
            detail: String::new(),
            began: SystemTime::UNIX_EPOCH,
            timings: Vec::new(),
        });
    Vantage {
        controls: controls.collect(),
        ..Vantage::default()
    }
}

#[test]
fn local_failure() {
    let world = World::of(stopped(Stage::Resolve, Reason::LocalResolverUnreachable));
    world.says(RuleId::LocalFailure, Link::Local, Reason::LocalResolverUnreachable);
}

const PORTAL: [u8; 4] = [10, 0, 0, 1];

fn at_portal(mut report: Report) -> Report {
    report.exchanges[0].url = "http://shop.test/".to_owned();
    report.exchanges[0].peer = Some((PORTAL, 80).into());
    report
}

#[test]
fn token_request_failed() {
    let mut report = stopped(Stage::Connect, Reason::TcpRefused);
    report.exchanges[0].for_credentials = true;
    World::of(report).says(RuleId::TokenRequestFailed, Link::Local, Reason::LocalCredentials);
}

#[test]
fn module_proxy_failed() {
    let mut report = stopped(Stage::Connect, Reason::TcpRefused);
    report.exchanges[0].proxy = Some("http://proxy.test:3128".to_owned());
    World::of(report).says(RuleId::ModuleProxyFailed, Link::Local, Reason::TcpRefused);
    let refused = stopped(Stage::Tunnel, Reason::ProxyRefused);
    World::of(refused).says(RuleId::ModuleProxyFailed, Link::Local, Reason::ProxyRefused);
    let mut behind = stopped(Stage::Secure, Reason::TlsClosed);
    behind.exchanges[0].proxy = Some("http://proxy.test:3128".to_owned());
    World::of(behind.clone()).says(RuleId::ModuleProxyFailed, Link::Local, Reason::TlsClosed);
    let mut through = StageLog::default();
    through.begin(Stage::Tunnel, Duration::ZERO).finish(Duration::ZERO);
    behind.exchanges[0].stage_log = through;
    World::of(behind).says(RuleId::TlsFailed, Link::Tls, Reason::TlsClosed);
}

#[test]
fn proxy_cannot_reach_target() {
    let mut report = stopped(Stage::Tunnel, Reason::ProxyTargetUnreachable);
    report.exchanges[0].proxy = Some("http://proxy.test:3128".to_owned());
    World::of(report).says(
        RuleId::ProxyCannotReachTarget,
        Link::Network,
        Reason::ProxyTargetUnreachable,
    );
}

#[test]
fn captive_portal() {
    let mut world = World::of(at_portal(refused(302, "", &[])));
    world.vantage = Some(Vantage {
        captive: true,
        captive_for_all: true,
        portal: vec![PORTAL.into()],
        ..vantage(&[(true, ControlOutcome::Answered)])
    });
    world.says(RuleId::CaptivePortal, Link::Local, Reason::LocalCaptivePortal);
}

#[test]
fn success_from_captive_portal() {
    let mut world = World::of(at_portal(good("Welcome to the hotel", &[])));
    world.vantage = Some(Vantage {
        captive: true,
        captive_for_all: true,
        portal: vec![PORTAL.into()],
        ..Vantage::default()
    });
    world.says(
        RuleId::SuccessFromCaptivePortal,
        Link::Local,
        Reason::LocalCaptivePortal,
    );
}

#[test]
fn resolver_failed() {
    let mut world = World::of(stopped(Stage::Resolve, Reason::DnsTimedOut));
    world.vantage = Some(vantage(&[
        (true, ControlOutcome::NoName),
        (false, ControlOutcome::Answered),
    ]));
    world.says(RuleId::ResolverFailed, Link::Local, Reason::LocalResolverUnreachable);
}

#[test]
fn controls_failed() {
    let mut world = World::of(stopped(Stage::Connect, Reason::TcpTimedOut));
    world.vantage = Some(vantage(&[
        (false, ControlOutcome::NoConnection),
        (false, ControlOutcome::NoConnection),
    ]));
    let verdict = world.says(RuleId::ControlsFailed, Link::Local, Reason::LocalControlsFailed);
    assert_eq!(verdict.certainty.as_str(), "certain");
    // A resolver that fails does not explain a connection that does.
    world.vantage = Some(vantage(&[
        (true, ControlOutcome::NoName),
        (true, ControlOutcome::NoName),
    ]));
    let verdict = world.says(RuleId::ControlsFailed, Link::Local, Reason::LocalControlsFailed);
    assert_eq!(verdict.certainty.as_str(), "likely");
    // A single control may itself be down.
    world.vantage = Some(vantage(&[(false, ControlOutcome::NoConnection)]));
    let verdict = world.says(RuleId::ControlsFailed, Link::Local, Reason::LocalControlsFailed);
    assert_eq!(verdict.certainty.as_str(), "likely");
    world.vantage = Some(Vantage {
        outage: true,
        ..Vantage::default()
    });
    let verdict = world.says(RuleId::ControlsFailed, Link::Local, Reason::LocalControlsFailed);
    assert_eq!(verdict.certainty.as_str(), "likely");
    // A control that responds excludes the exporter's network.
    world.vantage = Some(vantage(&[
        (false, ControlOutcome::NoConnection),
        (false, ControlOutcome::Answered),
    ]));
    world.says(RuleId::ConnectNoResponse, Link::Network, Reason::TcpTimedOut);
}

#[test]
fn resolver_no_response() {
    World::of(stopped(Stage::Resolve, Reason::DnsTimedOut)).says(
        RuleId::ResolverNoResponse,
        Link::Dns,
        Reason::DnsTimedOut,
    );
}

#[test]
fn name_not_resolved() {
    let world = World::of(stopped(Stage::Resolve, Reason::DnsServfail));
    world.says(RuleId::NameNotResolved, Link::Dns, Reason::DnsServfail);
}

#[test]
fn connection_refused() {
    let world = World::of(stopped(Stage::Connect, Reason::TcpRefused));
    world.says(RuleId::ConnectionRefused, Link::Edge, Reason::TcpRefused);
}

#[test]
fn datagram_no_response() {
    for (stage, reason) in [
        (Stage::Wait, Reason::DnsTimedOut),
        (Stage::Wait, Reason::IcmpTimedOut),
        (Stage::Wait, Reason::IcmpUnreachable),
        (Stage::Send, Reason::IcmpTooBig),
        (Stage::Send, Reason::TcpAddressUnreachable),
    ] {
        World::of(stopped(stage, reason)).says(RuleId::DatagramNoResponse, Link::Network, reason);
    }
    World::of(stopped(Stage::Wait, Reason::DnsServerUnreachable)).says(
        RuleId::ConnectionRefused,
        Link::Edge,
        Reason::DnsServerUnreachable,
    );
    World::of(stopped(Stage::Resolve, Reason::DnsTimedOut)).says(
        RuleId::ResolverNoResponse,
        Link::Dns,
        Reason::DnsTimedOut,
    );
}

#[test]
fn grpc_health_status() {
    let said = |reason, code, serving| {
        let mut report = stopped(Stage::Receive, reason);
        report.exchanges[0].spoken = Some(ProtocolFacts::Health(Health { code, serving }));
        report
    };
    let not_serving = said(Reason::GrpcNotServing, 0, Some(2));
    World::of(not_serving).says(RuleId::GrpcHealthStatus, Link::Origin, Reason::GrpcNotServing);
    let unavailable = said(Reason::GrpcStatus, 14, None);
    World::of(unavailable.clone()).says(RuleId::GrpcHealthStatus, Link::Origin, Reason::GrpcStatus);
    let mut behind = World::of(unavailable);
    behind.baseline.learn_product("envoy");
    behind.says(RuleId::GrpcHealthStatus, Link::Upstream, Reason::UpstreamFailed);
    let mut unknown = World::of(said(Reason::GrpcStatus, 5, None));
    unknown.baseline.learn_product("envoy");
    unknown.says(RuleId::GrpcHealthStatus, Link::Origin, Reason::GrpcStatus);
}

#[test]
fn websocket_not_upgraded() {
    let mut world = World::of(stopped(Stage::Receive, Reason::WebsocketNotUpgraded));
    world.says(RuleId::WebsocketNotUpgraded, Link::Origin, Reason::WebsocketNotUpgraded);
    world.baseline.learn_product("nginx");
    world.says(RuleId::WebsocketNotUpgraded, Link::Edge, Reason::WebsocketNotUpgraded);
}

#[test]
fn connect_no_response() {
    let world = World::of(stopped(Stage::Connect, Reason::TcpAddressUnreachable));
    world.says(RuleId::ConnectNoResponse, Link::Network, Reason::TcpAddressUnreachable);
}

#[test]
fn what_does_not_speak_tls_behind_a_proxy_may_be_the_proxy() {
    let mut report = stopped(Stage::Secure, Reason::TlsNotSupported);
    assert_eq!(
        World::of(report.clone()).try_judge().unwrap().certainty,
        Certainty::Certain
    );
    report.exchanges[0].proxy = Some("http://10.0.0.1:3128/".to_owned());
    let mut through = StageLog::default();
    through.begin(Stage::Tunnel, Duration::ZERO).finish(Duration::ZERO);
    report.exchanges[0].stage_log = through;
    let verdict = World::of(report).try_judge().unwrap();
    assert_eq!((verdict.link, verdict.certainty), (Link::Tls, Certainty::Likely));
}

#[test]
fn tls_failed() {
    for (stage, reason) in [
        (Stage::Secure, Reason::TlsClosed),
        (Stage::Secure, Reason::TlsTimedOut),
        (Stage::Wait, Reason::TlsClientCert),
        (Stage::Secure, Reason::TlsCertDateInvalid),
    ] {
        World::of(stopped(stage, reason)).says(RuleId::TlsFailed, Link::Tls, reason);
    }
}

/// Without any TLS data from the server, the verdict is the same as for plain HTTP.
#[test]
fn what_ends_before_tls_began_is_judged_as_without_tls() {
    for (secure, wait) in [
        (Reason::TcpReset, Reason::TcpReset),
        (Reason::TcpClosed, Reason::HttpClosedBeforeResponse),
        (Reason::TcpNoResponse, Reason::HttpTimedOutWaiting),
        (Reason::QuicFailed, Reason::HttpClosedBeforeResponse),
    ] {
        let plain = World::of(stopped(Stage::Wait, wait));
        let over_tls = World::of(stopped(Stage::Secure, secure));
        over_tls.says(RuleId::ExchangeBrokenAtEdge, Link::Edge, secure);
        let dead = stopped(Stage::Connect, Reason::TcpRefused);
        let backends = [
            Vec::new(),
            vec![good("", &[])],
            vec![dead.clone()],
            vec![dead, good("", &[])],
        ];
        for product in [None, Some("nginx")] {
            for backends in &backends {
                let [plain, over_tls] = [&plain, &over_tls].map(|world| {
                    let mut world = backends.iter().cloned().fold(world.clone(), World::backend);
                    if let Some(product) = product {
                        world.baseline.learn_product(product);
                    }
                    world.try_judge().unwrap()
                });
                let verdict = |verdict: Verdict| (verdict.rule, verdict.link, verdict.certainty, verdict.side);
                assert_eq!(
                    verdict(plain),
                    verdict(over_tls),
                    "{secure:?}, {product:?}, {} backends",
                    backends.len()
                );
            }
        }
    }
}

#[test]
fn client_certificate_required() {
    const PAGE: &str = "<html><center><h1>400 Bad Request</h1></center>\r\n\
        <center>No required SSL certificate was sent</center>\r\n<hr><center>nginx</center></html>";
    let asked = |asked: bool| {
        let mut edge = refused(400, PAGE, NGINX);
        edge.exchanges[0].tls = Some(TlsFacts {
            client_cert_asked: asked,
            ..TlsFacts::default()
        });
        World::of(edge)
    };
    asked(true).says(RuleId::ClientCertificateRequired, Link::Tls, Reason::TlsClientCert);
    let with_backend = asked(true).backend(good("", &[]));
    with_backend.says(RuleId::ClientCertificateRequired, Link::Tls, Reason::TlsClientCert);
    let before_dead = asked(true).backend(stopped(Stage::Connect, Reason::TcpRefused));
    before_dead.says(RuleId::ClientCertificateRequired, Link::Tls, Reason::TlsClientCert);
    // The backend itself rejects the gateway's missing certificate, whatever the gateway requires of its clients.
    let relayed = asked(true).backend(refused(400, PAGE, NGINX));
    relayed.says(RuleId::BackendFailsAlike, Link::Origin, Reason::OriginStatus);
    let twin = asked(false).try_judge().unwrap();
    assert_ne!((twin.link, twin.reason), (Link::Tls, Reason::TlsClientCert));
}

#[test]
fn content_assertion_failed() {
    let mut edge = good("", &[]);
    edge.fault = stopped(Stage::Receive, Reason::ContentBody).fault;
    World::of(edge.clone()).says(RuleId::ContentAssertionFailed, Link::Content, Reason::ContentBody);
    let verdict =
        World::of(edge)
            .backend(good("", &[]))
            .says(RuleId::ContentAssertionFailed, Link::Content, Reason::ContentBody);
    assert_eq!((verdict.certainty, verdict.side), (Certainty::Certain, None));
}

#[test]
fn redirect_loop() {
    let world = World::of(stopped(Stage::Receive, Reason::HttpResponseRedirectLoop));
    world.says(RuleId::RedirectLoop, Link::Origin, Reason::HttpResponseRedirectLoop);
}

#[test]
fn response_slow() {
    let slow = || World::of(stopped(Stage::Receive, Reason::HttpSlow));
    slow().says(RuleId::ResponseSlow, Link::Origin, Reason::OriginSlow);
    slow().backend(stopped(Stage::Receive, Reason::HttpSlow)).says(
        RuleId::ResponseSlow,
        Link::Origin,
        Reason::OriginSlow,
    );
    let verdict = slow()
        .backend(good("", &[]))
        .says(RuleId::ResponseSlow, Link::Upstream, Reason::UpstreamFailed);
    assert_eq!(verdict.side, Some(Side::Gateway));
}

#[test]
fn backend_broken() {
    for (stage, reason, upstream) in [
        (Stage::Connect, Reason::TcpRefused, Reason::UpstreamConnectionRefused),
        (
            Stage::Secure,
            Reason::TlsCertDateInvalid,
            Reason::UpstreamTlsCertificateError,
        ),
        (
            Stage::Wait,
            Reason::HttpTimedOutWaiting,
            Reason::UpstreamHttpResponseTimeout,
        ),
        (
            Stage::Wait,
            Reason::HttpClosedBeforeResponse,
            Reason::UpstreamConnectionTerminated,
        ),
    ] {
        let world = World::of(refused(502, NGINX_502, NGINX)).backend(stopped(stage, reason));
        let verdict = world.says(RuleId::BackendBroken, Link::Upstream, upstream);
        assert_eq!(verdict.side, Some(Side::Origin));
    }
    // The gateway itself refuses, whatever the state of its backend.
    let denied = World::of(refused(403, "RBAC: access denied", &[("server", "envoy")]));
    let denied = denied.backend(stopped(Stage::Connect, Reason::TcpRefused));
    denied.says(RuleId::GatewayOwnError, Link::Edge, Reason::EdgeDenied);
}

#[test]
fn silence_of_a_backend_is_an_answer_only_where_it_is_known_to_be_reachable() {
    let mut world = World::of(refused(504, "", NGINX)).backend(stopped(Stage::Connect, Reason::TcpTimedOut));
    assert_ne!(world.try_judge().unwrap().rule, RuleId::BackendBroken);
    world.diagnostics.backends[0].reachable = true;
    world.says(RuleId::BackendBroken, Link::Upstream, Reason::UpstreamConnectionTimeout);
}

#[test]
fn a_backend_that_speaks_tls_was_asked_in_plain_text() {
    let mut world = World::of(refused(502, NGINX_502, NGINX));
    world = world.backend(stopped(Stage::Wait, Reason::HttpClosedBeforeResponse));
    let mut handshake = stopped(Stage::Secure, Reason::TlsCertAuthorityInvalid);
    handshake.exchanges[0].tls = Some(TlsFacts::default());
    world.diagnostics.backends[0].handshake = Some(handshake);
    world.says(RuleId::BackendBroken, Link::Upstream, Reason::UpstreamTlsRequired);
}

#[test]
fn backend_fails_alike() {
    let alike = World::of(refused(500, "{}", &[])).backend(refused(500, "{}", &[]));
    alike.says(RuleId::BackendFailsAlike, Link::Origin, Reason::OriginStatus);
    // A second gateway is behind the gateway.
    let chain = World::of(refused(502, "", &[])).backend(refused(502, NGINX_502, NGINX));
    let verdict = chain
        .clone()
        .says(RuleId::BackendFailsAlike, Link::Upstream, Reason::UpstreamFailed);
    assert_eq!((verdict.side, verdict.answered_by), (Some(Side::Origin), "nginx"));
    // The backend of the second gateway is healthy.
    let verdict =
        chain
            .backend(good("", &[]))
            .says(RuleId::BackendFailsAlike, Link::Upstream, Reason::UpstreamUnreachable);
    assert_eq!(verdict.side, Some(Side::Gateway));
}

#[test]
fn a_backend_that_did_not_get_the_modules_credentials_may_refuse_us() {
    let mut world = World::of(refused(502, "", &[])).backend(refused(500, "", &[]));
    world.says(RuleId::BackendFailsAlike, Link::Origin, Reason::OriginStatus);
    world.diagnostics.backends[0].held_back = true;
    assert_eq!(world.try_judge().unwrap().rule, RuleId::BareErrorPage);
}

#[test]
fn a_redirect_to_another_host_leaves_the_backends_behind() {
    let mut edge = refused(502, "", &[]);
    let mut first = good("", &[]).exchanges.remove(0);
    first.url = "http://shop.test/".to_owned();
    edge.exchanges[0].url = "https://login.test/".to_owned();
    edge.exchanges.insert(0, first);
    let mut world = World::of(edge).backend(good("", &[]));
    assert_eq!(world.try_judge().unwrap().rule, RuleId::BareErrorPage);
    world.edge.exchanges[1].url = "https://shop.test/".to_owned();
    assert_eq!(world.try_judge().unwrap().rule, RuleId::BackendHealthy);
    // A backend that also only redirects did not receive the request that failed.
    world.diagnostics.backends[0].report.exchanges[0]
        .reply
        .as_mut()
        .unwrap()
        .status = 301;
    assert_eq!(world.try_judge().unwrap().rule, RuleId::BareErrorPage);
}

#[test]
fn gateway_own_error() {
    let world = World::of(refused(403, "RBAC: access denied", &[("server", "envoy")]));
    world.says(RuleId::GatewayOwnError, Link::Edge, Reason::EdgeDenied);
}

#[test]
fn backend_healthy() {
    let world = World::of(refused(502, NGINX_502, NGINX)).backend(good("", &[]));
    let verdict = world.says(RuleId::BackendHealthy, Link::Upstream, Reason::UpstreamUnreachable);
    assert_eq!(verdict.side, Some(Side::Gateway));
    for (edge, link, reason) in [
        (refused(503, "x", &[]), Link::Upstream, Reason::UpstreamUnreachable),
        (refused(404, "x", &[]), Link::Edge, Reason::EdgeNotFound),
        (refused(500, "x", &[]), Link::Edge, Reason::EdgeInternalError),
        (
            stopped(Stage::Wait, Reason::HttpClosedBeforeResponse),
            Link::Edge,
            Reason::EdgeInternalError,
        ),
        (
            stopped(Stage::Wait, Reason::HttpTimedOutWaiting),
            Link::Upstream,
            Reason::UpstreamHttpResponseTimeout,
        ),
    ] {
        World::of(edge)
            .backend(good("", &[]))
            .says(RuleId::BackendHealthy, link, reason);
    }
}

#[test]
fn a_gateway_without_the_patience_or_the_room_for_a_healthy_answer() {
    let page = NGINX_502.replace("502", "504");
    let world = World::of(after(refused(504, &page, NGINX), 2000)).backend(after(good("", &[]), 2500));
    let verdict = world.says(
        RuleId::BackendHealthy,
        Link::Upstream,
        Reason::UpstreamHttpResponseTimeout,
    );
    assert_eq!(verdict.side, Some(Side::Origin));
    let mut backend = good("", &[]);
    backend.exchanges[0].reply.as_mut().unwrap().head_size = 20_000;
    let world = World::of(refused(502, NGINX_502, NGINX)).backend(backend);
    let verdict = world.says(
        RuleId::BackendHealthy,
        Link::Upstream,
        Reason::UpstreamHttpResponseHeaderSectionSize,
    );
    assert_eq!(verdict.side, Some(Side::Origin));
}

#[test]
fn gateway_upstream_error() {
    let world = World::of(refused(502, NGINX_502, NGINX));
    let verdict = world.says(RuleId::GatewayUpstreamError, Link::Upstream, Reason::UpstreamFailed);
    assert_eq!(verdict.answered_by, "nginx");
    assert!(verdict.reasons.len() <= super::MOST_REASONS);
    let fields = [("proxy-status", "edge; error=dns_timeout")];
    World::of(refused(504, "", &fields)).says(RuleId::GatewayUpstreamError, Link::Upstream, Reason::UpstreamDnsTimeout);
}

#[test]
fn plaintext_to_tls_port() {
    let plain = World::of(refused(400, TLS_400, &[]));
    plain.says(RuleId::PlaintextToTlsPort, Link::Tls, Reason::TlsRequired);
    let behind = plain.reference(refused(400, NGINX_400, NGINX));
    behind.says(RuleId::PlaintextToTlsPort, Link::Upstream, Reason::UpstreamTlsRequired);
    let mut silent = World::of(stopped(Stage::Wait, Reason::HttpClosedBeforeResponse));
    silent.diagnostics.handshake = Some(stopped(Stage::Secure, Reason::TlsAlert));
    silent.says(RuleId::PlaintextToTlsPort, Link::Tls, Reason::TlsRequired);
}

#[test]
fn gateway_relayed_response() {
    let fields = [("server", "envoy"), ("x-envoy-upstream-service-time", "3")];
    let verdict =
        World::of(refused(500, "x", &fields)).says(RuleId::GatewayRelayedResponse, Link::Origin, Reason::OriginStatus);
    assert_eq!(verdict.answered_by, "envoy");
}

#[test]
fn baseline_headers_present() {
    let mut world = World::of(refused(503, "", &[("x-app", "1")]));
    world
        .baseline
        .learn_good(&reply(200, "", &[("x-app", "1"), ("x-more", "1")]));
    world
        .baseline
        .learn_gateway_response(&reply(400, "", &[("server", "edge")]));
    world.says(RuleId::BaselineHeadersPresent, Link::Origin, Reason::OriginStatus);
}

#[test]
fn baseline_headers_missing() {
    let mut world = World::of(refused(500, "", &[("server", "edge")]));
    world
        .baseline
        .learn_good(&reply(200, "", &[("x-app", "1"), ("x-more", "1")]));
    world
        .baseline
        .learn_gateway_response(&reply(400, "", &[("server", "edge")]));
    world.says(RuleId::BaselineHeadersMissing, Link::Edge, Reason::EdgeInternalError);
}

#[test]
fn exchange_broken_behind_gateway() {
    let broken = || World::of(stopped(Stage::Receive, Reason::HttpClosedMidBody));
    let mut known = broken();
    known.baseline.learn_product("haproxy");
    known.says(
        RuleId::ExchangeBrokenBehindGateway,
        Link::Upstream,
        Reason::UpstreamHttpResponseIncomplete,
    );
    let lives = broken().reference(refused(400, "Bad Request", &[]));
    lives.says(
        RuleId::ExchangeBrokenBehindGateway,
        Link::Upstream,
        Reason::UpstreamHttpResponseIncomplete,
    );
    // The baseline replaces a reference request for each probe.
    let mut earlier = broken();
    earlier.baseline.refused_fields = Some(400);
    assert_eq!(earlier.try_judge().unwrap().rule, RuleId::ExchangeBrokenBehindGateway);
}

#[test]
fn exchange_broken_at_edge() {
    let world = World::of(stopped(Stage::Receive, Reason::HttpResponseInvalid));
    world.says(RuleId::ExchangeBrokenAtEdge, Link::Edge, Reason::HttpResponseInvalid);
    // A reference request that fails like any other request does not prove that the edge is alive.
    let world = world.reference(stopped(Stage::Wait, Reason::HttpTimedOutWaiting));
    world.says(RuleId::ExchangeBrokenAtEdge, Link::Edge, Reason::HttpResponseInvalid);
}

#[test]
fn matches_reference_error_page() {
    let page = |status: &str| format!("<html><h1>{status}</h1><address>edge</address></html>");
    let refusal = refused(400, &page("400 Bad Request"), &[("server", "edge")]);
    for (status, link) in [(502, Link::Upstream), (500, Link::Edge)] {
        let edge = refused(status, &page("Oh no, that did not work at all"), &[("server", "edge")]);
        let verdict = World::of(edge).reference(refusal.clone()).try_judge().unwrap();
        assert_eq!((verdict.rule, verdict.link), (RuleId::MatchesReferenceErrorPage, link));
    }
}

#[test]
fn not_a_gateway_page() {
    let world = World::of(refused(500, "x", NGINX));
    let verdict = world.says(RuleId::NotAGatewayPage, Link::Origin, Reason::OriginStatus);
    assert_eq!(verdict.answered_by, "nginx");
}

#[test]
fn generic_error_page() {
    let bare = |status, body| World::of(refused(status, body, &[]));
    let verdict = bare(502, "Bad Gateway").try_judge().unwrap();
    assert_eq!(
        (verdict.rule, verdict.link, verdict.answered_by),
        (RuleId::GenericErrorPage, Link::Upstream, "traefik")
    );
    assert_eq!(verdict.certainty.as_str(), "likely");
    bare(404, "404 page not found").says(RuleId::GenericErrorPage, Link::Edge, Reason::EdgeNotFound);
    // A different gateway is known at the edge, so other software generated the page.
    let mut known = bare(502, "Bad Gateway");
    known.baseline.learn_product("haproxy");
    known.says(RuleId::NotAGatewayPage, Link::Origin, Reason::OriginStatus);
    // The page implies nothing about the backends of the machine that returned it.
    let backend = bare(500, "Internal Server Error").backend(refused(500, "Internal Server Error", &[]));
    backend.says(RuleId::BackendFailsAlike, Link::Origin, Reason::OriginStatus);
    // Go programs generate this response for their own errors.
    let own = refused(500, "Internal Server Error", &[("x-content-type-options", "nosniff")]);
    World::of(own).says(RuleId::Undecided, Link::Unknown, Reason::HttpStatus);
}

#[test]
fn custom_error_page() {
    let world = World::of(refused(
        503,
        "<h1>The shop is being updated, please come back</h1>",
        &[],
    ));
    world.says(RuleId::CustomErrorPage, Link::Origin, Reason::OriginStatus);
}

#[test]
fn bare_error_page() {
    World::of(refused(502, "", &[])).says(RuleId::BareErrorPage, Link::Upstream, Reason::UpstreamFailed);
    World::of(refused(429, "", &[])).says(RuleId::BareErrorPage, Link::Edge, Reason::EdgeRateLimited);
}

#[test]
fn undecided() {
    World::of(refused(500, "", &[])).says(RuleId::Undecided, Link::Unknown, Reason::HttpStatus);
}

#[test]
fn success_with_broken_backend() {
    let world = World::of(good("x", &[])).backend(stopped(Stage::Connect, Reason::TcpRefused));
    let verdict = world.says(
        RuleId::SuccessWithBrokenBackend,
        Link::Upstream,
        Reason::UpstreamConnectionRefused,
    );
    assert_eq!(verdict.side, Some(Side::Origin));
    let world = World::of(good("x", &[])).backend(refused(500, "{}", &[]));
    world.says(RuleId::SuccessWithBrokenBackend, Link::Origin, Reason::OriginStatus);
    let world = World::of(good("x", &[])).backend(stopped(Stage::Connect, Reason::TcpTimedOut));
    assert_eq!(world.try_judge(), None, "silence may be a firewall's");
}

#[test]
fn repaired_upstream_response() {
    let transformed = ("x-transformed-from", "HTTP/0.9");
    let written_by_an_application = World::of(good("x", &[transformed, ("server", "gunicorn")]));
    assert_eq!(written_by_an_application.try_judge(), None);
    let world = World::of(good("x", &[transformed, ("via", "1.1 proxy (squid/5.7)")]));
    world.says(
        RuleId::RepairedUpstreamResponse,
        Link::Upstream,
        Reason::UpstreamHttpProtocolError,
    );
    let mut world = World::of(good("x", &[]));
    world.edge.exchanges[0].wire.heads = Some(19);
    world.edge.exchanges[0].wire.excerpt = b"HTTP/1.1 200 OK\r\n\r\nSSH-2.0-OpenSSH".to_vec();
    world.says(
        RuleId::RepairedUpstreamResponse,
        Link::Upstream,
        Reason::UpstreamHttpProtocolError,
    );
    world.edge.exchanges[0].wire.excerpt = b"HTTP/1.1 200 OK\r\n\r\nHTTP is a protocol".to_vec();
    assert_eq!(world.try_judge(), None);
    // An interim response does not count as content.
    world.edge.exchanges[0].wire.excerpt = b"HTTP/1.1 103 \r\n\r\nHTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200".to_vec();
    world.edge.exchanges[0].wire.heads = Some(36);
    world.says(
        RuleId::RepairedUpstreamResponse,
        Link::Upstream,
        Reason::UpstreamHttpProtocolError,
    );
    world.edge.exchanges[0].wire.excerpt.truncate(36);
    assert_eq!(world.try_judge(), None);
}

#[test]
fn success_with_excess_body() {
    let mut world = World::of(good("x", &[]));
    world.edge.exchanges[0].reply.as_mut().unwrap().overrun = true;
    world.says(RuleId::SuccessWithExcessBody, Link::Origin, Reason::HttpExcessBody);
}

#[test]
fn success_with_large_header() {
    let mut world = World::of(good("x", &[]));
    world.edge.exchanges[0].reply.as_mut().unwrap().head_size = 100_000;
    world.says(
        RuleId::SuccessWithLargeHeader,
        Link::Edge,
        Reason::HttpResponseHeaderTooLarge,
    );
}

#[test]
fn success_with_empty_body() {
    let world = World::of(good("", &[("server", "edge")])).backend(good("x", &[("server", "app"), ("x-app", "1")]));
    world.says(RuleId::SuccessWithEmptyBody, Link::Edge, Reason::EdgeNotFound);
    let same = World::of(good("", &[("x-app", "1")])).backend(good("x", &[("x-app", "1")]));
    assert_eq!(same.try_judge(), None);
}

#[test]
fn what_is_asked_past_the_caches_is_judged_as_the_edge_is() {
    let mut world = World::of(good("x", &[]));
    world.diagnostics.bypass = Some(refused(502, NGINX_502, NGINX));
    world.says(RuleId::GatewayUpstreamError, Link::Upstream, Reason::UpstreamFailed);
    world.diagnostics.bypass = Some(good("x", &[]));
    assert_eq!(world.try_judge(), None);
}

fn through_own_proxy(mut report: Report, url: &str) -> Report {
    report.exchanges[0].url = url.to_owned();
    report.exchanges[0].proxy = Some("http://proxy.test:3128".to_owned());
    report
}

#[test]
fn module_proxy_response() {
    const SHOP: &str = "http://shop.test/";
    let squid = |error: &'static str| {
        refused(
            503,
            "",
            &[
                ("server", "squid/5.7"),
                ("x-squid-error", error),
                ("via", "1.1 proxy (squid/5.7)"),
            ],
        )
    };
    let tinyproxy = refused(403, "<h1>Filtered</h1><p>Generated by tinyproxy 1.11</p>", &[]);
    for (answer, link, reason) in [
        (refused(407, "", &[]), Link::Local, Reason::ProxyRefused),
        (squid("ERR_ACCESS_DENIED 0"), Link::Local, Reason::ProxyRefused),
        (tinyproxy, Link::Local, Reason::ProxyRefused),
        (squid("ERR_DNS_FAIL 0"), Link::Network, Reason::ProxyTargetUnreachable),
        (
            squid("ERR_CONNECT_FAIL 111"),
            Link::Network,
            Reason::ProxyTargetUnreachable,
        ),
        (
            refused(502, "<p>DNS lookup failure for: shop.test</p>", &[("server", "Apache")]),
            Link::Network,
            Reason::ProxyTargetUnreachable,
        ),
    ] {
        let world = World::of(through_own_proxy(answer, SHOP));
        let verdict = world.says(RuleId::ModuleProxyResponse, link, reason);
        assert_eq!(verdict.certainty, Certainty::Likely);
    }
    // A response that the proxy relayed comes from the target: a second Squid is in front of the target.
    let mut passed_on = squid("ERR_ACCESS_DENIED 0");
    let fields = &mut passed_on.exchanges[0].reply.as_mut().unwrap().headers;
    fields.append("via", http::HeaderValue::from_static("1.1 own (squid/5.7)"));
    World::of(through_own_proxy(passed_on, SHOP)).says(RuleId::GatewayOwnError, Link::Edge, Reason::EdgeDenied);
    let nginx = through_own_proxy(refused(502, NGINX_502, NGINX), SHOP);
    World::of(nginx).says(RuleId::GatewayUpstreamError, Link::Upstream, Reason::UpstreamFailed);
    // Without a proxy in the module, the same page comes from the edge.
    let edge = World::of(squid("ERR_ACCESS_DENIED 0"));
    edge.says(RuleId::GatewayOwnError, Link::Edge, Reason::EdgeDenied);
}

#[test]
fn a_refusal_that_nobody_passed_on_is_that_of_our_own_proxy() {
    const SHOP: &str = "http://shop.test/";
    const APACHE: &str = "<!DOCTYPE HTML PUBLIC \"-//IETF//DTD HTML 2.0//EN\">\n<html><head>\n<title>403 Forbidden</title>\n\
                          </head><body>\n<h1>Forbidden</h1>\n</body></html>\n";
    let envoy = |more: &[(&'static str, &'static str)]| {
        let fields = [&[("server", "envoy"), ("content-type", "text/plain")], more].concat();
        through_own_proxy(refused(403, "RBAC: access denied", &fields), SHOP)
    };
    let apache = through_own_proxy(refused(403, APACHE, &[("server", "Apache/2.4.62")]), SHOP);
    for report in [envoy(&[]), apache] {
        let verdict = World::of(report).says(RuleId::ModuleProxyResponse, Link::Local, Reason::ProxyRefused);
        assert_eq!(verdict.certainty, Certainty::Likely);
    }
    // None of these comes from the proxy: a relayed response, an application's own text, a CDN's page, a 404.
    let cloudflare = refused(
        403,
        "error code: 1020",
        &[("server", "cloudflare"), ("cf-ray", "8f0-FRA")],
    );
    for report in [
        envoy(&[("via", "1.1 own (squid/5.7)")]),
        through_own_proxy(refused(403, "<p>You may not see the shop</p>", &[]), SHOP),
        through_own_proxy(cloudflare, SHOP),
        through_own_proxy(refused(404, NGINX_502, NGINX), SHOP),
    ] {
        assert_ne!(World::of(report).try_judge().unwrap().link, Link::Local);
    }
}

#[test]
fn a_proxy_that_gives_no_byte_is_to_blame_unless_its_target_is_silent() {
    const SHOP: &str = "http://shop.test/";
    for reason in [
        Reason::HttpTimedOutWaiting,
        Reason::HttpClosedBeforeResponse,
        Reason::TcpReset,
    ] {
        let report = through_own_proxy(stopped(Stage::Wait, reason), SHOP);
        let verdict = World::of(report.clone()).says(RuleId::ModuleProxyFailed, Link::Local, Reason::ProxyFailed);
        assert_eq!(verdict.certainty, Certainty::Likely, "{reason:?}");
        // The proxy relayed part of a response.
        let mut begun = report;
        begun.exchanges[0].wire.excerpt = b"HTTP/1.1 200".to_vec();
        assert_ne!(World::of(begun).try_judge().unwrap().link, Link::Local, "{reason:?}");
        // Without a proxy, the edge is at fault.
        let direct = World::of(stopped(Stage::Wait, reason));
        assert_eq!(direct.try_judge().unwrap().link, Link::Edge, "{reason:?}");
    }
    let silent = || through_own_proxy(stopped(Stage::Wait, Reason::HttpTimedOutWaiting), SHOP);
    let backend = World::of(silent()).backend(stopped(Stage::Wait, Reason::HttpTimedOutWaiting));
    assert_ne!(backend.try_judge().unwrap().link, Link::Local);
    // The proxy refuses the reference request, so it is alive.
    let lives = World::of(silent()).reference(refused(400, "", &[]));
    assert_ne!(lives.try_judge().unwrap().link, Link::Local);
}

#[test]
fn a_name_that_a_proxy_would_resolve_is_not_proven_to_be_absent() {
    let mut report = stopped(Stage::Resolve, Reason::DnsNameNotResolved);
    let verdict = World::of(report.clone()).says(RuleId::NameNotResolved, Link::Dns, Reason::DnsNameNotResolved);
    assert_eq!(verdict.certainty, Certainty::Certain);
    report.exchanges[0].has_proxy = true;
    let mut world = World::of(report);
    for vantage in [None, Some(vantage(&[(true, ControlOutcome::Answered)]))] {
        world.vantage = vantage;
        let verdict = world.says(RuleId::NameNotResolved, Link::Dns, Reason::DnsNameNotResolved);
        assert_eq!(verdict.certainty, Certainty::Likely);
    }
}

#[test]
fn what_was_not_said_in_time_may_have_been_on_its_way() {
    let mut report = stopped(Stage::Receive, Reason::ContentExpect);
    let verdict = World::of(report.clone()).says(RuleId::ContentAssertionFailed, Link::Content, Reason::ContentExpect);
    assert_eq!(verdict.certainty, Certainty::Certain);
    report.fault.as_mut().unwrap().at_deadline = true;
    let verdict = World::of(report.clone()).says(RuleId::ContentAssertionFailed, Link::Content, Reason::ContentExpect);
    assert_eq!(verdict.certainty, Certainty::Likely);
    assert!(verdict.summary.contains("longer timeout"), "{}", verdict.summary);
    // An assertion on the complete body is decided, independent of the deadline.
    report.fault.as_mut().unwrap().reason = Reason::ContentBody;
    let verdict = World::of(report).says(RuleId::ContentAssertionFailed, Link::Content, Reason::ContentBody);
    assert_eq!(verdict.certainty, Certainty::Certain);
}

#[test]
fn a_status_for_strangers_says_nothing_of_the_origin() {
    let silent = stopped(Stage::Wait, Reason::HttpTimedOutWaiting);
    for status in [401, 403, 429] {
        let stranger = || refused(status, "<p>Sign in to go on to the shop</p>", &[]);
        let verdict = World::of(silent.clone()).backend(stranger()).try_judge().unwrap();
        assert_ne!(verdict.link, Link::Origin, "{status}");
        let before = World::of(refused(502, NGINX_502, NGINX)).backend(stranger());
        let verdict = before.says(RuleId::GatewayUpstreamError, Link::Upstream, Reason::UpstreamFailed);
        assert_eq!(verdict.side, None);
        // The edge refuses with a different text, so the refusal may be its own.
        let other = World::of(refused(status, "", &[])).backend(stranger());
        assert_ne!(other.try_judge().unwrap().link, Link::Origin, "{status}");
        // With identical text, the refusal comes from the application.
        let same = World::of(stranger()).backend(stranger());
        let verdict = same.says(RuleId::BackendFailsAlike, Link::Origin, Reason::OriginStatus);
        assert_eq!(verdict.certainty, Certainty::Likely);
    }
}

#[test]
fn what_answered_with_an_error_is_not_called_healthy() {
    let chain = World::of(refused(502, "", &[]))
        .backend(refused(502, NGINX_502, NGINX))
        .backend(good("", &[]));
    let verdict = chain.try_judge().unwrap();
    assert_eq!(verdict.side, Some(Side::Gateway));
    assert!(verdict.summary.contains("backend1 is healthy"), "{}", verdict.summary);
    assert!(!verdict.summary.contains("backend0 is healthy"), "{}", verdict.summary);
}

#[test]
fn a_healthy_backend_does_not_overrule_the_applications_marks() {
    let marks: [&[(&str, &str)]; 3] = [
        &[("x-powered-by", "Express")],
        &[("server", "gunicorn")],
        &[("x-app-version", "7")],
    ];
    for marks in marks {
        let world = World::of(refused(500, "x", marks)).backend(good("y", marks));
        world.says(RuleId::BaselineHeadersPresent, Link::Origin, Reason::OriginStatus);
        let world = World::of(refused(503, "", marks)).backend(good("y", marks));
        world.says(RuleId::BaselineHeadersPresent, Link::Origin, Reason::OriginStatus);
        // Without these fields on the error, the error comes from the edge.
        let world = World::of(refused(500, "x", &[])).backend(good("y", marks));
        world.says(RuleId::BackendHealthy, Link::Edge, Reason::EdgeInternalError);
    }
    // A `Server` that names a gateway does not identify the application.
    let world = World::of(refused(503, "x", &[("server", "envoy")])).backend(good("y", &[("server", "envoy")]));
    assert_eq!(world.try_judge().unwrap().rule, RuleId::BackendHealthy);
}

#[test]
fn a_gateways_own_500_does_not_overrule_a_backend_that_is_broken() {
    let page = NGINX_502.replace("502 Bad Gateway", "500 Internal Server Error");
    let edge = || World::of(refused(500, &page, NGINX));
    let invalid = stopped(Stage::Wait, Reason::HttpResponseInvalid);
    let verdict =
        edge()
            .backend(invalid)
            .says(RuleId::BackendBroken, Link::Upstream, Reason::UpstreamHttpProtocolError);
    assert_eq!(verdict.certainty, Certainty::Likely);
    edge().says(RuleId::GatewayOwnError, Link::Edge, Reason::EdgeInternalError);
    edge()
        .backend(good("", &[]))
        .says(RuleId::GatewayOwnError, Link::Edge, Reason::EdgeInternalError);
}

#[test]
fn a_backend_that_refuses_us_does_not_overrule_an_answer_of_the_application() {
    let dead = || stopped(Stage::Connect, Reason::TcpRefused);
    // The page reports an upstream failure.
    let page = || World::of(refused(502, NGINX_502, NGINX)).backend(dead());
    for (world, certainty) in [
        (page().reachable(), Certainty::Certain),
        // A firewall may block only the exporter, and `return 502` generates the same page.
        (page(), Certainty::Likely),
    ] {
        let verdict = world.try_judge().unwrap();
        assert_eq!((verdict.rule, verdict.certainty), (RuleId::BackendBroken, certainty));
    }
    // The response may come from a limit of the edge or from the application.
    let limit = NGINX_502.replace("502 Bad Gateway", "503 Service Temporarily Unavailable");
    let custom = "<h1>The shop is being updated, please come back</h1>";
    for edge in [
        refused(503, &limit, NGINX),
        refused(503, custom, &[]),
        refused(500, "x", &[]),
    ] {
        let verdict = World::of(edge).backend(dead()).try_judge().unwrap();
        assert_eq!(
            (verdict.rule, verdict.certainty),
            (RuleId::BackendBroken, Certainty::Likely)
        );
    }
    let json = refused(404, "{\"error\":\"none\"}", &[("content-type", "application/json")]);
    World::of(json)
        .backend(dead())
        .says(RuleId::CustomErrorPage, Link::Origin, Reason::OriginStatus);
    let passed_on = refused(503, "x", &[("server", "envoy"), ("x-envoy-upstream-service-time", "3")]);
    World::of(passed_on)
        .backend(dead())
        .says(RuleId::GatewayRelayedResponse, Link::Origin, Reason::OriginStatus);
}

/// Pairs of an input with a certain verdict and a similar input with a likely one.
type Twins = Vec<(&'static str, World, World)>;

const APACHE_READ: &str = "<!DOCTYPE HTML PUBLIC \"-//W3C//DTD HTML 4.01//EN\">\n<html><head>\n<title>502 Proxy Error</title>\n\
    </head><body>\n<h1>Proxy Error</h1>\n<p>The proxy server received an invalid response from an upstream server.<br />\n\
    The proxy server could not handle the request<p>Reason: <strong>Error reading from remote server</strong></p></p></body></html>";
const APACHE_502: &str = "<!DOCTYPE HTML PUBLIC \"-//W3C//DTD HTML 4.01//EN\">\n<html><head>\n<title>502 Bad Gateway</title>\n\
    </head><body>\n<h1>Bad Gateway</h1>\n<p>The proxy server received an invalid response from an upstream server.<br />\n\
    </p></body></html>";
const APACHE_504: &str = "<!DOCTYPE HTML PUBLIC \"-//W3C//DTD HTML 4.01//EN\">\n<html><head>\n<title>504 Gateway Timeout</title>\n\
    </head><body>\n<h1>Gateway Timeout</h1>\n<p>The gateway did not receive a timely response from the upstream server or \
    application.</p></body></html>";
const HAPROXY_502: &str =
    "<html><body><h1>502 Bad Gateway</h1>\nThe server returned an invalid or incomplete response.\n</body></html>";
const HAPROXY_504: &str =
    "<html><body><h1>504 Gateway Time-out</h1>\nThe server didn't respond in time.\n</body></html>";
const NGINX_504: &str = "<html><head><title>504 Gateway Time-out</title></head><body><center><h1>504 Gateway Time-out\
    </h1></center><hr><center>nginx</center></body></html>";

/// Each of these pages was captured from the product with a healthy backend and a configuration that generates it.
#[test]
fn a_page_that_a_configuration_can_order_proves_nothing_of_the_backend() {
    const APACHE: &[(&str, &str)] = &[("server", "Apache/2.4.71 (Debian)")];
    let lighttpd = "<!DOCTYPE html PUBLIC \"-//W3C//DTD XHTML 1.0 Transitional//EN\"><html><head><title>502 Bad Gateway</title></head>\
        <body><h1>502 Bad Gateway</h1></body></html>";
    let kong = "{\"message\":\"An invalid response was received from the upstream server\"}";
    for (what, edge) in [
        ("http-request deny deny_status 502", refused(502, HAPROXY_502, &[])),
        ("http-request deny deny_status 504", refused(504, HAPROXY_504, &[])),
        ("Redirect 502 /", refused(502, APACHE_502, APACHE)),
        ("Redirect 504 /", refused(504, APACHE_504, APACHE)),
        ("return 502", refused(502, NGINX_502, NGINX)),
        (
            "error_page 500 =502, after a slow 500",
            after(refused(502, NGINX_502, NGINX), 2000),
        ),
        (
            "error_page 500 =504, after a slow 500",
            after(refused(504, NGINX_504, NGINX), 2000),
        ),
        (
            "url.redirect-code = 502",
            refused(502, lighttpd, &[("server", "lighttpd/1.4.69")]),
        ),
        (
            "kong.response.error(502)",
            refused(502, kong, &[("x-kong-response-latency", "1")]),
        ),
    ] {
        let verdict = World::of(edge.clone()).try_judge().unwrap();
        assert_eq!(
            (verdict.link, verdict.certainty),
            (Link::Upstream, Certainty::Likely),
            "{what}: {verdict:#?}"
        );
        let verdict = World::of(edge).backend(good("", &[])).try_judge().unwrap();
        assert_eq!(verdict.certainty, Certainty::Likely, "{what}: {verdict:#?}");
    }
    let denied = [("x-squid-error", "ERR_CONNECT_FAIL 0"), ("server", "squid/5.7")];
    World::of(refused(403, "", &denied)).says(RuleId::GatewayOwnError, Link::Edge, Reason::EdgeDenied);
    // No configuration generates these pages.
    for (edge, reason) in [
        (refused(502, APACHE_READ, APACHE), Reason::UpstreamInvalidResponse),
        (
            refused(
                503,
                "",
                &[("x-squid-error", "ERR_CONNECT_FAIL 111"), ("server", "squid/5.7")],
            ),
            Reason::UpstreamConnectionRefused,
        ),
    ] {
        let verdict = World::of(edge).says(RuleId::GatewayUpstreamError, Link::Upstream, reason);
        assert_eq!(verdict.certainty, Certainty::Certain);
    }
}

/// A response directly from the gateway is certain. The same response is not certain if an application may have
/// forwarded it from a dependency.
#[test]
fn what_an_application_passes_on_of_its_dependency_is_not_proven_to_be_the_gateways() {
    const EXPRESS: (&str, &str) = ("x-powered-by", "Express");
    const SQUID: (&str, &str) = ("x-squid-error", "ERR_CONNECT_FAIL 111");
    let kong =
        |fields: &[(&'static str, &'static str)]| refused(503, "{\"message\":\"name resolution failed\"}", fields);
    let unhealthy = |fields: &[(&'static str, &'static str)]| refused(503, "no healthy upstream", fields);
    let proxied = |fields: &[(&'static str, &'static str)]| refused(502, "", fields);
    let pages = [
        (
            kong(&[("x-kong-response-latency", "1")]),
            kong(&[("x-kong-response-latency", "1"), EXPRESS]),
        ),
        (unhealthy(&[("server", "envoy")]), unhealthy(&[])),
        // An application behind nginx may return Envoy's text.
        (unhealthy(&[("server", "envoy")]), unhealthy(&[("server", "nginx")])),
        (
            proxied(&[SQUID, ("server", "squid/5.7")]),
            proxied(&[SQUID, ("server", "Apache")]),
        ),
        (
            proxied(&[("proxy-status", "edge; error=connection_refused")]),
            proxied(&[("proxy-status", "partner; error=connection_refused"), EXPRESS]),
        ),
        (
            refused(
                504,
                "",
                &[("x-vercel-error", "FUNCTION_INVOCATION_TIMEOUT"), ("server", "Vercel")],
            ),
            refused(
                504,
                "",
                &[("x-vercel-error", "FUNCTION_INVOCATION_TIMEOUT"), ("server", "nginx")],
            ),
        ),
        (
            refused(403, "", &[("cf-mitigated", "challenge"), ("server", "cloudflare")]),
            refused(
                403,
                "",
                &[("cf-mitigated", "challenge"), ("server", "cloudflare"), EXPRESS],
            ),
        ),
    ];
    assert_certain_and_likely(pages);
}

fn assert_certain_and_likely(pages: impl IntoIterator<Item = (Report, Report)>) {
    for (own, passed_on) in pages {
        let verdict = World::of(own).try_judge().unwrap();
        assert_eq!(verdict.certainty, Certainty::Certain, "{verdict:#?}");
        let verdict = World::of(passed_on).try_judge().unwrap();
        assert_eq!(verdict.certainty, Certainty::Likely, "{verdict:#?}");
    }
}

#[test]
fn a_handshake_that_hung_is_no_bad_certificate_for_certain() {
    let page = APACHE_READ.replace(
        "Error reading from remote server",
        "Error during SSL Handshake with remote server",
    );
    let apache = || refused(500, &page, &[("server", "Apache")]);
    let late = World::of(after(apache(), 2000)).try_judge().unwrap();
    assert!(late.reasons.contains(&Reason::UpstreamConnectionTimeout), "{late:#?}");
    let quick = World::of(apache()).try_judge().unwrap();
    assert!(
        !quick.reasons.contains(&Reason::UpstreamConnectionTimeout),
        "{quick:#?}"
    );
}

#[test]
fn a_backend_that_fails_otherwise_than_the_gateway_says_decides_nothing() {
    let refuses = || stopped(Stage::Connect, Reason::TcpRefused);
    for edge in [
        after(refused(504, NGINX_504, NGINX), 2000),
        after(refused(504, HAPROXY_504, &[]), 2000),
        after(refused(504, "", &[]), 2000),
    ] {
        let verdict =
            World::of(edge)
                .backend(refuses())
                .says(RuleId::BackendBroken, Link::Upstream, Reason::UpstreamFailed);
        assert_eq!(
            (verdict.certainty, verdict.side),
            (Certainty::Likely, None),
            "{verdict:#?}"
        );
        for reason in [Reason::UpstreamHttpResponseTimeout, Reason::UpstreamConnectionRefused] {
            assert!(verdict.reasons.contains(&reason), "{verdict:#?}");
            assert!(verdict.summary.contains(reason.as_str()), "{}", verdict.summary);
        }
        assert!(verdict.summary.contains("contradict each other"), "{}", verdict.summary);
    }
    // The results agree.
    let silent = || stopped(Stage::Wait, Reason::HttpTimedOutWaiting);
    for (edge, backend, reason) in [
        (
            refused(502, NGINX_502, NGINX),
            refuses(),
            Reason::UpstreamConnectionRefused,
        ),
        (
            after(refused(504, NGINX_504, NGINX), 2000),
            silent(),
            Reason::UpstreamHttpResponseTimeout,
        ),
    ] {
        let verdict = World::of(edge)
            .backend(backend)
            .reachable()
            .says(RuleId::BackendBroken, Link::Upstream, reason);
        assert_eq!(
            (verdict.certainty, verdict.side),
            (Certainty::Certain, Some(Side::Origin))
        );
        assert!(
            !verdict.summary.contains("contradict each other"),
            "{}",
            verdict.summary
        );
    }
}

#[test]
fn a_late_or_general_page_excludes_no_failure_of_the_backend() {
    let refuses = || stopped(Stage::Connect, Reason::TcpRefused);
    // The gateway may have retried.
    let varnish = refused(
        503,
        "<title>503 Backend fetch failed</title><h3>Guru Meditation:</h3>",
        &[("server", "Varnish"), ("x-varnish", "2"), ("age", "0")],
    );
    let late = World::of(after(varnish, 2000)).backend(refuses());
    let verdict = late.says(RuleId::BackendBroken, Link::Upstream, Reason::UpstreamConnectionRefused);
    assert_eq!(
        (verdict.certainty, verdict.side),
        (Certainty::Likely, Some(Side::Origin))
    );
    // A gateway that no longer sends requests to its backend does not report the reason.
    let none = World::of(refused(503, "no healthy upstream", &[("server", "envoy")])).backend(refuses());
    none.says(RuleId::BackendBroken, Link::Upstream, Reason::UpstreamConnectionRefused);
}

#[test]
fn a_timeout_of_the_gateway_stays_possible_beside_a_healthy_backend() {
    let page = after(refused(504, NGINX_504, NGINX), 2000);
    let verdict = World::of(page).backend(good("", &[])).try_judge().unwrap();
    assert_eq!((verdict.link, verdict.side), (Link::Upstream, Some(Side::Gateway)));
    assert!(
        verdict.reasons.contains(&Reason::UpstreamHttpResponseTimeout),
        "{verdict:#?}"
    );
    assert!(
        verdict.reasons.contains(&Reason::UpstreamConnectionTimeout),
        "{verdict:#?}"
    );
    // If the gateway reports which of the two failures occurred, only that reason remains.
    let page = after(refused(502, "connection timeout", &[("server", "h2o/2.2.5")]), 2000);
    let verdict = World::of(page).backend(good("", &[])).try_judge().unwrap();
    assert_eq!(verdict.reasons, [Reason::UpstreamConnectionTimeout]);
}

#[test]
fn an_exception_of_the_application_is_not_the_gateways() {
    const JSON: &[(&str, &str)] = &[("content-type", "application/json")];
    const SPRING: &str = "<html><body><h1>Whitelabel Error Page</h1><p>This application has no explicit mapping for /error</p></body></html>";
    for edge in [
        refused(500, SPRING, &[]),
        refused(500, "{\"status\":500,\"error\":\"Internal Server Error\"}", JSON),
        refused(500, "<h1>Server Error (500)</h1>", NGINX),
    ] {
        let verdict = World::of(edge).backend(good("", &[])).says(
            RuleId::BaselineHeadersPresent,
            Link::Origin,
            Reason::OriginStatus,
        );
        assert_eq!(verdict.certainty, Certainty::Likely);
    }
    // The gateway's own page, a text about an upstream, and a status that gateways generate themselves.
    let own = NGINX_502.replace("502 Bad Gateway", "500 Internal Server Error");
    for (edge, link) in [
        (refused(500, &own, NGINX), Link::Edge),
        (
            refused(500, "{\"error\":\"no upstream for this route\"}", JSON),
            Link::Edge,
        ),
        (
            refused(503, "{\"status\":503,\"error\":\"Service Unavailable\"}", JSON),
            Link::Upstream,
        ),
    ] {
        assert_eq!(World::of(edge).backend(good("", &[])).try_judge().unwrap().link, link);
    }
}

#[test]
fn what_a_gateway_has_no_room_for_depends_on_the_product() {
    let with_head = |size| {
        let mut backend = good("", &[]);
        backend.exchanges[0].reply.as_mut().unwrap().head_size = size;
        backend
    };
    let tengine = NGINX_502.replace("nginx", "tengine");
    for (edge, size, too_large) in [
        (refused(502, NGINX_502, NGINX), 4_000, false),
        (refused(502, NGINX_502, NGINX), 4_500, true),
        (refused(502, HAPROXY_502, &[]), 10_000, false),
        (refused(502, HAPROXY_502, &[]), 16_000, true),
        // No measurement exists for this product.
        (refused(502, &tengine, &[("server", "tengine")]), 8_000, false),
        (refused(502, &tengine, &[("server", "tengine")]), 9_000, true),
    ] {
        let verdict = World::of(edge).backend(with_head(size)).try_judge().unwrap();
        let says = verdict.reason == Reason::UpstreamHttpResponseHeaderSectionSize;
        assert_eq!(says, too_large, "{size}: {verdict:#?}");
    }
}

fn twins_by_the_page() -> Twins {
    let cloudflare = |body| refused(403, body, &[("server", "cloudflare")]);
    let envoy = || refused(403, "RBAC: access denied", &[("server", "envoy")]);
    let broken = |status| refused(status, "<p>Something of the shop broke</p>", &[]);
    let kong = |fields| World::of(refused(503, "{\"message\":\"name resolution failed\"}", fields));
    let alike = |status| World::of(broken(status)).backend(broken(status));
    vec![
        (
            "only an edge speaks for the edge",
            World::of(cloudflare("error code: 1020")),
            World::of(envoy()).backend(good("", &[])),
        ),
        (
            "the words stand on a page of the application",
            World::of(cloudflare("error code: 1020")),
            World::of(cloudflare("<p>Our bank says error code: 1020</p>")),
        ),
        (
            "the same text without that field",
            kong(&[("server", "kong/3.4"), ("x-kong-response-latency", "1")]),
            kong(&[("server", "kong/3.4")]),
        ),
        (
            "a configuration may order a page",
            World::of(refused(502, APACHE_READ, &[("server", "Apache")])),
            World::of(refused(502, APACHE_502, &[("server", "Apache")])),
        ),
        (
            "two say the same",
            alike(500),
            World::of(broken(500)).backend(refused(500, "<p>Another page of another program</p>", &[])),
        ),
        (
            "a page for 502 to 504 may be of another gateway",
            alike(500),
            alike(503),
        ),
        ("so may one for what is not there", alike(500), alike(404)),
    ]
}

fn twins_by_the_backend() -> Twins {
    let nginx = || World::of(refused(502, NGINX_502, NGINX));
    let dead = || stopped(Stage::Connect, Reason::TcpRefused);
    let certain = || nginx().backend(dead()).reachable();
    vec![
        (
            "a firewall may refuse the exporter alone",
            certain(),
            nginx().backend(dead()),
        ),
        (
            "the edge gave no answer",
            certain(),
            World::of(stopped(Stage::Wait, Reason::HttpTimedOutWaiting))
                .backend(dead())
                .reachable(),
        ),
        (
            "nobody is known who says so",
            certain(),
            World::of(refused(503, "Service Unavailable", &[]))
                .backend(dead())
                .reachable(),
        ),
        (
            "a gateway may accept what the exporter rejects",
            certain(),
            nginx().backend(stopped(Stage::Wait, Reason::HttpResponseInvalid)),
        ),
        (
            "a gateway may trust what the exporter does not",
            certain(),
            nginx().backend(stopped(Stage::Secure, Reason::TlsCertAuthorityInvalid)),
        ),
        (
            "the gateway says something else",
            certain(),
            nginx().backend(stopped(Stage::Wait, Reason::HttpTimedOutWaiting)),
        ),
        (
            "the edge answers another status than the gateway behind it",
            World::of(refused(502, "", &[])).backend(refused(502, APACHE_READ, &[("server", "Apache")])),
            World::of(refused(500, "{\"error\":\"no total\"}", &[])).backend(refused(
                502,
                APACHE_READ,
                &[("server", "Apache")],
            )),
        ),
    ]
}

fn twins_by_the_way() -> Twins {
    let slow = |wait| {
        let mut report = after(stopped(Stage::Receive, Reason::HttpSlow), wait);
        report.took = Duration::from_secs(1);
        report
    };
    let controls = [(true, ControlOutcome::Answered), (false, ControlOutcome::Answered)];
    let unreachable = || World::of(stopped(Stage::Wait, Reason::IcmpUnreachable));
    let servfail = || World::of(stopped(Stage::Resolve, Reason::DnsServfail));
    let seen_from = |mut world: World, outcomes: &[(bool, ControlOutcome)]| {
        world.vantage = Some(vantage(outcomes));
        world
    };
    let no_name = |reason| World::of(stopped(Stage::Resolve, reason));
    let dead = |count| vec![(true, ControlOutcome::NoName); count];
    vec![
        (
            "the way to the backend may be slow",
            World::of(slow(900)).backend(slow(900)),
            World::of(slow(900)).backend(slow(100)),
        ),
        (
            "the first router may be ours",
            seen_from(unreachable(), &controls),
            unreachable(),
        ),
        (
            "the exporter's resolver may fail",
            seen_from(servfail(), &controls),
            servfail(),
        ),
        (
            "a resolver without a network answers from its cache",
            seen_from(servfail(), &controls),
            seen_from(servfail(), &controls[..1]),
        ),
        (
            "a name that does not exist was answered",
            no_name(Reason::DnsNameNotResolved),
            servfail(),
        ),
        (
            "a resolver that responds is reachable",
            seen_from(no_name(Reason::DnsTimedOut), &dead(2)),
            seen_from(no_name(Reason::DnsNameNotResolved), &dead(2)),
        ),
        (
            "one control's zone may be as silent as the target's",
            seen_from(no_name(Reason::DnsTimedOut), &dead(2)),
            seen_from(no_name(Reason::DnsTimedOut), &dead(1)),
        ),
        (
            "so is one that refuses",
            seen_from(no_name(Reason::DnsTimedOut), &dead(2)),
            seen_from(no_name(Reason::DnsRefused), &dead(2)),
        ),
    ]
}

#[test]
fn what_is_certain_has_a_twin_that_is_likely() {
    for (what, certain, likely) in twins_by_the_page()
        .into_iter()
        .chain(twins_by_the_backend())
        .chain(twins_by_the_way())
    {
        let verdict = certain.try_judge().unwrap();
        assert_eq!(verdict.certainty, Certainty::Certain, "{what}: {verdict:#?}");
        assert!(!verdict.summary.contains("not certain"), "{what}");
        let verdict = likely.try_judge().unwrap();
        assert_eq!(verdict.certainty, Certainty::Likely, "{what}: {verdict:#?}");
    }
    // A successful response with a failing backend is never certain: a firewall may block only the exporter.
    let masked = World::of(good("x", &[])).backend(stopped(Stage::Connect, Reason::TcpRefused));
    assert_eq!(masked.try_judge().unwrap().certainty, Certainty::Likely);
}

/// An application behind a product may return the product's texts, with the product's fields on the response.
#[test]
fn an_application_that_prints_a_gateways_words_is_never_certainly_the_gateway() {
    let dead = || stopped(Stage::Connect, Reason::TcpRefused);
    for twin in gateways::lookalikes::all() {
        let mut edge = after(refused(twin.reply.status, "", &[]), twin.waited);
        edge.exchanges[0].reply = Some(twin.reply);
        let alone = World::of(edge);
        for world in [
            alone.clone(),
            alone.clone().backend(good("", &[])),
            alone.backend(dead()),
        ] {
            let verdict = world.try_judge().unwrap();
            assert_eq!(verdict.certainty, Certainty::Likely, "{}: {verdict:#?}", twin.of);
        }
    }
}

#[test]
fn no_verdict_blames_the_gateway_beside_a_healthy_machine_for_certain() {
    let fields = [("proxy-status", "edge; error=dns_timeout")];
    let alone = World::of(refused(504, "", &fields));
    assert_eq!(alone.try_judge().unwrap().certainty, Certainty::Certain);
    let verdict = alone.backend(good("", &[])).try_judge().unwrap();
    assert_eq!(verdict.side, Some(Side::Gateway));
    assert_eq!(verdict.certainty, Certainty::Likely);
}

#[test]
fn the_evidence_says_what_would_make_a_verdict_certain() {
    let mut edge = refused(403, "RBAC: access denied", &[("server", "envoy")]);
    edge.exchanges[0].method = Some("GET".to_owned());
    let verdict = World::of(edge.clone()).try_judge().unwrap();
    assert!(verdict.summary.contains("as a backend"), "{}", verdict.summary);
    let mut edge = refused(403, "", &[("cf-mitigated", "challenge"), ("server", "cloudflare")]);
    edge.exchanges[0].method = Some("GET".to_owned());
    let certain = World::of(edge).try_judge().unwrap();
    assert_eq!(certain.certainty, Certainty::Certain);
    assert!(!certain.summary.contains("To confirm it"), "{}", certain.summary);
    let dns = World::of(stopped(Stage::Resolve, Reason::DnsServfail))
        .try_judge()
        .unwrap();
    assert!(dns.summary.contains("`controls`"), "{}", dns.summary);
}

#[test]
fn each_rule_id_has_one_row_in_the_tables() {
    let rows: Vec<RuleId> = RULES.iter().chain(MASKS).map(|rule| rule.id).collect();
    assert_eq!(rows, RuleId::ALL);
}

#[test]
fn each_rule_has_a_test_of_its_name() {
    let source = include_str!("tests.rs");
    for rule in RULES.iter().chain(MASKS) {
        let name = format!("fn {}()", rule.id.as_str().replace('-', "_"));
        assert!(source.contains(&name), "there is no test {name}");
        assert!(
            rule.when.contains('`') && rule.when.ends_with('.'),
            "{}: {}",
            rule.id.as_str(),
            rule.when
        );
    }
}

prop_compose! {
    fn any_report()(
        stage in prop::sample::select(Stage::ALL.to_vec()),
        reason in prop::option::of(prop::sample::select(Reason::ALL.to_vec())),
        status in prop::option::of(100u16..1000),
        body in "[ -~]{0,40}|<html><hr><center>nginx</center>|No server is available to handle this request.",
        server in prop::option::of("nginx|envoy|Apache|Caddy|x"),
        proxy_status in prop::option::of("[ -~]{0,30}|edge; error=[a-z_]{0,20}"),
        excerpt in prop::collection::vec(any::<u8>(), 0..40),
        waited in 0u64..10_000,
        flags in any::<(bool, bool, bool)>(),
    ) -> Report {
        let mut report = stopped(stage, reason.unwrap_or(Reason::HttpFailed));
        report = after(report, waited);
        if reason.is_none() {
            report.fault = None;
        }
        let fields = [("server", server), ("proxy-status", proxy_status)];
        let exchange = &mut report.exchanges[0];
        exchange.reply = status.map(|status| Reply {
            headers: fields
                .into_iter()
                .filter_map(|(name, value)| Some((name.parse().unwrap(), value?.parse().unwrap())))
                .collect(),
            overrun: flags.0,
            ..reply(status, &body, &[])
        });
        exchange.wire.heads = Some(excerpt.len() / 2);
        exchange.wire.excerpt = excerpt;
        exchange.tls = flags.1.then(TlsFacts::default);
        if flags.2 {
            report.exchanges.clear();
        }
        report
    }
}

prop_compose! {
    fn any_world()(
        edge in any_report(),
        backends in prop::collection::vec((any_report(), any::<bool>(), prop::option::of(any_report())), 0..4),
        bypass in prop::option::of(any_report()),
        again in prop::option::of(any_report()),
        reference in prop::option::of(any_report()),
        handshake in prop::option::of(any_report()),
        outcomes in prop::collection::vec((any::<bool>(), 0usize..4), 0..3),
        captive in any::<bool>(),
        outage in any::<bool>(),
        product in prop::option::of(Just("nginx")),
    ) -> World {
        let mut world = World::of(edge);
        for (report, reachable, handshake) in backends {
            world = world.backend(report);
            let last = world.diagnostics.backends.last_mut().unwrap();
            (last.reachable, last.handshake) = (reachable, handshake);
        }
        world.diagnostics = WorldDiagnostics { bypass, again, reference, handshake, ..world.diagnostics };
        let reached = [ControlOutcome::Answered, ControlOutcome::NoName, ControlOutcome::NoConnection, ControlOutcome::NotAsked];
        let outcomes: Vec<_> = outcomes.into_iter().map(|(named, place)| (named, reached[place])).collect();
        world.vantage = Some(Vantage { captive, outage, ..vantage(&outcomes) });
        if let Some(name) = product {
            world.baseline.learn_product(name);
        }
        world
    }
}

proptest! {
    #[test]
    fn a_failed_report_of_any_shape_gets_one_verdict_and_a_good_one_only_a_masked_one(world in any_world()) {
        match world.try_judge() {
            None => prop_assert!(world.edge.succeeded()),
            Some(verdict) => {
                prop_assert_eq!(verdict.masked, world.edge.succeeded());
                prop_assert!(!verdict.reasons.is_empty() && verdict.reasons.len() <= super::MOST_REASONS);
                prop_assert!(verdict.summary.contains("Call "));
                prop_assert!(RULES.iter().chain(MASKS).any(|rule| rule.id == verdict.rule));
            }
        }
    }
}

/// A page with several possible causes does not confirm the failure that the exporter observed.
#[test]
fn a_page_of_several_causes_is_not_certain_beside_a_backend_that_refuses_the_exporter() {
    let alb = || World::of(refused(502, "", &[("server", "awselb/2.0")]));
    let dead = || stopped(Stage::Connect, Reason::TcpRefused);
    let verdict = alb().backend(dead()).try_judge().unwrap();
    assert_eq!(verdict.certainty, Certainty::Likely, "{verdict:#?}");
    let verdict = alb().backend(dead()).reachable().try_judge().unwrap();
    assert_eq!(verdict.link, Link::Upstream, "{verdict:#?}");
}

/// The CDN that generated the response may be behind the edge.
#[test]
fn a_cdns_refusal_is_likely_where_the_backend_is_that_cdn() {
    let cloudflare = || {
        refused(
            403,
            "error code: 1020",
            &[("server", "cloudflare"), ("cf-ray", "1-AMS")],
        )
    };
    let certainty = |world: World| {
        let verdict = world.says(RuleId::GatewayOwnError, Link::Edge, Reason::EdgeDenied);
        verdict.certainty
    };
    assert_eq!(certainty(World::of(cloudflare())), Certainty::Certain);
    assert_eq!(
        certainty(World::of(cloudflare()).backend(cloudflare())),
        Certainty::Likely
    );
    let healthy = good("x", &[("server", "cloudflare"), ("cf-ray", "1-AMS")]);
    assert_eq!(certainty(World::of(cloudflare()).backend(healthy)), Certainty::Likely);
    assert_eq!(
        certainty(World::of(cloudflare()).backend(good("x", &[]))),
        Certainty::Certain
    );
}

/// Loss of large packets in the network looks like a server that stops during the handshake.
#[test]
fn a_handshake_that_ends_in_silence_or_in_a_close_is_likely_tls() {
    for (reason, certainty) in [
        (Reason::TlsTimedOut, Certainty::Likely),
        (Reason::TlsClosed, Certainty::Likely),
        (Reason::TlsCertDateInvalid, Certainty::Certain),
    ] {
        let mut world = World::of(stopped(Stage::Secure, reason));
        world.edge.exchanges[0].wire.read = 600;
        let verdict = world.says(RuleId::TlsFailed, Link::Tls, reason);
        assert_eq!(verdict.certainty, certainty, "{reason:?}");
    }
}

/// Gateways may return the same responses: the page of the framework that they are built with, a status for a failed
/// backend, or a configured page.
#[test]
fn two_alike_answers_are_certainly_the_applications_only_where_no_gateway_gives_them() {
    let alike = |status, body: &str, fields: &[(&'static str, &'static str)]| {
        let answer = refused(status, body, fields);
        World::of(answer.clone()).backend(answer).try_judge().unwrap().certainty
    };
    let own = "<p>The order could not be saved: table orders is locked</p>";
    let json = "{\"status\":500,\"error\":\"Internal Server Error\"}";
    assert_eq!(alike(500, own, &[]), Certainty::Certain);
    assert_eq!(alike(500, own, &[("server", "nginx")]), Certainty::Likely);
    assert_eq!(
        alike(500, json, &[("content-type", "application/json")]),
        Certainty::Likely
    );
    assert_eq!(alike(530, own, &[]), Certainty::Likely);
}

/// The exporter may have stopped early, because of a short deadline of the caller or its own shutdown.
#[test]
fn a_direct_request_that_was_cut_short_proves_no_silence() {
    let silent = |took| {
        let mut report = stopped(Stage::Wait, Reason::HttpTimedOutWaiting);
        report.took = Duration::from_millis(took);
        report.fault.as_mut().unwrap().at_deadline = true;
        report
    };
    let judged = |took| {
        let edge = after(refused(504, NGINX_504, NGINX), 300);
        let world = World::of(edge).backend(silent(took)).reachable();
        world.try_judge().unwrap()
    };
    assert_ne!(
        judged(200).rule,
        RuleId::BackendBroken,
        "less time than the gateway gave it"
    );
    let short = judged(500);
    assert_eq!(
        (short.rule, short.certainty),
        (RuleId::BackendBroken, Certainty::Likely)
    );
    let long = judged(1500);
    assert_eq!((long.rule, long.certainty), (RuleId::BackendBroken, Certainty::Certain));
}

/// An application may forward the `Proxy-Status` of a service that it called.
#[test]
fn a_proxy_status_under_an_applications_name_or_over_its_json_is_not_proven() {
    let proxied = |fields: &[(&'static str, &'static str)]| refused(502, "", fields);
    assert_certain_and_likely([
        (
            proxied(&[("proxy-status", "edge; error=connection_refused")]),
            proxied(&[
                ("proxy-status", "partner; error=connection_refused"),
                ("server", "gunicorn"),
            ]),
        ),
        (
            proxied(&[("proxy-status", "edge; error=connection_refused"), ("server", "nginx")]),
            refused(
                502,
                "{\"error\":\"partner\"}",
                &[
                    ("proxy-status", "partner; error=connection_refused"),
                    ("server", "nginx"),
                    ("content-type", "application/json"),
                ],
            ),
        ),
    ]);
}
