//! Builds a report.

use super::{Exchange, Fault, Reply, Report, TlsFacts};
use crate::chain::Stage;
use crate::reason::Reason;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

/// Builds a report, stage by stage. Only the end of an exchange creates a [`Report`]: a failed stage
/// ([`ReportBuilder::fail`], [`ReportBuilder::time_out`]), or a response ([`ReportBuilder::reply`]) that is accepted or
/// rejected. The order of the stages is not checked.
///
/// The rules read more than the response: the duration of [`Stage::Wait`] distinguishes a timeout from a refusal, and the
/// addresses ([`ReportBuilder::connected`]) show that the observer can reach a machine. Facts without a method here are
/// public fields of the report.
#[derive(Clone, Debug)]
pub struct ReportBuilder {
    began: SystemTime,
    timeout: Duration,
    elapsed: Duration,
    earlier: Vec<Exchange>,
    exchange: Exchange,
}

impl ReportBuilder {
    /// An exchange with this URL, and the maximum duration of its probe. The schemes `https`, `tls` and `wss` use TLS.
    #[must_use]
    pub fn new(url: &str, timeout: Duration) -> Self {
        Self {
            began: SystemTime::UNIX_EPOCH,
            timeout,
            elapsed: Duration::ZERO,
            earlier: Vec::new(),
            exchange: exchange(url),
        }
    }

    /// Sets the time of the start, which the summary shows. The default is 1970.
    #[must_use]
    pub fn began(self, began: SystemTime) -> Self {
        Self { began, ..self }
    }

    /// Sets the method of the request.
    #[must_use]
    pub fn method(mut self, method: &str) -> Self {
        self.exchange.method = Some(method.to_owned());
        self
    }

    /// Sets the addresses of the connection: the remote one and the local one.
    #[must_use]
    pub fn connected(mut self, peer: SocketAddr, local: SocketAddr) -> Self {
        self.exchange.peer = Some(peer);
        self.exchange.local = Some(local);
        self
    }

    /// Sets the facts of the TLS handshake.
    #[must_use]
    pub fn tls(mut self, tls: TlsFacts) -> Self {
        self.exchange.tls = Some(tls);
        self
    }

    /// Adds a stage that finished after this duration.
    #[must_use]
    pub fn stage(mut self, stage: Stage, took: Duration) -> Self {
        let running = self.exchange.stage_log.begin(stage, self.elapsed);
        self.elapsed += took;
        running.finish(self.elapsed);
        self
    }

    /// Ends the exchange with a redirect, and begins the next one with this URL.
    #[must_use]
    pub fn redirect(mut self, reply: Reply, url: &str) -> Self {
        self.exchange.reply = Some(reply);
        self.earlier.push(std::mem::replace(&mut self.exchange, exchange(url)));
        self
    }

    /// Ends the exchange with a stage that failed after this duration.
    #[must_use]
    pub fn fail(self, stage: Stage, took: Duration, reason: Reason) -> Report {
        self.stop(stage, took, reason, false)
    }

    /// Ends the exchange with a stage that the deadline of the probe ended after this duration.
    #[must_use]
    pub fn time_out(self, stage: Stage, took: Duration, reason: Reason) -> Report {
        self.stop(stage, took, reason, true)
    }

    /// Ends the exchange with a response, which took this duration to read.
    #[must_use]
    pub fn reply(mut self, reply: Reply, took: Duration) -> AnsweredReport {
        self.exchange.reply = Some(reply);
        AnsweredReport(self, took)
    }

    fn stop(mut self, stage: Stage, took: Duration, reason: Reason, at_deadline: bool) -> Report {
        let running = self.exchange.stage_log.begin(stage, self.elapsed);
        self.elapsed += took;
        running.fail(self.elapsed, reason);
        self.end(Some(Fault {
            stage,
            reason,
            detail: sentence(reason),
            at_deadline,
        }))
    }

    fn end(self, fault: Option<Fault>) -> Report {
        let mut exchanges = self.earlier;
        exchanges.push(self.exchange);
        Report {
            began: self.began,
            took: self.elapsed,
            timeout: self.timeout,
            exchanges,
            fault,
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

fn exchange(url: &str) -> Exchange {
    let scheme = url.split(':').next().unwrap_or_default();
    Exchange {
        url: url.to_owned(),
        wants_tls: matches!(scheme, "https" | "tls" | "wss"),
        ..Exchange::default()
    }
}

/// The meaning of a reason, as a sentence.
fn sentence(reason: Reason) -> String {
    let meaning = reason.meaning();
    let first = meaning.chars().next().map(|letter| letter.to_ascii_uppercase());
    format!(
        "{}{}.",
        first.map(String::from).unwrap_or_default(),
        meaning.get(1..).unwrap_or_default()
    )
}
