//! Kernel receive timestamps (`SO_TIMESTAMPNS`, socket(7)): when a packet arrived at this host, rather than when the exporter read it.
//!
//! A busy exporter reads late. With its own clock, that delay would appear in the target's phases. The kernel stamps each packet when
//! it arrives, and `recvmsg` returns the timestamp with the data. A read returns the timestamp of the *last* packet whose bytes it
//! took; so until the response has started, the exporter reads only one byte (or one TLS record) at a time, and the first byte has its
//! own timestamp.
//!
//! The kernel may merge packets that wait to be read, and the result has the timestamp of the last of them. A packet that has only the
//! end of the stream (FIN) is merged as well, and replaces the timestamp of the data before it; measured on Linux 6.18, however much
//! later it arrives. An end that arrives in the last packet with data changes nothing. A replaced timestamp is too late, but never
//! later than the read. `check/arrivals.rs` takes the timestamps before more arrives, and knows if it was late itself.

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

/// The kernel stamps packets while any socket requests it, and switching that on and off is expensive: this socket always requests it.
static ALWAYS_ON: LazyLock<Option<UdpSocket>> = LazyLock::new(|| {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).ok()?;
    setsockopt(&socket, sockopt::ReceiveTimestampns, &true).ok()?;
    Some(socket)
});

/// Requests timestamps for what a socket receives. Without them, the exporter's own clock is used.
pub(super) fn turn_on(socket: &impl AsFd) {
    let _ = LazyLock::force(&ALWAYS_ON);
    let _ = setsockopt(socket, sockopt::ReceiveTimestampns, &true);
}

/// A buffer for one timestamp and a hop limit.
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
    /// How long before that the last of the bytes arrived, if the kernel reported it.
    pub delay: Option<Duration>,
    /// The kernel's timestamp itself, since 1970. Bytes of one buffer have the same.
    pub stamp: Option<Duration>,
    /// The hop limit (IPv4: TTL) of a packet, if it was requested.
    pub hop_limit: Option<u8>,
}

impl ReceivedPacket {
    /// The same for bytes that are known to have arrived no later than `at`.
    pub fn not_after(self, at: Instant) -> Self {
        let delay = self.now.saturating_duration_since(self.at().min(at));
        Self {
            delay: Some(delay),
            ..self
        }
    }

    /// When the last of the bytes arrived.
    pub fn at(&self) -> Instant {
        self.delay
            .and_then(|delay| self.now.checked_sub(delay))
            .unwrap_or(self.now)
    }

    /// Which clock measured that.
    pub const fn clock(&self) -> ClockSource {
        match self.delay {
            Some(_) => ClockSource::Kernel,
            None => ClockSource::Exporter,
        }
    }
}

/// Reads what has arrived. `since`: when the connection was dialled; an earlier timestamp is ignored.
///
/// # Errors
/// Those of the socket; `WouldBlock` if nothing has arrived.
pub(super) fn receive(
    socket: &impl AsRawFd,
    into: &mut [u8],
    room: &mut [u8],
    since: Instant,
) -> io::Result<ReceivedPacket> {
    receive_by(socket.as_raw_fd(), into, room, since, MsgFlags::empty())
}

/// Reads what has arrived, and leaves it in the socket's queue.
///
/// # Errors
/// Those of the socket; `WouldBlock` if nothing has arrived.
pub(super) fn peek(
    socket: &impl AsRawFd,
    into: &mut [u8],
    room: &mut [u8],
    since: Instant,
) -> io::Result<ReceivedPacket> {
    let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
    receive_by(socket.as_raw_fd(), into, room, since, flags)
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
    // The timestamp is of the wall clock: its distance to now is taken at once, before that clock can be set.
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

/// The start of the kernel's `struct tcp_info` (`linux/tcp.h`), as far as every Linux has it. New kernels add fields at its end. The
/// kernel copies as many bytes as are requested, or fewer if it has fewer.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct TcpInfo {
    /// `tcpi_state` to `tcpi_rcv_ssthresh`.
    _before_rtt: [u32; 17],
    /// `tcpi_rtt`: the smoothed round-trip time in microseconds. 0 if it was not measured.
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

/// More of the same struct: Linux has it since 4.6.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct LongTcpInfo {
    /// `tcpi_state`: 1 is `ESTABLISHED`.
    state: u8,
    /// `tcpi_ca_state` to `tcpi_fastopen_client_fail`.
    _before_rto: [u8; 7],
    /// `tcpi_rto` to `tcpi_bytes_acked`, the last three of 64 bits.
    _before_bytes_received: [u32; 30],
    /// `tcpi_bytes_received`. The end of the stream counts as one.
    bytes: u64,
    /// `tcpi_segs_out` to `tcpi_min_rtt`.
    _before_data_segs_in: [u32; 4],
    /// `tcpi_data_segs_in`: segments with data that were received.
    data_segments: u32,
    /// `tcpi_data_segs_out`.
    _data_segs_out: u32,
}

const _: () = assert!(
    size_of::<LongTcpInfo>() == 160
        // `linux/tcp.h`: four numbers of 64 bits and four of 32 follow `tcpi_total_retrans`, which is at 100.
        && offset_of!(LongTcpInfo, bytes) == 128
        && offset_of!(LongTcpInfo, data_segments) == 152
);

mod kernel {
    //! `TCP_INFO` by the macros of nix: this project has no unsafe code.
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

/// What a connection has received so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReceivedSegments {
    bytes: u64,
    /// Segments with data.
    count: u32,
    /// The end of the stream was received as well.
    ended: bool,
}

impl ReceivedSegments {
    /// Whether the timestamp of what came after the first `before` segments is that of a single packet. The end of the stream is
    /// merged with the data before it: a packet that has only the end replaces their timestamp, and is not counted here.
    pub fn is_single_since(&self, before: Option<u32>) -> bool {
        !self.ended && self.is_one_segment_since(before)
    }

    /// Whether all data that came after the first `before` segments is one segment, whatever its timestamp is.
    pub fn is_one_segment_since(&self, before: Option<u32>) -> bool {
        before.is_some_and(|before| self.count.wrapping_sub(before) <= 1)
    }

    /// Whether the end of the stream was received.
    #[cfg(test)]
    pub const fn has_ended(&self) -> bool {
        self.ended
    }

    /// Segments with data that brought the first `bytes` bytes, if these are all.
    pub fn segments_of(&self, bytes: u64) -> Option<u32> {
        (!self.ended && self.bytes == bytes).then_some(self.count)
    }
}

/// What a connection has received so far (`TCP_INFO`, tcp(7)), if the kernel reports it.
pub(super) fn received(stream: &TcpStream) -> Option<ReceivedSegments> {
    if TCP_INFO_LACKS_SEGMENTS.load(Ordering::Relaxed) {
        return None;
    }
    let Some(answer) = unless_it_panics(|| getsockopt(stream, kernel::LongTcpInfo)) else {
        TCP_INFO_LACKS_SEGMENTS.store(true, Ordering::Relaxed);
        return None;
    };
    let info = answer.ok()?;
    Some(ReceivedSegments {
        bytes: info.bytes,
        count: info.data_segments,
        ended: info.state != 1,
    })
}

/// The kernel's answer to `TCP_INFO` was shorter than [`TcpInfo`]: a sandbox's is.
static TCP_INFO_IS_SHORT: AtomicBool = AtomicBool::new(false);

/// What the kernel knows about a connection (`TCP_INFO`, tcp(7)). `None` if it does not report it, or only a part.
pub(super) fn tcp_info(stream: &TcpStream) -> Option<TcpInfo> {
    if TCP_INFO_IS_SHORT.load(Ordering::Relaxed) {
        return None;
    }
    // nix panics if the answer has another length.
    let Some(answer) = unless_it_panics(|| getsockopt(stream, kernel::TcpInfo)) else {
        if !TCP_INFO_IS_SHORT.swap(true, Ordering::Relaxed) {
            tracing::warn!("The kernel's TCP_INFO is short: round-trip times and retransmits of probes are unknown");
        }
        return None;
    };
    answer.ok()
}

/// How long the handshake of a new connection took: the first round trip that the kernel measured. `None` if a segment was lost: the
/// kernel then counts from the segment that was sent again.
pub(super) fn handshake_time(stream: &TcpStream) -> Option<Duration> {
    let info = tcp_info(stream)?;
    info.rtt().filter(|_| info.retransmits == 0)
}
