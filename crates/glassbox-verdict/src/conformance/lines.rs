//! Line endings, and empty lines before the status line.

use super::features::Features;
use super::message::{Ending, Line, RawHead, RawMessage};
use std::ops::Range;

pub(super) fn examine(message: &RawMessage<'_>, found: &mut Features) {
    let before = message.text(&message.before);
    let row = match before {
        b"" => None,
        b"\r\n" => Some("empty-line-first"),
        b"\n" => Some("lf-first"),
        _ => Some("empty-lines-first"),
    };
    found.add_any(row, &message.before);
    for head in message.heads() {
        line_feeds(head, found);
        carriage_returns(message, head, found);
        if head.end.is_none() {
            let last = head.lines().last().unwrap_or(&head.status_line);
            let row = if last.ending == Ending::Missing {
                "head-cut"
            } else {
                "head-cut-line"
            };
            found.add(row, last.content.clone());
        }
    }
}

/// Lines that end with LF alone.
fn line_feeds(head: &RawHead, found: &mut Features) {
    let is_bare = |line: &&Line| line.ending == Ending::Lf;
    if head.lines().all(|line| is_bare(&line)) {
        found.add("lf-all", head.range());
        return;
    }
    if is_bare(&&head.status_line) {
        found.add("lf-status-line", head.status_line.content.clone());
    }
    let last_field = head
        .fields
        .last()
        .map(|field| field.folds.last().unwrap_or(&field.line));
    let is_last_bare = last_field.is_some_and(|line| is_bare(&line));
    if let Some(end) = head.end.as_ref().filter(is_bare) {
        let row = if is_last_bare { "lf-twice" } else { "lf-head-end" };
        found.add(row, end.content.clone());
        if is_last_bare {
            return;
        }
    }
    let fields = head
        .fields
        .iter()
        .flat_map(|field| std::iter::once(&field.line).chain(&field.folds));
    if let Some(line) = fields.into_iter().find(is_bare) {
        found.add("lf-field", line.content.clone());
    }
}

/// CRs that do not precede LF.
fn carriage_returns(message: &RawMessage<'_>, head: &RawHead, found: &mut Features) {
    for (index, line) in head.lines().enumerate() {
        let content = message.text(&line.content);
        let Some(first) = memchr::memchr(b'\r', content) else {
            continue;
        };
        let at = |offset: usize| line.content.start + offset..line.content.start + offset + 1;
        let next_is_a_field = begins_a_field(&content[first + 1..]);
        let colon = memchr::memchr(b':', content);
        let row = if index == 0 {
            if next_is_a_field { "cr-all" } else { "cr-in-reason" }
        } else if first + 1 == content.len() {
            "cr-cr-lf"
        } else if colon.is_none_or(|colon| first < colon) {
            "cr-in-name"
        } else if next_is_a_field {
            "cr-end"
        } else {
            "cr-in-value"
        };
        found.add(row, at(first));
    }
}

/// Whether the text begins with a field name and a colon.
fn begins_a_field(text: &[u8]) -> bool {
    let name = text
        .iter()
        .take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'-')
        .count();
    name > 0 && text.get(name) == Some(&b':')
}

/// One byte of a range.
pub(super) const fn byte(range: &Range<usize>, offset: usize) -> Range<usize> {
    range.start + offset..range.start + offset + 1
}
