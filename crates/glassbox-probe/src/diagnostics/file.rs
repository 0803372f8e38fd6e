//! The keys of a module's block `diagnostics`. Each diagnostic declares its own key in its row.

use super::{DIAGNOSTICS, Diagnostic};
use crate::file::{ConfigIssue, Fill, Node, NodeKind, Read, Spanned, below, keys, units};
use crate::probers::{DiagnosticsSettings, When};
use glassbox_verdict::investigation::DiagnosticKind;
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

/// Maximum number of additional requests for one target, of all diagnostics together.
const BUDGET: &str = "budget";

/// Keys of diagnostics that are not implemented.
const UNSERVED: &[&str] = &[
    "members",
    "conformance",
    "idle_timeout",
    "idle_timeout_max",
    "idle_timeout_edge",
    "changes",
    "network_path",
    "path_mtu",
    "dns",
];

/// The values of a diagnostic's key, and its default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiagnosticKey {
    /// `always`, `on_failure` or `never`.
    When(When),
    /// The same, or N for every Nth probe.
    WhenOrEvery(When),
    /// `true` or `false`.
    Switch(When),
}

/// A module's block `diagnostics`.
#[derive(Clone, Debug, Default)]
pub struct DiagnosticsFile {
    when: Vec<(DiagnosticKind, When)>,
    budget: Option<Spanned<String>>,
}

impl DiagnosticKey {
    /// When the diagnostic runs if the module does not set the key.
    #[must_use]
    pub const fn default(self) -> When {
        let (Self::When(when) | Self::WhenOrEvery(when) | Self::Switch(when)) = self;
        when
    }

    fn read(self, node: &Node, path: &str) -> Result<When, ConfigIssue> {
        if let Self::Switch(_) = self {
            let is_on = bool::read(node, path)?;
            return Ok(if is_on { When::OnFailure } else { When::Never });
        }
        let text = String::read(node, path)?;
        let every = |text: &str| match text.parse().ok()? {
            0 => None,
            1 => Some(When::Always),
            nth => Some(When::Every(nth)),
        };
        let read = match text.as_str() {
            "always" => Some(When::Always),
            "on_failure" => Some(When::OnFailure),
            "never" | "false" => Some(When::Never),
            text if matches!(self, Self::WhenOrEvery(_)) => every(text),
            _ => None,
        };
        let expected = match self {
            Self::WhenOrEvery(_) => "always, on_failure, never (or false), or N for every Nth probe",
            Self::When(_) | Self::Switch(_) => "always, on_failure or never (or false)",
        };
        read.ok_or_else(|| {
            let words = format!("invalid value {text:?}: expected {expected}");
            node.location.issue(path, words)
        })
    }
}

/// The diagnostics that have a key, in the order of the table.
fn configurable() -> impl Iterator<Item = (&'static Diagnostic, DiagnosticKey)> {
    DIAGNOSTICS.iter().filter_map(|row| Some((row, row.key?)))
}

impl DiagnosticsFile {
    /// The supported keys.
    #[must_use]
    pub fn keys() -> Vec<&'static str> {
        configurable().map(|(row, _)| row.name).chain([BUDGET]).collect()
    }

    /// The settings of a module with these keys. `path` is the block's path.
    ///
    /// # Errors
    /// If the budget is invalid.
    pub fn settings(&self, path: &str) -> Result<DiagnosticsSettings, ConfigIssue> {
        let usual = DiagnosticsSettings::default();
        Ok(DiagnosticsSettings {
            when: self.with_defaults(),
            budget: units::rate(self.budget.as_ref(), path, BUDGET, usual.budget)?,
            ..usual
        })
    }

    fn with_defaults(&self) -> Vec<(DiagnosticKind, When)> {
        let when = |(row, key): (&Diagnostic, DiagnosticKey)| (row.kind, self.when(row).unwrap_or(key.default()));
        configurable().map(when).collect()
    }

    fn when(&self, row: &Diagnostic) -> Option<When> {
        let set = self.when.iter().find(|(kind, _)| *kind == row.kind);
        set.map(|(_, when)| *when)
    }
}

impl Read for DiagnosticsFile {
    fn read(node: &Node, path: &str) -> Result<Self, ConfigIssue> {
        let mut file = Self::default();
        for (key, value) in node.block(path)? {
            let path = below(path, &key.name);
            let name = key.name.as_str();
            let is_null = matches!(value.kind, NodeKind::Nothing);
            if name == BUDGET {
                file.budget = if is_null { None } else { Some(Read::read(value, &path)?) };
            } else if let Some((row, values)) = configurable().find(|(row, _)| row.name == name) {
                if !is_null {
                    file.when.push((row.kind, values.read(value, &path)?));
                }
            } else if UNSERVED.contains(&name) || DIAGNOSTICS.iter().any(|row| row.name == name) {
                keys::refuse_unserved(key.location, value, &path)?;
            } else {
                return Err(keys::unknown(key, &path, &Self::keys()));
            }
        }
        Ok(file)
    }
}

impl Fill for DiagnosticsFile {
    /// Missing keys of the diagnostics have the defaults of their rows.
    fn fill(self, from: &Self) -> Self {
        Self {
            when: self.with_defaults(),
            budget: self.budget.fill(&from.budget),
        }
    }
}

impl Serialize for DiagnosticsFile {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (row, key) in configurable() {
            match (self.when(row), key) {
                (Some(when), DiagnosticKey::Switch(_)) => map.serialize_entry(row.name, &(when != When::Never))?,
                (Some(When::Every(nth)), _) => map.serialize_entry(row.name, &nth)?,
                (Some(when), _) => map.serialize_entry(row.name, name(when))?,
                (None, _) => {}
            }
        }
        if let Some(budget) = &self.budget {
            map.serialize_entry(BUDGET, budget)?;
        }
        map.end()
    }
}

const fn name(when: When) -> &'static str {
    match when {
        When::Never => "never",
        When::Always => "always",
        When::OnFailure | When::Every(_) => "on_failure",
    }
}

#[cfg(test)]
mod tests {
    use super::{DIAGNOSTICS, UNSERVED};

    #[test]
    fn a_key_that_is_not_implemented_has_no_diagnostic() {
        for key in UNSERVED {
            assert!(DIAGNOSTICS.iter().all(|row| row.name != *key), "{key}");
        }
    }
}
