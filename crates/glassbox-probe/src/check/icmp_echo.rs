//! Sends an ICMP echo request and waits for its reply (RFC 792, RFC 4443 section 4).

use super::dial::{DialError, Dialer};
use super::local_fault::shortage;
use super::rx_timestamps;
use super::transport::{Datagrams, EchoSocket, EchoSocketKind, LARGEST, OutOfOrder, Transport};
use super::wire::Wire;
use super::{Check, ProbeFailed, StageError};
use glassbox_verdict::chain::Stage;
use glassbox_verdict::reason::Reason;
use glassbox_verdict::report::{Echo, ProtocolFacts};
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{getsockopt, setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;
use tokio::net::UdpSocket;

/// Parameters of an echo request.
#[derive(Clone, Debug)]
pub struct Ping {
    /// Source address of this host.
    pub from: Option<IpAddr>,
    /// Payload that the reply must repeat.
    pub payload: Vec<u8>,
    /// Whether routers must not fragment the packet.
    pub dont_fragment: bool,
    /// Hop limit (TTL for IPv4). `None` uses the system's default.
    pub hop_limit: Option<u8>,
    /// Distinguishes this request from others of the same socket.
    pub sequence: u16,
}

impl Check {
    /// Sends an echo request.
    ///
    /// # Errors
    /// Fails if this host does not permit the exporter to send the request, or cannot send it.
    pub async fn send_echo(&mut self, to: SocketAddr, ping: &Ping) -> Result<(), ProbeFailed> {
        let dialer = self.context.dialer.clone();
        self.stage(Stage::Send, async |wire| {
            wire.facts.peer = Some(to);
            let opened = Instant::now();
            wire.times.began = Some(opened);
            let (socket, kind) = open(&dialer, to, ping)?;
            let id = id_of(&socket, kind)?;
            // The runtime treats a packet socket as a datagram socket.
            let socket = UdpSocket::from_std(socket.into())?;
            let request = request(to.ip(), id, ping);
            // The time is taken before the call, because on loopback the reply may arrive before the call returns.
            let at = Instant::now();
            socket.send(&request).await?;
            wire.trace.datagram_sent(at, request.len());
            wire.times.hand_over(Some(at));
            wire.transport = Transport::Echo(EchoSocket {
                packets: Datagrams { socket, opened },
                kind,
                id,
            });
            Ok::<_, EchoError>(())
        })
        .await
    }

    /// Waits for the reply.
    ///
    /// # Errors
    /// Fails if the host or a router reports that the request was not delivered.
    pub async fn await_echo(&mut self, ping: &Ping) -> Result<(), ProbeFailed> {
        self.stage(Stage::Wait, async |wire| {
            let Wire {
                transport,
                trace,
                times,
                facts,
                ..
            } = wire;
            let sent = transport.echo()?;
            let is_ip4 = facts.peer.is_none_or(|peer| peer.is_ipv4());
            let (mut buffer, mut stamp) = (vec![0; LARGEST], rx_timestamps::room());
            loop {
                let received = sent.packets.receive(&mut buffer, &mut stamp).await?;
                let packet = &buffer[..received.count];
                trace.socket_read(received, &[]);
                if let Some(payload) = sent.reply(packet, is_ip4, ping.sequence) {
                    times.hand_over(Some(received.at()));
                    facts.spoken = Some(ProtocolFacts::Echo(Echo {
                        hop_limit: received.hop_limit,
                        payload,
                    }));
                    return Ok::<_, EchoError>(());
                }
            }
        })
        .await
    }
}

/// Opens a ping socket if this host permits it, otherwise a raw socket.
fn open(dialer: &Dialer, to: SocketAddr, ping: &Ping) -> Result<(Socket, EchoSocketKind), EchoError> {
    let (domain, protocol) = if to.is_ipv4() {
        (Domain::IPV4, Protocol::ICMPV4)
    } else {
        (Domain::IPV6, Protocol::ICMPV6)
    };
    let mut kind = EchoSocketKind::Ping;
    let socket = dialer.packets(to, || {
        // This group lacks the permission, or this kernel lacks the support.
        let socket = match Socket::new(domain, Type::DGRAM, Some(protocol)) {
            Err(error) if shortage(&error).is_none() => {
                kind = EchoSocketKind::Raw;
                Socket::new(domain, Type::RAW, Some(protocol)).map_err(EchoError::of_socket)?
            }
            opened => opened?,
        };
        socket.set_nonblocking(true)?;
        rx_timestamps::turn_on(&socket);
        options(&socket, to.ip(), ping)?;
        if let Some(from) = ping.from {
            let refused = |error| DialError::NoSource { from, error };
            socket.bind(&SocketAddr::new(from, 0).into()).map_err(refused)?;
        }
        Ok::<_, EchoError>(socket)
    })?;
    Ok((socket, kind))
}

mod options {
    //! An option that nix lacks, defined with its macros and without unsafe code in the exporter.
    use nix::{getsockopt_impl, libc, setsockopt_impl, sockopt_impl};
    sockopt_impl!(MtuDiscover4, Both, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::c_int);
    sockopt_impl!(
        MtuDiscover6,
        Both,
        libc::IPPROTO_IPV6,
        libc::IPV6_MTU_DISCOVER,
        libc::c_int
    );
}

fn options(socket: &Socket, to: IpAddr, ping: &Ping) -> Result<(), EchoError> {
    let is_ip4 = to.is_ipv4();
    // Without kernel support, the reply's hop limit is unknown.
    let _ = if is_ip4 {
        setsockopt(socket, sockopt::Ipv4RecvTtl, &true)
    } else {
        setsockopt(socket, sockopt::Ipv6RecvHopLimit, &true)
    };
    if let Some(hops) = ping.hop_limit.map(i32::from) {
        // If the option cannot be set, it may already have the required value.
        let is_so = |now: nix::Result<i32>| now == Ok(hops);
        let refused = if is_ip4 {
            let set = setsockopt(socket, sockopt::Ipv4Ttl, &hops);
            set.err().filter(|_| !is_so(getsockopt(socket, sockopt::Ipv4Ttl)))
        } else {
            let set = setsockopt(socket, sockopt::Ipv6Ttl, &hops);
            set.err().filter(|_| !is_so(getsockopt(socket, sockopt::Ipv6Ttl)))
        };
        refused.map_or(Ok(()), |error| Err(EchoError::Option("ttl", error)))?;
    }
    if ping.dont_fragment {
        let set = if is_ip4 {
            setsockopt(socket, options::MtuDiscover4, &libc::IP_PMTUDISC_DO)
        } else {
            setsockopt(socket, options::MtuDiscover6, &libc::IPV6_PMTUDISC_DO)
        };
        set.map_err(|error| EchoError::Option("dont_fragment", error))?;
    }
    Ok(())
}

/// The ID of the exporter's requests. For a ping socket it is the port.
fn id_of(socket: &Socket, kind: EchoSocketKind) -> io::Result<u16> {
    match kind {
        EchoSocketKind::Ping => Ok(socket.local_addr()?.as_socket().map_or(0, |address| address.port())),
        EchoSocketKind::Raw => {
            Ok(getrandom::u32().unwrap_or_default().to_be_bytes()).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
        }
    }
}

fn request(to: IpAddr, id: u16, ping: &Ping) -> Vec<u8> {
    let kind = if to.is_ipv4() { 8 } else { 128 };
    let mut message = vec![kind, 0, 0, 0];
    message.extend(id.to_be_bytes());
    message.extend(ping.sequence.to_be_bytes());
    message.extend(&ping.payload);
    if to.is_ipv4() {
        let sum = checksum(&message).to_be_bytes();
        message[2..4].copy_from_slice(&sum);
    }
    // For ICMPv6, the kernel computes the checksum, which includes the addresses (RFC 3542 section 3.1).
    message
}

/// Internet checksum (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    #[allow(clippy::cast_possible_truncation, reason = "the carries are folded in")]
    let folded = sum as u16;
    !folded
}

enum EchoError {
    OutOfOrder(OutOfOrder),
    NotPermitted,
    /// The kernel rejects an option that the module requires.
    Option(&'static str, Errno),
    Dial(DialError),
}

impl EchoError {
    /// Why no socket could be opened. A kernel without the address family has no route either.
    fn of_socket(error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::EAFNOSUPPORT) => error.into(),
            _ if shortage(&error).is_some() => error.into(),
            _ => Self::NotPermitted,
        }
    }
}

impl From<OutOfOrder> for EchoError {
    fn from(error: OutOfOrder) -> Self {
        Self::OutOfOrder(error)
    }
}

impl From<DialError> for EchoError {
    fn from(error: DialError) -> Self {
        Self::Dial(error)
    }
}

impl From<io::Error> for EchoError {
    fn from(error: io::Error) -> Self {
        Self::Dial(error.into())
    }
}

impl StageError for EchoError {
    fn reason(&self) -> Reason {
        let error = match self {
            Self::OutOfOrder(_) => return OutOfOrder::REASON,
            Self::NotPermitted | Self::Option(..) => return Reason::LocalNotPermitted,
            Self::Dial(error) => error,
        };
        let code = match error {
            DialError::Io(error) => error.raw_os_error(),
            _ => None,
        };
        error.own_reason().unwrap_or(match code {
            Some(libc::EMSGSIZE) => Reason::IcmpTooBig,
            Some(libc::EPERM | libc::EACCES) => Reason::LocalNotPermitted,
            _ => Reason::IcmpUnreachable,
        })
    }

    fn detail(&self) -> String {
        match self {
            Self::OutOfOrder(error) => error.to_string(),
            Self::NotPermitted => "The exporter may open neither a ping socket nor a raw socket: add \
                its group to net.ipv4.ping_group_range, or grant it CAP_NET_RAW."
                .to_owned(),
            Self::Option(key, error) => format!("The kernel rejects the socket option for icmp.{key}: {error}."),
            Self::Dial(error @ DialError::NoSource { .. }) => format!("Sending failed {error}."),
            Self::Dial(error) => format!("The echo request failed: {error}."),
        }
    }

    fn timed_out(_: &Wire) -> Reason {
        Reason::IcmpTimedOut
    }
}

#[cfg(test)]
mod tests {
    use super::checksum;

    #[test]
    fn the_checksum_is_that_of_rfc_1071() {
        assert_eq!(checksum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), !0xddf2);
        assert_eq!(checksum(&[0x01]), !0x0100);
    }
}
