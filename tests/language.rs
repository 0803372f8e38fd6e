//! Checks documents, help texts, messages, comments and examples for phrases that are hard to read, and the packages for
//! types with the same name.

#![allow(clippy::unwrap_used, reason = "an unexpected error fails the test")]

use regex::Regex;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A forbidden phrase.
struct Phrase {
    /// Name in the report of the test.
    name: &'static str,
    /// Case-insensitive regular expression. A space matches any white space.
    pattern: &'static str,
    /// Regular expression for matches that are allowed.
    unless: Option<&'static str>,
    /// Path prefixes of the files that may use the phrase.
    allowed_in: &'static [&'static str],
}

const PHRASES: &[Phrase] = &[
    Phrase {
        name: "is no X",
        pattern: r"\b(\w+ )?(is|are) no\b( \w+)?( \w+)?",
        unless: Some(r"^there |\bno longer\b|\bno (more|less|later|earlier|older|fewer) than\b"),
        allowed_in: &[],
    },
    phrase("what stands behind", r"\bwhat stands behind\b"),
    phrase("whoever", r"\bwhoever\b"),
    Phrase {
        // In socket code, a peer is the remote end of a socket.
        allowed_in: &[
            "crates/glassbox-probe/src/check",
            "crates/glassbox-probe/src/probers",
            "crates/glassbox-probe/src/target",
            "src/server",
        ],
        ..phrase("the peer", r"\bthe peer('s)?\b")
    },
    phrase("our side", r"\b(our|own) side\b"),
    phrase("in vain", r"\bin vain\b"),
    phrase("says nothing", r"\bsays nothing\b"),
    phrase("good answer", r"\bgood answers?\b"),
    phrase("who asks", r"\bwho asks\b"),
    phrase("beside the edge", r"\bbeside the edge\b"),
    phrase("for want of", r"\bfor want of\b"),
    phrase("but for", r"\bbut for\b"),
    Phrase {
        unless: Some(r"\bis well-(formed|known)\b"),
        ..phrase("is well", r"\bis well\b(-\w+)?")
    },
    phrase("at most, last in its sentence", r"\bat most([.;:)](\s|$)|$)"),
];

const fn phrase(name: &'static str, pattern: &'static str) -> Phrase {
    Phrase {
        name,
        pattern,
        unless: None,
        allowed_in: &[],
    }
}

/// Maximum characters of a line in a document. Tables and lines with a link may be longer.
const LONGEST_LINE: usize = 120;

/// Files that are not checked. This file quotes the phrases.
const NOT_READ: [&str; 1] = ["tests/language.rs"];

const FOLDERS: [&str; 7] = ["crates", "src", "tests", "benches", "docs", "examples", "dashboards"];

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every text file of the project, by its relative path.
fn files() -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    let mut folders: Vec<PathBuf> = FOLDERS.iter().map(|folder| project().join(folder)).collect();
    let mut take = |path: PathBuf| {
        let name = path.strip_prefix(project()).unwrap().to_str().unwrap().to_owned();
        let kind = path.extension().and_then(|extension| extension.to_str());
        let is_text = matches!(
            kind,
            Some("rs" | "md" | "yml" | "yaml" | "json" | "conf" | "service" | "socket")
        );
        if is_text && !NOT_READ.contains(&name.as_str()) {
            files.insert(name, fs::read_to_string(path).unwrap());
        }
    };
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let is_ours = !path.ends_with("node_modules") && !path.ends_with("fixtures") && !path.ends_with("recorded");
            match path.is_dir() {
                true if is_ours => folders.push(path),
                true => {}
                false => take(path),
            }
        }
    }
    for entry in fs::read_dir(project()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            take(path);
        }
    }
    assert!(files.len() > 100, "too few files found");
    files
}

fn is_of(name: &str, kind: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension == kind)
}

/// The text of a file with paragraphs, comments and strings that span several lines joined to one line each.
fn sentences(name: &str, text: &str) -> String {
    if !is_of(name, "rs") {
        // An empty line ends a paragraph. Each table row and list item is a separate paragraph.
        let begins_anew = |line: &str| line.is_empty() || line.starts_with(['|', '-', '#', '`']);
        let mut joined = String::new();
        for line in text.lines() {
            let line = line.trim();
            joined.push(if begins_anew(line) { '\n' } else { ' ' });
            joined.push_str(line.trim_start_matches('#'));
        }
        return joined;
    }
    let mut joined = String::new();
    let (mut in_comment, mut in_string) = (false, false);
    for line in text.lines() {
        let line = line.trim();
        let comment = line
            .strip_prefix("///")
            .or_else(|| line.strip_prefix("//!"))
            .or_else(|| line.strip_prefix("//"));
        let goes_on = in_string || (in_comment && comment.is_some());
        joined.push(if goes_on { ' ' } else { '\n' });
        joined.push_str(comment.unwrap_or(line).trim().trim_end_matches('\\'));
        in_comment = comment.is_some_and(|comment| !comment.trim().is_empty());
        in_string = comment.is_none() && line.ends_with('\\');
    }
    joined
}

/// A phrase with its compiled regular expressions.
struct Finder {
    phrase: &'static Phrase,
    wanted: Regex,
    right: Option<Regex>,
}

impl Finder {
    fn all() -> Vec<Self> {
        let ready = |phrase: &'static Phrase| Self {
            phrase,
            wanted: Regex::new(&format!("(?im){}", phrase.pattern.replace(' ', r"[ \t]+"))).unwrap(),
            right: phrase
                .unless
                .map(|unless| Regex::new(&format!("(?i){unless}")).unwrap()),
        };
        PHRASES.iter().map(ready).collect()
    }

    /// Number of forbidden occurrences of the phrase in a file.
    fn count(&self, name: &str, text: &str) -> usize {
        if self.phrase.allowed_in.iter().any(|start| name.starts_with(start)) {
            return 0;
        }
        let is_right = |found: &str| self.right.as_ref().is_some_and(|right| right.is_match(found));
        let found = self.wanted.find_iter(text);
        found.filter(|found| !is_right(found.as_str())).count()
    }
}

fn long_lines(text: &str) -> usize {
    let mut in_code = false;
    let is_long = |line: &&str| {
        in_code ^= line.starts_with("```");
        let is_free = in_code || line.starts_with('|') || line.contains("](") || line.contains("://");
        !is_free && line.chars().count() > LONGEST_LINE
    };
    text.lines().filter(is_long).count()
}

/// Public types that a file declares.
fn types(text: &str) -> Vec<String> {
    let before_tests = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    let declared = Regex::new(r"(?m)^\s*pub(?:\([a-z: ]+\))? (?:struct|enum|trait|type) (\w+)").unwrap();
    declared
        .captures_iter(before_tests)
        .map(|found| found[1].to_owned())
        .collect()
}

/// Number of violations for each file and phrase.
fn faults() -> BTreeMap<(String, String), usize> {
    let finders = Finder::all();
    let mut faults = BTreeMap::new();
    let mut places: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (name, text) in files() {
        let joined = sentences(&name, &text);
        for finder in &finders {
            faults.insert(
                (name.clone(), finder.phrase.name.to_owned()),
                finder.count(&name, &joined),
            );
        }
        if is_of(&name, "md") {
            faults.insert((name.clone(), "long lines".to_owned()), long_lines(&text));
        }
        if name.starts_with("src/") || name.starts_with("crates/") {
            for declared in types(&text) {
                places.entry(declared).or_default().insert(name.clone());
            }
        }
    }
    for (declared, files) in places.into_iter().filter(|(_, files)| files.len() > 1) {
        faults.insert(("src".to_owned(), format!("type {declared}")), files.len());
    }
    faults.retain(|_, times| *times > 0);
    faults
}

#[test]
fn no_forbidden_phrase_appears() {
    let list = |text: String, ((file, phrase), times): (&(String, String), &usize)| {
        text + &format!("{file}: {phrase}, {times} times\n")
    };
    let found = faults();
    assert!(found.is_empty(), "{}", found.iter().fold(String::new(), list));
}

#[test]
fn each_phrase_is_found_without_false_positives() {
    let finders = Finder::all();
    let found = |text: &str| -> Vec<&str> {
        let joined = sentences("crates/x/src/policy.rs", text);
        let is_there = |finder: &&Finder| finder.count("docs/x.md", &joined) > 0;
        finders
            .iter()
            .filter(is_there)
            .map(|finder| finder.phrase.name)
            .collect()
    };
    for (text, name) in [
        ("// That is no duration.", "is no X"),
        ("/// They are\n/// no hosts.", "is no X"),
        ("\"the value is \\\n no number\"", "is no X"),
        ("// what stands behind it", "what stands behind"),
        ("// Whoever asks", "whoever"),
        ("// The peer's flags", "the peer"),
        ("// on our side", "our side"),
        ("// It asks in vain.", "in vain"),
        ("// A status says nothing of it.", "says nothing"),
        ("// the last good answer", "good answer"),
        ("// depends on who asks", "who asks"),
        ("// what is asked beside the edge", "beside the edge"),
        ("// for want of files", "for want of"),
        ("// all but for one", "but for"),
        ("// The hop is well.", "is well"),
        ("// So many, at most.", "at most, last in its sentence"),
        ("// So many at most\nfn f() {}", "at most, last in its sentence"),
    ] {
        assert_eq!(found(text), [name], "{text}");
    }
    for text in [
        "// There is no such host.",
        "// there are no hosts",
        "// It is no longer there, and is no more than that.",
        "// A name that is well-known and is well-formed.",
        "// at most 10 MiB",
        "// peer address",
        "// is nothing",
    ] {
        assert_eq!(found(text), [""; 0], "{text}");
    }
}

#[test]
fn only_long_lines_of_prose_count() {
    let long = "word ".repeat(30);
    assert_eq!(long_lines(&long), 1);
    for free in [
        format!("| {long} |"),
        format!("[{long}](a.md)"),
        format!("```\n{long}\n```"),
    ] {
        assert_eq!(long_lines(&free), 0, "{free}");
    }
}
