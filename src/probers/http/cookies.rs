//! The cookies of one probe: set by its answers, sent by its later requests, gone with it. Parsed, kept and sent as Go's
//! `net/http` and `cookiejar` do (RFC 6265).

mod date;
mod field;

use crate::target::HttpUrl;
use field::{Life, SetCookie};
use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderValue};
use std::net::IpAddr;
use std::time::SystemTime;

/// Fields of one answer that are read, as in Go. The size of a head bounds their bytes.
const MOST: usize = 3000;

/// What answers have set so far, in the order in which it was set.
#[derive(Clone, Debug, Default)]
pub(super) struct Cookies {
    /// The module's own `Cookie` field, as long as the probe stays within its origin.
    own: Option<HeaderValue>,
    kept: Vec<Cookie>,
    /// All names that answers have set: the module's own cookies of these names are not sent any more.
    names: Vec<String>,
}

#[derive(Clone, Debug)]
struct Cookie {
    name: String,
    /// As it is sent, in quotes where it needs them.
    value: String,
    domain: String,
    /// For that host only, and not for those below it.
    host_only: bool,
    path: Vec<u8>,
    secure: bool,
    /// Its end; `None` for the end of the probe.
    expires: Option<SystemTime>,
}

impl Cookies {
    /// Whether there are cookies to send, as far as a probe knows without looking at each.
    pub const fn may_send(&self) -> bool {
        self.own.is_some() || !self.kept.is_empty()
    }

    /// No cookies but those of the module's own `Cookie` field.
    pub fn diagnostics(own: Option<HeaderValue>) -> Self {
        Self { own, ..Self::default() }
    }

    /// Whether the module has a `Cookie` field of its own.
    pub const fn has_own(&self) -> bool {
        self.own.is_some()
    }

    /// Drops the module's own field.
    pub fn drop_own(&mut self) {
        self.own = None;
    }

    /// Takes those that the answer from a URL sets. `host` is the name that was asked for: that of `Host`.
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
            // Go's durations end after 292 years, and one that is longer has ended.
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
            // Its age stays that of the first one.
            Some(place) => self.kept[place] = cookie,
            None => self.kept.push(cookie),
        }
    }

    /// Adds the module's own field and, in the same field, those that belong to a URL: longer paths first, then those set earlier
    /// (RFC 6265 section 5.4). Further `Cookie` fields, those of `http_headers`, follow it as they are.
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
        // The module's own field stays where nothing is left of it: Go sends it empty.
        if let Ok(mut value) = HeaderValue::try_from(all.join("; ")) {
            value.set_sensitive(true);
            headers.insert(COOKIE, value);
        }
        for value in further {
            headers.append(COOKIE, value);
        }
    }

    /// The module's own cookies: as written, until an answer sets one of their names. The others are sorted then, without quotes,
    /// and what cannot be read as a cookie is left out, as in Go.
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

/// A host as cookies know it: without port, brackets and final dot, in small letters.
fn canonical(host: &str) -> String {
    let host = crate::target::without_port(host);
    let host = host
        .strip_prefix('[')
        .and_then(|inner| inner.strip_suffix(']'))
        .unwrap_or(host);
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

/// Whether this host answers there: what is sent does not leave it, and need not be encrypted.
fn is_this_host(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn is_below(host: &str, domain: &str) -> bool {
    host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'))
}

fn decoded(path: &str) -> Vec<u8> {
    percent_encoding::percent_decode_str(path).collect()
}

/// The path of a cookie that names none (RFC 6265 section 5.1.4).
fn default_path(path: &[u8]) -> Vec<u8> {
    match path.iter().rposition(|byte| *byte == b'/') {
        None | Some(0) => b"/".to_vec(),
        Some(last) => path[..last].to_vec(),
    }
}

/// The domain of a cookie that `host` sets, and whether it is for that host only. `None` where the host may not set it: one for
/// all of a public suffix, such as `co.uk`, is for nobody.
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
