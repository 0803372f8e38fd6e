//! Tests of the rules on the stage at which the exchange stopped.

use super::{NGINX, World, good, refused, stopped};
use crate::chain::{Link, Stage};
use crate::reason::Reason;
use crate::report::{Health, ProtocolFacts, TlsFacts};
use crate::rule_id::RuleId;
use crate::verdict::{Certainty, Side, Verdict};

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

/// In the handshake, an alert rejects it. Later, a server that fails for another reason may end the connection with one.
#[test]
fn an_alert_is_certain_only_in_the_handshake() {
    for (stage, certainty) in [(Stage::Secure, Certainty::Certain), (Stage::Wait, Certainty::Likely)] {
        let world = World::of(stopped(stage, Reason::TlsAlert));
        let verdict = world.says(RuleId::TlsFailed, Link::Tls, Reason::TlsAlert);
        assert_eq!(verdict.certainty, certainty, "{stage:?}");
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
