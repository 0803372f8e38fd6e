//! A question and its answer in one datagram each.

use super::dial::DialError;
use super::rx_timestamps::{self, ReceivedPacket};
use super::wire::Wire;
use super::{Check, ProbeFailed, StageError};
use crate::chain::Stage;
use crate::reason::Reason;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// Bytes of the largest datagram.
pub(super) const LARGEST: usize = 64 * 1024;

/// Bytes of an answer that are read. More than a question of ours offers room for (RFC 1035 section 4.2.1: 512), and more than servers
/// send to anybody who does not ask for it.
const ANSWER: usize = 4096;

/// A socket that takes datagrams of one peer only, and when it was opened.
#[derive(Debug)]
pub(super) struct Datagrams {
    pub socket: UdpSocket,
    pub opened: Instant,
}

impl Datagrams {
    /// Waits for the next datagram, or for the kernel's word that none will come: it is no datagram, and is waited for
    /// beside them.
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

impl Check {
    /// Sends one datagram, from an address of this host where one is given.
    ///
    /// # Errors
    /// When this host cannot send it.
    pub async fn send_datagram(
        &mut self,
        from: Option<IpAddr>,
        to: SocketAddr,
        bytes: &[u8],
    ) -> Result<(), ProbeFailed> {
        let dialer = self.dialer();
        self.stage(Stage::Send, async |wire| {
            wire.facts.peer = Some(to);
            let opened = Instant::now();
            let socket = dialer.udp(from, to).await?;
            wire.facts.local = socket.local_addr().ok();
            // Before, not after: on loopback the answer may be there when the call returns.
            let at = Instant::now();
            wire.times.began = Some(at);
            socket.send(bytes).await?;
            wire.trace.datagram_sent(at, bytes.len());
            wire.times.hand_over(Some(at));
            wire.datagrams = Some(Datagrams { socket, opened });
            Ok::<_, DatagramError>(())
        })
        .await
    }

    /// Waits for the datagram that `take` takes; those that it does not take are somebody else's, or late.
    ///
    /// # Errors
    /// When the peer's host says that nobody listens there.
    pub async fn await_datagram<T>(&mut self, mut take: impl FnMut(&[u8]) -> Option<T>) -> Result<T, ProbeFailed> {
        self.stage(Stage::Wait, async |wire| {
            let Wire {
                datagrams,
                trace,
                times,
                ..
            } = wire;
            let datagrams = datagrams.as_ref().ok_or(DatagramError::NotSent)?;
            let (mut buffer, mut stamp) = (vec![0; ANSWER], rx_timestamps::room());
            loop {
                let received = datagrams.receive(&mut buffer, &mut stamp).await?;
                let bytes = &buffer[..received.count];
                trace.socket_read(received, bytes);
                if let Some(taken) = take(bytes) {
                    trace.answer_read(bytes);
                    times.hand_over(Some(received.at()));
                    return Ok::<_, DatagramError>(taken);
                }
            }
        })
        .await
    }
}

enum DatagramError {
    NotSent,
    Dial(DialError),
}

impl From<io::Error> for DatagramError {
    fn from(error: io::Error) -> Self {
        Self::Dial(error.into())
    }
}

impl From<DialError> for DatagramError {
    fn from(error: DialError) -> Self {
        Self::Dial(error)
    }
}

impl StageError for DatagramError {
    fn reason(&self) -> Reason {
        let Self::Dial(error) = self else {
            return Reason::DnsFailed;
        };
        error.own_reason().unwrap_or(match error.kind() {
            ErrorKind::ConnectionRefused => Reason::DnsServerUnreachable,
            ErrorKind::NetworkUnreachable
            | ErrorKind::HostUnreachable
            | ErrorKind::AddrNotAvailable
            | ErrorKind::InvalidInput => Reason::TcpAddressUnreachable,
            _ => Reason::DnsFailed,
        })
    }

    fn detail(&self) -> String {
        match self {
            Self::NotSent => "There was no question to wait for.".to_owned(),
            Self::Dial(error) if error.kind() == ErrorKind::ConnectionRefused => {
                "The server's host says that nobody listens at this port.".to_owned()
            }
            Self::Dial(error) => format!("The datagram: {error}."),
        }
    }

    fn timed_out(_: &Wire) -> Reason {
        Reason::DnsTimedOut
    }
}
