//! The settings of the http prober.

use super::body_assertions::BodyAssertions;
use super::oauth::OAuth2;
use super::versions::Versions;
use crate::check::{AddressFamily, Coding, Refusal, Resolver, Tls};
use crate::probers::credentials::Credentials;
use crate::probers::header_fields::Fields;
use crate::probers::named_files::NamedFile;
use crate::probers::proxies::Proxies;
use bytes::Bytes;
use go_regexp::Regexp;
use http::{HeaderName, HeaderValue, Method};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Settings of an http module, built from the configuration.
#[derive(Debug)]
pub struct HttpProber {
    /// Request method.
    pub method: Method,
    /// The module's header fields, without `Host`. The values may be secrets and are marked as sensitive.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// OAuth 2.0 settings, if the module uses tokens.
    pub oauth2: Option<OAuth2>,
    /// Proxies for the requests.
    pub proxies: Proxies,
    /// The fields whose values may be read from files: `http_headers`.
    pub fields: Fields,
    /// The module's `Host` field.
    pub host: Option<String>,
    /// Credentials from `basic_auth`, `authorization` or `bearer_token`.
    pub credentials: Option<Credentials>,
    /// The request body.
    pub body: RequestBody,
    /// Accepted status codes; empty accepts 200 to 299.
    pub valid_status_codes: Vec<u16>,
    /// Accepted versions, such as `HTTP/1.1`; empty accepts any.
    pub valid_http_versions: Vec<String>,
    /// Whether to follow redirects, up to `limits.redirects`.
    pub follow_redirects: bool,
    /// Fail if the final response arrived over TLS.
    pub fail_if_ssl: bool,
    /// Fail if the final response arrived without TLS.
    pub fail_if_not_ssl: bool,
    /// Assertions on the body.
    pub body_assertions: Arc<BodyAssertions>,
    /// Fail if any of these matches a header.
    pub fail_if_header_matches: Vec<HeaderAssertion>,
    /// Fail if any of these does not match its header.
    pub fail_if_header_not_matches: Vec<HeaderAssertion>,
    /// Fail if the response takes longer, from the request to the last byte.
    pub slower_than: Option<Duration>,
    /// Fail if the decoded body exceeds this size in bytes.
    pub body_size_limit: Option<u64>,
    /// Expected content coding of the body.
    pub compression: Coding,
    /// Address family of the target.
    pub family: AddressFamily,
    /// Resolver for the target's name.
    pub resolver: Arc<Resolver>,
    /// HTTP versions of the requests.
    pub versions: Versions,
    /// TLS settings for https targets. The files are re-read when they change.
    pub tls: Tls,
}

/// The body of a request.
#[derive(Clone, Debug)]
pub enum RequestBody {
    /// The bytes in the configuration.
    Bytes(Bytes),
    /// A file.
    File(NamedFile),
}

/// Maximum size of a file that is sent as a body, in bytes.
const LARGEST_BODY: u64 = 64 * 1024 * 1024;

impl RequestBody {
    /// Returns the bytes.
    ///
    /// # Errors
    /// Fails if the file cannot be read before `until`.
    pub(super) async fn bytes(&self, until: Instant) -> Result<Bytes, Refusal> {
        match self {
            Self::Bytes(bytes) => Ok(bytes.clone()),
            Self::File(file) => Ok(file.bytes(LARGEST_BODY, until).await?.into()),
        }
    }

    /// Whether the request has no body.
    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self::Bytes(bytes) if bytes.is_empty())
    }
}

/// An assertion on a header field.
#[derive(Clone, Debug)]
pub struct HeaderAssertion {
    /// Name of the field.
    pub header: HeaderName,
    /// Expression that is matched against the values.
    pub pattern: Regexp,
    /// Whether the field may be missing.
    pub allow_missing: bool,
}
