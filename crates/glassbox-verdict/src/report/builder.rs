//! Builds the report of one exchange.

use super::{Exchange, Fault, Reply, Report};
use crate::chain::Stage;
use crate::reason::Reason;
use std::time::{Duration, SystemTime};

/// Builds a report of one exchange, stage by stage. Only the end of an exchange creates a [`Report`]: a failed stage
/// ([`ReportBuilder::fail`]), or a response ([`ReportBuilder::reply`]) that is accepted or rejected. The order of the
/// stages is not checked.
#[derive(Clone, Debug)]
pub struct ReportBuilder {
    timeout: Duration,
    elapsed: Duration,
    exchange: Exchange,
}

impl ReportBuilder {
    /// An exchange with this URL, and the maximum duration of its probe.
    #[must_use]
    pub fn new(url: &str, timeout: Duration) -> Self {
        let exchange = Exchange {
            url: url.to_owned(),
            ..Exchange::default()
        };
        Self {
            timeout,
            elapsed: Duration::ZERO,
            exchange,
        }
    }

    /// Adds a stage that finished after this duration.
    #[must_use]
    pub fn stage(mut self, stage: Stage, took: Duration) -> Self {
        let running = self.exchange.stage_log.begin(stage, self.elapsed);
        self.elapsed += took;
        running.finish(self.elapsed);
        self
    }

    /// Ends the exchange with a stage that failed after this duration.
    #[must_use]
    pub fn fail(mut self, stage: Stage, took: Duration, reason: Reason) -> Report {
        let running = self.exchange.stage_log.begin(stage, self.elapsed);
        self.elapsed += took;
        running.fail(self.elapsed, reason);
        self.end(Some((stage, reason)))
    }

    /// Ends the exchange with a response, which took this duration to read.
    #[must_use]
    pub fn reply(mut self, reply: Reply, took: Duration) -> AnsweredReport {
        self.exchange.reply = Some(reply);
        AnsweredReport(self, took)
    }

    fn end(self, fault: Option<(Stage, Reason)>) -> Report {
        Report {
            began: SystemTime::UNIX_EPOCH,
            took: self.elapsed,
            timeout: self.timeout,
            exchanges: vec![self.exchange],
            fault: fault.map(|(stage, reason)| Fault {
                stage,
                reason,
                detail: String::new(),
                at_deadline: false,
            }),
        }
    }
}

/// A report with a response that is not yet accepted or rejected.
#[derive(Clone, Debug)]
pub struct AnsweredReport(ReportBuilder, Duration);

impl AnsweredReport {
    /// The response meets the requirements of the probe.
    #[must_use]
    pub fn accept(self) -> Report {
        self.0.stage(Stage::Receive, self.1).end(None)
    }

    /// The response does not meet the requirements of the probe, for example because of its status.
    #[must_use]
    pub fn reject(self, reason: Reason) -> Report {
        self.0.fail(Stage::Receive, self.1, reason)
    }
}
