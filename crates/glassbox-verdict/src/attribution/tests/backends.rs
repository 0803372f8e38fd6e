//! Tests of the rules on direct requests to backends.

use super::{HAPROXY_504, NGINX, NGINX_502, NGINX_504, World, after, good, refused, stopped};
use crate::chain::{Link, Stage};
use crate::reason::Reason;
use crate::report::TlsFacts;
use crate::rule_id::RuleId;
use crate::verdict::{Certainty, Side};
use std::time::Duration;

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
    assert_eq!((verdict.side, verdict.answered_by), (Some(Side::Origin), Some("nginx")));
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
