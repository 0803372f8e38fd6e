//! Connect: open a socket to the chosen address.

use super::own_fault::{has_route, shortage};
use super::stamps;
use super::wire::{Layer, Socket, Wire};
use super::{Check, Failure, Stopped};
use crate::chain::Stage;
use crate::reason::Reason;
use std::io::{Error, ErrorKind};
use std::net::SocketAddr;
use std::time::Instant;
use tokio::net::TcpSocket;

impl Check {
    /// Opens a TCP connection, one attempt.
    ///
    /// # Errors
    /// When the connection is refused, meets silence, or has no route.
    pub async fn connect(&mut self, to: SocketAddr) -> Result<(), Stopped> {
        self.stage(Stage::Connect, async |wire| {
            wire.leg.peer = Some(to);
            let refused = |error| ConnectError { to, error };
            let socket = open(to).map_err(refused)?;
            let begun = Instant::now();
            wire.times.began = Some(begun);
            let stream = socket.connect(to).await.map_err(refused)?;
            let woken = Instant::now();
            // The kernel knows when the connection was open; we know when we were told.
            let opened = stamps::handshake_time(&stream)
                .map(|took| begun + took)
                .filter(|at| *at <= woken);
            wire.times.ended = opened.or(Some(woken));
            wire.tape.connected(opened.map(|at| woken - at));
            wire.leg.local = stream.local_addr().ok();
            wire.layer = Some(Layer::Plain(Socket::new(stream, wire.tape.clone(), begun)));
            Ok::<_, ConnectError>(())
        })
        .await
    }
}

fn open(to: SocketAddr) -> Result<TcpSocket, Error> {
    let socket = if to.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    // A delayed last segment would show as waiting.
    socket.set_nodelay(true)?;
    stamps::turn_on(&socket);
    Ok(socket)
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
