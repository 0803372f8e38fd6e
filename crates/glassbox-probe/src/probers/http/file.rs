//! What the configuration file has of the http prober.

use super::build::build;
use super::keys::{HeaderMatchFile, HttpFile, is_plain_header};
use crate::check::Resolver;
use crate::file::{ConfigIssue, Spanned};
use crate::probers::Prober;
use crate::probers::blocks::header_fields::has_secrets;
use crate::probers::prober_file::{KeysOfBlock, ProberFile, Warnings, first_present};
use std::sync::Arc;

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

    fn nested_keys() -> Vec<KeysOfBlock> {
        vec![(
            "fail_if_header_matches or fail_if_header_not_matches",
            HeaderMatchFile::keys(),
        )]
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
