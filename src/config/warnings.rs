//! Warnings about keys that have no effect or do not do what they appear to. As in `blackbox_exporter`, the
//! configuration is accepted. Each warning is logged once.

use super::file::{ConfigFile, ModuleFile};
use super::policy::secret_without_allowlist;
use glassbox_probe::file::ConfigIssue;
use glassbox_probe::probers::prober_file::Warnings;

/// All warnings, in file order.
pub(super) fn of(file: &ConfigFile) -> Vec<ConfigIssue> {
    let mut found = Vec::new();
    for (name, module) in file.modules() {
        let mut warnings = Warnings {
            location: module.location,
            path: format!("modules.{name}"),
            found: &mut found,
        };
        warn(&module.value, &mut warnings);
    }
    found.sort_by_key(|issue| (issue.line, issue.column));
    found
}

fn warn(module: &ModuleFile, warnings: &mut Warnings<'_>) {
    let prober = module.prober.as_ref().map_or("", |prober| prober.value.as_str());
    for block in module.blocks.present().into_iter().filter(|block| *block != prober) {
        let words = format!("this block has no effect: the module's prober is {prober}");
        warnings.key(block, &words);
    }
    if let Some(key) = secret_without_allowlist(module) {
        let words = "any client can have this secret sent to any target; set allowed_targets in the module";
        warnings.key(key, words);
    }
    module.blocks.warn(prober, warnings);
}
