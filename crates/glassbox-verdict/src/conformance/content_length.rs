//! The field Content-Length: its notations and repetitions.

use super::features::Features;
use super::message::{RawField, RawMessage, is_space};
use std::ops::Range;

/// What the fields Content-Length of the final response state.
pub(super) struct Lengths {
    /// The numbers of all lines. `None` if a line is not a number.
    pub numbers: Vec<Option<u64>>,
    /// The first line.
    pub at: Range<usize>,
    /// Offsets of all lines.
    pub starts: Vec<usize>,
}

impl Lengths {
    /// The stated length, if all lines agree.
    pub fn agreed(&self) -> Option<u64> {
        let first = (*self.numbers.first()?)?;
        self.numbers
            .iter()
            .all(|number| *number == Some(first))
            .then_some(first)
    }

    pub const fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }
}

pub(super) fn examine(message: &RawMessage<'_>, found: &mut Features) -> Lengths {
    let mut lengths = Lengths {
        numbers: Vec::new(),
        at: 0..0,
        starts: Vec::new(),
    };
    let Some(head) = &message.head else {
        return lengths;
    };
    let lines: Vec<_> = head.named(message.bytes, "content-length").collect();
    for line in &lines {
        let (number, rows) = notation(message, line);
        for row in rows {
            found.add(row, line.range());
        }
        lengths.numbers.push(number);
        lengths.starts.push(line.line.content.start);
    }
    if let Some(first) = lines.first() {
        lengths.at = first.range();
    }
    lengths
}

/// The number of a line, and the rows of its notation.
fn notation(message: &RawMessage<'_>, line: &RawField) -> (Option<u64>, Vec<&'static str>) {
    let (name, raw) = line.name_and_value(message.bytes).unwrap_or_default();
    let mut rows = Vec::new();
    if name.last().is_some_and(|byte| is_space(*byte)) {
        rows.push("cl-space-before-colon");
    }
    if !line.folds.is_empty() {
        rows.push("cl-folded");
    }
    if raw.contains(&0x0b) {
        rows.push("cl-vertical-tab");
    }
    let value = line.value(message.bytes);
    // `trim_ascii` does not remove vertical tabs.
    let value = String::from_utf8_lossy(&value);
    let value = value.trim_matches('\u{b}');
    let is_number = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    let row = if is_number {
        digits(value, raw)
    } else {
        Some(not_a_number(value))
    };
    rows.extend(row);
    let number = value.trim_start_matches('+').parse().ok();
    let listed = value.split(',').map(str::trim).map(str::parse::<u64>);
    let number = number.or_else(|| {
        let listed: Result<Vec<u64>, _> = listed.collect();
        let listed = listed.ok()?;
        let first = *listed.first()?;
        listed.iter().all(|number| *number == first).then_some(first)
    });
    (number, rows)
}

fn digits(value: &str, raw: &[u8]) -> Option<&'static str> {
    match value.parse::<u64>() {
        Err(_) => Some("cl-beyond-64-bits"),
        Ok(number) if number > i64::MAX as u64 => Some("cl-beyond-63-bits"),
        Ok(_) if value.len() > 1 && value.starts_with('0') => Some("valid-cl-zeros"),
        Ok(_) => raw
            .last()
            .is_some_and(|byte| is_space(*byte))
            .then_some("valid-cl-trailing-space"),
    }
}

fn not_a_number(value: &str) -> &'static str {
    let begins_with_digit = value.starts_with(|first: char| first.is_ascii_digit());
    if value.is_empty() {
        "cl-empty"
    } else if let Some((first, rest)) = value.split_once(',') {
        let others = rest.split(',').map(str::trim);
        match others.clone().next() {
            Some("") => "cl-comma-after",
            _ if others.into_iter().all(|other| other == first.trim()) => "cl-list-equal",
            _ => "cl-list-different",
        }
    } else if value.starts_with('"') {
        "cl-quoted"
    } else if value.starts_with('+') {
        "cl-plus"
    } else if value.starts_with('-') {
        "cl-negative"
    } else if value.starts_with("0x") {
        "cl-hex"
    } else if begins_with_digit && value.contains([' ', '\t']) {
        "cl-inner-space"
    } else if begins_with_digit && value.contains('.') {
        "cl-decimal"
    } else if begins_with_digit {
        "cl-digits-text"
    } else {
        "cl-text"
    }
}
