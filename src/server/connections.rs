//! Limits the server's connections.
//!
//! If `limits.connections` are open, a new connection replaces the one that has been idle longest. If none is idle, the
//! new connection is one of a few extra ones, on which only metrics and health checks are served. A client that sends
//! no request for too long is disconnected.

use crate::self_metrics::SelfMetrics;
use glassbox_probe::clock;
use parking_lot::{Mutex, MutexGuard};
use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{Notify, watch};

/// Number of extra connections beyond `limits.connections`, for health checks and `/metrics`.
const EXTRA: usize = 16;

/// Maximum idle time between two requests, as in the web server of Prometheus.
const BETWEEN_REQUESTS: Duration = Duration::from_mins(5);

/// A connection is idle only after this time without activity. Before, an unread request may already have arrived.
const GRACE: Duration = Duration::from_millis(100);

/// All open connections and their limit.
#[derive(Debug, Default)]
pub(super) struct ConnectionLimiter {
    held: Mutex<HeldConnection>,
    left: Notify,
}

#[derive(Debug, Default)]
struct HeldConnection {
    next: u64,
    usual: ConnectionCounts,
    /// Extra connections beyond the limit.
    extra: ConnectionCounts,
}

/// Connections that share one limit.
#[derive(Debug, Default)]
struct ConnectionCounts {
    all: usize,
    /// Connections without a request in progress, ordered by the start of that state.
    quiet: BTreeMap<(Instant, u64), watch::Sender<Phase>>,
}

impl ConnectionCounts {
    /// Makes room for one connection under the limit `most` by closing those that have been idle longest. Returns
    /// whether there is room.
    fn make_room(&mut self, most: usize) -> bool {
        while self.all >= most {
            let Some(longest) = self
                .quiet
                .first_entry()
                .filter(|entry| clock::since(entry.key().0) >= GRACE)
            else {
                return false;
            };
            longest.remove().send_replace(Phase::Leave);
            self.all -= 1;
        }
        true
    }
}

impl HeldConnection {
    const fn crowd(&mut self, is_extra: bool) -> &mut ConnectionCounts {
        if is_extra { &mut self.extra } else { &mut self.usual }
    }
}

/// State of a connection.
#[derive(Clone, Copy, Debug)]
enum Phase {
    /// Idle since this time.
    Quiet(Instant),
    /// Waiting for the rest of a request header since this time: the connection is new, or part of the header arrived.
    Head(Instant),
    /// Number of requests in progress.
    Serving(usize),
    /// Being closed to make room for another connection.
    Leave,
}

/// Why the exporter closed a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CloseReason {
    /// The request header was not complete in time.
    Head,
    /// No request for [`BETWEEN_REQUESTS`].
    Idle,
    /// Replaced by another connection.
    Room,
}

impl CloseReason {
    /// Counts the closed connection and, if a limit caused it, that limit.
    pub fn count(self, self_metrics: &SelfMetrics) {
        let (reason, limit) = match self {
            Self::Head => ("head_timeout", Some("request_head")),
            Self::Idle => ("idle", None),
            Self::Room => ("room", Some("connections")),
        };
        self_metrics.connection_ended(reason);
        if let Some(limit) = limit {
            self_metrics.met(limit);
        }
    }
}

impl ConnectionLimiter {
    fn held(&self) -> MutexGuard<'_, HeldConnection> {
        // A panic cannot leave the state inconsistent.
        self.held.lock()
    }

    /// Number of open connections.
    pub fn count(&self) -> usize {
        let held = self.held();
        held.usual.all + held.extra.all
    }

    /// Admits a connection under the limit `most`. If the limit is reached, the connection replaces the one that has
    /// been idle longest, becomes an extra connection, or waits until a place is free.
    pub async fn admit(self: &Arc<Self>, most: usize) -> Connection {
        loop {
            let left = self.left.notified();
            if let Some(connection) = self.try_admit(most) {
                return connection;
            }
            // Meanwhile an idle connection may pass the grace period.
            let _ = tokio::time::timeout(GRACE / 4, left).await;
        }
    }

    fn try_admit(self: &Arc<Self>, most: usize) -> Option<Connection> {
        let mut held = self.held();
        let is_extra = !held.usual.make_room(most);
        if is_extra && !held.extra.make_room(EXTRA) {
            return None;
        }
        held.next += 1;
        let (id, now) = (held.next, clock::now());
        let phase = watch::Sender::new(Phase::Head(now));
        let crowd = held.crowd(is_extra);
        crowd.all += 1;
        crowd.quiet.insert((now, id), phase.clone());
        drop(held);
        Some(Connection {
            connections: self.clone(),
            id,
            phase,
            is_extra: AtomicBool::new(is_extra),
        })
    }
}

/// One open connection. Dropping it frees its place.
#[derive(Debug)]
pub(super) struct Connection {
    connections: Arc<ConnectionLimiter>,
    id: u64,
    phase: watch::Sender<Phase>,
    /// Whether this is an extra connection beyond the limit. Changes only under the lock of the limiter.
    is_extra: AtomicBool,
}

impl Connection {
    /// Returns whether this is an extra connection beyond the limit `most`. An extra connection becomes a regular one
    /// as soon as there is room.
    pub fn is_extra(&self, most: usize) -> bool {
        if !self.is_extra.load(Ordering::Relaxed) {
            return false;
        }
        let mut held = self.connections.held();
        let phase = *self.phase.borrow();
        if matches!(phase, Phase::Leave) || !held.usual.make_room(most) {
            return true;
        }
        held.extra.all -= 1;
        held.usual.all += 1;
        if let Phase::Quiet(since) | Phase::Head(since) = phase {
            held.extra.quiet.remove(&(since, self.id));
            held.usual.quiet.insert((since, self.id), self.phase.clone());
        }
        self.is_extra.store(false, Ordering::Relaxed);
        drop(held);
        self.connections.left.notify_one();
        false
    }

    /// Changes the phase, unless the connection is being closed.
    fn go_on(&self, next: impl FnOnce(Phase) -> Phase) {
        let mut held = self.connections.held();
        let crowd = held.crowd(self.is_extra.load(Ordering::Relaxed));
        let before = *self.phase.borrow();
        if let Phase::Quiet(since) | Phase::Head(since) = before {
            crowd.quiet.remove(&(since, self.id));
        }
        let after = match before {
            Phase::Leave => Phase::Leave,
            _ => next(before),
        };
        if let Phase::Quiet(since) | Phase::Head(since) = after {
            crowd.quiet.insert((since, self.id), self.phase.clone());
        }
        self.phase.send_replace(after);
    }

    /// Records received bytes. On an idle connection, they start a request header.
    fn bytes_received(&self) {
        if matches!(*self.phase.borrow(), Phase::Quiet(_)) {
            self.go_on(|_| Phase::Head(clock::now()));
        }
    }

    /// Records sent bytes. They show that the client is still reading the response, and restart the idle time.
    fn bytes_sent(&self) {
        if matches!(*self.phase.borrow(), Phase::Quiet(_)) {
            self.go_on(|_| Phase::Quiet(clock::now()));
        }
    }

    /// Marks a request as in progress until the returned value is dropped.
    pub fn serve(self: &Arc<Self>) -> RequestInProgress {
        self.go_on(|phase| match phase {
            Phase::Serving(others) => Phase::Serving(others + 1),
            _ => Phase::Serving(1),
        });
        RequestInProgress(self.clone())
    }

    /// Waits until the connection must be closed, and returns the reason. `head` is the maximum time for a request
    /// header.
    pub async fn overstays(&self, head: Duration) -> CloseReason {
        let mut phase = self.phase.subscribe();
        loop {
            let now = *phase.borrow_and_update();
            let (until, ended) = match now {
                Phase::Leave => return CloseReason::Room,
                Phase::Serving(_) => {
                    // `self` owns a sender, so waiting cannot fail.
                    let _ = phase.changed().await;
                    continue;
                }
                Phase::Head(since) => (since + head, CloseReason::Head),
                Phase::Quiet(since) => (since + BETWEEN_REQUESTS, CloseReason::Idle),
            };
            if tokio::time::timeout_at(until.into(), phase.changed()).await.is_err() {
                return ended;
            }
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let mut held = self.connections.held();
        let crowd = held.crowd(self.is_extra.load(Ordering::Relaxed));
        match *self.phase.borrow() {
            // Its place was freed when it was selected for closing.
            Phase::Leave => return,
            Phase::Quiet(since) | Phase::Head(since) => {
                crowd.quiet.remove(&(since, self.id));
            }
            Phase::Serving(_) => {}
        }
        crowd.all -= 1;
        self.connections.left.notify_one();
    }
}

/// A request in progress.
pub(super) struct RequestInProgress(Arc<Connection>);

impl Drop for RequestInProgress {
    fn drop(&mut self) {
        self.0.go_on(|phase| match phase {
            Phase::Serving(others) if others > 1 => Phase::Serving(others - 1),
            _ => Phase::Quiet(clock::now()),
        });
    }
}

/// Byte stream that records its activity in a [`Connection`].
#[derive(Debug)]
pub(super) struct TrackedStream<S> {
    pub stream: S,
    pub connection: Arc<Connection>,
    /// Whether bytes received between two requests always start the next request. This is false for HTTP/2, where they
    /// may be any frame, so only the first request has a time limit.
    pub begins_requests: bool,
}

impl<S: AsyncRead + Unpin> AsyncRead for TrackedStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        if self.begins_requests && buf.filled().len() > before {
            self.connection.bytes_received();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for TrackedStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, buf))?;
        self.connection.bytes_sent();
        Poll::Ready(Ok(written))
    }

    /// Writes the header and body of a response without copying them into one buffer. Without vectored writes, hyper
    /// would keep such a buffer for each connection.
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, parts))?;
        self.connection.bytes_sent();
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::{BETWEEN_REQUESTS, CloseReason, ConnectionLimiter, EXTRA, GRACE};
    use glassbox_probe::clock;
    use std::sync::Arc;
    use std::time::Duration;

    const HEAD: Duration = Duration::from_secs(10);

    /// The runtime's timers have a resolution of 1 ms.
    const RESOLUTION: Duration = Duration::from_millis(2);

    #[tokio::test(start_paused = true)]
    async fn at_the_limit_the_longest_idle_connection_is_closed_and_no_busy_one() {
        let connections = Arc::new(ConnectionLimiter::default());
        let [first, second, third] = [(); 3].map(|()| Arc::new(connections.try_admit(3).unwrap()));
        let _served = first.serve();
        drop(third.serve());
        // All connections are new, so none can be replaced: the next ones are extra, up to `EXTRA`.
        let extra: Vec<_> = (0..EXTRA)
            .map(|_| Arc::new(connections.try_admit(3).unwrap()))
            .collect();
        assert!(extra.iter().all(|connection| connection.is_extra(3)));
        assert!(connections.try_admit(3).is_none());
        // A new client then waits until a connection has been idle for long enough.
        let begun = clock::now();
        let newcomer = Arc::new(connections.admit(3).await);
        assert!(clock::since(begun).abs_diff(GRACE) <= GRACE / 4 + RESOLUTION);
        assert!(!newcomer.is_extra(3));
        assert_eq!(second.overstays(HEAD).await, CloseReason::Room);
        drop((second, extra));
        assert_eq!(connections.count(), 3);
        let _all = [third.serve(), newcomer.serve()];
        let beyond = connections.try_admit(3).unwrap();
        assert!(beyond.is_extra(3));
        drop(newcomer);
    }

    #[tokio::test(start_paused = true)]
    async fn an_extra_connection_becomes_a_usual_one_once_there_is_room() {
        let connections = Arc::new(ConnectionLimiter::default());
        let busy = Arc::new(connections.admit(1).await);
        let served = busy.serve();
        let beyond = Arc::new(connections.admit(1).await);
        assert!(beyond.is_extra(1));
        drop((served, busy));
        assert!(!beyond.is_extra(1));
        assert_eq!(connections.count(), 1);
        // It now holds a regular place, and frees that place when it is dropped.
        let served = beyond.serve();
        assert!(connections.try_admit(1).unwrap().is_extra(1));
        drop((served, beyond));
        assert!(!connections.try_admit(1).unwrap().is_extra(1));
        assert_eq!(connections.count(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_missing_request_head_or_request_closes_the_connection_at_its_own_limit() {
        let connections = Arc::new(ConnectionLimiter::default());
        let slow = Arc::new(connections.admit(9).await);
        let ends = async |reason, limit: Duration| {
            let begun = clock::now();
            assert_eq!(slow.overstays(HEAD).await, reason);
            assert!(clock::since(begun).abs_diff(limit) <= RESOLUTION);
        };
        ends(CloseReason::Head, HEAD).await;
        // The limit between requests is longer, and each sent byte restarts it.
        drop(slow.serve());
        tokio::time::advance(BETWEEN_REQUESTS / 2).await;
        slow.bytes_sent();
        ends(CloseReason::Idle, BETWEEN_REQUESTS).await;
        slow.bytes_received();
        ends(CloseReason::Head, HEAD).await;
        // A request in progress has no limit.
        let _served = slow.serve();
        let hour = Duration::from_hours(1);
        assert!(tokio::time::timeout(hour, slow.overstays(HEAD)).await.is_err());
    }
}
