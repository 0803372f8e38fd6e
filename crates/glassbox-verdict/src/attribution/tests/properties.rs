//! Properties that hold for any report.

use super::{World, WorldDiagnostics, after, reply, stopped};
use crate::attribution::{MASKS, MOST_REASONS, RULES};
use crate::chain::Stage;
use crate::investigation::{ControlOutcome, Vantage};
use crate::reason::Reason;
use crate::report::{Reply, Report, TlsFacts};
use proptest::prelude::*;

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
        world.vantage = Some(Vantage { captive, outage, ..Vantage::of_outcomes(&outcomes) });
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
                prop_assert!(!verdict.reasons.is_empty() && verdict.reasons.len() <= MOST_REASONS);
                prop_assert!(verdict.summary.contains("Call "));
                prop_assert!(RULES.iter().chain(MASKS).any(|rule| rule.id == verdict.rule));
            }
        }
    }
}
