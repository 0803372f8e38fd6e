//! Results of the direct requests to the backends.

use super::heuristics;
use crate::chain::Stage;
use crate::gateways::{ObservedResponse, Recognised, recognise};
use crate::investigation::{DirectRequest, Investigation};
use crate::reason::{Reason, ReasonFamily};
use crate::report::{Exchange, Reply, Report};
use crate::statistics::Tally;
use std::borrow::Cow;
use std::time::Duration;

/// A backend, and the result of all direct requests to it: to each of its members, and repeated ones.
pub(super) struct AskedBackend<'a> {
    /// The request that decides the state: the first one that failed, otherwise the first inconclusive one.
    pub direct: &'a DirectRequest,
    pub state: BackendState,
    /// Its conclusive requests, and how many of them failed.
    pub outcomes: Tally,
    pub recognised: Option<Recognised>,
}

/// Result of a direct request to a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BackendState {
    /// It met the module's requirements.
    Healthy,
    /// It met the module's requirements, but slower than the module allows.
    Slow,
    /// It returned a status or content that the module rejects.
    Refuses,
    /// It returned a status that may apply only to unknown clients. Its response to its gateway may differ.
    Stranger,
    /// It sent no response, or a broken one: the failure as the gateway sees it.
    Broken(Reason),
    /// Inconclusive: no route, no name, or silence that a firewall may cause.
    Unknown,
}

impl<'a> AskedBackend<'a> {
    /// All backends that received direct requests, from the outside in.
    pub fn all(investigation: Option<&'a Investigation>, edge: &Report) -> Vec<Self> {
        let mut requests: Vec<(&str, Vec<(&'a DirectRequest, BackendState)>)> = Vec::new();
        for direct in investigation.into_iter().flat_map(Investigation::all_direct) {
            let name = direct.backend.name.as_str();
            let request = (direct, state(direct, edge));
            match requests.iter_mut().find(|(known, _)| *known == name) {
                Some((_, of_backend)) => of_backend.push(request),
                None => requests.push((name, vec![request])),
            }
        }
        let backends = requests.iter().filter_map(|(_, requests)| Self::of(requests));
        backends.collect()
    }

    /// A backend is healthy only if all of its responses pass what the module demands. One healthy member of a pool, or
    /// one success between failures, does not prove that it is.
    fn of(requests: &[(&'a DirectRequest, BackendState)]) -> Option<Self> {
        let (direct, state) = *requests.iter().min_by_key(|(_, state)| state.precedence())?;
        let conclusive = requests.iter().filter_map(|(_, state)| match state {
            BackendState::Healthy => Some(false),
            state if state.is_failure() => Some(true),
            _ => None,
        });
        let exchange = direct.report.last_exchange();
        Some(Self {
            direct,
            state,
            outcomes: Tally::of(conclusive),
            recognised: refused(&direct.report).and_then(|_| with_answer(exchange?, recognise)),
        })
    }

    /// Whether some of its requests failed and others succeeded.
    pub fn fails_sometimes(&self) -> bool {
        self.outcomes.is_mixed()
    }

    /// The backend's name.
    pub fn name(&self) -> &'a str {
        &self.direct.backend.name
    }

    /// Whether the backend accepts connections from the exporter, now, recently or according to the configuration.
    pub fn lets_the_exporter_in(&self) -> bool {
        self.direct.reachable
            || self
                .direct
                .report
                .exchanges
                .iter()
                .any(|exchange| exchange.local.is_some())
    }
}

impl BackendState {
    /// Whether the backend failed when asked directly.
    pub const fn is_failure(self) -> bool {
        matches!(self, Self::Slow | Self::Refuses | Self::Broken(_))
    }

    /// Which of several results decides: the lowest.
    const fn precedence(self) -> u8 {
        match self {
            Self::Broken(_) | Self::Refuses | Self::Slow => 0,
            Self::Unknown => 1,
            Self::Stranger => 2,
            Self::Healthy => 3,
        }
    }
}

fn state(direct: &DirectRequest, edge: &Report) -> BackendState {
    let report = &direct.report;
    let Some(fault) = &report.fault else {
        // A backend that redirects elsewhere has done its part. A failure after the redirects concerns another host.
        let redirects = report
            .final_reply()
            .is_some_and(|reply| (300..400).contains(&reply.status));
        return if redirects && edge.with_target().count() > 1 {
            BackendState::Unknown
        } else {
            BackendState::Healthy
        };
    };
    if report.failed_locally() {
        return BackendState::Unknown;
    }
    if fault.reason == Reason::HttpTimedOutWaiting && was_cut_short(report) && had_less_time(report, edge) {
        return BackendState::Unknown;
    }
    let speaks_tls = direct.handshake.as_ref().is_some_and(shook_hands);
    let says_tls = report.final_reply().is_some_and(heuristics::wants_tls);
    match fault.reason {
        reason if reason.family() == ReasonFamily::Dns => BackendState::Unknown,
        Reason::TcpTimedOut | Reason::TcpAddressUnreachable if !direct.reachable => BackendState::Unknown,
        _ if speaks_tls || says_tls => BackendState::Broken(Reason::UpstreamTlsRequired),
        Reason::HttpSlow => BackendState::Slow,
        // The module's header fields were omitted, so the backend may be right to refuse or to respond differently.
        reason if direct.held_back && (reason.is_a_rejected_status() || is_a_bad_redirect(reason)) => {
            BackendState::Unknown
        }
        reason if reason.family() == ReasonFamily::Content && direct.held_back => BackendState::Unknown,
        reason if reason.is_a_rejected_status() && report.final_reply().is_some_and(heuristics::is_for_strangers) => {
            BackendState::Stranger
        }
        reason if reason.is_a_rejected_status() || is_a_bad_redirect(reason) => BackendState::Refuses,
        reason if reason.family() == ReasonFamily::Content => BackendState::Refuses,
        _ => BackendState::Broken(as_upstream(report)),
    }
}

const fn is_a_bad_redirect(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::HttpResponseRedirectLoop | Reason::HttpResponseBadRedirect
    )
}

/// Minimum duration of a conclusive silence.
const PATIENCE: Duration = Duration::from_secs(1);

/// Whether a deadline cut a direct request short after little time: the caller's deadline, or the time left during a
/// shutdown of the exporter.
pub(super) fn was_cut_short(direct: &Report) -> bool {
    direct.fault.as_ref().is_some_and(|fault| fault.at_deadline) && direct.took < PATIENCE
}

/// Whether a direct request had less time than the gateway waited before it responded. The backend may have responded
/// within the time that the gateway allowed.
fn had_less_time(direct: &Report, edge: &Report) -> bool {
    let answered = edge.last_exchange().filter(|exchange| exchange.reply.is_some());
    answered.is_some_and(|exchange| direct.took < exchange.waited())
}

impl AskedBackend<'_> {
    /// Time until its first byte.
    pub fn waited(&self) -> Duration {
        self.direct
            .report
            .last_exchange()
            .map_or(Duration::ZERO, Exchange::waited)
    }

    /// Size of its response header in bytes.
    pub fn head_size(&self) -> usize {
        self.direct.report.final_reply().map_or(0, |reply| reply.head_size)
    }

    /// Duration of its whole response.
    pub fn answered_after(&self) -> Duration {
        self.direct.report.took
    }

    /// Whether it sent nothing at all.
    pub fn is_silent(&self) -> bool {
        let fault = self.direct.report.fault.as_ref();
        fault.is_some_and(|fault| fault.reason == Reason::TcpTimedOut)
    }
}

/// Whether a handshake shows that the port uses TLS, even if the exporter rejects the result.
pub(super) fn shook_hands(report: &Report) -> bool {
    let showed = report.last_exchange().is_some_and(|exchange| exchange.tls.is_some());
    let refused = report.fault.as_ref().is_some_and(|fault| {
        matches!(
            fault.reason,
            Reason::TlsAlert | Reason::TlsClientCert | Reason::TlsVersionOrCipherMismatch
        )
    });
    showed || refused
}

/// The RFC 9209 error type for the failure that the exporter itself observed at a backend.
pub(super) fn as_upstream(report: &Report) -> Reason {
    let Some(fault) = &report.fault else {
        return Reason::UpstreamFailed;
    };
    let answered = report.final_reply().is_some();
    let stalled = report
        .last_exchange()
        .is_some_and(|exchange| exchange.silent_at_end() >= heuristics::STALLED);
    match fault.reason {
        Reason::TcpRefused => Reason::UpstreamConnectionRefused,
        Reason::TcpTimedOut => Reason::UpstreamConnectionTimeout,
        Reason::TcpAddressUnreachable => Reason::UpstreamDestinationIpUnroutable,
        Reason::TlsVersionOrCipherMismatch | Reason::TlsAlert | Reason::TlsClientCert => {
            Reason::UpstreamTlsAlertReceived
        }
        // A machine that expects plain text is also silent if it receives TLS.
        Reason::TcpNoResponse if fault.stage == Stage::Secure => Reason::UpstreamTlsProtocolError,
        Reason::TlsClosed | Reason::TcpClosed | Reason::QuicFailed => Reason::UpstreamConnectionTerminated,
        reason if reason.is_a_refused_certificate() => Reason::UpstreamTlsCertificateError,
        reason if reason.family() == ReasonFamily::Tls => Reason::UpstreamTlsProtocolError,
        Reason::HttpTimedOutMidBody => Reason::UpstreamConnectionReadTimeout,
        Reason::HttpClosedMidBody | Reason::TcpReset if answered && stalled => Reason::UpstreamConnectionReadTimeout,
        Reason::HttpClosedMidBody => Reason::UpstreamHttpResponseIncomplete,
        Reason::TcpReset if answered => Reason::UpstreamHttpResponseIncomplete,
        Reason::TcpReset | Reason::HttpClosedBeforeResponse => Reason::UpstreamConnectionTerminated,
        Reason::HttpTimedOutWaiting | Reason::TcpNoResponse => Reason::UpstreamHttpResponseTimeout,
        Reason::HttpResponseHeaderTooLarge => Reason::UpstreamHttpResponseHeaderSectionSize,
        Reason::HttpResponseBadCoding => Reason::UpstreamHttpResponseContentCoding,
        Reason::HttpResponseTooLarge => Reason::UpstreamHttpResponseBodySize,
        Reason::HttpResponseInvalid if answered => Reason::UpstreamHttpResponseTransferCoding,
        Reason::HttpResponseInvalid => Reason::UpstreamHttpProtocolError,
        _ => Reason::UpstreamFailed,
    }
}

/// A report's response, if its status was rejected.
pub(super) fn refused(report: &Report) -> Option<&Reply> {
    let refused = report
        .fault
        .as_ref()
        .is_some_and(|fault| fault.reason.is_a_rejected_status());
    report.final_reply().filter(|_| refused)
}

/// Looks up the response of an exchange in the catalogue.
pub(super) fn with_answer<T>(exchange: &Exchange, look: impl FnOnce(&ObservedResponse<'_>) -> Option<T>) -> Option<T> {
    let reply = exchange.reply.as_ref()?;
    let body: Cow<'_, str> = String::from_utf8_lossy(&reply.body_start);
    look(&ObservedResponse {
        status: reply.status,
        phrase: reply.reason_phrase.as_deref(),
        headers: &reply.headers,
        trailers: &reply.trailers,
        body: &body,
        waited: exchange.waited(),
    })
}
