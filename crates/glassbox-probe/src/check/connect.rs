//! Connect: opens a socket to the selected address.

use super::dial::{DialError, Dialer, Dialled};
use super::layer::Layer;
use super::rx_timestamps;
use super::socket::{Socket, SocketStream};
use super::transport::Transport;
use super::wire::Wire;
use super::{Check, ProbeFailed, StageError};
use crate::policy::Origin;
use glassbox_verdict::chain::Stage;
use glassbox_verdict::reason::Reason;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

impl Check {
    /// Checks whether the module allows the target of a redirect.
    ///
    /// # Errors
    /// Fails if `allowed_targets` does not match it.
    pub fn redirected_to(&mut self, origin: &Origin) -> Result<(), ProbeFailed> {
        let admitted = self.context.dialer.admit_target(origin);
        admitted.map_err(|error| self.fail(Reason::LocalDenied, format!("The redirect target is denied: {error}.")))
    }

    /// Checks whether the policy allows an address, before a proxy connects to it or before expensive preparations.
    ///
    /// # Errors
    /// Fails if the policy denies it.
    pub fn admit(&mut self, to: SocketAddr) -> Result<(), ProbeFailed> {
        let admitted = self.dialer().admit(to);
        admitted.map_err(|error| self.fail(Reason::LocalDenied, format!("{error}.")))
    }

    /// Checks whether a host name may be resolved. The exporter treats `0xA9FEA9FE` as a name, other programs as an
    /// address.
    ///
    /// # Errors
    /// Fails if the policy denies that address.
    pub fn admit_name(&mut self, host: &str) -> Result<(), ProbeFailed> {
        if host.parse::<IpAddr>().is_ok() {
            // The dialer checks it later, together with its port.
            return Ok(());
        }
        let admitted = self.context.dialer.admit_name(host);
        admitted.map_err(|error| self.fail(Reason::LocalDenied, format!("{error}.")))
    }

    /// Declares that the current exchange sends nothing on its connection.
    pub fn send_nothing(&mut self) {
        self.wire.is_silent = true;
    }

    /// The dialer for the current exchange.
    pub(super) fn dialer(&self) -> Dialer {
        let dialer = self.context.dialer.clone();
        dialer.for_request(&self.wire.facts.url, self.wire.is_silent)
    }

    /// Opens a TCP connection with a single attempt.
    ///
    /// # Errors
    /// Fails if the connection is refused, times out, or has no route.
    pub async fn connect(&mut self, to: SocketAddr) -> Result<(), ProbeFailed> {
        self.connect_from(None, to).await
    }

    /// Opens a TCP connection from an address of this host.
    ///
    /// # Errors
    /// As for [`Check::connect`], and if the address does not belong to this host.
    pub async fn connect_from(&mut self, from: Option<IpAddr>, to: SocketAddr) -> Result<(), ProbeFailed> {
        let dialer = self.dialer();
        self.stage(Stage::Connect, async |wire| {
            wire.facts.peer = Some(to);
            let refused = |error| ConnectError::Tcp { to, error };
            let dial = dialer.tcp(from, to).map_err(refused)?;
            let begun = Instant::now();
            wire.times.began = Some(begun);
            let stream = dial.connect().await.map_err(refused)?;
            let woken = Instant::now();
            // Prefers the kernel's time of the completed handshake to the time at which the exporter was woken.
            let opened = rx_timestamps::handshake_time(&stream)
                .map(|took| begun + took)
                .filter(|at| *at <= woken);
            wire.times.ended = opened.or(Some(woken));
            wire.trace.connected(opened.map(|at| woken - at));
            wire.facts.local = stream.local_addr().ok();
            wire.dialled = Some(Dialled::Tcp(from, to));
            wire.transport = Transport::Stream(Layer::Plain(Socket::new(
                SocketStream::Tcp(Arc::new(stream)),
                wire.trace.clone(),
                begun,
            )));
            Ok::<_, ConnectError>(())
        })
        .await
    }

    /// Opens a connection to a socket in the file system (unix(7)).
    ///
    /// # Errors
    /// Fails if the socket does not exist, has no listener, or the exporter lacks permission.
    pub async fn connect_unix(&mut self, path: &Path) -> Result<(), ProbeFailed> {
        let (dialer, until) = (self.context.dialer.clone(), self.deadline());
        self.stage(Stage::Connect, async |wire| {
            let dialled = dialer.unix(path, until).await;
            let (stream, [begun, ended]) = dialled.map_err(|error| ConnectError::Unix {
                path: path.to_owned(),
                error,
            })?;
            wire.times.began = Some(begun);
            wire.times.ended = Some(ended);
            wire.trace.connected(None);
            wire.dialled = Some(Dialled::Unix(path.to_owned()));
            wire.transport = Transport::Stream(Layer::Plain(Socket::new(
                SocketStream::Unix(stream),
                wire.trace.clone(),
                begun,
            )));
            Ok::<_, ConnectError>(())
        })
        .await
    }
}

enum ConnectError {
    Tcp { to: SocketAddr, error: DialError },
    Unix { path: PathBuf, error: DialError },
}

impl StageError for ConnectError {
    fn reason(&self) -> Reason {
        let (Self::Tcp { error, .. } | Self::Unix { error, .. }) = self;
        let DialError::Io(kernel) = error else {
            return error.own_reason().unwrap_or(Reason::TcpFailed);
        };
        if let Some(own) = error.own_reason() {
            return own;
        }
        match (self, kernel.kind()) {
            // `WouldBlock`: the listener's backlog is full.
            (_, ErrorKind::ConnectionRefused | ErrorKind::NotFound) | (Self::Unix { .. }, ErrorKind::WouldBlock) => {
                Reason::TcpRefused
            }
            (_, ErrorKind::ConnectionReset) => Reason::TcpReset,
            // A path does not involve a network. The kernel's error is about the path or the exporter's permissions.
            (Self::Unix { .. }, ErrorKind::PermissionDenied) => Reason::LocalNotPermitted,
            (Self::Unix { .. }, kind) if kind != ErrorKind::TimedOut => Reason::LocalTargetInvalid,
            (_, ErrorKind::TimedOut) => Reason::TcpTimedOut,
            (
                Self::Tcp { .. },
                ErrorKind::AddrNotAvailable
                | ErrorKind::NetworkUnreachable
                | ErrorKind::HostUnreachable
                | ErrorKind::Unsupported
                // The source and the target have different families.
                | ErrorKind::InvalidInput,
            ) => Reason::TcpAddressUnreachable,
            _ => Reason::TcpFailed,
        }
    }

    fn detail(&self) -> String {
        match self {
            Self::Tcp { to, error } => {
                let unreachable = matches!(self.reason(), Reason::TcpAddressUnreachable | Reason::LocalNoRoute);
                let hint = if to.is_ipv6() && unreachable {
                    " This host may have no IPv6: try preferred_ip_protocol: ip4."
                } else {
                    ""
                };
                match error {
                    DialError::Io(_) | DialError::OutOfPorts(_) | DialError::NoRoute(_) => {
                        format!("Connecting to {to} failed: {error}.{hint}")
                    }
                    DialError::NoSource { .. } => format!("Connecting failed {error}."),
                    DialError::Denied(_) | DialError::NoPlace => format!("{error}."),
                }
            }
            Self::Unix { path, error } => format!("Connecting to {} failed: {error}.", path.display()),
        }
    }

    fn timed_out(_: &Wire) -> Reason {
        Reason::TcpTimedOut
    }
}
