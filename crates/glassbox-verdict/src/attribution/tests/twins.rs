//! Twins: each certain verdict has a similar case whose verdict is only likely.

use super::{APACHE_502, APACHE_READ, NGINX, NGINX_502, World, after, good, refused, stopped};
use crate::chain::Stage;
use crate::investigation::{ControlOutcome, Vantage};
use crate::reason::Reason;
use crate::verdict::Certainty;
use std::time::Duration;

/// Pairs of an input with a certain verdict and a similar input with a likely one.
type Twins = Vec<(&'static str, World, World)>;

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
        world.vantage = Some(Vantage::of_outcomes(outcomes));
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
