//! The sentence of a probe: resolve → connect → secure → send → wait → receive, each timed in one place.
//!
//! Every verb is an `impl Check` block in its own file. All of them pass through `Check::stage`, which alone
//! times a stage, bounds it by the deadline, and names it in its failure.

mod aside;
mod body;
mod certificates;
mod connect;
mod datagram;
mod dial;
mod dialogue;
mod echo;
mod exchange;
mod frames;
mod http1;
mod http3;
mod inspection;
#[cfg(feature = "legacy-tls")]
mod legacy;
mod own_fault;
mod p521;
mod quic;
mod receive;
mod resolve;
mod resolver;
mod second_handshake;
mod secure;
mod send;
mod signatures;
mod socket;
mod stamps;
mod tape;
mod tls;
mod trust;
mod tunnel;
mod wait;
mod watched;
mod wire;
mod zone;

pub(crate) use aside::{BRIEF, Late, aside};
pub use body::{BodyPlan, Coding};
pub use dial::{Denials, Dialer};
pub use dialogue::Heard;
pub use echo::Ping;
pub use own_fault::{panic_is_answer, panics_beside_probes, shortage};
pub use resolve::Family;
pub use resolver::{NameServer, NameServerError, Resolver};
pub use send::{Ask, Manner};
pub use tls::{Identity, Tls, TlsError, TlsSettings, TlsVersion};
pub use trust::{Trust, Trusted};
pub use tunnel::Tunnel;
pub use watched::Watched;
pub use watched::watch_files;
pub use zone::{Zone, in_zone, split_zone};

use crate::chain::Stage;
use crate::ledger::Ledger;
use crate::limits::Limits;
use crate::reason::Reason;
use crate::report::{Fault, Leg, Reply, Report, Spoken};
use std::time::{Duration, Instant, SystemTime};
use wire::{Times, Wire};

/// On which terms a probe runs.
#[derive(Clone, Debug, Default)]
pub struct Terms {
    /// What may be dialled: all sockets to peers come from it.
    pub dialer: Dialer,
    /// How much may be taken.
    pub limits: Limits,
}

/// A probe under way: its clock, its deadline, the exchanges so far, and the wire of the present one.
#[derive(Debug)]
pub struct Check {
    begun: Instant,
    began: SystemTime,
    timeout: Duration,
    terms: Terms,
    ledger: Ledger,
    wire: Wire,
    legs: Vec<Leg>,
    fault: Option<Fault>,
}

/// The probe has failed, and its report says why. Only a failed stage or a refusal can make one.
#[derive(Debug)]
pub struct Stopped(());

/// What a verb's own error type says of itself.
trait Failure {
    /// The reason, from the closed list.
    fn reason(&self) -> Reason;
    /// The particulars, for people.
    fn detail(&self) -> String;
    /// The reason when the deadline fell into the stage.
    fn timed_out(wire: &Wire) -> Reason;
}

impl Check {
    /// Starts the clock.
    #[must_use]
    pub fn new(terms: &Terms, timeout: Duration) -> Self {
        Self {
            begun: Instant::now(),
            began: SystemTime::now(),
            timeout,
            terms: terms.clone(),
            ledger: Ledger::default(),
            wire: Wire::default(),
            legs: Vec::new(),
            fault: None,
        }
    }

    /// The bounds that hold for it.
    #[must_use]
    pub const fn limits(&self) -> &Limits {
        &self.terms.limits
    }

    /// Opens the next exchange on a fresh wire.
    pub fn begin_leg(&mut self, url: String, wants_tls: bool) {
        self.end_leg();
        self.wire = Wire::new(url, wants_tls);
    }

    /// The answer of the present exchange, if one came.
    #[must_use]
    pub const fn reply(&self) -> Option<&Reply> {
        self.wire.leg.reply.as_ref()
    }

    /// From here on the present exchange is one with a proxy, which is to pass it on.
    pub fn go_through(&mut self, proxy: String) {
        self.wire.leg.proxy = Some(proxy);
    }

    /// The present exchange fetches credentials: it is none with the target.
    pub fn fetch_credentials(&mut self) {
        self.wire.leg.for_credentials = true;
    }

    /// Notes what was said in the present exchange, above what the wire itself tells.
    pub fn note(&mut self, spoken: Spoken) {
        self.wire.leg.spoken = Some(spoken);
    }

    /// Whether the probe was stopped by one of these reasons, and not by its deadline.
    #[must_use]
    pub fn stopped_because(&self, reasons: &[Reason]) -> bool {
        self.fault
            .as_ref()
            .is_some_and(|fault| !fault.at_deadline && reasons.contains(&fault.reason))
    }

    /// What failed was tried again and went well: the fault is none.
    pub fn forgive(&mut self) {
        self.fault = None;
    }

    /// How long the present exchange took, from the request's first byte to the answer's last.
    #[must_use]
    pub fn answer_time(&self) -> Duration {
        let exchange = self.ledger.laps().iter().filter(|lap| lap.stage() >= Stage::Send);
        exchange.map(crate::ledger::Lap::took).sum()
    }

    /// Stops the probe for something that no stage can see: an assertion, a redirect that leads nowhere.
    pub fn refuse(&mut self, reason: Reason, detail: impl Into<String>) -> Stopped {
        let stage = self
            .ledger
            .laps()
            .last()
            .map_or(Stage::Resolve, crate::ledger::Lap::stage);
        self.fault = Some(Fault {
            stage,
            reason,
            detail: detail.into(),
            at_deadline: false,
        });
        Stopped(())
    }

    /// Runs one stage: the only place where a stage is timed, bounded, and named in its failure.
    async fn stage<T, E: Failure>(
        &mut self,
        stage: Stage,
        work: impl AsyncFnOnce(&mut Wire) -> Result<T, E>,
    ) -> Result<T, Stopped> {
        let since = |at: Instant| at.saturating_duration_since(self.begun);
        let deadline = self.deadline();
        // A stage that ended with an event on the wire hands over at that event, not at the task's next turn.
        let begun = self.wire.times.next.unwrap_or_else(Instant::now);
        self.wire.times = Times::default();
        // What came with an earlier stage's bytes ends no later one before that has ended.
        let floor = self
            .ledger
            .laps()
            .last()
            .map_or(Duration::ZERO, |lap| lap.begun() + lap.took());
        let mut lap = self.ledger.begin(stage, since(begun).max(floor));
        let outcome = tokio::time::timeout_at(deadline.into(), work(&mut self.wire)).await;
        if let Some(began) = self.wire.times.began {
            lap.begun_at(since(began));
        }
        let (reason, detail) = match outcome {
            Ok(Ok(value)) => {
                lap.finish(since(self.wire.times.ended.unwrap_or_else(Instant::now)));
                return Ok(value);
            }
            Ok(Err(error)) => (error.reason(), error.detail()),
            Err(_elapsed) => (
                E::timed_out(&self.wire),
                format!("Timed out after {} ms, {}.", self.timeout.as_millis(), stage.doing()),
            ),
        };
        // What this host is short of, and what TLS said, libraries do not hand on.
        let tape = &self.wire.tape;
        let reason = tape.shortage().or_else(|| tape.tls_fault()).unwrap_or(reason);
        let ended = Instant::now();
        lap.fail(since(self.wire.times.failed.unwrap_or(ended)), reason);
        self.fault = Some(Fault {
            stage,
            reason,
            detail,
            at_deadline: ended >= deadline,
        });
        Err(Stopped(()))
    }

    fn end_leg(&mut self) {
        let mut leg = std::mem::take(&mut self.wire).close(self.begun);
        leg.ledger = std::mem::take(&mut self.ledger);
        if !leg.ledger.laps().is_empty() || !leg.url.is_empty() {
            self.legs.push(leg);
        }
    }

    fn deadline(&self) -> Instant {
        self.begun + self.timeout
    }

    /// What is left until the deadline.
    #[must_use]
    pub fn left(&self) -> Duration {
        self.deadline().saturating_duration_since(Instant::now())
    }

    /// Stops the clock and closes the wire.
    #[must_use]
    pub fn finish(mut self) -> Report {
        let took = self.begun.elapsed();
        self.end_leg();
        Report {
            began: self.began,
            took,
            timeout: self.timeout,
            legs: self.legs,
            fault: self.fault,
        }
    }
}
