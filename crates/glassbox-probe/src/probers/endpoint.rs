//! The endpoint of a probe whose target is not a URL: the host and port of the target or of a backend.

use super::{ProbeRequest, Variant};
use crate::check::{AddressFamily, Check, ProbeFailed, Resolver, Zone, in_zone, split_zone};
use crate::policy::Origin;
use std::net::{IpAddr, SocketAddr};

/// An endpoint to dial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    /// The target's own name or address.
    pub host: String,
    /// IPv6 zone of that address, if any.
    zone: Option<Zone>,
    /// `:authority` as grpc-go sends it: the verified name with TLS, the target's name and port in plain text.
    pub authority: String,
    /// Host and port to dial: of the target, of a backend, or one address of the edge.
    dial: (String, u16),
    /// Whether the dialled host differs from the target's own name.
    elsewhere: bool,
    /// Whether TLS starts with the connection.
    pub tls: bool,
    /// The name for SNI and certificate verification.
    pub tls_name: String,
    /// Whether the endpoint may receive the module's credentials and data, which are meant for its target.
    pub trusted: bool,
}

impl Endpoint {
    /// The endpoint of a request. `tls` and `server_name` are the module's settings.
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

    /// The target's origin, which decides who receives credentials.
    pub fn origin(self, scheme: &str) -> Origin {
        Origin {
            scheme: scheme.to_owned(),
            host: self.host,
            port: Some(self.dial.1),
        }
    }

    /// The URL for display: the target's own name and the dialled port.
    pub fn url(&self, scheme: &str) -> String {
        let host = match &self.zone {
            Some(zone) => format!("{}%{}", self.host, zone.name),
            None => self.host.clone(),
        };
        format!("{scheme}://{}:{}", in_brackets(&host), self.dial.1)
    }

    /// Resolves the host to dial. An IP address is accepted regardless of the configured address family.
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

/// A host in the form used in URLs: IPv6 addresses are in brackets (RFC 3986 section 3.2.2).
fn in_brackets(host: &str) -> String {
    if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    }
}
