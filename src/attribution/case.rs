//! What the rules look at: the failing exchange, what the catalogue says of its answer, and the hops behind it.

use super::Facts;
use super::looks;
use crate::chain::Stage;
use crate::gateways::{Answer, Means, Own, Recognised, nearest, recognise};
use crate::investigation::Drilled;
use crate::reason::Reason;
use crate::report::{Fault, Leg, Reply, Report};
use std::borrow::Cow;
use std::net::IpAddr;
use std::time::Duration;
use url::{Host, Url};

/// One report to judge, beside everything else that is known.
pub(super) struct Case<'a> {
    pub facts: &'a Facts<'a>,
    pub report: &'a Report,
    /// What the catalogue says of the answer whose status was refused.
    pub recognised: Option<Recognised>,
    /// The hops, inward.
    pub hops: Vec<Hopped<'a>>,
    /// The edge refused what every gateway refuses by itself: it lives, whatever became of the real request.
    pub edge_lives: bool,
}

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

impl<'a> Case<'a> {
    pub fn new(facts: &'a Facts<'a>, report: &'a Report) -> Self {
        let reference = facts.beside.and_then(|beside| beside.reference.as_ref());
        let refusal = reference.and_then(refusal_of).map(|refusal| refusal.status);
        let refusal = refusal.or(facts.baseline.refuses_with);
        let reply = report.final_reply();
        let edge_lives = refusal.is_some_and(|refusal| reply.is_none_or(|reply| reply.status != refusal));
        // Who says that the port wants TLS has a rule of its own.
        let page = || refused(report).filter(|reply| !looks::wants_tls(reply));
        let recognised = page().and_then(|_| with_answer(report.last_leg()?, recognise));
        let recognised = recognised.or_else(|| over_http1(facts, page()?));
        Self {
            facts,
            report,
            recognised,
            hops: facts.hops().map(|drilled| Hopped::new(drilled, report)).collect(),
            edge_lives,
        }
    }

    /// The gateway that stands there, by this answer, by its answer to the reference request, or by what was seen before.
    pub fn gateway(&self) -> Option<&'static str> {
        let seen = self.report.last_leg().and_then(|leg| with_answer(leg, nearest));
        let reference = self.facts.beside.and_then(|beside| beside.reference.as_ref());
        let by_reference = || {
            let leg = reference.filter(|_| self.edge_lives)?.last_leg()?;
            with_answer(leg, |answer| match recognise(answer) {
                Some(Recognised::Own(own)) => Some(own.by),
                _ => nearest(answer),
            })
        };
        seen.or_else(by_reference).or_else(|| self.facts.baseline.product())
    }

    pub fn fault(&self) -> Option<&'a Fault> {
        self.report.fault.as_ref()
    }

    /// Whether the target names an address: no name service was asked for it.
    pub fn target_is_an_address(&self) -> bool {
        let first = self.facts.front.with_target().next();
        let url = first.and_then(|leg| Url::parse(&leg.url).ok());
        // Of schemes that it does not know, the library takes every host for a name.
        url.is_some_and(|url| match url.host() {
            Some(Host::Domain(name)) => name.parse::<IpAddr>().is_ok(),
            _ => true,
        })
    }

    pub fn stage(&self, stage: Stage) -> bool {
        self.fault().is_some_and(|fault| fault.stage == stage)
    }

    pub fn reason(&self, reason: Reason) -> bool {
        self.fault().is_some_and(|fault| fault.reason == reason)
    }

    pub fn family(&self, family: &str) -> bool {
        self.fault().is_some_and(|fault| fault.reason.family() == family)
    }

    /// The answer whose status was refused.
    pub fn refused(&self) -> Option<&'a Reply> {
        refused(self.report)
    }

    /// Whether the connection was closed, reset or left silent where TLS was to begin, before any of it came.
    pub fn ended_before_tls(&self) -> bool {
        self.stage(Stage::Secure) && (self.family("tcp") || self.family("quic"))
    }

    /// Whether the answer says that a client certificate is missing or not accepted, after a handshake that asked for one.
    pub fn demands_client_cert(&self) -> bool {
        let tls = self.report.last_leg().and_then(|leg| leg.tls.as_ref());
        tls.is_some_and(|tls| tls.client_cert_asked) && self.refused().is_some_and(looks::demands_client_cert)
    }

    /// Whether the answer broke off, was no HTTP, or did not come.
    pub fn broke(&self) -> bool {
        let exchange = self.stage(Stage::Send) || self.stage(Stage::Wait) || self.stage(Stage::Receive);
        let spoiled = ["http", "tcp", "quic", "websocket"]
            .iter()
            .any(|family| self.family(family))
            || self.reason(Reason::GrpcInvalid)
            || self.reason(Reason::DnsMalformed);
        (exchange && spoiled && !self.reason(Reason::HttpStatus)) || self.ended_before_tls()
    }

    pub fn waited(&self) -> Duration {
        self.report.last_leg().map_or(Duration::ZERO, Leg::waited)
    }

    /// The first hop, where it is healthy: the front and it disagree.
    pub fn next_is_healthy(&self) -> Option<&Hopped<'a>> {
        self.hops.first().filter(|hop| hop.state == State::Healthy)
    }

    /// The hop that bounds the fault: the last one, going inward, that fails before one that is healthy; and whether one
    /// behind it is.
    pub fn innermost_failing(&self) -> Option<(&Hopped<'a>, bool)> {
        let healthy = self.hops.iter().position(|hop| hop.state == State::Healthy);
        let outer = &self.hops[..healthy.unwrap_or(self.hops.len())];
        let failing = |hop: &&Hopped<'_>| !matches!(hop.state, State::Unknown | State::Stranger);
        Some((outer.iter().rev().find(failing)?, healthy.is_some()))
    }

    /// Whether the answer has a field that good answers of this key always have and the gateway never writes.
    pub fn has_usual_marks(&self) -> bool {
        let marks = self.facts.baseline.through_marks().unwrap_or_default();
        let reply = self.refused();
        reply.is_some_and(|reply| marks.iter().any(|name| reply.headers.contains_key(*name)))
    }

    /// Whether the answer shows that it came from behind the front.
    pub fn came_through(&self) -> bool {
        matches!(self.recognised, Some(Recognised::Through(_))) || self.has_usual_marks()
    }

    /// The answer of the module's own proxy to a request that it was to pass on, if it may be its own.
    pub fn of_own_proxy(&self) -> Option<&'a Reply> {
        let leg = self.report.last_leg()?;
        let passes_on = leg.proxy.is_some() && !leg.wants_tls && !leg.reached(Stage::Tunnel);
        self.refused().filter(|_| passes_on && !leg.for_credentials)
    }

    /// The name or address that the request was for.
    pub fn host(&self) -> Option<String> {
        let url = Url::parse(&self.report.last_leg()?.url).ok()?;
        url.host_str().map(str::to_owned)
    }

    /// What the gateway saw of a broken exchange, told by what we saw. Some gateways give no answer at all where what
    /// they got broke off.
    pub fn as_upstream(&self) -> Vec<Reason> {
        match as_upstream(self.report) {
            Reason::UpstreamConnectionTerminated => vec![
                Reason::UpstreamConnectionTerminated,
                Reason::UpstreamHttpResponseIncomplete,
                Reason::UpstreamHttpResponseTransferCoding,
            ],
            // Who buffers answers passes the part on when its patience is over.
            Reason::UpstreamHttpResponseIncomplete if self.waited() >= looks::STALLED => vec![
                Reason::UpstreamConnectionReadTimeout,
                Reason::UpstreamHttpResponseIncomplete,
            ],
            one => vec![one],
        }
    }

    /// Whether the connection was closed without a byte of an answer.
    pub fn gave_nothing(&self) -> bool {
        let bytes = self.report.last_leg().map_or(0, |leg| leg.wire.excerpt.len());
        let closed = [
            Reason::HttpClosedBeforeResponse,
            Reason::TcpReset,
            Reason::TcpClosed,
            Reason::QuicFailed,
        ];
        bytes == 0 && closed.iter().any(|reason| self.reason(*reason))
    }

    /// Whether the answer looks like the page with which the edge refused the reference request.
    pub fn looks_like_the_edges_own(&self) -> bool {
        let reference = self.facts.beside.and_then(|beside| beside.reference.as_ref());
        let pages = self.refused().zip(reference.and_then(Report::final_reply));
        self.edge_lives && pages.is_some_and(|(reply, refusal)| looks::same_skeleton(reply, refusal))
    }
}

impl<'a> Hopped<'a> {
    fn new(drilled: &'a Drilled, front: &Report) -> Self {
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
        // A gateway waits for the handshake as it does for the connection.
        Reason::TcpSilent if fault.stage == Stage::Secure => Reason::UpstreamConnectionTimeout,
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

/// The reason phrase says more than the looks, and only HTTP/1.1 has one.
fn over_http1(facts: &Facts<'_>, front: &Reply) -> Option<Recognised> {
    let again = facts.beside?.again.as_ref()?;
    refused(again).filter(|reply| reply.status == front.status)?;
    with_answer(again.last_leg()?, recognise)
}

/// The answer of a report whose status was refused.
fn refused(report: &Report) -> Option<&Reply> {
    let refused = report
        .fault
        .as_ref()
        .is_some_and(|fault| fault.reason == Reason::HttpStatus);
    report.final_reply().filter(|_| refused)
}

/// The edge's own refusal of the reference request: a client error, or "not implemented". Anything else may come from
/// behind it.
fn refusal_of(reference: &Report) -> Option<&Reply> {
    let refusal = |reply: &&Reply| matches!(reply.status, 400 | 431 | 501 | 505);
    reference.final_reply().filter(refusal)
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

/// Of what a gateway says of what stands behind it, what can be while that is well: the likelier first.
pub(super) fn beside_a_healthy_hop(said: &[Reason], tls: bool) -> Vec<Reason> {
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
    let mut fits: Vec<Reason> = Vec::new();
    if tls {
        fits.extend(said.iter().filter(|reason| about_tls(reason)).take(1));
    }
    fits.extend(said.iter().filter(|reason| about_reaching(reason)));
    if fits.is_empty() { said.to_vec() } else { fits }
}

/// What a gateway's own page says of what stands behind it, and whether it can mean nothing else.
pub(super) fn of_upstream(recognised: Option<Recognised>) -> Option<(&'static [Reason], bool)> {
    match recognised? {
        Recognised::Own(Own {
            means: Means::Upstream(reasons),
            sure,
            ..
        }) => Some((
            reasons,
            sure && reasons.iter().all(|reason| reason.family() == "upstream"),
        )),
        Recognised::Perhaps(_, Means::Upstream(reasons)) => Some((reasons, false)),
        _ => None,
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
