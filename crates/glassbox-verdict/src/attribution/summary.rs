//! The summary of a verdict: sentences that an operator can forward to the team that must act.

mod backends;

use super::case::{BackendState, Case};
use crate::chain::{Link, Stage};
use crate::gateways::{Meaning, OwnResponse, Recognised};
use crate::investigation::{ControlOutcome, DiagnosticKind};
use crate::reason::Reason;
use crate::report::{Exchange, Report};
use crate::utc::rfc3339;
use crate::verdict::{Certainty, Side, Verdict};
use std::time::Duration;

/// Maximum bytes of a URL in a sentence.
const LONGEST_URL: usize = 200;

/// Maximum bytes of an expression or a line in a sentence.
const LONGEST_LINE: usize = 120;

/// The sentences, in this order: the failed request, the additional requests, the conclusion, whom to call, and how to
/// confirm the verdict. For example: "From 192.0.2.1 at 2026-01-01T00:00:00.000Z, GET <http://shop.example/>: nginx
/// (198.51.100.7:80) returned 502 in 3.0 ms. A direct request to app (10.0.0.7:8080) returned 200 in 41 ms. …"
pub(super) fn of(case: &Case<'_>, verdict: &Verdict) -> String {
    let mut parts = vec![opening(case)];
    parts.extend(backends::sentences(case));
    parts.extend(bypass(case));
    parts.extend(reference(case));
    parts.extend(vantage(case, verdict));
    if verdict.masked {
        parts.push("Users still receive a successful response, but it hides a fault.".to_owned());
    }
    parts.push(conclusion(case, verdict, &parts.join(" ")));
    parts.push(whom_to_call(verdict));
    parts.extend(to_be_certain(case, verdict));
    parts.join(" ")
}

/// The request, its time and its result.
fn opening(case: &Case<'_>) -> String {
    let report = case.facts.edge;
    let at = rfc3339(report.began);
    let Some(exchange) = report.last_exchange() else {
        let detail = report.fault.as_ref().map_or("", |fault| fault.detail.as_str());
        return format!("At {at}: {detail}");
    };
    let when = match exchange.local {
        Some(local) => format!("From {} at {at}", local.ip()),
        None => format!("At {at}"),
    };
    let scheme = exchange.url.split(':').next().unwrap_or_default();
    let method = exchange.method.as_deref().unwrap_or(match scheme {
        "tcp" | "unix" => "a connection to",
        "dns" | "dns+tcp" | "dns+tls" => "a DNS query to",
        "icmp" => "an echo request to",
        _ => "a request to",
    });
    format!(
        "{when}, {method} {}: {}{}",
        &exchange.url[..exchange.url.floor_char_boundary(LONGEST_URL)],
        answer(case, report, exchange),
        step(exchange).unwrap_or_default()
    )
}

/// The failed step of a dialogue: the expected text and the last line received.
fn step(exchange: &Exchange) -> Option<String> {
    let failed = exchange.dialogue()?.failed.as_ref()?;
    let number = failed.number;
    let Some(expected) = &failed.expected else {
        return Some(format!(" Step {number} of the dialogue failed."));
    };
    let expected = quoted(expected);
    Some(match failed.received.last() {
        Some(last) => format!(
            " Step {number} of the dialogue expects {expected}; the last line received is {}.",
            quoted(last)
        ),
        None => format!(" Step {number} of the dialogue expects {expected}; nothing was received."),
    })
}

/// Quotes and shortens text that is already one printable line.
fn quoted(text: &str) -> String {
    let shown = &text[..text.floor_char_boundary(LONGEST_LINE)];
    let more = if shown.len() < text.len() { "…" } else { "" };
    format!("\"{shown}{more}\"")
}

fn answer(case: &Case<'_>, report: &Report, exchange: &Exchange) -> String {
    let at = exchange.peer.map_or_else(String::new, |peer| format!(" ({peer})"));
    let who = case.gateway().unwrap_or("the edge");
    let detail = report.fault.as_ref().map_or("", |fault| fault.detail.as_str());
    let Some(reply) = &exchange.reply else {
        let silent = exchange.wire.read == 0 && (!exchange.wants_tls || case.ended_before_tls());
        return if exchange.finished(Stage::Connect) && silent {
            format!("{who}{at} accepted the connection but sent no response. {detail}")
        } else {
            detail.to_owned()
        };
    };
    let own = case.recognised.filter(|_| std::ptr::eq(case.report, report));
    let whose = match own {
        Some(Recognised::Own(OwnResponse {
            meaning: Meaning::Upstream(_) | Meaning::Itself(_),
            ..
        })) => " with its own error page",
        Some(Recognised::Through(_)) => " and marked the response as relayed from its backend",
        _ => "",
    };
    let answered = format!(
        "{who}{at} returned {} in {}{whose}.",
        reply.status,
        millis(exchange.time_in(Stage::Wait))
    );
    match &report.fault {
        Some(fault) if !fault.reason.is_a_rejected_status() => format!("{answered} {detail}"),
        _ => answered,
    }
}

fn bypass(case: &Case<'_>) -> Option<String> {
    let bypass = case.facts.bypass()?;
    let what = match (&bypass.fault, bypass.final_reply()) {
        (_, Some(reply)) => format!("returned {}", reply.status),
        (Some(fault), None) => format!("failed: {}", fault.reason.meaning()),
        (None, None) => return None,
    };
    Some(format!("A cache-bypassing request {what}."))
}

fn reference(case: &Case<'_>) -> Option<String> {
    let reference = case.facts.diagnostics?.reference().filter(|_| case.edge_lives)?;
    reference.final_reply()?;
    Some(format!(
        "The gateway is alive: it responded to a test request in {}.",
        millis(reference.took)
    ))
}

/// The results of the controls, if they matter for the verdict.
fn vantage(case: &Case<'_>, verdict: &Verdict) -> Option<String> {
    let vantage = case.facts.vantage?;
    if vantage.captive {
        return Some("The exporter's resolver returned an address for a name that cannot exist.".to_owned());
    }
    match verdict.link {
        Link::Local => {
            let failed = vantage
                .controls
                .iter()
                .filter(|control| !matches!(control.outcome, ControlOutcome::Answered | ControlOutcome::NotAsked));
            let names: Vec<_> = failed.map(|control| control.what.as_str()).collect();
            (!names.is_empty()).then(|| format!("The following controls also failed: {}.", names.join(", ")))
        }
        Link::Dns | Link::Network | Link::Edge if vantage.healthy() && vantage.any_answered() => {
            Some("The exporter's own network is healthy: the controls respond.".to_owned())
        }
        _ => None,
    }
}

/// The broken link, in one sentence that does not repeat earlier text.
fn conclusion(case: &Case<'_>, verdict: &Verdict, said: &str) -> String {
    let meaning = verdict.reason.meaning();
    let mut why = if said.contains(meaning) {
        String::new()
    } else {
        format!(": {meaning}")
    };
    if let [_, _, ..] = verdict.reasons.as_slice() {
        let likeliest: Vec<_> = verdict.reasons.iter().map(|reason| reason.as_str()).collect();
        why = format!("{why} (most likely: {})", likeliest.join(", "));
    }
    match (verdict.link, verdict.side) {
        (Link::Local, _) => format!("The exporter or its own network is at fault, not the target{why}."),
        (Link::Dns, _) => format!("The target's DNS is at fault{why}."),
        (Link::Network, _) => {
            format!("The exporter cannot reach the edge{why}. Either the network or the edge is down.")
        }
        (Link::Tls, _) => format!("TLS at the edge is at fault{why}."),
        (Link::Edge, _) => format!("The edge itself is at fault{why}."),
        (Link::Upstream, _) => backends::conclusion(case, verdict, &why),
        (Link::Origin, _) => format!("All links up to the application work. The application itself is at fault{why}."),
        (Link::Content, _) => format!("All links work, but the response content is wrong{why}."),
        (Link::Unknown, _) => format!("The evidence does not show which link failed{why}."),
    }
}

/// How the operator can confirm a likely verdict, if there is a way.
fn to_be_certain(case: &Case<'_>, verdict: &Verdict) -> Option<String> {
    let controls = case.facts.vantage.is_some_and(|vantage| vantage.controls.len() >= 2);
    let asked = case
        .backends
        .iter()
        .any(|backend| backend.state != BackendState::Unknown);
    let over_http = case
        .report
        .last_exchange()
        .is_some_and(|exchange| exchange.method.is_some());
    let refused = case.facts.diagnostics.and_then(|found| {
        found
            .refusal(DiagnosticKind::Backends)
            .or(found.refusal(DiagnosticKind::Repetition))
    });
    let how = match verdict.link {
        _ if verdict.certainty == Certainty::Certain => return None,
        Link::Local | Link::Dns if !controls => "configure `controls` in two places that the exporter can always reach",
        Link::Network => "also probe from another network",
        Link::Content => "probe with a longer timeout",
        Link::Edge | Link::Upstream | Link::Origin | Link::Unknown if over_http && refused.is_some() => {
            "raise the budget that refused requests to the backends (`diagnostics.budget` or `limits.diagnostics`)"
        }
        Link::Edge | Link::Upstream | Link::Origin | Link::Unknown
            if over_http && !asked && !case.backends.is_empty() =>
        {
            "let the exporter reach the backend"
        }
        Link::Edge | Link::Upstream | Link::Origin | Link::Unknown if over_http && !asked => {
            "configure the machine behind the edge as a backend (module key `backends` or probe parameter `backend`)"
        }
        Link::Edge | Link::Upstream | Link::Origin | Link::Unknown if over_http => {
            "look for this request in the logs of the edge and its backend"
        }
        _ => return None,
    };
    Some(format!("This verdict is likely, not certain. To confirm it, {how}."))
}

/// Whether the configuration or the host, not the network, causes the failure.
const fn is_set_up_so(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::LocalDenied
            | Reason::LocalTargetInvalid
            | Reason::LocalNotPermitted
            | Reason::LocalSourceAddressUnavailable
            | Reason::LocalFileUnreadable
            | Reason::LocalTlsUnsupported
    )
}

fn whom_to_call(verdict: &Verdict) -> String {
    if let (Some(Side::Gateway), Some([outer, _])) = (verdict.side, &verdict.between)
        && outer != "edge"
    {
        return format!("Call the operator of {outer}: its log should show the cause.");
    }
    let certificate = verdict
        .reasons
        .iter()
        .all(|reason| reason.is_a_refused_certificate() || *reason == Reason::UpstreamTlsCertificateError);
    let whom = match (verdict.link, verdict.side) {
        (Link::Local, _) if is_set_up_so(verdict.reason) => "the operator of this exporter",
        (Link::Local, _) => "the exporter's network team",
        (Link::Network, _) => "the exporter's network team first, then the operator of the edge",
        (Link::Dns, _) => "the operator of the target's DNS",
        (Link::Tls, _) if certificate => "the certificate's owner",
        (Link::Tls, _) => "the operator of TLS at the edge (CDN or load balancer team)",
        (Link::Edge, _) => "the operator of the edge (CDN or load balancer team)",
        (Link::Upstream, Some(Side::Origin)) if certificate => "the owner of the backend's certificate",
        (Link::Upstream, Some(Side::Origin)) => "the application team, which runs the gateway's backend",
        (Link::Upstream, _) => "the operator of the gateway (CDN or load balancer team): its log should show the cause",
        (Link::Origin | Link::Content, _) => "the application team",
        (Link::Unknown, _) => {
            "the operator of the edge (CDN or load balancer team) first: its log should show whether the application responded"
        }
    };
    format!("Call {whom}.")
}

/// Milliseconds, with one decimal below 10 ms.
fn millis(duration: Duration) -> String {
    let millis = duration.as_secs_f64() * 1000.0;
    if millis < 10.0 {
        format!("{millis:.1} ms")
    } else {
        format!("{millis:.0} ms")
    }
}
