//! Builds the process's connection policy and the modules' target allowlists, and finds modules that require an
//! allowlist.

use super::file::{ConfigFile, ListsFile, ModuleFile};
use glassbox_probe::file::{ConfigIssue, Spanned, at, below};
use glassbox_probe::policy::{AllowedTarget, Lists, Mode, Policy, TargetAllowlist, in_one_spelling};
use ipnet::IpNet;
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
    file.blocks.secret(&file.prober.as_ref()?.value)
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
        if let (Some(key), None) = (module.value.blocks.unchecked_address(), &module.value.allowed_targets) {
            let words =
                "the strict policy requires allowed_targets: only the proxy knows the address that it connects to";
            return Err(module.location.issue(below(&path, key), words));
        }
    }
    Ok(())
}
