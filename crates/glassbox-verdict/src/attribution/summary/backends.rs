//! The sentences about the direct requests to the backends, and about repeated requests.

use super::{Case, millis};
use crate::attribution::backend_conditions::disagrees;
use crate::attribution::case::{AskedBackend, BackendState};
use crate::investigation::{DirectRequest, Investigation};
use crate::verdict::{Side, Verdict};
use std::time::Duration;

/// One sentence for each backend, the repetitions, and a contradiction.
pub(super) fn sentences<'a>(case: &'a Case<'_>) -> impl Iterator<Item = String> + use<'a> {
    let backends = case.backends.iter().map(|backend| one(case, backend));
    backends.chain(repetition(case)).chain(disagreement(case))
}

fn one(case: &Case<'_>, backend: &AskedBackend<'_>) -> String {
    let direct = backend.direct;
    let doubt = match backend.state {
        BackendState::Unknown if backend.is_silent() => " (a firewall may be the cause)",
        BackendState::Unknown => " (inconclusive)",
        BackendState::Stranger => " (the backend may respond this way only to the exporter)",
        _ => "",
    };
    let machine = format!("{} ({})", backend.name(), direct.backend);
    let request = format!("direct request to {machine}{}", age(case, direct));
    let result = result(direct);
    if backend.fails_sometimes() {
        let outcomes = backend.outcomes;
        return format!(
            "{} of {} direct requests to {} failed: the one to {} {result}.",
            outcomes.failed,
            outcomes.asked,
            backend.name(),
            direct.backend,
        );
    }
    format!("A {request} {result}{doubt}.")
}

/// The result of a direct request, as a predicate.
fn result(direct: &DirectRequest) -> String {
    let report = &direct.report;
    match (&report.fault, report.final_reply()) {
        (None, Some(reply)) => format!("returned {} in {}", reply.status, millis(report.took)),
        (None, None) => format!("succeeded in {}", millis(report.took)),
        (Some(fault), Some(reply)) if fault.reason.is_a_rejected_status() => {
            format!("returned {} in {}", reply.status, millis(report.took))
        }
        (Some(fault), _) => format!("failed after {}: {}", millis(report.took), fault.reason.meaning()),
    }
}

/// How long before the probe the request was sent, if it is a result of an earlier probe.
fn age(case: &Case<'_>, direct: &DirectRequest) -> String {
    let before = case.facts.edge.began.duration_since(direct.report.began);
    let before = before.unwrap_or_default();
    if before < Duration::from_secs(1) {
        return String::new();
    }
    format!(", {} s before this probe,", before.as_secs())
}

/// What the repeated requests showed.
fn repetition(case: &Case<'_>) -> Option<String> {
    let repeated = case
        .facts
        .diagnostics
        .map_or(0, |found| Investigation::repeated(found).len());
    let edge = case.outcomes().edge;
    if repeated == 0 || edge.asked < 2 {
        return None;
    }
    Some(if edge.all_failed() {
        let times = if repeated == 1 { "once" } else { "twice" };
        format!("The request to the edge was repeated {times} and failed each time.")
    } else {
        format!(
            "The fault is intermittent: {} of {} requests to the edge failed.",
            edge.failed, edge.asked
        )
    })
}

/// The contradiction, if the gateway's page excludes the result of the direct request to the backend.
fn disagreement(case: &Case<'_>) -> Option<String> {
    let met = disagrees(case)?;
    let said: Vec<_> = case.can_mean.iter().map(|reason| reason.as_str()).collect();
    Some(format!(
        "These results contradict each other: the page indicates {}, but the direct request failed with {}.",
        said.join(" or "),
        met.as_str()
    ))
}

/// The conclusion about an upstream fault. `why` is its cause.
pub(super) fn conclusion(case: &Case<'_>, verdict: &Verdict, why: &str) -> String {
    let behind = innermost(case).map_or("the backend", AskedBackend::name);
    match (verdict.side, &verdict.between) {
        (Some(Side::Gateway), Some([outer, inner])) => {
            let outer = if case.backends.iter().any(|backend| backend.name() == outer) {
                outer
            } else {
                "the gateway"
            };
            format!("When asked directly, {inner} is healthy. The fault is between {outer} and {inner}{why}.")
        }
        (Some(Side::Gateway), None) => format!("The fault is between the gateway and {behind}{why}."),
        (Some(Side::Origin), _) if case.next_is_healthy().is_some() => {
            format!("{behind} responds, but not as the gateway requires{why}.")
        }
        (Some(Side::Origin), _) => match innermost(case).filter(|backend| backend.fails_sometimes()) {
            Some(_) => format!("Some direct requests to {behind} also fail{why}."),
            None => format!("A direct request to {behind} also fails{why}."),
        },
        (None, _) => {
            let healthy = case.next_is_healthy().filter(|_| !verdict.masked);
            let unproven = healthy.map_or("", |_| {
                " The successful direct request does not show which side failed, because the fault may be intermittent."
            });
            format!("The edge is up, but its exchange with {behind} failed{why}.{unproven}")
        }
    }
}

/// The backend that the conclusion names if there is no pair: the next one if it is healthy, otherwise the failing one.
fn innermost<'a, 'case>(case: &'case Case<'a>) -> Option<&'case AskedBackend<'a>> {
    let failing = || case.innermost_failing().map(|(backend, _)| backend);
    case.next_is_healthy().or_else(failing)
}
