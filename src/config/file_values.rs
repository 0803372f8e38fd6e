//! Findings about values that are valid for the parser, but do not work on this host: files that cannot be read, and
//! variables that nothing expands.

use glassbox_probe::file::{ConfigIssue, Node, NodeKind, below};
use glassbox_probe::probers::ProberBlocks;
use std::path::Path;

/// Keys whose values have a syntax of their own with these characters.
const OWN_SYNTAX: [&str; 5] = ["regexp", "cel", "send", "expect", "starttls"];

/// What was found.
#[derive(Default)]
pub(super) struct FileValues {
    /// Files that cannot be read.
    pub errors: Vec<ConfigIssue>,
    /// Variables that nothing expands.
    pub warnings: Vec<ConfigIssue>,
}

/// Examines all modules.
pub(super) fn examine(root: &Node) -> FileValues {
    let mut findings = FileValues::default();
    let NodeKind::Block(top) = &root.kind else {
        return findings;
    };
    let modules = top.iter().filter(|(key, _)| key.name == "modules");
    for (name, module) in modules.flat_map(|(_, modules)| entries(modules)) {
        let path = format!("modules.{name}");
        let prober = text_of(module, "prober").unwrap_or_default();
        // A block of another prober has no effect.
        let is_used = |key: &str| key == prober || ProberBlocks::defaults(key).is_none();
        for (key, value) in entries(module).filter(|(key, _)| is_used(key)) {
            value_of(value, &below(&path, key), key, &mut findings);
        }
    }
    findings
}

fn entries(node: &Node) -> impl Iterator<Item = (&str, &Node)> {
    let entries = match &node.kind {
        NodeKind::Block(entries) => entries.as_slice(),
        _ => &[],
    };
    entries.iter().map(|(key, value)| (key.name.as_str(), value))
}

fn text_of<'a>(module: &'a Node, wanted: &str) -> Option<&'a str> {
    let (_, value) = entries(module).find(|(key, _)| *key == wanted)?;
    match &value.kind {
        NodeKind::Text(text) => Some(text),
        _ => None,
    }
}

fn value_of(node: &Node, path: &str, key: &str, findings: &mut FileValues) {
    match &node.kind {
        NodeKind::Block(_) => {
            for (key, value) in entries(node) {
                value_of(value, &below(path, key), key, findings);
            }
        }
        NodeKind::List(entries) => {
            for entry in entries {
                value_of(entry, path, key, findings);
            }
        }
        NodeKind::Text(text) if key.ends_with("_file") => findings.errors.extend(unreadable(node, path, text)),
        NodeKind::Text(text) => findings.warnings.extend(unexpanded(node, path, key, text)),
        NodeKind::Nothing | NodeKind::Bytes(_) => {}
    }
}

/// A file that cannot be read: every probe that needs it fails.
fn unreadable(node: &Node, path: &str, name: &str) -> Option<ConfigIssue> {
    if name.is_empty() {
        return None;
    }
    let file = Path::new(name);
    let read = std::fs::metadata(file).and_then(|found| {
        if found.is_dir() {
            Err(std::io::Error::from(std::io::ErrorKind::IsADirectory))
        } else if found.is_file() {
            std::fs::File::open(file).map(drop)
        } else {
            // Not opened: a pipe could block.
            Ok(())
        }
    });
    let error = read.err()?;
    let words = format!("cannot read file {name:?}: {error}; probes of this module fail until it can be read");
    Some(node.location.issue(path, words))
}

/// A variable that is sent as it is written. Nothing of the value is shown, because it may be a secret.
fn unexpanded(node: &Node, path: &str, key: &str, text: &str) -> Option<ConfigIssue> {
    if OWN_SYNTAX.iter().any(|part| key.contains(part)) {
        return None;
    }
    let form = if variable(text)?.starts_with("${") {
        "${…}"
    } else {
        "$(…)"
    };
    let words = format!(
        "{form} is used literally: the exporter does not expand variables; write the value, or use a key that names a file"
    );
    Some(node.location.issue(path, words))
}

/// The first variable or command of a shell in a text: `${NAME}` in upper case, or `$(COMMAND)`.
fn variable(text: &str) -> Option<&str> {
    text.match_indices('$').find_map(|(start, _)| {
        let rest = &text[start + 1..];
        let (close, is_name): (char, fn(&u8) -> bool) = match rest.chars().next()? {
            '{' => ('}', |byte| {
                byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b'_'
            }),
            '(' => (')', |_| true),
            _ => return None,
        };
        let inner = &rest[1..];
        let end = inner.find(close).filter(|end| *end > 0)?;
        let is_variable = inner.as_bytes()[..end].iter().all(is_name);
        is_variable.then(|| &text[start..=start + 2 + end])
    })
}

#[cfg(test)]
mod tests {
    use super::variable;

    #[test]
    fn variables_of_a_shell_are_found() {
        for (text, expected) in [
            ("${PASSWORD}", Some("${PASSWORD}")),
            ("a $ b ${DB_1} c", Some("${DB_1}")),
            ("$(cat key)", Some("$(cat key)")),
            ("${name}", None),
            ("${}", None),
            ("$5.00 ${", None),
            ("^a$", None),
        ] {
            assert_eq!(variable(text), expected, "{text}");
        }
    }
}
