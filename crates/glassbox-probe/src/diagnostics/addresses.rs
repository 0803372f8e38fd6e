//! Probes the other addresses of the edge. One of several machines with the same name may be broken.

use super::{Diagnostic, DiagnosticsRun, Moment, Occasion, Ran, all, experiment};
use crate::check::Check;
use crate::probers::Variant;
use glassbox_verdict::investigation::{DiagnosticKind, DiagnosticOutcome};
use glassbox_verdict::report::Report;
use std::net::IpAddr;

/// Maximum number of addresses of one edge that are probed.
const MOST_ADDRESSES: usize = 16;

pub(super) const DIAGNOSTIC: Diagnostic = Diagnostic {
    kind: DiagnosticKind::Addresses,
    name: "addresses",
    key: None,
    title: "The edge",
    changes: "the address: each other address of the name",
    every: None,
    when: "each probe, with `addresses: all`",
    cost: "one for each other address, maximum 16",
    depends_on_others: false,
    due,
    failed: experiment::failed,
    concludes: experiment::follows_the_change,
    run: |run, occasion| Box::pin(probe_others(run, occasion)),
};

fn due(run: &DiagnosticsRun<'_>, occasion: Occasion<'_>) -> bool {
    run.module.diagnostics.all_addresses && probed(occasion).is_some()
}

/// The probe of the edge, once it has ended.
const fn probed(occasion: Occasion<'_>) -> Option<&Report> {
    match occasion.moment {
        Moment::Early => None,
        Moment::Failed(edge) | Moment::Succeeded(edge) => Some(edge),
    }
}

/// Resolves the name, and probes all of its addresses except the one that was already probed.
async fn probe_others(run: &DiagnosticsRun<'_>, occasion: Occasion<'_>) -> Ran {
    let Some(edge) = probed(occasion) else {
        return Ok(None);
    };
    let others = others(run, edge).await;
    let permitted = run.permit(others.len())?;
    let asked = others
        .iter()
        .map(|address| run.ask_target(permitted, Variant::Address(*address)));
    let reports = all(asked).await;
    let asked = others.into_iter().zip(reports);
    let asked: Vec<_> = asked.filter_map(|(address, report)| Some((address, report?))).collect();
    Ok((!asked.is_empty()).then_some(DiagnosticOutcome::Addresses(asked)))
}

async fn others(run: &DiagnosticsRun<'_>, edge: &Report) -> Vec<IpAddr> {
    let mut check = Box::new(Check::new(run.context, run.left()));
    let found = run.module.prober.addresses(&mut check, run.requested).await;
    let probed = edge.with_target().next().and_then(|exchange| exchange.chosen);
    let mut others = found.unwrap_or_default();
    others.sort_unstable();
    others.dedup();
    others.retain(|address| Some(*address) != probed);
    others.truncate(MOST_ADDRESSES);
    others
}
