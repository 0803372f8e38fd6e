//! All that there is to say of a configuration: for whoever checks a file before it is used.

use super::file::ConfigFile;
use super::policy;
use super::problem::Problem;
use super::{Config, Defaults, beside, compose, limits, system_resolver, tree, warnings};

/// The problems that are told at most: a file that is something else entirely has no end of them.
const MOST: usize = 100;

/// What is wrong, and what does not do what it seems to.
#[derive(Debug, Default)]
pub struct Findings {
    /// With these the configuration is refused.
    pub problems: Vec<Problem>,
    /// With these it is taken.
    pub warnings: Vec<Problem>,
}

impl Config {
    /// Looks at all of a text: every key that cannot be read, and of each module that can the first thing that is wrong.
    #[must_use]
    pub fn examine(text: &str, defaults: Defaults) -> Findings {
        let mut findings = Findings::default();
        let mut root = match ConfigFile::tree(text) {
            Ok(root) => root,
            Err(problem) => {
                findings.problems.push(problem);
                return findings;
            }
        };
        let file = loop {
            match ConfigFile::of(&root) {
                Ok(file) => break file,
                Err(problem) => {
                    // What cannot be read is taken out, and the rest is read again.
                    let taken = tree::take_out(&mut root, &problem);
                    findings.problems.push(problem);
                    if !taken || findings.problems.len() >= MOST {
                        return findings;
                    }
                }
            }
        };
        // A module without what was taken out may lack what its other keys need: that would be no finding of its own.
        let unread = |name: &str| {
            let path = format!("modules.{name}");
            let mut keys = findings.problems.iter().map(|problem| problem.key.as_str());
            keys.any(|key| key == path || key.strip_prefix(&path).is_some_and(|rest| rest.starts_with('.')))
        };
        let system = match system_resolver() {
            Ok(system) => system,
            Err(problem) => {
                findings.problems.push(problem);
                return findings;
            }
        };
        let whole = file.modules().filter(|(name, _)| !unread(name));
        let refused = whole.filter_map(|(name, module)| compose(name, module, &system, defaults).err());
        let mut refused: Vec<_> = refused.collect();
        refused.extend(beside::controls(&file).err());
        refused.extend(
            policy::policy(&file)
                .and_then(|policy| policy::check_strictness(&file, &policy))
                .err(),
        );
        refused.extend(limits::compose(&file).err());
        findings.problems.extend(refused);
        findings.problems.sort_by_key(|problem| (problem.line, problem.column));
        findings.warnings = warnings::of(&file);
        findings
    }
}
