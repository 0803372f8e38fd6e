//! The endpoint of a probe whose target is not a URL: the host and port of the target or of a backend.

use super::Variant;
use crate::check::{AddressFamily, Check, ProbeFailed, Resolver};
use crate::policy::Origin;
use glassbox_verdict::host_port::{Host, HostPort};
use std::net::SocketAddr;

/// An endpoint to dial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    /// The target's own host and port.
    target: HostPort,
    /// `:authority` as grpc-go sends it: the verified name with TLS, the target's name and port in plain text.
    pub authority: String,
    /// Host and port to dial: of the target, of a backend, or one address of the edge.
    dial: HostPort,
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
    /// The endpoint of a request. `tls` is the module's setting. `own_name` is the name for SNI and certificate
    /// verification, if it is not the target's host.
    pub fn new(target: HostPort, tls: bool, own_name: Option<&str>, variant: Variant<'_>) -> Self {
        let tls_name = own_name.unwrap_or_else(|| target.host().without_zone()).to_owned();
        let authority = if tls {
            Host::new(&tls_name).to_string()
        } else {
            HostPort::new(target.host().without_zone(), target.port()).to_string()
        };
        let place = Self {
            dial: target.clone(),
            target,
            authority,
            elsewhere: false,
            tls,
            tls_name,
            trusted: true,
        };
        match variant {
            Variant::Backend(backend) | Variant::Handshake(Some(backend)) => Self {
                dial: backend.address.clone(),
                elsewhere: true,
                tls: backend.tls,
                tls_name: backend.sni.clone().unwrap_or(place.tls_name),
                trusted: backend.trusted,
                authority: backend.authority.clone().unwrap_or(place.authority),
                ..place
            },
            Variant::Address(address) => Self {
                dial: HostPort::new(&address.to_string(), place.target.port()),
                elsewhere: true,
                ..place
            },
            _ => place,
        }
    }

    /// The target's own name or address, without a zone.
    pub fn host(&self) -> &str {
        self.target.host().without_zone()
    }

    /// The target's origin, which decides who receives credentials.
    pub fn origin(&self, scheme: &str) -> Origin {
        Origin {
            scheme: scheme.to_owned(),
            host: self.host().to_owned(),
            port: Some(self.dial.port()),
        }
    }

    /// The URL for display: the target's own name and the dialled port.
    pub fn url(&self, scheme: &str) -> String {
        format!("{scheme}://{}", self.target.clone().with_port(self.dial.port()))
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
        check.resolve_host_port(resolver, &self.dial, family).await
    }
}
