//! A dialogue over a byte stream: sends data, and reads until an expected response arrives.

use super::layer::TracedStream;
use super::transport::{DialogueConnection, OutOfOrder, Transport};
use super::wire::Wire;
use super::{Check, ProbeFailed, StageError};
use glassbox_verdict::chain::Stage;
use glassbox_verdict::reason::Reason;
use std::future::Future;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::time::Instant;
use tokio::io::AsyncWriteExt as _;
use tokio::task::coop::consume_budget;

/// Result of matching the received bytes. Each count is a number of bytes to remove from the buffer.
pub enum DialogueRead<T> {
    /// The expected response ends after this many bytes. The rest stays for the next call.
    Whole(usize, T),
    /// These bytes are processed, and the rest does not yet contain the expected response.
    More(usize),
    /// These bytes are not the expected response, but it may still follow.
    Other(usize),
    /// These bytes are processed, and this response must be sent before reading on.
    Answer(usize, Vec<u8>),
    /// The expected response can no longer arrive.
    Never(Reason, String),
    /// Matching takes long and continues in a future.
    Later(Pin<Box<dyn Future<Output = DialogueRead<T>> + Send>>),
}

impl Wire {
    fn dialogue(&mut self) -> Result<&mut DialogueConnection, OutOfOrder> {
        let begin = |layer| DialogueConnection::new(TracedStream::new(layer, self.trace.clone()), &self.memory);
        self.transport.dialogue(begin)
    }
}

impl Check {
    /// Sends bytes completely.
    ///
    /// # Errors
    /// Fails if the connection closes first.
    pub async fn write(&mut self, words: &[u8]) -> Result<(), ProbeFailed> {
        self.stage(Stage::Send, async |wire| {
            wire.times.began = Some(Instant::now());
            let dialogue = wire.dialogue()?;
            dialogue.traced.write_all(words).await?;
            dialogue.traced.flush().await?;
            wire.times.hand_over(wire.trace.last_write());
            Ok::<_, DialogueError>(())
        })
        .await
    }

    /// Changes the failure of a plain-text exchange if the server responded with a TLS alert, because the port then
    /// expects TLS.
    pub fn failed_by_tls(&mut self, stopped: ProbeFailed) -> ProbeFailed {
        if self.wire.facts.tls.is_some() || !self.wire.trace.answer_is_tls_alert() {
            return stopped;
        }
        let words = "The server responded to plain text with a TLS alert: the port expects TLS.";
        self.fail(Reason::TlsRequired, words)
    }

    /// Waits until data is available. Returns immediately if received bytes are left.
    ///
    /// # Errors
    /// Fails if the connection ends without a byte.
    pub async fn await_data(&mut self) -> Result<(), ProbeFailed> {
        self.stage(Stage::Wait, async |wire| {
            let dialogue = wire.dialogue()?;
            dialogue.heard_other = false;
            if dialogue.heard.is_empty() {
                dialogue.read().await?;
                if dialogue.ended {
                    return Err(DialogueError::Silent);
                }
                wire.times.hand_over(wire.trace.last_read());
            }
            Ok::<_, DialogueError>(())
        })
        .await
    }

    /// Reads until `take` finds the expected response. `take` gets the unconsumed bytes, and whether the stream has
    /// ended.
    ///
    /// # Errors
    /// Fails if the peer closes the connection first, or sends data that excludes the expected response.
    pub async fn hear<T>(&mut self, mut take: impl FnMut(&[u8], bool) -> DialogueRead<T>) -> Result<T, ProbeFailed> {
        self.stage(Stage::Receive, async |wire| {
            let dialogue = wire.dialogue()?;
            let taken = loop {
                let mut heard = take(&dialogue.heard, dialogue.ended);
                while let DialogueRead::Later(found) = heard {
                    heard = found.await;
                }
                match heard {
                    DialogueRead::Whole(count, taken) => {
                        dialogue.heard.drain(..count);
                        break taken;
                    }
                    DialogueRead::Other(count) => {
                        dialogue.heard.drain(..count);
                        dialogue.heard_other = true;
                        consume_budget().await;
                        continue;
                    }
                    DialogueRead::More(count) if count > 0 => {
                        dialogue.heard.drain(..count);
                        // A peer that sends much data must not block other tasks or the deadline.
                        consume_budget().await;
                        continue;
                    }
                    DialogueRead::Answer(count, words) => {
                        dialogue.heard.drain(..count);
                        dialogue.traced.write_all(&words).await?;
                        dialogue.traced.flush().await?;
                        consume_budget().await;
                        continue;
                    }
                    DialogueRead::More(_) | DialogueRead::Later(_) => {}
                    DialogueRead::Never(reason, words) => return Err(DialogueError::Unwanted(reason, words)),
                }
                if dialogue.ended {
                    return Err(DialogueError::EndedFirst);
                }
                dialogue.read().await?;
            };
            wire.times.hand_over(wire.trace.last_read());
            Ok::<_, DialogueError>(taken)
        })
        .await
    }
}

#[derive(Debug)]
enum DialogueError {
    OutOfOrder(OutOfOrder),
    Silent,
    EndedFirst,
    Unwanted(Reason, String),
    Io(io::Error),
}

impl From<OutOfOrder> for DialogueError {
    fn from(error: OutOfOrder) -> Self {
        Self::OutOfOrder(error)
    }
}

impl From<io::Error> for DialogueError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl StageError for DialogueError {
    fn reason(&self) -> Reason {
        match self {
            Self::OutOfOrder(_) => OutOfOrder::REASON,
            Self::Silent | Self::EndedFirst => Reason::TcpClosed,
            Self::Unwanted(reason, _) => *reason,
            Self::Io(error) => match error.kind() {
                ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => Reason::TcpReset,
                ErrorKind::UnexpectedEof => Reason::TcpClosed,
                _ => Reason::TcpFailed,
            },
        }
    }

    fn detail(&self) -> String {
        match self {
            Self::OutOfOrder(error) => error.to_string(),
            Self::Silent => "The server closed the connection without sending any data.".to_owned(),
            Self::EndedFirst => "The server closed the connection before it sent the expected response.".to_owned(),
            Self::Unwanted(_, words) => words.clone(),
            Self::Io(error) => format!("The dialogue failed: {error}."),
        }
    }

    fn timed_out(wire: &Wire) -> Reason {
        match &wire.transport {
            // The received data is a valid but incomplete response, or there is none, so the content is not at fault.
            Transport::Dialogue(dialogue) if dialogue.heard_other => Reason::ContentExpect,
            _ => Reason::TcpNoResponse,
        }
    }
}
