//! The facts of one probe, without a verdict.

mod builder;
mod http_deviation;
mod protocols;
mod tls_facts;
mod tls_inspection;

pub use builder::{AnsweredReport, ReportBuilder};
pub use http_deviation::{Deviation, DeviationFound, Deviations};
pub use protocols::{Dialogue, DnsAnswer, Echo, FailedStep, Health, Mismatch, ProtocolFacts};
pub use tls_facts::{Certificate, TlsFacts};
pub use tls_inspection::TlsInspection;

use crate::chain::Stage;
use crate::reason::{Reason, ReasonFamily};
use crate::stage_log::{StageLog, StageTiming};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime};

/// Facts of one probe of one target.
#[derive(Clone, Debug)]
pub struct Report {
    /// Wall-clock start time, for display and evidence only.
    pub began: SystemTime,
    /// Duration from the start to the end of the edge's response.
    pub took: Duration,
    /// Maximum duration of the probe.
    pub timeout: Duration,
    /// Exchanges in time order.
    pub exchanges: Vec<Exchange>,
    /// Failure that stopped the probe; `None` if it succeeded.
    pub fault: Option<Fault>,
}

/// One exchange. Each redirect is a separate exchange.
#[derive(Clone, Debug, Default)]
pub struct Exchange {
    /// Requested URL, without userinfo and query.
    pub url: String,
    /// Request method, if there is one.
    pub method: Option<String>,
    /// Name sent as `Host` or `:authority`, if a request was sent.
    pub authority: Option<String>,
    /// Name sent and verified in TLS.
    pub tls_name: Option<String>,
    /// Whether this exchange uses TLS.
    pub wants_tls: bool,
    /// Timings of the stages that were reached.
    pub stage_log: StageLog,
    /// Addresses to which the name resolved.
    pub addresses: Vec<IpAddr>,
    /// Chosen address.
    pub chosen: Option<IpAddr>,
    /// Proxy of the exchange.
    pub proxy: Option<String>,
    /// Whether a proxy opens the connection to the target; set before the proxy receives a request.
    pub has_proxy: bool,
    /// Whether the exchange fetches credentials from a server other than the target.
    pub for_credentials: bool,
    /// What the request had besides its line and the fields that any client sends.
    pub parts: RequestParts,
    /// Remote address of the connection attempt, even if the attempt failed.
    pub peer: Option<SocketAddr>,
    /// Local address of the connection.
    pub local: Option<SocketAddr>,
    /// Facts of the TLS handshake, even if the certificate was rejected.
    pub tls: Option<TlsFacts>,
    /// Results of additional connections to a server that refused a handshake.
    pub inspection: Option<Box<TlsInspection>>,
    /// Final state of the socket, as the kernel reports it.
    pub socket: Option<SocketFacts>,
    /// Bytes transferred on the socket.
    pub wire: WireFacts,
    /// The response: its header, and facts about the body.
    pub reply: Option<Reply>,
    /// Deviations of the response from HTTP, including one that prevented parsing.
    pub deviations: Deviations,
    /// Facts of a protocol other than HTTP, or of one on top of HTTP.
    pub spoken: Option<ProtocolFacts>,
}

/// What a request had besides its line and the fields that any client sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestParts {
    /// Header fields of the module. A request to another origin or to a backend that the module does not name has none.
    pub module_fields: bool,
    /// A body.
    pub body: bool,
}

/// Why a probe failed: stage, reason and details.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Stage in which the fault appeared. A failed assertion is attributed to the response's last stage.
    pub stage: Stage,
    /// Reason of the failure.
    pub reason: Reason,
    /// Details, for display.
    pub detail: String,
    /// Whether the probe's deadline ended the stage, so that its measured duration is only a lower bound.
    pub at_deadline: bool,
}

/// The kernel's view of the probe's own socket (`TCP_INFO`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketFacts {
    /// The smoothed round-trip time, if one was measured.
    pub rtt: Option<Duration>,
    /// Number of retransmitted segments.
    pub retransmits: u32,
}

/// Bytes transferred on the socket, below TLS, and the first bytes received.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WireFacts {
    /// Bytes written to the socket.
    pub written: u64,
    /// Bytes read from the socket.
    pub read: u64,
    /// First bytes received, above TLS if it is used.
    pub excerpt: Vec<u8>,
    /// Length of the headers in `excerpt`, up to the end of the final response's header and including interim
    /// responses; HTTP/1 only.
    pub heads: Option<usize>,
    /// Times at which bytes crossed the socket.
    pub below_tls: IoTimes,
    /// Times at which bytes of the request and the response crossed, above TLS if it is used.
    pub above_tls: IoTimes,
    /// Clock of the phases, and the exporter's scheduling delay.
    pub clocks: ClockSources,
}

/// Clock that determined the time of an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClockSource {
    /// The kernel's clock: time of arrival.
    Kernel,
    /// The exporter's clock: time at which it handled the event.
    #[default]
    Exporter,
}

/// Clocks of one exchange.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClockSources {
    /// Completion of the connection.
    pub connected: ClockSource,
    /// Flights of the TLS handshake.
    pub secured: ClockSource,
    /// First byte of the response.
    pub first_byte: ClockSource,
    /// Maximum error of the first byte's time, which may be too late. The exporter read late, and the kernel had
    /// merged several packets, so the timestamp is that of the last packet. `None` if the time is exact.
    pub first_byte_doubt: Option<Duration>,
    /// Last byte of the response.
    pub last_byte: ClockSource,
    /// Longest delay between an event on the wire, according to the kernel's clock, and its handling.
    pub wakeup_delay: Option<Duration>,
    /// Time by which such delays prolonged the exchange.
    pub scheduling_delay: Duration,
}

/// Times of the first and last bytes written and read, relative to the start of the probe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IoTimes {
    /// The first write.
    pub first_write: Option<Duration>,
    /// The last write.
    pub last_write: Option<Duration>,
    /// The first read that returned bytes.
    pub first_read: Option<Duration>,
    /// The last read, including the end of the stream.
    pub last_read: Option<Duration>,
    /// The last read that returned bytes.
    pub last_bytes: Option<Duration>,
}

/// A response.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// HTTP version: `HTTP/1.1`, `HTTP/2.0`, …
    pub version: &'static str,
    /// Header fields as received.
    pub headers: http::HeaderMap,
    /// Size of the header fields in HTTP/1.1 format, in bytes.
    pub head_size: usize,
    /// Trailer fields (RFC 9110 section 6.5), for the attribution only.
    pub trailers: http::HeaderMap,
    /// Reason phrase, if it differs from the standard one.
    pub reason_phrase: Option<String>,
    /// Body length stated in the header, or 0 without a body; `None` if the end of the body determines it.
    pub declared_length: Option<u64>,
    /// Bytes of the body that were read, decoded if the module decodes them.
    pub body_length: u64,
    /// Whether more bytes arrived than `Content-Length` declares.
    pub overrun: bool,
    /// Start of the body of a rejected response, for the attribution only. The evidence does not contain it.
    pub body_start: Vec<u8>,
}

impl Report {
    /// All stage timings of all exchanges, in time order.
    pub fn timings(&self) -> impl Iterator<Item = &StageTiming> {
        self.exchanges.iter().flat_map(|exchange| exchange.stage_log.timings())
    }

    /// The stages of all exchanges, in time order; without a duration if the stage failed or its time is unknown.
    pub fn known_times(&self) -> impl Iterator<Item = (Stage, Option<Duration>)> {
        self.exchanges.iter().flat_map(|exchange| {
            exchange.stage_log.timings().iter().map(|timing| {
                let known = timing.finished() && exchange.is_time_known(timing.stage());
                (timing.stage(), known.then(|| timing.took()))
            })
        })
    }

    /// Whether the probe met its module's requirements.
    #[must_use]
    pub const fn succeeded(&self) -> bool {
        self.fault.is_none()
    }

    /// Exchanges with the target, without those for credentials.
    pub fn with_target(&self) -> impl Iterator<Item = &Exchange> {
        self.exchanges.iter().filter(|exchange| !exchange.for_credentials)
    }

    /// Whether the probe stopped before the target received a request, because it had no credentials.
    #[must_use]
    pub fn failed_fetching_credentials(&self) -> bool {
        self.fault.is_some() && self.last_exchange().is_some_and(|exchange| exchange.for_credentials)
    }

    /// Whether the probe stopped at the module's own proxy, before a tunnel was open.
    #[must_use]
    pub fn failed_at_proxy(&self) -> bool {
        let Some(fault) = &self.fault else { return false };
        // TLS before the tunnel is open is TLS with the proxy.
        let on_the_way = |exchange: &Exchange| {
            exchange.proxy.is_some() && !exchange.finished(Stage::Tunnel) && fault.stage <= Stage::Secure
        };
        // The proxy attempted to reach the target and failed.
        if fault.reason == Reason::ProxyTargetUnreachable {
            return false;
        }
        fault.reason.family() == ReasonFamily::Proxy || self.last_exchange().is_some_and(on_the_way)
    }

    /// Whether the failure is local to the exporter and implies nothing about the target.
    #[must_use]
    pub fn failed_locally(&self) -> bool {
        let local = self
            .fault
            .as_ref()
            .is_some_and(|fault| fault.reason.family() == ReasonFamily::Local);
        local || self.failed_fetching_credentials() || self.failed_at_proxy()
    }

    /// The last exchange, which determines the result.
    #[must_use]
    pub fn last_exchange(&self) -> Option<&Exchange> {
        self.exchanges.last()
    }

    /// The response of the last exchange, which determines the result.
    #[must_use]
    pub fn final_reply(&self) -> Option<&Reply> {
        let last = self.last_exchange().filter(|exchange| !exchange.for_credentials);
        last.and_then(|exchange| exchange.reply.as_ref())
    }

    /// Longest delay between an event on the wire, according to the kernel's clock, and its handling.
    #[must_use]
    pub fn wakeup_delay(&self) -> Option<Duration> {
        self.exchanges
            .iter()
            .filter_map(|exchange| exchange.wire.clocks.wakeup_delay)
            .max()
    }

    /// Time by which the exporter's delays prolonged the probe.
    #[must_use]
    pub fn scheduling_delay(&self) -> Duration {
        self.exchanges
            .iter()
            .map(|exchange| exchange.wire.clocks.scheduling_delay)
            .sum()
    }

    /// Time that belongs to no stage.
    #[must_use]
    pub fn unattributed(&self) -> Duration {
        self.took
            .saturating_sub(self.timings().map(StageTiming::took).sum::<Duration>())
    }
}

impl Exchange {
    /// The dialogue, if there was one.
    #[must_use]
    pub const fn dialogue(&self) -> Option<&Dialogue> {
        match &self.spoken {
            Some(ProtocolFacts::Dialogue(dialogue)) => Some(dialogue),
            _ => None,
        }
    }

    /// Whether the response used HTTP/2. A malformed HTTP/1 status line may also claim this version.
    #[must_use]
    pub fn speaks_http2(&self) -> bool {
        let version = self.reply.as_ref().map(|reply| reply.version);
        version == Some("HTTP/2.0") && !self.deviations.has(Deviation::Version)
    }

    /// Whether a proxy received a request to forward, rather than to open a tunnel.
    #[must_use]
    pub fn is_relayed(&self) -> bool {
        self.proxy.is_some() && !self.wants_tls && !self.reached(Stage::Tunnel)
    }

    /// Whether a stage was reached.
    #[must_use]
    pub fn reached(&self, stage: Stage) -> bool {
        self.stage_log.timings().iter().any(|timing| timing.stage() == stage)
    }

    /// Whether a stage was reached and finished.
    #[must_use]
    pub fn finished(&self, stage: Stage) -> bool {
        self.stage_log
            .timings()
            .iter()
            .any(|timing| timing.stage() == stage && timing.finished())
    }

    /// Whether the duration of a stage is known. If the time of the first byte is inexact, only the sum of the wait and
    /// the transfer is known.
    #[must_use]
    pub fn is_time_known(&self, stage: Stage) -> bool {
        self.wire.clocks.first_byte_doubt.is_none() || !matches!(stage, Stage::Wait | Stage::Receive)
    }

    /// Time to the first response byte, without the network round trip.
    #[must_use]
    pub fn waited(&self) -> Duration {
        let rtt = self.socket.and_then(|socket| socket.rtt).unwrap_or_default();
        self.time_in(Stage::Wait).saturating_sub(rtt)
    }

    /// Duration of the silence at the end of the exchange.
    #[must_use]
    pub fn silent_at_end(&self) -> Duration {
        let ended = self
            .stage_log
            .timings()
            .last()
            .map_or(Duration::ZERO, |timing| timing.begun() + timing.took());
        let heard = self.wire.above_tls.last_bytes.unwrap_or(ended);
        ended.saturating_sub(heard)
    }

    /// Total time of a stage.
    #[must_use]
    pub fn time_in(&self, stage: Stage) -> Duration {
        self.stage_log
            .timings()
            .iter()
            .filter(|timing| timing.stage() == stage)
            .map(StageTiming::took)
            .sum()
    }
}
