//! The kernel's receive timestamps (`SO_TIMESTAMPNS`, socket(7)): when bytes came, not when we got to them.
//!
//! One thing they cannot tell: packets that wait to be read may be merged, and then have the stamp of the last of them (the
//! end of the stream is one, too). Such a stamp is too late, but never later than our own turn.

use super::own_fault::unless_it_panics;
use crate::report::Clock;
use nix::libc;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, getsockopt, recvmsg, setsockopt, sockopt};
use std::io::{self, IoSliceMut};
use std::mem::offset_of;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::net::TcpStream;

/// The kernel stamps packets while any socket asks for it, and switching that on and off is dear: this one always asks.
static ALWAYS_ON: LazyLock<Option<UdpSocket>> = LazyLock::new(|| {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).ok()?;
    setsockopt(&socket, sockopt::ReceiveTimestampns, &true).ok()?;
    Some(socket)
});

/// Asks for stamps on what a socket receives. Where there are none, our own clock must do.
pub(super) fn turn_on(socket: &impl AsFd) {
    let _ = LazyLock::force(&ALWAYS_ON);
    let _ = setsockopt(socket, sockopt::ReceiveTimestampns, &true);
}

/// Room for one stamp, and for a hop limit.
pub(super) fn room() -> Vec<u8> {
    nix::cmsg_space!(nix::sys::time::TimeSpec, libc::c_int)
}

/// What one read brought.
#[derive(Clone, Copy, Debug)]
pub(super) struct Received {
    /// Bytes; 0 at the end of the stream.
    pub count: usize,
    /// When the read returned.
    pub now: Instant,
    /// How long before that the last of the bytes came, if the kernel said.
    pub delay: Option<Duration>,
    /// With which hop limit (TTL for IPv4) a packet came, where that was asked for.
    pub hop_limit: Option<u8>,
}

impl Received {
    /// When the last of the bytes came.
    pub fn at(&self) -> Instant {
        self.delay
            .and_then(|delay| self.now.checked_sub(delay))
            .unwrap_or(self.now)
    }

    /// Whose word that is.
    pub const fn clock(&self) -> Clock {
        match self.delay {
            Some(_) => Clock::Kernel,
            None => Clock::Exporter,
        }
    }
}

/// Reads what is there. `since` is when the connection was begun: a stamp from before it is none.
///
/// # Errors
/// Those of the socket; `WouldBlock` where nothing is there.
pub(super) fn receive(socket: &impl AsRawFd, into: &mut [u8], room: &mut [u8], since: Instant) -> io::Result<Received> {
    let mut slices = [IoSliceMut::new(into)];
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut slices, Some(room), MsgFlags::empty())?;
    // The stamp is of the wall clock: its distance to now is taken at once, before that clock can be set.
    let (now, wall) = (Instant::now(), SystemTime::now());
    let (mut stamp, mut hop_limit) = (None, None);
    for message in message.cmsgs().into_iter().flatten() {
        match message {
            ControlMessageOwned::ScmTimestampns(at) => stamp = Some(UNIX_EPOCH + Duration::from(at)),
            ControlMessageOwned::Ipv4Ttl(hops) | ControlMessageOwned::Ipv6HopLimit(hops) => {
                hop_limit = u8::try_from(hops).ok();
            }
            _ => {}
        }
    }
    Ok(Received {
        count: message.bytes,
        now,
        delay: stamp
            .and_then(|stamp| wall.duration_since(stamp).ok())
            .filter(|delay| *delay <= now.saturating_duration_since(since)),
        hop_limit,
    })
}

/// The begin of the kernel's `struct tcp_info` (`linux/tcp.h`), as far as every Linux has it. The struct grows at its end with new
/// kernels, and the kernel copies as much of it as it is asked for: less only where it has less.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct TcpInfo {
    /// `tcpi_state` to `tcpi_rcv_ssthresh`.
    _before_rtt: [u32; 17],
    /// `tcpi_rtt`: the smoothed round-trip time, in microseconds. 0 where none was measured.
    rtt: u32,
    /// `tcpi_rttvar` to `tcpi_rcv_space`.
    _before_total_retrans: [u32; 7],
    /// `tcpi_total_retrans`: segments that were sent again.
    pub retransmits: u32,
}

const _: () = assert!(
    size_of::<TcpInfo>() == 104
        && offset_of!(TcpInfo, rtt) == offset_of!(libc::tcp_info, tcpi_rtt)
        && offset_of!(TcpInfo, retransmits) == offset_of!(libc::tcp_info, tcpi_total_retrans)
);

impl TcpInfo {
    /// The smoothed round-trip time, if one was measured.
    pub fn rtt(&self) -> Option<Duration> {
        (self.rtt > 0).then(|| Duration::from_micros(self.rtt.into()))
    }
}

mod kernel {
    //! `TCP_INFO` through nix: its macros make the option, no unsafe code of ours.
    use nix::{getsockopt_impl, libc, sockopt_impl};
    sockopt_impl!(TcpInfo, GetOnly, libc::IPPROTO_TCP, libc::TCP_INFO, super::TcpInfo);
}

/// The kernel's answer to `TCP_INFO` was shorter than [`TcpInfo`]: a sandbox's is.
static TCP_INFO_IS_SHORT: AtomicBool = AtomicBool::new(false);

/// What the kernel knows of a connection (`TCP_INFO`, tcp(7)). Unknown where it does not say, or not all of it.
pub(super) fn tcp_info(stream: &TcpStream) -> Option<TcpInfo> {
    if TCP_INFO_IS_SHORT.load(Ordering::Relaxed) {
        return None;
    }
    // nix takes an answer of another length for a defect, and panics.
    let Some(answer) = unless_it_panics(|| getsockopt(stream, kernel::TcpInfo)) else {
        if !TCP_INFO_IS_SHORT.swap(true, Ordering::Relaxed) {
            tracing::warn!("The kernel's TCP_INFO is short: round-trip times and retransmits of probes are unknown");
        }
        return None;
    };
    answer.ok()
}

/// How long the handshake of a connection took that is just open: the first round trip that the kernel measured. Unknown
/// where a segment was lost: it then counts from the one that was sent again.
pub(super) fn handshake_time(stream: &TcpStream) -> Option<Duration> {
    let info = tcp_info(stream)?;
    info.rtt().filter(|_| info.retransmits == 0)
}
