//! The connection of a dialogue.

use crate::check::layer::{Layer, TracedStream};
use crate::check::memory_limit::{Charge, ProbeMemory};
use std::io::{self, ErrorKind};
use tokio::io::AsyncReadExt as _;

/// Maximum bytes per read.
const PIECE: usize = 4096;

/// The connection of a dialogue, with the bytes that were received and not yet consumed.
#[derive(Debug)]
pub(in crate::check) struct DialogueConnection {
    pub traced: TracedStream,
    pub heard: Vec<u8>,
    /// Memory that `heard` uses.
    charge: Charge,
    /// Whether an unexpected response has been received since the last wait.
    pub heard_other: bool,
    pub ended: bool,
}

impl DialogueConnection {
    pub fn new(traced: TracedStream, memory: &ProbeMemory) -> Self {
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

    /// Takes over a connection after HTTP switched protocols, with the bytes that followed the response header.
    pub fn switched((traced, heard): (TracedStream, Vec<u8>), memory: &ProbeMemory) -> Self {
        Self {
            heard,
            ..Self::new(traced, memory)
        }
    }

    /// Reads more bytes, or the end of the stream.
    pub async fn read(&mut self) -> io::Result<()> {
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
