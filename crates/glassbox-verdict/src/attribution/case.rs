//! The input of the rules: the failing exchange, the catalogue's match for its response, and the backends.

use super::Facts;
use super::heuristics;
use crate::chain::Stage;
use crate::gateways::{Meaning, OwnResponse, Recognised, can_mean, nearest, recognise};
use crate::host_port::Host;
use crate::investigation::Investigation;
use crate::outcomes::{EarlierOutcomes, Outcomes};
use crate::reason::{Reason, ReasonFamily};
use crate::report::{Exchange, Fault, Reply, Report};
use std::time::Duration;

pub(super) use super::asked_backend::{AskedBackend, BackendState, as_upstream, refused, shook_hands, with_answer};

/// Minimum number of failures at the edge that shows a lasting difference from a backend.
const FEWEST_FAILURES: u32 = 3;

/// A report to attribute, together with all other known facts.
pub(super) struct Case<'a> {
    pub facts: &'a Facts<'a>,
    pub report: &'a Report,
    /// The catalogue's match for the response whose status was rejected.
    pub recognised: Option<Recognised>,
    /// All upstream failures that this response can mean, regardless of its duration.
    pub can_mean: Vec<Reason>,
    /// The backends, from the outside in.
    pub backends: Vec<AskedBackend<'a>>,
    /// Whether the edge rejected the reference request. The edge is then alive, and only the probe's request failed.
    pub edge_lives: bool,
    /// Outcomes of all requests of this probe.
    outcomes: Outcomes,
}

impl<'a> Case<'a> {
    pub fn new(facts: &'a Facts<'a>, report: &'a Report) -> Self {
        let reference = facts.diagnostics.and_then(Investigation::reference);
        let refusal = reference.and_then(refusal_of).map(|refusal| refusal.status);
        let refusal = refusal.or(facts.baseline.refused_fields);
        let reply = report.final_reply();
        let edge_lives = refusal.is_some_and(|refusal| reply.is_none_or(|reply| reply.status != refusal));
        // A response stating that the port expects TLS has its own rule.
        let page = || refused(report).filter(|reply| !heuristics::wants_tls(reply));
        let first = page().and_then(|_| report.last_exchange());
        let again = || over_http1(facts, page()?);
        let recognised_in = |exchange| Some((exchange, with_answer(exchange, recognise)?));
        let telling = first
            .and_then(recognised_in)
            .or_else(|| again().and_then(recognised_in));
        Self {
            facts,
            report,
            recognised: telling.map(|(_, recognised)| recognised),
            can_mean: telling
                .and_then(|(exchange, recognised)| with_answer(exchange, |answer| Some(can_mean(recognised, answer))))
                .or_else(|| {
                    page()
                        .filter(|reply| reply.status == 504)
                        .map(|_| heuristics::TIMEOUT.to_vec())
                })
                .unwrap_or_default(),
            backends: AskedBackend::all(facts.diagnostics, report),
            outcomes: Outcomes::of(facts.edge, facts.diagnostics),
            edge_lives,
        }
    }

    /// The gateway at the edge, recognised by this response, by its response to the reference request, or earlier.
    pub fn gateway(&self) -> Option<&'static str> {
        let seen = self
            .report
            .last_exchange()
            .and_then(|exchange| with_answer(exchange, nearest));
        let reference = self.facts.diagnostics.and_then(Investigation::reference);
        let by_reference = || {
            let exchange = reference.filter(|_| self.edge_lives)?.last_exchange()?;
            with_answer(exchange, |answer| match recognise(answer) {
                Some(Recognised::Own(own)) => own.by,
                _ => nearest(answer),
            })
        };
        seen.or_else(by_reference).or_else(|| self.facts.baseline.product())
    }

    pub fn fault(&self) -> Option<&'a Fault> {
        self.report.fault.as_ref()
    }

    /// Whether the target is an address, which needs no DNS.
    pub fn target_is_an_address(&self) -> bool {
        let first = self.facts.edge.with_target().next();
        // A URL without a host contains a path, which needs no DNS either.
        first.is_some_and(|exchange| {
            let host = Host::of_displayed_url(&exchange.url);
            host.as_str().is_empty() || host.address().is_some()
        })
    }

    pub fn stage(&self, stage: Stage) -> bool {
        self.fault().is_some_and(|fault| fault.stage == stage)
    }

    /// Whether the cause of a failed TLS handshake is inferred: no additional connection confirmed a missing common
    /// version or cipher suite.
    pub fn cause_in_tls_is_inferred(&self) -> bool {
        match self
            .report
            .last_exchange()
            .and_then(|exchange| exchange.inspection.as_ref())
        {
            Some(inspection) => match inspection.blackbox_connects {
                Some(false) => false,
                // The server accepts the offer of the second library. Only a rejected certificate proves the cause of
                // that failure.
                Some(true) => !self.fault().is_some_and(|fault| fault.reason.is_about_a_certificate()),
                None => true,
            },
            None => self.reason(Reason::TlsVersionOrCipherMismatch),
        }
    }

    /// Whether the last exchange went through one of the module's proxies.
    pub fn is_through_a_proxy(&self) -> bool {
        self.report
            .last_exchange()
            .is_some_and(|exchange| exchange.proxy.is_some())
    }

    pub fn reason(&self, reason: Reason) -> bool {
        self.fault().is_some_and(|fault| fault.reason == reason)
    }

    pub fn family(&self, family: ReasonFamily) -> bool {
        self.fault().is_some_and(|fault| fault.reason.family() == family)
    }

    /// The response, if its status was rejected.
    pub fn refused(&self) -> Option<&'a Reply> {
        refused(self.report)
    }

    /// Whether the connection was closed, reset or silent in the TLS handshake, before the server sent any data.
    pub fn ended_before_tls(&self) -> bool {
        self.stage(Stage::Secure) && (self.family(ReasonFamily::Tcp) || self.family(ReasonFamily::Quic))
    }

    /// Whether the response means that a client certificate is missing or rejected, after a handshake that requested
    /// one.
    pub fn demands_client_cert(&self) -> bool {
        let tls = self.report.last_exchange().and_then(|exchange| exchange.tls.as_ref());
        tls.is_some_and(|tls| tls.client_cert_asked) && self.refused().is_some_and(heuristics::demands_client_cert)
    }

    fn rejects_the_status(&self) -> bool {
        self.fault().is_some_and(|fault| fault.reason.is_a_rejected_status())
    }

    /// Whether the response was incomplete, malformed or missing.
    pub fn broke(&self) -> bool {
        let exchange = self.stage(Stage::Send) || self.stage(Stage::Wait) || self.stage(Stage::Receive);
        let spoiled = [
            ReasonFamily::Http,
            ReasonFamily::Tcp,
            ReasonFamily::Quic,
            ReasonFamily::Websocket,
        ]
        .iter()
        .any(|family| self.family(*family))
            || self.reason(Reason::GrpcInvalid)
            || self.reason(Reason::DnsMalformed);
        (exchange && spoiled && !self.rejects_the_status()) || self.ended_before_tls()
    }

    pub fn waited(&self) -> Duration {
        self.report.last_exchange().map_or(Duration::ZERO, Exchange::waited)
    }

    /// The first backend, if it is healthy and therefore disagrees with the edge.
    pub fn next_is_healthy(&self) -> Option<&AskedBackend<'a>> {
        self.backends
            .first()
            .filter(|backend| backend.state == BackendState::Healthy)
    }

    /// The innermost failing backend before the first healthy one, from the outside in, and that healthy one, if there
    /// is one.
    pub fn innermost_failing(&self) -> Option<(&AskedBackend<'a>, Option<&AskedBackend<'a>>)> {
        let healthy = self
            .backends
            .iter()
            .position(|backend| backend.state == BackendState::Healthy);
        let outer = &self.backends[..healthy.unwrap_or(self.backends.len())];
        let failing = outer.iter().rev().find(|backend| backend.state.is_failure())?;
        Some((failing, healthy.map(|position| &self.backends[position])))
    }

    /// The name of the machine in front of a backend: the next outer backend, or `None` for the edge.
    pub fn in_front_of(&self, backend: &AskedBackend<'_>) -> Option<&'a str> {
        let outer = self.backends.iter().take_while(|outer| outer.name() != backend.name());
        outer.last().map(AskedBackend::name)
    }

    /// Whether the edge fails more often than this healthy backend, in this probe and in earlier ones. A few requests
    /// prove nothing about an intermittent fault.
    pub fn fails_more_often_than(&self, backend: &AskedBackend<'_>) -> bool {
        self.counts().into_iter().any(|outcomes| {
            outcomes.edge.failed >= FEWEST_FAILURES && outcomes.backend(backend.name()).is_lower_than(outcomes.edge)
        })
    }

    /// The outcomes since the edge last succeeded, and those of the last minutes.
    fn counts(&self) -> [Outcomes; 2] {
        let none = EarlierOutcomes::default();
        let earlier = self.facts.earlier.unwrap_or(&none);
        let streak = if self.outcomes.edge.all_failed() {
            self.outcomes.clone().plus(&earlier.streak)
        } else {
            self.outcomes.clone()
        };
        [streak, self.outcomes.clone().plus(&earlier.window)]
    }

    /// The outcomes of all requests of this probe.
    pub const fn outcomes(&self) -> &Outcomes {
        &self.outcomes
    }

    /// Whether the response contains a field that successful responses of this key always contain and the gateway
    /// never writes.
    pub fn has_baseline_headers(&self) -> bool {
        let marks = self.facts.baseline.through_marks().unwrap_or_default();
        let reply = self.refused();
        reply.is_some_and(|reply| marks.iter().any(|name| reply.headers.contains_key(*name)))
    }

    /// Whether the response shows that it came from behind the edge.
    pub fn came_through(&self) -> bool {
        matches!(self.recognised, Some(Recognised::Through(_))) || self.has_baseline_headers()
    }

    /// The rejected response to a request that the module's own proxy forwards. The proxy may have generated it.
    pub fn of_own_proxy(&self) -> Option<&'a Reply> {
        let exchange = self.report.last_exchange()?;
        self.refused()
            .filter(|_| exchange.is_relayed() && !exchange.for_credentials)
    }

    /// Name or address in the request.
    pub fn host(&self) -> Option<String> {
        let host = Host::of_displayed_url(&self.report.last_exchange()?.url).as_str();
        (!host.is_empty()).then(|| host.to_owned())
    }

    /// The gateway's view of a failed exchange, derived from the exporter's. Some gateways send no response at all if
    /// the upstream response is incomplete.
    pub fn as_upstream(&self) -> Vec<Reason> {
        match as_upstream(self.report) {
            Reason::UpstreamConnectionTerminated => vec![
                Reason::UpstreamConnectionTerminated,
                Reason::UpstreamHttpResponseIncomplete,
                Reason::UpstreamHttpResponseTransferCoding,
            ],
            // A gateway that buffers responses forwards the received part after its timeout.
            Reason::UpstreamHttpResponseIncomplete if self.waited() >= heuristics::STALLED => vec![
                Reason::UpstreamConnectionReadTimeout,
                Reason::UpstreamHttpResponseIncomplete,
            ],
            _ if self.ended_before_tls() && self.reason(Reason::TcpNoResponse) => {
                vec![Reason::UpstreamHttpResponseTimeout]
            }
            one => vec![one],
        }
    }

    /// Whether the connection was closed before any response byte arrived.
    pub fn gave_nothing(&self) -> bool {
        let bytes = self
            .report
            .last_exchange()
            .map_or(0, |exchange| exchange.wire.excerpt.len());
        let closed = [
            Reason::HttpClosedBeforeResponse,
            Reason::TcpReset,
            Reason::TcpClosed,
            Reason::QuicFailed,
        ];
        bytes == 0 && closed.iter().any(|reason| self.reason(*reason))
    }

    /// Whether the response resembles the page with which the edge rejected the reference request.
    pub fn looks_like_the_edges_own(&self) -> bool {
        let reference = self.facts.diagnostics.and_then(Investigation::reference);
        let pages = self.refused().zip(reference.and_then(Report::final_reply));
        self.edge_lives && pages.is_some_and(|(reply, refusal)| heuristics::same_skeleton(reply, refusal))
    }
}

/// The reason phrase is more specific than the shape of the page, and only HTTP/1.1 has one.
fn over_http1<'a>(facts: &Facts<'a>, edge: &Reply) -> Option<&'a Exchange> {
    let again = facts.diagnostics?.http1_retry()?;
    refused(again).filter(|reply| reply.status == edge.status)?;
    again.last_exchange()
}

/// The edge's own rejection of the reference request: status 400, 431, 501 or 505. Any other status may come from a
/// backend.
fn refusal_of(reference: &Report) -> Option<&Reply> {
    let refusal = |reply: &&Reply| matches!(reply.status, 400 | 431 | 501 | 505);
    reference.final_reply().filter(refusal)
}

/// The gateway's possible upstream failures that are compatible with a healthy backend, most likely first.
pub(super) fn with_a_healthy_backend(said: &[Reason], tls: bool) -> Vec<Reason> {
    let about_tls = |reason: &Reason| {
        matches!(
            reason,
            Reason::UpstreamTlsCertificateError | Reason::UpstreamTlsProtocolError | Reason::UpstreamTlsAlertReceived
        )
    };
    let about_reaching = |reason: &Reason| {
        matches!(
            reason,
            Reason::UpstreamDnsError
                | Reason::UpstreamDnsTimeout
                | Reason::UpstreamConnectionRefused
                | Reason::UpstreamConnectionTimeout
                | Reason::UpstreamConnectionLimitReached
                | Reason::UpstreamDestinationIpUnroutable
                | Reason::UpstreamDestinationIpProhibited
                | Reason::UpstreamDestinationUnavailable
        )
    };
    // The response may have been too late for the gateway but in time for the exporter.
    let about_time = |reason: &Reason| {
        matches!(
            reason,
            Reason::UpstreamHttpResponseTimeout | Reason::UpstreamConnectionReadTimeout
        )
    };
    let mut fits: Vec<Reason> = Vec::new();
    if tls {
        fits.extend(said.iter().filter(|reason| about_tls(reason)).take(1));
    }
    fits.extend(said.iter().filter(|reason| about_reaching(reason)));
    fits.extend(said.iter().filter(|reason| about_time(reason)));
    if fits.is_empty() { said.to_vec() } else { fits }
}

/// The upstream failures that the gateway's own page can mean, and whether it has no other meaning.
pub(super) fn of_upstream(recognised: Option<Recognised>) -> Option<(&'static [Reason], bool)> {
    match recognised? {
        Recognised::Own(OwnResponse {
            meaning: Meaning::Upstream(reasons),
            sure,
            ..
        }) => Some((
            reasons,
            sure && reasons.iter().all(|reason| reason.family() == ReasonFamily::Upstream),
        )),
        Recognised::Perhaps(_, Meaning::Upstream(reasons)) => Some((reasons, false)),
        _ => None,
    }
}
