//! From what was seen to a verdict: an ordered table of rules; the first that speaks decides. `docs/verdicts.md` is this
//! table for people, and a test holds the two together.

mod behind;
mod case;
mod hopped;
mod looks;
mod masks;
mod pages;
mod rules;
mod sentence;
mod speaks;

pub use masks::MASKS;
pub use rules::RULES;

use crate::baseline::Baseline;
use crate::chain::{Link, Stage};
use crate::investigation::{Drilled, Investigation, Vantage};
use crate::reason::Reason;
use crate::report::{Leg, Report};
use crate::verdict::{Certainty, Side, Verdict};
use case::Case;
use url::Url;

/// Reasons that a verdict lists, at most: the likeliest. The umbrella in the label stands for the rest, too.
const MOST_REASONS: usize = 3;

/// Everything that a judgment may look at.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The probe itself.
    pub front: &'a Report,
    /// What was asked beside it.
    pub beside: Option<&'a Investigation>,
    /// What is known of the key from before.
    pub baseline: &'a Baseline,
    /// What the controls say of our own side.
    pub vantage: Option<&'a Vantage>,
}

impl<'a> Facts<'a> {
    /// The hops that were asked, inward.
    fn hops(&self) -> impl Iterator<Item = &'a Drilled> + use<'a> {
        self.beside.into_iter().flat_map(|beside| &beside.hops)
    }

    fn bypass(&self) -> Option<&'a Report> {
        self.beside?.bypass.as_ref()
    }
}

/// One row of the decision table.
#[derive(Debug)]
pub struct Rule {
    /// The name that the evidence shows.
    pub name: &'static str,
    /// When the rule speaks and what it then blames, in words.
    pub when: &'static str,
    /// Where it is blind, in words; empty where it is not.
    pub blind: &'static str,
    speaks: fn(&Case<'_>) -> Option<Blame>,
}

/// What a rule says.
struct Blame {
    link: Link,
    certainty: Certainty,
    reasons: Vec<Reason>,
    side: Option<Side>,
    answered_by: Option<&'static str>,
}

impl Blame {
    fn on(link: Link, certainty: Certainty, reason: Reason) -> Self {
        Self::any_of(link, certainty, &[reason])
    }

    fn any_of(link: Link, certainty: Certainty, reasons: &[Reason]) -> Self {
        Self {
            link,
            certainty,
            reasons: reasons.to_vec(),
            side: None,
            answered_by: None,
        }
    }

    fn answered_by(self, name: &'static str) -> Self {
        Self {
            answered_by: Some(name),
            ..self
        }
    }

    fn side(self, side: Side) -> Self {
        Self {
            side: Some(side),
            ..self
        }
    }
}

/// Judges a probe: exactly one verdict for a failed one; for a good one none, unless it hides a broken link.
#[must_use]
pub fn attribute(facts: &Facts<'_>) -> Option<Verdict> {
    // What stands behind the target says nothing of the other host to which a redirect led.
    let facts = &Facts {
        beside: facts.beside.filter(|_| !ended_elsewhere(facts.front)),
        ..*facts
    };
    let case = Case::new(facts, facts.front);
    if facts.front.succeeded() {
        first_to_speak(MASKS, &case).or_else(|| behind_the_cache(facts))
    } else {
        first_to_speak(RULES, &case)
    }
}

fn first_to_speak(rules: &[Rule], case: &Case<'_>) -> Option<Verdict> {
    let (rule, blame) = rules.iter().find_map(|rule| Some((rule, (rule.speaks)(case)?)))?;
    Some(verdict(case, rule.name, blame))
}

/// Whether the last exchange was with another host than the first.
fn ended_elsewhere(report: &Report) -> bool {
    let host = |leg: &Leg| Url::parse(&leg.url).ok()?.host_str().map(str::to_owned);
    let mut legs = report.with_target();
    let first = legs.next();
    legs.last().is_some_and(|last| first.and_then(host) != host(last))
}

/// A good answer before one that is not, asked past the caches: what is true of the second is masked by the first.
fn behind_the_cache(facts: &Facts<'_>) -> Option<Verdict> {
    let fault = |report: &Report| report.fault.clone();
    let bypass = facts.bypass().filter(|bypass| {
        // An application may refuse a query that it does not know.
        let failed = bypass.final_reply().is_none_or(|reply| reply.status >= 500);
        failed && fault(bypass).is_some_and(|fault| !fault.at_deadline)
    })?;
    first_to_speak(RULES, &Case::new(facts, bypass))
}

fn verdict(case: &Case<'_>, rule: &'static str, mut blame: Blame) -> Verdict {
    if blame.link == Link::Upstream && blame.reasons.len() > 1 {
        blame.reasons.retain(|reason| reason.family() == "upstream");
    }
    let reason = Reason::umbrella(&blame.reasons);
    blame.reasons.truncate(MOST_REASONS);
    let reached = case
        .report
        .last_leg()
        .is_some_and(|leg| leg.reply.is_some() || leg.finished(Stage::Connect));
    let answered_by = blame.answered_by.or(case.gateway().filter(|_| reached));
    let laps = || case.report.laps().last().map(crate::ledger::Lap::stage);
    let mut verdict = Verdict {
        link: blame.link,
        reason,
        reasons: blame.reasons,
        side: blame.side,
        masked: case.facts.front.succeeded(),
        answered_by: answered_by.unwrap_or("unknown"),
        stage: case
            .fault()
            .map_or_else(|| laps().unwrap_or(Stage::Resolve), |fault| fault.stage),
        certainty: blame.certainty,
        rule,
        sentence: String::new(),
    };
    verdict.sentence = sentence::of(case, &verdict);
    verdict
}

#[cfg(test)]
mod tests {
    use super::{Facts, MASKS, RULES, attribute};
    use crate::baseline::Baseline;
    use crate::chain::{Link, Stage};
    use crate::hop::Hop;
    use crate::investigation::{Control, Drilled, Investigation, Reached, Vantage};
    use crate::ledger::Ledger;
    use crate::reason::Reason;
    use crate::report::{Fault, Health, Leg, Reply, Report, Spoken, TlsFacts};
    use crate::verdict::{Certainty, Side, Verdict};
    use proptest::prelude::*;
    use std::time::{Duration, SystemTime};

    /// Everything that a judgment may look at, to be filled.
    #[derive(Clone, Debug)]
    struct World {
        front: Report,
        beside: Investigation,
        baseline: Baseline,
        vantage: Option<Vantage>,
    }

    impl World {
        fn of(front: Report) -> Self {
            Self {
                front,
                beside: Investigation::default(),
                baseline: Baseline::default(),
                vantage: None,
            }
        }

        fn hop(mut self, report: Report) -> Self {
            let name = format!("hop{}", self.beside.hops.len());
            self.beside.hops.push(Drilled {
                hop: Hop {
                    trusted: true,
                    ..Hop::new(&name, "10.0.0.7:80").unwrap()
                },
                reachable: false,
                held_back: false,
                report,
                handshake: None,
            });
            self
        }

        fn reference(mut self, report: Report) -> Self {
            self.beside.reference = Some(report);
            self
        }

        fn try_judge(&self) -> Option<Verdict> {
            attribute(&Facts {
                front: &self.front,
                beside: Some(&self.beside),
                baseline: &self.baseline,
                vantage: self.vantage.as_ref(),
            })
        }

        #[track_caller]
        fn says(&self, rule: &str, link: Link, reason: Reason) -> Verdict {
            let verdict = self.try_judge().expect("there is a verdict");
            assert_eq!(
                (verdict.rule, verdict.link, verdict.reason),
                (rule, link, reason),
                "{verdict:#?}"
            );
            assert_eq!(verdict.masked, self.front.succeeded());
            verdict
        }
    }

    fn stopped(stage: Stage, reason: Reason) -> Report {
        let mut ledger = Ledger::default();
        ledger
            .begin(stage, Duration::ZERO)
            .fail(Duration::from_millis(3), reason);
        Report {
            began: SystemTime::UNIX_EPOCH,
            took: Duration::from_millis(3),
            timeout: Duration::from_secs(1),
            legs: vec![Leg {
                ledger,
                ..Leg::default()
            }],
            fault: Some(Fault {
                stage,
                reason,
                detail: String::new(),
                at_deadline: false,
            }),
        }
    }

    fn reply(status: u16, body: &str, headers: &[(&'static str, &'static str)]) -> Reply {
        let fields = headers.iter().map(|(name, value)| {
            let name = http::HeaderName::from_static(name);
            (name, http::HeaderValue::from_static(value))
        });
        Reply {
            status,
            headers: fields.collect(),
            body_length: body.len() as u64,
            body_start: body.as_bytes().to_vec(),
            ..Reply::default()
        }
    }

    /// An answer whose status is refused.
    fn refused(status: u16, body: &str, headers: &[(&'static str, &'static str)]) -> Report {
        let mut report = stopped(Stage::Receive, Reason::HttpStatus);
        report.legs[0].reply = Some(reply(status, body, headers));
        report
    }

    fn good(body: &str, headers: &[(&'static str, &'static str)]) -> Report {
        let mut report = refused(200, body, headers);
        report.fault = None;
        report
    }

    /// The same report, its first byte waited for so long.
    fn after(mut report: Report, millis: u64) -> Report {
        let mut ledger = Ledger::default();
        ledger
            .begin(Stage::Wait, Duration::ZERO)
            .finish(Duration::from_millis(millis));
        report.legs[0].ledger = ledger;
        report.took = Duration::from_millis(millis);
        report
    }

    const NGINX: &[(&str, &str)] = &[("server", "nginx")];
    const NGINX_502: &str = "<html><center><h1>502 Bad Gateway</h1></center><hr><center>nginx</center></html>";
    const NGINX_400: &str = "<html><center><h1>400 Bad Request</h1></center><hr><center>nginx</center></html>";
    const TLS_400: &str = "<h1>400 Bad Request</h1>Client sent an HTTP request to an HTTPS server.";

    fn vantage(outcomes: &[(bool, Reached)]) -> Vantage {
        let controls = outcomes.iter().map(|(needs_name, outcome)| Control {
            what: "a control".to_owned(),
            needs_name: *needs_name,
            outcome: *outcome,
            detail: String::new(),
            began: SystemTime::UNIX_EPOCH,
            laps: Vec::new(),
        });
        Vantage {
            controls: controls.collect(),
            ..Vantage::default()
        }
    }

    #[test]
    fn own_side() {
        let world = World::of(stopped(Stage::Resolve, Reason::LocalResolverUnreachable));
        world.says("own-side", Link::Local, Reason::LocalResolverUnreachable);
    }

    const PORTAL: [u8; 4] = [10, 0, 0, 1];

    fn at_portal(mut report: Report) -> Report {
        report.legs[0].url = "http://shop.test/".to_owned();
        report.legs[0].peer = Some((PORTAL, 80).into());
        report
    }

    #[test]
    fn no_token() {
        let mut report = stopped(Stage::Connect, Reason::TcpRefused);
        report.legs[0].for_credentials = true;
        World::of(report).says("no-token", Link::Local, Reason::LocalCredentials);
    }

    #[test]
    fn own_proxy() {
        let mut report = stopped(Stage::Connect, Reason::TcpRefused);
        report.legs[0].proxy = Some("http://proxy.test:3128".to_owned());
        World::of(report).says("own-proxy", Link::Local, Reason::TcpRefused);
        let refused = stopped(Stage::Tunnel, Reason::ProxyRefused);
        World::of(refused).says("own-proxy", Link::Local, Reason::ProxyRefused);
        let mut behind = stopped(Stage::Secure, Reason::TlsClosed);
        behind.legs[0].proxy = Some("http://proxy.test:3128".to_owned());
        World::of(behind.clone()).says("own-proxy", Link::Local, Reason::TlsClosed);
        let mut through = Ledger::default();
        through.begin(Stage::Tunnel, Duration::ZERO).finish(Duration::ZERO);
        behind.legs[0].ledger = through;
        World::of(behind).says("tls-refused", Link::Tls, Reason::TlsClosed);
    }

    #[test]
    fn proxy_finds_no_way() {
        let mut report = stopped(Stage::Tunnel, Reason::ProxyNoWay);
        report.legs[0].proxy = Some("http://proxy.test:3128".to_owned());
        World::of(report).says("proxy-finds-no-way", Link::Path, Reason::ProxyNoWay);
    }

    #[test]
    fn captive_portal() {
        let mut world = World::of(at_portal(refused(302, "", &[])));
        world.vantage = Some(Vantage {
            captive: true,
            portal: vec![PORTAL.into()],
            ..vantage(&[(true, Reached::Answered)])
        });
        world.says("captive-portal", Link::Local, Reason::LocalCaptivePortal);
    }

    #[test]
    fn good_from_captive_portal() {
        let mut world = World::of(at_portal(good("Welcome to the hotel", &[])));
        world.vantage = Some(Vantage {
            captive: true,
            portal: vec![PORTAL.into()],
            ..Vantage::default()
        });
        world.says("good-from-captive-portal", Link::Local, Reason::LocalCaptivePortal);
    }

    #[test]
    fn resolver_dead() {
        let mut world = World::of(stopped(Stage::Resolve, Reason::DnsTimedOut));
        world.vantage = Some(vantage(&[(true, Reached::NoName), (false, Reached::Answered)]));
        world.says("resolver-dead", Link::Local, Reason::LocalResolverUnreachable);
    }

    #[test]
    fn controls_failed() {
        let mut world = World::of(stopped(Stage::Connect, Reason::TcpTimedOut));
        world.vantage = Some(vantage(&[(false, Reached::NoConnection), (true, Reached::NoName)]));
        let verdict = world.says("controls-failed", Link::Local, Reason::LocalControlsFailed);
        assert_eq!(verdict.certainty.as_str(), "certain");
        // One control alone may itself be what is down.
        world.vantage = Some(vantage(&[(false, Reached::NoConnection)]));
        let verdict = world.says("controls-failed", Link::Local, Reason::LocalControlsFailed);
        assert_eq!(verdict.certainty.as_str(), "likely");
        world.vantage = Some(Vantage {
            quorum: true,
            ..Vantage::default()
        });
        let verdict = world.says("controls-failed", Link::Local, Reason::LocalControlsFailed);
        assert_eq!(verdict.certainty.as_str(), "likely");
        // A control that answers overrules.
        world.vantage = Some(vantage(&[(false, Reached::NoConnection), (false, Reached::Answered)]));
        world.says("connect-silent", Link::Path, Reason::TcpTimedOut);
    }

    #[test]
    fn resolver_silent() {
        World::of(stopped(Stage::Resolve, Reason::DnsTimedOut)).says("resolver-silent", Link::Dns, Reason::DnsTimedOut);
    }

    #[test]
    fn name_not_resolved() {
        let world = World::of(stopped(Stage::Resolve, Reason::DnsServfail));
        world.says("name-not-resolved", Link::Dns, Reason::DnsServfail);
    }

    #[test]
    fn nothing_listens() {
        let world = World::of(stopped(Stage::Connect, Reason::TcpRefused));
        world.says("nothing-listens", Link::Front, Reason::TcpRefused);
    }

    #[test]
    fn datagram_lost() {
        for (stage, reason) in [
            (Stage::Wait, Reason::DnsTimedOut),
            (Stage::Wait, Reason::IcmpTimedOut),
            (Stage::Wait, Reason::IcmpUnreachable),
            (Stage::Send, Reason::IcmpTooBig),
            (Stage::Send, Reason::TcpAddressUnreachable),
        ] {
            World::of(stopped(stage, reason)).says("datagram-lost", Link::Path, reason);
        }
        World::of(stopped(Stage::Wait, Reason::DnsServerUnreachable)).says(
            "nothing-listens",
            Link::Front,
            Reason::DnsServerUnreachable,
        );
        World::of(stopped(Stage::Resolve, Reason::DnsTimedOut)).says("resolver-silent", Link::Dns, Reason::DnsTimedOut);
    }

    #[test]
    fn health_service_says() {
        let said = |reason, code, serving| {
            let mut report = stopped(Stage::Receive, reason);
            report.legs[0].spoken = Some(Spoken::Health(Health { code, serving }));
            report
        };
        let not_serving = said(Reason::GrpcNotServing, 0, Some(2));
        World::of(not_serving).says("health-service-says", Link::Origin, Reason::GrpcNotServing);
        let unavailable = said(Reason::GrpcStatus, 14, None);
        World::of(unavailable.clone()).says("health-service-says", Link::Origin, Reason::GrpcStatus);
        let mut behind = World::of(unavailable);
        behind.baseline.learn_product("envoy");
        behind.says("health-service-says", Link::Upstream, Reason::UpstreamFailed);
        let mut unknown = World::of(said(Reason::GrpcStatus, 5, None));
        unknown.baseline.learn_product("envoy");
        unknown.says("health-service-says", Link::Origin, Reason::GrpcStatus);
    }

    #[test]
    fn not_switched() {
        let mut world = World::of(stopped(Stage::Receive, Reason::WebsocketNotUpgraded));
        world.says("not-switched", Link::Origin, Reason::WebsocketNotUpgraded);
        world.baseline.learn_product("nginx");
        world.says("not-switched", Link::Front, Reason::WebsocketNotUpgraded);
    }

    #[test]
    fn connect_silent() {
        let world = World::of(stopped(Stage::Connect, Reason::TcpAddressUnreachable));
        world.says("connect-silent", Link::Path, Reason::TcpAddressUnreachable);
    }

    #[test]
    fn tls_refused() {
        for (stage, reason) in [
            (Stage::Secure, Reason::TlsClosed),
            (Stage::Secure, Reason::TlsTimedOut),
            (Stage::Wait, Reason::TlsClientCert),
            (Stage::Secure, Reason::TlsCertDateInvalid),
        ] {
            World::of(stopped(stage, reason)).says("tls-refused", Link::Tls, reason);
        }
    }

    /// The same as over plain HTTP: nothing of TLS was seen.
    #[test]
    fn what_ends_before_tls_began_is_judged_as_without_tls() {
        for (secure, wait) in [
            (Reason::TcpReset, Reason::TcpReset),
            (Reason::TcpClosed, Reason::HttpClosedBeforeResponse),
            (Reason::TcpSilent, Reason::HttpTimedOutWaiting),
            (Reason::QuicFailed, Reason::HttpClosedBeforeResponse),
        ] {
            let plain = World::of(stopped(Stage::Wait, wait));
            let over_tls = World::of(stopped(Stage::Secure, secure));
            over_tls.says("broken-at-front", Link::Front, secure);
            let dead = stopped(Stage::Connect, Reason::TcpRefused);
            let hops = [
                Vec::new(),
                vec![good("", &[])],
                vec![dead.clone()],
                vec![dead, good("", &[])],
            ];
            for product in [None, Some("nginx")] {
                for hops in &hops {
                    let [plain, over_tls] = [&plain, &over_tls].map(|world| {
                        let mut world = hops.iter().cloned().fold(world.clone(), World::hop);
                        if let Some(product) = product {
                            world.baseline.learn_product(product);
                        }
                        world.try_judge().unwrap()
                    });
                    let verdict = |verdict: Verdict| (verdict.rule, verdict.link, verdict.certainty, verdict.side);
                    assert_eq!(
                        verdict(plain),
                        verdict(over_tls),
                        "{secure:?}, {product:?}, {} hops",
                        hops.len()
                    );
                }
            }
        }
    }

    #[test]
    fn client_certificate_demanded() {
        const PAGE: &str = "<html><center><h1>400 Bad Request</h1></center>\r\n\
            <center>No required SSL certificate was sent</center>\r\n<hr><center>nginx</center></html>";
        let asked = |asked: bool| {
            let mut front = refused(400, PAGE, NGINX);
            front.legs[0].tls = Some(TlsFacts {
                client_cert_asked: asked,
                ..TlsFacts::default()
            });
            World::of(front)
        };
        asked(true).says("client-certificate-demanded", Link::Tls, Reason::TlsClientCert);
        let with_hop = asked(true).hop(good("", &[]));
        with_hop.says("client-certificate-demanded", Link::Tls, Reason::TlsClientCert);
        let before_dead = asked(true).hop(stopped(Stage::Connect, Reason::TcpRefused));
        before_dead.says("client-certificate-demanded", Link::Tls, Reason::TlsClientCert);
        // The backend says so itself: the gateway lacks a certificate, whatever the gateway asks of its clients.
        let relayed = asked(true).hop(refused(400, PAGE, NGINX));
        relayed.says("hop-answers-alike", Link::Origin, Reason::OriginStatus);
        let twin = asked(false).try_judge().unwrap();
        assert_ne!((twin.link, twin.reason), (Link::Tls, Reason::TlsClientCert));
    }

    #[test]
    fn content_refused() {
        let mut front = good("", &[]);
        front.fault = stopped(Stage::Receive, Reason::ContentBody).fault;
        World::of(front.clone()).says("content-refused", Link::Content, Reason::ContentBody);
        let verdict = World::of(front)
            .hop(good("", &[]))
            .says("content-refused", Link::Content, Reason::ContentBody);
        assert_eq!(verdict.side, Some(Side::Gateway));
    }

    #[test]
    fn redirect_loop() {
        let world = World::of(stopped(Stage::Receive, Reason::HttpResponseRedirectLoop));
        world.says("redirect-loop", Link::Origin, Reason::HttpResponseRedirectLoop);
    }

    #[test]
    fn answer_slow() {
        let slow = || World::of(stopped(Stage::Receive, Reason::HttpSlow));
        slow().says("answer-slow", Link::Origin, Reason::OriginSlow);
        slow()
            .hop(stopped(Stage::Receive, Reason::HttpSlow))
            .says("answer-slow", Link::Origin, Reason::OriginSlow);
        let verdict = slow()
            .hop(good("", &[]))
            .says("answer-slow", Link::Upstream, Reason::UpstreamFailed);
        assert_eq!(verdict.side, Some(Side::Gateway));
    }

    #[test]
    fn hop_broken() {
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
            let world = World::of(refused(502, NGINX_502, NGINX)).hop(stopped(stage, reason));
            let verdict = world.says("hop-broken", Link::Upstream, upstream);
            assert_eq!(verdict.side, Some(Side::Origin));
        }
        // The gateway refuses by itself, whatever stands behind it.
        let denied = World::of(refused(403, "RBAC: access denied", &[("server", "envoy")]));
        let denied = denied.hop(stopped(Stage::Connect, Reason::TcpRefused));
        denied.says("gateway-speaks-of-itself", Link::Front, Reason::FrontDenied);
    }

    #[test]
    fn silence_of_a_hop_is_an_answer_only_where_it_is_known_to_be_reachable() {
        let mut world = World::of(refused(504, "", NGINX)).hop(stopped(Stage::Connect, Reason::TcpTimedOut));
        assert_ne!(world.try_judge().unwrap().rule, "hop-broken");
        world.beside.hops[0].reachable = true;
        world.says("hop-broken", Link::Upstream, Reason::UpstreamConnectionTimeout);
    }

    #[test]
    fn a_hop_that_speaks_tls_was_asked_in_plain_text() {
        let mut world = World::of(refused(502, NGINX_502, NGINX));
        world = world.hop(stopped(Stage::Wait, Reason::HttpClosedBeforeResponse));
        let mut handshake = stopped(Stage::Secure, Reason::TlsCertAuthorityInvalid);
        handshake.legs[0].tls = Some(TlsFacts::default());
        world.beside.hops[0].handshake = Some(handshake);
        world.says("hop-broken", Link::Upstream, Reason::UpstreamTlsExpected);
    }

    #[test]
    fn hop_answers_alike() {
        let alike = World::of(refused(500, "{}", &[])).hop(refused(500, "{}", &[]));
        alike.says("hop-answers-alike", Link::Origin, Reason::OriginStatus);
        // A gateway behind the gateway.
        let chain = World::of(refused(502, "", &[])).hop(refused(502, NGINX_502, NGINX));
        let verdict = chain
            .clone()
            .says("hop-answers-alike", Link::Upstream, Reason::UpstreamFailed);
        assert_eq!((verdict.side, verdict.answered_by), (Some(Side::Origin), "nginx"));
        // And what stands behind that is well.
        let verdict = chain
            .hop(good("", &[]))
            .says("hop-answers-alike", Link::Upstream, Reason::UpstreamUnreachable);
        assert_eq!(verdict.side, Some(Side::Gateway));
    }

    #[test]
    fn a_hop_that_did_not_get_the_modules_credentials_may_refuse_us() {
        let mut world = World::of(refused(502, "", &[])).hop(refused(500, "", &[]));
        world.says("hop-answers-alike", Link::Origin, Reason::OriginStatus);
        world.beside.hops[0].held_back = true;
        assert_eq!(world.try_judge().unwrap().rule, "bare-page");
    }

    #[test]
    fn a_redirect_to_another_host_leaves_the_hops_behind() {
        let mut front = refused(502, "", &[]);
        let mut first = good("", &[]).legs.remove(0);
        first.url = "http://shop.test/".to_owned();
        front.legs[0].url = "https://login.test/".to_owned();
        front.legs.insert(0, first);
        let mut world = World::of(front).hop(good("", &[]));
        assert_eq!(world.try_judge().unwrap().rule, "bare-page");
        world.front.legs[1].url = "https://shop.test/".to_owned();
        assert_eq!(world.try_judge().unwrap().rule, "hop-healthy");
        // A hop that only redirects, too, was not asked what failed.
        world.beside.hops[0].report.legs[0].reply.as_mut().unwrap().status = 301;
        assert_eq!(world.try_judge().unwrap().rule, "bare-page");
    }

    #[test]
    fn gateway_speaks_of_itself() {
        let world = World::of(refused(403, "RBAC: access denied", &[("server", "envoy")]));
        world.says("gateway-speaks-of-itself", Link::Front, Reason::FrontDenied);
    }

    #[test]
    fn hop_healthy() {
        let world = World::of(refused(502, NGINX_502, NGINX)).hop(good("", &[]));
        let verdict = world.says("hop-healthy", Link::Upstream, Reason::UpstreamUnreachable);
        assert_eq!(verdict.side, Some(Side::Gateway));
        for (front, link, reason) in [
            (refused(503, "x", &[]), Link::Upstream, Reason::UpstreamUnreachable),
            (refused(404, "x", &[]), Link::Front, Reason::FrontNotFound),
            (refused(500, "x", &[]), Link::Front, Reason::FrontInternalError),
            (
                stopped(Stage::Wait, Reason::HttpClosedBeforeResponse),
                Link::Front,
                Reason::FrontInternalError,
            ),
            (
                stopped(Stage::Wait, Reason::HttpTimedOutWaiting),
                Link::Upstream,
                Reason::UpstreamHttpResponseTimeout,
            ),
        ] {
            World::of(front).hop(good("", &[])).says("hop-healthy", link, reason);
        }
    }

    #[test]
    fn a_gateway_without_the_patience_or_the_room_for_a_healthy_answer() {
        let page = NGINX_502.replace("502", "504");
        let world = World::of(after(refused(504, &page, NGINX), 2000)).hop(after(good("", &[]), 2500));
        let verdict = world.says("hop-healthy", Link::Upstream, Reason::UpstreamHttpResponseTimeout);
        assert_eq!(verdict.side, Some(Side::Origin));
        let mut hop = good("", &[]);
        hop.legs[0].reply.as_mut().unwrap().head_size = 20_000;
        let world = World::of(refused(502, NGINX_502, NGINX)).hop(hop);
        let verdict = world.says(
            "hop-healthy",
            Link::Upstream,
            Reason::UpstreamHttpResponseHeaderSectionSize,
        );
        assert_eq!(verdict.side, Some(Side::Origin));
    }

    #[test]
    fn gateway_speaks_of_upstream() {
        let world = World::of(refused(502, NGINX_502, NGINX));
        let verdict = world.says("gateway-speaks-of-upstream", Link::Upstream, Reason::UpstreamFailed);
        assert_eq!(verdict.answered_by, "nginx");
        assert!(verdict.reasons.len() <= super::MOST_REASONS);
        let fields = [("proxy-status", "edge; error=dns_timeout")];
        World::of(refused(504, "", &fields)).says(
            "gateway-speaks-of-upstream",
            Link::Upstream,
            Reason::UpstreamDnsTimeout,
        );
    }

    #[test]
    fn plain_text_to_tls() {
        let plain = World::of(refused(400, TLS_400, &[]));
        plain.says("plain-text-to-tls", Link::Tls, Reason::TlsExpected);
        let behind = plain.reference(refused(400, NGINX_400, NGINX));
        behind.says("plain-text-to-tls", Link::Upstream, Reason::UpstreamTlsExpected);
        let mut silent = World::of(stopped(Stage::Wait, Reason::HttpClosedBeforeResponse));
        silent.beside.handshake = Some(stopped(Stage::Secure, Reason::TlsAlert));
        silent.says("plain-text-to-tls", Link::Tls, Reason::TlsExpected);
    }

    #[test]
    fn gateway_relays() {
        let fields = [("server", "envoy"), ("x-envoy-upstream-service-time", "3")];
        let verdict = World::of(refused(500, "x", &fields)).says("gateway-relays", Link::Origin, Reason::OriginStatus);
        assert_eq!(verdict.answered_by, "envoy");
    }

    #[test]
    fn usual_marks() {
        let mut world = World::of(refused(503, "", &[("x-app", "1")]));
        world
            .baseline
            .learn_good(&reply(200, "", &[("x-app", "1"), ("x-more", "1")]));
        world.baseline.learn_own(&reply(400, "", &[("server", "edge")]));
        world.says("usual-marks", Link::Origin, Reason::OriginStatus);
    }

    #[test]
    fn usual_marks_missing() {
        let mut world = World::of(refused(500, "", &[("server", "edge")]));
        world
            .baseline
            .learn_good(&reply(200, "", &[("x-app", "1"), ("x-more", "1")]));
        world.baseline.learn_own(&reply(400, "", &[("server", "edge")]));
        world.says("usual-marks-missing", Link::Front, Reason::FrontInternalError);
    }

    #[test]
    fn broken_behind_gateway() {
        let broken = || World::of(stopped(Stage::Receive, Reason::HttpClosedMidBody));
        let mut known = broken();
        known.baseline.learn_product("haproxy");
        known.says(
            "broken-behind-gateway",
            Link::Upstream,
            Reason::UpstreamHttpResponseIncomplete,
        );
        let lives = broken().reference(refused(400, "Bad Request", &[]));
        lives.says(
            "broken-behind-gateway",
            Link::Upstream,
            Reason::UpstreamHttpResponseIncomplete,
        );
        // It is not asked again with every probe.
        let mut earlier = broken();
        earlier.baseline.refuses_with = Some(400);
        assert_eq!(earlier.try_judge().unwrap().rule, "broken-behind-gateway");
    }

    #[test]
    fn broken_at_front() {
        let world = World::of(stopped(Stage::Receive, Reason::HttpResponseInvalid));
        world.says("broken-at-front", Link::Front, Reason::HttpResponseInvalid);
        // What answers the reference request as it answers any other is no edge.
        let world = world.reference(stopped(Stage::Wait, Reason::HttpTimedOutWaiting));
        world.says("broken-at-front", Link::Front, Reason::HttpResponseInvalid);
    }

    #[test]
    fn edges_own_skeleton() {
        let page = |status: &str| format!("<html><h1>{status}</h1><address>edge</address></html>");
        let refusal = refused(400, &page("400 Bad Request"), &[("server", "edge")]);
        for (status, link) in [(502, Link::Upstream), (500, Link::Front)] {
            let front = refused(status, &page("Oh no, that did not work at all"), &[("server", "edge")]);
            let verdict = World::of(front).reference(refusal.clone()).try_judge().unwrap();
            assert_eq!((verdict.rule, verdict.link), ("edges-own-skeleton", link));
        }
    }

    #[test]
    fn not_the_gateways_page() {
        let world = World::of(refused(500, "x", NGINX));
        let verdict = world.says("not-the-gateways-page", Link::Origin, Reason::OriginStatus);
        assert_eq!(verdict.answered_by, "nginx");
    }

    #[test]
    fn page_of_many() {
        let bare = |status, body| World::of(refused(status, body, &[]));
        let verdict = bare(502, "Bad Gateway").try_judge().unwrap();
        assert_eq!(
            (verdict.rule, verdict.link, verdict.answered_by),
            ("page-of-many", Link::Upstream, "traefik")
        );
        assert_eq!(verdict.certainty.as_str(), "likely");
        bare(404, "404 page not found").says("page-of-many", Link::Front, Reason::FrontNotFound);
        // Another gateway is known there: it is somebody else's.
        let mut known = bare(502, "Bad Gateway");
        known.baseline.learn_product("haproxy");
        known.says("not-the-gateways-page", Link::Origin, Reason::OriginStatus);
        // And of the machine itself it says nothing of what stands behind.
        let hop = bare(500, "Internal Server Error").hop(refused(500, "Internal Server Error", &[]));
        hop.says("hop-answers-alike", Link::Origin, Reason::OriginStatus);
        // Programs in Go say this of themselves.
        let own = refused(500, "Internal Server Error", &[("x-content-type-options", "nosniff")]);
        World::of(own).says("not-decided", Link::Unknown, Reason::HttpStatus);
    }

    #[test]
    fn custom_page() {
        let world = World::of(refused(
            503,
            "<h1>The shop is being updated, please come back</h1>",
            &[],
        ));
        world.says("custom-page", Link::Origin, Reason::OriginStatus);
    }

    #[test]
    fn bare_page() {
        World::of(refused(502, "", &[])).says("bare-page", Link::Upstream, Reason::UpstreamFailed);
        World::of(refused(429, "", &[])).says("bare-page", Link::Front, Reason::FrontRateLimited);
    }

    #[test]
    fn not_decided() {
        World::of(refused(500, "", &[])).says("not-decided", Link::Unknown, Reason::HttpStatus);
    }

    #[test]
    fn good_before_broken_hop() {
        let world = World::of(good("x", &[])).hop(stopped(Stage::Connect, Reason::TcpRefused));
        let verdict = world.says(
            "good-before-broken-hop",
            Link::Upstream,
            Reason::UpstreamConnectionRefused,
        );
        assert_eq!(verdict.side, Some(Side::Origin));
        let world = World::of(good("x", &[])).hop(refused(500, "{}", &[]));
        world.says("good-before-broken-hop", Link::Origin, Reason::OriginStatus);
        let world = World::of(good("x", &[])).hop(stopped(Stage::Connect, Reason::TcpTimedOut));
        assert_eq!(world.try_judge(), None, "silence may be a firewall's");
    }

    #[test]
    fn good_made_of_broken() {
        let world = World::of(good("x", &[("x-transformed-from", "HTTP/0.9")]));
        world.says("good-made-of-broken", Link::Upstream, Reason::UpstreamHttpProtocolError);
        let mut world = World::of(good("x", &[]));
        world.front.legs[0].wire.excerpt = b"HTTP/1.1 200 OK\r\n\r\nSSH-2.0-OpenSSH".to_vec();
        world.says("good-made-of-broken", Link::Upstream, Reason::UpstreamHttpProtocolError);
        world.front.legs[0].wire.excerpt = b"HTTP/1.1 200 OK\r\n\r\nHTTP is a protocol".to_vec();
        assert_eq!(world.try_judge(), None);
    }

    #[test]
    fn good_but_overrun() {
        let mut world = World::of(good("x", &[]));
        world.front.legs[0].reply.as_mut().unwrap().overrun = true;
        world.says("good-but-overrun", Link::Origin, Reason::HttpOverrun);
    }

    #[test]
    fn good_but_huge_head() {
        let mut world = World::of(good("x", &[]));
        world.front.legs[0].reply.as_mut().unwrap().head_size = 100_000;
        world.says("good-but-huge-head", Link::Front, Reason::HttpResponseHeaderTooLarge);
    }

    #[test]
    fn good_but_empty() {
        let world = World::of(good("", &[("server", "edge")])).hop(good("x", &[("server", "app"), ("x-app", "1")]));
        world.says("good-but-empty", Link::Front, Reason::FrontNotFound);
        let same = World::of(good("", &[("x-app", "1")])).hop(good("x", &[("x-app", "1")]));
        assert_eq!(same.try_judge(), None);
    }

    #[test]
    fn what_is_asked_past_the_caches_is_judged_as_the_front_is() {
        let mut world = World::of(good("x", &[]));
        world.beside.bypass = Some(refused(502, NGINX_502, NGINX));
        world.says("gateway-speaks-of-upstream", Link::Upstream, Reason::UpstreamFailed);
        world.beside.bypass = Some(good("x", &[]));
        assert_eq!(world.try_judge(), None);
    }

    fn through_own_proxy(mut report: Report, url: &str) -> Report {
        report.legs[0].url = url.to_owned();
        report.legs[0].proxy = Some("http://proxy.test:3128".to_owned());
        report
    }

    #[test]
    fn own_proxy_answers() {
        const SHOP: &str = "http://shop.test/";
        let squid = |error: &'static str| {
            refused(
                503,
                "",
                &[
                    ("server", "squid/5.7"),
                    ("x-squid-error", error),
                    ("via", "1.1 proxy (squid/5.7)"),
                ],
            )
        };
        let tinyproxy = refused(403, "<h1>Filtered</h1><p>Generated by tinyproxy 1.11</p>", &[]);
        for (answer, link, reason) in [
            (refused(407, "", &[]), Link::Local, Reason::ProxyRefused),
            (squid("ERR_ACCESS_DENIED 0"), Link::Local, Reason::ProxyRefused),
            (tinyproxy, Link::Local, Reason::ProxyRefused),
            (squid("ERR_DNS_FAIL 0"), Link::Path, Reason::ProxyNoWay),
            (squid("ERR_CONNECT_FAIL 111"), Link::Path, Reason::ProxyNoWay),
            (
                refused(502, "<p>DNS lookup failure for: shop.test</p>", &[("server", "Apache")]),
                Link::Path,
                Reason::ProxyNoWay,
            ),
        ] {
            let world = World::of(through_own_proxy(answer, SHOP));
            let verdict = world.says("own-proxy-answers", link, reason);
            assert_eq!(verdict.certainty, Certainty::Likely);
        }
        // What the proxy passed on is the target's: another Squid stands before that.
        let mut passed_on = squid("ERR_ACCESS_DENIED 0");
        let fields = &mut passed_on.legs[0].reply.as_mut().unwrap().headers;
        fields.append("via", http::HeaderValue::from_static("1.1 own (squid/5.7)"));
        World::of(through_own_proxy(passed_on, SHOP)).says(
            "gateway-speaks-of-itself",
            Link::Front,
            Reason::FrontDenied,
        );
        let nginx = through_own_proxy(refused(502, NGINX_502, NGINX), SHOP);
        World::of(nginx).says("gateway-speaks-of-upstream", Link::Upstream, Reason::UpstreamFailed);
        // Without a proxy of the module the same page is the front's.
        let front = World::of(squid("ERR_ACCESS_DENIED 0"));
        front.says("gateway-speaks-of-itself", Link::Front, Reason::FrontDenied);
    }

    #[test]
    fn a_status_for_strangers_says_nothing_of_the_origin() {
        let silent = stopped(Stage::Wait, Reason::HttpTimedOutWaiting);
        for status in [401, 403, 429] {
            let stranger = || refused(status, "<p>Sign in to go on to the shop</p>", &[]);
            let verdict = World::of(silent.clone()).hop(stranger()).try_judge().unwrap();
            assert_ne!(verdict.link, Link::Origin, "{status}");
            let before = World::of(refused(502, NGINX_502, NGINX)).hop(stranger());
            let verdict = before.says("gateway-speaks-of-upstream", Link::Upstream, Reason::UpstreamFailed);
            assert_eq!(verdict.side, None);
            // The front refuses in other words: it may be the front's own.
            let other = World::of(refused(status, "", &[])).hop(stranger());
            assert_ne!(other.try_judge().unwrap().link, Link::Origin, "{status}");
            // In the very same words it is the application's.
            let same = World::of(stranger()).hop(stranger());
            let verdict = same.says("hop-answers-alike", Link::Origin, Reason::OriginStatus);
            assert_eq!(verdict.certainty, Certainty::Likely);
        }
    }

    #[test]
    fn what_answered_with_an_error_is_not_called_healthy() {
        let chain = World::of(refused(502, "", &[]))
            .hop(refused(502, NGINX_502, NGINX))
            .hop(good("", &[]));
        let verdict = chain.try_judge().unwrap();
        assert_eq!(verdict.side, Some(Side::Gateway));
        assert!(verdict.sentence.contains("hop1 is well"), "{}", verdict.sentence);
        assert!(!verdict.sentence.contains("hop0 is well"), "{}", verdict.sentence);
    }

    #[test]
    fn a_healthy_backend_does_not_overrule_the_applications_marks() {
        let marks: [&[(&str, &str)]; 3] = [
            &[("x-powered-by", "Express")],
            &[("server", "gunicorn")],
            &[("x-app-version", "7")],
        ];
        for marks in marks {
            let world = World::of(refused(500, "x", marks)).hop(good("y", marks));
            world.says("usual-marks", Link::Origin, Reason::OriginStatus);
            let world = World::of(refused(503, "", marks)).hop(good("y", marks));
            world.says("usual-marks", Link::Origin, Reason::OriginStatus);
            // Without them on the error it is the edge's.
            let world = World::of(refused(500, "x", &[])).hop(good("y", marks));
            world.says("hop-healthy", Link::Front, Reason::FrontInternalError);
        }
        // What both are built on marks neither.
        let world = World::of(refused(503, "x", &[("server", "envoy")])).hop(good("y", &[("server", "envoy")]));
        assert_eq!(world.try_judge().unwrap().rule, "hop-healthy");
    }

    #[test]
    fn a_gateways_own_500_does_not_overrule_a_backend_that_is_broken() {
        let page = NGINX_502.replace("502 Bad Gateway", "500 Internal Server Error");
        let front = || World::of(refused(500, &page, NGINX));
        let invalid = stopped(Stage::Wait, Reason::HttpResponseInvalid);
        let verdict = front()
            .hop(invalid)
            .says("hop-broken", Link::Upstream, Reason::UpstreamHttpProtocolError);
        assert_eq!(verdict.certainty, Certainty::Likely);
        front().says("gateway-speaks-of-itself", Link::Front, Reason::FrontInternalError);
        front()
            .hop(good("", &[]))
            .says("gateway-speaks-of-itself", Link::Front, Reason::FrontInternalError);
    }

    #[test]
    fn a_backend_that_refuses_us_does_not_overrule_an_answer_of_the_application() {
        let dead = || stopped(Stage::Connect, Reason::TcpRefused);
        // The page speaks of what stands behind.
        let verdict = World::of(refused(502, NGINX_502, NGINX))
            .hop(dead())
            .try_judge()
            .unwrap();
        assert_eq!((verdict.rule, verdict.certainty), ("hop-broken", Certainty::Certain));
        // It may be a limit of the front's own, or a page of the application.
        let limit = NGINX_502.replace("502 Bad Gateway", "503 Service Temporarily Unavailable");
        let custom = "<h1>The shop is being updated, please come back</h1>";
        for front in [
            refused(503, &limit, NGINX),
            refused(503, custom, &[]),
            refused(500, "x", &[]),
        ] {
            let verdict = World::of(front).hop(dead()).try_judge().unwrap();
            assert_eq!((verdict.rule, verdict.certainty), ("hop-broken", Certainty::Likely));
        }
        let json = refused(404, "{\"error\":\"none\"}", &[("content-type", "application/json")]);
        World::of(json)
            .hop(dead())
            .says("custom-page", Link::Origin, Reason::OriginStatus);
        let passed_on = refused(503, "x", &[("server", "envoy"), ("x-envoy-upstream-service-time", "3")]);
        World::of(passed_on)
            .hop(dead())
            .says("gateway-relays", Link::Origin, Reason::OriginStatus);
    }

    /// Each that is certain, beside one that looks alike and is not.
    type Twins = Vec<(&'static str, World, World)>;

    fn twins_by_the_page() -> Twins {
        let alb = |status, body| refused(status, body, &[("server", "awselb/2.0")]);
        let apache = |status: u16, words: &str| {
            let head = "<!DOCTYPE HTML PUBLIC \"-//IETF//DTD HTML 2.0//EN\">\n<html><head>\n<title>";
            refused(
                status,
                &format!("{head}{status} {words}</title>"),
                &[("server", "Apache")],
            )
        };
        let envoy = || refused(403, "RBAC: access denied", &[("server", "envoy")]);
        let json = || refused(500, "<p>Something of the shop broke</p>", &[]);
        vec![
            (
                "only an edge speaks for the front",
                World::of(alb(403, "")),
                World::of(envoy()),
            ),
            (
                "what stands next behind is healthy",
                World::of(envoy()).hop(good("", &[])),
                World::of(envoy()),
            ),
            (
                "a web server may be the application, too",
                World::of(alb(404, "")),
                World::of(apache(404, "Not Found")),
            ),
            (
                "a 503 may be maintenance",
                World::of(apache(504, "Gateway Timeout")),
                World::of(apache(503, "Service Unavailable")),
            ),
            (
                "others make the page of a program in Go",
                World::of(refused(503, "no available server", &[])).hop(good("", &[])),
                World::of(refused(502, "Bad Gateway", &[])).hop(good("", &[])),
            ),
            (
                "two say the same",
                World::of(json()).hop(json()),
                World::of(json()).hop(refused(500, "<p>Another page of another program</p>", &[])),
            ),
            (
                "a gateway's status may be of another gateway",
                World::of(json()).hop(json()),
                World::of(refused(502, "", &[])).hop(refused(502, "", &[])),
            ),
        ]
    }

    fn twins_by_the_way() -> Twins {
        let slow = |wait| {
            let mut report = after(stopped(Stage::Receive, Reason::HttpSlow), wait);
            report.took = Duration::from_secs(1);
            report
        };
        let controls = [(true, Reached::Answered), (false, Reached::Answered)];
        let unreachable = || World::of(stopped(Stage::Wait, Reason::IcmpUnreachable));
        let servfail = || World::of(stopped(Stage::Resolve, Reason::DnsServfail));
        let seen_from = |mut world: World, outcomes: &[(bool, Reached)]| {
            world.vantage = Some(vantage(outcomes));
            world
        };
        let no_name = |reason| World::of(stopped(Stage::Resolve, reason));
        let dead = |count| vec![(true, Reached::NoName); count];
        vec![
            (
                "the way to the hop may be slow",
                World::of(slow(900)).hop(slow(900)),
                World::of(slow(900)).hop(slow(100)),
            ),
            (
                "the first router may be ours",
                seen_from(unreachable(), &controls),
                unreachable(),
            ),
            ("our resolver may fail", seen_from(servfail(), &controls), servfail()),
            (
                "a name that does not exist was answered",
                no_name(Reason::DnsNameNotResolved),
                servfail(),
            ),
            (
                "one control's zone may be down",
                seen_from(no_name(Reason::DnsNameNotResolved), &dead(2)),
                seen_from(no_name(Reason::DnsNameNotResolved), &dead(1)),
            ),
        ]
    }

    #[test]
    fn what_is_certain_has_a_twin_that_is_likely() {
        for (what, certain, likely) in twins_by_the_page().into_iter().chain(twins_by_the_way()) {
            let verdict = certain.try_judge().unwrap();
            assert_eq!(verdict.certainty, Certainty::Certain, "{what}: {verdict:#?}");
            assert!(!verdict.sentence.contains("not certain"), "{what}");
            let verdict = likely.try_judge().unwrap();
            assert_eq!(verdict.certainty, Certainty::Likely, "{what}: {verdict:#?}");
        }
        // A good answer hides nothing for certain: a firewall may refuse us alone.
        let masked = World::of(good("x", &[])).hop(stopped(Stage::Connect, Reason::TcpRefused));
        assert_eq!(masked.try_judge().unwrap().certainty, Certainty::Likely);
    }

    #[test]
    fn the_evidence_says_what_would_make_a_verdict_certain() {
        let mut front = refused(403, "RBAC: access denied", &[("server", "envoy")]);
        front.legs[0].method = Some("GET".to_owned());
        let verdict = World::of(front.clone()).try_judge().unwrap();
        assert!(verdict.sentence.contains("as a hop"), "{}", verdict.sentence);
        let certain = World::of(front).hop(good("", &[])).try_judge().unwrap();
        assert!(!certain.sentence.contains("to be certain"), "{}", certain.sentence);
        let dns = World::of(stopped(Stage::Resolve, Reason::DnsServfail))
            .try_judge()
            .unwrap();
        assert!(dns.sentence.contains("`controls`"), "{}", dns.sentence);
    }

    #[test]
    fn each_rule_has_a_test_of_its_name() {
        let source = include_str!("attribution.rs");
        for rule in RULES.iter().chain(MASKS) {
            let name = format!("fn {}()", rule.name.replace('-', "_"));
            assert!(source.contains(&name), "there is no test {name}");
            assert!(
                rule.when.contains('`') && rule.when.ends_with('.'),
                "{}: {}",
                rule.name,
                rule.when
            );
        }
    }

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
            let leg = &mut report.legs[0];
            leg.reply = status.map(|status| Reply {
                headers: fields
                    .into_iter()
                    .filter_map(|(name, value)| Some((name.parse().unwrap(), value?.parse().unwrap())))
                    .collect(),
                overrun: flags.0,
                ..reply(status, &body, &[])
            });
            leg.wire.excerpt = excerpt;
            leg.tls = flags.1.then(TlsFacts::default);
            if flags.2 {
                report.legs.clear();
            }
            report
        }
    }

    prop_compose! {
        fn any_world()(
            front in any_report(),
            hops in prop::collection::vec((any_report(), any::<bool>(), prop::option::of(any_report())), 0..4),
            bypass in prop::option::of(any_report()),
            again in prop::option::of(any_report()),
            reference in prop::option::of(any_report()),
            handshake in prop::option::of(any_report()),
            outcomes in prop::collection::vec((any::<bool>(), 0usize..4), 0..3),
            captive in any::<bool>(),
            quorum in any::<bool>(),
            product in prop::option::of(Just("nginx")),
        ) -> World {
            let mut world = World::of(front);
            for (report, reachable, handshake) in hops {
                world = world.hop(report);
                let last = world.beside.hops.last_mut().unwrap();
                (last.reachable, last.handshake) = (reachable, handshake);
            }
            world.beside = Investigation { bypass, again, reference, handshake, ..world.beside };
            let reached = [Reached::Answered, Reached::NoName, Reached::NoConnection, Reached::NotAsked];
            let outcomes: Vec<_> = outcomes.into_iter().map(|(named, place)| (named, reached[place])).collect();
            world.vantage = Some(Vantage { captive, quorum, ..vantage(&outcomes) });
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
                None => prop_assert!(world.front.succeeded()),
                Some(verdict) => {
                    prop_assert_eq!(verdict.masked, world.front.succeeded());
                    prop_assert!(!verdict.reasons.is_empty() && verdict.reasons.len() <= super::MOST_REASONS);
                    prop_assert!(verdict.sentence.contains("Call "));
                    prop_assert!(RULES.iter().chain(MASKS).any(|rule| rule.name == verdict.rule));
                }
            }
        }
    }
}
