//! From a report to a verdict: an ordered table of rules; the first that speaks decides.

use crate::chain::{Link, Stage};
use crate::reason::Reason;
use crate::report::{Fault, Leg, Report};
use crate::verdict::{Certainty, Verdict};

/// One row of the decision table.
#[derive(Debug)]
pub struct Rule {
    /// The name that the evidence shows.
    pub name: &'static str,
    /// When the rule speaks, in words.
    pub when: &'static str,
    /// The link it blames.
    pub link: Link,
    /// How sure it is.
    pub certainty: Certainty,
    speaks: fn(&Fault) -> bool,
}

/// The decision table, in order of trust: our own fault first, then where the exchange stopped, then what was answered.
pub const RULES: &[Rule] = &[
    Rule {
        name: "own-side",
        when: "the reason is one of our own side",
        link: Link::Local,
        certainty: Certainty::Certain,
        speaks: |fault| fault.reason.family() == "local",
    },
    Rule {
        name: "name-not-resolved",
        when: "the exchange stopped in resolve",
        link: Link::Dns,
        certainty: Certainty::Certain,
        speaks: |fault| fault.stage == Stage::Resolve && fault.reason != Reason::DnsTimedOut,
    },
    Rule {
        name: "resolver-silent",
        when: "no name server answered",
        link: Link::Dns,
        certainty: Certainty::Likely,
        speaks: |fault| fault.reason == Reason::DnsTimedOut,
    },
    Rule {
        name: "nothing-listens",
        when: "the connection was refused: the machine is there, nothing listens (or a firewall rejects)",
        link: Link::Front,
        certainty: Certainty::Likely,
        speaks: |fault| fault.stage == Stage::Connect && matches!(fault.reason, Reason::TcpRefused | Reason::TcpReset),
    },
    Rule {
        name: "connect-silent",
        when: "the connection attempt met silence or no route (or the machine is dead)",
        link: Link::Path,
        certainty: Certainty::Likely,
        speaks: |fault| fault.stage == Stage::Connect,
    },
    Rule {
        name: "tls-refused",
        when: "the handshake or the certificate failed, or a TLS alert came later",
        link: Link::Tls,
        certainty: Certainty::Certain,
        speaks: |fault| fault.stage == Stage::Secure || fault.reason.family() == "tls",
    },
    Rule {
        name: "content-refused",
        when: "the answer was accepted, its content fails an assertion",
        link: Link::Content,
        certainty: Certainty::Certain,
        speaks: |fault| fault.reason.family() == "content",
    },
    Rule {
        name: "not-decided",
        when: "a gateway or the application may have done it: one exchange cannot tell",
        link: Link::Unknown,
        certainty: Certainty::Likely,
        speaks: |_| true,
    },
];

/// Judges a report: nothing for a successful probe, exactly one verdict for a failed one.
#[must_use]
pub fn attribute(report: &Report) -> Option<Verdict> {
    let fault = report.fault.as_ref()?;
    let rule = RULES.iter().find(|rule| (rule.speaks)(fault))?;
    Some(Verdict {
        link: rule.link,
        reason: fault.reason,
        stage: fault.stage,
        certainty: rule.certainty,
        rule: rule.name,
        sentence: sentence(rule, fault, report.last_leg()),
    })
}

/// "The path to the front: nobody answered … (192.0.2.7:443, in connect)."
fn sentence(rule: &Rule, fault: &Fault, leg: Option<&Leg>) -> String {
    let place = match rule.link {
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
    format!(
        "{place}: {} ({whom}in {}). {}",
        fault.reason.meaning(),
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
    use crate::report::{Fault, Leg, Report};
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
            }),
        }
    }

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
        for rule in RULES {
            assert!(cases.iter().any(|case| case.0 == rule.name), "{}", rule.name);
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
