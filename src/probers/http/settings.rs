//! The running settings of the http prober.

use super::body_assertions::BodyAssertions;
use super::oauth::OAuth2;
use crate::check::{AddressFamily, Coding, Resolver, Tls};
use crate::probers::credentials::Credentials;
use crate::probers::fields::Fields;
use crate::probers::named_files::{FileError, NamedFile};
use crate::probers::proxies::Proxies;
use crate::regexp::Regexp;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What an http module does, composed from its configuration.
#[derive(Debug)]
pub struct HttpProber {
    /// The method.
    pub method: Method,
    /// The module's header fields, without `Host`. Values may be secrets: they are marked sensitive.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// How tokens are got, where the module uses some.
    pub oauth2: Option<OAuth2>,
    /// The proxies to go through.
    pub proxies: Proxies,
    /// The fields that may stand in files: `http_headers`.
    pub fields: Fields,
    /// The module's `Host` field.
    pub host: Option<String>,
    /// What `basic_auth`, `authorization` or `bearer_token` say.
    pub credentials: Option<Credentials>,
    /// The request body.
    pub body: RequestBody,
    /// Accepted status codes; none means 200 to 299.
    pub valid_status_codes: Vec<u16>,
    /// Accepted versions, as `HTTP/1.1`; none means any.
    pub valid_http_versions: Vec<String>,
    /// Follow redirects, up to `limits.redirects`.
    pub follow_redirects: bool,
    /// Fail if the final answer came over TLS.
    pub fail_if_ssl: bool,
    /// Fail if the final answer came without TLS.
    pub fail_if_not_ssl: bool,
    /// What is asserted of the body.
    pub body_assertions: Arc<BodyAssertions>,
    /// Fail if any of these is found in a header.
    pub fail_if_header_matches: Vec<HeaderAssertion>,
    /// Fail if any of these is not found in a header.
    pub fail_if_header_not_matches: Vec<HeaderAssertion>,
    /// Fail if the answer took longer, from the request to the last byte.
    pub slower_than: Option<Duration>,
    /// Fail if the decoded body is larger, in bytes.
    pub body_size_limit: Option<u64>,
    /// How the body is decoded.
    pub compression: Coding,
    /// Which addresses to take.
    pub family: AddressFamily,
    /// Whom to ask for them.
    pub resolver: Arc<Resolver>,
    /// What is spoken.
    pub versions: Versions,
    /// TLS for https targets, whose files are read again when they change.
    pub tls: Tls,
}

/// Which versions of HTTP are spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Versions {
    /// HTTP/1.1, or HTTP/2 where the module offers it and the peer takes it.
    #[default]
    Agreed,
    /// HTTP/1.1 only.
    Http1,
    /// HTTP/3 only.
    Http3,
}

/// The body of a request.
#[derive(Clone, Debug)]
pub enum RequestBody {
    /// As it stands in the configuration.
    Bytes(Bytes),
    /// In a file.
    File(NamedFile),
}

/// Bytes that a file may have that is sent as a body.
const LARGEST_BODY: u64 = 64 * 1024 * 1024;

impl RequestBody {
    /// The bytes.
    ///
    /// # Errors
    /// When the file cannot be read until then.
    pub(super) async fn bytes(&self, until: Instant) -> Result<Bytes, FileError> {
        match self {
            Self::Bytes(bytes) => Ok(bytes.clone()),
            Self::File(file) => Ok(file.bytes(LARGEST_BODY, until).await?.into()),
        }
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self::Bytes(bytes) if bytes.is_empty())
    }
}

/// An assertion on one header field.
#[derive(Clone, Debug)]
pub struct HeaderAssertion {
    /// The field.
    pub header: HeaderName,
    /// What is looked for in its values.
    pub pattern: Regexp,
    /// Whether the field may be missing.
    pub allow_missing: bool,
}
