//! Tells the exporter's own shortage from a fault of the target.

use crate::reason::Reason;
use nix::errno::Errno;
use std::io;
use std::net::{SocketAddr, UdpSocket};

/// The reason, if an I/O error is a shortage on this host.
#[must_use]
pub fn shortage(error: &io::Error) -> Option<Reason> {
    match Errno::from_raw(error.raw_os_error()?) {
        Errno::EMFILE | Errno::ENFILE => Some(Reason::LocalOutOfFiles),
        Errno::ENOBUFS | Errno::ENOMEM => Some(Reason::LocalOutOfMemory),
        _ => None,
    }
}

/// `EADDRNOTAVAIL` on connect is a lack of local ports, or of an address of that family: a datagram socket,
/// which sends nothing, tells which.
pub(super) fn has_route(to: SocketAddr) -> bool {
    let any: SocketAddr = if to.is_ipv4() {
        ([0, 0, 0, 0], 0).into()
    } else {
        ([0u16; 8], 0).into()
    };
    UdpSocket::bind(any).is_ok_and(|socket| socket.connect(to).is_ok())
}
