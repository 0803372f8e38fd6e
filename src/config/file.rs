//! The data types of the configuration file, with the keys of `blackbox_exporter` and additional keys. Unknown keys are
//! rejected.

mod top_level;
mod web;

pub(in crate::config) use top_level::{ControlFile, LimitsFile, ListsFile, Members, PolicyFile, Shorthand};
pub(in crate::config) use web::{RateFile, WebFile, WebTlsFile};

use glassbox_probe::block;
use glassbox_probe::diagnostics::DiagnosticsFile;
use glassbox_probe::file::{ConfigIssue, Fill as _, Location, Node, NodeKind, Read as _, Spanned, tree};
use glassbox_probe::metrics::Level;
use glassbox_probe::probers::ProberBlocks;
use glassbox_probe::probers::prober_file::KeysOfBlock;
use serde::Serialize;
use std::collections::BTreeMap;

/// Module keys of development versions and their replacements.
const MOVED: [(&str, &str); 4] = [
    ("hops", "backends"),
    ("drill", "diagnostics.backends"),
    ("bypass_cache", "diagnostics.cache_bypass"),
    ("reference_request", "diagnostics.reference_request"),
];

/// Keys of the blocks, for a hint where a misplaced key belongs.
fn keys_by_block() -> Vec<KeysOfBlock> {
    let mut blocks = vec![("a module", ModuleFile::keys())];
    blocks.extend(ProberBlocks::keys_by_block());
    blocks.extend([
        ("a module's diagnostics", DiagnosticsFile::keys()),
        ("an entry of backends", BackendFile::keys()),
        ("an entry of controls", ControlFile::keys()),
        ("limits", LimitsFile::keys()),
        ("policy", PolicyFile::keys()),
        ("networks, ports or unix of policy", ListsFile::keys()),
    ]);
    blocks
}

/// Adds to the issue of an unknown key where the key belongs.
fn with_hint(issue: ConfigIssue) -> ConfigIssue {
    let Some(unknown) = &issue.unknown else { return issue };
    let name = unknown.name.as_str();
    if let Some((_, new)) = MOVED.iter().find(|(old, _)| *old == name) {
        let words = format!("unknown key; use {new} instead");
        return ConfigIssue { words, ..issue };
    }
    let blocks = keys_by_block();
    let elsewhere = blocks.iter().find(|(_, keys)| keys.contains(&name));
    match elsewhere.filter(|_| !unknown.is_explained) {
        Some((block, _)) => ConfigIssue {
            words: format!("unknown key; it belongs under {block}"),
            ..issue
        },
        None => issue,
    }
}

block! {
    /// The whole file.
    ConfigFile {
        modules: BTreeMap<String, Spanned<ModuleFile>>,
        controls: Vec<Spanned<ControlFile>>,
        policy: Shorthand,
        limits: LimitsFile,
    } unserved {}
}

block! {
    /// A module.
    ModuleFile {
        prober: Spanned<String>,
        timeout: Spanned<String>,
        interval: Spanned<String>,
        metrics: Level,
        buckets: Vec<Spanned<f64>>,
        resolver: Vec<Spanned<String>>,
        backends: Vec<Spanned<BackendFile>>,
        addresses: Spanned<String>,
        diagnostics: DiagnosticsFile,
        allowed_targets: Vec<Spanned<String>>,
    } unserved {}
    flattened blocks: ProberBlocks
}

block! {
    /// A backend behind the edge.
    BackendFile {
        name: Spanned<String>,
        address: Spanned<String>,
        members: Members,
        tls: bool,
        host: Spanned<String>,
        sni: Spanned<String>,
        reachable: bool,
    } unserved {}
}

impl ConfigFile {
    /// Parses the YAML. Unknown keys, duplicate keys and wrong types are errors.
    pub(super) fn parse(text: &str) -> Result<Self, ConfigIssue> {
        Self::of(&Self::tree(text)?)
    }

    /// Parses the YAML without a check of the keys.
    pub(super) fn tree(text: &str) -> Result<Node, ConfigIssue> {
        if is_empty(text) {
            return Err(Location::START.issue("", "the file is empty: expected at least \"modules: {}\""));
        }
        tree::parse(text)
    }

    /// Reads the whole file.
    pub(super) fn of(file: &Node) -> Result<Self, ConfigIssue> {
        match &file.kind {
            NodeKind::Block(_) | NodeKind::Nothing => Self::read(file, "").map_err(with_hint),
            other => {
                let words = format!("expected a mapping that begins with \"modules:\", got {}", other.name());
                Err(file.location.issue("", words))
            }
        }
    }

    /// The modules by name.
    pub(super) fn modules(&self) -> impl Iterator<Item = (&String, &Spanned<ModuleFile>)> {
        self.modules.iter().flatten()
    }

    /// A copy with the defaults filled in. `metrics` is the value of the flag `--metrics.level`.
    pub(super) fn with_defaults(&self, metrics: Level) -> Self {
        let mut filled = self.clone();
        for module in filled.modules.iter_mut().flat_map(BTreeMap::values_mut) {
            let prober = module.value.prober.as_ref().map_or("", |prober| prober.value.as_str());
            let defaults = ProberBlocks::defaults(prober).and_then(|yaml| tree::parse(yaml).ok());
            let Some(mut defaults) = defaults.and_then(|node| ModuleFile::read(&node, "").ok()) else {
                continue;
            };
            defaults.metrics = Some(metrics);
            defaults.blocks.change_defaults(&module.value.blocks);
            module.value = module.value.clone().fill(&defaults);
        }
        filled
    }

    /// The whole file as YAML, secrets masked.
    pub(super) fn to_yaml(&self) -> String {
        yaml(self)
    }

    /// One module as YAML, secrets masked.
    pub(super) fn module_yaml(&self, name: &str) -> String {
        self.modules()
            .find(|(known, _)| *known == name)
            .map_or_else(String::new, |(_, module)| yaml(&module.value))
    }
}

fn yaml(value: &impl Serialize) -> String {
    serde_yaml::to_string(value).unwrap_or_else(|error| format!("# serialization failed: {error}\n"))
}

/// Whether the file contains only comments. `blackbox_exporter` treats such a file as empty.
fn is_empty(text: &str) -> bool {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lines = text.lines().map(str::trim_start);
    lines.all(|line| line.is_empty() || line.starts_with('#'))
}
