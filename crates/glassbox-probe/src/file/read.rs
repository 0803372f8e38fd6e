//! Reads typed values from the YAML tree. An error describes what was expected.

use super::issue::{ConfigIssue, Location};
use super::tree::{Node, NodeKind, below};
use crate::metrics::Level;
use crate::secret::{MASK, Secret};
use serde::{Serialize, Serializer};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;

/// A type that can be read from the tree. `path` is the dotted key of the value.
pub trait Read: Sized {
    /// Reads the value of a node.
    ///
    /// # Errors
    /// If the node is not a valid value of this type.
    fn read(node: &Node, path: &str) -> Result<Self, ConfigIssue>;
}

/// A value with its location in the file.
#[derive(Clone, Debug)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// The location of the value, or of its key.
    pub location: Location,
}

/// Creates an issue for the value of `key` below `path`.
pub fn at<T>(value: &Spanned<T>, path: &str, key: &str, words: impl fmt::Display) -> ConfigIssue {
    value.location.issue(below(path, key), words)
}

/// The value of a key, unless it is absent or empty.
#[must_use]
pub fn filled(written: Option<&Spanned<String>>) -> Option<&Spanned<String>> {
    written.filter(|written| !written.value.is_empty())
}

impl<T: Read> Read for Spanned<T> {
    fn read(node: &Node, path: &str) -> Result<Self, ConfigIssue> {
        Ok(Self {
            value: T::read(node, path)?,
            location: node.location,
        })
    }
}

impl<T: Serialize> Serialize for Spanned<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(serializer)
    }
}

/// The bytes of a request body. They are masked because they may contain secrets.
#[derive(Clone, Default)]
pub struct ConfiguredBody(pub Vec<u8>);

impl fmt::Debug for ConfiguredBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl Serialize for ConfiguredBody {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(MASK)
    }
}

/// Additional claims of the JWT assertion. They are masked because they may contain secrets.
#[derive(Clone, Default)]
pub struct Claims(pub serde_json::Map<String, Value>);

impl fmt::Debug for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl Serialize for Claims {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(MASK)
    }
}

impl Read for Claims {
    fn read(node: &Node, path: &str) -> Result<Self, ConfigIssue> {
        let entries = node.block(path)?.iter();
        let claims = entries.map(|(key, value)| Ok((key.name.clone(), json(value, &below(path, &key.name))?)));
        claims.collect::<Result<_, ConfigIssue>>().map(Self)
    }
}

/// Converts a node to JSON. A value that looks like a number or a boolean becomes one, because the tree does not record
/// which values were quoted.
fn json(node: &Node, path: &str) -> Result<Value, ConfigIssue> {
    Ok(match &node.kind {
        NodeKind::Nothing => Value::Null,
        NodeKind::Text(text) => match text.as_str() {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            _ => match text.parse::<serde_json::Number>() {
                Ok(number) => Value::Number(number),
                Err(_) => Value::String(text.clone()),
            },
        },
        NodeKind::Bytes(_) => Value::String(node.text(path)?.to_owned()),
        NodeKind::List(entries) => Value::Array(
            entries
                .iter()
                .map(|entry| json(entry, path))
                .collect::<Result<_, _>>()?,
        ),
        NodeKind::Block(entries) => {
            let entries = entries.iter();
            let fields = entries.map(|(key, value)| Ok((key.name.clone(), json(value, &below(path, &key.name))?)));
            Value::Object(fields.collect::<Result<_, ConfigIssue>>()?)
        }
    })
}

impl Node {
    /// The text of a single value. The errors do not quote the value because it may be a secret.
    fn text(&self, path: &str) -> Result<&str, ConfigIssue> {
        match &self.kind {
            NodeKind::Text(text) => Ok(text),
            NodeKind::Nothing => Ok(""),
            NodeKind::Bytes(_) => {
                let words = "expected UTF-8 text: only body, send and expect_bytes accept binary data";
                Err(self.location.issue(path, words))
            }
            other => {
                let words = format!("expected a single value, got {}", other.name());
                Err(self.location.issue(path, words))
            }
        }
    }

    /// The list entries. An empty entry is an error.
    fn list(&self, path: &str) -> Result<&[Self], ConfigIssue> {
        let NodeKind::List(entries) = &self.kind else {
            let words = format!(
                "expected a list, got {}; write \"- \" before each entry",
                self.kind.name()
            );
            return Err(self.location.issue(path, words));
        };
        match entries.iter().find(|entry| matches!(entry.kind, NodeKind::Nothing)) {
            Some(empty) => {
                let words = "empty list entry: set a value or remove the entry";
                Err(empty.location.issue(path, words))
            }
            None => Ok(entries),
        }
    }

    /// The keys and values of a mapping. A null node has none.
    ///
    /// # Errors
    /// If the node is not a mapping.
    pub fn block(&self, path: &str) -> Result<&[(super::tree::KeyNode, Self)], ConfigIssue> {
        match &self.kind {
            NodeKind::Block(entries) => Ok(entries),
            NodeKind::Nothing => Ok(&[]),
            other => {
                let words = format!(
                    "expected a mapping, got {}; write the keys below, with deeper indentation",
                    other.name()
                );
                Err(self.location.issue(path, words))
            }
        }
    }
}

impl Read for String {
    fn read(node: &Node, path: &str) -> Result<Self, ConfigIssue> {
        node.text(path).map(str::to_owned)
    }
}

impl Read for Secret {
    fn read(node: &Node, path: &str) -> Result<Self, ConfigIssue> {
        node.text(path).map(Self::new)
    }
}

impl Read for ConfiguredBody {
    fn read(node: &Node, path: &str) -> Result<Self, ConfigIssue> {
        match &node.kind {
            NodeKind::Bytes(bytes) => Ok(Self(bytes.clone())),
            _ => node.text(path).map(|text| Self(text.as_bytes().to_vec())),
        }
    }
}

impl Read for bool {
    fn read(node: &Node, path: &str) -> Result<Self, ConfigIssue> {
        let text = node.text(path)?;
        match text {
            "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "y" | "Y" => Ok(true),
            "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" | "n" | "N" => Ok(false),
            _ => Err(node
                .location
                .issue(path, format!("invalid boolean {text:?}: expected true or false"))),
        }
    }
}

impl Read for i64 {
    fn read(node: &Node, path: &str) -> Result<Self, ConfigIssue> {
        let text = node.text(path)?;
        whole_number(text).ok_or_else(|| {
            let words = format!("invalid integer {text:?}: expected a whole number such as 200");
            node.location.issue(path, words)
        })
    }
}

impl Read for f64 {
    fn read(node: &Node, path: &str) -> Result<Self, ConfigIssue> {
        let text = node.text(path)?;
        text.replace('_', "").parse().map_err(|_| {
            let words = format!("invalid number {text:?}: expected a value such as 0.25");
            node.location.issue(path, words)
        })
    }
}

impl Read for Level {
    fn read(node: &Node, path: &str) -> Result<Self, ConfigIssue> {
        match node.text(path)? {
            "blackbox" => Ok(Self::Blackbox),
            "standard" => Ok(Self::Standard),
            "full" => Ok(Self::Full),
            other => Err(node.location.issue(
                path,
                format!("invalid metrics level {other:?}: expected blackbox, standard or full"),
            )),
        }
    }
}

impl<T: Read> Read for Vec<T> {
    fn read(node: &Node, path: &str) -> Result<Self, ConfigIssue> {
        node.list(path)?.iter().map(|entry| T::read(entry, path)).collect()
    }
}

impl<T: Read> Read for BTreeMap<String, T> {
    fn read(node: &Node, path: &str) -> Result<Self, ConfigIssue> {
        let entries = node.block(path)?.iter().map(|(key, value)| {
            let value = T::read(value, &below(path, &key.name))?;
            Ok((key.name.clone(), value))
        });
        entries.collect()
    }
}

/// Parses an integer in the notations that Go's YAML library accepts: `200`, `0xc8`, `0o310`, `0310`, `0b11`, `1_000`
/// and `200.0`.
fn whole_number(text: &str) -> Option<i64> {
    const BASES: [(&str, u32); 7] = [
        ("0x", 16),
        ("0X", 16),
        ("0b", 2),
        ("0B", 2),
        ("0o", 8),
        ("0O", 8),
        ("0", 8),
    ];
    let digits = text.replace('_', "");
    let (negative, digits) = match digits.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, digits.strip_prefix('+').unwrap_or(&digits)),
    };
    // The standard library would accept a second sign.
    let unsigned = |digits: &str| !digits.starts_with(['+', '-']);
    let magnitude = BASES
        .iter()
        .find_map(|(prefix, base)| {
            let rest = digits.strip_prefix(prefix).filter(|rest| unsigned(rest))?;
            i64::from_str_radix(rest, *base).ok()
        })
        .or_else(|| digits.parse().ok())
        .or_else(|| whole_float(digits))
        .filter(|_| unsigned(digits))?;
    Some(if negative { -magnitude } else { magnitude })
}

fn whole_float(digits: &str) -> Option<i64> {
    /// 2^53. Above this value, a float cannot represent every integer.
    const LARGEST: f64 = 9_007_199_254_740_992.0;
    let number: f64 = digits.parse().ok()?;
    #[allow(
        clippy::cast_possible_truncation,
        reason = "the number is an integer of at most 2^53"
    )]
    (number.fract() == 0.0 && number.abs() <= LARGEST).then_some(number as i64)
}

#[cfg(test)]
mod tests {
    use super::whole_number;

    #[test]
    fn whole_numbers_are_gos() {
        for (text, number) in [
            ("200", 200),
            ("-1", -1),
            ("+7", 7),
            ("0", 0),
            ("0xC8", 200),
            ("0310", 200),
            ("0o310", 200),
            ("0b11", 3),
            ("1_000", 1000),
            ("200.0", 200),
            ("2e2", 200),
            ("089", 89),
        ] {
            assert_eq!(whole_number(text), Some(number), "{text}");
        }
        for wrong in [
            "",
            "-",
            "0x",
            "0x+1",
            "--1",
            "200.5",
            "2xx",
            "inf",
            "nan",
            "1e300",
            "9223372036854775808",
        ] {
            assert_eq!(whole_number(wrong), None, "{wrong}");
        }
    }
}
