//! The stages of a probe: resolve → connect → secure → send → wait → receive, each timed in one place.
//!
//! Each stage is an `impl Check` block in its own file. All of them use `Check::stage`, the only function that
//! times a stage, limits it by the deadline, and names it in its failure.

mod arrivals;
mod blocking;
mod body;
mod certificates;
mod connect;
mod datagram;
mod dial;
mod dialogue;
mod http1;
mod http2;
mod http2_frames;
mod http3;
mod http_request;
mod icmp_echo;
mod layer;
#[cfg(feature = "legacy-tls")]
mod legacy_tls;
mod local_fault;
mod memory_limit;
mod p521;
mod pending_response;
mod quic;
mod quic_error;
mod receive;
mod refusal;
mod resolve;
mod resolver;
mod response_error;
mod rx_timestamps;
mod second_handshake;
mod secure;
mod secure_error;
mod send;
mod signatures;
mod socket;
mod stall_detector;
mod tls;
mod tls_inspection;
mod trace;
mod transport;
mod trust;
mod tunnel;
mod wait;
mod watched_files;
mod wire;
mod zone;

pub use arrivals::watch_arrivals;
pub use blocking::FairnessKey;
pub(crate) use blocking::{BRIEF, BlockingError, WorkClock, WorkLimits, WorkStopped, blocking, compute};
pub use body::{BodyPlan, Coding, KeptBody};
pub use dial::{Denials, Dialer};
pub use dialogue::DialogueRead;
pub use http_request::{HttpRequest, RequestMode};
pub use http1::{WholeResponse, read_response};
pub use icmp_echo::Ping;
pub use local_fault::{panic_is_answer, panics_outside_probes, shortage};
pub(crate) use memory_limit::Charge;
pub use memory_limit::{MemoryPool, NoMemory, ProbeMemory};
pub use refusal::Refusal;
pub use resolve::AddressFamily;
pub use resolver::{NameServer, NameServerError, Resolver};
pub use tls::{Identity, Tls, TlsError, TlsFiles, TlsSettings, TlsVersion};
pub use trust::may_have_many_paths;
pub use trust::{Trust, Trusted};
pub use tunnel::Tunnel;
pub use watched_files::Watched;
pub use watched_files::watch_files;

use crate::clock;
use crate::limits::Limits;
use crate::secrets::Secrets;
use glassbox_verdict::chain::Stage;
use glassbox_verdict::reason::Reason;
use glassbox_verdict::report::{Exchange, Fault, ProtocolFacts, Reply, Report, RequestParts};
use glassbox_verdict::stage_log::StageLog;
use stall_detector::StallDetector;
use std::pin::pin;
use std::time::{Duration, Instant, SystemTime};
use wire::{StageTimes, Wire};

/// Minimum time to read and examine data that arrived before the deadline, even if it extends past the deadline.
const LATE_READING: Duration = Duration::from_millis(100);

/// The conditions under which a probe runs.
#[derive(Clone, Debug, Default)]
pub struct ProbeContext {
    /// The destinations that may be dialled. All sockets to targets are created here.
    pub dialer: Dialer,
    /// Response limits.
    pub limits: Limits,
    /// The account for the memory that the probe holds.
    pub memory: ProbeMemory,
    /// The host that the work is accounted to, for fair scheduling.
    pub host: FairnessKey,
}

/// A running probe: its clock, its deadline, the exchanges so far, and the connection of the current one.
#[derive(Debug)]
pub struct Check {
    begun: Instant,
    began: SystemTime,
    timeout: Duration,
    stalls: StallDetector,
    context: ProbeContext,
    stage_log: StageLog,
    wire: Wire,
    exchanges: Vec<Exchange>,
    fault: Option<Fault>,
    secrets: Secrets,
}

/// The probe failed, and its report states the reason. Only a failed stage or [`Check`] itself creates this value.
#[derive(Debug)]
pub struct ProbeFailed(());

/// A stage's own error type.
trait StageError {
    /// The reason, from the closed list.
    fn reason(&self) -> Reason;
    /// The details, for people.
    fn detail(&self) -> String;
    /// The reason when the deadline expired in this stage.
    fn timed_out(wire: &Wire) -> Reason;
}

impl Check {
    /// Starts the clock.
    #[must_use]
    pub fn new(context: &ProbeContext, timeout: Duration) -> Self {
        let begun = clock::now();
        Self {
            begun,
            began: SystemTime::now(),
            timeout,
            stalls: StallDetector::new(begun, timeout),
            context: context.clone(),
            stage_log: StageLog::default(),
            wire: Wire::default(),
            exchanges: Vec::new(),
            fault: None,
            secrets: Secrets::default(),
        }
    }

    /// The limits that apply to the probe.
    #[must_use]
    pub const fn limits(&self) -> &Limits {
        &self.context.limits
    }

    /// The secrets that the probe has sent so far.
    #[must_use]
    pub const fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// The same secrets, mutable, to add those that are not in a header field or the request target, such as secrets in
    /// a body.
    pub const fn secrets_mut(&mut self) -> &mut Secrets {
        &mut self.secrets
    }

    /// The host and the time limit for work that examines received data.
    pub(crate) fn work_limits(&self) -> WorkLimits {
        WorkLimits {
            until: self.deadline().max(clock::now() + LATE_READING),
            host: self.context.host,
            memory: self.context.memory.clone(),
        }
    }

    /// Starts the next exchange on a new connection.
    pub fn begin_exchange(&mut self, url: String, wants_tls: bool) {
        let wire = Wire::new(url, wants_tls, self.context.memory.clone());
        let ended = std::mem::replace(&mut self.wire, wire);
        let timings = std::mem::take(&mut self.stage_log);
        self.exchanges.extend(facts(ended, timings, self.begun));
    }

    /// The response of the current exchange, if one was received.
    #[must_use]
    pub const fn reply(&self) -> Option<&Reply> {
        self.wire.facts.reply.as_ref()
    }

    /// Marks the current exchange as a request to a proxy that forwards it.
    pub fn set_proxy(&mut self, proxy: String) {
        self.wire.facts.proxy = Some(proxy);
    }

    /// Marks the current exchange as one in which a proxy dials the target.
    pub fn expect_proxy(&mut self) {
        self.wire.facts.has_proxy = true;
    }

    /// Records what the current request has of its module.
    pub fn set_parts(&mut self, parts: RequestParts) {
        self.wire.facts.parts = parts;
    }

    /// Marks the current exchange as a request for credentials, not to the target.
    pub fn fetch_credentials(&mut self) {
        self.wire.facts.for_credentials = true;
    }

    /// Records protocol-specific facts of the current exchange.
    pub fn note(&mut self, spoken: ProtocolFacts) {
        self.wire.facts.spoken = Some(spoken);
    }

    /// Whether the probe failed for one of these reasons and not because of its deadline.
    #[must_use]
    pub fn failed_because(&self, reasons: &[Reason]) -> bool {
        self.fault
            .as_ref()
            .is_some_and(|fault| !fault.at_deadline && reasons.contains(&fault.reason))
    }

    /// Removes the fault after a successful retry.
    pub fn clear_failure(&mut self) {
        self.fault = None;
    }

    /// Duration of the current exchange, from the first byte of the request to the last byte of the response.
    #[must_use]
    pub fn answer_time(&self) -> Duration {
        let exchange = self
            .stage_log
            .timings()
            .iter()
            .filter(|timing| timing.stage() >= Stage::Send);
        exchange.map(glassbox_verdict::stage_log::StageTiming::took).sum()
    }

    /// Fails the probe for a reason outside the stages: a failed assertion or an invalid redirect.
    pub fn fail(&mut self, reason: Reason, detail: impl Into<String>) -> ProbeFailed {
        let stage = self
            .stage_log
            .timings()
            .last()
            .map_or(Stage::Resolve, glassbox_verdict::stage_log::StageTiming::stage);
        self.fault = Some(Fault {
            stage,
            reason: or_bad_redirect(reason, &self.exchanges),
            detail: detail.into(),
            at_deadline: false,
        });
        ProbeFailed(())
    }

    /// Adds a sentence to the failure details.
    pub fn explain(&mut self, words: &str) {
        if let Some(fault) = &mut self.fault {
            fault.detail += " ";
            fault.detail += words;
        }
    }

    /// Runs one stage: the only place where a stage is timed, limited by the deadline, and named in its failure.
    async fn stage<T, E: StageError>(
        &mut self,
        stage: Stage,
        work: impl AsyncFnOnce(&mut Wire) -> Result<T, E>,
    ) -> Result<T, ProbeFailed> {
        let since = |at: Instant| at.saturating_duration_since(self.begun);
        let deadline = self.deadline();
        // If the previous stage ended with an event on the wire, this stage starts at the time of that event.
        let begun = self.wire.times.next.unwrap_or_else(clock::now);
        self.wire.times = StageTimes::default();
        // Data may arrive together with an earlier stage's bytes. It must not end a later stage before the earlier
        // stage ends.
        let floor = self
            .stage_log
            .timings()
            .last()
            .map_or(Duration::ZERO, |timing| timing.begun() + timing.took());
        let mut timing = self.stage_log.begin(stage, since(begun).max(floor));
        // No stage starts after the deadline. Data that arrived before the deadline may be read after it.
        let outcome = if stage >= Stage::Wait || clock::now() < deadline {
            self.stalls.watch(pin!(work(&mut self.wire))).await
        } else {
            None
        };
        if let Some(began) = self.wire.times.began {
            timing.begun_at(since(began));
        }
        let failure = match outcome {
            Some(Ok(value)) => match self.wire.times.ended.unwrap_or_else(clock::now) {
                ended if ended <= deadline => {
                    timing.finish(since(ended));
                    return Ok(value);
                }
                _too_late => None,
            },
            Some(Err(error)) => Some((error.reason(), error.detail())),
            None => None,
        };
        let ended = clock::now();
        self.stalls.wake(ended);
        let stalled = stalled(&self.stalls, &self.wire, &self.exchanges)
            .filter(|_| failure.as_ref().is_none_or(|(reason, _)| reason.may_follow_a_stall()))
            .map(|lost| (Reason::LocalStalled, stalled_words(lost, self.timeout, stage)));
        let (reason, detail) = stalled.or(failure).unwrap_or_else(|| {
            let words = format!("Timed out after {} ms, {}.", self.timeout.as_millis(), stage.doing());
            (E::timed_out(&self.wire), words)
        });
        // The libraries do not report TLS alerts and this host's resource shortages, so both are taken from the trace.
        let trace = &self.wire.trace;
        let reason = trace.shortage().or_else(|| trace.tls_fault()).unwrap_or(reason);
        let reason = or_bad_redirect(reason, &self.exchanges);
        timing.fail(since(self.wire.times.failed.unwrap_or(ended)), reason);
        self.fault = Some(Fault {
            stage,
            reason,
            detail,
            at_deadline: ended >= deadline,
        });
        Err(ProbeFailed(()))
    }

    fn deadline(&self) -> Instant {
        self.begun + self.timeout
    }

    /// Time until the deadline.
    #[must_use]
    pub fn left(&self) -> Duration {
        self.deadline().saturating_duration_since(clock::now())
    }

    /// Stops the clock and closes the connection.
    #[must_use]
    pub fn finish(mut self) -> Report {
        let took = clock::since(self.begun);
        self.exchanges.extend(facts(self.wire, self.stage_log, self.begun));
        Report {
            began: self.began,
            took,
            timeout: self.timeout,
            exchanges: self.exchanges,
            fault: self.fault,
        }
    }
}

/// A target that no prober accepts is the caller's mistake, but not if a server's redirect named it.
fn or_bad_redirect(reason: Reason, earlier: &[Exchange]) -> Reason {
    let is_redirected = || earlier.iter().any(|exchange| !exchange.for_credentials);
    match reason {
        Reason::LocalTargetInvalid if is_redirected() => Reason::HttpResponseBadRedirect,
        reason => reason,
    }
}

/// The facts of an exchange that has ended; `None` if it was not started.
fn facts(wire: Wire, stage_log: StageLog, begun: Instant) -> Option<Exchange> {
    let mut facts = wire.close(begun);
    facts.stage_log = stage_log;
    (!facts.stage_log.timings().is_empty() || !facts.url.is_empty()).then_some(facts)
}

/// Time that the exporter lost, if the loss could have changed the result and exceeds the deadline's tolerance. The
/// loss is measured by late wake-ups, or by how long received data remained unread before the exporter responded to it.
fn stalled(stalls: &StallDetector, wire: &Wire, exchanges: &[Exchange]) -> Option<Duration> {
    let acted = wire.trace.last_action().max(wire.times.began);
    let earlier: Duration = exchanges.iter().map(|facts| facts.wire.clocks.scheduling_delay).sum();
    let lost = stalls.lost(acted).max(earlier + wire.trace.answered_late());
    (!stalls.tolerates(lost)).then_some(lost)
}

fn stalled_words(lost: Duration, timeout: Duration, stage: Stage) -> String {
    format!(
        "The exporter did not run for {} ms of a deadline of {} ms, {}. Its process or host was stopped or was not scheduled.",
        lost.as_millis(),
        timeout.as_millis(),
        stage.doing()
    )
}
