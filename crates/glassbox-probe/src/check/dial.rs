//! Opens every socket to a target. The connection goes to exactly the address that the policy approved.

mod unix_path;

use super::local_fault::{has_route, shortage};
use super::rx_timestamps;
use crate::policy::{Denied, Origin, Policy, PolicyRule, TargetAllowlist};
use crate::target::{HttpUrl, numeric_address};
use glassbox_verdict::host_port::Host;
use glassbox_verdict::reason::Reason;
use socket2::Socket;
use std::fmt::{self, Display};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use tokio::net::{TcpSocket, TcpStream, UdpSocket, UnixStream};
use unix_path::{PATHS_AT_ONCE, SocketFile};

/// Opens sockets that the policy allows.
#[derive(Clone, Debug, Default)]
pub struct Dialer {
    policy: Arc<Policy>,
    /// Addresses on which the exporter listens.
    listeners: Arc<[SocketAddr]>,
    denials: Arc<Denials>,
    /// The targets that the module allows.
    allowlist: Option<Arc<TargetAllowlist>>,
    /// Whether the exporter itself may respond to the request, because the request cannot start a probe.
    asks_nothing_of_itself: bool,
    /// Whether the request is a DNS message in plain text.
    asks_for_names: bool,
}

/// Paths that a probe may request from the exporter itself. They start no probe, so they cannot cause an endless loop.
/// A prefix may precede them (`--web.route-prefix`). No path with one of these endings is the path of `/probe`.
const OWN_PATHS: [&str; 3] = ["/-/healthy", "/-/ready", "/metrics"];

/// URL prefixes of plain-text exchanges of `prober: dns`.
const QUESTIONS: [&str; 2] = ["dns://", "dns+tcp://"];

/// Number of denials per policy rule.
#[derive(Debug, Default)]
pub struct Denials([AtomicU64; PolicyRule::ALL.len()]);

impl Denials {
    /// Counts a denial.
    pub fn count(&self, rule: PolicyRule) {
        if let Some(at) = PolicyRule::ALL.iter().position(|known| *known == rule) {
            self.0[at].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// All counters.
    pub fn all(&self) -> impl Iterator<Item = (PolicyRule, u64)> {
        let counts = self.0.iter().map(|count| count.load(Ordering::Relaxed));
        PolicyRule::ALL.into_iter().zip(counts)
    }
}

impl Dialer {
    /// Creates a dialer for a policy and an exporter that listens on these addresses.
    #[must_use]
    pub fn new(policy: Arc<Policy>, listeners: Arc<[SocketAddr]>, denials: Arc<Denials>) -> Self {
        Self {
            policy,
            listeners,
            denials,
            allowlist: None,
            asks_nothing_of_itself: false,
            asks_for_names: false,
        }
    }

    /// Configures the dialer for a request of this URL, or for a connection on which nothing is sent.
    pub(super) fn for_request(self, url: &str, is_silent: bool) -> Self {
        let ends_like_one = |text: &str| OWN_PATHS.iter().any(|path| text.ends_with(path));
        let before_query = url.split_once('?').map_or(url, |(before, _)| before);
        // Checked first, so that few URLs need to be parsed.
        let is_own_page =
            || ends_like_one(before_query) && HttpUrl::parse(url).is_ok_and(|url| ends_like_one(url.path()));
        Self {
            asks_nothing_of_itself: is_silent || is_own_page(),
            // The probers build these URLs. The URLs of http probes start differently, whatever their target is.
            asks_for_names: QUESTIONS.iter().any(|scheme| url.starts_with(scheme)),
            ..self
        }
    }

    /// Restricts the dialer to the targets that a module allows.
    #[must_use]
    pub fn within(self, allowlist: Option<Arc<TargetAllowlist>>) -> Self {
        Self { allowlist, ..self }
    }

    /// Checks whether the module allows the target of a redirect.
    pub(super) fn admit_target(&self, origin: &Origin) -> Result<(), DialError> {
        let holds = self.allowlist.as_ref().is_none_or(|allowlist| allowlist.holds(origin));
        let what = format_args!("{}://{}", origin.scheme, Host::new(&origin.host));
        self.judge((!holds).then_some(PolicyRule::AllowedTargets), what)
    }

    /// Checks whether a proxy may connect to an address on behalf of the exporter.
    pub(super) fn admit(&self, to: SocketAddr) -> Result<(), DialError> {
        let denies_itself = self.policy.denies_itself() && !self.asks_nothing_of_itself;
        let is_own = denies_itself && self.listeners.iter().any(|own| leads_to(to, *own));
        let objection = self
            .policy
            .objection(to, self.asks_for_names)
            .or(is_own.then_some(PolicyRule::Itself));
        self.judge(objection, to)
    }

    /// Checks whether a name may be resolved. A name that other programs parse as a denied address is denied before any
    /// lookup.
    pub(super) fn admit_name(&self, host: &str) -> Result<(), DialError> {
        let address = numeric_address(host);
        let objection = address.and_then(|address| self.policy.objection_to_address(address));
        self.judge(objection, host)
    }

    /// A socket for a TCP connection, optionally from a given address of this host.
    pub(super) fn tcp(&self, from: Option<IpAddr>, to: SocketAddr) -> Result<TcpDial, DialError> {
        self.admit(to)?;
        let opened = if to.is_ipv4() {
            TcpSocket::new_v4()
        } else {
            TcpSocket::new_v6()
        };
        let socket = opened.map_err(|error| DialError::of(error, from, to))?;
        // Without this option, a delayed last segment would count as waiting time. A kernel without it sends written
        // data immediately.
        let _ = socket.set_nodelay(true);
        rx_timestamps::turn_on(&socket);
        if let Some(from) = from {
            let bound = socket.bind(SocketAddr::new(from, 0));
            bound.map_err(|error| DialError::NoSource { from, error })?;
        }
        Ok(TcpDial { socket, from, to })
    }

    /// A socket that only accepts datagrams from one peer.
    pub(super) async fn udp(&self, from: Option<IpAddr>, to: SocketAddr) -> Result<UdpSocket, DialError> {
        self.admit(to)?;
        let bound = UdpSocket::bind((from.unwrap_or(any_address(to.ip())), 0)).await;
        let socket = bound.map_err(|error| match from {
            Some(from) => DialError::NoSource { from, error },
            None => DialError::of(error, from, to),
        })?;
        rx_timestamps::turn_on(&socket);
        let connected = socket.connect(to).await;
        connected.map_err(|error| DialError::of(error, from, to))?;
        Ok(socket)
    }

    /// Connects a packet socket, created by `open`, to an address. The socket then receives only packets from this
    /// address. If a router reports the address as unreachable, the kernel returns an error on the socket.
    pub(super) fn packets<E: From<DialError>>(
        &self,
        to: SocketAddr,
        open: impl FnOnce() -> Result<Socket, E>,
    ) -> Result<Socket, E> {
        self.judge(self.policy.objection_to_address(to.ip()), to.ip())?;
        let socket = open()?;
        let connected = socket.connect(&to.into());
        connected.map_err(|error| DialError::of(error, None, to))?;
        Ok(socket)
    }

    /// Connects to a socket in the file system (unix(7)). The policy checks the path with all links resolved. Also
    /// returns when the connection attempt started and ended: the work runs on a blocking thread, and the time to
    /// switch to that thread is the exporter's.
    pub(super) async fn unix(&self, path: &Path, until: Instant) -> Result<(UnixStream, [Instant; 2]), DialError> {
        let to = path.to_owned();
        let name = unix_path::abstract_name(path);
        if self.policy.takes_any_path() {
            let to = name.unwrap_or(to);
            return unix_path::connected(until, move || unix_path::connect(&to)).await;
        }
        if let Some(name) = name {
            self.judge(self.policy.objection_to_path(path), path.display())?;
            return unix_path::connected(until, move || unix_path::connect(&name)).await;
        }
        let found = unix_path::in_the_file_system(until, move || SocketFile::walk(&to)).await?;
        self.judge(self.policy.objection_to_path(&found.path), found.path.display())?;
        unix_path::connected(until, move || found.connect()).await
    }

    fn judge(&self, objection: Option<PolicyRule>, what: impl Display) -> Result<(), DialError> {
        let Some(rule) = objection else {
            return Ok(());
        };
        self.denials.count(rule);
        let what = what.to_string();
        Err(DialError::Denied(Denied { what, rule }))
    }
}

/// A datagram socket to a name server. The policy does not apply, because the operator of the host or of the module
/// chose the name server.
pub(super) async fn name_server_udp(at: SocketAddr) -> Result<UdpSocket, DialError> {
    let socket = UdpSocket::bind((any_address(at.ip()), 0)).await?;
    let connected = socket.connect(at).await;
    connected.map_err(|error| DialError::of(error, None, at))?;
    Ok(socket)
}

/// A TCP connection to a name server; see [`name_server_udp`].
pub(super) async fn name_server_tcp(at: SocketAddr) -> Result<TcpStream, DialError> {
    let connected = TcpStream::connect(at).await;
    let stream = connected.map_err(|error| DialError::of(error, None, at))?;
    // A query is one segment.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

/// The source address that this host uses for packets to an address. Fails if there is no route.
pub(super) fn source_address(to: IpAddr) -> io::Result<IpAddr> {
    // Connecting a datagram socket sends nothing.
    let socket = std::net::UdpSocket::bind((any_address(to), 0))?;
    socket.connect((to, 9))?;
    Ok(socket.local_addr()?.ip())
}

/// The unspecified address of the same family.
fn any_address(family_of: IpAddr) -> IpAddr {
    if family_of.is_ipv4() {
        Ipv4Addr::UNSPECIFIED.into()
    } else {
        Ipv6Addr::UNSPECIFIED.into()
    }
}

/// Destination of a connection.
#[derive(Clone, Debug)]
pub(super) enum Dialled {
    /// An address, and the source address if the module sets one.
    Tcp(Option<IpAddr>, SocketAddr),
    /// A path.
    Unix(PathBuf),
}

/// A permitted connection to the address that the policy approved.
pub(super) struct TcpDial {
    socket: TcpSocket,
    from: Option<IpAddr>,
    to: SocketAddr,
}

impl TcpDial {
    pub async fn connect(self) -> Result<TcpStream, DialError> {
        let connected = self.socket.connect(self.to).await;
        connected.map_err(|error| DialError::of(error, self.from, self.to))
    }
}

/// Whether an address leads to one of this host's listeners.
fn leads_to(to: SocketAddr, own: SocketAddr) -> bool {
    if to.port() != own.port() {
        return false;
    }
    let (ip, own) = (to.ip().to_canonical(), own.ip().to_canonical());
    ip == own
        || (own.is_unspecified() && is_of_this_host(ip))
        // The unspecified address leads to loopback.
        || (ip.is_unspecified() && own.is_loopback())
}

/// Whether an address belongs to this host: packets to it would have the same source address.
fn is_of_this_host(address: IpAddr) -> bool {
    address.is_unspecified() || address.is_loopback() || source_address(address).is_ok_and(|source| source == address)
}

/// Why no socket could be opened.
#[derive(Debug)]
pub(super) enum DialError {
    Denied(Denied),
    /// The source address does not belong to this host.
    NoSource {
        from: IpAddr,
        error: io::Error,
    },
    /// This host has a route to the address, but no free local port.
    OutOfPorts(io::Error),
    /// This host has no route to the address: no interface, no route, or no address of that family.
    NoRoute(io::Error),
    /// All threads for file system paths are busy, for example with paths that hang.
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
            Self::OutOfPorts(error) | Self::NoRoute(error) | Self::Io(error) => error.fmt(f),
            Self::NoPlace => write!(
                f,
                "no thread was free in time to open this path; {PATHS_AT_ONCE} other paths may hang"
            ),
        }
    }
}

impl DialError {
    /// Classifies an error. `EADDRNOTAVAIL` indicates a lack of ports if there is a route. If there is no route, this
    /// error and those that a router could cause are local. The kernel rejects TCP to a multicast address regardless of
    /// its routes.
    fn of(error: io::Error, from: Option<IpAddr>, to: SocketAddr) -> Self {
        use io::ErrorKind::{AddrInUse, AddrNotAvailable, HostUnreachable, NetworkDown, NetworkUnreachable};
        match error.kind() {
            AddrNotAvailable | AddrInUse if has_route(from, to) => Self::OutOfPorts(error),
            AddrNotAvailable | HostUnreachable | NetworkDown | NetworkUnreachable
                if !to.ip().is_multicast() && !has_route(from, to) =>
            {
                Self::NoRoute(error)
            }
            _ => Self::Io(error),
        }
    }

    /// The kind of the kernel's error.
    pub fn kind(&self) -> io::ErrorKind {
        match self {
            Self::Denied(_) => io::ErrorKind::PermissionDenied,
            Self::NoPlace => io::ErrorKind::ResourceBusy,
            Self::NoSource { error, .. } | Self::OutOfPorts(error) | Self::NoRoute(error) | Self::Io(error) => {
                error.kind()
            }
        }
    }

    /// The reason, if the failure is local.
    pub fn own_reason(&self) -> Option<Reason> {
        match self {
            Self::Denied(_) => Some(Reason::LocalDenied),
            Self::NoSource { error, .. } => Some(match error.kind() {
                io::ErrorKind::AddrInUse => Reason::LocalOutOfPorts,
                _ => shortage(error).unwrap_or(Reason::LocalSourceAddressUnavailable),
            }),
            Self::OutOfPorts(_) => Some(Reason::LocalOutOfPorts),
            Self::NoRoute(_) => Some(Reason::LocalNoRoute),
            Self::NoPlace => Some(Reason::LocalOverloaded),
            // One of this host's firewalls, or a restriction of its container.
            Self::Io(error) if error.kind() == io::ErrorKind::PermissionDenied => Some(Reason::LocalNotPermitted),
            Self::Io(error) => shortage(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Dialer;
    use super::unix_path::{PATHS, PATHS_AT_ONCE};
    use glassbox_verdict::reason::Reason;
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
