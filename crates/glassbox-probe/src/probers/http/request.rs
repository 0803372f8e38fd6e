//! One visit of a probe: the destination, the request, and the redirect of the response.

use super::cookies::Cookies;
use super::cross_origin::{FORWARDED_PROTO, crosses_origins};
use super::route::Relay;
use super::{HttpProber, Versions};
use crate::check::{HttpRequest, Refusal, RequestMode};
use crate::probers::credentials::userinfo;
use crate::probers::header_fields::{INVALID_HOST, host_field};
use crate::probers::{ProbeRequest, USER_AGENT_WORDS, Variant};
use crate::target::{HttpUrl, Scheme, host_header};
use bytes::Bytes;
use glassbox_verdict::backend::Backend;
use glassbox_verdict::host_port::{Host, HostPort};
use glassbox_verdict::reason::Reason;
use glassbox_verdict::report::Reply;
use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_TYPE,
    COOKIE, LOCATION, PRAGMA, PROXY_AUTHORIZATION, REFERER, SET_COOKIE, USER_AGENT,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use std::time::SystemTime;

/// The fields that describe a body. They are removed together with it (RFC 9110 section 15.4).
const DESCRIBES_BODY: [HeaderName; 5] = [
    CONTENT_TYPE,
    CONTENT_ENCODING,
    CONTENT_LANGUAGE,
    CONTENT_LENGTH,
    CONTENT_LOCATION,
];

/// One exchange to run.
#[derive(Clone, Debug)]
pub(super) struct Visit {
    url: HttpUrl,
    /// Host and port to dial instead of those of the URL.
    dial: Option<HostPort>,
    /// Whether the visit goes to a backend.
    to_backend: bool,
    versions: Versions,
    /// Whether to send a request that every gateway rejects.
    refusable: bool,
    tls_name: String,
    /// Whether the module configures the name for SNI and certificate verification.
    server_name_is_set: bool,
    /// The `Host` from the module, the caller or a backend, if it differs from the URL.
    authority: Option<HeaderValue>,
    /// The origin of the visit that redirected here, or its full URL within the same origin.
    referer: Option<HeaderValue>,
    method: Method,
    headers: HeaderMap,
    body: Bytes,
    /// The cookies set by responses of this probe.
    cookies: Cookies,
    recipient: Recipient,
}

/// The machine that receives the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Recipient {
    /// One that the module names: the target, or a backend of the module.
    Named,
    /// Any other. It receives none of the module's fields.
    Stranger,
}

/// A module's credentials, header fields and body, which may be read from files.
#[derive(Debug, Default)]
pub(super) struct ModuleFields {
    pub authorization: Option<HeaderValue>,
    pub fields: Vec<(HeaderName, HeaderValue)>,
    pub body: Bytes,
}

impl Visit {
    /// The visit that the caller requested.
    pub fn first(settings: &HttpProber, requested: &ProbeRequest, own: ModuleFields) -> Result<Self, Refusal> {
        let url = settings.url(&requested.target)?;
        let virtual_host = requested.hostname.clone().or_else(|| settings.host.clone());
        let server_name = settings.tls.server_name();
        let tls_name = match (server_name, &virtual_host) {
            (Some(name), _) => name.to_owned(),
            (None, Some(named)) => Host::of_authority(named).as_str().to_owned(),
            (None, None) => url.host().without_zone().to_owned(),
        };
        let authority = virtual_host.map(|named| host_field(&host_header(&named))).transpose()?;
        let is_cookie = |field: &&(HeaderName, HeaderValue)| field.0 == COOKIE;
        let own_cookies = settings.headers.iter().find(is_cookie).map(|(_, value)| value.clone());
        let others = settings.headers.iter().filter(|field| !is_cookie(field));
        let mut headers: HeaderMap = others.cloned().collect();
        for (name, value) in own.fields {
            headers.append(name, value);
        }
        if let Some(credentials) = url.user().and_then(userinfo).or(own.authorization) {
            headers.entry(AUTHORIZATION).or_insert(credentials);
        }
        headers
            .entry(USER_AGENT)
            .or_insert(HeaderValue::from_static(USER_AGENT_WORDS));
        Ok(Self {
            url,
            dial: None,
            to_backend: false,
            versions: settings.versions,
            refusable: false,
            tls_name,
            server_name_is_set: server_name.is_some(),
            authority,
            referer: None,
            method: settings.method.clone(),
            headers,
            body: own.body,
            cookies: Cookies::with_own(own_cookies),
            recipient: Recipient::Named,
        })
    }

    pub const fn url(&self) -> &HttpUrl {
        &self.url
    }

    /// Host and port to dial.
    pub fn place(&self) -> &HostPort {
        self.dial.as_ref().unwrap_or_else(|| self.url.host_port())
    }

    /// The name for SNI and certificate verification.
    pub fn tls_name(&self) -> &str {
        &self.tls_name
    }

    /// Whether another visit goes to the same origin.
    pub fn stays_with(&self, other: &Self) -> bool {
        self.url.same_origin(&other.url)
    }

    /// Whether the visit dials a host other than that of its URL.
    pub const fn dials_elsewhere(&self) -> bool {
        self.dial.is_some()
    }

    /// Whether the visit goes to a backend. Requests to backends do not go through a proxy.
    pub const fn goes_to_backend(&self) -> bool {
        self.to_backend
    }

    /// The credentials that the visit sends.
    pub fn authorization(&self) -> Option<&HeaderValue> {
        self.headers.get(AUTHORIZATION)
    }

    /// The host of the URL, without brackets.
    pub fn own_host(&self) -> &str {
        self.url.host().as_str()
    }

    pub const fn versions(&self) -> Versions {
        self.versions
    }

    pub fn is_https(&self) -> bool {
        self.url.scheme().is_secure()
    }

    /// Stores a response's cookies. Later visits of this probe send those that match.
    pub fn take_cookies(&mut self, reply: &Reply) {
        if reply.headers.contains_key(SET_COOKIE) {
            let host = self.named();
            self.cookies.take(&self.url, &host, &reply.headers, SystemTime::now());
        }
    }

    /// The request. With `relay`, it is in the form for a proxy that forwards it.
    pub fn ask(&self, relay: Option<&Relay<'_>>) -> Result<HttpRequest, Refusal> {
        let mut headers = self.headers.clone();
        if self.cookies.may_send() {
            self.cookies
                .add_to(&self.url, &self.named(), &mut headers, SystemTime::now());
        }
        if let Some(referer) = &self.referer {
            headers.entry(REFERER).or_insert_with(|| referer.clone());
        }
        let mut target = self.url.target();
        let mut mode = if self.refusable {
            RequestMode::Refusable
        } else {
            RequestMode::Normal
        };
        if let Some(Relay(proxy)) = relay {
            target = [self.relayed_origin()?.as_bytes(), &target].concat();
            mode = RequestMode::Relayed;
            if let Some(value) = proxy.authorization() {
                headers.insert(PROXY_AUTHORIZATION, value);
            }
        }
        Ok(HttpRequest {
            method: self.method.clone(),
            scheme: self.url.scheme(),
            target: target.into(),
            authority: match &self.authority {
                Some(named) => named.clone(),
                None => host_field(&self.url.authority())?,
            },
            headers,
            body: self.body.clone(),
            mode,
        })
    }

    /// The requested host, which cookies belong to.
    fn named(&self) -> String {
        let named = self.authority.as_ref().and_then(|value| value.to_str().ok());
        named.map_or_else(|| self.url.authority(), str::to_owned)
    }

    /// Scheme, host and port for a proxy. The host is the name as written, since the proxy operator's rules refer to
    /// names. The exception is a request to a single address. The host differs from `Host`: the proxy dials it.
    fn relayed_origin(&self) -> Result<String, Refusal> {
        let origin = match &self.dial {
            Some(dial) if dial.port() == 80 => format!("http://{}", dial.host()),
            Some(dial) => format!("http://{dial}"),
            None => self.url.origin(),
        };
        if origin.ends_with("://") {
            Err(Refusal::of_target(INVALID_HOST))
        } else {
            Ok(origin)
        }
    }

    /// The visit that a response redirects to (RFC 9110 section 15.4); `None` if it is not a redirect.
    pub fn redirected(&self, reply: &Reply) -> Option<Result<Self, Refusal>> {
        let keeps_method = match reply.status {
            301..=303 => false,
            307 | 308 => true,
            _ => return None,
        };
        let location = reply.headers.get(LOCATION).filter(|value| !value.is_empty())?;
        Some(self.follow(location, keeps_method))
    }

    fn follow(&self, location: &HeaderValue, keeps_method: bool) -> Result<Self, Refusal> {
        let refused = |message| Refusal::new(Reason::HttpResponseBadRedirect, message);
        let url = self
            .url
            .join(location.as_bytes())
            .map_err(|error| refused(format!("The redirect contains an invalid Location: {error}.")))?;
        if !matches!(url.scheme(), Scheme::Http | Scheme::Https) {
            return Err(refused(format!(
                "The redirect points to a {} URL.",
                url.scheme().as_str()
            )));
        }
        if url.scheme() == Scheme::Http && self.versions == Versions::Http3 {
            return Err(refused(
                "The redirect points to an http URL, which does not support HTTP/3.".to_owned(),
            ));
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
        if !self.url.same_origin(&url) {
            if !next.body.is_empty() {
                return Err(refused(
                    "The redirect would send the module's body to another origin.".to_owned(),
                ));
            }
            next.enter_other_origin(&url);
        }
        next.referer = self.referer_for(&url);
        if let Some(credentials) = url.user().and_then(userinfo) {
            next.headers.insert(AUTHORIZATION, credentials);
        }
        next.url = url;
        Ok(next)
    }

    /// The `Referer` of the next request (RFC 9110 section 10.1.3). Go sends the full URL to every origin. The exporter
    /// sends only the origin to other origins, since a query may contain a secret.
    fn referer_for(&self, next: &HttpUrl) -> Option<HeaderValue> {
        if self.is_https() && !next.scheme().is_secure() {
            return None;
        }
        let mut referer = self.url.origin().into_bytes();
        if self.url.same_origin(next) {
            referer.extend(self.url.target());
        } else {
            referer.push(b'/');
        }
        let mut value = HeaderValue::from_bytes(&referer).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// Removes everything that belongs to the module when a redirect enters another origin: credentials, header fields
    /// and the virtual host. Only the fields that any client sends remain. They are not restored if the chain returns.
    fn enter_other_origin(&mut self, url: &HttpUrl) {
        self.strip();
        // The module's server_name is not a secret and applies to every port of its host. A name that came with the
        // virtual host is removed with it.
        if !url.host().as_str().eq_ignore_ascii_case(self.own_host()) || !self.server_name_is_set {
            url.host().without_zone().clone_into(&mut self.tls_name);
        }
        self.dial = None;
        self.to_backend = false;
        self.authority = None;
    }
}

/// Variants of a visit.
impl Visit {
    pub fn by(mut self, variant: Variant<'_>) -> Result<Self, Refusal> {
        match variant {
            Variant::Original | Variant::Handshake(None) => {}
            Variant::Backend(backend) | Variant::Handshake(Some(backend)) => self.straight_to(backend)?,
            Variant::Address(address) => self.dial = Some(HostPort::new(&address.to_string(), self.place().port())),
            Variant::Http1 => self.versions = Versions::Http1,
            Variant::CacheBypass(nonce) => self.bypass_caches(nonce),
            Variant::Refusable => self.refusable(),
        }
        Ok(self)
    }

    /// Sends the same request, with the edge's host name, to a backend. The module's own fields go only to
    /// backends that the module names.
    fn straight_to(&mut self, backend: &Backend) -> Result<(), Refusal> {
        let was_https = self.is_https();
        if self.authority.is_none() {
            // The edge's host name, regardless of the backend's scheme.
            self.authority = Some(host_field(&self.url.authority())?);
        }
        let scheme = if backend.tls { Scheme::Https } else { Scheme::Http };
        self.url = self.url.clone().with_scheme(scheme);
        self.dial = Some(backend.address.clone());
        self.to_backend = true;
        // HTTP/3 is not used behind an edge.
        self.versions = Versions::Agreed;
        if let Some(name) = &backend.sni {
            self.tls_name.clone_from(name);
        }
        if let Some(authority) = &backend.authority {
            self.authority = Some(host_field(authority)?);
        }
        if !backend.trusted {
            self.strip();
            self.body = Bytes::new();
            if self.method != Method::HEAD {
                self.method = Method::GET;
            }
        }
        if was_https && !backend.tls {
            // A TLS-terminating edge sends this field. Without it, many applications redirect to https.
            self.headers.insert(FORWARDED_PROTO, HeaderValue::from_static("https"));
        }
        Ok(())
    }

    /// Adds a unique query, and the fields that ask caches to forward the request (RFC 9111 section 5.2.1.4).
    fn bypass_caches(&mut self, nonce: u64) {
        self.url.append_query(&format!("glassbox={nonce:016x}"));
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

    /// Whether the request contains more than the fields that any client sends.
    pub fn has_module_fields(&self) -> bool {
        self.cookies.has_own() || self.headers.keys().any(|name| !crosses_origins(name)) || !self.body.is_empty()
    }

    /// Whether the module's fields were removed.
    pub const fn is_stripped(&self) -> bool {
        matches!(self.recipient, Recipient::Stranger)
    }

    /// Removes everything except the fields that any client sends.
    fn strip(&mut self) {
        self.recipient = Recipient::Stranger;
        self.cookies.drop_own();
        self.headers = std::mem::take(&mut self.headers)
            .into_iter()
            .filter_map(|(name, value)| Some((name.filter(crosses_origins)?, value)))
            .collect();
    }
}
