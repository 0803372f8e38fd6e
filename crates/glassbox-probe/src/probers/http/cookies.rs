//! The cookies of one probe: responses set them, later requests of the same probe send them. Parsing, storage and
//! selection follow Go's `net/http` and `cookiejar` (RFC 6265).

mod date;
mod field;

use crate::target::HttpUrl;
use field::{Life, SetCookie};
use glassbox_verdict::host_port::Host;
use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderValue};
use std::net::IpAddr;
use std::time::SystemTime;

/// Maximum number of `Set-Cookie` fields read per response, as in Go. The header size limit bounds their bytes.
const MOST: usize = 3000;

/// The cookies set so far, in the order in which they were set.
#[derive(Clone, Debug, Default)]
pub(super) struct Cookies {
    /// The module's own `Cookie` field, while the probe stays within its origin.
    own: Option<HeaderValue>,
    kept: Vec<Cookie>,
    /// All cookie names that responses have set. The module's own cookies of these names are no longer sent.
    names: Vec<String>,
}

#[derive(Clone, Debug)]
struct Cookie {
    name: String,
    /// Value as it is sent, in quotes if it requires them.
    value: String,
    domain: String,
    /// Whether the cookie is for that host only and not for its subdomains.
    host_only: bool,
    path: Vec<u8>,
    secure: bool,
    /// Expiry; `None` lasts until the end of the probe.
    expires: Option<SystemTime>,
}

impl Cookies {
    /// Whether there may be cookies to send. This is a cheap check that ignores domain, path and expiry.
    pub const fn may_send(&self) -> bool {
        self.own.is_some() || !self.kept.is_empty()
    }

    /// A jar that contains only the module's own `Cookie` field.
    pub fn with_own(own: Option<HeaderValue>) -> Self {
        Self { own, ..Self::default() }
    }

    /// Whether the module has its own `Cookie` field.
    pub const fn has_own(&self) -> bool {
        self.own.is_some()
    }

    /// Drops the module's own field.
    pub fn drop_own(&mut self) {
        self.own = None;
    }

    /// Stores the cookies that the response from a URL sets. `host` is the host in the request's `Host` field.
    pub fn take(&mut self, url: &HttpUrl, host: &str, headers: &HeaderMap, now: SystemTime) {
        let host = canonical(host);
        for field in headers.get_all(SET_COOKIE).iter().take(MOST) {
            let Some(set) = field::read(field.as_bytes()) else {
                continue;
            };
            if !self.names.contains(&set.name) {
                self.names.push(set.name.clone());
            }
            self.set(url, &host, set, now);
        }
    }

    fn set(&mut self, url: &HttpUrl, host: &str, set: SetCookie, now: SystemTime) {
        let Some((domain, host_only)) = domain_of(host, &set.domain) else {
            return;
        };
        let path = if set.path.starts_with('/') {
            set.path.into_bytes()
        } else {
            default_path(&decoded(url.path()))
        };
        let same = |kept: &Cookie| kept.name == set.name && kept.domain == domain && kept.path == path;
        let place = self.kept.iter().position(same);
        let expires = match set.life {
            Life::Ended => None,
            Life::Session => Some(None),
            // Go's durations are limited to 292 years. A longer one counts as expired.
            Life::Seconds(seconds) => i64::try_from(seconds.as_nanos())
                .is_ok()
                .then(|| now.checked_add(seconds)),
            Life::Until(end) => (end > now).then_some(Some(end)),
        };
        let Some(expires) = expires else {
            if let Some(place) = place {
                self.kept.remove(place);
            }
            return;
        };
        let cookie = Cookie {
            name: set.name,
            value: set.value,
            domain,
            host_only,
            path,
            secure: set.secure,
            expires,
        };
        match place {
            // A replaced cookie keeps its position in the creation order.
            Some(place) => self.kept[place] = cookie,
            None => self.kept.push(cookie),
        }
    }

    /// Adds one field with the module's own cookies and the stored cookies for a URL: longer paths first, then older
    /// ones first (RFC 6265 section 5.4). Additional `Cookie` fields from `http_headers` follow unchanged.
    pub fn add_to(&self, url: &HttpUrl, host: &str, headers: &mut HeaderMap, now: SystemTime) {
        let (host, path) = (canonical(host), decoded(url.path()));
        let path = if path.is_empty() { b"/".to_vec() } else { path };
        let is_secure = url.scheme().is_secure() || is_this_host(&host);
        let mut sent: Vec<&Cookie> = (self.kept.iter())
            .filter(|cookie| cookie.goes_to(&host, &path) && (is_secure || !cookie.secure))
            .filter(|cookie| cookie.expires.is_none_or(|end| end > now))
            .collect();
        sent.sort_by_key(|cookie| std::cmp::Reverse(cookie.path.len()));
        let sent = sent.iter().map(|cookie| format!("{}={}", cookie.name, cookie.value));
        let own = self.own.as_ref().map(|value| self.left_of(value.as_bytes()));
        let is_field = own.is_some();
        let all: Vec<_> = own.filter(|own| !own.is_empty()).into_iter().chain(sent).collect();
        if !is_field && all.is_empty() {
            return;
        }
        let further: Vec<HeaderValue> = headers.get_all(COOKIE).iter().cloned().collect();
        headers.remove(COOKIE);
        // The module's own field remains even if it is empty: Go sends it too.
        if let Ok(mut value) = HeaderValue::try_from(all.join("; ")) {
            value.set_sensitive(true);
            headers.insert(COOKIE, value);
        }
        for value in further {
            headers.append(COOKIE, value);
        }
    }

    /// The module's own cookies, unchanged until a response sets one of their names. After that, the others are sorted,
    /// unquoted, and stripped of invalid cookies, as in Go.
    fn left_of(&self, written: &[u8]) -> String {
        let written = String::from_utf8_lossy(written);
        let read: Vec<(&str, &str)> = written.split(';').filter_map(field::pair).collect();
        let is_replaced = |name: &str| self.names.iter().any(|set| set == name);
        if !read.iter().any(|(name, _)| is_replaced(name)) {
            return written.into_owned();
        }
        let left = read.iter().filter(|(name, _)| !is_replaced(name));
        let mut left: Vec<String> = left.map(|(name, value)| format!("{name}={value}")).collect();
        left.sort_unstable();
        left.join("; ")
    }
}

impl Cookie {
    fn goes_to(&self, host: &str, path: &[u8]) -> bool {
        let by_domain = host == self.domain || (!self.host_only && is_below(host, &self.domain));
        // RFC 6265 section 5.1.4.
        let by_path = path
            .strip_prefix(&self.path[..])
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/") || self.path.ends_with(b"/"));
        by_domain && by_path
    }
}

/// A host in the form used for cookies: without port, brackets and final dot, in lower case.
fn canonical(host: &str) -> String {
    let host = Host::of_authority(host).as_str();
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

/// Whether the host is this machine. Data sent to it does not leave the machine, so it does not need encryption.
fn is_this_host(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn is_below(host: &str, domain: &str) -> bool {
    host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'))
}

fn decoded(path: &str) -> Vec<u8> {
    percent_encoding::percent_decode_str(path).collect()
}

/// The path of a cookie without a `Path` attribute (RFC 6265 section 5.1.4).
fn default_path(path: &[u8]) -> Vec<u8> {
    match path.iter().rposition(|byte| *byte == b'/') {
        None | Some(0) => b"/".to_vec(),
        Some(last) => path[..last].to_vec(),
    }
}

/// The domain of a cookie set by `host`, and whether the cookie is for that host only. Returns `None` if the host may
/// not set it, for example for a public suffix such as `co.uk`.
fn domain_of(host: &str, domain: &str) -> Option<(String, bool)> {
    let own = || Some((host.to_owned(), true));
    if domain.is_empty() {
        return own();
    }
    if host.parse::<IpAddr>().is_ok() {
        return own().filter(|_| host == domain);
    }
    let domain = domain.strip_prefix('.').unwrap_or(domain).to_ascii_lowercase();
    if domain.is_empty() || domain.starts_with('.') || domain.ends_with('.') || !domain.is_ascii() {
        return None;
    }
    if psl::suffix_str(&domain).is_some_and(|suffix| !is_below(&domain, suffix)) {
        return own().filter(|_| host == domain);
    }
    (host == domain || is_below(host, &domain)).then_some((domain, false))
}

#[cfg(test)]
mod tests;
