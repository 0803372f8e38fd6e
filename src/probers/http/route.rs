//! The way to a server: its name, a connection to it or to the proxy before it, TLS.

use super::Versions;
use crate::check::{Check, Family, Resolver, Stopped, Tls};
use crate::probers::proxies::{Proxies, Proxy};
use std::net::{IpAddr, SocketAddr};
use url::Url;

/// A proxy that nobody chose the family of is taken as it comes.
const ANY: Family = Family {
    prefers_ip4: true,
    fallback: true,
};

/// Where to, and how.
pub(super) struct Route<'a> {
    pub url: &'a Url,
    /// The name or address that is dialled.
    pub host: &'a str,
    pub port: u16,
    /// The URL's own host, by which the module's exceptions go.
    pub own_host: &'a str,
    /// Whether a proxy is out of the question.
    pub direct: bool,
    pub resolver: &'a Resolver,
    pub family: Family,
    pub proxies: &'a Proxies,
    /// TLS with the server, and with the proxy where it is one of https.
    pub tls: &'a Tls,
    pub tls_name: &'a str,
    pub versions: Versions,
}

/// The proxy to which the request itself is written, and the address that it is to go to, where we resolved it.
pub(super) struct Relay<'a> {
    pub proxy: &'a Proxy,
    pub address: Option<IpAddr>,
}

impl<'a> Route<'a> {
    /// Opens the way: what is sent then reaches the server, or the proxy that is to pass it on.
    pub async fn open(&self, check: &mut Check) -> Result<Option<Relay<'a>>, Stopped> {
        if self.versions == Versions::Http3 {
            // No proxy leads QUIC.
            let address = check.resolve(self.resolver, self.host, self.family).await?;
            let to = SocketAddr::new(address, self.port);
            check.secure_quic(self.tls, self.tls_name, to).await?;
            return Ok(None);
        }
        let relay = self.connect(check).await?;
        if self.url.scheme() == "https" {
            check
                .secure(self.tls, self.tls_name, self.versions == Versions::Http1)
                .await?;
        }
        Ok(relay)
    }

    async fn connect(&self, check: &mut Check) -> Result<Option<Relay<'a>>, Stopped> {
        let unresolved = self.proxy(None).filter(|_| self.proxies.skip_resolve);
        let (proxy, address) = if let Some(proxy) = unresolved {
            (Some(proxy), None)
        } else {
            let address = check.resolve(self.resolver, self.host, self.family).await?;
            (self.proxy(Some(address)), Some(address))
        };
        if let Some(proxy) = proxy {
            return Box::pin(self.connect_by(proxy, address, check)).await;
        }
        // Without a proxy the name was resolved.
        let address = address.unwrap_or(IpAddr::from([0, 0, 0, 0]));
        check.connect(SocketAddr::new(address, self.port)).await?;
        Ok(None)
    }

    /// Connects by a proxy; `address` is that of the target, where it was resolved.
    async fn connect_by(
        &self,
        proxy: &'a Proxy,
        address: Option<IpAddr>,
        check: &mut Check,
    ) -> Result<Option<Relay<'a>>, Stopped> {
        // A place that is named by its address is judged also where names are left to the proxy.
        if let Some(address) = address.or_else(|| self.host.parse().ok()) {
            check.admit(SocketAddr::new(address, self.port))?;
        }
        check.go_through(proxy.shown());
        let at = check.resolve(self.resolver, &proxy.host, ANY).await?;
        check.connect(SocketAddr::new(at, proxy.port)).await?;
        if proxy.is_https() {
            check.secure(self.tls, &proxy.host, true).await?;
        }
        if self.url.scheme() != "https" && !proxy.tunnels_all() {
            return Ok(Some(Relay { proxy, address }));
        }
        let host = address.map_or_else(|| self.host.to_owned(), |address| address.to_string());
        let how = proxy.tunnel(&self.proxies.connect_fields);
        check.tunnel(&how, &host, self.port).await?;
        Ok(None)
    }

    fn proxy(&self, address: Option<IpAddr>) -> Option<&'a Proxy> {
        self.proxies
            .of(self.url, self.own_host, address)
            .filter(|_| !self.direct)
    }
}
