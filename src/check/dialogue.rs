//! A dialogue in bytes: what is said, what is waited for, what is heard.

use super::memory_limit::{Charge, ProbeMemory};
use super::wire::{Layer, TracedStream, Wire};
use super::{Check, ProbeFailed, StageError};
use crate::chain::Stage;
use crate::reason::Reason;
use std::future::Future;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::time::Instant;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::coop::consume_budget;

/// Bytes that are read at once.
const PIECE: usize = 4096;

/// What is done with what was heard so far.
pub enum DialogueRead<T> {
    /// It is what was wanted: so many bytes of it are taken, the rest is for who listens next.
    Whole(usize, T),
    /// So many bytes are done with, and nothing that is wanted is among the rest.
    More(usize),
    /// So many bytes are something else than what is wanted, which may still follow.
    Other(usize),
    /// So many bytes are done with, and these are to be said before more is heard.
    Answer(usize, Vec<u8>),
    /// It will never be what is wanted.
    Never(Reason, String),
    /// Which of these it is takes long to find out.
    Later(Pin<Box<dyn Future<Output = DialogueRead<T>> + Send>>),
}

/// The connection while a dialogue is held on it, and the bytes that were read and not yet taken.
#[derive(Debug)]
pub(super) struct DialogueConnection {
    traced: TracedStream,
    heard: Vec<u8>,
    /// What `heard` takes.
    charge: Charge,
    /// Something else than what is wanted was heard since it was last waited for.
    heard_other: bool,
    ended: bool,
}

impl DialogueConnection {
    fn new(traced: TracedStream, memory: &ProbeMemory) -> Self {
        Self {
            traced,
            charge: memory.charge(),
            heard: Vec::new(),
            heard_other: false,
            ended: false,
        }
    }

    pub fn into_layer(self) -> Layer {
        self.traced.into_layer()
    }

    /// The line that HTTP hands over when it has switched protocols, and what came with the answer's head.
    pub fn switched((traced, heard): (TracedStream, Vec<u8>), memory: &ProbeMemory) -> Self {
        Self {
            heard,
            ..Self::new(traced, memory)
        }
    }

    async fn read(&mut self) -> io::Result<()> {
        let mut piece = [0; PIECE];
        let count = self.traced.read(&mut piece).await?;
        self.ended = count == 0;
        self.heard.extend_from_slice(&piece[..count]);
        if let Err(no_memory) = self.charge.set(self.heard.capacity()) {
            self.traced.out_of_memory();
            return Err(io::Error::new(ErrorKind::OutOfMemory, no_memory));
        }
        Ok(())
    }
}

impl Wire {
    fn line(&mut self) -> Result<&mut DialogueConnection, DialogueError> {
        if let Some(layer) = self.layer.take() {
            self.line = Some(DialogueConnection::new(
                TracedStream::new(layer, self.trace.clone()),
                &self.memory,
            ));
        }
        self.line.as_mut().ok_or(DialogueError::NotConnected)
    }
}

impl Check {
    /// Says something, to its last byte.
    ///
    /// # Errors
    /// When the connection ends first.
    pub async fn write(&mut self, words: &[u8]) -> Result<(), ProbeFailed> {
        self.stage(Stage::Send, async |wire| {
            wire.times.began = Some(Instant::now());
            let line = wire.line()?;
            line.traced.write_all(words).await?;
            line.traced.flush().await?;
            wire.times.hand_over(wire.trace.last_write());
            Ok::<_, DialogueError>(())
        })
        .await
    }

    /// Where an exchange in plain text was answered by a TLS alert, it stopped for that: the port speaks TLS.
    pub fn failed_by_tls(&mut self, stopped: ProbeFailed) -> ProbeFailed {
        if self.wire.facts.tls.is_some() || !self.wire.trace.answer_is_tls_alert() {
            return stopped;
        }
        let words = "The server answered plain text with a TLS alert: the port speaks TLS.";
        self.fail(Reason::TlsRequired, words)
    }

    /// Waits until there is something to hear: at once, where something is left of what came before.
    ///
    /// # Errors
    /// When the connection ends without a byte.
    pub async fn await_data(&mut self) -> Result<(), ProbeFailed> {
        self.stage(Stage::Wait, async |wire| {
            let line = wire.line()?;
            line.heard_other = false;
            if line.heard.is_empty() {
                line.read().await?;
                if line.ended {
                    return Err(DialogueError::Silent);
                }
                wire.times.hand_over(wire.trace.last_read());
            }
            Ok::<_, DialogueError>(())
        })
        .await
    }

    /// Listens until `take` has what it wants. It gets the bytes that were not taken yet, and whether they are all that
    /// will come.
    ///
    /// # Errors
    /// When the peer ends the connection without it, or says what can never be it.
    pub async fn hear<T>(&mut self, mut take: impl FnMut(&[u8], bool) -> DialogueRead<T>) -> Result<T, ProbeFailed> {
        self.stage(Stage::Receive, async |wire| {
            let line = wire.line()?;
            let taken = loop {
                let mut heard = take(&line.heard, line.ended);
                while let DialogueRead::Later(found) = heard {
                    heard = found.await;
                }
                match heard {
                    DialogueRead::Whole(count, taken) => {
                        line.heard.drain(..count);
                        break taken;
                    }
                    DialogueRead::Other(count) => {
                        line.heard.drain(..count);
                        line.heard_other = true;
                        consume_budget().await;
                        continue;
                    }
                    DialogueRead::More(count) if count > 0 => {
                        line.heard.drain(..count);
                        // A peer that says much must keep neither others nor the clock.
                        consume_budget().await;
                        continue;
                    }
                    DialogueRead::Answer(count, words) => {
                        line.heard.drain(..count);
                        line.traced.write_all(&words).await?;
                        line.traced.flush().await?;
                        consume_budget().await;
                        continue;
                    }
                    DialogueRead::More(_) | DialogueRead::Later(_) => {}
                    DialogueRead::Never(reason, words) => return Err(DialogueError::Unwanted(reason, words)),
                }
                if line.ended {
                    return Err(DialogueError::EndedFirst);
                }
                line.read().await?;
            };
            wire.times.hand_over(wire.trace.last_read());
            Ok::<_, DialogueError>(taken)
        })
        .await
    }
}

#[derive(Debug)]
enum DialogueError {
    NotConnected,
    Silent,
    EndedFirst,
    Unwanted(Reason, String),
    Io(io::Error),
}

impl From<io::Error> for DialogueError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl StageError for DialogueError {
    fn reason(&self) -> Reason {
        match self {
            Self::NotConnected => Reason::TcpFailed,
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
            Self::NotConnected => "There was no connection to speak on.".to_owned(),
            Self::Silent => "The peer closed the connection without a word.".to_owned(),
            Self::EndedFirst => "The peer closed the connection before it had said what was awaited.".to_owned(),
            Self::Unwanted(_, words) => words.clone(),
            Self::Io(error) => format!("The dialogue ended: {error}."),
        }
    }

    fn timed_out(wire: &Wire) -> Reason {
        match &wire.line {
            // What came in time is right as far as it goes, or there is nothing of it: nothing wrong was said.
            Some(line) if line.heard_other => Reason::ContentExpect,
            _ => Reason::TcpNoResponse,
        }
    }
}
