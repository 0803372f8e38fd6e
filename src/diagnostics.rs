//! Runs the diagnostics of a probe: direct requests to the backends, a request that bypasses caches, a reference
//! request, a TLS handshake and probes of the other addresses.

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

/// Maximum number of addresses of one edge that are probed.
const MOST_ADDRESSES: usize = 16;

/// Maximum duration of a reference request or a handshake: both complete immediately or not at all.
const AT_ONCE: Duration = Duration::from_secs(2);

/// Minimum remaining time for an additional request.
const LEAST: Duration = Duration::from_millis(5);

/// One run of the diagnostics: its permitted requests and its deadline.
#[derive(Debug)]
pub(crate) struct DiagnosticsRun<'a> {
    module: &'a Module,
    requested: &'a ProbeRequest,
    context: &'a ProbeContext,
    previous: &'a PreviousProbes,
    /// Timeout of the probe, which ends at `deadline`.
    timeout: Duration,
    started: Instant,
    deadline: Instant,
    /// Secrets that all its checks have sent.
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
        let started = Instant::now();
        Self {
            module,
            requested,
            context,
            previous,
            timeout,
            started,
            deadline: started + timeout,
            secrets: Mutex::new(Secrets::default()),
        }
    }

    /// Secrets that were sent so far.
    pub fn secrets(&self) -> MutexGuard<'_, Secrets> {
        self.secrets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Start of the probe.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// Time left until the deadline.
    pub fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Runs while the edge has not responded yet. Sends requests to the backends, a reference request, and a TLS
    /// handshake if the port is silent in plain text. Without them, only the deadline would end the wait.
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

    /// Runs after the edge has failed: all permitted diagnostics, except those that already ran.
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

    /// Runs if the edge is healthy: the diagnostics that are due.
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

    /// Sends direct requests to all backends at the same time.
    async fn backends(&self, ask: bool) -> Vec<DirectRequest> {
        // The caller's backends replace the module's.
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

    /// Probes the edge's other addresses. The address that was already probed is skipped.
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

    /// Runs the module's prober once, in one variant.
    pub async fn run(&self, variant: Variant<'_>, timeout: Duration) -> Report {
        let mut check = Check::new(self.context, timeout);
        // The report contains the outcome: a probe that stopped has its fault there.
        let _stopped = self.module.prober.probe(&mut check, self.requested, variant).await;
        if !check.secrets().is_empty() {
            self.secrets().merge(check.secrets());
        }
        check.finish()
    }

    /// Runs a request if there is time left. A failure due to the exporter's own resources implies nothing about the
    /// target.
    async fn ask(&self, variant: Variant<'_>) -> Option<Report> {
        let left = match variant {
            Variant::Refusable | Variant::Handshake(_) => self.left().min(AT_ONCE),
            _ => self.left(),
        };
        if left < LEAST {
            return None;
        }
        // Boxed, because most runs send no request.
        let report = Box::pin(self.run(variant, left)).await;
        (!report.failed_locally()).then_some(report)
    }
}

/// Whether plain text received no response, or none that is HTTP: the port may expect TLS.
fn may_want_tls(report: &Report) -> bool {
    let plain = report.last_exchange().is_some_and(|exchange| {
        !exchange.wants_tls && exchange.reply.is_none() && exchange.proxy.is_none() && exchange.peer.is_some()
    });
    let silent = report.last_exchange().is_some_and(|exchange| exchange.wire.read == 0);
    // A response that begins like HTTP came from an HTTP server, regardless of the rest.
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
    /// Whether any request was sent.
    pub(crate) const fn asked_anybody(&self) -> bool {
        !self.backends.is_empty()
            || self.bypass.is_some()
            || self.again.is_some()
            || self.reference.is_some()
            || self.handshake.is_some()
            || !self.addresses.is_empty()
    }
}

/// Runs all futures concurrently on this task and returns their results in order.
async fn all<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    futures_util::future::join_all(futures).await
}

/// A number that no earlier request contained.
fn nonce() -> u64 {
    getrandom::u64().unwrap_or_default()
}
