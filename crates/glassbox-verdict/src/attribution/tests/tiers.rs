//! How many requests a side requires, pools with members that differ, and the two tiers between which the exchange fails.

use super::{HAPROXY_502, NGINX, NGINX_502, World, after, good, refused, stopped};
use crate::attribution::tests::{HAPROXY_504, answered};
use crate::chain::{Link, Stage};
use crate::reason::Reason;
use crate::report::Report;
use crate::rule_id::RuleId;
use crate::verdict::{Certainty, Side};

fn nginx_502() -> Report {
    refused(502, NGINX_502, NGINX)
}

fn app() -> Report {
    good("ok", &[("x-app-version", "7")])
}

/// A healthy direct request beside one failure may have met an intermittent fault in its healthy moment.
#[test]
fn one_success_names_no_side() {
    let once = World::of(nginx_502()).backend(app()).repeated(&[]);
    let verdict = once.try_judge().unwrap();
    assert_eq!((verdict.rule, verdict.side), (RuleId::GatewayUpstreamError, None));
    assert!(
        verdict.summary.contains("does not show which side failed"),
        "{}",
        verdict.summary
    );
    let repeated = World::of(nginx_502()).backend(app());
    let verdict = repeated.try_judge().unwrap();
    assert_eq!(
        (verdict.rule, verdict.side),
        (RuleId::BackendHealthy, Some(Side::Gateway))
    );
    assert_eq!(verdict.certainty, Certainty::Likely);
    assert_eq!(verdict.between, Some(["edge", "backend0"].map(str::to_owned)));
    assert!(
        verdict.summary.contains("between the gateway and backend0"),
        "{}",
        verdict.summary
    );
}

#[test]
fn earlier_probes_count_and_a_recovered_backend_does_not_acquit() {
    let both = || (nginx_502(), app());
    let lasting = World::of(nginx_502())
        .backend(app())
        .repeated(&[])
        .earlier(&[both(), both()]);
    assert_eq!(lasting.try_judge().unwrap().side, Some(Side::Gateway));
    // The edge succeeded in between, and the backend failed as well.
    let broke = || stopped(Stage::Wait, Reason::HttpClosedBeforeResponse);
    let intermittent = [
        (good("ok", &[]), app()),
        (nginx_502(), broke()),
        (good("ok", &[]), app()),
    ];
    let mixed = World::of(nginx_502())
        .backend(app())
        .repeated(&[])
        .earlier(&intermittent);
    assert_eq!(mixed.try_judge().unwrap().side, None);
}

#[test]
fn an_intermittent_fault_has_no_side_and_is_called_so() {
    let world = World::of(nginx_502())
        .backend(app())
        .repeated(&[good("ok", &[]), nginx_502()]);
    let verdict = world.says(RuleId::GatewayUpstreamError, Link::Upstream, Reason::UpstreamFailed);
    assert_eq!(verdict.side, None);
    assert!(
        verdict
            .summary
            .contains("intermittent: 2 of 3 requests to the edge failed"),
        "{}",
        verdict.summary
    );
}

/// An application that fails in 5 % of its requests has usually recovered when it is asked directly.
#[test]
fn the_applications_own_failure_is_not_the_edges() {
    let failure = || {
        refused(
            500,
            "{\"error\":\"no connection to the database\"}",
            &[("content-type", "application/json")],
        )
    };
    let verdict = World::of(failure())
        .backend(app())
        .repeated(&[good("ok", &[]), good("ok", &[])])
        .try_judge()
        .unwrap();
    assert_eq!(verdict.link, Link::Origin);
    let bare = || refused(500, "", &[]);
    let verdict = World::of(bare())
        .backend(app())
        .repeated(&[good("ok", &[]), good("ok", &[])])
        .try_judge()
        .unwrap();
    assert_eq!(verdict.link, Link::Unknown, "{verdict:?}");
}

#[test]
fn one_healthy_member_does_not_acquit_the_pool() {
    let broken = || stopped(Stage::Connect, Reason::TcpRefused);
    for members in [[app(), broken()], [broken(), app()]] {
        let [one, other] = members;
        let verdict = World::of(nginx_502())
            .backend(one.clone())
            .member(other.clone())
            .try_judge()
            .unwrap();
        assert_ne!(verdict.side, Some(Side::Gateway));
        assert_eq!(verdict.certainty, Certainty::Likely);
        assert!(
            verdict.summary.contains("3 of 6 direct requests to backend0 failed"),
            "{}",
            verdict.summary
        );
        // A gateway that chose the healthy member hides nothing.
        assert_eq!(World::of(good("ok", &[])).backend(one).member(other).try_judge(), None);
    }
    let verdict = World::of(nginx_502()).backend(app()).member(app()).try_judge().unwrap();
    assert_eq!(verdict.side, Some(Side::Gateway));
}

/// The fault is between the last tier that fails and the first one that succeeds.
#[test]
fn the_fault_is_between_two_tiers() {
    let pair = |outer: &str, inner: &str| Some([outer.to_owned(), inner.to_owned()]);
    let haproxy_502 = || refused(502, HAPROXY_502, &[]);
    let dead = || stopped(Stage::Connect, Reason::TcpRefused);
    let silent = || after(stopped(Stage::Wait, Reason::HttpTimedOutWaiting), 3000);
    let late = || after(refused(504, HAPROXY_504, &[]), 2000);
    for (edge, tiers, between) in [
        (haproxy_502(), [haproxy_502(), app()], pair("backend0", "backend1")),
        (nginx_502(), [dead(), app()], pair("edge", "backend0")),
        (nginx_502(), [haproxy_502(), dead()], pair("backend0", "backend1")),
        (late(), [silent(), app()], pair("backend0", "backend1")),
        (late(), [late(), silent()], pair("backend0", "backend1")),
        (nginx_502(), [app(), app()], pair("edge", "backend0")),
    ] {
        let [outer, inner] = tiers;
        let verdict = World::of(edge).backend(outer).backend(inner).try_judge().unwrap();
        assert_eq!(
            (verdict.link, &verdict.between),
            (Link::Upstream, &between),
            "{}",
            verdict.summary
        );
    }
}

/// A machine is never called healthy beside its own failure.
#[test]
fn a_backend_that_fails_is_not_called_healthy() {
    for status in [403, 404, 500, 502, 503, 504] {
        let edge = || answered(status, "<h1>error</h1>", &[]).reject(Reason::HttpStatus);
        for backend in [edge(), refused(502, HAPROXY_502, &[])] {
            let verdict = World::of(edge()).backend(backend).try_judge().unwrap();
            assert!(!verdict.summary.contains("healthy"), "{}", verdict.summary);
        }
    }
}

/// nginx relays a 500. Its own page for an upstream failure has another cause than the application's status.
#[test]
fn an_own_error_page_is_not_the_applications_status() {
    let verdict = World::of(nginx_502())
        .backend(refused(500, "KeyError: DB_URL", &[]))
        .try_judge()
        .unwrap();
    assert_eq!(
        (verdict.rule, verdict.side),
        (RuleId::GatewayUpstreamError, None),
        "{}",
        verdict.summary
    );
    let relayed = World::of(refused(500, "KeyError: DB_URL", NGINX)).backend(refused(500, "KeyError: DB_URL", &[]));
    assert_eq!(relayed.try_judge().unwrap().link, Link::Origin);
}
