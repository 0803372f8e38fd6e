//! Error messages for unknown keys, with a hint on the intended key or on the block where the key belongs.

use super::BLOCKS;
use crate::config::issue::ConfigIssue;
use crate::config::tree::KeyNode;
use strsim::levenshtein;

/// Module keys of development versions and their replacements.
const MOVED: [(&str, &str); 4] = [
    ("hops", "backends"),
    ("drill", "diagnostics.backends"),
    ("bypass_cache", "diagnostics.cache_bypass"),
    ("reference_request", "diagnostics.reference_request"),
];

/// Creates the issue for an unknown key. `path` is the dotted path of the key.
pub(super) fn unknown(key: &KeyNode, path: &str, known: &[&str]) -> ConfigIssue {
    let elsewhere = BLOCKS
        .iter()
        .find(|(_, keys)| keys.iter().any(|other| plain(other) == key.name));
    let moved = MOVED.iter().find(|(old, _)| *old == key.name);
    let words = match (moved, nearest(&key.name, known), elsewhere) {
        _ if key.name.contains(':') => "unknown key; write a space after the colon".to_owned(),
        (Some((_, new)), ..) => format!("unknown key; use {new} instead"),
        (None, Some(meant), _) => format!("unknown key; did you mean {meant}?"),
        (None, None, Some((block, _))) => format!("unknown key; it belongs under {block}"),
        (None, None, None) => format!("unknown key: expected one of {}", listed(known)),
    };
    key.location.issue(path, words)
}

/// The name of the key in the file. Rust requires the prefix in `r#type`.
pub(super) fn plain(field: &str) -> &str {
    field.trim_start_matches("r#")
}

fn listed(known: &[&str]) -> String {
    let mut names: Vec<_> = known.iter().map(|name| plain(name)).collect();
    names.sort_unstable();
    names.join(", ")
}

/// The known key that differs from `name` only by a typo, if there is one.
fn nearest<'k>(name: &str, known: &[&'k str]) -> Option<&'k str> {
    let folded = fold(name);
    let most = (folded.chars().count() / 4).clamp(1, 3);
    known
        .iter()
        .map(|key| (levenshtein(&folded, &fold(plain(key))), plain(key)))
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
        let known = ["method", "headers", "valid_status_codes", "follow_redirects", "r#type"];
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
