//! The verdict in words that a person can forward to whoever has to act.

use super::case::{Case, Hopped, State};
use crate::chain::{Link, Stage};
use crate::gateways::{Means, Own, Recognised};
use crate::investigation::Reached;
use crate::limits::cut;
use crate::reason::Reason;
use crate::report::{Leg, Report};
use crate::utc::rfc3339;
use crate::verdict::{Certainty, Side, Verdict};
use std::time::Duration;

/// Bytes of a URL in a sentence.
const LONGEST_URL: usize = 200;

/// "From 192.0.2.1 at 2026-01-01T00:00:00.000Z, GET <http://shop.example/>: nginx (198.51.100.7:80) answered 502 in 3 ms.
/// Asked directly, app (10.0.0.7:8080) answered 200 in 41 ms. The gateway cannot reach what stands behind it. Call …"
pub(super) fn of(case: &Case<'_>, verdict: &Verdict) -> String {
    let mut parts = vec![opening(case)];
    parts.extend(case.hops.iter().map(hop));
    parts.extend(bypass(case));
    parts.extend(reference(case));
    parts.extend(vantage(case, verdict));
    if verdict.masked {
        parts.push("Users still get a good answer, but it hides a fault.".to_owned());
    }
    parts.push(conclusion(case, verdict, &parts.join(" ")));
    parts.push(whom_to_call(verdict));
    parts.extend(to_be_certain(case, verdict));
    parts.join(" ")
}

/// Who asked whom for what, and what came.
fn opening(case: &Case<'_>) -> String {
    let report = case.facts.front;
    let at = rfc3339(report.began);
    let Some(leg) = report.last_leg() else {
        let detail = report.fault.as_ref().map_or("", |fault| fault.detail.as_str());
        return format!("At {at}: {detail}");
    };
    let when = match leg.local {
        Some(local) => format!("From {} at {at}", local.ip()),
        None => format!("At {at}"),
    };
    let scheme = leg.url.split(':').next().unwrap_or_default();
    let method = leg.method.as_deref().unwrap_or(match scheme {
        "tcp" | "unix" => "a connection to",
        "dns" | "dns+tcp" | "dns+tls" => "a question to",
        "icmp" => "an echo request to",
        _ => "a request to",
    });
    format!(
        "{when}, {method} {}: {}",
        cut(&leg.url, LONGEST_URL),
        answer(case, report, leg)
    )
}

fn answer(case: &Case<'_>, report: &Report, leg: &Leg) -> String {
    let at = leg.peer.map_or_else(String::new, |peer| format!(" ({peer})"));
    let who = case.gateway().unwrap_or("the front");
    let detail = report.fault.as_ref().map_or("", |fault| fault.detail.as_str());
    let Some(reply) = &leg.reply else {
        let silent = leg.wire.read == 0 && (!leg.wants_tls || case.ended_before_tls());
        return if leg.finished(Stage::Connect) && silent {
            format!("{who}{at} took the connection and gave no answer. {detail}")
        } else {
            detail.to_owned()
        };
    };
    let own = case.recognised.filter(|_| std::ptr::eq(case.report, report));
    let whose = match own {
        Some(Recognised::Own(Own {
            means: Means::Upstream(_) | Means::Front(_),
            ..
        })) => " with its own page",
        Some(Recognised::Through(_)) => " and marked it as passed on from behind it",
        _ => "",
    };
    let answered = format!(
        "{who}{at} answered {} in {}{whose}.",
        reply.status,
        millis(leg.time_in(Stage::Wait))
    );
    match &report.fault {
        Some(fault) if fault.reason != Reason::HttpStatus => format!("{answered} {detail}"),
        _ => answered,
    }
}

fn hop(hop: &Hopped<'_>) -> String {
    let name = &hop.drilled.hop.name;
    let address = &hop.drilled.hop;
    let report = &hop.drilled.report;
    let what = match (&report.fault, report.final_reply()) {
        (None, Some(reply)) => format!("answered {} in {}", reply.status, millis(report.took)),
        (None, None) => format!("was well in {}", millis(report.took)),
        (Some(fault), Some(reply)) if fault.reason == Reason::HttpStatus => {
            format!("answered {} in {}", reply.status, millis(report.took))
        }
        (Some(fault), _) => format!("failed after {}: {}", millis(report.took), fault.reason.meaning()),
    };
    let doubt = match hop.state {
        State::Unknown if hop.is_silent() => " (which may be a firewall's doing)",
        State::Unknown => " (which says nothing here)",
        State::Stranger => " (which it may answer to us alone)",
        _ => "",
    };
    format!("Asked directly, {name} ({address}) {what}{doubt}.")
}

fn bypass(case: &Case<'_>) -> Option<String> {
    let bypass = case.facts.bypass()?;
    let what = match (&bypass.fault, bypass.final_reply()) {
        (_, Some(reply)) => format!("the answer is {}", reply.status),
        (Some(fault), None) => fault.reason.meaning().to_owned(),
        (None, None) => return None,
    };
    Some(format!("Asked past the caches, {what}."))
}

fn reference(case: &Case<'_>) -> Option<String> {
    let reference = case.facts.beside?.reference.as_ref().filter(|_| case.edge_lives)?;
    reference.final_reply()?;
    Some(format!(
        "The gateway is alive: it answered a test request in {}.",
        millis(reference.took)
    ))
}

/// What should always answer from here, where it matters.
fn vantage(case: &Case<'_>, verdict: &Verdict) -> Option<String> {
    let vantage = case.facts.vantage?;
    if vantage.captive {
        return Some("A name that cannot exist resolved from here.".to_owned());
    }
    match verdict.link {
        Link::Local => {
            let failed = vantage
                .controls
                .iter()
                .filter(|control| !matches!(control.outcome, Reached::Answered | Reached::NotAsked));
            let names: Vec<_> = failed.map(|control| control.what.as_str()).collect();
            (!names.is_empty()).then(|| format!("From the same place these failed, too: {}.", names.join(", ")))
        }
        Link::Dns | Link::Path | Link::Front if vantage.healthy() && !vantage.controls.is_empty() => {
            Some("Our own side is well: the controls answer from here.".to_owned())
        }
        _ => None,
    }
}

/// What is broken, in one sentence. What was said before is not said again.
fn conclusion(case: &Case<'_>, verdict: &Verdict, said: &str) -> String {
    let meaning = verdict.reason.meaning();
    let mut why = if said.contains(meaning) {
        String::new()
    } else {
        format!(": {meaning}")
    };
    if let [_, _, ..] = verdict.reasons.as_slice() {
        let likeliest: Vec<_> = verdict.reasons.iter().map(|reason| reason.as_str()).collect();
        why = format!("{why} (likeliest: {})", likeliest.join(", "));
    }
    let behind = innermost(case, verdict.side).unwrap_or("the machine behind it");
    match (verdict.link, verdict.side) {
        (Link::Local, _) => format!("The fault is on our own side, not at the target{why}."),
        (Link::Dns, _) => format!("The name service of the target is at fault{why}."),
        (Link::Path, _) => format!("There is no way to the front{why}. It is the network, or the machine is gone."),
        (Link::Tls, _) => format!("TLS at the front is at fault{why}."),
        (Link::Front, _) => format!("The front itself is at fault{why}."),
        (Link::Upstream, Some(Side::Gateway)) => {
            format!("{behind} is well when asked directly; the gateway does not get through to it{why}.")
        }
        (Link::Upstream, Some(Side::Origin)) if case.next_is_healthy().is_some() => {
            format!("{behind} answers, but not as the gateway needs it{why}.")
        }
        (Link::Upstream, Some(Side::Origin)) => format!("{behind} fails when asked directly, too{why}."),
        (Link::Upstream, None) => format!("The front works; what is between it and {behind} is broken{why}."),
        (Link::Origin, _) => format!("The chain works; the application itself is at fault{why}."),
        (Link::Content, _) => format!("The chain works; the content of the answer is wrong{why}."),
        (Link::Unknown, _) => format!("The evidence does not tell who failed{why}."),
    }
}

/// The machine that the conclusion is about: for the side `gateway` one that is healthy, else the one that fails.
fn innermost<'a>(case: &Case<'a>, side: Option<Side>) -> Option<&'a str> {
    let healthy = || case.hops.iter().find(|hop| hop.state == State::Healthy);
    let failing = || case.innermost_failing().map(|(hop, _)| hop);
    let hop = match side {
        Some(Side::Gateway) => healthy(),
        _ => case.next_is_healthy().or_else(failing),
    }?;
    Some(&hop.drilled.hop.name)
}

/// What would make a likely verdict certain, where something would.
fn to_be_certain(case: &Case<'_>, verdict: &Verdict) -> Option<String> {
    let controls = case.facts.vantage.is_some_and(|vantage| vantage.controls.len() >= 2);
    let asked = case.hops.iter().any(|hop| hop.state != State::Unknown);
    let over_http = case.report.last_leg().is_some_and(|leg| leg.method.is_some());
    let how = match verdict.link {
        _ if verdict.certainty == Certainty::Certain => return None,
        Link::Local | Link::Dns if !controls => "configure two `controls` that should always answer from here",
        Link::Path => "probe from another network, too",
        Link::Front | Link::Upstream | Link::Origin | Link::Unknown if over_http && !asked => {
            "give the machine behind the front as a hop (`hops`, or the parameter `hop`)"
        }
        Link::Front | Link::Upstream | Link::Origin | Link::Unknown if over_http => {
            "compare with the logs of the front and of the machine behind it"
        }
        _ => return None,
    };
    Some(format!("This is likely, not certain; to be certain, {how}."))
}

/// Whether somebody has written it so: no network is to blame.
const fn is_set_up_so(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::LocalDenied
            | Reason::LocalTargetInvalid
            | Reason::LocalNotPermitted
            | Reason::LocalSourceUnavailable
            | Reason::LocalFileUnreadable
            | Reason::LocalTlsUnsupported
    )
}

fn whom_to_call(verdict: &Verdict) -> String {
    let certificate = verdict
        .reasons
        .iter()
        .all(|reason| reason.as_str().starts_with("tls.cert") || *reason == Reason::UpstreamTlsCertificateError);
    let whom = match (verdict.link, verdict.side) {
        (Link::Local, _) if is_set_up_so(verdict.reason) => "whoever configures this exporter and its targets",
        (Link::Local, _) => "our own network team",
        (Link::Path, _) => "our own network team first, then whoever runs the front",
        (Link::Dns, _) => "whoever runs the DNS of this name",
        (Link::Tls, _) if certificate => "whoever owns the certificate",
        (Link::Tls, _) => "whoever runs TLS at the front (CDN or load balancer team)",
        (Link::Front, _) => "whoever runs the front (CDN or load balancer team)",
        (Link::Upstream, Some(Side::Origin)) if certificate => {
            "whoever owns the certificate of the machine behind the gateway"
        }
        (Link::Upstream, Some(Side::Origin)) => "the application team: whoever runs the machine behind the gateway",
        (Link::Upstream, _) => "whoever runs the gateway (CDN or load balancer team): its log should say more",
        (Link::Origin | Link::Content, _) => "the application team",
        (Link::Unknown, _) => {
            "whoever runs the front (CDN or load balancer team) first: its log should tell whether the application answered"
        }
    };
    format!("Call {whom}.")
}

/// With a decimal where whole milliseconds would say too little.
fn millis(duration: Duration) -> String {
    let millis = duration.as_secs_f64() * 1000.0;
    if millis < 10.0 {
        format!("{millis:.1} ms")
    } else {
        format!("{millis:.0} ms")
    }
}
