//! What the two line formats share: escaping, numbers, labels.

use crate::metrics::Label;
use std::borrow::Cow;
use std::io::{self, Write};

/// A label of the writer's own, beside those of the series.
pub(super) type Extra<'a> = Option<(&'a str, &'a str)>;

/// Writes a name with its labels, and a space.
pub(super) fn series(out: &mut impl Write, name: &str, suffix: &str, labels: &[Label], extra: Extra) -> io::Result<()> {
    out.write_all(name.as_bytes())?;
    out.write_all(suffix.as_bytes())?;
    let own = labels.iter().map(|(name, value)| (name.as_ref(), value.as_ref()));
    let mut open = "{";
    for (name, value) in own.chain(extra) {
        write!(out, "{open}{name}=\"{}\"", escaped(value, true))?;
        open = ",";
    }
    out.write_all(if open == "," { b"} " } else { b" " })
}

/// Backslash and newline are escaped everywhere, the quote where it would end the text.
pub(super) fn escaped(text: &str, quotes: bool) -> Cow<'_, str> {
    let special = |c: char| c == '\\' || c == '\n' || (quotes && c == '"');
    if !text.contains(special) {
        return text.into();
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if quotes => out.push_str("\\\""),
            c => out.push(c),
        }
    }
    out.into()
}

/// A bucket's bound as Prometheus 3 normalises it: `1.0`, never `1`.
pub(super) fn bound(bound: f64) -> Cow<'static, str> {
    if bound.is_infinite() {
        "+Inf".into()
    } else {
        format!("{bound:?}").into()
    }
}

/// A number as Go's `%g` would be read back: integers without a point, no lower-case `inf`.
pub(super) fn number(out: &mut impl Write, value: f64) -> io::Result<()> {
    if value.is_nan() {
        out.write_all(b"NaN")
    } else if value.is_infinite() {
        out.write_all(if value > 0.0 { b"+Inf" } else { b"-Inf" })
    } else {
        write!(out, "{value}")
    }
}
