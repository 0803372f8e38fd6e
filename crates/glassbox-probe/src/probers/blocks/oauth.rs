//! An OAuth 2.0 token request: the keys of the block `oauth2`.

use super::proxies::masked_url;
use super::tls::TlsFile;
use crate::block;
use crate::file::Spanned;
use crate::file::read::Claims;
use crate::secret::{MASK, Secret};
use serde::{Serialize as _, Serializer};
use std::collections::BTreeMap;

block! {
    /// The keys of OAuth 2.0.
    OAuth2File {
        client_id: Spanned<String>,
        client_secret: Secret,
        client_secret_file: Spanned<String>,
        client_certificate_key_id: String,
        client_certificate_key: Secret,
        client_certificate_key_file: Spanned<String>,
        signature_algorithm: Spanned<String>,
        iss: String,
        audience: String,
        claims: Claims,
        scopes: Vec<String>,
        #[serde(serialize_with = "masked_query")]
        token_url: Spanned<String>,
        endpoint_params: BTreeMap<String, Secret>,
        grant_type: Spanned<String>,
        tls_config: Spanned<TlsFile>,
        #[serde(serialize_with = "masked_url")]
        proxy_url: Spanned<Secret>,
        no_proxy: Spanned<String>,
        proxy_from_environment: Spanned<bool>,
        proxy_connect_header: Spanned<BTreeMap<String, Vec<Spanned<Secret>>>>,
    } unserved { client_secret_ref, client_certificate_key_ref, }
}

/// A URL with the query masked, because it may contain a key.
#[allow(clippy::ref_option, reason = "serde passes a reference to the field")]
pub(crate) fn masked_query<S: Serializer>(url: &Option<Spanned<String>>, serializer: S) -> Result<S::Ok, S::Error> {
    let shown = url.as_ref().map(|written| match written.value.split_once('?') {
        _ if written.value.contains('@') => MASK.to_owned(),
        Some((location, _)) => format!("{location}?{MASK}"),
        None => written.value.clone(),
    });
    shown.serialize(serializer)
}
