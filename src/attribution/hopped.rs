//! How each machine behind the front did when it was asked directly.

use super::looks;
use crate::chain::Stage;
use crate::gateways::{Answer, Recognised, recognise};
use crate::investigation::Drilled;
use crate::reason::Reason;
use crate::report::{Leg, Reply, Report};
use std::borrow::Cow;
use std::time::Duration;

/// One hop, and how it did.
pub(super) struct Hopped<'a> {
    pub drilled: &'a Drilled,
    pub state: State,
    pub recognised: Option<Recognised>,
}

/// How a machine behind the front did when it was asked directly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It did what the module demands.
    Healthy,
    /// It did, but slower than the module allows.
    Slow,
    /// It answered with a status or a content that the module refuses.
    Refuses,
    /// It refused with a status that strangers get: that says nothing of what it answers its gateway.
    Stranger,
    /// It gave no answer, or a broken one: what the gateway sees of it.
    Broken(Reason),
    /// Nothing can be said: no route, no name, or silence where silence may be a firewall's.
    Unknown,
}

impl<'a> Hopped<'a> {
    pub fn new(drilled: &'a Drilled, front: &Report) -> Self {
        let leg = drilled.report.last_leg();
        Self {
            drilled,
            state: state(drilled, front),
            recognised: refused(&drilled.report).and_then(|_| with_answer(leg?, recognise)),
        }
    }
}

fn state(drilled: &Drilled, front: &Report) -> State {
    let report = &drilled.report;
    let Some(fault) = &report.fault else {
        // A hop that redirects elsewhere did its part; what the front met after its redirects is another part.
        let redirects = report
            .final_reply()
            .is_some_and(|reply| (300..400).contains(&reply.status));
        return if redirects && front.with_target().count() > 1 {
            State::Unknown
        } else {
            State::Healthy
        };
    };
    let speaks_tls = drilled.handshake.as_ref().is_some_and(shook_hands);
    let says_tls = report.final_reply().is_some_and(looks::wants_tls);
    match fault.reason {
        reason if matches!(reason.family(), "local" | "dns") => State::Unknown,
        Reason::TcpTimedOut | Reason::TcpAddressUnreachable if !drilled.reachable => State::Unknown,
        _ if speaks_tls || says_tls => State::Broken(Reason::UpstreamTlsExpected),
        Reason::HttpSlow => State::Slow,
        // Fields of the module were held back: the machine may be right to refuse, or to answer something else.
        Reason::HttpStatus | Reason::HttpResponseRedirectLoop | Reason::HttpResponseBadRedirect
            if drilled.held_back =>
        {
            State::Unknown
        }
        reason if reason.family() == "content" && drilled.held_back => State::Unknown,
        Reason::HttpStatus if report.final_reply().is_some_and(looks::is_for_strangers) => State::Stranger,
        Reason::HttpStatus | Reason::HttpResponseRedirectLoop | Reason::HttpResponseBadRedirect => State::Refuses,
        reason if reason.family() == "content" => State::Refuses,
        _ => State::Broken(as_upstream(report)),
    }
}

impl Hopped<'_> {
    /// How long its first byte was waited for.
    pub fn waited(&self) -> Duration {
        self.drilled.report.last_leg().map_or(Duration::ZERO, Leg::waited)
    }

    /// Bytes of its answer's head.
    pub fn head_size(&self) -> usize {
        self.drilled.report.final_reply().map_or(0, |reply| reply.head_size)
    }

    /// How long its whole answer took.
    pub fn answered_after(&self) -> Duration {
        self.drilled.report.took
    }

    /// Whether it gave no sign at all.
    pub fn is_silent(&self) -> bool {
        let fault = self.drilled.report.fault.as_ref();
        fault.is_some_and(|fault| fault.reason == Reason::TcpTimedOut)
    }
}

/// Whether a handshake shows that TLS is spoken, though perhaps not to our liking.
pub(super) fn shook_hands(report: &Report) -> bool {
    let showed = report.last_leg().is_some_and(|leg| leg.tls.is_some());
    let refused = report.fault.as_ref().is_some_and(|fault| {
        matches!(
            fault.reason,
            Reason::TlsAlert | Reason::TlsClientCert | Reason::TlsVersionOrCipherMismatch
        )
    });
    showed || refused
}

/// RFC 9209's word for what we saw ourselves of a machine that a gateway asks too.
pub(super) fn as_upstream(report: &Report) -> Reason {
    let Some(fault) = &report.fault else {
        return Reason::UpstreamFailed;
    };
    let answered = report.final_reply().is_some();
    let stalled = report
        .last_leg()
        .is_some_and(|leg| leg.silent_at_end() >= looks::STALLED);
    match fault.reason {
        Reason::TcpRefused => Reason::UpstreamConnectionRefused,
        Reason::TcpTimedOut => Reason::UpstreamConnectionTimeout,
        Reason::TcpAddressUnreachable => Reason::UpstreamDestinationIpUnroutable,
        Reason::TlsVersionOrCipherMismatch | Reason::TlsAlert | Reason::TlsClientCert => {
            Reason::UpstreamTlsAlertReceived
        }
        // A machine that waits for plain text is silent, too, where TLS is spoken to it.
        Reason::TcpSilent if fault.stage == Stage::Secure => Reason::UpstreamTlsProtocolError,
        Reason::TlsClosed | Reason::TcpClosed | Reason::QuicFailed => Reason::UpstreamConnectionTerminated,
        reason if reason.as_str().starts_with("tls.cert") => Reason::UpstreamTlsCertificateError,
        reason if reason.family() == "tls" => Reason::UpstreamTlsProtocolError,
        Reason::HttpTimedOutMidBody => Reason::UpstreamConnectionReadTimeout,
        Reason::HttpClosedMidBody | Reason::TcpReset if answered && stalled => Reason::UpstreamConnectionReadTimeout,
        Reason::HttpClosedMidBody => Reason::UpstreamHttpResponseIncomplete,
        Reason::TcpReset if answered => Reason::UpstreamHttpResponseIncomplete,
        Reason::TcpReset | Reason::HttpClosedBeforeResponse => Reason::UpstreamConnectionTerminated,
        Reason::HttpTimedOutWaiting | Reason::TcpSilent => Reason::UpstreamHttpResponseTimeout,
        Reason::HttpResponseHeaderTooLarge => Reason::UpstreamHttpResponseHeaderSectionSize,
        Reason::HttpResponseBadCoding => Reason::UpstreamHttpResponseContentCoding,
        Reason::HttpResponseTooLarge => Reason::UpstreamHttpResponseBodySize,
        Reason::HttpResponseInvalid if answered => Reason::UpstreamHttpResponseTransferCoding,
        Reason::HttpResponseInvalid => Reason::UpstreamHttpProtocolError,
        _ => Reason::UpstreamFailed,
    }
}

/// The answer of a report whose status was refused.
pub(super) fn refused(report: &Report) -> Option<&Reply> {
    let refused = report
        .fault
        .as_ref()
        .is_some_and(|fault| fault.reason == Reason::HttpStatus);
    report.final_reply().filter(|_| refused)
}

/// Looks at the answer of a leg as the catalogue does.
pub(super) fn with_answer<T>(leg: &Leg, look: impl FnOnce(&Answer<'_>) -> Option<T>) -> Option<T> {
    let reply = leg.reply.as_ref()?;
    let body: Cow<'_, str> = String::from_utf8_lossy(&reply.body_start);
    look(&Answer {
        status: reply.status,
        phrase: reply.reason_phrase.as_deref(),
        headers: &reply.headers,
        trailers: &reply.trailers,
        body: &body,
        waited: leg.waited(),
    })
}
