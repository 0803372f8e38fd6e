//! From a report to a verdict: an ordered table of rules; the first that speaks decides.

use crate::chain::{Link, Stage};
use crate::gateways::{Answer, Means, Recognised, nearest, recognise};
use crate::reason::Reason;
use crate::report::{Fault, Leg, Reply, Report};
use crate::verdict::{Certainty, Verdict};

/// One row of the decision table.
#[derive(Debug)]
pub struct Rule {
    /// The name that the evidence shows.
    pub name: &'static str,
    /// When the rule speaks and what it then blames, in words.
    pub when: &'static str,
    speaks: fn(&Case<'_>) -> Option<Blame>,
}

/// What the rules look at.
struct Case<'a> {
    fault: &'a Fault,
    /// The answer whose status was refused, and what the catalogue says of it.
    refused: Option<(&'a Reply, Option<Recognised>)>,
}

/// What a rule says.
struct Blame {
    link: Link,
    certainty: Certainty,
    reasons: Vec<Reason>,
    answered_by: Option<&'static str>,
}

impl Blame {
    fn on(link: Link, certainty: Certainty, reason: Reason) -> Self {
        Self {
            link,
            certainty,
            reasons: vec![reason],
            answered_by: None,
        }
    }

    fn answered_by(self, name: &'static str) -> Self {
        Self {
            answered_by: Some(name),
            ..self
        }
    }
}

/// The decision table, in order of trust: our own fault first, then where the exchange stopped, then what was answered.
pub const RULES: &[Rule] = &[
    Rule {
        name: "own-side",
        when: "the reason is one of our own side: local",
        speaks: |case| case.blame_if(case.family("local"), Link::Local, Certainty::Certain),
    },
    Rule {
        name: "resolver-silent",
        when: "no name server answered: dns",
        speaks: |case| case.blame_if(case.reason(Reason::DnsTimedOut), Link::Dns, Certainty::Likely),
    },
    Rule {
        name: "name-not-resolved",
        when: "the exchange stopped in resolve: dns",
        speaks: |case| case.blame_if(case.stage(Stage::Resolve), Link::Dns, Certainty::Certain),
    },
    Rule {
        name: "nothing-listens",
        when: "the connection was refused, so the machine is there and nothing listens (or a firewall rejects): front",
        speaks: |case| {
            let refused = case.reason(Reason::TcpRefused) || case.reason(Reason::TcpReset);
            case.blame_if(refused && case.stage(Stage::Connect), Link::Front, Certainty::Likely)
        },
    },
    Rule {
        name: "connect-silent",
        when: "the connection attempt met silence or no route (or the machine is dead): path",
        speaks: |case| case.blame_if(case.stage(Stage::Connect), Link::Path, Certainty::Likely),
    },
    Rule {
        name: "tls-refused",
        when: "the handshake or the certificate failed, or a TLS alert came later: tls",
        speaks: |case| {
            case.blame_if(
                case.stage(Stage::Secure) || case.family("tls"),
                Link::Tls,
                Certainty::Certain,
            )
        },
    },
    Rule {
        name: "content-refused",
        when: "the answer was accepted, its content fails an assertion: content",
        speaks: |case| case.blame_if(case.family("content"), Link::Content, Certainty::Certain),
    },
    Rule {
        name: "gateway-speaks-of-upstream",
        when: "a known gateway answered with its own page for a failure behind it: upstream",
        speaks: |case| match case.recognised()? {
            Recognised::Own(name, Means::Upstream(reasons)) => Some(Blame {
                link: Link::Upstream,
                certainty: Certainty::Certain,
                reasons: reasons.to_vec(),
                answered_by: Some(name),
            }),
            _ => None,
        },
    },
    Rule {
        name: "gateway-speaks-of-itself",
        when: "a known gateway answered with its own page for a refusal or failure of its own: front",
        speaks: |case| match case.recognised()? {
            Recognised::Own(name, Means::Front(reason)) => {
                Some(Blame::on(Link::Front, Certainty::Certain, reason).answered_by(name))
            }
            _ => None,
        },
    },
    Rule {
        name: "gateway-relays",
        when: "a known gateway marks the answer as one that came from behind it: origin",
        speaks: |case| match case.recognised()? {
            Recognised::Through(name) | Recognised::Own(name, Means::Origin) => {
                Some(Blame::on(Link::Origin, Certainty::Likely, Reason::OriginStatus).answered_by(name))
            }
            Recognised::Own(..) => None,
        },
    },
    Rule {
        name: "not-decided",
        when: "a gateway or the application may have done it, and one exchange cannot tell: unknown",
        speaks: |case| case.blame_if(true, Link::Unknown, Certainty::Likely),
    },
];

impl Case<'_> {
    fn blame_if(&self, speaks: bool, link: Link, certainty: Certainty) -> Option<Blame> {
        speaks.then(|| Blame::on(link, certainty, self.fault.reason))
    }

    fn stage(&self, stage: Stage) -> bool {
        self.fault.stage == stage
    }

    fn reason(&self, reason: Reason) -> bool {
        self.fault.reason == reason
    }

    fn family(&self, family: &str) -> bool {
        self.fault.reason.family() == family
    }

    fn recognised(&self) -> Option<Recognised> {
        self.refused?.1
    }
}

/// Judges a report: nothing for a successful probe, exactly one verdict for a failed one.
#[must_use]
pub fn attribute(report: &Report) -> Option<Verdict> {
    let fault = report.fault.as_ref()?;
    let reply = report.final_reply().filter(|_| fault.reason == Reason::HttpStatus);
    let text = reply.map(|reply| String::from_utf8_lossy(&reply.body_start));
    let answer = reply.zip(text.as_deref()).map(|(reply, body)| Answer {
        status: reply.status,
        phrase: reply.reason_phrase.as_deref(),
        headers: &reply.headers,
        body,
    });
    let case = Case {
        fault,
        refused: reply.map(|reply| (reply, answer.as_ref().and_then(recognise))),
    };
    let (rule, blame) = RULES.iter().find_map(|rule| Some((rule, (rule.speaks)(&case)?)))?;
    let answered_by = blame.answered_by.or_else(|| nearest(answer.as_ref()?));
    let reason = Reason::umbrella(&blame.reasons);
    Some(Verdict {
        link: blame.link,
        reason,
        sentence: sentence(&blame, reason, fault, report.last_leg(), answered_by),
        reasons: blame.reasons,
        answered_by: answered_by.unwrap_or("unknown"),
        stage: fault.stage,
        certainty: blame.certainty,
        rule: rule.name,
    })
}

/// "The link behind the gateway: the gateway cannot reach what stands behind it (192.0.2.7:443, in transfer). nginx
/// answered 502 after 3 ms. …"
fn sentence(blame: &Blame, reason: Reason, fault: &Fault, leg: Option<&Leg>, answered_by: Option<&str>) -> String {
    let place = match blame.link {
        Link::Local => "Our own side",
        Link::Dns => "The name service",
        Link::Path => "The network path to the front",
        Link::Tls => "The TLS of the front",
        Link::Front => "The front",
        Link::Upstream => "The link behind the gateway",
        Link::Origin => "The application",
        Link::Content => "The content of the answer",
        Link::Unknown => "Not decided",
    };
    let whom = match leg.and_then(|leg| leg.peer) {
        Some(peer) => format!("{peer}, "),
        None => String::new(),
    };
    let answered = match leg.and_then(|leg| Some((leg, leg.reply.as_ref()?))) {
        Some((leg, reply)) => {
            let who = answered_by.unwrap_or("Somebody");
            let after = leg.time_in(Stage::Wait).as_millis();
            format!("{who} answered {} after {after} ms. ", reply.status)
        }
        None => String::new(),
    };
    format!(
        "{place}: {} ({whom}in {}). {answered}{}",
        reason.meaning(),
        fault.stage.phase(),
        fault.detail
    )
}

#[cfg(test)]
mod tests {
    use super::{RULES, attribute};
    use crate::chain::{Link, Stage};
    use crate::ledger::Ledger;
    use crate::reason::Reason;
    use crate::report::{Fault, Leg, Reply, Report};
    use proptest::prelude::*;
    use std::time::{Duration, SystemTime};

    fn report(stage: Stage, reason: Reason) -> Report {
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

    /// A report of a refused 502 with this body and these fields.
    fn refused(body: &str, headers: &[(&'static str, &'static str)]) -> Report {
        let mut report = report(Stage::Receive, Reason::HttpStatus);
        let fields = headers.iter().map(|(name, value)| {
            let name = http::HeaderName::from_static(name);
            (name, http::HeaderValue::from_static(value))
        });
        report.legs[0].reply = Some(Reply {
            status: 502,
            headers: fields.collect(),
            body_start: body.as_bytes().to_vec(),
            ..Reply::default()
        });
        report
    }

    type Answered = (
        &'static str,
        &'static str,
        &'static [(&'static str, &'static str)],
        Link,
        Reason,
        &'static str,
    );

    /// Rule, body, fields, link, reason, who answered.
    const ANSWERED: [Answered; 4] = [
        (
            "gateway-speaks-of-upstream",
            "<hr><center>nginx</center>",
            &[],
            Link::Upstream,
            Reason::UpstreamFailed,
            "nginx",
        ),
        (
            "gateway-speaks-of-itself",
            "RBAC: access denied",
            &[("server", "envoy")],
            Link::Front,
            Reason::FrontDenied,
            "envoy",
        ),
        (
            "gateway-relays",
            "out of order",
            &[("server", "envoy"), ("x-envoy-upstream-service-time", "3")],
            Link::Origin,
            Reason::OriginStatus,
            "envoy",
        ),
        (
            "not-decided",
            "{}",
            &[("server", "nginx")],
            Link::Unknown,
            Reason::HttpStatus,
            "nginx",
        ),
    ];

    #[test]
    fn every_rule_is_seen_firing() {
        let cases = [
            (
                "own-side",
                Stage::Resolve,
                Reason::LocalResolverUnreachable,
                Link::Local,
            ),
            ("name-not-resolved", Stage::Resolve, Reason::DnsServfail, Link::Dns),
            ("resolver-silent", Stage::Resolve, Reason::DnsTimedOut, Link::Dns),
            ("nothing-listens", Stage::Connect, Reason::TcpRefused, Link::Front),
            ("connect-silent", Stage::Connect, Reason::TcpTimedOut, Link::Path),
            ("tls-refused", Stage::Secure, Reason::TcpReset, Link::Tls),
            ("tls-refused", Stage::Wait, Reason::TlsClientCert, Link::Tls),
            ("content-refused", Stage::Receive, Reason::ContentBody, Link::Content),
            ("not-decided", Stage::Receive, Reason::HttpStatus, Link::Unknown),
        ];
        for (rule, stage, reason, link) in cases {
            let verdict = attribute(&report(stage, reason)).unwrap();
            assert_eq!((verdict.rule, verdict.link), (rule, link), "{reason:?}");
        }
        for (rule, body, headers, link, reason, answered_by) in ANSWERED {
            let verdict = attribute(&refused(body, headers)).unwrap();
            assert_eq!((verdict.rule, verdict.link, verdict.reason), (rule, link, reason));
            assert_eq!(verdict.answered_by, answered_by, "{rule}");
        }
        for rule in RULES {
            let seen = cases.iter().any(|case| case.0 == rule.name) || ANSWERED.iter().any(|case| case.0 == rule.name);
            assert!(seen, "{}", rule.name);
        }
    }

    #[test]
    fn a_successful_report_has_no_verdict() {
        let mut good = report(Stage::Wait, Reason::HttpFailed);
        good.fault = None;
        assert_eq!(attribute(&good), None);
    }

    proptest! {
        #[test]
        fn every_failed_report_gets_exactly_one_verdict(
            stage in prop::sample::select(Stage::ALL.to_vec()),
            reason in prop::sample::select(Reason::ALL.to_vec()),
        ) {
            let verdict = attribute(&report(stage, reason));
            prop_assert!(verdict.is_some_and(|verdict| verdict.reason == reason && !verdict.sentence.is_empty()));
        }
    }
}
