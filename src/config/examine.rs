//! Collects every error and warning of a configuration file, for `config check` before the file is used.

use super::file::ConfigFile;
use super::issue::ConfigIssue;
use super::policy;
use super::{Config, Defaults, build, diagnostics, limits, system_resolver, tree, warnings};

/// The problems that are told at most: a file that is something else entirely has no end of them.
const MOST: usize = 100;

/// What is wrong, and what does not do what it seems to.
#[derive(Debug, Default)]
pub struct Examination {
    /// With these the configuration is refused.
    pub issues: Vec<ConfigIssue>,
    /// With these it is taken.
    pub warnings: Vec<ConfigIssue>,
}

impl Config {
    /// Looks at all of a text: every key that cannot be read, and of each module that can the first thing that is wrong.
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
                    // What cannot be read is taken out, and the rest is read again.
                    let taken = tree::take_out(&mut root, &issue);
                    findings.issues.push(issue);
                    if !taken || findings.issues.len() >= MOST {
                        return findings;
                    }
                }
            }
        };
        // A module without what was taken out may lack what its other keys need: that would be no finding of its own.
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
        findings.issues.sort_by_key(|issue| (issue.line, issue.column));
        findings.warnings = warnings::of(&file);
        findings
    }
}
