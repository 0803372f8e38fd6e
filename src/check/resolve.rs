//! Resolve: turn the name into addresses and choose one.

use super::resolver::{LookupError, Resolver};
use super::wire::Wire;
use super::{Check, Failure, Stopped};
use crate::chain::Stage;
use crate::limits::SECOND_FAMILY_GRACE;
use crate::reason::Reason;
use hickory_resolver::proto::rr::RecordType;
use std::future::Future;
use std::net::IpAddr;
use std::pin::pin;
use std::time::{Duration, Instant};

/// Which address family a module wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Family {
    /// Prefer IPv4; IPv6 otherwise.
    pub prefers_ip4: bool,
    /// Take the other family where the preferred one has no address.
    pub fallback: bool,
}

impl Family {
    const fn wants(self, address: IpAddr) -> bool {
        address.is_ipv4() == self.prefers_ip4
    }

    const fn record_types(self) -> (RecordType, RecordType) {
        if self.prefers_ip4 {
            (RecordType::A, RecordType::AAAA)
        } else {
            (RecordType::AAAA, RecordType::A)
        }
    }

    const fn word(self) -> &'static str {
        if self.prefers_ip4 { "ip4" } else { "ip6" }
    }

    /// The peer's choice: the first of the preferred family, else the last of the other.
    fn choose(self, found: &[IpAddr]) -> Option<IpAddr> {
        let preferred = found.iter().copied().find(|address| self.wants(*address));
        match preferred {
            None if self.fallback => found.last().copied(),
            choice => choice,
        }
    }
}

impl Check {
    /// Resolves a name (or takes an address as it is) and gives the address to connect to.
    ///
    /// # Errors
    /// When no address of a wanted family can be had.
    pub async fn resolve(&mut self, resolver: &Resolver, host: &str, family: Family) -> Result<IpAddr, Stopped> {
        let left = self.left();
        self.stage(Stage::Resolve, async |wire| {
            let found = match host.parse() {
                Ok(literal) => vec![literal],
                Err(_) => look_up(resolver, host, family, left)
                    .await
                    .map_err(|error| ResolveError::Lookup(host.to_owned(), error))?,
            };
            let chosen = family
                .choose(&found)
                .ok_or_else(|| ResolveError::NoneOfFamily(host.to_owned(), family.word()));
            // The addresses of a proxy are not those of the target.
            if wire.leg.proxy.is_none() {
                wire.leg.addresses = found;
                wire.leg.chosen = chosen.as_ref().ok().copied();
            }
            chosen
        })
        .await
    }
}

impl Check {
    /// Resolves a name to all of its addresses, of both families where the module takes both.
    ///
    /// # Errors
    /// When no address can be had.
    pub async fn resolve_all(
        &mut self,
        resolver: &Resolver,
        host: &str,
        family: Family,
    ) -> Result<Vec<IpAddr>, Stopped> {
        self.stage(Stage::Resolve, async |wire| {
            let found = match host.parse() {
                Ok(literal) => vec![literal],
                Err(_) => look_up_all(resolver, host, family)
                    .await
                    .map_err(|error| ResolveError::Lookup(host.to_owned(), error))?,
            };
            wire.leg.addresses.clone_from(&found);
            Ok::<_, ResolveError>(found)
        })
        .await
    }
}

async fn look_up_all(resolver: &Resolver, host: &str, family: Family) -> Found {
    let known = resolver.known_to_hosts(host);
    if !known.is_empty() {
        return Ok(known);
    }
    let (preferred, other) = family.record_types();
    if !family.fallback {
        return resolver.ask(host, preferred).await;
    }
    match tokio::join!(resolver.ask(host, preferred), resolver.ask(host, other)) {
        (Ok(mut found), Ok(others)) => {
            found.extend(others);
            Ok(found)
        }
        (Ok(found), Err(_)) | (Err(_), Ok(found)) => Ok(found),
        (Err(one), Err(other)) => Err(more_telling(one, other)),
    }
}

async fn look_up(resolver: &Resolver, host: &str, family: Family, left: Duration) -> Result<Vec<IpAddr>, LookupError> {
    let known = resolver.known_to_hosts(host);
    if !known.is_empty() {
        return Ok(known);
    }
    let (preferred, other) = family.record_types();
    if family.fallback {
        let asked = Instant::now();
        let grace = || SECOND_FAMILY_GRACE.min(left.saturating_sub(asked.elapsed()) / 2);
        both(resolver.ask(host, preferred), resolver.ask(host, other), grace).await
    } else {
        resolver.ask(host, preferred).await
    }
}

type Found = Result<Vec<IpAddr>, LookupError>;

/// Asks for both families at once. One that stays silent costs at most `grace`, asked for once the other has
/// answered, and an address of the preferred family ends the waiting at once.
async fn both(
    preferred: impl Future<Output = Found>,
    other: impl Future<Output = Found>,
    grace: impl Fn() -> Duration,
) -> Found {
    let (mut preferred, mut other) = (pin!(preferred), pin!(other));
    let (first, second) = tokio::select! {
        biased;
        first = &mut preferred => {
            if first.is_ok() {
                return first;
            }
            (Some(first), tokio::time::timeout(grace(), other).await.ok())
        }
        second = &mut other => {
            (tokio::time::timeout(grace(), preferred).await.ok(), Some(second))
        }
    };
    match (first, second) {
        (Some(Ok(found)), _) | (_, Some(Ok(found))) => Ok(found),
        (Some(Err(one)), Some(Err(other))) => Err(more_telling(one, other)),
        // Silence tells more than "no such record": the missing address may be the one that was not given.
        (Some(Err(error)), None) | (None, Some(Err(error))) if error.reason != Reason::DnsNoData => Err(error),
        _ => Err(LookupError {
            reason: Reason::DnsTimedOut,
            words: "one address family has no data, the question for the other was not answered".to_owned(),
        }),
    }
}

fn more_telling(preferred: LookupError, other: LookupError) -> LookupError {
    if preferred.reason == Reason::DnsNoData {
        other
    } else {
        preferred
    }
}

enum ResolveError {
    Lookup(String, LookupError),
    NoneOfFamily(String, &'static str),
}

impl Failure for ResolveError {
    fn reason(&self) -> Reason {
        match self {
            Self::Lookup(_, error) => error.reason,
            Self::NoneOfFamily(..) => Reason::DnsNoData,
        }
    }

    fn detail(&self) -> String {
        match self {
            Self::Lookup(host, error) => format!("Resolving {host}: {}.", error.words),
            Self::NoneOfFamily(host, word) => {
                format!("{host} has no {word} address, and ip_protocol_fallback is off.")
            }
        }
    }

    fn timed_out(_: &Wire) -> Reason {
        Reason::DnsTimedOut
    }
}

#[cfg(test)]
mod tests {
    use super::{Family, both};
    use crate::check::resolver::LookupError;
    use crate::reason::Reason;
    use std::future::{pending, ready};
    use std::net::IpAddr;
    use std::time::Duration;

    const V4: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const V6: IpAddr = IpAddr::V6(std::net::Ipv6Addr::LOCALHOST);
    const GRACE: fn() -> Duration = || Duration::from_millis(5);

    fn failed(reason: Reason) -> Result<Vec<IpAddr>, LookupError> {
        Err(LookupError {
            reason,
            words: String::new(),
        })
    }

    #[test]
    fn the_preferred_family_is_chosen_and_else_the_last_of_the_other() {
        let other = IpAddr::from([127, 0, 0, 2]);
        let family = |prefers_ip4, fallback| Family { prefers_ip4, fallback };
        assert_eq!(family(true, true).choose(&[V6, V4, other]), Some(V4));
        assert_eq!(family(false, true).choose(&[V4, other]), Some(other));
        assert_eq!(family(false, false).choose(&[V4, other]), None);
    }

    #[tokio::test]
    async fn a_silent_family_does_not_starve_the_other() {
        let found = both(pending(), ready(Ok(vec![V4])), GRACE).await.unwrap();
        assert_eq!(found, [V4]);
        let found = both(ready(Ok(vec![V6])), pending(), GRACE).await.unwrap();
        assert_eq!(found, [V6]);
    }

    #[tokio::test]
    async fn the_more_telling_error_is_reported() {
        for (preferred, other, told) in [
            (Reason::DnsNoData, Reason::DnsServfail, Reason::DnsServfail),
            (Reason::DnsRefused, Reason::DnsNoData, Reason::DnsRefused),
            (Reason::DnsNoData, Reason::DnsNoData, Reason::DnsNoData),
            (
                Reason::DnsNameNotResolved,
                Reason::DnsTimedOut,
                Reason::DnsNameNotResolved,
            ),
        ] {
            let error = both(ready(failed(preferred)), ready(failed(other)), GRACE)
                .await
                .unwrap_err();
            assert_eq!(error.reason, told);
        }
    }

    #[tokio::test]
    async fn no_data_beside_silence_is_silence() {
        let error = both(pending(), ready(failed(Reason::DnsNoData)), GRACE)
            .await
            .unwrap_err();
        assert_eq!(error.reason, Reason::DnsTimedOut);
    }
}
