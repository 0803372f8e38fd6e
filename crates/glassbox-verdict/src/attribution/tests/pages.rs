//! Tests of the rules on the look of a response: error pages, and the headers of the baseline.

use super::{NGINX, NGINX_502, World, good, refused, reply};
use crate::chain::Link;
use crate::reason::Reason;
use crate::rule_id::RuleId;
use crate::verdict::Certainty;

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
    assert_eq!(verdict.answered_by, Some("nginx"));
}

#[test]
fn generic_error_page() {
    let bare = |status, body| World::of(refused(status, body, &[]));
    let verdict = bare(502, "Bad Gateway").try_judge().unwrap();
    assert_eq!(
        (verdict.rule, verdict.link, verdict.answered_by),
        (RuleId::GenericErrorPage, Link::Upstream, Some("traefik"))
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
