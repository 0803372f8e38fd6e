//! Reads values of the types that keys have from the tree. What does not fit is refused in words for who wrote it.

use super::issue::{ConfigIssue, Location};
use super::tree::{Node, NodeKind, below};
use crate::metrics::Level;
use crate::secret::{MASK, Secret};
use serde::{Serialize, Serializer};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;

/// What can be read from the tree. `path` is the dotted key under which the value stands.
pub(super) trait Read: Sized {
    /// Reads it, or says what is wrong.
    fn read(node: &Node, path: &str) -> Result<Self, ConfigIssue>;
}

/// A value that knows its place in the text.
#[derive(Clone, Debug)]
pub(super) struct Spanned<T> {
    pub value: T,
    pub location: Location,
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

/// The bytes of a request's body, which may hold secrets.
#[derive(Clone, Default)]
pub(super) struct ConfiguredBody(pub Vec<u8>);

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

/// What a token's assertion says beside the usual. It may be anybody's business: it is masked.
#[derive(Clone, Default)]
pub(super) struct Claims(pub serde_json::Map<String, Value>);

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

/// A value as JSON has it. What reads like a number or a boolean is one: the tree no longer knows which texts had quotes.
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
    /// The one value as text. A value may be a secret: no message repeats it, but those that know better.
    fn text(&self, path: &str) -> Result<&str, ConfigIssue> {
        match &self.kind {
            NodeKind::Text(text) => Ok(text),
            NodeKind::Nothing => Ok(""),
            NodeKind::Bytes(_) => {
                let words = "these bytes are no text; only a body may hold what is none";
                Err(self.location.issue(path, words))
            }
            other => {
                let words = format!("must be one value, not {}", other.name());
                Err(self.location.issue(path, words))
            }
        }
    }

    /// The entries of a list, none of them empty.
    fn list(&self, path: &str) -> Result<&[Self], ConfigIssue> {
        let NodeKind::List(entries) = &self.kind else {
            let words = format!(
                "must be a list, not {}; write \"- \" before each entry",
                self.kind.name()
            );
            return Err(self.location.issue(path, words));
        };
        match entries.iter().find(|entry| matches!(entry.kind, NodeKind::Nothing)) {
            Some(empty) => {
                let words = "this entry of the list is empty; give it a value or leave it out";
                Err(empty.location.issue(path, words))
            }
            None => Ok(entries),
        }
    }

    /// The keys of a block and their values; none where nothing is written.
    pub fn block(&self, path: &str) -> Result<&[(super::tree::KeyNode, Self)], ConfigIssue> {
        match &self.kind {
            NodeKind::Block(entries) => Ok(entries),
            NodeKind::Nothing => Ok(&[]),
            other => {
                let words = format!(
                    "must be a block of keys, not {}; write them below, further in",
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
            _ => Err(node.location.issue(
                path,
                format!("{text:?} is neither true nor false; write one of the two"),
            )),
        }
    }
}

impl Read for i64 {
    fn read(node: &Node, path: &str) -> Result<Self, ConfigIssue> {
        let text = node.text(path)?;
        whole_number(text).ok_or_else(|| {
            let words = format!("{text:?} is no whole number; write one such as 200");
            node.location.issue(path, words)
        })
    }
}

impl Read for f64 {
    fn read(node: &Node, path: &str) -> Result<Self, ConfigIssue> {
        let text = node.text(path)?;
        text.replace('_', "").parse().map_err(|_| {
            let words = format!("{text:?} is no number; write one such as 0.25");
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
                format!("{other:?} is no level of metrics; write blackbox, standard or full"),
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

/// A whole number as Go's YAML takes it: `200`, `0xc8`, `0o310`, `0310`, `0b11`, `1_000`, and `200.0` too.
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
    // The standard library would take a second sign.
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
    /// Beyond this, not every whole number is a float.
    const LARGEST: f64 = 9_007_199_254_740_992.0;
    let number: f64 = digits.parse().ok()?;
    #[allow(clippy::cast_possible_truncation, reason = "checked to be whole and small")]
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
