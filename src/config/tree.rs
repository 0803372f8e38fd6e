//! What the YAML says, as a tree whose every value knows its place. Which type a value has is for the key to decide.

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

/// How deep a value may stand: reading goes one call deeper for each level. No key stands deeper than 7.
const DEPTH: usize = 16;

const TOO_DEEP: &str = "this stands too many levels deep; no key is as deep as that";

/// How many values aliases may stand for, all together: a thousand modules that share a block of fifty stay below, and a bomb is
/// refused within a tenth of a second.
const ALIASED: usize = 50_000;

/// A value and its place: that of its key where it is a block, a list or nothing, so that a problem shows the key.
#[derive(Debug)]
pub(super) struct Node {
    pub location: Location,
    pub kind: NodeKind,
}

#[derive(Debug)]
pub(super) enum NodeKind {
    /// Nothing, `null` or `~`: leaves a default in place.
    Nothing,
    /// One value, as written.
    Text(String),
    /// One value that `!!binary` gave and that is no text.
    Bytes(Vec<u8>),
    /// A list.
    List(Vec<Node>),
    /// Keys and their values, in the order written; what `<<` merges in comes last.
    Block(Vec<(KeyNode, Node)>),
}

/// A key and its place.
#[derive(Debug)]
pub(super) struct KeyNode {
    pub name: String,
    pub location: Location,
}

impl NodeKind {
    /// What it is, after "not".
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Text(_) | Self::Bytes(_) => "one value",
            Self::List(_) => "a list",
            Self::Block(_) => "a block of keys",
        }
    }
}

/// Reads the first document of a text, as the peer does. Merges and aliases are resolved; no key stands twice.
pub(super) fn parse(text: &str) -> Result<Node, ConfigIssue> {
    let mut raw = None;
    let read = serde_yaml::with_deserializer_from_str_with_options(text, options(), |deserializer| {
        raw = Some(Raw::deserialize(deserializer)?);
        Ok(())
    });
    match (read, raw) {
        // The peer does not look at later documents either.
        (Ok(()) | Err(serde_yaml::Error::MultipleDocuments { .. }), Some(raw)) => node(raw, text, ""),
        (Err(error), _) => Err(issue_of(&error, text)),
        (Ok(()), None) => Err(Location::START.issue("", "the file is empty")),
    }
}

/// Takes out the value or the key at which a problem stands; gives whether there was one.
pub(super) fn take_out(root: &mut Node, issue: &ConfigIssue) -> bool {
    let location = Location {
        line: issue.line,
        column: issue.column,
    };
    match &mut root.kind {
        NodeKind::Block(entries) => {
            let before = entries.len();
            // The innermost first: what stands in a block may share its place.
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
    // Duplicates are refused below, where the first one's place is known.
    options.duplicate_keys = DuplicateKeyPolicy::PassThrough;
    options.non_finite_float_policy = NonFiniteFloatPolicy::PassThrough;
    options.ignore_binary_tag_for_string = true;
    options.alias_limits.max_total_replayed_events = ALIASED;
    if let Some(budget) = &mut options.budget {
        budget.max_depth = DEPTH;
        budget.flow_nesting_limit = DEPTH;
        // One anchor that thousands of modules use is how large files are written.
        budget.enforce_alias_anchor_ratio = false;
        budget.max_merge_keys = ALIASED;
    }
    options
}

/// A value as the library gives it.
type Raw = Spanned<Tagged<RawKind>>;

enum RawKind {
    Nothing,
    /// The library took it for a number or a boolean, and would write it so.
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
    /// How deep the reading is. The library counts what is written only: aliases of aliases go deeper.
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

/// `path` is the key under which the value stands.
fn node(raw: Raw, source: &str, path: &str) -> Result<Node, ConfigIssue> {
    let location = location_of(raw.defined);
    let written = written(&raw, source).map(str::to_owned);
    let Tagged(kind, tag) = raw.value;
    let kind = match kind {
        RawKind::Nothing => NodeKind::Nothing,
        RawKind::Resolved(resolved) => NodeKind::Text(written.unwrap_or(resolved)),
        RawKind::Text(text) if tag.as_deref() == Some("tag:yaml.org,2002:binary") => {
            binary(&text).ok_or_else(|| location.issue(path, "what follows !!binary must be base64"))?
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
            let words = format!("this key stands already at {first}; write it once");
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
        // As Go reads it into a map of texts.
        NodeKind::Nothing => Ok(KeyNode {
            name: String::new(),
            location,
        }),
        other => {
            let words = format!("a key must be a name, not {}", other.name());
            Err(location.issue(path, words))
        }
    }
}

/// The dotted key of something below a key.
pub(super) fn below(path: &str, key: &str) -> String {
    let key = shown(key);
    if path.is_empty() {
        key.into_owned()
    } else {
        format!("{path}.{key}")
    }
}

/// A key as messages show it. In `{password:word}` all of it is the key: what follows the colon may be a secret.
pub(super) fn shown(key: &str) -> Cow<'_, str> {
    match key.split_once(':') {
        Some((name, _)) => format!("{name}:…").into(),
        None => key.into(),
    }
}

/// A plain value's own characters: `1.10` is not the number 1.1 where a text is wanted.
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

/// The library's error in words for whoever wrote the file.
fn issue_of(error: &serde_yaml::Error, source: &str) -> ConfigIssue {
    use serde_yaml::Error as E;
    let words = match error.without_snippet() {
        E::AliasError { error, .. } => return issue_of(error, source),
        E::UnknownAnchor { .. } => {
            "no value above has the anchor that this alias names; write &name before the value".to_owned()
        }
        E::RecursiveReferencesRequireWeakTypes { .. } => "an anchor cannot hold itself".to_owned(),
        E::AliasReplayLimitExceeded { location, .. } => {
            let words = format!("the aliases stand for more than {ALIASED} values; write fewer of them");
            return location_of(*location).issue("", words);
        }
        E::MergeValueNotMapOrSeqOfMaps { .. } => "<< takes a block of keys, or a list of such blocks".to_owned(),
        E::Budget { breach, .. } => match breach {
            BudgetBreach::Depth { .. } => TOO_DEEP.to_owned(),
            _ => "the file is too large".to_owned(),
        },
        E::InvalidScalar { .. } | E::TaggedScalarCannotDeserializeIntoString { .. } | E::UnsupportedTag { .. } => {
            "the value is not what its tag says; leave the tag out".to_owned()
        }
        E::ExternalMessage { msg, .. } if msg.contains("recursion limit") => TOO_DEEP.to_owned(),
        E::Message { msg, .. } => msg.clone(),
        other => not_yaml(other),
    };
    let location = error.location().map_or(Location::START, location_of);
    location.issue(key_on(source, location), words)
}

/// What mostly stands behind the parser's words.
const HINTS: [(&str, &str); 5] = [
    (
        "mapping values are not allowed",
        "put a text that holds a colon in quotes",
    ),
    (
        "did not find expected key",
        "see that the lines of a block begin in the same column",
    ),
    ("tabs disallowed", "indent with spaces"),
    ("unclosed quote", "end the text with the quote that began it"),
    ("mismatched bracket", "close what was opened last"),
];

fn not_yaml(error: &serde_yaml::Error) -> String {
    let words = error.to_string();
    // The library ends its message with the place, which stands in front of ours.
    let words = words.split(" at line ").next().unwrap_or_default();
    match HINTS.iter().find(|(said, _)| words.contains(said)) {
        Some((_, hint)) => format!("this is not YAML: {words}; {hint}"),
        None => format!("this is not YAML: {words}"),
    }
}

/// The key on a line, where there is one: what is no YAML has no path.
fn key_on(source: &str, location: Location) -> &str {
    let line = usize::try_from(location.line).ok().and_then(|line| line.checked_sub(1));
    let key = line
        .and_then(|line| source.lines().nth(line))
        .and_then(|line| line.split_once(':'))
        .map_or("", |(key, _)| key.trim_start_matches([' ', '-']).trim_end());
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if key.chars().all(is_name) { key } else { "" }
}
