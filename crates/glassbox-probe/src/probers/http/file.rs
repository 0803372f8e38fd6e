//! The keys of the http prober.

use super::build::build;
use crate::block;
use crate::check::Resolver;
use crate::file::read::ConfiguredBody;
use crate::file::{ConfigIssue, Spanned};
use crate::probers::Prober;
use crate::probers::blocks::credentials::{AuthorizationFile, BasicAuthFile};
use crate::probers::blocks::header_fields::{FieldFile, has_secrets};
use crate::probers::blocks::oauth::OAuth2File;
use crate::probers::blocks::proxies::masked_url;
use crate::probers::blocks::tls::TlsFile;
use crate::probers::prober_file::{ProberFile, Warnings, first_present};
use crate::secret::{MASK, Secret};
use serde::Serializer;
use serde::ser::SerializeMap as _;
use std::collections::BTreeMap;
use std::sync::Arc;

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

/// The versions that a response can have.
const VERSIONS: [&str; 4] = ["HTTP/1.0", "HTTP/1.1", "HTTP/2.0", "HTTP/3.0"];

impl ProberFile for HttpFile {
    const DEFAULTS: &'static str = include_str!("defaults.yml");

    fn build(
        written: Option<&Spanned<Self>>,
        resolver: Arc<Resolver>,
        path: &str,
    ) -> Result<Arc<dyn Prober>, ConfigIssue> {
        let file = written.map(|written| written.value.clone()).unwrap_or_default();
        build(&file, resolver, path).map(|prober| Arc::new(prober) as _)
    }

    fn warn(written: Option<&Spanned<Self>>, warnings: &mut Warnings<'_>) {
        let Some(Spanned { value: http, .. }) = written else {
            return;
        };
        warnings.family("http", http.preferred_ip_protocol.as_ref());
        warnings.tls("http", http.tls_config.as_ref());
        if let Some(old) = &http.no_follow_redirects {
            let words = "deprecated: the inverse of follow_redirects, which it overrides";
            warnings.value(old, "http", "no_follow_redirects", words);
        }
        for version in http.valid_http_versions.iter().flatten() {
            if !VERSIONS.contains(&version.value.as_str()) {
                let words = format!(
                    "no response has the version {:?}; expected one of {}",
                    version.value,
                    VERSIONS.join(", ")
                );
                warnings.value(version, "http", "valid_http_versions", &words);
            }
        }
        for code in http.valid_status_codes.iter().flatten() {
            if !(100..=999).contains(&code.value) {
                let words = format!(
                    "no response has the status {}; expected a number from 100 to 999",
                    code.value
                );
                warnings.value(code, "http", "valid_status_codes", &words);
            }
        }
        warnings.framing("http.headers", http.headers.as_ref());
        warnings.framing("http.http_headers", http.http_headers.as_ref());
        let Some(http3) = http.enable_http3.as_ref().filter(|enabled| enabled.value) else {
            return;
        };
        let words = "this module changes http targets to https; use https targets";
        warnings.value(http3, "http", "enable_http3", words);
        if let Some(proxy) = http.proxy_url.as_ref().filter(|url| !url.value.reveal().is_empty()) {
            warnings.value(proxy, "http", "proxy_url", "HTTP/3 requests do not use a proxy");
        }
    }

    fn secret(&self) -> Option<&'static str> {
        let headers = self.headers.as_ref();
        let other = headers.is_some_and(|headers| headers.keys().any(|name| !is_plain_header(name)));
        first_present(&[
            ("http.basic_auth", self.basic_auth.is_some()),
            ("http.authorization", self.authorization.is_some()),
            ("http.bearer_token", self.bearer_token.is_some()),
            ("http.bearer_token_file", self.bearer_token_file.is_some()),
            ("http.oauth2", self.oauth2.is_some()),
            ("http.http_headers", has_secrets(self.http_headers.as_ref())),
            ("http.headers", other),
        ])
    }

    fn unchecked_address(&self) -> Option<&'static str> {
        let skips = self.skip_resolve_phase_with_proxy == Some(true);
        skips.then_some("http.skip_resolve_phase_with_proxy")
    }
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
