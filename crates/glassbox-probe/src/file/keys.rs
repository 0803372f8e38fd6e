//! Error messages for unknown keys, with a hint on the intended key.

use super::issue::{ConfigIssue, Location, UnknownKey};
use super::tree::{KeyNode, Node, NodeKind};
use strsim::levenshtein;

/// Creates the issue for an unknown key. `path` is the dotted path of the key.
#[must_use]
pub fn unknown(key: &KeyNode, path: &str, known: &[&str]) -> ConfigIssue {
    let meant = nearest(&key.name, known);
    let words = match meant {
        _ if key.name.contains(':') => "unknown key; write a space after the colon".to_owned(),
        Some(meant) => format!("unknown key; did you mean {meant}?"),
        None => format!("unknown key: expected one of {}", listed(known)),
    };
    ConfigIssue {
        unknown: Some(UnknownKey {
            name: key.name.clone(),
            is_explained: meant.is_some() || key.name.contains(':'),
        }),
        ..key.location.issue(path, words)
    }
}

/// Rejects a key that is known but not supported, unless its value is null.
///
/// # Errors
/// If the key has a value.
pub fn refuse_unserved(location: Location, value: &Node, path: &str) -> Result<(), ConfigIssue> {
    if matches!(value.kind, NodeKind::Nothing) {
        return Ok(());
    }
    let key = path.rsplit('.').next().unwrap_or(path);
    let words = match key.strip_suffix("_ref") {
        // blackbox_exporter accepts these keys, and then every probe of the module fails.
        Some(key) => format!("secret managers are not supported; use {key}_file or {key}"),
        None => format!("this version cannot configure the diagnostic {key}; remove the key"),
    };
    Err(location.issue(path, words))
}

/// The name of the key in the file. Rust requires the prefix in `r#type`.
#[must_use]
pub fn plain(field: &str) -> &str {
    field.trim_start_matches("r#")
}

fn listed(known: &[&str]) -> String {
    let mut names = known.to_vec();
    names.sort_unstable();
    names.join(", ")
}

/// The known key that differs from `name` only by a typo, if there is one.
fn nearest<'k>(name: &str, known: &[&'k str]) -> Option<&'k str> {
    let folded = fold(name);
    let most = (folded.chars().count() / 4).clamp(1, 3);
    known
        .iter()
        .map(|key| (levenshtein(&folded, &fold(key)), *key))
        .filter(|(distance, _)| *distance <= most)
        .min()
        .map(|(_, key)| key)
}

fn fold(name: &str) -> String {
    let letters = name.chars().filter(|c| !matches!(c, '_' | '-'));
    // No known key is longer.
    letters.flat_map(char::to_lowercase).take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_slip_of_the_hand_finds_its_key() {
        let known = ["method", "headers", "valid_status_codes", "follow_redirects", "type"];
        for (written, meant) in [
            ("valid_status_code", Some("valid_status_codes")),
            ("validStatusCodes", Some("valid_status_codes")),
            ("Method", Some("method")),
            ("header", Some("headers")),
            ("follow-redirect", Some("follow_redirects")),
            ("typ", Some("type")),
            ("body", None),
            ("", None),
        ] {
            assert_eq!(nearest(written, &known), meant, "{written}");
        }
    }
}
