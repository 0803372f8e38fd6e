//! The endpoint of a probe whose target is not a URL: a host and a port, dialled there or at a backend.

use super::{ProbeRequest, Variant};
use crate::check::{AddressFamily, Check, ProbeFailed, Resolver, Zone, in_zone, split_zone};
use crate::policy::Origin;
use std::net::{IpAddr, SocketAddr};

/// A place to dial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    /// The name or address of the target itself.
    pub host: String,
    /// The zone of that address, where it has one.
    zone: Option<Zone>,
    /// `:authority` as grpc-go sends it: over TLS the name that is verified, in plain text the target's name and port.
    pub authority: String,
    /// What is dialled: that, or a backend, or one of its addresses.
    dial: (String, u16),
    /// Whether it is not the target's own name that is dialled.
    elsewhere: bool,
    /// Whether TLS begins at once.
    pub tls: bool,
    /// The name to send and verify in TLS.
    pub tls_name: String,
    /// Whether it may get what the module holds for its target.
    pub trusted: bool,
}

impl Endpoint {
    /// The target of an aim; `tls` is what the module says, with its `server_name`.
    pub fn new(
        requested: &ProbeRequest,
        port: Option<u16>,
        tls: bool,
        server_name: Option<&str>,
        variant: Variant<'_>,
    ) -> Result<Self, String> {
        let (host, port) = requested.target.host_port(port).map_err(|error| format!("{error}."))?;
        let (host, zone) = split_zone(&host).map_err(|error| format!("{error}."))?;
        let host = host.to_owned();
        let own_name = server_name
            .or(requested.hostname.as_deref())
            .unwrap_or(&host)
            .to_owned();
        let authority = if tls {
            in_brackets(&own_name)
        } else {
            format!("{}:{port}", in_brackets(&host))
        };
        let place = Self {
            dial: (host.clone(), port),
            host,
            zone,
            authority,
            elsewhere: false,
            tls,
            tls_name: own_name,
            trusted: true,
        };
        Ok(match variant {
            Variant::Backend(backend) | Variant::Handshake(Some(backend)) => Self {
                dial: (backend.host.clone(), backend.port),
                elsewhere: true,
                tls: backend.tls,
                tls_name: backend.sni.clone().unwrap_or(place.tls_name),
                trusted: backend.trusted,
                authority: backend.authority.clone().unwrap_or(place.authority),
                ..place
            },
            Variant::Address(address) => Self {
                dial: (address.to_string(), port),
                elsewhere: true,
                ..place
            },
            _ => place,
        })
    }

    /// The target as credentials see it.
    pub fn origin(self, scheme: &str) -> Origin {
        Origin {
            scheme: scheme.to_owned(),
            host: self.host,
            port: Some(self.dial.1),
        }
    }

    /// As it may be shown: the target's own name, and the port that is dialled.
    pub fn url(&self, scheme: &str) -> String {
        let host = match &self.zone {
            Some(zone) => format!("{}%{}", self.host, zone.name),
            None => self.host.clone(),
        };
        format!("{scheme}://{}:{}", in_brackets(&host), self.dial.1)
    }

    /// Resolves what is dialled. A place that is named by its address is of the family that it is.
    pub async fn resolve(
        &self,
        check: &mut Check,
        resolver: &Resolver,
        family: AddressFamily,
    ) -> Result<SocketAddr, ProbeFailed> {
        let family = AddressFamily {
            fallback: family.fallback || self.elsewhere,
            ..family
        };
        let address: IpAddr = check.resolve(resolver, &self.dial.0, family).await?;
        let zone = self.zone.as_ref().filter(|_| !self.elsewhere);
        Ok(in_zone(address, self.dial.1, zone))
    }
}

/// A host as URLs have it: an address of IPv6 is in brackets (RFC 3986 section 3.2.2).
fn in_brackets(host: &str) -> String {
    if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    }
}
