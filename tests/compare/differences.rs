//! What differs on purpose: lines of `case | series | reason`, where `*` in the first two stands for anything. A line that
//! explains nothing is stale, and fails the test.

use std::collections::BTreeSet;

/// Where we are right, or cannot tell.
const ALWAYS: &str = include_str!("differences.txt");

/// What the peer itself did otherwise before 0.28.
const BEFORE_0_28: &str = include_str!("differences-0.23.txt");

struct Line {
    case: Vec<&'static str>,
    series: Vec<&'static str>,
    text: &'static str,
    used: bool,
}

pub struct Differences {
    lines: Vec<Line>,
    cases: BTreeSet<String>,
}

impl Differences {
    /// The lists that hold for a version of the peer.
    pub fn known(version: &str) -> Self {
        let lines = |list: &'static str| list.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let old = !version.starts_with("0.28");
        // Not everything that differs from 0.28 does from an older one.
        let always = lines(ALWAYS).map(|text| line(text, old));
        let before = lines(BEFORE_0_28).filter(|_| old).map(|text| line(text, false));
        Self {
            lines: always.chain(before).collect(),
            cases: BTreeSet::new(),
        }
    }

    /// Whether a line explains a difference.
    pub fn explain(&mut self, case: &str, series: &str) -> bool {
        let mut fitting = self
            .lines
            .iter_mut()
            .filter(|line| fits(&line.case, case) && fits(&line.series, series));
        let Some(line) = fitting.next() else {
            return false;
        };
        line.used = true;
        // What holds for every case says nothing of this one.
        if line.case != ["", ""] {
            self.cases.insert(case.to_owned());
        }
        true
    }

    /// How many cases have a difference that is explained.
    pub fn explained_cases(&self) -> usize {
        self.cases.len()
    }

    /// Lines that explain nothing.
    pub fn unused(&self) -> Vec<&'static str> {
        self.lines
            .iter()
            .filter(|line| !line.used)
            .map(|line| line.text)
            .collect()
    }
}

fn line(text: &'static str, used: bool) -> Line {
    let mut parts = text.splitn(3, '|').map(str::trim);
    let mut pattern = || parts.next().unwrap_or_default().split('*').collect();
    let (case, series) = (pattern(), pattern());
    let reason = parts.next().unwrap_or_default();
    assert!(reason.len() > 20, "a difference needs a reason: {text}");
    Line {
        case,
        series,
        text,
        used,
    }
}

/// Whether a text fits a pattern, given as what stands between its stars.
fn fits(pattern: &[&str], text: &str) -> bool {
    let [first, inner @ .., last] = pattern else {
        return pattern == [text];
    };
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    for part in inner {
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}
