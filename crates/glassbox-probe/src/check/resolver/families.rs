//! Queries both address families of one name in parallel.

use super::LookupError;
use crate::limits::SECOND_FAMILY_GRACE;
use glassbox_verdict::reason::Reason;
use hickory_proto::rr::RecordType;
use std::future::Future;
use std::net::IpAddr;
use std::pin::pin;
use std::time::{Duration, Instant};

type Found = Result<Vec<IpAddr>, LookupError>;

/// The families to query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::check) struct Families {
    pub preferred: RecordType,
    pub other: Option<RecordType>,
}

/// Number of addresses that a probe needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::check) enum Need {
    /// One address. An address of the preferred family ends the lookup.
    One,
    /// All addresses of both families.
    All,
}

impl Families {
    /// Queries both families.
    pub async fn addresses<F: Future<Output = Found>>(
        self,
        ask: impl Fn(RecordType) -> F,
        need: Need,
        one_by_one: bool,
        deadline: Instant,
    ) -> Found {
        let preferred = ask(self.preferred);
        let Some(other) = self.other else {
            return preferred.await;
        };
        if one_by_one {
            let preferred = preferred.await;
            return match (preferred, need) {
                (Ok(found), Need::One) => Ok(found),
                (preferred, _) => join(preferred, ask(other).await),
            };
        }
        match need {
            Need::All => {
                let (preferred, other) = tokio::join!(preferred, ask(other));
                join(preferred, other)
            }
            Need::One => {
                let left = || deadline.saturating_duration_since(Instant::now());
                first(preferred, ask(other), || SECOND_FAMILY_GRACE.min(left() / 2)).await
            }
        }
    }
}

fn join(preferred: Found, other: Found) -> Found {
    match (preferred, other) {
        (Ok(mut found), Ok(others)) => {
            found.extend(others);
            Ok(found)
        }
        (Ok(found), Err(_)) | (Err(_), Ok(found)) => Ok(found),
        (Err(one), Err(other)) => Err(more_telling(one, other)),
    }
}

/// Waits for an address. An address of the preferred family ends the wait immediately. An address of the other family
/// waits up to `grace` for the preferred one. If the first result has no address, the function waits for the second
/// without this limit, because only the second may have one.
async fn first(
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
            (first, other.await)
        }
        second = &mut other => {
            let Ok(found) = second else {
                return join(preferred.await, second);
            };
            return match tokio::time::timeout(grace(), preferred).await {
                Ok(Ok(preferred)) => Ok(preferred),
                _ => Ok(found),
            };
        }
    };
    join(first, second)
}

fn more_telling(preferred: LookupError, other: LookupError) -> LookupError {
    if preferred.reason == Reason::DnsNoData {
        other
    } else {
        preferred
    }
}

#[cfg(test)]
mod tests {
    use super::{LookupError, first};
    use glassbox_verdict::reason::Reason;
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

    #[tokio::test]
    async fn a_silent_family_does_not_starve_the_other() {
        let found = first(pending(), ready(Ok(vec![V4])), GRACE).await.unwrap();
        assert_eq!(found, [V4]);
        let found = first(ready(Ok(vec![V6])), pending(), GRACE).await.unwrap();
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
            let error = first(ready(failed(preferred)), ready(failed(other)), GRACE)
                .await
                .unwrap_err();
            assert_eq!(error.reason, told);
        }
    }

    #[tokio::test]
    async fn a_family_without_addresses_does_not_cut_the_other_off() {
        let late = || async {
            tokio::time::sleep(10 * GRACE()).await;
            Ok(vec![V4])
        };
        let none = || ready(failed(Reason::DnsNoData));
        assert_eq!(first(late(), none(), GRACE).await.unwrap(), [V4]);
        assert_eq!(first(none(), late(), GRACE).await.unwrap(), [V4]);
    }
}
