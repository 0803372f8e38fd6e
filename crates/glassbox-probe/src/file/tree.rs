//! Parses YAML into a tree of values with locations. The type of a value depends on its key and is decided later.

use super::issue::{ConfigIssue, Location};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_yaml::budget::BudgetBreach;
use serde_yaml::{DuplicateKeyPolicy, NonFiniteFloatPolicy, Options, Spanned, Tagged};
use std::borrow::Cow;
use std::cell::Cell;
use std::collections::HashMap;
use std::fmt;

/// Maximum nesting depth. It bounds the recursion, which needs one call per level. No key is nested deeper than 7
/// levels.
const DEPTH: usize = 16;

const TOO_DEEP: &str = "nested too deeply: no key needs this many levels";

/// Maximum total number of values that aliases expand to. 1,000 modules that share a mapping of 50 values stay within
/// the limit. An alias bomb is rejected within 100 ms.
const ALIASED: usize = 50_000;

/// A value and its location. A mapping, a list or a null has the location of its key, so that an error points at the
/// key.
#[derive(Debug)]
pub struct Node {
    /// The location.
    pub location: Location,
    /// The value.
    pub kind: NodeKind,
}

/// A value without its location.
#[derive(Debug)]
pub enum NodeKind {
    /// An absent value, `null` or `~`. The default applies.
    Nothing,
    /// A single value, as written in the file.
    Text(String),
    /// A `!!binary` value that is not valid UTF-8.
    Bytes(Vec<u8>),
    /// A list.
    List(Vec<Node>),
    /// A mapping in file order. Keys that `<<` merges in are last.
    Block(Vec<(KeyNode, Node)>),
}

/// A key and its location.
#[derive(Debug)]
pub struct KeyNode {
    /// The name.
    pub name: String,
    /// The location.
    pub location: Location,
}

impl NodeKind {
    /// Description for error messages, after "got".
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Nothing => "null",
            Self::Text(_) | Self::Bytes(_) => "a single value",
            Self::List(_) => "a list",
            Self::Block(_) => "a mapping",
        }
    }
}

/// Parses the first YAML document. Merges and aliases are resolved. A duplicate key is an error.
///
/// # Errors
/// If the text is not YAML, or a key occurs twice.
pub fn parse(text: &str) -> Result<Node, ConfigIssue> {
    let mut raw = None;
    let read = serde_yaml::with_deserializer_from_str_with_options(text, options(), |deserializer| {
        raw = Some(Raw::deserialize(deserializer)?);
        Ok(())
    });
    match (read, raw) {
        // blackbox_exporter ignores later documents, too.
        (Ok(()) | Err(serde_yaml::Error::MultipleDocuments { .. }), Some(raw)) => node(raw, text, ""),
        (Err(error), _) => Err(issue_of(&error, text)),
        (Ok(()), None) => Err(Location::START.issue("", "the file is empty")),
    }
}

/// Removes the key or the value at the location of an issue. Returns whether anything was removed.
pub fn take_out(root: &mut Node, issue: &ConfigIssue) -> bool {
    let location = Location {
        line: issue.line,
        column: issue.column,
    };
    match &mut root.kind {
        NodeKind::Block(entries) => {
            let before = entries.len();
            // Innermost first: a value may have the same location as the mapping that contains it.
            if entries.iter_mut().any(|(_, value)| take_out(value, issue)) {
                return true;
            }
            entries.retain(|(key, value)| key.location != location && value.location != location);
            entries.len() < before
        }
        NodeKind::List(entries) => {
            let before = entries.len();
            if entries.iter_mut().any(|entry| take_out(entry, issue)) {
                return true;
            }
            entries.retain(|entry| entry.location != location);
            entries.len() < before
        }
        _ => false,
    }
}

fn options() -> Options {
    let mut options = Options::default();
    options.with_snippet = false;
    // `block` rejects duplicates, because it knows the location of the first key.
    options.duplicate_keys = DuplicateKeyPolicy::PassThrough;
    options.non_finite_float_policy = NonFiniteFloatPolicy::PassThrough;
    options.ignore_binary_tag_for_string = true;
    options.alias_limits.max_total_replayed_events = ALIASED;
    if let Some(budget) = &mut options.budget {
        budget.max_depth = DEPTH;
        budget.flow_nesting_limit = DEPTH;
        // In large files, thousands of modules may use the same anchor.
        budget.enforce_alias_anchor_ratio = false;
        budget.max_merge_keys = ALIASED;
    }
    options
}

/// A value as the YAML library returns it.
type Raw = Spanned<Tagged<RawKind>>;

enum RawKind {
    Nothing,
    /// A value that the library parsed as a number or a boolean, in the library's notation.
    Resolved(String),
    Text(String),
    List(Vec<Raw>),
    Block(Vec<(Raw, Raw)>),
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = RawKind;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<RawKind, E> {
        Ok(RawKind::Nothing)
    }

    fn visit_bool<E>(self, value: bool) -> Result<RawKind, E> {
        Ok(RawKind::Resolved(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<RawKind, E> {
        Ok(RawKind::Resolved(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<RawKind, E> {
        Ok(RawKind::Resolved(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<RawKind, E> {
        Ok(RawKind::Resolved(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<RawKind, E> {
        Ok(RawKind::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<RawKind, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = list.next_element()? {
            entries.push(entry);
        }
        Ok(RawKind::List(entries))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawKind, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(RawKind::Block(entries))
    }
}

thread_local! {
    /// Current depth. The library counts only the depth in the file, and aliases of aliases can be nested more deeply.
    static LEVEL: Cell<usize> = const { Cell::new(0) };
}

impl<'de> Deserialize<'de> for RawKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let level = LEVEL.get();
        if level > DEPTH {
            return Err(serde::de::Error::custom(TOO_DEEP));
        }
        LEVEL.set(level + 1);
        let read = deserializer.deserialize_any(RawVisitor);
        LEVEL.set(level);
        read
    }
}

/// Converts one of the library's values. `path` is the dotted key of the value.
fn node(raw: Raw, source: &str, path: &str) -> Result<Node, ConfigIssue> {
    let location = location_of(raw.defined);
    let written = written(&raw, source).map(str::to_owned);
    let Tagged(kind, tag) = raw.value;
    let kind = match kind {
        RawKind::Nothing => NodeKind::Nothing,
        RawKind::Resolved(resolved) => NodeKind::Text(written.unwrap_or(resolved)),
        RawKind::Text(text) if tag.as_deref() == Some("tag:yaml.org,2002:binary") => {
            binary(&text).ok_or_else(|| location.issue(path, "invalid !!binary value: expected base64"))?
        }
        RawKind::Text(text) => NodeKind::Text(text),
        RawKind::List(entries) => NodeKind::List(
            entries
                .into_iter()
                .map(|entry| node(entry, source, path))
                .collect::<Result<_, _>>()?,
        ),
        RawKind::Block(entries) => NodeKind::Block(block(entries, source, path)?),
    };
    Ok(Node { location, kind })
}

fn block(entries: Vec<(Raw, Raw)>, source: &str, path: &str) -> Result<Vec<(KeyNode, Node)>, ConfigIssue> {
    let mut block: Vec<(KeyNode, Node)> = Vec::with_capacity(entries.len());
    let mut places: HashMap<String, Location> = HashMap::new();
    for (key, value) in entries {
        let key = key_of(key, source, path)?;
        let path = below(path, &key.name);
        if let Some(first) = places.insert(key.name.clone(), key.location) {
            let words = format!("duplicate key: already set at {first}");
            return Err(key.location.issue(path, words));
        }
        let mut value = node(value, source, &path)?;
        if !matches!(value.kind, NodeKind::Text(_) | NodeKind::Bytes(_)) {
            value.location = key.location;
        }
        block.push((key, value));
    }
    Ok(block)
}

fn key_of(raw: Raw, source: &str, path: &str) -> Result<KeyNode, ConfigIssue> {
    let Node { location, kind } = node(raw, source, path)?;
    match kind {
        NodeKind::Text(name) => Ok(KeyNode { name, location }),
        // Go reads a null key into a map of strings as an empty string.
        NodeKind::Nothing => Ok(KeyNode {
            name: String::new(),
            location,
        }),
        other => {
            let words = format!("invalid key: expected a name, got {}", other.name());
            Err(location.issue(path, words))
        }
    }
}

/// Appends a key to a dotted path.
#[must_use]
pub fn below(path: &str, key: &str) -> String {
    let key = shown(key);
    if path.is_empty() {
        key.into_owned()
    } else {
        format!("{path}.{key}")
    }
}

/// A key as shown in error messages. The part after a colon is hidden: `{password:word}` is a single key that contains
/// a secret.
#[must_use]
pub fn shown(key: &str) -> Cow<'_, str> {
    match key.split_once(':') {
        Some((name, _)) => format!("{name}:…").into(),
        None => key.into(),
    }
}

/// The characters of a plain value in the file. Where a key expects text, `1.10` must not become 1.1.
fn written<'t>(raw: &Raw, source: &'t str) -> Option<&'t str> {
    let span = raw.defined.span();
    let start = usize::try_from(span.byte_offset()?).ok()?;
    let length = usize::try_from(span.byte_len()?).ok()?;
    let text = source.get(start..start.checked_add(length)?)?.trim();
    let plain = !text.is_empty() && !text.starts_with(['"', '\'', '|', '>', '!', '&']);
    plain.then_some(text)
}

fn binary(text: &str) -> Option<NodeKind> {
    let packed: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    let bytes = BASE64.decode(packed).ok()?;
    Some(match String::from_utf8(bytes) {
        Ok(text) => NodeKind::Text(text),
        Err(error) => NodeKind::Bytes(error.into_bytes()),
    })
}

fn location_of(location: serde_yaml::Location) -> Location {
    Location {
        line: location.line(),
        column: location.column(),
    }
}

/// Converts an error of the YAML library to a readable issue.
fn issue_of(error: &serde_yaml::Error, source: &str) -> ConfigIssue {
    use serde_yaml::Error as E;
    let words = match error.without_snippet() {
        E::AliasError { error, .. } => return issue_of(error, source),
        E::UnknownAnchor { .. } => {
            "undefined alias: no earlier value has this anchor; write &name before the value".to_owned()
        }
        E::RecursiveReferencesRequireWeakTypes { .. } => "recursive alias: an anchor cannot contain itself".to_owned(),
        E::AliasReplayLimitExceeded { location, .. } => {
            let words = format!("too many aliases: they expand to more than {ALIASED} values");
            return location_of(*location).issue("", words);
        }
        E::MergeValueNotMapOrSeqOfMaps { .. } => {
            "invalid merge key <<: expected a mapping or a list of mappings".to_owned()
        }
        E::Budget { breach, .. } => match breach {
            BudgetBreach::Depth { .. } => TOO_DEEP.to_owned(),
            _ => "the file is too large".to_owned(),
        },
        E::InvalidScalar { .. } | E::TaggedScalarCannotDeserializeIntoString { .. } | E::UnsupportedTag { .. } => {
            "the value does not match its YAML tag; remove the tag".to_owned()
        }
        E::ExternalMessage { msg, .. } if msg.contains("recursion limit") => TOO_DEEP.to_owned(),
        E::Message { msg, .. } => msg.clone(),
        other => not_yaml(other),
    };
    let location = error.location().map_or(Location::START, location_of);
    location.issue(key_on(source, location), words)
}

/// Hints on the usual causes of parser errors: a part of the message and the hint.
const HINTS: [(&str, &str); 5] = [
    ("mapping values are not allowed", "quote text that contains a colon"),
    (
        "did not find expected key",
        "check that all keys of a mapping have the same indentation",
    ),
    ("tabs disallowed", "indent with spaces"),
    ("unclosed quote", "close the text with the same kind of quote"),
    ("mismatched bracket", "close the most recent bracket first"),
];

fn not_yaml(error: &serde_yaml::Error) -> String {
    let words = error.to_string();
    // The library appends the location. The issue already begins with it.
    let words = words.split(" at line ").next().unwrap_or_default();
    match HINTS.iter().find(|(said, _)| words.contains(said)) {
        Some((_, hint)) => format!("invalid YAML: {words}; {hint}"),
        None => format!("invalid YAML: {words}"),
    }
}

/// The key on a line, or an empty string. Invalid YAML has no dotted path.
fn key_on(source: &str, location: Location) -> &str {
    let line = usize::try_from(location.line).ok().and_then(|line| line.checked_sub(1));
    let key = line
        .and_then(|line| source.lines().nth(line))
        .and_then(|line| line.split_once(':'))
        .map_or("", |(key, _)| key.trim_start_matches([' ', '-']).trim_end());
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if key.chars().all(is_name) { key } else { "" }
}
