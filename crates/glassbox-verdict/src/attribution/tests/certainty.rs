//! Tests of the certainty: what is not proven is only likely.

use super::{
    APACHE_502, APACHE_READ, HAPROXY_502, HAPROXY_504, NGINX, NGINX_502, NGINX_504, World, after, good, refused,
    stopped,
};
use crate::chain::{Link, Stage};
use crate::gateways;
use crate::reason::Reason;
use crate::report::Report;
use crate::rule_id::RuleId;
use crate::verdict::{Certainty, Side};

const APACHE_504: &str = "<!DOCTYPE HTML PUBLIC \"-//W3C//DTD HTML 4.01//EN\">\n<html><head>\n<title>504 Gateway Timeout</title>\n\
    </head><body>\n<h1>Gateway Timeout</h1>\n<p>The gateway did not receive a timely response from the upstream server or \
    application.</p></body></html>";

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
