//! Checks the `Host` values of requests that change the exporter's state, to protect against DNS rebinding.
//!
//! An attacker can point the DNS record of their own web page at the exporter's address. A browser then treats the
//! exporter as the origin of that page, and lets the page send requests to it. Requests that change state are therefore
//! refused if their `Host` is a name that an outsider can register.

use axum::http::header::HOST;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Uri};
use glassbox_verdict::host_port::Host;

/// Suffixes that nobody can register in the public DNS: RFC 2606, 6761, 6762, 7686 and 8375, ICANN's `internal`, and
/// Kubernetes' `svc`.
const PRIVATE: [&str; 8] = [
    "localhost",
    "local",
    "internal",
    "home.arpa",
    "test",
    "example",
    "invalid",
    "svc",
];

/// This machine's host name and the names from `--web.allowed-host`, in lower case.
#[derive(Clone, Debug, Default)]
pub struct AllowedHosts(Vec<String>);

impl AllowedHosts {
    /// Allows these names and this machine's host name.
    #[must_use]
    pub fn new(names: impl IntoIterator<Item = String>) -> Self {
        let own = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
        let names = names.into_iter().chain(own);
        Self(
            names
                .map(|name| name.trim_end_matches('.').to_ascii_lowercase())
                .collect(),
        )
    }

    /// Returns whether a request that changes state may use this host name. IP addresses are allowed, because DNS
    /// cannot redirect them. Names without a dot are allowed, because no outsider can own one.
    pub(super) fn allow(&self, authority: &str) -> bool {
        let host = Host::of_authority(authority);
        if host.address().is_some() {
            return true;
        }
        let host = host.as_str().trim_end_matches('.').to_ascii_lowercase();
        let is_private = |top: &&str| {
            host.strip_suffix(*top)
                .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        !host.contains('.') || PRIVATE.iter().any(is_private) || self.0.contains(&host)
    }
}

/// Returns the host of a request: that of its URL, which takes precedence (RFC 9112 section 3.2.2), or its `Host`
/// header. `Ok(None)` if the request has neither, as HTTP/1.0 allows.
///
/// # Errors
/// When the request has more than one `Host` header, or its value is neither a name nor an address.
pub(super) fn named<'a>(fields: &'a HeaderMap, uri: &'a Uri) -> Result<Option<&'a str>, &'static str> {
    let mut hosts = fields.get_all(HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err("invalid Host: expected one header field, found more");
    }
    let host = match host.map(HeaderValue::to_str) {
        None | Some(Ok("")) => None,
        Some(Ok(host)) if Authority::try_from(host).is_ok() => Some(host),
        Some(_) => return Err("invalid Host: expected a name or an address"),
    };
    Ok(uri.authority().map(Authority::as_str).or(host))
}

#[cfg(test)]
mod tests {
    use super::AllowedHosts;

    #[test]
    fn a_name_that_an_outsider_can_own_is_refused() {
        let hosts = AllowedHosts::new(["Probes.Example.com".to_owned()]);
        for allowed in [
            "127.0.0.1:9115",
            "[::1]:9115",
            "::1",
            "[fe80::1%eth0]:9115",
            "192.0.2.1",
            "localhost:9115",
            "a.localhost",
            "exporter:9115",
            "exporter.monitoring.svc:9115",
            "exporter.monitoring.svc.cluster.local:9115",
            "probes.example.com",
            "probes.example.com.:9115",
        ] {
            assert!(hosts.allow(allowed), "{allowed}");
        }
        for refused in [
            "evil.com",
            "evil.com:9115",
            "localhost.evil.com",
            "evillocal.com",
            "127.0.0.1.evil.com",
            "127.0.0.1.nip.io",
            "a.probes.example.com",
            "notlocalhost.de",
        ] {
            assert!(!hosts.allow(refused), "{refused}");
        }
    }
}
