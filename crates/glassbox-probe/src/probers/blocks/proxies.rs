//! The proxy keys, which several blocks have.

use super::header_fields::{header_name, header_value};
use crate::file::{ConfigIssue, Spanned, at, below, filled};
use crate::probers::proxies::{Exceptions, Proxies, Proxy, with_scheme};
use crate::secret::{MASK, Secret};
use serde::{Serialize as _, Serializer};
use std::collections::BTreeMap;

/// The proxy keys, which appear in several blocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProxyKeys<'a> {
    /// The key of this name.
    pub proxy_url: Option<&'a Spanned<Secret>>,
    /// The key of this name.
    pub no_proxy: Option<&'a Spanned<String>>,
    /// The key of this name.
    pub proxy_from_environment: Option<&'a Spanned<bool>>,
    /// The key of this name.
    pub proxy_connect_header: Option<&'a Spanned<ConnectFields>>,
    /// The key `skip_resolve_phase_with_proxy`.
    pub skip_resolve: Option<bool>,
}

/// The header fields of CONNECT requests in the file.
pub(crate) type ConnectFields = BTreeMap<String, Vec<Spanned<Secret>>>;

/// Validates the keys by the rules of `blackbox_exporter` and builds the settings.
pub(crate) fn build(file: &ProxyKeys<'_>, path: &str) -> Result<Proxies, ConfigIssue> {
    let url = file.proxy_url.filter(|url| !url.value.reveal().is_empty());
    let from_environment = file.proxy_from_environment.filter(|from| from.value);
    let no_proxy = filled(file.no_proxy);
    if let (None, Some(no_proxy)) = (url, no_proxy) {
        let words = "if no_proxy is configured, proxy_url must also be configured";
        return Err(at(no_proxy, path, "no_proxy", words));
    }
    if let (Some(url), Some(_)) = (url, from_environment) {
        let words = "if proxy_from_environment is configured, proxy_url must not be configured";
        return Err(at(url, path, "proxy_url", words));
    }
    let fields = connect_fields(file, path)?;
    if let (Some(header), None, None) = (file.proxy_connect_header, url, from_environment)
        && !header.value.is_empty()
    {
        let words =
            "if proxy_connect_header is configured, proxy_url or proxy_from_environment must also be configured";
        return Err(at(header, path, "proxy_connect_header", words));
    }
    let mut proxies = match (url, from_environment) {
        (Some(url), _) => {
            let proxy = Proxy::new(url.value.reveal()).map_err(|words| at(url, path, "proxy_url", words))?;
            Proxies {
                for_http: Some(proxy.clone()),
                for_https: Some(proxy),
                // As in blackbox_exporter, all requests use the proxy if no_proxy is absent.
                exceptions: no_proxy.map(|list| Exceptions::new(&list.value)),
                ..Proxies::default()
            }
        }
        (None, Some(from)) => {
            Proxies::from_environment().map_err(|words| at(from, path, "proxy_from_environment", words))?
        }
        (None, None) => Proxies::default(),
    };
    proxies.connect_fields = fields;
    proxies.skip_resolve = file.skip_resolve.unwrap_or(false);
    Ok(proxies)
}

type Fields = Vec<(http::HeaderName, http::HeaderValue)>;

fn connect_fields(file: &ProxyKeys<'_>, path: &str) -> Result<Fields, ConfigIssue> {
    let path = below(path, "proxy_connect_header");
    let mut fields = Vec::new();
    for (name, values) in file.proxy_connect_header.iter().flat_map(|header| &header.value) {
        for value in values {
            let field = header_name(name).map_err(|words| at(value, &path, name, words))?;
            let mut content = header_value(value.value.reveal()).map_err(|words| at(value, &path, name, words))?;
            content.set_sensitive(true);
            fields.push((field, content));
        }
    }
    Ok(fields)
}

/// A URL with the password masked, in the notation of `blackbox_exporter`.
#[allow(clippy::ref_option, reason = "serde passes a reference to the field")]
pub(crate) fn masked_url<S: Serializer>(url: &Option<Spanned<Secret>>, serializer: S) -> Result<S::Ok, S::Error> {
    let shown = url
        .as_ref()
        .map(|written| match url::Url::parse(&with_scheme(written.value.reveal())) {
            _ if written.value.reveal().is_empty() => String::new(),
            Ok(url) if url.username().is_empty() && url.password().is_none() => written.value.reveal().to_owned(),
            Ok(mut url) => url
                .set_password(Some("xxxxx"))
                .map_or(MASK.to_owned(), |()| url.to_string()),
            // An invalid URL may contain a password, too.
            Err(_) => MASK.to_owned(),
        });
    shown.serialize(serializer)
}
