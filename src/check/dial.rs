//! The gate that every socket to a peer comes from: the address that it judges is the address that is connected to.

use super::aside::{Late, aside};
use super::own_fault::{has_route, shortage};
use super::stamps;
use crate::policy::{Denied, Fence, Origin, Policy, Rule};
use crate::reason::Reason;
use socket2::{Domain, SockAddr, Socket, Type};
use std::fmt::{self, Display};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use tokio::net::{TcpSocket, TcpStream, UdpSocket, UnixStream};
use tokio::sync::Semaphore;

/// Dials, where the policy lets it.
#[derive(Clone, Debug, Default)]
pub struct Dialer {
    policy: Arc<Policy>,
    /// Where this exporter itself listens.
    listeners: Arc<[SocketAddr]>,
    denials: Arc<Denials>,
    /// The targets that the module is for.
    fence: Option<Arc<Fence>>,
}

/// How often which rule has denied a place.
#[derive(Debug, Default)]
pub struct Denials([AtomicU64; Rule::ALL.len()]);

impl Denials {
    /// One more.
    pub fn count(&self, rule: Rule) {
        if let Some(at) = Rule::ALL.iter().position(|known| *known == rule) {
            self.0[at].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = (Rule, u64)> {
        let counts = self.0.iter().map(|count| count.load(Ordering::Relaxed));
        Rule::ALL.into_iter().zip(counts)
    }
}

impl Dialer {
    /// A dialer of a policy, for an exporter that listens at these addresses.
    #[must_use]
    pub fn new(policy: Arc<Policy>, listeners: Arc<[SocketAddr]>, denials: Arc<Denials>) -> Self {
        Self {
            policy,
            listeners,
            denials,
            fence: None,
        }
    }

    /// The same for a module that is for these targets.
    #[must_use]
    pub fn within(self, fence: Option<Arc<Fence>>) -> Self {
        Self { fence, ..self }
    }

    /// Whether the module is for the target that a redirect leads to.
    pub(super) fn admit_target(&self, origin: &Origin) -> Result<(), DialError> {
        let holds = self.fence.as_ref().is_none_or(|fence| fence.holds(origin));
        let what = format_args!("{}://{}", origin.scheme, origin.host);
        self.judge((!holds).then_some(Rule::AllowedTargets), what)
    }

    /// Whether an address may be dialled that somebody else is to dial for us.
    pub(super) fn admit(&self, to: SocketAddr) -> Result<(), DialError> {
        let is_own = self.policy.denies_itself() && self.listeners.iter().any(|own| leads_to(to, *own));
        let objection = self.policy.objection(to).or(is_own.then_some(Rule::Itself));
        self.judge(objection, to)
    }

    /// A socket for a connection, from an address of this host where one is given.
    pub(super) fn tcp(&self, from: Option<IpAddr>, to: SocketAddr) -> Result<TcpDial, DialError> {
        self.admit(to)?;
        let socket = if to.is_ipv4() {
            TcpSocket::new_v4()?
        } else {
            TcpSocket::new_v6()?
        };
        // A delayed last segment would show as waiting. A kernel without the option sends at once what we write at once.
        let _ = socket.set_nodelay(true);
        stamps::turn_on(&socket);
        if let Some(from) = from {
            let bound = socket.bind(SocketAddr::new(from, 0));
            bound.map_err(|error| DialError::NoSource { from, error })?;
        }
        Ok(TcpDial { socket, to })
    }

    /// A socket that takes datagrams of one peer only.
    pub(super) async fn udp(&self, from: Option<IpAddr>, to: SocketAddr) -> Result<UdpSocket, DialError> {
        self.admit(to)?;
        let bound = UdpSocket::bind((from.unwrap_or(any_address(to.ip())), 0)).await;
        let socket = bound.map_err(|error| match from {
            Some(from) => DialError::NoSource { from, error },
            None => DialError::of(error, to),
        })?;
        stamps::turn_on(&socket);
        socket.connect(to).await.map_err(|error| DialError::of(error, to))?;
        Ok(socket)
    }

    /// Connects a socket of packets, which `open` makes, to an address: only what that sends comes in, and the kernel's word
    /// when a router says that it cannot be reached.
    pub(super) fn packets<E: From<DialError>>(
        &self,
        to: IpAddr,
        open: impl FnOnce() -> Result<Socket, E>,
    ) -> Result<Socket, E> {
        self.judge(self.policy.objection_to_address(to), to)?;
        let socket = open()?;
        let connected = socket.connect(&SocketAddr::new(to, 0).into());
        connected.map_err(DialError::from)?;
        Ok(socket)
    }

    /// Connects to a socket in the file system (unix(7)). It is the path without links that is judged.
    /// Tells, too, when it began and ended: the path is walked off the runtime, and the way there and back is ours.
    pub(super) async fn unix(&self, path: &Path, until: Instant) -> Result<(UnixStream, [Instant; 2]), DialError> {
        let mut path = path.to_owned();
        if !self.policy.takes_any_path() {
            path = in_the_file_system(until, move || std::fs::canonicalize(path)).await?;
            self.judge(self.policy.objection_to_path(&path), path.display())?;
        }
        let connecting = in_the_file_system(until, move || {
            let began = Instant::now();
            let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
            socket.set_nonblocking(true)?;
            socket.connect(&SockAddr::unix(path)?)?;
            Ok((socket, [began, Instant::now()]))
        });
        let (socket, times) = connecting.await?;
        Ok((UnixStream::from_std(socket.into())?, times))
    }

    fn judge(&self, objection: Option<Rule>, what: impl Display) -> Result<(), DialError> {
        let Some(rule) = objection else {
            return Ok(());
        };
        self.denials.count(rule);
        let what = what.to_string();
        Err(DialError::Denied(Denied { what, rule }))
    }
}

/// Paths that may be walked at once: one on a file system that hangs cannot be stopped, and keeps its thread.
const PATHS_AT_ONCE: usize = 64;

/// See [`PATHS_AT_ONCE`].
static PATHS: Semaphore = Semaphore::const_new(PATHS_AT_ONCE);

/// Walks a path, which whoever may scrape chooses, off the runtime.
async fn in_the_file_system<T: Send + 'static>(
    until: Instant,
    walk: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, DialError> {
    let place = tokio::time::timeout_at(until.into(), PATHS.acquire()).await;
    let place = place.map_err(|_elapsed| DialError::NoPlace)?;
    let walking = aside(until, move || {
        // Kept until the walk has ended, not until nobody waits for it any more.
        let _place = place;
        walk()
    });
    match walking.await {
        Ok(walked) => Ok(walked?),
        Err(Late::NotBegun) => Err(DialError::NoPlace),
        Err(Late::Slow) => Err(io::Error::from(io::ErrorKind::TimedOut).into()),
    }
}

/// A datagram socket to a name server. The operator of the host or of the module chose it: the policy is for targets.
pub(super) async fn name_server_udp(at: SocketAddr) -> Result<UdpSocket, DialError> {
    let socket = UdpSocket::bind((any_address(at.ip()), 0)).await?;
    socket.connect(at).await.map_err(|error| DialError::of(error, at))?;
    Ok(socket)
}

/// A connection to a name server; see [`name_server_udp`].
pub(super) async fn name_server_tcp(at: SocketAddr) -> Result<TcpStream, DialError> {
    let stream = TcpStream::connect(at).await.map_err(|error| DialError::of(error, at))?;
    // A question is one segment.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

/// The address of this host that packets to an address would come from; none where there is no route.
pub(super) fn source_address(to: IpAddr) -> io::Result<IpAddr> {
    // A datagram socket that is connected sends nothing.
    let socket = std::net::UdpSocket::bind((any_address(to), 0))?;
    socket.connect((to, 9))?;
    Ok(socket.local_addr()?.ip())
}

/// The unspecified address of the family of another one.
fn any_address(family_of: IpAddr) -> IpAddr {
    if family_of.is_ipv4() {
        Ipv4Addr::UNSPECIFIED.into()
    } else {
        Ipv6Addr::UNSPECIFIED.into()
    }
}

/// Where a connection was dialled.
#[derive(Clone, Debug)]
pub(super) enum Dialled {
    /// At an address, from one of this host where the module names it.
    Tcp(Option<IpAddr>, SocketAddr),
    /// At a path.
    Unix(PathBuf),
}

/// A connection that may be opened, to the address that was judged.
pub(super) struct TcpDial {
    socket: TcpSocket,
    to: SocketAddr,
}

impl TcpDial {
    pub async fn connect(self) -> Result<TcpStream, DialError> {
        let connected = self.socket.connect(self.to).await;
        connected.map_err(|error| DialError::of(error, self.to))
    }
}

/// Whether an address leads to a listener of this host.
fn leads_to(to: SocketAddr, own: SocketAddr) -> bool {
    if to.port() != own.port() {
        return false;
    }
    let (ip, own) = (to.ip().to_canonical(), own.ip().to_canonical());
    ip == own
        || (own.is_unspecified() && is_of_this_host(ip))
        // "Any" address leads to loopback.
        || (ip.is_unspecified() && own.is_loopback())
}

/// Whether packets to an address would come from that address itself.
fn is_of_this_host(address: IpAddr) -> bool {
    address.is_unspecified() || address.is_loopback() || source_address(address).is_ok_and(|source| source == address)
}

/// Why there is no socket.
#[derive(Debug)]
pub(super) enum DialError {
    Denied(Denied),
    /// The address to send from is none of this host.
    NoSource {
        from: IpAddr,
        error: io::Error,
    },
    /// This host has a way there, and no free port to go from.
    OutOfPorts(io::Error),
    /// Other work, such as paths that hang, left none to walk this one by.
    NoPlace,
    Io(io::Error),
}

impl From<io::Error> for DialError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied(denied) => denied.fmt(f),
            Self::NoSource { from, error } => write!(f, "from source_ip_address {from}: {error}"),
            Self::OutOfPorts(error) | Self::Io(error) => error.fmt(f),
            Self::NoPlace => write!(
                f,
                "other work, such as {PATHS_AT_ONCE} paths that hang, left no thread to walk this one in time"
            ),
        }
    }
}

impl DialError {
    /// `EADDRNOTAVAIL` is a lack of ports where there is a way, and else a lack of an address of that family.
    fn of(error: io::Error, to: SocketAddr) -> Self {
        match error.kind() {
            io::ErrorKind::AddrNotAvailable | io::ErrorKind::AddrInUse if has_route(to) => Self::OutOfPorts(error),
            _ => Self::Io(error),
        }
    }

    /// What kind of error the kernel gave.
    pub fn kind(&self) -> io::ErrorKind {
        match self {
            Self::Denied(_) => io::ErrorKind::PermissionDenied,
            Self::NoPlace => io::ErrorKind::ResourceBusy,
            Self::NoSource { error, .. } | Self::OutOfPorts(error) | Self::Io(error) => error.kind(),
        }
    }

    /// The reason, if it is one of our own side.
    pub fn own_reason(&self) -> Option<Reason> {
        match self {
            Self::Denied(_) => Some(Reason::LocalDenied),
            Self::NoSource { error, .. } => Some(match error.kind() {
                io::ErrorKind::AddrInUse => Reason::LocalOutOfPorts,
                _ => shortage(error).unwrap_or(Reason::LocalSourceUnavailable),
            }),
            Self::OutOfPorts(_) => Some(Reason::LocalOutOfPorts),
            Self::NoPlace => Some(Reason::LocalOverloaded),
            // A firewall of this host, or what a container may not do.
            Self::Io(error) if error.kind() == io::ErrorKind::PermissionDenied => Some(Reason::LocalNotPermitted),
            Self::Io(error) => shortage(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Dialer, PATHS, PATHS_AT_ONCE};
    use crate::reason::Reason;
    use std::path::Path;
    use std::time::{Duration, Instant};

    #[tokio::test]
    async fn paths_that_hang_leave_the_threads_to_others() {
        let all = PATHS.acquire_many(u32::try_from(PATHS_AT_ONCE).unwrap()).await.unwrap();
        let path = Path::new("/nowhere/app.sock");
        let refused = Dialer::default().unix(path, Instant::now()).await.unwrap_err();
        assert_eq!(refused.own_reason(), Some(Reason::LocalOverloaded));
        drop(all);
        let until = Instant::now() + Duration::from_mins(1);
        let missing = Dialer::default().unix(path, until).await.unwrap_err();
        assert_eq!(missing.kind(), std::io::ErrorKind::NotFound);
    }
}
