//! The keys of the http prober.

use crate::block;
use crate::file::Spanned;
use crate::file::read::ConfiguredBody;
use crate::probers::blocks::credentials::{AuthorizationFile, BasicAuthFile};
use crate::probers::blocks::header_fields::FieldFile;
use crate::probers::blocks::oauth::OAuth2File;
use crate::probers::blocks::proxies::masked_url;
use crate::probers::blocks::tls::TlsFile;
use crate::secret::{MASK, Secret};
use serde::Serializer;
use serde::ser::SerializeMap as _;
use std::collections::BTreeMap;

block! {
    /// The http prober's keys.
    HttpFile {
        valid_status_codes: Vec<Spanned<i64>>,
        valid_http_versions: Vec<Spanned<String>>,
        preferred_ip_protocol: Spanned<String>,
        ip_protocol_fallback: bool,
        no_follow_redirects: Spanned<bool>,
        follow_redirects: bool,
        fail_if_ssl: bool,
        fail_if_not_ssl: bool,
        method: Spanned<String>,
        #[serde(serialize_with = "masked_headers")]
        headers: BTreeMap<String, Spanned<String>>,
        fail_if_body_matches_regexp: Vec<Spanned<String>>,
        fail_if_body_not_matches_regexp: Vec<Spanned<String>>,
        fail_if_header_matches: Vec<Spanned<HeaderMatchFile>>,
        fail_if_header_not_matches: Vec<Spanned<HeaderMatchFile>>,
        fail_if_slower_than: Spanned<String>,
        http_headers: BTreeMap<String, Spanned<FieldFile>>,
        body: ConfiguredBody,
        body_file: Spanned<String>,
        fail_if_body_json_matches_cel: Spanned<String>,
        fail_if_body_json_not_matches_cel: Spanned<String>,
        body_size_limit: Spanned<String>,
        compression: Spanned<String>,
        enable_http2: bool,
        enable_http3: Spanned<bool>,
        tls_config: Spanned<TlsFile>,
        basic_auth: Spanned<BasicAuthFile>,
        authorization: Spanned<AuthorizationFile>,
        bearer_token: Spanned<Secret>,
        bearer_token_file: Spanned<String>,
        oauth2: Spanned<OAuth2File>,
        #[serde(serialize_with = "masked_url")]
        proxy_url: Spanned<Secret>,
        no_proxy: Spanned<String>,
        proxy_from_environment: Spanned<bool>,
        proxy_connect_header: Spanned<BTreeMap<String, Vec<Spanned<Secret>>>>,
        skip_resolve_phase_with_proxy: bool,
    } unserved {}
}

block! {
    /// An assertion on a header.
    HeaderMatchFile {
        header: Spanned<String>,
        regexp: Spanned<String>,
        allow_missing: bool,
    } unserved {}
}

/// Header fields whose values are not secret.
const PLAIN_HEADERS: [&str; 7] = [
    "accept",
    "accept-encoding",
    "accept-language",
    "content-type",
    "host",
    "origin",
    "user-agent",
];

/// Whether the value of a header field is not secret.
pub fn is_plain_header(name: &str) -> bool {
    PLAIN_HEADERS.contains(&name.to_ascii_lowercase().as_str())
}

#[allow(clippy::ref_option, reason = "serde passes a reference to the field")]
fn masked_headers<S: Serializer>(
    headers: &Option<BTreeMap<String, Spanned<String>>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(headers.as_ref().map(BTreeMap::len))?;
    for (name, value) in headers.iter().flatten() {
        let shown = if is_plain_header(name) {
            value.value.as_str()
        } else {
            MASK
        };
        map.serialize_entry(name, shown)?;
    }
    map.end()
}
