//! Distinguishes resource shortages of the exporter (file descriptors, ports, memory, routes) from target faults.

use futures_util::FutureExt as _;
use glassbox_verdict::reason::Reason;
use nix::errno::Errno;
use std::cell::Cell;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

/// The reason, if an I/O error is a resource shortage of this host.
#[must_use]
pub fn shortage(error: &io::Error) -> Option<Reason> {
    match Errno::from_raw(error.raw_os_error()?) {
        Errno::EMFILE | Errno::ENFILE => Some(Reason::LocalOutOfFiles),
        Errno::ENOBUFS | Errno::ENOMEM => Some(Reason::LocalOutOfMemory),
        _ => None,
    }
}

/// Whether this host has a route to an address, from the given source address if there is one.
///
/// The kernel uses `ENETUNREACH` both for a missing local route and for a router that returns "unreachable". It uses
/// `EADDRNOTAVAIL` both for a lack of local ports and for a missing address of that family. Connecting a datagram
/// socket sends no packet, so its errors come from this host.
pub(super) fn has_route(from: Option<IpAddr>, to: SocketAddr) -> bool {
    let any = if to.is_ipv4() {
        IpAddr::from([0, 0, 0, 0])
    } else {
        IpAddr::from([0u16; 8])
    };
    let bound = UdpSocket::bind((from.unwrap_or(any), 0));
    match bound.and_then(|socket| socket.connect(to)) {
        Ok(()) => true,
        // Other errors do not indicate a missing route: datagrams to a broadcast address, for example, are forbidden.
        Err(error) => !matches!(
            error.kind(),
            io::ErrorKind::AddrNotAvailable
                | io::ErrorKind::HostUnreachable
                | io::ErrorKind::NetworkDown
                | io::ErrorKind::NetworkUnreachable
        ),
    }
}

/// Panics in background work of libraries. Such work often cannot be assigned to a probe.
static PANICS: AtomicU64 = AtomicU64::new(0);

/// Number of panics in background work of libraries since the process started.
pub fn panics_outside_probes() -> u64 {
    PANICS.load(Ordering::Relaxed)
}

/// Runs background work of a library and calls `panicked` if it panics. Otherwise the panic would go unnoticed, and the
/// probe would see a peer that stops responding.
pub(super) async fn watched(work: impl Future<Output = ()>, panicked: impl FnOnce()) {
    if AssertUnwindSafe(work).catch_unwind().await.is_err() {
        PANICS.fetch_add(1, Ordering::Relaxed);
        panicked();
    }
}

thread_local! {
    /// Whether this thread runs a call in which a panic is an expected result.
    static PANIC_IS_ANSWER: Cell<bool> = const { Cell::new(false) };
}

/// Whether a panic of this thread is a library's reaction to an unexpected kernel response, not a defect.
#[must_use]
pub fn panic_is_answer() -> bool {
    PANIC_IS_ANSWER.get()
}

/// Calls a library that panics on an unexpected kernel response. Returns None after a panic.
pub(super) fn unless_it_panics<T>(call: impl FnOnce() -> T) -> Option<T> {
    PANIC_IS_ANSWER.set(true);
    let outcome = catch_unwind(AssertUnwindSafe(call));
    PANIC_IS_ANSWER.set(false);
    outcome.ok()
}

#[cfg(test)]
mod tests {
    use super::{panic_is_answer, panics_outside_probes, unless_it_panics, watched};
    use std::sync::atomic::{AtomicBool, Ordering};

    #[tokio::test]
    async fn a_panic_in_what_a_library_does_beside_is_told() {
        let told = AtomicBool::new(false);
        watched(async {}, || told.store(true, Ordering::SeqCst)).await;
        assert!(!told.load(Ordering::SeqCst));
        let before = panics_outside_probes();
        watched(async { panic!("on purpose") }, || told.store(true, Ordering::SeqCst)).await;
        assert!(told.load(Ordering::SeqCst));
        assert!(panics_outside_probes() > before);
    }

    #[test]
    fn a_panic_that_is_an_answer_gives_nothing() {
        assert_eq!(unless_it_panics(|| 7), Some(7));
        assert_eq!(
            unless_it_panics(|| panic!("on purpose, an answer: {}", panic_is_answer())),
            None::<u8>
        );
        assert!(!panic_is_answer());
    }
}
