//! A socket for datagrams.

use crate::check::rx_timestamps::{self, ReceivedPacket};
use std::io::{self, ErrorKind};
use std::time::Instant;
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// Maximum size of a datagram in bytes.
pub(in crate::check) const LARGEST: usize = 64 * 1024;

/// A socket that only accepts datagrams from one peer, and the time when it was opened.
#[derive(Debug)]
pub(in crate::check) struct Datagrams {
    pub socket: UdpSocket,
    pub opened: Instant,
}

impl Datagrams {
    /// Waits for the next datagram or for a socket error. The kernel does not report such an error as readable data, so
    /// both events are awaited.
    pub async fn receive(&self, buffer: &mut [u8], stamp: &mut [u8]) -> io::Result<ReceivedPacket> {
        loop {
            let ready = self.socket.ready(Interest::READABLE | Interest::ERROR).await?;
            if ready.is_error()
                && let Some(error) = self.socket.take_error()?
            {
                return Err(error);
            }
            let read = || rx_timestamps::receive(&self.socket, buffer, stamp, self.opened);
            match self.socket.try_io(Interest::READABLE, read) {
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                received => return received,
            }
        }
    }
}
