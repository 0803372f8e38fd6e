//! Collects every error and warning of a configuration file, for `config check` before the file is used.

use super::file::ConfigFile;
use super::policy;
use super::{Config, Defaults, build, diagnostics, file_values, limits, system_resolver, warnings};
use glassbox_probe::file::{ConfigIssue, tree};

/// Maximum number of reported issues. A file of a different kind would have an unlimited number.
const MOST: usize = 100;

/// The errors and the warnings of a configuration.
#[derive(Debug, Default)]
pub struct Examination {
    /// Errors. A configuration with an error is rejected.
    pub issues: Vec<ConfigIssue>,
    /// Warnings. A configuration with warnings is accepted.
    pub warnings: Vec<ConfigIssue>,
}

impl Config {
    /// Checks an entire configuration file. Reports every key that cannot be read and the first error of each module that can be read.
    #[must_use]
    pub fn examine(text: &str, defaults: Defaults) -> Examination {
        let mut findings = Examination::default();
        let mut root = match ConfigFile::tree(text) {
            Ok(root) => root,
            Err(issue) => {
                findings.issues.push(issue);
                return findings;
            }
        };
        let file = loop {
            match ConfigFile::of(&root) {
                Ok(file) => break file,
                Err(issue) => {
                    // Remove the invalid part and re-read the rest.
                    let taken = tree::take_out(&mut root, &issue);
                    findings.issues.push(issue);
                    if !taken || findings.issues.len() >= MOST {
                        return findings;
                    }
                }
            }
        };
        // Skip modules from which a part was removed. Their other keys may depend on that part, so the resulting error
        // would be misleading.
        let unread = |name: &str| {
            let path = format!("modules.{name}");
            let mut keys = findings.issues.iter().map(|issue| issue.key.as_str());
            keys.any(|key| key == path || key.strip_prefix(&path).is_some_and(|rest| rest.starts_with('.')))
        };
        let system = match system_resolver() {
            Ok(system) => system,
            Err(issue) => {
                findings.issues.push(issue);
                return findings;
            }
        };
        let whole = file.modules().filter(|(name, _)| !unread(name));
        let refused = whole.filter_map(|(name, module)| build(name, module, &system, defaults).err());
        let mut refused: Vec<_> = refused.collect();
        refused.extend(diagnostics::controls(&file).err());
        refused.extend(
            policy::policy(&file)
                .and_then(|policy| policy::check_strictness(&file, &policy))
                .err(),
        );
        refused.extend(limits::build(&file).err());
        findings.issues.extend(refused);
        findings.warnings = warnings::of(&file);
        let values = file_values::examine(&root);
        findings.issues.extend(values.errors);
        findings.warnings.extend(values.warnings);
        for found in [&mut findings.issues, &mut findings.warnings] {
            found.sort_by_key(|issue| (issue.line, issue.column));
            found.dedup_by_key(|issue| (issue.line, issue.column, issue.key.clone()));
        }
        findings
    }
}
