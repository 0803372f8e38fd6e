//! The route to a server: name resolution, the connection to the server or its proxy, and TLS.

use super::Versions;
use crate::check::{AddressFamily, Check, ProbeFailed, Resolver, Tls};
use crate::probers::proxies::{Proxies, Proxy};
use crate::target::HttpUrl;
use glassbox_verdict::host_port::HostPort;
use glassbox_verdict::reason::Reason;
use std::net::{IpAddr, SocketAddr};

/// The address family for proxies, which cannot be configured: IPv4 is preferred.
const ANY: AddressFamily = AddressFamily {
    prefers_ip4: true,
    fallback: true,
};

/// Hint for a name that does not resolve although a proxy will dial it.
const PROXY_MAY_RESOLVE: &str =
    "The proxy may be able to resolve it: skip_resolve_phase_with_proxy leaves name resolution to the proxy.";

/// A route to a server.
pub(super) struct Route<'a> {
    pub url: &'a HttpUrl,
    /// Host and port to dial.
    pub place: &'a HostPort,
    /// Host of the URL. The module's proxy exceptions apply to it.
    pub own_host: &'a str,
    /// Whether proxies are ignored.
    pub direct: bool,
    pub resolver: &'a Resolver,
    pub family: AddressFamily,
    pub proxies: &'a Proxies,
    /// TLS settings for the server, and for an https proxy.
    pub tls: &'a Tls,
    pub tls_name: &'a str,
    pub versions: Versions,
}

/// The proxy that forwards the request itself.
pub(super) struct Relay<'a>(pub &'a Proxy);

impl<'a> Route<'a> {
    /// Opens the route. Requests then reach the server, or the returned proxy, which forwards them.
    pub async fn open(&self, check: &mut Check) -> Result<Option<Relay<'a>>, ProbeFailed> {
        if self.versions == Versions::Http3 {
            // QUIC is not supported through a proxy.
            let to = self.resolve(check).await?;
            check.secure_quic(self.tls, self.tls_name, to).await?;
            return Ok(None);
        }
        let relay = self.connect(check).await?;
        if self.url.scheme().is_secure() {
            check
                .secure(self.tls, self.tls_name, self.versions == Versions::Http1)
                .await?;
        }
        Ok(relay)
    }

    async fn connect(&self, check: &mut Check) -> Result<Option<Relay<'a>>, ProbeFailed> {
        let unresolved = self.proxy(None).filter(|_| self.proxies.skip_resolve);
        if let Some(proxy) = unresolved {
            return Box::pin(self.connect_by(proxy, None, check)).await;
        }
        let has_proxy = self.proxy(None).is_some();
        if has_proxy {
            check.expect_proxy();
        }
        let to = self.resolve(check).await.inspect_err(|_| {
            if has_proxy {
                check.explain(PROXY_MAY_RESOLVE);
            }
        })?;
        if let Some(proxy) = self.proxy(Some(to.ip())) {
            return Box::pin(self.connect_by(proxy, Some(to.ip()), check)).await;
        }
        check.connect(to).await?;
        Ok(None)
    }

    async fn resolve(&self, check: &mut Check) -> Result<SocketAddr, ProbeFailed> {
        check.resolve_host_port(self.resolver, self.place, self.family).await
    }

    /// Connects through a proxy. `address` is the target's address, if it was resolved.
    async fn connect_by(
        &self,
        proxy: &'a Proxy,
        address: Option<IpAddr>,
        check: &mut Check,
    ) -> Result<Option<Relay<'a>>, ProbeFailed> {
        let host = self.place.host();
        if host.zone().is_some() {
            let words = "An IPv6 address with a zone is not reachable through a proxy.";
            return Err(check.fail(Reason::LocalTargetInvalid, words));
        }
        // An IP address is checked against the policy even if name resolution is left to the proxy.
        match address.or_else(|| host.address()) {
            Some(address) => check.admit(SocketAddr::new(address, self.place.port()))?,
            None => check.admit_name(host.as_str())?,
        }
        check.set_proxy(proxy.shown());
        let at = check.resolve_host_port(self.resolver, &proxy.address, ANY).await?;
        check.connect(at).await?;
        if proxy.is_https() {
            check.secure(self.tls, proxy.address.host().as_str(), true).await?;
        }
        if !self.url.scheme().is_secure() && !proxy.tunnels_all() {
            return Ok(Some(Relay(proxy)));
        }
        let resolved = address.map(|address| HostPort::new(&address.to_string(), self.place.port()));
        let how = proxy.tunnel(&self.proxies.connect_fields);
        check.tunnel(&how, resolved.as_ref().unwrap_or(self.place)).await?;
        Ok(None)
    }

    fn proxy(&self, address: Option<IpAddr>) -> Option<&'a Proxy> {
        self.proxies
            .of(self.url, self.own_host, address)
            .filter(|_| !self.direct)
    }
}
