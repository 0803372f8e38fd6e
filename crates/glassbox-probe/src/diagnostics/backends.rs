//! Sends direct requests to the backends. Only their responses show on which side of a gateway the chain is broken.

use super::handshake::may_want_tls;
use super::{Diagnostic, DiagnosticKey, DiagnosticsRun, Moment, Occasion, Permitted, Ran, all, experiment};
use crate::check::{AddressFamily, Check};
use crate::previous_probes::REUSE;
use crate::probers::{Variant, When};
use glassbox_verdict::backend::{Backend, MOST_MEMBERS};
use glassbox_verdict::host_port::HostPort;
use glassbox_verdict::investigation::{DiagnosticKind, DiagnosticOutcome, DirectRequest};
use std::time::Duration;

pub(super) const DIAGNOSTIC: Diagnostic = Diagnostic {
    kind: DiagnosticKind::Backends,
    name: "backends",
    key: Some(DiagnosticKey::When(When::OnFailure)),
    title: "Direct request",
    changes: "the machine: the request goes directly to each backend, with the Host and SNI of the edge",
    every: Some(Duration::from_mins(10)),
    when: "a failure, or no response after half of the time; with a healthy edge, once in 10 min, or each probe \
           (`always`), or if the last response hid a broken link",
    cost: "one for each member of each backend",
    depends_on_others: false,
    due,
    failed: experiment::failed,
    concludes: experiment::follows_the_change,
    run: |run, _| Box::pin(ask_directly(run)),
};

fn due(run: &DiagnosticsRun<'_>, occasion: Occasion<'_>) -> bool {
    let setting = DIAGNOSTIC.when(&run.module.diagnostics);
    if setting == When::Never || !occasion.begun.backends().is_empty() || chosen(run).is_empty() {
        return false;
    }
    match occasion.moment {
        Moment::Early => !run.previous.ran_within(DIAGNOSTIC.kind, REUSE),
        Moment::Failed(_) => true,
        Moment::Succeeded(_) => setting == When::Always || run.previous.masked || run.is_due(&DIAGNOSTIC),
    }
}

/// The caller's backends replace the module's.
fn chosen<'a>(run: &'a DiagnosticsRun<'_>) -> &'a [Backend] {
    match run.requested.backends.as_slice() {
        [] => &run.module.diagnostics.backends,
        backends => backends,
    }
}

/// The machines of all backends, from the outside in.
async fn machines(run: &DiagnosticsRun<'_>) -> Vec<Backend> {
    let machines = all(chosen(run).iter().map(|backend| machines_of(run, backend))).await;
    machines.into_iter().flatten().collect()
}

/// The machine of a backend, or the members of a pool. Each address of a member that is a name is a member.
async fn machines_of(run: &DiagnosticsRun<'_>, backend: &Backend) -> Vec<Backend> {
    if backend.members.is_empty() {
        return vec![backend.clone()];
    }
    let members = all(backend.members.iter().map(|member| addresses_of(run, member))).await;
    let members = members.into_iter().flatten().take(MOST_MEMBERS);
    members.map(|member| backend.at(member)).collect()
}

async fn addresses_of(run: &DiagnosticsRun<'_>, member: &HostPort) -> Vec<HostPort> {
    const BOTH: AddressFamily = AddressFamily {
        prefers_ip4: true,
        fallback: true,
    };
    let host = member.host();
    if host.address().is_some() {
        return vec![member.clone()];
    }
    let mut check = Box::new(Check::new(run.context, run.left()));
    let found = check
        .resolve_all(run.module.prober.resolver(), host.as_str(), BOTH)
        .await;
    let addresses = found.unwrap_or_default();
    if addresses.is_empty() {
        // The request to the name shows why it has no address.
        return vec![member.clone()];
    }
    let addresses = addresses.iter();
    addresses
        .map(|address| HostPort::new(&address.to_string(), member.port()))
        .collect()
}

/// Sends direct requests to all machines at the same time.
async fn ask_directly(run: &DiagnosticsRun<'_>) -> Ran {
    let machines = machines(run).await;
    let permitted = run.permit(machines.len())?;
    let asked = all(machines.iter().map(|backend| ask_backend(run, permitted, backend))).await;
    let direct: Vec<_> = asked.into_iter().flatten().collect();
    Ok((!direct.is_empty()).then_some(DiagnosticOutcome::Direct(direct)))
}

/// Sends one direct request. A local failure, such as an address that the policy denies, is a result too: otherwise the
/// evidence would not show why a configured backend received no request. If the backend does not respond in plain text, a handshake shows whether it expects TLS.
pub(super) async fn ask_backend(
    run: &DiagnosticsRun<'_>,
    permitted: Permitted,
    backend: &Backend,
) -> Option<DirectRequest> {
    let report = run.ask(permitted, Variant::Backend(backend)).await?;
    let handshake = if !backend.tls && may_want_tls(&report) {
        run.shake_hands(Some(backend)).await
    } else {
        None
    };
    let mut direct = DirectRequest::new(backend.clone(), report);
    direct.reachable = backend.reachable || run.previous.answered.contains(&backend.place());
    direct.held_back = !backend.trusted && run.module.prober.has_module_fields(run.requested);
    direct.handshake = handshake;
    Some(direct)
}
