//! Tells the exporter's own shortage from a fault of the target.

use crate::reason::Reason;
use futures_util::FutureExt as _;
use nix::errno::Errno;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};

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
/// which sends nothing, tells which. Where there is no port or no file for that one either, it is these that are lacking.
pub(super) fn has_route(to: SocketAddr) -> bool {
    let any: SocketAddr = if to.is_ipv4() {
        ([0, 0, 0, 0], 0).into()
    } else {
        ([0u16; 8], 0).into()
    };
    match UdpSocket::bind(any).and_then(|socket| socket.connect(to)) {
        Ok(()) => true,
        Err(error) => error.kind() == io::ErrorKind::AddrInUse || shortage(&error).is_some(),
    }
}

/// Panics in what libraries do beside probes. Such work belongs to no probe, as often as not.
static PANICS: AtomicU64 = AtomicU64::new(0);

/// How many there were in this process.
pub fn panics_beside_probes() -> u64 {
    PANICS.load(Ordering::Relaxed)
}

/// What a library does on its own beside a probe, with word of its panic: nobody else would hear of it, and the probe would see
/// a peer that falls silent.
pub(super) async fn watched(work: impl Future<Output = ()>, panicked: impl FnOnce()) {
    if AssertUnwindSafe(work).catch_unwind().await.is_err() {
        PANICS.fetch_add(1, Ordering::Relaxed);
        panicked();
    }
}

#[cfg(test)]
mod tests {
    use super::{panics_beside_probes, watched};
    use std::sync::atomic::{AtomicBool, Ordering};

    #[tokio::test]
    async fn a_panic_in_what_a_library_does_beside_is_told() {
        let told = AtomicBool::new(false);
        watched(async {}, || told.store(true, Ordering::SeqCst)).await;
        assert!(!told.load(Ordering::SeqCst));
        let before = panics_beside_probes();
        watched(async { panic!("on purpose") }, || told.store(true, Ordering::SeqCst)).await;
        assert!(told.load(Ordering::SeqCst));
        assert!(panics_beside_probes() > before);
    }
}
