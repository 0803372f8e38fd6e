//! The chain as a chain: what the probe came through, where it broke, what it never saw. For pages and terminals.

use crate::chain::{Link, Stage};
use crate::investigation::Drilled;
use crate::probe::Finding;
use crate::report::Leg;
use crate::verdict::{Side, Verdict};

/// The links in the order of the way there.
const ON_THE_WAY: [Link; 8] = [
    Link::Local,
    Link::Dns,
    Link::Path,
    Link::Tls,
    Link::Front,
    Link::Upstream,
    Link::Origin,
    Link::Content,
];

/// How a link is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The probe came through.
    Well,
    /// It is blamed.
    Broken,
    /// It may be this one: the evidence does not decide.
    Suspect,
    /// The probe says nothing of it.
    Unseen,
}

impl State {
    /// The word in style sheets.
    #[must_use]
    pub const fn class(self) -> &'static str {
        match self {
            Self::Well => "well",
            Self::Broken => "broken",
            Self::Suspect => "suspect",
            Self::Unseen => "unseen",
        }
    }

    /// For those who do not see colours.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Well => "well",
            Self::Broken => "broken",
            Self::Suspect => "perhaps",
            Self::Unseen => "not seen",
        }
    }
}

/// A link in words for people.
#[must_use]
pub const fn name(link: Link) -> &'static str {
    match link {
        Link::Local => "our own side",
        Link::Dns => "the name service",
        Link::Path => "the network on the way",
        Link::Tls => "TLS",
        Link::Front => "the front",
        Link::Upstream => "between the gateway and what stands behind it",
        Link::Origin => "the application",
        Link::Content => "the content of the answer",
        Link::Unknown => "the evidence does not tell which link",
    }
}

/// A link in a word or two.
#[must_use]
pub const fn short_name(link: Link) -> &'static str {
    match link {
        Link::Local => "Us",
        Link::Dns => "Name service",
        Link::Path => "Network",
        Link::Tls => "TLS",
        Link::Front => "Front",
        Link::Upstream => "Behind the front",
        Link::Origin => "Application",
        Link::Content => "Content",
        Link::Unknown => "Unknown",
    }
}

/// One link of a finding's chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Which link.
    pub link: Link,
    /// How it is.
    pub state: State,
    /// The fact that says most of it.
    pub note: Option<String>,
}

/// The chain of a finding, from us to the content.
#[must_use]
pub fn marks(finding: &Finding) -> Vec<Mark> {
    let secured = finding.report.last_leg().is_some_and(|leg| leg.wants_tls);
    let shown = ON_THE_WAY.into_iter().filter(|link| *link != Link::Tls || secured);
    shown
        .map(|link| Mark {
            link,
            state: state(finding, link),
            note: note(finding, link),
        })
        .collect()
}

fn state(finding: &Finding, link: Link) -> State {
    let Some(verdict) = &finding.verdict else {
        return State::Well;
    };
    if verdict.link == link {
        return State::Broken;
    }
    if link == Link::Origin && answers_directly(finding, verdict) {
        return State::Well;
    }
    let leg = finding.report.last_leg();
    match verdict.link {
        Link::Unknown => undecided(finding, link),
        // The connection ended before there was TLS.
        blamed if link == Link::Tls && link < blamed && leg.is_some_and(|leg| !leg.finished(Stage::Secure)) => {
            State::Unseen
        }
        blamed if link < blamed => State::Well,
        _ => State::Unseen,
    }
}

fn answers_directly(finding: &Finding, verdict: &Verdict) -> bool {
    let innermost = finding.investigation.as_ref().and_then(|asked| asked.hops.last());
    verdict.side == Some(Side::Gateway) && innermost.is_some_and(|hop| hop.report.succeeded())
}

/// The probe came through what its stages finished; of what is left, it may be any.
fn undecided(finding: &Finding, link: Link) -> State {
    let Some(leg) = finding.report.last_leg() else {
        return State::Unseen;
    };
    let passed = match link {
        Link::Local | Link::Dns => leg.finished(Stage::Resolve),
        Link::Path => leg.finished(Stage::Connect),
        Link::Tls => leg.finished(Stage::Secure),
        Link::Content => return State::Unseen,
        _ => false,
    };
    if passed { State::Well } else { State::Suspect }
}

/// The fact that says most of a link.
fn note(finding: &Finding, link: Link) -> Option<String> {
    let leg = finding.report.last_leg()?;
    match link {
        Link::Dns => leg.peer.map(|peer| peer.ip().to_string()),
        Link::Path => leg
            .socket
            .and_then(|socket| socket.rtt)
            .map(|rtt| format!("{} µs round trip", rtt.as_micros())),
        Link::Tls => leg.tls.as_ref()?.version.map(str::to_owned),
        Link::Front => leg.peer.map(|_| front(finding, leg)),
        Link::Origin => finding.investigation.as_ref()?.hops.last().map(hop),
        _ => None,
    }
}

fn front(finding: &Finding, leg: &Leg) -> String {
    let verdict = finding.verdict.as_ref();
    let who = verdict
        .map(|verdict| verdict.answered_by)
        .filter(|who| *who != "unknown");
    let status = leg.reply.as_ref().map(|reply| format!("answered {}", reply.status));
    let words: Vec<_> = who.map(str::to_owned).into_iter().chain(status).collect();
    if words.is_empty() {
        "no answer".to_owned()
    } else {
        words.join(" ")
    }
}

fn hop(drilled: &Drilled) -> String {
    let name = &drilled.hop.name;
    match drilled.report.final_reply() {
        Some(reply) => format!("{name} asked directly: {}", reply.status),
        None => format!("{name} asked directly: no answer"),
    }
}
