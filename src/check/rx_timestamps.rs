//! Kernel receive timestamps (`SO_TIMESTAMPNS`, socket(7)): when a packet arrived at this host, rather than when the exporter read it.
//!
//! A busy exporter reads late. With its own clock, that delay would appear in the target's phases. The kernel stamps each packet when
//! it arrives, and `recvmsg` returns the stamp with the data. A read returns the stamp of the *last* packet whose bytes it took; so
//! until the response has started, the exporter reads only one byte (or one TLS record) at a time, and the first byte gets its own
//! stamp.
//!
//! Packets that wait to be read may be merged, and then have the timestamp of the last of them (the end of the stream is one, too).
//! Such a timestamp is too late, but never later than our own turn. `check/arrivals.rs` takes that of the first byte of a response
//! before more comes, and knows where it was late itself.

use super::local_fault::unless_it_panics;
use crate::report::ClockSource;
use nix::libc;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, getsockopt, recvmsg, setsockopt, sockopt};
use std::io::{self, IoSliceMut};
use std::mem::offset_of;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, RawFd};
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
pub(super) struct ReceivedPacket {
    /// Bytes; 0 at the end of the stream.
    pub count: usize,
    /// When the read returned.
    pub now: Instant,
    /// How long before that the last of the bytes came, if the kernel said.
    pub delay: Option<Duration>,
    /// The kernel's timestamp itself, since 1970. Bytes of one buffer have the same.
    pub stamp: Option<Duration>,
    /// With which hop limit (TTL for IPv4) a packet came, where that was asked for.
    pub hop_limit: Option<u8>,
}

impl ReceivedPacket {
    /// The same where the bytes are known to have come at `at`, if that is earlier.
    pub fn not_after(self, at: Instant) -> Self {
        let delay = self.now.saturating_duration_since(self.at().min(at));
        Self {
            delay: Some(delay),
            ..self
        }
    }

    /// When the last of the bytes came.
    pub fn at(&self) -> Instant {
        self.delay
            .and_then(|delay| self.now.checked_sub(delay))
            .unwrap_or(self.now)
    }

    /// Whose word that is.
    pub const fn clock(&self) -> ClockSource {
        match self.delay {
            Some(_) => ClockSource::Kernel,
            None => ClockSource::Exporter,
        }
    }
}

/// Reads what is there. `since` is when the connection was begun: a stamp from before it is none.
///
/// # Errors
/// Those of the socket; `WouldBlock` where nothing is there.
pub(super) fn receive(
    socket: &impl AsRawFd,
    into: &mut [u8],
    room: &mut [u8],
    since: Instant,
) -> io::Result<ReceivedPacket> {
    receive_by(socket.as_raw_fd(), into, room, since, MsgFlags::empty())
}

/// Looks at the next byte without taking it.
///
/// # Errors
/// Those of the socket; `WouldBlock` where nothing is there.
pub(super) fn peek(socket: RawFd, room: &mut [u8], since: Instant) -> io::Result<ReceivedPacket> {
    receive_by(
        socket,
        &mut [0],
        room,
        since,
        MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT,
    )
}

fn receive_by(
    socket: RawFd,
    into: &mut [u8],
    room: &mut [u8],
    since: Instant,
    flags: MsgFlags,
) -> io::Result<ReceivedPacket> {
    let mut slices = [IoSliceMut::new(into)];
    let message = recvmsg::<()>(socket, &mut slices, Some(room), flags)?;
    // The stamp is of the wall clock: its distance to now is taken at once, before that clock can be set.
    let (now, wall) = (Instant::now(), SystemTime::now());
    let (mut stamp, mut hop_limit) = (None, None);
    for message in message.cmsgs().into_iter().flatten() {
        match message {
            ControlMessageOwned::ScmTimestampns(at) => stamp = Some(Duration::from(at)),
            ControlMessageOwned::Ipv4Ttl(hops) | ControlMessageOwned::Ipv6HopLimit(hops) => {
                hop_limit = u8::try_from(hops).ok();
            }
            _ => {}
        }
    }
    Ok(ReceivedPacket {
        count: message.bytes,
        now,
        delay: stamp
            .and_then(|stamp| wall.duration_since(UNIX_EPOCH + stamp).ok())
            .filter(|delay| *delay <= now.saturating_duration_since(since)),
        stamp,
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

/// More of the same struct: what Linux has had since 4.6.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct LongTcpInfo {
    /// `tcpi_state`: 1 is `ESTABLISHED`.
    state: u8,
    /// `tcpi_ca_state` to `tcpi_fastopen_client_fail`.
    _before_rto: [u8; 7],
    /// `tcpi_rto` to `tcpi_min_rtt`.
    _before_data_segs_in: [u32; 36],
    /// `tcpi_data_segs_in`: segments with data that were received.
    data_segments: u32,
    /// `tcpi_data_segs_out`.
    _data_segs_out: u32,
}

const _: () = assert!(
    size_of::<LongTcpInfo>() == 160
        // `linux/tcp.h`: four numbers of 64 bits and four of 32 follow `tcpi_total_retrans`, which is at 100.
        && offset_of!(LongTcpInfo, data_segments) == 152
);

mod kernel {
    //! `TCP_INFO` through nix: its macros make the option, no unsafe code of ours.
    use nix::{getsockopt_impl, libc, sockopt_impl};
    sockopt_impl!(TcpInfo, GetOnly, libc::IPPROTO_TCP, libc::TCP_INFO, super::TcpInfo);
    sockopt_impl!(
        LongTcpInfo,
        GetOnly,
        libc::IPPROTO_TCP,
        libc::TCP_INFO,
        super::LongTcpInfo
    );
}

/// The kernel's answer to `TCP_INFO` is shorter than [`LongTcpInfo`].
static TCP_INFO_LACKS_SEGMENTS: AtomicBool = AtomicBool::new(false);

/// Segments with data that a connection has received so far, and whether its end has come as well. Unknown where the kernel does
/// not say.
pub(super) fn segments(stream: &TcpStream) -> Option<(u32, bool)> {
    if TCP_INFO_LACKS_SEGMENTS.load(Ordering::Relaxed) {
        return None;
    }
    let Some(answer) = unless_it_panics(|| getsockopt(stream, kernel::LongTcpInfo)) else {
        TCP_INFO_LACKS_SEGMENTS.store(true, Ordering::Relaxed);
        return None;
    };
    let info = answer.ok()?;
    Some((info.data_segments, info.state != 1))
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
