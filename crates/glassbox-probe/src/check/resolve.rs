//! Resolve: resolves the name and selects an address.

use super::resolver::{Families, LookupError, Need, Resolver};
use super::wire::Wire;
use super::zone::scope_id;
use super::{Check, ProbeFailed, StageError};
use glassbox_verdict::chain::Stage;
use glassbox_verdict::host_port::HostPort;
use glassbox_verdict::reason::Reason;
use hickory_proto::rr::RecordType;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::time::Instant;

/// The address families that a module accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressFamily {
    /// Whether to prefer IPv4 over IPv6.
    pub prefers_ip4: bool,
    /// Whether to use the other family if the preferred one has no address.
    pub fallback: bool,
}

impl AddressFamily {
    const fn wants(self, address: IpAddr) -> bool {
        address.is_ipv4() == self.prefers_ip4
    }

    fn asked_for(self) -> Families {
        let (preferred, other) = if self.prefers_ip4 {
            (RecordType::A, RecordType::AAAA)
        } else {
            (RecordType::AAAA, RecordType::A)
        };
        Families {
            preferred,
            other: self.fallback.then_some(other),
        }
    }

    const fn word(self) -> &'static str {
        if self.prefers_ip4 { "ip4" } else { "ip6" }
    }

    /// Selects the same address as `blackbox_exporter`: the first of the preferred family, otherwise the last of the
    /// other.
    fn choose(self, found: &[IpAddr]) -> Option<IpAddr> {
        let preferred = found.iter().copied().find(|address| self.wants(*address));
        match preferred {
            None if self.fallback => found.last().copied(),
            choice => choice,
        }
    }
}

impl Check {
    /// Resolves a name, or accepts an address unchanged, and returns the address to connect to.
    ///
    /// # Errors
    /// Fails if there is no address of an accepted family.
    pub async fn resolve(
        &mut self,
        resolver: &Resolver,
        host: &str,
        family: AddressFamily,
    ) -> Result<IpAddr, ProbeFailed> {
        self.admit_name(host)?;
        let deadline = self.deadline();
        let is_redirected = self.exchanges.iter().any(|facts| !facts.for_credentials);
        self.stage(Stage::Resolve, async |wire| {
            let found = look_up(resolver, host, family, Need::One, deadline).await?;
            let chosen = family.choose(&found).ok_or_else(|| {
                let host = host.to_owned();
                match (host.parse::<IpAddr>(), is_redirected) {
                    (Err(_), _) => ResolveError::NoneOfFamily(host, family.word()),
                    (Ok(_), true) => ResolveError::RedirectToOtherFamily(host, family.word()),
                    (Ok(_), false) => ResolveError::AddressOfOtherFamily(host, family.word()),
                }
            });
            // A proxy's addresses are not those of the target.
            if wire.facts.proxy.is_none() {
                wire.facts.addresses = found;
                wire.facts.chosen = chosen.as_ref().ok().copied();
            }
            chosen
        })
        .await
    }

    /// Resolves the host of `to`, or accepts an address unchanged, and returns the address to connect to, in its zone.
    ///
    /// # Errors
    /// Fails if this host has no such zone, or if there is no address of an accepted family.
    pub async fn resolve_host_port(
        &mut self,
        resolver: &Resolver,
        to: &HostPort,
        family: AddressFamily,
    ) -> Result<SocketAddr, ProbeFailed> {
        let scope = scope_id(to.host()).map_err(|refusal| self.refuse(refusal))?;
        let address = self.resolve(resolver, to.host().without_zone(), family).await?;
        Ok(match (address, scope) {
            (IpAddr::V6(address), Some(scope)) => SocketAddrV6::new(address, to.port(), 0, scope).into(),
            _ => SocketAddr::new(address, to.port()),
        })
    }

    /// Resolves a name to all of its addresses, of both families if the module accepts both.
    ///
    /// # Errors
    /// Fails if there is no address.
    pub async fn resolve_all(
        &mut self,
        resolver: &Resolver,
        host: &str,
        family: AddressFamily,
    ) -> Result<Vec<IpAddr>, ProbeFailed> {
        self.admit_name(host)?;
        let deadline = self.deadline();
        self.stage(Stage::Resolve, async |wire| {
            let found = look_up(resolver, host, family, Need::All, deadline).await?;
            wire.facts.addresses.clone_from(&found);
            Ok::<_, ResolveError>(found)
        })
        .await
    }
}

async fn look_up(
    resolver: &Resolver,
    host: &str,
    family: AddressFamily,
    need: Need,
    deadline: Instant,
) -> Result<Vec<IpAddr>, ResolveError> {
    let mut found = if let Ok(literal) = host.parse() {
        vec![literal]
    } else {
        // Boxed, so that a probe of an address does not reserve memory for a lookup.
        let found = Box::pin(resolver.look_up(host, family.asked_for(), need, deadline)).await;
        found.map_err(|error| ResolveError::Lookup(host.to_owned(), error))?
    };
    // As in Go, an IPv4-mapped IPv6 address (RFC 4291 section 2.5.5.2) counts as an IPv4 address.
    for address in &mut found {
        *address = address.to_canonical();
    }
    Ok(found)
}

enum ResolveError {
    Lookup(String, LookupError),
    NoneOfFamily(String, &'static str),
    /// The target is an address of a family that the module does not accept. No name server was queried.
    AddressOfOtherFamily(String, &'static str),
    /// The target of a redirect is an address of a family that the module does not accept.
    RedirectToOtherFamily(String, &'static str),
}

impl StageError for ResolveError {
    fn reason(&self) -> Reason {
        match self {
            Self::Lookup(_, error) => error.reason,
            Self::NoneOfFamily(..) => Reason::DnsNoData,
            Self::AddressOfOtherFamily(..) => Reason::LocalTargetInvalid,
            Self::RedirectToOtherFamily(..) => Reason::HttpResponseBadRedirect,
        }
    }

    fn detail(&self) -> String {
        match self {
            Self::Lookup(host, error) => format!("Resolving {host} failed: {}.", error.words),
            Self::NoneOfFamily(host, word) => {
                format!("{host} has no {word} address, and ip_protocol_fallback is off.")
            }
            Self::AddressOfOtherFamily(host, word) => {
                format!("The target {host} is not an {word} address, and ip_protocol_fallback is off.")
            }
            Self::RedirectToOtherFamily(host, word) => {
                format!(
                    "The redirect leads to {host}, which is not an {word} address, and ip_protocol_fallback is off."
                )
            }
        }
    }

    fn timed_out(_: &Wire) -> Reason {
        Reason::DnsTimedOut
    }
}

#[cfg(test)]
mod tests {
    use super::AddressFamily;
    use std::net::IpAddr;

    const V4: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const V6: IpAddr = IpAddr::V6(std::net::Ipv6Addr::LOCALHOST);

    #[test]
    fn the_preferred_family_is_chosen_and_else_the_last_of_the_other() {
        let other = IpAddr::from([127, 0, 0, 2]);
        let family = |prefers_ip4, fallback| AddressFamily { prefers_ip4, fallback };
        assert_eq!(family(true, true).choose(&[V6, V4, other]), Some(V4));
        assert_eq!(family(false, true).choose(&[V4, other]), Some(other));
        assert_eq!(family(false, false).choose(&[V4, other]), None);
    }
}
