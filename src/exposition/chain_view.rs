//! The state of each link of the chain, for pages and terminals: passed, broken, suspect or not reached.

use glassbox_probe::probe::Finding;
use glassbox_verdict::chain::{Link, Stage};
use glassbox_verdict::investigation::DirectRequest;
use glassbox_verdict::report::Exchange;
use glassbox_verdict::verdict::{Side, Verdict};
use std::borrow::Cow;

/// The links, nearest first.
const ON_THE_WAY: [Link; 8] = [
    Link::Local,
    Link::Dns,
    Link::Network,
    Link::Tls,
    Link::Edge,
    Link::Upstream,
    Link::Origin,
    Link::Content,
];

/// The state of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// The probe passed it.
    Healthy,
    /// The verdict attributes the failure to it.
    Broken,
    /// A suspect: the evidence is inconclusive.
    Suspect,
    /// The probe has no information about it.
    Unseen,
}

impl LinkState {
    /// The CSS class.
    #[must_use]
    pub const fn class(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Broken => "broken",
            Self::Suspect => "suspect",
            Self::Unseen => "unseen",
        }
    }

    /// The displayed word, for readers who do not see colours.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Broken => "broken",
            Self::Suspect => "suspect",
            Self::Unseen => "not reached",
        }
    }
}

/// The description of a link, for people.
#[must_use]
pub const fn name(link: Link) -> &'static str {
    match link {
        Link::Local => "the exporter or its own network",
        Link::Dns => "DNS",
        Link::Network => "the network",
        Link::Tls => "TLS",
        Link::Edge => "the edge",
        Link::Upstream => "between the gateway and its backend",
        Link::Origin => "the application",
        Link::Content => "the response content",
        Link::Unknown => "the broken link is unknown",
    }
}

/// The place of a verdict: the two machines between which the link is broken, if they are known.
#[must_use]
pub fn place(verdict: &Verdict) -> Cow<'static, str> {
    match &verdict.between {
        Some([outer, inner]) if outer == "edge" => format!("between the edge and {inner}").into(),
        Some([outer, inner]) => format!("between {outer} and {inner}").into(),
        None => name(verdict.link).into(),
    }
}

/// The short name of a link.
#[must_use]
pub const fn short_name(link: Link) -> &'static str {
    match link {
        Link::Local => "Exporter",
        Link::Dns => "DNS",
        Link::Network => "Network",
        Link::Tls => "TLS",
        Link::Edge => "Edge",
        Link::Upstream => "Upstream",
        Link::Origin => "Origin",
        Link::Content => "Content",
        Link::Unknown => "Unknown",
    }
}

/// One link of a finding's chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkStatus {
    /// The link.
    pub link: Link,
    /// Its state.
    pub state: LinkState,
    /// Its most relevant fact.
    pub note: Option<String>,
}

/// The chain of a finding, from the exporter to the last link that its prober can judge.
#[must_use]
pub fn marks(finding: &Finding) -> Vec<LinkStatus> {
    let secured = finding
        .report
        .last_exchange()
        .is_some_and(|exchange| exchange.wants_tls);
    let blamed = finding.verdict.as_ref().map(|verdict| verdict.link);
    let prober = &finding.module.prober;
    let shown = ON_THE_WAY
        .into_iter()
        .filter(|link| (*link != Link::Tls || secured) && (prober.can_judge(*link) || blamed == Some(*link)));
    shown
        .map(|link| LinkStatus {
            link,
            state: state(finding, link),
            note: note(finding, link),
        })
        .collect()
}

fn state(finding: &Finding, link: Link) -> LinkState {
    let Some(verdict) = &finding.verdict else {
        return LinkState::Healthy;
    };
    if verdict.link == link {
        return LinkState::Broken;
    }
    if link == Link::Origin && answers_directly(finding, verdict) {
        return LinkState::Healthy;
    }
    let exchange = finding.report.last_exchange();
    match verdict.link {
        Link::Unknown => undecided(finding, link),
        // The connection ended before TLS started.
        blamed
            if link == Link::Tls
                && link < blamed
                && exchange.is_some_and(|exchange| !exchange.finished(Stage::Secure)) =>
        {
            LinkState::Unseen
        }
        blamed if link < blamed => LinkState::Healthy,
        _ => LinkState::Unseen,
    }
}

fn answers_directly(finding: &Finding, verdict: &Verdict) -> bool {
    let asked = || finding.investigation.iter().flat_map(|asked| asked.all_direct());
    let innermost = asked().last().map(|direct| direct.backend.name.as_str());
    let mut requests = asked().filter(|direct| Some(direct.backend.name.as_str()) == innermost);
    verdict.side == Some(Side::Gateway) && innermost.is_some() && requests.all(|direct| direct.report.succeeded())
}

/// The probe passed the links of its finished stages. Any other link may be broken.
fn undecided(finding: &Finding, link: Link) -> LinkState {
    let Some(exchange) = finding.report.last_exchange() else {
        return LinkState::Unseen;
    };
    let passed = match link {
        Link::Local | Link::Dns => exchange.finished(Stage::Resolve),
        Link::Network => exchange.finished(Stage::Connect),
        Link::Tls => exchange.finished(Stage::Secure),
        Link::Content => return LinkState::Unseen,
        _ => false,
    };
    if passed { LinkState::Healthy } else { LinkState::Suspect }
}

/// The most relevant fact of a link.
fn note(finding: &Finding, link: Link) -> Option<String> {
    let exchange = finding.report.last_exchange()?;
    match link {
        Link::Dns => exchange.peer.map(|peer| peer.ip().to_string()),
        Link::Network => exchange
            .socket
            .and_then(|socket| socket.rtt)
            .map(|rtt| format!("{} µs round trip", rtt.as_micros())),
        Link::Tls => exchange.tls.as_ref()?.version.map(str::to_owned),
        Link::Edge => exchange.peer.and_then(|_| edge(finding, exchange)),
        Link::Origin => innermost(finding.investigation.as_ref()?.backends()).map(backend),
        _ => None,
    }
}

fn edge(finding: &Finding, exchange: &Exchange) -> Option<String> {
    let verdict = finding.verdict.as_ref();
    let who = verdict.and_then(|verdict| verdict.answered_by);
    let status = exchange
        .reply
        .as_ref()
        .map(|reply| format!("returned {}", reply.status));
    let words: Vec<_> = who.map(str::to_owned).into_iter().chain(status).collect();
    if !words.is_empty() {
        return Some(words.join(" "));
    }
    // Other protocols than HTTP have no reply here, but the probe may have received data.
    let is_silent = !finding.report.succeeded() && exchange.wire.read == 0;
    is_silent.then(|| "no response".to_owned())
}

/// The request to the innermost backend: the first one that failed, otherwise the last one.
fn innermost(direct: &[DirectRequest]) -> Option<&DirectRequest> {
    let last = direct.last()?;
    let members = direct.iter().filter(|other| other.backend.name == last.backend.name);
    Some(
        members
            .into_iter()
            .find(|member| !member.report.succeeded())
            .unwrap_or(last),
    )
}

fn backend(direct: &DirectRequest) -> String {
    let name = &direct.backend.name;
    match direct.report.final_reply() {
        None if direct.report.failed_locally() => format!("no request could be sent to {name}"),
        Some(reply) => format!("direct request to {name}: {}", reply.status),
        None => format!("direct request to {name}: no response"),
    }
}
