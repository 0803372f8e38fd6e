//! Wait: for the first byte of the answer.

use super::exchange::{ExchangeError, Part};
use super::wire::Wire;
use super::{Check, Failure, Stopped};
use crate::chain::Stage;
use crate::reason::Reason;

impl Check {
    /// Drives the exchange until the first byte of the answer is there.
    ///
    /// # Errors
    /// When the connection ends first.
    pub async fn wait(&mut self) -> Result<(), Stopped> {
        self.stage(Stage::Wait, async |wire| {
            let tape = wire.tape.clone();
            let exchange = wire.exchange.as_mut().ok_or(WaitError::NotSent)?;
            exchange
                .advance_until(|answered| answered || tape.answer_began().is_some())
                .await;
            match tape.answer_began() {
                // An answer may begin before the request has ended: then nothing was waited for.
                Some(at) => wire
                    .times
                    .hand_over(Some(tape.request_done().map_or(at, |sent| at.max(sent)))),
                None => {
                    if let Some(error) = exchange.failure(&tape) {
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
    NotSent,
    Exchange(ExchangeError),
}

impl Failure for WaitError {
    fn reason(&self) -> Reason {
        match self {
            Self::NotSent => Reason::HttpFailed,
            Self::Exchange(error) => error.reason(Part::Head),
        }
    }

    fn detail(&self) -> String {
        match self {
            Self::NotSent => "There was no request to wait for.".to_owned(),
            Self::Exchange(error) => error.detail(),
        }
    }

    fn timed_out(_: &Wire) -> Reason {
        Reason::HttpTimedOutWaiting
    }
}
