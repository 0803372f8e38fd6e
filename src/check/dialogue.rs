//! A dialogue in bytes: what is said, what is waited for, what is heard.

use super::http1::Asking;
use super::wire::{Layer, Meter, Wire};
use super::{Check, Failure, Stopped};
use crate::chain::Stage;
use crate::reason::Reason;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use std::future::Future;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::time::Instant;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::coop::consume_budget;

/// Bytes that are read at once.
const PIECE: usize = 4096;

/// What is done with what was heard so far.
pub enum Heard<T> {
    /// It is what was wanted: so many bytes of it are taken, the rest is for who listens next.
    Whole(usize, T),
    /// So many bytes are done with, and nothing that is wanted is among the rest.
    More(usize),
    /// So many bytes are done with, and these are to be said before more is heard.
    Answer(usize, Vec<u8>),
    /// It will never be what is wanted.
    Never(Reason, String),
    /// Which of these it is takes long to find out.
    Later(Pin<Box<dyn Future<Output = Heard<T>> + Send>>),
}

/// The connection while a dialogue is held on it, and the bytes that were read and not yet taken.
#[derive(Debug)]
pub(super) struct Line {
    meter: Meter,
    heard: Vec<u8>,
    /// Something was heard since it was last waited for.
    spoke: bool,
    ended: bool,
}

impl Line {
    const fn new(meter: Meter) -> Self {
        Self {
            meter,
            heard: Vec::new(),
            spoke: false,
            ended: false,
        }
    }

    pub fn into_layer(self) -> Layer {
        self.meter.into_layer()
    }

    /// The line that HTTP hands over when it has switched protocols, if it is ours.
    pub fn switched(upgraded: Upgraded) -> Option<Self> {
        let parts = upgraded.downcast::<TokioIo<Asking>>().ok()?;
        Some(Self {
            heard: parts.read_buf.to_vec(),
            ..Self::new(parts.io.into_inner().into_meter())
        })
    }

    async fn read(&mut self) -> io::Result<()> {
        let mut piece = [0; PIECE];
        let count = self.meter.read(&mut piece).await?;
        self.ended = count == 0;
        self.spoke |= count > 0;
        self.heard.extend_from_slice(&piece[..count]);
        Ok(())
    }
}

impl Wire {
    fn line(&mut self) -> Result<&mut Line, DialogueError> {
        if let Some(layer) = self.layer.take() {
            self.line = Some(Line::new(Meter::new(layer, self.tape.clone())));
        }
        self.line.as_mut().ok_or(DialogueError::NotConnected)
    }
}

impl Check {
    /// Says something, to its last byte.
    ///
    /// # Errors
    /// When the connection ends first.
    pub async fn say(&mut self, words: &[u8]) -> Result<(), Stopped> {
        self.stage(Stage::Send, async |wire| {
            wire.times.began = Some(Instant::now());
            let line = wire.line()?;
            line.meter.write_all(words).await?;
            line.meter.flush().await?;
            wire.times.hand_over(wire.tape.last_write());
            Ok::<_, DialogueError>(())
        })
        .await
    }

    /// Where an exchange in plain text was answered by a TLS alert, it stopped for that: the port speaks TLS.
    pub fn stopped_by_tls(&mut self, stopped: Stopped) -> Stopped {
        if self.wire.leg.tls.is_some() || !self.wire.tape.answer_is_tls_alert() {
            return stopped;
        }
        let words = "The server answered plain text with a TLS alert: the port speaks TLS.";
        self.refuse(Reason::TlsExpected, words)
    }

    /// Waits until there is something to hear: at once, where something is left of what came before.
    ///
    /// # Errors
    /// When the connection ends without a byte.
    pub async fn await_word(&mut self) -> Result<(), Stopped> {
        self.stage(Stage::Wait, async |wire| {
            let line = wire.line()?;
            line.spoke = !line.heard.is_empty();
            if line.heard.is_empty() {
                line.read().await?;
                if line.ended {
                    return Err(DialogueError::Silent);
                }
                wire.times.hand_over(wire.tape.last_read());
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
    pub async fn hear<T>(&mut self, mut take: impl FnMut(&[u8], bool) -> Heard<T>) -> Result<T, Stopped> {
        self.stage(Stage::Receive, async |wire| {
            let line = wire.line()?;
            let taken = loop {
                let mut heard = take(&line.heard, line.ended);
                while let Heard::Later(found) = heard {
                    heard = found.await;
                }
                match heard {
                    Heard::Whole(count, taken) => {
                        line.heard.drain(..count);
                        break taken;
                    }
                    Heard::More(count) if count > 0 => {
                        line.heard.drain(..count);
                        // A peer that says much must keep neither others nor the clock.
                        consume_budget().await;
                        continue;
                    }
                    Heard::Answer(count, words) => {
                        line.heard.drain(..count);
                        line.meter.write_all(&words).await?;
                        line.meter.flush().await?;
                        consume_budget().await;
                        continue;
                    }
                    Heard::More(_) | Heard::Later(_) => {}
                    Heard::Never(reason, words) => return Err(DialogueError::Unwanted(reason, words)),
                }
                if line.ended {
                    return Err(DialogueError::EndedFirst);
                }
                line.read().await?;
            };
            wire.times.hand_over(wire.tape.last_read());
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

impl Failure for DialogueError {
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
            // It spoke, and has not said what is awaited.
            Some(line) if line.spoke => Reason::ContentExpect,
            _ => Reason::TcpSilent,
        }
    }
}
