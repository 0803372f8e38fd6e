//! Builds the process's connection policy and the modules' target allowlists, and finds modules that require an
//! allowlist.

use super::file::{ClientFile, ConfigFile, FieldFile, ListsFile, ModuleFile, Spanned, is_plain_header};
use super::issue::ConfigIssue;
use super::read::at;
use super::tree::below;
use glassbox_probe::policy::{AllowedTarget, Lists, Mode, Policy, TargetAllowlist, in_one_spelling};
use ipnet::IpNet;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

pub(super) fn policy(file: &ConfigFile) -> Result<Policy, ConfigIssue> {
    let Some(written) = &file.policy else {
        return Ok(Policy::default());
    };
    let mode = match &written.0.mode {
        None => Mode::Default,
        Some(word) => match word.value.as_str() {
            "default" => Mode::Default,
            "strict" => Mode::Strict,
            "open" => Mode::Open,
            other => {
                let words = format!("invalid policy {other:?}: expected default, strict or open");
                return Err(at(word, "policy", "mode", words));
            }
        },
    };
    Ok(Policy {
        mode,
        networks: lists(written.0.networks.as_ref(), "networks", network)?,
        ports: lists(written.0.ports.as_ref(), "ports", FromStr::from_str)?,
        unix: lists(written.0.unix.as_ref(), "unix", FromStr::from_str)?,
    })
}

fn lists<T>(
    written: Option<&ListsFile>,
    key: &str,
    read: impl Fn(&str) -> Result<T, String>,
) -> Result<Lists<T>, ConfigIssue> {
    let path = below("policy", key);
    let list = |key: &str, entries: Option<&Vec<Spanned<String>>>| {
        let entries = entries.into_iter().flatten();
        let read = entries.map(|entry| read(entry.value.trim()).map_err(|words| at(entry, &path, key, words)));
        read.collect::<Result<Vec<_>, _>>()
    };
    Ok(Lists {
        allow: list("allow", written.and_then(|lists| lists.allow.as_ref()))?,
        deny: list("deny", written.and_then(|lists| lists.deny.as_ref()))?,
    })
}

/// A network or a single address.
fn network(text: &str) -> Result<IpNet, String> {
    let one = text.parse::<IpAddr>().map(IpNet::from);
    let network = one
        .or_else(|_| text.parse())
        .map_err(|_| format!("invalid network {text:?}: expected one such as 10.0.0.0/8 or 192.0.2.7"))?;
    in_one_spelling(network)
}

/// The allowlist from `allowed_targets`. An empty list allows no target.
pub(super) fn allowlist(file: &ModuleFile, path: &str) -> Result<Option<Arc<TargetAllowlist>>, ConfigIssue> {
    let Some(written) = &file.allowed_targets else {
        return Ok(None);
    };
    let entry = |written: &Spanned<String>| {
        let entry = written.value.trim().parse::<AllowedTarget>();
        entry.map_err(|words| at(written, path, "allowed_targets", words))
    };
    let allowlist = written.iter().map(entry).collect::<Result<TargetAllowlist, _>>()?;
    Ok(Some(Arc::new(allowlist)))
}

/// The key of a secret that the module sends to any target because the module has no allowlist.
pub(super) fn secret_without_allowlist(file: &ModuleFile) -> Option<&'static str> {
    if file.allowed_targets.is_some() {
        return None;
    }
    match file.prober.as_ref()?.value.as_str() {
        "http" => {
            let http = file.http.as_ref()?;
            let headers = http.headers.as_ref();
            let other = headers.is_some_and(|headers| headers.keys().any(|name| !is_plain_header(name)));
            first(&[
                ("http.basic_auth", http.basic_auth.is_some()),
                ("http.authorization", http.authorization.is_some()),
                ("http.bearer_token", http.bearer_token.is_some()),
                ("http.bearer_token_file", http.bearer_token_file.is_some()),
                ("http.oauth2", http.oauth2.is_some()),
                ("http.http_headers", has_secrets(http.http_headers.as_ref())),
                ("http.headers", other),
            ])
        }
        "websocket" => {
            let websocket = file.websocket.as_ref()?;
            let client = websocket.http_config.as_ref();
            let has = |key: fn(&ClientFile) -> bool| client.is_some_and(key);
            first(&[
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
                ("websocket.headers", has_secrets(websocket.headers.as_ref())),
            ])
        }
        "grpc" => {
            let metadata = file.grpc.as_ref()?.metadata.as_ref();
            first(&[("grpc.metadata", metadata.is_some_and(|fields| !fields.is_empty()))])
        }
        _ => None,
    }
}

fn first(keys: &[(&'static str, bool)]) -> Option<&'static str> {
    keys.iter().find(|(_, is_there)| *is_there).map(|(key, _)| *key)
}

fn has_secrets(fields: Option<&BTreeMap<String, Spanned<FieldFile>>>) -> bool {
    let mut fields = fields.into_iter().flat_map(BTreeMap::values);
    fields.any(|field| field.value.secrets.is_some() || field.value.files.is_some())
}

/// Checks the rules of the strict policy. Without an allowlist, a module must not send secrets and must not let a proxy
/// resolve the target name.
pub(super) fn check_strictness(file: &ConfigFile, policy: &Policy) -> Result<(), ConfigIssue> {
    if policy.mode != Mode::Strict {
        return Ok(());
    }
    for (name, module) in file.modules() {
        let path = format!("modules.{name}");
        if let Some(key) = secret_without_allowlist(&module.value) {
            let words =
                "the strict policy requires allowed_targets: any client can choose the target that gets the secret";
            return Err(module.location.issue(below(&path, key), words));
        }
        let http = module.value.http.as_ref();
        let blind = http.is_some_and(|http| http.skip_resolve_phase_with_proxy == Some(true));
        if blind && module.value.allowed_targets.is_none() {
            let words =
                "the strict policy requires allowed_targets: only the proxy knows the address that it connects to";
            let key = below(&path, "http.skip_resolve_phase_with_proxy");
            return Err(module.location.issue(key, words));
        }
    }
    Ok(())
}
