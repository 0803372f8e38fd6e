//! Runs the diagnostics of a probe: direct requests to the backends, a request that bypasses caches, a reference request, a TLS
//! handshake, the other addresses.

use crate::backend::Backend;
use crate::chain::Stage;
use crate::check::{Check, ProbeContext};
use crate::investigation::{DirectRequest, Investigation};
use crate::previous_probes::PreviousProbes;
use crate::probers::{Module, ProbeRequest, Variant, When};
use crate::reason::Reason;
use crate::report::{Deviation, Exchange, Report};
use crate::secrets::Secrets;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Addresses of one edge that are probed, at most.
const MOST_ADDRESSES: usize = 16;

/// A refusal that every gateway makes by itself, or a handshake, gets so much time: both come at once or not at all.
const AT_ONCE: Duration = Duration::from_secs(2);

/// The least time in which asking somebody has a sense.
const LEAST: Duration = Duration::from_millis(5);

/// One investigation: whom it may ask, until when.
#[derive(Debug)]
pub(crate) struct DiagnosticsRun<'a> {
    module: &'a Module,
    requested: &'a ProbeRequest,
    context: &'a ProbeContext,
    previous: &'a PreviousProbes,
    /// Timeout of the probe, which ends at `deadline`.
    timeout: Duration,
    deadline: Instant,
    /// What all checks of it sent as secrets.
    secrets: Mutex<Secrets>,
}

impl<'a> DiagnosticsRun<'a> {
    pub fn new(
        module: &'a Module,
        requested: &'a ProbeRequest,
        context: &'a ProbeContext,
        previous: &'a PreviousProbes,
        timeout: Duration,
    ) -> Self {
        Self {
            module,
            requested,
            context,
            previous,
            timeout,
            deadline: Instant::now() + timeout,
            secrets: Mutex::new(Secrets::default()),
        }
    }

    /// What was sent as secrets so far.
    pub fn secrets(&self) -> MutexGuard<'_, Secrets> {
        self.secrets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is left until the deadline.
    pub fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// While the edge is waited for: the backends, which will tell whether it waits in vain, whether the edge lives, and whether a
    /// port that is silent in plain text waits for TLS: nothing else would end the wait before the deadline.
    pub async fn early(&self) -> Option<Investigation> {
        if self
            .previous
            .recent
            .as_ref()
            .is_some_and(|recent| recent.serves_silence(self.timeout))
        {
            return None;
        }
        let begun = Instant::now();
        let diagnostics = &self.module.diagnostics;
        let (backends, reference, handshake) = tokio::join!(
            self.backends(diagnostics.direct_requests != When::Never && !self.previous.asked_directly_lately),
            self.maybe(diagnostics.reference && self.previous.due.reference, Variant::Refusable),
            self.maybe(self.module.prober.reads_plaintext_first(), Variant::Handshake(None)),
        );
        Some(Investigation {
            took: begun.elapsed(),
            backends,
            reference,
            handshake,
            ..Investigation::default()
        })
    }

    /// The edge has failed: everybody who may be asked, but for those who were asked already.
    pub async fn after_failure(&self, edge: &Report, begun: Investigation) -> Option<Arc<Investigation>> {
        let diagnostics = &self.module.diagnostics;
        let started = Instant::now();
        let asks_directly = diagnostics.direct_requests != When::Never && begun.backends.is_empty();
        let reached = edge
            .last_exchange()
            .is_some_and(|exchange| exchange.peer.is_some() && exchange.local.is_some());
        let reason = edge.fault.as_ref().map(|fault| fault.reason);
        let refused = reason == Some(Reason::HttpStatus);
        let method = edge.last_exchange().and_then(|exchange| exchange.method.as_deref());
        let safe = matches!(method, Some("GET" | "HEAD"));
        let to_refer = reached && diagnostics.reference && self.previous.due.reference && begun.reference.is_none();
        let over_http2 = edge.last_exchange().is_some_and(Exchange::speaks_http2);
        let (backends, bypass, again, reference, handshake, addresses) = tokio::join!(
            self.backends(asks_directly),
            self.maybe(
                refused && diagnostics.bypass != When::Never,
                Variant::CacheBypass(nonce())
            ),
            self.maybe(refused && over_http2 && safe, Variant::Http1),
            self.maybe(to_refer, Variant::Refusable),
            self.maybe(may_want_tls(edge), Variant::Handshake(None)),
            self.addresses(edge),
        );
        Some(Arc::new(Investigation {
            took: begun.took + started.elapsed(),
            backends: if backends.is_empty() { begun.backends } else { backends },
            bypass,
            again,
            reference: reference.or(begun.reference),
            handshake: handshake.or(begun.handshake),
            addresses,
        }))
    }

    /// The edge is well: those whose turn it is.
    pub async fn after_success(&self, edge: &Report, begun: Option<Investigation>) -> Option<Arc<Investigation>> {
        let diagnostics = &self.module.diagnostics;
        let started = Instant::now();
        let begun = begun.unwrap_or_default();
        let asks_directly = begun.backends.is_empty()
            && match diagnostics.direct_requests {
                When::Never => false,
                When::Always => true,
                When::OnFailure | When::Every(_) => self.previous.due.direct_requests,
            };
        let (backends, bypass, addresses) = tokio::join!(
            self.backends(asks_directly),
            self.maybe(
                self.previous.due.bypass,
                Variant::CacheBypass(if self.previous.due.bypass { nonce() } else { 0 })
            ),
            self.addresses(edge),
        );
        Some(Arc::new(Investigation {
            took: begun.took + started.elapsed(),
            backends: if backends.is_empty() { begun.backends } else { backends },
            bypass,
            addresses,
            ..begun
        }))
    }

    /// All backends at once.
    async fn backends(&self, ask: bool) -> Vec<DirectRequest> {
        // Those of the caller come instead of the module's.
        let backends = match (ask, self.requested.backends.as_slice()) {
            (false, _) => &[],
            (true, []) => self.module.diagnostics.backends.as_slice(),
            (true, backends) => backends,
        };
        all(backends.iter().map(|backend| self.backend(backend)))
            .await
            .into_iter()
            .flatten()
            .collect()
    }

    async fn backend(&self, backend: &Backend) -> Option<DirectRequest> {
        let report = self.ask(Variant::Backend(backend)).await?;
        let handshake = self
            .maybe(!backend.tls && may_want_tls(&report), Variant::Handshake(Some(backend)))
            .await;
        Some(DirectRequest {
            backend: backend.clone(),
            reachable: backend.reachable || self.previous.answered.contains(&backend.place()),
            held_back: !backend.trusted && self.module.prober.has_module_fields(self.requested),
            report,
            handshake,
        })
    }

    /// The edge's other addresses. The one that was probed already is not probed twice.
    async fn addresses(&self, edge: &Report) -> Vec<(IpAddr, Report)> {
        if !self.module.diagnostics.all_addresses || self.left() < LEAST {
            return Vec::new();
        }
        let mut check = Box::new(Check::new(self.context, self.left()));
        let found = self.module.prober.addresses(&mut check, self.requested).await;
        let probed = edge.with_target().next().and_then(|exchange| exchange.chosen);
        let mut others = found.unwrap_or_default();
        others.sort_unstable();
        others.dedup();
        others.retain(|address| Some(*address) != probed);
        others.truncate(MOST_ADDRESSES);
        let asked = others.into_iter().map(|address| async move {
            let report = self.ask(Variant::Address(address)).await?;
            Some((address, report))
        });
        all(asked).await.into_iter().flatten().collect()
    }

    async fn maybe(&self, ask: bool, variant: Variant<'_>) -> Option<Report> {
        if ask { self.ask(variant).await } else { None }
    }

    /// Runs the module's prober once, on one way.
    pub async fn run(&self, variant: Variant<'_>, timeout: Duration) -> Report {
        let mut check = Check::new(self.context, timeout);
        // The outcome stands in the report: a probe that stopped has its fault there.
        let _stopped = self.module.prober.probe(&mut check, self.requested, variant).await;
        if !check.secrets().is_empty() {
            self.secrets().merge(check.secrets());
        }
        check.finish()
    }

    /// Asks, if there is time left. What fails for a want of our own says nothing of who was asked.
    async fn ask(&self, variant: Variant<'_>) -> Option<Report> {
        let left = match variant {
            Variant::Refusable | Variant::Handshake(_) => self.left().min(AT_ONCE),
            _ => self.left(),
        };
        if left < LEAST {
            return None;
        }
        // Kept aside: most are asked nothing.
        let report = Box::pin(self.run(variant, left)).await;
        (!report.failed_locally()).then_some(report)
    }
}

/// Whether plain text got no answer, or none that is HTTP: the port may be one for TLS.
fn may_want_tls(report: &Report) -> bool {
    let plain = report.last_exchange().is_some_and(|exchange| {
        !exchange.wants_tls && exchange.reply.is_none() && exchange.proxy.is_none() && exchange.peer.is_some()
    });
    let silent = report.last_exchange().is_some_and(|exchange| exchange.wire.read == 0);
    // What begins like HTTP came from a server of HTTP, however it went on.
    let no_http = report
        .last_exchange()
        .is_some_and(|exchange| exchange.deviations.has(Deviation::NotHttp));
    plain
        && report.fault.as_ref().is_some_and(|fault| {
            matches!(fault.reason, Reason::HttpClosedBeforeResponse | Reason::HttpFailed)
                || (fault.reason == Reason::HttpResponseInvalid && no_http)
                || (fault.reason == Reason::TcpReset && fault.stage > Stage::Connect)
                || (fault.reason == Reason::TcpClosed && fault.stage > Stage::Connect && silent)
        })
}

impl Investigation {
    /// Whether anybody was asked at all.
    pub(crate) const fn asked_anybody(&self) -> bool {
        !self.backends.is_empty()
            || self.bypass.is_some()
            || self.again.is_some()
            || self.reference.is_some()
            || self.handshake.is_some()
            || !self.addresses.is_empty()
    }
}

/// Runs all at once on this task, and gives their results in order.
async fn all<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    futures_util::future::join_all(futures).await
}

/// A number that nobody has asked with before.
fn nonce() -> u64 {
    getrandom::u64().unwrap_or_default()
}
