//! Tests of the rules on the exporter's own network, resolver and credentials.

use super::{World, good, refused, stopped};
use crate::chain::{Link, Stage};
use crate::investigation::{ControlOutcome, Vantage};
use crate::reason::Reason;
use crate::report::Report;
use crate::rule_id::RuleId;

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
fn captive_portal() {
    let mut world = World::of(at_portal(refused(302, "", &[])));
    world.vantage = Some(Vantage {
        captive: true,
        captive_for_all: true,
        portal: vec![PORTAL.into()],
        ..Vantage::of_outcomes(&[(true, ControlOutcome::Answered)])
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
    world.vantage = Some(Vantage::of_outcomes(&[
        (true, ControlOutcome::NoName),
        (false, ControlOutcome::Answered),
    ]));
    world.says(RuleId::ResolverFailed, Link::Local, Reason::LocalResolverUnreachable);
}

#[test]
fn controls_failed() {
    let mut world = World::of(stopped(Stage::Connect, Reason::TcpTimedOut));
    world.vantage = Some(Vantage::of_outcomes(&[
        (false, ControlOutcome::NoConnection),
        (false, ControlOutcome::NoConnection),
    ]));
    let verdict = world.says(RuleId::ControlsFailed, Link::Local, Reason::LocalControlsFailed);
    assert_eq!(verdict.certainty.as_str(), "certain");
    // A resolver that fails does not explain a connection that does.
    world.vantage = Some(Vantage::of_outcomes(&[
        (true, ControlOutcome::NoName),
        (true, ControlOutcome::NoName),
    ]));
    let verdict = world.says(RuleId::ControlsFailed, Link::Local, Reason::LocalControlsFailed);
    assert_eq!(verdict.certainty.as_str(), "likely");
    // A single control may itself be down.
    world.vantage = Some(Vantage::of_outcomes(&[(false, ControlOutcome::NoConnection)]));
    let verdict = world.says(RuleId::ControlsFailed, Link::Local, Reason::LocalControlsFailed);
    assert_eq!(verdict.certainty.as_str(), "likely");
    world.vantage = Some(Vantage {
        outage: true,
        ..Vantage::default()
    });
    let verdict = world.says(RuleId::ControlsFailed, Link::Local, Reason::LocalControlsFailed);
    assert_eq!(verdict.certainty.as_str(), "likely");
    // A control that responds excludes the exporter's network.
    world.vantage = Some(Vantage::of_outcomes(&[
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
