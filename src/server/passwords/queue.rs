//! Queue of password checks.
//!
//! One hash is computed at a time, and client addresses take turns, so a flood from one address delays only that
//! address. The queue is bounded. When it is full, the newest request of the address with the most requests is
//! rejected.

use parking_lot::{Mutex, MutexGuard};
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::oneshot;

use crate::scheduler::ClientAddress;

/// Maximum number of waiting requests from all addresses. Each one belongs to a connection that is open anyway.
pub(super) const WAITING: usize = 1024;

/// Handle to the shared queue.
#[derive(Clone, Debug, Default)]
pub(super) struct Queue(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    is_busy: bool,
    waiting: usize,
    /// Client addresses in the order of their next turns, each with its requests, oldest first. No list is empty.
    sources: VecDeque<(ClientAddress, VecDeque<oneshot::Sender<QueueTurn>>)>,
}

/// Permission to compute one hash. Dropping it passes the permission to the next request.
#[derive(Debug)]
pub(super) struct QueueTurn(Option<Queue>);

impl Queue {
    /// Waits for a turn. Dropping the future removes the request from the queue.
    ///
    /// # Errors
    /// When the queue is full and this address has the most requests in it, or when a request from another address
    /// replaces this one.
    pub async fn turn(&self, source: ClientAddress) -> Result<QueueTurn, QueueFull> {
        let coming = {
            let mut state = self.state();
            if !state.is_busy {
                state.is_busy = true;
                drop(state);
                return Ok(QueueTurn(Some(self.clone())));
            }
            if state.waiting >= WAITING {
                state.forget_gone();
            }
            if state.waiting >= WAITING && !state.make_room(source) {
                return Err(QueueFull);
            }
            state.push(source)
        };
        coming.await.map_err(|_| QueueFull)
    }

    /// Number of waiting requests.
    #[cfg(test)]
    pub fn waiting(&self) -> usize {
        self.state().waiting
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic cannot leave the state inconsistent.
        self.0.lock()
    }
}

/// The queue is full.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct QueueFull;

impl State {
    fn push(&mut self, source: ClientAddress) -> oneshot::Receiver<QueueTurn> {
        let (sender, receiver) = oneshot::channel();
        self.waiting += 1;
        match self.sources.iter_mut().find(|(known, _)| *known == source) {
            Some((_, line)) => line.push_back(sender),
            None => self.sources.push_back((source, VecDeque::from([sender]))),
        }
        receiver
    }

    /// Removes the requests of clients that have disconnected.
    fn forget_gone(&mut self) {
        for (_, line) in &mut self.sources {
            line.retain(|waiting| !waiting.is_closed());
        }
        self.sources.retain(|(_, line)| !line.is_empty());
        self.waiting = self.sources.iter().map(|(_, line)| line.len()).sum();
    }

    /// Rejects the newest request of the address with the most requests. Returns false if that address sent the new
    /// request.
    fn make_room(&mut self, newcomer: ClientAddress) -> bool {
        let length = |source: &(ClientAddress, VecDeque<_>)| source.1.len() + usize::from(source.0 == newcomer);
        let Some(longest) = self.sources.iter_mut().max_by_key(|source| length(source)) else {
            return false;
        };
        if longest.0 == newcomer {
            return false;
        }
        self.waiting -= usize::from(longest.1.pop_back().is_some());
        self.sources.retain(|(_, line)| !line.is_empty());
        true
    }

    /// Takes the oldest request of the address whose turn it is.
    fn next(&mut self) -> Option<oneshot::Sender<QueueTurn>> {
        let (source, mut line) = self.sources.pop_front()?;
        let next = line.pop_front();
        self.waiting -= usize::from(next.is_some());
        if !line.is_empty() {
            self.sources.push_back((source, line));
        }
        next
    }
}

impl Drop for QueueTurn {
    fn drop(&mut self) {
        let Some(queue) = self.0.take() else { return };
        loop {
            let mut state = queue.state();
            let Some(next) = state.next() else {
                state.is_busy = false;
                return;
            };
            drop(state);
            match next.send(Self(Some(queue.clone()))) {
                Ok(()) => return,
                // The client has disconnected. This loop passes the turn on, so dropping the value must not do it
                // again.
                Err(mut unused) => unused.0 = None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ClientAddress, Queue, QueueFull, WAITING};
    use std::net::IpAddr;
    use std::sync::{Arc, Mutex};
    use tokio::task::JoinHandle;

    fn source(last: u8) -> ClientAddress {
        ClientAddress::of(IpAddr::from([192, 0, 2, last]))
    }

    /// Waits for a turn, records its address, and ends.
    fn waits(queue: &Queue, from: u8, turns: &Arc<Mutex<Vec<u8>>>) -> JoinHandle<Result<(), QueueFull>> {
        let (queue, turns) = (queue.clone(), turns.clone());
        tokio::spawn(async move {
            let _turn = queue.turn(source(from)).await?;
            turns.lock().unwrap().push(from);
            Ok(())
        })
    }

    async fn line_of(queue: &Queue, count: usize) {
        while queue.waiting() != count {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn addresses_take_turns_and_disconnected_clients_are_skipped() {
        let (queue, turns) = (Queue::default(), Arc::default());
        let first = queue.turn(source(1)).await.unwrap();
        let mut flood: Vec<_> = (0..50).map(|_| waits(&queue, 1, &turns)).collect();
        line_of(&queue, 50).await;
        let gone: Vec<_> = (0..20).map(|_| waits(&queue, 3, &turns)).collect();
        line_of(&queue, 70).await;
        gone.iter().for_each(JoinHandle::abort);
        for gone in gone {
            assert!(gone.await.unwrap_err().is_cancelled());
        }
        flood.push(waits(&queue, 2, &turns));
        line_of(&queue, 71).await;
        drop(first);
        for waited in flood {
            assert_eq!(waited.await.unwrap(), Ok(()));
        }
        let turns = turns.lock().unwrap().clone();
        assert_eq!(
            turns[..3],
            [1, 2, 1],
            "the other source did not wait for all of the flood"
        );
        assert_eq!(turns.len(), 51);
        // The queue is idle again.
        assert!(queue.turn(source(9)).await.is_ok());
    }

    #[tokio::test]
    async fn a_full_queue_accepts_another_address_in_place_of_the_newest_request_of_the_busiest_one() {
        let (queue, turns) = (Queue::default(), Arc::default());
        let held = queue.turn(source(1)).await.unwrap();
        let mut flood: Vec<_> = (0..WAITING).map(|_| waits(&queue, 1, &turns)).collect();
        line_of(&queue, WAITING).await;
        assert_eq!(queue.turn(source(1)).await.unwrap_err(), QueueFull);
        let other = waits(&queue, 2, &turns);
        assert_eq!(flood.pop().unwrap().await.unwrap(), Err(QueueFull));
        assert_eq!(queue.waiting(), WAITING);
        drop(held);
        assert_eq!(other.await.unwrap(), Ok(()));
        assert_eq!(turns.lock().unwrap().iter().position(|from| *from == 2), Some(1));
        for waited in flood {
            assert_eq!(waited.await.unwrap(), Ok(()));
        }
    }
}
