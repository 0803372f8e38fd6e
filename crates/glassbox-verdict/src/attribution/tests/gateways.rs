//! Tests of the rules on what gateways return, and on exchanges that break.

use super::{APACHE_READ, HAPROXY_502, NGINX, NGINX_502, World, after, good, refused, stopped};
use crate::attribution::MOST_REASONS;
use crate::chain::{Link, Stage};
use crate::reason::Reason;
use crate::rule_id::RuleId;
use crate::verdict::Side;

const TLS_400: &str = "<h1>400 Bad Request</h1>Client sent an HTTP request to an HTTPS server.";

const NGINX_400: &str = "<html><head><title>400 Bad Request</title></head><body><center><h1>400 Bad Request</h1></center>\
    <hr><center>nginx</center></body></html>";

#[test]
fn gateway_own_error() {
    let world = World::of(refused(403, "RBAC: access denied", &[("server", "envoy")]));
    world.says(RuleId::GatewayOwnError, Link::Edge, Reason::EdgeDenied);
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
    assert_eq!(verdict.answered_by, Some("nginx"));
    assert!(verdict.reasons.len() <= MOST_REASONS);
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
    assert_eq!(verdict.answered_by, Some("envoy"));
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
