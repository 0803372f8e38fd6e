//! Connect: open a socket to the chosen address.

use super::own_fault::{has_route, shortage};
use super::wire::{Layer, Socket, Wire};
use super::{Check, Failure, Stopped};
use crate::chain::Stage;
use crate::reason::Reason;
use std::io::{Error, ErrorKind};
use std::net::SocketAddr;
use tokio::net::TcpStream;

impl Check {
    /// Opens a TCP connection, one attempt.
    ///
    /// # Errors
    /// When the connection is refused, meets silence, or has no route.
    pub async fn connect(&mut self, to: SocketAddr) -> Result<(), Stopped> {
        self.stage(Stage::Connect, async |wire| {
            wire.leg.peer = Some(to);
            let stream = dial(to).await.map_err(|error| ConnectError { to, error })?;
            wire.leg.local = stream.local_addr().ok();
            wire.layer = Some(Layer::Plain(Socket::new(stream, wire.tape.clone())));
            Ok::<_, ConnectError>(())
        })
        .await
    }
}

async fn dial(to: SocketAddr) -> Result<TcpStream, Error> {
    let stream = TcpStream::connect(to).await?;
    // A delayed last segment would show as waiting.
    stream.set_nodelay(true)?;
    Ok(stream)
}

struct ConnectError {
    to: SocketAddr,
    error: Error,
}

impl Failure for ConnectError {
    fn reason(&self) -> Reason {
        if let Some(own) = shortage(&self.error) {
            return own;
        }
        match self.error.kind() {
            ErrorKind::ConnectionRefused => Reason::TcpRefused,
            ErrorKind::ConnectionReset => Reason::TcpReset,
            ErrorKind::TimedOut => Reason::TcpTimedOut,
            ErrorKind::AddrNotAvailable if has_route(self.to) => Reason::LocalOutOfPorts,
            ErrorKind::AddrNotAvailable
            | ErrorKind::NetworkUnreachable
            | ErrorKind::HostUnreachable
            | ErrorKind::Unsupported => Reason::TcpAddressUnreachable,
            _ => Reason::TcpFailed,
        }
    }

    fn detail(&self) -> String {
        let hint = if self.to.is_ipv6() && self.reason() == Reason::TcpAddressUnreachable {
            " This host may have no IPv6: try preferred_ip_protocol: ip4."
        } else {
            ""
        };
        format!("Connecting to {}: {}.{hint}", self.to, self.error)
    }

    fn timed_out(_: &Wire) -> Reason {
        Reason::TcpTimedOut
    }
}
