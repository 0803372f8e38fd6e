//! Connect: open a socket to the chosen address.

use super::own_fault::{has_route, shortage};
use super::socket::{Pipe, Socket};
use super::stamps;
use super::wire::{Layer, Wire};
use super::{Check, Failure, Stopped};
use crate::chain::Stage;
use crate::reason::Reason;
use std::io::{Error, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Instant;
use tokio::net::{TcpSocket, UnixStream};

impl Check {
    /// Opens a TCP connection, one attempt.
    ///
    /// # Errors
    /// When the connection is refused, meets silence, or has no route.
    pub async fn connect(&mut self, to: SocketAddr) -> Result<(), Stopped> {
        self.connect_from(None, to).await
    }

    /// Opens a TCP connection from an address of this host.
    ///
    /// # Errors
    /// Those of [`Check::connect`], and when this host does not have the address.
    pub async fn connect_from(&mut self, from: Option<IpAddr>, to: SocketAddr) -> Result<(), Stopped> {
        self.stage(Stage::Connect, async |wire| {
            wire.leg.peer = Some(to);
            let refused = |error| ConnectError::Tcp { to, error };
            let socket = open(to).map_err(refused)?;
            if let Some(from) = from {
                socket
                    .bind(SocketAddr::new(from, 0))
                    .map_err(|error| ConnectError::NoSource { from, error })?;
            }
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
            wire.layer = Some(Layer::Plain(Socket::new(Pipe::Tcp(stream), wire.tape.clone(), begun)));
            Ok::<_, ConnectError>(())
        })
        .await
    }

    /// Opens a connection to a socket in the file system (unix(7)).
    ///
    /// # Errors
    /// When there is no such socket, nobody listens at it, or we may not use it.
    pub async fn connect_unix(&mut self, path: &Path) -> Result<(), Stopped> {
        self.stage(Stage::Connect, async |wire| {
            let begun = Instant::now();
            let stream = UnixStream::connect(path).await.map_err(|error| ConnectError::Unix {
                path: path.to_owned(),
                error,
            })?;
            wire.tape.connected(None);
            wire.layer = Some(Layer::Plain(Socket::new(Pipe::Unix(stream), wire.tape.clone(), begun)));
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

enum ConnectError {
    Tcp { to: SocketAddr, error: Error },
    NoSource { from: IpAddr, error: Error },
    Unix { path: PathBuf, error: Error },
}

impl Failure for ConnectError {
    fn reason(&self) -> Reason {
        let (Self::Tcp { error, .. } | Self::NoSource { error, .. } | Self::Unix { error, .. }) = self;
        if let Some(own) = shortage(error) {
            return own;
        }
        match (self, error.kind()) {
            (Self::NoSource { .. }, _) => Reason::LocalSourceUnavailable,
            (Self::Unix { .. }, ErrorKind::PermissionDenied) => Reason::LocalNotPermitted,
            (_, ErrorKind::ConnectionRefused | ErrorKind::NotFound) => Reason::TcpRefused,
            (_, ErrorKind::ConnectionReset) => Reason::TcpReset,
            (_, ErrorKind::TimedOut) => Reason::TcpTimedOut,
            (Self::Tcp { to, .. }, ErrorKind::AddrNotAvailable) if has_route(*to) => Reason::LocalOutOfPorts,
            (
                Self::Tcp { .. },
                ErrorKind::AddrNotAvailable
                | ErrorKind::NetworkUnreachable
                | ErrorKind::HostUnreachable
                | ErrorKind::Unsupported
                // A source of one family and a target of the other.
                | ErrorKind::InvalidInput,
            ) => Reason::TcpAddressUnreachable,
            _ => Reason::TcpFailed,
        }
    }

    fn detail(&self) -> String {
        match self {
            Self::Tcp { to, error } => {
                let hint = if to.is_ipv6() && self.reason() == Reason::TcpAddressUnreachable {
                    " This host may have no IPv6: try preferred_ip_protocol: ip4."
                } else {
                    ""
                };
                format!("Connecting to {to}: {error}.{hint}")
            }
            Self::NoSource { from, error } => format!("Connecting from source_ip_address {from}: {error}."),
            Self::Unix { path, error } => format!("Connecting to {}: {error}.", path.display()),
        }
    }

    fn timed_out(_: &Wire) -> Reason {
        Reason::TcpTimedOut
    }
}
