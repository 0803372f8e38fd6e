//! The helper tasks that libraries need beside a connection.

use hyper::rt::Executor;
use quinn::{AsyncTimer, AsyncUdpSocket, Runtime, TokioRuntime};
use std::future::Future;
use std::io;
use std::net::UdpSocket;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tokio::task::JoinSet;

/// Runs them, and ends them with the connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Helpers(Arc<Mutex<JoinSet<()>>>);

impl Helpers {
    fn run(&self, helper: impl Future<Output = ()> + Send + 'static) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).spawn(helper);
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Helpers {
    fn execute(&self, helper: F) {
        self.run(helper);
    }
}

impl Runtime for Helpers {
    fn new_timer(&self, at: Instant) -> Pin<Box<dyn AsyncTimer>> {
        TokioRuntime.new_timer(at)
    }

    fn spawn(&self, helper: Pin<Box<dyn Future<Output = ()> + Send>>) {
        self.run(helper);
    }

    fn wrap_udp_socket(&self, socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        TokioRuntime.wrap_udp_socket(socket)
    }
}
