//! Intended differences: lines of `case | series | reason`. `*` in the first two columns matches any text. A line that
//! matches no difference is stale and fails the test.

use std::collections::BTreeSet;

/// Differences from every version of `blackbox_exporter`.
const ALWAYS: &str = include_str!("differences.txt");

/// Differences from `blackbox_exporter` before 0.28.
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
    /// The differences that apply to a version of `blackbox_exporter`.
    pub fn known(version: &str) -> Self {
        let lines = |list: &'static str| list.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let old = !version.starts_with("0.28");
        // Some differences from 0.28 do not exist with an older version, so their lines count as used.
        let always = lines(ALWAYS).map(|text| line(text, old));
        let before = lines(BEFORE_0_28).filter(|_| old).map(|text| line(text, false));
        Self {
            lines: always.chain(before).collect(),
            cases: BTreeSet::new(),
        }
    }

    /// Whether a line matches a difference.
    pub fn explain(&mut self, case: &str, series: &str) -> bool {
        let mut fitting = self
            .lines
            .iter_mut()
            .filter(|line| fits(&line.case, case) && fits(&line.series, series));
        let Some(line) = fitting.next() else {
            return false;
        };
        line.used = true;
        // A line for all cases does not make this case a special one.
        if line.case != ["", ""] {
            self.cases.insert(case.to_owned());
        }
        true
    }

    /// Number of cases with a listed difference.
    pub fn explained_cases(&self) -> usize {
        self.cases.len()
    }

    /// Lines that match no difference.
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
    assert!(reason.len() > 20, "a listed difference needs a reason: {text}");
    Line {
        case,
        series,
        text,
        used,
    }
}

/// Whether a text matches a pattern. The pattern is given as the parts between its stars.
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
