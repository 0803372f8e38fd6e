//! Builds the OAuth 2.0 token request from its keys.

use super::{Algorithm, Grant, OAuth2, Signing};
use crate::check::Resolver;
use crate::file::{ConfigIssue, Spanned, at, below, filled};
use crate::probers::blocks::credentials::source;
use crate::probers::blocks::oauth::OAuth2File;
use crate::probers::blocks::{proxies, tls};
use crate::target::{HttpUrl, Scheme};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tokio::sync::Mutex;

const SECRET_GRANT: &str = "client_credentials";
const ASSERTION_GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// Builds the settings if the module has the block.
pub(crate) fn build_optional(
    written: Option<&Spanned<OAuth2File>>,
    resolver: &Arc<Resolver>,
    path: &str,
) -> Result<Option<OAuth2>, ConfigIssue> {
    let build = |written| build(written, resolver.clone(), path);
    written.map(build).transpose()
}

/// Validates the keys and builds the settings.
fn build(written: &Spanned<OAuth2File>, resolver: Arc<Resolver>, path: &str) -> Result<OAuth2, ConfigIssue> {
    let path = &below(path, "oauth2");
    let file = &written.value;
    let missing = |key: &str, words: &str| at(written, path, key, words);
    let client_id = filled(file.client_id.as_ref());
    let client_id = client_id.ok_or_else(|| missing("client_id", "oauth2 client_id must be configured"))?;
    let token_url = filled(file.token_url.as_ref());
    let token_url = token_url.ok_or_else(|| missing("token_url", "oauth2 token_url must be configured"))?;
    let url = HttpUrl::parse(&token_url.value)
        .ok()
        .filter(|url| matches!(url.scheme(), Scheme::Http | Scheme::Https));
    let url = url.ok_or_else(|| {
        let words = "invalid token URL: expected an http or https URL such as https://id.example/token";
        at(token_url, path, "token_url", words)
    })?;
    let proxies = proxies::ProxyKeys {
        proxy_url: file.proxy_url.as_ref(),
        no_proxy: file.no_proxy.as_ref(),
        proxy_from_environment: file.proxy_from_environment.as_ref(),
        proxy_connect_header: file.proxy_connect_header.as_ref(),
        // As in blackbox_exporter, the proxy resolves the host name.
        skip_resolve: Some(true),
    };
    Ok(OAuth2 {
        token_url: url,
        written_token_url: token_url.value.clone(),
        client_id: client_id.value.clone(),
        grant: grant(written, path)?,
        scopes: file.scopes.clone().unwrap_or_default(),
        params: file.endpoint_params.clone().unwrap_or_default().into_iter().collect(),
        tls: tls::build(file.tls_config.as_ref(), tls::AlpnOffer::Http2, path)?,
        proxies: proxies::build(&proxies, path)?,
        resolver,
        kept: Mutex::new(None),
        in_body: AtomicBool::new(false),
    })
}

fn grant(written: &Spanned<OAuth2File>, path: &str) -> Result<Grant, ConfigIssue> {
    let file = &written.value;
    match filled(file.grant_type.as_ref()).map(|grant| grant.value.as_str()) {
        None | Some(SECRET_GRANT) => {
            let secret = source(
                file.client_secret.clone(),
                file.client_secret_file.as_ref(),
                path,
                "client_secret",
            )?;
            Ok(Grant::Secret(secret))
        }
        Some(ASSERTION_GRANT) => {
            let key = &file.client_certificate_key;
            let named = file.client_certificate_key_file.as_ref();
            if key.is_none() && filled(named).is_none() {
                let words = "this grant_type requires client_certificate_key or client_certificate_key_file";
                return Err(at(written, path, "client_certificate_key", words));
            }
            Ok(Grant::Assertion(Box::new(Signing {
                key: source(key.clone(), named, path, "client_certificate_key")?,
                key_id: file.client_certificate_key_id.clone().unwrap_or_default(),
                algorithm: algorithm(file.signature_algorithm.as_ref(), path)?,
                issuer: file.iss.clone().unwrap_or_default(),
                audience: file.audience.clone().unwrap_or_default(),
                claims: file.claims.clone().unwrap_or_default().0,
            })))
        }
        Some(other) => {
            let words = format!("invalid grant_type {other:?}: expected {SECRET_GRANT} or {ASSERTION_GRANT}");
            let location = file
                .grant_type
                .as_ref()
                .map_or(written.location, |grant| grant.location);
            Err(location.issue(below(path, "grant_type"), words))
        }
    }
}

fn algorithm(written: Option<&Spanned<String>>, path: &str) -> Result<Algorithm, ConfigIssue> {
    match filled(written).map(|written| (written, written.value.as_str())) {
        None | Some((_, "RS256")) => Ok(Algorithm::Rs256),
        Some((_, "RS384")) => Ok(Algorithm::Rs384),
        Some((_, "RS512")) => Ok(Algorithm::Rs512),
        Some((written, other)) => {
            let words = format!("invalid signature algorithm {other:?}: expected RS256, RS384 or RS512");
            Err(at(written, path, "signature_algorithm", words))
        }
    }
}
