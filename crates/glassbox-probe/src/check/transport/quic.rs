//! An open QUIC connection, its socket, and the tasks of the library that runs it.

mod socket;

pub(in crate::check) use socket::QuicSocket;

use crate::check::local_fault::watched;
use crate::check::trace::Trace;
use glassbox_verdict::report::SocketFacts;
use parking_lot::{Mutex, MutexGuard};
use quinn::{AsyncTimer, AsyncUdpSocket, Connection, Endpoint, Runtime, TokioRuntime, VarInt};
use std::future::Future;
use std::io;
use std::net::UdpSocket;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;
use tokio::task::AbortHandle;

/// Error code of HTTP/3 for a close without an error (RFC 9114 section 8.1).
const NO_ERROR: VarInt = VarInt::from_u32(0x100);

/// A QUIC connection.
#[derive(Debug)]
pub(in crate::check) struct Quic {
    pub connection: Connection,
    socket: Arc<QuicSocket>,
    _endpoint: Endpoint,
    /// The last field, because fields are dropped in order, and the earlier ones tell the library's tasks to end.
    _leftovers: Leftovers,
}

impl Quic {
    pub const fn new(
        connection: Connection,
        socket: Arc<QuicSocket>,
        endpoint: Endpoint,
        leftovers: Leftovers,
    ) -> Self {
        Self {
            connection,
            socket,
            _endpoint: endpoint,
            _leftovers: leftovers,
        }
    }

    /// Waits until a datagram contains the end of the request.
    pub async fn sent(&self, trace: &Trace) {
        while trace.request_done().is_none() {
            self.socket.sent.notified().await;
        }
    }
}

impl Drop for Quic {
    /// Closes the connection explicitly, so that the server does not wait for more.
    fn drop(&mut self) {
        let path = self.connection.stats().path;
        self.socket.trace.socket_closes(Some(SocketFacts {
            rtt: Some(path.rtt),
            retransmits: u32::try_from(path.lost_packets).unwrap_or(u32::MAX),
        }));
        self.connection.close(NO_ERROR, b"");
    }
}

/// Runs the library's background tasks.
#[derive(Debug)]
pub(in crate::check) struct BackgroundTasks {
    trace: Arc<Trace>,
    tasks: Mutex<Vec<AbortHandle>>,
}

/// Stops the tasks that the library leaves running. It keeps a closed connection and its socket for three times QUIC's
/// probe timeout, and the server influences this time. RFC 9000 section 10.2 allows an earlier end if the socket is
/// closed. The exporter therefore ends both after it has notified the server.
#[derive(Debug)]
pub(in crate::check) struct Leftovers(Arc<BackgroundTasks>);

/// Number of runtime turns in which the library's tasks can send their last data: for the connection, and
/// for the tasks that it wakes.
const LAST_TURNS: usize = 3;

impl Leftovers {
    pub const fn of(tasks: Arc<BackgroundTasks>) -> Self {
        Self(tasks)
    }
}

impl Drop for Leftovers {
    fn drop(&mut self) {
        let tasks = std::mem::take(&mut *self.0.tasks());
        let end = |tasks: Vec<AbortHandle>| tasks.iter().for_each(AbortHandle::abort);
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return end(tasks);
        };
        let _detached = runtime.spawn(async move {
            for _ in 0..LAST_TURNS {
                tokio::task::yield_now().await;
            }
            end(tasks);
        });
    }
}

impl BackgroundTasks {
    pub fn new(trace: &Arc<Trace>) -> Arc<Self> {
        Arc::new(Self {
            trace: trace.clone(),
            tasks: Mutex::default(),
        })
    }

    fn tasks(&self) -> MutexGuard<'_, Vec<AbortHandle>> {
        self.tasks.lock()
    }
}

impl Runtime for BackgroundTasks {
    fn new_timer(&self, at: Instant) -> Pin<Box<dyn AsyncTimer>> {
        TokioRuntime.new_timer(at)
    }

    fn spawn(&self, helper: Pin<Box<dyn Future<Output = ()> + Send>>) {
        let trace = self.trace.clone();
        let task = tokio::spawn(watched(helper, move || trace.library_panicked()));
        self.tasks().push(task.abort_handle());
    }

    fn wrap_udp_socket(&self, socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        TokioRuntime.wrap_udp_socket(socket)
    }
}
