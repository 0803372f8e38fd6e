//! A request and its response in one datagram each.

use super::dial::DialError;
use super::rx_timestamps;
use super::transport::{Datagrams, OutOfOrder, Transport};
use super::wire::Wire;
use super::{Check, ProbeFailed, StageError};
use glassbox_verdict::chain::Stage;
use glassbox_verdict::reason::Reason;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

/// Maximum bytes to read from a response. This exceeds the 512 bytes that the exporter's queries allow (RFC 1035
/// section 4.2.1), and the size that servers send if the query does not ask for more.
const ANSWER: usize = 4096;

impl Check {
    /// Sends one datagram, optionally from a given address of this host.
    ///
    /// # Errors
    /// Fails if this host cannot send it.
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
            // The time is taken before the call, because on loopback the response may arrive before the call returns.
            let at = Instant::now();
            wire.times.began = Some(at);
            socket.send(bytes).await?;
            wire.trace.datagram_sent(at, bytes.len());
            wire.times.hand_over(Some(at));
            wire.transport = Transport::Datagrams(Datagrams { socket, opened });
            Ok::<_, DatagramError>(())
        })
        .await
    }

    /// Waits for a datagram that `take` accepts. Other datagrams are late or from another exchange, and are dropped.
    ///
    /// # Errors
    /// Fails if the peer's host reports that nothing is listening on the port.
    pub async fn await_datagram<T>(&mut self, mut take: impl FnMut(&[u8]) -> Option<T>) -> Result<T, ProbeFailed> {
        self.stage(Stage::Wait, async |wire| {
            let Wire {
                transport,
                trace,
                times,
                ..
            } = wire;
            let datagrams = transport.datagrams()?;
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
    OutOfOrder(OutOfOrder),
    Dial(DialError),
}

impl From<OutOfOrder> for DatagramError {
    fn from(error: OutOfOrder) -> Self {
        Self::OutOfOrder(error)
    }
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
        let error = match self {
            Self::OutOfOrder(_) => return OutOfOrder::REASON,
            Self::Dial(error) => error,
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
            Self::OutOfOrder(error) => error.to_string(),
            Self::Dial(error) if error.kind() == ErrorKind::ConnectionRefused => {
                "The server's host reports that nothing is listening on this port.".to_owned()
            }
            Self::Dial(error) => format!("The datagram exchange failed: {error}."),
        }
    }

    fn timed_out(_: &Wire) -> Reason {
        Reason::DnsTimedOut
    }
}
