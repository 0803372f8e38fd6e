//! One visit of a probe: where to, with which request, and where an answer redirects it.

use super::cookies::Cookies;
use super::route::Relay;
use super::{HttpSettings, Versions};
use crate::check::{Ask, Manner};
use crate::hop::Hop;
use crate::probers::credentials::basic;
use crate::probers::{Aim, USER_AGENT_WORDS, Way};
use crate::report::Reply;
use crate::target::{path_and_query, same_origin, without_port};
use bytes::Bytes;
use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_TYPE,
    LOCATION, PRAGMA, PROXY_AUTHORIZATION, USER_AGENT,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use url::{Host, Url};

/// Bytes of a URL that a redirect may lead to (RFC 9110 section 4.1 recommends to support 8000).
const LONGEST_URL: usize = 8192;

/// The fields that describe a body, and go with it (RFC 9110 section 15.4).
const DESCRIBES_BODY: [HeaderName; 5] = [
    CONTENT_TYPE,
    CONTENT_ENCODING,
    CONTENT_LANGUAGE,
    CONTENT_LENGTH,
    CONTENT_LOCATION,
];

/// One exchange to make.
#[derive(Clone, Debug)]
pub(super) struct Visit {
    url: Url,
    host: String,
    /// Where to dial instead of the URL's own host and port.
    dial: Option<(String, u16)>,
    /// Whether that is a machine behind the front.
    to_hop: bool,
    versions: Versions,
    /// Ask what every gateway refuses.
    refusable: bool,
    tls_name: String,
    /// Whether the module itself names what TLS sends and verifies.
    server_name_is_set: bool,
    authority: HeaderValue,
    method: Method,
    headers: HeaderMap,
    body: Bytes,
    /// Those that answers of this probe have set.
    cookies: Cookies,
}

/// What a module sends of its own that may stand in files.
#[derive(Debug, Default)]
pub(super) struct Own {
    pub authorization: Option<HeaderValue>,
    pub fields: Vec<(HeaderName, HeaderValue)>,
    pub body: Bytes,
}

impl Visit {
    /// The visit that the caller asked for.
    pub fn first(settings: &HttpSettings, aim: &Aim, own: Own) -> Result<Self, String> {
        let url = settings.url(&aim.target)?;
        let host = host_of(&url);
        let virtual_host = aim.hostname.clone().or_else(|| settings.host.clone());
        let server_name = settings.tls.server_name();
        let tls_name = match (server_name, &virtual_host) {
            (Some(name), _) => name.to_owned(),
            (None, Some(named)) => without_port(named).to_owned(),
            (None, None) => host.clone(),
        };
        let authority = match &virtual_host {
            Some(named) => HeaderValue::from_str(named),
            None => HeaderValue::from_str(&authority_of(&url)),
        }
        .map_err(|_| "The host cannot be written in a header.".to_owned())?;
        let mut headers: HeaderMap = settings.headers.iter().cloned().collect();
        for (name, value) in own.fields {
            headers.append(name, value);
        }
        if let Some(credentials) = userinfo(&url).or(own.authorization) {
            headers.entry(AUTHORIZATION).or_insert(credentials);
        }
        headers
            .entry(USER_AGENT)
            .or_insert(HeaderValue::from_static(USER_AGENT_WORDS));
        Ok(Self {
            url,
            host,
            dial: None,
            to_hop: false,
            versions: settings.versions,
            refusable: false,
            tls_name,
            server_name_is_set: server_name.is_some(),
            authority,
            method: settings.method.clone(),
            headers,
            body: own.body,
            cookies: Cookies::default(),
        })
    }

    pub const fn url(&self) -> &Url {
        &self.url
    }

    /// The name or address to resolve and dial, without brackets.
    pub fn host(&self) -> &str {
        self.dial.as_ref().map_or(&self.host, |(host, _)| host)
    }

    /// The name to send and verify in TLS.
    pub fn tls_name(&self) -> &str {
        &self.tls_name
    }

    pub fn port(&self) -> u16 {
        let own = || self.url.port_or_known_default().unwrap_or(80);
        self.dial.as_ref().map_or_else(own, |(_, port)| *port)
    }

    /// Whether another visit is one to the same origin.
    pub fn stays_with(&self, other: &Self) -> bool {
        same_origin(&self.url, &other.url)
    }

    /// Whether it dials another place than its URL names.
    pub const fn dials_elsewhere(&self) -> bool {
        self.dial.is_some()
    }

    /// Whether it goes to a machine behind the front: no proxy leads there.
    pub const fn goes_to_hop(&self) -> bool {
        self.to_hop
    }

    /// The credentials that it sends.
    pub fn authorization(&self) -> Option<&HeaderValue> {
        self.headers.get(AUTHORIZATION)
    }

    /// The URL's own host, without brackets.
    pub fn own_host(&self) -> &str {
        &self.host
    }

    pub const fn versions(&self) -> Versions {
        self.versions
    }

    pub fn is_https(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// Takes the cookies that an answer sets; later visits of this probe send them where they belong.
    pub fn take_cookies(&mut self, reply: &Reply) {
        self.cookies.take(&self.url, &reply.headers);
    }

    /// The request itself.
    pub fn ask(&self) -> Ask {
        let mut headers = self.headers.clone();
        self.cookies.add_to(&self.url, &mut headers);
        Ask {
            method: self.method.clone(),
            url: self.url.clone(),
            authority: self.authority.clone(),
            headers,
            body: self.body.clone(),
            manner: if self.refusable {
                Manner::Refusable
            } else {
                Manner::Usual
            },
        }
    }

    /// Where an answer redirects to (RFC 9110 section 15.4): `None` where it does not.
    pub fn redirected(&self, reply: &Reply) -> Option<Result<Self, String>> {
        let keeps_method = match reply.status {
            301..=303 => false,
            307 | 308 => true,
            _ => return None,
        };
        let location = reply.headers.get(LOCATION).filter(|value| !value.is_empty())?;
        Some(self.follow(location, keeps_method))
    }

    fn follow(&self, location: &HeaderValue, keeps_method: bool) -> Result<Self, String> {
        let text = String::from_utf8_lossy(location.as_bytes());
        let url = self
            .url
            .join(&text)
            .map_err(|error| format!("The Location of the redirect is no URL: {error}."))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(format!("The redirect leads to a {} URL.", url.scheme()));
        }
        if url.scheme() == "http" && self.versions == Versions::Http3 {
            return Err("The redirect leads to an http URL, where HTTP/3 is not spoken.".to_owned());
        }
        if url.as_str().len() > LONGEST_URL || path_and_query(&url).parse::<Uri>().is_err() {
            return Err("The Location of the redirect is no URL that can be asked for.".to_owned());
        }
        let mut next = self.clone();
        if !keeps_method {
            next.body = Bytes::new();
            for name in DESCRIBES_BODY {
                next.headers.remove(name);
            }
            if next.method != Method::HEAD {
                next.method = Method::GET;
            }
        }
        if !same_origin(&self.url, &url) {
            if !next.body.is_empty() {
                return Err("The redirect would carry the module's body to another origin.".to_owned());
            }
            next.enter_other_origin(&url)?;
        }
        if let Some(credentials) = userinfo(&url) {
            next.headers.insert(AUTHORIZATION, credentials);
        }
        next.url = url;
        Ok(next)
    }

    /// Nothing of the module crosses an origin but what any client sends: no credential, no header of its own, no
    /// virtual host. It does not come back either, should the chain return.
    fn enter_other_origin(&mut self, url: &Url) -> Result<(), String> {
        self.strip();
        let host = host_of(url);
        // The module's server_name is no credential, and holds for every port of its host. A name that came with the
        // virtual host goes with it.
        if host != self.host || !self.server_name_is_set {
            self.tls_name.clone_from(&host);
        }
        self.host = host;
        self.dial = None;
        self.to_hop = false;
        self.authority = HeaderValue::from_str(&authority_of(url))
            .map_err(|_| "The host of the redirect cannot be written in a header.".to_owned())?;
        Ok(())
    }
}

/// The same visit on another way.
impl Visit {
    pub fn by(mut self, way: Way<'_>) -> Result<Self, String> {
        match way {
            Way::Asked | Way::Handshake(None) => {}
            Way::Hop(hop) | Way::Handshake(Some(hop)) => self.straight_to(hop)?,
            Way::Address(address) => self.dial = Some((address.to_string(), self.port())),
            Way::Http1 => self.versions = Versions::Http1,
            Way::PastCaches(nonce) => self.past_caches(nonce),
            Way::Refusable => self.refusable(),
        }
        Ok(self)
    }

    /// The same request with the front's name, to a machine behind it. The module's own fields go only to hops that
    /// the module names.
    fn straight_to(&mut self, hop: &Hop) -> Result<(), String> {
        let was_https = self.is_https();
        let scheme = if hop.tls { "https" } else { "http" };
        let port = self.port();
        self.url
            .set_scheme(scheme)
            .and_then(|()| self.url.set_port(Some(port)))
            .map_err(|()| "The target's URL cannot be asked of a hop.".to_owned())?;
        self.dial = Some((hop.host.clone(), hop.port));
        self.to_hop = true;
        // Behind a front nobody speaks HTTP/3.
        self.versions = Versions::Agreed;
        if let Some(name) = &hop.sni {
            self.tls_name.clone_from(name);
        }
        if let Some(authority) = &hop.authority {
            self.authority = HeaderValue::from_str(authority)
                .map_err(|_| "The host of the hop cannot be written in a header.".to_owned())?;
        }
        if !hop.trusted {
            self.strip();
            self.body = Bytes::new();
            if self.method != Method::HEAD {
                self.method = Method::GET;
            }
        }
        if was_https && !hop.tls {
            // As a front says it that ends TLS; without it many applications redirect to https.
            self.headers.insert(FORWARDED_PROTO, HeaderValue::from_static("https"));
        }
        Ok(())
    }

    /// A query that no cache has seen, and the fields that ask caches to let through (RFC 9111 section 5.2.1.4).
    fn past_caches(&mut self, nonce: u64) {
        self.url
            .query_pairs_mut()
            .append_pair("glassbox", &format!("{nonce:016x}"));
        self.headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        self.headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    }

    fn refusable(&mut self) {
        self.strip();
        self.method = Method::GET;
        self.body = Bytes::new();
        self.versions = Versions::Http1;
        self.refusable = true;
    }

    /// Whether there is more in it than what any client sends.
    pub fn has_own_fields(&self) -> bool {
        self.headers.keys().any(|name| !crosses_origins(name)) || !self.body.is_empty()
    }

    /// Leaves what any client sends.
    fn strip(&mut self) {
        self.headers = std::mem::take(&mut self.headers)
            .into_iter()
            .filter_map(|(name, value)| Some((name.filter(crosses_origins)?, value)))
            .collect();
    }
}

/// The same request, written to a proxy that is to pass it on.
pub(super) fn through(mut ask: Ask, relay: Option<&Relay<'_>>) -> Ask {
    let Some(Relay { proxy, address }) = relay else {
        return ask;
    };
    ask.manner = Manner::Relayed;
    if let Some(address) = address {
        // As with the peer: the proxy need not resolve what we did. A URL with a host can have another one.
        let _ = ask.url.set_ip_host(*address);
    }
    if let Some(value) = proxy.authorization() {
        ask.headers.insert(PROXY_AUTHORIZATION, value);
    }
    ask
}

/// What `Host` says of a URL.
pub(super) fn authority_field(url: &Url) -> Result<HeaderValue, String> {
    HeaderValue::from_str(&authority_of(url)).map_err(|_| "The host cannot be written in a header.".to_owned())
}

const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// What any client sends, and no secret.
fn crosses_origins(name: &HeaderName) -> bool {
    *name == USER_AGENT || name.as_str().starts_with("accept")
}

fn host_of(url: &Url) -> String {
    match url.host() {
        Some(Host::Ipv6(address)) => address.to_string(),
        Some(host) => host.to_string(),
        None => String::new(),
    }
}

/// Host, and port where it is not the scheme's own.
fn authority_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

/// Basic credentials from the URL (RFC 7617).
fn userinfo(url: &Url) -> Option<HeaderValue> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let decode = |part: &str| percent_encoding::percent_decode_str(part).collect::<Vec<u8>>();
    let mut pair = decode(url.username());
    pair.push(b':');
    pair.extend(decode(url.password().unwrap_or_default()));
    basic(&pair).ok()
}

#[cfg(test)]
mod tests {
    use super::{authority_of, host_of, userinfo, without_port};
    use url::Url;

    #[test]
    fn a_host_is_taken_apart_as_a_header_and_a_resolver_need_it() {
        let url = Url::parse("http://[::1]:8080/").unwrap();
        assert_eq!(host_of(&url), "::1");
        assert_eq!(authority_of(&url), "[::1]:8080");
        assert_eq!(authority_of(&Url::parse("https://a:443/").unwrap()), "a");
        assert_eq!(without_port("a:8080"), "a");
        assert_eq!(without_port("[::1]:80"), "[::1]");
        assert_eq!(without_port("::1"), "::1");
    }

    #[test]
    fn userinfo_is_decoded_before_it_is_encoded() {
        let url = Url::parse("http://us%40er:p%3Aw@a/").unwrap();
        assert_eq!(userinfo(&url).unwrap(), "Basic dXNAZXI6cDp3");
        assert_eq!(userinfo(&Url::parse("http://a/").unwrap()), None);
    }
}
