//! The keys of the websocket prober.

use super::WebsocketProber;
use crate::block;
use crate::check::Resolver;
use crate::file::{ConfigIssue, Spanned, below};
use crate::probers::Prober;
use crate::probers::blocks::address;
use crate::probers::blocks::credentials::{self, AuthorizationFile, BasicAuthFile};
use crate::probers::blocks::header_fields::{self, FieldFile, has_secrets};
use crate::probers::blocks::oauth::OAuth2File;
use crate::probers::blocks::proxies::masked_url;
use crate::probers::blocks::steps::{self, StepFile};
use crate::probers::blocks::tls::{self, TlsFile};
use crate::probers::prober_file::{KeysOfBlock, ProberFile, Warnings, first_present};
use crate::secret::Secret;
use std::collections::BTreeMap;
use std::sync::Arc;

block! {
    /// The keys of the websocket prober.
    WebsocketFile {
        http_config: ClientFile,
        headers: BTreeMap<String, Spanned<FieldFile>>,
        query_response: Vec<Spanned<StepFile>>,
        ip_protocol_fallback: bool,
        preferred_ip_protocol: Spanned<String>,
    } unserved {}
}

block! {
    /// The client keys of the Prometheus common library. Some have no effect in a websocket module.
    ClientFile {
        basic_auth: Spanned<BasicAuthFile>,
        authorization: Spanned<AuthorizationFile>,
        bearer_token: Spanned<Secret>,
        bearer_token_file: Spanned<String>,
        tls_config: Spanned<TlsFile>,
        follow_redirects: Spanned<bool>,
        enable_http2: Spanned<bool>,
        oauth2: Spanned<OAuth2File>,
        #[serde(serialize_with = "masked_url")]
        proxy_url: Spanned<Secret>,
        no_proxy: Spanned<String>,
        proxy_from_environment: Spanned<bool>,
        proxy_connect_header: Spanned<BTreeMap<String, Vec<Spanned<Secret>>>>,
        http_headers: BTreeMap<String, Spanned<FieldFile>>,
    } unserved {}
}

impl ProberFile for WebsocketFile {
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
        vec![("http_config", ClientFile::keys())]
    }

    fn warn(written: Option<&Spanned<Self>>, warnings: &mut Warnings<'_>) {
        let Some(Spanned { value: file, .. }) = written else {
            return;
        };
        warnings.framing("websocket.headers", file.headers.as_ref());
        warnings.family("websocket", file.preferred_ip_protocol.as_ref());
        if let Some(client) = &file.http_config {
            warn_of_client(client, warnings);
        }
        warn_of_steps(file.query_response.as_deref().unwrap_or_default(), warnings);
    }

    fn secret(&self) -> Option<&'static str> {
        let client = self.http_config.as_ref();
        let has = |key: fn(&ClientFile) -> bool| client.is_some_and(key);
        first_present(&[
            (
                "websocket.http_config.basic_auth",
                has(|client| client.basic_auth.is_some()),
            ),
            (
                "websocket.http_config.authorization",
                has(|client| client.authorization.is_some()),
            ),
            (
                "websocket.http_config.bearer_token",
                has(|client| client.bearer_token.is_some()),
            ),
            (
                "websocket.http_config.bearer_token_file",
                has(|client| client.bearer_token_file.is_some()),
            ),
            ("websocket.headers", has_secrets(self.headers.as_ref())),
        ])
    }
}

fn build(file: &WebsocketFile, resolver: Arc<Resolver>, path: &str) -> Result<WebsocketProber, ConfigIssue> {
    let client = file.http_config.clone().unwrap_or_default();
    let client_path = below(path, "http_config");
    Ok(WebsocketProber {
        family: address::family(file.preferred_ip_protocol.as_ref(), file.ip_protocol_fallback),
        resolver,
        tls: tls::build(client.tls_config.as_ref(), tls::AlpnOffer::Nothing, &client_path)?,
        credentials: credentials::build(
            &credentials::CredentialKeys {
                basic_auth: client.basic_auth.as_ref(),
                authorization: client.authorization.as_ref(),
                bearer_token: client.bearer_token.as_ref(),
                bearer_token_file: client.bearer_token_file.as_ref(),
                oauth2: client.oauth2.as_ref(),
            },
            &client_path,
        )?,
        fields: header_fields::build(file.headers.as_ref(), header_fields::Names::All, path, "headers")?,
        script: steps::script(file.query_response.as_deref(), path)?,
    })
}

/// Warns about the keys of `http_config` that have no effect in a websocket module, as in `blackbox_exporter`.
fn warn_of_client(client: &ClientFile, warnings: &mut Warnings<'_>) {
    let block = "websocket.http_config";
    warnings.tls(block, client.tls_config.as_ref());
    let words = "this key has no effect in a websocket module, as in blackbox_exporter";
    let places = [
        (
            "follow_redirects",
            client.follow_redirects.as_ref().map(|at| at.location),
        ),
        ("enable_http2", client.enable_http2.as_ref().map(|at| at.location)),
        ("oauth2", client.oauth2.as_ref().map(|at| at.location)),
        ("proxy_url", client.proxy_url.as_ref().map(|at| at.location)),
        ("no_proxy", client.no_proxy.as_ref().map(|at| at.location)),
        (
            "proxy_from_environment",
            client.proxy_from_environment.as_ref().map(|at| at.location),
        ),
        (
            "proxy_connect_header",
            client.proxy_connect_header.as_ref().map(|at| at.location),
        ),
        ("http_headers", client.http_headers.as_ref().map(|_| warnings.location)),
    ];
    for (key, location) in places {
        if let Some(location) = location {
            warnings.at_location(location, &below(block, key), words);
        }
    }
}

fn warn_of_steps(steps: &[Spanned<StepFile>], warnings: &mut Warnings<'_>) {
    for step in steps {
        let does_nothing = [
            ("labels", step.value.labels.is_some()),
            ("expect_bytes", step.value.expect_bytes.is_some()),
            (
                "starttls",
                step.value.starttls.as_ref().is_some_and(|starttls| starttls.value),
            ),
        ];
        for (key, is_there) in does_nothing {
            if is_there {
                let words = "this key has no effect in a websocket step, as in blackbox_exporter";
                warnings.value(step, "websocket.query_response", key, words);
            }
        }
    }
}
