//! The running settings of the http prober.

use crate::check::{Coding, Family, Resolver, Tls};
use crate::probers::credentials::Credentials;
use crate::regexp::Regexp;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method};
use std::sync::Arc;
use std::time::Duration;

/// What an http module does, composed from its configuration.
#[derive(Debug)]
pub struct HttpSettings {
    /// The method.
    pub method: Method,
    /// The module's header fields, without `Host`. Values may be secrets: they are marked sensitive.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The module's `Host` field.
    pub host: Option<String>,
    /// What `basic_auth`, `authorization` or `bearer_token` say.
    pub credentials: Option<Credentials>,
    /// The request body.
    pub body: Bytes,
    /// Accepted status codes; none means 200 to 299.
    pub valid_status_codes: Vec<u16>,
    /// Accepted versions, as `HTTP/1.1`; none means any.
    pub valid_http_versions: Vec<String>,
    /// Follow redirects, up to [`crate::limits::REDIRECTS`].
    pub follow_redirects: bool,
    /// Fail if the final answer came over TLS.
    pub fail_if_ssl: bool,
    /// Fail if the final answer came without TLS.
    pub fail_if_not_ssl: bool,
    /// Fail if any of these is found in the body.
    pub fail_if_body_matches: Vec<Regexp>,
    /// Fail if any of these is not found in the body.
    pub fail_if_body_not_matches: Vec<Regexp>,
    /// Fail if any of these is found in a header.
    pub fail_if_header_matches: Vec<HeaderAssertion>,
    /// Fail if any of these is not found in a header.
    pub fail_if_header_not_matches: Vec<HeaderAssertion>,
    /// Fail if the answer took longer, from the request to the last byte.
    pub slower_than: Option<Duration>,
    /// Fail if the decoded body is larger, in bytes.
    pub body_size_limit: Option<u64>,
    /// Bytes of decoded body that may be matched.
    pub matching_limit: u64,
    /// How the body is decoded.
    pub compression: Coding,
    /// Which addresses to take.
    pub family: Family,
    /// Whom to ask for them.
    pub resolver: Arc<Resolver>,
    /// TLS for https targets, or why there is none: a file that the module names cannot be read.
    pub tls: Result<Tls, String>,
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
