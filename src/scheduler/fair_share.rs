//! Shares the permits of concurrent probes fairly. Neither leases nor scrapes nor a single client can take all of them.
//!
//! The number of permits that a caller may hold depends on the number of free permits. A client may take another permit
//! while it holds fewer than [`CALLER_PER_FREE`] per free permit. All scrapes together, and all leases together, may
//! take another one while they hold fewer than [`KIND_PER_FREE`] per free permit. A single client thus gets up to 4 of
//! 5 permits, other clients still find free ones, and leases find free permits when scrapes have reached their limit.

use glassbox_probe::clock;
use parking_lot::{Mutex, MutexGuard};
use std::collections::VecDeque;
use std::collections::hash_map::{Entry, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// Maximum number of permits that one client holds per free permit.
const CALLER_PER_FREE: usize = 4;

/// Maximum number of permits that all scrapes, or all leases, hold per free permit.
const KIND_PER_FREE: usize = 8;

/// Client address for fair sharing: an IPv4 address, or the /64 prefix of an IPv6 address. A host can choose the lower
/// 64 bits freely (RFC 4291 section 2.5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientAddress(IpAddr);

impl ClientAddress {
    /// Returns the client address of a connection from this IP address.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
            address @ IpAddr::V4(_) => address,
        })
    }
}

impl Default for ClientAddress {
    /// The address is not known.
    fn default() -> Self {
        Self(Ipv4Addr::UNSPECIFIED.into())
    }
}

/// What started a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Caller {
    /// A lease, between scrapes.
    Lease,
    /// A scrape from this address.
    Scrape(ClientAddress),
}

/// Permits that are shared fairly among callers.
#[derive(Debug)]
pub(super) struct FairShares(Mutex<State>);

#[derive(Debug)]
struct State {
    /// Total number of permits.
    places: usize,
    taken: usize,
    by_caller: HashMap<Caller, usize>,
    /// Waiting callers, in order of arrival.
    waiting: VecDeque<(Caller, oneshot::Sender<FairPermit>)>,
}

impl State {
    fn held_by(&self, caller: Caller) -> usize {
        self.by_caller.get(&caller).copied().unwrap_or_default()
    }

    fn may_take(&self, caller: Caller) -> bool {
        let free = self.places.saturating_sub(self.taken);
        let leases = self.held_by(Caller::Lease);
        match caller {
            Caller::Lease => leases < free.saturating_mul(KIND_PER_FREE),
            Caller::Scrape(_) => {
                self.taken - leases < free.saturating_mul(KIND_PER_FREE)
                    && self.held_by(caller) < free.saturating_mul(CALLER_PER_FREE)
            }
        }
    }

    fn take(&mut self, caller: Caller) {
        self.taken += 1;
        *self.by_caller.entry(caller).or_default() += 1;
    }

    fn give_back(&mut self, caller: Caller) {
        self.taken -= 1;
        if let Entry::Occupied(mut held) = self.by_caller.entry(caller) {
            *held.get_mut() -= 1;
            if *held.get() == 0 {
                held.remove();
            }
        }
    }

    /// Takes a permit for the first waiting caller that may have one.
    fn next(&mut self) -> Option<(Caller, oneshot::Sender<FairPermit>)> {
        self.waiting.retain(|(_, turn)| !turn.is_closed());
        let mut refused = None;
        let first = self.waiting.iter().position(|(caller, _)| {
            // Consecutive entries of one caller need one check only, so a flood from one client stays cheap.
            let may = refused != Some(*caller) && self.may_take(*caller);
            refused = Some(*caller).filter(|_| !may);
            may
        })?;
        let next = self.waiting.remove(first)?;
        self.take(next.0);
        Some(next)
    }
}

/// A taken permit. Dropping it returns the permit.
#[derive(Debug)]
pub(super) struct FairPermit {
    caller: Caller,
    of: Arc<FairShares>,
}

impl Drop for FairPermit {
    fn drop(&mut self) {
        self.of.state().give_back(self.caller);
        self.of.pass_on();
    }
}

impl FairShares {
    pub fn new(places: usize) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State {
            places,
            taken: 0,
            by_caller: HashMap::new(),
            waiting: VecDeque::new(),
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic cannot leave the state inconsistent.
        self.0.lock()
    }

    /// Changes the number of permits. Surplus permits that are taken disappear when they are returned.
    pub fn set(self: &Arc<Self>, places: usize) {
        self.state().places = places;
        self.pass_on();
    }

    /// Takes a permit, waiting up to `wait`. Also returns the time that it waited.
    pub async fn take(self: &Arc<Self>, caller: Caller, wait: Duration) -> Option<(FairPermit, Duration)> {
        let turn = {
            let mut state = self.state();
            if state.may_take(caller) {
                state.take(caller);
                None
            } else {
                let (turn, comes) = oneshot::channel();
                state.waiting.push_back((caller, turn));
                Some(comes)
            }
        };
        let Some(turn) = turn else {
            return Some((self.clone().share(caller), Duration::ZERO));
        };
        let asked = clock::now();
        let share = tokio::time::timeout(wait, turn).await.ok()?.ok()?;
        Some((share, clock::since(asked)))
    }

    const fn share(self: Arc<Self>, caller: Caller) -> FairPermit {
        FairPermit { caller, of: self }
    }

    /// Gives free permits to waiting callers.
    fn pass_on(self: &Arc<Self>) {
        loop {
            // Send without holding the lock: if the receiver is gone, the permit is dropped here, which locks the
            // state.
            let next = self.state().next();
            let Some((caller, turn)) = next else { return };
            let _gone = turn.send(self.clone().share(caller));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Caller, ClientAddress, FairPermit, FairShares};
    use glassbox_probe::clock;
    use std::sync::Arc;
    use std::time::Duration;

    const AT_ONCE: Duration = Duration::ZERO;

    fn scraper(last: u8) -> Caller {
        Caller::Scrape(ClientAddress::of([192, 0, 2, last].into()))
    }

    async fn all(shares: &Arc<FairShares>, caller: Caller) -> Vec<FairPermit> {
        let mut held = Vec::new();
        while let Some((share, _)) = shares.take(caller, AT_ONCE).await {
            held.push(share);
        }
        held
    }

    #[tokio::test(start_paused = true)]
    async fn no_caller_takes_all_permits_and_the_next_one_finds_a_free_one() {
        let shares = FairShares::new(90);
        let flood = all(&shares, scraper(1)).await;
        assert_eq!(flood.len(), 72);
        let second = all(&shares, scraper(2)).await;
        assert_eq!(second.len(), 8);
        // All scrapes together have reached their limit, so even a third client gets no permit.
        assert_eq!(all(&shares, scraper(3)).await.len(), 0);
        let leases = all(&shares, Caller::Lease).await;
        assert_eq!(leases.len(), 9);
        drop((flood, second));
        assert_eq!(all(&shares, scraper(3)).await.len(), 65);
        drop(leases);
        assert_eq!(all(&shares, Caller::Lease).await.len(), 80);
    }

    #[tokio::test(start_paused = true)]
    async fn any_caller_may_take_all_of_a_few_permits() {
        let shares = FairShares::new(2);
        assert_eq!(all(&shares, Caller::Lease).await.len(), 2);
        assert_eq!(all(&shares, scraper(1)).await.len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_returned_permit_goes_to_the_first_waiting_caller_that_may_have_it() {
        let shares = FairShares::new(1);
        let held = shares.take(scraper(1), AT_ONCE).await.unwrap().0;
        let waiting = tokio::spawn({
            let shares = shares.clone();
            async move { shares.take(scraper(1), Duration::from_mins(1)).await }
        });
        tokio::task::yield_now().await;
        assert!(shares.take(scraper(2), AT_ONCE).await.is_none());
        drop(held);
        let (given, _) = waiting.await.unwrap().unwrap();
        shares.set(2);
        let second = shares.take(scraper(2), AT_ONCE).await.unwrap();
        shares.set(1);
        drop(second);
        assert!(shares.take(scraper(2), AT_ONCE).await.is_none());
        drop(given);
        assert!(shares.take(scraper(2), AT_ONCE).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_waits_for_its_permit_until_its_own_limit() {
        let shares = FairShares::new(1);
        let held = shares.take(Caller::Lease, AT_ONCE).await.unwrap().0;
        let begun = clock::now();
        let second = Duration::from_secs(1);
        let release = async {
            tokio::time::sleep(5 * second).await;
            drop(held);
        };
        let hasty = shares.take(Caller::Lease, 3 * second);
        let patient = shares.take(Caller::Lease, 10 * second);
        let (hasty, patient, ()) = tokio::join!(hasty, patient, release);
        assert!(hasty.is_none());
        let (_held, waited) = patient.unwrap();
        assert_eq!(waited, clock::since(begun));
        assert!(waited.abs_diff(5 * second) <= Duration::from_millis(2), "{waited:?}");
    }

    #[test]
    fn a_network_is_one_source() {
        let of = |text: &str| ClientAddress::of(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:2"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        assert_eq!(of("192.0.2.1"), of("::ffff:192.0.2.1"));
    }
}
