//! Wait: waits for the first byte of the response.

use super::response_error::{ResponseError, ResponsePart};
use super::transport::OutOfOrder;
use super::wire::Wire;
use super::{Check, ProbeFailed, StageError};
use glassbox_verdict::chain::Stage;
use glassbox_verdict::reason::Reason;

impl Check {
    /// Drives the exchange until the first byte of the response arrives.
    ///
    /// # Errors
    /// When the connection closes first.
    pub async fn wait(&mut self) -> Result<(), ProbeFailed> {
        self.stage(Stage::Wait, async |wire| {
            let trace = wire.trace.clone();
            let pending = wire.transport.pending()?;
            pending
                .advance_until(|answered| answered || trace.answer_began().is_some())
                .await;
            match trace.answer_began() {
                // A response may start before the request ends. The waiting time is then zero.
                Some(at) => wire
                    .times
                    .hand_over(Some(trace.request_done().map_or(at, |sent| at.max(sent)))),
                None => {
                    if let Some(error) = pending.failure(&trace) {
                        return Err(WaitError::Exchange(error));
                    }
                }
            }
            Ok::<_, WaitError>(())
        })
        .await
    }
}

enum WaitError {
    OutOfOrder(OutOfOrder),
    Exchange(ResponseError),
}

impl From<OutOfOrder> for WaitError {
    fn from(error: OutOfOrder) -> Self {
        Self::OutOfOrder(error)
    }
}

impl StageError for WaitError {
    fn reason(&self) -> Reason {
        match self {
            Self::OutOfOrder(_) => OutOfOrder::REASON,
            Self::Exchange(error) => error.reason(ResponsePart::Head),
        }
    }

    fn detail(&self) -> String {
        match self {
            Self::OutOfOrder(error) => error.to_string(),
            Self::Exchange(error) => error.detail(),
        }
    }

    fn timed_out(_: &Wire) -> Reason {
        Reason::HttpTimedOutWaiting
    }
}
