//! What is asked beside the front: the machines behind it, itself past its caches, and what it must refuse by itself.

use crate::chain::Stage;
use crate::check::{Check, Terms};
use crate::hop::Hop;
use crate::investigation::{Drilled, Investigation};
use crate::past::{Past, Recent};
use crate::probers::{Aim, Module, Way, When};
use crate::reason::Reason;
use crate::report::Report;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Addresses of one front that are probed, at most.
const MOST_ADDRESSES: usize = 16;

/// A refusal that every gateway makes by itself, or a handshake, gets so much time: both come at once or not at all.
const AT_ONCE: Duration = Duration::from_secs(2);

/// The least time in which asking somebody has a sense.
const LEAST: Duration = Duration::from_millis(5);

/// One investigation: whom it may ask, until when.
#[derive(Debug)]
pub(crate) struct Drill<'a> {
    module: &'a Module,
    aim: &'a Aim,
    terms: &'a Terms,
    past: &'a Past,
    deadline: Instant,
}

impl<'a> Drill<'a> {
    pub const fn new(module: &'a Module, aim: &'a Aim, terms: &'a Terms, past: &'a Past, deadline: Instant) -> Self {
        Self {
            module,
            aim,
            terms,
            past,
            deadline,
        }
    }

    /// What is left until the deadline.
    pub fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// While the front is waited for: the hops, which will tell whether it waits in vain, whether the edge lives, and whether a
    /// port that is silent in plain text waits for TLS: nothing else would end the wait before the deadline.
    pub async fn early(&self) -> Option<Investigation> {
        if self.past.recent.as_ref().is_some_and(Recent::serves_silence) {
            return None;
        }
        let begun = Instant::now();
        let beside = &self.module.beside;
        let (hops, reference, handshake) = tokio::join!(
            self.hops(beside.drill != When::Never && !self.past.drilled_lately),
            self.maybe(beside.reference && self.past.due.reference, Way::Refusable),
            self.maybe(self.module.prober.listens_in_plain_text(), Way::Handshake(None)),
        );
        Some(Investigation {
            took: begun.elapsed(),
            hops,
            reference,
            handshake,
            ..Investigation::default()
        })
    }

    /// The front has failed: everybody who may be asked, but for those who were asked already.
    pub async fn after_failure(&self, front: &Report, begun: Investigation) -> Option<Arc<Investigation>> {
        let beside = &self.module.beside;
        let started = Instant::now();
        let to_drill = beside.drill != When::Never && begun.hops.is_empty();
        let reached = front
            .last_leg()
            .is_some_and(|leg| leg.peer.is_some() && leg.local.is_some());
        let reason = front.fault.as_ref().map(|fault| fault.reason);
        let refused = reason == Some(Reason::HttpStatus);
        let method = front.last_leg().and_then(|leg| leg.method.as_deref());
        let safe = matches!(method, Some("GET" | "HEAD"));
        let to_refer = reached && beside.reference && self.past.due.reference && begun.reference.is_none();
        let over_http2 = front.final_reply().is_some_and(|reply| reply.version == "HTTP/2.0");
        let (hops, bypass, again, reference, handshake, addresses) = tokio::join!(
            self.hops(to_drill),
            self.maybe(refused && beside.bypass != When::Never, Way::PastCaches(nonce())),
            self.maybe(refused && over_http2 && safe, Way::Http1),
            self.maybe(to_refer, Way::Refusable),
            self.maybe(may_want_tls(front), Way::Handshake(None)),
            self.addresses(front),
        );
        Some(Arc::new(Investigation {
            took: begun.took + started.elapsed(),
            hops: if hops.is_empty() { begun.hops } else { hops },
            bypass,
            again,
            reference: reference.or(begun.reference),
            handshake: handshake.or(begun.handshake),
            addresses,
        }))
    }

    /// The front is well: those whose turn it is.
    pub async fn after_success(&self, front: &Report, begun: Option<Investigation>) -> Option<Arc<Investigation>> {
        let beside = &self.module.beside;
        let started = Instant::now();
        let begun = begun.unwrap_or_default();
        let to_drill = begun.hops.is_empty()
            && match beside.drill {
                When::Never => false,
                When::Always => true,
                When::OnFailure | When::Every(_) => self.past.due.drill,
            };
        let (hops, bypass, addresses) = tokio::join!(
            self.hops(to_drill),
            self.maybe(
                self.past.due.bypass,
                Way::PastCaches(if self.past.due.bypass { nonce() } else { 0 })
            ),
            self.addresses(front),
        );
        Some(Arc::new(Investigation {
            took: begun.took + started.elapsed(),
            hops: if hops.is_empty() { begun.hops } else { hops },
            bypass,
            addresses,
            ..begun
        }))
    }

    /// All hops at once.
    async fn hops(&self, ask: bool) -> Vec<Drilled> {
        // Those of the caller come instead of the module's.
        let hops = match (ask, self.aim.hops.as_slice()) {
            (false, _) => &[],
            (true, []) => self.module.beside.hops.as_slice(),
            (true, hops) => hops,
        };
        all(hops.iter().map(|hop| self.hop(hop)))
            .await
            .into_iter()
            .flatten()
            .collect()
    }

    async fn hop(&self, hop: &Hop) -> Option<Drilled> {
        let report = self.ask(Way::Hop(hop)).await?;
        let handshake = self
            .maybe(!hop.tls && may_want_tls(&report), Way::Handshake(Some(hop)))
            .await;
        Some(Drilled {
            hop: hop.clone(),
            reachable: hop.reachable || self.past.answered.contains(&hop.place()),
            held_back: !hop.trusted && self.module.prober.has_own_fields(self.aim),
            report,
            handshake,
        })
    }

    /// The front's other addresses. The one that was probed already is not probed twice.
    async fn addresses(&self, front: &Report) -> Vec<(IpAddr, Report)> {
        if !self.module.beside.all_addresses || self.left() < LEAST {
            return Vec::new();
        }
        let mut check = Box::new(Check::new(self.terms, self.left()));
        let found = self.module.prober.addresses(&mut check, self.aim).await;
        let probed = front.with_target().next().and_then(|leg| leg.chosen);
        let mut others = found.unwrap_or_default();
        others.sort_unstable();
        others.dedup();
        others.retain(|address| Some(*address) != probed);
        others.truncate(MOST_ADDRESSES);
        let asked = others.into_iter().map(|address| async move {
            let report = self.ask(Way::Address(address)).await?;
            Some((address, report))
        });
        all(asked).await.into_iter().flatten().collect()
    }

    async fn maybe(&self, ask: bool, way: Way<'_>) -> Option<Report> {
        if ask { self.ask(way).await } else { None }
    }

    /// Runs the module's prober once, on one way.
    pub async fn run(&self, way: Way<'_>, timeout: Duration) -> Report {
        let mut check = Check::new(self.terms, timeout);
        // The outcome stands in the report: a probe that stopped has its fault there.
        let _stopped = self.module.prober.probe(&mut check, self.aim, way).await;
        check.finish()
    }

    /// Asks, if there is time left. What fails for a want of our own says nothing of who was asked.
    async fn ask(&self, way: Way<'_>) -> Option<Report> {
        let left = match way {
            Way::Refusable | Way::Handshake(_) => self.left().min(AT_ONCE),
            _ => self.left(),
        };
        if left < LEAST {
            return None;
        }
        // Kept aside: most are asked nothing.
        let report = Box::pin(self.run(way, left)).await;
        (!report.stopped_on_our_side()).then_some(report)
    }
}

/// Whether plain text got no answer, or none that is HTTP: the port may be one for TLS.
fn may_want_tls(report: &Report) -> bool {
    let plain = report
        .last_leg()
        .is_some_and(|leg| !leg.wants_tls && leg.reply.is_none() && leg.proxy.is_none());
    plain
        && report.fault.as_ref().is_some_and(|fault| {
            matches!(
                fault.reason,
                Reason::HttpClosedBeforeResponse | Reason::HttpResponseInvalid | Reason::HttpFailed
            ) || (fault.reason == Reason::TcpReset && fault.stage > Stage::Connect)
        })
}

impl Investigation {
    /// Whether anybody was asked at all.
    pub(crate) const fn asked_anybody(&self) -> bool {
        !self.hops.is_empty()
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
