//! Tests of the rules on successful responses.

use super::{NGINX, NGINX_502, World, good, refused, stopped};
use crate::chain::{Link, Stage};
use crate::reason::Reason;
use crate::rule_id::RuleId;
use crate::verdict::Side;

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
