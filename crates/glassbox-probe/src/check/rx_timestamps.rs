//! Kernel receive timestamps (`SO_TIMESTAMPNS`, socket(7)): the time at which a packet arrived at this host, not the
//! time at which the exporter read it.
//!
//! A busy exporter reads late. If it used its own clock, that delay would appear in the target's phases. The kernel
//! timestamps each packet on arrival, and `recvmsg` returns the timestamp with the data. A read returns the timestamp
//! of the *last* packet from which it took bytes. Until the response has started, the exporter therefore reads only one
//! byte (or one TLS record) at a time, so that the first byte has its own timestamp.
//!
//! The kernel may merge packets that wait to be read. The merged data has the timestamp of the last packet. A packet
//! that contains only the end of the stream (FIN) is merged as well and replaces the timestamp of the data before it,
//! however much later it arrives (measured on Linux 6.18). An end of stream in the last data packet changes nothing. A
//! replaced timestamp is too late, but never later than the read. `check/arrivals.rs` takes the timestamps before more
//! data arrives, and detects whether it was late itself.

use super::local_fault::unless_it_panics;
use glassbox_verdict::report::ClockSource;
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

/// The kernel timestamps packets as long as any socket requests it. Switching this on and off is expensive, so this
/// socket requests it permanently.
static ALWAYS_ON: LazyLock<Option<UdpSocket>> = LazyLock::new(|| {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).ok()?;
    setsockopt(&socket, sockopt::ReceiveTimestampns, &true).ok()?;
    Some(socket)
});

/// Requests timestamps for the data that a socket receives. Without them, the exporter's own clock is used.
pub(super) fn turn_on(socket: &impl AsFd) {
    let _ = LazyLock::force(&ALWAYS_ON);
    let _ = setsockopt(socket, sockopt::ReceiveTimestampns, &true);
}

/// A buffer for a timestamp and a hop limit.
pub(super) fn room() -> Vec<u8> {
    nix::cmsg_space!(nix::sys::time::TimeSpec, libc::c_int)
}

/// The result of one read.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReceivedPacket {
    /// Number of bytes; 0 at the end of the stream.
    pub count: usize,
    /// Time at which the read returned.
    pub now: Instant,
    /// Time from the arrival of the last byte to the return of the read, if the kernel reported the arrival.
    pub delay: Option<Duration>,
    /// The kernel's timestamp itself, since 1970. All bytes of one buffer share it.
    pub stamp: Option<Duration>,
    /// The hop limit (IPv4: TTL) of a packet, if it was requested.
    pub hop_limit: Option<u8>,
}

impl ReceivedPacket {
    /// The same packet, for bytes that are known to have arrived no later than `at`.
    pub fn not_after(self, at: Instant) -> Self {
        let delay = self.now.saturating_duration_since(self.at().min(at));
        Self {
            delay: Some(delay),
            ..self
        }
    }

    /// Arrival time of the last byte.
    pub fn at(&self) -> Instant {
        self.delay
            .and_then(|delay| self.now.checked_sub(delay))
            .unwrap_or(self.now)
    }

    /// The clock that measured the arrival time.
    pub const fn clock(&self) -> ClockSource {
        match self.delay {
            Some(_) => ClockSource::Kernel,
            None => ClockSource::Exporter,
        }
    }
}

/// Reads the data that has arrived. `since` is the time of the dial; an earlier timestamp is ignored.
///
/// # Errors
/// Those of the socket; `WouldBlock` if no data has arrived.
pub(super) fn receive(
    socket: &impl AsRawFd,
    into: &mut [u8],
    room: &mut [u8],
    since: Instant,
) -> io::Result<ReceivedPacket> {
    receive_by(socket.as_raw_fd(), into, room, since, MsgFlags::empty())
}

/// Reads the data that has arrived and leaves it in the socket's queue.
///
/// # Errors
/// Those of the socket; `WouldBlock` if no data has arrived.
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
    // The timestamp is from the wall clock. Its age is computed immediately, before that clock can be adjusted.
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

/// The start of the kernel's `struct tcp_info` (`linux/tcp.h`), up to the last field that every Linux version has. New
/// kernels add fields at its end. The kernel copies as many bytes as are requested, or fewer if its struct is shorter.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct TcpInfo {
    /// `tcpi_state` to `tcpi_rcv_ssthresh`.
    _before_rtt: [u32; 17],
    /// `tcpi_rtt`: the smoothed round-trip time in microseconds. 0 if it was not measured.
    rtt: u32,
    /// `tcpi_rttvar` to `tcpi_rcv_space`.
    _before_total_retrans: [u32; 7],
    /// `tcpi_total_retrans`: number of retransmitted segments.
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

/// A longer part of the same struct, available since Linux 4.6.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct LongTcpInfo {
    /// `tcpi_state`: 1 is `ESTABLISHED`.
    state: u8,
    /// `tcpi_ca_state` to `tcpi_fastopen_client_fail`.
    _before_rto: [u8; 7],
    /// `tcpi_rto` to `tcpi_bytes_acked`. The last three have 64 bits.
    _before_bytes_received: [u32; 30],
    /// `tcpi_bytes_received`. The end of the stream counts as one byte.
    bytes: u64,
    /// `tcpi_segs_out` to `tcpi_min_rtt`.
    _before_data_segs_in: [u32; 4],
    /// `tcpi_data_segs_in`: number of received segments with data.
    data_segments: u32,
    /// `tcpi_data_segs_out`.
    _data_segs_out: u32,
}

const _: () = assert!(
    size_of::<LongTcpInfo>() == 160
        // `linux/tcp.h`: four 64-bit and four 32-bit numbers follow `tcpi_total_retrans`, which is at offset 100.
        && offset_of!(LongTcpInfo, bytes) == 128
        && offset_of!(LongTcpInfo, data_segments) == 152
);

mod kernel {
    //! `TCP_INFO`, defined with nix's macros, because this project contains no unsafe code.
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

/// Whether the kernel's `TCP_INFO` is shorter than [`LongTcpInfo`].
static TCP_INFO_LACKS_SEGMENTS: AtomicBool = AtomicBool::new(false);

/// The data that a connection has received so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReceivedSegments {
    bytes: u64,
    /// Number of segments with data.
    count: u32,
    /// Whether the end of the stream was received as well.
    ended: bool,
}

impl ReceivedSegments {
    /// Whether the timestamp of all data after the first `before` segments is that of a single packet. It is not if the
    /// stream has ended: a packet that contains only the end is merged with the data before it, replaces its timestamp,
    /// and is not counted here.
    pub fn is_single_since(&self, before: Option<u32>) -> bool {
        !self.ended && self.is_one_segment_since(before)
    }

    /// Whether all data after the first `before` segments is one segment, regardless of its timestamp.
    pub fn is_one_segment_since(&self, before: Option<u32>) -> bool {
        before.is_some_and(|before| self.count.wrapping_sub(before) <= 1)
    }

    /// Whether the end of the stream was received.
    #[cfg(test)]
    pub const fn has_ended(&self) -> bool {
        self.ended
    }

    /// Number of data segments that contained the first `bytes` bytes, if nothing more was received.
    pub fn segments_of(&self, bytes: u64) -> Option<u32> {
        (!self.ended && self.bytes == bytes).then_some(self.count)
    }
}

/// The data that a connection has received so far (`TCP_INFO`, tcp(7)), if the kernel reports it.
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

/// Whether the kernel's `TCP_INFO` is shorter than [`TcpInfo`], as in some sandboxes.
static TCP_INFO_IS_SHORT: AtomicBool = AtomicBool::new(false);

/// The kernel's information on a connection (`TCP_INFO`, tcp(7)). `None` if the kernel does not report it completely.
pub(super) fn tcp_info(stream: &TcpStream) -> Option<TcpInfo> {
    if TCP_INFO_IS_SHORT.load(Ordering::Relaxed) {
        return None;
    }
    // nix panics if the struct has a different length.
    let Some(answer) = unless_it_panics(|| getsockopt(stream, kernel::TcpInfo)) else {
        if !TCP_INFO_IS_SHORT.swap(true, Ordering::Relaxed) {
            tracing::warn!("The kernel's TCP_INFO is incomplete: probes have no round-trip times and retransmits");
        }
        return None;
    };
    answer.ok()
}

/// Duration of the handshake of a new connection: the first round trip that the kernel measured. `None` if a segment
/// was lost, because the kernel then measures from the retransmission.
pub(super) fn handshake_time(stream: &TcpStream) -> Option<Duration> {
    let info = tcp_info(stream)?;
    info.rtt().filter(|_| info.retransmits == 0)
}
