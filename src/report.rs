//! What one probe saw: facts only, no judgment.

mod deviation;
mod inspection;
mod masking;
mod protocols;

pub use deviation::{Deviation, DeviationFound, Deviations};
pub use inspection::TlsInspection;
pub use protocols::{Dialogue, DnsAnswer, Echo, FailedStep, Health, Mismatch, ProtocolFacts};

use crate::chain::Stage;
use crate::reason::{Reason, ReasonFamily};
use crate::stage_log::{StageLog, StageTiming};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime};

/// Everything one probe of one target saw.
#[derive(Clone, Debug)]
pub struct Report {
    /// The wall clock when it began, for people and for the evidence only.
    pub began: SystemTime,
    /// From its begin to the end of the edge's answer.
    pub took: Duration,
    /// The time it was given.
    pub timeout: Duration,
    /// One exchange each, in time order.
    pub exchanges: Vec<Exchange>,
    /// What stopped it; `None` for a successful probe.
    pub fault: Option<Fault>,
}

/// One exchange: each redirect is one.
#[derive(Clone, Debug, Default)]
pub struct Exchange {
    /// What was asked for, without userinfo and query.
    pub url: String,
    /// The method of the request, where it has one.
    pub method: Option<String>,
    /// The name that was sent as `Host` or `:authority`, where there was a request.
    pub authority: Option<String>,
    /// The name that was sent and verified in TLS.
    pub tls_name: Option<String>,
    /// Whether this exchange was to run over TLS.
    pub wants_tls: bool,
    /// The laps of the stages that were reached.
    pub stage_log: StageLog,
    /// What the name resolved to.
    pub addresses: Vec<IpAddr>,
    /// The one of them that was chosen.
    pub chosen: Option<IpAddr>,
    /// The proxy that the exchange went through.
    pub proxy: Option<String>,
    /// Whether a proxy is to dial, also before it is asked.
    pub has_proxy: bool,
    /// Whether it was to get credentials, from another server than the target.
    pub for_credentials: bool,
    /// The address that was dialled; also when the connection then failed.
    pub peer: Option<SocketAddr>,
    /// Our end of the connection.
    pub local: Option<SocketAddr>,
    /// What TLS showed, also when the certificate was refused.
    pub tls: Option<TlsFacts>,
    /// What was found out about a server that had refused a handshake.
    pub inspection: Option<Box<TlsInspection>>,
    /// What the kernel knew of the socket at the end.
    pub socket: Option<SocketFacts>,
    /// Bytes that crossed the socket.
    pub wire: WireFacts,
    /// The answer's head, and what is known of its body.
    pub reply: Option<Reply>,
    /// How the answer deviates from HTTP; also one that could not be read for it.
    pub deviations: Deviations,
    /// What was answered in another language than HTTP, or above it.
    pub spoken: Option<ProtocolFacts>,
}

/// Why a probe failed: where in time, what, and in which words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The stage in which it showed; assertions on an answer show in its last stage.
    pub stage: Stage,
    /// What went wrong.
    pub reason: Reason,
    /// The particulars, for people.
    pub detail: String,
    /// Whether the probe's deadline fell into the stage: its true time is longer than what was measured.
    pub at_deadline: bool,
}

/// What a TLS handshake showed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFacts {
    /// `TLS 1.0` to `TLS 1.3`.
    pub version: Option<&'static str>,
    /// The IANA name of the cipher suite.
    pub cipher: Option<String>,
    /// The protocol agreed by ALPN.
    pub alpn: Option<String>,
    /// The peer asked for a client certificate.
    pub client_cert_asked: bool,
    /// The certificates as the peer sent them, leaf first.
    pub chain: Vec<Certificate>,
    /// The end of the verified chain, as seconds since 1970; `None` where no chain was verified.
    pub verified_until: Option<i64>,
    /// What was accepted without a proof, in words, such as `handshake signature not verified: RSA key of 512 bits`.
    pub note: Option<String>,
}

/// The fields of a certificate that people look at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Certificate {
    /// RFC 2253 order, as the peer prints it.
    pub subject: String,
    /// RFC 2253 order, as the peer prints it.
    pub issuer: String,
    /// Lower-case hex.
    pub serial: String,
    /// Lower-case hex of the SHA-256 of the DER.
    pub fingerprint_sha256: String,
    /// The DNS names it is for.
    pub dns_names: Vec<String>,
    /// Seconds since 1970.
    pub not_before: i64,
    /// Seconds since 1970.
    pub not_after: i64,
}

/// The kernel's view of the probe's own socket (`TCP_INFO`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketFacts {
    /// The smoothed round-trip time, if one was measured.
    pub rtt: Option<Duration>,
    /// Segments that had to be sent again.
    pub retransmits: u32,
}

/// Bytes that crossed the socket, below TLS, and the first of those that came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WireFacts {
    /// Bytes written to the socket.
    pub written: u64,
    /// Bytes read from the socket.
    pub read: u64,
    /// The first bytes that came, above TLS where there was TLS.
    pub excerpt: Vec<u8>,
    /// Bytes of these up to the end of the head of the final answer, interim ones among them; HTTP/1 only.
    pub heads: Option<usize>,
    /// When bytes crossed the socket.
    pub below_tls: IoTimes,
    /// When bytes of the request and of the answer crossed, above TLS where there was TLS.
    pub above_tls: IoTimes,
    /// Whose clock the phases were taken by, and how late we came to what it saw.
    pub clocks: ClockSources,
}

/// Whose clock told when something happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClockSource {
    /// The kernel's: when it came.
    Kernel,
    /// Ours: when we got to it.
    #[default]
    Exporter,
}

/// The clocks of one exchange.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClockSources {
    /// That the connection was open.
    pub connected: ClockSource,
    /// The flights of the TLS handshake.
    pub secured: ClockSource,
    /// The first byte of the answer.
    pub first_byte: ClockSource,
    /// How much earlier it may have come. The exporter was late, and the kernel had merged several packets: the timestamp is that of
    /// the last of them. `None` where the time is right.
    pub first_byte_doubt: Option<Duration>,
    /// The last byte of the answer.
    pub last_byte: ClockSource,
    /// The longest time from an event on the wire, by the kernel's clock, to our turn.
    pub wakeup_delay: Option<Duration>,
    /// How much longer the exchange took because we came late to such events.
    pub scheduling_delay: Duration,
}

/// When the first and the last bytes were written and read, counted from the start of the probe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IoTimes {
    /// The first write.
    pub first_write: Option<Duration>,
    /// The last write.
    pub last_write: Option<Duration>,
    /// The first read that brought bytes.
    pub first_read: Option<Duration>,
    /// The last read; the end of the stream counts.
    pub last_read: Option<Duration>,
    /// The last read that brought bytes.
    pub last_bytes: Option<Duration>,
}

/// An answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// `HTTP/1.1`, `HTTP/2.0`, …
    pub version: &'static str,
    /// The header fields as they came.
    pub headers: http::HeaderMap,
    /// Bytes of the header fields as HTTP/1.1 writes them.
    pub head_size: usize,
    /// The trailer fields (RFC 9110 section 6.5), for the judgment alone.
    pub trailers: http::HeaderMap,
    /// The reason phrase, if it is not the usual one.
    pub reason_phrase: Option<String>,
    /// The length as the head tells it: `Content-Length`, or 0 where there can be no body; `None` where only the end of the body
    /// tells.
    pub declared_length: Option<u64>,
    /// Bytes of body that were read, decoded where the module decodes.
    pub body_length: u64,
    /// More bytes came than the answer's `Content-Length` says.
    pub overrun: bool,
    /// The begin of the body of a refused answer, for the judgment alone: it is not kept as evidence.
    pub body_start: Vec<u8>,
}

impl Report {
    /// All laps of all legs, in time order.
    pub fn timings(&self) -> impl Iterator<Item = &StageTiming> {
        self.exchanges.iter().flat_map(|exchange| exchange.stage_log.timings())
    }

    /// The stages of all legs, in time order, with the time of each: none where the stage failed, or its time is not known on its own.
    pub fn known_times(&self) -> impl Iterator<Item = (Stage, Option<Duration>)> {
        self.exchanges.iter().flat_map(|exchange| {
            exchange.stage_log.timings().iter().map(|timing| {
                let known = timing.finished() && exchange.is_time_known(timing.stage());
                (timing.stage(), known.then(|| timing.took()))
            })
        })
    }

    /// Whether the probe did what its module demands.
    #[must_use]
    pub const fn succeeded(&self) -> bool {
        self.fault.is_none()
    }

    /// The exchanges with the target: all but those for credentials.
    pub fn with_target(&self) -> impl Iterator<Item = &Exchange> {
        self.exchanges.iter().filter(|exchange| !exchange.for_credentials)
    }

    /// Whether it stopped before the target was asked, for want of credentials.
    #[must_use]
    pub fn failed_fetching_credentials(&self) -> bool {
        self.fault.is_some() && self.last_exchange().is_some_and(|exchange| exchange.for_credentials)
    }

    /// Whether it stopped at the module's own proxy, before there was a way through.
    #[must_use]
    pub fn failed_at_proxy(&self) -> bool {
        let Some(fault) = &self.fault else { return false };
        // TLS before there is a way through is TLS with the proxy.
        let on_the_way = |exchange: &Exchange| {
            exchange.proxy.is_some() && !exchange.finished(Stage::Tunnel) && fault.stage <= Stage::Secure
        };
        // It was the proxy that looked for a way, and found none.
        if fault.reason == Reason::ProxyTargetUnreachable {
            return false;
        }
        fault.reason.family() == ReasonFamily::Proxy || self.last_exchange().is_some_and(on_the_way)
    }

    /// Whether it stopped on our own side: it says nothing of who was to be asked.
    #[must_use]
    pub fn failed_locally(&self) -> bool {
        let local = self
            .fault
            .as_ref()
            .is_some_and(|fault| fault.reason.family() == ReasonFamily::Local);
        local || self.failed_fetching_credentials() || self.failed_at_proxy()
    }

    /// The exchange that decides: the last.
    #[must_use]
    pub fn last_exchange(&self) -> Option<&Exchange> {
        self.exchanges.last()
    }

    /// The answer that decides: that of the last exchange.
    #[must_use]
    pub fn final_reply(&self) -> Option<&Reply> {
        let last = self.last_exchange().filter(|exchange| !exchange.for_credentials);
        last.and_then(|exchange| exchange.reply.as_ref())
    }

    /// The longest time from an event on the wire, by the kernel's clock, to our turn.
    #[must_use]
    pub fn wakeup_delay(&self) -> Option<Duration> {
        self.exchanges
            .iter()
            .filter_map(|exchange| exchange.wire.clocks.wakeup_delay)
            .max()
    }

    /// How much longer the probe took because we came late to events on the wire.
    #[must_use]
    pub fn scheduling_delay(&self) -> Duration {
        self.exchanges
            .iter()
            .map(|exchange| exchange.wire.clocks.scheduling_delay)
            .sum()
    }

    /// The time that no lap accounts for.
    #[must_use]
    pub fn unattributed(&self) -> Duration {
        self.took
            .saturating_sub(self.timings().map(StageTiming::took).sum::<Duration>())
    }
}

impl Exchange {
    /// The dialogue that was held, where there was one.
    #[must_use]
    pub const fn dialogue(&self) -> Option<&Dialogue> {
        match &self.spoken {
            Some(ProtocolFacts::Dialogue(dialogue)) => Some(dialogue),
            _ => None,
        }
    }

    /// Whether the answer came over HTTP/2; a status line of HTTP/1 may have that number, too.
    #[must_use]
    pub fn speaks_http2(&self) -> bool {
        let version = self.reply.as_ref().map(|reply| reply.version);
        version == Some("HTTP/2.0") && !self.deviations.has(Deviation::Version)
    }

    /// Whether a proxy was asked to pass a request on, rather than to open a tunnel.
    #[must_use]
    pub fn is_relayed(&self) -> bool {
        self.proxy.is_some() && !self.wants_tls && !self.reached(Stage::Tunnel)
    }

    /// Whether a stage was reached.
    #[must_use]
    pub fn reached(&self, stage: Stage) -> bool {
        self.stage_log.timings().iter().any(|timing| timing.stage() == stage)
    }

    /// Whether a stage was reached and ran to its end.
    #[must_use]
    pub fn finished(&self, stage: Stage) -> bool {
        self.stage_log
            .timings()
            .iter()
            .any(|timing| timing.stage() == stage && timing.finished())
    }

    /// Whether a stage's time is known on its own: not that of the wait and of the transfer where it is unknown when the first byte
    /// came. Their sum is known all the same.
    #[must_use]
    pub fn is_time_known(&self, stage: Stage) -> bool {
        self.wire.clocks.first_byte_doubt.is_none() || !matches!(stage, Stage::Wait | Stage::Receive)
    }

    /// How long the answer's first byte was waited for, without the network's part of it.
    #[must_use]
    pub fn waited(&self) -> Duration {
        let rtt = self.socket.and_then(|socket| socket.rtt).unwrap_or_default();
        self.time_in(Stage::Wait).saturating_sub(rtt)
    }

    /// How long nothing had come when the leg ended.
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

    /// The time of all laps of a stage.
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
