//! A target that delays all responses until the test releases them.

use super::peer::{Peer, read_head};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::watch;

/// A target that responds only after `let_go`, and counts the waiting requests.
pub struct Held {
    pub peer: Peer,
    waiting: watch::Receiver<usize>,
    /// Maximum number of requests that waited at the same time.
    pub most: Arc<AtomicUsize>,
    /// Releases all requests.
    pub let_go: watch::Sender<bool>,
}

impl Held {
    pub async fn start() -> Self {
        let (count, waiting) = watch::channel(0);
        let (let_go, go) = watch::channel(false);
        let count = Arc::new(count);
        let most = Arc::new(AtomicUsize::new(0));
        let seen = most.clone();
        let peer = Peer::start(move |mut stream| {
            let (count, mut go, seen) = (count.clone(), go.clone(), seen.clone());
            async move {
                read_head(&mut stream).await;
                count.send_modify(|count| *count += 1);
                seen.fetch_max(*count.borrow(), Ordering::SeqCst);
                // If the sender is gone, the test has ended.
                let _ = go.wait_for(|go| *go).await;
                count.send_modify(|count| *count -= 1);
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";
                stream.write_all(answer).await.ok();
            }
        })
        .await;
        Self {
            peer,
            waiting,
            most,
            let_go,
        }
    }

    /// Waits until `probes` requests are waiting.
    pub async fn holds(&self, probes: usize) {
        let mut waiting = self.waiting.clone();
        waiting.wait_for(|count| *count == probes).await.unwrap();
    }
}
