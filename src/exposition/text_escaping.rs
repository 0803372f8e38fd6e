//! Functions shared by the two text formats (Prometheus and `OpenMetrics`): escaping, numbers, labels.

use glassbox_probe::metrics::Label;
use std::borrow::Cow;
use std::io::{self, Write};

/// Writes a name with its labels, and a space.
pub(super) fn series(out: &mut impl Write, name: &str, suffix: &str, labels: &[Label]) -> io::Result<()> {
    out.write_all(name.as_bytes())?;
    out.write_all(suffix.as_bytes())?;
    let mut open = b"{";
    for label in labels {
        out.write_all(open)?;
        write_label(out, label)?;
        open = b",";
    }
    out.write_all(if open == b"," { b"} " } else { b" " })
}

/// The prefix of all bucket lines of a series, up to the bound.
pub(super) fn bucket(name: &str, labels: &[Label]) -> io::Result<Vec<u8>> {
    let mut start = Vec::with_capacity(name.len() + 64);
    start.write_all(name.as_bytes())?;
    start.write_all(b"_bucket{")?;
    for label in labels {
        write_label(&mut start, label)?;
        start.write_all(b",")?;
    }
    start.write_all(b"le=\"")?;
    Ok(start)
}

fn write_label(out: &mut impl Write, (name, value): &Label) -> io::Result<()> {
    out.write_all(name.as_bytes())?;
    out.write_all(b"=\"")?;
    out.write_all(escaped(value, true).as_bytes())?;
    out.write_all(b"\"")
}

/// Writes a metadata line of a family: `# HELP name words`.
pub(super) fn about(out: &mut impl Write, what: &str, name: &str, words: &str) -> io::Result<()> {
    for part in ["# ", what, " ", name, " ", words, "\n"] {
        out.write_all(part.as_bytes())?;
    }
    Ok(())
}

/// Escapes backslashes and newlines, and quotes if `quotes` is true.
pub(super) fn escaped(text: &str, quotes: bool) -> Cow<'_, str> {
    // Most strings are one word. A search that is optimised for long strings would take longer to set up than to run.
    let is_special = |byte: &u8| matches!(byte, b'\\' | b'\n') || (quotes && *byte == b'"');
    if !text.as_bytes().iter().any(is_special) {
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

/// The formatted standard bounds. Formatting is expensive, and a page needs about fifty of them.
const USUAL: [(f64, &str); 14] = [
    (0.001, "0.001"),
    (0.0025, "0.0025"),
    (0.005, "0.005"),
    (0.01, "0.01"),
    (0.025, "0.025"),
    (0.05, "0.05"),
    (0.1, "0.1"),
    (0.25, "0.25"),
    (0.5, "0.5"),
    (1.0, "1.0"),
    (2.5, "2.5"),
    (5.0, "5.0"),
    (10.0, "10.0"),
    (f64::INFINITY, "+Inf"),
];

/// A bucket's bound as Prometheus 3 normalises it: `1.0`, never `1`.
pub(super) fn bound(bound: f64) -> Cow<'static, str> {
    let usual = USUAL.iter().find(|(usual, _)| usual.to_bits() == bound.to_bits());
    usual.map_or_else(|| format!("{bound:?}").into(), |(_, text)| (*text).into())
}

/// 2^53: `f64` represents all whole numbers below it exactly, and their shortest form has all digits.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// Writes a number that Go parses to the same value: integers without a decimal point, and `+Inf` instead of `inf`.
pub(super) fn number(out: &mut impl Write, value: f64) -> io::Result<()> {
    if value.is_nan() {
        out.write_all(b"NaN")
    } else if value.is_infinite() {
        out.write_all(if value > 0.0 { b"+Inf" } else { b"-Inf" })
    } else if value.fract() == 0.0 && value.abs() < EXACT {
        #[allow(clippy::cast_possible_truncation, reason = "the value is whole and below 2^53")]
        let whole = value as i64;
        out.write_all(itoa::Buffer::new().format(whole).as_bytes())
    } else {
        out.write_all(zmij::Buffer::new().format_finite(value).as_bytes())
    }
}

/// Writes a whole number.
pub(super) fn integer(out: &mut impl Write, value: u64) -> io::Result<()> {
    out.write_all(itoa::Buffer::new().format(value).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::{USUAL, bound};

    #[test]
    fn the_usual_bounds_are_written_as_all_others_are() {
        for (usual, text) in USUAL.iter().filter(|(usual, _)| usual.is_finite()) {
            assert_eq!(*text, format!("{usual:?}"));
            assert_eq!(bound(*usual), *text);
        }
        assert_eq!(bound(0.3), "0.3");
    }
}
