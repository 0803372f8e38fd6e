//! The state of one exchange: the facts so far, and the transport.

use super::dial::Dialled;
use super::memory_limit::ProbeMemory;
use super::trace::Trace;
use super::transport::Transport;
use glassbox_verdict::report::{Exchange, WireFacts};
use std::sync::Arc;
use std::time::Instant;

/// Stage times given by events on the wire, instead of the times at which the task ran.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct StageTimes {
    /// The actual start of the current stage.
    pub began: Option<Instant>,
    /// The event that ended the stage.
    pub ended: Option<Instant>,
    /// Time of the failure, if it is earlier than the time at which the check noticed it.
    pub failed: Option<Instant>,
    /// Start of the next stage.
    pub next: Option<Instant>,
}

impl StageTimes {
    /// Uses the event that ends this stage as the start of the next one.
    pub const fn hand_over(&mut self, at: Option<Instant>) {
        (self.ended, self.next) = (at, at);
    }
}

/// The state of one exchange.
#[derive(Debug, Default)]
pub(super) struct Wire {
    /// The facts of the exchange, without its stage timings.
    pub facts: Exchange,
    /// Stage times that are known more exactly from the wire.
    pub times: StageTimes,
    /// The address that was dialled, so that it can be dialled again.
    pub dialled: Option<Dialled>,
    /// What the last stage left to the next one.
    pub transport: Transport,
    /// Nothing is sent after the connection is open.
    pub is_silent: bool,
    /// Events of the connection.
    pub trace: Arc<Trace>,
    /// The account for the memory that the probe holds.
    pub memory: ProbeMemory,
}

impl Wire {
    pub fn new(url: String, wants_tls: bool, memory: ProbeMemory) -> Self {
        Self {
            facts: Exchange {
                url,
                wants_tls,
                ..Exchange::default()
            },
            memory,
            ..Self::default()
        }
    }

    /// Closes the connection and returns the facts. `begun` is the start of the probe.
    pub fn close(self, begun: Instant) -> Exchange {
        let mut facts = self.facts;
        drop(self.transport);
        let seen = self.trace.read_out();
        facts.socket = seen.socket;
        facts.deviations = seen.deviations.clone();
        let clocks = seen.clocks();
        facts.wire = WireFacts {
            written: seen.written,
            read: seen.read,
            excerpt: seen.excerpt,
            heads: seen.heads,
            below_tls: seen.below.since(begun),
            above_tls: seen.above.since(begun),
            clocks,
        };
        facts
    }
}
